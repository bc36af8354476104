//! Latent attention (MLA) and its sparse indexer (`src/models/deepseek2.cpp`, `deepseek32.cpp`).

use super::{
    Builder, Normalisation,
    attention::{cached_rows, hadamard_size},
};
use crate::{
    engine::llama_cpp::compute::{
        graph::Graph,
        tensor::{Op, TensorId},
    },
    model::Latent,
    quant::GgmlType,
};

/// What latent layers read beside their queries.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct LatentInput {
    key_slots: TensorId,
    mask: TensorId,
    cells: u64,
}

/// What the indexer reads.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct IndexerInput {
    key_slots: TensorId,
    mask: TensorId,
    rotation: TensorId,
}

/// The sizes of a latent layer, widened.
#[derive(Debug, Clone, Copy)]
struct LatentSizes {
    heads: u64,
    rank: u64,
    rope: u64,
    plain: u64,
    key: u64,
    value: u64,
}

impl From<Latent> for LatentSizes {
    fn from(latent: Latent) -> Self {
        Self {
            heads: latent.head_count.into(),
            rank: latent.kv_lora_rank.into(),
            rope: latent.rope_length.into(),
            plain: latent.key_length.saturating_sub(latent.rope_length).into(),
            key: latent.key_length.into(),
            value: latent.value_length.into(),
        }
    }
}

