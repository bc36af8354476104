//! Figures that llama.cpp and Ollama printed on real machines, part by part.
//!
//! Caches are asserted to the printed digit. Compute buffers of other versions and backends are compared and listed.
#![allow(clippy::expect_used, clippy::panic)]

use llm_vram_core::{
    Bytes,
    derivation::Derivation,
    engine::{Engine, Memory, Scene, llama_cpp::LlamaCpp, ollama::Ollama},
    hardware::{Backend, Device, Hardware},
    quant::{FileType, WeightFormat},
    workload::{FlashAttention, Workload},
};
use serde::Deserialize;

/// A printed load; amounts in MiB.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reading {
    id: String,
    model: String,
    url: String,
    #[serde(default)]
    engine: String,
    version: String,
    backend: String,
    #[serde(default = "one")]
    devices: usize,
    tensor_split: Option<Vec<f64>>,
    n_ctx: u64,
    #[serde(default = "single")]
    n_seq: u64,
    #[serde(default)]
    unified: bool,
    n_batch: Option<u64>,
    n_ubatch: Option<u64>,
    n_outputs: Option<u64>,
    type_k: Option<String>,
    flash: Option<String>,
    n_gpu_layers: Option<u64>,
    n_cpu_moe: Option<u64>,
    quant: Option<String>,
    /// Caches of all layers but the windowed.
    kv: Option<f64>,
    swa: Option<f64>,
    recurrent: Option<f64>,
    /// Caches and states together, rounded to whole MiB.
    context: Option<f64>,
    compute: Option<Vec<f64>>,
    compute_host: Option<f64>,
    output: Option<f64>,
    weights: Option<Vec<f64>>,
    weights_host: Option<f64>,
    /// Why the cache differs, where it does.
    kv_off: Option<String>,
    /// Why weights or compute buffers differ by more than 3 %, where they do.
    cause: Option<String>,
}

fn one() -> usize {
    1
}

fn single() -> u64 {
    1
}

const READINGS: usize = 38;

fn hardware(reading: &Reading) -> Hardware {
    let backend = match reading.backend.as_str() {
        "cuda" => Backend::Cuda,
        "hip" => Backend::Hip,
        "vulkan" => Backend::Vulkan,
        "metal" => Backend::Metal,
        _ => Backend::Cpu,
    };
    let device = Device {
        id: reading.backend.clone(),
        name: reading.backend.clone(),
        backend,
        nameplate_bytes: Bytes::mib(128 << 10),
        visible_bytes: Bytes::mib(128 << 10),
        visible_is_measured: false,
        unified_memory: false,
        bandwidth_bytes_per_second: None,
        compute_capability: None,
    };
    Hardware { devices: vec![device; reading.devices], host_bytes: None }
}

fn answer(reading: &Reading) -> Memory {
    let ollama = reading.engine == "ollama";
    let workload = Workload {
        concurrency: reading.n_seq,
        kv_unified: (!ollama).then_some(reading.unified),
        kv_cache_type_k: reading.type_k.clone(),
        kv_cache_type_v: reading.type_k.clone(),
        n_batch: reading.n_batch,
        n_ubatch: reading.n_ubatch,
        n_outputs_max: reading.n_outputs,
        flash_attn: if reading.flash.as_deref() == Some("off") { FlashAttention::Off } else { FlashAttention::Auto },
        n_gpu_layers: reading.n_gpu_layers,
        n_cpu_moe: reading.n_cpu_moe,
        tensor_split: reading.tensor_split.clone(),
        ..Workload::new(reading.n_ctx / reading.n_seq)
    };
    let file_type = reading.quant.as_deref().map_or(FileType::Q4_K_M, |quant| FileType::from_name(quant).expect("a file type"));
    let (model, format, hardware) = (llm_vram_tests::model(&reading.model), WeightFormat::gguf(file_type), hardware(reading));
    let scene = Scene {
        model: &model,
        format: &format,
        workload: &workload,
        hardware: &hardware,
        version: Some(&reading.version),
        memo: None,
    };
    let engine: &dyn Engine = if ollama { &Ollama } else { &LlamaCpp };
    engine.memory(&scene, &mut Derivation::off()).unwrap_or_else(|error| panic!("{}: {error}", reading.id))
}

fn mib(bytes: Bytes) -> f64 {
    bytes.get() as f64 / f64::from(1 << 20)
}

