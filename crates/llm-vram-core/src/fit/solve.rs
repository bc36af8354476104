//! The largest context, the most requests and the best weight format that fit.

use super::slack;
use crate::{
    bounds,
    engine::{Engine, Scene},
    error::Result,
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
    greatest(limit, CONTEXT_STEP, |context| {
        let mut workload = scene.workload.clone();
        workload.context = context;
        slack(engine, &Scene { workload: &workload, ..*scene }, safety)
    })
}

/// The most requests of the given context that fit at once; `None` if not even one does.
///
/// # Errors
/// Those of [`Engine::memory`] that do not say that the request is too large.
pub fn max_concurrency(engine: &dyn Engine, scene: &Scene<'_>, safety: f64) -> Result<Option<u64>> {
    greatest(bounds::CONCURRENCY.max, 1, |concurrency| {
        let mut workload = scene.workload.clone();
        workload.concurrency = concurrency;
        slack(engine, &Scene { workload: &workload, ..*scene }, safety)
    })
}

/// The first of `ladder` (best quality first) that fits.
///
/// # Errors
/// Those of [`Engine::memory`]; formats that the engine or the model refuses are skipped.
pub fn best_quant(engine: &dyn Engine, scene: &Scene<'_>, ladder: &[WeightFormat], safety: f64) -> Result<Option<WeightFormat>> {
    for format in ladder {
        // Weights alone decide most formats that do not fit, far cheaper than a whole plan. What llama.cpp leaves on the
        // host (token and per-layer embeddings) is less than half of any published model; Gemma 3n E2B has the most.
        let weights = weight_bytes(scene.model, format).map(|weights| weights.total);
        if weights.is_ok_and(|weights| weights.share(0.5) > scene.hardware.visible_bytes()) {
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
    Ok(slack(engine, scene, safety)? >= 0)
}

/// The greatest number in `1..=limit` with room left, given that there is never room again once it ran out.
///
/// Memory grows almost evenly with the number and jumps at multiples of `step`, so the next probe is the last step before
/// a straight line runs out of room, and then the first number beyond it; whatever the line misses, halving finds.
fn greatest(limit: u64, step: u64, slack: impl Fn(u64) -> Result<i64>) -> Result<Option<u64>> {
    let at_limit = slack(limit)?;
    if at_limit >= 0 {
        return Ok(Some(limit));
    }
    let at_one = slack(1)?;
    if at_one < 0 {
        return Ok(None);
    }
    let (mut low, mut room) = (1, at_one);
    let (mut high, mut lack) = (limit, at_limit);
    let mut probes = 0_u32;
    while high - low > 1 {
        probes += 1;
        let span = high - low;
        // Every fourth probe halves, so that a bent line cannot make the search crawl.
        let probe = if lack == i64::MIN || probes.is_multiple_of(4) {
            low + span / 2
        } else {
            let share = i128::from(room) * i128::from(span) / (i128::from(room) - i128::from(lack)).max(1);
            let line = low.saturating_add(u64::try_from(share).unwrap_or(0));
            let last_step = line / step * step;
            let own_step = low.next_multiple_of(step);
            let wanted = if last_step > low {
                last_step
            } else if own_step > low {
                own_step
            } else {
                low + 1
            };
            wanted.clamp(low + 1, high - 1)
        };
        let found = slack(probe)?;
        if found >= 0 {
            (low, room) = (probe, found);
        } else {
            (high, lack) = (probe, found);
        }
    }
    Ok(Some(low))
}

/// What engines pad contexts to: the end of a step costs what its beginning does.
const CONTEXT_STEP: u64 = 256;
