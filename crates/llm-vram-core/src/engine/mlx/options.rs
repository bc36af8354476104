//! mlx-lm's options as a workload states them.

use alloc::{format, string::String};

use crate::{
    bounds,
    error::{Error, ErrorKind, Result},
    workload::Workload,
};

/// `--kv-bits` with `--kv-group-size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvBits {
    /// Bits of a cached element.
    pub bits: u64,
    /// Elements that share a scale.
    pub group_size: u64,
}

/// The options that change memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// `--kv-bits`; 16-bit caches if absent.
    pub kv_bits: Option<KvBits>,
    /// `--max-kv-size`.
    pub max_kv_size: Option<u64>,
    /// `--prefill-step-size`.
    pub prefill_step_size: u64,
}

/// Tokens per prefill call (`generate.py:generate_step`, `server.py`).
pub const PREFILL_STEP_SIZE: u64 = 2048;
/// Tokens from which on `generate_step` quantises caches (`generate.py:DEFAULT_QUANTIZED_KV_START`).
pub const QUANTIZED_KV_START: u64 = 5000;

impl Options {
    /// Reads the options of a workload.
    ///
    /// The cache types are `f16`, `bf16` or `auto` for 16 bits, or bits with an optional group size: `8bit`, `4bit-g32`,
    /// `q8`. llama.cpp's `q8_0`, `q5_0`, `q4_0` … are read as 8, 5 and 4 bits, so that one question can be put to several engines.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownQuant`] for other types, [`ErrorKind::EngineRefuses`] for different types of keys and values or
    /// bits that MLX lacks, [`ErrorKind::OutOfRange`] for sizes beyond their bounds.
    pub fn read(workload: &Workload) -> Result<Self> {
        let max_kv_size = workload.max_kv_size.map(|size| bounds::MAX_KV_SIZE.check(size)).transpose()?;
        let step = workload.prefill_step_size.map(|size| bounds::PREFILL_STEP_SIZE.check(size)).transpose()?;
        let key = workload.kv_cache_type_k.as_deref().map(|text| kv_bits("kv_cache_type_k", text)).transpose()?;
        let value = workload.kv_cache_type_v.as_deref().map(|text| kv_bits("kv_cache_type_v", text)).transpose()?;
        let kv_bits = match (key, value) {
            (Some(key), Some(value)) if key != value => {
                return Err(Error::new(ErrorKind::EngineRefuses, "mlx-lm quantises keys and values alike")
                    .field("kv_cache_type_v")
                    .help("give both caches the same type"));
            }
            (Some(bits), _) | (None, Some(bits)) => bits,
            (None, None) => None,
        };
        Ok(Self { kv_bits, max_kv_size, prefill_step_size: step.unwrap_or(PREFILL_STEP_SIZE) })
    }
}

fn kv_bits(field: &str, text: &str) -> Result<Option<KvBits>> {
    let lower = text.trim().to_ascii_lowercase();
    if matches!(lower.as_str(), "auto" | "f16" | "fp16" | "float16" | "bf16" | "bfloat16" | "16" | "16bit") {
        return Ok(None);
    }
    let (number, group) = match lower.split_once("-g") {
        Some((number, group)) => (String::from(number), group.parse().ok()),
        None => (lower, Some(64)),
    };
    let digits = number.strip_prefix('q').unwrap_or(&number);
    let digits =
        digits.strip_suffix("bit").or_else(|| digits.strip_suffix("_0")).or_else(|| digits.strip_suffix("_1")).unwrap_or(digits);
    let (Ok(bits), Some(group_size)) = (digits.parse::<u64>(), group) else {
        return Err(Error::new(ErrorKind::UnknownQuant, format!("`{text}` is no cache type of mlx-lm"))
            .field(field)
            .help("use f16, or bits and group size such as 8bit or 4bit-g64"));
    };
    if !matches!(bits, 2..=6 | 8) || !matches!(group_size, 32 | 64 | 128) {
        return Err(Error::new(
            ErrorKind::EngineRefuses,
            format!("MLX has no quantisation of `{bits}` bits in groups of `{group_size}`"),
        )
        .field(field)
        .help("kv_bits is 2, 3, 4, 5, 6 or 8, kv_group_size 32, 64 or 128"));
    }
    Ok(Some(KvBits { bits, group_size }))
}
