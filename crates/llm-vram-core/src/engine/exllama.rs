//! ExLlamaV3 and ExLlamaV2: everything but the embedding on the devices, a cache of full length from the start.
//!
//! Source: exllamav3 1.6.5 (`exllamav3/modules/linear.py`, `exllamav3/cache/`), public threads of exllamav2 (issues 3 and
//! 494). Weights of EXL3 follow its layout; of EXL2 the stated average. No vectors of the engine back these figures.

use alloc::{format, string::String, vec, vec::Vec};

use super::{
    Amount, DeviceMemory, Engine, Habits, HostMemory, Memory, NamedAmount, Resolved, Scene,
    habits::{Batch, CacheStep},
    version,
};
use crate::{
    derivation::{Certainty, Derivation, Step},
    error::{Error, ErrorKind, Result},
    hardware::{Backend, Hardware},
    model::{Attention, CacheSource, Group, Model, Warning},
    quant::{FormatFamily, GgmlType, WeightFormat, weight_bytes},
    units::Bytes,
};

/// The engine.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExLlama;

/// The versions whose rules are known.
pub const VERSIONS: &[&str] = &["1.6.5"];

/// Tokens of a cache page; the cache is a whole number of pages (`exllamav3/constants.py`, `PAGE_SIZE`).
const PAGE_TOKENS: u64 = 256;
/// Elements of a quantised cache that share a 16-bit scale (`exllamav3/cache/quant.py`).
const CACHE_GROUP: u64 = 32;
/// Tokens of a prefill call (`exllamav3/generator`, `max_chunk_size`).
const CHUNK_TOKENS: u64 = 2048;
const SOURCE: &str = "exllamav3 1.6.5, exllamav3/cache";

impl Engine for ExLlama {
    fn name(&self) -> &'static str {
        "exllama"
    }

    fn versions(&self) -> &'static [&'static str] {
        VERSIONS
    }

    fn version_for(&self, asked: Option<&str>) -> Result<(&'static str, Option<Warning>)> {
        version::nearest("ExLlamaV3", VERSIONS, asked)
    }

    fn backends(&self) -> &'static [Backend] {
        &[Backend::Cuda]
    }

    fn families(&self) -> &'static [FormatFamily] {
        &[FormatFamily::Exl]
    }

    fn smaller_cache_type(&self) -> Option<&'static str> {
        Some("q8")
    }

    fn habits(&self, scene: &Scene<'_>) -> Result<Habits> {
        let workload = scene.workload;
        Ok(Habits {
            cache_step: CacheStep { tokens: PAGE_TOKENS, unit: "page tokens" },
            cached_tokens: workload.context.next_multiple_of(PAGE_TOKENS).saturating_mul(workload.concurrency),
            expands_latent: true,
            batch: Batch { option: "max_chunk_size", tokens: CHUNK_TOKENS.min(workload.context) },
            embedding_on_host: true,
            ..Habits::plain(scene)
        })
    }

    fn memory(&self, scene: &Scene<'_>, derivation: &mut Derivation) -> Result<Memory> {
        scene.workload.validate()?;
        let (_, unknown_version) = self.version_for(scene.version)?;
        check(scene)?;
        let model = scene.model;
        let mut warnings: Vec<Warning> = model.warnings().to_vec();
        warnings.extend(unknown_version);
        warnings
            .push(Warning::new("modelled_engine", "figures for ExLlama follow its documentation and source, not its own answers"));
        let weights = weight_bytes(model, scene.format)?;
        let embedding = embedding_bytes(model)?;
        let on_devices = weights.total.saturating_sub(embedding);
        derivation.step(|| {
            Step::bytes(
                "exllama.weights",
                "weights on the devices",
                "tiles × bits + scale vectors + 16-bit rest, without the embedding",
                on_devices,
                "exllamav3 1.6.5, exllamav3/modules/linear.py",
            )
            .known(weights.certainty.max(Certainty::Modelled))
        });
        let key_bits = cache_bits("kv_cache_type_k", scene.workload.kv_cache_type_k.as_deref())?;
        let value_bits = cache_bits("kv_cache_type_v", scene.workload.kv_cache_type_v.as_deref())?;
        let tokens =
            u128::from(scene.workload.context.div_ceil(PAGE_TOKENS) * PAGE_TOKENS) * u128::from(scene.workload.concurrency);
        let kv_cache = cache_bytes(model, tokens, key_bits, value_bits)?;
        derivation.step(|| {
            Step::bytes(
                "exllama.kv_cache",
                "cache, allocated in full",
                "Σ layers × tokens in pages of 256 × heads × head size × bits ÷ 8",
                kv_cache,
                SOURCE,
            )
            .with("concurrency", scene.workload.concurrency, "requests")
            .with("key_bits", key_bits.unwrap_or(16), "bits")
            .with("value_bits", value_bits.unwrap_or(16), "bits")
        });
        let compute = prefill(model, scene.workload.context)?;
        let devices = split(scene.hardware, model, on_devices, kv_cache, compute);
        Ok(Memory {
            weights: weights.total,
            kv_cache,
            recurrent_state: Bytes::ZERO,
            devices,
            host: HostMemory { weights: embedding, ..HostMemory::default() },
            resolved: vec![
                resolved("cache_tokens", format!("{tokens}"), false),
                resolved("k_bits", format!("{}", key_bits.unwrap_or(16)), scene.workload.kv_cache_type_k.is_none()),
                resolved("v_bits", format!("{}", value_bits.unwrap_or(16)), scene.workload.kv_cache_type_v.is_none()),
                resolved("max_chunk_size", format!("{CHUNK_TOKENS}"), true),
            ],
            warnings,
        })
    }
}

