//! The largest context, the most requests and the best weight format that fit.

use super::{Verdict, verdict};
use crate::{
    bounds,
    engine::{Engine, Scene},
    error::{ErrorKind, Result},
    quant::{WeightFormat, weight_bytes},
};

/// The largest context per request that fits, with everything else as given; `None` if not even one token does.
///
/// At most the trained context length, where the model states one. Found by bisection on the engine's own rules, so
/// one padding step more does not fit.
///
/// # Errors
/// Those of [`Engine::memory`] that do not say that the request is too large.
pub fn max_context(engine: &dyn Engine, scene: &Scene<'_>, safety: f64) -> Result<Option<u64>> {
    let trained = scene.model.hyperparameters().context_length;
    let limit = if trained == 0 { bounds::CONTEXT.max } else { trained.min(bounds::CONTEXT.max) };
    greatest(limit, |context| {
        let mut workload = scene.workload.clone();
        workload.context = context;
        fits(engine, &Scene { workload: &workload, ..*scene }, safety)
    })
}

/// The most requests of the given context that fit at once; `None` if not even one does.
///
/// # Errors
/// Those of [`Engine::memory`] that do not say that the request is too large.
pub fn max_concurrency(engine: &dyn Engine, scene: &Scene<'_>, safety: f64) -> Result<Option<u64>> {
    greatest(bounds::CONCURRENCY.max, |concurrency| {
        let mut workload = scene.workload.clone();
        workload.concurrency = concurrency;
        fits(engine, &Scene { workload: &workload, ..*scene }, safety)
    })
}

/// The first of `ladder` (best quality first) that fits.
///
/// # Errors
/// Those of [`Engine::memory`]; formats that the engine or the model refuses are skipped.
pub fn best_quant(engine: &dyn Engine, scene: &Scene<'_>, ladder: &[WeightFormat], safety: f64) -> Result<Option<WeightFormat>> {
    for format in ladder {
        // Weights alone decide most formats that do not fit, far cheaper than a whole plan. What llama.cpp leaves on the
        // host (token embeddings) is less than a fifth of any published model.
        let weights = weight_bytes(scene.model, format).map(|weights| weights.total);
        if weights.is_ok_and(|weights| weights.share(0.8) > scene.hardware.visible_bytes()) {
            continue;
        }
        if fits(engine, &Scene { format, ..*scene }, safety)? {
            return Ok(Some(*format));
        }
    }
    Ok(None)
}

/// Whether it fits; a request that the engine refuses or that exceeds every bound does not.
fn fits(engine: &dyn Engine, scene: &Scene<'_>, safety: f64) -> Result<bool> {
    match verdict(engine, scene, safety) {
        Ok(verdict) => Ok(verdict == Verdict::Fits),
        Err(error) => match error.kind() {
            ErrorKind::EngineRefuses | ErrorKind::Overflow | ErrorKind::OutOfRange | ErrorKind::LimitExceeded => Ok(false),
            ErrorKind::Unsupported => Ok(false),
            _ => Err(error),
        },
    }
}

/// The greatest number in `1..=limit` for which `fits` holds, given that it never holds again once it failed.
fn greatest(limit: u64, fits: impl Fn(u64) -> Result<bool>) -> Result<Option<u64>> {
    if !fits(1)? {
        return Ok(None);
    }
    // Doubling first: most answers lie far below the limit, and large requests cost more to plan.
    let (mut low, mut high) = (1, limit);
    let mut probe = 512.min(limit);
    while probe < limit {
        if fits(probe)? {
            low = probe;
            probe = probe.saturating_mul(2).min(limit);
        } else {
            high = probe - 1;
            break;
        }
    }
    if high == limit && fits(limit)? {
        return Ok(Some(limit));
    }
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle)? {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Ok(Some(low))
}
