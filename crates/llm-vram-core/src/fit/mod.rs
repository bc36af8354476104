//! Whether it runs: the budget, the verdict, what binds and how far it reaches.

mod budget;
mod offload;
mod solve;

use alloc::{format, string::String};

use serde::Serialize;

pub use budget::{Budget, BudgetTerms, weights_budget};
pub use offload::Offload;
pub use solve::{best_quant, max_concurrency, max_context};

use crate::{
    bounds,
    derivation::{Certainty, Derivation, Step},
    engine::{Engine, Memory, Scene},
    error::{ErrorKind, Result},
    units::{ByteUnit, Bytes, grouped},
};

/// The share of memory that is left free where nobody says otherwise.
pub const DEFAULT_SAFETY: f64 = 0.10;

/// The answer in a word. The list is complete: callers are meant to match on all four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything lies on the devices with the safety share left free on each.
    Fits,
    /// Everything lies on the devices, but the safety share is not left free.
    Tight,
    /// It runs with a part of the model on the host.
    Offload,
    /// It does not run.
    DoesNotFit,
}

impl Verdict {
    /// The word in answers.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Fits => "fits",
            Self::Tight => "tight",
            Self::Offload => "offload",
            Self::DoesNotFit => "does_not_fit",
        }
    }
}

/// The largest term of a sum that is too large, or the term that will grow first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Binding {
    /// `weights`, `kv_cache`, `recurrent_state`, `compute_buffer` or `overhead`.
    pub component: &'static str,
    /// Its bytes over all devices.
    pub bytes: Bytes,
    /// What that means, in words.
    pub message: String,
}

/// The answer to "does it fit?".
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The answer in a word.
    pub verdict: Verdict,
    /// The budget equation.
    pub budget: Budget,
    /// Bytes left beyond the safety share; negative where they lack. On several devices that of the fullest
    /// one if something lacks there, else of all together.
    pub headroom_bytes: i64,
    /// What decides.
    pub binding: Binding,
    /// The memory that the verdict was read from, everything on the devices.
    pub memory: Memory,
    /// How it runs with a part on the host, where it does not fit otherwise.
    pub offload: Option<Offload>,
}

/// Whether a scene fits its hardware.
///
/// `fits`: on each device, what is used leaves `safety` of the visible memory free. `tight`: it does not, but the
/// expected use is at most the visible memory. `offload`: neither, but the engine can keep layers or experts on the
/// host. For engines that fill a pool (vLLM, SGLang) the pool decides: `fits` if it holds all requests, `tight` if at
/// least one.
///
/// # Errors
/// Those of [`Engine::memory`], and [`ErrorKind::OutOfRange`] for a safety outside 0 to
/// below 1.
pub fn fit(engine: &dyn Engine, scene: &Scene<'_>, safety: f64, derivation: &mut Derivation) -> Result<Fit> {
    bounds::safety(safety)?;
    let memory = engine.memory(scene, derivation)?.bounded()?;
    let placed = place(scene, &memory, safety);
    let budget = budget_of(scene, &memory, safety)?;
    record(&budget, derivation);
    let offload = if placed.verdict == Verdict::DoesNotFit { offload::find(engine, scene, safety)? } else { None };
    let verdict = if offload.is_some() { Verdict::Offload } else { placed.verdict };
    let binding = binding(scene, &memory, placed.headroom_bytes);
    Ok(Fit { verdict, budget, headroom_bytes: placed.headroom_bytes, binding, memory, offload })
}

/// The verdict alone, as [`fit`] gives it before it looks for a way over the host.
///
/// # Errors
/// Those of [`Engine::memory`].
pub fn verdict(engine: &dyn Engine, scene: &Scene<'_>, safety: f64) -> Result<Verdict> {
    let memory = engine.memory(scene, &mut Derivation::off())?.bounded()?;
    Ok(place(scene, &memory, safety).verdict)
}

/// The verdict of [`fit`] without what it takes to find out how much must stay on the host.
///
/// # Errors
/// Those of [`Engine::memory`].
pub fn verdict_with_offload(engine: &dyn Engine, scene: &Scene<'_>, safety: f64) -> Result<Verdict> {
    let on_devices = verdict(engine, scene, safety)?;
    let offloads = on_devices == Verdict::DoesNotFit && offload::is_possible(engine, scene, safety)?;
    Ok(if offloads { Verdict::Offload } else { on_devices })
}

struct Placed {
    verdict: Verdict,
    headroom_bytes: i64,
    /// How far the fullest place is from not fitting; negative beyond.
    slack_bytes: i64,
}

/// How many bytes the fullest place can still take before the verdict is no longer `fits`; negative beyond, and the
/// least of all integers where the engine refuses the question.
///
/// # Errors
/// Those of [`Engine::memory`] that say something else than that the request is too large.
pub(crate) fn slack(engine: &dyn Engine, scene: &Scene<'_>, safety: f64) -> Result<i64> {
    match engine.memory(scene, &mut Derivation::off()).and_then(Memory::bounded) {
        Ok(memory) => {
            let placed = place(scene, &memory, safety);
            Ok(if placed.verdict == Verdict::Fits { placed.slack_bytes.max(0) } else { placed.slack_bytes.min(-1) })
        }
        Err(error) => match error.kind() {
            ErrorKind::EngineRefuses
            | ErrorKind::Overflow
            | ErrorKind::OutOfRange
            | ErrorKind::LimitExceeded
            | ErrorKind::Unsupported => Ok(i64::MIN),
            _ => Err(error),
        },
    }
}

