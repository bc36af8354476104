//! llama.cpp's compute buffers against the engine's own figures.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use llm_vram_core::{
    Model,
    engine::llama_cpp::{
        Parameters, Placement,
        compute::{self, ComputePlan, ComputeRequest, Exactness, ModelClass, TensorTypes},
    },
    model::{Hyperparameters, PerLayer},
    quant::{FileType, GgmlType, Recipe},
    workload::FlashAttention,
};
use llm_vram_tests::llama_cpp_memory::{LOADS, Load, Setting, loads};

/// Buffers in the table, those of 0 bytes on idle devices included.
const BUFFERS: usize = 17_407;

fn parameters(setting: &Setting) -> Parameters {
    let ty = |name: &str| GgmlType::from_name(name).expect("a cache type");
    Parameters {
        n_ctx: setting.n_ctx,
        n_seq_max: setting.n_seq_max.into(),
        kv_unified: setting.kv_unified,
        n_batch: setting.n_batch,
        n_ubatch: setting.n_ubatch,
        n_outputs_max: setting.n_outputs_max,
        type_k: ty(setting.type_k),
        type_v: ty(setting.type_v),
        flash_attn: match setting.flash_attn {
            "auto" => FlashAttention::Auto,
            "on" => FlashAttention::On,
            _ => FlashAttention::Off,
        },
        swa_full: setting.swa_full,
        offload_kqv: setting.offload_kqv,
        op_offload: setting.op_offload,
        n_gpu_layers: Some(setting.n_gpu_layers.into()),
        n_cpu_moe: setting.n_cpu_moe.into(),
        tensor_split: None,
    }
}

/// Each model with the types of its tensors by file type.
struct Subject {
    model: Model,
    types: BTreeMap<&'static str, Vec<GgmlType>>,
}

fn subjects() -> BTreeMap<&'static str, Subject> {
    let mut subjects = BTreeMap::<&'static str, Subject>::new();
    let mut records = llm_vram_tests::models();
    for load in loads() {
        let subject = subjects.entry(load.model).or_insert_with(|| {
            let model = records.remove(load.model).expect("a record of the model").model();
            Subject { model, types: BTreeMap::new() }
        });
        subject.types.entry(load.setting.weight_ftype).or_insert_with(|| {
            let recipe = Recipe::new(&subject.model);
            let file_type = FileType::from_name(load.setting.weight_ftype).expect("a file type");
            recipe.tensors(file_type).map(|choice| choice.expect("a type").0.ty).collect()
        });
    }
    subjects
}

impl Subject {
    fn placement(&self, setting: &Setting) -> Placement {
        let shares = vec![1.0; setting.n_devices as usize];
        Placement::new(self.model.hyperparameters(), Some(setting.n_gpu_layers.into()), &shares)
    }

    fn plan(&self, load: &Load) -> llm_vram_core::Result<ComputePlan> {
        let types = &self.types[load.setting.weight_ftype];
        let weights = TensorTypes::new(&self.model, |index| types[index]);
        let (parameters, placement) = (parameters(load.setting), self.placement(load.setting));
        compute::plan(&self.model, &ComputeRequest::measured(&parameters, &placement), &weights)
    }
}

/// Runs `check` on every load, on all cores; returns what it returned.
fn on_every_load<T: Send>(check: impl Fn(&Subject, &'static Load) -> T + Sync) -> Vec<T> {
    let subjects = subjects();
    let cores = thread::available_parallelism().map_or(1, Into::into);
    let share = loads().len().div_ceil(cores);
    thread::scope(|scope| {
        let workers: Vec<_> = loads()
            .chunks(share)
            .map(|loads| scope.spawn(|| loads.iter().map(|load| check(&subjects[load.model], load)).collect::<Vec<_>>()))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    })
}

#[test]
fn every_planned_buffer_is_the_engines() {
    let outcomes = on_every_load(|subject, load| (load, subject.plan(load)));
    let (mut rows, mut buffers, mut wrong) = (0, 0, BTreeMap::<&str, Vec<String>>::new());
    for (load, plan) in outcomes {
        rows += 1;
        let mut miss = |text: String| wrong.entry(load.model).or_default().push(format!("{text} {:?}", load.setting));
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => {
                miss(error.to_string());
                continue;
            }
        };
        let host = if load.setting.n_devices == 0 { load.compute.cpu } else { load.compute.cuda_host };
        let truth: Vec<u64> = (0..plan.devices.len()).map(|device| load.compute.device_bytes(device)).collect();
        let devices: Vec<u64> = plan.devices.iter().map(|bytes| bytes.get()).collect();
        buffers += devices.len() + 1;
        if devices != truth || Some(plan.host.get()) != host {
            miss(format!("{devices:?} + {} instead of {truth:?} + {host:?}", plan.host.get()));
        }
        if plan.flash_attention != load.flash_attention {
            miss(format!("flash attention {} instead of {}", plan.flash_attention, load.flash_attention));
        }
        if plan.exactness != Exactness::OpList {
            miss(format!("{:?}", plan.exactness));
        }
    }
    for (model, misses) in &wrong {
        println!("{model}: {} misses, first: {}", misses.len(), misses[0]);
    }
    let misses: usize = wrong.values().map(Vec::len).sum();
    println!("compute buffers: {rows} loads, {buffers} buffers, {misses} misses");
    assert_eq!(misses, 0);
    assert_eq!((rows, buffers), (LOADS, BUFFERS));
}

