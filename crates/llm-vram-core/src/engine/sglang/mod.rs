//! SGLang: a fraction of memory fixed in advance for weights and pools; what the rest is used for is not measured.
//!
//! The default fraction and the pools' arithmetic are exact. Weights are printed as a difference of free memory,
//! which holds a little more than the tensors. There is no profile run; activations and graphs must fit in what the
//! fraction leaves, so they are estimates with wide ranges.

pub mod fraction;
pub mod pools;

use alloc::{format, string::ToString, vec::Vec};
use core::ops::Range;

use crate::{
    derivation::{Certainty, Derivation, Step},
    engine::{
        Amount, DeviceMemory, Engine, Habits, HostMemory, KvPool, Memory, NamedAmount, Resolved, Scene,
        habits::{Batch, CacheStep, States, Working},
        serving::{
            Parallel, RankWeights, activation::Widths, cache_type::CacheType, centi_gib, check_devices, idle_device,
            matrix::Loaded, matrix::Matrix, most_experts, process, rank_weights, weights::Mxfp4Kernel,
        },
        version,
    },
    error::{Error, ErrorKind, Result},
    hardware::{Backend, Device},
    model::{Attention, Group, Warning},
    quant::FormatFamily,
    units::{ByteUnit, Bytes, grouped},
};

use fraction::Reserved;
use pools::{Pools, Rows};

/// The versions whose source was read.
const VERSIONS: &[&str] = &["0.5.23"];

/// Names of cache types.
/// Source: SGLang 0.5.23, `srt/server_args.py` (`--kv-cache-dtype`).
const CACHE_TYPES: &[(&str, CacheType)] = &[
    ("auto", CacheType::Half),
    ("bfloat16", CacheType::Half),
    ("fp8", CacheType::Byte),
    ("fp8_e4m3", CacheType::Byte),
    ("fp8_e5m2", CacheType::Byte),
];

const FRACTION: &str = "SGLang 0.5.23, srt/server_args.py";
const POOLS: &str = "SGLang 0.5.23, srt/model_executor/model_runner_kv_cache_mixin.py, srt/mem_cache/memory_pool.py";
const SHAPES: &str = "estimated from the widest layer of a prefill chunk; SGLang measures nothing and no log tells";
const WEIGHT_LOGS: &str = "two logs of SGLang at tensor parallel size 4: printed weights against the tensors";

/// The engine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SgLang;

impl Engine for SgLang {
    fn name(&self) -> &'static str {
        "sglang"
    }

    fn versions(&self) -> &'static [&'static str] {
        VERSIONS
    }

    fn version_for(&self, asked: Option<&str>) -> Result<(&'static str, Option<Warning>)> {
        version::nearest("SGLang", VERSIONS, asked)
    }

    fn backends(&self) -> &'static [Backend] {
        &[Backend::Cuda, Backend::Hip]
    }

    fn families(&self) -> &'static [FormatFamily] {
        &[FormatFamily::Checkpoint, FormatFamily::Gguf]
    }

    fn smaller_cache_type(&self) -> Option<&'static str> {
        Some("fp8_e5m2")
    }

    fn habits(&self, scene: &Scene<'_>) -> Result<Habits> {
        let options = Options::resolve(scene)?;
        let (workload, chunk) = (scene.workload, options.reserved.chunked_prefill_size);
        let layers = 0..scene.model.hyperparameters().main_block_count();
        let rows = Rows::of(scene.model, &options.parallel, options.cache_type, &layers);
        let paged = |tokens: u64| tokens.next_multiple_of(options.page_size.max(1)).saturating_mul(workload.concurrency);
        Ok(Habits {
            cache_step: CacheStep { tokens: options.page_size, unit: "page tokens" },
            cached_tokens: paged(workload.context),
            window_tokens: (rows.windowed > 0).then(|| paged(workload.context.min(rows.window.saturating_add(chunk)))),
            states: States::InCache,
            batch: Batch { option: "chunked_prefill_size", tokens: chunk },
            working: Working::LeftOver,
            ..Habits::plain(scene)
        })
    }

    fn memory(&self, scene: &Scene<'_>, derivation: &mut Derivation) -> Result<Memory> {
        scene.workload.validate()?;
        let (_, unknown_version) = self.version_for(scene.version)?;
        let loaded = Loaded::new(scene.model, scene.format, "SGLang")?;
        check_devices(self, &scene.hardware.devices)?;
        let options = Options::resolve(scene)?;
        let mut run = Run { scene, options, loaded, warnings: unknown_version.into_iter().collect() };
        run.remark_on_options();
        let (devices, kv_cache) = run.devices(derivation)?;
        Ok(Memory {
            weights: run.loaded.total,
            kv_cache,
            recurrent_state: Bytes::ZERO,
            devices,
            host: HostMemory::default(),
            resolved: run.options.describe(scene),
            warnings: run.warnings,
        })
    }
}

