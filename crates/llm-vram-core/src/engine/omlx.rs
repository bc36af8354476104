//! oMLX: mlx-lm's models and caches behind a scheduler, a prefix cache on disk and a memory guard.
//!
//! Source: jundot/omlx, `settings.py` (004308c), `process_memory_enforcer.py` (13ca1ad), `memory_monitor.py` (0800b3c).
//! The prefix cache lies on the SSD and saves time, not memory: the caches of running requests stay in unified memory.

use alloc::{format, string::String};

use super::{
    Engine, Habits, Memory, Resolved, Scene,
    mlx::{self, Server},
    version,
};
use crate::{
    derivation::Derivation,
    error::Result,
    hardware::{Backend, Device},
    model::Warning,
    quant::FormatFamily,
    units::{ByteUnit, Bytes},
};

/// The engine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Omlx;

/// The versions whose rules are known. Their common part is not older than 0.3.8.
pub const VERSIONS: &[&str] = &["0.6.3", "0.3.8"];

/// Requests decoded at once (`settings.py`, `max_concurrent_requests`).
const MAX_CONCURRENT_REQUESTS: u64 = 8;
/// Tokens of a block of the prefix cache, for models with attention alone and for those with states.
const BLOCK_TOKENS: (u64, u64) = (256, 2048);
/// Share of the ceiling above which requests are refused (`settings.py`, `hard_threshold`).
const HARD_THRESHOLD: f64 = 0.95;
const GIB_MEBIBYTES: u64 = 1024;

/// How cautious the memory guard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GuardTier {
    /// Leaves the system 12 GiB.
    Safe,
    /// Leaves the system 8 GiB; the default.
    #[default]
    Balanced,
    /// Leaves the system 6 GiB.
    Aggressive,
}

/// The most that the guard lets the process use on an otherwise idle computer: all but the tier's reserve (4 GiB below 16
/// GB of memory), and not more than Metal's working set.
///
/// ```
/// use llm_vram_core::{Bytes, engine::omlx::{GuardTier, ceiling}};
/// let ceiling = ceiling(Bytes::mib(32 * 1024), Bytes::mib(25_559), GuardTier::Balanced);
/// assert_eq!(ceiling, Bytes::mib(24 * 1024));
/// ```
#[must_use]
pub fn ceiling(nameplate: Bytes, working_set: Bytes, tier: GuardTier) -> Bytes {
    let reserve_gib = match tier {
        _ if nameplate < Bytes::mib(16 * GIB_MEBIBYTES) => 4,
        GuardTier::Safe => 12,
        GuardTier::Balanced => 8,
        GuardTier::Aggressive => 6,
    };
    nameplate.saturating_sub(Bytes::mib(reserve_gib * GIB_MEBIBYTES)).min(working_set)
}

impl Engine for Omlx {
    fn name(&self) -> &'static str {
        "omlx"
    }

    fn versions(&self) -> &'static [&'static str] {
        VERSIONS
    }

    fn version_for(&self, asked: Option<&str>) -> Result<(&'static str, Option<Warning>)> {
        version::nearest("oMLX", VERSIONS, asked)
    }

    fn backends(&self) -> &'static [Backend] {
        &[Backend::Metal]
    }

    fn families(&self) -> &'static [FormatFamily] {
        &[FormatFamily::Mlx]
    }

    fn habits(&self, scene: &Scene<'_>) -> Result<Habits> {
        mlx::habits::of(scene, server(scene))
    }

    fn memory(&self, scene: &Scene<'_>, derivation: &mut Derivation) -> Result<Memory> {
        let (_, unknown_version) = self.version_for(scene.version)?;
        let mut held = mlx::hold(scene, server(scene), derivation)?;
        held.warnings.extend(unknown_version);
        let resident =
            held.weights.checked_add(held.kv_cache)?.checked_add(held.recurrent_state)?.checked_add(held.prefill.expected)?;
        if let Some(device) = scene.hardware.devices.first() {
            held.warnings.extend(guard(device, resident));
        }
        let has_states = held.recurrent_state > Bytes::ZERO;
        let block = if has_states { BLOCK_TOKENS.1 } else { BLOCK_TOKENS.0 };
        let mut resolved = held.resolved(scene);
        for (name, value) in [
            ("memory_guard_tier", String::from("balanced")),
            ("hot_cache_max_size", String::from("0")),
            ("ssd_cache_max_size", String::from("auto (half of free disk and cache)")),
            ("block_size", format!("{block}")),
        ] {
            resolved.push(Resolved { name, value, is_default: true });
        }
        Ok(held.into_memory(resolved))
    }
}

/// oMLX's scheduler, as far as memory depends on it.
fn server(scene: &Scene<'_>) -> Server {
    Server {
        name: "oMLX",
        sequences: scene.workload.max_num_seqs.unwrap_or(MAX_CONCURRENT_REQUESTS),
        prompts: 1,
        kv_bits: false,
        batches_one: true,
    }
}

/// The remark that the memory guard would refuse the prompt.
fn guard(device: &Device, resident: Bytes) -> Option<Warning> {
    let ceiling = ceiling(device.nameplate_bytes, device.visible_bytes, GuardTier::default());
    (device.backend == Backend::Metal && resident > ceiling.share(HARD_THRESHOLD)).then(|| {
        Warning::new(
            "memory_guard",
            format!(
                "oMLX's memory guard refuses the prompt: {} are expected, its hard limit is 0.95 of {}; choose tier aggressive or set \
                 memory_guard_custom_ceiling_gb",
                resident.display(ByteUnit::GB),
                ceiling.display(ByteUnit::GB)
            ),
        )
    })
}