/// Loads with all layers on one device.
const SINGLE_DEVICE_LOADS: usize = 4_868;

#[test]
fn closed_forms_stay_within_their_range() {
    let outcomes = on_every_load(|subject, load| {
        let setting = load.setting;
        let blocks = subject.model.hyperparameters().block_count;
        if setting.n_devices != 1 || setting.n_gpu_layers <= blocks || setting.n_cpu_moe > 0 || !setting.offload_kqv {
            return None;
        }
        let (parameters, placement) = (parameters(setting), subject.placement(setting));
        let estimate =
            compute::closed_form(&subject.model, &ComputeRequest::measured(&parameters, &placement)).expect("an estimate");
        Some((load, estimate))
    });
    let (mut rows, mut close, mut hosts) = (0_usize, 0_usize, 0_usize);
    let mut outside = Vec::new();
    let mut by_class = BTreeMap::<ModelClass, (usize, usize, f64, f64)>::new();
    for (load, estimate) in outcomes.into_iter().flatten() {
        rows += 1;
        let is_close = |ours: u64, theirs: u64| ours.abs_diff(theirs) <= (theirs * 3 / 100).max(8 << 20);
        let truth = load.compute.device_bytes(0);
        let class = by_class.entry(estimate.class).or_insert((0, 0, f64::MAX, 0.0));
        class.0 += 1;
        if is_close(estimate.device.get(), truth) {
            close += 1;
            class.1 += 1;
        }
        hosts += usize::from(is_close(estimate.host.get(), load.compute.cuda_host.unwrap_or(0)));
        if !(estimate.low.get()..=estimate.high.get()).contains(&truth) {
            outside.push(format!("{} {truth} {estimate:?} {:?}", load.model, load.setting));
        }
        let ratio = estimate.device.get() as f64 / truth as f64;
        class.2 = class.2.min(ratio);
        class.3 = class.3.max(ratio);
    }
    for (class, (rows, close, low, high)) in &by_class {
        println!("closed form, {class:?}: {rows} loads, {close} within 3 % or 8 MiB, {low:.2} to {high:.2} of the buffer");
    }
    println!(
        "closed form: {rows} loads, {close} devices and {hosts} hosts within 3 % or 8 MiB, {} outside the range",
        outside.len()
    );
    assert!(outside.is_empty(), "{}", outside[0]);
    assert!(close * 10 >= rows * 9);
    assert_eq!(rows, SINGLE_DEVICE_LOADS);
}

/// The largest description that validation lets through, with as many experts per token as it lets through.
fn absurd(architecture: &str) -> Hyperparameters {
    Hyperparameters {
        block_count: 4096,
        embedding_length: 1 << 16,
        vocab_size: 1 << 20,
        context_length: 1 << 30,
        feed_forward_length: (1 << 16).into(),
        head_count: (1 << 10).into(),
        head_count_kv: (1 << 10).into(),
        key_length: Some(128),
        value_length: Some(128),
        expert_count: if architecture == "qwen3moe" { 4096 } else { 0 },
        expert_used_count: if architecture == "qwen3moe" { 4096 } else { 0 },
        expert_feed_forward_length: Some(1),
        ..Hyperparameters::new(architecture)
    }
}

