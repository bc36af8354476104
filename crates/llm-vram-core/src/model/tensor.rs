//! One entry of a model's tensor inventory.

use alloc::{borrow::Cow, format, string::String};

use serde::Serialize;

use super::storage::{Origin, Storage};
use crate::units::Bytes;

/// A tensor of a model: what it is called, how large it is and how it may be stored.
///
/// Names are GGUF's; the shape starts with the row, as ggml writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// The block it belongs to, or `None` for embeddings, output and the like.
    pub block: Option<u32>,
    /// Its name without the block prefix, for example `attn_q.weight`.
    pub stem: Cow<'static, str>,
    /// Its dimensions, the row first; unused ones are 1.
    pub shape: [u64; 4],
    /// Whether a quantiser may change its type.
    pub storage: Storage,
    /// Which part of the model it belongs to.
    pub group: Group,
    /// Whether the published model has it too.
    pub origin: Origin,
    /// How a file stores it, where the inventory was read from one.
    pub stored: Option<Stored>,
}

/// The part of a model that a tensor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// The language model.
    Text,
    /// Blocks that predict further tokens.
    Mtp,
    /// A vision or audio tower with its projector.
    Tower,
}

/// How a file stores a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The file format's name of the type, for example `q4_K` or `BF16`.
    pub type_name: Cow<'static, str>,
    /// Its bytes, without padding.
    pub bytes: Bytes,
}

impl Tensor {
    /// A tensor of the language model as its name and shape describe it; [`Model::from_file`] settles what
    /// depends on the description beside it (multi-token-prediction blocks, caches that are shared).
    ///
    /// [`Model::from_file`]: super::Model::from_file
    #[must_use]
    pub fn new(architecture: &str, block: Option<u32>, stem: impl Into<Cow<'static, str>>, shape: [u64; 4]) -> Self {
        let stem = stem.into();
        let origin = Origin::of(architecture, &stem);
        let mut tensor = Self { block, stem, shape, storage: Storage::KeptF32, group: Group::Text, origin, stored: None };
        tensor.storage = Storage::of(architecture, &tensor.stem, tensor.dimensions());
        tensor
    }

    /// The full name, for example `blk.3.attn_q.weight`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.block {
            Some(block) => format!("blk.{block}.{}", self.stem),
            None => self.stem.clone().into_owned(),
        }
    }

    /// Number of weights; saturates where a file claims more than 2^64.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1_u64, |product, &n| product.saturating_mul(n))
    }

    /// Number of dimensions, trailing ones not counted.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        let trailing = self.shape.iter().rev().take_while(|&&n| n == 1).count();
        (4 - trailing).max(1)
    }
}
