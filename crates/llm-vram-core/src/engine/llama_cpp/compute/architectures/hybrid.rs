//! Recurrent models and those that mix recurrent and attention layers (`src/models/mamba.cpp`, `jamba.cpp`,
//! `granite-hybrid.cpp`, `nemotron-h.cpp`, `lfm2.cpp`, `mamba2.cpp`, `lfm2moe.cpp`).

use crate::{
    engine::llama_cpp::compute::{
        builder::{Builder, Experts, FeedForwardShape, Gating, Head},
        tensor::TensorId,
    },
    model::FeedForward,
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
    let x = builder.for_each_layer(x, |builder, x| {
        let mut cur = builder.rms_norm("attn_norm.weight", x);
        if builder.model.recurrent(builder.layer).is_some() {
            cur = builder.mamba2(&states, cur, true);
        } else {
            let qkv = builder.projections(cur, false);
            let qkv = builder.rope_queries_and_keys(qkv, positions, TensorId::NONE);
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
            cur = builder.dense(cur, length.into(), FeedForwardShape::UngatedSquared, false);
        } else {
            let qkv = builder.projections(cur, false);
            cur = builder.attend(&input, qkv, TensorId::NONE);
            cur = builder.attention_output(cur, false);
        }
        builder.graph.add(cur, x)
    });
    builder.logits_of_rows(x, rows, Head::RMS);
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
