//! TensorRT-LLM: a fraction of the memory that is free after loading goes to cache blocks.
//!
//! What is known comes from its documentation, not from its source or logs: the rule of the pool
//! (<https://nvidia.github.io/TensorRT-LLM/reference/memory.html>, `free_gpu_memory_fraction`), blocks of 32 tokens and
//! pools of their own for every window size (<https://nvidia.github.io/TensorRT-LLM/features/kvcache.html>). The compiled
//! engine's activation memory depends on kernels that TensorRT chooses: a wide range stands for it. No figure was compared.

use alloc::{format, string::ToString, vec::Vec};
use core::ops::Range;

use super::{
    Amount, DeviceMemory, Engine, Habits, HostMemory, KvPool, Memory, NamedAmount, Resolved, Scene,
    habits::{Batch, CacheStep, States, Working},
    serving::{
        Parallel, RankWeights, activation::Widths, cache_type::CacheType, check_devices, idle_device, matrix::Loaded, most_experts,
        process, rank_weights, weights::Mxfp4Kernel,
    },
    version,
};
use crate::{
    derivation::{Certainty, Derivation, Step},
    error::{Error, ErrorKind, Result},
    hardware::Backend,
    model::{Attention, CacheSource, Heads, Model, Warning},
    quant::FormatFamily,
    units::{Bytes, grouped},
};

/// The engine.
#[derive(Debug, Clone, Copy, Default)]
pub struct TensorRtLlm;

/// The versions whose documentation was read.
const VERSIONS: &[&str] = &["1.1"];
/// `free_gpu_memory_fraction`, unless set.
const FREE_MEMORY_FRACTION: f64 = 0.9;
/// Tokens of a cache block (`tokens_per_block`), unless set.
const TOKENS_PER_BLOCK: u64 = 32;
/// `max_num_tokens`, unless set: tokens of one forward pass, for which the engine is built.
const MAX_NUM_TOKENS: u64 = 8192;
/// `max_batch_size`, unless set.
const MAX_BATCH_SIZE: u64 = 2048;
const DOCUMENTATION: &str = "https://nvidia.github.io/TensorRT-LLM/reference/memory.html";
const BUFFERS: &str = "decoder and transfer buffers, whose sizes the documentation does not give; assumed";
const SHAPES: &str =
    "documentation: close to the number of tokens times a constant of the network; here the widest layer of 16-bit tensors";

/// Names of cache types (`kv_cache_config.dtype`).
const CACHE_TYPES: &[(&str, CacheType)] = &[("auto", CacheType::Half), ("fp8", CacheType::Byte), ("int8", CacheType::Byte)];

impl Engine for TensorRtLlm {
    fn name(&self) -> &'static str {
        "tensorrt-llm"
    }

    fn versions(&self) -> &'static [&'static str] {
        VERSIONS
    }

    fn version_for(&self, asked: Option<&str>) -> Result<(&'static str, Option<Warning>)> {
        version::nearest("TensorRT-LLM", VERSIONS, asked)
    }

    fn backends(&self) -> &'static [Backend] {
        &[Backend::Cuda]
    }

    fn families(&self) -> &'static [FormatFamily] {
        &[FormatFamily::Checkpoint]
    }

    fn smaller_cache_type(&self) -> Option<&'static str> {
        Some("fp8")
    }

    fn habits(&self, scene: &Scene<'_>) -> Result<Habits> {
        let options = Options::resolve(scene)?;
        let rows = Rows::of(scene.model, &options, &(0..scene.model.hyperparameters().main_block_count()));
        let requests = scene.workload.concurrency;
        let tokens = |tokens: u64| tokens.next_multiple_of(options.tokens_per_block).saturating_mul(requests);
        let windows = rows.0.iter().filter_map(|(window, _)| *window);
        Ok(Habits {
            cache_step: CacheStep { tokens: options.tokens_per_block, unit: "block tokens" },
            cached_tokens: tokens(scene.workload.context),
            window_tokens: windows.max().map(|window| tokens(scene.workload.context.min(window))),
            states: States::InCache,
            batch: Batch { option: "max_num_tokens", tokens: options.max_num_tokens },
            working: Working::Built,
            ..Habits::plain(scene)
        })
    }

    fn memory(&self, scene: &Scene<'_>, derivation: &mut Derivation) -> Result<Memory> {
        scene.workload.validate()?;
        let (_, unknown_version) = self.version_for(scene.version)?;
        check_devices(self, &scene.hardware.devices)?;
        check_model(scene.model)?;
        let loaded = Loaded::new(scene.model, scene.format, "TensorRT-LLM")?;
        if loaded.is_gguf {
            return Err(Error::new(ErrorKind::Unsupported, format!("TensorRT-LLM does not load `{}`", scene.format))
                .field("quant")
                .help("choose BF16, FP8, NVFP4 or AWQ, or another engine"));
        }
        let options = Options::resolve(scene)?;
        let mut warnings: Vec<Warning> = unknown_version.into_iter().collect();
        warnings.push(Warning::new(
            "engine_modelled",
            "TensorRT-LLM is known from its documentation only: the pool's rule is its own, activations and buffers are estimates",
        ));
        let (devices, kv_cache) = Run { scene, options, loaded: &loaded }.devices(&mut warnings, derivation)?;
        Ok(Memory {
            weights: loaded.total,
            kv_cache,
            recurrent_state: Bytes::ZERO,
            devices,
            host: HostMemory::default(),
            resolved: options.describe(scene),
            warnings,
        })
    }
}

