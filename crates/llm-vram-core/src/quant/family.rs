//! Families of weight formats: what an engine loads, from the best quality to the smallest.

use super::{CheckpointFormat, FileType, Fp8Scales, GgmlType, WeightFormat, mlx::MlxQuantisation};
use crate::units::BitsPerWeight;

/// A family of weight formats that engines load as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FormatFamily {
    /// GGUF files.
    Gguf,
    /// Hugging Face checkpoints, plain and quantised.
    Checkpoint,
    /// MLX conversions.
    Mlx,
    /// ExLlama conversions.
    Exl,
}

/// From the best quality to the smallest size: k-quants and their neighbours in the order of published perplexities.
const GGUF: &[WeightFormat] = &[
    WeightFormat::gguf(FileType::BF16),
    WeightFormat::gguf(FileType::Q8_0),
    WeightFormat::gguf(FileType::Q6_K),
    WeightFormat::gguf(FileType::Q5_K_M),
    WeightFormat::gguf(FileType::Q5_K_S),
    WeightFormat::gguf(FileType::Q4_K_M),
    WeightFormat::gguf(FileType::Q4_K_S),
    WeightFormat::gguf(FileType::IQ4_XS),
    WeightFormat::gguf(FileType::Q3_K_M),
    WeightFormat::gguf(FileType::Q3_K_S),
    WeightFormat::gguf(FileType::Q2_K),
];

const CHECKPOINT: &[WeightFormat] = &[
    WeightFormat::Plain(GgmlType::BF16),
    WeightFormat::Checkpoint(CheckpointFormat::Fp8(Fp8Scales::Channel)),
    WeightFormat::Checkpoint(CheckpointFormat::Int8),
    WeightFormat::Checkpoint(CheckpointFormat::Nvfp4),
    WeightFormat::Checkpoint(CheckpointFormat::Awq { group: 128 }),
    WeightFormat::Checkpoint(CheckpointFormat::Gptq { bits: 4, group: 128 }),
];

/// Of the GGUF formats one per number of bits.
const GGUF_USUAL: &[WeightFormat] = &[
    WeightFormat::gguf(FileType::BF16),
    WeightFormat::gguf(FileType::Q8_0),
    WeightFormat::gguf(FileType::Q6_K),
    WeightFormat::gguf(FileType::Q5_K_M),
    WeightFormat::gguf(FileType::Q4_K_M),
    WeightFormat::gguf(FileType::Q3_K_M),
    WeightFormat::gguf(FileType::Q2_K),
];

/// Of the checkpoint formats those that need no particular card.
const CHECKPOINT_EVERYWHERE: &[WeightFormat] = &[
    WeightFormat::Plain(GgmlType::BF16),
    WeightFormat::Checkpoint(CheckpointFormat::Fp8(Fp8Scales::Channel)),
    WeightFormat::Checkpoint(CheckpointFormat::Awq { group: 128 }),
];

impl FormatFamily {
    /// The usual formats of the family, the best quality first.
    #[must_use]
    pub fn ladder(self) -> alloc::vec::Vec<WeightFormat> {
        match self {
            Self::Gguf => GGUF.to_vec(),
            Self::Checkpoint => CHECKPOINT.to_vec(),
            Self::Mlx => ["MLX-bf16", "MLX-8bit-g64", "MLX-6bit-g64", "MLX-5bit-g64", "MLX-4bit-g64", "MLX-3bit-g64"]
                .iter()
                .filter_map(|name| MlxQuantisation::parse(name).ok().flatten())
                .map(WeightFormat::Mlx)
                .collect(),
            Self::Exl => [8, 6, 5, 4, 3].map(|bits| WeightFormat::Exl3(BitsPerWeight::whole(bits))).to_vec(),
        }
    }

