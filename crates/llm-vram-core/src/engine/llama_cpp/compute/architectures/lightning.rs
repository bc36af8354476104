//! MiniMax-01: lightning attention, every few layers full attention, experts in all
//! (`src/models/minimax-01.cpp`).

use crate::engine::llama_cpp::compute::{
    builder::{Builder, Experts, Head},
    tensor::TensorId,
};

pub(super) fn build(builder: &mut Builder<'_>) {
    let experts = Experts { normalises_weights: true, scales_weights: builder.model.scales_expert_weights(), ..Experts::SOFTMAX };
    let x = builder.embeddings(false);
    let states = builder.recurrent_input();
    let input = builder.attention_input();
    let positions = builder.positions();
    let rows = builder.output_rows();
    let decay = builder.decay_input();
    let x = builder.for_each_layer(x, |builder, x| {
        let normed = builder.rms_norm("attn_norm.weight", x);
        let mixed = if builder.model.recurrent(builder.layer).is_some() {
            builder.lightning_attention(&states, &decay, normed)
        } else {
            let qkv = builder.projections(normed, false);
            let qkv = builder.rope_queries_and_keys(qkv, positions, TensorId::NONE);
            let attended = builder.attend(&input, qkv, TensorId::NONE);
            builder.attention_output(attended, false)
        };
        // The residuals are what the norms gave, scaled.
        let [mixed, residual] = builder.keep_rows_of_last(mixed, normed, rows);
        let residual = builder.graph.scale(residual);
        let after_attention = builder.graph.add(mixed, residual);
        let normed = builder.rms_norm("ffn_norm.weight", after_attention);
        let fed = builder.feed_forward(normed, &experts);
        let residual = builder.graph.scale(normed);
        builder.graph.add(fed, residual)
    });
    builder.logits(x, Head::RMS);
}
