//! The rules by which llama-quantize mixes types: a pure choice for one tensor.
//!
//! Source: llama.cpp, `src/llama-quant.cpp` (`tensor_get_category`, `llama_tensor_get_type_impl`,
//! `tensor_type_fallback`, `tensor_requires_imatrix`), llama-cpp-sys-2 0.1.161. The quantiser counts while it goes through the file;
//! here each tensor's place in that count is known beforehand, so the choice has no state.

use super::{FileType, GgmlType};

/// What a tensor does, as far as the rules tell tensors apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Category {
    Output,
    Embedding,
    /// `attn_v`, fused `attn_qkv` and legacy `attn_kv_b`, which share one count.
    Value,
    Key,
    Query,
    AttentionOutput,
    Up,
    Gate,
    Down,
    Other,
}

/// Parts of names and what they say; the first that a name contains wins.
const CATEGORIES: &[(&[u8], Category)] = &[
    (b"attn_qkv.weight", Category::Value),
    (b"attn_kv_b.weight", Category::Value),
    (b"attn_v.weight", Category::Value),
    (b"attn_k.weight", Category::Key),
    (b"attn_q.weight", Category::Query),
    (b"attn_output.weight", Category::AttentionOutput),
    (b"ffn_up", Category::Up),
    (b"ffn_gate", Category::Gate),
    (b"ffn_down", Category::Down),
];

impl Category {
    /// The category of a tensor by its name without the block prefix.
    pub(super) fn of(stem: &str) -> Self {
        match stem {
            "output.weight" => return Self::Output,
            "token_embd.weight" | "per_layer_token_embd.weight" => return Self::Embedding,
            _ => {}
        }
        let name = stem.as_bytes();
        let mut best = CATEGORIES.len();
        for (start, &letter) in name.iter().enumerate() {
            if letter == b'a' || letter == b'f' {
                let rest = &name[start..];
                if let Some(found) = CATEGORIES[..best].iter().position(|(part, _)| rest.starts_with(part)) {
                    best = found;
                }
            }
        }
        CATEGORIES.get(best).map_or(Self::Other, |&(_, category)| category)
    }

    /// The number of the count that [`Category::Value`] takes part in.
    pub(super) const VALUE_COUNT: usize = 0;

    /// Which running count the category takes part in; `None` for those whose place never matters.
    pub(super) const fn count(self) -> Option<usize> {
        match self {
            Self::Value => Some(Self::VALUE_COUNT),
            Self::Up => Some(1),
            Self::Gate => Some(2),
            Self::Down => Some(3),
            _ => None,
        }
    }

    const fn is_feed_forward(self) -> bool {
        matches!(self, Self::Up | Self::Gate | Self::Down)
    }
}

/// Number of running counts; see [`Category::count`].
pub(super) const COUNTS: usize = 4;

/// What the rules know of a whole model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traits {
    pub(super) is_falcon: bool,
    pub(super) is_bailingmoe3: bool,
    /// Blocks, multi-token-prediction ones included.
    pub(super) blocks: u32,
    pub(super) experts: u32,
    /// The first block has at least four query heads to each key-value head.
    pub(super) gqa_at_least_4: bool,
    /// The engine takes the model for one of the 70B class.
    pub(super) is_70b: bool,
    /// The file has no `output.weight`.
    pub(super) tied: bool,
    /// How many tensors share the count of [`Category::Value`].
    pub(super) values: u32,
}

/// What the rules know of one tensor's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) category: Category,
    /// Weights in a row.
    pub(super) row: u64,
    /// More than one matrix: the third dimension is above 1.
    pub(super) is_stack: bool,
    /// GLM5-next's query projections, which never go below Q8_0.
    pub(super) at_least_q8_0: bool,
}

/// Where a tensor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// How many quantisable tensors of the same count come before it.
    pub(super) ordinal: u32,
    /// Its block, or `None` outside blocks.
    pub(super) block: Option<u32>,
}

/// The first and the last eighth of `n`, and every third of those between.
const fn more_bits(i: u32, n: u32) -> bool {
    i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2
}

