//! Weights that are stored packed, with the scales and zero points that belong to them.
//!
//! A packed tensor's own shape counts storage words, not weights. Each format is recognised by the names that
//! stand beside each other and by their types; the number of weights follows from the shapes.
//!
//! Sources: AutoAWQ `awq/modules/linear/gemm.py` (`WQLinear_GEMM`), GPTQModel `nn_modules/qlinear` (`BaseQuantLinear`),
//! bitsandbytes `functional.py` (`QuantState.as_dict`), compressed-tensors `compressors` (`pack_quantized`,
//! `nvfp4_quantized`), ModelOpt's unified checkpoints (NVFP4), transformers `integrations/mxfp4.py`,
//! MLX `nn/layers/quantized.py`, ExLlamaV3 `modules/quant/exl3.py`, ExLlamaV2 `ext.py` (`make_q_matrix`).

use alloc::{borrow::Cow, collections::BTreeMap, format, string::String, vec, vec::Vec};

use super::{dtype::Dtype, header::TensorInfo};
use crate::units::Bytes;

/// One matrix or vector of the model, with everything that is stored for it.
pub(super) struct Unpacked {
    pub(super) name: String,
    /// Dimensions in weights, the row last; `None` if the packing is not recognised.
    pub(super) shape: Option<Vec<u64>>,
    pub(super) type_name: Cow<'static, str>,
    pub(super) bytes: Bytes,
}

/// Ends of names, longest first where one ends in another.
const ENDS: &[&str] = &[
    ".weight.quant_state.bitsandbytes__nf4",
    ".weight.quant_state.bitsandbytes__fp4",
    ".weight.nested_quant_map",
    ".weight.nested_absmax",
    ".weight.quant_map",
    ".weight.absmax",
    ".weight_global_scale",
    ".input_global_scale",
    ".weight_zero_point",
    ".weight_scale_inv",
    ".weight_scale_2",
    ".weight_packed",
    ".weight_g_idx",
    ".weight_shape",
    ".weight_scale",
    ".weight_format",
    ".q_group_map",
    ".q_scale_max",
    ".input_scale",
    ".q_invperm",
    ".q_groups",
    ".q_weight",
    ".q_scale",
    ".q_perm",
    ".qweight",
    ".trellis",
    ".qzeros",
    ".scales",
    ".biases",
    ".g_idx",
    ".mul1",
    ".SCB",
    ".suh",
    ".svh",
    ".mcg",
    "_blocks",
    "_scales",
];

/// What stands beside each other under one name: ends and tensors, few enough to search one by one.
type Parts<'c, 'a> = Vec<(&'static str, &'c TensorInfo<'a>)>;

fn part<'c, 'a>(parts: &Parts<'c, 'a>, end: &str) -> Option<&'c TensorInfo<'a>> {
    parts.iter().find(|(known, _)| *known == end).map(|(_, tensor)| *tensor)
}

fn base_and_end(name: &str) -> Option<(&str, &'static str)> {
    // Nearly every name ends so, and no other end of the list ends so too.
    const USUAL: &str = ".weight";
    match name.strip_suffix(USUAL) {
        Some(base) => Some((base, USUAL)),
        None => ENDS.iter().find_map(|end| name.strip_suffix(end).map(|base| (base, *end))),
    }
}

/// Puts each weight and what belongs to it together.
pub(super) fn unpack<'c, 'a: 'c>(tensors: &[&'c TensorInfo<'a>]) -> Vec<Unpacked> {
    let mut groups: BTreeMap<&str, Parts<'c, 'a>> = BTreeMap::new();
    let mut weights = Vec::with_capacity(tensors.len());
    for &tensor in tensors {
        match base_and_end(&tensor.name) {
            Some((base, end)) => groups.entry(base).or_default().push((end, tensor)),
            None => weights.push(plain(tensor)),
        }
    }
    let hidden = Hidden::find(tensors, &groups);
    for (base, parts) in &groups {
        match recognise(parts, hidden) {
            Some((shape, type_name)) => {
                let bytes = parts.iter().map(|(_, part)| part.bytes).sum();
                let end = if part(parts, "_blocks").is_some() { "" } else { ".weight" };
                weights.push(Unpacked { name: format!("{base}{end}"), shape, type_name, bytes });
            }
            None => weights.extend(parts.iter().map(|(_, tensor)| plain(tensor))),
        }
    }
    weights
}