fn signed(bytes: Bytes) -> i64 {
    // Below 2^53, so the conversion cannot fail.
    i64::try_from(bytes.get()).unwrap_or(i64::MAX)
}

fn place(scene: &Scene<'_>, memory: &Memory, safety: f64) -> Placed {
    let mut verdict = Verdict::Fits;
    let mut total = 0_i64;
    let mut worst = i64::MAX;
    let mut slack_bytes = i64::MAX;
    for (device, used) in scene.hardware.devices.iter().zip(&memory.devices) {
        let visible = device.visible_bytes;
        let (left, slack, here) = match used.kv_pool {
            Some(pool) => {
                let left = signed(pool.bytes) - signed(used.kv_cache);
                let here = if left >= 0 && pool.tokens > 0 {
                    Verdict::Fits
                } else if pool.concurrency >= 1.0 {
                    Verdict::Tight
                } else {
                    Verdict::DoesNotFit
                };
                (left, left, here)
            }
            None => {
                let used = used.used();
                let usable = visible.saturating_sub(visible.share(safety));
                let here = if used.expected <= usable && used.high <= visible {
                    Verdict::Fits
                } else if used.expected <= visible {
                    Verdict::Tight
                } else {
                    Verdict::DoesNotFit
                };
                let left = signed(usable) - signed(used.expected);
                (left, left.min(signed(visible) - signed(used.high)), here)
            }
        };
        verdict = verdict.max(here);
        total = total.saturating_add(left);
        worst = worst.min(left);
        slack_bytes = slack_bytes.min(slack);
    }
    if let (Some(host), Verdict::Fits | Verdict::Tight) = (scene.hardware.host_bytes, verdict) {
        let unified = scene.hardware.devices.iter().any(|device| device.unified_memory);
        if !unified {
            let left = signed(host) - signed(memory.host.total());
            slack_bytes = slack_bytes.min(left);
            if left < 0 {
                verdict = Verdict::DoesNotFit;
                worst = worst.min(left);
            }
        }
    }
    Placed { verdict, headroom_bytes: if worst < 0 { worst } else { total }, slack_bytes }
}

fn budget_of(scene: &Scene<'_>, memory: &Memory, safety: f64) -> Result<Budget> {
    let mut state = Bytes::ZERO;
    let mut overhead = Bytes::ZERO;
    for device in &memory.devices {
        state = state + device.kv_cache + device.recurrent_state;
        overhead = overhead + device.compute_buffer.expected + device.overhead_total().expected;
    }
    let mut budget = weights_budget(BudgetTerms {
        total_vram: scene.hardware.visible_bytes(),
        safety,
        kv_cache_per_request: Bytes::ZERO,
        concurrency: 1,
        framework_overhead: overhead,
    })?;
    // The caches of all requests together are not always a multiple of one request's (shared windows, padding),
    // so the engine's own total stands for kv_cache × concurrency.
    budget.kv_cache_bytes = state;
    budget.weights_bytes = budget.weights_bytes.saturating_sub(state);
    Ok(budget)
}

fn record(budget: &Budget, derivation: &mut Derivation) {
    derivation.step(|| {
        Step::bytes(
            "budget.weights",
            "budget for weights",
            "total_vram − safety_bytes − kv_cache × concurrency − framework_overhead",
            budget.weights_bytes,
            "the six-chapter sum; each term is derived above",
        )
        .with("total_vram", budget.total_bytes.get(), "bytes")
        .with("safety_bytes", budget.safety_bytes.get(), "bytes")
        .with("kv_cache × concurrency", budget.kv_cache_bytes.get(), "bytes")
        .with("framework_overhead", budget.overhead_bytes.get(), "bytes")
        .known(Certainty::Modelled)
    });
}

fn binding(scene: &Scene<'_>, memory: &Memory, headroom: i64) -> Binding {
    let sum = |part: fn(&crate::engine::DeviceMemory) -> Bytes| memory.devices.iter().map(part).sum::<Bytes>();
    let parts = [
        ("weights", "the weights", sum(|device| device.weights)),
        ("kv_cache", "the KV cache", sum(|device| device.kv_cache)),
        ("recurrent_state", "the recurrent state", sum(|device| device.recurrent_state)),
        ("compute_buffer", "the compute buffer", sum(|device| device.compute_buffer.expected)),
        ("overhead", "driver and libraries", sum(|device| device.overhead_total().expected)),
    ];
    let total = parts.iter().map(|(_, _, bytes)| *bytes).sum::<Bytes>();
    let largest = parts.iter().copied().fold(parts[0], |best, part| if part.2 > best.2 { part } else { best });
    let (component, words, bytes) = largest;
    let figure = bytes.display(ByteUnit::GB);
    let at = if component == "kv_cache" || component == "recurrent_state" {
        format!(" at {} tokens × {}", grouped(scene.workload.context), grouped(scene.workload.concurrency))
    } else {
        String::new()
    };
    let message = if headroom >= 0 {
        format!("{words}{at} take{} the most, {figure}", if words.ends_with('s') { "" } else { "s" })
    } else {
        let rest = total.saturating_sub(bytes).display(ByteUnit::GB);
        let room = scene.hardware.visible_bytes();
        let would = if total.saturating_sub(bytes) < room { format!("; the rest, {rest}, would fit") } else { String::new() };
        format!("{words}{at} need{} {figure}{would}", if words.ends_with('s') { "" } else { "s" })
    };
    Binding { component, bytes, message }
}
