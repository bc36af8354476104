//! Where each tensor lies: which module of the server holds it, and how ranks share it.
//!
//! The inventory names tensors as GGUF does; servers fuse several of them into one module. Sources: vLLM,
//! `model_executor/layers/linear.py` (column, row, merged and QKV parallel linear layers),
//! `layers/vocab_parallel_embedding.py`, `layers/fused_moe/layer.py`, `layers/mla.py`,
//! `layers/mamba/*.py`, and `models/*.py` for what each model declares replicated.

use crate::model::{Block, Group, Recurrence, Tensor};

/// How ranks share a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Each rank holds all of it.
    Replicated,
    /// Its outputs are divided.
    Column,
    /// Its inputs are divided.
    Row,
    /// Its outputs are key-value heads: divided, or replicated where ranks outnumber heads.
    KeyValueHeads,
    /// Its rows are the vocabulary, padded to a multiple of 64 and divided.
    Vocabulary,
    /// One output-divided matrix per expert.
    ExpertColumn,
    /// One input-divided matrix per expert.
    ExpertRow,
}

/// What a tensor's elements are held in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The weight of a linear layer: held in the model's weight format.
    Linear,
    /// A linear layer that quantised checkpoints leave in 16 bits.
    KeptLinear,
    /// A bias, norm, table or router in 16 bits.
    Half,
    /// F32.
    Single,
}

/// A module of a layer, in the order in which servers create them. Tensors of one module are one allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Module {
    Embedding,
    QkvA,
    Qb,
    KvA,
    KvB,
    Qkv,
    QkvBias,
    AttnGate,
    AttnOutput,
    Indexer,
    StateIn,
    StateGates,
    StateX,
    StateDt,
    StateOut,
    Router,
    W13,
    W13Bias,
    W2,
    W2Bias,
    SharedGateUp,
    SharedDown,
    GateUp,
    GateUpBias,
    Down,
    /// Not fused with anything.
    Alone,
    Head,
}

impl Module {
    /// Number of modules.
    pub const COUNT: usize = Self::Head as usize + 1;
}

/// Where a tensor lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Its module.
    pub module: Module,
    /// How ranks share it.
    pub sharing: Sharing,
    /// What its elements are held in.
    pub kind: Kind,
}

/// Where a tensor of the given block lies; `None` for what servers do not load: tables that converters
/// compute, and blocks that predict further tokens.
#[must_use]
pub fn placement(tensor: &Tensor, block: Option<&Block>) -> Option<Placement> {
    use Kind::{Half, KeptLinear, Linear, Single};
    use Module as M;
    use Sharing as S;
    if tensor.group == Group::Mtp || block.is_some_and(|block| block.is_mtp) {
        return None;
    }
    let at = |module, sharing, kind| Some(Placement { module, sharing, kind });
    if tensor.group == Group::Tower {
        let sharing = if tensor.dimensions() > 1 { S::Column } else { S::Replicated };
        return at(M::Alone, sharing, Half);
    }
    let recurrence = block.and_then(|block| block.recurrent).map(|recurrent| recurrent.kind);
    let (name, is_bias) = match tensor.stem.strip_suffix(".bias") {
        Some(name) => (name, true),
        None => (tensor.stem.strip_suffix(".weight").unwrap_or(&tensor.stem), false),
    };
    let linear = if is_bias { Half } else { Linear };
    match name {
        "rope_freqs" | "rope_factors_long" | "rope_factors_short" => None,
        "token_embd" => at(M::Embedding, S::Vocabulary, Half),
        "output" if is_bias => at(M::Alone, S::Column, Half),
        "output" => at(M::Head, S::Vocabulary, Half),
        "per_layer_token_embd" => at(M::Alone, S::Vocabulary, Half),
        "per_layer_model_proj" | "altup_proj" | "altup_unembd_proj" | "laurel_l" | "laurel_r" => {
            at(M::Alone, S::Column, KeptLinear)
        }

        // Attention. The fused query-key-value matrix of a linear-attention block is that block's input.
        "attn_qkv" | "attn_gate" if recurrence.is_some() => at(M::StateIn, S::Column, linear),
        "attn_q" | "attn_qkv" => at(if is_bias { M::QkvBias } else { M::Qkv }, S::Column, linear),
        "attn_k" | "attn_v" => at(if is_bias { M::QkvBias } else { M::Qkv }, S::KeyValueHeads, linear),
        "attn_gate" => at(M::AttnGate, S::Column, linear),
        "attn_output" if is_bias => at(M::Alone, S::Replicated, Half),
        "attn_output" => at(M::AttnOutput, S::Row, Linear),
        "attn_sinks" => at(M::Alone, S::Column, Half),
        "attn_q_a" | "attn_kv_a_mqa" => at(M::QkvA, S::Replicated, linear),
        "attn_q_b" => at(M::Qb, S::Column, linear),
        "attn_kv_b" | "attn_k_b" | "attn_v_b" => at(M::KvB, S::Column, linear),
        "indexer.attn_q_b" | "indexer.attn_k" => at(M::Alone, S::Replicated, linear),
        "indexer.proj" => at(M::Alone, S::Replicated, KeptLinear),

        // Recurrent and linear-attention blocks.
        "ssm_in" | "shortconv.in_proj" => at(M::StateIn, S::Column, linear),
        "ssm_ba" | "ssm_beta" | "ssm_alpha" => at(M::StateGates, S::Column, KeptLinear),
        "ssm_x" => at(M::StateX, S::Row, linear),
        "ssm_dt" if is_bias => at(M::Alone, S::Column, Half),
        "ssm_dt" => at(M::StateDt, S::Column, KeptLinear),
        "ssm_f_a" | "ssm_g_a" => at(M::Alone, S::Replicated, linear),
        "ssm_f_b" | "ssm_g_b" => at(M::Alone, S::Column, linear),
        "ssm_a" | "ssm_d" => at(M::Alone, S::Column, Single),
        "ssm_norm" if recurrence == Some(Recurrence::Mamba2) => at(M::Alone, S::Column, Half),
        "ssm_out" | "shortconv.out_proj" => at(M::StateOut, S::Row, linear),
        name if name.starts_with("ssm_conv1d") || name == "shortconv.conv" => at(M::Alone, S::Column, Half),

        // Feed-forward networks.
        "ffn_gate" | "ffn_up" => at(if is_bias { M::GateUpBias } else { M::GateUp }, S::Column, linear),
        "ffn_down" if is_bias => at(M::Alone, S::Replicated, Half),
        "ffn_down" => at(M::Down, S::Row, Linear),
        "ffn_gate_inp" => at(if is_bias { M::Alone } else { M::Router }, S::Replicated, Half),
        "exp_probs_b" => at(M::Alone, S::Replicated, Single),
        "ffn_gate_exps" | "ffn_up_exps" | "ffn_gate_up_exps" => {
            at(if is_bias { M::W13Bias } else { M::W13 }, S::ExpertColumn, linear)
        }
        "ffn_down_exps" => at(if is_bias { M::W2Bias } else { M::W2 }, S::ExpertRow, linear),
        "ffn_gate_shexp" | "ffn_up_shexp" => at(M::SharedGateUp, S::Column, linear),
        "ffn_down_shexp" => at(M::SharedDown, S::Row, linear),

        _ => at(M::Alone, S::Replicated, Half),
    }
}
