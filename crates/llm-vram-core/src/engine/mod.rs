//! The seam between a model and the program that runs it.
//!
//! An engine owns its cache rules, its working buffers, its fixed costs, what it leaves on the host
//! and its defaults. Each lives in a module of its own and answers [`Engine::memory`].

pub mod exllama;
pub mod habits;
pub mod llama_cpp;
pub mod lm_studio;
pub mod mlx;
pub mod ollama;
pub mod omlx;
pub mod serving;
pub mod sglang;
pub mod tensorrt_llm;
pub mod transformers;
pub(crate) mod version;
pub mod vllm;

mod memo;
mod registry;

use alloc::{string::String, vec::Vec};

pub use habits::Habits;
pub use memo::Memo;
pub use registry::{all, by_name};
use serde::Serialize;

use crate::{
    derivation::{Certainty, Derivation},
    error::Result,
    hardware::{Backend, Hardware},
    model::{Model, Warning},
    quant::{FormatFamily, WeightFormat},
    units::Bytes,
    workload::Workload,
};

/// An amount that is exact, or expected within a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// The least that logs or plans support.
    pub low: Bytes,
    /// The best single figure.
    pub expected: Bytes,
    /// The most that logs or plans support.
    pub high: Bytes,
    /// How well it is known.
    pub certainty: Certainty,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self::exact(Bytes::ZERO);

    /// An exact amount.
    #[must_use]
    pub const fn exact(bytes: Bytes) -> Self {
        Self { low: bytes, expected: bytes, high: bytes, certainty: Certainty::Exact }
    }

    /// An amount within a range; the ends are widened to hold the expected value.
    #[must_use]
    pub fn range(low: Bytes, expected: Bytes, high: Bytes) -> Self {
        Self { low: low.min(expected), expected, high: high.max(expected), certainty: Certainty::Modelled }
    }

    /// Whether it has a range.
    #[must_use]
    pub fn is_range(&self) -> bool {
        self.low != self.high
    }

    /// The sum, end by end; as well known as the less known of the two.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            low: self.low + other.low,
            expected: self.expected + other.expected,
            high: self.high + other.high,
            certainty: self.certainty.max(other.certainty),
        }
    }
}

/// A part of the overhead that has a name of its own, such as the CUDA context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedAmount {
    /// What it is.
    pub name: &'static str,
    /// How much.
    pub amount: Amount,
    /// Where the figure comes from.
    pub source: &'static str,
}

/// What lies on one device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceMemory {
    /// Weights, as this device's buffer holds them.
    pub weights: Bytes,
    /// Attention caches.
    pub kv_cache: Bytes,
    /// Recurrent state.
    pub recurrent_state: Bytes,
    /// Compute or activation buffer.
    pub compute_buffer: Amount,
    /// What the engine and the driver take beside the model, term by term.
    pub overhead: Vec<NamedAmount>,
    /// Layers whose weights lie here, the output not counted.
    pub layers: u32,
    /// The pool that the engine fills with cache, for engines that take one.
    pub kv_pool: Option<KvPool>,
}

impl DeviceMemory {
    /// The overhead's sum.
    #[must_use]
    pub fn overhead_total(&self) -> Amount {
        self.overhead.iter().fold(Amount::ZERO, |sum, part| sum.plus(part.amount))
    }

    /// Everything on the device. Where an engine takes a pool, the pool stands for the cache in it.
    #[must_use]
    pub fn used(&self) -> Amount {
        let cache = self.kv_pool.map_or(self.kv_cache, |pool| pool.bytes);
        Amount::exact(self.weights + cache + self.recurrent_state).plus(self.compute_buffer).plus(self.overhead_total())
    }
}

/// The cache pool of an engine that takes one and fills it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct KvPool {
    /// Its size on the device.
    pub bytes: Bytes,
    /// The tokens it holds, as the engine's version prints them.
    pub tokens: u64,
    /// Requests of the asked context length that it holds at once.
    pub concurrency: f64,
}

/// What lies in the host's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct HostMemory {
    /// Weights.
    pub weights: Bytes,
    /// Attention caches.
    pub kv_cache: Bytes,
    /// Recurrent state.
    pub recurrent_state: Bytes,
    /// Compute buffer.
    pub compute_buffer: Bytes,
    /// Logits and embeddings handed to the caller.
    pub output_buffer: Bytes,
}

