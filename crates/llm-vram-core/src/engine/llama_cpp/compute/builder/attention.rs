//! Attention over cached keys and values (`llm_graph_context::build_attn`, `build_attn_mha`; `llama-kv-cache.cpp`).

use super::Builder;
use crate::{
    engine::llama_cpp::compute::{
        graph::Graph,
        tensor::{Op, Tensor, TensorId, row_bytes},
    },
    quant::GgmlType,
};

/// What layers that share a cache geometry read beside their queries.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct AttentionInput {
    pub(super) key_slots: TensorId,
    value_slots: TensorId,
    pub(super) mask: TensorId,
    key_rotation: TensorId,
    value_rotation: TensorId,
    pub(super) cells: u64,
    /// A model with two cache geometries expands keys before values.
    keys_first: bool,
}

/// Queries, keys and values of a layer, one row of heads for each token.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Projections {
    pub(in super::super) queries: TensorId,
    pub(in super::super) keys: TensorId,
    pub(in super::super) values: TensorId,
}

const HEADS_BEFORE_TOKENS: [usize; 4] = [0, 2, 1, 3];

impl Builder<'_> {
    /// The inputs of a model with one cache geometry.
    pub(in super::super) fn attention_input(&mut self) -> AttentionInput {
        self.attention_input_of(false, false)
    }

    /// The inputs of a model with full and windowed layers.
    pub(in super::super) fn windowed_attention_inputs(&mut self) -> [AttentionInput; 2] {
        [self.attention_input_of(false, true), self.attention_input_of(true, true)]
    }

    fn attention_input_of(&mut self, is_windowed: bool, keys_first: bool) -> AttentionInput {
        let sizes = self.sizes;
        let n_values = if sizes.transposed_values { sizes.n_tokens * self.model.values_width_max } else { sizes.n_tokens };
        let cells = if is_windowed { sizes.cells_swa } else { sizes.cells };
        let (key_length, value_length) = self.model.head_lengths(false);
        let (own_key_length, own_value_length) = self.model.head_lengths(is_windowed);
        let key_slots = self.graph.input("key slots", GgmlType::I64, [sizes.n_tokens, 1, 1, 1]);
        let value_slots = self.graph.input("value slots", GgmlType::I64, [n_values, 1, 1, 1]);
        let mask = self.mask(cells, sizes.flash_attention);
        let key_rotation = if key_length % 64 == 0 { self.rotation(sizes.type_k, own_key_length, true) } else { TensorId::NONE };
        let value_rotation =
            if value_length % 64 == 0 { self.rotation(sizes.type_v, own_value_length, false) } else { TensorId::NONE };
        AttentionInput { key_slots, value_slots, mask, key_rotation, value_rotation, cells, keys_first }
    }

    /// An attention mask over `cells` cells of each stream.
    pub(super) fn mask(&mut self, cells: u64, is_half: bool) -> TensorId {
        let (n_stream, n_tokens) = (self.sizes.n_stream, self.sizes.n_tokens);
        let ty = if is_half { GgmlType::F16 } else { GgmlType::F32 };
        self.graph.input("attention mask", ty, [cells, n_tokens / n_stream, 1, n_stream])
    }

    /// The Hadamard matrix that spreads outliers before a quantised cache is written
    /// (`llama_kv_cache`, `n_rot_k`, `n_rot_v`): the largest power of two that divides a key, 64 for values.
    fn rotation(&mut self, ty: GgmlType, length: u64, is_key: bool) -> TensorId {
        if !ty.is_quantised() || length == 0 {
            return TensorId::NONE;
        }
        self.hadamard(if is_key { hadamard_size(length) } else { 64 })
    }

    pub(super) fn hadamard(&mut self, n: u64) -> TensorId {
        self.graph.input("cache rotation", GgmlType::F32, [n, n, 1, 1])
    }

    /// Queries, keys and values by three matrices, as rows that are not split into heads yet.
    pub(in super::super) fn flat_projections(&mut self, x: TensorId, widths: [u64; 3], has_bias: bool) -> Projections {
        let bias = |stem| has_bias.then_some(stem);
        let queries = self.linear_with_bias("attn_q.weight", bias("attn_q.bias"), x, widths[0]);
        let keys = self.linear_with_bias("attn_k.weight", bias("attn_k.bias"), x, widths[1]);
        let values = self.linear_with_bias("attn_v.weight", bias("attn_v.bias"), x, widths[2]);
        Projections { queries, keys, values }
    }

    /// Queries, keys and values of the current layer, split into heads: by one matrix if the model has it so.
    pub(in super::super) fn projections(&mut self, x: TensorId, has_bias: bool) -> Projections {
        if self.model.hp.facts.fused_qkv {
            return self.fused_projections(x, has_bias);
        }
        let (heads, heads_kv) = (self.model.head_count(self.layer), self.model.head_count_kv(self.layer));
        let (key, value) = (self.model.key_length(self.layer), self.model.value_length(self.layer));
        let flat = self.flat_projections(x, [key * heads, key * heads_kv, value * heads_kv], has_bias);
        self.split_heads(flat)
    }

    /// Rows split into the current layer's heads.
    pub(in super::super) fn split_heads(&mut self, flat: Projections) -> Projections {
        let (heads, heads_kv) = (self.model.head_count(self.layer), self.model.head_count_kv(self.layer));
        let (key, value) = (self.model.key_length(self.layer), self.model.value_length(self.layer));
        let n_tokens = self.sizes.n_tokens;
        Projections {
            queries: self.graph.reshape_3d(flat.queries, key, heads, n_tokens),
            keys: self.graph.reshape_3d(flat.keys, key, heads_kv, n_tokens),
            values: self.graph.reshape_3d(flat.values, value, heads_kv, n_tokens),
        }
    }

    /// Queries, keys and values by one matrix, as views of its result.
    pub(in super::super) fn fused_projections(&mut self, x: TensorId, has_bias: bool) -> Projections {
        let (heads, heads_kv) = (self.model.head_count(self.layer), self.model.head_count_kv(self.layer));
        let (key, value) = (self.model.key_length(self.layer), self.model.value_length(self.layer));
        let n_tokens = self.sizes.n_tokens;
        let (queries, keys) = (key * heads, key * heads_kv);
        let bias = has_bias.then_some("attn_qkv.bias");
        let all = self.linear_with_bias("attn_qkv.weight", bias, x, queries + keys + value * heads_kv);
        let row = self.graph.nb(all)[1];
        let graph = &mut self.graph;
        Projections {
            queries: graph.view_3d(all, [key, heads, n_tokens], [4 * key, row], 0),
            keys: graph.view_3d(all, [key, heads_kv, n_tokens], [4 * key, row], 4 * queries),
            values: graph.view_3d(all, [value, heads_kv, n_tokens], [4 * value, row], 4 * (queries + keys)),
        }
    }

    /// Rotates queries and keys by their positions.
    pub(in super::super) fn rope_queries_and_keys(
        &mut self,
        qkv: Projections,
        positions: TensorId,
        factors: TensorId,
    ) -> Projections {
        Projections {
            queries: self.graph.rope(qkv.queries, positions, factors),
            keys: self.graph.rope(qkv.keys, positions, factors),
            ..qkv
        }
    }

    /// Writes keys and values into the layer's cache and attends over it.
    pub(in super::super) fn attend(&mut self, input: &AttentionInput, qkv: Projections, sinks: TensorId) -> TensorId {
        let owner = self.layer;
        let heads_kv = self.graph.ne(qkv.keys)[1];
        let value_length = self.graph.ne(qkv.values)[0];
        self.attend_cache_of(owner, heads_kv, value_length, input, qkv, sinks)
    }

    /// Attends over the cache of an earlier layer, writing nothing.
    pub(in super::super) fn attend_shared(
        &mut self,
        owner: u32,
        heads_kv: u64,
        input: &AttentionInput,
        queries: TensorId,
    ) -> TensorId {
        let value_length = self.graph.ne(queries)[0];
        let qkv = Projections { queries, keys: TensorId::NONE, values: TensorId::NONE };
        self.attend_cache_of(owner, heads_kv, value_length, input, qkv, TensorId::NONE)
    }

    fn attend_cache_of(
        &mut self,
        owner: u32,
        heads_kv: u64,
        value_length: u64,
        input: &AttentionInput,
        qkv: Projections,
        sinks: TensorId,
    ) -> TensorId {
        let Projections { mut queries, mut keys, mut values } = qkv;
        let key_length = self.graph.ne(queries)[0];
        let graph = &mut self.graph;
        if input.key_rotation.is_some() {
            queries = rotate(graph, queries, input.key_rotation);
            if keys.is_some() {
                keys = rotate(graph, keys, input.key_rotation);
            }
        }
        if input.value_rotation.is_some() && values.is_some() {
            values = rotate(graph, values, input.value_rotation);
        }
        graph.expand(queries);
        for part in if input.keys_first { [keys, values] } else { [values, keys] } {
            graph.expand(part);
        }
        let [key_cache, value_cache] = self.cache(owner, input.cells, heads_kv * key_length, heads_kv * value_length);
        if keys.is_some() {
            let written = self.store(key_cache, keys, input.key_slots);
            self.graph.expand(written);
        }
        if values.is_some() {
            let written = self.store_values(value_cache, values, input.value_slots);
            self.graph.expand(written);
        }
        let keys = cached_rows(&mut self.graph, key_cache, key_length, heads_kv);
        let values = self.cached_values(value_cache, value_length, heads_kv);
        let attended = self.attention(queries, keys, values, input.mask, sinks, TensorId::NONE);
        if input.value_rotation.is_some() { rotate(&mut self.graph, attended, input.value_rotation) } else { attended }
    }

    /// The attention output, each element gated by a projection of the layer's normed input.
    pub(in super::super) fn gate_elements(&mut self, attended: TensorId, normed: TensorId) -> TensorId {
        let width = self.graph.ne(attended)[0];
        let gate = self.linear("attn_gate.weight", normed, width);
        let gate = self.graph.sigmoid(gate);
        self.graph.mul(attended, gate)
    }

    /// The same with one gate for each head.
    pub(in super::super) fn gate_heads(&mut self, attended: TensorId, normed: TensorId) -> TensorId {
        let (heads, [width, n_tokens, ..]) = (self.model.head_count(self.layer), self.graph.ne(attended));
        let gate = self.linear("attn_gate.weight", normed, heads);
        let gate = self.graph.sigmoid(gate);
        let by_head = self.graph.reshape_3d(attended, width.checked_div(heads).unwrap_or(0), heads, n_tokens);
        let gate = self.graph.reshape_3d(gate, 1, heads, n_tokens);
        let gated = self.graph.mul(by_head, gate);
        self.graph.reshape_2d(gated, width, n_tokens)
    }

    /// The output projection of attention.
    pub(in super::super) fn attention_output(&mut self, attended: TensorId, has_bias: bool) -> TensorId {
        let width = self.model.n_embd;
        self.linear_with_bias("attn_output.weight", has_bias.then_some("attn_output.bias"), attended, width)
    }

    /// The caches of a layer: keys and values (no values if `values_width` is 0).
    pub(super) fn cache(&mut self, layer: u32, cells: u64, keys_width: u64, values_width: u64) -> [TensorId; 2] {
        let known = self.key_value_caches.get(layer as usize).copied().unwrap_or([TensorId::NONE; 2]);
        if known[0].is_some() {
            return known;
        }
        let sizes = self.sizes;
        let home = self.placement.cache(layer);
        // Transposed caches are as wide as the widest layer's.
        let values_width = if values_width > 0 && sizes.transposed_values { self.model.values_width_max } else { values_width };
        let keys = self.graph.cache("key cache", sizes.type_k, [keys_width, cells, sizes.n_stream, 1], home);
        let values = if values_width > 0 {
            self.graph.cache("value cache", sizes.type_v, [values_width, cells, sizes.n_stream, 1], home)
        } else {
            TensorId::NONE
        };
        if let Some(slot) = self.key_value_caches.get_mut(layer as usize) {
            *slot = [keys, values];
        }
        [keys, values]
    }

    /// Writes one row for each token (`llama_kv_cache::cpy_k`).
    pub(super) fn store(&mut self, cache: TensorId, rows: TensorId, slots: TensorId) -> TensorId {
        let graph = &mut self.graph;
        let ([n0, n1, n2, _], nb) = (graph.ne(rows), graph.nb(rows));
        let flat = graph.view_2d(rows, [n0 * n1, n2], nb[2], 0);
        let [width, cells, n_stream, _] = graph.ne(cache);
        let target = if n_stream > 1 { graph.reshape_2d(cache, width, cells * n_stream) } else { cache };
        graph.set_rows(target, flat, slots)
    }

    /// Writes values, one by one where the cache is transposed (`llama_kv_cache::cpy_v`).
    fn store_values(&mut self, cache: TensorId, values: TensorId, slots: TensorId) -> TensorId {
        if !self.sizes.transposed_values {
            return self.store(cache, values, slots);
        }
        let graph = &mut self.graph;
        let ([n0, n1, n2, _], ty) = (graph.ne(values), graph.at(values).ty);
        let width = n0 * n1;
        let mut flat = if row_bytes(ty, width) == graph.nb(values)[2] {
            graph.reshape_2d(values, width, n2)
        } else {
            graph.cont_as(values, [width, n2, 1, 1])
        };
        if width < graph.ne(cache)[0] {
            flat = graph.pad_rows(flat, graph.ne(cache)[0]);
        }
        let target = graph.reshape_2d(cache, 1, graph.at(cache).elements());
        let single = graph.reshape_2d(flat, 1, graph.at(flat).elements());
        graph.set_rows(target, single, slots)
    }

    /// The cached values of all cells (`llama_kv_cache::get_v`).
    fn cached_values(&mut self, cache: TensorId, length: u64, heads: u64) -> TensorId {
        if !self.sizes.transposed_values {
            return cached_rows(&mut self.graph, cache, length, heads);
        }
        let ([width, cells, n_stream, _], ty) = (self.graph.ne(cache), self.graph.at(cache).ty);
        let strides = [row_bytes(ty, cells * length), row_bytes(ty, cells), row_bytes(ty, cells * width)];
        self.graph.view_4d(cache, [cells, heads, length, n_stream], strides, 0)
    }

    /// Attention proper. `values_up` decompresses latent values.
    pub(super) fn attention(
        &mut self,
        queries: TensorId,
        keys: TensorId,
        values: TensorId,
        mask: TensorId,
        sinks: TensorId,
        values_up: TensorId,
    ) -> TensorId {
        let graph = &mut self.graph;
        let n_stream = graph.ne(keys)[3].max(1);
        let is_transposed = graph.nb(values)[1] > graph.nb(values)[2];
        let (ne, nb) = (graph.ne(queries), graph.nb(queries));
        let tokens = ne[2] / n_stream;
        let queries = graph.view_4d(queries, [ne[0], ne[1], tokens, n_stream], [nb[1], nb[2], nb[2].saturating_mul(tokens)], 0);
        let queries = graph.permute(queries, HEADS_BEFORE_TOKENS);
        let keys = graph.permute(keys, HEADS_BEFORE_TOKENS);
        let values = graph.permute(values, HEADS_BEFORE_TOKENS);
        let mut attended;
        if self.sizes.flash_attention {
            let keys = half_precision(graph, keys);
            let values = half_precision(graph, values);
            let ([length, ..], [_, tokens, heads, streams]) = (graph.ne(values), graph.ne(queries));
            let shape = [length, heads, tokens, streams];
            attended = graph.op(Op::FlashAttention, GgmlType::F32, shape, &[queries, keys, values, mask, sinks]);
            if values_up.is_some() {
                let by_head = graph.permute(attended, HEADS_BEFORE_TOKENS);
                let up = graph.mul_mat(values_up, by_head);
                let by_token = graph.permute(up, HEADS_BEFORE_TOKENS);
                attended = graph.cont(by_token);
            }
            let [n0, n1, n2, n3] = graph.ne(attended);
            attended = graph.reshape_2d(attended, n0.saturating_mul(n1), n2.saturating_mul(n3));
        } else {
            let mut weights = graph.mul_mat(keys, queries);
            if self.model.architecture() == "gemma2" {
                let scaled = graph.scale(weights);
                let capped = graph.unary(scaled);
                weights = graph.scale(capped);
            }
            weights = graph.soft_max(weights, mask, sinks);
            let values = if is_transposed {
                values
            } else {
                let transposed = graph.transpose(values);
                graph.cont(transposed)
            };
            let mut summed = graph.mul_mat(values, weights);
            if values_up.is_some() {
                summed = graph.mul_mat(values_up, summed);
            }
            let by_token = graph.permute(summed, HEADS_BEFORE_TOKENS);
            let [n0, n1, n2, n3] = graph.ne(by_token);
            attended = graph.cont_as(by_token, [n0.saturating_mul(n1), n2.saturating_mul(n3), 1, 1]);
            if !self.placement.offloads_caches() {
                self.pins.push((attended, self.placement.host()));
            }
        }
        self.graph.expand(attended);
        attended
    }
}

