//! RWKV 7's time and channel mixing (`src/models/rwkv7-base.cpp`; `llm_graph_context::build_rwkv_token_shift_load`).

use super::{super::Builder, RecurrentInput, State};
use crate::{
    engine::llama_cpp::compute::tensor::{Op, TensorId},
    quant::GgmlType,
};

/// What each token is mixed with the one before for: receptance, decay, key, value, rate and, if there is one, gate.
const MIXES: u64 = 5;

impl Builder<'_> {
    /// Rows of tokens as planes of sequences.
    pub(in super::super::super) fn by_sequence(&mut self, x: TensorId) -> TensorId {
        let (n_embd, n_tokens, n_seq) = (self.model.n_embd, self.tokens_per_sequence(), self.sizes.n_seq);
        self.graph.reshape_3d(x, n_embd, n_tokens, n_seq)
    }

    /// Planes of sequences as rows of tokens.
    pub(in super::super::super) fn by_token(&mut self, x: TensorId) -> TensorId {
        let (n_embd, n_tokens) = (self.model.n_embd, self.sizes.n_tokens);
        self.graph.reshape_2d(x, n_embd, n_tokens)
    }

    /// The last token of the batch before, once for each mixing.
    pub(in super::super::super) fn token_shifts(&mut self, input: &RecurrentInput) -> TensorId {
        let elements = self.model.recurrent(self.layer).map_or(0, |recurrent| recurrent.conv_elements);
        let states = self.state(State::Convolution, elements);
        let current = self.read_state(input, states, elements);
        let n_embd = self.model.n_embd;
        self.graph.reshape_3d(current, n_embd, elements.checked_div(n_embd).unwrap_or(0), self.sizes.n_seq)
    }

    pub(in super::super::super) fn token_shift(&mut self, shifts: TensorId, index: u64) -> TensorId {
        let ([_, nb1, nb2, _], n_embd) = (self.graph.nb(shifts), self.model.n_embd);
        self.graph.view_3d(shifts, [n_embd, 1, self.sizes.n_seq], [nb1, nb2], 4 * n_embd * index)
    }

    /// Every token's predecessor.
    pub(in super::super::super) fn shifted(&mut self, shift: TensorId, x: TensorId) -> TensorId {
        let ([_, nb1, nb2, _], n_embd) = (self.graph.nb(x), self.model.n_embd);
        let all_but_last = self.tokens_per_sequence().saturating_sub(1);
        let rest = self.graph.view_3d(x, [n_embd, all_but_last, self.sizes.n_seq], [nb1, nb2], 0);
        self.graph.concat(shift, rest, 1)
    }

    pub(in super::super::super) fn last_token(&mut self, x: TensorId) -> TensorId {
        let ([_, nb1, nb2, _], n_embd) = (self.graph.nb(x), self.model.n_embd);
        let offset = 4 * n_embd * self.tokens_per_sequence().saturating_sub(1);
        self.graph.view_3d(x, [n_embd, 1, self.sizes.n_seq], [nb1, nb2], offset)
    }

    pub(in super::super::super) fn store_token_shifts(&mut self, newest: TensorId) {
        let elements = self.model.recurrent(self.layer).map_or(0, |recurrent| recurrent.conv_elements);
        let states = self.state(State::Convolution, elements);
        let n = elements * self.sizes.n_seq;
        let graph = &mut self.graph;
        let newest = graph.view_1d(newest, n, 0);
        let target = graph.view_1d(states, n, 0);
        let saved = graph.copy_into(newest, target);
        graph.expand(saved);
    }

    /// Time mixing. `first_values` keeps the values of the first layer for the others.
    pub(in super::super::super) fn time_mix(
        &mut self,
        input: &RecurrentInput,
        x: TensorId,
        previous: TensorId,
        first_values: &mut TensorId,
    ) -> TensorId {
        let hp = self.model.hp;
        let [decay_rank, rate_rank, mix_rank, gate_rank] =
            [hp.decay_lora_rank, hp.iclr_lora_rank, hp.value_residual_mix_lora_rank, hp.gate_lora_rank].map(u64::from);
        let (n_embd, head) = (self.model.n_embd, u64::from(hp.wkv_head_size));
        let heads = n_embd.checked_div(head).unwrap_or(0);
        let (n_tokens, n_seq, total) = (self.tokens_per_sequence(), self.sizes.n_seq, self.sizes.n_tokens);
        let mixes = MIXES + u64::from(gate_rank > 0);
        let lerp = self.graph_weight_4d("time_mix_lerp_fused.weight", [n_embd, 1, 1, mixes]);
        let graph = &mut self.graph;
        let difference = graph.sub(previous, x);
        let repeated = graph.repeat(difference, [n_embd, n_tokens, n_seq, mixes]);
        let weighted = graph.mul(repeated, lerp);
        let mixed = graph.add(weighted, x);
        let row = graph.nb(mixed)[1];
        let plane = 4 * n_embd * total;
        let part = |builder: &mut Self, index: u64| builder.graph.view_2d(mixed, [n_embd, total], row, plane * index);
        let for_receptance = part(self, 0);
        let receptance = self.linear("time_mix_receptance.weight", for_receptance, n_embd);
        let for_decay = part(self, 1);
        let decay = self.linear("time_mix_w1.weight", for_decay, decay_rank);
        let decay = self.graph.unary(decay);
        let decay = self.linear("time_mix_w2.weight", decay, n_embd);
        let decay = self.bias("time_mix_w0.weight", decay);
        let decay = self.graph.sigmoid(decay);
        let decay = self.graph.scale(decay);
        let decay = self.graph.unary(decay);
        let for_keys = part(self, 2);
        let keys = self.linear("time_mix_key.weight", for_keys, n_embd);
        let for_values = part(self, 3);
        let mut values = self.linear("time_mix_value.weight", for_values, n_embd);
        if first_values.is_none() {
            *first_values = values;
        } else {
            let difference = self.graph.sub(*first_values, values);
            let share = self.linear("time_mix_v1.weight", for_values, mix_rank);
            let share = self.linear("time_mix_v2.weight", share, n_embd);
            let share = self.bias("time_mix_v0.weight", share);
            let share = self.graph.sigmoid(share);
            let moved = self.graph.mul(difference, share);
            values = self.graph.add(values, moved);
        }
        let gate = (gate_rank > 0).then(|| {
            let for_gate = part(self, 5);
            let gate = self.linear("time_mix_g1.weight", for_gate, gate_rank);
            let gate = self.graph.sigmoid(gate);
            self.linear("time_mix_g2.weight", gate, n_embd)
        });
        let for_rate = part(self, 4);
        let rate = self.linear("time_mix_a1.weight", for_rate, rate_rank);
        let rate = self.linear("time_mix_a2.weight", rate, n_embd);
        let rate = self.bias("time_mix_a0.weight", rate);
        let rate = self.graph.sigmoid(rate);
        let removal_weight = self.vector("time_mix_k_k.weight", n_embd);
        let removal = self.graph.mul(keys, removal_weight);
        let removal = self.graph.reshape_3d(removal, head, heads, total);
        let removal = self.graph.map(Op::L2Norm, removal);
        let replacement_weight = self.vector("time_mix_k_a.weight", n_embd);
        let graph = &mut self.graph;
        let replacement = graph.mul(keys, replacement_weight);
        let rated = graph.mul(rate, replacement);
        let change = graph.sub(rated, replacement);
        let keys = graph.add(keys, change);
        let [receptance, decay, keys, values, rate] =
            [receptance, decay, keys, values, rate].map(|tensor| graph.reshape_3d(tensor, head, heads, total));
        let elements = self.model.recurrent(self.layer).map_or(0, |recurrent| recurrent.state_elements);
        let states = self.state(State::Recurrent, elements);
        let current = self.read_state(input, states, elements);
        let graph = &mut self.graph;
        let negative = graph.unary(removal);
        let rated = graph.mul(removal, rate);
        let ne = [n_embd, total + head * n_seq, 1, 1];
        let sources = [receptance, decay, keys, values, negative, rated, current];
        let result = graph.op(Op::RwkvWkv7, GgmlType::F32, ne, &sources);
        let outputs = graph.view_1d(result, n_embd * total, 0);
        let newest = graph.view_1d(result, n_embd * head * n_seq, 4 * n_embd * total);
        let target = graph.view_1d(states, elements * n_seq, 0);
        let saved = graph.copy_into(newest, target);
        graph.expand(saved);
        let outputs = self.normed_heads(outputs, [head, heads, total]);
        let bonus_weight = self.vector("time_mix_r_k.weight", n_embd);
        let graph = &mut self.graph;
        let bonus_weight = graph.reshape_2d(bonus_weight, head, heads);
        let bonus = graph.mul(keys, receptance);
        let bonus = graph.mul(bonus, bonus_weight);
        let bonus = graph.sum_rows(bonus);
        let bonus = graph.mul(values, bonus);
        let bonus = graph.reshape_2d(bonus, n_embd, total);
        let mut outputs = graph.add(outputs, bonus);
        if let Some(gate) = gate {
            outputs = graph.mul(outputs, gate);
        }
        let outputs = self.linear("time_mix_output.weight", outputs, n_embd);
        self.by_sequence(outputs)
    }

    /// A layer norm over each head, with one weight and bias for all; only RWKV's own models have it.
    fn normed_heads(&mut self, x: TensorId, [head, heads, total]: [u64; 3]) -> TensorId {
        let n_embd = self.model.n_embd;
        if self.model.architecture() != "rwkv7" {
            return self.graph.reshape_2d(x, n_embd, total);
        }
        let by_head = self.graph.reshape_3d(x, head, heads, total);
        let normed = self.graph.map(Op::Norm, by_head);
        let normed = self.graph.reshape_2d(normed, n_embd, total);
        let weight = self.vector("time_mix_ln.weight", n_embd);
        let normed = self.graph.mul(normed, weight);
        self.bias("time_mix_ln.bias", normed)
    }

    /// Channel mixing, `length` wide.
    pub(in super::super::super) fn channel_mix(&mut self, x: TensorId, previous: TensorId, length: u64) -> TensorId {
        let n_embd = self.model.n_embd;
        let difference = self.graph.sub(previous, x);
        let lerp = self.vector("channel_mix_lerp_k.weight", n_embd);
        let weighted = self.graph.mul(difference, lerp);
        let mixed = self.graph.add(weighted, x);
        let keys = self.linear("channel_mix_key.weight", mixed, length);
        let keys = self.graph.unary(keys);
        let keys = self.graph.map(Op::Sqr, keys);
        self.linear("channel_mix_value.weight", keys, n_embd)
    }

    fn graph_weight_4d(&mut self, stem: &'static str, ne: [u64; 4]) -> TensorId {
        self.graph.weight(stem, ne, self.placement.layer(self.layer))
    }
}
