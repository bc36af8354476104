//! A question as it arrives: one flat object in the vocabulary of the docs.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::quantity::{clip, parse_memory, parse_parameters, parse_tokens};
use crate::{
    bounds,
    error::{Error, ErrorKind, Result},
    fit::DEFAULT_SAFETY,
    suggest::nearest,
    units::{BitsPerWeight, Bytes},
    workload::Workload,
};

/// Contents of files that a question is about. The core opens none: callers read them and hand them over.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files<'a> {
    /// The beginnings of a GGUF file's parts, each long enough to hold its header.
    pub gguf: &'a [&'a [u8]],
    /// The beginnings of safetensors files, each with its name and long enough to hold its header.
    pub safetensors: &'a [(&'a str, &'a [u8])],
    /// A `model.safetensors.index.json`.
    pub safetensors_index: Option<&'a str>,
    /// A `config.json`.
    pub config: Option<&'a str>,
}

impl Files<'_> {
    /// Whether no file was given.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.gguf.is_empty() && self.safetensors.is_empty() && self.safetensors_index.is_none() && self.config.is_none()
    }
}

/// A question: which model, stored how, asked to hold what, on which engine and hardware.
///
/// Every field is optional; see [`Workload`] for the engines' own options, which stand beside these in one flat object.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Catalog id, alias, Hugging Face id or Ollama tag.
    pub model: Option<String>,
    /// A parameter count alone, for the nominal sum.
    pub params: Option<u64>,
    /// Bits per weight beside `params`.
    pub bits: Option<BitsPerWeight>,
    /// Weight format; the model's own if absent, else `Q4_K_M`.
    pub quant: Option<String>,
    /// Whether a GGUF recipe is made with an importance matrix.
    pub imatrix: bool,
    /// Engine; llama.cpp if absent.
    pub engine: Option<String>,
    /// The engine's version; the newest known if absent.
    pub engine_version: Option<String>,
    /// Devices, each with an optional count: `rtx-4090`, `2x rtx-3090`.
    pub hardware: Vec<String>,
    /// Memory of one unnamed device, instead of `hardware`.
    pub memory: Option<Bytes>,
    /// Bandwidth of that device, in 10^9 bytes per second.
    pub bandwidth_gb_per_second: Option<f64>,
    /// Memory of the host.
    pub host_memory: Option<Bytes>,
    /// Share of device memory to leave free.
    pub safety: f64,
    /// What the model is asked to hold.
    pub workload: Workload,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            model: None,
            params: None,
            bits: None,
            quant: None,
            imatrix: false,
            engine: None,
            engine_version: None,
            hardware: Vec::new(),
            memory: None,
            bandwidth_gb_per_second: None,
            host_memory: None,
            safety: DEFAULT_SAFETY,
            workload: Workload::default(),
        }
    }
}

/// The fields of a scenario that are no engine options, in the order of the docs.
const OWN_FIELDS: &[&str] = &[
    "model",
    "params",
    "bits",
    "quant",
    "imatrix",
    "engine",
    "engine_version",
    "hardware",
    "memory",
    "bandwidth",
    "host_memory",
    "safety",
    "context",
    "concurrency",
];

/// The engine options of a scenario, as [`Workload`] names them.
const OPTION_FIELDS: &[&str] = &[
    "kv_cache_type_k",
    "kv_cache_type_v",
    "defaults",
    "n_batch",
    "n_ubatch",
    "flash_attn",
    "kv_unified",
    "swa_full",
    "n_gpu_layers",
    "n_cpu_moe",
    "tensor_split",
    "n_outputs_max",
    "offload_kqv",
    "gpu_memory_utilization",
    "max_num_seqs",
    "max_num_batched_tokens",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "enable_expert_parallel",
    "enforce_eager",
    "block_size",
    "max_kv_size",
    "prefill_step_size",
    "enable_prefix_caching",
    "disable_hybrid_kv_cache_manager",
];