/// The type that the mixture chooses for a quantisable tensor, before its shape is looked at.
/// `None` where the engine stops because it finds no valid block number.
pub(super) fn choose(form: Form, place: Place, file_type: FileType, imatrix: bool, model: &Traits) -> Option<GgmlType> {
    use FileType as F;
    use GgmlType as T;
    let default = file_type.default_type();
    let category = form.category;
    if form.at_least_q8_0 {
        return Some(T::Q8_0);
    }
    if category == Category::Output || (model.tied && category == Category::Embedding) {
        return Some(output(form, file_type, model));
    }
    if file_type == F::MXFP4_MOE {
        let is_expert = form.is_stack && (!model.is_bailingmoe3 || category.is_feed_forward());
        return Some(if is_expert { T::MXFP4 } else { T::Q8_0 });
    }
    if category == Category::Embedding {
        return Some(match file_type {
            F::IQ1_S | F::IQ1_M | F::IQ2_XXS | F::IQ2_XS => T::Q2_K,
            F::IQ2_S | F::IQ2_M | F::IQ3_XXS => T::IQ3_S,
            F::TQ1_0 | F::TQ2_0 | F::Q2_0 => T::Q4_K,
            _ => default,
        });
    }
    if matches!(file_type, F::IQ1_S | F::IQ1_M | F::IQ2_XXS | F::IQ2_XS | F::IQ2_S | F::IQ2_M) {
        return Some(lowest(category, place.ordinal, file_type, model));
    }
    // With experts the block's number stands for the running count in all rules that follow.
    let place_in_network = || match place.block {
        _ if model.experts <= 1 => Some(place.ordinal),
        Some(block) if block < model.blocks => Some(block),
        _ => None,
    };
    Some(match category {
        Category::Value => value(place.ordinal, file_type, imatrix, model),
        Category::Key if model.experts == 8 => T::Q8_0,
        Category::Key | Category::Query => match file_type {
            F::IQ3_XS => T::IQ3_XXS,
            F::IQ3_XXS => T::IQ2_S,
            _ => default,
        },
        Category::Down => down(place_in_network()?, file_type, imatrix, model),
        Category::AttentionOutput => attention_output(file_type, model),
        Category::Up | Category::Gate => {
            let (i, n) = (place_in_network()?, model.blocks);
            if file_type == F::IQ3_XS && i >= n / 8 && i < 7 * n / 8 { T::IQ3_XXS } else { default }
        }
        Category::Output | Category::Embedding | Category::Other => default,
    })
}

/// The output matrix, and every embedding table of a file without one.
fn output(form: Form, file_type: FileType, model: &Traits) -> GgmlType {
    use FileType as F;
    let default = file_type.default_type();
    if file_type == F::MXFP4_MOE || model.is_falcon || !form.row.is_multiple_of(default.block_len()) {
        return GgmlType::Q8_0;
    }
    match file_type {
        F::IQ1_S | F::IQ1_M | F::IQ2_XXS | F::IQ2_XS | F::IQ2_S | F::IQ2_M | F::IQ3_XXS => GgmlType::Q5_K,
        F::Q8_0 => GgmlType::Q8_0,
        _ => GgmlType::Q6_K,
    }
}

/// The file types of one and two bits, which have rules of their own.
fn lowest(category: Category, ordinal: u32, file_type: FileType, model: &Traits) -> GgmlType {
    use FileType as F;
    use GgmlType as T;
    let careful = if matches!(file_type, F::IQ2_S | F::IQ2_M) { T::IQ3_S } else { T::Q2_K };
    match category {
        Category::Value if model.gqa_at_least_4 || model.experts >= 4 => T::Q4_K,
        Category::Value => careful,
        Category::Key if model.experts == 8 => T::Q4_K,
        // The running count, also with experts.
        Category::Down if ordinal < model.blocks / 8 => careful,
        Category::AttentionOutput if model.experts == 8 => T::Q5_K,
        Category::AttentionOutput => match file_type {
            F::IQ1_S | F::IQ1_M => T::IQ2_XXS,
            F::IQ2_S | F::IQ2_M => T::IQ3_S,
            _ => file_type.default_type(),
        },
        _ => file_type.default_type(),
    }
}

fn value(ordinal: u32, file_type: FileType, imatrix: bool, model: &Traits) -> GgmlType {
    use FileType as F;
    use GgmlType as T;
    // A model of eight experts is Mixtral to these rules.
    if model.experts == 8 {
        return T::Q8_0;
    }
    let gqa = model.gqa_at_least_4;
    let chosen = match file_type {
        F::Q2_K if !gqa => T::Q3_K,
        F::Q2_K | F::Q2_K_S | F::IQ3_XXS | F::IQ3_XS | F::IQ3_S if gqa => T::Q4_K,
        F::IQ3_XXS if imatrix => T::IQ3_XXS,
        F::IQ3_XXS => T::IQ3_S,
        F::IQ3_M => T::Q4_K,
        F::Q3_K_M if ordinal < 2 => T::Q5_K,
        F::Q3_K_M => T::Q4_K,
        F::Q3_K_L => T::Q5_K,
        F::IQ4_NL | F::IQ4_XS if gqa => T::Q5_K,
        F::Q4_K_M | F::Q5_K_M if more_bits(ordinal, model.values) => T::Q6_K,
        F::Q4_K_S if ordinal < 4 => T::Q5_K,
        _ => file_type.default_type(),
    };
    if model.is_70b && matches!(chosen, T::Q3_K | T::Q4_K) { T::Q5_K } else { chosen }
}

