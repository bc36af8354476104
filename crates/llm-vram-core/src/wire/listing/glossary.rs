//! The operation `glossary`: the terms that answers use.

use alloc::{string::String, vec::Vec};

use llm_vram_catalog::TermRecord;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Ask, Entry, Fields, Listing, SourceEntry, select::contains, sources};
use crate::{catalog, error::Result};

/// Which terms to list. Absent fields select everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TermQuery {
    /// Text that id, name, aliases or the explanation contain.
    pub filter: Option<String>,
}

/// Reads a request: one term, or a query.
///
/// # Errors
/// [`ErrorKind::UnknownField`](crate::ErrorKind::UnknownField) and its like.
pub(in crate::wire) fn request(object: Map<String, Value>) -> Result<Ask<TermQuery>> {
    let mut fields = Fields::new(object, &["term", "filter"], false)?;
    if let Some(term) = fields.text("term")? {
        fields.alone("term")?;
        return Ok(Ask::One(term));
    }
    Ok(Ask::List(TermQuery { filter: fields.text("filter")? }))
}

/// A term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TermEntry {
    /// Catalog id.
    pub id: &'static str,
    /// The term.
    pub name: &'static str,
    /// What it means.
    pub text: &'static str,
    /// Ids of terms that belong to it.
    pub see_also: &'static [&'static str],
}

impl From<&'static TermRecord> for TermEntry {
    fn from(record: &'static TermRecord) -> Self {
        Self { id: record.id, name: record.name, text: record.text, see_also: record.see_also }
    }
}

/// The terms that a query selects.
#[must_use]
pub fn glossary(query: &TermQuery) -> Listing<TermEntry> {
    let entries = llm_vram_catalog::glossary().iter().filter(|record| {
        let mut texts = alloc::vec![record.id, record.name, record.text];
        texts.extend(record.aliases);
        contains(query.filter.as_deref(), &texts)
    });
    Listing::new(entries.map(TermEntry::from).collect())
}

/// A link to another term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TermLink {
    /// Catalog id.
    pub id: &'static str,
    /// The term.
    pub name: &'static str,
}

/// A term with its links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TermDetails {
    /// The term.
    #[serde(flatten)]
    pub entry: TermEntry,
    /// Further names that find it.
    pub aliases: &'static [&'static str],
    /// Terms that belong to it.
    pub links: Vec<TermLink>,
    /// Terms that name it among theirs.
    pub linked_from: Vec<TermLink>,
    /// Where more can be read.
    pub sources: Vec<SourceEntry>,
}

/// One term, by any of its names.
///
/// # Errors
/// [`ErrorKind::UnknownTerm`](crate::ErrorKind::UnknownTerm) with the nearest ids.
pub fn term(name: &str) -> Result<Entry<TermDetails>> {
    let record = catalog::term(name)?;
    let link = |record: &TermRecord| TermLink { id: record.id, name: record.name };
    let terms = llm_vram_catalog::glossary().iter();
    let names_it = terms.filter(|other| other.see_also.contains(&record.id) && !record.see_also.contains(&other.id));
    Ok(Entry::new(TermDetails {
        entry: TermEntry::from(record),
        aliases: record.aliases,
        links: record.see_also.iter().filter_map(|id| llm_vram_catalog::term(id)).map(link).collect(),
        linked_from: names_it.map(link).collect(),
        sources: sources(record.sources),
    }))
}