    /// The format of the family that stands in for a format of another one: the one with the nearest number of whole
    /// bits per weight, the larger of two. Of checkpoints those count that every card runs: BF16, FP8 and AWQ.
    ///
    /// ```
    /// use llm_vram_core::quant::{FormatFamily, WeightFormat};
    /// let asked = WeightFormat::parse("Q4_K_M")?;
    /// assert_eq!(FormatFamily::Checkpoint.nearest(&asked).to_string(), "AWQ");
    /// assert_eq!(FormatFamily::Mlx.nearest(&asked).to_string(), "MLX-4bit-g64");
    /// assert_eq!(FormatFamily::Gguf.nearest(&WeightFormat::parse("AWQ")?).to_string(), "Q4_K_M");
    /// # Ok::<(), llm_vram_core::Error>(())
    /// ```
    #[must_use]
    pub fn nearest(self, format: &WeightFormat) -> WeightFormat {
        // Whole bits: scales and exceptions cost each family something else.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let bits = |format: &WeightFormat| format.nominal_bits().map_or(16, |bits| bits.to_f64() as u64);
        let candidates = match self {
            Self::Checkpoint => CHECKPOINT_EVERYWHERE.to_vec(),
            Self::Gguf => GGUF_USUAL.to_vec(),
            Self::Mlx | Self::Exl => self.ladder(),
        };
        let asked = bits(format);
        let mut best: Option<(u64, WeightFormat)> = None;
        for candidate in candidates {
            let apart = bits(&candidate).abs_diff(asked);
            if best.is_none_or(|(least, _)| apart < least) {
                best = Some((apart, candidate));
            }
        }
        best.map_or_else(|| self.default_format(), |(_, format)| format)
    }

    /// What people take where they name nothing.
    #[must_use]
    pub fn default_format(self) -> WeightFormat {
        match self {
            Self::Gguf => WeightFormat::gguf(FileType::Q4_K_M),
            Self::Checkpoint => WeightFormat::Plain(GgmlType::BF16),
            Self::Mlx => MlxQuantisation::parse("MLX-4bit-g64").ok().flatten().map_or(WeightFormat::Stored, WeightFormat::Mlx),
            Self::Exl => WeightFormat::Exl3(BitsPerWeight::whole(4)),
        }
    }

    /// The unquantised format.
    #[must_use]
    pub fn plain_format(self) -> WeightFormat {
        match self {
            Self::Gguf => WeightFormat::gguf(FileType::F16),
            Self::Checkpoint | Self::Exl => WeightFormat::Plain(GgmlType::F16),
            Self::Mlx => WeightFormat::Mlx(MlxQuantisation::None),
        }
    }

    /// Whether a format belongs to the family.
    #[must_use]
    pub const fn contains(self, format: &WeightFormat) -> bool {
        matches!(
            (self, format),
            (_, WeightFormat::Stored)
                | (Self::Gguf, WeightFormat::Gguf(_))
                | (Self::Checkpoint, WeightFormat::Plain(_) | WeightFormat::Checkpoint(_))
                | (Self::Mlx, WeightFormat::Mlx(_))
                | (Self::Exl, WeightFormat::Exl2(_) | WeightFormat::Exl3(_))
        )
    }

    /// A format as this family stores it: plain floating-point GGUF names become plain checkpoints and the reverse.
    #[must_use]
    pub fn adapt(self, format: WeightFormat) -> WeightFormat {
        match (self, format) {
            (Self::Checkpoint, WeightFormat::Gguf(target)) => match target.file_type {
                FileType::F32 => WeightFormat::Plain(GgmlType::F32),
                FileType::F16 => WeightFormat::Plain(GgmlType::F16),
                FileType::BF16 => WeightFormat::Plain(GgmlType::BF16),
                _ => format,
            },
            (Self::Mlx, WeightFormat::Gguf(target)) if matches!(target.file_type, FileType::F16 | FileType::BF16) => {
                WeightFormat::Mlx(MlxQuantisation::None)
            }
            _ => format,
        }
    }
}
