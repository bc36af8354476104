//! LM Studio: llama.cpp inside for GGUF, with slots that share one cache; mlx-lm inside for MLX conversions.
//!
//! LM Studio is closed; what is known of it comes from its documentation and its public bug tracker, and is
//! marked so. Its MLX engine is public (<https://github.com/lmstudio-ai/mlx-engine>): since 0.4 it feeds requests to
//! mlx-lm's `BatchGenerator` (`model_kit/batched_model_kit.py`), before and with a quantised cache to `stream_generate`
//! (`generate.py`), so caches and prefill follow the engine `mlx`.

use alloc::{format, string::ToString, vec::Vec};

use super::{
    Engine, Habits, Memory, Resolved, Scene,
    llama_cpp::{BACKENDS, Load, Parameters, habits, stored, version::RULES},
    mlx::{self, Server},
};
use crate::{
    derivation::Derivation,
    error::{Error, ErrorKind, Result},
    hardware::Backend,
    model::Warning,
    quant::{FormatFamily, WeightFormat},
    workload::{Defaults, Workload},
};

/// LM Studio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LmStudio;

/// The versions whose rules are known, the newest first: with parallel slots, and before.
const VERSIONS: [&str; 2] = ["0.4", "0.3"];

/// `Max Concurrent Predictions`, unless set (documented: <https://lmstudio.ai/docs/app/advanced/parallel-requests>).
const DEFAULT_SLOTS: u64 = 4;
/// `Evaluation Batch Size`, unless set. Documented as an option (`evalBatchSize`); the value is assumed.
const DEFAULT_BATCH: u64 = 512;
/// Prompts that mlx-lm's `BatchGenerator` prefills at once, unless told otherwise (`generate.py`, `prefill_batch_size`).
const PREFILL_BATCH: u64 = 8;

impl Engine for LmStudio {
    fn name(&self) -> &'static str {
        "lm-studio"
    }

    fn versions(&self) -> &'static [&'static str] {
        &VERSIONS
    }

    fn version_for(&self, asked: Option<&str>) -> Result<(&'static str, Option<Warning>)> {
        let [newest, older] = VERSIONS;
        let Some(asked) = asked else { return Ok((newest, None)) };
        let text = asked.trim().trim_start_matches(['v', 'V']);
        let mut parts = text.split(['.', '-', '+']).map(|part| if part.len() <= 9 { part.parse::<u64>().ok() } else { None });
        let (Some(Some(major)), Some(Some(minor))) = (parts.next(), parts.next()) else {
            return Err(Error::new(ErrorKind::InvalidValue, format!("`{asked}` is no version of LM Studio"))
                .field("engine_version")
                .help("give a version such as `0.4.1`"));
        };
        let name = if (major, minor) >= (0, 4) { newest } else { older };
        let message = format!("LM Studio `{text}` is answered by the rules of {name}");
        let known = text == name || text.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        Ok((name, (!known).then(|| Warning::new("unknown_engine_version", message))))
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

    fn families(&self) -> &'static [FormatFamily] {
        &[FormatFamily::Gguf, FormatFamily::Mlx]
    }

    fn habits(&self, scene: &Scene<'_>) -> Result<Habits> {
        let (version, _) = self.version_for(scene.version)?;
        let parallel = version == VERSIONS[0];
        if matches!(scene.format, WeightFormat::Mlx(_)) {
            return mlx::habits::of(scene, mlx_engine(scene.workload, parallel));
        }
        Ok(habits::of(scene, &arguments(scene.workload, parallel)?.1))
    }

    fn memory(&self, scene: &Scene<'_>, derivation: &mut Derivation) -> Result<Memory> {
        let (version, version_warning) = self.version_for(scene.version)?;
        let parallel = version == VERSIONS[0];
        let mut memory = match scene.format {
            WeightFormat::Mlx(_) => on_mlx(scene, parallel, derivation)?,
            _ => on_llama_cpp(scene, parallel, derivation)?,
        };
        memory.warnings.push(Warning::new(
            "guard_rails",
            "LM Studio refuses loads that its own estimate holds for too large (`Model loading guardrails`); the estimate is not \
             public, so it may refuse what fits here or admit what does not",
        ));
        memory.warnings.extend(version_warning);
        Ok(memory)
    }
}

