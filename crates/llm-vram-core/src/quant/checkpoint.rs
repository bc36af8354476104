//! Weight formats of Hugging Face checkpoints.

use alloc::{format, string::String};
use core::fmt;

/// How the scales of 8-bit floating-point weights are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fp8Scales {
    /// One for each matrix.
    Tensor,
    /// One for each output channel.
    Channel,
    /// One for each block of 128 × 128 weights.
    Block128,
}

/// A quantised weight format of a Hugging Face checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckpointFormat {
    /// 8-bit floating point.
    Fp8(Fp8Scales),
    /// 8-bit integers with a scale for each output channel.
    Int8,
    /// AWQ: 4-bit integers with scales and zero points for groups of that size.
    Awq {
        /// Weights that share a scale.
        group: u32,
    },
    /// GPTQ: integers with scales, zero points and group indices.
    Gptq {
        /// Bits per coded weight.
        bits: u32,
        /// Weights that share a scale.
        group: u32,
    },
    /// compressed-tensors W4A16: symmetric 4-bit integers with scales for groups of that size.
    W4A16 {
        /// Weights that share a scale.
        group: u32,
    },
    /// bitsandbytes NF4: 4-bit codes with a scale for each 64 weights.
    Nf4 {
        /// Whether the scales are quantised once more.
        double_quant: bool,
    },
    /// NVFP4: 4-bit floating point with an 8-bit scale for each 16 weights.
    Nvfp4,
    /// MXFP4: 4-bit floating point with an 8-bit exponent for each 32 weights.
    Mxfp4,
}

impl CheckpointFormat {
    /// The formats in their usual forms, the largest first.
    pub const USUAL: &'static [Self] = &[
        Self::Fp8(Fp8Scales::Channel),
        Self::Int8,
        Self::Nvfp4,
        Self::Nf4 { double_quant: false },
        Self::Mxfp4,
        Self::Gptq { bits: 4, group: 128 },
        Self::Awq { group: 128 },
        Self::W4A16 { group: 128 },
    ];

    /// Reads a name: `FP8`, `FP8-block`, `INT8`, `AWQ`, `AWQ-g64`, `GPTQ`, `GPTQ-8bit-g32`, `W4A16`, `NF4`, `NF4-dq`,
    /// `NVFP4`, `MXFP4`, in any letter case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let lower = name.trim().to_ascii_lowercase().replace('_', "-");
        match lower.as_str() {
            "fp8" | "fp8-channel" | "fp8-dynamic" => return Some(Self::Fp8(Fp8Scales::Channel)),
            "fp8-tensor" => return Some(Self::Fp8(Fp8Scales::Tensor)),
            "fp8-block" | "fp8-block128" => return Some(Self::Fp8(Fp8Scales::Block128)),
            "int8" | "w8a8" | "w8a16" => return Some(Self::Int8),
            "nf4" | "bnb-4bit" => return Some(Self::Nf4 { double_quant: false }),
            "nf4-dq" => return Some(Self::Nf4 { double_quant: true }),
            "nvfp4" => return Some(Self::Nvfp4),
            "mxfp4" => return Some(Self::Mxfp4),
            _ => {}
        }
        let mut parts = lower.split('-');
        let family = parts.next()?;
        let (mut bits, mut group) = (4, 128);
        for part in parts {
            if let Some(size) = part.strip_prefix('g') {
                group = size.parse().ok().filter(|size: &u32| [16, 32, 64, 128, 256, 512, 1024].contains(size))?;
            } else if let Some(width) = part.strip_suffix("bit") {
                bits = width.parse().ok().filter(|width| [2, 3, 4, 8].contains(width))?;
            } else {
                return None;
            }
        }
        match (family, bits) {
            ("awq", 4) => Some(Self::Awq { group }),
            ("gptq", _) => Some(Self::Gptq { bits, group }),
            ("w4a16" | "int4", 4) => Some(Self::W4A16 { group }),
            _ => None,
        }
    }

    /// What it is for.
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Fp8(_) => "near-lossless on cards with 8-bit units",
            Self::Int8 => "near-lossless on older cards",
            Self::Awq { .. } => "4 bit for servers, calibrated on activations",
            Self::Gptq { .. } => "integers for servers, calibrated layer by layer",
            Self::W4A16 { .. } => "4 bit for servers, symmetric",
            Self::Nf4 { .. } => "4 bit at load time, for fine-tuning and trials",
            Self::Nvfp4 => "4 bit for Blackwell cards",
            Self::Mxfp4 => "4 bit as gpt-oss is released",
        }
    }
}

impl fmt::Display for CheckpointFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grouped = |name: &str, group: u32| if group == 128 { String::from(name) } else { format!("{name}-g{group}") };
        let text = match *self {
            Self::Fp8(Fp8Scales::Channel) => String::from("FP8"),
            Self::Fp8(Fp8Scales::Tensor) => String::from("FP8-tensor"),
            Self::Fp8(Fp8Scales::Block128) => String::from("FP8-block"),
            Self::Int8 => String::from("INT8"),
            Self::Awq { group } => grouped("AWQ", group),
            Self::Gptq { bits: 4, group } => grouped("GPTQ", group),
            Self::Gptq { bits, group } => grouped(&format!("GPTQ-{bits}bit"), group),
            Self::W4A16 { group } => grouped("W4A16", group),
            Self::Nf4 { double_quant: false } => String::from("NF4"),
            Self::Nf4 { double_quant: true } => String::from("NF4-dq"),
            Self::Nvfp4 => String::from("NVFP4"),
            Self::Mxfp4 => String::from("MXFP4"),
        };
        f.pad(&text)
    }
}
