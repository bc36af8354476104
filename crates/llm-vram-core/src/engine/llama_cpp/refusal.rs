//! Combinations that llama.cpp itself refuses, said as it says them.
//!
//! Source: `src/llama-context.cpp` (`llama_init_from_model`), llama-cpp-sys-2 0.1.161.

use alloc::{format, string::String};

use super::{options::Parameters, window::Windows};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Attention, Model},
    quant::GgmlType,
    workload::FlashAttention,
};

/// Checks the options against the model.
///
/// # Errors
/// [`ErrorKind::EngineRefuses`] where llama.cpp would not create the context.
pub fn check(model: &Model, parameters: &Parameters) -> Result<()> {
    let hp = model.hyperparameters();
    let (type_k, type_v) = (parameters.type_k, parameters.type_v);
    let latent = hp.key_length_mla.is_some() && hp.value_length_mla.is_some();
    if (latent || hp.architecture == "deepseek4") && type_k != type_v {
        return Err(refuses(format!(
            "model does not support different K ({}) and V ({}) cache types",
            type_k.name(),
            type_v.name()
        ))
        .field("kv_cache_type_v")
        .help("give keys and values the same cache type"));
    }
    let flash_off = parameters.flash_attn == FlashAttention::Off;
    if flash_off && type_v.is_quantised() {
        return Err(refuses(String::from("quantized V cache requires flash_attn to be enabled"))
            .field("flash_attn")
            .help("leave flash attention on `auto`, or keep values in f16"));
    }
    let windows = Windows::of(hp);
    for layer in 0..hp.main_block_count() {
        let windowed = windows.covers(layer);
        let (key, value) = match model.blocks().get(layer as usize).map(|block| block.attention) {
            Some(Attention::Latent(latent)) => (latent.kv_lora_rank + latent.rope_length, latent.kv_lora_rank),
            Some(Attention::Heads(_)) => (hp.key_length_at(layer, windowed), hp.value_length_at(layer, windowed)),
            _ => continue,
        };
        // Without flash attention a block may span heads, but not rows.
        let heads = if flash_off && !latent { hp.head_count_kv.at(layer).max(1) } else { 1 };
        for (side, field, ty, length) in [('K', "kv_cache_type_k", type_k, key), ('V', "kv_cache_type_v", type_v, value)] {
            divides(side, field, ty, u64::from(length) * u64::from(heads))?;
        }
    }
    Ok(())
}

fn divides(side: char, field: &'static str, ty: GgmlType, length: u64) -> Result<()> {
    if !ty.is_quantised() || length.is_multiple_of(ty.block_len()) {
        return Ok(());
    }
    let lower = side.to_ascii_lowercase();
    Err(refuses(format!(
        "{side} cache type {} with block size {} does not divide n_embd_head_{lower}={length}",
        ty.name(),
        ty.block_len()
    ))
    .field(field)
    .help("use f16, bf16 or f32"))
}

fn refuses(message: String) -> Error {
    Error::new(ErrorKind::EngineRefuses, format!("llama.cpp: {message}"))
}
