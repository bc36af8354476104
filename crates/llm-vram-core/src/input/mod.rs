//! Adapters from files to [`Model`](crate::Model): GGUF headers, safetensors headers and
//! indexes, `config.json`.
//!
//! Everything here takes bytes or text from an untrusted source. The limits are in [`limits`]; reading
//! takes time linear in the bytes given, and memory that does not grow with the vocabulary.

mod detect;
pub mod gguf;
pub mod hf_config;
pub mod limits;
mod read_error;
pub mod safetensors;

pub use detect::{InputKind, detect};
pub use read_error::ReadError;
