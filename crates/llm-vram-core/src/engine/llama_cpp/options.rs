//! llama.cpp's parameters of one load, with its own defaults in the gaps.

use alloc::{format, string::ToString, vec::Vec};

use crate::{
    engine::Resolved,
    error::{Error, ErrorKind, Result},
    quant::GgmlType,
    workload::{Defaults, FlashAttention, Workload},
};

/// Most sequences of one context (`llama-cparams.h`, `LLAMA_MAX_SEQ`).
pub const MAX_SEQUENCES: u64 = 256;

/// Types that `--cache-type-k` and `--cache-type-v` accept (`common/arg.cpp`, `kv_cache_types`).
pub const CACHE_TYPES: [GgmlType; 9] = [
    GgmlType::F32,
    GgmlType::F16,
    GgmlType::BF16,
    GgmlType::Q8_0,
    GgmlType::Q4_0,
    GgmlType::Q4_1,
    GgmlType::IQ4_NL,
    GgmlType::Q5_0,
    GgmlType::Q5_1,
];

/// `n_batch` of llama-server, llama-cli and the library (`common/common.h`, `llama_context_default_params`).
const DEFAULT_N_BATCH: u64 = 2048;
/// `n_ubatch` of the same three.
const DEFAULT_N_UBATCH: u64 = 512;

/// The parameters of one load, in the names of `llama_model_params` and `llama_context_params`.
///
/// # Which command line this is
/// A [`Workload`] of `context` tokens and `concurrency` requests is `llama-server -c <context x concurrency>
/// -np <concurrency>`: `-c` is the total over all slots, and an explicit `-np` splits the cache between them
/// (`--kv-unified` off). Without `-np`, llama-server opens four slots over one shared cache; ask for that with
/// `concurrency` 4 and `kv_unified`.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// Tokens of all sequences together, as asked for.
    pub n_ctx: u64,
    /// Sequences (slots).
    pub n_seq_max: u64,
    /// Whether all sequences share one cache.
    pub kv_unified: bool,
    /// Logical batch, in tokens.
    pub n_batch: u64,
    /// Physical batch, in tokens.
    pub n_ubatch: u64,
    /// Rows of logits computed at once; 0 for a whole logical batch.
    pub n_outputs_max: u64,
    /// Type of cached keys.
    pub type_k: GgmlType,
    /// Type of cached values.
    pub type_v: GgmlType,
    /// Flash attention as asked for.
    pub flash_attn: FlashAttention,
    /// Whether windowed layers keep a full-size cache.
    pub swa_full: bool,
    /// Whether caches follow their layers to the devices.
    pub offload_kqv: bool,
    /// Whether large operations of host layers run on a device.
    pub op_offload: bool,
    /// Layers on the devices, the output counted as one more; `None` for all.
    pub n_gpu_layers: Option<u64>,
    /// How many of the first layers keep their experts on the host.
    pub n_cpu_moe: u64,
    /// Shares of the devices; `None` to follow free memory.
    pub tensor_split: Option<Vec<f64>>,
}

impl Parameters {
    /// One sequence of `n_ctx` tokens with the library's defaults (`llama_context_default_params`).
    #[must_use]
    pub const fn library(n_ctx: u64) -> Self {
        Self {
            n_ctx,
            n_seq_max: 1,
            kv_unified: false,
            n_batch: DEFAULT_N_BATCH,
            n_ubatch: DEFAULT_N_UBATCH,
            n_outputs_max: 0,
            type_k: GgmlType::F16,
            type_v: GgmlType::F16,
            flash_attn: FlashAttention::Auto,
            swa_full: true,
            offload_kqv: true,
            op_offload: true,
            n_gpu_layers: None,
            n_cpu_moe: 0,
            tensor_split: None,
        }
    }