const fn resolved(name: &'static str, value: String, is_default: bool) -> Resolved {
    Resolved { name, value, is_default }
}

fn check(scene: &Scene<'_>) -> Result<()> {
    if let Some(device) = scene.hardware.devices.iter().find(|device| !matches!(device.backend, Backend::Cuda | Backend::Ideal)) {
        return Err(Error::new(ErrorKind::EngineRefuses, format!("ExLlama runs on NVIDIA cards, not on `{}`", device.id))
            .field("hardware")
            .help("choose an NVIDIA card, or llama.cpp for this one"));
    }
    let loads =
        matches!(scene.format, WeightFormat::Exl2(_) | WeightFormat::Exl3(_) | WeightFormat::Plain(GgmlType::F16 | GgmlType::BF16));
    if !loads {
        return Err(Error::new(ErrorKind::Unsupported, format!("ExLlama does not load `{}`", scene.format))
            .field("quant")
            .help("use EXL3-4.0bpw or another number of bits"));
    }
    if scene.model.blocks().iter().any(|block| block.recurrent.is_some() && !block.is_mtp) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("states of `{}` on ExLlama are not known", scene.model.architecture()),
        )
        .field("model")
        .help("use llama.cpp or vLLM for this model"));
    }
    Ok(())
}

/// The 16-bit embedding, which stays in the host's memory.
fn embedding_bytes(model: &Model) -> Result<Bytes> {
    let tables = model.tensors().iter().filter(|tensor| tensor.group == Group::Text && tensor.stem == "token_embd.weight");
    Bytes::from_wide(tables.map(|tensor| u128::from(tensor.elements()) * 2).sum())
}

/// Bits of a cached element: `None` for 16, else 2 to 8.
fn cache_bits(field: &str, text: Option<&str>) -> Result<Option<u64>> {
    let Some(text) = text else { return Ok(None) };
    let lower = text.trim().to_ascii_lowercase();
    if matches!(lower.as_str(), "f16" | "fp16" | "bf16" | "auto") {
        return Ok(None);
    }
    let digits = lower.trim_start_matches('q');
    let digits = digits.strip_suffix("_0").or_else(|| digits.strip_suffix("bit")).unwrap_or(digits);
    match digits.parse::<u64>() {
        Ok(bits @ 2..=8) => Ok(Some(bits)),
        _ => Err(Error::new(ErrorKind::UnknownQuant, format!("`{text}` is no cache type of ExLlama"))
            .field(field)
            .help("use f16, or q2 to q8")),
    }
}

fn cache_bytes(model: &Model, tokens: u128, key_bits: Option<u64>, value_bits: Option<u64>) -> Result<Bytes> {
    let mut bits = 0_u128;
    // A scale of 16 bits for 32 elements is half a bit for each.
    let scaled_bits = |bits: Option<u64>| bits.map_or(16 * CACHE_GROUP, |bits| bits * CACHE_GROUP + 16);
    for block in model.blocks().iter().filter(|block| !block.is_mtp) {
        let (key, value) = match block.attention {
            Attention::None => (0, 0),
            Attention::Heads(heads) if heads.cache != CacheSource::Own => (0, 0),
            Attention::Heads(heads) => {
                let count = u128::from(heads.head_count_kv);
                (count * u128::from(heads.key_length), count * u128::from(heads.value_length))
            }
            // Decompressed, as no absorbed form is documented.
            Attention::Latent(latent) => {
                let count = u128::from(latent.head_count);
                (count * u128::from(latent.key_length), count * u128::from(latent.value_length))
            }
        };
        bits += key * u128::from(scaled_bits(key_bits)) + value * u128::from(scaled_bits(value_bits));
    }
    Bytes::from_wide(bits.saturating_mul(tokens) / u128::from(8 * CACHE_GROUP))
}

