//! The bundled catalog: models and devices by any of their names.

use alloc::{format, string::String, vec::Vec};

use llm_vram_catalog::{
    Architecture, EngineRecord, HardwareRecord, ModelRecord, MtpExtra as RecordMtpExtra, PerBlock, QuantRecord, TensorFacts,
    TermRecord,
};

use crate::{
    error::{Error, ErrorKind, Result},
    model::{Facts, Hyperparameters, Model, MtpExtra, PerLayer, WindowPattern},
};

pub use llm_vram_catalog as data;

/// A model of the catalog: its record, and what follows from it.
#[derive(Debug, Clone)]
pub struct CatalogModel {
    /// The record.
    pub record: &'static ModelRecord,
    /// The validated model.
    pub model: Model,
}

/// The model of that id, alias, Hugging Face id or Ollama tag.
///
/// # Errors
/// [`ErrorKind::UnknownModel`] with the nearest ids; those of [`Model::new`] if the record is not valid.
///
/// ```
/// let llama = llm_vram_core::catalog::model("llama3.1:8b")?;
/// assert_eq!(llama.record.id, "llama-3.1-8b");
/// assert_eq!(llama.model.blocks().len(), 32);
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
pub fn model(name: &str) -> Result<CatalogModel> {
    let record = model_record(name)?;
    Ok(CatalogModel { record, model: Model::new(hyperparameters(record))? })
}

/// The record of the model of that id, alias, Hugging Face id or Ollama tag.
///
/// # Errors
/// [`ErrorKind::UnknownModel`] with the nearest ids.
pub fn model_record(name: &str) -> Result<&'static ModelRecord> {
    data::model(name)
        .ok_or_else(|| unknown(ErrorKind::UnknownModel, "model", "model", name, &data::suggest_model(name), "`llm-vram models`"))
}

/// The record of the device of that id or alias.
///
/// # Errors
/// [`ErrorKind::UnknownHardware`] with the nearest ids.
///
/// ```
/// let card = llm_vram_core::catalog::device("RTX 4090")?;
/// assert_eq!(card.memory_gib, Some(24));
/// let error = llm_vram_core::catalog::device("rtx-4060-ti").unwrap_err();
/// assert_eq!(error.help_text(), Some("did you mean `rtx-4060-ti-8gb` or `rtx-4060-ti-16gb`?"));
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
pub fn device(name: &str) -> Result<&'static HardwareRecord> {
    data::device(name).ok_or_else(|| {
        unknown(ErrorKind::UnknownHardware, "hardware", "device", name, &data::suggest_device(name), "`llm-vram gpus`")
    })
}

/// The record of the engine of that id or alias.
///
/// # Errors
/// [`ErrorKind::UnknownEngine`] with the nearest ids.
pub fn engine_record(name: &str) -> Result<&'static EngineRecord> {
    data::engine(name).ok_or_else(|| {
        unknown(ErrorKind::UnknownEngine, "engine", "engine", name, &data::suggest_engine(name), "`llm-vram engines`")
    })
}

/// The record of the weight format of that id or alias.
///
/// # Errors
/// [`ErrorKind::UnknownQuant`] with the nearest ids.
pub fn quant_record(name: &str) -> Result<&'static QuantRecord> {
    data::quant(name).ok_or_else(|| {
        unknown(ErrorKind::UnknownQuant, "quant", "weight format", name, &data::suggest_quant(name), "`llm-vram quant-formats`")
    })
}

/// The term of the glossary of that id, name or alias.
///
/// # Errors
/// [`ErrorKind::UnknownTerm`] with the nearest ids.
pub fn term(name: &str) -> Result<&'static TermRecord> {
    data::term(name)
        .ok_or_else(|| unknown(ErrorKind::UnknownTerm, "term", "term", name, &data::suggest_term(name), "`llm-vram glossary`"))
}

/// How much of a name that nothing is known by is repeated in a message.
const SHOWN: usize = 80;

