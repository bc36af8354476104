//! llama.cpp as an engine: whole answers, refusals in its words, remarks, derivations, and what never fails.
#![allow(clippy::expect_used, clippy::panic)]

use llm_vram_core::{
    Bytes, ErrorKind, Model,
    derivation::{Derivation, Step},
    engine::{Engine, Memory, Scene, llama_cpp::LlamaCpp},
    hardware::{Backend, Device, Hardware},
    quant::{FileType, QuantTarget, WeightFormat},
    workload::{Defaults, FlashAttention, Workload},
};

const MIB: f64 = 1_048_576.0;

fn card(backend: Backend, mebibytes: u64) -> Device {
    Device {
        id: "card".into(),
        name: "card".into(),
        backend,
        nameplate_bytes: Bytes::mib(mebibytes),
        visible_bytes: Bytes::mib(mebibytes),
        visible_is_measured: true,
        unified_memory: backend == Backend::Metal,
        bandwidth_bytes_per_second: None,
        compute_capability: (backend == Backend::Cuda).then_some(89),
    }
}

fn cards(backend: Backend, count: usize) -> Hardware {
    Hardware { devices: vec![card(backend, 24_576); count], host_bytes: None }
}

fn q4() -> WeightFormat {
    WeightFormat::Gguf(QuantTarget::new(FileType::Q4_K_M))
}

fn ask(model: &Model, workload: &Workload, hardware: &Hardware) -> llm_vram_core::Result<Memory> {
    let format = q4();
    let scene = Scene { model, format: &format, workload, hardware, version: None, memo: None };
    LlamaCpp.memory(&scene, &mut Derivation::off())
}

fn mebibytes(bytes: Bytes) -> f64 {
    bytes.get() as f64 / MIB
}

#[test]
fn a_server_on_one_card() {
    let model = llm_vram_tests::model("llama-3.1-8b");
    let memory = ask(&model, &Workload::new(32_768), &cards(Backend::Cuda, 1)).expect("an answer");
    assert_eq!(memory.weights.get(), 4_912_898_304);
    let device = &memory.devices[0];
    assert_eq!(device.weights.get(), 4_912_898_304 - 295_501_824, "the embedding stays on the host");
    assert_eq!(mebibytes(device.kv_cache), 4096.0);
    assert_eq!(device.layers, 32);
    assert!((mebibytes(device.compute_buffer.expected) - 148.0).abs() < 0.1, "{:?}", device.compute_buffer);
    assert!(!device.compute_buffer.is_range());
    assert_eq!(memory.host.output_buffer.get(), 128_256 * 4);
    assert_eq!(device.overhead.len(), 3);
    assert!(memory.warnings.is_empty(), "{:?}", memory.warnings);
}

#[test]
fn parts_add_up_wherever_they_lie() {
    let workload = Workload { n_gpu_layers: Some(20), n_cpu_moe: Some(10), ..Workload::new(8192) };
    let mut answers = 0;
    for (id, record) in llm_vram_tests::models() {
        let model = record.model();
        for hardware in [cards(Backend::Cuda, 2), cards(Backend::Cpu, 1), Hardware::default(), cards(Backend::Vulkan, 1)] {
            let memory = ask(&model, &workload, &hardware).unwrap_or_else(|error| panic!("{id}: {error}"));
            assert_eq!(memory.devices.len(), hardware.devices.len().max(1), "{id}");
            let sum = |part: fn(&llm_vram_core::engine::DeviceMemory) -> Bytes| memory.devices.iter().map(part).sum::<Bytes>();
            assert_eq!(sum(|device| device.kv_cache) + memory.host.kv_cache, memory.kv_cache, "{id}");
            assert_eq!(sum(|device| device.recurrent_state) + memory.host.recurrent_state, memory.recurrent_state, "{id}");
            assert!(sum(|device| device.weights) + memory.host.weights >= memory.weights, "{id}");
            answers += 1;
        }
    }
    println!("{answers} answers add up");
    assert_eq!(answers, 62 * 4);
}

