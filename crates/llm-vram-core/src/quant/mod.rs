//! How weights are stored, and what that costs in bytes.

mod file_type;
mod format;
mod ggml;
mod mixture;
pub mod mlx;
mod recipe;

pub use file_type::FileType;
pub use format::WeightFormat;
pub use ggml::GgmlType;
pub use recipe::{Choice, Convention, FILE_ALIGNMENT_BYTES, QuantTarget, Recipe, TypeTally, WeightTally};
