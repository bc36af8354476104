//! All weight tensors of a model in a format.

use serde::Serialize;

use super::{GgmlType, Recipe, WeightFormat, checkpoint_bytes, mlx};
use crate::{
    derivation::Certainty,
    error::{Error, ErrorKind, Result},
    model::{Group, Model, Origin},
    units::Bytes,
};

/// What a model's weights take in a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Weights {
    /// All tensors as stored, side data included, without padding.
    pub total: Bytes,
    /// Scales, zero points and indices beside the coded weights, where the format keeps them apart.
    pub side_data: Bytes,
    /// Of the total, what stays unquantised.
    pub unquantised: Bytes,
    /// Whether the total follows from the format's own rule or from a published average.
    pub certainty: Certainty,
    /// Whether llama-quantize refuses to make it without an importance matrix.
    pub needs_imatrix: bool,
}

/// All weight tensors of `model` in `format`.
///
/// GGUF: the sum of `ggml_nbytes` over the file's tensors. Checkpoints and MLX: the arrays of the language model, without
/// multi-token-prediction blocks. [`WeightFormat::Stored`]: what the file that the model was read from stores.
///
/// # Errors
/// [`ErrorKind::EngineRefuses`] where the format's own tool refuses the model, [`ErrorKind::Unsupported`] for
/// [`WeightFormat::Stored`] without a file, [`ErrorKind::Overflow`] above [`Bytes::MAX`].
pub fn weight_bytes(model: &Model, format: &WeightFormat) -> Result<Weights> {
    match format {
        WeightFormat::Stored => stored(model),
        WeightFormat::Plain(ty) => plain(model, *ty),
        WeightFormat::Gguf(target) => {
            let tally = Recipe::new(model).sizes(*target)?;
            let quantised = tally.by_type().filter(|(ty, _)| ty.is_quantised()).map(|(_, tally)| tally.bytes).sum::<u64>();
            Ok(Weights {
                total: tally.bytes,
                side_data: Bytes::ZERO,
                unquantised: tally.bytes.saturating_sub(Bytes::new(quantised)?),
                certainty: Certainty::Exact,
                needs_imatrix: tally.needs_imatrix,
            })
        }
        WeightFormat::Mlx(quantisation) => {
            let weights = mlx::weights(model, *quantisation)?;
            let unquantised = weights.parameters.saturating_sub(weights.quantised_parameters);
            Ok(Weights {
                total: weights.bytes,
                side_data: Bytes::ZERO,
                unquantised: Bytes::from_wide(u128::from(unquantised) * 2)?,
                certainty: Certainty::Exact,
                needs_imatrix: false,
            })
        }
        WeightFormat::Checkpoint(_) | WeightFormat::Exl2(_) | WeightFormat::Exl3(_) => checkpoint_bytes(model, format),
    }
}

fn stored(model: &Model) -> Result<Weights> {
    let mut total = Bytes::ZERO;
    for tensor in model.tensors() {
        let Some(stored) = &tensor.stored else {
            return Err(Error::new(ErrorKind::Unsupported, "the model was not read from a file, so nothing is stored yet")
                .field("quant")
                .help("name a weight format"));
        };
        total = total.checked_add(stored.bytes)?;
    }
    Ok(Weights { total, side_data: Bytes::ZERO, unquantised: Bytes::ZERO, certainty: Certainty::Exact, needs_imatrix: false })
}

fn plain(model: &Model, ty: GgmlType) -> Result<Weights> {
    let elements: u128 = model
        .tensors()
        .iter()
        .filter(|tensor| tensor.origin == Origin::Checkpoint && tensor.group != Group::Mtp)
        .map(|tensor| u128::from(tensor.elements()))
        .sum();
    let total = Bytes::from_wide(elements * u128::from(ty.block_bytes()))?;
    Ok(Weights { total, side_data: Bytes::ZERO, unquantised: total, certainty: Certainty::Exact, needs_imatrix: false })
}
