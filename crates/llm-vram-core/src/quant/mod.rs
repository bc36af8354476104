//! How weights are stored, and what that costs in bytes.

mod checkpoint;
mod checkpoint_weights;
mod family;
mod file_type;
mod format;
mod ggml;
mod listing;
mod mixture;
pub mod mlx;
mod recipe;
mod weights;

pub use checkpoint::{CheckpointFormat, Fp8Scales};
use checkpoint_weights::checkpoint_bytes;
pub use family::FormatFamily;
pub use file_type::FileType;
pub use format::WeightFormat;
pub use ggml::GgmlType;
pub use listing::nominal_grid;
pub use recipe::{Choice, Convention, FILE_ALIGNMENT_BYTES, QuantTarget, Recipe, TypeTally, WeightTally};
pub use weights::{Weights, weight_bytes};