/// A GGUF file.
fn on_llama_cpp(scene: &Scene<'_>, parallel: bool, derivation: &mut Derivation) -> Result<Memory> {
    let asked = scene.workload;
    refuse_foreign_options(asked)?;
    let stored = stored::in_scene(scene)?;
    let (workload, parameters) = arguments(asked, parallel)?;
    let inner = Scene { workload: &workload, version: None, ..*scene };
    let mut memory = Load::new(&inner, &parameters, &RULES[0], &stored)?.memory(derivation)?;
    memory.resolved = resolved(asked, &parameters);
    memory.warnings.retain(|warning| warning.code != "server_slots");
    memory.warnings.push(Warning::new(
        "defaults_assumed",
        "LM Studio's source is not public: slots are documented, its batch size and unified cache are assumed",
    ));
    Ok(memory)
}

/// What reaches llama.cpp.
fn arguments(asked: &Workload, parallel: bool) -> Result<(Workload, Parameters)> {
    let workload = Workload {
        defaults: Defaults::Server,
        kv_unified: Some(asked.kv_unified.unwrap_or(parallel)),
        n_batch: asked.n_batch.or(Some(DEFAULT_BATCH)),
        n_ubatch: asked.n_ubatch.or(asked.n_batch).or(Some(DEFAULT_BATCH)),
        ..asked.clone()
    };
    let mut parameters = Parameters::resolve(&workload)?;
    // The slots share the asked tokens; more of them do not make the cache larger.
    parameters.n_seq_max = if parallel { asked.concurrency.max(DEFAULT_SLOTS) } else { asked.concurrency };
    parameters.n_outputs_max = parameters.n_seq_max;
    Ok((workload, parameters))
}

/// An MLX conversion.
fn on_mlx(scene: &Scene<'_>, parallel: bool, derivation: &mut Derivation) -> Result<Memory> {
    refuse_foreign_options(scene.workload)?;
    let server = mlx_engine(scene.workload, parallel);
    let mut held = mlx::hold(scene, server, derivation)?;
    held.warnings.push(Warning::new(
        "defaults_assumed",
        "LM Studio's MLX engine is public, the options that the application passes to it are not: mlx-lm's own are assumed",
    ));
    let resolved = held.resolved(scene);
    Ok(held.into_memory(resolved))
}

/// mlx-engine, as far as memory depends on it. A quantised cache turns batching off.
fn mlx_engine(asked: &Workload, parallel: bool) -> Server {
    let quantised = asked.kv_cache_type_k.is_some() || asked.kv_cache_type_v.is_some();
    let sequences = if parallel && !quantised { asked.concurrency.max(DEFAULT_SLOTS) } else { 1 };
    Server {
        name: "LM Studio",
        sequences,
        prompts: sequences.min(PREFILL_BATCH),
        kv_bits: true,
        batches_one: parallel && !quantised,
    }
}

/// Options of llama.cpp that LM Studio does not offer.
fn refuse_foreign_options(workload: &Workload) -> Result<()> {
    let foreign = [
        ("swa_full", workload.swa_full == Some(true)),
        ("n_outputs_max", workload.n_outputs_max.is_some()),
        ("tensor_split", workload.tensor_split.is_some()),
    ];
    match foreign.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(Error::new(ErrorKind::Unsupported, format!("LM Studio has no option `{name}`"))
            .field(*name)
            .help("use the engine `llama.cpp`, or leave the option out")),
        None => Ok(()),
    }
}

/// The options in LM Studio's words.
fn resolved(asked: &Workload, parameters: &Parameters) -> Vec<Resolved> {
    let option = |name, value, is_default| Resolved { name, value, is_default };
    let mut options = Vec::with_capacity(7);
    options.extend([
        option("contextLength", parameters.n_ctx.to_string(), false),
        option("maxConcurrentPredictions", parameters.n_seq_max.to_string(), asked.concurrency != parameters.n_seq_max),
        option("unifiedKvCache", parameters.kv_unified.to_string(), asked.kv_unified.is_none()),
        option("evalBatchSize", parameters.n_batch.to_string(), asked.n_batch.is_none()),
        option("kCacheQuantization", parameters.type_k.name().into(), asked.kv_cache_type_k.is_none()),
        option("vCacheQuantization", parameters.type_v.name().into(), asked.kv_cache_type_v.is_none()),
    ]);
    options
}
