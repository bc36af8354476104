//! llama.cpp's compute buffers against the engine's own figures.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeMap, thread};

use llm_vram_core::{
    Model,
    engine::llama_cpp::{
        Parameters, Placement,
        compute::{self, ComputePlan, ComputeRequest, Exactness, TensorTypes},
    },
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
