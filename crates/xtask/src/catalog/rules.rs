//! What must hold of every record, one function for each rule.

use std::collections::{BTreeMap, BTreeSet};

use llm_vram_core::{Model, model::Hyperparameters, quant::GgmlType};
use serde::Serialize;
use serde_json::Value;

use super::{
    Catalog, Entry, Finding, index, literal,
    records::{HardwareClass, HardwareKind, ModelClass, ParameterCheck, Source},
};

/// A rule.
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// What it asks for, in a sentence.
    pub asks: &'static str,
    /// Finds the records that break it.
    pub check: fn(&Catalog) -> Vec<Finding>,
}

/// Every rule.
pub const RULES: &[Rule] = &[
    Rule { name: "ids", asks: "ids are lower-case words, unique within their kind, and not retired", check: ids },
    Rule { name: "names", asks: "no id, name, alias, Hugging Face id or tag leads to two records", check: names },
    Rule { name: "sources", asks: "every record has a dated public source that names existing fields", check: sources },
    Rule { name: "months", asks: "release and launch are months", check: months },
    Rule {
        name: "architecture",
        asks: "dimensions are within bounds, KV heads divide heads, experts used do not exceed experts",
        check: architecture,
    },
    Rule {
        name: "parameters",
        asks: "the parameter count that follows from the architecture is the stated one",
        check: parameters,
    },
    Rule { name: "counts", asks: "active ≤ text ≤ total, and the parts give the total", check: counts },
    Rule { name: "class", asks: "a model's class follows from its size", check: class },
    Rule { name: "bandwidth", asks: "bandwidth is bus width × rate within 2 %", check: bandwidth },
    Rule { name: "rates", asks: "a rate is positive and says what it is of", check: rates },
    Rule { name: "memory", asks: "what drivers report does not exceed the nameplate", check: memory },
    Rule { name: "working set", asks: "Apple's working-set limits follow the rule for the memory size", check: working_set },
    Rule { name: "blocks", asks: "bits per weight are the block's bytes by its weights", check: blocks },
    Rule { name: "ggml blocks", asks: "block layouts of plain GGUF types are those that the calculator uses", check: ggml_blocks },
    Rule { name: "links", asks: "terms point to terms that exist", check: links },
];

/// Everything that breaks a rule.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    RULES.iter().flat_map(|rule| (rule.check)(catalog)).collect()
}

fn ids(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut kind = |folder: &str, entries: Vec<(&str, &str)>, capitals: bool| {
        let mut seen = BTreeMap::new();
        for (id, path) in entries {
            let valid = |c: char| {
                c.is_ascii_lowercase()
                    || c.is_ascii_digit()
                    || "-.".contains(c)
                    || (capitals && (c.is_ascii_uppercase() || c == '_'))
            };
            if !id.chars().all(valid) || !id.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                findings.push(Finding::new(path, "id", format!("`{id}` is not made of lower-case letters, digits, `-` and `.`")));
            }
            if let Some(other) = seen.insert(id.to_owned(), path) {
                findings.push(Finding::new(path, "id", format!("`{id}` is also the id of {other}")));
            }
            if let Some(retired) = catalog.retired.id.iter().find(|retired| retired.folder == folder && retired.id == id) {
                findings.push(Finding::new(path, "id", format!("`{id}` is retired: {}", retired.because)));
            }
        }
    };
    kind("models", catalog.models.iter().map(id_and_path).collect(), false);
    kind("hardware", catalog.hardware.iter().map(id_and_path).collect(), false);
    kind("quants", catalog.quants.iter().map(id_and_path).collect(), true);
    kind("engines", catalog.engines.iter().map(id_and_path).collect(), false);
    kind("glossary", catalog.glossary.iter().map(id_and_path).collect(), false);
    findings
}

fn id_and_path<R>(entry: &Entry<R>) -> (&str, &str) {
    (&entry.id, &entry.path)
}

fn names(catalog: &Catalog) -> Vec<Finding> {
    index::check(catalog)
}

fn sources(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in &catalog.models {
        sourced(entry, &entry.record.source, &entry.record.unverified, &mut findings);
    }
    for entry in &catalog.hardware {
        sourced(entry, &entry.record.source, &entry.record.unverified, &mut findings);
    }
    for entry in &catalog.quants {
        sourced(entry, &entry.record.source, &entry.record.unverified, &mut findings);
    }
    for entry in &catalog.engines {
        sourced(entry, &entry.record.source, &entry.record.unverified, &mut findings);
    }
    for entry in &catalog.glossary {
        sourced(entry, &entry.record.source, &[], &mut findings);
    }
    findings
}