#[test]
fn a_processor_holds_everything() {
    let model = llm_vram_tests::model("qwen3-0.6b");
    let memory = ask(&model, &Workload::new(4096), &cards(Backend::Cpu, 1)).expect("an answer");
    assert_eq!(memory.host.total(), Bytes::ZERO);
    assert_eq!(memory.devices[0].layers, 28);
    assert!(memory.devices[0].weights >= memory.weights);
    assert!(memory.devices[0].overhead.is_empty());
}

#[test]
fn refusals_are_the_engine_s() {
    let cases: [(&str, Workload, &str); 5] = [
        (
            "deepseek-v3-671b",
            Workload { kv_cache_type_k: Some("q8_0".into()), ..Workload::new(4096) },
            "different K (q8_0) and V (f16)",
        ),
        (
            "llama-3.1-8b",
            Workload { kv_cache_type_v: Some("q8_0".into()), flash_attn: FlashAttention::Off, ..Workload::new(4096) },
            "requires flash_attn",
        ),
        ("llama-3.1-8b", Workload { concurrency: 257, ..Workload::new(4096) }, "n_seq_max must be <= 256"),
        ("llama-3.1-8b", Workload { concurrency: 256, ..Workload::new(1 << 27) }, "32 bits"),
        ("llama-3.1-8b", Workload { kv_cache_type_k: Some("fp8".into()), ..Workload::new(4096) }, "unsupported cache type: `fp8`"),
    ];
    for (id, workload, words) in cases {
        let error = ask(&llm_vram_tests::model(id), &workload, &Hardware::default()).expect_err(words);
        assert!(error.message().contains(words), "{error}");
        assert!(matches!(error.kind(), ErrorKind::EngineRefuses | ErrorKind::UnknownQuant), "{error}");
        assert!(error.field_name().is_some() && error.help_text().is_some());
    }
}

#[test]
fn remarks_say_what_matters() {
    let quantised = |id: &str, workload: Workload| (llm_vram_tests::model(id), workload);
    let cases = [
        (
            quantised("mamba-2.8b", Workload { kv_cache_type_k: Some("q8_0".into()), ..Workload::new(4096) }),
            "kv_cache_type_ignored",
        ),
        (quantised("qwen3-next-80b-a3b", Workload::new(4096)), "context_checkpoints"),
        (quantised("qwen3-next-80b-a3b", Workload::new(4096)), "server_slots"),
        (quantised("gemma-3-27b", Workload::new(32_768)), "context_checkpoints"),
        (quantised("llama-2-7b", Workload::new(8192)), "context_beyond_training"),
        (quantised("glm-4.5-air", Workload::new(4096)), "mtp_layers_idle"),
        (quantised("llama-3.1-8b", Workload { n_gpu_layers: Some(99), ..Workload::new(4096) }), "n_gpu_layers_above_layers"),
        (quantised("llama-3.1-8b", Workload { n_cpu_moe: Some(9), ..Workload::new(4096) }), "n_cpu_moe_without_experts"),
    ];
    for ((model, workload), code) in cases {
        let memory = ask(&model, &workload, &cards(Backend::Cuda, 1)).expect("an answer");
        assert!(memory.warnings.iter().any(|warning| warning.code == code), "{code}: {:?}", memory.warnings);
        for warning in &memory.warnings {
            println!("{}: {}", warning.code, warning.message);
        }
    }
    // Phi-3 mini describes a window of 2047 tokens, which llama.cpp disables.
    let mut hp = llm_vram_tests::record("phi-3.5-mini").hyperparameters();
    hp.sliding_window = Some(2047);
    let model = Model::new(hp).expect("a model");
    let memory = ask(&model, &Workload::new(4096), &cards(Backend::Cuda, 1)).expect("an answer");
    assert!(memory.warnings.iter().any(|warning| warning.code == "window_ignored"), "{:?}", memory.warnings);
}

