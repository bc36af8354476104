//! One column of a comparison: an estimate in short, and the facts behind it.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde::Serialize;

use crate::{
    engine::Habits,
    error::{Error, ErrorKind, Result},
    fit::{self, Verdict},
    model::Warning,
    quant::weight_bytes,
    units::Bytes,
    wire::{answer::EstimateAnswer, estimate::estimate, question::Question},
};

/// A part of memory and what it takes; `None` where the engine has no such part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartAmount {
    /// The part, by the name of its field without `_bytes`.
    pub part: &'static str,
    /// What it takes.
    pub bytes: Option<Bytes>,
}

/// One side of a comparison. The parts are those on the devices, so that they add up to `total_bytes`; where an engine
/// takes a pool, the pool stands for the cache in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SideAnswer {
    /// What tells it from the other sides: the engine, or the fields of its scenario that differ.
    pub label: String,
    /// The engine.
    pub engine: &'static str,
    /// The version whose rules answer.
    pub engine_version: &'static str,
    /// The model.
    pub model: String,
    /// The weight format.
    pub quant: String,
    /// The format that was asked for, where the engine loads another one in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quant_asked: Option<String>,
    /// Stored bits per weight, side data included.
    pub bits_per_weight: Option<f64>,
    /// Tokens per request.
    pub context: u64,
    /// Requests held at once.
    pub concurrency: u64,
    /// The devices.
    pub hardware: Vec<String>,
    /// Weights.
    pub weights_bytes: Bytes,
    /// Attention caches that the asked requests need.
    pub kv_cache_bytes: Bytes,
    /// The pools that the engine takes and fills with cache, where it does.
    pub kv_pool_bytes: Option<Bytes>,
    /// The tokens that a pool holds.
    pub kv_pool_tokens: Option<u64>,
    /// Requests of `context` tokens that it holds.
    pub kv_pool_concurrency: Option<f64>,
    /// Recurrent states.
    pub recurrent_state_bytes: Bytes,
    /// Compute buffers and activations.
    pub compute_buffer_bytes: Bytes,
    /// Engine and driver.
    pub overhead_bytes: Bytes,
    /// Everything on the devices.
    pub total_bytes: Bytes,
    /// What stays in the host's memory.
    pub host_bytes: Bytes,
    /// The least and the most of every part that is no exact figure.
    pub ranges: BTreeMap<&'static str, [Bytes; 2]>,
    /// Whether it runs, where hardware is given.
    pub verdict: Option<Verdict>,
    /// Remarks.
    pub warnings: Vec<Warning>,
}

impl SideAnswer {
    /// The parts, in the order of the docs.
    pub fn parts(&self) -> impl Iterator<Item = PartAmount> {
        [
            ("weights", Some(self.weights_bytes)),
            ("kv_cache", Some(self.kv_cache_bytes)),
            ("kv_pool", self.kv_pool_bytes),
            ("recurrent_state", Some(self.recurrent_state_bytes)),
            ("compute_buffer", Some(self.compute_buffer_bytes)),
            ("overhead", Some(self.overhead_bytes)),
            ("total", Some(self.total_bytes)),
            ("host", Some(self.host_bytes)),
        ]
        .into_iter()
        .map(|(part, bytes)| PartAmount { part, bytes })
    }
}

/// An engine or scenario without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The engine.
    pub engine: &'static str,
    /// The model.
    pub model: String,
    /// The error's stable code.
    pub code: &'static str,
    /// Why.
    pub message: String,
}

impl LeftOut {
    /// A question that has no answer.
    #[must_use]
    pub fn new(question: &Question, error: &Error) -> Self {
        let message = error.message().to_string();
        Self { engine: question.engine.name(), model: question.id.clone(), code: error.kind().code(), message }
    }
}

/// A side with the facts behind it.
pub(super) struct Side {
    pub(super) answer: SideAnswer,
    pub(super) estimate: EstimateAnswer,
    pub(super) habits: Habits,
    /// Of the weights, what stays at 16 bits or more.
    pub(super) unquantised: Bytes,
    pub(super) cache_types: [String; 2],
    /// Whether the model has layers with windows, with latent attention, with states.
    pub(super) has_windows: bool,
    pub(super) has_latents: bool,
    pub(super) has_states: bool,
}

