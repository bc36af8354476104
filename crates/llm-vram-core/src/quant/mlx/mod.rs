//! MLX's quantised modules: bytes of a matrix, of a module and of a whole model.
//!
//! Source: mlx 0.32.4 (`mlx/ops.cpp`, `quantize`; `python/mlx/nn/layers/quantized.py`) and mlx-lm 0.32.2
//! (`utils.py:quantize_model`, `convert.py:mixed_quant_predicate_builder`, `models/*.py`: `quant_predicate`,
//! `cast_predicate`).

mod module;
mod recipe;

use alloc::{format, string::String};
use core::fmt;

pub(crate) use module::is_deepseek_v2;
pub use module::{Module, ModuleKind, ModuleRole, modules};
pub use recipe::{MixedRecipe, MlxQuantisation};

use crate::{
    error::{Error, ErrorKind, Result},
    model::Model,
    units::{BitsPerWeight, Bytes},
};

/// How MLX codes a group of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MlxMode {
    /// A 16-bit scale and a 16-bit bias per group.
    Affine,
    /// Microscaling FP4: one scale byte per 32 weights.
    Mxfp4,
    /// NVIDIA FP4: one scale byte per 16 weights.
    Nvfp4,
    /// Microscaling FP8: one scale byte per 32 weights.
    Mxfp8,
}

impl MlxMode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Affine, Self::Mxfp4, Self::Nvfp4, Self::Mxfp8];

    /// MLX's own name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Affine => "affine",
            Self::Mxfp4 => "mxfp4",
            Self::Nvfp4 => "nvfp4",
            Self::Mxfp8 => "mxfp8",
        }
    }

    /// The precision that mlx-lm takes if neither bits nor group size are given
    /// (`utils.py:quantize_model`, `defaults_for_mode`).
    #[must_use]
    pub const fn default_precision(self) -> MlxPrecision {
        let (bits, group_size) = match self {
            Self::Affine => (4, 64),
            Self::Mxfp4 => (4, 32),
            Self::Nvfp4 => (4, 16),
            Self::Mxfp8 => (8, 32),
        };
        MlxPrecision { mode: self, bits, group_size }
    }

    /// Bytes beside the packed weights of one group: scale and bias, or one scale.
    const fn group_overhead_bytes(self) -> u64 {
        match self {
            Self::Affine => 4,
            Self::Mxfp4 | Self::Nvfp4 | Self::Mxfp8 => 1,
        }
    }
}

/// A mode with its bits and group size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MlxPrecision {
    mode: MlxMode,
    bits: u32,
    group_size: u32,
}

impl MlxPrecision {
    /// What `quant_predicate` of many model classes keeps sensitive matrices at, whatever the mode.
    pub const SENSITIVE: Self = Self { mode: MlxMode::Affine, bits: 8, group_size: 64 };

    /// A precision that MLX has.
    ///
    /// # Errors
    /// [`ErrorKind::EngineRefuses`] for bits or group sizes that MLX's `quantize` refuses.
    pub fn new(mode: MlxMode, bits: u32, group_size: u32) -> Result<Self> {
        let precision = Self { mode, bits, group_size };
        let exists = match mode {
            MlxMode::Affine => matches!(bits, 2..=6 | 8) && matches!(group_size, 32 | 64 | 128),
            _ => precision == mode.default_precision(),
        };
        if exists {
            return Ok(precision);
        }
        let default = mode.default_precision();
        let message = match mode {
            MlxMode::Affine => format!("MLX has no affine quantisation of `{bits}` bits in groups of `{group_size}`"),
            _ => format!(
                "MLX's {} is {} bits in groups of {}, not `{bits}` in `{group_size}`",
                mode.name(),
                default.bits,
                default.group_size
            ),
        };
        Err(Error::new(ErrorKind::EngineRefuses, message)
            .field("quant")
            .help("affine takes 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or 128"))
    }

    /// Affine coding in groups of 64, mlx-lm's default.
    ///
    /// # Errors
    /// As [`MlxPrecision::new`].
    pub fn affine(bits: u32) -> Result<Self> {
        Self::new(MlxMode::Affine, bits, 64)
    }

    /// The mode.
    #[must_use]
    pub const fn mode(self) -> MlxMode {
        self.mode
    }

