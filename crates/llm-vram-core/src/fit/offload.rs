//! Keeping a part of the model on the host, where the engine can.

use serde::Serialize;

use super::{Verdict, verdict};
use crate::{
    engine::{Engine, Scene},
    error::Result,
    model::FeedForward,
};

/// How a model that is too large for its devices runs with a part of it on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Offload {
    /// Layers on the devices, the output counted as one more (llama.cpp's `--n-gpu-layers`).
    pub n_gpu_layers: u64,
    /// How many of the first layers keep their experts on the host (llama.cpp's `--n-cpu-moe`).
    pub n_cpu_moe: u64,
}

/// Whether it runs at all with a part on the host.
pub(super) fn is_possible(engine: &dyn Engine, scene: &Scene<'_>, safety: f64) -> Result<bool> {
    if !may_offload(engine, scene) {
        return Ok(false);
    }
    let blocks = u64::from(scene.model.hyperparameters().block_count);
    let runs = |offload| runs_with(engine, scene, safety, offload);
    Ok((has_experts(scene) && runs(Offload { n_gpu_layers: blocks + 1, n_cpu_moe: blocks })?)
        || runs(Offload { n_gpu_layers: 1, n_cpu_moe: 0 })?)
}

/// Whether the engine can, and the caller left the placement to it.
fn may_offload(engine: &dyn Engine, scene: &Scene<'_>) -> bool {
    let fixed = scene.workload.n_gpu_layers.is_some() || scene.workload.n_cpu_moe.is_some();
    !fixed && engine.offloads_to_host() && !scene.hardware.is_ideal()
}

fn has_experts(scene: &Scene<'_>) -> bool {
    scene.model.blocks().iter().any(|block| matches!(block.feed_forward, FeedForward::Experts { .. }))
}

/// The least that must stay on the host: experts first where there are any, else whole layers.
///
/// `None` if the engine cannot, if the caller fixed the placement, or if even that does not fit.
pub(super) fn find(engine: &dyn Engine, scene: &Scene<'_>, safety: f64) -> Result<Option<Offload>> {
    if !may_offload(engine, scene) {
        return Ok(None);
    }
    let blocks = u64::from(scene.model.hyperparameters().block_count);
    let all = blocks + 1;
    if has_experts(scene) {
        let runs = |n_cpu_moe| runs_with(engine, scene, safety, Offload { n_gpu_layers: all, n_cpu_moe });
        if runs(blocks)? {
            let n_cpu_moe = least(1, blocks, runs)?;
            return Ok(Some(Offload { n_gpu_layers: all, n_cpu_moe }));
        }
    }
    // With no layer on a device nothing is offloaded to it: that is the processor's answer, not this one's.
    let runs = |host_layers| runs_with(engine, scene, safety, Offload { n_gpu_layers: all - host_layers, n_cpu_moe: 0 });
    if all < 2 || !runs(all - 1)? {
        return Ok(None);
    }
    let host_layers = least(1, all - 1, runs)?;
    Ok(Some(Offload { n_gpu_layers: all - host_layers, n_cpu_moe: 0 }))
}

fn runs_with(engine: &dyn Engine, scene: &Scene<'_>, safety: f64, offload: Offload) -> Result<bool> {
    let mut workload = scene.workload.clone();
    workload.n_gpu_layers = Some(offload.n_gpu_layers);
    workload.n_cpu_moe = (offload.n_cpu_moe > 0).then_some(offload.n_cpu_moe);
    Ok(verdict(engine, &Scene { workload: &workload, ..*scene }, safety)? == Verdict::Fits)
}

/// The least number in `low..=high` that runs, given that `high` does and that more never hurts.
fn least(mut low: u64, mut high: u64, runs: impl Fn(u64) -> Result<bool>) -> Result<u64> {
    while low < high {
        let middle = low + (high - low) / 2;
        if runs(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(high)
}
