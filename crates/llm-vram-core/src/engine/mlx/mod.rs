//! mlx-lm: exact in weights and caches, a range for what prefill needs on top.
//!
//! Rules were read from and compared with mlx 0.32.4 and mlx-lm 0.32.2. There is one device, the unified memory.

pub mod cache;
pub mod classes;
pub mod growth;
pub(in crate::engine) mod habits;
pub mod options;
pub mod prefill;
mod sum;

use alloc::{format, string::String};

pub use sum::{Held, Server, hold, mlx_weights};

use super::{DeviceMemory, Engine, Habits, HostMemory, Memory, Resolved, Scene, version};
use crate::{
    derivation::Derivation,
    error::{Error, ErrorKind, Result},
    hardware::{Backend, Hardware},
    model::Warning,
    quant::FormatFamily,
    units::{ByteUnit, Bytes},
};

/// The engine: mlx-lm's generator and server.
///
/// ```
/// use llm_vram_core::{Model, derivation::Derivation, engine::{Engine, Scene, mlx::Mlx}, hardware::Hardware,
///     model::{Hyperparameters, PerLayer}, quant::{WeightFormat, mlx::MlxQuantisation}, workload::Workload};
/// let model = Model::new(Hyperparameters {
///     block_count: 32, embedding_length: 4096, vocab_size: 128_256, context_length: 131_072,
///     feed_forward_length: PerLayer::Uniform(14_336), head_count: PerLayer::Uniform(32), head_count_kv: PerLayer::Uniform(8),
///     ..Hyperparameters::new("llama")
/// })?;
/// let format = WeightFormat::Mlx(MlxQuantisation::parse("MLX-4bit-g64")?.expect("a format of MLX"));
/// let scene = Scene {
///     model: &model, format: &format, workload: &Workload::new(8192), hardware: &Hardware::default(), version: None, memo: None,
/// };
/// let memory = Mlx.memory(&scene, &mut Derivation::off())?;
/// assert_eq!(memory.weights.get(), 4_517_404_672);
/// assert_eq!(memory.kv_cache.get(), 1 << 30);
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Mlx;

/// The versions whose rules are known.
pub const VERSIONS: &[&str] = &["0.32.2"];

/// Requests that the server decodes at once (`server.py`, `--decode-concurrency`).
const DECODE_CONCURRENCY: u64 = 32;
/// Prompts that the server prefills at once (`server.py`, `--prompt-concurrency`).
const PROMPT_CONCURRENCY: u64 = 8;
/// Finished caches that the server keeps (`server.py`, `--prompt-cache-size`).
const PROMPT_CACHE_SIZE: u64 = 10;
/// Share of the working set above which mlx-lm warns (`generate.py:wired_limit`).
const WIRED_SHARE: f64 = 0.9;

impl Engine for Mlx {
    fn name(&self) -> &'static str {
        "mlx"
    }

    fn versions(&self) -> &'static [&'static str] {
        VERSIONS
    }

    fn version_for(&self, asked: Option<&str>) -> Result<(&'static str, Option<Warning>)> {
        version::nearest("mlx-lm", VERSIONS, asked)
    }

    fn backends(&self) -> &'static [Backend] {
        &[Backend::Metal]
    }

    fn families(&self) -> &'static [FormatFamily] {
        &[FormatFamily::Mlx]
    }

    fn smaller_cache_type(&self) -> Option<&'static str> {
        Some("8bit")
    }

    fn habits(&self, scene: &Scene<'_>) -> Result<Habits> {
        habits::of(scene, server(scene))
    }

    fn memory(&self, scene: &Scene<'_>, derivation: &mut Derivation) -> Result<Memory> {
        let (_, unknown_version) = self.version_for(scene.version)?;
        let mut held = hold(scene, server(scene), derivation)?;
        held.warnings.extend(unknown_version);
        if let Some(limit) = working_set(scene.hardware)
            && held.weights > limit.share(WIRED_SHARE)
        {
            held.warnings.push(Warning::new(
                "near_working_set",
                format!(
                    "the weights, {}, are more than nine tenths of Metal's working set, {}: mlx-lm warns that this can be slow",
                    held.weights.display(ByteUnit::GB),
                    limit.display(ByteUnit::GB)
                ),
            ));
        }
        let kept = held.kv_cache.checked_add(held.recurrent_state)?.get() / held.sequences.max(1);
        held.warnings.push(Warning::new(
            "prompt_cache",
            format!(
                "mlx_lm.server keeps the caches of up to {PROMPT_CACHE_SIZE} finished requests, {} each at this length, without a limit \
                 in bytes: set --prompt-cache-size or --prompt-cache-bytes",
                Bytes::new(kept)?.display(ByteUnit::GB)
            ),
        ));
        let mut resolved = held.resolved(scene);
        resolved.push(Resolved { name: "prompt_cache_size", value: format!("{PROMPT_CACHE_SIZE}"), is_default: true });
        Ok(held.into_memory(resolved))
    }
}

