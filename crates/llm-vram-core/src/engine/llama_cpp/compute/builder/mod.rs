//! The blocks that architectures are composed of (`src/llama-graph.cpp` and `src/models/*.cpp`).

mod attention;
mod embedding;
mod experts;
mod feed_forward;
mod latent;
mod output;
mod recurrent;

use alloc::{vec, vec::Vec};

pub(super) use attention::{AttentionInput, Projections};
pub(super) use experts::{Experts, Gating};
pub(super) use feed_forward::Shape as FeedForwardShape;
pub(super) use output::Head;

use super::{
    graph::Graph,
    graph_model::GraphModel,
    placement::Backends,
    request::{MAX_DEVICES, Sizes},
    tensor::{BackendIndex, Op, TensorId},
};

/// Nodes that the graph's builder places itself, before the scheduler does (`llama_context::graph_get_cb`).
pub(super) type Pins = Vec<(TensorId, BackendIndex)>;

/// Micro-batches below this size pin norms to their layer's device even if some layers stay on the host.
const FEW_TOKENS: u64 = 32;

/// A graph under construction and everything that its op list reads.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    pub(super) graph: Graph,
    pub(super) model: GraphModel<'a>,
    pub(super) sizes: Sizes,
    pub(super) placement: Backends<'a>,
    pub(super) pins: Pins,
    /// The layer being built.
    pub(super) layer: u32,
    key_value_caches: Vec<[TensorId; 2]>,
    states: Vec<[TensorId; 2]>,
    rope_factors: [TensorId; MAX_DEVICES + 1],
}

impl<'a> Builder<'a> {
    pub(super) fn new(model: GraphModel<'a>, sizes: Sizes, placement: Backends<'a>) -> Self {
        let blocks = model.hp.block_count as usize;
        Self {
            graph: Graph::with_capacity(blocks * 90 + 128),
            model,
            sizes,
            placement,
            pins: Vec::with_capacity(blocks * 4),
            layer: 0,
            key_value_caches: vec![[TensorId::NONE; 2]; blocks],
            states: vec![[TensorId::NONE; 2]; blocks],
            rope_factors: [TensorId::NONE; MAX_DEVICES + 1],
        }
    }

    /// Builds layer after layer until done, or until the graph has outgrown what is planned.
    pub(super) fn for_each_layer(&mut self, x: TensorId, mut build: impl FnMut(&mut Self, TensorId) -> TensorId) -> TensorId {
        let mut x = x;
        for layer in 0..self.model.n_layer {
            if self.graph.is_too_large() {
                break;
            }
            self.layer = layer;
            self.graph.block = layer as u16;
            x = build(self, x);
        }
        x
    }

    pub(super) fn is_last_layer(&self) -> bool {
        self.layer + 1 == self.model.n_layer
    }

    // Weights.

    /// A matrix of the current layer.
    pub(super) fn matrix(&mut self, stem: &'static str, n0: u64, n1: u64) -> TensorId {
        self.graph.weight(stem, [n0, n1, 1, 1], self.placement.layer(self.layer))
    }

    /// A stack of matrices of the current layer.
    pub(super) fn stack(&mut self, stem: &'static str, ne: [u64; 3]) -> TensorId {
        self.graph.weight(stem, [ne[0], ne[1], ne[2], 1], self.placement.layer(self.layer))
    }

    /// A vector of the current layer.
    pub(super) fn vector(&mut self, stem: &'static str, n: u64) -> TensorId {
        self.matrix(stem, n, 1)
    }

    /// RoPE factors: one vector for each device, read by all its layers.
    pub(super) fn rope_factors(&mut self, n: u64) -> TensorId {
        let device = self.placement.layer(self.layer);
        let known = self.rope_factors[usize::from(device).min(MAX_DEVICES)];
        if known.is_some() {
            return known;
        }
        let factors = self.graph.weight("rope_freqs.weight", [n, 1, 1, 1], device);
        self.rope_factors[usize::from(device).min(MAX_DEVICES)] = factors;
        factors
    }

    // Linear maps, biases, norms.

