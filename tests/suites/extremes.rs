//! Every engine at the edges of every bound: an answer whose parts add up or a refusal with a code, within a second.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use llm_vram_core::{
    Bytes, ErrorKind, bounds, engine,
    wire::{self, Files, Question, Scenario},
    workload::{Defaults, FlashAttention, Workload},
};

const AT_MOST: Duration = Duration::from_secs(1);

/// Models of every kind of attention, state and feed-forward.
const MODELS: &[&str] = &[
    "llama-3.1-8b",
    "gemma-3-27b",
    "qwen3-30b-a3b",
    "deepseek-v3",
    "qwen3-next-80b-a3b",
    "gpt-oss-20b",
    "lfm2-1.2b",
    "mamba-2.8b",
    "nemotron-nano-9b-v2",
    "gemma-3n-e4b",
    "llama-4-scout",
];

fn workloads() -> Vec<(&'static str, Workload)> {
    let usual = Workload::default;
    let (context, requests) = (bounds::CONTEXT.max, bounds::CONCURRENCY.max);
    vec![
        ("one token", Workload { context: 1, ..usual() }),
        ("largest context", Workload { context, ..usual() }),
        ("most requests", Workload { concurrency: requests, ..usual() }),
        ("most requests of one token", Workload { context: 1, concurrency: requests, ..usual() }),
        ("256 requests of the largest context", Workload { context, concurrency: 256, ..usual() }),
        ("largest context, most requests", Workload { context, concurrency: requests, ..usual() }),
        ("batches of one token", Workload { n_batch: Some(1), n_ubatch: Some(1), ..usual() }),
        (
            "largest batches",
            Workload { context, n_batch: Some(bounds::N_BATCH.max), n_ubatch: Some(bounds::N_UBATCH.max), ..usual() },
        ),
        (
            "largest batches without flash attention",
            Workload {
                context,
                n_batch: Some(bounds::N_BATCH.max),
                n_ubatch: Some(bounds::N_UBATCH.max),
                flash_attn: FlashAttention::Off,
                ..usual()
            },
        ),
        ("most logits", Workload { n_outputs_max: Some(bounds::N_OUTPUTS_MAX.max), defaults: Defaults::Library, ..usual() }),
        ("no layer on a device", Workload { n_gpu_layers: Some(0), ..usual() }),
        ("one layer on a device", Workload { n_gpu_layers: Some(1), offload_kqv: Some(false), ..usual() }),
        (
            "more layers than there are",
            Workload { n_gpu_layers: Some(bounds::N_GPU_LAYERS.max), n_cpu_moe: Some(bounds::N_CPU_MOE.max), ..usual() },
        ),
        ("shares of zero", Workload { tensor_split: Some(vec![0.0; 4]), ..usual() }),
        ("shares of zero and one", Workload { tensor_split: Some(vec![0.0, 1.0]), ..usual() }),
        ("huge and tiny shares", Workload { tensor_split: Some(vec![f64::MAX, f64::MIN_POSITIVE]), ..usual() }),
        ("a share for every device there can be", Workload { tensor_split: Some(vec![1.0; 4096]), ..usual() }),
        ("separate caches, whole windows", Workload { kv_unified: Some(false), swa_full: Some(true), concurrency: 256, ..usual() }),
        ("one cache", Workload { kv_unified: Some(true), concurrency: 256, context: 1 << 20, ..usual() }),
        (
            "quantised cache",
            Workload { kv_cache_type_k: Some("q8_0".into()), kv_cache_type_v: Some("q8_0".into()), context, ..usual() },
        ),
        ("fp8 cache", Workload { kv_cache_type_k: Some("fp8".into()), kv_cache_type_v: Some("fp8".into()), context, ..usual() }),
        ("all memory", Workload { gpu_memory_utilization: Some(1.0), ..usual() }),
        ("no memory", Workload { gpu_memory_utilization: Some(f64::MIN_POSITIVE), ..usual() }),
        ("most sequences", Workload { max_num_seqs: Some(bounds::MAX_NUM_SEQS.max), ..usual() }),
        ("most tokens per step", Workload { max_num_batched_tokens: Some(bounds::MAX_NUM_BATCHED_TOKENS.max), ..usual() }),
        ("one token per step", Workload { max_num_batched_tokens: Some(1), max_num_seqs: Some(1), ..usual() }),
        ("tensor parallel 4,096", Workload { tensor_parallel_size: Some(4096), ..usual() }),
        ("tensor parallel 7", Workload { tensor_parallel_size: Some(7), enable_expert_parallel: true, ..usual() }),
        ("pipeline parallel 4,096", Workload { pipeline_parallel_size: Some(4096), ..usual() }),
        ("both parallel 4,096", Workload { pipeline_parallel_size: Some(4096), tensor_parallel_size: Some(4096), ..usual() }),
        ("blocks of one token", Workload { block_size: Some(1), context, ..usual() }),
        ("largest blocks", Workload { block_size: Some(bounds::BLOCK_SIZE.max), enforce_eager: Some(true), ..usual() }),
        ("cache of one token", Workload { max_kv_size: Some(1), prefill_step_size: Some(32), ..usual() }),
        (
            "largest cache and prefill",
            Workload { max_kv_size: Some(1 << 27), prefill_step_size: Some(bounds::PREFILL_STEP_SIZE.max), context, ..usual() },
        ),
        (
            "prefixes",
            Workload { enable_prefix_caching: Some(true), disable_hybrid_kv_cache_manager: Some(true), context, ..usual() },
        ),
    ]
}

