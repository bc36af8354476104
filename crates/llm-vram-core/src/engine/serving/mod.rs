//! What the servers that run published checkpoints on PyTorch have in common: how a model is divided
//! over devices, what each rank's weights take, and how large recurrent states are.

pub mod activation;
pub mod allocator;
pub mod matrix;
pub mod parallel;
pub mod placement;
pub mod state;
pub mod weights;

pub use parallel::Parallel;
pub use weights::{RankWeights, rank_weights};

/// `bytes` of a figure that was logged in hundredths of a GiB.
#[must_use]
pub(crate) const fn centi_gib(hundredths: u64) -> u64 {
    ((hundredths as u128 * (1 << 30)) / 100) as u64
}
