//! transformers: PyTorch's eager execution with a cache that grows by one token at a time.
//!
//! Source: transformers 5.23.0 (`cache_utils.py`, `generation/utils.py`), accelerate 1.15 (`utils/modeling.py:
//! get_balanced_memory`). Weights and cache elements follow rules; activations, the allocator's slack and the CUDA context
//! are ranges.

use alloc::{format, string::String, vec, vec::Vec};

use super::{
    Amount, DeviceMemory, Engine, Habits, HostMemory, Memory, NamedAmount, Resolved, Scene, exllama::cuda_context, version,
};
use crate::{
    derivation::{Derivation, Step},
    error::{Error, ErrorKind, Result},
    hardware::{Backend, Device},
    model::{Attention, Block, CacheSource, FeedForward, Model, Recurrence, Warning},
    quant::{FileType, FormatFamily, WeightFormat, weight_bytes},
    units::Bytes,
};

/// The engine: `generate` of a model loaded with `from_pretrained(device_map="auto")`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Transformers;

/// The versions whose rules are known.
pub const VERSIONS: &[&str] = &["5.23.0"];

/// Share of the free memory that `device_map="auto"` fills on a single device (accelerate, `get_max_memory`).
const SINGLE_DEVICE_SHARE: f64 = 0.9;
/// Last tokens that a quantised cache keeps at 16 bits (`cache_utils.py`, `residual_length`).
const RESIDUAL_TOKENS: u64 = 128;
/// Elements that share a scale and a zero point in a quantised cache (`cache_utils.py`, `q_group_size`).
const CACHE_GROUP: u64 = 64;

impl Engine for Transformers {
    fn name(&self) -> &'static str {
        "transformers"
    }

    fn versions(&self) -> &'static [&'static str] {
        VERSIONS
    }

    fn version_for(&self, asked: Option<&str>) -> Result<(&'static str, Option<Warning>)> {
        version::nearest("transformers", VERSIONS, asked)
    }

    fn backends(&self) -> &'static [Backend] {
        &[Backend::Cuda, Backend::Hip, Backend::Metal, Backend::Cpu]
    }

    fn families(&self) -> &'static [FormatFamily] {
        &[FormatFamily::Checkpoint]
    }

    fn offloads_to_host(&self) -> bool {
        true
    }

    fn habits(&self, scene: &Scene<'_>) -> Result<Habits> {
        let windows = scene.model.blocks().iter().filter_map(|block| match block.attention {
            Attention::Heads(heads) => heads.span.window(),
            _ => None,
        });
        let held = |window: u32| scene.workload.context.min(u64::from(window).saturating_sub(1));
        let window_tokens = windows.max().map(|window| held(window).saturating_mul(scene.workload.concurrency));
        Ok(Habits { window_tokens, expands_latent: true, ..Habits::plain(scene) })
    }

    fn memory(&self, scene: &Scene<'_>, derivation: &mut Derivation) -> Result<Memory> {
        scene.workload.validate()?;
        let (_, unknown_version) = self.version_for(scene.version)?;
        let model = scene.model;
        let mut warnings: Vec<Warning> = model.warnings().to_vec();
        warnings.extend(unknown_version);
        let weights = weight_bytes(model, &checkpoint_format(scene.format)?)?;
        derivation.step(|| {
            Step::bytes("transformers.weights", "checkpoint as loaded", "Σ tensors", weights.total, "transformers 5.23.0")
                .known(weights.certainty)
        });
        let cache_bits = cache_bits(scene)?;
        let (context, batch) = (scene.workload.context, scene.workload.concurrency);
        let layers = layer_caches(model, context, batch, cache_bits)?;
        let kv_cache = layers.iter().try_fold(Bytes::ZERO, |sum, layer| sum.checked_add(layer.attention))?;
        let recurrent_state = layers.iter().try_fold(Bytes::ZERO, |sum, layer| sum.checked_add(layer.state))?;
        derivation.step(|| {
            Step::bytes(
                "transformers.kv_cache",
                "DynamicCache",
                "Σ layers × tokens × heads × head size × 2; windows keep one token less than the window",
                kv_cache,
                "transformers 5.23.0 cache_utils.py",
            )
            .with("tokens", context, "tokens")
            .with("batch", batch, "sequences")
        });
        let compute = activations(model, &layers, context, batch)?;
        let plan = place(scene, weights.total, &layers, &mut warnings);
        let mut host = HostMemory::default();
        let mut devices = Vec::with_capacity(plan.len());
        for part in plan {
            match part.place {
                Place::Device(device) => devices.push(DeviceMemory {
                    weights: part.weights,
                    kv_cache: part.kv_cache,
                    recurrent_state: part.state,
                    compute_buffer: compute,
                    overhead: overhead(device, part.kv_cache.checked_add(compute.expected)?),
                    layers: part.layers,
                    kv_pool: None,
                }),
                Place::Host => {
                    host = HostMemory { weights: part.weights, kv_cache: part.kv_cache, recurrent_state: part.state, ..host }
                }
            }
        }
        Ok(Memory {
            weights: weights.total,
            kv_cache,
            recurrent_state,
            devices,
            host,
            resolved: vec![
                Resolved { name: "device_map", value: String::from("auto"), is_default: true },
                Resolved {
                    name: "cache_implementation",
                    value: cache_bits.map_or_else(|| String::from("dynamic"), |bits| format!("quantized, {bits} bits")),
                    is_default: scene.workload.kv_cache_type_k.is_none() && scene.workload.kv_cache_type_v.is_none(),
                },
                Resolved { name: "logits_to_keep", value: String::from("1"), is_default: true },
            ],
            warnings,
        })
    }
}