/// A chunk's activations and one matrix at 16 bits, which is rebuilt for long inputs.
fn prefill(model: &Model, context: u64) -> Result<Amount> {
    let blocks_matrix = |tensor: &&crate::model::Tensor| tensor.block.is_some() && tensor.group == Group::Text;
    let matrices = model.tensors().iter().filter(blocks_matrix);
    let (rows, matrix) = matrices.fold((0_u64, 0_u64), |(rows, largest), tensor| {
        let one = tensor.shape[0].saturating_mul(tensor.shape[1]);
        (rows.max(tensor.shape[1]), largest.max(one))
    });
    let tokens = context.min(CHUNK_TOKENS);
    let hidden = u64::from(model.hyperparameters().embedding_length);
    let activations = Bytes::from_wide(u128::from(tokens) * 2 * (2 * u128::from(hidden) + 3 * u128::from(rows)))?;
    let rebuilt = Bytes::from_wide(u128::from(matrix) * 2)?;
    let expected = activations.checked_add(rebuilt)?;
    Ok(Amount::range(activations, expected, expected.checked_mul(2)?))
}

/// Layers are placed in order, card after card; here by equal shares of the cards' memory.
fn split(hardware: &Hardware, model: &Model, weights: Bytes, kv_cache: Bytes, compute: Amount) -> Vec<DeviceMemory> {
    let count = hardware.devices.len().max(1);
    let layers = model.hyperparameters().main_block_count();
    let all = hardware.visible_bytes().get().max(1);
    let mut left = (layers, weights, kv_cache);
    (0..count)
        .map(|index| {
            let device = hardware.devices.get(index);
            let share = |total: u64| match device {
                Some(device) if index + 1 < count => {
                    u64::try_from(u128::from(total) * u128::from(device.visible_bytes.get()) / u128::from(all)).unwrap_or(0)
                }
                _ => u64::MAX,
            };
            let part = |total: Bytes, rest: Bytes| Bytes::new(share(total.get())).unwrap_or(Bytes::MAX).min(rest);
            let here = (
                u32::try_from(share(layers.into())).unwrap_or(u32::MAX).min(left.0),
                part(weights, left.1),
                part(kv_cache, left.2),
            );
            left = (left.0 - here.0, left.1.saturating_sub(here.1), left.2.saturating_sub(here.2));
            let is_cuda = device.is_some_and(|device| device.backend == Backend::Cuda);
            DeviceMemory {
                weights: here.1,
                kv_cache: here.2,
                recurrent_state: Bytes::ZERO,
                compute_buffer: compute,
                overhead: if is_cuda { vec![cuda_context()] } else { Vec::new() },
                layers: here.0,
                kv_pool: None,
            }
        })
        .collect()
}

/// What CUDA and its libraries take of a process of PyTorch.
pub(crate) fn cuda_context() -> NamedAmount {
    let range = Amount::range(Bytes::mib(330), Bytes::mib(400), Bytes::mib(500));
    NamedAmount { name: "CUDA context", amount: range, source: "public logs of PyTorch processes, 330 to 500 MiB" }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        model::{Hyperparameters, PerLayer},
        units::BitsPerWeight,
        workload::Workload,
    };

    #[test]
    fn caches_are_whole_pages_and_the_embedding_stays_on_the_host() {
        let model = Model::new(Hyperparameters {
            block_count: 32,
            embedding_length: 4096,
            vocab_size: 128_256,
            feed_forward_length: PerLayer::Uniform(14_336),
            head_count: PerLayer::Uniform(32),
            head_count_kv: PerLayer::Uniform(8),
            ..Hyperparameters::new("llama")
        })
        .unwrap();
        let format = WeightFormat::Exl3(BitsPerWeight::whole(4));
        let hardware = Hardware::default();
        for (ty, half_bits) in [(None, 32), (Some("q8"), 17), (Some("q4_0"), 9)] {
            let workload =
                Workload { kv_cache_type_k: ty.map(String::from), kv_cache_type_v: ty.map(String::from), ..Workload::new(8193) };
            let scene =
                Scene { model: &model, format: &format, workload: &workload, hardware: &hardware, version: None, memo: None };
            let memory = ExLlama.memory(&scene, &mut Derivation::off()).unwrap();
            assert_eq!(memory.kv_cache.get(), 32 * 8448 * 8 * 128 * 2 * half_bits / 16);
            assert_eq!(memory.host.weights.get(), 128_256 * 4096 * 2);
            assert_eq!(memory.host.weights.checked_add(memory.devices[0].weights).unwrap(), memory.weights);
        }
        let gguf = WeightFormat::parse("Q4_K_M").unwrap();
        let scene =
            Scene { model: &model, format: &gguf, workload: &Workload::new(1), hardware: &hardware, version: None, memo: None };
        assert_eq!(ExLlama.memory(&scene, &mut Derivation::off()).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
