//! LM Studio: llama.cpp inside, with slots that share one cache.
//!
//! LM Studio is closed; what is known of it comes from its documentation and its public bug tracker, and is
//! marked so. Its MLX engine follows the rules of the engine `mlx`.

use alloc::{format, string::ToString, vec::Vec};

use super::{
    Engine, Memory, Resolved, Scene,
    llama_cpp::{BACKENDS, Load, Parameters, stored, version::RULES},
};
use crate::{
    derivation::Derivation,
    error::{Error, ErrorKind, Result},
    hardware::Backend,
    model::Warning,
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

    fn memory(&self, scene: &Scene<'_>, derivation: &mut Derivation) -> Result<Memory> {
        let (version, version_warning) = self.version_for(scene.version)?;
        let asked = scene.workload;
        refuse_foreign_options(asked)?;
        let stored = stored::in_scene(scene)?;
        let parallel = version == VERSIONS[0];
        let slots = if parallel { asked.concurrency.max(DEFAULT_SLOTS) } else { asked.concurrency };
        let workload = Workload {
            defaults: Defaults::Server,
            kv_unified: Some(asked.kv_unified.unwrap_or(parallel)),
            n_batch: asked.n_batch.or(Some(DEFAULT_BATCH)),
            n_ubatch: asked.n_ubatch.or(asked.n_batch).or(Some(DEFAULT_BATCH)),
            ..asked.clone()
        };
        let mut parameters = Parameters::resolve(&workload)?;
        // The slots share the asked tokens; more of them do not make the cache larger.
        parameters.n_seq_max = slots;
        parameters.n_outputs_max = slots;
        let inner = Scene { workload: &workload, version: None, ..*scene };
        let mut memory = Load::new(&inner, &parameters, &RULES[0], &stored)?.memory(derivation)?;
        memory.resolved = resolved(asked, &parameters);
        memory.warnings.retain(|warning| warning.code != "server_slots");
        memory.warnings.push(Warning::new(
            "defaults_assumed",
            "LM Studio's source is not public: slots are documented, its batch size and unified cache are assumed",
        ));
        memory.warnings.push(Warning::new(
            "guard_rails",
            "LM Studio refuses loads that its own estimate holds for too large (`Model loading guardrails`), which may be fewer or more than fit",
        ));
        memory.warnings.extend(version_warning);
        Ok(memory)
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
