//! One table of bounds: what each quantity can be.
//!
//! Checks, error messages, help texts and property tests read this table, so a limit is stated once.
//! The limits are generous (ten times beyond anything published) and exist so that no product of
//! valid numbers can run away.

use alloc::format;

use crate::{
    error::{Error, ErrorKind, Result},
    units::grouped,
};

/// The range of one quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The field's name in requests and records.
    pub name: &'static str,
    /// The quantity in words.
    pub human: &'static str,
    /// What is counted, in the plural; empty for a plain number.
    pub unit: &'static str,
    /// The smallest valid value.
    pub min: u64,
    /// The largest valid value.
    pub max: u64,
}

impl Bound {
    /// Returns `value` if it lies within the bound.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`], naming the quantity, the value and the range.
    pub fn check(&self, value: u64) -> Result<u64> {
        if (self.min..=self.max).contains(&value) { Ok(value) } else { Err(self.error(&format!("{value}"))) }
    }

    /// Like [`Bound::check`], for a value that must fit 32 bits.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`], naming the quantity, the value and the range.
    pub fn check_u32(&self, value: u64) -> Result<u32> {
        u32::try_from(self.check(value)?).map_err(|_| self.error(&format!("{value}")))
    }

    /// The error for a value that is not within the bound, given as the user wrote it.
    #[must_use]
    #[cold]
    pub fn error(&self, value: &str) -> Error {
        let space = if self.unit.is_empty() { "" } else { " " };
        Error::new(
            ErrorKind::OutOfRange,
            format!(
                "{} `{value}` is out of range: expected {} to {}{space}{}",
                self.human,
                grouped(self.min),
                grouped(self.max),
                self.unit
            ),
        )
        .field(self.name)
    }
}

macro_rules! bounds {
    ($($konst:ident = $name:literal, $human:literal, $unit:literal, $min:expr, $max:expr;)*) => {
        $(#[doc = concat!("The range of ", $human, ".")]
        pub const $konst: Bound = Bound { name: $name, human: $human, unit: $unit, min: $min, max: $max };)*
        /// Every bound, in the order of the table.
        pub const ALL: &[Bound] = &[$($konst),*];
    };
}

