//! The format that a repository's weights are published in.
//!
//! Source: `quantization_config` as the loaders read it: transformers 5.23 (`utils/quantization_config.py`),
//! compressed-tensors (`quantization/quant_args.py`), mlx-lm 0.32 (`quantization`), exllamav3 (`bits`).

use alloc::format;

use super::{
    fields::Fields,
    json::{Json, Object},
};
use crate::{
    error::Result,
    quant::{CheckpointFormat, Fp8Scales, GgmlType, WeightFormat},
    units::BitsPerWeight,
};

/// The published format, or `None` where the config does not say or names a method that is not known.
///
/// # Errors
/// Those of the fields that describe the quantisation.
pub(super) fn read(
    quantisation: Option<&Fields<'_>>,
    mlx: Option<&Fields<'_>>,
    dtype: Option<&str>,
) -> Result<Option<WeightFormat>> {
    if let Some(mlx) = mlx.filter(|mlx| mlx.states("bits")) {
        return mlx_format(mlx);
    }
    match quantisation {
        Some(fields) => quantised(fields),
        None => Ok(dtype.and_then(plain).map(WeightFormat::Plain)),
    }
}

fn plain(dtype: &str) -> Option<GgmlType> {
    match dtype.trim_start_matches("torch.") {
        "bfloat16" => Some(GgmlType::BF16),
        "float16" => Some(GgmlType::F16),
        "float32" => Some(GgmlType::F32),
        _ => None,
    }
}

fn mlx_format(fields: &Fields<'_>) -> Result<Option<WeightFormat>> {
    let (bits, group) = (fields.number("bits")?, fields.number_or("group_size", 64)?);
    let name = match fields.text("mode")? {
        None | Some("affine") => format!("MLX-{bits}bit-g{group}"),
        Some(mode) => format!("MLX-{}", mode.chars().take(16).collect::<alloc::string::String>()),
    };
    Ok(WeightFormat::parse(&name).ok())
}

fn quantised(fields: &Fields<'_>) -> Result<Option<WeightFormat>> {
    let group = fields.number_or("group_size", 128)?;
    let bits = |fallback| fields.number_or("bits", fallback);
    let checkpoint = match fields.text("quant_method")?.unwrap_or_default() {
        "fp8" if fields.states("weight_block_size") => Some(CheckpointFormat::Fp8(Fp8Scales::Block128)),
        "fp8" => Some(CheckpointFormat::Fp8(Fp8Scales::Tensor)),
        "fbgemm_fp8" => Some(CheckpointFormat::Fp8(Fp8Scales::Channel)),
        "awq" => (bits(4)? == 4).then_some(CheckpointFormat::Awq { group }),
        "gptq" => Some(CheckpointFormat::Gptq { bits: bits(4)?, group }),
        "mxfp4" => Some(CheckpointFormat::Mxfp4),
        "bitsandbytes" if fields.flag("load_in_4bit")? => {
            Some(CheckpointFormat::Nf4 { double_quant: fields.flag("bnb_4bit_use_double_quant")? })
        }
        "bitsandbytes" => Some(CheckpointFormat::Int8),
        "compressed-tensors" => compressed(fields)?,
        "modelopt" => match fields.text("quant_algo")? {
            Some("NVFP4") => Some(CheckpointFormat::Nvfp4),
            Some("FP8") => Some(CheckpointFormat::Fp8(Fp8Scales::Tensor)),
            _ => None,
        },
        method @ ("exl2" | "exl3") => {
            let average = fields.real("bits")?.and_then(|bits| BitsPerWeight::parse(&format!("{bits:.3}")).ok());
            let make = if method == "exl2" { WeightFormat::Exl2 } else { WeightFormat::Exl3 };
            return Ok(average.map(make));
        }
        _ => None,
    };
    Ok(checkpoint.map(WeightFormat::Checkpoint))
}

/// The weights of the first group that has any; most releases have one.
fn compressed(fields: &Fields<'_>) -> Result<Option<CheckpointFormat>> {
    if fields.text("format")?.is_some_and(|format| format.starts_with("nvfp4")) {
        return Ok(Some(CheckpointFormat::Nvfp4));
    }
    let Some(groups) = fields.nested("config_groups", "")? else { return Ok(None) };
    for group in groups.objects_within()? {
        let Some(weights) = group.nested("weights", "")? else { continue };
        let strategy = weights.text("strategy")?.unwrap_or_default();
        return Ok(match (weights.text("type")?.unwrap_or("int"), weights.number_or("num_bits", 8)?) {
            ("float", 8) => Some(CheckpointFormat::Fp8(match strategy {
                "block" => Fp8Scales::Block128,
                "channel" => Fp8Scales::Channel,
                _ => Fp8Scales::Tensor,
            })),
            ("float", 4) => Some(CheckpointFormat::Nvfp4),
            ("int", 8) => Some(CheckpointFormat::Int8),
            ("int", 4) => Some(CheckpointFormat::W4A16 { group: weights.number_or("group_size", 128)? }),
            _ => None,
        });
    }
    Ok(None)
}

impl<'a> Fields<'a> {
    /// The objects among the values of this one, in the order of their keys.
    fn objects_within(&self) -> Result<alloc::vec::Vec<Self>> {
        let keys = self.keys().filter(|(_, value)| matches!(value, Json::Object(_)));
        keys.map(|(key, _)| self.nested(key, "")).filter_map(Result::transpose).collect()
    }

    fn keys(&self) -> impl Iterator<Item = (&'a str, &'a Json)> + use<'a> {
        let object: &'a Object = self.object();
        object.iter().map(|(key, value)| (key.as_str(), value))
    }
}
