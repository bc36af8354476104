//! Gated delta nets (`src/models/delta-net-base.cpp`, `qwen3next.cpp`, `qwen35.cpp`).

use super::{super::Builder, RecurrentInput, State};
use crate::{
    engine::llama_cpp::compute::tensor::{Op, TensorId},
    quant::GgmlType,
};

impl Builder<'_> {
    /// The delta net of the current layer. `is_first_design` is Qwen3-Next's: step and decay by one matrix,
    /// keys repeated for every value head.
    pub(in super::super::super) fn gated_delta_net(
        &mut self,
        input: &RecurrentInput,
        x: TensorId,
        is_first_design: bool,
    ) -> TensorId {
        let hp = self.model.hp;
        let [inner, key, key_heads, value_heads, kernel] =
            [hp.ssm_inner_size, hp.ssm_state_size, hp.ssm_group_count, hp.ssm_time_step_rank, hp.ssm_conv_kernel].map(u64::from);
        let (n_seq, n_tokens) = (self.sizes.n_seq, self.tokens_per_sequence());
        let elements = self.model.recurrent(self.layer).map_or(0, |recurrent| recurrent.state_elements);
        let value = inner.checked_div(value_heads).unwrap_or(0);
        let channels = inner + 2 * key_heads * key;
        let mixed = self.linear("attn_qkv.weight", x, channels);
        let mixed = self.graph.reshape_3d(mixed, channels, n_tokens, n_seq);
        let z = self.linear("attn_gate.weight", x, inner);
        let [step, decay] = if is_first_design {
            self.step_and_decay_together(x, [key_heads, value_heads])
        } else {
            self.step_and_decay(x, value_heads)
        };
        let convolved = self.convolve(input, mixed, "ssm_conv1d.weight", [kernel, channels], false);
        let states = self.state(State::Recurrent, elements);
        let state = self.read_state(input, states, elements);
        let graph = &mut self.graph;
        let state = graph.reshape(state, [value, value, value_heads, n_seq]);
        let convolved = graph.unary(convolved);
        let row = 4 * channels;
        let keys = [key, key_heads, n_tokens, n_seq];
        let queries = graph.view_4d(convolved, keys, [4 * key, row, row * n_tokens], 0);
        let keys = graph.view_4d(convolved, keys, [4 * key, row, row * n_tokens], 4 * key * key_heads);
        let values = [value, value_heads, n_tokens, n_seq];
        let values = graph.view_4d(convolved, values, [4 * value, row, row * n_tokens], 8 * key * key_heads);
        let [mut queries, mut keys] = [queries, keys].map(|heads| {
            let normed = graph.map(Op::RmsNorm, heads);
            graph.scale(normed)
        });
        if is_first_design && key_heads != value_heads {
            let each = value_heads.checked_div(key_heads).unwrap_or(0);
            let total = n_tokens * n_seq;
            [queries, keys] = [queries, keys].map(|heads| {
                let single = graph.reshape(heads, [key, 1, key_heads, total]);
                let repeated = graph.repeat(single, [key, each, key_heads, total]);
                graph.reshape(repeated, [key, value_heads, n_tokens, n_seq])
            });
        }
        let ne = [value * value_heads, n_tokens * n_seq + value * n_seq, 1, 1];
        let result = graph.op(Op::GatedDeltaNet, GgmlType::F32, ne, &[queries, keys, values, decay, step, state]);
        let heads = 4 * value * value_heads;
        let shape = [value, value_heads, n_tokens, n_seq];
        let outputs = graph.view_4d(result, shape, [4 * value, heads, heads * n_tokens], 0);
        let shape = [value, value, value_heads, n_seq];
        let strides = [4 * value, 4 * value * value, heads * value];
        let newest = graph.view_4d(result, shape, strides, heads * n_tokens * n_seq);
        let state_row = graph.nb(states)[1];
        let target = graph.view_2d(states, [elements, n_seq], state_row, 0);
        let saved = graph.copy_into(newest, target);
        graph.expand(saved);
        let z = graph.reshape(z, [value, value_heads, n_tokens, n_seq]);
        let normed = self.rms_norm("ssm_norm.weight", outputs);
        let gate = self.graph.unary(z);
        let gated = self.graph.mul(normed, gate);
        let gated = self.graph.reshape_3d(gated, value * value_heads, n_tokens, n_seq);
        let y = self.linear("ssm_out.weight", gated, self.model.n_embd);
        self.graph.reshape_2d(y, self.model.n_embd, self.sizes.n_tokens)
    }

    fn step_and_decay(&mut self, x: TensorId, value_heads: u64) -> [TensorId; 2] {
        let (n_seq, n_tokens) = (self.sizes.n_seq, self.tokens_per_sequence());
        let step = self.linear("ssm_beta.weight", x, value_heads);
        let step = self.graph.reshape(step, [1, value_heads, n_tokens, n_seq]);
        let step = self.graph.sigmoid(step);
        let decay = self.linear("ssm_alpha.weight", x, value_heads);
        let decay = self.graph.reshape_3d(decay, value_heads, n_tokens, n_seq);
        let decay = self.decay(decay, value_heads);
        [step, decay]
    }

    fn step_and_decay_together(&mut self, x: TensorId, [key_heads, value_heads]: [u64; 2]) -> [TensorId; 2] {
        let (n_seq, n_tokens) = (self.sizes.n_seq, self.tokens_per_sequence());
        let each = value_heads.checked_div(key_heads).unwrap_or(0);
        let both = self.linear("ssm_ba.weight", x, 2 * value_heads);
        let graph = &mut self.graph;
        let both = graph.reshape(both, [2 * each, key_heads, n_tokens, n_seq]);
        let [_, nb1, nb2, nb3] = graph.nb(both);
        let step = graph.view_4d(both, [each, key_heads, n_tokens, n_seq], [nb1, nb2, nb3], 0);
        let decay = graph.view_4d(both, [each, key_heads, n_tokens, n_seq], [nb1, nb2, nb3], 4 * each);
        let step = graph.cont(step);
        let step = graph.sigmoid(step);
        let decay = graph.cont_as(decay, [value_heads, n_tokens, n_seq, 1]);
        let decay = self.decay(decay, value_heads);
        let step = self.graph.reshape(step, [1, value_heads, n_tokens, n_seq]);
        [step, decay]
    }

    fn decay(&mut self, x: TensorId, value_heads: u64) -> TensorId {
        let (n_seq, n_tokens) = (self.sizes.n_seq, self.tokens_per_sequence());
        let biased = self.bias("ssm_dt.bias", x);
        let positive = self.graph.unary(biased);
        let a = self.vector("ssm_a", value_heads);
        let decay = self.graph.mul(positive, a);
        self.graph.reshape(decay, [1, value_heads, n_tokens, n_seq])
    }
}
