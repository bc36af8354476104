//! `call`: the JSON surface.

use std::{io::Read, path::Path};

use llm_vram_core::{Error, ErrorKind, Result, wire};
use serde_json::{Map, Value};

use crate::{args::CallArgs, files::Contents, output};

/// A request longer than this is none.
const LIMIT: u64 = 32 << 20;

/// Answers one request from standard input; without an operation, lists the operations.
pub fn run(args: &CallArgs) -> Result<()> {
    let Some(operation) = &args.operation else {
        for operation in wire::OPERATIONS {
            output::line(&format!("{:14} {}", operation.name, operation.summary))?;
        }
        return Ok(());
    };
    let mut request = String::new();
    std::io::stdin()
        .take(LIMIT + 1)
        .read_to_string(&mut request)
        .map_err(|error| Error::new(ErrorKind::Malformed, format!("cannot read the request: {error}")))?;
    if request.len() as u64 > LIMIT {
        return Err(Error::new(ErrorKind::LimitExceeded, format!("the request is longer than {LIMIT} bytes")));
    }
    let (request, contents) = take_files(&request)?;
    let (mut gguf, mut safetensors) = (Vec::new(), Vec::new());
    output::line(&wire::call(operation, &request, &contents.lend(&mut gguf, &mut safetensors))?)
}

/// Reads the files that a request names (`gguf`, `safetensors`, and `config` where it is a path) and leaves the rest.
fn take_files(request: &str) -> Result<(String, Contents)> {
    let mut contents = Contents::default();
    let Ok(Value::Object(mut object)) = serde_json::from_str::<Value>(request) else {
        // The core says what is wrong with it.
        return Ok((request.to_owned(), contents));
    };
    if let Some(path) = path_of(&mut object, "gguf")? {
        contents.add_gguf(Path::new(&path))?;
    }
    let is_text = matches!(object.get("config"), Some(Value::String(text)) if text.trim_start().starts_with('{'));
    if !is_text
        && !matches!(object.get("config"), Some(Value::Object(_)))
        && let Some(path) = path_of(&mut object, "config")?
    {
        contents.add_config(Path::new(&path))?;
    }
    if let Some(path) = path_of(&mut object, "safetensors")? {
        contents.add_safetensors(Path::new(&path))?;
    }
    Ok((Value::Object(object).to_string(), contents))
}

/// Takes the path that a field gives.
fn path_of(object: &mut Map<String, Value>, field: &str) -> Result<Option<String>> {
    match object.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(path)) if !path.is_empty() => Ok(Some(path)),
        Some(_) => Err(Error::new(ErrorKind::InvalidValue, format!("{field} is no path: expected text")).field(field)),
    }
}