fn check_model(model: &Model) -> Result<()> {
    if model.blocks().iter().any(|block| block.recurrent.is_some() && !block.is_mtp) {
        let message = format!("states of `{}` on TensorRT-LLM are not known", model.architecture());
        return Err(Error::new(ErrorKind::Unsupported, message)
            .field("model")
            .help("use vLLM, SGLang or llama.cpp for this model"));
    }
    Ok(())
}

/// The options with their documented defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Options {
    parallel: Parallel,
    free_memory_fraction: f64,
    tokens_per_block: u64,
    max_num_tokens: u64,
    max_batch_size: u64,
    cache_type: CacheType,
}

impl Options {
    fn resolve(scene: &Scene<'_>) -> Result<Self> {
        let workload = scene.workload;
        let devices = (!scene.hardware.is_ideal()).then_some(scene.hardware.devices.len());
        Ok(Self {
            parallel: Parallel::resolve(scene.model, workload, devices)?,
            free_memory_fraction: workload.gpu_memory_utilization.unwrap_or(FREE_MEMORY_FRACTION),
            tokens_per_block: workload.block_size.unwrap_or(TOKENS_PER_BLOCK).max(1),
            max_num_tokens: workload.max_num_batched_tokens.unwrap_or(MAX_NUM_TOKENS),
            max_batch_size: workload.max_num_seqs.unwrap_or(MAX_BATCH_SIZE),
            cache_type: CacheType::of("TensorRT-LLM", CACHE_TYPES, workload)?,
        })
    }

    fn describe(&self, scene: &Scene<'_>) -> Vec<Resolved> {
        let workload = scene.workload;
        let option = |name, value, given: bool| Resolved { name, value, is_default: !given };
        alloc::vec![
            option("free_gpu_memory_fraction", self.free_memory_fraction.to_string(), workload.gpu_memory_utilization.is_some()),
            option("tokens_per_block", self.tokens_per_block.to_string(), workload.block_size.is_some()),
            option("max_num_tokens", self.max_num_tokens.to_string(), workload.max_num_batched_tokens.is_some()),
            option("max_batch_size", self.max_batch_size.to_string(), workload.max_num_seqs.is_some()),
            option("tp_size", self.parallel.tensor.to_string(), workload.tensor_parallel_size.is_some()),
            option("pp_size", self.parallel.pipeline.to_string(), workload.pipeline_parallel_size.is_some()),
            option(
                "kv_cache_dtype",
                workload.kv_cache_type_k.as_deref().unwrap_or("auto").to_string(),
                workload.kv_cache_type_k.is_some()
            ),
        ]
    }
}

/// Bytes of a token on one rank, by window; each has a pool of its own.
struct Rows(Vec<(Option<u64>, u64)>);

