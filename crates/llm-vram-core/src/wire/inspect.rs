//! The operation `inspect`: what a file says.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};

use serde::Serialize;

use super::{answer::SCHEMA, question::model_from_files, request::Files};
use crate::{
    DATA_VERSION,
    error::Result,
    model::{Attention, Basis, Block, CacheSource, FeedForward, Hyperparameters, Model, Parameters, Recurrence, Span, Warning},
    units::Bytes,
};

/// Tensors of one storage type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TypeCount {
    /// How many tensors.
    pub tensors: u64,
    /// How many weights.
    pub elements: u64,
    /// Their bytes, without padding.
    pub bytes: Bytes,
}

/// How many blocks do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct BlockCounts {
    /// Full attention over cached keys and values.
    pub full_attention: u32,
    /// Attention within a sliding window or chunk.
    pub windowed_attention: u32,
    /// Latent attention.
    pub latent_attention: u32,
    /// Attention that reads another block's cache.
    pub shared_cache: u32,
    /// A recurrent state of any kind.
    pub recurrent: u32,
    /// A dense feed-forward part.
    pub dense: u32,
    /// Experts.
    pub experts: u32,
    /// Multi-token prediction.
    pub mtp: u32,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorAnswer {
    /// Its name.
    pub name: String,
    /// Its dimensions, the row first, without trailing ones.
    pub shape: Vec<u64>,
    /// How the file stores it.
    pub stored_type: Option<String>,
    /// Its bytes as stored.
    pub bytes: Option<Bytes>,
}

/// The answer of `inspect`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InspectAnswer {
    /// The shape of this answer.
    pub schema: &'static str,
    /// The snapshot of the catalog.
    pub data_version: &'static str,
    /// The model's name, where the file gives one.
    pub name: String,
    /// Its architecture, as GGUF spells it.
    pub architecture: String,
    /// Whether the tensors are those of a file or follow from the architecture.
    pub basis: Basis,
    /// Parameter counts.
    pub parameters: Parameters,
    /// Bytes of all tensors as stored, without padding; `None` where nothing is stored.
    pub tensor_bytes: Option<Bytes>,
    /// Number of tensors.
    pub tensor_count: u64,
    /// Tensors by storage type.
    pub types: BTreeMap<String, TypeCount>,
    /// How many blocks do what.
    pub blocks: BlockCounts,
    /// Kinds of recurrent state that occur.
    pub recurrences: Vec<Recurrence>,
    /// The description, in GGUF's vocabulary.
    pub hyperparameters: Hyperparameters,
    /// Every tensor, where asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tensors: Vec<TensorAnswer>,
    /// Remarks.
    pub warnings: Vec<Warning>,
}

/// What a file says: architecture, tensors by type, exact bytes.
///
/// # Errors
/// Whatever is wrong with the file.
pub fn inspect(files: &Files<'_>, list_tensors: bool) -> Result<InspectAnswer> {
    let model = model_from_files(files)?;
    let mut types: BTreeMap<String, TypeCount> = BTreeMap::new();
    for tensor in model.tensors() {
        if let Some(stored) = &tensor.stored {
            let count = types.entry(stored.type_name.to_string()).or_default();
            count.tensors += 1;
            count.elements = count.elements.saturating_add(tensor.elements());
            count.bytes = count.bytes.checked_add(stored.bytes)?;
        }
    }
    let tensor_bytes = if types.is_empty() { None } else { Some(types.values().map(|count| count.bytes).sum()) };
    let hyperparameters = model.hyperparameters().clone();
    Ok(InspectAnswer {
        schema: SCHEMA,
        data_version: DATA_VERSION,
        name: hyperparameters.name.clone(),
        architecture: hyperparameters.architecture.clone(),
        basis: model.basis(),
        parameters: model.parameters(),
        tensor_bytes,
        tensor_count: model.tensors().len() as u64,
        types,
        blocks: count_blocks(model.blocks()),
        recurrences: recurrences(model.blocks()),
        hyperparameters,
        tensors: if list_tensors { tensors(&model) } else { Vec::new() },
        warnings: model.warnings().to_vec(),
    })
}

pub(super) fn count_blocks(blocks: &[Block]) -> BlockCounts {
    let mut counts = BlockCounts::default();
    for block in blocks {
        match block.attention {
            Attention::None => {}
            Attention::Latent(_) => counts.latent_attention += 1,
            Attention::Heads(heads) => {
                match heads.span {
                    Span::Full => counts.full_attention += 1,
                    Span::Sliding(_) | Span::Chunked(_) => counts.windowed_attention += 1,
                }
                counts.shared_cache += u32::from(matches!(heads.cache, CacheSource::SharedWith(_)));
            }
        }
        match block.feed_forward {
            FeedForward::None => {}
            FeedForward::Dense { .. } => counts.dense += 1,
            FeedForward::Experts { .. } => counts.experts += 1,
        }
        counts.recurrent += u32::from(block.recurrent.is_some());
        counts.mtp += u32::from(block.is_mtp);
    }
    counts
}

fn recurrences(blocks: &[Block]) -> Vec<Recurrence> {
    let mut kinds = Vec::new();
    for recurrent in blocks.iter().filter_map(|block| block.recurrent) {
        if !kinds.contains(&recurrent.kind) {
            kinds.push(recurrent.kind);
        }
    }
    kinds
}

fn tensors(model: &Model) -> Vec<TensorAnswer> {
    model
        .tensors()
        .iter()
        .map(|tensor| TensorAnswer {
            name: tensor.name(),
            shape: tensor.shape.iter().copied().take(tensor.dimensions()).collect(),
            stored_type: tensor.stored.as_ref().map(|stored| stored.type_name.to_string()),
            bytes: tensor.stored.as_ref().map(|stored| stored.bytes),
        })
        .collect()
}
