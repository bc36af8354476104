//! What a sparse-attention indexer caches per token, architecture by architecture.
//!
//! Source: `src/llama-model.cpp` (`create_memory`), `src/llama-kv-cache-{dsa,msa}.cpp`,
//! `src/llama-memory-hybrid-idx.cpp` (constructor), `src/models/{glm5-next,qwen4exp}.cpp` (`load_arch_hparams`),
//! llama-cpp-sys-2 0.1.161.

use crate::model::Hyperparameters;

/// Architectures of latent attention whose caches hold the keys of their indexers.
const LATENT: [&str; 5] = ["deepseek32", "glm-dsa", "hy_v4", "dots3note", "glm5-next"];
/// Slots of a key's size in a row of GLM 5 Next: key, gate and pooled key (`indexer_kpool_row`). It always pools.
const GLM5_POOLED_ROW: u64 = 3;
/// The same for QSA, which pools where a layer has a compress ratio: raw key and pooled key.
const QWEN4_POOLED_ROW: u64 = 2;

/// Elements that the indexer of a latent layer caches per token; 0 without a cache.
#[must_use]
pub fn latent_row(hp: &Hyperparameters, key_length: u32) -> u64 {
    if !LATENT.contains(&hp.architecture.as_str()) {
        return 0;
    }
    u64::from(key_length) * if hp.architecture == "glm5-next" { GLM5_POOLED_ROW } else { 1 }
}

/// Keys and values that the indexer of layer `layer` of whole heads caches per token.
#[must_use]
pub fn heads_row(hp: &Hyperparameters, layer: u32, windowed: bool) -> [u64; 2] {
    let key = u64::from(hp.indexer_key_length.unwrap_or(0));
    match hp.architecture.as_str() {
        // The indexer's cache is made like any other, with values of one head that nobody reads.
        "minimax-m3" if layer >= hp.leading_dense_block_count => [key, hp.value_length_at(layer, windowed).into()],
        "qwen4exp" => {
            let pooled = hp.compress_ratios.as_ref().is_none_or(|ratios| ratios.iter().any(|&ratio| ratio > 0));
            [key * if pooled { QWEN4_POOLED_ROW } else { 1 }, 0]
        }
        _ => [0, 0],
    }
}

/// Whether the row's width is not known from the description, so that the wider one counts.
#[must_use]
pub fn is_bound(hp: &Hyperparameters) -> bool {
    hp.architecture == "qwen4exp" && hp.compress_ratios.is_none() && hp.indexer_key_length.is_some_and(|length| length > 0)
}