bounds! {
    BLOCK_COUNT = "block_count", "number of layers", "layers", 1, 4_096;
    NEXTN_PREDICT_LAYERS = "nextn_predict_layers", "number of multi-token-prediction layers", "layers", 0, 64;
    EMBEDDING_LENGTH = "embedding_length", "hidden size", "", 1, 1 << 20;
    VOCAB_SIZE = "vocab_size", "vocabulary size", "tokens", 1, 1 << 24;
    FEED_FORWARD_LENGTH = "feed_forward_length", "feed-forward width", "", 0, 1 << 22;
    HEAD_COUNT = "head_count", "number of attention heads", "heads", 0, 1 << 14;
    HEAD_COUNT_KV = "head_count_kv", "number of key-value heads", "heads", 0, 1 << 14;
    HEAD_LENGTH = "key_length", "head size", "", 1, 1 << 14;
    LORA_RANK = "kv_lora_rank", "latent rank", "", 1, 1 << 16;
    EXPERT_COUNT = "expert_count", "number of experts", "experts", 0, 1 << 14;
    EXPERT_USED_COUNT = "expert_used_count", "number of experts used per token", "experts", 0, 1 << 12;
    EXPERT_FEED_FORWARD_LENGTH = "expert_feed_forward_length", "expert width", "", 0, 1 << 22;
    STATE_SIZE = "ssm_state_size", "state size", "", 0, 1 << 20;
    CONTEXT_LENGTH = "context_length", "trained context length", "tokens", 1, 1 << 30;
    CONTEXT = "context", "context length", "tokens", 1, 1 << 27;
    CONCURRENCY = "concurrency", "number of concurrent requests", "requests", 1, 65_536;
    PARAMETERS = "params", "parameter count", "parameters", 1, 1 << 50;
    N_BATCH = "n_batch", "logical batch size", "tokens", 1, 1 << 20;
    N_UBATCH = "n_ubatch", "physical batch size", "tokens", 1, 1 << 20;
    N_GPU_LAYERS = "n_gpu_layers", "number of layers on the GPU", "layers", 0, 1 << 20;
    N_CPU_MOE = "n_cpu_moe", "number of layers whose experts stay on the host", "layers", 0, 1 << 20;
    N_OUTPUTS_MAX = "n_outputs_max", "number of logits rows", "rows", 0, 1 << 20;
    MAX_NUM_SEQS = "max_num_seqs", "number of sequences at once", "sequences", 1, 1 << 20;
    MAX_NUM_BATCHED_TOKENS = "max_num_batched_tokens", "tokens per step", "tokens", 1, 1 << 24;
    TENSOR_PARALLEL_SIZE = "tensor_parallel_size", "tensor-parallel size", "devices", 1, 4_096;
    PIPELINE_PARALLEL_SIZE = "pipeline_parallel_size", "pipeline-parallel size", "devices", 1, 4_096;
    BLOCK_SIZE = "block_size", "cache block size", "tokens", 1, 1 << 16;
    MAX_KV_SIZE = "max_kv_size", "cache size limit", "tokens", 1, 1 << 27;
    PREFILL_STEP_SIZE = "prefill_step_size", "prefill step size", "tokens", 32, 1 << 20;
    DEVICE_COUNT = "hardware", "number of devices", "devices", 1, 4_096;
    MEMORY = "memory", "memory of a device", "bytes", 1 << 20, 1 << 50;
    TENSOR_COUNT = "tensors", "number of tensors", "tensors", 0, 1 << 20;
    TENSOR_DIMENSION = "shape", "tensor dimension", "", 0, 1 << 40;
    FILE_BYTES = "file", "file size", "bytes", 0, 1 << 50;
    CONFIG_BYTES = "config", "size of a config.json", "bytes", 1, 16 << 20;
}

/// Checks a share: a number above 0 and at most 1.
///
/// # Errors
/// [`ErrorKind::OutOfRange`] for anything else, NaN included.
pub fn share(field: &str, human: &str, value: f64) -> Result<f64> {
    if value > 0.0 && value <= 1.0 {
        return Ok(value);
    }
    Err(Error::new(ErrorKind::OutOfRange, format!("{human} `{value}` is out of range: expected a number above 0 and at most 1"))
        .field(field))
}

/// Checks the share of memory that is left free: from 0 to below 1.
///
/// # Errors
/// [`ErrorKind::OutOfRange`] for anything else, NaN included.
pub fn safety(value: f64) -> Result<f64> {
    if (0.0..1.0).contains(&value) {
        return Ok(value);
    }
    Err(Error::new(ErrorKind::OutOfRange, format!("safety `{value}` is out of range: expected a number from 0 to below 1"))
        .field("safety")
        .help("0.10 leaves a tenth of the memory free"))
}

/// Checks a memory bandwidth in GB per second: above 0 and at most 10^6.
///
/// # Errors
/// [`ErrorKind::OutOfRange`] for anything else, NaN included.
pub fn bandwidth(value: f64) -> Result<f64> {
    if value > 0.0 && value <= 1e6 {
        return Ok(value);
    }
    let message = format!("bandwidth `{value}` is out of range: expected a number above 0 and at most 1,000,000 GB per second");
    Err(Error::new(ErrorKind::OutOfRange, message).field("bandwidth"))
}

/// Checks a relative weight: a finite number of at least 0.
///
/// # Errors
/// [`ErrorKind::OutOfRange`] for anything else, NaN included.
pub fn share_weight(field: &str, value: f64) -> Result<f64> {
    if value.is_finite() && value >= 0.0 {
        return Ok(value);
    }
    Err(Error::new(ErrorKind::OutOfRange, format!("share `{value}` is out of range: expected a finite number of at least 0"))
        .field(field))
}
