//! Lightning attention (`src/models/minimax-01.cpp`).

use super::{super::Builder, RecurrentInput, State};
use crate::{engine::llama_cpp::compute::tensor::TensorId, quant::GgmlType};

/// Decays that all lightning layers read, scaled for each.
#[derive(Debug, Clone, Copy)]
pub(in super::super::super) struct DecayInput {
    slopes: TensorId,
    queries: TensorId,
    keys: TensorId,
    pairs: TensorId,
}

impl Builder<'_> {
    pub(in super::super::super) fn decay_input(&mut self) -> DecayInput {
        let heads = self.model.head_count(0);
        let (n_seq, n_tokens) = (self.sizes.n_seq, self.tokens_per_sequence());
        DecayInput {
            slopes: self.graph.input("decay slopes", GgmlType::F32, [heads, 1, 1, 1]),
            queries: self.graph.input("decay of queries", GgmlType::F32, [1, heads, n_tokens, n_seq]),
            keys: self.graph.input("decay of keys", GgmlType::F32, [1, heads, n_tokens, n_seq]),
            pairs: self.graph.input("decay between tokens", GgmlType::F32, [n_tokens, n_tokens, heads, n_seq]),
        }
    }

    /// Lightning attention of the current layer: within the micro-batch as a product of all pairs, beyond it
    /// by the state.
    pub(in super::super::super) fn lightning_attention(
        &mut self,
        input: &RecurrentInput,
        decay: &DecayInput,
        x: TensorId,
    ) -> TensorId {
        let Some(recurrent) = self.model.recurrent(self.layer) else { return x };
        let (heads, head) = (self.model.head_count(self.layer), self.model.key_length(self.layer));
        let (n_seq, n_tokens, n_embd) = (self.sizes.n_seq, self.tokens_per_sequence(), self.model.n_embd);
        let inner = heads * head;
        let x = self.graph.reshape(x, [n_embd, n_tokens, 1, n_seq]);
        let all = self.linear("attn_qkv.weight", x, 3 * inner);
        let graph = &mut self.graph;
        let all = graph.unary(all);
        let all = graph.reshape(all, [3 * head, heads, n_tokens, n_seq]);
        let [_, nb1, nb2, nb3] = graph.nb(all);
        let [queries, keys, values] =
            [0, 1, 2].map(|part| graph.view_4d(all, [head, heads, n_tokens, n_seq], [nb1, nb2, nb3], 4 * head * part));
        let states = self.state(State::Recurrent, recurrent.state_elements);
        let old = self.read_state(input, states, recurrent.state_elements);
        let graph = &mut self.graph;
        let old = graph.reshape(old, [head, head, heads, n_seq]);
        let [of_queries, of_keys, of_pairs] = [decay.queries, decay.keys, decay.pairs].map(|exponent| {
            let scaled = graph.scale(exponent);
            graph.unary(scaled)
        });
        let decayed = graph.mul(queries, of_queries);
        let decayed = graph.permute(decayed, [0, 2, 1, 3]);
        let from_state = graph.mul_mat(old, decayed);
        let [queries, by_head] = [queries, keys].map(|part| graph.permute(part, [0, 2, 1, 3]));
        let pairs = graph.mul_mat(by_head, queries);
        let pairs = graph.mul(pairs, of_pairs);
        let values = graph.permute(values, [1, 2, 0, 3]);
        let values = graph.cont(values);
        let from_batch = graph.mul_mat(values, pairs);
        let outputs = graph.add(from_state, from_batch);
        graph.expand(outputs);
        let rate = graph.scale(decay.slopes);
        let rate = graph.scale(rate);
        let rate = graph.unary(rate);
        let rate = graph.reshape_3d(rate, 1, 1, heads);
        let kept = graph.mul(old, rate);
        let decayed = graph.mul(keys, of_keys);
        let decayed = graph.permute(decayed, [1, 2, 0, 3]);
        let decayed = graph.cont(decayed);
        let added = graph.mul_mat(decayed, values);
        let newest = graph.add(kept, added);
        let target = graph.view_1d(states, recurrent.state_elements * n_seq, 0);
        let saved = graph.copy_into(newest, target);
        graph.expand(saved);
        let by_token = graph.permute(outputs, [0, 2, 1, 3]);
        let by_token = graph.cont(by_token);
        let rows = graph.reshape(by_token, [inner, n_tokens, 1, n_seq]);
        let normed = self.rms_norm("attn_norm_2.weight", rows);
        let gate = self.linear("attn_gate.weight", x, inner);
        let gate = self.graph.sigmoid(gate);
        let gated = self.graph.mul(gate, normed);
        let y = self.linear("attn_output.weight", gated, n_embd);
        self.graph.reshape_2d(y, n_embd, self.sizes.n_tokens)
    }
}
