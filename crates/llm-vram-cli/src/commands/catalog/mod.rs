//! The catalog's verbs, one file each.

mod engines;
mod glossary;
mod gpus;
mod models;
mod quant_formats;

pub use engines::engines;
pub use glossary::glossary;
pub use gpus::gpus;
use llm_vram_core::{
    Error, ErrorKind, Result,
    fit::DEFAULT_SAFETY,
    wire::{Scenario, SourceEntry, parse_memory, parse_tokens},
    workload::Workload,
};
pub use models::models;
pub use quant_formats::quant_formats;
use serde::Serialize;

use super::print_json;
use crate::{
    args::{FitArgs, FormArgs},
    output::document::{self, Field, Part},
};

/// Prints an answer in the form that was asked for: `fields` and `rows` are its CSV, `parts` its text.
fn print<A: Serialize, T>(
    form: FormArgs,
    answer: &A,
    fields: &[Field<T>],
    rows: &[T],
    parts: impl FnOnce() -> Vec<Part>,
) -> Result<()> {
    if form.json {
        print_json(answer)
    } else if form.csv {
        document::csv(fields, rows)
    } else if form.markdown {
        document::markdown(&parts())
    } else {
        document::plain(&parts())
    }
}

/// Says so where a list for people is empty; programs get an empty list.
fn not_empty<T>(form: FormArgs, entries: &[T], what: &str) -> Result<()> {
    if entries.is_empty() && !form.json && !form.csv {
        return Err(Error::new(ErrorKind::InvalidValue, format!("no {what} in the catalog has all of that"))
            .help("drop a filter, or widen a range"));
    }
    Ok(())
}

/// The fit question that the arguments describe, on the given devices.
fn scenario(args: &FitArgs, hardware: Vec<String>) -> Result<Scenario> {
    let defaults = Workload::default();
    let scenario = Scenario {
        engine: args.engine.clone(),
        engine_version: args.engine_version.clone(),
        hardware,
        host_memory: args.host_memory.as_deref().map(parse_memory).transpose()?,
        safety: args.safety.unwrap_or(DEFAULT_SAFETY),
        workload: Workload {
            context: args.context.as_deref().map(parse_tokens).transpose()?.unwrap_or(defaults.context),
            concurrency: args.concurrency.unwrap_or(defaults.concurrency),
            ..defaults
        },
        ..Scenario::default()
    };
    scenario.validate()?;
    Ok(scenario)
}

/// Where facts come from, and which have no source.
fn origin(sources: &[SourceEntry], unverified: &[&str]) -> Vec<Part> {
    let mut parts = vec![
        Part::Heading("Sources".to_owned()),
        Part::List(
            sources.iter().map(|source| format!("{} ({}): {}", source.url, source.date, source.covers.join(", "))).collect(),
        ),
    ];
    if !unverified.is_empty() {
        parts.push(Part::List(vec![format!("no source: {}", unverified.join(", "))]));
    }
    parts
}

/// A list of names, unless it is empty.
fn names(list: &[&str]) -> Option<String> {
    (!list.is_empty()).then(|| list.join(", "))
}

/// A fact with a remark where no source covers it.
fn marked(text: impl Into<String>, field: &str, unverified: &[&str]) -> Option<String> {
    let text = text.into();
    Some(if unverified.contains(&field) { format!("{text} (unverified)") } else { text })
}

/// A count of parameters, as people say it.
#[allow(clippy::cast_precision_loss)]
fn billions(count: u64) -> String {
    match count {
        0..1_000_000_000 => format!("{:.0} M", count as f64 / 1e6),
        1_000_000_000..1_000_000_000_000 => format!("{:.1} B", count as f64 / 1e9),
        _ => format!("{:.2} T", count as f64 / 1e12),
    }
}
