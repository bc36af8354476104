//! Gemma 3n and Gemma 4 (`src/models/gemma3n.cpp`, `gemma4.cpp`).

use crate::{
    engine::llama_cpp::compute::{
        builder::{AttentionInput, Builder, FeedForwardShape, Head, Normalisation, Projections},
        tensor::{Op, TensorId},
    },
    model::FeedForward,
};

/// Rank of the learned residual of Gemma 3n (`gemma3n.cpp`).
const LAUREL_RANK: u64 = 64;
/// Layers of Gemma 3n whose activations are thinned out (`gemma3n.cpp`, `n_layer_sparsity`).
const SPARSE_LAYERS: u32 = 10;

fn dense_length(builder: &Builder<'_>) -> u64 {
    match builder.model.feed_forward(builder.layer) {
        FeedForward::Dense { length } => length.into(),
        _ => 0,
    }
}

/// The residual branch that adds this layer's own embeddings.
fn per_layer_branch(builder: &mut Builder<'_>, x: TensorId, planes: TensorId) -> TensorId {
    let width = builder.model.hp.embedding_length_per_layer_input.into();
    let gate = builder.linear("inp_gate.weight", x, width);
    let gate = builder.graph.unary(gate);
    let plane = builder.plane(planes, builder.layer.into());
    let gated = builder.graph.mul(gate, plane);
    let back = builder.linear("proj.weight", gated, builder.model.n_embd);
    builder.rms_norm("post_norm.weight", back)
}

pub(super) fn gemma4(builder: &mut Builder<'_>) {
    let x = builder.embeddings(true);
    let positions = builder.positions();
    let inputs = builder.windowed_attention_inputs();
    let rows = builder.output_rows();
    let has_planes = builder.model.hp.embedding_length_per_layer_input > 0;
    let planes = if has_planes { builder.per_layer_embeddings(x) } else { TensorId::NONE };
    let x = builder.for_each_layer(x, |builder, x| {
        let normed = builder.rms_norm("attn_norm.weight", x);
        let attended = gemma4_attention(builder, normed, positions, &inputs);
        let cur = builder.rms_norm("post_attention_norm.weight", attended);
        let after_attention = builder.graph.add(cur, x);
        let cur = builder.rms_norm("ffn_norm.weight", after_attention);
        let length = dense_length(builder);
        let cur = builder.dense(cur, length, FeedForwardShape::Gated, false);
        let cur = builder.norm(Normalisation::rms("post_ffw_norm.weight").unpinned(), cur);
        let mut cur = builder.graph.add(cur, after_attention);
        if has_planes {
            let branch = per_layer_branch(builder, cur, planes);
            cur = builder.graph.add(cur, branch);
        }
        let scale = builder.vector("layer_output_scale.weight", 1);
        builder.graph.mul(cur, scale)
    });
    let is_capped = builder.model.caps_logits();
    builder.logits_of_rows(x, rows, Head { is_capped, ..Head::RMS });
}

fn gemma4_attention(
    builder: &mut Builder<'_>,
    x: TensorId,
    positions: TensorId,
    [full, windowed]: &[AttentionInput; 2],
) -> TensorId {
    let layer = builder.layer;
    let is_windowed = builder.model.is_windowed(layer);
    let input = if is_windowed { windowed } else { full };
    let (length, heads, heads_kv) =
        (builder.model.key_length(layer), builder.model.head_count(layer), builder.model.head_count_kv(layer));
    let n_tokens = builder.sizes.n_tokens;
    let factors = if is_windowed { TensorId::NONE } else { builder.rope_factors(length / 2) };
    let queries = builder.linear("attn_q.weight", x, length * heads);
    let queries = builder.graph.reshape_3d(queries, length, heads, n_tokens);
    let queries = builder.rms_norm("attn_q_norm.weight", queries);
    let queries = builder.graph.rope(queries, positions, factors);
    let attended = if let Some(owner) = builder.model.shared_cache(layer) {
        builder.attend_shared(owner, builder.model.head_count_kv(owner), input, queries)
    } else {
        let flat_keys = builder.linear("attn_k.weight", x, length * heads_kv);
        let keys_serve_as_values = !is_windowed && !builder.model.hp.facts.v_on_full;
        let flat_values = if keys_serve_as_values { flat_keys } else { builder.linear("attn_v.weight", x, length * heads_kv) };
        let keys = builder.graph.reshape_3d(flat_keys, length, heads_kv, n_tokens);
        let values = builder.graph.reshape_3d(flat_values, length, heads_kv, n_tokens);
        let keys = builder.rms_norm("attn_k_norm.weight", keys);
        let values = builder.graph.map(Op::RmsNorm, values);
        let keys = builder.graph.rope(keys, positions, factors);
        builder.attend(input, Projections { queries, keys, values }, TensorId::NONE)
    };
    builder.attention_output(attended, false)
}

