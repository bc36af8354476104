//! Weight formats over all families, and their names.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use super::{CheckpointFormat, FileType, GgmlType, QuantTarget, mlx::MlxQuantisation};
use crate::{
    error::{Error, ErrorKind, Result},
    suggest::nearest,
    units::BitsPerWeight,
};

/// How a model's weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightFormat {
    /// As the file that the model was read from stores them.
    Stored,
    /// A checkpoint in one floating-point type: F32, F16 or BF16.
    Plain(GgmlType),
    /// A GGUF file of one of llama-quantize's mixtures.
    Gguf(QuantTarget),
    /// A quantised Hugging Face checkpoint.
    Checkpoint(CheckpointFormat),
    /// An MLX conversion.
    Mlx(MlxQuantisation),
    /// ExLlamaV2, at that many bits per weight on average.
    Exl2(BitsPerWeight),
    /// ExLlamaV3, at that many bits per weight on average, its output head at 6 bits.
    Exl3(BitsPerWeight),
}

impl WeightFormat {
    /// A GGUF file as publishers make it, without an importance matrix.
    #[must_use]
    pub const fn gguf(file_type: FileType) -> Self {
        Self::Gguf(QuantTarget::new(file_type).published())
    }

    /// Reads a format's name in any letter case: a GGUF file type (`Q4_K_M`, `F16`, `MXFP4_MOE` …), `FP8`, `INT8`, `AWQ`,
    /// `GPTQ`, `NF4`, `NVFP4`, `MXFP4`, `MLX-4bit-g64`, `EXL3-4.0bpw` …
    ///
    /// Plain floating-point names are read as GGUF files; engines that load checkpoints take them as such.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownQuant`] for anything else.
    ///
    /// ```
    /// use llm_vram_core::quant::WeightFormat;
    /// assert_eq!(WeightFormat::parse("q4_k_m")?.to_string(), "Q4_K_M");
    /// assert_eq!(WeightFormat::parse("mlx-4bit")?.to_string(), "MLX-4bit-g64");
    /// assert_eq!(WeightFormat::parse("EXL3-4.0bpw")?.to_string(), "EXL3-4bpw");
    /// assert!(WeightFormat::parse("Q4_K_XXL").is_err());
    /// # Ok::<(), llm_vram_core::Error>(())
    /// ```
    pub fn parse(name: &str) -> Result<Self> {
        let name = name.trim();
        if name.len() > 64 {
            return Err(unknown("a name of more than 64 bytes"));
        }
        if name.eq_ignore_ascii_case("stored") {
            return Ok(Self::Stored);
        }
        // MXFP4 alone is the checkpoint format; the GGUF mixture is called MXFP4_MOE.
        if let Some(format) = CheckpointFormat::from_name(name) {
            return Ok(Self::Checkpoint(format));
        }
        if let Some(file_type) = FileType::from_name(name) {
            return Ok(Self::gguf(file_type));
        }
        if let Some(quantisation) = MlxQuantisation::parse(name)? {
            return Ok(Self::Mlx(quantisation));
        }
        let lower = name.to_ascii_lowercase();
        for (prefix, make) in [("exl2-", Self::Exl2 as fn(BitsPerWeight) -> Self), ("exl3-", Self::Exl3)] {
            if let Some(bits) = lower.strip_prefix(prefix) {
                return BitsPerWeight::parse(bits.trim_end_matches("bpw")).map(make).map_err(|_| unknown(&format!("`{name}`")));
            }
        }
        Err(unknown(&format!("`{name}`")))
    }

