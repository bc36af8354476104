//! Working memory of a forward pass: residual stream, feed-forward network, expert scratch.

use crate::model::{FeedForward, Model};

use super::Parallel;

/// The widest feed-forward parts of a model on one rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Widths {
    /// Hidden size.
    pub hidden: u64,
    /// Width of the widest dense network.
    pub dense: u64,
    /// Width of a routed expert.
    pub expert: u64,
    /// Routed experts used per token; 0 without experts.
    pub experts_used: u64,
}

impl Widths {
    /// The widths on a rank.
    #[must_use]
    pub fn of(model: &Model, parallel: &Parallel) -> Self {
        let mut widths = Self { hidden: model.hyperparameters().embedding_length.into(), ..Self::default() };
        for block in model.blocks().iter().filter(|block| !block.is_mtp) {
            match block.feed_forward {
                FeedForward::None => {}
                FeedForward::Dense { length } => widths.dense = widths.dense.max(u64::from(length).div_ceil(parallel.tensor)),
                FeedForward::Experts { length, used, .. } => {
                    let ranks = if parallel.expert { 1 } else { parallel.tensor };
                    widths.expert = widths.expert.max(u64::from(length).div_ceil(ranks));
                    widths.experts_used = widths.experts_used.max(used.into());
                }
            }
        }
        widths
    }

    /// Bytes of a dense forward pass of `tokens`: gate, up and their product, residual stream and norm output,
    /// in 16 bits.
    #[must_use]
    pub const fn forward(&self, tokens: u64) -> u64 {
        tokens.saturating_mul(6).saturating_mul(self.dense.saturating_add(self.hidden))
    }

    /// Bytes of the scratch of the Triton kernel for experts, which lives to the end of a pass.
    ///
    /// Source: vLLM, `layers/fused_moe/fused_moe.py` (`fused_experts_impl`: `intermediate_cache1` to `3`, of which
    /// the first and the last share memory, and the output).
    #[must_use]
    pub const fn expert_scratch(&self, tokens: u64) -> u64 {
        if self.experts_used == 0 {
            return 0;
        }
        let widest = if 2 * self.expert > self.hidden { 2 * self.expert } else { self.hidden };
        let per_token = self.experts_used.saturating_mul(widest.saturating_add(self.expert)).saturating_add(self.hidden);
        tokens.saturating_mul(2).saturating_mul(per_token)
    }
}
