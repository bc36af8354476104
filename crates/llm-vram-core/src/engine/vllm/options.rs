//! The options of a run, with this version's defaults filled in.

use alloc::{string::ToString, vec::Vec};

use crate::{
    engine::{
        Resolved,
        serving::{Parallel, cache_type::CacheType, state::StateTypes},
    },
    error::Result,
    hardware::{Device, Hardware},
    model::{Attention, Model},
    workload::Workload,
};

use super::{
    kv_spec::{CACHE_TYPES, SpecOptions},
    rules::Rules,
};

const GIB: u64 = 1 << 30;

/// The resolved options.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// The division over devices.
    pub parallel: Parallel,
    /// Share of each device's memory.
    pub gpu_memory_utilization: f64,
    /// Most sequences at once.
    pub max_num_seqs: u64,
    /// Most tokens per step.
    pub max_num_batched_tokens: u64,
    /// Longest request.
    pub max_model_len: u64,
    /// Tokens per cache block of the attention backend.
    pub block_size: u64,
    /// The cache's type.
    pub cache_type: CacheType,
    /// No CUDA graphs.
    pub enforce_eager: bool,
    /// Recurrent states are kept at block ends.
    pub align: bool,
    /// Every attention layer keeps all tokens.
    pub disable_hybrid_kv_cache_manager: bool,
}

impl Options {
    /// Resolves the options of a workload.
    ///
    /// # Errors
    /// As [`Parallel::resolve`] and [`CacheType::of`].
    pub fn resolve(model: &Model, workload: &Workload, hardware: &Hardware, rules: &Rules) -> Result<(Self, Vec<Resolved>)> {
        let devices = (!hardware.is_ideal()).then_some(hardware.devices.len());
        let parallel = Parallel::resolve(model, workload, devices)?;
        let device = hardware.devices.iter().min_by_key(|device| device.visible_bytes);
        let (tokens, sequences) = batch_defaults(device);
        let cache_type = cache_type(workload, model)?;
        let options = Self {
            parallel,
            gpu_memory_utilization: workload.gpu_memory_utilization.unwrap_or(rules.gpu_memory_utilization),
            max_num_seqs: workload.max_num_seqs.unwrap_or(sequences),
            max_num_batched_tokens: workload.max_num_batched_tokens.unwrap_or(tokens),
            max_model_len: workload.context,
            block_size: workload.block_size.unwrap_or_else(|| default_block(model, device)),
            cache_type,
            enforce_eager: workload.enforce_eager.unwrap_or(false),
            align: workload.enable_prefix_caching.unwrap_or(rules.caches_state_prefixes),
            // Before V1 there was no such manager.
            disable_hybrid_kv_cache_manager: rules.v0 || workload.disable_hybrid_kv_cache_manager.unwrap_or(false),
        };
        let resolved = options.describe(workload);
        Ok((options, resolved))
    }

    /// The part of the options that shapes the cache.
    #[must_use]
    pub fn spec(&self, model: &Model) -> SpecOptions {
        SpecOptions {
            parallel: self.parallel,
            cache_type: self.cache_type,
            block_size: self.block_size,
            state_types: StateTypes::of(model.architecture()),
            max_model_len: self.max_model_len,
            align: self.align,
            disable_hybrid_kv_cache_manager: self.disable_hybrid_kv_cache_manager,
        }
    }

    fn describe(&self, workload: &Workload) -> Vec<Resolved> {
        let number = |name, value: u64, given: bool| Resolved { name, value: value.to_string(), is_default: !given };
        alloc::vec![
            number("max_model_len", self.max_model_len, true),
            Resolved {
                name: "gpu_memory_utilization",
                value: self.gpu_memory_utilization.to_string(),
                is_default: workload.gpu_memory_utilization.is_none(),
            },
            number("max_num_seqs", self.max_num_seqs, workload.max_num_seqs.is_some()),
            number("max_num_batched_tokens", self.max_num_batched_tokens, workload.max_num_batched_tokens.is_some()),
            number("tensor_parallel_size", self.parallel.tensor, workload.tensor_parallel_size.is_some()),
            number("pipeline_parallel_size", self.parallel.pipeline, workload.pipeline_parallel_size.is_some()),
            Resolved {
                name: "enable_expert_parallel",
                value: self.parallel.expert.to_string(),
                is_default: !workload.enable_expert_parallel,
            },
            Resolved {
                name: "kv_cache_dtype",
                value: workload.kv_cache_type_k.as_deref().unwrap_or("auto").to_string(),
                is_default: workload.kv_cache_type_k.is_none(),
            },
            number("block_size", self.block_size, workload.block_size.is_some()),
            Resolved { name: "enforce_eager", value: self.enforce_eager.to_string(), is_default: workload.enforce_eager.is_none() },
        ]
    }
}

/// Default `max_num_batched_tokens` of the API server and `max_num_seqs`; without hardware those of small cards.
///
/// Source: vLLM 0.19 and 0.33, `engine/arg_utils.py` (`get_batch_defaults`): by device memory, A100 and GB10 apart.
fn batch_defaults(device: Option<&Device>) -> (u64, u64) {
    let Some(device) = device else { return (2048, 256) };
    let name = device.name.to_ascii_lowercase();
    let small = name.contains("a100") || name.contains("gb10");
    match device.visible_bytes.get() {
        bytes if bytes >= 160 * GIB && !small => (16_384, 1024),
        bytes if bytes >= 70 * GIB && !small => (8192, 1024),
        _ => (2048, 256),
    }
}

/// Tokens per block of the attention backend that vLLM chooses.
///
/// Source: vLLM, `platforms/cuda.py` (`check_and_update_config`, `get_attn_backend_cls`): 16 for FlashAttention,
/// Triton and FLASH_ATTN_MLA; 64 for sparse latent attention; 32 for FlashInfer's latent attention on 10.x.
fn default_block(model: &Model, device: Option<&Device>) -> u64 {
    let latent = model.blocks().iter().find_map(|block| match block.attention {
        Attention::Latent(latent) => Some(latent),
        _ => None,
    });
    let capability = device.and_then(|device| device.compute_capability);
    match latent {
        Some(latent) if latent.indexer.is_some() => 64,
        Some(_) if capability.is_some_and(|capability| (100..110).contains(&capability)) => 32,
        _ => 16,
    }
}

fn cache_type(workload: &Workload, model: &Model) -> Result<CacheType> {
    let cache_type = CacheType::of("vLLM", CACHE_TYPES, workload)?;
    let sparse =
        model.blocks().iter().any(|block| matches!(block.attention, Attention::Latent(latent) if latent.indexer.is_some()));
    // Sparse latent attention has a layout of its own for 8 bits.
    Ok(if sparse && cache_type == CacheType::Byte { CacheType::LatentByte } else { cache_type })
}