    /// The parameters that a workload stands for, gaps filled from the defaults that it names.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] for options beyond their bounds, [`ErrorKind::UnknownQuant`] for a cache type that
    /// llama.cpp does not have, [`ErrorKind::EngineRefuses`] for more sequences than it holds.
    pub fn resolve(workload: &Workload) -> Result<Self> {
        workload.validate()?;
        if workload.concurrency > MAX_SEQUENCES {
            return Err(Error::new(
                ErrorKind::EngineRefuses,
                format!(
                    "llama.cpp: n_seq_max must be <= {MAX_SEQUENCES}, but `{}` requests at once were asked for",
                    workload.concurrency
                ),
            )
            .field("concurrency")
            .help("lower the concurrency, or start several servers"));
        }
        let n_ctx = workload.context * workload.concurrency;
        if n_ctx > u64::from(u32::MAX) {
            return Err(Error::new(
                ErrorKind::EngineRefuses,
                format!(
                    "llama.cpp counts the tokens of all sequences in 32 bits, but `{}` x `{}` were asked for",
                    workload.context, workload.concurrency
                ),
            )
            .field("context")
            .help("lower the context or the concurrency"));
        }
        let server = workload.defaults == Defaults::Server;
        let n_batch = workload.n_batch.unwrap_or(DEFAULT_N_BATCH);
        // llama-server computes logits for one token per slot (`tools/server`, `n_outputs_max`).
        let n_outputs_max = if server { workload.concurrency.min(n_batch) } else { 0 };
        Ok(Self {
            n_ctx,
            n_seq_max: workload.concurrency,
            kv_unified: workload.kv_unified.unwrap_or(false),
            n_batch,
            n_ubatch: workload.n_ubatch.unwrap_or(DEFAULT_N_UBATCH),
            n_outputs_max: workload.n_outputs_max.unwrap_or(n_outputs_max),
            type_k: cache_type("kv_cache_type_k", workload.kv_cache_type_k.as_deref())?,
            type_v: cache_type("kv_cache_type_v", workload.kv_cache_type_v.as_deref())?,
            flash_attn: workload.flash_attn,
            swa_full: workload.swa_full.unwrap_or(!server),
            offload_kqv: workload.offload_kqv.unwrap_or(true),
            op_offload: true,
            n_gpu_layers: workload.n_gpu_layers,
            n_cpu_moe: workload.n_cpu_moe.unwrap_or(0),
            tensor_split: workload.tensor_split.clone(),
        })
    }

    /// The options as resolved, for an answer.
    #[must_use]
    pub fn resolved(&self, workload: &Workload) -> Vec<Resolved> {
        let option = |name, value, is_default| Resolved { name, value, is_default };
        let mut options = Vec::with_capacity(14);
        options.extend([
            option("n_ctx", self.n_ctx.to_string(), false),
            option("n_parallel", self.n_seq_max.to_string(), false),
            option("kv_unified", self.kv_unified.to_string(), workload.kv_unified.is_none()),
            option("n_batch", self.n_batch.to_string(), workload.n_batch.is_none()),
            option("n_ubatch", self.n_ubatch.to_string(), workload.n_ubatch.is_none()),
            option("n_outputs_max", self.n_outputs_max.to_string(), workload.n_outputs_max.is_none()),
            option("type_k", self.type_k.name().into(), workload.kv_cache_type_k.is_none()),
            option("type_v", self.type_v.name().into(), workload.kv_cache_type_v.is_none()),
            option("flash_attn", flash_name(self.flash_attn).into(), self.flash_attn == FlashAttention::Auto),
            option("swa_full", self.swa_full.to_string(), workload.swa_full.is_none()),
            option("offload_kqv", self.offload_kqv.to_string(), workload.offload_kqv.is_none()),
            option("n_gpu_layers", self.n_gpu_layers.map_or_else(|| "all".into(), |n| n.to_string()), self.n_gpu_layers.is_none()),
            option("n_cpu_moe", self.n_cpu_moe.to_string(), workload.n_cpu_moe.is_none()),
        ]);
        options
    }
}

/// The option's word on llama.cpp's command line.
const fn flash_name(flash: FlashAttention) -> &'static str {
    match flash {
        FlashAttention::Auto => "auto",
        FlashAttention::On => "on",
        FlashAttention::Off => "off",
    }
}

fn cache_type(field: &'static str, name: Option<&str>) -> Result<GgmlType> {
    let Some(name) = name else { return Ok(GgmlType::F16) };
    GgmlType::from_name(name).filter(|ty| CACHE_TYPES.contains(ty)).ok_or_else(|| {
        let known: Vec<&str> = CACHE_TYPES.iter().map(|ty| ty.name()).collect();
        Error::new(ErrorKind::UnknownQuant, format!("unsupported cache type: `{name}`"))
            .field(field)
            .help(format!("llama.cpp caches in one of {}", known.join(", ")))
    })
}
