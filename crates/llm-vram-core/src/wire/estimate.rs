//! The operations `estimate` and `fit`.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    answer::{ChangeAnswer, DeviceAnswer, EstimateAnswer, FitAnswer, SCHEMA, WorkloadAnswer, overhead},
    question::Question,
};
use crate::{
    DATA_VERSION,
    derivation::{Derivation, Step},
    engine::{Amount, DeviceMemory, Memo, Memory, Scene},
    error::Result,
    fit::{self, Fit, Offload, Verdict},
    units::{BitsPerWeight, Bytes, grouped},
    workload::Workload,
};

/// What takes how much.
///
/// # Errors
/// Those of the engine: see [`Engine::memory`](crate::engine::Engine::memory).
pub fn estimate(question: &Question) -> Result<EstimateAnswer> {
    let mut derivation = Derivation::on();
    let memory = question.with_engine(|engine| engine.memory(&question.scene(), &mut derivation)?.bounded())?;
    answer(question, memory, derivation.into_steps())
}

/// Whether it fits, and what would make it fit.
///
/// # Errors
/// Those of the engine, and [`ErrorKind::MissingField`](crate::ErrorKind::MissingField) without hardware.
pub fn fit(question: &Question) -> Result<FitAnswer> {
    question.needs_hardware()?;
    let mut derivation = Derivation::on();
    let memo = Memo::new(&question.model);
    let scene = question.scene_with(&memo);
    let fitted = question.with_engine(|engine| fit::fit(engine, &scene, question.safety, &mut derivation))?;
    let ladder = question.ladder();
    let (max_context, max_concurrency, best_quant) = question.with_engine(|engine| -> Result<_> {
        Ok((
            fit::max_context(engine, &scene, question.safety)?,
            fit::max_concurrency(engine, &scene, question.safety)?,
            if question.nominal.is_some() { None } else { fit::best_quant(engine, &scene, &ladder, question.safety)? },
        ))
    })?;
    let changes = if fitted.verdict == Verdict::Fits {
        Vec::new()
    } else {
        changes(question, &scene, &fitted, max_context, max_concurrency)?
    };
    let Fit { verdict, budget, headroom_bytes, binding, memory, offload } = fitted;
    Ok(FitAnswer {
        estimate: answer(question, memory, derivation.into_steps())?,
        budget,
        safety: question.safety,
        verdict,
        headroom_bytes,
        binding,
        offload,
        max_context,
        max_concurrency,
        best_quant: best_quant.map(|format| format.to_string()),
        changes,
    })
}

/// Changes that each alone make it fit, with what they use then.
fn changes(
    question: &Question,
    scene: &Scene<'_>,
    fitted: &Fit,
    max_context: Option<u64>,
    max_concurrency: Option<u64>,
) -> Result<Vec<ChangeAnswer>> {
    let mut changes = Vec::new();
    let mut offer = |kind: &'static str, value: String, message: String, scene: &Scene<'_>| -> Result<()> {
        let outcome = question.with_engine(|engine| -> Result<Option<(Bytes, Bytes)>> {
            match fit::verdict(engine, scene, question.safety) {
                Ok(Verdict::Fits) => {
                    let memory = engine.memory(scene, &mut Derivation::off())?.bounded()?;
                    Ok(Some((memory.devices.iter().map(|device| device.used().expected).sum(), memory.host.total())))
                }
                _ => Ok(None),
            }
        })?;
        if let Some((total_bytes, host_bytes)) = outcome {
            changes.push(ChangeAnswer { kind, value, message, total_bytes, host_bytes });
        }
        Ok(())
    };
    if question.nominal.is_none() {
        let current = question.weights_bytes()?;
        for format in &question.ladder() {
            let smaller = question.weights_in(format).is_ok_and(|bytes| bytes < current);
            let changed = Scene { format, ..*scene };
            let fits = smaller
                && question.with_engine(|engine| matches!(fit::verdict(engine, &changed, question.safety), Ok(Verdict::Fits)));
            if fits {
                offer("quant", format.to_string(), format!("use {format}"), &changed)?;
                break;
            }
        }
    }
    let with = |edit: &dyn Fn(&mut Workload)| {
        let mut workload = question.workload.clone();
        edit(&mut workload);
        workload
    };
    if let Some(cache_type) = question.engine.smaller_cache_type()
        && question.workload.kv_cache_type_k.is_none()
        && question.workload.kv_cache_type_v.is_none()
    {
        let workload = with(&|workload| {
            workload.kv_cache_type_k = Some(cache_type.into());
            workload.kv_cache_type_v = Some(cache_type.into());
        });
        offer(
            "kv_cache_type",
            cache_type.into(),
            format!("store the KV cache as {cache_type}"),
            &Scene { workload: &workload, ..*scene },
        )?;
    }
    if let Some(context) = max_context.filter(|&context| context < question.workload.context) {
        let workload = with(&|workload| workload.context = context);
        offer(
            "context",
            context.to_string(),
            format!("shorten the context to {} tokens", grouped(context)),
            &Scene { workload: &workload, ..*scene },
        )?;
    }
    if let Some(requests) = max_concurrency.filter(|&requests| requests < question.workload.concurrency) {
        let workload = with(&|workload| workload.concurrency = requests);
        offer(
            "concurrency",
            requests.to_string(),
            format!("hold {} requests at once", grouped(requests)),
            &Scene { workload: &workload, ..*scene },
        )?;
    }
    if let Some(Offload { n_gpu_layers, n_cpu_moe }) = fitted.offload {
        let workload = with(&|workload| {
            workload.n_gpu_layers = Some(n_gpu_layers);
            workload.n_cpu_moe = (n_cpu_moe > 0).then_some(n_cpu_moe);
        });
        let changed = Scene { workload: &workload, ..*scene };
        if n_cpu_moe > 0 {
            offer(
                "n_cpu_moe",
                n_cpu_moe.to_string(),
                format!("keep the experts of {n_cpu_moe} layers in host memory (slower)"),
                &changed,
            )?;
        } else {
            offer(
                "n_gpu_layers",
                n_gpu_layers.to_string(),
                format!("put {n_gpu_layers} layers on the device, the rest in host memory (slower)"),
                &changed,
            )?;
        }
    }
    Ok(changes)
}

