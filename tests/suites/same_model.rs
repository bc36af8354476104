//! The same model by catalog id, by its GGUF header and by its config.json: the same answers wherever the inputs carry
//! the same facts.
//!
//! The catalog's records, the metadata of `models.jsonl` and the fields of `hf_configs.jsonl` were collected apart from
//! each other. Each pair is asked the same questions. Where answers differ, the difference must be listed below with the
//! fact in which the inputs differ; a difference between inputs of equal facts would be one of rules, and fails.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use llm_vram_core::{
    Model, catalog,
    derivation::Derivation,
    engine::{self, Memory, Scene},
    hardware::{Device, Hardware},
    input::{gguf, hf_config::HfConfig},
    model::Hyperparameters,
    quant::{FileType, GgmlType, QuantTarget, Recipe, WeightFormat, weight_bytes},
    workload::Workload,
};
use llm_vram_tests::{
    ModelRecord,
    gguf_writer::{GgufWriter, Kv},
    jsonl, models,
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct ConfigRecord {
    id: String,
    hf_id: String,
    config: Value,
}

/// A model's header as llama-quantize would write it: the metadata, and every tensor in the type that the recipe chooses.
fn header(record: &ModelRecord, target: QuantTarget) -> Vec<u8> {
    let model = record.model();
    let recipe = Recipe::new(&model);
    let mut writer = GgufWriter::new().kv("general.file_type", Kv::U32(target.file_type.id()));
    for (key, value) in &record.metadata {
        writer = writer.kv(key, Kv::from_json(value));
    }
    let mut offset = 0;
    for (tensor, choice) in model.tensors().iter().zip(recipe.tensors(target)) {
        let (choice, bytes) = choice.expect("a type");
        writer = writer.tensor(&tensor.name(), &tensor.shape[..tensor.dimensions()], choice.ty as u32, offset);
        offset += bytes.align_up(32).get();
    }
    writer.bytes()
}

fn hardware(devices: &[(&str, usize)]) -> Hardware {
    let device = |id: &str| Device::from_record(catalog::device(id).expect(id), None).expect(id);
    let devices = devices.iter().flat_map(|&(id, count)| vec![device(id); count]).collect();
    Hardware { devices, host_bytes: None }
}

/// One question: engine, format, workload, hardware.
struct Ask {
    engine: &'static str,
    format: WeightFormat,
    workload: Workload,
    hardware: Hardware,
}

fn questions() -> Vec<Ask> {
    let (q4, bf16) = (WeightFormat::gguf(FileType::Q4_K_M), WeightFormat::Plain(GgmlType::BF16));
    let ask = |engine, format, workload, devices| Ask { engine, format, workload, hardware: hardware(devices) };
    let long = Workload {
        concurrency: 4,
        kv_cache_type_k: Some("q8_0".into()),
        kv_cache_type_v: Some("q8_0".into()),
        ..Workload::new(16_384)
    };
    let plain = Workload::new(8192);
    let hosted = Workload { n_gpu_layers: Some(12), n_cpu_moe: Some(4), ..plain.clone() };
    let wide = Workload { tensor_parallel_size: Some(4), ..plain.clone() };
    vec![
        ask("llama.cpp", q4, plain.clone(), &[]),
        ask("llama.cpp", q4, plain.clone(), &[("rtx-4090", 1)]),
        ask("llama.cpp", q4, long, &[("rtx-4090", 2), ("rtx-3090", 1)]),
        ask("llama.cpp", q4, hosted, &[("rtx-4090", 1)]),
        ask("ollama", q4, plain.clone(), &[("rtx-4090", 1)]),
        ask("vllm", bf16, wide.clone(), &[("h100-sxm-80gb", 4)]),
        ask("vllm", WeightFormat::parse("FP8").unwrap(), wide.clone(), &[("h100-sxm-80gb", 4)]),
        ask("sglang", bf16, wide, &[("h100-sxm-80gb", 4)]),
        ask("mlx", WeightFormat::parse("MLX-4bit-g64").unwrap(), plain.clone(), &[]),
        ask("transformers", bf16, plain, &[]),
    ]
}

const QUANTS: &[&str] = &["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "FP8", "AWQ", "MLX-4bit-g64"];

fn answer(ask: &Ask, model: &Model, format: &WeightFormat) -> Result<Memory, String> {
    let scene = Scene { model, format, workload: &ask.workload, hardware: &ask.hardware, version: None, memo: None };
    let engine = engine::by_name(ask.engine).expect("an engine");
    engine.memory(&scene, &mut Derivation::off()).map_err(|error| error.to_string())
}

/// Where the answers about two models differ. `stored`: the second is a file that stores `Q4_K_M` already.
fn differences(one: &Model, other: &Model, stored: bool, asks: &[Ask], compared: &mut usize) -> BTreeSet<String> {
    let mut off = BTreeSet::new();
    let sum = |model: &Model, quant: &str| {
        let format = WeightFormat::parse(quant).expect(quant);
        weight_bytes(model, &format).map(|weights| weights.total).map_err(|error| error.to_string())
    };
    for quant in QUANTS {
        *compared += 1;
        let (a, b) = (sum(one, quant), sum(other, quant));
        if a != b {
            off.insert(format!("weights in {quant} ({a:?} / {b:?})"));
        }
    }
    for (number, ask) in asks.iter().enumerate() {
        let is_file = stored && matches!(ask.format, WeightFormat::Gguf(_));
        *compared += 1;
        let (a, b) = (answer(ask, one, &ask.format), answer(ask, other, if is_file { &WeightFormat::Stored } else { &ask.format }));
        let (a, b) = match (a, b) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(a), Err(b)) if a == b => continue,
            (a, b) => {
                off.insert(format!("{} #{number}: {:?} / {:?}", ask.engine, a.map(drop), b.map(drop)));
                continue;
            }
        };
        let parts = [
            ("weights", a.weights == b.weights),
            ("KV cache", a.kv_cache == b.kv_cache),
            ("recurrent state", a.recurrent_state == b.recurrent_state),
            ("host", a.host == b.host),
            ("options", a.resolved == b.resolved),
            ("remarks", a.warnings == b.warnings),
        ];
        off.extend(parts.iter().filter(|(_, same)| !same).map(|(part, _)| format!("{} #{number}: {part}", ask.engine)));
        for (a, b) in a.devices.iter().zip(&b.devices) {
            let parts = [
                ("weights on a device", a.weights == b.weights),
                ("cache on a device", a.kv_cache == b.kv_cache),
                ("state on a device", a.recurrent_state == b.recurrent_state),
                ("compute buffer", a.compute_buffer == b.compute_buffer),
                ("overhead", a.overhead == b.overhead),
                ("layers", a.layers == b.layers),
                ("pool", a.kv_pool == b.kv_pool),
            ];
            off.extend(parts.iter().filter(|(_, same)| !same).map(|(part, _)| format!("{} #{number}: {part}", ask.engine)));
        }
    }
    off
}

