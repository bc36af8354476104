//! The one validated description of a model that everything is computed from.

mod block;
mod hyperparameters;
mod inventory;
mod parameters;
mod storage;
mod tensor;

use alloc::{format, string::String, vec::Vec};

use serde::Serialize;

pub use block::{Attention, Block, CacheSource, FeedForward, Heads, Indexer, Latent, Recurrence, Recurrent, Span};
pub use hyperparameters::{Facts, Hyperparameters, MtpExtra, PerLayer, WindowPattern};
pub use parameters::Parameters;
pub use storage::{Origin, Storage};
pub use tensor::{Group, Stored, Tensor};

use crate::{
    bounds,
    error::{Error, ErrorKind, Result},
};

/// What a model's figures rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The list of tensors of a real file.
    File,
    /// The architecture, from which the list of tensors follows.
    Architecture,
    /// A parameter count alone.
    Nominal,
}

/// A remark that belongs to an answer: a stable code and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The stable code.
    pub code: &'static str,
    /// The sentence.
    pub message: String,
}

impl Warning {
    /// A new remark.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// A validated model: its description, its blocks and its tensors.
///
/// Its existence proves that every number is within bounds and that the parts agree, so what is
/// computed from it has no input errors left.
#[derive(Debug, Clone)]
pub struct Model {
    hyperparameters: Hyperparameters,
    blocks: Vec<Block>,
    tensors: Vec<Tensor>,
    basis: Basis,
    warnings: Vec<Warning>,
}

impl Model {
    /// Validates a description and derives blocks and the architecture's list of tensors.
    ///
    /// An architecture without a list of its own is taken as a plain transformer, with a warning
    /// (`unknown_architecture`) that says so.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] and [`ErrorKind::Contradiction`] as [`Hyperparameters::validate`];
    /// [`ErrorKind::OutOfRange`] if the tensors hold more than 2^50 parameters.
    pub fn new(hyperparameters: Hyperparameters) -> Result<Self> {
        hyperparameters.validate()?;
        let blocks = block::derive(&hyperparameters);
        let (tensors, warnings) = inventory::derive(&hyperparameters, &blocks)?;
        Self { hyperparameters, blocks, tensors, basis: Basis::Architecture, warnings }.bounded()
    }

    /// Validates a description together with the list of tensors that a file really holds.
    ///
    /// # Errors
    /// As [`Model::new`], and [`ErrorKind::Contradiction`] where a tensor's shape excludes what the
    /// description says.
    pub fn from_file(hyperparameters: Hyperparameters, mut tensors: Vec<Tensor>, warnings: Vec<Warning>) -> Result<Self> {
        hyperparameters.validate()?;
        let blocks = block::derive(&hyperparameters);
        inventory::classify(&hyperparameters, &blocks, &mut tensors);
        Self { hyperparameters, blocks, tensors, basis: Basis::File, warnings }.bounded()
    }

    /// This model with further remarks.
    #[must_use]
    pub(crate) fn with_warnings(mut self, warnings: Vec<Warning>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// Adds the tensors of a vision or audio tower, and remarks.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] if the tensors then hold more than 2^50 parameters.
    pub fn with_tower(mut self, tower: Vec<Tensor>, warnings: Vec<Warning>) -> Result<Self> {
        self.tensors.extend(tower.into_iter().map(|tensor| Tensor { group: Group::Tower, ..tensor }));
        for warning in warnings {
            if self.warnings.iter().all(|known| known.code != warning.code) {
                self.warnings.push(warning);
            }
        }
        self.bounded()
    }

    fn bounded(self) -> Result<Self> {
        let total = self.tensors.iter().map(|tensor| u128::from(tensor.elements())).sum::<u128>();
        match u64::try_from(total) {
            Ok(total) if bounds::PARAMETERS.check(total).is_ok() => Ok(self),
            _ => Err(Error::new(ErrorKind::OutOfRange, format!("the model's tensors hold {total} parameters: expected 1 to 2^50"))
                .field("tensors")),
        }
    }

    /// The description.
    #[must_use]
    pub const fn hyperparameters(&self) -> &Hyperparameters {
        &self.hyperparameters
    }

    /// The architecture, as GGUF spells it.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.hyperparameters.architecture
    }

    /// The blocks, multi-token-prediction ones last.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The tensors.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// What the list of tensors rests on.
    #[must_use]
    pub const fn basis(&self) -> Basis {
        self.basis
    }

    /// Remarks that arose while the model was read.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Whether a tensor of that stem is present in any block, or outside blocks.
    #[must_use]
    pub fn has(&self, stem: &str) -> bool {
        self.tensors.iter().any(|tensor| tensor.stem == stem)
    }
}
