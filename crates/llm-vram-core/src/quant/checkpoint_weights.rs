//! Bytes of quantised Hugging Face checkpoints: coded weights, their side data, and what stays unquantised.

use super::{CheckpointFormat, Fp8Scales, WeightFormat, Weights};
use crate::{
    derivation::Certainty,
    error::{Error, ErrorKind, Result},
    model::{Group, Model, Origin, Storage, Tensor},
    units::{BitsPerWeight, Bytes},
};

/// Bytes of a 16-bit weight, scale or zero point.
const HALF: u128 = 2;
/// Bytes of a 32-bit scale or index.
const FULL: u128 = 4;
/// Weights that share a scale in NF4 (bitsandbytes, `functional.py`: `quantize_4bit`, default block size).
const NF4_BLOCK: u128 = 64;
/// Scales of NF4 that share a second scale when quantised once more (bitsandbytes, `functional.py`).
const NF4_SECOND_BLOCK: u128 = 256;
/// Bits of the output head in ExLlama's conversions (exllamav3, `convert_model.py`: `--head_bits`, default).
const EXL_HEAD_BITS: u128 = 6;

/// A matrix as the checkpoint stores it: `count` of them, each `inputs` × `outputs`.
struct Matrix {
    inputs: u128,
    outputs: u128,
    count: u128,
}

/// Coded weights and side data of one matrix, or of a stack of them.
struct Coded {
    codes: u128,
    side: u128,
}

/// All weights of `model` in a quantised checkpoint format.
///
/// Quantised are the linear maps of the blocks; embeddings, output head, norms, biases, routers, convolutions, state
/// parameters and towers stay at 16 bits, as the formats' own tools leave them (`modules_to_not_convert`, `ignore`).
/// ExLlama codes the output head too. MXFP4 codes experts alone, as gpt-oss is released.
///
/// # Errors
/// [`ErrorKind::EngineRefuses`] where a group size does not divide a matrix, [`ErrorKind::Unsupported`] for other families.
pub(super) fn checkpoint_bytes(model: &Model, format: &WeightFormat) -> Result<Weights> {
    let mut codes = 0_u128;
    let mut side = 0_u128;
    let mut plain = 0_u128;
    for tensor in model.tensors() {
        if tensor.origin != Origin::Checkpoint || tensor.group == Group::Mtp {
            continue;
        }
        let coded = match format {
            WeightFormat::Checkpoint(format) if is_coded(tensor, *format) => Some(code(tensor, *format)?),
            WeightFormat::Exl2(bits) => exl(tensor, *bits, false),
            WeightFormat::Exl3(bits) => exl(tensor, *bits, true),
            WeightFormat::Checkpoint(_) => None,
            other => {
                return Err(Error::new(ErrorKind::Unsupported, alloc::format!("`{other}` is no checkpoint format")).field("quant"));
            }
        };
        match coded {
            Some(coded) => {
                codes += coded.codes;
                side += coded.side;
            }
            None => plain += u128::from(tensor.elements()) * HALF,
        }
    }
    Ok(Weights {
        total: Bytes::from_wide(codes + side + plain)?,
        side_data: Bytes::from_wide(side)?,
        unquantised: Bytes::from_wide(plain)?,
        certainty: if matches!(format, WeightFormat::Checkpoint(_)) { Certainty::Exact } else { Certainty::Modelled },
        needs_imatrix: false,
    })
}

/// Whether a tensor is a linear map inside a block that the format codes.
fn is_coded(tensor: &Tensor, format: CheckpointFormat) -> bool {
    let linear =
        tensor.block.is_some() && tensor.storage == Storage::Quantisable && tensor.group == Group::Text && tensor.dimensions() >= 2;
    match format {
        CheckpointFormat::Mxfp4 => linear && tensor.stem.contains("_exps."),
        // Qwen3-Next's FP8 release leaves the small projection of the gates alone; so do the tools' defaults, because its
        // width is no multiple of a block.
        CheckpointFormat::Fp8(_) => {
            linear && !matches!(tensor.stem.as_ref(), "ssm_ba.weight" | "ssm_alpha.weight" | "ssm_beta.weight")
        }
        _ => linear,
    }
}

