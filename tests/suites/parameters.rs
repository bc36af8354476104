//! Parameter counts of `config.json` files against transformers and against published checkpoints.

#![allow(clippy::expect_used)]

use std::collections::BTreeMap;

use llm_vram_core::{Model, input::hf_config::HfConfig, model::Group};
use llm_vram_tests::{jsonl, models, tsv};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct ConfigRecord {
    id: String,
    params: u64,
    tower: u64,
    published: Option<u64>,
    config: Value,
}

fn read(place: &str, config: &str) -> Result<HfConfig, String> {
    HfConfig::read(config).map_err(|error| format!("{place}: {error}"))
}

fn difference(place: &str, config: &HfConfig, expected: u64, tower: Option<u64>) -> Option<String> {
    let counts = match config.model() {
        Ok(model) => model.parameters(),
        Err(error) => return Some(format!("{place}: {error}")),
    };
    let found = config.parameters().unwrap_or(0);
    let tower_differs = tower.is_some_and(|tower| tower != counts.tower);
    (found != expected || tower_differs).then(|| {
        format!(
            "{place}: {found} instead of {expected} ({:+}); tower {} instead of {tower:?}; {:?}",
            i128::from(found) - i128::from(expected),
            counts.tower,
            config.warnings().iter().map(|warning| warning.code).collect::<Vec<_>>()
        )
    })
}

#[test]
fn transformers_counts_of_39_model_types() {
    let rows = tsv("param_golden.tsv");
    assert_eq!(rows.len(), 39, "param_golden.tsv has lost rows");
    let off: Vec<String> = rows
        .iter()
        .filter_map(|row| match read(row.place(), row.text("config")) {
            Ok(config) => difference(&format!("{} {}", row.place(), row.text("model_type")), &config, row.number("params"), None),
            Err(error) => Some(error),
        })
        .collect();
    println!("param_golden.tsv: {} rows, {} off", rows.len(), off.len());
    assert!(off.is_empty(), "{}", off.join("\n"));
}

/// How far a config determines the count.
#[derive(PartialEq)]
enum Reach {
    Everything,
    WithoutTower,
    Bound,
}

fn reach(config: &HfConfig) -> Reach {
    let warns = |code| config.warnings().iter().any(|warning| warning.code == code);
    if warns("unknown_architecture") {
        Reach::Bound
    } else if warns("tower_not_counted") {
        Reach::WithoutTower
    } else {
        Reach::Everything
    }
}

#[test]
fn counts_of_published_models() {
    let rows: Vec<ConfigRecord> = jsonl("hf_configs.jsonl");
    assert_eq!(rows.len(), 219, "hf_configs.jsonl has lost rows");
    let mut off = Vec::new();
    let (mut exact, mut without_tower, mut bounds) = (0, 0, 0);
    for row in &rows {
        let config = match read(&row.id, &row.config.to_string()) {
            Ok(config) => config,
            Err(error) => {
                off.push(error);
                continue;
            }
        };
        match reach(&config) {
            Reach::Everything => {
                exact += 1;
                off.extend(difference(&row.id, &config, row.params, Some(row.tower)));
            }
            Reach::WithoutTower => {
                without_tower += 1;
                let counted = config.model().map_or(0, |model| model.parameters().tower);
                off.extend(difference(&row.id, &config, row.params - row.tower + counted, None));
            }
            Reach::Bound => bounds += 1,
        }
    }
    println!(
        "hf_configs.jsonl: {} rows: {exact} with every parameter, {without_tower} without their tower, {bounds} of unknown types; {} off",
        rows.len(),
        off.len()
    );
    assert!(off.is_empty(), "{}", off.join("\n"));
    assert!(exact >= 206 && bounds <= 8, "fewer types are known than before");
}

/// Facts in which the two sources of a model differ, so that the tensors differ with them.
const DIFFERENT_FACTS: &[(&str, &str)] =
    &[("starcoder2-15b", "its config states a window of 4096 tokens, its GGUF metadata none: llama.cpp attends to everything")];

fn tensor_set(model: &Model) -> BTreeMap<String, [u64; 4]> {
    let text = model.tensors().iter().filter(|tensor| tensor.group != Group::Tower);
    text.map(|tensor| (tensor.name(), tensor.shape)).collect()
}

