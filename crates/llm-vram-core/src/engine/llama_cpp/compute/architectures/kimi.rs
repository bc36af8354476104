//! Kimi Linear: Kimi delta attention, and latent attention without RoPE in some layers
//! (`src/models/kimi-linear.cpp`).

use crate::engine::llama_cpp::compute::builder::{Builder, Experts, Head};

pub(super) fn build(builder: &mut Builder<'_>) {
    let x = builder.embeddings(false);
    let states = builder.recurrent_input();
    let input = builder.latent_input();
    let rows = builder.output_rows();
    let experts = Experts { normalises_weights: true, ..Experts::described(&builder.model) };
    let x = builder.for_each_layer(x, |builder, x| {
        let normed = builder.rms_norm("attn_norm.weight", x);
        builder.graph.expand(normed);
        let mixed = match builder.model.latent(builder.layer) {
            Some(latent) => builder.latent_attention_without_rope(latent, &input, normed),
            None => builder.kimi_delta_attention(&states, normed),
        };
        let [mixed, residual] = builder.keep_rows_of_last(mixed, x, rows);
        let after_attention = builder.graph.add(mixed, residual);
        let cur = builder.rms_norm("ffn_norm.weight", after_attention);
        let cur = builder.feed_forward(cur, &experts);
        builder.graph.add(cur, after_attention)
    });
    builder.logits(x, Head::RMS);
}
