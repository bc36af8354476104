//! Models that the serving suites need beside those of `models.jsonl`, some with a vision tower.

use std::collections::BTreeMap;

use llm_vram_core::{
    Model,
    model::{Group, Hyperparameters, Tensor},
};
use serde::Deserialize;

use crate::{jsonl, model};

/// A line of `serving_models.jsonl`.
#[derive(Debug, Clone, Deserialize)]
struct ServedModel {
    id: String,
    hyperparameters: Hyperparameters,
    #[serde(default)]
    tower: Option<Tower>,
}

/// A vision transformer with biases (SigLIP) and its projector.
#[derive(Debug, Clone, Deserialize)]
struct Tower {
    blocks: u64,
    width: u64,
    feed_forward: u64,
    positions: u64,
    /// Inputs of the patch embedding.
    patch: u64,
    /// Weights of each matrix of the projector.
    projector: Vec<u64>,
}

impl Tower {
    fn tensors(&self, architecture: &str) -> Vec<Tensor> {
        let (width, wide) = (self.width, self.feed_forward);
        let block = [
            [width, 3 * width],
            [3 * width, 1],
            [width, width],
            [width, 1],
            [width, wide],
            [wide, 1],
            [wide, width],
            [width, 1],
            [width, 1],
            [width, 1],
            [width, 1],
            [width, 1],
        ];
        let blocks = (0..self.blocks).flat_map(|_| block);
        let outside = [[self.positions, width], [self.patch, width], [width, 1]];
        let projector = self.projector.iter().map(|&weights| [1, weights]);
        let shapes = blocks.chain(outside).chain(projector);
        shapes
            .enumerate()
            .map(|(number, [inputs, outputs])| {
                let mut tensor = Tensor::new(architecture, None, format!("v.{number}.weight"), [inputs, outputs, 1, 1]);
                tensor.group = Group::Tower;
                tensor
            })
            .collect()
    }
}

/// A model of `models.jsonl`, or else of `serving_models.jsonl`.
///
/// # Panics
/// If there is no such model or its description is not valid.
#[must_use]
pub fn served_model(id: &str) -> Model {
    let served: BTreeMap<String, ServedModel> =
        jsonl::<ServedModel>("serving_models.jsonl").into_iter().map(|model| (model.id.clone(), model)).collect();
    let Some(served) = served.get(id) else { return model(id) };
    let built = Model::new(served.hyperparameters.clone()).unwrap_or_else(|error| panic!("{id}: {error}"));
    let Some(tower) = &served.tower else { return built };
    let tensors = tower.tensors(built.architecture()).into_iter().chain(built.tensors().iter().cloned()).collect();
    Model::from_file(served.hyperparameters.clone(), tensors, Vec::new()).unwrap_or_else(|error| panic!("{id}: {error}"))
}