impl Builder<'_> {
    pub(in super::super) fn latent_input(&mut self) -> LatentInput {
        let key_slots = self.graph.input("key slots", GgmlType::I64, [self.sizes.n_tokens, 1, 1, 1]);
        let mask = self.mask(self.sizes.cells, self.sizes.flash_attention);
        LatentInput { key_slots, mask, cells: self.sizes.cells }
    }

    pub(in super::super) fn indexer_input(&mut self, key_length: u64) -> IndexerInput {
        let key_slots = self.graph.input("indexer key slots", GgmlType::I64, [self.sizes.n_tokens, 1, 1, 1]);
        let mask = self.mask(self.sizes.cells, true);
        let rotation = self.hadamard(hadamard_size(key_length));
        IndexerInput { key_slots, mask, rotation }
    }

    /// Latent attention of the current layer.
    pub(in super::super) fn latent_attention(
        &mut self,
        latent: Latent,
        input: &LatentInput,
        x: TensorId,
        [positions, temperature]: [TensorId; 2],
    ) -> TensorId {
        let sizes = LatentSizes::from(latent);
        let n_tokens = self.sizes.n_tokens;
        let q_rank = u64::from(self.model.hp.q_lora_rank.unwrap_or(0));
        let queries = if q_rank > 0 {
            let compressed = self.linear("attn_q_a.weight", x, q_rank);
            let compressed = self.rms_norm("attn_q_a_norm.weight", compressed);
            self.linear("attn_q_b.weight", compressed, sizes.heads * sizes.key)
        } else {
            self.linear("attn_q.weight", x, sizes.heads * sizes.key)
        };
        let queries = self.graph.reshape_3d(queries, sizes.key, sizes.heads, n_tokens);
        let [compressed, rotated] = self.compressed_keys(x, sizes);
        let rotated = self.graph.rope(rotated, positions, TensorId::NONE);
        let compressed = self.rms_norm("attn_kv_a_norm.weight", compressed);
        let [plain, turned] = self.split_queries(queries, sizes);
        let turned = self.graph.rope(turned, positions, TensorId::NONE);
        self.latent_core(input, sizes, [plain, turned, temperature], [compressed, rotated], |_| input.mask)
    }

    /// Latent attention without RoPE and with uncompressed queries (Kimi Linear).
    pub(in super::super) fn latent_attention_without_rope(&mut self, latent: Latent, input: &LatentInput, x: TensorId) -> TensorId {
        let sizes = LatentSizes::from(latent);
        let queries = self.linear("attn_q.weight", x, sizes.heads * sizes.key);
        let [compressed, apart] = self.compressed_keys(x, sizes);
        let compressed = self.rms_norm("attn_kv_a_norm.weight", compressed);
        let [plain, other] = self.split_queries(queries, sizes);
        self.latent_core(input, sizes, [plain, other, TensorId::NONE], [compressed, apart], |_| input.mask)
    }

    /// Latent attention that looks at the cells its indexer selects, or at those of the last layer that has one.
    pub(in super::super) fn indexed_attention(
        &mut self,
        latent: Latent,
        input: &LatentInput,
        indexer: &IndexerInput,
        x: TensorId,
        positions: TensorId,
        last_selection: &mut TensorId,
    ) -> TensorId {
        let sizes = LatentSizes::from(latent);
        let q_rank = u64::from(self.model.hp.q_lora_rank.unwrap_or(0));
        let compressed_queries = self.linear("attn_q_a.weight", x, q_rank);
        let compressed_queries = self.rms_norm("attn_q_a_norm.weight", compressed_queries);
        if latent.indexer.is_some() {
            *last_selection = self.select_cells(latent, indexer, x, compressed_queries, positions);
        }
        let selected = *last_selection;
        let queries = self.linear("attn_q_b.weight", compressed_queries, sizes.heads * sizes.key);
        let [plain, turned] = self.split_queries(queries, sizes);
        let [compressed, rotated] = self.compressed_keys(x, sizes);
        let turned = self.graph.rope(turned, positions, TensorId::NONE);
        let rotated = self.graph.rope(rotated, positions, TensorId::NONE);
        let compressed = self.rms_norm("attn_kv_a_norm.weight", compressed);
        let full_mask = input.mask;
        self.latent_core(input, sizes, [plain, turned, TensorId::NONE], [compressed, rotated], |builder| {
            if selected.is_some() { builder.mask_of_selected(full_mask, selected) } else { full_mask }
        })
    }

    /// The compressed row and the rotated part of each token's key.
    fn compressed_keys(&mut self, x: TensorId, sizes: LatentSizes) -> [TensorId; 2] {
        let width = sizes.rank + sizes.rope;
        let row = 4 * width;
        let both = self.linear("attn_kv_a_mqa.weight", x, width);
        let n_tokens = self.sizes.n_tokens;
        let compressed = self.graph.view_2d(both, [sizes.rank, n_tokens], row, 0);
        let rotated = self.graph.view_3d(both, [sizes.rope, 1, n_tokens], [row, row], 4 * sizes.rank);
        [compressed, rotated]
    }

    /// The plain and the rotated part of each query head.
    fn split_queries(&mut self, queries: TensorId, sizes: LatentSizes) -> [TensorId; 2] {
        let strides = [4 * sizes.key, 4 * sizes.key * sizes.heads];
        let n_tokens = self.sizes.n_tokens;
        let plain = self.graph.view_3d(queries, [sizes.plain, sizes.heads, n_tokens], strides, 0);
        let turned = self.graph.view_3d(queries, [sizes.rope, sizes.heads, n_tokens], strides, 4 * sizes.plain);
        [plain, turned]
    }

    /// Queries taken into the latent space, attention there, values taken back.
    fn latent_core(
        &mut self,
        input: &LatentInput,
        sizes: LatentSizes,
        [plain, turned, temperature]: [TensorId; 3],
        [compressed, rotated]: [TensorId; 2],
        mask: impl FnOnce(&mut Self) -> TensorId,
    ) -> TensorId {
        let down = self.stack("attn_k_b.weight", [sizes.plain, sizes.rank, sizes.heads]);
        let graph = &mut self.graph;
        let by_head = graph.permute(plain, [0, 2, 1, 3]);
        let absorbed = graph.mul_mat(down, by_head);
        let by_token = graph.permute(absorbed, [0, 2, 1, 3]);
        let mut queries = graph.concat(by_token, turned, 0);
        if temperature.is_some() {
            queries = graph.mul(queries, temperature);
        }
        let values = graph.reshape_3d(compressed, sizes.rank, 1, self.sizes.n_tokens);
        let keys = graph.concat(values, rotated, 0);
        let up = self.stack("attn_v_b.weight", [sizes.rank, sizes.value, sizes.heads]);
        let graph = &mut self.graph;
        graph.expand(queries);
        graph.expand(values);
        graph.expand(keys);
        let key_width = graph.ne(keys)[0];
        let [cache, _] = self.cache(self.layer, input.cells, key_width, 0);
        let written = self.store(cache, keys, input.key_slots);
        self.graph.expand(written);
        let mask = mask(self);
        let graph = &mut self.graph;
        let cached = cached_rows(graph, cache, key_width, 1);
        let ([_, n1, n2, n3], nb) = (graph.ne(cached), graph.nb(cached));
        let cached_values = graph.view_4d(cached, [sizes.rank, n1, n2, n3], [nb[1], nb[2], nb[3]], 0);
        let attended = self.attention(queries, cached, cached_values, mask, TensorId::NONE, up);
        self.attention_output(attended, false)
    }

    /// The cells that each token attends to, by the indexer's scores.
    fn select_cells(
        &mut self,
        latent: Latent,
        input: &IndexerInput,
        x: TensorId,
        compressed_queries: TensorId,
        positions: TensorId,
    ) -> TensorId {
        let Some(indexer) = latent.indexer else { return TensorId::NONE };
        let (heads, length, top_k) = (u64::from(indexer.head_count), u64::from(indexer.key_length), u64::from(indexer.top_k));
        let n_tokens = self.sizes.n_tokens;
        let queries = self.linear("indexer.attn_q_b.weight", compressed_queries, heads * length);
        let queries = self.graph.reshape_3d(queries, length, heads, n_tokens);
        let queries = self.graph.rope(queries, positions, TensorId::NONE);
        let keys = self.linear("indexer.attn_k.weight", x, length);
        let keys = self.norm(Normalisation::layer("indexer.k_norm.weight").with_bias("indexer.k_norm.bias"), keys);
        let keys = self.graph.reshape_3d(keys, length, 1, n_tokens);
        let keys = self.graph.rope(keys, positions, TensorId::NONE);
        let queries = self.graph.mul_mat(input.rotation, queries);
        let keys = self.graph.mul_mat(input.rotation, keys);
        let cache = self.graph.cache(
            "indexer key cache",
            self.sizes.type_k,
            [length, self.sizes.cells, self.sizes.n_stream, 1],
            self.placement.cache(self.layer),
        );
        let written = self.store(cache, keys, input.key_slots);
        self.graph.expand(written);
        let weights = self.linear("indexer.proj.weight", x, heads);
        let graph = &mut self.graph;
        let cached = cached_rows(graph, cache, length, 1);
        let [_, _, cells, streams] = graph.ne(cached);
        let queries = split_streams(graph, queries, streams);
        let ([n0, n1, n2, _], nb) = (graph.ne(weights), graph.nb(weights));
        let streams = streams.max(1);
        let weights = graph.view_4d(weights, [n0, n1 / streams, n2, streams], [nb[1], nb[2] / streams, nb[3] / streams], 0);
        let weights = graph.scale(weights);
        let [_, _, tokens, n3] = graph.ne(queries);
        let scores = graph.op(Op::LightningIndexer, GgmlType::F32, [cells, tokens, 1, n3], &[queries, cached, weights, input.mask]);
        let best = graph.op(Op::TopK, GgmlType::I32, [cells.min(top_k), tokens, 1, n3], &[scores]);
        graph.cont(best)
    }

    /// The attention mask with all but the selected cells closed.
    ///
    /// The zeros that open the selected cells are a leaf of each layer, and leaves are allocated first and for
    /// the whole graph.
    fn mask_of_selected(&mut self, full_mask: TensorId, selected: TensorId) -> TensorId {
        let graph = &mut self.graph;
        let closed = graph.map(Op::Fill, full_mask);
        let (ne, nb) = (graph.ne(closed), graph.nb(closed));
        let closed = graph.view_4d(closed, [1, ne[0], ne[1], ne[3]], [nb[0], nb[1], nb[2]], 0);
        let (ne, nb) = (graph.ne(selected), graph.nb(selected));
        let cells = graph.view_4d(selected, [ne[0], ne[1], ne[3], 1], [nb[1], nb[2], ne[3].saturating_mul(nb[3])], 0);
        let [n0, n1, n2, _] = graph.ne(cells);
        let zeros = graph.op(Op::Leaf, GgmlType::F32, [1, n0, n1, n2], &[]);
        graph.at_mut(zeros).label = "zeros of the selected cells";
        let zeros = graph.map(Op::Fill, zeros);
        let opened = graph.set_rows(closed, zeros, cells);
        let (ne, nb) = (graph.ne(opened), graph.nb(opened));
        let opened = graph.view_4d(opened, [ne[1], ne[2], 1, ne[3]], [nb[2], nb[3], nb[3]], 0);
        graph.add(opened, full_mask)
    }
}

/// A tensor of tokens as planes of streams.
fn split_streams(graph: &mut Graph, x: TensorId, streams: u64) -> TensorId {
    let streams = streams.max(1);
    let (ne, nb) = (graph.ne(x), graph.nb(x));
    graph.view_4d(x, [ne[0], ne[1], ne[2] / streams, streams], [nb[1], nb[2], nb[3] / streams], 0)
}