/// Lays an engine's answer out in the vocabulary of the docs.
fn answer(question: &Question, memory: Memory, derivation: Vec<Step>) -> Result<EstimateAnswer> {
    let model = question.model_answer();
    let (version, remark) = question.engine.version_for(question.version.as_deref())?;
    let compute = sum(&memory.devices, |device| device.compute_buffer);
    let overhead_total = sum(&memory.devices, DeviceMemory::overhead_total);
    let used = sum(&memory.devices, DeviceMemory::used);
    let mut ranges = BTreeMap::new();
    for (name, amount) in [("compute_buffer_bytes", compute), ("overhead_bytes", overhead_total), ("total_bytes", used)] {
        if amount.is_range() {
            ranges.insert(name, [amount.low, amount.high]);
        }
    }
    let mut warnings = question.warnings.clone();
    warnings.extend(remark);
    for warning in &memory.warnings {
        if !warnings.iter().any(|known| known.code == warning.code && known.message == warning.message) {
            warnings.push(warning.clone());
        }
    }
    let pool = memory.devices.first().and_then(|device| device.kv_pool);
    Ok(EstimateAnswer {
        schema: SCHEMA,
        data_version: DATA_VERSION,
        quant: match question.nominal {
            Some((_, bits)) => format!("{bits} bits per weight"),
            None => question.format.to_string(),
        },
        bits_per_weight: BitsPerWeight::new(memory.weights.get() * 8, question.stored_parameters()).ok(),
        engine: question.engine.name(),
        engine_version: version,
        workload: WorkloadAnswer {
            context: question.workload.context,
            concurrency: question.workload.concurrency,
            options: memory.resolved.clone(),
        },
        weights_bytes: memory.weights,
        nominal_weights_bytes: question.nominal_weights()?,
        kv_cache_bytes: memory.kv_cache,
        recurrent_state_bytes: memory.recurrent_state,
        compute_buffer_bytes: compute.expected,
        overhead_bytes: overhead_total.expected,
        overhead: overhead(memory.devices.iter().flat_map(|device| &device.overhead)),
        kv_pool_bytes: pool.map(|pool| pool.bytes),
        kv_pool_tokens: pool.map(|pool| pool.tokens),
        kv_pool_concurrency: pool.map(|pool| pool.concurrency),
        total_bytes: used.expected,
        host_bytes: memory.host.total(),
        devices: memory.devices.iter().enumerate().map(|(at, device)| device_answer(question, at, device)).collect(),
        ranges,
        derivation,
        warnings,
        model,
    })
}

fn sum(devices: &[DeviceMemory], part: impl Fn(&DeviceMemory) -> Amount) -> Amount {
    devices.iter().fold(Amount::ZERO, |total, device| total.plus(part(device)))
}

fn device_answer(question: &Question, at: usize, memory: &DeviceMemory) -> DeviceAnswer {
    let device = question.hardware.devices.get(at);
    let used = memory.used().expected;
    DeviceAnswer {
        id: device.map_or_else(|| String::from("any"), |device| device.id.clone()),
        total_bytes: device.map(|device| device.nameplate_bytes),
        usable_bytes: device.map(|device| device.visible_bytes),
        weights_bytes: memory.weights,
        kv_cache_bytes: memory.kv_cache,
        kv_pool_bytes: memory.kv_pool.map(|pool| pool.bytes),
        recurrent_state_bytes: memory.recurrent_state,
        compute_buffer_bytes: memory.compute_buffer.expected,
        overhead_bytes: memory.overhead_total().expected,
        used_bytes: used,
        free_bytes: device.map(|device| difference(device.visible_bytes, used)),
        layers: memory.layers,
    }
}

/// `a` − `b`; both are below 2^53.
fn difference(a: Bytes, b: Bytes) -> i64 {
    let signed = |bytes: Bytes| i64::try_from(bytes.get()).unwrap_or(i64::MAX);
    signed(a) - signed(b)
}
