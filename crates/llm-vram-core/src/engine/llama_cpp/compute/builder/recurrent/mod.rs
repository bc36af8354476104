//! Layers with a state of fixed size (`llm_graph_context::build_rs`).

mod delta_net;
mod kimi;
mod lightning;
mod mamba;
mod rwkv;
mod short_convolution;

use super::Builder;
use crate::{
    engine::llama_cpp::compute::tensor::{Op, TensorId},
    quant::GgmlType,
};

/// Which states a micro-batch reads.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct RecurrentInput {
    all: TensorId,
    /// Those that it updates.
    main: TensorId,
    /// Those that are only moved.
    moved: TensorId,
}

/// The two states of a recurrent layer.
#[derive(Debug, Clone, Copy)]
enum State {
    /// The last inputs of a convolution.
    Convolution = 0,
    /// The recurrent state proper.
    Recurrent = 1,
}

impl Builder<'_> {
    pub(in super::super) fn recurrent_input(&mut self) -> RecurrentInput {
        let n_seq = self.sizes.n_seq;
        let all = self.graph.input("states to read", GgmlType::I32, [n_seq, 1, 1, 1]);
        let main = self.graph.view_1d(all, n_seq, 0);
        let moved = self.graph.view_1d(all, n_seq.saturating_sub(1), 4);
        RecurrentInput { all, main, moved }
    }

    /// Tokens of each sequence.
    fn tokens_per_sequence(&self) -> u64 {
        self.sizes.n_tokens / self.sizes.n_seq
    }

    /// The state tensor of the current layer, `elements` for each sequence.
    fn state(&mut self, which: State, elements: u64) -> TensorId {
        let index = self.layer as usize;
        let known = self.states.get(index).map_or(TensorId::NONE, |states| states[which as usize]);
        if known.is_some() {
            return known;
        }
        let label = match which {
            State::Convolution => "convolution state",
            State::Recurrent => "recurrent state",
        };
        let state = self.graph.cache(label, GgmlType::F32, [elements, self.sizes.n_seq, 1, 1], self.placement.cache(self.layer));
        if let Some(states) = self.states.get_mut(index) {
            states[which as usize] = state;
        }
        state
    }

    /// Reads the states of all sequences, clearing and moving those that need it.
    fn read_state(&mut self, input: &RecurrentInput, state: TensorId, elements: u64) -> TensorId {
        self.read_state_with(input, state, elements, None::<fn(&mut Self, TensorId, TensorId) -> TensorId>)
    }

    /// The same, but an operation of its own reads the states (as selective scans do).
    fn read_state_with(
        &mut self,
        input: &RecurrentInput,
        state: TensorId,
        elements: u64,
        read: Option<impl FnOnce(&mut Self, TensorId, TensorId) -> TensorId>,
    ) -> TensorId {
        let n_seq = self.sizes.n_seq;
        let graph = &mut self.graph;
        let rows = graph.ne(state)[1];
        let states = graph.reshape_2d(state, elements, rows);
        let cleared = graph.view_1d(states, elements, 0);
        let cleared = graph.scale_in_place(cleared);
        graph.expand(cleared);
        let ids = if read.is_some() { input.moved } else { input.all };
        let gathered = graph.get_rows(states, ids);
        let row = graph.nb(gathered)[1];
        let current = match read {
            Some(read) => read(self, states, input.main),
            None => graph.view_2d(gathered, [elements, n_seq], row, 0),
        };
        let graph = &mut self.graph;
        graph.expand(current);
        let rest = graph.view_2d(gathered, [elements, 0], row, 0);
        let state_row = graph.nb(state)[1];
        let target = graph.view_2d(state, [elements, 0], state_row, 0);
        let moved = graph.copy_into(rest, target);
        graph.expand(moved);
        current
    }

    /// The convolution over `x` (`[channels, tokens, sequences]`, a row for each token) and the inputs kept
    /// from the last batch; keeps the last inputs for the next one.
    fn convolve(
        &mut self,
        input: &RecurrentInput,
        x: TensorId,
        stem: &'static str,
        [kernel, channels]: [u64; 2],
        is_flat: bool,
    ) -> TensorId {
        let (n_seq, n_tokens) = (self.sizes.n_seq, self.tokens_per_sequence());
        let kept = kernel.saturating_sub(1);
        let elements = self.model.recurrent(self.layer).map_or(0, |recurrent| recurrent.conv_elements);
        let state = self.state(State::Convolution, elements);
        let last = self.read_state(input, state, elements);
        let graph = &mut self.graph;
        let last = graph.reshape_3d(last, kept, channels, n_seq);
        let by_channel = graph.transpose(x);
        let all = graph.concat(last, by_channel, 0);
        let nb = graph.nb(all);
        let newest = graph.view_3d(all, [kept, channels, n_seq], [nb[1], nb[2]], 4 * n_tokens);
        let target = if is_flat {
            graph.view_1d(state, kept * channels * n_seq, 0)
        } else {
            let row = graph.nb(state)[1];
            graph.view_2d(state, [kept * channels, n_seq], row, 0)
        };
        let saved = graph.copy_into(newest, target);
        graph.expand(saved);
        let weight = self.matrix(stem, kernel, channels);
        self.graph.op(Op::SsmConv, GgmlType::F32, [channels, n_tokens, n_seq, 1], &[all, weight])
    }
}
