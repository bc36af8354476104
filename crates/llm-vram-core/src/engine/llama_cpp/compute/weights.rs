//! The storage types of weights, as far as compute buffers depend on them.

use core::cell::Cell;

use crate::{model::Model, quant::GgmlType};

/// Says how a weight is stored.
///
/// Compute buffers depend on it in two places only: weights that lie on the host and are copied to a device
/// for a large batch, and shared experts that are computed together with routed ones if their types agree.
/// The planner asks for nothing else.
///
/// Any function of block, stem and shape will do:
///
/// ```
/// use llm_vram_core::{engine::llama_cpp::compute::WeightTypes, quant::GgmlType};
/// let all_q4 = |_block: Option<u32>, _stem: &str, _shape: [u64; 4]| GgmlType::Q4_K;
/// assert_eq!(all_q4.weight_type(Some(0), "ffn_up.weight", [4096, 14_336, 1, 1]), GgmlType::Q4_K);
/// ```
pub trait WeightTypes {
    /// The type of the matrix `stem` (for example `ffn_up.weight`) of `block`; `None` outside blocks.
    fn weight_type(&self, block: Option<u32>, stem: &str, shape: [u64; 4]) -> GgmlType;
}

impl<F: Fn(Option<u32>, &str, [u64; 4]) -> GgmlType> WeightTypes for F {
    fn weight_type(&self, block: Option<u32>, stem: &str, shape: [u64; 4]) -> GgmlType {
        self(block, stem, shape)
    }
}

/// The types of a model's own tensors, given by their index in [`Model::tensors`].
///
/// A tensor that the model does not list passes for F32.
pub struct TensorTypes<'m, F> {
    model: &'m Model,
    type_of: F,
    /// Where the last one was found: lists are asked for in their own order.
    last: Cell<usize>,
}

impl<'m, F: Fn(usize) -> GgmlType> TensorTypes<'m, F> {
    /// Types by index.
    pub const fn new(model: &'m Model, type_of: F) -> Self {
        Self { model, type_of, last: Cell::new(0) }
    }
}

impl<F: Fn(usize) -> GgmlType> WeightTypes for TensorTypes<'_, F> {
    fn weight_type(&self, block: Option<u32>, stem: &str, _shape: [u64; 4]) -> GgmlType {
        let tensors = self.model.tensors();
        let is_wanted = |&index: &usize| tensors[index].block == block && tensors[index].stem == stem;
        let start = self.last.get().min(tensors.len());
        let found = (start..tensors.len()).chain(0..start).find(is_wanted);
        found.map_or(GgmlType::F32, |index| {
            self.last.set(index);
            (self.type_of)(index)
        })
    }
}
