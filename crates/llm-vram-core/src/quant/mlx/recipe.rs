//! Which precision each module gets.

use alloc::{format, string::String};
use core::fmt;

use super::{
    MlxMode, MlxPrecision,
    module::{Module, ModuleKind, ModuleRole, has_down_proj},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::Model,
    units::BitsPerWeight,
};

/// A mixed recipe of `mlx_lm.convert --quant-predicate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MixedRecipe {
    /// 2 and 6 bits.
    Mixed2_6,
    /// 3 and 4 bits.
    Mixed3_4,
    /// 3 and 6 bits.
    Mixed3_6,
    /// 4 and 6 bits.
    Mixed4_6,
}

impl MixedRecipe {
    /// Every recipe.
    pub const ALL: [Self; 4] = [Self::Mixed2_6, Self::Mixed3_4, Self::Mixed3_6, Self::Mixed4_6];

    /// mlx-lm's own name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mixed2_6 => "mixed_2_6",
            Self::Mixed3_4 => "mixed_3_4",
            Self::Mixed3_6 => "mixed_3_6",
            Self::Mixed4_6 => "mixed_4_6",
        }
    }

    /// The lower and the higher number of bits.
    #[must_use]
    pub const fn bits(self) -> (u32, u32) {
        match self {
            Self::Mixed2_6 => (2, 6),
            Self::Mixed3_4 => (3, 4),
            Self::Mixed3_6 => (3, 6),
            Self::Mixed4_6 => (4, 6),
        }
    }
}

/// How a whole model is quantised for MLX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MlxQuantisation {
    /// 16 bits per weight, as `mlx_lm.convert` without `-q` leaves them.
    None,
    /// One precision for every matrix but those that the model class keeps at 8 bit.
    Uniform(MlxPrecision),
    /// A mixed recipe, affine, in groups of that size; the class's own exceptions do not apply.
    Mixed(MixedRecipe, u32),
    /// Experts in MXFP4 as gpt-oss is published, the rest at another precision or at 16 bits.
    ExpertsMxfp4(Option<MlxPrecision>),
}

impl MlxQuantisation {
    /// Reads a format's name: `MLX-4bit-g64`, `MLX-4bit`, `MLX-mxfp4`, `mixed_3_6`, `MLX-bf16` … in any letter case, with
    /// or without `MLX-`; `MXFP4-Q8` is gpt-oss with MXFP4 experts and 8 bit elsewhere.
    ///
    /// Returns `None` for names that are no MLX format.
    ///
    /// # Errors
    /// As [`MlxPrecision::new`] for a well-formed name of a precision that MLX lacks.
    pub fn parse(name: &str) -> Result<Option<Self>> {
        let lower = name.trim().to_ascii_lowercase();
        let text = lower.strip_prefix("mlx-").or_else(|| lower.strip_prefix("mlx_")).unwrap_or(&lower);
        let marked = text.len() != lower.len();
        if let Some(recipe) = MixedRecipe::ALL.iter().find(|recipe| text.strip_prefix(recipe.name()).is_some()) {
            let rest = text.strip_prefix(recipe.name()).unwrap_or("");
            let group = if rest.is_empty() { Some(64) } else { rest.strip_prefix("-g").and_then(|text| text.parse().ok()) };
            let Some(group) = group else { return Ok(None) };
            MlxPrecision::new(MlxMode::Affine, recipe.bits().0, group)?;
            return Ok(Some(Self::Mixed(*recipe, group)));
        }
        if text == "mxfp4-q8" {
            return Ok(Some(Self::ExpertsMxfp4(Some(MlxPrecision::SENSITIVE))));
        }
        if !marked {
            return Ok(None);
        }
        if matches!(text, "bf16" | "fp16" | "f16" | "16bit") {
            return Ok(Some(Self::None));
        }
        if let Some(mode) = MlxMode::ALL.iter().find(|mode| mode.name() == text) {
            return Ok(Some(Self::Uniform(mode.default_precision())));
        }
        let (bits, rest) = match text.split_once("bit") {
            Some((bits, rest)) => (bits.trim_end_matches('-'), rest),
            None => return Ok(None),
        };
        let group = if rest.is_empty() { Some(64) } else { rest.strip_prefix("-g").and_then(|text| text.parse().ok()) };
        match (bits.parse(), group) {
            (Ok(bits), Some(group)) => Ok(Some(Self::Uniform(MlxPrecision::new(MlxMode::Affine, bits, group)?))),
            _ => Ok(None),
        }
    }

