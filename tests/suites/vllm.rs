//! vLLM's cache planning against the results of its own code, and what it says to options that it refuses.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;

use llm_vram_core::{
    Bytes, ErrorKind, Model,
    derivation::Derivation,
    engine::{
        Engine, Memory, Scene,
        serving::{Parallel, cache_type::CacheType, state::StateTypes},
        sglang::SgLang,
        vllm::{
            Vllm,
            kv_plan::KvPlan,
            kv_spec::{SpecKind, SpecOptions, layer_specs, parse_cache_type},
            rules::Rules,
        },
    },
    hardware::{Backend, Device, Hardware},
    quant::{GgmlType, WeightFormat},
    workload::Workload,
};
use llm_vram_tests::{Row, models, serving::served_model, tsv};

/// The value of `name=value` among a row's options.
fn option<'a>(row: &'a Row, name: &str) -> Option<&'a str> {
    row.text("options").split(' ').find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
}

fn has(row: &Row, name: &str) -> bool {
    row.text("options").split(' ').any(|option| option == name)
}

fn spec_options(row: &Row, model: &Model) -> SpecOptions {
    let cache_type = parse_cache_type(option(row, "cache")).unwrap();
    let sparse = row.text("model").starts_with("deepseek-v3.2");
    let mut state_types = StateTypes::of(model.architecture());
    if let Some(bytes) = option(row, "state") {
        state_types.recurrent = bytes.parse().unwrap();
    }
    SpecOptions {
        parallel: Parallel { tensor: row.number("tensor_parallel_size"), ..Parallel::ONE },
        cache_type: if sparse && cache_type == CacheType::Byte { CacheType::LatentByte } else { cache_type },
        block_size: option(row, "block").map_or(16, |block| block.parse().unwrap()),
        state_types,
        max_model_len: row.number("max_model_len"),
        align: has(row, "align"),
        disable_hybrid_kv_cache_manager: has(row, "nohybrid"),
    }
}

/// The groups as the vectors write them: kind, layers and tokens per block, in the engine's order.
fn groups(plan: &KvPlan) -> String {
    let name = |kind| match kind {
        SpecKind::Full => "Full",
        SpecKind::Latent => "MLA",
        SpecKind::Sliding(_) => "SlidingWindow",
        SpecKind::Chunked(_) => "ChunkedLocal",
        SpecKind::State => "Mamba",
    };
    let groups = plan.buckets.iter().flat_map(|bucket| {
        bucket.group_layers().map(|layers| format!("{}:{layers}x{}", name(bucket.kind), bucket.block_tokens)).collect::<Vec<_>>()
    });
    groups.collect::<Vec<_>>().join(";")
}

fn sorted(groups: &str) -> Vec<&str> {
    let mut groups: Vec<&str> = groups.split(';').collect();
    groups.sort_unstable();
    groups
}

#[test]
fn every_planned_cache_is_exact() {
    let rows = tsv("vllm_kv.tsv");
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    let mut misses = Vec::new();
    for row in &rows {
        let model = models.entry(row.text("model").into()).or_insert_with(|| served_model(row.text("model")));
        let (_, rules, _) = Rules::of(Some(row.text("version"))).unwrap();
        let options = spec_options(row, model);
        let specs = layer_specs(model, &options, rules).unwrap();
        let stage = 0..model.hyperparameters().block_count;
        let plan = KvPlan::new(&specs, &[stage], options.align, rules).unwrap();

        let length = options.max_model_len;
        let in_flight = rules.tokens_in_flight(row.number("max_num_batched_tokens"), 1, rules.runs_on_v2(model));
        let available = Bytes::new(row.number("available_bytes")).unwrap();
        let blocks = plan.num_blocks([available]);
        let block = plan.bytes_per_block[0].get();
        let request = plan.blocks_per_request(length, in_flight);
        let found = [
            ("bytes_per_block", block.to_string()),
            ("num_blocks", blocks.to_string()),
            ("blocks_per_request", request.to_string()),
            ("logged_tokens", plan.logged_tokens(blocks, length, in_flight).to_string()),
            ("max_concurrency", format!("{:.6}", plan.concurrency(blocks, length, in_flight))),
            ("bytes_per_request", (request * block).to_string()),
            ("allocated_bytes", (blocks * block).to_string()),
        ];
        for (column, found) in found {
            if found != row.text(column) {
                misses.push(format!("{} {}: {column} {found}, expected {}", row.place(), row.text("model"), row.text(column)));
            }
        }
        if sorted(&groups(&plan)) != sorted(row.text("groups")) {
            misses.push(format!("{} {}: {} expected {}", row.place(), row.text("model"), groups(&plan), row.text("groups")));
        }
    }
    println!("vLLM cache plans: {} rows × 8 figures, {} off", rows.len(), misses.len());
    assert!(misses.is_empty(), "{}", misses.join("\n"));
    assert_eq!(rows.len(), 105);
}