fn down(i: u32, file_type: FileType, imatrix: bool, model: &Traits) -> GgmlType {
    use FileType as F;
    use GgmlType as T;
    let n = model.blocks;
    let in_first_eighth = i < n / 8;
    let falcon = model.is_falcon;
    match file_type {
        F::Q2_K => T::Q3_K,
        F::Q2_K_S if in_first_eighth => T::Q4_K,
        F::IQ3_XXS if !imatrix => {
            if in_first_eighth {
                T::Q4_K
            } else {
                T::Q3_K
            }
        }
        F::Q3_K_M if i < n / 16 => T::Q5_K,
        F::Q3_K_M if !falcon || more_bits(i, n) => T::Q4_K,
        F::IQ3_M if in_first_eighth || (model.experts == 8 && more_bits(i, n)) => T::Q4_K,
        F::Q3_K_L if falcon => T::Q4_K,
        F::Q3_K_L => T::Q5_K,
        F::Q4_K_M if falcon && i >= n / 16 => {
            if more_bits(i, n) {
                T::Q5_K
            } else {
                T::Q4_K
            }
        }
        F::Q4_K_M if falcon => T::Q6_K,
        F::Q4_K_M | F::Q5_K_M if more_bits(i, n) => T::Q6_K,
        F::IQ4_NL | F::IQ4_XS if in_first_eighth && !imatrix => T::Q5_K,
        F::Q4_K_S if in_first_eighth && !falcon => T::Q5_K,
        F::Q4_0 if in_first_eighth && imatrix => T::Q4_1,
        F::Q5_0 if in_first_eighth && imatrix => T::Q5_1,
        _ => file_type.default_type(),
    }
}

fn attention_output(file_type: FileType, model: &Traits) -> GgmlType {
    use FileType as F;
    use GgmlType as T;
    let default = file_type.default_type();
    if model.is_falcon {
        return if file_type == F::Q3_K_L { T::Q4_K } else { default };
    }
    if model.experts == 8 {
        let is_raised = matches!(
            file_type,
            F::Q2_K
                | F::Q3_K_S
                | F::Q3_K_M
                | F::Q4_K_S
                | F::Q4_K_M
                | F::IQ3_XXS
                | F::IQ3_XS
                | F::IQ3_S
                | F::IQ3_M
                | F::IQ4_NL
                | F::IQ4_XS
        );
        return if is_raised { T::Q5_K } else { default };
    }
    match file_type {
        F::Q2_K => T::Q3_K,
        F::IQ3_XXS => T::IQ3_S,
        F::Q3_K_M | F::IQ3_M => T::Q4_K,
        F::Q3_K_L => T::Q5_K,
        _ => default,
    }
}

/// The type that a row of `row` weights really gets, and whether it is not the one asked for.
/// `None` where the engine knows no smaller block and stops.
pub(super) fn fit_row(wanted: GgmlType, row: u64) -> Option<(GgmlType, bool)> {
    use GgmlType as T;
    if row.is_multiple_of(wanted.block_len()) {
        return Some((wanted, false));
    }
    let smaller = match wanted {
        T::IQ1_S | T::IQ1_M | T::IQ2_XXS | T::IQ2_XS | T::IQ2_S | T::IQ3_XXS | T::IQ3_S | T::IQ4_XS => T::IQ4_NL,
        T::Q2_0 | T::Q2_K | T::Q3_K | T::TQ1_0 | T::TQ2_0 => T::Q4_0,
        T::Q4_K => T::Q5_0,
        T::Q5_K => T::Q5_1,
        T::Q6_K => T::Q8_0,
        other if other.block_len() <= 32 => other,
        _ => return None,
    };
    Some((if row.is_multiple_of(smaller.block_len()) { smaller } else { T::F16 }, true))
}

/// Whether the quantiser refuses to write this type without an importance matrix.
pub(super) fn requires_imatrix(category: Category, chosen: GgmlType, file_type: FileType) -> bool {
    use GgmlType as T;
    if matches!(category, Category::Output | Category::Embedding) {
        return false;
    }
    match chosen {
        T::IQ1_S | T::IQ1_M | T::IQ2_XXS | T::IQ2_XS | T::IQ2_S | T::IQ3_XXS => true,
        T::Q2_K => file_type == FileType::Q2_K_S,
        _ => false,
    }
}
