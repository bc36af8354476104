//! Published peaks of MLX against the sum of weights, caches and the modelled part of prefill.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss)]

use llm_vram_core::{
    derivation::Derivation,
    engine::{Engine, Scene, mlx::Mlx, omlx::Omlx},
    hardware::Hardware,
    input::hf_config,
    quant::WeightFormat,
    workload::Workload,
};
use llm_vram_tests::{jsonl, tsv};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Configured {
    id: String,
    config: Value,
}

/// Beyond this share a miss needs a cause.
const NOTEWORTHY: f64 = 0.03;

#[test]
fn published_peaks() {
    let configs: Vec<Configured> = jsonl("hf_configs.jsonl");
    let (mut rows, mut inside, mut close) = (0, 0, 0);
    println!(
        "{:<20} {:<13} {:>7} | {:>7} {:>7} {:>7} {:>15} | {:>8} {:>7} {:>7}",
        "model", "format", "context", "weights", "cache", "prefill", "range", "expected", "peak", "off"
    );
    for row in tsv("mlx_measured.tsv") {
        let config = configs
            .iter()
            .find(|config| config.id == row.text("model"))
            .unwrap_or_else(|| panic!("{}: no such model", row.place()));
        let model = hf_config::model(&config.config.to_string()).unwrap();
        let weights_alone = row.text("context") == "-";
        let workload = Workload::new(if weights_alone { 1 } else { row.number("context") });
        let format = WeightFormat::parse(row.text("format")).unwrap();
        let scene = Scene {
            model: &model,
            format: &format,
            workload: &workload,
            hardware: &Hardware::default(),
            version: None,
            memo: None,
        };
        let engine: &dyn Engine = if row.text("engine") == "omlx" { &Omlx } else { &Mlx };
        let memory = engine.memory(&scene, &mut Derivation::off()).unwrap();
        let device = &memory.devices[0];
        let gb = |bytes: u64| bytes as f64 / 1e9;
        let cache = device.kv_cache.get() + device.recurrent_state.get();
        let exact = device.weights.get() + if weights_alone { 0 } else { cache };
        let (low, expected, high) = if weights_alone {
            (exact, exact, exact)
        } else {
            let prefill = device.compute_buffer;
            (exact + prefill.low.get(), exact + prefill.expected.get(), exact + prefill.high.get())
        };
        let peak: f64 = row.text("peak_gb").parse().unwrap();
        let off = gb(expected) / peak - 1.0;
        let prefill = device.compute_buffer;
        println!(
            "{:<20} {:<13} {:>7} | {:>7.3} {:>7.3} {:>7.3} {:>6.2} to {:>5.2} | {:>8.3} {:>7.3} {:>+6.1} % {}",
            row.text("model"),
            row.text("format"),
            row.text("context"),
            gb(device.weights.get()),
            gb(cache),
            gb(prefill.expected.get()),
            gb(prefill.low.get()),
            gb(prefill.high.get()),
            gb(expected),
            peak,
            off * 100.0,
            row.text("cause")
        );
        rows += 1;
        if off.abs() <= NOTEWORTHY {
            close += 1;
        } else {
            assert!(!row.text("cause").is_empty(), "{}: a miss of {:.1} % without a cause", row.place(), off * 100.0);
        }
        if gb(low) <= peak && peak <= gb(high) {
            inside += 1;
        }
    }
    println!("{rows} published peaks: {close} within 3 %, {inside} within the stated range");
    assert_eq!(rows, 15);
}