impl Rows {
    fn of(model: &Model, options: &Options, layers: &Range<u32>) -> Self {
        let mut rows: Vec<(Option<u64>, u64)> = Vec::new();
        for (layer, block) in (0_u32..).zip(model.blocks()) {
            if block.is_mtp || !layers.contains(&layer) {
                continue;
            }
            let (window, row) = match block.attention {
                Attention::None | Attention::Heads(Heads { cache: CacheSource::SharedWith(_), .. }) => continue,
                Attention::Latent(latent) => {
                    (None, options.cache_type.latent_row(latent.kv_lora_rank.into(), latent.rope_length.into()))
                }
                Attention::Heads(heads) => {
                    let on_rank = options.parallel.heads(heads.head_count_kv.into());
                    let row = options.cache_type.heads_row(on_rank, heads.key_length.into(), heads.value_length.into());
                    (heads.span.window().map(u64::from), row)
                }
            };
            match rows.iter_mut().find(|(known, _)| *known == window) {
                Some((_, sum)) => *sum = sum.saturating_add(row),
                None => rows.push((window, row)),
            }
        }
        Self(rows)
    }

    /// Bytes of one request of `tokens`, whole blocks in each pool.
    fn request(&self, tokens: u64, block: u64) -> u128 {
        let held = |window: Option<u64>| tokens.min(window.unwrap_or(u64::MAX)).next_multiple_of(block);
        self.0.iter().map(|(window, row)| u128::from(held(*window)) * u128::from(*row)).sum()
    }
}

struct Run<'a> {
    scene: &'a Scene<'a>,
    options: Options,
    loaded: &'a Loaded,
}

/// What a rank of a stage holds, and its cache's rows.
struct Stage {
    layers: Range<u32>,
    weights: RankWeights,
    rows: Rows,
}

