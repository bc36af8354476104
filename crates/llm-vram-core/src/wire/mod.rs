//! The one list of operations that every surface offers: typed, and as JSON in and out.
//!
//! A [`Scenario`] is what is asked; [`Question::resolve`] looks names up and reads files; one function per operation
//! answers it. [`call`] does all of it from text to text.

mod answer;
mod budget;
mod call;
mod compare;
mod estimate;
mod inspect;
mod listing;
mod quantity;
mod quants;
mod question;
mod request;

pub use answer::{ChangeAnswer, DeviceAnswer, EstimateAnswer, FitAnswer, ModelAnswer, OverheadAnswer, SCHEMA, WorkloadAnswer};
pub use budget::{BudgetAnswer, ModelFit, budget};
pub use call::{OPERATIONS, Operation, call, error_json};
pub use compare::{CompareAnswer, Comparison, Difference, LeftOut, MAX_SIDES, PartAmount, SideAnswer, compare};
pub use estimate::{estimate, fit};
pub use inspect::{BlockCounts, InspectAnswer, TensorAnswer, TypeCount, inspect};
pub use listing::*;
pub use quantity::{parse_device_count, parse_memory, parse_parameters, parse_tokens};
pub use quants::{QuantRow, QuantsAnswer, quants};
pub use question::Question;
pub use request::{Files, Scenario};