fn hardware(count: usize, total_gib: f64, capability: u32) -> Hardware {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let total = Bytes::new((total_gib * 1_073_741_824.0) as u64).unwrap();
    let device = Device {
        id: "h100-sxm-80gb".into(),
        name: "NVIDIA H100 80GB".into(),
        backend: Backend::Cuda,
        nameplate_bytes: Bytes::mib(80 * 1024),
        visible_bytes: total,
        visible_is_measured: true,
        unified_memory: false,
        bandwidth_bytes_per_second: None,
        compute_capability: Some(capability),
    };
    Hardware { devices: vec![device; count], host_bytes: None }
}

fn ask(model: &str, workload: &Workload, hardware: &Hardware, version: &str) -> llm_vram_core::Result<Memory> {
    let model = served_model(model);
    let format = WeightFormat::Plain(GgmlType::BF16);
    let scene = Scene { model: &model, format: &format, workload, hardware, version: Some(version), memo: None };
    Vllm.memory(&scene, &mut Derivation::on())
}

fn codes(memory: &Memory) -> Vec<&'static str> {
    memory.warnings.iter().map(|warning| warning.code).collect()
}

#[test]
fn a_logged_run_is_met_through_the_engine() {
    let workload = Workload { gpu_memory_utilization: Some(0.95), ..Workload::new(8192) };
    let memory = ask("qwen2.5-7b", &workload, &hardware(1, 79.19, 90), "0.19.0").unwrap();
    let pool = memory.devices[0].kv_pool.unwrap();
    // Logged: 58.53 GiB, 1,095,952 tokens, 133.78 requests.
    println!("Qwen2.5-7B, 0.19: {} tokens, {:.2} requests", pool.tokens, pool.concurrency);
    assert!(pool.tokens.abs_diff(1_095_952) < 1_100, "{}", pool.tokens);
    assert!((pool.concurrency - 133.78).abs() < 0.15, "{}", pool.concurrency);
    assert!(codes(&memory).is_empty(), "{:?}", memory.warnings);
    // At rest the card holds its share, the context and, in this version, the graphs.
    let used = memory.devices[0].used();
    let gib = |bytes: Bytes| bytes.get() as f64 / 1_073_741_824.0;
    assert!((gib(used.expected) - (79.19 * 0.95 + 0.51 + 0.87)).abs() < 0.2, "{}", gib(used.expected));
}

