//! The list of tensors of each architecture.

use alloc::vec::Vec;

use super::{Block, Hyperparameters, Tensor, Warning};
use crate::error::Result;

/// Lists the tensors of a validated description.
pub(super) fn derive(_hp: &Hyperparameters, _blocks: &[Block]) -> Result<(Vec<Tensor>, Vec<Warning>)> {
    Ok((Vec::new(), Vec::new()))
}
