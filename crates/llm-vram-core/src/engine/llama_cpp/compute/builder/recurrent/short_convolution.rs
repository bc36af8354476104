//! Gated short convolutions (`src/models/lfm2.cpp`).

use super::{super::Builder, RecurrentInput};
use crate::engine::llama_cpp::compute::tensor::TensorId;

impl Builder<'_> {
    /// The short convolution of the current layer.
    pub(in super::super::super) fn short_convolution(&mut self, input: &RecurrentInput, x: TensorId) -> TensorId {
        let (width, n_seq, n_tokens) = (self.model.n_embd, self.sizes.n_seq, self.tokens_per_sequence());
        let kernel = u64::from(self.model.hp.shortconv_l_cache);
        let by_sequence = self.graph.reshape_3d(x, width, n_tokens, n_seq);
        let projected = self.linear("shortconv.in_proj.weight", by_sequence, 3 * width);
        let graph = &mut self.graph;
        let nb = graph.nb(projected);
        let [b, c, x] = [0, 1, 2].map(|part| graph.view_3d(projected, [width, n_tokens, n_seq], [nb[1], nb[2]], 4 * width * part));
        let gated = graph.mul(b, x);
        let convolved = self.convolve(input, gated, "shortconv.conv.weight", [kernel, width], false);
        let gated = self.graph.mul(c, convolved);
        let y = self.linear("shortconv.out_proj.weight", gated, width);
        self.graph.reshape_2d(y, width, self.sizes.n_tokens)
    }
}