#[test]
fn pipeline_stages_take_the_smallest_number_of_blocks() {
    // vLLM 0.19.0 and 0.33.0, run: bytes per block of each stage.
    let expected: [(&str, u64, &[u64]); 3] = [
        ("gemma-3-27b", 2, &[655_360, 655_360]),
        ("llama-3.3-70b", 3, &[1_769_472, 1_769_472, 1_703_936]),
        ("llama-3.1-8b", 2, &[1_048_576, 1_048_576]),
    ];
    for version in ["0.19.0", "0.33.0"] {
        let (_, rules, _) = Rules::of(Some(version)).unwrap();
        for (id, pipeline, bytes) in expected {
            let model = served_model(id);
            let parallel = Parallel { pipeline, ..Parallel::ONE };
            let options = SpecOptions {
                parallel,
                cache_type: CacheType::Half,
                block_size: 16,
                state_types: StateTypes::of(model.architecture()),
                max_model_len: 8192,
                align: false,
                disable_hybrid_kv_cache_manager: false,
            };
            let stages: Vec<_> = parallel.stages(model.hyperparameters().block_count).collect();
            let plan = KvPlan::new(&layer_specs(&model, &options, rules).unwrap(), &stages, false, rules).unwrap();
            let found: Vec<u64> = plan.bytes_per_block.iter().map(|bytes| bytes.get()).collect();
            assert_eq!(found, bytes, "{id}");
            let gib = |gib: u64| Bytes::mib(gib * 1024);
            match id {
                "llama-3.3-70b" => assert_eq!(plan.num_blocks([gib(20), gib(20), gib(20)]), 12_136),
                "llama-3.1-8b" => assert_eq!(plan.num_blocks([gib(20), gib(19)]), 19_456),
                _ => {}
            }
        }
    }
}

#[test]
fn without_hardware_the_need_is_stated_and_no_pool() {
    let workload = Workload { concurrency: 4, ..Workload::new(8192) };
    let memory = ask("llama-3.1-8b", &workload, &Hardware::default(), "0.33.0").unwrap();
    assert_eq!(memory.kv_cache.get(), 4 << 30);
    assert_eq!(memory.weights.get(), 16_060_522_496);
    assert_eq!(memory.devices.len(), 1);
    assert_eq!(memory.devices[0].kv_pool, None);
}

#[test]
fn tensor_parallel_ranks_hold_copies_of_few_heads() {
    let memory = ask("llama-3.1-8b", &Workload::new(8192), &hardware(16, 79.19, 90), "0.33.0").unwrap();
    assert_eq!(memory.devices.len(), 16);
    assert_eq!(memory.devices[0].kv_cache.get(), 134_217_728);
    assert_eq!(memory.kv_cache.get(), 2 << 30, "twice the single device's gibibyte");
    assert!(codes(&memory).contains(&"kv_heads_replicated"));
    // 40 heads do not divide by 16: eight ranks in two stages.
    let memory = ask("phi-4-14b", &Workload::new(8192), &hardware(16, 79.19, 90), "0.33.0").unwrap();
    let option = |name| memory.resolved.iter().find(|option| option.name == name).map(|option| option.value.clone());
    assert_eq!(option("tensor_parallel_size").as_deref(), Some("2"));
    assert_eq!(option("pipeline_parallel_size").as_deref(), Some("8"));
}

#[test]
fn what_does_not_start_says_so_and_what_would() {
    let small = hardware(1, 23.64, 89);
    let memory = ask("llama-3.1-8b", &Workload::new(131_072), &small, "0.33.0").unwrap();
    let warning = memory.warnings.iter().find(|warning| warning.code == "does_not_start").unwrap();
    assert!(warning.message.contains("the longest max_model_len that fits is"), "{}", warning.message);
    let memory = ask("llama-3.3-70b", &Workload::new(8192), &small, "0.33.0").unwrap();
    assert!(codes(&memory).contains(&"does_not_start"));
    let greedy = Workload { gpu_memory_utilization: Some(1.0), ..Workload::new(8192) };
    let memory = ask("llama-3.1-8b", &greedy, &hardware(1, 79.19, 90), "0.33.0").unwrap();
    let warning = memory.warnings.iter().find(|warning| warning.code == "does_not_start").unwrap();
    assert!(warning.message.contains("free at start"), "{}", warning.message);
}

