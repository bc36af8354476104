//! Dense feed-forward networks (`llm_graph_context::build_ffn`).

use super::Builder;
use crate::engine::llama_cpp::compute::tensor::{Op, TensorId};

/// How a dense network is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Shape {
    /// Gate and up, each a matrix of its own.
    Gated,
    /// Gate and up in one matrix.
    Fused,
    /// Up only, with an element-wise activation.
    Ungated,
    /// Up only, with a squared ReLU.
    UngatedSquared,
}

/// The names of a network's tensors.
struct Names {
    gate: [&'static str; 2],
    up: [&'static str; 2],
    down: [&'static str; 2],
}

const DENSE: Names = Names {
    gate: ["ffn_gate.weight", "ffn_gate.bias"],
    up: ["ffn_up.weight", "ffn_up.bias"],
    down: ["ffn_down.weight", "ffn_down.bias"],
};
const SHARED: Names = Names {
    gate: ["ffn_gate_shexp.weight", "ffn_gate_shexp.bias"],
    up: ["ffn_up_shexp.weight", "ffn_up_shexp.bias"],
    down: ["ffn_down_shexp.weight", "ffn_down_shexp.bias"],
};

impl Builder<'_> {
    /// A dense network of the current layer, `length` wide.
    pub(in super::super) fn dense(&mut self, x: TensorId, length: u64, shape: Shape, has_bias: bool) -> TensorId {
        self.network(&DENSE, x, length, shape, has_bias)
    }

    /// A gated network with a norm before its second matrix (BitNet).
    pub(in super::super) fn dense_with_inner_norm(&mut self, x: TensorId, length: u64) -> TensorId {
        let up = self.linear(DENSE.up[0], x, length);
        let gate = self.linear(DENSE.gate[0], x, length);
        let inner = self.graph.glu(gate, up);
        let inner = self.rms_norm("ffn_sub_norm.weight", inner);
        self.linear(DENSE.down[0], inner, self.model.n_embd)
    }

    /// The shared experts of the current layer, `length` wide together.
    pub(in super::super) fn shared_experts(&mut self, x: TensorId, length: u64, shape: Shape) -> TensorId {
        self.network(&SHARED, x, length, shape, false)
    }

    fn network(&mut self, names: &Names, x: TensorId, length: u64, shape: Shape, has_bias: bool) -> TensorId {
        let n_embd = self.model.n_embd;
        let bias = |stem| has_bias.then_some(stem);
        let width = if shape == Shape::Fused { 2 * length } else { length };
        let up = self.linear_with_bias(names.up[0], bias(names.up[1]), x, width);
        let inner = match shape {
            Shape::Gated => {
                let gate = self.linear_with_bias(names.gate[0], bias(names.gate[1]), x, length);
                self.graph.glu(gate, up)
            }
            Shape::Fused => self.graph.glu_of_halves(up),
            Shape::Ungated => self.graph.unary(up),
            Shape::UngatedSquared => {
                let positive = self.graph.unary(up);
                self.graph.map(Op::Sqr, positive)
            }
        };
        self.linear_with_bias(names.down[0], bias(names.down[1]), inner, n_embd)
    }
}