/// The matrix behind a tensor; GGUF's split key decompression is stored transposed.
fn matrix(tensor: &Tensor) -> Matrix {
    let [row, rows, stack, more] = tensor.shape.map(u128::from);
    if tensor.stem == "attn_k_b.weight" {
        return Matrix { inputs: rows, outputs: row * stack, count: more };
    }
    if tensor.stem == "attn_v_b.weight" {
        return Matrix { inputs: row, outputs: rows * stack, count: more };
    }
    Matrix { inputs: row, outputs: rows, count: stack * more }
}

fn code(tensor: &Tensor, format: CheckpointFormat) -> Result<Coded> {
    let Matrix { inputs, outputs, count } = matrix(tensor);
    let weights = inputs * outputs * count;
    let groups = |size: u32| -> Result<u128> {
        if inputs.is_multiple_of(u128::from(size)) {
            return Ok(weights / u128::from(size));
        }
        Err(Error::new(
            ErrorKind::EngineRefuses,
            alloc::format!("groups of {size} do not divide the {inputs} inputs of `{}`: {format} cannot code it", tensor.name()),
        )
        .field("quant")
        .help("use a smaller group or another format"))
    };
    Ok(match format {
        CheckpointFormat::Fp8(scales) => Coded {
            codes: weights,
            side: FULL
                * match scales {
                    Fp8Scales::Tensor => count,
                    Fp8Scales::Channel => outputs * count,
                    Fp8Scales::Block128 => inputs.div_ceil(128) * outputs.div_ceil(128) * count,
                },
        },
        CheckpointFormat::Int8 => Coded { codes: weights, side: FULL * outputs * count },
        // A 16-bit scale and a packed 4-bit zero point for each group.
        CheckpointFormat::Awq { group } => {
            let groups = groups(group)?;
            Coded { codes: weights / 2, side: groups * HALF + groups.div_ceil(2) }
        }
        // As AWQ with zero points of the same width, and a 32-bit group index for each input.
        CheckpointFormat::Gptq { bits, group } => {
            let groups = groups(group)?;
            let width = u128::from(bits);
            Coded { codes: weights * width / 8, side: groups * HALF + (groups * width).div_ceil(8) + inputs * FULL * count }
        }
        CheckpointFormat::W4A16 { group } => Coded { codes: weights / 2, side: groups(group)? * HALF },
        CheckpointFormat::Nf4 { double_quant } => {
            let scales = weights.div_ceil(NF4_BLOCK);
            let side = if double_quant { scales + scales.div_ceil(NF4_SECOND_BLOCK) * FULL + FULL * count } else { scales * FULL };
            Coded { codes: weights.div_ceil(2), side }
        }
        // An 8-bit scale for each 16 weights, and one 32-bit scale for weights and one for inputs of each matrix.
        CheckpointFormat::Nvfp4 => Coded { codes: weights / 2, side: groups(16)? + 2 * FULL * count },
        CheckpointFormat::Mxfp4 => Coded { codes: weights / 2, side: groups(32)? },
    })
}

/// ExLlama: linear maps of the blocks at the asked average, the head at its own width, the embedding at 16 bits.
///
/// EXL3 adds two 16-bit vectors for each matrix (exllamav3, `modules/quant/exl3.py`: `suh`, `svh`); the average of EXL2
/// already contains its scales.
fn exl(tensor: &Tensor, bits: BitsPerWeight, vectors: bool) -> Option<Coded> {
    let is_head = tensor.stem == "output.weight";
    let linear = tensor.storage == Storage::Quantisable && tensor.group == Group::Text && tensor.dimensions() >= 2;
    if !linear || (tensor.block.is_none() && !is_head) {
        return None;
    }
    let Matrix { inputs, outputs, count } = matrix(tensor);
    let codes = if is_head {
        inputs * outputs * count * EXL_HEAD_BITS / 8
    } else {
        u128::from(bits.bytes_for(tensor.elements()).ok()?.get())
    };
    let side = if vectors { HALF * (inputs + outputs) * count } else { 0 };
    Some(Coded { codes, side })
}
