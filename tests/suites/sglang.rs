//! SGLang's default fractions against its own code, its pools against public logs, and what it says to bad options.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss, missing_docs)]

use llm_vram_core::{
    Bytes, ErrorKind,
    derivation::Derivation,
    engine::{
        Engine, Memory, Scene,
        serving::{Parallel, cache_type::CacheType, matrix::Loaded, rank_weights, weights::Mxfp4Kernel},
        sglang::{
            SgLang,
            fraction::{Reserved, decode_graphs, memory_class, prefill_graphs},
            minimum_fraction,
            pools::{Pools, Rows},
        },
    },
    hardware::{Backend, Device, Hardware},
    quant::WeightFormat,
    workload::Workload,
};
use llm_vram_tests::{serving::served_model, tsv};

const GIB: f64 = 1_073_741_824.0;

#[test]
fn every_default_fraction_is_exact() {
    let rows = tsv("sglang_fractions.tsv");
    let mut misses = Vec::new();
    for row in &rows {
        let (memory_mib, devices, latent) = (row.number("gpu_mem_mib"), row.number("tp"), row.number("mla") == 1);
        let class = memory_class(memory_mib, devices);
        let reserved = Reserved {
            memory_mib,
            devices,
            latent,
            chunked_prefill_size: class.chunked_prefill_size,
            cuda_graph_max_bs: class.cuda_graph_max_bs,
        };
        let found = [
            ("chunked_prefill", class.chunked_prefill_size.to_string()),
            ("decode_graph_max_bs", class.cuda_graph_max_bs.to_string()),
            ("n_decode_graphs", decode_graphs(class.cuda_graph_max_bs).to_string()),
            ("n_prefill_graphs", prefill_graphs(class.chunked_prefill_size, latent).to_string()),
            ("mem_fraction_static", reserved.mem_fraction_static(false).to_string()),
        ];
        for (column, found) in found {
            if found != row.text(column) {
                misses.push(format!("{}: {column} {found}, expected {}", row.place(), row.text(column)));
            }
        }
    }
    println!("SGLang fractions: {} rows × 5 figures, {} off", rows.len(), misses.len());
    assert!(misses.is_empty(), "{}", misses.join("\n"));
    assert_eq!(rows.len(), 48);
}

/// Logs of SGLang that name enough: printed pools and weights. The printed "GB" are GiB, two decimals.
#[test]
fn pools_and_weights_of_logs_are_met() {
    let mut checked = 0;
    let mut check = |what: &str, found: f64, logged: f64, tolerance_percent: f64| {
        let error = (found / logged - 1.0).abs() * 100.0;
        println!("{what:48} {found:12.3} logged {logged:12.3} {error:6.2} %");
        assert!(error <= tolerance_percent, "{what}");
        checked += 1;
    };
    let page = 256;

    // DiffusionGemma 26B-A4B (the layers of Gemma 4 26B-A4B) on GB10, pages of 256 tokens.
    let model = served_model("gemma-4-26b-a4b");
    let rows = Rows::of(&model, &Parallel::ONE, CacheType::Half, &(0..30));
    let pools = Pools::of_tokens(67_584, true, page);
    check("Gemma 4 windowed tokens", pools.windowed_tokens as f64, 54_016.0, 0.0);
    let keys = |tokens: u64, row: u64| (tokens + page) as f64 * row as f64 / 2.0 / GIB;
    check("Gemma 4 windowed keys", keys(pools.windowed_tokens, rows.windowed), 5.18, 0.1);
    check("Gemma 4 full keys", keys(pools.full_tokens, rows.full), 0.65, 0.5);
    // Filled from their own bytes the pools come out the same, to the page.
    let refilled = Pools::fill(&rows, u64::try_from(pools.bytes(&rows, page)).unwrap(), page);
    assert!((67_584..=67_584 + page).contains(&refilled.full_tokens), "{}", refilled.full_tokens);

    // Qwen2.5-32B and Qwen3-32B on four devices; printed weights hold 0.26 GiB beside the tensors.
    let four = Parallel { tensor: 4, ..Parallel::ONE };
    let rows = Rows::of(&served_model("qwen2.5-32b"), &four, CacheType::Half, &(0..64));
    check("Qwen2.5-32B keys", 46_611.0 * rows.full as f64 / 2.0 / GIB, 1.42, 0.3);
    for (id, logged) in [("qwen2.5-32b", 15.54), ("qwen3-32b", 15.50)] {
        let model = served_model(id);
        let loaded = Loaded::new(&model, &WeightFormat::parse("BF16").unwrap(), "SGLang").unwrap();
        let weights = rank_weights(&model, &loaded, &four, &(0..64), Mxfp4Kernel::Triton).unwrap();
        check(id, weights.tensors.get() as f64 / GIB + 0.26, logged, 0.3);
    }

    // A hybrid of 36 gated delta nets (24 heads of 128 × 128, F32) and 12 attention layers (2 × 256, 8 bits).
    let states = Rows { state: Some(36 * 24 * 128 * 128 * 4), ..Rows::default() };
    let pools = Pools { state_slots: 48, ..Pools::default() };
    check("hybrid states, 48 slots", pools.bytes(&states, 1) as f64 / GIB, 2.58, 0.2);
    check("hybrid keys", 240_128.0 * (12 * 512) as f64 / GIB, 1.37, 0.3);

    // DeepSeek-V4-Pro on eight H200: 12.25 of 137.9 GiB free after loading.
    let gib = |gib: f64| Bytes::mib((gib * 1024.0) as u64);
    check("least fraction", minimum_fraction(gib(137.9), gib(12.25)), 0.9113, 0.03);
    assert_eq!(checked, 9);
}