impl Run<'_> {
    fn devices(&self, warnings: &mut Vec<Warning>, derivation: &mut Derivation) -> Result<(Vec<DeviceMemory>, Bytes)> {
        let (model, workload, options) = (self.scene.model, self.scene.workload, self.options);
        let hardware = &self.scene.hardware.devices;
        let kernel = Mxfp4Kernel::of(hardware.first().and_then(|device| device.compute_capability));
        let mut stages = Vec::new();
        for layers in options.parallel.stages(model.hyperparameters().main_block_count()) {
            let weights = rank_weights(model, self.loaded, &options.parallel, &layers, kernel)?;
            let rows = Rows::of(model, &options, &layers);
            stages.push(Stage { layers, weights, rows });
        }
        let activation = self.activation();
        derivation.step(|| {
            let formula = "forward(max_num_tokens) + expert scratch + max_batch_size × n_vocab × 4";
            Step::bytes("tensorrt_llm.activation", "activations that the engine is built for", formula, activation.expected, SHAPES)
                .with("max_num_tokens", options.max_num_tokens, "tokens")
                .with("max_batch_size", options.max_batch_size, "sequences")
                .known(Certainty::Assumed)
        });
        let overhead = self.overhead();
        let fixed = overhead.iter().fold(activation, |sum, part| sum.plus(part.amount)).expected;
        let tensor = usize::try_from(options.parallel.tensor).unwrap_or(usize::MAX);
        // The rank that holds the fewest requests decides for all.
        let mut concurrency: Option<f64> = None;
        for (position, device) in hardware.iter().enumerate().take(tensor.saturating_mul(stages.len())) {
            let Some(stage) = stages.get(position / tensor) else { continue };
            let free = device.visible_bytes.saturating_sub(stage.weights.allocated + fixed);
            let budget = free.share(options.free_memory_fraction);
            derivation.step(|| {
                Step::bytes(
                    "tensorrt_llm.kv_budget",
                    format!("memory for cache blocks on {}", device.id),
                    "(total - weights - activation - overhead) × free_gpu_memory_fraction",
                    budget,
                    DOCUMENTATION,
                )
                .with("total", device.visible_bytes.get(), "bytes")
                .with("weights", stage.weights.allocated.get(), "bytes")
                .with("activation + overhead", fixed.get(), "bytes")
                .with_real("free_gpu_memory_fraction", options.free_memory_fraction, "share")
                .known(Certainty::Modelled)
            });
            let request = stage.rows.request(workload.context, options.tokens_per_block);
            #[allow(clippy::cast_precision_loss)]
            let held = if request == 0 { 0.0 } else { budget.get() as f64 / request as f64 };
            concurrency = Some(concurrency.map_or(held, |least| least.min(held)));
        }
        self.remark(concurrency, warnings);
        let mut devices = Vec::with_capacity(hardware.len().max(1));
        let mut total = 0_u128;
        for stage in &stages {
            let request = stage.rows.request(workload.context, options.tokens_per_block);
            let needed = request.saturating_mul(workload.concurrency.into());
            total = total.saturating_add(needed.saturating_mul(options.parallel.tensor.into()));
            let kv_pool = concurrency.map(|requests| pool(requests, request, workload.context, options.tokens_per_block));
            for _ in 0..options.parallel.tensor {
                devices.push(DeviceMemory {
                    weights: stage.weights.allocated,
                    kv_cache: Bytes::from_wide(needed)?,
                    recurrent_state: Bytes::ZERO,
                    compute_buffer: activation,
                    overhead: overhead.clone(),
                    layers: stage.layers.end - stage.layers.start,
                    kv_pool,
                });
            }
            derivation.step(|| {
                Step::bytes(
                    "tensorrt_llm.kv_cache",
                    format!("cache of all requests, layers {} to {}", stage.layers.start, stage.layers.end.saturating_sub(1)),
                    "requests × Σ over windows: pad(min(context, window), tokens_per_block) × bytes per token",
                    Bytes::from_wide(needed).unwrap_or(Bytes::MAX),
                    "https://nvidia.github.io/TensorRT-LLM/features/kvcache.html",
                )
                .with("requests", workload.concurrency, "requests")
                .with("tokens_per_block", options.tokens_per_block, "tokens")
                .known(Certainty::Modelled)
            });
        }
        devices.extend(hardware.iter().skip(devices.len()).map(|_| idle_device()));
        Ok((devices, Bytes::from_wide(total)?))
    }

    fn remark(&self, concurrency: Option<f64>, warnings: &mut Vec<Warning>) {
        let Some(concurrency) = concurrency else { return };
        let context = grouped(self.scene.workload.context);
        if concurrency < 1.0 {
            let message = format!("the blocks that fit do not hold one request of {context} tokens");
            warnings.push(Warning::new("does_not_start", message));
            return;
        }
        #[allow(clippy::cast_precision_loss)]
        let asked = self.scene.workload.concurrency as f64;
        if concurrency < asked {
            let message = format!(
                "the pool holds {concurrency:.2} requests of {context} tokens at once, {asked:.0} are asked: the rest waits"
            );
            warnings.push(Warning::new("kv_pool_too_small", message));
        }
    }

    /// Linear in `max_num_tokens`, for which the engine is built, and the logits of a full batch.
    fn activation(&self) -> Amount {
        let widths = Widths::of(self.scene.model, &self.options.parallel);
        let tokens = self.options.max_num_tokens;
        let vocabulary = u64::from(self.scene.model.hyperparameters().vocab_size);
        let logits = self.options.max_batch_size.saturating_mul(vocabulary).saturating_mul(4);
        let forward = widths.forward(tokens).saturating_add(widths.expert_scratch(tokens)).saturating_add(logits);
        let bytes = |bytes: u64| Bytes::new(bytes).unwrap_or(Bytes::MAX);
        let mut amount = Amount::range(bytes(forward / 3), bytes(forward), bytes(forward.saturating_mul(2)));
        amount.certainty = Certainty::Assumed;
        amount
    }

    fn overhead(&self) -> Vec<NamedAmount> {
        if self.scene.hardware.is_ideal() {
            return Vec::new();
        }
        let amount = process::at_start(self.options.parallel.devices(), most_experts(self.scene.model) > 0);
        alloc::vec![
            NamedAmount { name: "cuda_context", amount, source: "logs of vLLM 0.19 on H100 80GB; TensorRT-LLM's were not read" },
            NamedAmount {
                name: "runtime_buffers",
                amount: {
                    let mut amount = Amount::range(Bytes::mib(100), Bytes::mib(500), Bytes::mib(1500));
                    amount.certainty = Certainty::Assumed;
                    amount
                },
                source: BUFFERS,
            },
        ]
    }
}

/// The pool of a rank that holds so many requests: whole blocks.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn pool(requests: f64, request: u128, context: u64, block: u64) -> KvPool {
    // Both are below 2^53 where they matter; beyond, the cast saturates.
    let bytes = (requests * request as f64) as u64;
    let tokens = (requests * context.next_multiple_of(block) as f64) as u64 / block * block;
    KvPool { bytes: Bytes::new(bytes).unwrap_or(Bytes::MAX), tokens, concurrency: requests }
}
