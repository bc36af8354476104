//! The operation `quants`: sizes in every weight format, nominal and as stored.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use serde::Serialize;

use super::{
    answer::{ModelAnswer, SCHEMA},
    question::Question,
};
use crate::{
    DATA_VERSION,
    derivation::Certainty,
    engine::{Memo, Scene},
    error::{ErrorKind, Result},
    fit::{self, Verdict},
    model::Basis,
    quant::{WeightFormat, weight_bytes},
    units::{BitsPerWeight, Bytes},
};

/// One weight format.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantRow {
    /// Its name.
    pub quant: String,
    /// Bits per weight that the nominal rule takes for it.
    pub nominal_bits: Option<f64>,
    /// Parameters × nominal bits ÷ 8.
    pub nominal_bytes: Option<Bytes>,
    /// What the tensors really take, side data and unquantised tensors included.
    pub weights_bytes: Option<Bytes>,
    /// Stored bits per weight over the whole model.
    pub bits_per_weight: Option<f64>,
    /// How well `weights_bytes` is known.
    pub how_known: Option<Certainty>,
    /// Whether it belongs to the nine-quant grid of the six chapters.
    pub in_grid: bool,
    /// Whether llama-quantize refuses to make it without an importance matrix.
    pub needs_imatrix: bool,
    /// Whether it fits the hardware of the question, where one was given.
    pub verdict: Option<Verdict>,
    /// Largest context per request that fits then.
    pub max_context: Option<u64>,
    /// What it is for.
    pub purpose: &'static str,
}

/// The answer of `quants`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantsAnswer {
    /// The shape of this answer.
    pub schema: &'static str,
    /// The snapshot of the catalog.
    pub data_version: &'static str,
    /// The model.
    pub model: ModelAnswer,
    /// The formats, the largest first.
    pub quants: Vec<QuantRow>,
}

/// Sizes in every weight format that the engine loads, and the nine-quant grid.
///
/// # Errors
/// Those of [`weight_bytes`] other than refusals of a single format, which leave its row without a size.
pub fn quants(question: &Question) -> Result<QuantsAnswer> {
    let model = question.model_answer();
    let mut formats: Vec<WeightFormat> = WeightFormat::nine().to_vec();
    for format in question.ladder() {
        if !formats.iter().any(|known| known.to_string() == format.to_string()) {
            formats.push(format);
        }
    }
    let mut rows = Vec::with_capacity(formats.len());
    let memo = Memo::new(&question.model);
    for format in formats {
        rows.push(row(question, &memo, &model, format)?);
    }
    rows.sort_by_key(|row| core::cmp::Reverse(row.weights_bytes.or(row.nominal_bytes)));
    Ok(QuantsAnswer { schema: SCHEMA, data_version: DATA_VERSION, model, quants: rows })
}

fn row(question: &Question, memo: &Memo<'_>, model: &ModelAnswer, format: WeightFormat) -> Result<QuantRow> {
    let nominal = format.nominal_bits();
    let nominal_bytes = nominal.map(|bits| bits.bytes_for(model.parameters)).transpose()?;
    let stored = if model.basis == Basis::Nominal {
        None
    } else {
        match weight_bytes(&question.model, &format) {
            Ok(weights) => Some(weights),
            Err(error) if matches!(error.kind(), ErrorKind::EngineRefuses | ErrorKind::Unsupported) => None,
            Err(error) => return Err(error),
        }
    };
    let bits_per_weight = stored
        .as_ref()
        .and_then(|weights| BitsPerWeight::new(weights.total.get() * 8, question.stored_parameters()).ok())
        .map(BitsPerWeight::to_f64);
    let (verdict, max_context) = if question.hardware.is_ideal()
        || stored.is_none()
        || !question.engine.families().iter().any(|family| family.contains(&format))
    {
        (None, None)
    } else {
        let scene = Scene { format: &format, ..question.scene_with(memo) };
        question.with_engine(|engine| -> Result<_> {
            let verdict = fit::verdict_with_offload(engine, &scene, question.safety)?;
            let reach = if verdict == Verdict::Fits { fit::max_context(engine, &scene, question.safety)? } else { None };
            Ok((Some(verdict), reach))
        })?
    };
    Ok(QuantRow {
        quant: format.to_string(),
        nominal_bits: nominal.map(BitsPerWeight::to_f64),
        nominal_bytes,
        weights_bytes: stored.as_ref().map(|weights| weights.total),
        bits_per_weight,
        how_known: stored.as_ref().map(|weights| weights.certainty),
        in_grid: WeightFormat::nine().iter().any(|known| known.to_string() == format.to_string()),
        needs_imatrix: stored.as_ref().is_some_and(|weights| weights.needs_imatrix),
        verdict,
        max_context,
        purpose: format.purpose(),
    })
}
