//! Ollama: llama-server with arguments of its own.
//!
//! Since 0.30 Ollama starts llama.cpp's llama-server for every GGUF model (`llm/llama_server.go`,
//! <https://github.com/ollama/ollama/pull/16031>), so its memory is llama.cpp's with the arguments that it passes:
//! `-c num_ctx x num_parallel`, an explicit `-np`, `-b` and `-ub` both `num_batch`. Before, it ran an engine of its own.
//!
//! Read from Ollama v0.33.0-rc2 (`llm/llama_server.go`, `server/sched.go`, `server/routes.go`).

use alloc::{format, string::ToString, vec::Vec};

use super::{
    Engine, Habits, Memory, Resolved, Scene,
    llama_cpp::{
        BACKENDS, Load, Parameters, habits, stored,
        version::{self as llama_cpp_version, VersionRules},
        weights::StoredAs,
    },
};
use crate::{
    derivation::Derivation,
    error::{Error, ErrorKind, Result},
    hardware::{Backend, Hardware},
    model::{Model, Warning},
    units::{Bytes, grouped},
    workload::{Defaults, FlashAttention, Workload},
};

/// Ollama.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ollama;

/// The versions whose rules are known, the newest first: with llama-server, and the last with an engine of its own.
const VERSIONS: [&str; 2] = ["0.33.0", "0.20.0"];
/// The first minor version that starts llama-server.
const FIRST_WITH_LLAMA_SERVER: u64 = 30;

/// Architectures for which `num_parallel` is forced to 1 (`server/sched.go`).
const ONE_AT_A_TIME: [&str; 11] = [
    "mllama",
    "qwen3vl",
    "qwen3vlmoe",
    "qwen35",
    "qwen35moe",
    "qwen3next",
    "lfm2",
    "lfm2moe",
    "nemotron_h",
    "nemotron_h_moe",
    "nemotron_h_omni",
];

/// The context that Ollama takes if nobody says one (`server/routes.go`): by the memory of all devices
/// together, as their driver reports it, and never beyond what the model was trained for.
///
/// ```
/// use llm_vram_core::{Bytes, engine::ollama::default_context};
/// assert_eq!(default_context(Bytes::mib(24_080), 131_072), 32_768); // an RTX 4090
/// assert_eq!(default_context(Bytes::mib(2 * 24_080), 131_072), 131_072); // two of them
/// assert_eq!(default_context(Bytes::mib(16_000), 131_072), 4096);
/// ```
#[must_use]
pub fn default_context(total: Bytes, context_length: u64) -> u64 {
    let tokens = if total >= Bytes::mib(47 << 10) {
        262_144
    } else if total >= Bytes::mib(23 << 10) {
        32_768
    } else {
        4096
    };
    if context_length > 0 { tokens.min(context_length) } else { tokens }
}

/// What Ollama itself expects a load to take, from the file's size and a 16-bit cache of full heads
/// (`PredictServerVRAM`). It decides about batches and placement, not about what is allocated.
#[must_use]
pub fn predicted_bytes(model: &Model, file: Bytes, context: u64) -> Bytes {
    let hp = model.hyperparameters();
    let heads = hp.head_count.iter(hp.block_count).max().unwrap_or(0).max(1);
    let kv_heads = hp.head_count_kv.iter(hp.block_count).min().unwrap_or(0).max(1);
    let head = u128::from(hp.embedding_length / heads);
    let cache = 2 * u128::from(hp.block_count) * u128::from(kv_heads) * head * u128::from(context) * 2;
    Bytes::from_wide(u128::from(file.get()) + cache).unwrap_or(Bytes::MAX)
}

/// The batch that Ollama chooses (`server/sched.go`): larger for longer contexts, smaller while its own
/// prediction leaves too little room.
#[must_use]
pub fn default_num_batch(context: u64, predicted: Bytes, hardware: &Hardware, flash_attn: FlashAttention) -> u64 {
    let cuda = hardware.devices.iter().any(|device| device.backend == Backend::Cuda);
    if cuda && flash_attn == FlashAttention::Off {
        let small = hardware.devices.iter().all(|device| device.visible_bytes <= Bytes::mib(8 << 10));
        return if context > 4096 && small { 256 } else { 512 };
    }
    let available = hardware.visible_bytes();
    // Without hardware there is nothing to step down for.
    let too_large = |share: f64, surcharge: u64| {
        !hardware.is_ideal() && (predicted > available.share(share) || predicted + Bytes::mib(surcharge) > available.share(0.8))
    };
    match context {
        32_769.. if !too_large(0.60, 2048) => 2048,
        4097.. if !too_large(0.75, 768) => 1024,
        _ => 512,
    }
}

