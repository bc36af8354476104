//! Kimi delta attention (`src/models/kimi-linear.cpp`, `delta-net-base.cpp`).

use super::{super::Builder, RecurrentInput, State};
use crate::{
    engine::llama_cpp::compute::tensor::{Op, TensorId},
    quant::GgmlType,
};

/// Queries, keys and values pass a convolution each, which share one state.
const STREAMS: [[&str; 2]; 3] =
    [["attn_q.weight", "ssm_conv1d_q.weight"], ["attn_k.weight", "ssm_conv1d_k.weight"], ["attn_v.weight", "ssm_conv1d_v.weight"]];

impl Builder<'_> {
    /// Kimi delta attention of the current layer.
    pub(in super::super::super) fn kimi_delta_attention(&mut self, input: &RecurrentInput, x: TensorId) -> TensorId {
        let Some(recurrent) = self.model.recurrent(self.layer) else { return x };
        let (heads, head) = (self.model.head_count(self.layer), u64::from(self.model.hp.kda_head_dim));
        let (n_seq, n_tokens) = (self.sizes.n_seq, self.tokens_per_sequence());
        let (inner, total) = (heads * head, n_tokens * n_seq);
        let by_head = [head, heads, n_tokens, n_seq];
        let states = self.state(State::Convolution, recurrent.conv_elements);
        let last = self.read_state(input, states, recurrent.conv_elements);
        let [queries, keys, values] = [0, 1, 2].map(|stream| {
            let convolved = self.convolve_stream(stream, [states, last], x, inner);
            self.graph.reshape(convolved, by_head)
        });
        let decay = self.linear("ssm_f_a.weight", x, head);
        let decay = self.linear("ssm_f_b.weight", decay, inner);
        let decay = self.bias("ssm_dt.bias", decay);
        let decay = self.graph.unary(decay);
        let decay = self.graph.reshape_3d(decay, head, heads, total);
        let a = self.matrix("ssm_a", 1, heads);
        let a = self.graph.reshape_3d(a, 1, heads, 1);
        let decay = self.graph.mul(decay, a);
        let decay = self.graph.reshape(decay, by_head);
        let step = self.linear("ssm_beta.weight", x, heads);
        let step = self.graph.reshape(step, [1, heads, n_tokens, n_seq]);
        let step = self.graph.sigmoid(step);
        let memory = self.state(State::Recurrent, recurrent.state_elements);
        let current = self.read_state(input, memory, recurrent.state_elements);
        let graph = &mut self.graph;
        let current = graph.reshape(current, [head, head, heads, n_seq]);
        let [queries, keys] = [queries, keys].map(|part| {
            let normed = graph.map(Op::RmsNorm, part);
            graph.scale(normed)
        });
        let ne = [inner, total + head * n_seq, 1, 1];
        let result = graph.op(Op::GatedDeltaNet, GgmlType::F32, ne, &[queries, keys, values, decay, step, current]);
        let row = 4 * inner;
        let outputs = graph.view_4d(result, by_head, [4 * head, row, row * n_tokens], 0);
        let shape = [head, head, heads, n_seq];
        let newest = graph.view_4d(result, shape, [4 * head, 4 * head * head, row * head], row * total);
        let outputs = graph.cont(outputs);
        let target = graph.view_1d(memory, recurrent.state_elements * n_seq, 0);
        let saved = graph.copy_into(newest, target);
        graph.expand(saved);
        let gate = self.linear("ssm_g_a.weight", x, head);
        let gate = self.linear("ssm_g_b.weight", gate, inner);
        let gate = self.graph.reshape_3d(gate, head, heads, total);
        let outputs = self.graph.reshape_3d(outputs, head, heads, total);
        let normed = self.rms_norm("ssm_norm.weight", outputs);
        let gate = self.graph.sigmoid(gate);
        let gated = self.graph.mul(normed, gate);
        let gated = self.graph.cont_as(gated, [inner, total, 1, 1]);
        self.linear("attn_output.weight", gated, self.model.n_embd)
    }

    /// One of the three convolutions; its part of the shared state lies behind those of the earlier ones.
    fn convolve_stream(&mut self, stream: usize, [states, last]: [TensorId; 2], x: TensorId, inner: u64) -> TensorId {
        let [matrix, kernel_stem] = STREAMS[stream];
        let (n_seq, n_tokens) = (self.sizes.n_seq, self.tokens_per_sequence());
        let kernel = u64::from(self.model.hp.ssm_conv_kernel);
        let kept = kernel.saturating_sub(1);
        let part = 4 * kept * inner;
        let (strides, offset) = ([4 * kept, 3 * part], part * stream as u64);
        let last = self.graph.view_3d(last, [kept, inner, n_seq], strides, offset);
        let projected = self.linear(matrix, x, inner);
        let graph = &mut self.graph;
        let projected = graph.reshape_3d(projected, inner, n_tokens, n_seq);
        let by_channel = graph.transpose(projected);
        let all = graph.concat(last, by_channel, 0);
        let nb = graph.nb(all);
        let newest = graph.view_3d(all, [kept, inner, n_seq], [nb[1], nb[2]], 4 * n_tokens);
        let target = graph.view_3d(states, [kept, inner, n_seq], strides, offset);
        let saved = graph.copy_into(newest, target);
        graph.expand(saved);
        let weight = self.stack(kernel_stem, [kernel, 1, inner]);
        let graph = &mut self.graph;
        let weight = graph.reshape_2d(weight, kernel, inner);
        let convolved = graph.op(Op::SsmConv, GgmlType::F32, [inner, n_tokens, n_seq, 1], &[all, weight]);
        let convolved = graph.reshape_2d(convolved, inner, n_tokens * n_seq);
        graph.unary(convolved)
    }
}
