//! How long it takes to plan llama.cpp's compute buffers exactly.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use llm_vram_core::{
    engine::llama_cpp::{
        Parameters, Placement,
        compute::{self, ComputeRequest},
    },
    quant::GgmlType,
};

fn plans(criterion: &mut Criterion) {
    let q4 = |_: Option<u32>, _: &str, _: [u64; 4]| GgmlType::Q4_K;
    let cases = [
        ("llama-3.1-8b", None, 1),
        ("llama-3.3-70b", None, 2),
        ("qwen3-30b-a3b", None, 1),
        ("qwen3-30b-a3b", Some(20), 1),
        ("gemma-3-27b", None, 1),
        ("deepseek-v3-671b", None, 4),
    ];
    for (id, n_gpu_layers, devices) in cases {
        let model = llm_vram_tests::model(id);
        let parameters = Parameters { n_gpu_layers, n_outputs_max: 1, ..Parameters::library(32_768) };
        let placement = Placement::new(model.hyperparameters(), n_gpu_layers, &vec![1.0; devices]);
        let request = ComputeRequest::load(&parameters, &placement);
        let name = format!("{id}, {devices} devices{}", if n_gpu_layers.is_some() { ", partial" } else { "" });
        criterion.bench_function(&name, |bench| {
            bench.iter(|| compute::plan(black_box(&model), black_box(&request), &q4).is_ok());
        });
    }
}

criterion_group!(benches, plans);
criterion_main!(benches);