/// What the question becomes before it reaches llama-server.
struct Arguments {
    workload: Workload,
    warnings: Vec<Warning>,
}

impl Arguments {
    fn of(scene: &Scene<'_>, stored: &[StoredAs], with_llama_server: bool) -> Result<Self> {
        let asked = scene.workload;
        asked.validate()?;
        refuse_foreign_options(asked)?;
        let hp = scene.model.hyperparameters();
        let mut warnings = Vec::new();
        let mut workload = asked.clone();
        workload.defaults = Defaults::Server;
        workload.kv_unified = Some(false);
        if hp.context_length > 0 && asked.context > hp.context_length {
            workload.context = hp.context_length;
            let message = format!(
                "Ollama cuts the context of {} tokens to the {} that the model was trained for",
                grouped(asked.context),
                grouped(hp.context_length)
            );
            warnings.push(Warning::new("context_clamped", message));
        }
        workload.context = workload.context.max(4);
        if asked.concurrency > 1 && ONE_AT_A_TIME.contains(&hp.architecture.as_str()) {
            workload.concurrency = 1;
            let message = format!("Ollama serves `{}` one request at a time: others wait", hp.architecture);
            warnings.push(Warning::new("parallel_forced_to_one", message));
        }
        workload.kv_cache_type_v.clone_from(&workload.kv_cache_type_k);
        let context = workload.context.saturating_mul(workload.concurrency);
        let num_batch = asked.n_batch.or(asked.n_ubatch).unwrap_or_else(|| {
            if !with_llama_server {
                return 512;
            }
            let file = stored.iter().map(|tensor| tensor.bytes).sum();
            default_num_batch(context, predicted_bytes(scene.model, file, context), scene.hardware, asked.flash_attn)
        });
        workload.n_batch = Some(num_batch);
        workload.n_ubatch = Some(num_batch);
        Ok(Self { workload, warnings })
    }
}

/// Options of llama-server that Ollama does not pass on.
fn refuse_foreign_options(workload: &Workload) -> Result<()> {
    let foreign = [
        ("kv_unified", workload.kv_unified == Some(true)),
        ("swa_full", workload.swa_full == Some(true)),
        ("tensor_split", workload.tensor_split.is_some()),
        ("n_outputs_max", workload.n_outputs_max.is_some()),
        ("offload_kqv", workload.offload_kqv == Some(false)),
    ];
    if let Some((name, _)) = foreign.iter().find(|(_, given)| *given) {
        return Err(Error::new(ErrorKind::Unsupported, format!("Ollama has no option `{name}`"))
            .field(*name)
            .help("use the engine `llama.cpp`, or leave the option out"));
    }
    let same = |a: Option<&str>, b: Option<&str>| a.unwrap_or("f16").eq_ignore_ascii_case(b.unwrap_or("f16"));
    if workload.kv_cache_type_v.is_some() && !same(workload.kv_cache_type_k.as_deref(), workload.kv_cache_type_v.as_deref()) {
        return Err(Error::new(ErrorKind::Unsupported, "Ollama gives keys and values the same cache type")
            .field("kv_cache_type_v")
            .help("set both to the same type (`OLLAMA_KV_CACHE_TYPE`)"));
    }
    if let (Some(batch), Some(ubatch)) = (workload.n_batch, workload.n_ubatch)
        && batch != ubatch
    {
        return Err(Error::new(ErrorKind::Unsupported, "Ollama gives the logical and the physical batch the same size")
            .field("n_ubatch")
            .help("set `num_batch` alone"));
    }
    Ok(())
}

