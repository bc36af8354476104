//! The sorted list of all names of a kind of records.

use std::collections::BTreeMap;

use super::{Catalog, Entry, Finding, normal_form::NormalForm, records};

/// The names that find a record, its id first.
pub trait Named {
    /// Names besides the id.
    fn names(&self) -> Vec<&str>;
}

impl Named for records::Model {
    fn names(&self) -> Vec<&str> {
        let tag = self.ollama_tag.as_deref();
        self.aliases.iter().map(String::as_str).chain([self.name.as_str(), self.hf_id.as_str()]).chain(tag).collect()
    }
}

macro_rules! named {
    ($($record:ident),*) => {
        $(impl Named for records::$record {
            fn names(&self) -> Vec<&str> {
                self.aliases.iter().map(String::as_str).chain([self.name.as_str()]).collect()
            }
        })*
    };
}
named!(Hardware, Quant, Engine, Term);

/// Normal forms in ascending order, each with the position of its record.
///
/// # Errors
/// Names without a normal form, and names that two records claim.
pub fn index<R: Named>(entries: &[Entry<R>]) -> Result<Vec<(String, usize)>, Vec<Finding>> {
    let mut index: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut findings = Vec::new();
    for (position, entry) in entries.iter().enumerate() {
        for name in [entry.id.as_str()].into_iter().chain(entry.record.names()) {
            let Some(form) = NormalForm::of(name) else {
                findings.push(Finding::new(&entry.path, "aliases", format!("`{name}` is empty or longer than a name may be")));
                continue;
            };
            match index.insert(form.as_bytes().to_vec(), position) {
                Some(other) if other != position => {
                    findings.push(Finding::new(&entry.path, "aliases", format!("`{name}` also names {}", entries[other].path)))
                }
                _ => {}
            }
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(index.into_iter().map(|(key, position)| (String::from_utf8_lossy(&key).into_owned(), position)).collect())
}

/// Problems with the names of all kinds of records.
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    [
        index(&catalog.models).err(),
        index(&catalog.hardware).err(),
        index(&catalog.quants).err(),
        index(&catalog.engines).err(),
        index(&catalog.glossary).err(),
    ]
    .into_iter()
    .flatten()
    .flatten()
    .collect()
}
