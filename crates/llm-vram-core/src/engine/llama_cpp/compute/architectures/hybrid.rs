//! Recurrent models and those that mix recurrent and attention layers (`src/models/mamba.cpp`, `jamba.cpp`,
//! `granite-hybrid.cpp`, `nemotron-h.cpp`, `lfm2.cpp`, `mamba2.cpp`, `lfm2moe.cpp`, `falcon-h1.cpp`, `plamo2.cpp`).

use crate::{
    engine::llama_cpp::compute::{
        builder::{Builder, Experts, FeedForwardShape, Gating, Head, Normalisation},
        tensor::TensorId,
    },
    model::{Attention, FeedForward},
};

pub(super) fn mamba(builder: &mut Builder<'_>) {
    let x = builder.embeddings(false);
    let states = builder.recurrent_input();
    let rows = builder.output_rows();
    let x = builder.for_each_layer(x, |builder, x| {
        let cur = builder.rms_norm("attn_norm.weight", x);
        let is_second = builder.model.architecture() == "mamba2";
        let cur = if is_second { builder.mamba2(&states, cur, true) } else { builder.mamba1(&states, cur, false) };
        let [cur, x] = builder.keep_rows_of_last(cur, x, rows);
        builder.graph.add(cur, x)
    });
    builder.logits(x, Head::RMS);
}

pub(super) fn jamba(builder: &mut Builder<'_>) {
    let x = builder.embeddings(false);
    let states = builder.recurrent_input();
    let input = builder.attention_input();
    let rows = builder.output_rows();
    let x = builder.for_each_layer(x, |builder, x| {
        let mut cur = builder.rms_norm("attn_norm.weight", x);
        if builder.model.recurrent(builder.layer).is_some() {
            cur = builder.mamba1(&states, cur, true);
        } else {
            let qkv = builder.projections(cur, false);
            cur = builder.attend(&input, qkv, TensorId::NONE);
            cur = builder.attention_output(cur, false);
        }
        let [cur, x] = builder.keep_rows_of_last(cur, x, rows);
        let after_attention = builder.graph.add(x, cur);
        let cur = builder.rms_norm("ffn_norm.weight", after_attention);
        let cur = builder.feed_forward(cur, &Experts::SOFTMAX);
        builder.graph.add(after_attention, cur)
    });
    builder.logits(x, Head::RMS);
}

pub(super) fn granite_hybrid(builder: &mut Builder<'_>) {
    let x = builder.embeddings(false);
    let states = builder.recurrent_input();
    let input = builder.attention_input();
    let rows = builder.output_rows();
    let positions = builder.positions();
    let rotates = builder.model.hp.rope_scaling_finetuned.unwrap_or(true);
    let x = builder.for_each_layer(x, |builder, x| {
        let mut cur = builder.rms_norm("attn_norm.weight", x);
        if builder.model.recurrent(builder.layer).is_some() {
            cur = builder.mamba2(&states, cur, true);
        } else {
            let qkv = builder.projections(cur, false);
            let qkv = if rotates { builder.rope_queries_and_keys(qkv, positions, TensorId::NONE) } else { qkv };
            cur = builder.attend(&input, qkv, TensorId::NONE);
            cur = builder.attention_output(cur, false);
        }
        let [cur, residual] = builder.keep_rows_of_last(cur, x, rows);
        let scaled = builder.graph.scale(cur);
        let after_attention = builder.graph.add(scaled, residual);
        let cur = builder.rms_norm("ffn_norm.weight", after_attention);
        let cur = builder.feed_forward(cur, &Experts::NORMALISED);
        let scaled = builder.graph.scale(cur);
        builder.graph.add(scaled, after_attention)
    });
    builder.logits(x, Head { is_scaled: true, ..Head::RMS });
}

pub(super) fn nemotron_h(builder: &mut Builder<'_>) {
    let x = builder.embeddings(false);
    let states = builder.recurrent_input();
    let input = builder.attention_input();
    let rows = builder.output_rows();
    let x = builder.for_each_layer(x, |builder, x| {
        let mut cur = builder.rms_norm("attn_norm.weight", x);
        // Each layer is one block of one kind.
        if builder.model.recurrent(builder.layer).is_some() {
            cur = builder.mamba2(&states, cur, true);
        } else if let FeedForward::Dense { length } = builder.model.feed_forward(builder.layer) {
            let has_bias = builder.model.hp.facts.ffn_bias;
            cur = builder.dense(cur, length.into(), FeedForwardShape::UngatedSquared, has_bias);
        } else if builder.model.attention(builder.layer) == Some(Attention::None) {
            cur = experts_of_latent(builder, cur);
        } else {
            let qkv = builder.projections(cur, false);
            cur = builder.attend(&input, qkv, TensorId::NONE);
            cur = builder.attention_output(cur, false);
        }
        builder.graph.add(cur, x)
    });
    builder.logits_of_rows(x, rows, Head::RMS);
}

