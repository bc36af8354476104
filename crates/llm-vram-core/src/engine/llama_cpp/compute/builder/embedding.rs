//! Inputs of the whole graph: token embeddings, positions, rows to keep.

use super::Builder;
use crate::{
    engine::llama_cpp::compute::{
        graph::Graph,
        tensor::{Op, TensorId},
    },
    quant::GgmlType,
};

impl Builder<'_> {
    /// The embeddings of the micro-batch (`llm_graph_context::build_inp_embd`).
    ///
    /// Three ways to feed a graph are planned, although a prompt uses the first only: token rows, given
    /// vectors, and token rows written into a copy of vectors. The copy stays allocated for the whole graph,
    /// because nothing reads it. Models whose first layers take further vectors of a vision tower have wider
    /// rows, padded for tokens; what is returned looks at the first part of each row.
    pub(in super::super) fn embeddings(&mut self, is_scaled_by_input: bool) -> TensorId {
        let (n_embd, n_tokens) = (self.model.n_embd, self.sizes.n_tokens);
        let width = n_embd * (1 + u64::from(self.model.n_deepstack_layers));
        let vectors = [width, n_tokens, 1, 1];
        let host = self.placement.host();
        let graph = &mut self.graph;
        let weight = graph.weight("token_embd.weight", [n_embd, self.model.n_vocab, 1, 1], host);
        let tokens = graph.input("tokens", GgmlType::I32, [n_tokens, 1, 1, 1]);
        let given = graph.input("given embeddings", GgmlType::F32, vectors);
        let padded = |graph: &mut Graph, rows| if width > n_embd { graph.pad_rows(rows, width) } else { rows };
        let rows = graph.get_rows(weight, tokens);
        let mut x = padded(graph, rows);
        let mixed_tokens = graph.input("mixed tokens", GgmlType::I32, [n_tokens, 1, 1, 1]);
        let mixed_slots = graph.input("mixed slots", GgmlType::I64, [n_tokens, 1, 1, 1]);
        let mixed = graph.input("mixed embeddings", GgmlType::F32, vectors);
        let copy = graph.map(Op::Dup, mixed);
        let rows = graph.get_rows(weight, mixed_tokens);
        let rows = padded(graph, rows);
        let written = graph.set_rows(copy, rows, mixed_slots);
        graph.expand(x);
        graph.expand(given);
        graph.expand(written);
        if width > n_embd {
            x = graph.view_2d(x, [n_embd, n_tokens], 4 * width, 0);
        }
        if self.model.hp.embedding_scale.is_some_and(|scale| scale != 0.0) {
            x = graph.scale(x);
        }
        if is_scaled_by_input {
            let scale = graph.input("token scale", GgmlType::F32, [1, n_tokens, 1, 1]);
            x = graph.mul(x, scale);
        }
        graph.expand(x);
        x
    }

    /// What a vision tower adds after the current layer: a part of each row of `embeddings`, or none.
    pub(in super::super) fn deepstack(&mut self, embeddings: TensorId, x: TensorId) -> TensorId {
        if self.layer >= self.model.n_deepstack_layers {
            return x;
        }
        let (n_embd, row) = (self.model.n_embd, self.graph.nb(embeddings)[1]);
        let part = self.graph.view_2d(embeddings, [n_embd, self.sizes.n_tokens], row, 4 * n_embd * u64::from(self.layer + 1));
        self.graph.add(x, part)
    }

    /// The table of positions, which lies with the token embeddings.
    pub(in super::super) fn position_table(&mut self) -> TensorId {
        let shape = [self.model.n_embd, self.model.hp.context_length, 1, 1];
        self.graph.weight("position_embd.weight", shape, self.placement.host())
    }

    /// The positions of the tokens.
    pub(in super::super) fn positions(&mut self) -> TensorId {
        let n = self.sizes.n_tokens * self.model.positions_per_token();
        self.graph.input("positions", GgmlType::I32, [n, 1, 1, 1])
    }

    /// The indices of the rows whose logits are wanted.
    pub(in super::super) fn output_rows(&mut self) -> TensorId {
        self.graph.input("output rows", GgmlType::I32, [self.sizes.n_outputs, 1, 1, 1])
    }

    /// Embeddings for every layer (Gemma 3n and 4 E), one plane for each (`build_inp_per_layer`).
    pub(in super::super) fn per_layer_embeddings(&mut self, x: TensorId) -> TensorId {
        let (n_layer, n_tokens) = (u64::from(self.model.n_layer), self.sizes.n_tokens);
        let width = u64::from(self.model.hp.embedding_length_per_layer_input);
        let (host, first) = (self.placement.host(), self.placement.layer(0));
        let graph = &mut self.graph;
        let tokens = graph.input("tokens of per-layer embeddings", GgmlType::I32, [n_tokens, 1, 1, 1]);
        let table = graph.weight("per_layer_token_embd.weight", [width * n_layer, self.model.n_vocab, 1, 1], host);
        let rows = graph.get_rows(table, tokens);
        let rows = graph.reshape_3d(rows, width, n_layer, n_tokens);
        let rows = graph.scale(rows);
        graph.expand(rows);
        let projection = graph.weight("per_layer_model_proj.weight", [self.model.n_embd, width * n_layer, 1, 1], first);
        let projected = graph.mul_mat(projection, x);
        let projected = graph.scale(projected);
        let projected = graph.reshape_3d(projected, width, n_layer, n_tokens);
        let projected = self.norm_on(super::Normalisation::rms("per_layer_proj_norm.weight"), projected, first);
        let graph = &mut self.graph;
        let sum = graph.add(projected, rows);
        let sum = graph.scale(sum);
        let by_layer = graph.permute(sum, [0, 2, 1, 3]);
        graph.cont(by_layer)
    }

    /// Plane `index` of a tensor of F32 planes.
    pub(in super::super) fn plane(&mut self, x: TensorId, index: u64) -> TensorId {
        let [n0, n1, ..] = self.graph.ne(x);
        self.graph.view_2d(x, [n0, n1], 4 * n0, 4 * n0 * n1 * index)
    }
}