/// Devices by name, or one of that many bytes.
fn hardware() -> Vec<(&'static str, Vec<String>, Option<Bytes>)> {
    vec![
        ("no device", vec![], None),
        ("a card", vec!["rtx-4090".into()], None),
        ("4,096 cards", vec!["4096x rtx-4090".into()], None),
        ("seven unlike cards", vec!["3x rtx-3060-12gb".into(), "2x rtx-4090".into(), "2x h100-sxm-80gb".into()], None),
        ("a MiB", vec![], Some(Bytes::new(bounds::MEMORY.min).unwrap())),
        ("a PiB", vec![], Some(Bytes::new(bounds::MEMORY.max).unwrap())),
    ]
}

#[derive(Default)]
struct Tally {
    answers: u32,
    refusals: u32,
    slowest: (Duration, String),
    off: Vec<String>,
}

impl Tally {
    fn note<T>(&mut self, name: &str, ask: impl Fn() -> llm_vram_core::Result<T>, check: impl FnOnce(&T) -> bool) {
        let timed = || {
            let start = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(&ask));
            (outcome, start.elapsed())
        };
        let (outcome, mut elapsed) = timed();
        if elapsed > AT_MOST {
            // A busy machine is no slow sum.
            elapsed = elapsed.min(timed().1);
        }
        if elapsed > self.slowest.0 {
            self.slowest = (elapsed, name.to_owned());
        }
        if elapsed > AT_MOST {
            self.off.push(format!("{name}: {elapsed:?}"));
        }
        match outcome {
            Err(_) => self.off.push(format!("{name}: panics")),
            Ok(Ok(answer)) => {
                self.answers += 1;
                if !check(&answer) {
                    self.off.push(format!("{name}: parts do not add up"));
                }
            }
            Ok(Err(error)) => {
                self.refusals += 1;
                let expected = matches!(
                    error.kind(),
                    ErrorKind::OutOfRange
                        | ErrorKind::InvalidValue
                        | ErrorKind::MissingField
                        | ErrorKind::UnknownQuant
                        | ErrorKind::Contradiction
                        | ErrorKind::Unsupported
                        | ErrorKind::EngineRefuses
                        | ErrorKind::LimitExceeded
                        | ErrorKind::Overflow
                );
                if !expected || error.message().is_empty() || error.message().len() > 600 {
                    self.off.push(format!("{name}: {} {error}", error.kind()));
                }
            }
        }
    }
}

#[test]
fn every_engine_at_every_edge() {
    let mut tally = Tally::default();
    for engine in engine::all() {
        for model in MODELS {
            for (devices, names, memory) in hardware() {
                for (words, workload) in workloads() {
                    let scenario = Scenario {
                        model: Some((*model).into()),
                        engine: Some(engine.name().into()),
                        hardware: names.clone(),
                        memory,
                        workload,
                        ..Scenario::default()
                    };
                    let name = format!("{} {model}, {devices}, {words}", engine.name());
                    tally.note(
                        &name,
                        || wire::estimate(&Question::resolve(&scenario, &Files::default())?),
                        |answer| {
                            let used: u64 = answer.devices.iter().map(|device| device.used_bytes.get()).sum();
                            used == answer.total_bytes.get() && answer.ranges.values().all(|[low, high]| low <= high)
                        },
                    );
                }
            }
        }
    }
    let Tally { answers, refusals, slowest, off } = tally;
    println!("{answers} answers, {refusals} refusals; slowest {:?}: {}", slowest.0, slowest.1);
    assert!(
        off.is_empty(),
        "{} of {}:\n{}",
        off.len(),
        answers + refusals,
        off.iter().take(60).cloned().collect::<Vec<_>>().join("\n")
    );
    assert!(answers > 5000, "{answers} answers");
}

/// What looks for the largest and the best asks many questions in turn.
#[test]
fn searches_at_the_edges() {
    let mut tally = Tally::default();
    for engine in engine::all() {
        for model in MODELS {
            for (devices, names, memory) in hardware().split_off(1) {
                for (words, context, concurrency) in [("usual", 8192, 1), ("one token", 1, 1), ("all", 1 << 27, 65_536)] {
                    let scenario = Scenario {
                        model: Some((*model).into()),
                        engine: Some(engine.name().into()),
                        hardware: names.clone(),
                        memory,
                        workload: Workload { context, concurrency, ..Workload::default() },
                        ..Scenario::default()
                    };
                    let name = format!("fit: {} {model}, {devices}, {words}", engine.name());
                    tally.note(
                        &name,
                        || wire::fit(&Question::resolve(&scenario, &Files::default())?),
                        |answer| answer.safety > 0.0,
                    );
                }
            }
        }
    }
    let Tally { answers, refusals, slowest, off } = tally;
    println!("{answers} answers, {refusals} refusals; slowest {:?}: {}", slowest.0, slowest.1);
    assert!(
        off.is_empty(),
        "{} of {}:\n{}",
        off.len(),
        answers + refusals,
        off.iter().take(60).cloned().collect::<Vec<_>>().join("\n")
    );
}
