//! The operation `models`: the models of the catalog as a list.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use llm_vram_catalog::{ModelClass, ModelRecord};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Ask, Fields, Listing,
    fit_table::Machine,
    select::{Word, contains, order, parse_choice, selects},
};
use crate::{
    error::{Error, ErrorKind, Result},
    units::{Bytes, grouped},
    wire::request::Scenario,
};

/// What models are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelSort {
    /// Their id.
    Name,
    /// Their parameters.
    Parameters,
    /// Their month of release.
    Released,
    /// Their trained context length.
    Context,
}

impl ModelSort {
    /// The words of requests.
    pub const WORDS: &'static [(&'static str, Self)] =
        &[("name", Self::Name), ("params", Self::Parameters), ("released", Self::Released), ("context", Self::Context)];
}

/// Which models to list. Absent fields select everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelQuery {
    /// Text that id, name, maker, family, Hugging Face id or Ollama tag contain.
    pub filter: Option<String>,
    /// Family: `Qwen3`, or the start of a word in it (`llama`).
    pub family: Option<String>,
    /// Maker, in the same way.
    pub maker: Option<String>,
    /// Licence, in the same way (`apache`).
    pub licence: Option<String>,
    /// What the model takes in: `text`, `image`, `audio` or `video`.
    pub modality: Option<String>,
    /// How large a machine it asks for: `edge`, `workstation`, `serious` or `multi-gpu`.
    pub class: Option<String>,
    /// The least parameters.
    pub min_params: Option<u64>,
    /// The most parameters.
    pub max_params: Option<u64>,
    /// A machine that it must fit: `scenario.hardware` names its devices, the rest says what it is asked to hold.
    pub scenario: Scenario,
    /// The order; that of the catalog (maker, id) if absent.
    pub sort: Option<ModelSort>,
    /// Whether the order is turned round.
    pub reverse: bool,
}

const FIELDS: &[&str] =
    &["id", "filter", "family", "maker", "licence", "modality", "class", "min_params", "max_params", "fits_on", "sort", "reverse"];

/// Reads a request: the name of one model, or a query.
///
/// # Errors
/// [`ErrorKind::UnknownField`], [`ErrorKind::InvalidValue`], [`ErrorKind::OutOfRange`], [`ErrorKind::Contradiction`] for an
/// id beside filters, [`ErrorKind::MissingField`] for a context without a machine.
pub(in crate::wire) fn request(object: Map<String, Value>) -> Result<Ask<Box<ModelQuery>>> {
    let mut fields = Fields::new(object, FIELDS, true)?;
    if let Some(id) = fields.text("id")? {
        fields.alone("id")?;
        fields.without("fits_on")?;
        return Ok(Ask::One(id));
    }
    let fits_on = fields.devices("fits_on")?;
    let mut query = ModelQuery {
        filter: fields.text("filter")?,
        family: fields.text("family")?,
        maker: fields.text("maker")?,
        licence: fields.text("licence")?,
        modality: fields.text("modality")?,
        class: fields.text("class")?,
        min_params: fields.parameters("min_params")?,
        max_params: fields.parameters("max_params")?,
        sort: fields.text("sort")?.map(|word| parse_choice("sort", &word, ModelSort::WORDS)).transpose()?,
        reverse: fields.flag("reverse")?,
        scenario: Scenario::default(),
    };
    if fits_on.is_empty() {
        fields.without("fits_on")?;
    } else {
        query.scenario = fields.scenario(fits_on)?;
    }
    Ok(Ask::List(Box::new(query)))
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
    /// How it runs on the machine of the question, where one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs_as: Option<RunsAs>,
}

/// How a model runs on a machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunsAs {
    /// The best weight format that fits at the asked context.
    pub best_quant: String,
    /// Weights in that format.
    pub weights_bytes: Bytes,
    /// Everything on the devices at the asked context.
    pub total_bytes: Bytes,
    /// The largest context per request that fits with that format.
    pub max_context: u64,
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
            runs_as: None,
        }
    }
}

/// The models of the catalog that a query selects.
///
/// # Errors
/// [`ErrorKind::InvalidValue`] for a word that no record has, [`ErrorKind::Contradiction`] for an empty range, unknown
/// devices and engines.
///
/// ```
/// use llm_vram_core::wire::{ModelQuery, models};
/// let small = ModelQuery { family: Some("Llama 3.2".into()), max_params: Some(2_000_000_000), ..ModelQuery::default() };
/// assert_eq!(models(&small)?.entries[0].id, "llama-3.2-1b");
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
pub fn models(query: &ModelQuery) -> Result<Listing<ModelEntry>> {
    let records = llm_vram_catalog::models();
    let word = |field: &str, asked: &Option<String>, value: fn(&ModelRecord) -> &'static str| {
        asked.as_deref().map(|asked| Word::new(field, asked, records.iter().map(value))).transpose()
    };
    let family = word("family", &query.family, |record| record.family)?;
    let maker = word("maker", &query.maker, |record| record.maker)?;
    let licence = word("licence", &query.licence, |record| record.licence)?;
    let modality = query.modality.as_deref().map(|asked| parse_choice("modality", asked, MODALITIES)).transpose()?;
    let classes: Vec<(&'static str, ModelClass)> = ModelClass::ALL.iter().map(|class| (class.word(), *class)).collect();
    let class = query.class.as_deref().map(|asked| parse_choice("class", asked, &classes)).transpose()?;
    let (least, most) = (query.min_params.unwrap_or(0), query.max_params.unwrap_or(u64::MAX));
    if least > most {
        return Err(Error::new(
            ErrorKind::Contradiction,
            format!("min_params is {}, more than max_params, {}", grouped(least), grouped(most)),
        )
        .field("min_params"));
    }
    let machine = if query.scenario.hardware.is_empty() { None } else { Some(Machine::new(&query.scenario)?) };
    let mut entries = Vec::new();
    for record in records {
        let tag = record.ollama_tag.unwrap_or_default();
        let texts = [record.id, record.name, record.maker, record.family, record.hf_id, tag];
        let selected = contains(query.filter.as_deref(), &texts)
            && selects(family.as_ref(), record.family)
            && selects(maker.as_ref(), record.maker)
            && selects(licence.as_ref(), record.licence)
            && modality.is_none_or(|modality| record.modalities.contains(&modality))
            && class.is_none_or(|class| record.class == class)
            && (least..=most).contains(&record.parameters.total);
        if !selected {
            continue;
        }
        let mut entry = ModelEntry::from(record);
        if let Some(machine) = &machine {
            let Some(row) = machine.runs(record)? else { continue };
            entry.runs_as = Some(RunsAs {
                best_quant: row.best_quant,
                weights_bytes: row.weights_bytes,
                total_bytes: row.total_bytes,
                max_context: row.max_context,
            });
        }
        entries.push(entry);
    }
    match query.sort {
        None if query.reverse => entries.reverse(),
        None => {}
        Some(ModelSort::Name) => order(&mut entries, query.reverse, |entry| Some(entry.id)),
        Some(ModelSort::Parameters) => order(&mut entries, query.reverse, |entry| Some(entry.parameters)),
        Some(ModelSort::Released) => order(&mut entries, query.reverse, |entry| entry.release),
        Some(ModelSort::Context) => order(&mut entries, query.reverse, |entry| Some(entry.context_length)),
    }
    Ok(Listing::new(entries))
}

const MODALITIES: &[(&str, &str)] = &[("text", "text"), ("image", "image"), ("audio", "audio"), ("video", "video")];