/// The fields in which two descriptions differ, with both values; names left aside.
fn facts(one: &Hyperparameters, other: &Hyperparameters) -> BTreeMap<String, (String, String)> {
    let flat = |hp: &Hyperparameters| {
        let Value::Object(mut fields) = serde_json::to_value(hp).expect("JSON") else { panic!("an object") };
        let Some(Value::Object(facts)) = fields.remove("facts") else { panic!("facts") };
        fields.extend(facts.into_iter().map(|(key, value)| (format!("facts.{key}"), value)));
        fields.remove("name");
        fields.remove("model_type");
        fields
    };
    let (one, other) = (flat(one), flat(other));
    one.iter()
        .filter(|(key, value)| other[*key] != **value)
        .map(|(key, value)| (key.clone(), (value.to_string(), other[key].to_string())))
        .collect()
}

/// Ids of the collected metadata that name another model in the catalog, and the catalog's id of the same release.
const NAMED_OTHERWISE: &[(&str, &str)] = &[("command-r-35b", "command-r-35b-v01")];

fn known(id: &str, hf_id: &str) -> Option<catalog::CatalogModel> {
    let otherwise = NAMED_OTHERWISE.iter().find(|(other, _)| *other == id).map(|&(_, ours)| ours);
    otherwise.into_iter().chain([hf_id, id]).find_map(|name| catalog::model(name).ok())
}

