//! How long a name takes to be found, or to be answered with the nearest ones.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use llm_vram_core::catalog::data;

fn look_ups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("model");
    for (kind, name) in [
        ("id", "qwen3-30b-a3b"),
        ("alias", "Qwen3-30B-A3B"),
        ("hf id", "meta-llama/Llama-3.1-8B-Instruct"),
        ("ollama tag", "llama3.1:8b"),
        ("unknown", "llama-3.1-8c"),
    ] {
        group.bench_function(kind, |bencher| bencher.iter(|| data::model(black_box(name))));
    }
    group.bench_function("nearest", |bencher| bencher.iter(|| data::suggest_model(black_box("llama-3.1-8c"))));
    group.finish();
    let mut group = criterion.benchmark_group("device");
    for (kind, name) in [("id", "rtx-4090"), ("alias", "RTX 4090"), ("unknown", "rtx-4091")] {
        group.bench_function(kind, |bencher| bencher.iter(|| data::device(black_box(name))));
    }
    group.bench_function("nearest", |bencher| bencher.iter(|| data::suggest_device(black_box("rtx-4091"))));
    group.finish();
}

criterion_group!(benches, look_ups);
criterion_main!(benches);
