//! The end of the graph: rows that are kept, the last norm, logits.

use super::{Builder, Normalisation};
use crate::engine::llama_cpp::compute::tensor::TensorId;

/// What follows the last layer.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Head {
    pub(in super::super) norm: Normalisation,
    /// Logits have a bias.
    pub(in super::super) has_bias: bool,
    /// Logits are scaled.
    pub(in super::super) is_scaled: bool,
    /// Logits are capped: scaled, bent, scaled back.
    pub(in super::super) is_capped: bool,
}

impl Head {
    pub(in super::super) const RMS: Self =
        Self { norm: Normalisation::rms("output_norm.weight"), has_bias: false, is_scaled: false, is_capped: false };
}

impl Builder<'_> {
    /// Keeps only the rows of `x` whose logits are wanted.
    pub(in super::super) fn keep_rows(&mut self, x: TensorId, rows: TensorId) -> TensorId {
        self.graph.get_rows(x, rows)
    }

    /// In the last layer, keeps only the wanted rows of both tensors.
    pub(in super::super) fn keep_rows_of_last(&mut self, a: TensorId, b: TensorId, rows: TensorId) -> [TensorId; 2] {
        if self.is_last_layer() { [self.graph.get_rows(a, rows), self.graph.get_rows(b, rows)] } else { [a, b] }
    }

    /// Marks a tensor that the caller may read, so that it is never released.
    pub(in super::super) fn mark_output(&mut self, x: TensorId) {
        self.graph.at_mut(x).is_output = true;
    }

    /// The last norm and the logits of all rows of `x`.
    pub(in super::super) fn logits(&mut self, x: TensorId, head: Head) {
        let x = self.output_norm(x, head);
        self.logits_of(x, head);
    }

    /// The last norm over all tokens, then the logits of the wanted rows: the full-width norm is an output
    /// (`t_h_nextn`).
    pub(in super::super) fn logits_of_rows(&mut self, x: TensorId, rows: TensorId, head: Head) {
        let x = self.output_norm(x, head);
        self.mark_output(x);
        let x = self.graph.get_rows(x, rows);
        self.logits_of(x, head);
    }

    fn output_norm(&mut self, x: TensorId, head: Head) -> TensorId {
        self.graph.block = u16::MAX;
        let output = self.placement.output;
        self.norm_on(head.norm, x, output)
    }

    fn logits_of(&mut self, x: TensorId, head: Head) {
        let output = self.placement.output;
        self.mark_output(x);
        let label = if self.model.hp.facts.tied { "token_embd.weight" } else { "output.weight" };
        let weight = self.graph.weight(label, [self.model.n_embd, self.model.n_vocab, 1, 1], output);
        let mut logits = self.graph.mul_mat(weight, x);
        if head.has_bias {
            let bias = self.graph.weight("output.bias", [self.model.n_vocab, 1, 1, 1], output);
            logits = self.graph.add(logits, bias);
        }
        if head.is_scaled {
            logits = self.graph.scale(logits);
        }
        if head.is_capped {
            let scaled = self.graph.scale(logits);
            let bent = self.graph.unary(scaled);
            logits = self.graph.scale(bent);
        }
        self.mark_output(logits);
        self.graph.expand(logits);
    }
}
