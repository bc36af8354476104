//! A model's tensors as the modules and arrays of its mlx-lm class.
//!
//! A GGUF matrix and its MLX module have the same rows and columns, or are cut between rows, so that their coded
//! bytes agree; what differs is which matrices are modules that `quantize_model` sees.

use alloc::{borrow::Cow, string::String};

use crate::model::{Group, Model, Tensor};

/// A module or array of a model class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The block it belongs to.
    pub block: Option<u32>,
    /// The name of the tensor that it holds, in GGUF's vocabulary, without the block prefix.
    pub stem: Cow<'static, str>,
    /// Its shape, and whether it can be quantised.
    pub kind: ModuleKind,
    /// What mixed recipes ask of its path.
    pub role: ModuleRole,
    /// Whether the class keeps it at affine 8 bit in groups of 64.
    pub sensitive: bool,
    /// Whether it is a stack of routed experts' matrices.
    pub is_experts: bool,
    /// Whether conversion leaves it in F32, as checkpoints store it.
    pub kept_f32: bool,
}

impl Module {
    /// Its weights.
    #[must_use]
    pub const fn parameters(&self) -> u64 {
        match self.kind {
            ModuleKind::Matrix { rows, columns } => rows.saturating_mul(columns),
            ModuleKind::Array { elements } => elements,
        }
    }

    /// The name of its tensor, for example `blk.3.ffn_gate_inp.weight`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.block {
            Some(block) => alloc::format!("blk.{block}.{}", self.stem),
            None => self.stem.clone().into_owned(),
        }
    }
}

/// Whether a module can be quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleKind {
    /// A linear layer, an embedding, or a stack of either.
    Matrix {
        /// Rows, experts and heads multiplied in.
        rows: u64,
        /// Inputs.
        columns: u64,
    },
    /// A norm, a bias, a convolution or a plain array.
    Array {
        /// Its elements.
        elements: u64,
    },
}

/// What `mixed_quant_predicate` looks for in a module's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleRole {
    /// `lm_head`.
    LmHead,
    /// `v_proj` (also inside `qkv_proj`), `v_a_proj` (inside `kv_a_proj_with_mqa`) or `v_b_proj`.
    Value,
    /// `down_proj`.
    Down,
    /// Anything else.
    Other,
}

/// How a class stores its router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Router {
    /// A linear layer like any other.
    Ordinary,
    /// A linear layer that `quant_predicate` keeps at 8 bit.
    EightBit,
    /// A plain array, which `quantize_model` does not see.
    PlainArray,
}

/// Source: mlx-lm 0.32.2, `models/*.py`: `quant_predicate`, and the gate classes that hold a plain `weight`.
fn router(architecture: &str) -> Router {
    match architecture {
        "qwen3moe" | "qwen3vlmoe" | "qwen3next" | "qwen35moe" | "kimi-linear" | "kimi-k3" | "mellum" | "gpt-oss" | "gemma4"
        | "afmoe" | "minimax-m2" | "lfm2moe" | "bailingmoe" | "bailingmoe2" | "laguna" | "step35" | "longcat" | "jamba"
        | "granitehybrid" | "granitemoe" => Router::EightBit,
        "deepseek2" | "deepseek32" | "glm4moe" | "glm-dsa" | "exaone-moe" | "mimo2" | "dots1" | "nemotron_h" | "nemotron_h_moe" => {
            Router::PlainArray
        }
        _ => Router::Ordinary,
    }
}

/// Whether DeepSeek's second generation runs the class that keeps keys and values decompressed (`deepseek_v2.py`); its
/// successors, which gate by a sigmoid, have absorbed matrices (`deepseek_v3.py`).
pub(crate) fn is_deepseek_v2(model: &Model) -> bool {
    let hp = model.hyperparameters();
    hp.architecture == "deepseek2" && hp.expert_gating_func != 2 && !hp.facts.exp_probs_b
}

/// The modules and arrays that mlx-lm's class of this model holds.
pub fn modules(model: &Model) -> impl Iterator<Item = Module> + '_ {
    let main_blocks = model.hyperparameters().main_block_count();
    let deepseek_v2 = is_deepseek_v2(model);
    model
        .tensors()
        .iter()
        .filter(move |tensor| tensor.group == Group::Text && tensor.block.is_none_or(|block| block < main_blocks))
        .filter(move |tensor| !is_left_out(model, tensor))
        .filter_map(move |tensor| module(exceptions_of(model), tensor, deepseek_v2))
        .chain(beside_tensors(model))
}

/// The architecture whose class's exceptions hold. GGUF calls a Granite hybrid without state-space layers `granite`, but
/// its `config.json` and its class (`granitemoehybrid.py`) do not.
fn exceptions_of(model: &Model) -> &str {
    let hp = model.hyperparameters();
    if hp.model_type == "granitemoehybrid" { "granitehybrid" } else { &hp.architecture }
}

/// What a class holds and a GGUF file does not.
fn beside_tensors(model: &Model) -> impl Iterator<Item = Module> + '_ {
    let hp = model.hyperparameters();
    // `apertus.py`: the activation's two slopes, its offset and its threshold; GGUF has them as metadata.
    let per_block = if hp.architecture == "apertus" { 4 } else { 0 };
    let activations = (0..hp.main_block_count())
        .filter(move |_| per_block > 0)
        .map(move |block| plain(Some(block), "ffn_act", ModuleKind::Array { elements: per_block }));
    // Gemma 3n's checkpoints have 256 rows for images and sound; converters to GGUF cut them off (`vocab_size` 262,400,
    // `vocab_size_per_layer_input` 262,144).
    let cut_rows = (hp.architecture == "gemma3n" && hp.vocab_size == 262_144)
        .then(|| plain(None, "token_embd.weight", ModuleKind::Matrix { rows: 256, columns: hp.embedding_length.into() }));
    activations.chain(cut_rows)
}

