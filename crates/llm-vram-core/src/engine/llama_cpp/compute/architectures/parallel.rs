//! Attention and feed-forward side by side on one norm (`src/models/command-r.cpp`, `cohere2.cpp`).

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
