//! The operation `compare`: one scenario over several engines, or several scenarios side by side.

mod ask;
mod column;
mod reasons;

use alloc::{string::String, vec::Vec};

use serde::Serialize;

pub use ask::Comparison;
pub use column::{LeftOut, PartAmount, SideAnswer};

use self::column::Side;
use super::answer::SCHEMA;
use crate::{
    DATA_VERSION,
    error::{Error, ErrorKind, Result},
    units::Bytes,
};

/// Most columns of a comparison.
pub const MAX_SIDES: usize = 16;
/// Parts that differ by less than this share of the larger one are held for equal.
const THRESHOLD_SHARE: f64 = 0.01;
/// Parts that differ by less are held for equal.
const THRESHOLD: Bytes = Bytes::mib(1);

/// A part that differs between the first side and another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The part, by the name of its field without `_bytes`.
    pub part: &'static str,
    /// The first side's label.
    pub a: String,
    /// The other side's label.
    pub b: String,
    /// What `b` takes more than `a`; negative where it takes less.
    pub bytes: i64,
    /// The reason, in a sentence, from the facts that the figures rest on.
    pub because: String,
}

/// The answer of `compare`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompareAnswer {
    /// The shape of this answer.
    pub schema: &'static str,
    /// The snapshot of the catalog.
    pub data_version: &'static str,
    /// One column per engine or scenario, in the order asked.
    pub sides: Vec<SideAnswer>,
    /// Every part that differs from the first side's by more than one per cent and one mebibyte.
    pub differences: Vec<Difference>,
    /// Engines and scenarios without an answer, with the reason.
    pub left_out: Vec<LeftOut>,
}

/// Answers a comparison.
///
/// An engine that refuses the question is no error of the comparison: it is listed in `left_out`.
///
/// # Errors
/// What is wrong with every side, if none has an answer; [`ErrorKind::OutOfRange`] for more than [`MAX_SIDES`].
///
/// ```
/// use llm_vram_core::wire::{Comparison, Files, Scenario, compare};
/// let scenario = Scenario { model: Some("llama-3.1-8b".into()), ..Scenario::default() };
/// let asked = Comparison::over_engines(&scenario, &["llama.cpp".into(), "vllm".into()], &Files::default())?;
/// let answer = compare(asked)?;
/// assert_eq!(answer.sides.len(), 2);
/// assert!(answer.differences.iter().all(|difference| !difference.because.is_empty()));
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
pub fn compare(asked: Comparison) -> Result<CompareAnswer> {
    let Comparison { questions, mut left_out, first_error } = asked;
    if questions.len() + left_out.len() > MAX_SIDES.max(crate::engine::all().len()) {
        return Err(too_many(questions.len() + left_out.len()));
    }
    let mut sides = Vec::with_capacity(questions.len());
    let mut first_error = first_error;
    for question in questions {
        match Side::of(&question) {
            Ok(side) => sides.push(side),
            Err(error) => {
                left_out.push(LeftOut::new(&question, &error));
                first_error.get_or_insert(error);
            }
        }
    }
    if sides.is_empty() {
        return Err(first_error.unwrap_or_else(|| {
            Error::new(ErrorKind::MissingField, "nothing is given to compare")
                .field("engines")
                .help("name engines, or several scenarios")
        }));
    }
    column::label(&mut sides);
    let mut differences = Vec::new();
    if let Some((first, rest)) = sides.split_first() {
        for other in rest {
            for (part, a, b) in first.answer.parts().zip(other.answer.parts()).map(|(a, b)| (a.part, a, b)) {
                if !differs(a.bytes, b.bytes) {
                    continue;
                }
                let because = reasons::why(part, first, other);
                let (a, b) = (a.bytes.unwrap_or(Bytes::ZERO), b.bytes.unwrap_or(Bytes::ZERO));
                differences.push(Difference {
                    part,
                    a: first.answer.label.clone(),
                    b: other.answer.label.clone(),
                    bytes: signed(b) - signed(a),
                    because,
                });
            }
        }
    }
    Ok(CompareAnswer {
        schema: SCHEMA,
        data_version: DATA_VERSION,
        sides: sides.into_iter().map(|side| side.answer).collect(),
        differences,
        left_out,
    })
}

fn too_many(count: usize) -> Error {
    Error::new(ErrorKind::OutOfRange, alloc::format!("`{count}` sides are too many to compare"))
        .field("scenarios")
        .help(alloc::format!("give at most {MAX_SIDES}"))
}

fn differs(a: Option<Bytes>, b: Option<Bytes>) -> bool {
    let (a, b) = (a.unwrap_or(Bytes::ZERO), b.unwrap_or(Bytes::ZERO));
    let apart = a.max(b).saturating_sub(a.min(b));
    apart > THRESHOLD && apart > a.max(b).share(THRESHOLD_SHARE)
}

/// Amounts are below 2^53.
fn signed(bytes: Bytes) -> i64 {
    i64::try_from(bytes.get()).unwrap_or(i64::MAX)
}