/// mlx_lm.server, as far as memory depends on it.
fn server(scene: &Scene<'_>) -> Server {
    Server {
        name: "mlx-lm",
        sequences: scene.workload.max_num_seqs.unwrap_or(DECODE_CONCURRENCY),
        prompts: PROMPT_CONCURRENCY,
        kv_bits: true,
        batches_one: false,
    }
}

impl Held {
    /// The options in mlx-lm's words.
    #[must_use]
    pub fn resolved(&self, scene: &Scene<'_>) -> alloc::vec::Vec<Resolved> {
        let kv_bits =
            self.options.kv_bits.map_or_else(|| String::from("none"), |kv| format!("{} (group size {})", kv.bits, kv.group_size));
        let workload = scene.workload;
        alloc::vec![
            Resolved {
                name: "prefill_step_size",
                value: format!("{}", self.options.prefill_step_size),
                is_default: workload.prefill_step_size.is_none(),
            },
            Resolved {
                name: "kv_bits",
                value: kv_bits,
                is_default: workload.kv_cache_type_k.is_none() && workload.kv_cache_type_v.is_none(),
            },
            Resolved {
                name: "max_kv_size",
                value: self.options.max_kv_size.map_or_else(|| String::from("none"), |size| format!("{size}")),
                is_default: workload.max_kv_size.is_none(),
            },
            Resolved { name: "sequences", value: format!("{}", self.sequences), is_default: workload.max_num_seqs.is_none() },
        ]
    }

    /// The answer: everything on the one device.
    #[must_use]
    pub fn into_memory(self, resolved: alloc::vec::Vec<Resolved>) -> Memory {
        Memory {
            weights: self.weights,
            kv_cache: self.kv_cache,
            recurrent_state: self.recurrent_state,
            devices: alloc::vec![DeviceMemory {
                weights: self.weights,
                kv_cache: self.kv_cache,
                recurrent_state: self.recurrent_state,
                compute_buffer: self.prefill,
                overhead: alloc::vec::Vec::new(),
                layers: self.layers,
                kv_pool: None,
            }],
            host: HostMemory::default(),
            resolved,
            warnings: self.warnings,
        }
    }
}

/// The one device's working set, where a device was named.
pub(super) fn working_set(hardware: &Hardware) -> Option<Bytes> {
    hardware.devices.first().filter(|device| device.backend == Backend::Metal).map(|device| device.visible_bytes)
}

/// Refuses hardware that is not one Apple device.
pub(super) fn check_hardware(name: &str, hardware: &Hardware) -> Result<()> {
    if let Some(device) = hardware.devices.iter().find(|device| !matches!(device.backend, Backend::Metal | Backend::Ideal)) {
        return Err(Error::new(ErrorKind::EngineRefuses, format!("{name} runs on Apple Silicon, not on `{}`", device.id))
            .field("hardware")
            .help("choose an Apple device, or llama.cpp or vLLM for this one"));
    }
    if hardware.devices.len() > 1 {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("{name} over `{}` computers is not calculated", hardware.devices.len()),
        )
        .field("hardware")
        .help("ask for one of them"));
    }
    Ok(())
}
