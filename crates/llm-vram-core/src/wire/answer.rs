//! Answers as they leave: flat, with the unit in each name, the same in every language.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    derivation::Step,
    engine::{Amount, NamedAmount, Resolved},
    fit::{Binding, Budget, Offload, Verdict},
    hardware::Device,
    model::{Basis, Warning},
    units::{BitsPerWeight, Bytes},
};

/// The version of the shape of answers. It changes only if a field changes its meaning or disappears.
pub const SCHEMA: &str = "llm-vram/1";

/// Which model an answer is about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelAnswer {
    /// Catalog id, or the name that the file gives.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Parameters of the language model, tied tables once, idle multi-token-prediction blocks not counted.
    pub parameters: u64,
    /// Parameters that take part in one token.
    pub active_parameters: u64,
    /// What the figures rest on.
    pub basis: Basis,
    /// Trained context length in tokens, where known.
    pub context_length: Option<u64>,
}

/// The options that an answer rests on, defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkloadAnswer {
    /// Tokens per request.
    pub context: u64,
    /// Requests held at once.
    pub concurrency: u64,
    /// The engine's options as resolved.
    #[serde(flatten, serialize_with = "options")]
    pub options: Vec<Resolved>,
}

fn options<S: Serializer>(options: &[Resolved], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(options.len()))?;
    for option in options {
        // Options are text in the engine; numbers and switches read better as such.
        match option.value.as_str() {
            "true" => map.serialize_entry(option.name, &true)?,
            "false" => map.serialize_entry(option.name, &false)?,
            text => match text.parse::<u64>() {
                Ok(number) => map.serialize_entry(option.name, &number)?,
                Err(_) => map.serialize_entry(option.name, text)?,
            },
        }
    }
    map.end()
}

/// What lies on one device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceAnswer {
    /// The device's id; `any` where none was named.
    pub id: String,
    /// Memory on the nameplate.
    pub total_bytes: Option<Bytes>,
    /// Memory that software sees.
    pub usable_bytes: Option<Bytes>,
    /// Weights.
    pub weights_bytes: Bytes,
    /// Attention caches.
    pub kv_cache_bytes: Bytes,
    /// The pool that holds the caches, for engines that take one; it stands for them in `used_bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_pool_bytes: Option<Bytes>,
    /// Recurrent state.
    pub recurrent_state_bytes: Bytes,
    /// Compute buffer.
    pub compute_buffer_bytes: Bytes,
    /// Engine and driver.
    pub overhead_bytes: Bytes,
    /// Everything that the engine takes on the device.
    pub used_bytes: Bytes,
    /// What it leaves of `usable_bytes`; negative where it lacks.
    pub free_bytes: Option<i64>,
    /// Layers whose weights lie here.
    pub layers: u32,
}

impl DeviceAnswer {
    /// A device with nothing on it.
    #[must_use]
    pub fn empty(device: &Device) -> Self {
        Self {
            id: device.id.clone(),
            total_bytes: Some(device.nameplate_bytes),
            usable_bytes: Some(device.visible_bytes),
            weights_bytes: Bytes::ZERO,
            kv_cache_bytes: Bytes::ZERO,
            kv_pool_bytes: None,
            recurrent_state_bytes: Bytes::ZERO,
            compute_buffer_bytes: Bytes::ZERO,
            overhead_bytes: Bytes::ZERO,
            used_bytes: Bytes::ZERO,
            free_bytes: i64::try_from(device.visible_bytes.get()).ok(),
            layers: 0,
        }
    }
}

/// One part of the overhead.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OverheadAnswer {
    /// What it is.
    pub name: &'static str,
    /// The best single figure, over all devices.
    pub bytes: Bytes,
    /// The least and the most.
    pub range: [Bytes; 2],
    /// Where the figure comes from.
    pub source: &'static str,
}

