//! vLLM: a budget of each device's memory, weights and a profiled forward pass taken out of it, the rest filled
//! with cache blocks.
//!
//! What the engine plans (pages, groups, blocks, tokens, concurrency) is exact; what it measures on the device
//! (activation peak, memory outside PyTorch, CUDA graphs) is modelled with a range.

mod habits;
pub mod kv_plan;
pub mod kv_spec;
pub mod options;
pub mod profile;
pub mod rules;

use alloc::{format, vec::Vec};
use core::ops::Range;

use crate::{
    derivation::{Certainty, Derivation, Step},
    engine::{
        Amount, DeviceMemory, Engine, Habits, HostMemory, KvPool, Memory, NamedAmount, Scene,
        serving::{
            RankWeights,
            activation::Widths,
            check_devices, idle_device,
            matrix::{Loaded, Matrix},
            most_experts, process, rank_weights,
            weights::Mxfp4Kernel,
        },
    },
    error::Result,
    hardware::{Backend, Device},
    model::{Attention, Group, Model, Warning},
    quant::FormatFamily,
    units::{ByteUnit, Bytes, grouped},
};

use kv_plan::KvPlan;
use options::Options;
use profile::{GraphKind, ProfileRun};
use rules::Rules;

const BUDGET: &str = "vLLM, v1/worker/gpu_worker.py (determine_available_memory), v1/worker/utils.py (request_memory)";
const PLANNING: &str = "vLLM, v1/core/kv_cache_utils.py, later kv_cache_planning.py";
const LOGS: &str = "logs of vLLM 0.15 to 0.19 on H100 80GB, github.com/llm-d-incubation/llm-d-planner pull request 205";
const SAMPLER: &str = "vLLM, v1/sample/sampler.py, v1/sample/ops/topk_topp_sampler.py, layers/fused_moe/fused_moe.py";

/// The engine.
///
/// ```
/// use llm_vram_core::{Model, derivation::Derivation, engine::{Engine, Scene, vllm::Vllm}, hardware::Hardware,
///     model::{Hyperparameters, PerLayer}, quant::{GgmlType, WeightFormat}, workload::Workload};
/// let model = Model::new(Hyperparameters {
///     block_count: 32, embedding_length: 4096, vocab_size: 128_256, context_length: 131_072,
///     feed_forward_length: PerLayer::Uniform(14_336), head_count: PerLayer::Uniform(32), head_count_kv: PerLayer::Uniform(8),
///     ..Hyperparameters::new("llama")
/// })?;
/// let scene = Scene {
///     model: &model, format: &WeightFormat::Plain(GgmlType::BF16), workload: &Workload::new(8192),
///     hardware: &Hardware::default(), version: Some("0.19.0"), memo: None,
/// };
/// let memory = Vllm.memory(&scene, &mut Derivation::off())?;
/// assert_eq!(memory.kv_cache.get(), 1 << 30); // 512 blocks of 2 MiB
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Vllm;

impl Engine for Vllm {
    fn name(&self) -> &'static str {
        "vllm"
    }

    fn versions(&self) -> &'static [&'static str] {
        rules::VERSIONS
    }

    fn version_for(&self, asked: Option<&str>) -> Result<(&'static str, Option<Warning>)> {
        Rules::of(asked).map(|(version, _, warning)| (version, warning))
    }

    fn backends(&self) -> &'static [Backend] {
        &[Backend::Cuda, Backend::Hip]
    }

    fn families(&self) -> &'static [FormatFamily] {
        &[FormatFamily::Checkpoint, FormatFamily::Gguf]
    }

    fn smaller_cache_type(&self) -> Option<&'static str> {
        Some("fp8")
    }

    fn habits(&self, scene: &Scene<'_>) -> Result<Habits> {
        habits::of(scene)
    }

    fn memory(&self, scene: &Scene<'_>, derivation: &mut Derivation) -> Result<Memory> {
        scene.workload.validate()?;
        let (_, rules, unknown_version) = Rules::of(scene.version)?;
        let loaded = Loaded::new(scene.model, scene.format, "vLLM")?;
        check_devices(self, &scene.hardware.devices)?;
        let (options, resolved) = Options::resolve(scene.model, scene.workload, scene.hardware, rules)?;
        let mut run = Run { scene, rules, options, loaded, warnings: unknown_version.into_iter().collect() };
        run.remark_on_options();
        let (devices, kv_cache) = run.devices(derivation)?;
        Ok(Memory {
            weights: run.loaded.total,
            kv_cache,
            recurrent_state: Bytes::ZERO,
            devices,
            host: HostMemory::default(),
            resolved,
            warnings: run.warnings,
        })
    }
}

