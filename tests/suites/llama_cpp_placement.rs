//! Weight bytes in every buffer against llama.cpp's own figures: all, some and no layers on devices, experts on the
//! host, one, two and four devices, and builds without a device.
#![allow(clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use llm_vram_core::{
    Model,
    engine::llama_cpp::{
        Placement,
        buffer::Machine,
        weights::{self, StoredAs},
    },
    hardware::Backend,
    quant::{FileType, GgmlType, QuantTarget, Recipe},
};
use llm_vram_tests::llama_cpp_memory::{Load, Setting, loads};

/// Buffers that the table holds; the suite fails if it compares fewer.
const BUFFERS: usize = 20_280;

/// What of a setting weights depend on.
type Key = (&'static str, &'static str, u32, u32, u32);

fn key(model: &'static str, setting: &Setting) -> Key {
    (model, setting.weight_ftype, setting.n_devices, setting.n_gpu_layers, setting.n_cpu_moe)
}

/// How each tensor of a model is stored in a file type.
fn stored(recipe: &Recipe, file_type: &str) -> Vec<StoredAs> {
    let file_type = FileType::from_name(file_type).expect("a file type");
    // Files of 16-bit types were made from sources of that type.
    let source = if file_type == FileType::F16 { GgmlType::F16 } else { GgmlType::BF16 };
    let target = QuantTarget::new(file_type).source(source);
    recipe
        .tensors(target)
        .map(|choice| choice.map(|(choice, bytes)| StoredAs { ty: choice.ty, bytes }).expect("a storable tensor"))
        .collect()
}

/// Our bytes of each buffer, in the table's order of buffers.
fn buffers(model: &Model, stored: &[StoredAs], setting: &Setting) -> Vec<(String, u64)> {
    let backends = vec![Backend::Cuda; setting.n_devices as usize];
    let shares = vec![1.0; backends.len()];
    let placement = Placement::new(model.hyperparameters(), Some(setting.n_gpu_layers.into()), &shares);
    let weights =
        weights::allocate(model, &placement, setting.n_cpu_moe.into(), Machine::new(&backends), |index, _| Ok(stored[index]))
            .expect("weights");
    let host = [("CPU", weights.host_plain), ("CPU_REPACK", weights.host_repacked), ("CUDA_Host", weights.host_pinned)];
    let mut all: Vec<(String, u64)> = host.map(|(name, bytes)| (name.into(), bytes.get())).into();
    for device in 0..4 {
        all.push((format!("CUDA{device}"), weights.places.device(device).expect("below 2^53").get()));
    }
    all
}

fn theirs(load: &Load) -> Vec<u64> {
    let bytes = load.model_bytes;
    [bytes.cpu, bytes.cpu_repack, bytes.cuda_host].into_iter().chain(bytes.cuda).map(|bytes| bytes.unwrap_or(0)).collect()
}

#[test]
fn every_buffer_is_exact() {
    let models: BTreeMap<String, Model> = llm_vram_tests::models().into_iter().map(|(id, record)| (id, record.model())).collect();
    let recipes: BTreeMap<&str, Recipe> = models.iter().map(|(id, model)| (id.as_str(), Recipe::new(model))).collect();
    let mut types: BTreeMap<(&str, &str), Vec<StoredAs>> = BTreeMap::new();
    let mut computed: BTreeMap<Key, Vec<(String, u64)>> = BTreeMap::new();
    let (mut compared, mut off) = (0, BTreeSet::new());
    for load in loads() {
        let (model, file_type) = (load.model, load.setting.weight_ftype);
        let ours = computed.entry(key(model, load.setting)).or_insert_with(|| {
            let stored = types.entry((model, file_type)).or_insert_with(|| stored(&recipes[model], file_type));
            buffers(&models[model], stored, load.setting)
        });
        for ((name, ours), theirs) in ours.iter().zip(theirs(load)) {
            compared += usize::from(*ours != 0 || theirs != 0);
            if *ours != theirs {
                off.insert(format!("{:?} {name}: {ours} instead of {theirs}", key(model, load.setting)));
            }
        }
    }
    println!("{} loads, {} different placements, {compared} weight buffers: {} off", loads().len(), computed.len(), off.len());
    assert!(off.is_empty(), "{}", off.into_iter().take(40).collect::<Vec<_>>().join("\n"));
    assert!(compared >= BUFFERS, "only {compared} buffers were compared");
}
