//! The buffer in which logits reach the caller.

use super::context::Context;
use crate::{error::Result, model::Hyperparameters, quant::GgmlType, units::Bytes};

/// Bytes of the output buffer, in host memory: one row of logits for each sequence. It grows later to the
/// most rows that one call asks for.
///
/// Source: `src/llama-context.cpp` (`output_reserve`), llama-cpp-sys-2 0.1.161.
///
/// # Errors
/// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow), which bounded parameters cannot reach.
pub fn allocate(hp: &Hyperparameters, context: &Context) -> Result<Bytes> {
    Bytes::from_wide(u128::from(hp.vocab_size) * u128::from(context.n_seq_max) * u128::from(GgmlType::F32.block_bytes()))
}