/// One calculation under way.
struct Run<'a> {
    scene: &'a Scene<'a>,
    rules: &'static Rules,
    options: Options,
    loaded: Loaded,
    warnings: Vec<Warning>,
}

/// What one rank of a stage holds beside the cache.
struct StageFixed {
    layers: Range<u32>,
    weights: RankWeights,
    activation: Amount,
    overhead: Vec<NamedAmount>,
    /// What is taken out of the budget.
    in_budget: Amount,
}

impl Run<'_> {
    fn devices(&mut self, derivation: &mut Derivation) -> Result<(Vec<DeviceMemory>, Bytes)> {
        let model = self.scene.model;
        let stages: Vec<Range<u32>> = self.options.parallel.stages(model.hyperparameters().main_block_count()).collect();
        let specs = kv_spec::layer_specs(model, &self.options.spec(model), self.rules)?;
        let plan = KvPlan::new(&specs, &stages, self.options.align, self.rules)?;
        let in_flight = self.tokens_in_flight();
        let per_request = plan.blocks_per_request(self.options.max_model_len, in_flight);
        let needed_blocks = u128::from(per_request) * u128::from(self.scene.workload.concurrency);
        let needed: Vec<Bytes> = plan
            .bytes_per_block
            .iter()
            .map(|block| Bytes::from_wide(needed_blocks.saturating_mul(block.get().into())))
            .collect::<Result<_>>()?;
        explain_plan(&plan, per_request, &self.options, in_flight, derivation);

        let fixed: Vec<StageFixed> = stages.into_iter().map(|layers| self.stage(layers, derivation)).collect::<Result<_>>()?;
        let tensor = usize::try_from(self.options.parallel.tensor).unwrap_or(usize::MAX);
        let hardware = &self.scene.hardware.devices;
        // The smallest rank of each stage decides for the stage, the smallest stage for all.
        let available = (!hardware.is_empty()).then(|| {
            fixed.iter().enumerate().map(|(stage, part)| {
                let ranks = hardware.iter().skip(stage * tensor).take(tensor);
                ranks.map(|device| self.available(device, part).0).min().unwrap_or(Bytes::ZERO)
            })
        });
        let blocks = available.map(|available| plan.num_blocks(available));
        if let Some(blocks) = blocks {
            self.remark_on_pool(&plan, blocks, in_flight, &fixed);
        }

        let mut devices = Vec::with_capacity(hardware.len());
        for (stage, part) in fixed.iter().enumerate() {
            let block = plan.bytes_per_block.get(stage).copied().unwrap_or(Bytes::ZERO);
            let kv_pool = match blocks {
                None => None,
                Some(blocks) => Some(KvPool {
                    bytes: block.checked_mul(blocks)?,
                    tokens: plan.logged_tokens(blocks, self.options.max_model_len, in_flight),
                    concurrency: plan.concurrency(blocks, self.options.max_model_len, in_flight),
                }),
            };
            for rank in 0..tensor {
                if let Some(device) = hardware.get(stage * tensor + rank) {
                    self.explain_budget(device, part, kv_pool, derivation);
                }
                devices.push(DeviceMemory {
                    weights: part.weights.allocated,
                    kv_cache: needed.get(stage).copied().unwrap_or(Bytes::ZERO),
                    recurrent_state: Bytes::ZERO,
                    compute_buffer: part.activation,
                    overhead: part.overhead.clone(),
                    layers: part.layers.end - part.layers.start,
                    kv_pool,
                });
            }
        }
        devices.extend(hardware.iter().skip(devices.len()).map(|_| idle_device()));
        // Every rank of a stage holds its own part of the heads.
        let total = needed.iter().map(|bytes| u128::from(bytes.get()) * u128::from(self.options.parallel.tensor)).sum();
        Ok((devices, Bytes::from_wide(total)?))
    }

    fn tokens_in_flight(&self) -> u64 {
        let v2 = self.rules.runs_on_v2(self.scene.model);
        self.rules.tokens_in_flight(self.options.max_num_batched_tokens, self.options.parallel.pipeline, v2)
    }

    /// What a rank of a stage holds beside the cache.
    fn stage(&self, layers: Range<u32>, derivation: &mut Derivation) -> Result<StageFixed> {
        let (model, options, rules) = (self.scene.model, &self.options, self.rules);
        let hp = model.hyperparameters();
        let device = self.scene.hardware.devices.first();
        let kernel = Mxfp4Kernel::of(device.and_then(|device| device.compute_capability));
        let weights = rank_weights(model, &self.loaded, &options.parallel, &layers, kernel)?;
        derivation.step(|| {
            Step::bytes(
                "vllm.weights",
                format!("weights of layers {} to {} on one rank", layers.start, layers.end.saturating_sub(1)),
                "tensors on the rank, RoPE tables and absorbed copies, each rounded as PyTorch's allocator rounds",
                weights.allocated,
                "PyTorch, c10/cuda/CUDACachingAllocator.cpp; vLLM, model_executor/layers",
            )
            .with("tensors", weights.tensors.get(), "bytes")
            .with("rope_tables", weights.rope_tables.get(), "bytes")
            .with("absorbed_copies", weights.absorbed.get(), "bytes")
        });
        let v2 = rules.runs_on_v2(model);
        let experts = most_experts(model);
        let run = ProfileRun {
            vocab_size: hp.vocab_size.into(),
            sequences: options.max_num_seqs,
            tokens: options.max_num_batched_tokens,
            max_model_len: options.max_model_len,
            widths: Widths::of(model, &options.parallel),
            expert_scratch: experts > 0 && self.loaded.matrix != Matrix::Mxfp4,
            gemma3_images: model.architecture() == "gemma3" && model.tensors().iter().any(|tensor| tensor.group == Group::Tower),
            multiprocessors: profile::multiprocessors(device),
            runner_v2: v2,
        };
        let activation = run.activation(rules);
        derivation.step(|| {
            Step::bytes(
                "vllm.activation",
                "peak of the profile run above the weights",
                "max(sampler(max_num_seqs × vocab_size), forward(max_num_batched_tokens)) + fixed buffers + expert scratch + images",
                activation.expected,
                SAMPLER,
            )
            .with("max_num_seqs", run.sequences, "sequences")
            .with("vocab_size", run.vocab_size, "tokens")
            .with("max_num_batched_tokens", run.tokens, "tokens")
            .known(Certainty::Modelled)
        });
        let non_torch = profile::non_torch(rules, options.parallel.devices(), hp.vocab_size.into());
        let graphs = if options.enforce_eager { Amount::ZERO } else { self.graphs(&layers, experts) };
        let counters = if v2 { profile::penalty_counters(options.max_num_seqs, hp.vocab_size.into()) } else { 0 };
        let counters = Amount::exact(Bytes::new(counters)?);
        let mut overhead = Vec::with_capacity(4);
        if device.is_some() {
            let amount = process::at_start(options.parallel.devices(), experts > 0);
            overhead.push(NamedAmount { name: "cuda_context", amount, source: LOGS });
            overhead.push(NamedAmount { name: "non_torch", amount: non_torch, source: LOGS });
        }
        if graphs != Amount::ZERO {
            overhead.push(NamedAmount { name: "cuda_graphs", amount: graphs, source: LOGS });
        }
        if counters != Amount::ZERO {
            let source = "vLLM 0.33, v1/worker/gpu/sample/penalties.py";
            overhead.push(NamedAmount { name: "penalty_counters", amount: counters, source });
        }
        let mut in_budget = Amount::exact(weights.allocated).plus(activation).plus(non_torch);
        if rules.graphs_in_budget {
            in_budget = in_budget.plus(graphs);
        }
        if rules.counters_in_budget {
            in_budget = in_budget.plus(counters);
        }
        Ok(StageFixed { layers, weights, activation, overhead, in_budget })
    }

    fn graphs(&self, layers: &Range<u32>, experts: u32) -> Amount {
        let device = self.scene.hardware.devices.first();
        let blackwell = device.and_then(|device| device.compute_capability).is_some_and(|cc| (100..110).contains(&cc));
        let arch = self.scene.model.architecture();
        let cap = if arch == "gpt-oss" || (self.rules.blackwell_graphs_1024 && blackwell) { 1024 } else { 512 };
        let largest = self.options.max_num_seqs.saturating_mul(2).min(cap);
        let kind = match (arch, experts) {
            ("gemma3", _) => GraphKind::Gemma3,
            // Mixtral's eight experts behave as a dense network.
            (_, 0..=8) => GraphKind::Dense,
            _ => GraphKind::Experts,
        };
        let layers = u64::from(layers.end - layers.start);
        profile::graphs(layers, kind, profile::graph_sizes(largest), self.options.parallel.tensor)
    }

    /// What the engine may take of a device, and what of it is left for cache.
    fn available(&self, device: &Device, part: &StageFixed) -> (Bytes, Bytes) {
        let requested = requested(device.visible_bytes, self.options.gpu_memory_utilization);
        (requested.saturating_sub(part.in_budget.expected), requested)
    }

    fn remark(&mut self, code: &'static str, message: alloc::string::String) {
        self.warnings.push(Warning::new(code, message));
    }

    fn remark_on_options(&mut self) {
        let (workload, hp) = (self.scene.workload, self.scene.model.hyperparameters());
        let options = self.options;
        if self.loaded.is_gguf {
            self.remark(
                "gguf_experimental",
                "vLLM calls its GGUF support experimental: single files, slower than its other formats".into(),
            );
        }
        if hp.context_length > 0 && options.max_model_len > hp.context_length {
            self.remark(
                "max_model_len_above_trained",
                format!(
                    "vLLM refuses a max_model_len of {} above the model's {} unless VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 is set",
                    grouped(options.max_model_len),
                    grouped(hp.context_length)
                ),
            );
        }
        if workload.concurrency > options.max_num_seqs {
            self.remark(
                "above_max_num_seqs",
                format!(
                    "{} requests at once are more than max_num_seqs {}: the rest waits",
                    workload.concurrency, options.max_num_seqs
                ),
            );
        }
        let kv_heads = self.scene.model.blocks().iter().filter_map(|block| match block.attention {
            Attention::Heads(heads) => Some(u64::from(heads.head_count_kv)),
            _ => None,
        });
        if let Some(heads) = kv_heads.min().filter(|&heads| heads < options.parallel.tensor) {
            self.remark(
                "kv_heads_replicated",
                format!(
                    "{heads} key-value heads over {} ranks: ranks hold copies, so the cache does not shrink further",
                    options.parallel.tensor
                ),
            );
        }
        if self.scene.model.blocks().iter().any(|block| matches!(block.attention, Attention::Latent(_)))
            && options.parallel.tensor > 1
        {
            self.remark(
                "latent_cache_replicated",
                format!("the latent cache is whole on each of {} ranks", options.parallel.tensor),
            );
        }
        if options.disable_hybrid_kv_cache_manager && has_windows(self.scene.model) {
            self.remark("hybrid_kv_cache_manager_disabled", "windowed layers keep all tokens as full attention does".into());
        }
        let idle = (self.scene.hardware.devices.len() as u64).saturating_sub(options.parallel.devices());
        if idle > 0 {
            self.remark("idle_devices", format!("{idle} of the devices hold nothing with these parallel sizes"));
        }
    }

    fn remark_on_pool(&mut self, plan: &KvPlan, blocks: u64, in_flight: u64, fixed: &[StageFixed]) {
        let length = self.options.max_model_len;
        let tensor = usize::try_from(self.options.parallel.tensor).unwrap_or(usize::MAX);
        let utilization = self.options.gpu_memory_utilization;
        for (position, device) in self.scene.hardware.devices.iter().enumerate().take(tensor.saturating_mul(fixed.len())) {
            let Some(part) = fixed.get(position / tensor) else { continue };
            let start =
                part.overhead.iter().find(|part| part.name == "cuda_context").map_or(Bytes::ZERO, |part| part.amount.expected);
            let free = device.visible_bytes.saturating_sub(start);
            let requested = requested(device.visible_bytes, utilization);
            if free < requested {
                self.warnings.push(Warning::new(
                    "does_not_start",
                    format!(
                        "vLLM does not start on `{}`: {} are free at start, less than the {} of gpu_memory_utilization {utilization}",
                        device.id,
                        free.display(ByteUnit::GiB),
                        requested.display(ByteUnit::GiB)
                    ),
                ));
                return;
            }
            if requested < part.in_budget.expected {
                self.warnings.push(Warning::new(
                    "does_not_start",
                    format!(
                        "vLLM does not start on `{}`: weights, activations and overhead of {} leave no memory for cache blocks in {}",
                        device.id,
                        part.in_budget.expected.display(ByteUnit::GiB),
                        requested.display(ByteUnit::GiB)
                    ),
                ));
                return;
            }
        }
        if !plan.starts(blocks, length, in_flight) {
            let hint = match plan.max_model_len(blocks, length, in_flight) {
                Some(tokens) => format!("the longest max_model_len that fits is {}", grouped(tokens)),
                None => "not even one token fits".into(),
            };
            let needed = plan.blocks_per_request(length, in_flight);
            self.remark(
                "does_not_start",
                format!(
                    "vLLM does not start: one request of {} tokens needs {needed} cache blocks, there are {blocks}; {hint}",
                    grouped(length)
                ),
            );
        } else if plan.concurrency(blocks, length, in_flight) < u64_to_f64(self.scene.workload.concurrency) {
            self.remark(
                "kv_pool_too_small",
                format!(
                    "the pool holds {:.2} requests of {} tokens at once, {} are asked: the rest waits",
                    plan.concurrency(blocks, length, in_flight),
                    grouped(length),
                    self.scene.workload.concurrency
                ),
            );
        }
    }

    fn explain_budget(&self, device: &Device, part: &StageFixed, pool: Option<KvPool>, derivation: &mut Derivation) {
        let (available, requested) = self.available(device, part);
        derivation.step(|| {
            Step::bytes(
                "vllm.kv_budget",
                format!("memory for cache on {}", device.id),
                "ceil(total × gpu_memory_utilization) - weights - activation - non_torch - graphs (since 0.20)",
                available,
                BUDGET,
            )
            .with("total", device.visible_bytes.get(), "bytes")
            .with_real("gpu_memory_utilization", self.options.gpu_memory_utilization, "share")
            .with("requested", requested.get(), "bytes")
            .with("taken_before", part.in_budget.expected.get(), "bytes")
            .known(Certainty::Modelled)
        });
        if let Some(pool) = pool {
            derivation.step(|| {
                Step::bytes(
                    "vllm.kv_pool",
                    format!("cache pool on {}", device.id),
                    "floor(budget / bytes_per_block) × bytes_per_block",
                    pool.bytes,
                    PLANNING,
                )
                .with("tokens", pool.tokens, "tokens")
                .with_real("concurrency", pool.concurrency, "requests")
                .known(Certainty::Modelled)
            });
        }
    }
}

