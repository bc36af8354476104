//! Quantised checkpoints against published counts, exact sizes and what vLLM logs.
#![allow(clippy::expect_used, clippy::expect_fun_call)]

use std::collections::BTreeMap;

use llm_vram_core::{
    Model,
    input::hf_config::HfConfig,
    quant::{WeightFormat, Weights, weight_bytes},
};
use llm_vram_tests::{Row, jsonl, tsv};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct ConfigRecord {
    id: String,
    config: Value,
}

/// Releases whose tool left more modules at 16 bits than the format's default, by a list of their own; the runs with a
/// tower loaded the language model alone.
const OWN_MODULE_LISTS: &[(&str, &str)] = &[("qwen3.6-35b-a3b", "FP8-block"), ("nemotron-3-nano-30b", "NVFP4")];

fn weights(models: &BTreeMap<String, Model>, row: &Row) -> Weights {
    let format = WeightFormat::parse(row.text("format")).expect(row.place());
    weight_bytes(models.get(row.text("model")).expect(row.place()), &format).expect(row.place())
}

/// Bytes of the tower at 16 bits.
fn tower_bytes(models: &BTreeMap<String, Model>, row: &Row) -> u64 {
    models.get(row.text("model")).map_or(0, |model| model.parameters().tower * 2)
}

fn models() -> BTreeMap<String, Model> {
    let records: Vec<ConfigRecord> = jsonl("hf_configs.jsonl");
    let model = |record: ConfigRecord| {
        let model = HfConfig::read(&record.config.to_string()).and_then(|config| config.model()).ok()?;
        Some((record.id, model))
    };
    records.into_iter().filter_map(model).collect()
}

#[test]
fn published_and_logged_sizes() {
    let models = models();
    let rows = tsv("checkpoint_sizes.tsv");
    assert_eq!(rows.len(), 13, "checkpoint_sizes.tsv has lost rows");
    let mut off = Vec::new();
    for row in &rows {
        let weights = weights(&models, row);
        let line = format!("{} {}", row.text("model"), row.text("format"));
        match row.text("what") {
            "scales" => {
                let scales = weights.side_data.get() / 4;
                println!("{line}: {scales} scales");
                if scales != row.number("value") {
                    off.push(format!("{line}: {scales} scales instead of {}", row.text("value")));
                }
            }
            "bytes" => {
                println!("{line}: {} bytes", weights.total.get());
                if weights.total.get() != row.number("value") {
                    off.push(format!("{line}: {} bytes instead of {}", weights.total.get(), row.text("value")));
                }
            }
            _ => {
                let logged: f64 = row.text("value").parse().expect(row.place());
                #[allow(clippy::cast_precision_loss)]
                let ours = (weights.total.get() - tower_bytes(&models, row)) as f64 / (1_u64 << 30) as f64;
                let percent = (ours / logged - 1.0) * 100.0;
                let named = OWN_MODULE_LISTS.contains(&(row.text("model"), row.text("format")));
                println!(
                    "{line}: {ours:.3} GiB, logged {logged} ({percent:+.2} %{})",
                    if named { ", more left at 16 bits than by default" } else { "" }
                );
                // The log also has rotary tables (32 MiB for 131,072 positions) and the allocator's rounding.
                let expected = if named { -5.0..=-1.0 } else { -1.0..=0.0 };
                if !expected.contains(&percent) {
                    off.push(format!("{line}: {ours:.3} GiB, logged {logged}"));
                }
            }
        }
    }
    println!("checkpoint_sizes.tsv: {} rows, {} named, {} off", rows.len(), OWN_MODULE_LISTS.len(), off.len());
    assert!(off.is_empty(), "{}", off.join("\n"));
}
