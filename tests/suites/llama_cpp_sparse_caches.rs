//! Caches of sparse attention that no load was compared with: what the constructors of `src/llama-kv-cache-dsv4.cpp` and
//! `src/llama-memory-hybrid-idx.cpp` (llama-cpp-sys-2 0.1.161) allocate, worked out by hand from their source.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

use llm_vram_core::{
    Model,
    derivation::Derivation,
    engine::{Engine, Memory, Scene, llama_cpp::LlamaCpp},
    hardware::Hardware,
    input::gguf,
    quant::WeightFormat,
    workload::Workload,
};
use llm_vram_tests::gguf_writer::{GgufWriter, Kv};

const LAYERS: u32 = 4;

fn numbers(values: &[i32]) -> Kv {
    Kv::List(5, values.iter().map(|&value| Kv::I32(value)).collect())
}

/// A small file of an architecture with an indexer of 128-element keys; `extra` are further keys.
fn file(architecture: &str, extra: &[(&str, Kv)]) -> Model {
    let mut writer = GgufWriter::new().kv("general.architecture", Kv::Text(architecture.into()));
    let common = [
        ("block_count", Kv::U32(LAYERS)),
        ("embedding_length", Kv::U32(1024)),
        ("vocab_size", Kv::U32(1000)),
        ("context_length", Kv::U32(1 << 20)),
        ("feed_forward_length", Kv::U32(2048)),
        ("attention.head_count", Kv::U32(8)),
        ("attention.indexer.head_count", Kv::U32(4)),
        ("attention.indexer.key_length", Kv::U32(128)),
        ("attention.indexer.top_k", Kv::U32(512)),
    ];
    for (key, value) in common.iter().chain(extra) {
        writer = writer.kv(&format!("{architecture}.{key}"), value.clone());
    }
    let mut offset = 0;
    let mut tensor = |writer: GgufWriter, name: String, shape: [u64; 2]| {
        let writer = writer.tensor(&name, &shape, 1, offset);
        offset += (shape[0] * shape[1] * 2).next_multiple_of(32);
        writer
    };
    writer = tensor(writer, "token_embd.weight".into(), [1024, 1000]);
    writer = tensor(writer, "output.weight".into(), [1024, 1000]);
    for layer in 0..LAYERS {
        writer = tensor(writer, format!("blk.{layer}.attn_q.weight"), [1024, 1024]);
    }
    gguf::read(&writer.bytes()).expect("a header").model().expect("a model")
}

fn memory(model: &Model, workload: &Workload) -> Memory {
    let scene = Scene { model, format: &WeightFormat::Stored, workload, hardware: &Hardware::default(), version: None, memo: None };
    LlamaCpp.memory(&scene, &mut Derivation::off()).expect("an answer")
}

fn codes(memory: &Memory) -> Vec<&'static str> {
    memory.warnings.iter().map(|warning| warning.code).collect()
}

fn deepseek4(ratios: Option<&[i32]>) -> Model {
    let mut extra = vec![
        ("attention.head_count_kv", Kv::U32(1)),
        ("attention.key_length", Kv::U32(512)),
        ("attention.value_length", Kv::U32(512)),
        ("attention.sliding_window", Kv::U32(128)),
    ];
    extra.extend(ratios.map(|ratios| ("attention.compress_ratios", numbers(ratios))));
    file("deepseek4", &extra)
}

#[test]
fn deepseek4_keeps_a_window_of_raw_keys_and_compressed_ones_of_all_tokens() {
    // The array may be longer than the file's layers.
    let model = deepseek4(Some(&[0, 4, 128, 4, 0]));
    let workload = Workload { concurrency: 2, ..Workload::new(10_000) };
    // 20,000 tokens are 20,224, of which each of two sequences gets 10,240 cells.
    let raw = 4 * 768 * 1024 * 2; // window 128 + batch 512, rounded up to 768 cells of 512 × 2 bytes
    let fine = 2 * 2560 * 1024 * 2; // 10,240 ÷ 4
    let coarse = 256 * 1024 * 2; // 10,240 ÷ 128 = 80, rounded up
    let indexer = 2 * 2560 * 256 * 2;
    let plain = memory(&model, &workload);
    assert_eq!(plain.kv_cache.get(), raw + fine + coarse + indexer);
    // Keys and scores of 32 bits: in fine layers 8 rows of 2 × 512 and of 2 × 128, in the coarse one 128 rows of 512.
    let states = 2 * (8 * 1024 + 8 * 256) * 4 * 2 + 128 * 512 * 4 * 2;
    assert_eq!(plain.recurrent_state.get(), states * 2);
    assert!(!codes(&plain).contains(&"cache_is_a_bound"));
    // A unified cache is not shared here: each sequence has as many cells as all together.
    let unified = memory(&model, &Workload { kv_unified: Some(true), ..workload.clone() });
    // 20,224 cells: 20,224 ÷ 4 = 5,056 and 20,224 ÷ 128 = 158, rounded up.
    assert_eq!(unified.kv_cache.get(), 2 * (4 * 768 * 1024 + 2 * 5120 * (1024 + 256) + 256 * 1024));
}

#[test]
fn deepseek4_without_ratios_is_a_bound_and_says_so() {
    let workload = Workload::new(32_768);
    let bound = memory(&deepseek4(None), &workload);
    assert!(codes(&bound).contains(&"cache_is_a_bound"));
    for ratios in [[4, 4, 4, 4], [128, 128, 128, 128], [0, 4, 128, 4], [0, 0, 0, 0]] {
        let known = memory(&deepseek4(Some(&ratios)), &workload);
        assert!(known.kv_cache <= bound.kv_cache && known.recurrent_state <= bound.recurrent_state, "{ratios:?}");
        assert!(!codes(&known).contains(&"cache_is_a_bound"));
    }
}

fn qwen4(ratios: Option<&[i32]>) -> Model {
    let mut extra = vec![
        ("attention.head_count_kv", Kv::U32(2)),
        ("attention.key_length", Kv::U32(256)),
        ("attention.value_length", Kv::U32(256)),
        ("full_attention_interval", Kv::U32(4)),
        ("ssm.conv_kernel", Kv::U32(4)),
        ("ssm.inner_size", Kv::U32(1024)),
        ("ssm.state_size", Kv::U32(128)),
        ("ssm.time_step_rank", Kv::U32(8)),
        ("ssm.group_count", Kv::U32(4)),
    ];
    extra.extend(ratios.map(|ratios| ("attention.compress_ratios", numbers(ratios))));
    file("qwen4exp", &extra)
}

#[test]
fn qwen4_caches_raw_and_pooled_keys_where_it_compresses() {
    let workload = Workload::new(8192);
    let heads = 8192 * 2 * 2 * 256 * 2; // one layer of four attends
    let raw = memory(&qwen4(None), &workload);
    assert_eq!(raw.kv_cache.get(), heads + 8192 * 128 * 2);
    let pooled = memory(&qwen4(Some(&[0, 0, 0, 16])), &workload);
    assert_eq!(pooled.kv_cache.get(), heads + 8192 * 2 * 128 * 2);
}