/// The checkpoint that a format's name stands for; plain types are read as GGUF files where nothing else is said.
fn checkpoint_format(format: &WeightFormat) -> Result<WeightFormat> {
    match format {
        WeightFormat::Plain(_) | WeightFormat::Checkpoint(_) | WeightFormat::Stored => Ok(*format),
        WeightFormat::Gguf(target) if matches!(target.file_type, FileType::F32 | FileType::F16 | FileType::BF16) => {
            Ok(WeightFormat::Plain(target.file_type.default_type()))
        }
        WeightFormat::Gguf(_) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("transformers decodes `{format}` to 16 bits when it loads it, so nothing is saved"),
        )
        .field("quant")
        .help("use BF16, NF4, AWQ, GPTQ or FP8 here, or llama.cpp for GGUF files")),
        other => Err(Error::new(ErrorKind::Unsupported, format!("transformers does not load `{other}`"))
            .field("quant")
            .help("use BF16, NF4, AWQ, GPTQ or FP8")),
    }
}

/// Bits of a `QuantizedCache`, which quantises keys and values alike.
fn cache_bits(scene: &Scene<'_>) -> Result<Option<u64>> {
    let read = |field: &str, text: &Option<String>| {
        let Some(text) = text else { return Ok(None) };
        let lower = text.trim().to_ascii_lowercase();
        let digits = lower.trim_start_matches('q');
        let digits = digits.strip_suffix("_0").or_else(|| digits.strip_suffix("bit")).unwrap_or(digits);
        match (lower.as_str(), digits.parse::<u64>()) {
            ("f16" | "fp16" | "bf16" | "auto", _) => Ok(None),
            (_, Ok(bits @ (2 | 4 | 8))) => Ok(Some(bits)),
            _ => Err(Error::new(ErrorKind::UnknownQuant, format!("`{text}` is no cache type of transformers"))
                .field(field)
                .help("use bf16, or 2bit, 4bit or 8bit for QuantizedCache")),
        }
    };
    let key = read("kv_cache_type_k", &scene.workload.kv_cache_type_k)?;
    let value = read("kv_cache_type_v", &scene.workload.kv_cache_type_v)?;
    match (key, value) {
        (Some(key), Some(value)) if key != value => {
            Err(Error::new(ErrorKind::EngineRefuses, "transformers quantises keys and values alike").field("kv_cache_type_v"))
        }
        (key, value) => Ok(key.or(value)),
    }
}

/// What a layer remembers.
struct LayerCache {
    attention: Bytes,
    state: Bytes,
}

fn layer_caches(model: &Model, context: u64, batch: u64, bits: Option<u64>) -> Result<Vec<LayerCache>> {
    let blocks = model.blocks().iter().filter(|block| !block.is_mtp);
    blocks.map(|block| layer_cache(block, context, batch, bits)).collect()
}

