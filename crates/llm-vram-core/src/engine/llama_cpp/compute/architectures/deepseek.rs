//! DeepSeek V2, V3, V3.2 and what shares their layout (`src/models/deepseek2.cpp`, `deepseek32.cpp`,
//! `glm-dsa.cpp`).

use crate::{
    engine::llama_cpp::compute::{
        builder::{Builder, Experts, Gating, Head},
        tensor::TensorId,
    },
    quant::GgmlType,
};

pub(super) fn deepseek2(builder: &mut Builder<'_>) {
    let x = builder.embeddings(false);
    let temperature = if builder.model.has_attention_temperature() {
        builder.graph.input("attention temperature", GgmlType::F32, [1, 1, builder.sizes.n_tokens, 1])
    } else {
        TensorId::NONE
    };
    let positions = builder.positions();
    let input = builder.latent_input();
    let rows = builder.output_rows();
    let experts = experts(builder);
    let x = builder.for_each_layer(x, |builder, x| {
        let Some(latent) = builder.model.latent(builder.layer) else { return x };
        let cur = builder.rms_norm("attn_norm.weight", x);
        let cur = builder.latent_attention(latent, &input, cur, [positions, temperature]);
        after_attention(builder, [cur, x, rows], &experts)
    });
    builder.logits(x, Head::RMS);
}

/// DeepSeek V3.2, and GLM 5 and 5.2, where layers without an indexer reuse the last selection.
pub(super) fn deepseek32(builder: &mut Builder<'_>) {
    let x = builder.embeddings(false);
    let positions = builder.positions();
    let input = builder.latent_input();
    let indexer = builder.indexer_input(builder.model.hp.indexer_key_length.unwrap_or(0).into());
    let rows = builder.output_rows();
    let experts = experts(builder);
    let mut selected = TensorId::NONE;
    let x = builder.for_each_layer(x, |builder, x| {
        let Some(latent) = builder.model.latent(builder.layer) else { return x };
        let cur = builder.rms_norm("attn_norm.weight", x);
        let cur = builder.indexed_attention(latent, &input, &indexer, cur, positions, &mut selected);
        after_attention(builder, [cur, x, rows], &experts)
    });
    builder.logits(x, Head::RMS);
}

fn experts(builder: &Builder<'_>) -> Experts {
    let hp = builder.model.hp;
    Experts {
        gating: if hp.expert_gating_func == 2 { Gating::Sigmoid } else { Gating::Softmax },
        normalises_weights: hp.expert_weights_norm.unwrap_or(false),
        scales_weights: builder.model.scales_expert_weights(),
        has_choice_bias: builder.model.has_router_bias(),
        groups: (hp.expert_group_count.into(), hp.expert_group_used_count.into()),
        ..Experts::SOFTMAX
    }
}

fn after_attention(builder: &mut Builder<'_>, [cur, x, rows]: [TensorId; 3], experts: &Experts) -> TensorId {
    let [cur, residual] = builder.keep_rows_of_last(cur, x, rows);
    let after_attention = builder.graph.add(cur, residual);
    let cur = builder.rms_norm("ffn_norm.weight", after_attention);
    let cur = builder.feed_forward(cur, experts);
    builder.graph.add(cur, after_attention)
}
