//! Attention and feed-forward side by side on one norm (`src/models/command-r.cpp`, `cohere2.cpp`, `phi2.cpp`,
//! `stablelm.cpp`, `gptneox.cpp`).

use crate::{
    engine::llama_cpp::compute::{
        builder::{Builder, FeedForwardShape, Head, Normalisation},
        tensor::TensorId,
    },
    model::FeedForward,
};

/// Command R, and Command R7B with windowed layers, which alone rotate.
pub(super) fn command_r(builder: &mut Builder<'_>) {
    let has_windows = builder.model.window() > 0;
    let x = builder.embeddings(false);
    let positions = builder.positions();
    let [full, windowed] = if has_windows { builder.windowed_attention_inputs() } else { [builder.attention_input(); 2] };
    let rows = builder.output_rows();
    let x = builder.for_each_layer(x, |builder, x| {
        let normed = builder.norm(Normalisation::layer("attn_norm.weight"), x);
        let qkv = builder.projections(normed, false);
        let is_windowed = builder.model.is_windowed(builder.layer);
        let qkv = if is_windowed || !has_windows { builder.rope_queries_and_keys(qkv, positions, TensorId::NONE) } else { qkv };
        let attended = builder.attend(if is_windowed { &windowed } else { &full }, qkv, TensorId::NONE);
        let attended = builder.attention_output(attended, false);
        let [attended, x] = builder.keep_rows_of_last(attended, x, rows);
        let normed = if builder.is_last_layer() { builder.keep_rows(normed, rows) } else { normed };
        let length = match builder.model.feed_forward(builder.layer) {
            FeedForward::Dense { length } => length.into(),
            _ => 0,
        };
        let fed = builder.dense(normed, length, FeedForwardShape::Gated, false);
        let sum = builder.graph.add(fed, x);
        builder.graph.add(sum, attended)
    });
    builder.logits(x, Head { norm: Normalisation::layer("output_norm.weight"), is_scaled: true, ..Head::RMS });
}

const ATTENTION_NORM: Normalisation = Normalisation::layer("attn_norm.weight").with_bias("attn_norm.bias");
const NETWORK_NORM: Normalisation = Normalisation::layer("ffn_norm.weight").with_bias("ffn_norm.bias");
const LAST_NORM: Normalisation = Normalisation::layer("output_norm.weight").with_bias("output_norm.bias");

/// Width of the current layer's dense network.
fn dense_length(builder: &Builder<'_>) -> u64 {
    match builder.model.feed_forward(builder.layer) {
        FeedForward::Dense { length } => length.into(),
        _ => 0,
    }
}

/// Phi-1 and Phi-2.
pub(super) fn phi2(builder: &mut Builder<'_>) {
    let x = builder.embeddings(false);
    let positions = builder.positions();
    let input = builder.attention_input();
    let rows = builder.output_rows();
    let x = builder.for_each_layer(x, |builder, x| {
        let normed = builder.norm(ATTENTION_NORM, x);
        let qkv = builder.projections(normed, true);
        let mut qkv = builder.rope_queries_and_keys(qkv, positions, TensorId::NONE);
        qkv.queries = builder.graph.scale(qkv.queries);
        let attended = builder.attend(&input, qkv, TensorId::NONE);
        let attended = builder.attention_output(attended, true);
        let [attended, x] = builder.keep_rows_of_last(attended, x, rows);
        let normed = if builder.is_last_layer() { builder.keep_rows(normed, rows) } else { normed };
        let fed = builder.dense(normed, dense_length(builder), FeedForwardShape::Ungated, true);
        let sum = builder.graph.add(attended, fed);
        builder.graph.add(sum, x)
    });
    builder.logits(x, Head { norm: LAST_NORM, has_bias: true, ..Head::RMS });
}

/// StableLM; without a second norm both blocks read the first one.
pub(super) fn stablelm(builder: &mut Builder<'_>) {
    let has_second_norm = builder.model.may_have("ffn_norm.weight");
    let facts = &builder.model.hp.facts;
    let (qkv_bias, norms_heads) = (facts.qkv_bias, facts.qk_norm);
    let x = builder.embeddings(false);
    let positions = builder.positions();
    let input = builder.attention_input();
    let rows = builder.output_rows();
    let x = builder.for_each_layer(x, |builder, x| {
        let normed = builder.norm(ATTENTION_NORM, x);
        let mut qkv = builder.projections(normed, qkv_bias);
        if norms_heads {
            qkv.queries = builder.norm(Normalisation::layer("attn_q_norm.weight").grouped(), qkv.queries);
            qkv.keys = builder.norm(Normalisation::layer("attn_k_norm.weight").grouped(), qkv.keys);
        }
        let qkv = builder.rope_queries_and_keys(qkv, positions, TensorId::NONE);
        let attended = builder.attend(&input, qkv, TensorId::NONE);
        let attended = builder.attention_output(attended, false);
        let [attended, x] = builder.keep_rows_of_last(attended, x, rows);
        let after_attention = builder.graph.add(attended, x);
        let cur = if has_second_norm {
            builder.norm(NETWORK_NORM, after_attention)
        } else if builder.is_last_layer() {
            builder.keep_rows(normed, rows)
        } else {
            normed
        };
        let fed = builder.dense(cur, dense_length(builder), FeedForwardShape::Gated, false);
        builder.graph.add(fed, after_attention)
    });
    builder.logits(x, Head { norm: LAST_NORM, ..Head::RMS });
}

/// GPT-NeoX and Pythia: the network reads the layer's input, or what attention made of it.
pub(super) fn gptneox(builder: &mut Builder<'_>) {
    let is_parallel = builder.model.hp.use_parallel_residual.unwrap_or(true);
    let x = builder.embeddings(false);
    let positions = builder.positions();
    let input = builder.attention_input();
    let rows = builder.output_rows();
    let x = builder.for_each_layer(x, |builder, x| {
        let normed = builder.norm(ATTENTION_NORM, x);
        let qkv = builder.projections(normed, true);
        let qkv = builder.rope_queries_and_keys(qkv, positions, TensorId::NONE);
        let attended = builder.attend(&input, qkv, TensorId::NONE);
        let attended = builder.attention_output(attended, true);
        let [attended, x] = builder.keep_rows_of_last(attended, x, rows);
        let residual = if is_parallel { x } else { builder.graph.add(attended, x) };
        let cur = builder.norm(NETWORK_NORM, residual);
        let fed = builder.dense(cur, dense_length(builder), FeedForwardShape::Ungated, true);
        let sum = builder.graph.add(fed, residual);
        if is_parallel { builder.graph.add(sum, attended) } else { sum }
    });
    builder.logits(x, Head { norm: LAST_NORM, ..Head::RMS });
}