fn layer_cache(block: &Block, context: u64, batch: u64, bits: Option<u64>) -> Result<LayerCache> {
    let (elements, tokens) = match block.attention {
        Attention::None => (0, 0),
        Attention::Heads(heads) if heads.cache != CacheSource::Own => (0, 0),
        Attention::Heads(heads) => {
            let elements = u64::from(heads.head_count_kv) * (u64::from(heads.key_length) + u64::from(heads.value_length));
            // A window's cache holds the tokens before the next one.
            let tokens = heads.span.window().map_or(context, |window| context.min(u64::from(window).saturating_sub(1)));
            (elements, tokens)
        }
        // Latent attention is decompressed before it is cached.
        Attention::Latent(latent) => {
            (u64::from(latent.head_count) * (u64::from(latent.key_length) + u64::from(latent.value_length)), context)
        }
    };
    let elements = u128::from(elements) * u128::from(batch);
    let attention = match bits {
        None => elements * u128::from(tokens) * 2,
        Some(bits) => {
            let residual = tokens.min(RESIDUAL_TOKENS);
            // Scale and zero point of 16 bits for each group.
            let quantised =
                elements * u128::from(tokens - residual) * u128::from(bits * CACHE_GROUP + 32) / u128::from(8 * CACHE_GROUP);
            quantised + elements * u128::from(residual) * 2
        }
    };
    let state = block.recurrent.map_or(0, |recurrent| {
        let state_width =
            if matches!(recurrent.kind, Recurrence::Mamba1 | Recurrence::Mamba2 | Recurrence::ShortConv) { 2 } else { 4 };
        (u128::from(recurrent.conv_elements) * 2 + u128::from(recurrent.state_elements) * state_width) * u128::from(batch)
    });
    Ok(LayerCache { attention: Bytes::from_wide(attention)?, state: Bytes::from_wide(state)? })
}

/// A prompt is fed whole: inputs, projections and the feed-forward part's outputs of one layer, the logits of the last
/// position in 16 and 32 bits, and one layer's old cache while it is copied to a longer one (`torch.cat`).
fn activations(model: &Model, layers: &[LayerCache], context: u64, batch: u64) -> Result<Amount> {
    let hp = model.hyperparameters();
    let hidden = u64::from(hp.embedding_length);
    let widest = |block: &Block| {
        let attention = match block.attention {
            Attention::None => 0,
            Attention::Heads(heads) => {
                u64::from(heads.key_length) * (2 * u64::from(heads.head_count) + 2 * u64::from(heads.head_count_kv))
            }
            Attention::Latent(latent) => 4 * u64::from(latent.head_count) * u64::from(latent.key_length),
        };
        let feed_forward = match block.feed_forward {
            FeedForward::None => 0,
            FeedForward::Dense { length } => 3 * u64::from(length),
            FeedForward::Experts { used, length, shared_length, .. } => {
                3 * u64::from(used) * u64::from(length) + 3 * u64::from(shared_length)
            }
        };
        attention.max(feed_forward)
    };
    let widest = model.blocks().iter().map(widest).max().unwrap_or(0);
    let tokens = u128::from(context) * u128::from(batch);
    let layer = Bytes::from_wide((2 * u128::from(hidden) + u128::from(widest)).saturating_mul(tokens).saturating_mul(2))?;
    let logits = Bytes::from_wide(u128::from(hp.vocab_size) * u128::from(batch) * 6)?;
    let copied = layers.iter().map(|layer| layer.attention).max().unwrap_or(Bytes::ZERO);
    let expected = layer.checked_add(logits)?.checked_add(copied)?;
    Ok(Amount::range(logits.checked_add(copied)?, expected, expected.checked_mul(2)?))
}

/// The CUDA context and what the caching allocator holds but does not use.
fn overhead(device: Option<&Device>, allocated_in_steps: Bytes) -> Vec<NamedAmount> {
    if !device.is_some_and(|device| matches!(device.backend, Backend::Cuda | Backend::Hip)) {
        return Vec::new();
    }
    let slack = Amount::range(allocated_in_steps.share(0.03), allocated_in_steps.share(0.05), allocated_in_steps.share(0.1));
    vec![
        cuda_context(),
        NamedAmount {
            name: "allocator slack",
            amount: slack,
            source: "PyTorch's caching allocator, 3 to 10 per cent of what grows (estimate)",
        },
    ]
}

/// Where layers lie.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// On a device; the ideal one if none was named.
    Device(Option<&'a Device>),
    /// In the host's memory.
    Host,
}

/// What one place holds.
struct Part<'a> {
    place: Place<'a>,
    weights: Bytes,
    kv_cache: Bytes,
    state: Bytes,
    layers: u32,
}