fn sourced<R: Serialize>(entry: &Entry<R>, sources: &[Source], unverified: &[String], findings: &mut Vec<Finding>) {
    let mut finding = |reason: String| findings.push(Finding::new(&entry.path, "source", reason));
    if sources.is_empty() {
        finding("a record needs at least one source".to_owned());
    }
    let fields: BTreeSet<String> = match serde_json::to_value(&entry.record) {
        Ok(Value::Object(fields)) => fields.into_iter().map(|(field, _)| field).collect(),
        _ => BTreeSet::new(),
    };
    for source in sources {
        if !source.url.starts_with("https://") || source.url.contains(char::is_whitespace) {
            finding(format!("`{}` is not a public address", source.url));
        }
        if !is_date(&source.date, 3) {
            finding(format!("`{}` is not a day, YYYY-MM-DD", source.date));
        }
        if source.covers.is_empty() {
            finding(format!("{} covers nothing", source.url));
        }
    }
    let named = sources.iter().flat_map(|source| &source.covers).map(|field| ("covers", field));
    for (list, field) in named.chain(unverified.iter().map(|field| ("unverified", field))) {
        let top = field.split('.').next().unwrap_or(field);
        if !fields.contains(top) {
            finding(format!("`{list}` names `{field}`, which the record does not have"));
        }
    }
}

/// Whether a text is `YYYY-MM` (2 parts) or `YYYY-MM-DD` (3 parts).
fn is_date(text: &str, parts: usize) -> bool {
    let numbers: Option<Vec<u32>> = text.split('-').map(|part| part.parse().ok()).collect();
    let limits = [2000..=2100, 1..=12, 1..=31];
    text.len() == [0, 4, 7, 10][parts]
        && numbers.is_some_and(|numbers| {
            numbers.len() == parts && numbers.iter().zip(limits).all(|(number, limit)| limit.contains(number))
        })
}

fn months(catalog: &Catalog) -> Vec<Finding> {
    let models = catalog.models.iter().map(|entry| (&entry.path, "release", entry.record.release.as_deref()));
    let devices = catalog.hardware.iter().map(|entry| (&entry.path, "launch", entry.record.launch.as_deref()));
    let wrong = |month: &str| !is_date(month, 2);
    models
        .chain(devices)
        .filter(|(_, _, month)| month.is_some_and(wrong))
        .map(|(path, field, month)| Finding::new(path, field, format!("`{}` is not a month, YYYY-MM", month.unwrap_or_default())))
        .collect()
}

fn architecture(catalog: &Catalog) -> Vec<Finding> {
    let checked = catalog.models.iter().filter_map(|entry| Some((entry, checked(&entry.record.architecture).err()?)));
    checked.map(|(entry, (field, reason))| Finding::new(&entry.path, format!("architecture.{field}"), reason)).collect()
}

fn checked(architecture: &Hyperparameters) -> Result<(), (String, String)> {
    architecture.validate().map_err(|error| (error.field_name().unwrap_or("?").to_owned(), error.to_string()))?;
    if let [field, ..] = literal::not_embedded(architecture).as_slice() {
        return Err((
            field.clone(),
            "records have no such field yet: add it to catalog/records.rs and to what reads and writes them".to_owned(),
        ));
    }
    if !architecture.name.is_empty() {
        return Err(("name".to_owned(), "the record's own name is the model's name".to_owned()));
    }
    if architecture.context_length == 0 {
        return Err(("context_length".to_owned(), "a record states the trained context length".to_owned()));
    }
    Ok(())
}

fn parameters(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in &catalog.models {
        let stated = &entry.record.parameters;
        let mut finding =
            |field: &str, reason: String| findings.push(Finding::new(&entry.path, format!("parameters.{field}"), reason));
        let model = match Model::new(entry.record.architecture.clone()) {
            Ok(model) => model,
            Err(error) => {
                finding("text", error.to_string());
                continue;
            }
        };
        let derived = model.parameters();
        if i128::from(stated.text) - i128::from(derived.checkpoint) != i128::from(stated.difference) {
            finding("text", format!("{} is stated, the architecture gives {}", stated.text, derived.checkpoint));
        }
        if derived.mtp != 0 && stated.mtp != Some(derived.mtp) {
            finding("mtp", format!("{:?} is stated, the architecture gives {}", stated.mtp, derived.mtp));
        }
        if stated.check == ParameterCheck::Exact && model.warnings().iter().any(|warning| warning.code == "unknown_architecture") {
            finding("check", "the list of tensors of this architecture is not known".to_owned());
        }
    }
    findings
}

