//! How weights are stored, and what that costs in bytes.

mod ggml;

pub use ggml::GgmlType;
