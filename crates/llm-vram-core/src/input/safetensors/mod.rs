//! Safetensors checkpoints: the header of one file, the index of several, and the model that they hold.
//!
//! Source: the format's reference implementation (crate `safetensors` 0.8.0, `src/tensor.rs`), whose
//! checks apply here too; the index is transformers' `model.safetensors.index.json`.

mod checkpoint;
mod dtype;
mod header;
mod index;
mod infer;
mod json;
mod names;
mod packed;

pub use checkpoint::{Checkpoint, Weight};
pub use dtype::Dtype;
pub use header::{Header, TensorInfo, read};
pub use index::Index;