const fn plain(block: Option<u32>, stem: &'static str, kind: ModuleKind) -> Module {
    Module { block, stem: Cow::Borrowed(stem), kind, role: ModuleRole::Other, sensitive: false, is_experts: false, kept_f32: false }
}

/// Gemma 4's class has no keys and values where another block's cache is read (`gemma4_text.py`, `has_kv`); Gemma 3n's
/// class has them.
fn is_left_out(model: &Model, tensor: &Tensor) -> bool {
    let hp = model.hyperparameters();
    hp.architecture == "gemma4"
        && tensor.block.is_some_and(|block| block >= hp.main_block_count().saturating_sub(hp.shared_kv_layers))
        && (tensor.stem.starts_with("attn_k") || tensor.stem.starts_with("attn_v"))
}

/// Whether the class names any matrix `down_proj`, which mixed recipes take the layer numbers from.
pub(super) fn has_down_proj(model: &Model) -> bool {
    modules(model).any(|module| module.role == ModuleRole::Down)
}

fn module(architecture: &str, tensor: &Tensor, deepseek_v2: bool) -> Option<Module> {
    let stem = tensor.stem.as_ref();
    // Frequencies are computed, and ERNIE's class drops the router's bias (`ernie4_5_moe.py:sanitize`).
    if stem.starts_with("rope_f") || (architecture == "ernie4_5-moe" && stem.starts_with("exp_probs_b")) {
        return None;
    }
    let elements = tensor.elements();
    let columns = tensor.shape[0].max(1);
    let kind = if is_matrix(architecture, tensor) {
        // A gate of one output is a vector in GGUF.
        ModuleKind::Matrix { rows: elements / columns, columns }
    } else {
        ModuleKind::Array { elements }
    };
    Some(Module {
        block: tensor.block,
        stem: tensor.stem.clone(),
        kind,
        role: role(architecture, stem, deepseek_v2),
        sensitive: is_sensitive(architecture, stem),
        is_experts: stem.ends_with("_exps.weight"),
        kept_f32: is_kept_f32(architecture, stem),
    })
}

fn is_matrix(architecture: &str, tensor: &Tensor) -> bool {
    let stem = tensor.stem.as_ref();
    let Some(name) = stem.strip_suffix(".weight") else { return false };
    if name == "ffn_gate_inp_shexp" {
        return true;
    }
    if tensor.dimensions() < 2 || name.contains("norm") || name.starts_with("ssm_conv1d") || name == "shortconv.conv" {
        return false;
    }
    if architecture.contains("rwkv") && name.starts_with("time_mix_") {
        return ["key", "value", "receptance", "output", "w1", "w2", "a1", "a2", "v1", "v2", "g1", "g2"]
            .iter()
            .any(|matrix| name.strip_prefix("time_mix_") == Some(matrix));
    }
    name != "ffn_gate_inp" || router(architecture) != Router::PlainArray
}

fn role(architecture: &str, stem: &str, deepseek_v2: bool) -> ModuleRole {
    match stem {
        "output.weight" => ModuleRole::LmHead,
        "attn_v.weight" if architecture != "internlm2" => ModuleRole::Value,
        "attn_qkv.weight" if matches!(architecture, "phi3" | "plamo2" | "plamo3") => ModuleRole::Value,
        "attn_kv_a_mqa.weight" => ModuleRole::Value,
        "attn_kv_b.weight" | "attn_k_b.weight" | "attn_v_b.weight" if deepseek_v2 => ModuleRole::Value,
        "ffn_down.weight" if !names_down_otherwise(architecture) => ModuleRole::Down,
        "ffn_down_exps.weight" if !matches!(architecture, "nemotron_h" | "nemotron_h_moe") => ModuleRole::Down,
        "ffn_down_shexp.weight" if architecture != "granitehybrid" => ModuleRole::Down,
        _ => ModuleRole::Other,
    }
}

/// Classes whose feed-forward output is called `w2`, `fc2` or `c_proj`.
fn names_down_otherwise(architecture: &str) -> bool {
    matches!(
        architecture,
        "internlm2"
            | "phi2"
            | "starcoder2"
            | "starcoder"
            | "lfm2"
            | "gpt2"
            | "gptneox"
            | "gptj"
            | "rwkv7"
            | "qwen"
            | "olmo"
            | "openelm"
    )
}

fn is_sensitive(architecture: &str, stem: &str) -> bool {
    match stem {
        "ffn_gate_inp.weight" => router(architecture) == Router::EightBit,
        "ffn_gate_inp_shexp.weight" => matches!(architecture, "qwen3next" | "qwen35moe"),
        "attn_output.weight" | "ffn_down.weight" | "ffn_down_exps.weight" | "output.weight" => {
            matches!(architecture, "granite" | "granitemoe")
        }
        "token_embd.weight" | "time_mix_w2.weight" | "time_mix_a2.weight" | "time_mix_v2.weight" | "time_mix_g2.weight" => {
            architecture == "rwkv7"
        }
        _ => false,
    }
}

/// Source: mlx-lm 0.32.2, `models/*.py`: `cast_predicate`. A class without one casts everything.
fn is_kept_f32(architecture: &str, stem: &str) -> bool {
    match stem {
        "exp_probs_b.bias" | "exp_probs_b" => architecture != "dots1",
        "ssm_a" | "ssm_a.weight" => {
            matches!(architecture, "nemotron_h" | "nemotron_h_moe" | "qwen35" | "qwen35moe" | "kimi-linear" | "kimi-k3")
        }
        "ssm_dt.bias" => matches!(architecture, "kimi-linear" | "kimi-k3"),
        _ => false,
    }
}
