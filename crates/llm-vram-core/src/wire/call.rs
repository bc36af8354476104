//! Every operation as JSON in and JSON out.

use alloc::{format, string::String, vec::Vec};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    budget, compare, estimate, inspect,
    listing::{self, Ask, gpus::DeviceRequest},
    quants,
    question::Question,
    request::{Files, Scenario, object, unknown_field},
};
use crate::{
    error::{Error, ErrorKind, Result},
    suggest::nearest,
};

/// An operation of the JSON surface.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Its name.
    pub name: &'static str,
    /// What it answers.
    pub summary: &'static str,
    run: fn(Map<String, Value>, &Files<'_>) -> Result<String>,
}

/// Every operation, in the order of the docs.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "estimate",
        summary: "what takes how much memory",
        run: |object, files| json(&estimate::estimate(&question(object, files)?)?),
    },
    Operation {
        name: "fit",
        summary: "whether it fits, and what would make it fit",
        run: |object, files| json(&estimate::fit(&question(object, files)?)?),
    },
    Operation {
        name: "budget",
        summary: "what hardware leaves for weights, and the largest models for it",
        run: |object, _| json(&budget::budget(&Scenario::from_object(object)?)?),
    },
    Operation {
        name: "compare",
        summary: "engines or scenarios side by side, with the reason for each difference",
        run: |object, files| json(&compare::compare(compare::Comparison::from_object(object, files)?)?),
    },
    Operation {
        name: "quants",
        summary: "sizes in every weight format",
        run: |object, files| json(&quants::quants(&question(object, files)?)?),
    },
    Operation { name: "inspect", summary: "what a file says", run: inspect_call },
    Operation {
        name: "models",
        summary: "the models of the catalog, or one of them",
        run: |object, _| match listing::models::request(object)? {
            Ask::One(id) => json(&listing::model(&id)?),
            Ask::List(query) => json(&listing::models(&query)?),
        },
    },
    Operation {
        name: "gpus",
        summary: "the devices of the catalog, or one of them with the models that run on it",
        run: |object, _| match DeviceRequest::from_object(object)? {
            DeviceRequest::One(id, scenario) => json(&listing::gpu(&id, &scenario)?),
            DeviceRequest::List(query) => json(&listing::gpus(&query)?),
        },
    },
    Operation {
        name: "engines",
        summary: "the engines, or one of them",
        run: |object, _| match listing::engines::request(object)? {
            Ask::One(id) => json(&listing::engine(&id)?),
            Ask::List(query) => json(&listing::engines(&query)),
        },
    },
    Operation {
        name: "quant_formats",
        summary: "the weight formats, or one of them with its measurements",
        run: |object, _| match listing::quant_formats::request(object)? {
            Ask::One(id) => json(&listing::quant_format(&id)?),
            Ask::List(query) => json(&listing::quant_formats(&query)?),
        },
    },
    Operation {
        name: "glossary",
        summary: "the terms that answers use, or one of them",
        run: |object, _| match listing::glossary::request(object)? {
            Ask::One(term) => json(&listing::term(&term)?),
            Ask::List(query) => json(&listing::glossary(&query)),
        },
    },
];

/// Answers one request: the operation's name, a JSON object, and the files that it is about; the answer is JSON.
///
/// # Errors
/// [`ErrorKind::UnknownOperation`], [`ErrorKind::Malformed`] for text that is no JSON object, and the operation's own.
///
/// ```
/// use llm_vram_core::wire::{Files, call};
/// let answer = call("estimate", r#"{"model": "llama-3.1-8b", "context": 8192}"#, &Files::default())?;
/// assert!(answer.contains("\"kv_cache_bytes\":1073741824"));
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
pub fn call(operation: &str, request: &str, files: &Files<'_>) -> Result<String> {
    let Some(found) = OPERATIONS.iter().find(|known| known.name == operation) else {
        let error = Error::new(ErrorKind::UnknownOperation, format!("unknown operation `{}`", super::quantity::clip(operation)));
        return Err(match nearest(operation, OPERATIONS.iter().map(|known| known.name)) {
            Some(name) => error.help(format!("did you mean `{name}`?")),
            None => {
                let names: Vec<&str> = OPERATIONS.iter().map(|known| known.name).collect();
                error.help(format!("the operations are {}", names.join(", ")))
            }
        });
    };
    (found.run)(object(request)?, files)
}

/// An error as the JSON object that every surface hands out: `code`, `message`, `help`, `field`.
#[must_use]
pub fn error_json(error: &Error) -> String {
    #[derive(Serialize)]
    struct Fields<'a> {
        code: &'static str,
        message: &'a str,
        help: Option<&'a str>,
        field: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Outer<'a> {
        error: Fields<'a>,
    }
    let fields = Fields { code: error.kind().code(), message: error.message(), help: error.help_text(), field: error.field_name() };
    json(&Outer { error: fields }).unwrap_or_else(|_| String::from("{\"error\":{\"code\":\"overflow\"}}"))
}

fn json<T: Serialize>(answer: &T) -> Result<String> {
    serde_json::to_string(answer)
        .map_err(|error| Error::new(ErrorKind::Overflow, format!("the answer cannot be written as JSON: {error}")))
}

fn question(object: Map<String, Value>, files: &Files<'_>) -> Result<Question> {
    Question::resolve(&Scenario::from_object(object)?, files)
}

fn inspect_call(object: Map<String, Value>, files: &Files<'_>) -> Result<String> {
    let mut list_tensors = false;
    for (key, value) in &object {
        match (key.as_str(), value) {
            ("tensors", Value::Bool(asked)) => list_tensors = *asked,
            ("tensors", _) => {
                return Err(Error::new(ErrorKind::InvalidValue, "tensors is no switch: expected true or false").field("tensors"));
            }
            _ => return Err(unknown_field(key)),
        }
    }
    json(&inspect::inspect(files, list_tensors)?)
}
