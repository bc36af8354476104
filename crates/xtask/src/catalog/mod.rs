//! The catalog's files: reading, rules, and the form that is embedded.

mod completeness;
mod index;
pub mod literal;
#[path = "../../../../catalog/normal_form.rs"]
mod normal_form;
pub mod page;
mod read;
pub mod records;
pub mod rules;
mod written;

use std::{fmt, path::Path};

use records::{Engine, Hardware, Model, Quant, Retired, Term};

/// A record together with the path that it was read from, relative to the catalog's folder.
#[derive(Debug, Clone)]
pub struct Entry<R> {
    /// The path, for example `models/meta/llama-3.1-8b.toml`.
    pub path: String,
    /// The id: the file's name without its ending.
    pub id: String,
    /// The record.
    pub record: R,
}

/// Everything that the catalog's files say.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Models, ordered by path.
    pub models: Vec<Entry<Model>>,
    /// Devices, ordered by path.
    pub hardware: Vec<Entry<Hardware>>,
    /// Weight formats, ordered by path.
    pub quants: Vec<Entry<Quant>>,
    /// Engines, ordered by path.
    pub engines: Vec<Entry<Engine>>,
    /// Terms, ordered by path.
    pub glossary: Vec<Entry<Term>>,
    /// Ids that may not come back.
    pub retired: Retired,
}

impl Catalog {
    /// Reads every file below the catalog's folder.
    ///
    /// # Errors
    /// Each file that cannot be read or does not follow the schema, with the field and the reason.
    pub fn load(folder: &Path) -> Result<Self, Vec<Finding>> {
        read::catalog(folder)
    }

    /// Name and text of the files that are written from the catalog.
    ///
    /// # Errors
    /// Names that two records claim.
    pub fn baked(&self) -> Result<[(&'static str, String); 3], Vec<Finding>> {
        let json = written::json(self);
        let completeness = completeness::page(&json);
        Ok([("baked.rs", written::rust(self)?), ("catalog.json", json), ("COMPLETENESS.md", completeness)])
    }

    /// How many records there are, in a line.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} models, {} devices, {} weight formats, {} engines, {} terms",
            self.models.len(),
            self.hardware.len(),
            self.quants.len(),
            self.engines.len(),
            self.glossary.len()
        )
    }
}

/// Something that is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, relative to the catalog's folder.
    pub file: String,
    /// The field.
    pub field: String,
    /// What is wrong.
    pub reason: String,
}

impl Finding {
    /// A new finding.
    pub fn new(file: impl Into<String>, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { file: file.into(), field: field.into(), reason: reason.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "catalog/{}: {}: {}", self.file, self.field, self.reason)
    }
}