    /// `x` times a matrix of the current layer, to rows of `width`.
    pub(super) fn linear(&mut self, stem: &'static str, x: TensorId, width: u64) -> TensorId {
        let weight = self.matrix(stem, self.graph.ne(x)[0], width);
        self.graph.mul_mat(weight, x)
    }

    /// The same with a bias, where `bias` names one.
    pub(super) fn linear_with_bias(&mut self, stem: &'static str, bias: Option<&'static str>, x: TensorId, width: u64) -> TensorId {
        let y = self.linear(stem, x, width);
        match bias {
            Some(bias) => self.bias(bias, y),
            None => y,
        }
    }

    pub(super) fn bias(&mut self, stem: &'static str, x: TensorId) -> TensorId {
        let bias = self.vector(stem, self.graph.ne(x)[0]);
        self.graph.add(x, bias)
    }

    /// RMS norm with a weight of the current layer.
    pub(super) fn rms_norm(&mut self, stem: &'static str, x: TensorId) -> TensorId {
        self.norm(Normalisation::rms(stem), x)
    }

    /// A norm of the current layer: pinned to the layer's device where the engine asks for that.
    pub(super) fn norm(&mut self, norm: Normalisation, x: TensorId) -> TensorId {
        let y = self.graph.map(norm.op, x);
        if norm.is_pinned {
            self.pin(y);
        }
        let home = self.placement.layer(self.layer);
        self.scale_and_shift(norm, y, home)
    }

    /// A norm of the current layer whose weight is there already.
    pub(super) fn norm_by(&mut self, op: Op, weight: TensorId, x: TensorId) -> TensorId {
        let y = self.graph.map(op, x);
        self.pin(y);
        self.graph.mul(y, weight)
    }

    /// Asks for a node to be computed on the current layer's device (`llama_context::graph_get_cb`).
    fn pin(&mut self, x: TensorId) {
        let is_pinning = self.placement.is_full_offload() || self.sizes.n_tokens < FEW_TOKENS;
        if is_pinning && x.is_some() {
            self.pins.push((x, self.placement.layer(self.layer)));
        }
    }

    /// A norm outside the layers, whose weight lies on `home`.
    pub(super) fn norm_on(&mut self, norm: Normalisation, x: TensorId, home: BackendIndex) -> TensorId {
        let y = self.graph.map(norm.op, x);
        self.scale_and_shift(norm, y, home)
    }

    fn scale_and_shift(&mut self, norm: Normalisation, x: TensorId, home: BackendIndex) -> TensorId {
        let [n0, n1, ..] = self.graph.ne(x);
        let mut y = x;
        if let Some(weight) = norm.weight {
            let weight = self.graph.weight(weight, [n0, if norm.is_grouped { n1 } else { 1 }, 1, 1], home);
            y = self.graph.mul(y, weight);
        }
        if let Some(bias) = norm.bias {
            let bias = self.graph.weight(bias, [n0, 1, 1, 1], home);
            y = self.graph.add(y, bias);
        }
        y
    }
}

/// A norm and the names of its weight and bias.
#[derive(Debug, Clone, Copy)]
pub(super) struct Normalisation {
    pub(super) op: Op,
    weight: Option<&'static str>,
    bias: Option<&'static str>,
    is_pinned: bool,
    is_grouped: bool,
}

impl Normalisation {
    pub(super) const fn rms(weight: &'static str) -> Self {
        Self { op: Op::RmsNorm, weight: Some(weight), bias: None, is_pinned: true, is_grouped: false }
    }

    pub(super) const fn layer(weight: &'static str) -> Self {
        Self { op: Op::Norm, ..Self::rms(weight) }
    }

    /// Layer norm without weight and bias, which is not pinned.
    pub(super) const LAYER_ONLY: Self = Self { op: Op::Norm, weight: None, bias: None, is_pinned: false, is_grouped: false };

    pub(super) const fn with_bias(self, bias: &'static str) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// The graph's builder names it otherwise, or gives it no layer, so that it is not pinned.
    pub(super) const fn unpinned(self) -> Self {
        Self { is_pinned: false, ..self }
    }

    /// The weight has a row for each group.
    pub(super) const fn grouped(self) -> Self {
        Self { is_grouped: true, ..self }
    }
}
