//! Phi-3, Phi-4 and Phi-3.5-MoE (`src/models/phi3.cpp`, `phimoe.cpp`).

use crate::{
    engine::llama_cpp::compute::{
        builder::{Builder, Experts, FeedForwardShape, Head, Normalisation},
        tensor::TensorId,
    },
    model::FeedForward,
};

pub(super) fn build(builder: &mut Builder<'_>) {
    let has_experts = builder.model.hp.expert_count > 0;
    let norm = |weight, bias| {
        let norm = Normalisation::rms(weight);
        if has_experts { norm.with_bias(bias) } else { norm }
    };
    let x = builder.embeddings(false);
    let positions = builder.positions();
    let input = builder.attention_input();
    let rows = builder.output_rows();
    let x = builder.for_each_layer(x, |builder, x| {
        let factors = if builder.model.has_rope_factors() {
            builder.rope_factors(builder.model.key_length(builder.layer) / 2)
        } else {
            TensorId::NONE
        };
        let cur = builder.norm(norm("attn_norm.weight", "attn_norm.bias"), x);
        let qkv = if has_experts { builder.projections(cur, true) } else { builder.fused_projections(cur, false) };
        let mut qkv = builder.rope_queries_and_keys(qkv, positions, factors);
        qkv.queries = builder.graph.scale(qkv.queries);
        let cur = builder.attend(&input, qkv, TensorId::NONE);
        let cur = builder.attention_output(cur, has_experts);
        let [cur, residual] = builder.keep_rows_of_last(cur, x, rows);
        let after_attention = builder.graph.add(cur, residual);
        let cur = builder.norm(norm("ffn_norm.weight", "ffn_norm.bias"), after_attention);
        let cur = match builder.model.feed_forward(builder.layer) {
            FeedForward::Dense { length } => builder.dense(cur, length.into(), FeedForwardShape::Fused, false),
            _ => builder.feed_forward(cur, &Experts::NORMALISED),
        };
        builder.graph.add(after_attention, cur)
    });
    builder.logits(x, Head { norm: norm("output_norm.weight", "output_norm.bias"), has_bias: has_experts, ..Head::RMS });
}