#[test]
fn absurd_shapes_end_soon_with_a_typed_error() {
    let largest = Parameters { n_seq_max: 1, n_batch: 1 << 20, n_ubatch: 1 << 20, ..Parameters::library(1 << 27) };
    let many = Parameters { n_seq_max: 256, n_ctx: 256 << 27, ..largest.clone() };
    let too_many = Parameters { n_seq_max: 65_536, ..largest.clone() };
    let mut outcomes = BTreeMap::<String, usize>::new();
    for architecture in ["llama", "qwen3moe", "gemma3", "an-architecture-of-tomorrow"] {
        let Ok(model) = Model::new(absurd(architecture)) else { continue };
        for parameters in [&largest, &many, &too_many] {
            for flash_attn in [FlashAttention::Auto, FlashAttention::Off] {
                for devices in [0, 1, 15, 16] {
                    let parameters = Parameters { flash_attn, ..parameters.clone() };
                    let placement = Placement::new(model.hyperparameters(), None, &vec![1.0; devices]);
                    let request = ComputeRequest::load(&parameters, &placement);
                    let started = Instant::now();
                    let outcome = compute::plan(&model, &request, &|_: Option<u32>, _: &str, _: [u64; 4]| GgmlType::F16);
                    let _ = compute::closed_form(&model, &request);
                    assert!(started.elapsed() < Duration::from_secs(10), "{architecture} took {:?}", started.elapsed());
                    let code = outcome.map_or_else(|error| error.kind().code(), |_| "planned");
                    *outcomes.entry(code.into()).or_default() += 1;
                }
            }
        }
    }
    println!("absurd shapes: {outcomes:?}");
    assert!(outcomes.len() > 1);
}

/// Architectures whose op list was compared with the engine for loads without a device only.
const COMPARED_ON_HOST: [&str; 16] = [
    "mistral3",
    "ernie4_5",
    "qwen2vl",
    "qwen2moe",
    "exaone4",
    "seed_oss",
    "arcee",
    "hunyuan-dense",
    "hunyuan-moe",
    "hunyuan_vl",
    "olmoe",
    "granitemoe",
    "dots1",
    "cohere2",
    "mamba2",
    "lfm2moe",
];

#[test]
fn lists_compared_on_the_host_say_so_and_stay_within_the_closed_forms_range() {
    let types = |_: Option<u32>, _: &str, _: [u64; 4]| GgmlType::Q4_K;
    let mut planned = 0;
    for architecture in COMPARED_ON_HOST {
        let has_experts = matches!(architecture, "qwen2moe" | "hunyuan-moe" | "olmoe" | "granitemoe" | "dots1" | "lfm2moe");
        let is_second_mamba = architecture == "mamba2";
        let heads_kv = |layer: u32| if architecture == "lfm2moe" && layer % 4 != 3 { 0 } else { 8 };
        let model = Model::new(Hyperparameters {
            block_count: 64,
            embedding_length: 2048,
            vocab_size: 65_536,
            context_length: 32_768,
            feed_forward_length: if is_second_mamba { 0 } else { 8192 }.into(),
            head_count: if is_second_mamba { 0 } else { 16 }.into(),
            head_count_kv: if is_second_mamba { 0.into() } else { PerLayer::Each((0..64).map(heads_kv).collect()) },
            key_length: Some(128),
            value_length: Some(128),
            sliding_window: matches!(architecture, "cohere2" | "exaone4").then_some(4096),
            expert_count: if has_experts { 32 } else { 0 },
            expert_used_count: if has_experts { 8 } else { 0 },
            expert_feed_forward_length: has_experts.then_some(1024),
            expert_gating_func: if matches!(architecture, "dots1" | "lfm2moe") { 2 } else { 1 },
            ssm_conv_kernel: 4,
            ssm_inner_size: 4096,
            ssm_state_size: 128,
            ssm_time_step_rank: 64,
            ssm_group_count: 1,
            shortconv_l_cache: 3,
            ..Hyperparameters::new(architecture)
        })
        .unwrap_or_else(|error| panic!("{architecture}: {error}"));
        for parameters in [Parameters::library(8192), Parameters { n_outputs_max: 1, ..Parameters::library(65_536) }] {
            let placement = Placement::new(model.hyperparameters(), None, &[1.0]);
            let request = ComputeRequest::load(&parameters, &placement);
            let plan = compute::plan(&model, &request, &types).unwrap_or_else(|error| panic!("{architecture}: {error}"));
            let estimate = compute::closed_form(&model, &request).expect("an estimate");
            assert_eq!(plan.exactness, Exactness::OpListComparedOnHost, "{architecture}");
            assert!((estimate.low..=estimate.high).contains(&plan.devices[0]), "{architecture}: {plan:?} {estimate:?}");
            planned += 1;
        }
    }
    println!("op lists compared on the host only: {planned} plans within the closed forms' range");
}