/// One compared part: name, predicted, printed, half of the printed figure's last digit.
type Part = (String, f64, f64, f64);

/// Caches and states.
fn contexts(reading: &Reading, memory: &Memory) -> Vec<Part> {
    let mut parts = Vec::new();
    if let Some(kv) = reading.kv {
        parts.push(("caches".into(), mib(memory.kv_cache), kv + reading.swa.unwrap_or(0.0), 0.011));
    }
    if let Some(recurrent) = reading.recurrent {
        parts.push(("states".into(), mib(memory.recurrent_state), recurrent, 0.0075));
    }
    if let Some(context) = reading.context {
        parts.push(("context".into(), mib(memory.kv_cache + memory.recurrent_state), context, 1.0));
    }
    if let Some(output) = reading.output {
        parts.push(("output".into(), mib(memory.host.output_buffer), output, 0.0075));
    }
    parts
}

/// Weights and compute buffers.
fn buffers(reading: &Reading, memory: &Memory) -> Vec<Part> {
    let mut parts = Vec::new();
    let processor = reading.backend == "cpu";
    for (index, &printed) in reading.compute.iter().flatten().enumerate() {
        parts.push((format!("compute {index}"), mib(memory.devices[index].compute_buffer.expected), printed, 0.005));
    }
    if let Some(printed) = reading.compute_host {
        let ours = if processor { memory.devices[0].compute_buffer.expected } else { memory.host.compute_buffer };
        parts.push(("compute host".into(), mib(ours), printed, 0.005));
    }
    for (index, &printed) in reading.weights.iter().flatten().enumerate() {
        parts.push((format!("weights {index}"), mib(memory.devices[index].weights), printed, 0.005));
    }
    if let Some(printed) = reading.weights_host {
        parts.push(("weights host".into(), mib(memory.host.weights), printed, 0.005));
    }
    parts
}

#[test]
fn printed_figures() {
    let readings: Vec<Reading> = llm_vram_tests::jsonl("measured_llama_cpp.jsonl");
    assert_eq!(readings.len(), READINGS);
    let (mut exact, mut explained, mut off) = (0, Vec::new(), Vec::new());
    let (mut near, mut far, mut outside) = (0, Vec::new(), 0);
    println!("{:<46} {:<13} {:>10} {:>10} {:>7}", "load", "part", "predicted", "printed", "ratio");
    let print = |id: &str, (part, ours, theirs, _): &Part| {
        println!("{id:<46} {part:<13} {ours:>10.2} {theirs:>10.2} {:>7.4}", ours / theirs);
    };
    for reading in &readings {
        assert!(!reading.url.is_empty());
        let memory = answer(reading);
        for part in contexts(reading, &memory) {
            print(&reading.id, &part);
            let agrees = (part.1 - part.2).abs() <= part.3;
            match (&reading.kv_off, agrees) {
                (None, true) => exact += 1,
                (Some(cause), _) => explained.push(format!("{}: {cause}", reading.id)),
                (None, false) => off.push(format!("{} {}: {} instead of {}", reading.id, part.0, part.1, part.2)),
            }
        }
        for part in buffers(reading, &memory) {
            print(&reading.id, &part);
            let ratio = part.1 / part.2;
            if (ratio - 1.0).abs() <= 0.03 {
                near += 1;
            } else {
                let cause =
                    reading.cause.as_deref().unwrap_or_else(|| panic!("{} {}: {ratio:.3} without a cause", reading.id, part.0));
                far.push(format!("{} {} ({}, {}): {ratio:.3}, {cause}", reading.id, part.0, reading.backend, reading.version));
            }
            let range = memory.devices[0].compute_buffer;
            if part.0 == "compute 0" && !(mib(range.low) - part.3 <= part.2 && part.2 <= mib(range.high) + part.3) {
                outside += 1;
            }
        }
    }
    println!(
        "{} loads: {exact} cache, state and output figures agree, {} with a known cause, {} off",
        readings.len(),
        explained.len(),
        off.len()
    );
    println!(
        "{near} weight and compute figures within 3 %, {} beyond, {outside} device buffers outside the range:\n{}",
        far.len(),
        far.join("\n")
    );
    println!("{}", explained.join("\n"));
    assert!(off.is_empty(), "{}", off.join("\n"));
    assert_eq!((exact, explained.len()), (74, 1));
    assert!(near >= 39, "only {near} within 3 %");
}