/// The largest power of two, at least 64, that divides `length` (64 if none does).
pub(super) fn hadamard_size(length: u64) -> u64 {
    let mut n = 64;
    while length > 0 && length.is_multiple_of(2 * n) {
        n *= 2;
    }
    n
}

/// The cached rows of all cells, split into heads (`llama_kv_cache::get_k`).
pub(super) fn cached_rows(graph: &mut Graph, cache: TensorId, length: u64, heads: u64) -> TensorId {
    let ([width, cells, n_stream, _], ty) = (graph.ne(cache), graph.at(cache).ty);
    let strides = [row_bytes(ty, length), row_bytes(ty, width), row_bytes(ty, width.saturating_mul(cells))];
    graph.view_4d(cache, [length, heads, cells, n_stream], strides, 0)
}

/// Multiplies every stretch of a row by the Hadamard matrix (`llm_graph_context`, `ggml_mul_mat_aux`).
fn rotate(graph: &mut Graph, x: TensorId, rotation: TensorId) -> TensorId {
    let (n, elements, ne) = (graph.ne(rotation)[0], graph.at(x).elements(), graph.ne(x));
    let stretches = [n, elements / n, 1, 1];
    let rows = if graph.at(x).is_contiguous() { graph.reshape(x, stretches) } else { graph.cont_as(x, stretches) };
    let rotated = graph.mul_mat(rotation, rows);
    graph.reshape(rotated, ne)
}

/// Flash attention reads F32 caches as F16.
fn half_precision(graph: &mut Graph, x: TensorId) -> TensorId {
    let tensor: &Tensor = graph.at(x);
    if tensor.ty == GgmlType::F32 { graph.cast(x, GgmlType::F16) } else { x }
}
