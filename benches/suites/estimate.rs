//! How long an answer takes once a model is at hand, and how long it takes to get there.
#![allow(missing_docs, clippy::panic, clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use llm_vram_core::{
    catalog,
    derivation::Derivation,
    engine, fit,
    quant::{FileType, Recipe},
    wire::{self, Files, Question, Scenario},
};

const MODELS: [&str; 3] = ["llama-3.1-8b", "qwen3-30b-a3b", "deepseek-v3"];

fn question(model: &str, engine: &str, device: &str) -> Question {
    let scenario =
        Scenario { model: Some(model.into()), engine: Some(engine.into()), hardware: vec![device.into()], ..Scenario::default() };
    Question::resolve(&scenario, &Files::default()).unwrap_or_else(|error| panic!("{model} on {engine}: {error}"))
}

/// The device that an engine is asked about: the first that it runs on.
fn device(engine: &dyn engine::Engine) -> &'static str {
    if engine.backends().contains(&llm_vram_core::hardware::Backend::Cuda) {
        "8x h100-sxm-80gb"
    } else {
        "mac-studio-m3-ultra-512gb"
    }
}

/// Every engine's whole answer, the sums not written down.
fn engines(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("memory");
    for model in MODELS {
        for engine in engine::all() {
            let question = question(model, engine.name(), device(*engine));
            let scene = question.scene();
            if engine.memory(&scene, &mut Derivation::off()).is_err() {
                continue;
            }
            group.bench_function(format!("{}/{model}", engine.name()), |bencher| {
                bencher.iter(|| engine.memory(black_box(&scene), &mut Derivation::off()));
            });
        }
    }
    group.finish();
}

fn answers(criterion: &mut Criterion) {
    for model in MODELS {
        let question = question(model, "llama.cpp", "rtx-4090");
        let scene = question.scene();
        let mut group = criterion.benchmark_group("answer");
        group.bench_function(format!("model built/{model}"), |bencher| {
            bencher.iter(|| catalog::model(black_box(model)).map(|entry| entry.model.tensors().len()));
        });
        group.bench_function(format!("question resolved and answered/{model}"), |bencher| {
            let scenario = Scenario { model: Some(model.into()), hardware: vec!["rtx-4090".into()], ..Scenario::default() };
            bencher
                .iter(|| Question::resolve(black_box(&scenario), &Files::default()).and_then(|question| wire::estimate(&question)));
        });
        // As a slider or a search asks: the plan of this model is at hand.
        let memo = engine::Memo::new(&question.model);
        let remembering = question.scene_with(&memo);
        group.bench_function(format!("memory with the plan at hand/{model}"), |bencher| {
            bencher.iter(|| question.engine.memory(black_box(&remembering), &mut Derivation::off()));
        });
        group.bench_function(format!("estimate with derivation/{model}"), |bencher| {
            bencher.iter(|| wire::estimate(black_box(&question)));
        });
        group.bench_function(format!("fit with searches/{model}"), |bencher| bencher.iter(|| wire::fit(black_box(&question))));
        group.bench_function(format!("largest context/{model}"), |bencher| {
            bencher.iter(|| fit::max_context(question.engine, black_box(&scene), question.safety));
        });
        group.bench_function(format!("sizes of every file type/{model}"), |bencher| {
            let recipe = Recipe::new(&question.model);
            bencher
                .iter(|| FileType::ALL.iter().filter_map(|ty| recipe.sizes(*ty).ok()).map(|tally| tally.bytes.get()).sum::<u64>());
        });
        group.bench_function(format!("sizes in every format/{model}"), |bencher| {
            bencher.iter(|| wire::quants(black_box(&question)))
        });
        group.finish();
    }
}

criterion_group!(benches, engines, answers);
criterion_main!(benches);