fn counts(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in &catalog.models {
        let counts = &entry.record.parameters;
        let mut finding =
            |field: &str, reason: String| findings.push(Finding::new(&entry.path, format!("parameters.{field}"), reason));
        if counts.active.is_some_and(|active| active > counts.text) {
            finding("active", "more parameters are active than the language model has".to_owned());
        }
        let parts = counts.text + counts.tower.unwrap_or(0) + counts.mtp.unwrap_or(0);
        if parts != counts.total {
            finding("total", format!("text, tower and mtp together are {parts}, the total is {}", counts.total));
        }
        let explained = counts.check == ParameterCheck::Explained;
        if explained != (counts.difference != 0) || explained != counts.because.is_some() {
            finding("check", "`explained` goes with a difference and its reason, `exact` with neither".to_owned());
        }
    }
    findings
}

/// The class of a model of that many parameters.
#[must_use]
pub const fn class_of(parameters: u64) -> ModelClass {
    match parameters {
        0..=9_500_000_000 => ModelClass::Edge,
        9_500_000_001..=36_500_000_000 => ModelClass::Workstation,
        36_500_000_001..=130_000_000_000 => ModelClass::Serious,
        _ => ModelClass::MultiGpu,
    }
}

fn class(catalog: &Catalog) -> Vec<Finding> {
    let wrong = catalog.models.iter().filter(|entry| entry.record.class != class_of(entry.record.parameters.total));
    wrong
        .map(|entry| {
            Finding::new(
                &entry.path,
                "class",
                format!("a model of {} parameters is of another class", entry.record.parameters.total),
            )
        })
        .collect()
}

fn bandwidth(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in &catalog.hardware {
        let record = &entry.record;
        let (Some(stated), Some(bus), Some(rate)) = (record.bandwidth_gb_s, record.memory_bus_bits, record.memory_rate_gbps) else {
            continue;
        };
        let product = f64::from(bus) / 8.0 * rate * f64::from(record.devices);
        let (low, high) = stated.ends();
        if product < low * 0.98 || product > high * 1.02 {
            findings.push(Finding::new(
                &entry.path,
                "bandwidth_gb_s",
                format!("{high} GB/s is stated, {bus} bits × {rate} Gb/s give {product:.1}"),
            ));
        }
    }
    findings
}

fn rates(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in &catalog.hardware {
        let record = &entry.record;
        let low = [record.fp8_tflops, record.int8_tops, record.fp4_tflops];
        for (field, kind, rates) in [
            ("fp16_kind", &record.fp16_kind, &[record.fp16_tflops][..]),
            ("low_precision_kind", &record.low_precision_kind, &low[..]),
        ] {
            let stated: Vec<_> = rates.iter().flatten().collect();
            if kind.is_none() && !stated.is_empty() {
                findings.push(Finding::new(&entry.path, field, "a rate is stated, and not what it is of"));
            }
            if stated.iter().any(|rate| rate.ends().0 <= 0.0) {
                findings.push(Finding::new(&entry.path, field, "a rate is above 0"));
            }
        }
        if record.low_precision_kind.is_some() && low.iter().all(Option::is_none) {
            findings.push(Finding::new(&entry.path, "low_precision_kind", "no rate at 8 or 4 bits is stated"));
        }
    }
    findings
}

fn memory(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in &catalog.hardware {
        let record = &entry.record;
        let mut finding = |field: &str, reason: &str| findings.push(Finding::new(&entry.path, field, reason));
        match record.memory_gib {
            None if record.kind != HardwareKind::Cpu => finding("memory_gib", "only processors leave the memory to the user"),
            Some(0) => finding("memory_gib", "a device has memory"),
            Some(gib) => {
                let nameplate = gib.saturating_mul(1024) / record.devices.max(1);
                let reported = record.memory_mib_reported.map_or(nameplate, |fact| fact.ends().1);
                if reported > nameplate {
                    finding("memory_mib_reported", "more is reported than the nameplate says");
                }
                for (field, fact) in
                    [("memory_mib_cuda", record.memory_mib_cuda), ("memory_mib_cuda_windows", record.memory_mib_cuda_windows)]
                {
                    if fact.is_some_and(|fact| fact.ends().1 > reported) {
                        finding(field, "CUDA sees more than the driver reports");
                    }
                }
            }
            None => {}
        }
        if record.devices == 0 {
            finding("devices", "a record is of at least one device");
        }
    }
    findings
}