fn hardware(count: usize, id: &str, total_gib: f64) -> Hardware {
    let device = Device {
        id: id.into(),
        name: id.into(),
        backend: Backend::Cuda,
        nameplate_bytes: Bytes::mib(total_gib as u64 * 1024),
        visible_bytes: Bytes::mib((total_gib * 1024.0) as u64),
        visible_is_measured: true,
        unified_memory: false,
        bandwidth_bytes_per_second: None,
        compute_capability: Some(90),
    };
    Hardware { devices: vec![device; count], host_bytes: None }
}

fn ask(
    model: &str,
    format: &str,
    workload: &Workload,
    hardware: &Hardware,
    version: Option<&str>,
) -> llm_vram_core::Result<Memory> {
    let model = served_model(model);
    let format = WeightFormat::parse(format).unwrap();
    let scene = Scene { model: &model, format: &format, workload, hardware, version, memo: None };
    SgLang.memory(&scene, &mut Derivation::on())
}

fn codes(memory: &Memory) -> Vec<&'static str> {
    memory.warnings.iter().map(|warning| warning.code).collect()
}

#[test]
fn pools_fill_what_the_fraction_leaves() {
    let card = hardware(1, "h100", 79.19);
    let memory = ask("llama-3.1-8b", "BF16", &Workload::new(8192), &card, None).unwrap();
    let pool = memory.devices[0].kv_pool.unwrap();
    // free × fraction - weights, in tokens of 128 KiB.
    let expected = ((79.19 - 0.51) * 0.829 - 14.99 - 0.26) * 8192.0;
    assert!((pool.tokens as f64 / expected - 1.0).abs() < 0.002, "{} for {expected}", pool.tokens);
    assert!(memory.devices[0].used().expected.get() as f64 / GIB < 79.19);
    assert!(codes(&memory).is_empty(), "{:?}", memory.warnings);

    let without = ask("llama-3.1-8b", "BF16", &Workload::new(8192), &Hardware::default(), None).unwrap();
    assert_eq!(without.devices[0].kv_pool, None);
    assert_eq!(without.kv_cache.get(), 1 << 30);

    // A hybrid: states and tokens share the budget.
    let memory = ask("qwen3-next-80b-a3b", "FP8", &Workload::new(8192), &hardware(2, "h100", 79.19), None).unwrap();
    let pool = memory.devices[0].kv_pool.unwrap();
    assert!(pool.tokens > 0 && pool.concurrency >= 1.0, "{pool:?}");
}

#[test]
fn what_does_not_run_says_so() {
    let card = hardware(1, "rtx-4090", 23.64);
    let workload = Workload::new(8192);
    assert!(codes(&ask("llama-3.3-70b", "BF16", &workload, &card, None).unwrap()).contains(&"does_not_start"));
    assert!(codes(&ask("llama-3.1-8b", "BF16", &Workload::new(131_072), &card, None).unwrap()).contains(&"context_above_pool"));
    assert_eq!(
        codes(&ask("llama-3.1-8b", "BF16", &workload, &hardware(1, "h100", 79.19), Some("0.4.1")).unwrap()),
        ["unknown_engine_version"]
    );
    assert!(codes(&ask("llama-3.1-8b", "Q4_K_M", &workload, &card, None).unwrap()).contains(&"gguf_experimental"));

    let kind = |format: &str, workload: &Workload, hardware: &Hardware, version| {
        ask("llama-3.1-8b", format, workload, hardware, version).unwrap_err().kind()
    };
    assert_eq!(kind("MLX-4bit", &workload, &card, None), ErrorKind::Unsupported);
    assert_eq!(kind("EXL3-4.0bpw", &workload, &card, None), ErrorKind::Unsupported);
    assert_eq!(kind("BF16", &workload, &card, Some("latest")), ErrorKind::InvalidValue);
    for fraction in [0.0, 2.0, f64::NAN] {
        let workload = Workload { gpu_memory_utilization: Some(fraction), ..Workload::new(8192) };
        assert_eq!(kind("BF16", &workload, &card, None), ErrorKind::OutOfRange);
    }
    let three = Workload { tensor_parallel_size: Some(3), ..Workload::new(8192) };
    assert_eq!(kind("BF16", &three, &hardware(3, "h100", 79.19), None), ErrorKind::EngineRefuses);
    let quantised = Workload { kv_cache_type_k: Some("q8_0".into()), ..Workload::new(8192) };
    assert_eq!(kind("BF16", &quantised, &card, None), ErrorKind::UnknownQuant);
}
