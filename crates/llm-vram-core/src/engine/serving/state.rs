//! Sizes of recurrent states on a tensor-parallel rank.

use crate::model::{Block, Hyperparameters, Recurrence};

use super::Parallel;

/// Bytes per element of the two parts of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateTypes {
    /// The convolution state.
    pub conv: u64,
    /// The recurrent state proper.
    pub recurrent: u64,
}

impl StateTypes {
    /// What an engine uses by default: the model's 16 bits, and F32 for the recurrent state where a model's
    /// published configuration asks for it (`mamba_ssm_cache_dtype`, `mamba_ssm_dtype`).
    ///
    /// Source: `config.json` of Qwen3.5 and 3.6, Nemotron-H and Nemotron 3.
    #[must_use]
    pub fn of(architecture: &str) -> Self {
        let single = matches!(architecture, "qwen35" | "qwen35moe" | "qwen4exp" | "nemotron_h" | "nemotron_h_moe");
        Self { conv: 2, recurrent: if single { 4 } else { 2 } }
    }
}

/// Bytes of one sequence's state in one block on one rank: convolution and recurrent part.
///
/// Source: vLLM, `model_executor/layers/mamba/mamba_utils.py` (`MambaStateShapeCalculator`,
/// `MambaStateDtypeCalculator`), 0.19 and 0.33; SGLang keeps the same shapes. `None` for recurrences that
/// neither engine runs.
#[must_use]
pub fn state_bytes(hp: &Hyperparameters, block: &Block, index: u32, parallel: &Parallel, types: StateTypes) -> Option<(u64, u64)> {
    let recurrent = block.recurrent?;
    let wide = |value: u32| u64::from(value);
    let divide = |value: u64| value.div_ceil(parallel.tensor);
    let taps = wide(hp.ssm_conv_kernel).saturating_sub(1);
    let (inner, state, groups, heads) =
        (wide(hp.ssm_inner_size), wide(hp.ssm_state_size), wide(hp.ssm_group_count), wide(hp.ssm_time_step_rank));
    let elements = match recurrent.kind {
        Recurrence::Mamba1 => (divide(inner) * taps, divide(inner) * state),
        Recurrence::Mamba2 => {
            // Groups that cannot be divided are replicated until they can.
            let groups = groups.next_multiple_of(parallel.tensor);
            (divide(inner + 2 * groups * state) * taps, divide(heads) * (inner / heads.max(1)) * state)
        }
        // `groups` are the key heads, `heads` the value heads.
        Recurrence::GatedDeltaNet => (divide(2 * groups * state + inner) * taps, divide(heads) * (inner / heads.max(1)) * state),
        Recurrence::Kda => {
            let (heads, length) = (wide(hp.head_count.at(index)), wide(hp.kda_head_dim));
            // The recurrent part is F32 whatever the model's type.
            let conv = divide(3 * heads * length) * taps * types.conv;
            return Some((conv, divide(heads) * length * length * 4));
        }
        Recurrence::ShortConv => (divide(wide(hp.embedding_length)) * wide(hp.shortconv_l_cache).saturating_sub(1), 0),
        Recurrence::Lightning => {
            let length = wide(hp.key_length_at(index, false));
            (0, divide(wide(hp.head_count.at(index))) * length * length)
        }
        _ => return None,
    };
    Some((elements.0 * types.conv, elements.1 * types.recurrent))
}
