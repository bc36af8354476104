//! The operation `engines`: the programs that run models.

use alloc::{string::String, vec::Vec};

use llm_vram_catalog::EngineRecord;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Ask, Entry, Fields, Listing, SourceEntry, select::contains, sources};
use crate::{
    catalog,
    engine::{self, Engine},
    error::Result,
    hardware::Backend,
    quant::WeightFormat,
    wire::question::usual_family,
};

/// Which engines to list. Absent fields select everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineQuery {
    /// Text that name, maker, platforms, formats or licence contain.
    pub filter: Option<String>,
}

/// Reads a request: the name of one engine, or a query.
///
/// # Errors
/// [`ErrorKind::UnknownField`](crate::ErrorKind::UnknownField) and its like.
pub(in crate::wire) fn request(object: Map<String, Value>) -> Result<Ask<EngineQuery>> {
    let mut fields = Fields::new(object, &["id", "filter"], false)?;
    if let Some(id) = fields.text("id")? {
        fields.alone("id")?;
        return Ok(Ask::One(id));
    }
    Ok(Ask::List(EngineQuery { filter: fields.text("filter")? }))
}

/// An engine, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EngineEntry {
    /// Its name in questions.
    pub name: &'static str,
    /// What it is, in a sentence; absent without a record in the catalog.
    pub summary: Option<&'static str>,
    /// Its licence.
    pub licence: Option<&'static str>,
    /// The versions whose rules are known, the newest first.
    pub versions: &'static [&'static str],
    /// The interfaces on which it runs.
    pub backends: &'static [Backend],
    /// The weight format that it takes where nobody names one.
    pub default_quant: String,
    /// Weight formats that it loads, best quality first.
    pub quants: Vec<String>,
    /// Whether it can keep a part of the model in host memory.
    pub offloads_to_host: bool,
}

impl EngineEntry {
    fn new(engine: &dyn Engine, record: Option<&EngineRecord>) -> Self {
        let name = |format: &WeightFormat| alloc::format!("{format}");
        Self {
            name: engine.name(),
            summary: record.map(|record| record.summary),
            licence: record.map(|record| record.licence),
            versions: engine.versions(),
            backends: engine.backends(),
            default_quant: name(&usual_family(engine).default_format()),
            quants: engine.families().iter().flat_map(|family| family.ladder()).map(|format| name(&format)).collect(),
            offloads_to_host: engine.offloads_to_host(),
        }
    }
}

/// The engines that a query selects.
#[must_use]
pub fn engines(query: &EngineQuery) -> Listing<EngineEntry> {
    let entries = engine::all().iter().filter_map(|engine| {
        let record = llm_vram_catalog::engine(engine.name());
        let mut texts = alloc::vec![engine.name()];
        if let Some(record) = record {
            texts.extend([record.name, record.maker, record.licence]);
            texts.extend(record.platforms);
            texts.extend(record.formats);
        }
        contains(query.filter.as_deref(), &texts).then(|| EngineEntry::new(*engine, record))
    });
    Listing::new(entries.collect())
}

/// A default of an engine that decides about memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EngineDefaultEntry {
    /// The engine's own name of the option.
    pub option: &'static str,
    /// Its default.
    pub value: &'static str,
    /// What it does to memory.
    pub effect: &'static str,
}

/// An engine, whole. Facts of the catalog are absent for an engine without a record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EngineDetails {
    /// What lists show of it.
    #[serde(flatten)]
    pub entry: EngineEntry,
    /// Its name, for people.
    pub full_name: Option<&'static str>,
    /// Who makes it.
    pub maker: Option<&'static str>,
    /// Further names that find it.
    pub aliases: &'static [&'static str],
    /// When to pick it.
    pub pick_when: Option<&'static str>,
    /// Where it runs.
    pub platforms: &'static [&'static str],
    /// Which files it loads.
    pub formats: &'static [&'static str],
    /// How it is installed.
    pub install: Option<&'static str>,
    /// How a model is run; `{…}` stand for parts of a question.
    pub run: Option<&'static str>,
    /// Its home.
    pub homepage: Option<&'static str>,
    /// The version that the facts are of.
    pub facts_of_version: Option<&'static str>,
    /// Defaults that decide about memory.
    pub defaults: Vec<EngineDefaultEntry>,
    /// Fields that no source covers.
    pub unverified: &'static [&'static str],
    /// Where the rest comes from.
    pub sources: Vec<SourceEntry>,
}

/// One engine, by any of its names.
///
/// # Errors
/// [`ErrorKind::UnknownEngine`](crate::ErrorKind::UnknownEngine) with the nearest names.
pub fn engine(name: &str) -> Result<Entry<EngineDetails>> {
    let engine = match engine::by_name(name) {
        Ok(engine) => engine,
        Err(_) => engine::by_name(catalog::engine_record(name)?.id)?,
    };
    let record = llm_vram_catalog::engine(engine.name());
    let facts = record.copied().unwrap_or(EngineRecord::EMPTY);
    let stated = |text: &'static str| (!text.is_empty()).then_some(text);
    Ok(Entry::new(EngineDetails {
        entry: EngineEntry::new(engine, record),
        full_name: stated(facts.name),
        maker: stated(facts.maker),
        aliases: facts.aliases,
        pick_when: stated(facts.pick_when),
        platforms: facts.platforms,
        formats: facts.formats,
        install: stated(facts.install),
        run: stated(facts.run),
        homepage: stated(facts.homepage),
        facts_of_version: stated(facts.version),
        defaults: facts
            .defaults
            .iter()
            .map(|default| EngineDefaultEntry { option: default.option, value: default.value, effect: default.effect })
            .collect(),
        unverified: facts.unverified,
        sources: sources(facts.sources),
    }))
}