/// The options of a run, with defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Options {
    parallel: Parallel,
    reserved: Reserved,
    mem_fraction_static: f64,
    page_size: u64,
    cache_type: CacheType,
    disable_cuda_graph: bool,
}

impl Options {
    fn resolve(scene: &Scene<'_>) -> Result<Self> {
        let (workload, model, hardware) = (scene.workload, scene.model, scene.hardware);
        let count = (!hardware.is_ideal()).then_some(hardware.devices.len());
        let parallel = Parallel::resolve(model, workload, count)?;
        // SGLang asks nvidia-smi, whose total is 0 to 2 % above CUDA's.
        let memory = hardware.devices.iter().map(|device| device.visible_bytes.get()).min();
        let memory_mib = memory.unwrap_or(centi_gib(8000)) >> 20;
        let class = fraction::memory_class(memory_mib, parallel.tensor);
        let latents = || {
            model
                .blocks()
                .iter()
                .filter_map(|block| if let Attention::Latent(latent) = block.attention { Some(latent) } else { None })
        };
        let reserved = Reserved {
            memory_mib,
            devices: parallel.devices(),
            latent: latents().next().is_some(),
            chunked_prefill_size: workload.max_num_batched_tokens.unwrap_or(class.chunked_prefill_size),
            cuda_graph_max_bs: class.cuda_graph_max_bs,
        };
        let images = model.tensors().iter().any(|tensor| tensor.group == Group::Tower);
        let cache_type = CacheType::of("SGLang", CACHE_TYPES, workload)?;
        let sparse = latents().any(|latent| latent.indexer.is_some());
        Ok(Self {
            parallel,
            reserved,
            mem_fraction_static: workload.gpu_memory_utilization.unwrap_or_else(|| reserved.mem_fraction_static(images)),
            // Sparse latent attention has kernels for pages of 64.
            page_size: workload.block_size.unwrap_or(if sparse { 64 } else { 1 }),
            cache_type: if sparse && cache_type == CacheType::Byte { CacheType::LatentByte } else { cache_type },
            disable_cuda_graph: workload.enforce_eager.unwrap_or(false),
        })
    }

    fn describe(&self, scene: &Scene<'_>) -> Vec<Resolved> {
        let workload = scene.workload;
        let option = |name, value: alloc::string::String, given: bool| Resolved { name, value, is_default: !given };
        alloc::vec![
            option("mem_fraction_static", self.mem_fraction_static.to_string(), workload.gpu_memory_utilization.is_some()),
            option(
                "chunked_prefill_size",
                self.reserved.chunked_prefill_size.to_string(),
                workload.max_num_batched_tokens.is_some()
            ),
            option("cuda_graph_max_bs", self.reserved.cuda_graph_max_bs.to_string(), false),
            option("tp_size", self.parallel.tensor.to_string(), workload.tensor_parallel_size.is_some()),
            option("pp_size", self.parallel.pipeline.to_string(), workload.pipeline_parallel_size.is_some()),
            option("page_size", self.page_size.to_string(), workload.block_size.is_some()),
            option(
                "kv_cache_dtype",
                workload.kv_cache_type_k.as_deref().unwrap_or("auto").to_string(),
                workload.kv_cache_type_k.is_some()
            ),
            option("disable_cuda_graph", self.disable_cuda_graph.to_string(), workload.enforce_eager.is_some()),
        ]
    }
}

