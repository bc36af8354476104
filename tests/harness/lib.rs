//! What the test suites share: the vectors and the models that they are about.
//!
//! ```no_run
//! let model = llm_vram_tests::model("llama-3.1-8b");
//! assert_eq!(model.tensors().len(), 292);
//! for row in llm_vram_tests::tsv("quant_sizes.tsv") {
//!     println!("{} {}", row.text("model"), row.text("file_type"));
//! }
//! ```
//!
//! A vector that is absent or unreadable is a fault of the test, so everything here panics with the file and the line.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

pub mod gguf_writer;
pub mod hostile;
pub mod llama_cpp_memory;
pub mod serving;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use llm_vram_core::{
    Model,
    model::{Facts, Hyperparameters},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// The directory of the vectors.
#[must_use]
pub fn vectors_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// The text of a vector file.
///
/// # Panics
/// If there is no such file.
#[must_use]
pub fn text(file: &str) -> String {
    let path = vectors_dir().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of a JSON-lines file.
///
/// # Panics
/// If a line is no `T`.
#[must_use]
pub fn jsonl<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let lines = text(file);
    let lines = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| serde_json::from_str(line).unwrap_or_else(|error| panic!("{file}:{}: {error}", number + 1)))
        .collect()
}

/// A row of a tab-separated file, its fields found by the column's name.
#[derive(Debug, Clone)]
pub struct Row {
    place: String,
    columns: Rc<Vec<String>>,
    fields: Vec<String>,
}

impl Row {
    /// File and line, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A field as text; empty where the row ends before it.
    ///
    /// # Panics
    /// If there is no such column.
    #[must_use]
    pub fn text(&self, column: &str) -> &str {
        let index = self.columns.iter().position(|name| name == column);
        let index = index.unwrap_or_else(|| panic!("{}: no column {column}", self.place));
        self.fields.get(index).map_or("", String::as_str)
    }

    /// A field as a number.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn number(&self, column: &str) -> u64 {
        self.text(column).parse().unwrap_or_else(|error| panic!("{}: column {column}: {error}", self.place))
    }
}

/// The rows of a tab-separated file: lines that start with `#` are remarks, the first other line names the columns.
///
/// # Panics
/// If the file is absent or has no line of columns.
#[must_use]
pub fn tsv(file: &str) -> Vec<Row> {
    let text = text(file);
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty());
    let split = |line: &str| line.split('\t').map(String::from).collect::<Vec<_>>();
    let (_, columns) = lines.next().unwrap_or_else(|| panic!("{file}: no columns"));
    let columns = Rc::new(split(columns));
    lines
        .map(|(number, line)| Row { place: format!("{file}:{}", number + 1), columns: Rc::clone(&columns), fields: split(line) })
        .collect()
}

/// A model as llama.cpp was given it, together with what its list of tensors settled.
#[derive(Debug, Clone, Deserialize)]
pub struct ModelRecord {
    /// The id that the other vectors refer to.
    pub id: String,
    /// The repository that it describes.
    #[serde(default)]
    pub hf_id: String,
    /// How sure the hyperparameters are.
    #[serde(default)]
    pub confidence: String,
    /// Elements of all tensors that llama.cpp loaded.
    pub n_params: u64,
    /// Number of these tensors.
    pub n_tensors: usize,
    /// What the metadata leaves open; fields that are not named have the value of `Facts::default()`.
    pub facts: Facts,
    /// The GGUF metadata, keys in full.
    pub metadata: Map<String, Value>,
}

impl ModelRecord {
    /// The description that the metadata and the facts amount to.
    ///
    /// # Panics
    /// If the metadata has no architecture or a value of an unexpected form.
    #[must_use]
    pub fn hyperparameters(&self) -> Hyperparameters {
        let architecture = self.metadata["general.architecture"].as_str().expect("general.architecture");
        let prefix = format!("{architecture}.");
        let known = serde_json::to_value(Hyperparameters::default()).expect("a description is JSON");
        let mut fields = Map::new();
        for (key, value) in &self.metadata {
            let Some(key) = key.strip_prefix(&prefix) else { continue };
            let field = key.strip_prefix("attention.").unwrap_or(key).replace('.', "_");
            if known.get(&field).is_some() {
                fields.insert(field, whole(value));
            }
        }
        let has_kv = fields.contains_key("head_count_kv");
        let mut hp: Hyperparameters =
            serde_json::from_value(Value::Object(fields)).unwrap_or_else(|error| panic!("{}: {error}", self.id));
        hp.architecture = String::from(architecture);
        hp.name.clone_from(&self.id);
        hp.facts = self.facts.clone();
        if !has_kv {
            hp.head_count_kv = hp.head_count.clone();
        }
        hp
    }

    /// The validated model.
    ///
    /// # Panics
    /// If the description is not valid.
    #[must_use]
    pub fn model(&self) -> Model {
        Model::new(self.hyperparameters()).unwrap_or_else(|error| panic!("{}: {error}", self.id))
    }
}

/// Metadata that was written as `20.0` where the field is a count.
fn whole(value: &Value) -> Value {
    match value.as_f64() {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(number) if value.is_f64() && number.fract() == 0.0 && number >= 1.0 => Value::from(number as u64),
        _ => value.clone(),
    }
}

/// The 62 models of `models.jsonl`, by id.
#[must_use]
pub fn models() -> BTreeMap<String, ModelRecord> {
    records("models.jsonl")
}

/// The models of a file in the form of `models.jsonl`, by id.
#[must_use]
pub fn records(file: &str) -> BTreeMap<String, ModelRecord> {
    jsonl::<ModelRecord>(file).into_iter().map(|record| (record.id.clone(), record)).collect()
}

/// The record of a model of `models.jsonl`.
///
/// # Panics
/// If there is no such model.
#[must_use]
pub fn record(id: &str) -> ModelRecord {
    models().remove(id).unwrap_or_else(|| panic!("models.jsonl has no `{id}`"))
}

/// A model of `models.jsonl`, validated.
///
/// # Panics
/// If there is no such model.
#[must_use]
pub fn model(id: &str) -> Model {
    record(id).model()
}
