//! What an engine has worked out for a model and may use again.

use alloc::{rc::Rc, vec::Vec};
use core::cell::RefCell;

use super::llama_cpp::{compute::ComputePlan, weights::StoredAs, working::PlanKey};
use crate::{error::Result, model::Model, quant::WeightFormat};

/// How many formats and plans are kept; the oldest go first. A search over contexts asks for a few dozen.
const KEPT: usize = 64;

/// Remembers, for one model, how each format stores its tensors and which compute buffers were planned.
///
/// A search asks the same engine many times about the same model: most of a plan does not change with the question.
/// A memo changes no answer; it is not shared between threads.
#[derive(Debug)]
pub struct Memo<'m> {
    model: &'m Model,
    stored: RefCell<Vec<(WeightFormat, Rc<[StoredAs]>)>>,
    plans: RefCell<Vec<(PlanKey, Rc<ComputePlan>)>>,
}

impl<'m> Memo<'m> {
    /// An empty memo for a model.
    #[must_use]
    pub const fn new(model: &'m Model) -> Self {
        Self { model, stored: RefCell::new(Vec::new()), plans: RefCell::new(Vec::new()) }
    }

    /// Whether the memo is about this very model.
    fn is_for(&self, model: &Model) -> bool {
        core::ptr::eq(self.model, model)
    }

    /// The storage of every tensor in a format, worked out at most once.
    ///
    /// # Errors
    /// Those of `work_out`.
    pub(super) fn stored(
        &self,
        model: &Model,
        format: &WeightFormat,
        work_out: impl FnOnce() -> Result<Vec<StoredAs>>,
    ) -> Result<Rc<[StoredAs]>> {
        if !self.is_for(model) {
            return work_out().map(Rc::from);
        }
        recall(&self.stored, format, || work_out().map(Rc::from))
    }

    /// A compute plan, worked out at most once.
    ///
    /// # Errors
    /// Those of `work_out`.
    pub(super) fn plan(
        &self,
        model: &Model,
        key: &PlanKey,
        work_out: impl FnOnce() -> Result<ComputePlan>,
    ) -> Result<Rc<ComputePlan>> {
        if !self.is_for(model) {
            return work_out().map(Rc::new);
        }
        recall(&self.plans, key, || work_out().map(Rc::new))
    }
}

fn recall<K: PartialEq + Clone, V: Clone>(kept: &RefCell<Vec<(K, V)>>, key: &K, work_out: impl FnOnce() -> Result<V>) -> Result<V> {
    if let Some((_, value)) = kept.borrow().iter().rev().find(|(known, _)| known == key) {
        return Ok(value.clone());
    }
    let value = work_out()?;
    let mut kept = kept.borrow_mut();
    if kept.len() >= KEPT {
        kept.remove(0);
    }
    kept.push((key.clone(), value.clone()));
    Ok(value)
}