impl HostMemory {
    /// The sum.
    #[must_use]
    pub fn total(&self) -> Bytes {
        self.weights + self.kv_cache + self.recurrent_state + self.compute_buffer + self.output_buffer
    }
}

/// An option as the engine resolved it, in the engine's own word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resolved {
    /// The option.
    pub name: &'static str,
    /// Its value, as text.
    pub value: String,
    /// Whether the engine's default filled it in.
    pub is_default: bool,
}

/// An engine's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Memory {
    /// All weight tensors as stored, wherever they lie, each once.
    pub weights: Bytes,
    /// Attention caches of all layers and sequences for the asked context, wherever they lie.
    pub kv_cache: Bytes,
    /// Recurrent states of all layers and sequences, wherever they lie.
    pub recurrent_state: Bytes,
    /// Device by device; one entry if no device was named.
    pub devices: Vec<DeviceMemory>,
    /// What stays on the host.
    pub host: HostMemory,
    /// The options as resolved.
    pub resolved: Vec<Resolved>,
    /// Remarks.
    pub warnings: Vec<Warning>,
}

impl Memory {
    /// This answer, if everything in it can be added up: sums of [`Bytes`] stop at their largest value, so a total
    /// beyond it would be one without its parts.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) above 2^53 - 1 bytes on all devices and the host together.
    pub fn bounded(self) -> Result<Self> {
        let wide = |bytes: Bytes| u128::from(bytes.get());
        let on_devices = self.devices.iter().map(|device| {
            let pool = device.kv_pool.map_or(Bytes::ZERO, |pool| pool.bytes);
            let overhead = device.overhead.iter().map(|part| wide(part.amount.high)).sum::<u128>();
            let state = wide(device.weights) + wide(device.kv_cache.max(pool)) + wide(device.recurrent_state);
            state + wide(device.compute_buffer.high) + overhead
        });
        let host = &self.host;
        let on_host = [host.weights, host.kv_cache, host.recurrent_state, host.compute_buffer, host.output_buffer];
        Bytes::from_wide(on_devices.sum::<u128>() + on_host.into_iter().map(wide).sum::<u128>())?;
        Ok(self)
    }
}

/// The question that an engine answers.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The model.
    pub model: &'a Model,
    /// How its weights are stored.
    pub format: &'a WeightFormat,
    /// What it is asked to hold.
    pub workload: &'a Workload,
    /// Where.
    pub hardware: &'a Hardware,
    /// The engine's version, `None` for the newest known.
    pub version: Option<&'a str>,
    /// What was worked out for the model before and may be used again.
    pub memo: Option<&'a Memo<'a>>,
}

/// What the calculator needs to know of an engine.
pub trait Engine: Sync {
    /// Its name in requests and answers, for example `llama.cpp`.
    fn name(&self) -> &'static str;

    /// The versions whose rules are known, the newest first.
    fn versions(&self) -> &'static [&'static str];

    /// The version whose rules answer for `asked`: itself if known, else the nearest, with a remark.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`](crate::ErrorKind::InvalidValue) for text that is no version.
    fn version_for(&self, asked: Option<&str>) -> Result<(&'static str, Option<Warning>)>;

    /// The interfaces on which it runs.
    fn backends(&self) -> &'static [Backend];

    /// The families of weight formats that it loads, the usual one first.
    fn families(&self) -> &'static [FormatFamily] {
        &[FormatFamily::Gguf]
    }

    /// A cache type of about half the size that it offers, in its own word.
    fn smaller_cache_type(&self) -> Option<&'static str> {
        None
    }

    /// Whether it can keep layers or experts in the host's memory.
    fn offloads_to_host(&self) -> bool {
        false
    }

    /// How it takes memory in a scene, as facts that explain how it differs from other engines.
    ///
    /// # Errors
    /// As [`Self::memory`], for options that it does not take.
    fn habits(&self, scene: &Scene<'_>) -> Result<Habits> {
        Ok(Habits::plain(scene))
    }

    /// What the engine would allocate.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`](crate::ErrorKind::OutOfRange) for options beyond their bounds,
    /// [`ErrorKind::EngineRefuses`](crate::ErrorKind::EngineRefuses) where the engine itself would refuse,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for a format it does not load,
    /// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) for results beyond 2^53 - 1 bytes.
    fn memory(&self, scene: &Scene<'_>, derivation: &mut Derivation) -> Result<Memory>;
}
