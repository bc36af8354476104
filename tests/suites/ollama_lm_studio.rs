//! Ollama and LM Studio: the arguments that they give llama.cpp, and what they refuse.
#![allow(clippy::expect_used, clippy::panic)]

use llm_vram_core::{
    Bytes, ErrorKind, Model,
    derivation::Derivation,
    engine::{
        Engine, Memory, Scene,
        llama_cpp::LlamaCpp,
        lm_studio::LmStudio,
        ollama::{Ollama, default_context, default_num_batch, predicted_bytes},
    },
    hardware::{Backend, Device, Hardware},
    quant::{FileType, WeightFormat},
    workload::{FlashAttention, Workload},
};

fn machine(mebibytes: &[u64]) -> Hardware {
    let card = |&size: &u64| Device {
        id: "card".into(),
        name: "card".into(),
        backend: Backend::Cuda,
        nameplate_bytes: Bytes::mib(size),
        visible_bytes: Bytes::mib(size),
        visible_is_measured: true,
        unified_memory: false,
        bandwidth_bytes_per_second: None,
        compute_capability: Some(89),
    };
    Hardware { devices: mebibytes.iter().map(card).collect(), host_bytes: None }
}

fn ask(engine: &dyn Engine, model: &Model, workload: &Workload, version: Option<&str>) -> llm_vram_core::Result<Memory> {
    let (format, hardware) = (WeightFormat::gguf(FileType::Q4_K_M), machine(&[24_080]));
    engine.memory(&Scene { model, format: &format, workload, hardware: &hardware, version, memo: None }, &mut Derivation::off())
}

fn option<'a>(memory: &'a Memory, name: &str) -> &'a str {
    memory.resolved.iter().find(|option| option.name == name).map_or("", |option| &option.value)
}

#[test]
fn ollama_s_default_context_follows_memory() {
    // CUDA totals of public logs: one RTX 4090, two, four RTX 4070 on Linux and on Windows, 16 GB, a Mac of 32 GB.
    let cases = [
        (24_080, 32_768),
        (48_160, 262_144),
        (47_492, 32_768),
        (49_124, 262_144),
        (15_849, 4096),
        (21_845, 4096),
        (25_600, 32_768),
    ];
    for (mebibytes, context) in cases {
        assert_eq!(default_context(Bytes::mib(mebibytes), 1 << 20), context, "{mebibytes} MiB");
    }
    assert_eq!(default_context(Bytes::mib(24_080), 8192), 8192);
}

#[test]
fn ollama_s_batch_follows_context_and_room() {
    let model = llm_vram_tests::model("llama-3.1-8b");
    let file = Bytes::new(4_912_898_304).expect("small");
    let predicted = |context| predicted_bytes(&model, file, context);
    // 4.58 GiB + 4 GiB.
    assert_eq!(predicted(32_768).get(), 4_912_898_304 + (4 << 30));
    let batch = |context, size: &[u64], flash| default_num_batch(context, predicted(context), &machine(size), flash);
    let auto = FlashAttention::Auto;
    assert_eq!(batch(4096, &[24_080], auto), 512);
    assert_eq!(batch(32_768, &[24_080], auto), 1024);
    assert_eq!(batch(65_536, &[24_080], auto), 2048);
    // 12.6 GiB are more than 60 % of 15.5, and more than 75 %.
    assert_eq!(batch(65_536, &[15_849], auto), 512);
    assert_eq!(batch(32_768, &[8192], FlashAttention::Off), 256);
    assert_eq!(batch(32_768, &[24_080], FlashAttention::Off), 512);
}

#[test]
fn ollama_passes_its_own_arguments() {
    let model = llm_vram_tests::model("llama-3.1-8b");
    let memory = ask(&Ollama, &model, &Workload::new(32_768), None).expect("an answer");
    assert_eq!((option(&memory, "num_batch"), option(&memory, "num_parallel")), ("1024", "1"));
    let plain = ask(&LlamaCpp, &model, &Workload::new(32_768), None).expect("an answer");
    assert_eq!(memory.kv_cache, plain.kv_cache);
    assert!(memory.devices[0].compute_buffer.expected > plain.devices[0].compute_buffer.expected, "a larger batch");
    // Both caches take the one type.
    let quantised = Workload { kv_cache_type_k: Some("q8_0".into()), ..Workload::new(32_768) };
    let quantised = ask(&Ollama, &model, &quantised, None).expect("an answer");
    assert_eq!(quantised.kv_cache.get() * 32, memory.kv_cache.get() * 17);
}