impl Scenario {
    /// Reads a scenario from a JSON object. Numbers may be written as people do (`"8k"`, `"70B"`, `"24GiB"`).
    ///
    /// # Errors
    /// [`ErrorKind::UnknownField`] for a field that does not exist, [`ErrorKind::InvalidValue`] for a value of the
    /// wrong form, [`ErrorKind::OutOfRange`] for a number beyond its bound.
    pub fn from_object(mut object: Map<String, Value>) -> Result<Self> {
        if let Some(unknown) =
            object.keys().find(|key| !OWN_FIELDS.contains(&key.as_str()) && !OPTION_FIELDS.contains(&key.as_str()))
        {
            return Err(unknown_field(unknown));
        }
        object.retain(|_, value| !value.is_null());
        let mut scenario = Self::default();
        let mut take = |key: &str| object.remove(key);
        scenario.model = take("model").map(|value| text("model", value)).transpose()?;
        scenario.params = take("params").map(|value| count("params", value, parse_parameters)).transpose()?;
        scenario.bits = take("bits").map(bits).transpose()?;
        scenario.quant = take("quant").map(|value| text("quant", value)).transpose()?;
        scenario.imatrix = take("imatrix").map(|value| flag("imatrix", &value)).transpose()?.unwrap_or(false);
        scenario.engine = take("engine").map(|value| text("engine", value)).transpose()?;
        scenario.engine_version = take("engine_version").map(|value| text("engine_version", value)).transpose()?;
        scenario.hardware = take("hardware").map(hardware).transpose()?.unwrap_or_default();
        scenario.memory = take("memory").map(|value| memory("memory", value)).transpose()?;
        scenario.host_memory = take("host_memory").map(|value| memory("host_memory", value)).transpose()?;
        if let Some(value) = take("bandwidth") {
            scenario.bandwidth_gb_per_second = Some(number("bandwidth", &value)?);
        }
        if let Some(value) = take("safety") {
            scenario.safety = bounds::safety(number("safety", &value)?)?;
        }
        let context = take("context").map(|value| count("context", value, parse_tokens)).transpose()?;
        let concurrency = take("concurrency").map(|value| whole("concurrency", &value)).transpose()?;
        scenario.workload = Workload::deserialize(Value::Object(object)).map_err(|error| {
            Error::new(ErrorKind::InvalidValue, format!("an engine option has the wrong form: {}", clip(&error.to_string())))
                .help("counts are whole numbers, switches are true or false, names are text")
        })?;
        if let Some(context) = context {
            scenario.workload.context = context;
        }
        if let Some(concurrency) = concurrency {
            scenario.workload.concurrency = concurrency;
        }
        scenario.validate()?;
        Ok(scenario)
    }

    /// Checks every number against its bound.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] naming the field; [`ErrorKind::Contradiction`] for fields that exclude each other.
    pub fn validate(&self) -> Result<()> {
        self.workload.validate()?;
        bounds::safety(self.safety)?;
        if let Some(bandwidth) = self.bandwidth_gb_per_second {
            bounds::bandwidth(bandwidth)?;
        }
        if let Some(params) = self.params {
            bounds::PARAMETERS.check(params)?;
        }
        if self.bits.is_some() && self.params.is_none() {
            return Err(Error::new(ErrorKind::Contradiction, "bits are given without a parameter count")
                .field("bits")
                .help("give params beside bits, or name a quant for a model"));
        }
        if self.params.is_some() && self.model.is_some() {
            return Err(Error::new(ErrorKind::Contradiction, "both a model and a parameter count are given")
                .field("params")
                .help("give one of the two"));
        }
        if self.memory.is_some() && !self.hardware.is_empty() {
            return Err(Error::new(ErrorKind::Contradiction, "both hardware and memory are given")
                .field("memory")
                .help("name devices, or give the memory of one unnamed device"));
        }
        Ok(())
    }
}