fn plain(tensor: &TensorInfo<'_>) -> Unpacked {
    // Integers in a matrix are packed in a way that is not recognised; vectors are indexes and buffers.
    let unknown = !tensor.dtype.is_float() && tensor.shape.len() > 1 && tensor.dtype != Dtype::BOOL && tensor.dtype != Dtype::I64;
    Unpacked {
        name: tensor.name.clone().into_owned(),
        shape: if unknown { None } else { Some(tensor.shape.clone()) },
        type_name: Cow::Borrowed(tensor.dtype.name()),
        bytes: tensor.bytes,
    }
}

type Recognised = (Option<Vec<u64>>, Cow<'static, str>);

/// The weights of one group of tensors, or `None` if they are no packed weight.
fn recognise(parts: &Parts<'_, '_>, hidden: Option<Hidden>) -> Option<Recognised> {
    let part = |end: &str| part(parts, end);
    if let Some(packed) = part(".qweight") {
        return Some(awq_or_gptq(packed, part(".scales"), part(".qzeros"), part(".g_idx")));
    }
    if let Some(packed) = part(".weight_packed") {
        return Some(compressed(packed, part(".weight_scale"), hidden));
    }
    if let (Some(blocks), Some(_)) = (part("_blocks"), part("_scales")) {
        // Sixteen bytes hold a block of 32 weights of a row.
        let shape = blocks
            .shape
            .split_last_chunk::<2>()
            .map(|(lead, [count, bytes])| lead.iter().copied().chain([count.saturating_mul(bytes.saturating_mul(2))]).collect());
        return Some((shape, Cow::Borrowed("MXFP4")));
    }
    if let Some(trellis) = part(".trellis") {
        let shape = match trellis.shape[..] {
            [rows, columns, _] => Some(vec![columns.saturating_mul(16), rows.saturating_mul(16)]),
            _ => None,
        };
        return Some((shape, Cow::Borrowed("EXL3")));
    }
    if let (Some(packed), Some(order)) = (part(".q_weight"), part(".q_invperm").or(part(".q_perm"))) {
        let shape = packed.shape.last().zip(order.shape.first()).map(|(&outputs, &inputs)| vec![outputs, inputs]);
        return Some((shape, Cow::Borrowed("EXL2")));
    }
    let weight = part(".weight")?;
    match weight.dtype {
        Dtype::U32 => part(".scales").map(|scales| mlx(weight, scales, hidden)),
        Dtype::U8 if parts.iter().any(|(end, _)| end.starts_with(".weight.")) => {
            // Two weights a byte, flattened: the shape is not kept, the number is.
            let count = weight.shape.iter().fold(2_u64, |product, &n| product.saturating_mul(n));
            let name = if part(".weight.quant_state.bitsandbytes__fp4").is_some() { "FP4" } else { "NF4" };
            Some((Some(vec![count]), Cow::Borrowed(name)))
        }
        Dtype::U8 if part(".weight_scale").is_some() => Some((row_times(&weight.shape, 2), Cow::Borrowed("NVFP4"))),
        dtype if (dtype.is_float8() || dtype == Dtype::I8) && parts.len() > 1 => {
            Some((Some(weight.shape.clone()), Cow::Borrowed(if dtype == Dtype::I8 { "INT8" } else { dtype.name() })))
        }
        _ => None,
    }
}

/// The shape with the row `factor` times as long.
fn row_times(shape: &[u64], factor: u64) -> Option<Vec<u64>> {
    let (row, lead) = shape.split_last()?;
    Some(lead.iter().copied().chain([row.saturating_mul(factor)]).collect())
}

fn awq_or_gptq(
    packed: &TensorInfo<'_>,
    scales: Option<&TensorInfo<'_>>,
    zeros: Option<&TensorInfo<'_>>,
    order: Option<&TensorInfo<'_>>,
) -> Recognised {
    let unknown = (None, Cow::Borrowed("packed"));
    let (&[rows, columns], Some(&[_, outputs])) = (&packed.shape[..], scales.map(|scales| &scales.shape[..])) else {
        return unknown;
    };
    if columns != outputs {
        // AWQ packs outputs: as many rows as inputs.
        let bits = columns.saturating_mul(32).checked_div(outputs).unwrap_or(0);
        return (Some(vec![outputs, rows]), Cow::Owned(format!("AWQ-{bits}bit")));
    }
    // GPTQ packs inputs. Their number stands in the order of groups; else the zero points give the bits.
    let by_zeros = || {
        let zero_columns = *zeros?.shape.last()?;
        let bits = zero_columns.saturating_mul(32).checked_div(outputs).filter(|&bits| bits > 0)?;
        Some(rows.saturating_mul(32) / bits)
    };
    let inputs = order.and_then(|order| order.shape.first().copied()).filter(|&inputs| inputs > 0).or_else(by_zeros);
    match inputs {
        Some(inputs) => {
            let bits = rows.saturating_mul(32).checked_div(inputs).unwrap_or(0);
            (Some(vec![outputs, inputs]), Cow::Owned(format!("GPTQ-{bits}bit")))
        }
        None => unknown,
    }
}

fn compressed(packed: &TensorInfo<'_>, scales: Option<&TensorInfo<'_>>, hidden: Option<Hidden>) -> Recognised {
    if packed.dtype == Dtype::U8 {
        return (row_times(&packed.shape, 2), Cow::Borrowed("NVFP4"));
    }
    // The true shape is data, not header: a row of known length gives the bits, else a usual group size does.
    let words = packed.shape.last().copied().unwrap_or(0);
    let groups = scales.and_then(|scales| scales.shape.last().copied()).unwrap_or(0);
    let usual = || [32, 64, 128].contains(&words.saturating_mul(8).checked_div(groups)?).then_some(4);
    match hidden.and_then(Hidden::bits).or_else(usual) {
        Some(bits @ (4 | 8)) if packed.dtype == Dtype::I32 => {
            (row_times(&packed.shape, 32 / bits), Cow::Owned(format!("INT{bits}")))
        }
        _ => (None, Cow::Borrowed("packed")),
    }
}

/// MLX stores `bits` × row ÷ 32 words and row ÷ group scales, so the product of bits and group size is known.
fn mlx(weight: &TensorInfo<'_>, scales: &TensorInfo<'_>, hidden: Option<Hidden>) -> Recognised {
    let (Some((&words, lead)), Some(&groups)) = (weight.shape.split_last(), scales.shape.last()) else {
        return (None, Cow::Borrowed("packed"));
    };
    let product = words.saturating_mul(32).checked_div(groups).unwrap_or(0);
    let micro = scales.dtype == Dtype::U8;
    let group = match (micro, product) {
        (true, 64) => 16,
        (true, _) => 32,
        (false, _) => hidden.and_then(Hidden::group).unwrap_or(64),
    };
    let bits = product.checked_div(group).unwrap_or(0);
    if !(2..=8).contains(&bits) || bits.saturating_mul(group) != product {
        return (None, Cow::Borrowed("packed"));
    }
    let shape = lead.iter().copied().chain([groups.saturating_mul(group)]).collect();
    let name = match (micro, bits, group) {
        (true, 4, 16) => Cow::Borrowed("NVFP4"),
        (true, 4, _) => Cow::Borrowed("MXFP4"),
        (true, ..) => Cow::Borrowed("MXFP8"),
        _ => Cow::Owned(format!("MLX-{bits}bit-g{group}")),
    };
    (Some(shape), name)
}

/// A packed matrix whose rows are as long as the hidden size, which an unpacked norm tells.
#[derive(Debug, Clone, Copy)]
struct Hidden {
    length: u64,
    words: u64,
    groups: u64,
}

impl Hidden {
    fn find(tensors: &[&TensorInfo<'_>], parts: &BTreeMap<&str, Parts<'_, '_>>) -> Option<Self> {
        const READS_HIDDEN: [&str; 5] = ["embed_tokens", "q_proj", "k_proj", "gate_proj", "up_proj"];
        let is_norm = |name: &str| name.ends_with("input_layernorm.weight") || name.ends_with("model.norm.weight");
        let length = *tensors.iter().find(|tensor| is_norm(&tensor.name))?.shape.first()?;
        parts.iter().filter(|(base, _)| READS_HIDDEN.iter().any(|end| base.ends_with(end))).find_map(|(_, parts)| {
            let last = |end: &str| part(parts, end)?.shape.last().copied();
            let words = part(parts, ".weight").filter(|weight| weight.dtype == Dtype::U32);
            let weight = part(parts, ".weight_packed").or(words)?;
            let groups = last(".scales").or(last(".weight_scale"))?;
            Some(Self { length, words: *weight.shape.last()?, groups })
        })
    }

    /// Weights that share a scale.
    fn group(self) -> Option<u64> {
        self.length.checked_div(self.groups).filter(|&group| [16, 32, 64, 128].contains(&group))
    }

    /// Bits of a weight.
    fn bits(self) -> Option<u64> {
        self.words.saturating_mul(32).checked_div(self.length)
    }
}