#[cold]
fn unknown(kind: ErrorKind, field: &str, what: &str, name: &str, nearest: &[&'static str], list: &str) -> Error {
    let mut shown: String = name.chars().take(SHOWN).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    let quoted: Vec<String> = nearest.iter().take(3).map(|id| format!("`{id}`")).collect();
    let help = match quoted.as_slice() {
        [] => format!("{list} lists what the catalog has"),
        [one] => format!("did you mean {one}?"),
        [first @ .., last] => format!("did you mean {} or {last}?", first.join(", ")),
    };
    Error::new(kind, format!("the catalog has no {what} `{shown}`")).field(field).help(help)
}

/// The description that a record gives.
#[must_use]
#[allow(clippy::needless_update)]
pub fn hyperparameters(record: &ModelRecord) -> Hyperparameters {
    // Destructured, so that a field that is added to records cannot be forgotten here; the bake refuses
    // values of fields that records do not have.
    let Architecture {
        architecture,
        model_type,
        block_count,
        nextn_predict_layers,
        embedding_length,
        vocab_size,
        context_length,
        feed_forward_length,
        head_count,
        head_count_kv,
        key_length,
        value_length,
        key_length_swa,
        value_length_swa,
        sliding_window,
        sliding_window_pattern,
        shared_kv_layers,
        key_length_mla,
        value_length_mla,
        kv_lora_rank,
        q_lora_rank,
        indexer_head_count,
        indexer_key_length,
        indexer_top_k,
        indexer_layers,
        rope_dimension_count,
        full_attention_interval,
        recurrent_layers,
        expert_count,
        expert_used_count,
        expert_feed_forward_length,
        expert_shared_feed_forward_length,
        expert_shared_count,
        moe_latent_size,
        leading_dense_block_count,
        interleave_moe_layer_step,
        expert_group_count,
        expert_group_used_count,
        expert_gating_func,
        ssm_inner_size,
        ssm_state_size,
        ssm_conv_kernel,
        ssm_time_step_rank,
        ssm_group_count,
        kda_head_dim,
        wkv_head_size,
        token_shift_count,
        decay_lora_rank,
        iclr_lora_rank,
        value_residual_mix_lora_rank,
        gate_lora_rank,
        shortconv_l_cache,
        embedding_length_per_layer_input,
        altup_num_inputs,
        final_logit_softcapping,
        embedding_scale,
        residual_scale,
        logit_scale,
        facts: tensor_facts,
    } = record.architecture;
    Hyperparameters {
        architecture: String::from(architecture),
        model_type: String::from(model_type),
        name: String::from(record.name),
        block_count,
        nextn_predict_layers,
        embedding_length,
        vocab_size,
        context_length,
        feed_forward_length: per_layer(feed_forward_length),
        head_count: per_layer(head_count),
        head_count_kv: per_layer(head_count_kv),
        key_length,
        value_length,
        key_length_swa,
        value_length_swa,
        sliding_window,
        sliding_window_pattern: sliding_window_pattern.map(|pattern| match pattern {
            data::WindowPattern::Period(period) => WindowPattern::Period(period),
            data::WindowPattern::Each(flags) => WindowPattern::Each(flags.to_vec()),
        }),
        shared_kv_layers,
        key_length_mla,
        value_length_mla,
        kv_lora_rank,
        q_lora_rank,
        indexer_head_count,
        indexer_key_length,
        indexer_top_k,
        indexer_layers: indexer_layers.map(<[bool]>::to_vec),
        rope_dimension_count,
        full_attention_interval,
        recurrent_layers: recurrent_layers.map(<[bool]>::to_vec),
        expert_count,
        expert_used_count,
        expert_feed_forward_length,
        expert_shared_feed_forward_length,
        expert_shared_count,
        moe_latent_size,
        leading_dense_block_count,
        interleave_moe_layer_step,
        expert_group_count,
        expert_group_used_count,
        expert_gating_func,
        ssm_inner_size,
        ssm_state_size,
        ssm_conv_kernel,
        ssm_time_step_rank,
        ssm_group_count,
        kda_head_dim,
        wkv_head_size,
        token_shift_count,
        decay_lora_rank,
        iclr_lora_rank,
        value_residual_mix_lora_rank,
        gate_lora_rank,
        shortconv_l_cache,
        embedding_length_per_layer_input,
        altup_num_inputs,
        final_logit_softcapping,
        embedding_scale,
        residual_scale,
        logit_scale,
        facts: facts(tensor_facts),
        ..Hyperparameters::default()
    }
}

fn per_layer(values: PerBlock) -> PerLayer<u32> {
    match values {
        PerBlock::Uniform(value) => PerLayer::Uniform(value),
        PerBlock::Each(values) => PerLayer::Each(values.to_vec()),
    }
}

#[allow(clippy::needless_update)]
fn facts(stated: TensorFacts) -> Facts {
    let TensorFacts {
        tied,
        qkv_bias,
        o_bias,
        ffn_bias,
        fused_qkv,
        fused_gate_up_exps,
        exp_probs_b,
        rope_freqs,
        rope_factors,
        qk_norm,
        conv_bias,
        ssm_norm,
        output_bias,
        cls_out,
        layer_scale,
        v_on_full,
        kv_on_shared,
        fused_ssm_in,
        attn_norm_2,
        moe_layers,
        mtp_extra,
    } = stated;
    Facts {
        tied,
        qkv_bias,
        o_bias,
        ffn_bias,
        fused_qkv,
        fused_gate_up_exps,
        exp_probs_b,
        rope_freqs,
        rope_factors,
        qk_norm,
        conv_bias,
        ssm_norm,
        output_bias,
        cls_out,
        layer_scale,
        v_on_full,
        kv_on_shared,
        fused_ssm_in,
        attn_norm_2,
        moe_layers,
        mtp_extra: match mtp_extra {
            RecordMtpExtra::HeadNorm => MtpExtra::HeadNorm,
            RecordMtpExtra::OwnTables => MtpExtra::OwnTables,
            _ => MtpExtra::None,
        },
        ..Facts::default()
    }
}