/// Reads the JSON object that every operation takes.
///
/// # Errors
/// [`ErrorKind::Malformed`] for text that is no JSON object.
pub(super) fn object(json: &str) -> Result<Map<String, Value>> {
    let value: Value = serde_json::from_str(json)
        .map_err(|error| Error::new(ErrorKind::Malformed, format!("the request is not JSON: {}", clip(&error.to_string()))))?;
    match value {
        Value::Object(object) => Ok(object),
        other => Err(Error::new(ErrorKind::Malformed, format!("the request is {}, not an object", kind_of(&other)))
            .help("write one JSON object with the fields of the question")),
    }
}

/// The error for a field that does not exist, with the nearest one that does.
pub(super) fn unknown_field(found: &str) -> Error {
    unknown_field_among(found, OWN_FIELDS.iter().chain(OPTION_FIELDS).copied())
}

/// The error for a field that an operation with those fields does not have.
pub(super) fn unknown_field_among<'a>(found: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let nearest = nearest(found, known);
    let error = Error::new(ErrorKind::UnknownField, format!("unknown field `{}`", clip(found))).field(clip(found));
    match nearest {
        Some(name) => error.help(format!("did you mean `{name}`?")),
        None => error,
    }
}

const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

pub(super) fn wrong(field: &str, value: &Value, expected: &str) -> Error {
    let shown = match value {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => format!("`{}`", clip(&value.to_string())),
        other => kind_of(other).to_owned(),
    };
    Error::new(ErrorKind::InvalidValue, format!("{field} is {shown}: expected {expected}")).field(field)
}

pub(super) fn text(field: &str, value: Value) -> Result<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Ok(text),
        other => Err(wrong(field, &other, "text")),
    }
}

pub(super) fn flag(field: &str, value: &Value) -> Result<bool> {
    value.as_bool().ok_or_else(|| wrong(field, value, "true or false"))
}

fn number(field: &str, value: &Value) -> Result<f64> {
    value.as_f64().filter(|number| number.is_finite()).ok_or_else(|| wrong(field, value, "a number"))
}

/// A whole number; JavaScript writes `8192.0` like `8192`, so whole floats are accepted.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn whole(field: &str, value: &Value) -> Result<u64> {
    if let Some(number) = value.as_u64() {
        return Ok(number);
    }
    match value.as_f64() {
        // Whole and below 2^53, so the conversion is exact.
        Some(number) if (0.0..9e15).contains(&number) && number % 1.0 == 0.0 => Ok(number as u64),
        _ => Err(wrong(field, value, "a whole number")),
    }
}

pub(super) fn count(field: &str, value: Value, parse: fn(&str) -> Result<u64>) -> Result<u64> {
    match value {
        Value::String(text) => parse(&text),
        other => whole(field, &other),
    }
}

pub(super) fn memory(field: &str, value: Value) -> Result<Bytes> {
    match value {
        Value::String(text) => parse_memory(&text).map_err(|error| error.field(field)),
        other => Bytes::new(bounds::MEMORY.check(whole(field, &other)?)?),
    }
}

fn bits(value: Value) -> Result<BitsPerWeight> {
    match value {
        Value::String(text) => BitsPerWeight::parse(&text),
        Value::Number(number) => BitsPerWeight::parse(&number.to_string()),
        other => Err(wrong("bits", &other, "a number")),
    }
}

fn hardware(value: Value) -> Result<Vec<String>> {
    devices("hardware", value)
}

/// One device or a list of devices, each with an optional count.
pub(super) fn devices(field: &str, value: Value) -> Result<Vec<String>> {
    match value {
        Value::String(text) => Ok(alloc::vec![text]),
        Value::Array(items) => {
            bounds::DEVICE_COUNT.check(items.len() as u64)?;
            items.into_iter().map(|item| self::text(field, item)).collect()
        }
        other => Err(wrong(field, &other, "a device or a list of devices")),
    }
}