    /// The bits per weight that the nominal rule takes: those of the type that most weights get, without what mixtures
    /// keep at more bits.
    ///
    /// GGUF types count what their blocks take, scales included, but Q3_K 3.5 bits where its blocks take 3.4375, as the
    /// six-chapter sum has it.
    #[must_use]
    pub fn nominal_bits(&self) -> Option<BitsPerWeight> {
        match self {
            Self::Stored => None,
            Self::Plain(ty) => Some(ty.bits_per_weight()),
            Self::Gguf(target) => Some(match target.file_type.default_type() {
                GgmlType::Q3_K => BitsPerWeight::new(7, 2).unwrap_or(BitsPerWeight::whole(4)),
                ty => ty.bits_per_weight(),
            }),
            Self::Checkpoint(format) => Some(BitsPerWeight::whole(match format {
                CheckpointFormat::Fp8(_) | CheckpointFormat::Int8 => 8,
                CheckpointFormat::Gptq { bits, .. } => *bits,
                _ => 4,
            })),
            Self::Mlx(quantisation) => quantisation.nominal_bits(),
            Self::Exl2(bits) | Self::Exl3(bits) => Some(*bits),
        }
    }

    /// What it is for, in a few words.
    #[must_use]
    pub const fn purpose(&self) -> &'static str {
        match self {
            Self::Stored => "as the file stores it",
            Self::Plain(_) => "reference, as published",
            Self::Gguf(target) => gguf_purpose(target.file_type),
            Self::Checkpoint(format) => format.purpose(),
            Self::Mlx(_) => "Apple Silicon",
            Self::Exl2(_) | Self::Exl3(_) => "NVIDIA cards, any number of bits",
        }
    }

    /// The nine formats of the six-chapter grid, the largest first: FP16, FP8, INT8, Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q3_K_M,
    /// Q2_K.
    #[must_use]
    pub const fn nine() -> [Self; 9] {
        [
            Self::gguf(FileType::F16),
            Self::Checkpoint(CheckpointFormat::Fp8(super::Fp8Scales::Channel)),
            Self::Checkpoint(CheckpointFormat::Int8),
            Self::gguf(FileType::Q8_0),
            Self::gguf(FileType::Q6_K),
            Self::gguf(FileType::Q5_K_M),
            Self::gguf(FileType::Q4_K_M),
            Self::gguf(FileType::Q3_K_M),
            Self::gguf(FileType::Q2_K),
        ]
    }
}

const fn gguf_purpose(file_type: FileType) -> &'static str {
    match file_type {
        FileType::F32 | FileType::BF16 | FileType::F16 => "reference",
        FileType::Q8_0 => "near-lossless",
        FileType::Q6_K => "very small loss",
        FileType::Q5_K_M | FileType::Q5_K_S | FileType::Q5_1 | FileType::Q5_0 => "small loss",
        FileType::Q4_K_M => "the usual choice",
        FileType::Q4_K_S | FileType::IQ4_NL | FileType::IQ4_XS | FileType::Q4_1 | FileType::Q4_0 => "about as good as 4 bit gets",
        FileType::MXFP4_MOE => "experts at 4 bit, the rest at 8",
        FileType::Q3_K_L | FileType::Q3_K_M | FileType::IQ3_M | FileType::IQ3_S | FileType::Q3_K_S | FileType::IQ3_XS => {
            "visible loss"
        }
        _ => "heavy loss, where nothing else fits",
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored => f.pad("as stored"),
            Self::Plain(ty) => f.pad(match ty {
                GgmlType::F32 => "F32",
                GgmlType::F16 => "F16",
                _ => "BF16",
            }),
            Self::Gguf(target) => f.pad(target.file_type.name()),
            Self::Checkpoint(format) => format.fmt(f),
            Self::Mlx(quantisation) => quantisation.fmt(f),
            Self::Exl2(bits) => f.pad(&format!("EXL2-{bits}bpw")),
            Self::Exl3(bits) => f.pad(&format!("EXL3-{bits}bpw")),
        }
    }
}

#[cold]
fn unknown(what: &str) -> Error {
    let names: Vec<String> = WeightFormat::all().iter().map(ToString::to_string).collect();
    let error = Error::new(ErrorKind::UnknownQuant, format!("no weight format is called {what}")).field("quant");
    if let Some(name) = nearest(what.trim_matches('`'), names.iter().map(String::as_str)) {
        return error.help(format!("did you mean `{name}`?"));
    }
    error
        .help("known are GGUF file types (Q4_K_M, IQ4_XS, F16 …), FP8, INT8, AWQ, GPTQ, W4A16, NF4, NVFP4, MXFP4, MLX-4bit-g64, EXL3-4.0bpw")
}
