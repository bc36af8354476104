//! From a request to the questions of a comparison.

use alloc::{format, string::String, vec::Vec};

use serde_json::{Map, Value};

use super::{LeftOut, MAX_SIDES};
use crate::{
    engine::{self, Engine},
    error::{Error, ErrorKind, Result},
    quant::WeightFormat,
    wire::{
        question::{Question, usual_family},
        request::{Files, Scenario},
    },
};

/// The format that stands for a model where nobody names one.
const USUAL_FORMAT: &str = "Q4_K_M";

/// What is compared with what.
#[derive(Default)]
pub struct Comparison {
    /// The sides, looked up.
    pub(super) questions: Vec<Question>,
    /// Sides that cannot be looked up.
    pub(super) left_out: Vec<LeftOut>,
    pub(super) first_error: Option<Error>,
}

impl Comparison {
    /// One scenario over several engines, all if none is named. Each takes the asked weight format, or where that is of
    /// another family, the one of its own with the nearest number of bits: AWQ or MLX-4bit-g64 for Q4_K_M.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownEngine`], [`ErrorKind::OutOfRange`] for more than [`MAX_SIDES`] engines, and whatever is wrong
    /// with the scenario.
    pub fn over_engines(scenario: &Scenario, engines: &[String], files: &Files<'_>) -> Result<Self> {
        if engines.len() > MAX_SIDES {
            return Err(super::too_many(engines.len()).field("engines"));
        }
        let named: Vec<&'static dyn Engine> = if engines.is_empty() {
            engine::all().to_vec()
        } else {
            engines.iter().map(|name| engine::by_name(name)).collect::<Result<_>>()?
        };
        let questions = named.into_iter().map(|engine| question(scenario, engine, files)).collect::<Result<_>>()?;
        Ok(Self { questions, ..Self::default() })
    }

    /// Several scenarios, each with its own engine and format.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] for more than [`MAX_SIDES`], and whatever is wrong with one of them.
    pub fn of_scenarios<'a>(scenarios: impl IntoIterator<Item = (&'a Scenario, Files<'a>)>) -> Result<Self> {
        let mut comparison = Self::default();
        for (scenario, files) in scenarios {
            if comparison.questions.len() == MAX_SIDES {
                return Err(super::too_many(MAX_SIDES + 1));
            }
            let engine = engine::by_name(scenario.engine.as_deref().unwrap_or("llama.cpp"))?;
            comparison.questions.push(question(scenario, engine, &files)?);
        }
        Ok(comparison)
    }

    /// Reads a request: a scenario with an optional list `engines`, or a list `scenarios`.
    ///
    /// # Errors
    /// [`ErrorKind::Contradiction`] for fields beside `scenarios`, and as the other constructors.
    pub fn from_object(mut object: Map<String, Value>, files: &Files<'_>) -> Result<Self> {
        let engines = object.remove("engines").filter(|value| !value.is_null()).map(names).transpose()?;
        match object.remove("scenarios") {
            None | Some(Value::Null) => {
                let scenario = Scenario::from_object(object)?;
                let engines = match (engines, &scenario.engine) {
                    (Some(_), Some(_)) => return Err(beside("engine", "engines")),
                    (Some(engines), None) => engines,
                    (None, Some(engine)) => alloc::vec![engine.clone()],
                    (None, None) => Vec::new(),
                };
                Self::over_engines(&scenario, &engines, files)
            }
            Some(Value::Array(items)) => {
                if let Some(field) = object.keys().next().map(String::as_str).or(engines.is_some().then_some("engines")) {
                    return Err(beside(field, "scenarios"));
                }
                if items.len() > MAX_SIDES {
                    return Err(super::too_many(items.len()));
                }
                let scenarios = items.into_iter().map(scenario).collect::<Result<Vec<_>>>()?;
                let named = |scenario: &Scenario| scenario.model.is_some() || scenario.params.is_some();
                let with = |scenario| if named(scenario) { Files::default() } else { *files };
                Self::of_scenarios(scenarios.iter().map(|scenario| (scenario, with(scenario))))
            }
            Some(_) => Err(Error::new(ErrorKind::InvalidValue, "scenarios is no list").field("scenarios")),
        }
    }
}

fn scenario(value: Value) -> Result<Scenario> {
    match value {
        Value::Object(object) => Scenario::from_object(object),
        _ => Err(Error::new(ErrorKind::InvalidValue, "a scenario is no object").field("scenarios")),
    }
}

fn names(value: Value) -> Result<Vec<String>> {
    let wrong = || {
        Error::new(ErrorKind::InvalidValue, "engines is no list of names").field("engines").help("write [\"llama.cpp\", \"vllm\"]")
    };
    match value {
        Value::Array(items) if items.len() > MAX_SIDES => Err(super::too_many(items.len()).field("engines")),
        Value::Array(items) => {
            items.into_iter().map(|item| if let Value::String(name) = item { Ok(name) } else { Err(wrong()) }).collect()
        }
        _ => Err(wrong()),
    }
}

fn beside(field: &str, other: &str) -> Error {
    Error::new(ErrorKind::Contradiction, format!("`{field}` is given beside `{other}`"))
        .field(field)
        .help("leave one of the two out; each entry of scenarios has its own fields")
}

/// The question for one engine, in a format that it usually loads.
fn question(scenario: &Scenario, engine: &'static dyn Engine, files: &Files<'_>) -> Result<Question> {
    let has_weights = !files.gguf.is_empty() || !files.safetensors.is_empty();
    let mut scenario = scenario.clone();
    scenario.engine = Some(String::from(engine.name()));
    if scenario.quant.is_none() && scenario.params.is_none() && !has_weights {
        scenario.quant = Some(String::from(USUAL_FORMAT));
    }
    let mut question = Question::resolve(&scenario, files)?;
    let family = usual_family(engine);
    let fits = family.contains(&question.format) || matches!(question.format, WeightFormat::Stored);
    if question.nominal.is_none() && !fits && !engine_names_it(engine, &question.format) {
        let nearest = family.nearest(&question.format);
        question.asked_format = Some(core::mem::replace(&mut question.format, nearest));
    }
    Ok(question)
}

/// Whether an engine has a second family whose format was asked for and that no other engine's usual family answers
/// better: LM Studio runs MLX as well as GGUF, while vLLM's GGUF support is an experiment.
fn engine_names_it(engine: &dyn Engine, format: &WeightFormat) -> bool {
    matches!(format, WeightFormat::Mlx(_)) && engine.families().iter().any(|family| family.contains(format))
}