    /// Bits of a coded weight, scales not counted.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.bits
    }

    /// Weights that share a scale.
    #[must_use]
    pub const fn group_size(self) -> u32 {
        self.group_size
    }

    /// Stored bits per weight, scales and biases included: bits + 8 × overhead ÷ group.
    #[must_use]
    pub fn bits_per_weight(self) -> BitsPerWeight {
        let group = u64::from(self.group_size);
        BitsPerWeight::new(u64::from(self.bits) * group + 8 * self.mode.group_overhead_bytes(), group)
            .unwrap_or(BitsPerWeight::whole(16))
    }

    /// The bytes of a matrix of `rows` rows (experts and heads multiplied in) and `columns` inputs:
    /// rows × columns × bits ÷ 8 + rows × columns ÷ group × overhead. Neither padded nor aligned.
    ///
    /// # Errors
    /// [`ErrorKind::Contradiction`] if the group size does not divide the columns,
    /// [`ErrorKind::Overflow`] above [`Bytes::MAX`].
    ///
    /// ```
    /// use llm_vram_core::quant::mlx::{MlxMode, MlxPrecision};
    /// let four_bit = MlxMode::Affine.default_precision();
    /// assert_eq!(four_bit.matrix_bytes(4096, 4096)?.get(), 4096 * 4096 / 2 + 4096 * 64 * 4);
    /// assert!(four_bit.matrix_bytes(4096, 100).is_err());
    /// # Ok::<(), llm_vram_core::Error>(())
    /// ```
    pub fn matrix_bytes(self, rows: u64, columns: u64) -> Result<Bytes> {
        if !columns.is_multiple_of(self.group_size.into()) {
            return Err(Error::new(
                ErrorKind::Contradiction,
                format!("{columns} columns are no whole number of groups of {}", self.group_size),
            ));
        }
        let weights = u128::from(rows) * u128::from(columns);
        let groups = weights / u128::from(self.group_size);
        let packed = weights.checked_mul(u128::from(self.bits)).map(|bits| bits / 8);
        let total = packed.and_then(|packed| packed.checked_add(groups * u128::from(self.mode.group_overhead_bytes())));
        Bytes::from_wide(total.unwrap_or(u128::MAX))
    }
}

impl fmt::Display for MlxPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.mode {
            MlxMode::Affine => format!("{}bit-g{}", self.bits, self.group_size),
            mode => String::from(mode.name()),
        };
        f.pad(&text)
    }
}

/// The bytes of a module: [`MlxPrecision::matrix_bytes`], or 2 per weight unquantised.
///
/// # Errors
/// As [`MlxPrecision::matrix_bytes`].
pub fn module_bytes(rows: u64, columns: u64, precision: Option<MlxPrecision>) -> Result<Bytes> {
    match precision {
        Some(precision) => precision.matrix_bytes(rows, columns),
        None => Bytes::from_wide((u128::from(rows) * u128::from(columns)).saturating_mul(2)),
    }
}

/// What a model's arrays take once mlx-lm has loaded or converted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MlxWeights {
    /// All arrays.
    pub bytes: Bytes,
    /// Weights, scales and biases of quantisation not counted.
    pub parameters: u64,
    /// Weights that are coded in groups.
    pub quantised_parameters: u64,
    /// Of them, those that the model class keeps at affine 8 bit.
    pub sensitive_parameters: u64,
    /// Weights that stay in F32.
    pub f32_parameters: u64,
}

/// The arrays that mlx-lm would hold of `model` at this quantisation.
///
/// Multi-token-prediction blocks and towers are not loaded by mlx-lm and not counted.
///
/// # Errors
/// [`ErrorKind::EngineRefuses`] where mlx-lm's conversion fails: a mixed recipe on a model without `down_proj`,
/// or a matrix that the class keeps at 8 bit in groups of 64 whose columns 64 does not divide;
/// [`ErrorKind::Overflow`] above [`Bytes::MAX`].
pub fn weights(model: &Model, quantisation: MlxQuantisation) -> Result<MlxWeights> {
    let mut sum = MlxWeights::default();
    let choice = quantisation.for_model(model)?;
    for module in modules(model) {
        let precision = choice.precision(&module)?;
        let parameters = module.parameters();
        let bytes = match (module.kind, precision) {
            (ModuleKind::Matrix { rows, columns }, precision) => module_bytes(rows, columns, precision)?,
            (ModuleKind::Array { elements }, _) => {
                let width = if module.kept_f32 { 4 } else { 2 };
                Bytes::from_wide(u128::from(elements) * width)?
            }
        };
        sum.bytes = sum.bytes.checked_add(bytes)?;
        sum.parameters = sum.parameters.saturating_add(parameters);
        if module.kept_f32 {
            sum.f32_parameters = sum.f32_parameters.saturating_add(parameters);
        }
        if let Some(precision) = precision {
            sum.quantised_parameters = sum.quantised_parameters.saturating_add(parameters);
            if precision == MlxPrecision::SENSITIVE && choice.is_override(&module) {
                sum.sensitive_parameters = sum.sensitive_parameters.saturating_add(parameters);
            }
        }
    }
    Ok(sum)
}
