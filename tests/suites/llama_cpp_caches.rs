//! Context rounding, caches, recurrent state and output buffer against llama.cpp's own figures.
#![allow(clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use llm_vram_core::{
    Bytes, Model,
    engine::llama_cpp::{
        Context, Parameters, Placement,
        buffer::{Machine, Places},
        cache, output, recurrent,
    },
    hardware::Backend,
    model::Hyperparameters,
    quant::GgmlType,
    workload::FlashAttention,
};
use llm_vram_tests::llama_cpp_memory::{Buffers, Load, Setting, loads};

/// Figures that the table holds; the suite fails if it compares fewer.
const FIGURES: usize = 66_776;

fn parameters(setting: &Setting) -> Parameters {
    Parameters {
        n_seq_max: setting.n_seq_max.into(),
        kv_unified: setting.kv_unified,
        n_batch: setting.n_batch,
        n_ubatch: setting.n_ubatch,
        n_outputs_max: setting.n_outputs_max,
        type_k: GgmlType::from_name(setting.type_k).expect("a cache type"),
        type_v: GgmlType::from_name(setting.type_v).expect("a cache type"),
        flash_attn: match setting.flash_attn {
            "on" => FlashAttention::On,
            "off" => FlashAttention::Off,
            _ => FlashAttention::Auto,
        },
        swa_full: setting.swa_full,
        offload_kqv: setting.offload_kqv,
        op_offload: setting.op_offload,
        n_gpu_layers: Some(setting.n_gpu_layers.into()),
        n_cpu_moe: setting.n_cpu_moe.into(),
        ..Parameters::library(setting.n_ctx)
    }
}

fn placement(hp: &Hyperparameters, setting: &Setting) -> Placement {
    Placement::new(hp, Some(setting.n_gpu_layers.into()), &vec![1.0; setting.n_devices as usize])
}

/// Every figure of one kind: the host's and each device's.
fn figures(ours: &Places, theirs: &Buffers, name: &'static str) -> Vec<(String, u64, u64)> {
    let number = |bytes: llm_vram_core::Result<Bytes>| bytes.expect("below 2^53").get();
    let mut figures = vec![(format!("{name} host"), number(ours.host()), theirs.host_bytes())];
    for device in 0..4 {
        figures.push((format!("{name} device {device}"), number(ours.device(device)), theirs.device_bytes(device)));
    }
    figures.retain(|(_, ours, theirs)| *ours != 0 || *theirs != 0);
    figures
}

fn compare(model: &Model, load: &Load) -> Vec<(String, u64, u64)> {
    let parameters = parameters(load.setting);
    let context = Context::new(&parameters);
    let setting = load.setting;
    let mut all = vec![
        ("n_ctx".into(), context.n_ctx, setting.n_ctx_effective),
        ("n_ctx_seq".into(), context.n_ctx_seq, setting.n_ctx_seq),
        ("n_batch".into(), context.n_batch, setting.n_batch_effective),
        ("n_ubatch".into(), context.n_ubatch, setting.n_ubatch_effective),
    ];
    let placement = placement(model.hyperparameters(), setting);
    let backends = vec![Backend::Cuda; setting.n_devices as usize];
    let machine = Machine::new(&backends);
    let caches = cache::allocate(model, &parameters, &context, &placement, machine).expect("caches");
    all.extend(figures(&caches.full, &load.kv, "kv"));
    all.extend(figures(&caches.windowed, &load.kv_swa, "kv_swa"));
    all.extend(figures(&caches.indexer, &load.kv_indexer, "kv_indexer"));
    let states = recurrent::allocate(model, &parameters, &context, &placement, machine).expect("states");
    all.extend(figures(&states, &load.recurrent, "recurrent"));
    let logits = output::allocate(model.hyperparameters(), &context).expect("output").get();
    all.push(("output".into(), logits, load.output.total_bytes()));
    all
}

#[test]
fn every_figure_is_exact() {
    let models: BTreeMap<String, Model> = llm_vram_tests::models().into_iter().map(|(id, record)| (id, record.model())).collect();
    let (mut compared, mut off) = (0, Vec::new());
    for load in loads() {
        let figures = compare(&models[load.model], load);
        compared += figures.len();
        let wrong = figures.into_iter().filter(|(_, ours, theirs)| ours != theirs);
        off.extend(
            wrong.map(|(name, ours, theirs)| format!("{} {name}: {ours} instead of {theirs}, {:?}", load.model, load.setting)),
        );
    }
    println!("{} loads, {compared} figures (context, caches, states, output): {} off", loads().len(), off.len());
    assert!(off.is_empty(), "{}", off[..off.len().min(20)].join("\n"));
    assert!(compared >= FIGURES, "only {compared} figures were compared");
}