#[test]
fn what_the_engine_refuses_is_a_typed_error() {
    let one = hardware(1, 79.19, 90);
    let kind = |model: &str, workload: &Workload, hardware: &Hardware| ask(model, workload, hardware, "0.33.0").unwrap_err().kind();
    for utilization in [0.0, 2.0, -1.0, f64::NAN] {
        let workload = Workload { gpu_memory_utilization: Some(utilization), ..Workload::new(8192) };
        assert_eq!(kind("llama-3.1-8b", &workload, &one), ErrorKind::OutOfRange, "{utilization}");
    }
    let three = Workload { tensor_parallel_size: Some(3), ..Workload::new(8192) };
    assert_eq!(kind("llama-3.1-8b", &three, &hardware(3, 79.19, 90)), ErrorKind::EngineRefuses);
    let too_many = Workload { tensor_parallel_size: Some(4), pipeline_parallel_size: Some(2), ..Workload::new(8192) };
    assert_eq!(kind("llama-3.1-8b", &too_many, &hardware(4, 79.19, 90)), ErrorKind::EngineRefuses);
    let stages = Workload { pipeline_parallel_size: Some(64), ..Workload::new(8192) };
    assert_eq!(kind("llama-3.1-8b", &stages, &Hardware::default()), ErrorKind::EngineRefuses);
    let quantised = Workload { kv_cache_type_k: Some("q8_0".into()), ..Workload::new(8192) };
    assert_eq!(kind("llama-3.1-8b", &quantised, &one), ErrorKind::UnknownQuant);
    let mixed = Workload { kv_cache_type_k: Some("fp8".into()), kv_cache_type_v: Some("auto".into()), ..Workload::new(8192) };
    assert_eq!(kind("llama-3.1-8b", &mixed, &one), ErrorKind::Contradiction);
    let mut mac = hardware(1, 64.0, 0);
    mac.devices[0].backend = Backend::Metal;
    assert_eq!(kind("llama-3.1-8b", &Workload::new(8192), &mac), ErrorKind::EngineRefuses);
    let unknown = ask("llama-3.1-8b", &Workload::new(8192), &one, "0.50.0").unwrap();
    assert_eq!(codes(&unknown), ["unknown_engine_version"]);
}

#[test]
fn extreme_questions_end_in_an_answer_or_an_error() {
    let mut answers = 0;
    let mut errors = 0;
    let cards = [Hardware::default(), hardware(1, 0.01, 90), hardware(8, 79.19, 90), hardware(64, 1_000_000.0, 100)];
    let formats: Vec<WeightFormat> =
        ["BF16", "FP8", "W4A16", "NF4-dq", "MXFP4"].map(|name| WeightFormat::parse(name).unwrap()).into();
    for (id, record) in models() {
        let model = record.model();
        for (number, (context, concurrency, block_size)) in
            [(1, 1, None), (1 << 27, 65_536, Some(1)), (1 << 27, 65_536, Some(1 << 16)), (8192, 3, None)].into_iter().enumerate()
        {
            let workload = Workload {
                concurrency,
                block_size,
                max_num_seqs: (number % 2 == 1).then_some(1 << 20),
                max_num_batched_tokens: (number % 2 == 1).then_some(1 << 24),
                tensor_parallel_size: (number == 2).then_some(4096),
                pipeline_parallel_size: (number == 3).then_some(2),
                enable_expert_parallel: number == 3,
                ..Workload::new(context)
            };
            for (hardware, format) in cards.iter().flat_map(|card| formats.iter().map(move |format| (card, format))) {
                for version in ["0.33.0", "0.19.0", "0.6.6"] {
                    let scene = Scene { model: &model, format, workload: &workload, hardware, version: Some(version), memo: None };
                    let engines: [&dyn Engine; 2] = [&Vllm, &SgLang];
                    for engine in engines {
                        match engine.memory(&scene, &mut Derivation::off()) {
                            Ok(memory) => {
                                answers += 1;
                                assert!(memory.devices.iter().all(|device| device.weights.get() > 0 || device.layers == 0), "{id}");
                            }
                            Err(error) => {
                                errors += 1;
                                assert!(!error.message().is_empty());
                            }
                        }
                    }
                }
            }
        }
    }
    println!("{answers} answers, {errors} errors");
    assert!(answers > 3_000, "{answers}");
}