/// Nemotron 3's experts, of two matrices each: they may read and write a projection of the hidden state.
fn experts_of_latent(builder: &mut Builder<'_>, x: TensorId) -> TensorId {
    let FeedForward::Experts { count, shared_length, .. } = builder.model.feed_forward(builder.layer) else { return x };
    let experts =
        Experts { gating: Gating::Sigmoid, shape: FeedForwardShape::UngatedSquared, ..Experts::described(&builder.model) };
    let latent = u64::from(builder.model.hp.moe_latent_size);
    let logits = builder.linear("ffn_gate_inp.weight", x, count.into());
    let input = if latent > 0 { builder.linear("ffn_latent_down.weight", x, latent) } else { x };
    let mut routed = builder.routed_experts_by(input, logits, &experts);
    if latent > 0 {
        routed = builder.linear("ffn_latent_up.weight", routed, builder.model.n_embd);
    }
    let shared = builder.shared_experts(x, shared_length.into(), FeedForwardShape::UngatedSquared);
    builder.graph.add(routed, shared)
}

/// Falcon-H1: attention and Mamba 2 side by side, each behind a norm of its own.
pub(super) fn falcon_h1(builder: &mut Builder<'_>) {
    let facts = &builder.model.hp.facts;
    let (has_norm, ffn_bias) = (facts.ssm_norm, facts.ffn_bias);
    let x = builder.embeddings(false);
    let positions = builder.positions();
    let states = builder.recurrent_input();
    let input = builder.attention_input();
    let rows = builder.output_rows();
    let x = builder.for_each_layer(x, |builder, x| {
        let normed = builder.rms_norm("attn_norm.weight", x);
        let qkv = builder.projections(normed, false);
        let qkv = builder.rope_queries_and_keys(qkv, positions, TensorId::NONE);
        let attended = builder.attend(&input, qkv, TensorId::NONE);
        let attended = builder.attention_output(attended, false);
        let normed = builder.rms_norm("attn_norm.weight", x);
        let mixed = builder.mamba2(&states, normed, has_norm);
        let both = builder.graph.add(attended, mixed);
        let mut residual = builder.graph.add(both, x);
        if builder.is_last_layer() {
            residual = builder.keep_rows(residual, rows);
        }
        let cur = builder.rms_norm("ffn_norm.weight", residual);
        let cur = match builder.model.feed_forward(builder.layer) {
            FeedForward::Dense { length } => builder.dense(cur, length.into(), FeedForwardShape::Gated, ffn_bias),
            _ => cur,
        };
        builder.graph.add(cur, residual)
    });
    builder.logits(x, Head::RMS);
}

/// PLaMo 2: Mamba or attention between norms.
pub(super) fn plamo2(builder: &mut Builder<'_>) {
    let x = builder.embeddings(false);
    let positions = builder.positions();
    let states = builder.recurrent_input();
    let input = builder.attention_input();
    let rows = builder.output_rows();
    let x = builder.for_each_layer(x, |builder, x| {
        let mut cur = builder.rms_norm("attn_norm.weight", x);
        if builder.model.recurrent(builder.layer).is_some() {
            cur = builder.mamba_of_heads(&states, cur);
        } else {
            let mut qkv = builder.fused_projections(cur, false);
            qkv.queries = builder.norm(Normalisation::rms("attn_q_norm.weight").grouped(), qkv.queries);
            qkv.keys = builder.norm(Normalisation::rms("attn_k_norm.weight").grouped(), qkv.keys);
            let qkv = builder.rope_queries_and_keys(qkv, positions, TensorId::NONE);
            cur = builder.attend(&input, qkv, TensorId::NONE);
            cur = builder.attention_output(cur, false);
        }
        let [cur, residual] = builder.keep_rows_of_last(cur, x, rows);
        let cur = builder.rms_norm("post_attention_norm.weight", cur);
        let after_attention = builder.graph.add(cur, residual);
        let cur = builder.rms_norm("ffn_norm.weight", after_attention);
        let cur = match builder.model.feed_forward(builder.layer) {
            FeedForward::Dense { length } => builder.dense(cur, length.into(), FeedForwardShape::Fused, false),
            _ => cur,
        };
        let cur = builder.rms_norm("post_ffw_norm.weight", cur);
        builder.graph.add(cur, after_attention)
    });
    builder.logits(x, Head::RMS);
}

pub(super) fn lfm2(builder: &mut Builder<'_>) {
    let gating = if builder.model.hp.expert_gating_func == 2 { Gating::Sigmoid } else { Gating::Softmax };
    let experts = Experts { gating, has_choice_bias: builder.model.has_router_bias(), ..Experts::NORMALISED };
    let x = builder.embeddings(false);
    let states = builder.recurrent_input();
    let input = builder.attention_input();
    let positions = builder.positions();
    let rows = builder.output_rows();
    let x = builder.for_each_layer(x, |builder, x| {
        let mut cur = builder.rms_norm("attn_norm.weight", x);
        if builder.model.recurrent(builder.layer).is_some() {
            cur = builder.short_convolution(&states, cur);
        } else {
            let mut qkv = builder.projections(cur, false);
            qkv.queries = builder.rms_norm("attn_q_norm.weight", qkv.queries);
            qkv.keys = builder.rms_norm("attn_k_norm.weight", qkv.keys);
            let qkv = builder.rope_queries_and_keys(qkv, positions, TensorId::NONE);
            cur = builder.attend(&input, qkv, TensorId::NONE);
            cur = builder.attention_output(cur, false);
        }
        let [cur, x] = builder.keep_rows_of_last(cur, x, rows);
        let after_attention = builder.graph.add(x, cur);
        let cur = builder.rms_norm("ffn_norm.weight", after_attention);
        let cur = builder.feed_forward(cur, &experts);
        builder.graph.add(after_attention, cur)
    });
    builder.logits(x, Head::RMS);
}
