//! How llama.cpp and the engines on top of it take memory, as facts for comparisons.

use super::{Context, Parameters, window::Windows};
use crate::{
    engine::{
        Scene,
        habits::{Batch, CacheStep, Habits, States, Working},
    },
    model::Model,
};

/// The facts for resolved parameters.
pub(in crate::engine) fn of(scene: &Scene<'_>, parameters: &Parameters) -> Habits {
    let context = Context::new(parameters);
    let window = Windows::of(scene.model.hyperparameters()).size();
    Habits {
        cache_step: CacheStep { tokens: super::context::CELL_PADDING, unit: "cells" },
        cached_tokens: context.cells().saturating_mul(context.n_stream),
        window_tokens: window.map(|size| context.window_cells(size.into()).saturating_mul(context.n_stream)),
        expands_latent: false,
        states: States::Wide,
        batch: Batch { option: "n_ubatch", tokens: context.n_ubatch },
        working: Working::Planned,
        // `llm_load_tensors`: the input layer always lies on the host.
        embedding_on_host: true,
        copies_tied_output: is_tied(scene.model),
    }
}

/// Whether the embedding serves as output head, which then is a copy on a device.
fn is_tied(model: &Model) -> bool {
    !model.tensors().iter().any(|tensor| tensor.block.is_none() && tensor.stem == "output.weight")
}
