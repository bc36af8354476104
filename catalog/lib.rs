//! Open models, hardware, weight formats, engines and terms, each fact with its source.
//!
//! The crate is data: plain static records without dependencies and without anything to parse.
//! Look-ups accept ids, aliases, Hugging Face ids and Ollama tags, in any case and with any separators.
//!
//! ```
//! let model = llm_vram_catalog::model("Llama 3.1 8B").ok_or("not in the catalog")?;
//! assert_eq!(model.id, "llama-3.1-8b");
//! assert_eq!(llm_vram_catalog::device("NVIDIA GeForce RTX 4090").map(|d| d.id), Some("rtx-4090"));
//! # Ok::<(), &str>(())
//! ```
#![no_std]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;

use alloc::vec::Vec;

#[rustfmt::skip]
mod baked;
mod lookup;
mod normal_form;
mod records;

pub use records::{
    Architecture, EngineDefault, EngineRecord, Fact, HardwareClass, HardwareKind, HardwareRecord, ModelClass, ModelRecord,
    MtpExtra, ParameterCheck, Parameters, PerBlock, Quality, QualityFigure, QuantRecord, Source, TensorFacts, TermRecord,
    WindowPattern,
};

/// The snapshot of the data, `year.month.day`.
pub const VERSION: &str = "2026.11.22";

/// How many names [`suggest_model`] and its like give at most.
const SUGGESTIONS: usize = 5;

/// Every model, ordered by maker and id.
#[must_use]
pub fn models() -> &'static [ModelRecord] {
    baked::MODELS
}

/// The model of that id, alias, Hugging Face id or Ollama tag.
#[must_use]
pub fn model(name: &str) -> Option<&'static ModelRecord> {
    models().get(lookup::find(baked::MODEL_INDEX, name)?)
}

/// Ids of models whose names are near to a name that [`model`] does not know, the nearest first.
#[must_use]
pub fn suggest_model(name: &str) -> Vec<&'static str> {
    ids(baked::MODEL_INDEX, name, |at| models().get(at).map(|record| record.id))
}

/// Every device, ordered by vendor and id.
#[must_use]
pub fn hardware() -> &'static [HardwareRecord] {
    baked::HARDWARE
}

/// The device of that id or alias.
#[must_use]
pub fn device(name: &str) -> Option<&'static HardwareRecord> {
    hardware().get(lookup::find(baked::HARDWARE_INDEX, name)?)
}

/// Ids of devices whose names are near to a name that [`device`] does not know, the nearest first.
#[must_use]
pub fn suggest_device(name: &str) -> Vec<&'static str> {
    ids(baked::HARDWARE_INDEX, name, |at| hardware().get(at).map(|record| record.id))
}

/// Every weight format, ordered by family and id.
#[must_use]
pub fn quants() -> &'static [QuantRecord] {
    baked::QUANTS
}

/// The weight format of that id or alias.
#[must_use]
pub fn quant(name: &str) -> Option<&'static QuantRecord> {
    quants().get(lookup::find(baked::QUANT_INDEX, name)?)
}

/// Ids of weight formats whose names are near to a name that [`quant`] does not know, the nearest first.
#[must_use]
pub fn suggest_quant(name: &str) -> Vec<&'static str> {
    ids(baked::QUANT_INDEX, name, |at| quants().get(at).map(|record| record.id))
}

/// Every engine, ordered by id.
#[must_use]
pub fn engines() -> &'static [EngineRecord] {
    baked::ENGINES
}

/// The engine of that id or alias.
#[must_use]
pub fn engine(name: &str) -> Option<&'static EngineRecord> {
    engines().get(lookup::find(baked::ENGINE_INDEX, name)?)
}

/// Ids of engines whose names are near to a name that [`engine`] does not know, the nearest first.
#[must_use]
pub fn suggest_engine(name: &str) -> Vec<&'static str> {
    ids(baked::ENGINE_INDEX, name, |at| engines().get(at).map(|record| record.id))
}

/// Every term of the glossary, ordered by id.
#[must_use]
pub fn glossary() -> &'static [TermRecord] {
    baked::GLOSSARY
}

/// The term of that id, name or alias.
#[must_use]
pub fn term(name: &str) -> Option<&'static TermRecord> {
    glossary().get(lookup::find(baked::GLOSSARY_INDEX, name)?)
}

/// Ids of terms whose names are near to a name that [`term`] does not know, the nearest first.
#[must_use]
pub fn suggest_term(name: &str) -> Vec<&'static str> {
    ids(baked::GLOSSARY_INDEX, name, |at| glossary().get(at).map(|record| record.id))
}

fn ids(index: &lookup::Index, name: &str, id: impl Fn(usize) -> Option<&'static str>) -> Vec<&'static str> {
    lookup::nearest(index, name, SUGGESTIONS).into_iter().filter_map(id).collect()
}
