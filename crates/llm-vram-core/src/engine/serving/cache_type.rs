//! Types of cached keys and values, and what a token takes in each.

use alloc::{format, string::String, vec::Vec};

use crate::{
    error::{Error, ErrorKind, Result},
    workload::Workload,
};

/// A type of cached keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheType {
    /// 16 bits.
    Half,
    /// 8 bits, one scale per tensor.
    Byte,
    /// 8 bits, an F32 scale per token and head on each side.
    BytePerTokenHead,
    /// DeepSeek's layout for sparse latent attention: latent in 8 bits with F32 scales per 128, rotated part in 16.
    LatentByte,
}

impl CacheType {
    /// Reads an option's value among an engine's `names`; `None` is `auto`, the model's 16 bits. Other
    /// engines' words for 16 bits are understood.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownQuant`] for other names.
    pub fn parse(engine: &str, names: &[(&str, Self)], name: Option<&str>) -> Result<Self> {
        let Some(given) = name else { return Ok(Self::Half) };
        let lower = given.trim().to_ascii_lowercase();
        if matches!(lower.as_str(), "bf16" | "f16" | "fp16" | "float16" | "half") {
            return Ok(Self::Half);
        }
        names.iter().find(|(known, _)| *known == lower).map(|(_, cache_type)| *cache_type).ok_or_else(|| {
            let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            Error::new(ErrorKind::UnknownQuant, format!("{engine} has no KV cache type `{given}`"))
                .field("kv_cache_type_k")
                .help(format!("choose one of {}", known.join(", ")))
        })
    }

    /// The one type that a workload's two options name.
    ///
    /// # Errors
    /// As [`CacheType::parse`]; [`ErrorKind::Contradiction`] for different types of keys and values.
    pub fn of(engine: &str, names: &[(&str, Self)], workload: &Workload) -> Result<Self> {
        let (keys, values) = (workload.kv_cache_type_k.as_deref(), workload.kv_cache_type_v.as_deref());
        let cache_type = Self::parse(engine, names, keys.or(values))?;
        if values.is_some() && Self::parse(engine, names, values)? != cache_type {
            let (keys, values) = (keys.unwrap_or("auto"), values.unwrap_or("auto"));
            let message: String = format!("{engine} has one type for keys and values, but `{keys}` and `{values}` were given");
            return Err(Error::new(ErrorKind::Contradiction, message)
                .field("kv_cache_type_v")
                .help("give both the same type, or only the type of keys"));
        }
        Ok(cache_type)
    }

    /// Bytes of a token's keys and values.
    #[must_use]
    pub const fn heads_row(self, heads: u64, key_length: u64, value_length: u64) -> u64 {
        match self {
            Self::Half => heads * (key_length + value_length) * 2,
            Self::Byte | Self::LatentByte => heads * (key_length + value_length),
            Self::BytePerTokenHead => heads * (key_length + value_length + 8),
        }
    }

    /// Bytes of a token's latent row.
    #[must_use]
    pub const fn latent_row(self, kv_lora_rank: u64, rope_length: u64) -> u64 {
        match self {
            Self::Half => (kv_lora_rank + rope_length) * 2,
            Self::Byte | Self::BytePerTokenHead => kv_lora_rank + rope_length,
            Self::LatentByte => kv_lora_rank + kv_lora_rank.div_ceil(128) * 4 + rope_length * 2,
        }
    }

    /// Bytes of a token's key in a sparse-attention indexer: 8 bits and an F32 scale per 128.
    #[must_use]
    pub const fn indexer_row(key_length: u64) -> u64 {
        key_length + key_length.div_ceil(128) * 4
    }
}
