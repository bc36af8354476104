//! Qwen3-Next and Qwen3.5: gated delta nets, every few layers gated full attention
//! (`src/models/qwen3next.cpp`, `qwen35.cpp`, `qwen35moe.cpp`).

use crate::{
    engine::llama_cpp::compute::{
        builder::{AttentionInput, Builder, Experts, FeedForwardShape, Head},
        tensor::TensorId,
    },
    model::FeedForward,
};

pub(super) fn build(builder: &mut Builder<'_>) {
    let is_first_design = builder.model.architecture() == "qwen3next";
    let x = builder.embeddings(false);
    let states = builder.recurrent_input();
    let input = builder.attention_input();
    let positions = builder.positions();
    let rows = builder.output_rows();
    let x = builder.for_each_layer(x, |builder, x| {
        let normed = builder.rms_norm("attn_norm.weight", x);
        builder.graph.expand(normed);
        let mixed = if builder.model.recurrent(builder.layer).is_some() {
            builder.gated_delta_net(&states, normed, is_first_design)
        } else {
            gated_attention(builder, normed, &input, positions, is_first_design)
        };
        let after_attention = builder.graph.add(mixed, x);
        let cur = builder.rms_norm("post_attention_norm.weight", after_attention);
        let cur = feed_forward(builder, cur);
        builder.graph.add(cur, after_attention)
    });
    builder.logits_of_rows(x, rows, Head::RMS);
}

/// Attention whose output is gated; queries and gates come from one matrix, head by head.
fn gated_attention(
    builder: &mut Builder<'_>,
    x: TensorId,
    input: &AttentionInput,
    positions: TensorId,
    is_first_design: bool,
) -> TensorId {
    let layer = builder.layer;
    let (heads, heads_kv) = (builder.model.head_count(layer), builder.model.head_count_kv(layer));
    let (key, value) = (builder.model.key_length(layer), builder.model.value_length(layer));
    let n_tokens = builder.sizes.n_tokens;
    let flat = builder.flat_projections(x, [2 * key * heads, key * heads_kv, value * heads_kv], false);
    let graph = &mut builder.graph;
    let both = if is_first_design { graph.reshape_3d(flat.queries, 2 * key, heads, n_tokens) } else { flat.queries };
    let strides = [8 * key, 8 * key * heads];
    let queries = graph.view_3d(both, [key, heads, n_tokens], strides, 0);
    let gate = graph.view_3d(both, [key, heads, n_tokens], strides, 4 * key);
    let mut qkv = flat;
    qkv.queries = queries;
    qkv.keys = graph.reshape_3d(flat.keys, key, heads_kv, n_tokens);
    qkv.values = graph.reshape_3d(flat.values, value, heads_kv, n_tokens);
    qkv.queries = builder.rms_norm("attn_q_norm.weight", qkv.queries);
    qkv.keys = builder.rms_norm("attn_k_norm.weight", qkv.keys);
    let gate = builder.graph.cont_as(gate, [key * heads, n_tokens, 1, 1]);
    let qkv = builder.rope_queries_and_keys(qkv, positions, TensorId::NONE);
    let attended = builder.attend(input, qkv, TensorId::NONE);
    let gate = builder.graph.sigmoid(gate);
    let gated = builder.graph.mul(attended, gate);
    builder.attention_output(gated, false)
}

/// A dense network, or experts with a gated shared one.
fn feed_forward(builder: &mut Builder<'_>, x: TensorId) -> TensorId {
    match builder.model.feed_forward(builder.layer) {
        FeedForward::Experts { shared_length, .. } if shared_length > 0 => {
            let routed = builder.routed_experts(x, &Experts::NORMALISED);
            let shared = builder.shared_experts(x, shared_length.into(), FeedForwardShape::Gated);
            let gate = builder.linear("ffn_gate_inp_shexp.weight", x, 1);
            let gate = builder.graph.sigmoid(gate);
            let shared = builder.graph.mul(shared, gate);
            builder.graph.add(routed, shared)
        }
        _ => builder.feed_forward(x, &Experts::NORMALISED),
    }
}