/// A difference of facts: the model, what its inputs say differently, and why.
struct Difference {
    id: &'static str,
    fields: &'static [&'static str],
    reason: &'static str,
}

/// Compares each pair, and holds the differences against the list.
struct Comparison {
    asks: Vec<Ask>,
    answers: usize,
    identical: usize,
    explained: Vec<String>,
    off: Vec<String>,
}

impl Comparison {
    fn new() -> Self {
        Self { asks: questions(), answers: 0, identical: 0, explained: Vec::new(), off: Vec::new() }
    }

    fn add(&mut self, id: &str, one: &Model, other: &Model, stored: bool, listed: &[Difference]) {
        let found = differences(one, other, stored, &self.asks, &mut self.answers);
        let facts = facts(one.hyperparameters(), other.hyperparameters());
        let listed: Vec<&Difference> = listed.iter().filter(|difference| difference.id == id).collect();
        let shown: Vec<&String> = found.iter().take(4).collect();
        match (found.is_empty(), listed.as_slice()) {
            (true, []) => self.identical += 1,
            (true, _) => self.off.push(format!("{id}: the listed difference has gone")),
            (false, []) => self.off.push(format!("{id}: {} answers differ {shown:?}; facts: {facts:?}", found.len())),
            (false, listed) => {
                for difference in listed {
                    match difference.fields.iter().find(|field| !facts.contains_key(**field)) {
                        Some(field) => self.off.push(format!("{id}: `{field}` is the same in both: {facts:?}")),
                        None => self.explained.push(format!("{id} ({}): {}", difference.fields.join(", "), difference.reason)),
                    }
                }
                // What is not listed must not be what makes the difference: with the listed facts alike, answers are equal.
                let fields: Vec<&str> = listed.iter().flat_map(|difference| difference.fields.iter().copied()).collect();
                let alike = Model::new(with_facts_of(one.hyperparameters(), other.hyperparameters(), &fields)).expect("valid");
                let other = Model::new(other.hyperparameters().clone()).expect("valid");
                let rest = differences(&alike, &other, false, &self.asks, &mut self.answers);
                if !rest.is_empty() {
                    self.off
                        .push(format!("{id}: beyond the listed facts {:?}; {facts:?}", rest.iter().take(4).collect::<Vec<_>>()));
                }
            }
        }
    }

    fn finish(self, what: &str, compared: usize, identical: usize) {
        let Self { answers, explained, off, .. } = &self;
        println!(
            "{what}: {} models, {answers} answers: {} models identical in all, {} differences of fact, {} unexplained",
            compared,
            self.identical,
            explained.len(),
            off.len()
        );
        explained.iter().for_each(|line| println!("  {line}"));
        assert!(off.is_empty(), "{}", off.join("\n"));
        assert!(self.identical >= identical, "only {} are identical", self.identical);
    }
}

/// `one` with the named fields as `other` has them.
fn with_facts_of(one: &Hyperparameters, other: &Hyperparameters, fields: &[&str]) -> Hyperparameters {
    let (mut one, other) = (serde_json::to_value(one).expect("JSON"), serde_json::to_value(other).expect("JSON"));
    for field in fields {
        match field.strip_prefix("facts.") {
            Some(fact) => one["facts"][fact] = other["facts"][fact].clone(),
            None => one[*field] = other[*field].clone(),
        }
    }
    serde_json::from_value(one).expect("a description")
}

/// Where a record and the metadata of the collected header say different things.
const HEADERS: &[Difference] = &[];

