//! What a model is asked to hold, and the engine's own options, in the engines' own words.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{bounds, error::Result};

/// Whether flash attention is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlashAttention {
    /// On if the device runs it.
    #[default]
    Auto,
    /// Requested.
    On,
    /// Refused.
    Off,
}

/// Whose defaults fill the gaps of llama.cpp's options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Defaults {
    /// llama-server's.
    #[default]
    Server,
    /// The C library's (`llama_context_default_params`).
    Library,
}

/// What is asked of an engine. Absent options take the engine's defaults.
///
/// One struct for all engines, each reading what it has: the options of another engine are an error
/// where they would change the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// Tokens per request, prompt and answer together.
    pub context: u64,
    /// Requests held at once.
    pub concurrency: u64,
    /// Type of cached keys, in the engine's words (`f16`, `q8_0`, `fp8` …).
    pub kv_cache_type_k: Option<String>,
    /// Type of cached values.
    pub kv_cache_type_v: Option<String>,
    /// llama.cpp: whose defaults fill the gaps.
    pub defaults: Defaults,
    /// llama.cpp: logical batch size in tokens.
    pub n_batch: Option<u64>,
    /// llama.cpp: physical batch size in tokens.
    pub n_ubatch: Option<u64>,
    /// llama.cpp: flash attention.
    pub flash_attn: FlashAttention,
    /// llama.cpp: one cache for all sequences.
    pub kv_unified: Option<bool>,
    /// llama.cpp: full-size caches for sliding-window layers.
    pub swa_full: Option<bool>,
    /// llama.cpp: layers on the devices, the output counted as one more.
    pub n_gpu_layers: Option<u64>,
    /// llama.cpp: how many of the first layers keep their experts on the host.
    pub n_cpu_moe: Option<u64>,
    /// llama.cpp: shares of the devices; free memory decides if absent.
    pub tensor_split: Option<Vec<f64>>,
    /// llama.cpp: rows of logits computed at once.
    pub n_outputs_max: Option<u64>,
    /// llama.cpp: whether the cache lies on the devices.
    pub offload_kqv: Option<bool>,
    /// vLLM, SGLang (`mem_fraction_static`): share of the device's memory that the engine may take.
    pub gpu_memory_utilization: Option<f64>,
    /// vLLM, SGLang (`max_running_requests`): most sequences at once.
    pub max_num_seqs: Option<u64>,
    /// vLLM, SGLang (`chunked_prefill_size`): most tokens per step.
    pub max_num_batched_tokens: Option<u64>,
    /// vLLM, SGLang: devices that share each layer.
    pub tensor_parallel_size: Option<u64>,
    /// vLLM, SGLang: groups of layers on different devices.
    pub pipeline_parallel_size: Option<u64>,
    /// vLLM, SGLang: experts are divided between devices whole.
    pub enable_expert_parallel: bool,
    /// vLLM, SGLang (`disable_cuda_graph`): no CUDA graphs.
    pub enforce_eager: Option<bool>,
    /// vLLM: tokens per cache block.
    pub block_size: Option<u64>,
    /// mlx-lm: tokens that caches hold at most, where the model's class lets the option choose.
    pub max_kv_size: Option<u64>,
    /// mlx-lm, oMLX: tokens per prefill call.
    pub prefill_step_size: Option<u64>,
    /// vLLM: whether prefixes are cached, which costs models with recurrent states a second state per request.
    pub enable_prefix_caching: Option<bool>,
    /// vLLM: every attention layer keeps all tokens, windows or not.
    pub disable_hybrid_kv_cache_manager: Option<bool>,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            context: 8192,
            concurrency: 1,
            kv_cache_type_k: None,
            kv_cache_type_v: None,
            defaults: Defaults::Server,
            n_batch: None,
            n_ubatch: None,
            flash_attn: FlashAttention::Auto,
            kv_unified: None,
            swa_full: None,
            n_gpu_layers: None,
            n_cpu_moe: None,
            tensor_split: None,
            n_outputs_max: None,
            offload_kqv: None,
            gpu_memory_utilization: None,
            max_num_seqs: None,
            max_num_batched_tokens: None,
            tensor_parallel_size: None,
            pipeline_parallel_size: None,
            enable_expert_parallel: false,
            enforce_eager: None,
            block_size: None,
            max_kv_size: None,
            prefill_step_size: None,
            enable_prefix_caching: None,
            disable_hybrid_kv_cache_manager: None,
        }
    }
}

impl Workload {
    /// Requests of `context` tokens, one at a time.
    #[must_use]
    pub fn new(context: u64) -> Self {
        Self { context, ..Self::default() }
    }

    /// Checks every number against its bound.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`](crate::ErrorKind::OutOfRange) naming the field.
    pub fn validate(&self) -> Result<()> {
        bounds::CONTEXT.check(self.context)?;
        bounds::CONCURRENCY.check(self.concurrency)?;
        let optional = [
            (bounds::N_BATCH, self.n_batch),
            (bounds::N_UBATCH, self.n_ubatch),
            (bounds::N_GPU_LAYERS, self.n_gpu_layers),
            (bounds::N_CPU_MOE, self.n_cpu_moe),
            (bounds::N_OUTPUTS_MAX, self.n_outputs_max),
            (bounds::MAX_NUM_SEQS, self.max_num_seqs),
            (bounds::MAX_NUM_BATCHED_TOKENS, self.max_num_batched_tokens),
            (bounds::TENSOR_PARALLEL_SIZE, self.tensor_parallel_size),
            (bounds::PIPELINE_PARALLEL_SIZE, self.pipeline_parallel_size),
            (bounds::BLOCK_SIZE, self.block_size),
            (bounds::MAX_KV_SIZE, self.max_kv_size),
            (bounds::PREFILL_STEP_SIZE, self.prefill_step_size),
        ];
        for (bound, value) in optional {
            if let Some(value) = value {
                bound.check(value)?;
            }
        }
        if let Some(utilization) = self.gpu_memory_utilization {
            bounds::share("gpu_memory_utilization", "share of GPU memory", utilization)?;
        }
        if let Some(split) = &self.tensor_split {
            bounds::DEVICE_COUNT.check(split.len() as u64)?;
            for &share in split {
                bounds::share_weight("tensor_split", share)?;
            }
        }
        Ok(())
    }
}
