//! A tensor list while it is written.

use alloc::{borrow::Cow, format, string::String, vec::Vec};

use super::is_unread;
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Attention, Block, FeedForward, Group, Heads, Hyperparameters, Origin, Storage, Tensor, hyperparameters::Facts},
};

/// A tensor's name without its block prefix, together with what the name says, worked out while compiling.
#[derive(Clone, Copy)]
pub(super) struct Stem {
    pub(super) text: &'static str,
    storage: Storage,
    origin: Origin,
}

impl Stem {
    pub(super) const fn new(text: &'static str) -> Self {
        Self { text, storage: Storage::by_name(text), origin: Origin::by_name(text) }
    }
}

/// A [`Stem`] from a literal.
macro_rules! stem {
    ($text:literal) => {
        const { $crate::model::inventory::list::Stem::new($text) }
    };
}
pub(super) use stem;

/// The list of one model, written block by block.
pub(super) struct List<'a> {
    pub(super) hp: &'a Hyperparameters,
    blocks: &'a [Block],
    /// The block that is being written, or `None` outside blocks.
    at: Option<u32>,
    tensors: Vec<Tensor>,
    error: Option<Error>,
}

impl<'a> List<'a> {
    pub(super) fn new(hp: &'a Hyperparameters, blocks: &'a [Block]) -> Self {
        Self { hp, blocks, at: None, tensors: Vec::with_capacity(blocks.len() * 12 + 8), error: None }
    }

    /// The tensors, or the first fault that arose.
    pub(super) fn finish(self) -> Result<Vec<Tensor>> {
        self.error.map_or(Ok(self.tensors), Err)
    }

    pub(super) fn facts(&self) -> &'a Facts {
        &self.hp.facts
    }

    /// Hidden size.
    pub(super) fn d(&self) -> u64 {
        self.hp.embedding_length.into()
    }

    /// Rows of the token embedding.
    pub(super) fn vocab(&self) -> u64 {
        self.hp.vocab_size.into()
    }

    /// The number of the block that is being written; 0 outside blocks.
    pub(super) fn number(&self) -> u32 {
        self.at.unwrap_or(0)
    }

    /// The block that is being written; the first outside blocks.
    pub(super) fn block(&self) -> &'a Block {
        // A validated description has at least one block.
        &self.blocks[self.number() as usize]
    }

    /// All blocks.
    pub(super) fn blocks(&self) -> &'a [Block] {
        self.blocks
    }

    /// The heads of the block that is being written; none where it has no such attention.
    pub(super) fn heads(&self) -> Option<Heads> {
        match self.block().attention {
            Attention::Heads(heads) => Some(heads),
            Attention::None | Attention::Latent(_) => None,
        }
    }

    /// Width of the dense feed-forward part of the block, 0 without.
    pub(super) fn dense_length(&self) -> u64 {
        match self.block().feed_forward {
            FeedForward::Dense { length } => length.into(),
            FeedForward::None | FeedForward::Experts { .. } => 0,
        }
    }

    /// Whether the block that is being written has a recurrent state.
    pub(super) fn is_recurrent(&self) -> bool {
        self.block().recurrent.is_some()
    }

    /// Writes every block without the multi-token-prediction ones.
    pub(super) fn main_blocks(&mut self, write: impl FnMut(&mut Self)) {
        self.write_blocks(self.hp.main_block_count(), write);
    }

    /// Writes every block.
    pub(super) fn all_blocks(&mut self, write: impl FnMut(&mut Self)) {
        self.write_blocks(self.hp.block_count, write);
    }

    fn write_blocks(&mut self, count: u32, mut write: impl FnMut(&mut Self)) {
        for block in 0..count {
            self.at = Some(block);
            write(self);
            if self.error.is_some() {
                break;
            }
        }
        self.at = None;
    }

    /// Adds a tensor; its shape starts with the row.
    pub(super) fn add<const N: usize>(&mut self, stem: Stem, dimensions: [u64; N]) {
        let mut shape = [1; 4];
        shape[..N].copy_from_slice(&dimensions);
        if dimensions.contains(&0) {
            self.reject_empty(stem, &dimensions);
            return;
        }
        let is_vector = shape[1..].iter().all(|&n| n == 1);
        let mut tensor = Tensor {
            block: self.at,
            stem: Cow::Borrowed(stem.text),
            shape,
            storage: if is_vector { Storage::KeptF32 } else { stem.storage },
            group: Group::Text,
            // The name alone says "converter" where an architecture may say otherwise.
            origin: if stem.origin == Origin::Converter { Origin::of(&self.hp.architecture, stem.text) } else { stem.origin },
            stored: None,
        };
        if self.at.is_some() {
            let block = self.block();
            if block.is_mtp {
                tensor.group = Group::Mtp;
            }
            if is_unread(self.hp, block, stem.text) {
                tensor.origin = Origin::Converter;
            }
        }
        self.tensors.push(tensor);
    }

    /// A description without a width that the architecture needs.
    #[cold]
    fn reject_empty(&mut self, stem: Stem, dimensions: &[u64]) {
        if self.error.is_some() {
            return;
        }
        let place = self.at.map_or_else(|| String::from(stem.text), |block| format!("blk.{block}.{}", stem.text));
        self.error = Some(
            Error::new(
                ErrorKind::MissingField,
                format!(
                    "the description gives tensor `{place}` of the architecture `{}` the shape {dimensions:?}, which holds nothing",
                    self.hp.architecture
                ),
            )
            .field(place)
            .help("a width, a number of heads or a state size that this architecture needs is absent or 0"),
        );
    }

    /// Reports an absent field that the architecture cannot do without.
    #[cold]
    pub(super) fn require(&mut self, field: &'static str) {
        if self.error.is_none() {
            self.error = Some(
                Error::new(ErrorKind::MissingField, format!("the architecture `{}` needs `{field}`", self.hp.architecture))
                    .field(field),
            );
        }
    }
}
