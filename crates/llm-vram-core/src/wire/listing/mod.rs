//! The operations `models`, `gpus`, `engines`, `quant_formats` and `glossary`: the catalog as lists, and entry by entry.

pub(super) mod engines;
mod fields;
mod fit_table;
pub(super) mod glossary;
pub(super) mod gpus;
mod model;
pub(super) mod models;
pub(super) mod quant_formats;
mod select;

use alloc::vec::Vec;

use llm_vram_catalog::Source;
use serde::Serialize;

pub use engines::{EngineDefaultEntry, EngineDetails, EngineEntry, EngineQuery, engine, engines};
pub(super) use fields::Ask;
use fields::Fields;
pub use fit_table::{FitRow, FitTable};
pub use glossary::{TermDetails, TermEntry, TermLink, TermQuery, glossary, term};
pub use gpus::{DeviceDetails, DeviceEntry, DeviceQuery, DeviceSort, MemoryFigure, gpu, gpus};
pub use model::{CacheSize, KvCacheSizes, LayerGroup, ModelDetails, ParameterEntry, QuantSize, model};
pub use models::{ModelEntry, ModelQuery, ModelSort, RunsAs, models};
pub use quant_formats::{QualityEntry, QuantFormatDetails, QuantFormatEntry, QuantFormatQuery, quant_format, quant_formats};
pub use select::parse_choice;

use super::answer::SCHEMA;
use crate::DATA_VERSION;

/// A list with its origin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listing<T> {
    /// The shape of this answer.
    pub schema: &'static str,
    /// The snapshot of the catalog.
    pub data_version: &'static str,
    /// The entries.
    pub entries: Vec<T>,
}

impl<T> Listing<T> {
    fn new(entries: Vec<T>) -> Self {
        Self { schema: SCHEMA, data_version: DATA_VERSION, entries }
    }
}

/// One entry with its origin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry<T> {
    /// The shape of this answer.
    pub schema: &'static str,
    /// The snapshot of the catalog.
    pub data_version: &'static str,
    /// The entry.
    pub entry: T,
}

impl<T> Entry<T> {
    const fn new(entry: T) -> Self {
        Self { schema: SCHEMA, data_version: DATA_VERSION, entry }
    }
}

/// Where facts of an entry come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SourceEntry {
    /// A public address.
    pub url: &'static str,
    /// The day on which it was read, `YYYY-MM-DD`.
    pub date: &'static str,
    /// The fields that it covers.
    pub covers: &'static [&'static str],
}

fn sources(sources: &[Source]) -> Vec<SourceEntry> {
    sources.iter().map(|source| SourceEntry { url: source.url, date: source.date, covers: source.covers }).collect()
}