/// Metal's default working-set limit in MiB: up to macOS 15, and from macOS 26 for the sizes seen there.
///
/// Older: two thirds of the memory up to 32 GiB, above that three quarters or all but 48 GiB, whichever is
/// more. Newer: a share that depends on the size, 74 % up to 24 GiB, 78 % up to 48, 81 % at 64, 84 % at
/// 128, 87 % at 256. Both are what `recommendedMaxWorkingSetSize` printed in published logs; no log of
/// macOS 26 shows 8, 96, 192 or 512 GiB.
#[must_use]
pub const fn working_set_mib(memory_gib: u32) -> (u32, Option<u32>) {
    let mib = memory_gib * 1024;
    let older = if memory_gib <= 32 {
        mib * 2 / 3
    } else if memory_gib < 192 {
        mib * 3 / 4
    } else {
        mib - 48 * 1024
    };
    let percent = match memory_gib {
        16 | 18 | 24 => Some(74),
        32 | 36 | 48 => Some(78),
        64 => Some(81),
        128 => Some(84),
        256 => Some(87),
        _ => None,
    };
    let newer = match percent {
        Some(percent) => Some(mib * percent / 100),
        None => None,
    };
    (older, newer)
}

fn working_set(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in &catalog.hardware {
        let record = &entry.record;
        let apple = record.class == HardwareClass::AppleSilicon;
        let (older, newer) = match record.memory_gib.filter(|_| apple) {
            Some(gib) => {
                let (older, newer) = working_set_mib(gib);
                (Some(older), newer)
            }
            None => (None, None),
        };
        for (field, stated, rule) in [
            ("working_set_mib", record.working_set_mib, older),
            ("working_set_mib_macos_26", record.working_set_mib_macos_26, newer),
        ] {
            // Where no log was seen, a range may be stated.
            let agrees = match (stated, rule) {
                (Some(fact), Some(rule)) => fact.ends() == (rule, rule),
                (Some(fact), None) => apple && fact.ends().0 != fact.ends().1,
                (None, rule) => rule.is_none(),
            };
            if !agrees {
                findings.push(Finding::new(&entry.path, field, format!("the rule gives {rule:?} MiB")));
            }
        }
    }
    findings
}

fn blocks(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in &catalog.quants {
        let record = &entry.record;
        let (Some(weights), Some(bytes)) = (record.block_weights, record.block_bytes) else { continue };
        let bits = f64::from(bytes) * 8.0 / f64::from(weights.max(1));
        if record.bits_per_weight.is_none_or(|stated| stated.ends() != (bits, bits)) {
            findings.push(Finding::new(
                &entry.path,
                "bits_per_weight",
                format!("{bytes} bytes for {weights} weights are {bits} bits each"),
            ));
        }
    }
    findings
}

fn ggml_blocks(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in catalog.quants.iter().filter(|entry| ["gguf", "float"].contains(&entry.record.family.as_str())) {
        let record = &entry.record;
        if record.mixture {
            continue;
        }
        let stated = record.block_weights.map(u64::from).zip(record.block_bytes.map(u64::from));
        let known = GgmlType::from_name(&entry.id).map(|kind| (kind.block_len(), kind.block_bytes()));
        if stated != known {
            findings.push(Finding::new(&entry.path, "block_bytes", format!("{stated:?} is stated, ggml has {known:?}")));
        }
    }
    findings
}

fn links(catalog: &Catalog) -> Vec<Finding> {
    let known: BTreeSet<&str> = catalog.glossary.iter().map(|entry| entry.id.as_str()).collect();
    let mut findings = Vec::new();
    for entry in &catalog.glossary {
        for target in entry.record.see_also.iter().filter(|target| !known.contains(target.as_str()) || **target == entry.id) {
            findings.push(Finding::new(&entry.path, "see_also", format!("`{target}` is no other term")));
        }
    }
    findings
}