#[test]
fn config_and_gguf_metadata_agree() {
    let gguf = models();
    let rows: Vec<ConfigRecord> = jsonl("hf_configs.jsonl");
    let mut compared = 0;
    let mut off = Vec::new();
    for row in &rows {
        let Some(record) = gguf.get(&row.id) else { continue };
        compared += 1;
        let from_file = record.model();
        let config = HfConfig::read(&row.config.to_string()).expect("read above");
        let predicts = from_file.hyperparameters().nextn_predict_layers > 0;
        let from_config = if predicts { config.model_with_prediction() } else { config.model() }.expect("derived above");
        let mut what = Vec::new();
        if from_config.architecture() != from_file.architecture() {
            what.push(format!("architecture {} / {}", from_config.architecture(), from_file.architecture()));
        }
        let (ours, theirs) = (tensor_set(&from_config), tensor_set(&from_file));
        let only = |a: &BTreeMap<String, [u64; 4]>, b: &BTreeMap<String, [u64; 4]>| {
            a.iter()
                .filter(|(name, shape)| b.get(*name) != Some(shape))
                .map(|(name, shape)| format!("{name} {shape:?}"))
                .collect::<Vec<_>>()
        };
        let (more, less) = (only(&ours, &theirs), only(&theirs, &ours));
        if !more.is_empty() || !less.is_empty() {
            what.push(format!(
                "{} tensors only in config ({:?}), {} only in file ({:?})",
                more.len(),
                more.first(),
                less.len(),
                less.first()
            ));
        }
        for (number, (ours, theirs)) in from_config.blocks().iter().zip(from_file.blocks()).enumerate() {
            if ours != theirs {
                what.push(format!("block {number}: {ours:?} / {theirs:?}"));
                break;
            }
        }
        let named = DIFFERENT_FACTS.iter().any(|(id, _)| *id == row.id);
        assert!(!named || (!what.is_empty() && ours == theirs), "{}: this difference has gone or grown", row.id);
        if !what.is_empty() && !named {
            off.push(format!("{}: {}", row.id, what.join("; ")));
        }
    }
    println!("{compared} models described twice, {} named differences of fact, {} off", DIFFERENT_FACTS.len(), off.len());
    for (id, reason) in DIFFERENT_FACTS {
        println!("  {id}: {reason}");
    }
    assert_eq!(compared, 53, "rows were lost");
    assert!(off.is_empty(), "{}", off.join("\n"));
}

/// Releases that state prediction layers and whose published count is not what these add up to.
const OTHER_PUBLISHED_COUNTS: &[(&str, &str)] = &[
    ("mimo-7b", "its prediction layer has a design of its own"),
    ("deepseek-v3", "the hub counts the scales of the FP8 release"),
    ("deepseek-r1-0528", "the hub counts the scales of the FP8 release"),
    ("deepseek-v3.1", "the hub counts the scales of the FP8 release"),
    ("moonlight-16b-a3b", "the release has no prediction layer"),
    ("glm-4.6", "the prediction layer shares both tables with the main model"),
    ("nemotron-3-super-120b", "its prediction layers are an attention and an expert block each"),
    ("nemotron-3-ultra-550b", "its prediction layers are an attention and an expert block each"),
    ("mistral-large-3-675b", "the publisher gives a rounded count"),
];

#[test]
fn published_counts_with_prediction_layers() {
    let rows: Vec<ConfigRecord> = jsonl("hf_configs.jsonl");
    let (mut exact, mut off) = (0, Vec::new());
    for row in &rows {
        let (Ok(config), Some(published)) = (HfConfig::read(&row.config.to_string()), row.published) else { continue };
        if config.prediction_layers() == 0 || reach(&config) != Reach::Everything {
            continue;
        }
        let counts = config.model_with_prediction().expect("valid").parameters();
        // Hubs count the selection biases, which transformers takes as buffers.
        let agrees = published == counts.total || published == config.parameters().expect("valid") + counts.mtp;
        let named = OTHER_PUBLISHED_COUNTS.iter().any(|(id, _)| *id == row.id);
        assert!(!(agrees && named), "{}: this difference has gone", row.id);
        if agrees {
            exact += 1;
        } else if !named {
            off.push(format!("{}: {published} published, {} counted", row.id, counts.total));
        }
    }
    println!(
        "published counts with prediction layers: {exact} exact, {} of another kind, {} off",
        OTHER_PUBLISHED_COUNTS.len(),
        off.len()
    );
    for (id, reason) in OTHER_PUBLISHED_COUNTS {
        println!("  {id}: {reason}");
    }
    assert!(off.is_empty(), "{}", off.join("\n"));
    assert_eq!(exact, 19, "fewer releases agree than before");
}