pub(super) fn gemma3n(builder: &mut Builder<'_>) {
    let (n_embd, n_tokens) = (builder.model.n_embd, builder.sizes.n_tokens);
    let streams = u64::from(builder.model.hp.altup_num_inputs);
    let others = streams.saturating_sub(1);
    let output = builder.placement.output;
    let x = builder.embeddings(true);
    let positions = builder.positions();
    let inputs = builder.windowed_attention_inputs();
    let planes = builder.per_layer_embeddings(x);
    let target = magnitude(builder, x);
    let graph = &mut builder.graph;
    let weight = graph.weight("altup_proj.weight", [n_embd, n_embd, others, 1], output);
    let copies = graph.repeat(x, [n_embd, n_tokens, others, 1]);
    let added = graph.mul_mat(weight, copies);
    let added = match_magnitude(builder, added, target);
    let x = builder.graph.concat(x, added, 2);
    let x = builder.for_each_layer(x, |builder, x| gemma3n_layer(builder, x, positions, planes, &inputs));
    let first = builder.plane(x, 0);
    let target = magnitude(builder, first);
    let graph = &mut builder.graph;
    let plane = 4 * n_embd * n_tokens;
    let rest = graph.view_3d(x, [n_embd, n_tokens, others], [4 * n_embd, plane], plane);
    let weight = graph.weight("altup_unembd_proj.weight", [n_embd, n_embd, others, 1], output);
    let merged = graph.mul_mat(weight, rest);
    let merged = match_magnitude(builder, merged, target);
    let mut cur = builder.plane(x, 0);
    for stream in 0..others {
        if builder.graph.is_too_large() {
            break;
        }
        let part = builder.plane(merged, stream);
        cur = builder.graph.add(cur, part);
    }
    let cur = builder.graph.scale(cur);
    let rows = builder.output_rows();
    let cur = builder.keep_rows(cur, rows);
    let is_capped = builder.model.caps_logits();
    builder.logits(cur, Head { is_capped, ..Head::RMS });
}

/// The length of each row.
fn magnitude(builder: &mut Builder<'_>, x: TensorId) -> TensorId {
    let graph = &mut builder.graph;
    let squared = graph.map(Op::Sqr, x);
    let sum = graph.sum_rows(squared);
    graph.map(Op::Sqrt, sum)
}

/// Rows stretched to given lengths.
fn match_magnitude(builder: &mut Builder<'_>, x: TensorId, target: TensorId) -> TensorId {
    let scaled = builder.graph.mul(x, target);
    let own = magnitude(builder, x);
    builder.graph.div(scaled, own)
}

/// How strongly each residual stream takes part.
fn modalities(builder: &mut Builder<'_>, x: TensorId, router: Router) -> TensorId {
    let normed = builder.norm_by(Op::RmsNorm, router.norm, x);
    let scaled = builder.graph.scale(normed);
    let routed = builder.graph.mul_mat(router.weight, scaled);
    builder.graph.unary(routed)
}

/// The router's weights, which each layer reads twice.
#[derive(Debug, Clone, Copy)]
struct Router {
    norm: TensorId,
    weight: TensorId,
}

impl Router {
    fn new(builder: &mut Builder<'_>) -> Self {
        let (n_embd, streams) = (builder.model.n_embd, builder.model.hp.altup_num_inputs.into());
        Self {
            norm: builder.vector("altup_router_norm.weight", n_embd),
            weight: builder.matrix("altup_router.weight", n_embd, streams),
        }
    }
}