/// The answer of `estimate`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EstimateAnswer {
    /// The shape of this answer.
    pub schema: &'static str,
    /// The snapshot of the catalog.
    pub data_version: &'static str,
    /// The model.
    pub model: ModelAnswer,
    /// Its weight format.
    pub quant: String,
    /// Stored bits per weight, side data included.
    #[serde(serialize_with = "bits")]
    pub bits_per_weight: Option<BitsPerWeight>,
    /// The engine.
    pub engine: &'static str,
    /// The version whose rules answer.
    pub engine_version: &'static str,
    /// What it is asked to hold.
    pub workload: WorkloadAnswer,
    /// All weight tensors as stored.
    pub weights_bytes: Bytes,
    /// What the nominal rule says, parameters × nominal bits ÷ 8, where the format has nominal bits.
    pub nominal_weights_bytes: Option<Bytes>,
    /// Attention caches of all layers and requests.
    pub kv_cache_bytes: Bytes,
    /// Recurrent states of all layers and requests.
    pub recurrent_state_bytes: Bytes,
    /// Compute buffers on the devices.
    pub compute_buffer_bytes: Bytes,
    /// Engine and driver on the devices.
    pub overhead_bytes: Bytes,
    /// The parts of the overhead.
    pub overhead: Vec<OverheadAnswer>,
    /// The cache pool of one device, for engines that take one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_pool_bytes: Option<Bytes>,
    /// The tokens that the pool holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_pool_tokens: Option<u64>,
    /// Requests of `context` tokens that the pool holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_pool_concurrency: Option<f64>,
    /// Everything on the devices.
    pub total_bytes: Bytes,
    /// What stays in the host's memory.
    pub host_bytes: Bytes,
    /// Device by device.
    pub devices: Vec<DeviceAnswer>,
    /// The least and the most of every part that is no exact figure.
    pub ranges: BTreeMap<&'static str, [Bytes; 2]>,
    /// Every number, in the order in which it was computed.
    pub derivation: Vec<Step>,
    /// Remarks.
    pub warnings: Vec<Warning>,
}

fn bits<S: Serializer>(bits: &Option<BitsPerWeight>, serializer: S) -> Result<S::Ok, S::Error> {
    bits.map(BitsPerWeight::to_f64).serialize(serializer)
}

/// A change that would make it fit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangeAnswer {
    /// `quant`, `kv_cache_type`, `context`, `concurrency`, `n_cpu_moe`, `n_gpu_layers`.
    pub kind: &'static str,
    /// What to set.
    pub value: String,
    /// What it does, in words.
    pub message: String,
    /// Device memory that it uses then.
    pub total_bytes: Bytes,
    /// Host memory that it uses then.
    pub host_bytes: Bytes,
}

/// The answer of `fit`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FitAnswer {
    /// The estimate that it rests on.
    #[serde(flatten)]
    pub estimate: EstimateAnswer,
    /// The budget equation.
    pub budget: Budget,
    /// The share of memory left free.
    pub safety: f64,
    /// The answer in a word.
    pub verdict: Verdict,
    /// Bytes left beyond the safety share; negative where they lack.
    pub headroom_bytes: i64,
    /// What decides.
    pub binding: Binding,
    /// How it runs with a part on the host.
    pub offload: Option<Offload>,
    /// Largest context per request that fits.
    pub max_context: Option<u64>,
    /// Most requests of `context` tokens that fit.
    pub max_concurrency: Option<u64>,
    /// Best weight format that fits.
    pub best_quant: Option<String>,
    /// Changes that would make it fit; empty where it does.
    pub changes: Vec<ChangeAnswer>,
}

/// Sums the parts of the overhead over devices, by name.
pub(super) fn overhead<'a>(parts: impl Iterator<Item = &'a NamedAmount>) -> Vec<OverheadAnswer> {
    let mut sums: Vec<(&'static str, Amount, &'static str)> = Vec::new();
    for part in parts {
        match sums.iter_mut().find(|(name, _, _)| *name == part.name) {
            Some((_, amount, _)) => *amount = amount.plus(part.amount),
            None => sums.push((part.name, part.amount, part.source)),
        }
    }
    sums.into_iter()
        .map(|(name, amount, source)| OverheadAnswer { name, bytes: amount.expected, range: [amount.low, amount.high], source })
        .collect()
}
