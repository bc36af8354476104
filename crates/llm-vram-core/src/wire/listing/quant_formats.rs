//! The operation `quant_formats`: the weight formats and what they cost.

use alloc::{string::String, vec::Vec};

use llm_vram_catalog::QuantRecord;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Ask, Entry, Fields, Listing, SourceEntry,
    select::{Word, contains, selects},
    sources,
};
use crate::{catalog, error::Result};

/// Which weight formats to list. Absent fields select everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuantFormatQuery {
    /// Text that id, name, layout, purpose or quality contain.
    pub filter: Option<String>,
    /// Group: `gguf`, `float`, `hf`, `mlx` or `exl`.
    pub family: Option<String>,
}

/// Reads a request: the name of one format, or a query.
///
/// # Errors
/// [`ErrorKind::UnknownField`](crate::ErrorKind::UnknownField) and its like.
pub(in crate::wire) fn request(object: Map<String, Value>) -> Result<Ask<QuantFormatQuery>> {
    let mut fields = Fields::new(object, &["id", "filter", "family"], false)?;
    if let Some(id) = fields.text("id")? {
        fields.alone("id")?;
        return Ok(Ask::One(id));
    }
    Ok(Ask::List(QuantFormatQuery { filter: fields.text("filter")?, family: fields.text("family")? }))
}

/// A weight format, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantFormatEntry {
    /// Catalog id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The group that it is listed in.
    pub family: &'static str,
    /// Bits per weight, or the lower end over whole published models for mixtures.
    pub bits_per_weight: Option<f64>,
    /// The upper end, for mixtures.
    pub bits_per_weight_high: Option<f64>,
    /// Whether it mixes types, so that the size depends on the model.
    pub mixture: bool,
    /// What it does to answers, in a word.
    pub quality: &'static str,
    /// What it is for.
    pub purpose: &'static str,
}

impl From<&'static QuantRecord> for QuantFormatEntry {
    fn from(record: &'static QuantRecord) -> Self {
        Self {
            id: record.id,
            name: record.name,
            family: record.family,
            bits_per_weight: record.bits_per_weight.map(|fact| fact.low()),
            bits_per_weight_high: record.bits_per_weight.filter(|fact| fact.exact().is_none()).map(|fact| fact.high()),
            mixture: record.mixture,
            quality: record.quality.word(),
            purpose: record.purpose,
        }
    }
}

/// The weight formats that a query selects.
///
/// # Errors
/// [`ErrorKind::InvalidValue`](crate::ErrorKind::InvalidValue) for a group that does not exist.
pub fn quant_formats(query: &QuantFormatQuery) -> Result<Listing<QuantFormatEntry>> {
    let records = llm_vram_catalog::quants();
    let families = records.iter().map(|record| record.family);
    let family = query.family.as_deref().map(|asked| Word::new("family", asked, families)).transpose()?;
    let entries = records.iter().filter(|record| {
        let texts = [record.id, record.name, record.layout, record.purpose, record.quality.word()];
        contains(query.filter.as_deref(), &texts) && selects(family.as_ref(), record.family)
    });
    Ok(Listing::new(entries.map(QuantFormatEntry::from).collect()))
}

/// A published measurement of what a format costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct QualityEntry {
    /// The model that was measured.
    pub model: &'static str,
    /// What was measured: `perplexity`, `ppl_delta`, `kld_mean`, or an accuracy.
    pub metric: &'static str,
    /// The figure.
    pub value: f64,
    /// The figure of the unquantised model, where it is comparable.
    pub baseline: Option<f64>,
    /// Whether an importance matrix was used, or which variant of the format it was.
    pub method: Option<&'static str>,
    /// The text that it was measured on.
    pub dataset: Option<&'static str>,
    /// Where it was published.
    pub url: &'static str,
}

/// A weight format, whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantFormatDetails {
    /// What lists show of it.
    #[serde(flatten)]
    pub entry: QuantFormatEntry,
    /// Further names that find it.
    pub aliases: &'static [&'static str],
    /// How a block is laid out; for mixtures, which types are mixed.
    pub layout: &'static str,
    /// Weights in a block, for formats of one type.
    pub block_weights: Option<u32>,
    /// Bytes of a block, for formats of one type.
    pub block_bytes: Option<u32>,
    /// Published measurements.
    pub figures: Vec<QualityEntry>,
    /// Fields that no source covers.
    pub unverified: &'static [&'static str],
    /// Where the rest comes from.
    pub sources: Vec<SourceEntry>,
}

/// One weight format, by any of its names.
///
/// # Errors
/// [`ErrorKind::UnknownQuant`](crate::ErrorKind::UnknownQuant) with the nearest ids.
pub fn quant_format(name: &str) -> Result<Entry<QuantFormatDetails>> {
    let record = catalog::quant_record(name)?;
    Ok(Entry::new(QuantFormatDetails {
        entry: QuantFormatEntry::from(record),
        aliases: record.aliases,
        layout: record.layout,
        block_weights: record.block_weights,
        block_bytes: record.block_bytes,
        figures: record
            .figures
            .iter()
            .map(|figure| QualityEntry {
                model: figure.model,
                metric: figure.metric,
                value: figure.value,
                baseline: figure.baseline,
                method: figure.method,
                dataset: figure.dataset,
                url: figure.url,
            })
            .collect(),
        unverified: record.unverified,
        sources: sources(record.sources),
    }))
}