fn gemma3n_layer(
    builder: &mut Builder<'_>,
    x: TensorId,
    positions: TensorId,
    planes: TensorId,
    inputs: &[AttentionInput; 2],
) -> TensorId {
    let (n_embd, n_tokens) = (builder.model.n_embd, builder.sizes.n_tokens);
    let streams = u64::from(builder.model.hp.altup_num_inputs);
    let router = Router::new(builder);
    let predictions = predict(builder, x, router);
    let active = builder.plane(predictions, 0);
    let normed = builder.rms_norm("attn_norm.weight", active);
    let laurel = builder.linear("laurel_l.weight", normed, LAUREL_RANK);
    let laurel = builder.linear("laurel_r.weight", laurel, n_embd);
    let laurel = builder.rms_norm("laurel_post_norm.weight", laurel);
    let laurel = builder.graph.add(laurel, normed);
    let attended = gemma3n_attention(builder, normed, positions, inputs);
    let cur = builder.rms_norm("post_attention_norm.weight", attended);
    let cur = builder.graph.add(cur, active);
    let cur = builder.graph.add(cur, laurel);
    let after_attention = builder.graph.scale(cur);
    let cur = builder.rms_norm("ffn_norm.weight", after_attention);
    let cur = sparse_feed_forward(builder, cur);
    let cur = builder.norm(Normalisation::rms("post_ffw_norm.weight").unpinned(), cur);
    let gated = builder.graph.add(cur, after_attention);
    // The correction of all streams by what happened to the active one.
    let modalities = modalities(builder, gated, router);
    let active = builder.plane(predictions, 0);
    let innovation = builder.graph.sub(gated, active);
    let coefficients = builder.linear("altup_correct_coef.weight", modalities, streams);
    let graph = &mut builder.graph;
    let coefficients = graph.scale(coefficients);
    let coefficients = graph.transpose(coefficients);
    let coefficients = graph.cont_as(coefficients, [1, n_tokens, streams, 1]);
    let innovation = graph.repeat(innovation, [n_embd, n_tokens, streams, 1]);
    let weighted = graph.mul(innovation, coefficients);
    let corrected = graph.add(weighted, predictions);
    let first = builder.plane(corrected, 0);
    let scale = builder.vector("altup_correct_scale.weight", n_embd);
    let first = builder.graph.mul(first, scale);
    let branch = per_layer_branch(builder, first, planes);
    let plane = 4 * n_embd * n_tokens;
    let rest = builder.graph.view_3d(corrected, [n_embd, n_tokens, streams.saturating_sub(1)], [4 * n_embd, plane], plane);
    let first = builder.plane(corrected, 0);
    let rest = builder.graph.add(rest, branch);
    builder.graph.concat(first, rest, 2)
}

/// The residual streams as their mixture predicts them.
fn predict(builder: &mut Builder<'_>, x: TensorId, router: Router) -> TensorId {
    let (streams, n_tokens) = (u64::from(builder.model.hp.altup_num_inputs), builder.sizes.n_tokens);
    let active = builder.plane(x, 0);
    let modalities = modalities(builder, active, router);
    let coefficients = builder.linear("altup_predict_coef.weight", modalities, streams * streams);
    let graph = &mut builder.graph;
    let coefficients = graph.reshape_3d(coefficients, streams, streams, n_tokens);
    let by_stream = graph.permute(x, [1, 2, 0, 3]);
    let by_stream = graph.cont(by_stream);
    let mixed = graph.mul_mat(by_stream, coefficients);
    let back = graph.permute(mixed, [0, 2, 1, 3]);
    let back = graph.cont(back);
    graph.add(back, x)
}

fn gemma3n_attention(
    builder: &mut Builder<'_>,
    x: TensorId,
    positions: TensorId,
    [full, windowed]: &[AttentionInput; 2],
) -> TensorId {
    let layer = builder.layer;
    let input = if builder.model.is_windowed(layer) { windowed } else { full };
    let attended = if let Some(owner) = builder.model.shared_cache(layer) {
        let (length, heads) = (builder.model.key_length(layer), builder.model.head_count(layer));
        let queries = builder.linear("attn_q.weight", x, length * heads);
        let queries = builder.graph.reshape_3d(queries, length, heads, builder.sizes.n_tokens);
        let queries = builder.rms_norm("attn_q_norm.weight", queries);
        let queries = builder.graph.rope(queries, positions, TensorId::NONE);
        builder.attend_shared(owner, builder.model.head_count_kv(layer), input, queries)
    } else {
        let mut qkv = builder.projections(x, false);
        qkv.queries = builder.rms_norm("attn_q_norm.weight", qkv.queries);
        qkv.keys = builder.rms_norm("attn_k_norm.weight", qkv.keys);
        qkv.values = builder.graph.map(Op::RmsNorm, qkv.values);
        let qkv = builder.rope_queries_and_keys(qkv, positions, TensorId::NONE);
        builder.attend(input, qkv, TensorId::NONE)
    };
    builder.attention_output(attended, false)
}

/// The gated network; the first layers keep only activations well above their mean.
fn sparse_feed_forward(builder: &mut Builder<'_>, x: TensorId) -> TensorId {
    let length = dense_length(builder);
    let up = builder.linear("ffn_up.weight", x, length);
    let mut gate = builder.linear("ffn_gate.weight", x, length);
    if builder.layer < SPARSE_LAYERS {
        let graph = &mut builder.graph;
        let mean = graph.reduce(Op::Mean, gate);
        let difference = graph.sub(gate, mean);
        let squared = graph.map(Op::Sqr, difference);
        let sum = graph.sum_rows(squared);
        let variance = graph.scale(sum);
        let deviation = graph.map(Op::Sqrt, variance);
        let offset = graph.scale(deviation);
        let cutoff = graph.add(mean, offset);
        let above = graph.sub(gate, cutoff);
        gate = graph.unary(above);
    }
    let graph = &mut builder.graph;
    let active = graph.unary(gate);
    let product = graph.mul(up, active);
    builder.linear("ffn_down.weight", product, builder.model.n_embd)
}