/// `ceil(total × utilization)`, as the engine computes it in floating point.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn requested(total: Bytes, utilization: f64) -> Bytes {
    let product = total.get() as f64 * utilization;
    // `f64::ceil` needs the standard library.
    let floor = product as u64;
    Bytes::new(floor + u64::from(product > floor as f64)).unwrap_or(Bytes::MAX)
}

#[allow(clippy::cast_precision_loss)]
fn u64_to_f64(value: u64) -> f64 {
    value as f64
}

fn has_windows(model: &Model) -> bool {
    model.blocks().iter().any(|block| matches!(block.attention, Attention::Heads(heads) if heads.span.window().is_some()))
}

fn explain_plan(plan: &KvPlan, per_request: u64, options: &Options, in_flight: u64, derivation: &mut Derivation) {
    for block in &plan.bytes_per_block {
        derivation.step(|| {
            Step::bytes(
                "vllm.bytes_per_block",
                "a cache block over all layers of a group",
                "layers of the widest group × page",
                *block,
                PLANNING,
            )
            .with("groups", plan.groups(), "groups")
        });
    }
    derivation.step(|| Step {
        id: "vllm.blocks_per_request",
        label: "cache blocks of one request".into(),
        formula: "sum over groups: cdiv(max_model_len, block), of windows cdiv(min(window - 1 + tokens_in_flight, max_model_len), block) + 1",
        inputs: Vec::new(),
        result: u64_to_f64(per_request),
        unit: "blocks",
        source: PLANNING,
        assumption: Certainty::Exact,
    }
    .with("max_model_len", options.max_model_len, "tokens")
    .with("tokens_in_flight", in_flight, "tokens"));
}
