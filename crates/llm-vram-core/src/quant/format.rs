//! How a model's weights are stored, over all families of formats.

use super::{GgmlType, mlx::MlxQuantisation};

/// A weight format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightFormat {
    /// As the file that the model was read from stores them.
    Stored,
    /// One plain type for every matrix.
    Plain(GgmlType),
    /// Modules of MLX.
    Mlx(MlxQuantisation),
}