/// Layers in order, device after device as far as `device_map="auto"` fills each, the rest on the host.
fn place<'a>(scene: &Scene<'a>, weights: Bytes, layers: &[LayerCache], warnings: &mut Vec<Warning>) -> Vec<Part<'a>> {
    let count = u64::try_from(layers.len()).unwrap_or(1).max(1);
    let per_layer = weights.get() / count;
    let devices: &'a [Device] = &scene.hardware.devices;
    let budget = |index: usize, device: &Device| {
        let balanced = weights.get() / devices.len().max(1) as u64 + per_layer + per_layer / 4;
        match devices.len() {
            1 => device.visible_bytes.share(SINGLE_DEVICE_SHARE).get(),
            many if index + 1 == many => device.visible_bytes.get(),
            _ => balanced.min(device.visible_bytes.get()),
        }
    };
    let mut next = 0_usize;
    let mut left = weights.get();
    let mut parts = Vec::new();
    let mut take = |wanted: usize, place: Place<'a>, next: &mut usize| {
        let end = (*next + wanted).min(layers.len());
        let here = layers.get(*next..end).unwrap_or_default();
        let bytes = if end == layers.len() { left } else { per_layer * here.len() as u64 };
        left -= bytes;
        *next = end;
        parts.push(Part {
            place,
            weights: Bytes::new(bytes).unwrap_or(Bytes::MAX),
            kv_cache: here.iter().map(|layer| layer.attention).sum(),
            state: here.iter().map(|layer| layer.state).sum(),
            layers: u32::try_from(here.len()).unwrap_or(u32::MAX),
        });
    };
    if devices.is_empty() {
        take(layers.len(), Place::Device(None), &mut next);
    }
    for (index, device) in devices.iter().enumerate() {
        let fitting = budget(index, device).checked_div(per_layer).unwrap_or(u64::MAX);
        take(usize::try_from(fitting).unwrap_or(usize::MAX).min(layers.len()), Place::Device(Some(device)), &mut next);
    }
    if next < layers.len() {
        let offloaded = layers.len() - next;
        take(offloaded, Place::Host, &mut next);
        warnings.push(Warning::new(
            "offloaded",
            format!("device_map=\"auto\" leaves {offloaded} layers on the host, from where they are copied at every token"),
        ));
    }
    parts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        hardware::Hardware,
        model::{Hyperparameters, PerLayer},
        quant::GgmlType,
        workload::Workload,
    };

    fn llama() -> Model {
        Model::new(Hyperparameters {
            block_count: 32,
            embedding_length: 4096,
            vocab_size: 128_256,
            feed_forward_length: PerLayer::Uniform(14_336),
            head_count: PerLayer::Uniform(32),
            head_count_kv: PerLayer::Uniform(8),
            ..Hyperparameters::new("llama")
        })
        .unwrap()
    }

    fn card(gib: u64) -> Device {
        Device {
            id: String::from("card"),
            name: String::from("card"),
            backend: Backend::Cuda,
            nameplate_bytes: Bytes::mib(gib * 1024),
            visible_bytes: Bytes::mib(gib * 1024),
            visible_is_measured: true,
            unified_memory: false,
            bandwidth_bytes_per_second: None,
            compute_capability: None,
        }
    }

    #[test]
    fn layers_fill_devices_in_order_and_all_bytes_have_a_place() {
        let model = llama();
        for (cards, host) in [(vec![], false), (vec![card(24)], false), (vec![card(8)], true), (vec![card(12), card(12)], false)] {
            let hardware = Hardware { devices: cards, host_bytes: None };
            let scene = Scene {
                model: &model,
                format: &WeightFormat::Plain(GgmlType::BF16),
                workload: &Workload::new(1000),
                hardware: &hardware,
                version: None,
                memo: None,
            };
            let memory = Transformers.memory(&scene, &mut Derivation::off()).unwrap();
            assert_eq!(memory.weights.get(), 8_030_261_248 * 2);
            assert_eq!(memory.kv_cache.get(), 32 * 1000 * 2 * 8 * 128 * 2);
            let placed: Bytes = memory.devices.iter().map(|device| device.weights).sum();
            assert_eq!(placed.checked_add(memory.host.weights).unwrap(), memory.weights);
            assert_eq!(memory.host.weights > Bytes::ZERO, host);
            assert_eq!(memory.warnings.iter().any(|warning| warning.code == "offloaded"), host);
        }
    }
}
