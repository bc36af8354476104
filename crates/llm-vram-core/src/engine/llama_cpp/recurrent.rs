//! Recurrent state: one per sequence, independent of the context length, always 32-bit.
//!
//! Source: `src/llama-memory-recurrent.cpp` (constructor), llama-cpp-sys-2 0.1.161. Sizes per layer are
//! [`Recurrent`](crate::model::Recurrent)'s.

use super::{
    buffer::{Machine, Place, Places},
    compressed,
    context::Context,
    options::Parameters,
    placement::Placement,
};
use crate::{error::Result, model::Model, quant::GgmlType};

/// Allocates the state of every recurrent layer.
///
/// # Errors
/// As [`compressed::allocate_states`]; none that another validated model can cause.
pub fn allocate(
    model: &Model,
    parameters: &Parameters,
    context: &Context,
    placement: &Placement,
    machine: Machine<'_>,
) -> Result<Places> {
    let mut states = Places::empty(placement.device_count());
    for (layer, block) in (0_u32..).zip(model.blocks()) {
        let Some(recurrent) = block.recurrent.filter(|_| !block.is_mtp) else { continue };
        let place = if parameters.offload_kqv { placement.layer(layer) } else { Place::Host };
        let rule = machine.rule(place);
        for elements in [recurrent.conv_elements, recurrent.state_elements] {
            let bytes = u128::from(elements) * u128::from(context.n_seq_max) * u128::from(GgmlType::F32.block_bytes());
            states.add(place, rule.tensor(bytes, GgmlType::F32, elements)?);
        }
    }
    if compressed::applies(model.hyperparameters()) {
        states.add_all(&compressed::allocate_states(model, parameters, context, placement, machine)?);
    }
    Ok(states)
}