#[test]
fn every_figure_has_a_step() {
    let model = llm_vram_tests::model("gemma-3-27b");
    let (format, workload, hardware) = (q4(), Workload::new(32_768), cards(Backend::Cuda, 2));
    let scene = Scene { model: &model, format: &format, workload: &workload, hardware: &hardware, version: None, memo: None };
    let mut derivation = Derivation::on();
    let memory = LlamaCpp.memory(&scene, &mut derivation).expect("an answer");
    let steps = derivation.into_steps();
    for step in &steps {
        println!("{} = {} {}: {} [{}]", step.id, step.result, step.unit, step.formula, step.label);
    }
    let total = |id: &str| steps.iter().filter(|step| step.id == id).map(|step| step.result as u64).sum::<u64>();
    assert_eq!(total("llama_cpp.kv_cache") + total("llama_cpp.kv_cache_swa"), memory.kv_cache.get());
    assert_eq!(total("llama_cpp.weights"), memory.weights.get());
    assert_eq!(total("llama_cpp.output_buffer"), memory.host.output_buffer.get());
    let on_devices: u64 = memory.devices.iter().map(|device| device.weights.get()).sum();
    assert_eq!(total("llama_cpp.weights_on_device"), on_devices);
    let computed: u64 = memory.devices.iter().map(|device| device.compute_buffer.expected.get()).sum();
    assert_eq!(total("llama_cpp.compute_buffer"), computed + memory.host.compute_buffer.get());
    assert!(steps.iter().all(|step: &Step| !step.source.is_empty() && !step.formula.is_empty()));
}

#[test]
fn versions_differ_as_published() {
    let model = llm_vram_tests::model("llama-3.1-8b");
    let (format, workload, hardware) = (q4(), Workload::new(32_768), cards(Backend::Cuda, 1));
    let scene = |version| Scene { model: &model, format: &format, workload: &workload, hardware: &hardware, version, memo: None };
    let ask = |version| LlamaCpp.memory(&scene(version), &mut Derivation::off()).expect("an answer");
    let (new, old) = (ask(None), ask(Some("b9272")));
    // 512 rows of logits: 250.5 MiB.
    assert!(mebibytes(old.devices[0].compute_buffer.expected) > 250.5);
    assert!(mebibytes(new.devices[0].compute_buffer.expected) < 150.0);
    assert!(old.host.compute_buffer > new.host.compute_buffer);
    assert_eq!(new.kv_cache, old.kv_cache);
    assert!(ask(Some("b8000")).warnings.iter().any(|warning| warning.code == "unknown_engine_version"));
    assert_eq!(
        LlamaCpp.memory(&scene(Some("soon")), &mut Derivation::off()).expect_err("no version").kind(),
        ErrorKind::InvalidValue
    );
}

#[test]
fn library_defaults_are_the_library_s() {
    let model = llm_vram_tests::model("gemma-3-27b");
    let workload = Workload { defaults: Defaults::Library, ..Workload::new(32_768) };
    let memory = ask(&model, &workload, &cards(Backend::Cuda, 1)).expect("an answer");
    // `swa_full` is the library's default: 62 layers of 8 KiB per cell.
    assert_eq!(mebibytes(memory.kv_cache), 15_872.0);
}

#[test]
fn odd_workloads_end_in_an_answer_or_an_error() {
    let odd = [1, 2, 3, 255, 257, 4095, 65_537, 1 << 20, 1 << 27];
    let models = ["gemma-3n-e4b", "deepseek-v3.2-685b", "jamba-1.5-mini", "mamba-2.8b", "gpt-oss-20b"].map(llm_vram_tests::model);
    let (mut answers, mut errors) = (0, 0);
    for model in &models {
        for (index, &context) in odd.iter().enumerate() {
            let other = odd[(index * 5 + 3) % odd.len()];
            let workload = Workload {
                concurrency: other.min(65_536),
                n_batch: Some(other.min(1 << 20)),
                n_ubatch: Some(context.min(1 << 20)),
                n_gpu_layers: Some(other.min(1 << 20)),
                tensor_split: Some(vec![0.0, 0.0]),
                n_outputs_max: Some(context.min(1 << 20)),
                kv_unified: Some(index % 2 == 0),
                ..Workload::new(context)
            };
            match ask(model, &workload, &cards(Backend::Cuda, 2)) {
                Ok(_) => answers += 1,
                Err(_) => errors += 1,
            }
        }
    }
    println!("{answers} answers, {errors} errors");
    assert_eq!(answers + errors, models.len() * odd.len());
}
