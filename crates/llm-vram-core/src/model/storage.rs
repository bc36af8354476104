//! What a tensor's name says about how it may be stored.
//!
//! The rules work on names alone, so that a file's list and a derived one follow the same rule; they are
//! `const`, so that a derived list applies them while the crate is compiled.

use serde::Serialize;

/// Whether a quantiser may change a tensor's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// It takes the type that the recipe chooses.
    Quantisable,
    /// Converters write it as F32 and quantisers keep it.
    KeptF32,
    /// Quantisers keep the type of the source checkpoint, usually BF16.
    KeptSource,
}

/// Where a tensor comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A parameter of the published model.
    Checkpoint,
    /// In a GGUF file only: a table that the converter computes, a buffer of the original model, or a matrix
    /// that no computation reads.
    Converter,
}

/// Parts of names whose tensors are never quantised.
///
/// Source: llama.cpp, `src/llama-quant.cpp` (`tensor_allows_quantization`), llama-cpp-sys-2 0.1.161.
const KEPT: &[&str] = &[
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
];

/// Whole names of tensors that are never quantised; same source.
const KEPT_NAMES: &[&str] = &["position_embd.weight", "token_types.weight"];

/// Further kept parts of names in GLM5-next; same source.
const KEPT_IN_GLM5_NEXT: &[&str] = &[
    "hc_",
    "indexer.attn_q_b",
    "indexer.attn_k",
    "indexer.proj",
    "indexer_compressor_gate",
    "indexer_compressor_ape",
    "ssm_f_a.weight",
    "ssm_f_b.weight",
    "ssm_g_a.weight",
    "ssm_g_b.weight",
    "ssm_beta.weight",
    "attn_kv_a_mqa.weight",
    "attn_k_b.weight",
    "attn_v_b.weight",
];

/// Of the kept matrices, those that the converter leaves at the checkpoint's type instead of F32.
///
/// Source: llama.cpp, `convert_hf_to_gguf.py` (`prepare_tensors`: the list of tensors written as F32 does not name
/// them). The sizes of Gemma 3n and Gemma 4 files confirm theirs; the others are read from the source alone.
const KEPT_AT_SOURCE: &[&str] = &[
    "altup_proj",
    "altup_unembd_proj",
    "altup_router.weight",
    "laurel_l",
    "laurel_r",
    "per_layer_model_proj",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "attn_rel_b.weight",
];

/// Names of tensors that a published model does not have as parameters: tables that the converter computes,
/// buffers, and the classification head that it cuts out of a reranker's output matrix.
const CONVERTED: &[&str] = &[
    "rope_freqs.weight",
    "rope_factors_long.weight",
    "rope_factors_short.weight",
    "exp_probs_b.bias",
    "exp_probs_b",
    "layer_output_scale.weight",
    "cls.output.weight",
];

impl Storage {
    /// How a tensor may be stored, by its architecture, its name without the block prefix and its number of
    /// dimensions (trailing ones not counted).
    ///
    /// ```
    /// use llm_vram_core::model::Storage;
    /// assert_eq!(Storage::of("llama", "attn_q.weight", 2), Storage::Quantisable);
    /// assert_eq!(Storage::of("llama", "attn_norm.weight", 1), Storage::KeptF32);
    /// assert_eq!(Storage::of("gemma3n", "laurel_l.weight", 2), Storage::KeptSource);
    /// ```
    #[must_use]
    pub fn of(architecture: &str, stem: &str, dimensions: usize) -> Self {
        if dimensions < 2 {
            return Self::KeptF32;
        }
        let kept_here = || architecture == "glm5-next" && KEPT_IN_GLM5_NEXT.iter().any(|part| stem.contains(part));
        match Self::by_name(stem) {
            Self::Quantisable if kept_here() => Self::KeptSource,
            by_name => by_name,
        }
    }

    /// What the name alone says about a tensor of two or more dimensions.
    pub(super) const fn by_name(stem: &str) -> Self {
        if contains_any(stem, KEPT_AT_SOURCE) {
            Self::KeptSource
        } else if !ends_with(stem, "weight") || is_any(stem, KEPT_NAMES) || contains_any(stem, KEPT) {
            Self::KeptF32
        } else {
            Self::Quantisable
        }
    }
}

impl Origin {
    /// Where a tensor comes from, by the name without its block prefix.
    ///
    /// The selection bias of ERNIE, AFMoE and Laguna is a parameter of the published model, everybody else's
    /// is a buffer (transformers 5.23, `modeling_ernie4_5_moe.py`, `modeling_afmoe.py`, `modeling_laguna.py`).
    #[must_use]
    pub fn of(architecture: &str, stem: &str) -> Self {
        let is_parameter = matches!(architecture, "ernie4_5-moe" | "afmoe" | "laguna");
        if is_parameter && stem == "exp_probs_b.bias" { Self::Checkpoint } else { Self::by_name(stem) }
    }

    pub(super) const fn by_name(stem: &str) -> Self {
        if is_any(stem, CONVERTED) { Self::Converter } else { Self::Checkpoint }
    }
}

const fn is_any(stem: &str, names: &[&str]) -> bool {
    let mut index = 0;
    while index < names.len() {
        if stem.len() == names[index].len() && matches_at(stem.as_bytes(), 0, names[index].as_bytes()) {
            return true;
        }
        index += 1;
    }
    false
}

const fn contains_any(stem: &str, parts: &[&str]) -> bool {
    let mut index = 0;
    while index < parts.len() {
        if contains(stem, parts[index]) {
            return true;
        }
        index += 1;
    }
    false
}

/// Whether `part` occurs in `stem`.
pub(crate) const fn contains(stem: &str, part: &str) -> bool {
    let (text, part) = (stem.as_bytes(), part.as_bytes());
    let mut start = 0;
    while start + part.len() <= text.len() {
        if matches_at(text, start, part) {
            return true;
        }
        start += 1;
    }
    false
}

const fn ends_with(stem: &str, end: &str) -> bool {
    stem.len() >= end.len() && matches_at(stem.as_bytes(), stem.len() - end.len(), end.as_bytes())
}

const fn matches_at(text: &[u8], start: usize, part: &[u8]) -> bool {
    if start + part.len() > text.len() {
        return false;
    }
    let mut index = 0;
    while index < part.len() {
        if text[start + index] != part[index] {
            return false;
        }
        index += 1;
    }
    true
}
