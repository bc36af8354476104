//! What the servers that run published checkpoints on PyTorch have in common: how a model is divided
//! over devices, what each rank's weights take, and how large recurrent states are.

pub mod activation;
pub mod allocator;
pub mod cache_type;
pub mod matrix;
pub mod parallel;
pub mod placement;
pub mod process;
pub mod state;
pub mod weights;

use alloc::{format, vec::Vec};

pub use parallel::Parallel;
pub use weights::{RankWeights, rank_weights};

use crate::{
    engine::{Amount, DeviceMemory, Engine},
    error::{Error, ErrorKind, Result},
    hardware::{Backend, Device},
    model::{FeedForward, Model},
    units::Bytes,
};

/// The most routed experts of any layer.
pub(crate) fn most_experts(model: &Model) -> u32 {
    let experts = model.blocks().iter().map(|block| match block.feed_forward {
        FeedForward::Experts { count, .. } => count,
        _ => 0,
    });
    experts.max().unwrap_or(0)
}

/// Refuses devices on which an engine does not run.
pub(crate) fn check_devices(engine: &dyn Engine, devices: &[Device]) -> Result<()> {
    let runs = |backend: Backend| backend == Backend::Ideal || engine.backends().contains(&backend);
    match devices.iter().find(|device| !runs(device.backend)) {
        None => Ok(()),
        Some(device) => Err(Error::new(
            ErrorKind::EngineRefuses,
            format!("{} does not run on `{}` through {:?}", engine.name(), device.id, device.backend),
        )
        .field("hardware")
        .help("choose a CUDA or ROCm device, or llama.cpp")),
    }
}

/// A device that holds nothing.
pub(crate) fn idle_device() -> DeviceMemory {
    DeviceMemory {
        weights: Bytes::ZERO,
        kv_cache: Bytes::ZERO,
        recurrent_state: Bytes::ZERO,
        compute_buffer: Amount::ZERO,
        overhead: Vec::new(),
        layers: 0,
        kv_pool: None,
    }
}

/// `bytes` of a figure that was logged in hundredths of a GiB.
#[must_use]
pub(crate) const fn centi_gib(hundredths: u64) -> u64 {
    ((hundredths as u128 * (1 << 30)) / 100) as u64
}
