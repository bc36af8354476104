//! What must hold for every question, whatever the model, engine and device.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

use llm_vram_core::{
    ErrorKind, bounds,
    derivation::Derivation,
    engine, fit,
    wire::{self, Files, Question, Scenario},
    workload::Workload,
};
use proptest::prelude::*;

/// Models of every attention kind.
const MODELS: &[&str] = &[
    "llama-3.1-8b",
    "gemma-3-27b",
    "qwen3-30b-a3b",
    "deepseek-v3",
    "qwen3-next-80b-a3b",
    "gpt-oss-20b",
    "lfm2-1.2b",
    "qwen3-0.6b",
];
const DEVICES: &[&str] = &["rtx-4090", "rtx-3060-12gb", "h100-sxm-80gb", "2x rtx-3090"];

fn scenario(model: &str, device: &str, context: u64, concurrency: u64) -> Scenario {
    Scenario {
        model: Some(model.to_owned()),
        hardware: vec![device.to_owned()],
        workload: Workload { context, concurrency, ..Workload::default() },
        ..Scenario::default()
    }
}

fn question(scenario: &Scenario) -> Question {
    Question::resolve(scenario, &Files::default()).unwrap_or_else(|error| panic!("{scenario:?}: {error}"))
}

fn on_devices(question: &Question) -> u64 {
    let memory = question.engine.memory(&question.scene(), &mut Derivation::off()).unwrap_or_else(|error| panic!("{error}"));
    memory.devices.iter().map(|device| device.weights.get() + device.kv_cache.get() + device.recurrent_state.get()).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn more_context_or_more_requests_never_need_less(
        model in prop::sample::select(MODELS),
        context in 1_u64..200_000,
        more in 0_u64..100_000,
        requests in 1_u64..16,
        extra in 0_u64..16,
    ) {
        let small = question(&scenario(model, "h100-sxm-80gb", context, requests));
        let longer = question(&scenario(model, "h100-sxm-80gb", context + more, requests));
        let wider = question(&scenario(model, "h100-sxm-80gb", context, requests + extra));
        prop_assert!(on_devices(&longer) >= on_devices(&small));
        prop_assert!(on_devices(&wider) >= on_devices(&small));
    }

    #[test]
    fn parts_add_up_on_every_device_and_in_all(
        model in prop::sample::select(MODELS),
        device in prop::sample::select(DEVICES),
        context in 1_u64..100_000,
        requests in 1_u64..8,
    ) {
        let answer = wire::estimate(&question(&scenario(model, device, context, requests))).expect("an estimate");
        let mut total = 0;
        for device in &answer.devices {
            let parts = [
                device.weights_bytes, device.kv_cache_bytes, device.recurrent_state_bytes, device.compute_buffer_bytes, device.overhead_bytes,
            ];
            prop_assert_eq!(parts.iter().map(|part| part.get()).sum::<u64>(), device.used_bytes.get());
            total += device.used_bytes.get();
        }
        prop_assert_eq!(total, answer.total_bytes.get());
        for [low, high] in answer.ranges.values() {
            prop_assert!(low <= high);
        }
    }

    #[test]
    fn the_largest_context_fits_and_one_padding_step_more_does_not(
        model in prop::sample::select(&["llama-3.1-8b", "gemma-3-27b", "qwen3-30b-a3b"][..]),
        device in prop::sample::select(&["rtx-4090", "rtx-3060-12gb"][..]),
        requests in 1_u64..4,
    ) {
        let question = question(&scenario(model, device, 8192, requests));
        let trained = question.model.hyperparameters().context_length;
        let fits = |context: u64| {
            let workload = Workload { context, ..question.workload.clone() };
            let scene = engine::Scene { workload: &workload, ..question.scene() };
            fit::verdict(question.engine, &scene, question.safety).expect("a verdict") == fit::Verdict::Fits
        };
        match fit::max_context(question.engine, &question.scene(), question.safety).expect("an answer") {
            Some(largest) => {
                prop_assert!(fits(largest));
                prop_assert!(largest == trained || !fits(largest + 256));
            }
            None => prop_assert!(!fits(1)),
        }
    }

    #[test]
    fn any_request_is_answered_or_refused_with_a_code(text in "\\PC{0,200}") {
        for operation in wire::OPERATIONS {
            if let Err(error) = wire::call(operation.name, &text, &Files::default()) {
                prop_assert!(!error.message().is_empty());
            }
        }
    }

    #[test]
    fn any_number_in_any_field_is_answered_or_refused(
        field in prop::sample::select(&["context", "concurrency", "n_batch", "n_ubatch", "n_gpu_layers", "n_cpu_moe", "n_outputs_max", "safety", "memory"][..]),
        number in prop_oneof![any::<u64>().prop_map(|n| n.to_string()), any::<i64>().prop_map(|n| n.to_string()), any::<f64>().prop_map(|n| format!("{n:e}"))],
    ) {
        let request = format!(r#"{{"model": "qwen3-0.6b", "{field}": {number}}}"#);
        if let Err(error) = wire::call("estimate", &request, &Files::default()) {
            prop_assert!(error.kind() != ErrorKind::UnknownField, "{}", error);
        }
    }
}

#[test]
fn every_bound_is_a_range_and_says_so() {
    for bound in bounds::ALL {
        assert!(bound.min <= bound.max, "{}", bound.name);
        assert_eq!(bound.check(bound.min), Ok(bound.min));
        assert_eq!(bound.check(bound.max), Ok(bound.max));
        let error = bound.check(bound.max + 1).expect_err("beyond the bound");
        assert_eq!(error.kind(), ErrorKind::OutOfRange);
        assert_eq!(error.field_name(), Some(bound.name));
    }
}
