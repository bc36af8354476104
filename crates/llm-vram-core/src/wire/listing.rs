//! The operations `models`, `gpus` and `engines`: the catalog as lists.

use alloc::{string::String, vec::Vec};

use llm_vram_catalog::{HardwareRecord, ModelRecord};
use serde::Serialize;

use super::{answer::SCHEMA, question::usual_family};
use crate::{
    DATA_VERSION, engine,
    engine::Engine,
    error::Result,
    hardware::{Backend, Device},
    quant::WeightFormat,
    units::Bytes,
};

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

/// A model of the catalog, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelEntry {
    /// Catalog id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Who made it.
    pub maker: &'static str,
    /// The family that it is listed in.
    pub family: &'static str,
    /// Month of release.
    pub release: Option<&'static str>,
    /// Licence.
    pub licence: &'static str,
    /// Repository on Hugging Face.
    pub hf_id: &'static str,
    /// Tag in Ollama's library.
    pub ollama_tag: Option<&'static str>,
    /// Parameters, towers and multi-token-prediction blocks included.
    pub parameters: u64,
    /// Parameters of one token.
    pub active_parameters: Option<u64>,
    /// Trained context length in tokens.
    pub context_length: u64,
    /// Architecture, as GGUF spells it.
    pub architecture: &'static str,
    /// What it takes in.
    pub modalities: &'static [&'static str],
    /// How large a machine it asks for.
    pub class: &'static str,
}

impl From<&'static ModelRecord> for ModelEntry {
    fn from(record: &'static ModelRecord) -> Self {
        Self {
            id: record.id,
            name: record.name,
            maker: record.maker,
            family: record.family,
            release: record.release,
            licence: record.licence,
            hf_id: record.hf_id,
            ollama_tag: record.ollama_tag,
            parameters: record.parameters.total,
            active_parameters: record.parameters.active,
            context_length: record.architecture.context_length,
            architecture: record.architecture.architecture,
            modalities: record.modalities,
            class: record.class.word(),
        }
    }
}

/// A device of the catalog, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceEntry {
    /// Catalog id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Who makes it.
    pub vendor: &'static str,
    /// The group that it is listed in.
    pub class: &'static str,
    /// Memory on the nameplate; absent for processors.
    pub total_bytes: Option<Bytes>,
    /// Memory that software sees.
    pub usable_bytes: Option<Bytes>,
    /// Whether `usable_bytes` comes from published logs.
    pub usable_is_measured: bool,
    /// Whether it shares its memory with the processor.
    pub unified_memory: bool,
    /// Bandwidth in 10^9 bytes per second.
    pub bandwidth_gb_per_second: Option<f64>,
    /// Month of launch.
    pub launch: Option<&'static str>,
    /// List price at launch in US dollars.
    pub msrp_usd: Option<u32>,
}

impl DeviceEntry {
    fn new(record: &'static HardwareRecord) -> Result<Self> {
        let device = Device::from_record(record, None)?;
        let known = record.memory_gib.is_some();
        Ok(Self {
            id: record.id,
            name: record.name,
            vendor: record.vendor,
            class: record.class.word(),
            total_bytes: known.then_some(device.nameplate_bytes),
            usable_bytes: known.then_some(device.visible_bytes),
            usable_is_measured: device.visible_is_measured,
            unified_memory: record.unified,
            bandwidth_gb_per_second: record.bandwidth_gb_s.map(|fact| fact.low()),
            launch: record.launch,
            msrp_usd: record.msrp_usd.map(|fact| fact.low()),
        })
    }
}

/// An engine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EngineEntry {
    /// Its name in questions.
    pub name: &'static str,
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

impl From<&dyn Engine> for EngineEntry {
    fn from(engine: &dyn Engine) -> Self {
        let name = |format: &WeightFormat| alloc::format!("{format}");
        Self {
            name: engine.name(),
            versions: engine.versions(),
            backends: engine.backends(),
            default_quant: name(&usual_family(engine).default_format()),
            quants: engine.families().iter().flat_map(|family| family.ladder()).map(|format| name(&format)).collect(),
            offloads_to_host: engine.offloads_to_host(),
        }
    }
}

/// The models of the catalog whose id, name, maker or family contains `filter`, or all.
#[must_use]
pub fn models(filter: Option<&str>) -> Listing<ModelEntry> {
    let entries =
        llm_vram_catalog::models().iter().filter(|record| matches(filter, &[record.id, record.name, record.maker, record.family]));
    Listing::new(entries.map(ModelEntry::from).collect())
}

/// The devices of the catalog whose id, name or vendor contains `filter`, or all.
///
/// # Errors
/// None for a catalog that passes its own checks.
pub fn gpus(filter: Option<&str>) -> Result<Listing<DeviceEntry>> {
    let records = llm_vram_catalog::hardware().iter();
    let entries = records.filter(|record| matches(filter, &[record.id, record.name, record.vendor]));
    Ok(Listing::new(entries.map(DeviceEntry::new).collect::<Result<_>>()?))
}

/// The engines whose name contains `filter`, or all.
#[must_use]
pub fn engines(filter: Option<&str>) -> Listing<EngineEntry> {
    let entries = engine::all().iter().filter(|engine| matches(filter, &[engine.name()]));
    Listing::new(entries.map(|engine| EngineEntry::from(*engine)).collect())
}

fn matches(filter: Option<&str>, texts: &[&str]) -> bool {
    filter.is_none_or(|filter| {
        let filter = filter.to_lowercase();
        texts.iter().any(|text| text.to_lowercase().contains(&filter))
    })
}
