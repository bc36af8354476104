//! Selective state spaces (`src/models/mamba-base.cpp`).

use super::{
    super::{Builder, Normalisation},
    RecurrentInput, State,
};
use crate::{
    engine::llama_cpp::compute::tensor::{Op, TensorId},
    quant::GgmlType,
};

impl Builder<'_> {
    /// A Mamba-1 mixer; `has_norms` for Jamba's norms of time step, B and C.
    pub(in super::super::super) fn mamba1(&mut self, input: &RecurrentInput, x: TensorId, has_norms: bool) -> TensorId {
        let hp = self.model.hp;
        let [inner, state, kernel, rank] =
            [hp.ssm_inner_size, hp.ssm_state_size, hp.ssm_conv_kernel, hp.ssm_time_step_rank].map(u64::from);
        let (width, n_seq, n_tokens) = (self.model.n_embd, self.sizes.n_seq, self.tokens_per_sequence());
        let elements = self.model.recurrent(self.layer).map_or(0, |recurrent| recurrent.state_elements);
        let x = self.graph.reshape_3d(x, width, n_tokens, n_seq);
        let both = self.linear("ssm_in.weight", x, 2 * inner);
        let nb = self.graph.nb(both);
        let x = self.graph.view_3d(both, [inner, n_tokens, n_seq], [nb[1], nb[2]], 0);
        let z = self.graph.view_3d(both, [inner, n_tokens, n_seq], [nb[1], nb[2]], 4 * inner);
        let x = self.convolve(input, x, "ssm_conv1d.weight", [kernel, inner], true);
        let x = self.bias("ssm_conv1d.bias", x);
        let x = self.graph.unary(x);
        let parts = self.linear("ssm_x.weight", x, rank + 2 * state);
        let nb = self.graph.nb(parts);
        let mut step = self.graph.view_3d(parts, [rank, n_tokens, n_seq], [nb[1], nb[2]], 0);
        let strides = [4 * state, nb[1], nb[2]];
        let mut b = self.graph.view_4d(parts, [state, 1, n_tokens, n_seq], strides, 4 * rank);
        let mut c = self.graph.view_4d(parts, [state, 1, n_tokens, n_seq], strides, 4 * (rank + state));
        if has_norms {
            step = self.rms_norm("ssm_dt_norm.weight", step);
            b = self.rms_norm("ssm_b_norm.weight", b);
            c = self.rms_norm("ssm_c_norm.weight", c);
        } else {
            step = self.graph.cont(step);
        }
        let step = self.linear("ssm_dt.weight", step, inner);
        let step = self.bias("ssm_dt.bias", step);
        let heads = self.graph.reshape(x, [1, inner, n_tokens, n_seq]);
        let a = self.matrix("ssm_a", state, inner);
        let states = self.state(State::Recurrent, elements);
        let outputs = inner * n_tokens * n_seq;
        let scan = |builder: &mut Self, states: TensorId, ids: TensorId| {
            let graph = &mut builder.graph;
            let rows = graph.reshape(states, [state, 1, inner, n_seq]);
            let ne = [outputs + state * inner * n_seq, 1, 1, 1];
            graph.op(Op::SsmScan, GgmlType::F32, ne, &[rows, heads, step, a, b, c, ids])
        };
        let y = self.read_state_with(input, states, elements, Some(scan));
        let graph = &mut self.graph;
        let newest = graph.view_1d(y, state * inner * n_seq, 4 * outputs);
        let target = graph.view_1d(states, state * inner * n_seq, 0);
        let saved = graph.copy_into(newest, target);
        graph.expand(saved);
        let nb = graph.nb(heads);
        let y = graph.view_3d(y, [inner, n_tokens, n_seq], [nb[2], nb[3]], 0);
        let d = self.vector("ssm_d", inner);
        let skipped = self.graph.mul(x, d);
        let y = self.graph.add(y, skipped);
        let z = self.graph.cont(z);
        let y = self.graph.glu(z, y);
        let y = self.linear("ssm_out.weight", y, width);
        self.graph.reshape_2d(y, width, self.sizes.n_tokens)
    }

    /// A Mamba-2 mixer. Without `has_norm`, the gated output goes to the output projection as it is.
    pub(in super::super::super) fn mamba2(&mut self, input: &RecurrentInput, x: TensorId, has_norm: bool) -> TensorId {
        let hp = self.model.hp;
        let [inner, state, kernel, heads, groups] =
            [hp.ssm_inner_size, hp.ssm_state_size, hp.ssm_conv_kernel, hp.ssm_time_step_rank, hp.ssm_group_count].map(u64::from);
        let (width, n_seq, n_tokens) = (self.model.n_embd, self.sizes.n_seq, self.tokens_per_sequence());
        let elements = self.model.recurrent(self.layer).map_or(0, |recurrent| recurrent.state_elements);
        let head = inner.checked_div(heads).unwrap_or(0);
        let channels = inner + 2 * groups * state;
        let projected_width = 2 * inner + 2 * groups * state + heads;
        let projected = self.linear("ssm_in.weight", x, projected_width);
        let graph = &mut self.graph;
        let projected = graph.reshape_3d(projected, projected_width, n_tokens, n_seq);
        let nb = graph.nb(projected);
        let z = graph.view_4d(projected, [head, heads, n_tokens, n_seq], [4 * head, nb[1], nb[2]], 0);
        let xbc = graph.view_3d(projected, [channels, n_tokens, n_seq], [nb[1], nb[2]], 4 * inner);
        let step = graph.view_3d(projected, [heads, n_tokens, n_seq], [nb[1], nb[2]], 4 * (2 * inner + 2 * groups * state));
        let xbc = self.convolve(input, xbc, "ssm_conv1d.weight", [kernel, channels], false);
        let xbc = self.bias("ssm_conv1d.bias", xbc);
        let graph = &mut self.graph;
        let xbc = graph.unary(xbc);
        let nb = graph.nb(xbc);
        let x = graph.view_4d(xbc, [head, heads, n_tokens, n_seq], [4 * head, nb[1], nb[2]], 0);
        let strides = [4 * state, nb[1], nb[2]];
        let b = graph.view_4d(xbc, [state, groups, n_tokens, n_seq], strides, 4 * inner);
        let c = graph.view_4d(xbc, [state, groups, n_tokens, n_seq], strides, 4 * (inner + groups * state));
        let step = graph.cont(step);
        let step = self.bias("ssm_dt.bias", step);
        let a = self.matrix("ssm_a", 1, heads);
        let states = self.state(State::Recurrent, elements);
        let outputs = self.graph.at(x).elements();
        let scan = |builder: &mut Self, states: TensorId, ids: TensorId| {
            let graph = &mut builder.graph;
            let rows = graph.reshape(states, [state, head, heads, n_seq]);
            let ne = [outputs + state * inner * n_seq, 1, 1, 1];
            graph.op(Op::SsmScan, GgmlType::F32, ne, &[rows, x, step, a, b, c, ids])
        };
        let y = self.read_state_with(input, states, elements, Some(scan));
        let graph = &mut self.graph;
        let size = state * inner;
        let newest = graph.view_3d(y, [size, n_seq, 1], [4 * size, 4 * size * n_seq], 4 * outputs);
        let row = graph.nb(states)[1];
        let target = graph.view_3d(states, [size, n_seq, 1], [row, row * n_seq], 0);
        let saved = graph.copy_into(newest, target);
        graph.expand(saved);
        let nb = graph.nb(x);
        let strides = [nb[1], nb[1] * heads, nb[1] * heads * n_tokens];
        let y = graph.view_4d(y, [head, heads, n_tokens, n_seq], strides, 0);
        let d = self.matrix("ssm_d", 1, heads);
        let skipped = self.graph.mul(x, d);
        let y = self.graph.add(y, skipped);
        let z = self.graph.cont(z);
        let mut y = self.graph.glu(z, y);
        if has_norm {
            let group = inner.checked_div(groups).unwrap_or(0);
            y = self.graph.reshape(y, [group, groups, n_tokens, n_seq]);
            y = self.norm(Normalisation::rms("ssm_norm.weight").grouped(), y);
        }
        let y = self.graph.reshape_2d(y, inner, self.sizes.n_tokens);
        self.linear("ssm_out.weight", y, width)
    }

    /// PLaMo 2's mixer: heads as in Mamba 2, time step, B and C from the convolved input as in Mamba 1.
    pub(in super::super::super) fn mamba_of_heads(&mut self, input: &RecurrentInput, x: TensorId) -> TensorId {
        let hp = self.model.hp;
        let [inner, state, kernel, heads] =
            [hp.ssm_inner_size, hp.ssm_state_size, hp.ssm_conv_kernel, hp.ssm_time_step_rank].map(u64::from);
        let (width, n_seq, n_tokens) = (self.model.n_embd, self.sizes.n_seq, self.tokens_per_sequence());
        let elements = self.model.recurrent(self.layer).map_or(0, |recurrent| recurrent.state_elements);
        let head = inner.checked_div(heads).unwrap_or(0);
        let rank = (width / 16).max(64);
        let x = self.graph.reshape_3d(x, width, n_tokens, n_seq);
        let both = self.linear("ssm_in.weight", x, 2 * inner);
        let graph = &mut self.graph;
        let both = graph.permute(both, [0, 2, 1, 3]);
        let both = graph.cont_as(both, [2 * head, heads, n_tokens, n_seq]);
        let [_, nb1, nb2, nb3] = graph.nb(both);
        let by_head = [head, heads, n_tokens, n_seq];
        let x = graph.view_4d(both, by_head, [nb1, nb2, nb3], 4 * head);
        let x = graph.cont_as(x, [inner, n_tokens, n_seq, 1]);
        let z = graph.view_4d(both, by_head, [nb1, nb2, nb3], 0);
        let x = self.convolve(input, x, "ssm_conv1d.weight", [kernel, inner], true);
        let x = self.graph.unary(x);
        let parts = self.linear("ssm_x.weight", x, rank + 2 * state);
        let [_, nb1, nb2, _] = self.graph.nb(parts);
        let part = |builder: &mut Self, stem, length, offset| {
            let part = builder.graph.view_3d(parts, [length, n_tokens, n_seq], [nb1, nb2], 4 * offset);
            builder.rms_norm(stem, part)
        };
        let b = part(self, "ssm_b_norm.weight", state, 0);
        let c = part(self, "ssm_c_norm.weight", state, state);
        let step = part(self, "ssm_dt_norm.weight", rank, 2 * state);
        let step = self.linear("ssm_dt.weight", step, heads);
        let step = self.bias("ssm_dt.bias", step);
        let a = self.vector("ssm_a", heads);
        let graph = &mut self.graph;
        let a = graph.reshape_2d(a, 1, heads);
        let strides = [4 * head, 4 * inner, 4 * inner * n_tokens];
        let x = graph.view_4d(x, by_head, strides, 0);
        let [b, c] = [b, c].map(|part| {
            let [_, nb1, nb2, _] = graph.nb(part);
            graph.view_4d(part, [state, 1, n_tokens, n_seq], [4 * state, nb1, nb2], 0)
        });
        let states = self.state(State::Recurrent, elements);
        let outputs = inner * n_tokens * n_seq;
        let scan = |builder: &mut Self, states: TensorId, ids: TensorId| {
            let graph = &mut builder.graph;
            let rows = graph.reshape(states, [state, head, heads, n_seq]);
            let ne = [outputs + state * inner * n_seq, 1, 1, 1];
            graph.op(Op::SsmScan, GgmlType::F32, ne, &[rows, x, step, a, b, c, ids])
        };
        let y = self.read_state_with(input, states, elements, Some(scan));
        let graph = &mut self.graph;
        let newest = graph.view_1d(y, state * inner * n_seq, 4 * outputs);
        let target = graph.view_1d(states, state * inner * n_seq, 0);
        let saved = graph.copy_into(newest, target);
        graph.expand(saved);
        let y = graph.view_4d(y, by_head, strides, 0);
        let d = self.vector("ssm_d", heads);
        let graph = &mut self.graph;
        let d = graph.reshape_2d(d, 1, heads);
        let skipped = graph.mul(x, d);
        let y = graph.add(y, skipped);
        let z = graph.cont(z);
        let y = graph.glu(z, y);
        let [_, _, nb2, nb3] = graph.nb(y);
        let y = graph.view_3d(y, [inner, n_tokens, n_seq], [nb2, nb3], 0);
        let y = self.linear("ssm_out.weight", y, width);
        self.graph.reshape_2d(y, width, self.sizes.n_tokens)
    }
}