impl Side {
    pub(super) fn of(question: &Question) -> Result<Self> {
        let backends = question.engine.backends();
        if let Some(device) = question.hardware.devices.iter().find(|device| !backends.contains(&device.backend)) {
            let message = format!("{} does not run on `{}`", question.engine.name(), device.id);
            return Err(Error::new(ErrorKind::EngineRefuses, message).field("hardware"));
        }
        let estimate = estimate(question)?;
        let scene = question.scene();
        let habits = question.with_engine(|engine| engine.habits(&scene))?;
        let verdict = if question.hardware.is_ideal() {
            None
        } else {
            Some(question.with_engine(|engine| fit::verdict(engine, &scene, question.safety))?)
        };
        let unquantised = match question.nominal {
            Some(_) => Bytes::ZERO,
            None => weight_bytes(&question.model, &question.format).map_or(Bytes::ZERO, |weights| weights.unquantised),
        };
        let spans = || question.model.blocks().iter().filter(|block| !block.is_mtp).map(|block| block.attention);
        let cache_type = |name: &Option<String>| name.clone().unwrap_or_else(|| String::from("16 bits"));
        let workload = &question.workload;
        Ok(Self {
            answer: side_answer(question, &estimate, verdict),
            habits,
            unquantised,
            cache_types: [cache_type(&workload.kv_cache_type_k), cache_type(&workload.kv_cache_type_v)],
            has_windows: spans().any(|attention| match attention {
                crate::model::Attention::Heads(heads) => heads.span.window().is_some(),
                _ => false,
            }),
            has_latents: spans().any(|attention| matches!(attention, crate::model::Attention::Latent(_))),
            has_states: question.model.blocks().iter().any(|block| !block.is_mtp && block.recurrent.is_some()),
            estimate,
        })
    }
}

fn side_answer(question: &Question, estimate: &EstimateAnswer, verdict: Option<Verdict>) -> SideAnswer {
    let devices = &estimate.devices;
    let kv_cache_bytes: Bytes = devices.iter().map(|device| device.kv_cache_bytes).sum();
    let outside_cache = |device: &crate::wire::DeviceAnswer| {
        device.weights_bytes + device.recurrent_state_bytes + device.compute_buffer_bytes + device.overhead_bytes
    };
    // What a device uses beside the other parts is its pool.
    let pools = || devices.iter().map(|device| device.used_bytes.saturating_sub(outside_cache(device))).sum();
    SideAnswer {
        label: String::from(estimate.engine),
        engine: estimate.engine,
        engine_version: estimate.engine_version,
        model: estimate.model.id.clone(),
        quant: estimate.quant.clone(),
        quant_asked: question.asked_format.as_ref().map(ToString::to_string),
        bits_per_weight: estimate.bits_per_weight.map(crate::units::BitsPerWeight::to_f64),
        context: estimate.workload.context,
        concurrency: estimate.workload.concurrency,
        hardware: question.hardware.devices.iter().map(|device| device.id.clone()).collect(),
        weights_bytes: devices.iter().map(|device| device.weights_bytes).sum(),
        kv_cache_bytes,
        kv_pool_bytes: estimate.kv_pool_bytes.map(|_| pools()),
        kv_pool_tokens: estimate.kv_pool_tokens,
        kv_pool_concurrency: estimate.kv_pool_concurrency,
        recurrent_state_bytes: devices.iter().map(|device| device.recurrent_state_bytes).sum(),
        compute_buffer_bytes: estimate.compute_buffer_bytes,
        overhead_bytes: estimate.overhead_bytes,
        total_bytes: estimate.total_bytes,
        host_bytes: estimate.host_bytes,
        ranges: estimate.ranges.clone(),
        verdict,
        warnings: estimate.warnings.clone(),
    }
}

/// Labels the sides by what tells them apart: of engine, model, format, context, requests and devices those that are not
/// the same everywhere. Different engines alone are enough; what is the same on two sides is numbered.
pub(super) fn label(sides: &mut [Side]) {
    type Field = fn(&SideAnswer) -> String;
    let fields: [Field; 7] = [
        |side| String::from(side.engine),
        |side| side.model.clone(),
        |side| side.quant.clone(),
        |side| format!("{} tokens", crate::units::grouped(side.context)),
        |side| format!("× {}", side.concurrency),
        |side| if side.hardware.is_empty() { String::from("any device") } else { side.hardware.join(" + ") },
        |side| String::from(side.engine_version),
    ];
    let mut labels: Vec<Vec<String>> = sides.iter().map(|_| Vec::new()).collect();
    for field in fields {
        let values: Vec<String> = sides.iter().map(|side| field(&side.answer)).collect();
        let told_apart = labels.iter().enumerate().all(|(i, label)| labels.iter().skip(i + 1).all(|other| other != label));
        if told_apart && labels.iter().all(|label| !label.is_empty()) {
            break;
        }
        if values.windows(2).any(|pair| pair[0] != pair[1]) {
            labels.iter_mut().zip(values).for_each(|(label, value)| label.push(value));
        }
    }
    let joined: Vec<String> = labels.iter().map(|label| label.join(" · ")).collect();
    for (index, side) in sides.iter_mut().enumerate() {
        let own = joined.get(index).cloned().unwrap_or_default();
        let twins = joined.iter().filter(|label| **label == own).count();
        side.answer.label = match (own.is_empty(), twins) {
            (false, 1) => own,
            (true, 1) => String::from(side.answer.engine),
            (true, _) => format!("{} {}", side.answer.engine, index + 1),
            (false, _) => format!("{own} {}", index + 1),
        };
    }
}