/// The version, whether it starts llama-server, and a remark if it is not one of the known.
fn version(asked: Option<&str>) -> Result<(&'static str, bool, Option<Warning>)> {
    let [newest, older] = VERSIONS;
    let Some(asked) = asked else { return Ok((newest, true, None)) };
    let text = asked.trim().trim_start_matches(['v', 'V']);
    let number = text.split_once('-').map_or(text, |(number, _)| number);
    let mut parts = number.split('.').map(|part| if part.len() <= 9 { part.parse::<u64>().ok() } else { None });
    let (Some(Some(major)), Some(Some(minor))) = (parts.next(), parts.next()) else {
        return Err(Error::new(ErrorKind::InvalidValue, format!("`{asked}` is no version of Ollama"))
            .field("engine_version")
            .help("give a version such as `0.33.0`"));
    };
    let with_llama_server = major > 0 || minor >= FIRST_WITH_LLAMA_SERVER;
    let name = if with_llama_server { newest } else { older };
    let message = format!("the rules of Ollama `{text}` are not known one by one; those of {name} answer");
    let warning = (number != name).then(|| Warning::new("unknown_engine_version", message));
    Ok((name, with_llama_server, warning))
}

impl Engine for Ollama {
    fn name(&self) -> &'static str {
        "ollama"
    }

    fn versions(&self) -> &'static [&'static str] {
        &VERSIONS
    }

    fn version_for(&self, asked: Option<&str>) -> Result<(&'static str, Option<Warning>)> {
        version(asked).map(|(name, _, warning)| (name, warning))
    }

    fn backends(&self) -> &'static [Backend] {
        &BACKENDS
    }

    fn offloads_to_host(&self) -> bool {
        true
    }

    fn smaller_cache_type(&self) -> Option<&'static str> {
        Some("q8_0")
    }

    fn habits(&self, scene: &Scene<'_>) -> Result<Habits> {
        let (_, with_llama_server, _) = version(scene.version)?;
        let stored = stored::in_scene(scene)?;
        let arguments = Arguments::of(scene, &stored, with_llama_server)?;
        Ok(habits::of(scene, &Parameters::resolve(&arguments.workload)?))
    }

    fn memory(&self, scene: &Scene<'_>, derivation: &mut Derivation) -> Result<Memory> {
        let (_, with_llama_server, version_warning) = version(scene.version)?;
        let stored = stored::in_scene(scene)?;
        let arguments = Arguments::of(scene, &stored, with_llama_server)?;
        let parameters = Parameters::resolve(&arguments.workload)?;
        // Each release carries a llama.cpp of its time: 0.33 that of September 2026, 0.20 buffers as before May 2026.
        let [_, numbered, limitless, _]: &[VersionRules; 4] = &llama_cpp_version::RULES;
        let rules = if with_llama_server { numbered } else { limitless };
        let inner = Scene { workload: &arguments.workload, version: None, ..*scene };
        let mut memory = Load::new(&inner, &parameters, rules, &stored)?.memory(derivation)?;
        memory.resolved = resolved(scene.workload, &parameters);
        memory.warnings.extend(arguments.warnings);
        memory.warnings.extend(version_warning);
        if !with_llama_server {
            memory.warnings.push(Warning::new(
                "engine_modelled",
                "before 0.30 Ollama ran an engine of its own: caches follow the same rules, compute buffers are llama.cpp's of that time",
            ));
        }
        Ok(memory)
    }
}

/// The options in Ollama's words.
fn resolved(asked: &Workload, parameters: &Parameters) -> Vec<Resolved> {
    let option = |name, value, is_default| Resolved { name, value, is_default };
    let mut options = Vec::with_capacity(7);
    options.extend([
        option("num_ctx", (parameters.n_ctx / parameters.n_seq_max.max(1)).to_string(), false),
        option("num_parallel", parameters.n_seq_max.to_string(), false),
        option("num_batch", parameters.n_ubatch.to_string(), asked.n_batch.is_none() && asked.n_ubatch.is_none()),
        option("kv_cache_type", parameters.type_k.name().into(), asked.kv_cache_type_k.is_none()),
        option("num_gpu", parameters.n_gpu_layers.map_or_else(|| "-1".into(), |n| n.to_string()), asked.n_gpu_layers.is_none()),
    ]);
    options
}