/// One calculation under way.
struct Run<'a> {
    scene: &'a Scene<'a>,
    options: Options,
    loaded: Loaded,
    warnings: Vec<Warning>,
}

/// What one rank of a stage holds beside the pools.
struct Stage {
    layers: Range<u32>,
    rows: Rows,
    weights: RankWeights,
}

impl Run<'_> {
    #[allow(clippy::cast_precision_loss)]
    fn devices(&mut self, derivation: &mut Derivation) -> Result<(Vec<DeviceMemory>, Bytes)> {
        let (model, workload, options) = (self.scene.model, self.scene.workload, self.options);
        let hardware = &self.scene.hardware.devices;
        let kernel = Mxfp4Kernel::of(hardware.first().and_then(|device| device.compute_capability));
        let mut stages = Vec::new();
        for layers in options.parallel.stages(model.hyperparameters().main_block_count()) {
            let rows = Rows::of(model, &options.parallel, options.cache_type, &layers);
            if rows.state.is_none() {
                let message = format!("SGLang does not run the recurrent layers of architecture `{}`", model.architecture());
                return Err(Error::new(ErrorKind::EngineRefuses, message).field("engine"));
            }
            let weights = rank_weights(model, &self.loaded, &options.parallel, &layers, kernel)?;
            derivation.step(|| {
                Step::bytes(
                    "sglang.weights",
                    "weights on one rank",
                    "tensors on the rank, RoPE tables and absorbed copies",
                    weights.allocated,
                    "SGLang, srt/layers, srt/models",
                )
                .with("tensors", weights.tensors.get(), "bytes")
            });
            derivation.step(|| {
                let bytes = Bytes::new(rows.full).unwrap_or(Bytes::MAX);
                Step::bytes(
                    "sglang.cell",
                    "a token over the layers of a rank that hold all tokens",
                    "sum of heads × (key + value) × bytes",
                    bytes,
                    POOLS,
                )
                .with("windowed_layers", rows.windowed, "bytes")
                .with("state", rows.state.unwrap_or(0), "bytes")
            });
            stages.push(Stage { layers, rows, weights });
        }
        let tensor = usize::try_from(options.parallel.tensor).unwrap_or(usize::MAX);
        // The rank with the least room decides for all.
        let mut smallest: Option<(Pools, f64)> = None;
        for (position, device) in hardware.iter().enumerate().take(tensor.saturating_mul(stages.len())) {
            let Some(stage) = stages.get(position / tensor) else { continue };
            let budget = self.budget(device, stage, derivation);
            let pools = Pools::fill(&stage.rows, budget.get(), options.page_size);
            let concurrency = pools.concurrency(&stage.rows, workload.context, options.reserved.chunked_prefill_size);
            let concurrency = workload.max_num_seqs.map_or(concurrency, |most| concurrency.min(most as f64));
            if smallest.is_none_or(|(least, _)| pools.full_tokens < least.full_tokens || pools.state_slots < least.state_slots) {
                smallest = Some((pools, concurrency));
            }
        }
        if let Some((pools, concurrency)) = smallest {
            self.remark_on_pools(&pools, concurrency, &stages);
        }
        let fixed = self.overhead();
        let activation = self.activation();
        derivation.step(|| {
            let formula = "6 × (feed-forward + hidden) × chunked_prefill_size + expert scratch + logits";
            Step::bytes("sglang.activation", "working memory of a prefill chunk", formula, activation.expected, SHAPES)
                .with("chunked_prefill_size", options.reserved.chunked_prefill_size, "tokens")
                .known(Certainty::Modelled)
        });
        let mut devices = Vec::with_capacity(hardware.len().max(1));
        let mut total = 0_u128;
        for stage in &stages {
            let needed = stage.rows.requests(
                workload.concurrency,
                workload.context,
                options.page_size,
                options.reserved.chunked_prefill_size,
            );
            total = total.saturating_add(needed.saturating_mul(options.parallel.tensor.into()));
            let kv_pool = match smallest {
                None => None,
                Some((pools, concurrency)) => Some(KvPool {
                    bytes: Bytes::from_wide(pools.bytes(&stage.rows, options.page_size))?,
                    tokens: pools.full_tokens,
                    concurrency,
                }),
            };
            for _ in 0..options.parallel.tensor {
                devices.push(DeviceMemory {
                    weights: stage.weights.allocated,
                    kv_cache: Bytes::from_wide(needed)?,
                    recurrent_state: Bytes::ZERO,
                    compute_buffer: activation,
                    overhead: fixed.clone(),
                    layers: stage.layers.end - stage.layers.start,
                    kv_pool,
                });
            }
        }
        devices.extend(hardware.iter().skip(devices.len()).map(|_| idle_device()));
        Ok((devices, Bytes::from_wide(total)?))
    }

    /// Free memory before loading, and after.
    fn free(&self, device: &Device, stage: &Stage) -> (Bytes, Bytes) {
        let start = process::at_start(self.options.parallel.devices(), most_experts(self.scene.model) > 0);
        let before = device.visible_bytes.saturating_sub(start.expected);
        (before, before.saturating_sub(stage.weights.allocated + load_overhead().expected))
    }

    /// What is left for pools: free after loading - free before loading × (1 - fraction).
    fn budget(&self, device: &Device, stage: &Stage, derivation: &mut Derivation) -> Bytes {
        let (before, after) = self.free(device, stage);
        let budget = after.saturating_sub(before.share(1.0 - self.options.mem_fraction_static));
        derivation.step(|| {
            Step::bytes(
                "sglang.kv_budget",
                format!("memory for pools on {}", device.id),
                "free_after_loading - free_before_loading × (1 - mem_fraction_static)",
                budget,
                POOLS,
            )
            .with("free_before_loading", before.get(), "bytes")
            .with("free_after_loading", after.get(), "bytes")
            .with_real("mem_fraction_static", self.options.mem_fraction_static, "share")
            .known(Certainty::Modelled)
        });
        budget
    }

    fn overhead(&self) -> Vec<NamedAmount> {
        let mut parts = Vec::with_capacity(3);
        if !self.scene.hardware.is_ideal() {
            let start = process::at_start(self.options.parallel.devices(), most_experts(self.scene.model) > 0);
            parts.push(NamedAmount { name: "cuda_context", amount: start, source: "logs of vLLM 0.19 on H100 80GB" });
            parts.push(NamedAmount { name: "loading", amount: load_overhead(), source: WEIGHT_LOGS });
        }
        if !self.options.disable_cuda_graph {
            let mib = self.options.reserved.decode_graphs_mib() + self.options.reserved.prefill_graphs_mib();
            // What the engine itself expects; captured graphs were not measured.
            let amount = Amount::range(Bytes::mib(mib / 4), Bytes::mib(mib), Bytes::mib(mib * 2));
            parts.push(NamedAmount { name: "cuda_graphs", amount, source: FRACTION });
        }
        parts
    }

    fn activation(&self) -> Amount {
        let tokens = self.options.reserved.chunked_prefill_size;
        let widths = Widths::of(self.scene.model, &self.options.parallel);
        let scratch = if self.loaded.matrix == Matrix::Mxfp4 { 0 } else { widths.expert_scratch(tokens) };
        // Logits of the last token of each request, 16 bits and F32.
        let vocabulary = u64::from(self.scene.model.hyperparameters().vocab_size);
        let logits = self.options.reserved.cuda_graph_max_bs.saturating_mul(vocabulary).saturating_mul(6);
        let expected = widths.forward(tokens).saturating_add(scratch).saturating_add(logits);
        let bytes = |value: u64| Bytes::new(value).unwrap_or(Bytes::MAX);
        Amount::range(bytes(expected / 2), bytes(expected), bytes(expected.saturating_mul(2)))
    }

    fn remark_on_options(&mut self) {
        let parallel = self.options.parallel;
        if self.loaded.is_gguf {
            let message = "SGLang loads GGUF files through kernels meant for few architectures; its own formats are safer";
            self.warnings.push(Warning::new("gguf_experimental", message));
        }
        let kv_heads = self.scene.model.blocks().iter().filter_map(|block| match block.attention {
            Attention::Heads(heads) => Some(u64::from(heads.head_count_kv)),
            _ => None,
        });
        if let Some(heads) = kv_heads.min().filter(|&heads| heads < parallel.tensor) {
            let message = format!(
                "{heads} key-value heads over {} ranks: ranks hold copies, so the cache does not shrink further",
                parallel.tensor
            );
            self.warnings.push(Warning::new("kv_heads_replicated", message));
        }
        if self.options.reserved.latent && parallel.tensor > 1 {
            let message = format!("the latent cache is whole on each of {} ranks", parallel.tensor);
            self.warnings.push(Warning::new("latent_cache_replicated", message));
        }
        let idle = (self.scene.hardware.devices.len() as u64).saturating_sub(parallel.devices());
        if idle > 0 {
            self.warnings
                .push(Warning::new("idle_devices", format!("{idle} of the devices hold nothing with these parallel sizes")));
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn remark_on_pools(&mut self, pools: &Pools, concurrency: f64, stages: &[Stage]) {
        let workload = self.scene.workload;
        let holds_tokens = stages.iter().any(|stage| stage.rows.full + stage.rows.windowed > 0);
        if holds_tokens && pools.full_tokens == 0 {
            let most = self.scene.hardware.devices.iter().zip(stages.iter().cycle()).map(|(device, stage)| {
                let (before, after) = self.free(device, stage);
                (before, after, minimum_fraction(before, after))
            });
            let Some((before, after, minimum)) = most.max_by(|a, b| a.2.total_cmp(&b.2)) else { return };
            let way = if after > Bytes::ZERO {
                format!("mem_fraction_static must be above {minimum:.3}")
            } else {
                "the weights alone do not fit".into()
            };
            let message = format!(
                "SGLang does not start: {} are free before loading, {} after, and mem_fraction_static {} leaves nothing for its pools; {way}",
                before.display(ByteUnit::GiB),
                after.display(ByteUnit::GiB),
                self.options.mem_fraction_static
            );
            self.warnings.push(Warning::new("does_not_start", message));
        } else if holds_tokens && pools.full_tokens < workload.context {
            let message = format!(
                "the pool holds {} tokens: SGLang starts, but refuses requests of {}",
                grouped(pools.full_tokens),
                grouped(workload.context)
            );
            self.warnings.push(Warning::new("context_above_pool", message));
        } else if concurrency < workload.concurrency as f64 {
            let message =
                format!("the pools hold {concurrency:.2} requests at once, {} are asked: the rest waits", workload.concurrency);
            self.warnings.push(Warning::new("kv_pool_too_small", message));
        }
    }
}

/// The least fraction that leaves room for a pool: 1 - free after loading ÷ free before.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn minimum_fraction(free_before: Bytes, free_after: Bytes) -> f64 {
    1.0 - free_after.get() as f64 / (free_before.get().max(1)) as f64
}

/// What loading takes beside the tensors: 0.25 to 0.28 GiB.
fn load_overhead() -> Amount {
    let bytes = |hundredths| Bytes::new(centi_gib(hundredths)).unwrap_or(Bytes::MAX);
    Amount::range(bytes(10), bytes(26), bytes(40))
}