#[test]
fn a_catalog_id_and_the_header_answer_alike() {
    let mut comparison = Comparison::new();
    let records = models();
    for (id, record) in &records {
        let known = known(id, &record.hf_id).unwrap_or_else(|| panic!("the catalog has no `{id}`"));
        let bytes = header(record, QuantTarget::new(FileType::Q4_K_M).published());
        let header = gguf::read(&bytes).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(header.file_type(), Some("Q4_K_M"));
        let model = header.model().unwrap_or_else(|error| panic!("{id}: {error}"));
        comparison.add(id, &known.model, &model, true, HEADERS);
    }
    comparison.finish("catalog and GGUF header", records.len(), 62);
}

/// Where a record and the collected fields of the config say different things.
const CONFIGS: &[Difference] = &[
    Difference {
        id: "starcoder2-15b",
        fields: &["sliding_window"],
        reason: "the config states a window of 4,096 tokens, which transformers keeps to; the GGUF metadata, and the record with it, state none",
    },
    Difference {
        id: "minimax-m2",
        fields: &["rope_dimension_count"],
        reason: "the collected fields of the config lack `rotary_dim`, 64 in the published file",
    },
    Difference {
        id: "phi-2",
        fields: &["rope_dimension_count"],
        reason: "the collected fields of the config lack `partial_rotary_factor`, 0.4 in the published file; the class assumes 0.5",
    },
];

#[test]
fn a_catalog_id_and_the_config_answer_alike() {
    let mut comparison = Comparison::new();
    let (mut compared, mut towers, mut absent) = (0, 0, Vec::new());
    for row in jsonl::<ConfigRecord>("hf_configs.jsonl") {
        let Some(known) = known(&row.id, &row.hf_id) else {
            absent.push(row.id);
            continue;
        };
        compared += 1;
        let config = HfConfig::read(&row.config.to_string()).unwrap_or_else(|error| panic!("{}: {error}", row.id));
        // Records describe the language model; a config that describes a tower too is compared without it.
        towers += usize::from(config.model().is_ok_and(|model| model.parameters().tower > 0));
        // A record keeps the prediction layers where the release's GGUF files do.
        let predicts = known.model.hyperparameters().nextn_predict_layers > 0;
        let description = if predicts { config.hyperparameters_with_prediction() } else { config.hyperparameters().clone() };
        let model = Model::new(description).unwrap_or_else(|error| panic!("{}: {error}", row.id));
        comparison.add(&row.id, &known.model, &model, false, CONFIGS);
    }
    println!("{towers} configs also describe a tower, which records do not; {} are not in the catalog: {absent:?}", absent.len());
    comparison.finish("catalog and config.json", compared, 209);
}

/// Both files of the same model, where both are known.
#[test]
fn a_header_and_the_config_answer_alike() {
    let mut comparison = Comparison::new();
    let records = models();
    let mut compared = 0;
    for row in jsonl::<ConfigRecord>("hf_configs.jsonl") {
        let Some(record) = records.get(&row.id) else { continue };
        compared += 1;
        let bytes = header(record, QuantTarget::new(FileType::Q4_K_M).published());
        let file = gguf::read(&bytes).expect("a header").model().expect("a model");
        let config = HfConfig::read(&row.config.to_string()).expect("a config");
        let predicts = file.hyperparameters().nextn_predict_layers > 0;
        let description = if predicts { config.hyperparameters_with_prediction() } else { config.hyperparameters().clone() };
        let model = Model::new(description).expect("a model");
        comparison.add(&row.id, &model, &file, true, FILES);
    }
    comparison.finish("config.json and GGUF header", compared, 50);
}

/// Where the collected fields of the config and the metadata of the header say different things.
const FILES: &[Difference] = &[
    Difference {
        id: "starcoder2-15b",
        fields: &["sliding_window"],
        reason: "the config states a window of 4,096 tokens, which transformers keeps to; the GGUF metadata, and the record with it, state none",
    },
    Difference {
        id: "minimax-m2",
        fields: &["rope_dimension_count"],
        reason: "the collected fields of the config lack `rotary_dim`, 64 in the published file",
    },
    Difference {
        id: "qwen3-30b-a3b",
        fields: &["context_length"],
        reason: "the metadata is that of the release of 2507, trained on 262,144 tokens, the config that of the first, 40,960",
    },
];
