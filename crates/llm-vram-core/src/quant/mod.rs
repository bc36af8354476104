//! How weights are stored, and what that costs in bytes.

mod format;
mod ggml;
pub mod mlx;

pub use format::WeightFormat;
pub use ggml::GgmlType;