    /// The bits of the coded weights with their scales and biases, where one precision stands for the model.
    #[must_use]
    pub fn nominal_bits(&self) -> Option<BitsPerWeight> {
        match self {
            Self::None => Some(BitsPerWeight::whole(16)),
            Self::Uniform(precision) => Some(precision.bits_per_weight()),
            Self::Mixed(..) | Self::ExpertsMxfp4(_) => None,
        }
    }

    /// Fixes the choice for one model.
    pub(super) fn for_model(self, model: &Model) -> Result<Choice> {
        if let Self::Mixed(recipe, _) = self
            && !has_down_proj(model)
        {
            return Err(Error::new(
                ErrorKind::EngineRefuses,
                format!("mlx-lm refuses `{}` for `{}`: the model has no down_proj matrices", recipe.name(), model.architecture()),
            )
            .field("quant")
            .help("use a uniform precision such as MLX-4bit-g64"));
        }
        Ok(Choice { quantisation: self, layers: model.hyperparameters().main_block_count() })
    }
}

impl fmt::Display for MlxQuantisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::None => String::from("MLX-bf16"),
            Self::Uniform(precision) => format!("MLX-{precision}"),
            Self::Mixed(recipe, 64) => format!("MLX-{}", recipe.name()),
            Self::Mixed(recipe, group) => format!("MLX-{}-g{group}", recipe.name()),
            Self::ExpertsMxfp4(Some(rest)) if *rest == MlxPrecision::SENSITIVE => String::from("MXFP4-Q8"),
            Self::ExpertsMxfp4(Some(rest)) => format!("MXFP4 experts, rest {rest}"),
            Self::ExpertsMxfp4(None) => String::from("MXFP4 experts, rest bf16"),
        };
        f.pad(&text)
    }
}

/// A quantisation with what it needs to know of the model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    quantisation: MlxQuantisation,
    layers: u32,
}

impl Choice {
    /// The precision of a module; `None` leaves it at 16 bits.
    pub(super) fn precision(&self, module: &Module) -> Result<Option<MlxPrecision>> {
        let ModuleKind::Matrix { columns, .. } = module.kind else { return Ok(None) };
        let Some((wanted, tested_group)) = self.wanted(module) else { return Ok(None) };
        // The requested group size is tested, also where the class overrides it.
        if !columns.is_multiple_of(tested_group.into()) {
            return Ok(None);
        }
        if !columns.is_multiple_of(wanted.group_size.into()) {
            return Err(Error::new(
                ErrorKind::EngineRefuses,
                format!(
                    "mlx-lm cannot quantise `{}`: its {columns} columns are kept at {wanted}, which does not divide them",
                    module.name()
                ),
            )
            .field("quant")
            .help("use a group size of 64 or 128, which leaves that matrix at 16 bits"));
        }
        Ok(Some(wanted))
    }

    /// Whether the model class chose the module's precision.
    pub(super) fn is_override(&self, module: &Module) -> bool {
        let ordinary = match self.quantisation {
            MlxQuantisation::Uniform(precision) => Some(precision),
            MlxQuantisation::ExpertsMxfp4(rest) => rest,
            MlxQuantisation::None | MlxQuantisation::Mixed(..) => None,
        };
        module.sensitive && ordinary.is_some_and(|precision| precision != MlxPrecision::SENSITIVE)
    }

    fn wanted(&self, module: &Module) -> Option<(MlxPrecision, u32)> {
        match self.quantisation {
            MlxQuantisation::None => None,
            MlxQuantisation::Uniform(precision) => {
                Some((if module.sensitive { MlxPrecision::SENSITIVE } else { precision }, precision.group_size))
            }
            MlxQuantisation::ExpertsMxfp4(rest) => {
                if module.is_experts {
                    let mxfp4 = MlxMode::Mxfp4.default_precision();
                    return Some((mxfp4, mxfp4.group_size));
                }
                rest.map(|rest| (if module.sensitive { MlxPrecision::SENSITIVE } else { rest }, rest.group_size))
            }
            MlxQuantisation::Mixed(recipe, group_size) => {
                let (low, high) = recipe.bits();
                let more = match module.role {
                    ModuleRole::LmHead => true,
                    ModuleRole::Value | ModuleRole::Down => module.block.is_none_or(|block| self.uses_more_bits(block)),
                    ModuleRole::Other => false,
                };
                Some((MlxPrecision { mode: MlxMode::Affine, bits: if more { high } else { low }, group_size }, group_size))
            }
        }
    }

    /// The first and last eighth of the layers, and every third between.
    fn uses_more_bits(&self, block: u32) -> bool {
        let (layers, eighth) = (u64::from(self.layers), u64::from(self.layers / 8));
        let block = u64::from(block);
        block < eighth || block >= 7 * layers / 8 || (block - eighth) % 3 == 2
    }
}