#[test]
fn ollama_serves_some_models_one_at_a_time_and_cuts_contexts() {
    let model = llm_vram_tests::model("qwen3.5-4b");
    let parallel = Workload { concurrency: 4, ..Workload::new(4096) };
    let memory = ask(&Ollama, &model, &parallel, None).expect("an answer");
    assert_eq!(option(&memory, "num_parallel"), "1");
    assert!(memory.warnings.iter().any(|warning| warning.code == "parallel_forced_to_one"));
    let model = llm_vram_tests::model("llama-2-7b");
    let memory = ask(&Ollama, &model, &Workload::new(8192), None).expect("an answer");
    assert_eq!(option(&memory, "num_ctx"), "4096");
    assert!(memory.warnings.iter().any(|warning| warning.code == "context_clamped"));
}

#[test]
fn versions_before_and_after_llama_server() {
    let model = llm_vram_tests::model("llama-3.1-8b");
    let old = ask(&Ollama, &model, &Workload::new(32_768), Some("0.12.3")).expect("an answer");
    assert_eq!(option(&old, "num_batch"), "512");
    for code in ["engine_modelled", "unknown_engine_version"] {
        assert!(old.warnings.iter().any(|warning| warning.code == code), "{code}");
    }
    assert!(ask(&Ollama, &model, &Workload::new(4096), Some("v0.33.0-rc2")).expect("an answer").warnings.is_empty());
    for (engine, nonsense) in [(&Ollama as &dyn Engine, "newest"), (&LmStudio, "4"), (&LmStudio, "")] {
        let error = ask(engine, &model, &Workload::new(4096), Some(nonsense)).expect_err(nonsense);
        assert_eq!(error.kind(), ErrorKind::InvalidValue);
    }
}

#[test]
fn foreign_options_are_refused() {
    let model = llm_vram_tests::model("llama-3.1-8b");
    let plain = Workload::new(4096);
    let cases: [(&dyn Engine, Workload); 6] = [
        (&Ollama, Workload { kv_unified: Some(true), ..plain.clone() }),
        (&Ollama, Workload { tensor_split: Some(vec![1.0]), ..plain.clone() }),
        (&Ollama, Workload { kv_cache_type_v: Some("q8_0".into()), ..plain.clone() }),
        (&Ollama, Workload { n_batch: Some(512), n_ubatch: Some(256), ..plain.clone() }),
        (&LmStudio, Workload { swa_full: Some(true), ..plain.clone() }),
        (&LmStudio, Workload { n_outputs_max: Some(3), ..plain.clone() }),
    ];
    for (engine, workload) in &cases {
        let error = ask(*engine, &model, workload, None).expect_err("a refusal");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.field_name().is_some() && error.help_text().is_some());
    }
}

#[test]
fn lm_studio_shares_one_cache_between_four_slots() {
    let model = llm_vram_tests::model("gemma-3-27b");
    let memory = ask(&LmStudio, &model, &Workload::new(32_768), None).expect("an answer");
    assert_eq!((option(&memory, "maxConcurrentPredictions"), option(&memory, "unifiedKvCache")), ("4", "true"));
    // llama-server's own default gives the same caches: 2,560 MiB and 4,608 cells of 52 layers.
    assert_eq!(memory.kv_cache, Bytes::mib(2560 + 1872));
    let before = ask(&LmStudio, &model, &Workload::new(32_768), Some("0.3")).expect("an answer");
    assert_eq!(before.kv_cache, Bytes::mib(3184));
    assert!(memory.warnings.iter().any(|warning| warning.code == "defaults_assumed"));
}
