//! How much the records know, field by field.

use std::collections::BTreeMap;

use serde_json::Value;

/// Exact, a range, unknown, and how many of the first two no source covers.
#[derive(Default)]
struct Counts {
    exact: usize,
    range: usize,
    unknown: usize,
    unverified: usize,
}

/// Fields whose absence is a value (false, 0, an empty list), so that it says nothing about what is known.
const NEVER_UNKNOWN: &[&str] =
    &["aliases", "sources", "unverified", "figures", "defaults", "see_also", "note", "unified", "mixture", "mtp_layers"];

/// The page `COMPLETENESS.md`, from the text of `catalog.json`.
pub(super) fn page(json: &str) -> String {
    let catalog: Value = serde_json::from_str(json).unwrap_or_default();
    let mut text = String::from(
        "# What the records know\n\nWritten by `cargo xtask bake`. A field is known exactly, within limits, or not at all; of what is known, \
         `unverified` is what no source covers.\nFields that every record has and a source covers are left out. Of a table's fields \
         (`architecture.…`) only those with something unverified are listed; one that is absent does not apply.\n",
    );
    for (kind, title) in [("models", "Models"), ("hardware", "Hardware"), ("quants", "Weight formats"), ("engines", "Engines")] {
        let none = Vec::new();
        let records = catalog[kind].as_array().unwrap_or(&none);
        let columns = "| Field | exact | range | unknown | unverified |\n| --- | ---: | ---: | ---: | ---: |";
        text.push_str(&format!("\n## {title}: {}\n\n{columns}\n", records.len()));
        for (field, Counts { exact, range, unknown, unverified }) in fields(records) {
            if range + unknown + unverified > 0 {
                text.push_str(&format!("| `{field}` | {exact} | {range} | {unknown} | {unverified} |\n"));
            }
        }
    }
    text
}

fn fields(records: &[Value]) -> BTreeMap<&str, Counts> {
    let mut fields: BTreeMap<&str, Counts> = BTreeMap::new();
    for record in records {
        let own = record.as_object().into_iter().flat_map(|record| record.keys().map(String::as_str));
        for name in own.chain(unverified(record).filter(|name| name.contains('.'))).filter(|name| !NEVER_UNKNOWN.contains(name)) {
            fields.entry(name).or_default();
        }
    }
    for record in records {
        for (name, counts) in &mut fields {
            match record.pointer(&format!("/{}", name.replace('.', "/"))) {
                None | Some(Value::Null) => counts.unknown += usize::from(!name.contains('.')),
                Some(value) if value.get("min").is_some() => counts.range += 1,
                Some(_) => counts.exact += 1,
            }
        }
        for name in unverified(record) {
            if let Some(counts) = fields.get_mut(name) {
                counts.unverified += 1;
            }
        }
    }
    fields
}

fn unverified(record: &Value) -> impl Iterator<Item = &str> {
    record["unverified"].as_array().into_iter().flatten().filter_map(Value::as_str)
}
