//! What one linear layer's weight takes on a rank, side data included.

use alloc::{format, vec::Vec};

use crate::{
    error::{Error, ErrorKind, Result},
    model::Model,
    quant::{CheckpointFormat, FileType, Fp8Scales, GgmlType, Recipe, WeightFormat, weight_bytes},
    units::Bytes,
};

/// How the matrices of linear layers are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matrix {
    /// So many bytes per weight.
    Plain(u64),
    /// One byte per weight and an F32 scale per output channel (FP8 dynamic, INT8 W8A8).
    ByteChannel,
    /// One byte per weight and one F32 scale.
    ByteTensor,
    /// One byte per weight and an F32 scale per block of 128 × 128.
    ByteBlock,
    /// Packed integers with a 16-bit scale per group of inputs.
    Grouped {
        /// Bits per weight.
        bits: u64,
        /// Inputs per scale.
        group: u64,
        /// Packed zero points beside the scales.
        zeros: bool,
    },
    /// NVFP4: 4 bits and an FP8 scale per 16 weights, two F32 scales.
    Nvfp4,
    /// MXFP4: 4 bits and an 8-bit exponent per 32 weights.
    Mxfp4,
    /// bitsandbytes NF4: 4-bit codes and a scale per 64 weights.
    Nf4 {
        /// The scales are quantised once more.
        double_quant: bool,
    },
    /// As each tensor is stored in a file, a rank's share by elements.
    Stored,
}

impl Matrix {
    /// How a quantised checkpoint's matrices are held after loading.
    ///
    /// Source: vLLM, `layers/quantization/*.py`. The Marlin kernels keep packed zero points for symmetric formats too
    /// (logged for W4A16) and drop GPTQ's group indices.
    #[must_use]
    pub const fn of(format: CheckpointFormat) -> Self {
        match format {
            CheckpointFormat::Fp8(Fp8Scales::Tensor) => Self::ByteTensor,
            CheckpointFormat::Fp8(Fp8Scales::Block128) => Self::ByteBlock,
            CheckpointFormat::Fp8(Fp8Scales::Channel) | CheckpointFormat::Int8 => Self::ByteChannel,
            CheckpointFormat::Awq { group } | CheckpointFormat::W4A16 { group } => {
                Self::Grouped { bits: 4, group: group as u64, zeros: true }
            }
            CheckpointFormat::Gptq { bits, group } => Self::Grouped { bits: bits as u64, group: group as u64, zeros: true },
            CheckpointFormat::Nf4 { double_quant } => Self::Nf4 { double_quant },
            CheckpointFormat::Nvfp4 => Self::Nvfp4,
            CheckpointFormat::Mxfp4 => Self::Mxfp4,
        }
    }

    /// The allocations of a matrix of `outputs` × `inputs`, `copies` times (experts): values, then side data.
    #[must_use]
    pub fn allocations(self, outputs: u64, inputs: u64, copies: u64) -> [u64; 3] {
        let weights = copies.saturating_mul(outputs).saturating_mul(inputs);
        let per_channel = copies.saturating_mul(outputs);
        match self {
            Self::Plain(bytes) => [weights.saturating_mul(bytes), 0, 0],
            Self::Stored => [weights.saturating_mul(2), 0, 0],
            Self::ByteChannel => [weights, per_channel.saturating_mul(4), 0],
            Self::ByteTensor => [weights, copies.saturating_mul(4), 0],
            Self::ByteBlock => {
                [weights, copies.saturating_mul(outputs.div_ceil(128)).saturating_mul(inputs.div_ceil(128)).saturating_mul(4), 0]
            }
            Self::Grouped { bits, group, zeros } => {
                let groups = per_channel.saturating_mul(inputs.div_ceil(group.max(1)));
                let zero_bytes = if zeros { groups.saturating_mul(bits).div_ceil(8) } else { 0 };
                [weights.saturating_mul(bits).div_ceil(8), groups.saturating_mul(2), zero_bytes]
            }
            Self::Nf4 { double_quant } => {
                let scales = weights.div_ceil(64);
                let second = if double_quant { scales.div_ceil(256).saturating_mul(4) } else { 0 };
                [weights.div_ceil(2), if double_quant { scales } else { scales.saturating_mul(4) }, second]
            }
            Self::Nvfp4 => [weights.div_ceil(2), weights.div_ceil(16), copies.saturating_mul(8)],
            Self::Mxfp4 => [weights.div_ceil(2), weights.div_ceil(32), 0],
        }
    }
}

/// A model's weights in the format in which a server loads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// How matrices are held.
    pub matrix: Matrix,
    /// Bytes of each tensor in the file, for [`Matrix::Stored`].
    pub stored: Vec<u64>,
    /// All weights as stored, each once.
    pub total: Bytes,
    /// Whether the file is a GGUF, which servers call experimental.
    pub is_gguf: bool,
}

impl Loaded {
    /// What a server holds of `model` in `format`. Plain floating-point names are checkpoints here.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for families that PyTorch servers do not load, and as
    /// [`weight_bytes`].
    pub fn new(model: &Model, format: &WeightFormat, engine: &str) -> Result<Self> {
        let plain = |ty: GgmlType| -> Result<Self> {
            let bytes = if ty == GgmlType::F32 { 4 } else { 2 };
            Self::with(model, &WeightFormat::Plain(ty), Matrix::Plain(bytes), Vec::new(), false)
        };
        match format {
            WeightFormat::Plain(ty @ (GgmlType::F32 | GgmlType::F16 | GgmlType::BF16)) => plain(*ty),
            WeightFormat::Gguf(target) => match target.file_type {
                FileType::F32 => plain(GgmlType::F32),
                FileType::F16 => plain(GgmlType::F16),
                FileType::BF16 => plain(GgmlType::BF16),
                _ => {
                    let recipe = Recipe::new(model);
                    let stored = recipe.tensors(*target).map(|item| item.map(|(_, bytes)| bytes.get())).collect::<Result<_>>()?;
                    Self::with(model, format, Matrix::Stored, stored, true)
                }
            },
            WeightFormat::Checkpoint(checkpoint) => Self::with(model, format, Matrix::of(*checkpoint), Vec::new(), false),
            WeightFormat::Stored => {
                let bytes = model.tensors().iter().map(|tensor| tensor.stored.as_ref().map_or(0, |stored| stored.bytes.get()));
                let is_gguf = model.tensors().iter().filter_map(|tensor| tensor.stored.as_ref()).any(|stored| {
                    let quantised = |ty: &&GgmlType| ty.is_quantised() && ty.name() == stored.type_name;
                    GgmlType::ALL.iter().any(|ty| quantised(&ty))
                });
                Self::with(model, format, Matrix::Stored, bytes.collect(), is_gguf)
            }
            WeightFormat::Plain(_) | WeightFormat::Mlx(_) | WeightFormat::Exl2(_) | WeightFormat::Exl3(_) => {
                Err(Error::new(ErrorKind::Unsupported, format!("{engine} does not load weights in `{format}`"))
                    .field("quant")
                    .help("choose BF16, FP8, INT8, AWQ, GPTQ, W4A16, NF4, NVFP4 or MXFP4, or another engine"))
            }
        }
    }

    /// Matrices held so, for comparisons with logs.
    ///
    /// # Errors
    /// As [`Loaded::new`].
    pub fn with(model: &Model, format: &WeightFormat, matrix: Matrix, stored: Vec<u64>, is_gguf: bool) -> Result<Self> {
        Ok(Self { matrix, stored, total: weight_bytes(model, format)?.total, is_gguf })
    }
}
