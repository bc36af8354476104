//! RWKV 7, and its time mixing with a gated network (`src/models/rwkv7.cpp`, `arwkv7.cpp`).

use crate::{
    engine::llama_cpp::compute::{
        builder::{Builder, FeedForwardShape, Head, Normalisation},
        tensor::TensorId,
    },
    model::FeedForward,
};

pub(super) fn build(builder: &mut Builder<'_>) {
    if builder.model.architecture() == "rwkv7" { rwkv7(builder) } else { arwkv7(builder) }
}

fn dense_length(builder: &Builder<'_>) -> u64 {
    match builder.model.feed_forward(builder.layer) {
        FeedForward::Dense { length } => length.into(),
        _ => 0,
    }
}

fn rwkv7(builder: &mut Builder<'_>) {
    let x = builder.embeddings(false);
    let host = builder.placement.host();
    let x = builder.norm_on(Normalisation::layer("token_embd_norm.weight").with_bias("token_embd_norm.bias"), x, host);
    let states = builder.recurrent_input();
    let rows = builder.output_rows();
    let mut first_values = TensorId::NONE;
    let x = builder.for_each_layer(x, |builder, x| {
        let x = builder.by_sequence(x);
        let shifts = builder.token_shifts(&states);
        let [time_shift, channel_shift] = [0, 1].map(|index| builder.token_shift(shifts, index));
        let normed = builder.norm(Normalisation::layer("attn_norm.weight").with_bias("attn_norm.bias"), x);
        let previous = builder.shifted(time_shift, normed);
        let mixed = builder.time_mix(&states, normed, previous, &mut first_values);
        let mut residual = builder.graph.add(mixed, x);
        let mut fed = builder.norm(Normalisation::layer("attn_norm_2.weight").with_bias("attn_norm_2.bias"), residual);
        let mut previous = builder.shifted(channel_shift, fed);
        let newest = [builder.last_token(normed), builder.last_token(fed)];
        let newest = builder.graph.concat(newest[0], newest[1], 1);
        builder.store_token_shifts(newest);
        [residual, fed, previous] = [residual, fed, previous].map(|tensor| builder.by_token(tensor));
        if builder.is_last_layer() {
            [residual, fed, previous] = [residual, fed, previous].map(|tensor| builder.keep_rows(tensor, rows));
        }
        let length = dense_length(builder);
        let fed = builder.channel_mix(fed, previous, length);
        builder.graph.add(fed, residual)
    });
    builder.logits(x, Head { norm: Normalisation::layer("output_norm.weight").with_bias("output_norm.bias"), ..Head::RMS });
}

fn arwkv7(builder: &mut Builder<'_>) {
    let x = builder.embeddings(false);
    let states = builder.recurrent_input();
    let rows = builder.output_rows();
    let mut first_values = TensorId::NONE;
    let x = builder.for_each_layer(x, |builder, x| {
        let x = builder.by_sequence(x);
        let shift = builder.token_shifts(&states);
        let normed = builder.rms_norm("attn_norm.weight", x);
        let previous = builder.shifted(shift, normed);
        let mixed = builder.time_mix(&states, normed, previous, &mut first_values);
        let newest = builder.last_token(normed);
        builder.store_token_shifts(newest);
        let residual = builder.graph.add(mixed, x);
        let mut residual = builder.by_token(residual);
        if builder.is_last_layer() {
            residual = builder.keep_rows(residual, rows);
        }
        let cur = builder.rms_norm("ffn_norm.weight", residual);
        let length = dense_length(builder);
        let cur = builder.dense(cur, length, FeedForwardShape::Gated, false);
        builder.graph.add(cur, residual)
    });
    builder.logits(x, Head::RMS);
}
