//! Tensors that a CUDA device keeps longer, because it computes several nodes with one kernel.
//!
//! Follows `ggml/src/ggml-cuda/ggml-cuda.cu` (`ggml_backend_cuda_graph_optimize`), ggml 0.26.0.

use alloc::{vec, vec::Vec};

use super::{
    graph::Graph,
    schedule::resolve_weight_type,
    tensor::{Op, TensorId},
    weights::WeightTypes,
};

/// Experts whose weighted sum is computed by one kernel.
const FUSED_SUM: core::ops::RangeInclusive<usize> = 2..=15;

/// A tensor that must live until the node at a position of the split.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    pub(super) tensor: TensorId,
    pub(super) until: usize,
}

/// Finds what is kept, split by split.
#[derive(Debug)]
pub(super) struct Lifetimes {
    /// Reads of each tensor within a group of nodes; all zero between uses.
    reads: Vec<u32>,
    keeps: Vec<Keep>,
    late: Vec<(TensorId, TensorId)>,
}

impl Lifetimes {
    pub(super) fn new(tensors: usize) -> Self {
        Self { reads: vec![0; tensors], keeps: Vec::new(), late: Vec::new() }
    }

    /// What the nodes of one split keep, by position; moves shared experts behind routed ones where both are
    /// computed together.
    pub(super) fn of_split(&mut self, graph: &mut Graph, body: &mut [TensorId], weights: &dyn WeightTypes) -> &[Keep] {
        if self.reads.len() < graph.len() {
            self.reads.resize(graph.len(), 0);
        }
        self.keeps.clear();
        self.late.clear();
        self.join_shared_experts(graph, body, weights);
        let mut position = 0;
        while position < body.len() {
            if let Some((outputs, weights, length)) = self.weighted_sum(graph, body, position) {
                let until = position + length - 1;
                self.keep(outputs, until);
                self.keep(weights, until);
                position = until;
            }
            if matches!(graph.at(body[position]).op, Op::Sigmoid | Op::SoftMax | Op::Unary) {
                let length = self.router(graph, body, position);
                if length > 0 && position + length < body.len() {
                    let until = position + length;
                    for &id in &body[position..until] {
                        self.keep(id, until);
                        let tensor = *graph.at(id);
                        for source in tensor.sources() {
                            self.keep(source, until);
                        }
                    }
                    position = until - 1;
                }
            }
            position += 1;
        }
        self.place_late_keeps(body);
        self.keeps.sort_by_key(|keep| keep.until);
        &self.keeps
    }

    fn keep(&mut self, tensor: TensorId, until: usize) {
        self.keeps.push(Keep { tensor, until });
    }

    /// Joined experts were found before the order of the split was final.
    fn place_late_keeps(&mut self, body: &[TensorId]) {
        let mut late = self.late.iter().peekable();
        for (position, id) in body.iter().enumerate() {
            while let Some(&(tensor, _)) = late.next_if(|(_, until)| until == id) {
                self.keeps.push(Keep { tensor, until: position });
            }
        }
    }

    /// Routed and shared experts of equal type and shape on the same input become neighbours.
    fn join_shared_experts(&mut self, graph: &mut Graph, body: &mut [TensorId], weights: &dyn WeightTypes) {
        let mut first = 0;
        while first + 5 < body.len() {
            if graph.at(body[first]).op == Op::MulMatId {
                let mut candidate = first + 3;
                while candidate + 2 < body.len() {
                    let op = |position: usize| graph.at(body[position]).op;
                    if op(candidate) == Op::MulMatId && op(candidate + 1) == Op::MulMatId {
                        break;
                    }
                    if op(candidate) == Op::MulMat && self.is_shared_pair(graph, body, first, candidate, weights) {
                        body[first + 3..candidate + 3].rotate_right(3);
                        let up = *graph.at(graph.at(body[first + 2]).source(1));
                        let until = body[first + 5];
                        self.late.push((up.source(1), until));
                        self.late.push((up.source(2), until));
                        first += 5;
                        break;
                    }
                    candidate += 1;
                }
            }
            first += 1;
        }
    }

    fn is_shared_pair(
        &mut self,
        graph: &mut Graph,
        body: &[TensorId],
        routed: usize,
        shared: usize,
        weights: &dyn WeightTypes,
    ) -> bool {
        let ops = |start: usize| [0, 1, 2].map(|offset| graph.at(body[start + offset]).op);
        if ops(routed) != [Op::MulMatId, Op::MulMatId, Op::Glu] || ops(shared) != [Op::MulMat, Op::MulMat, Op::Glu] {
            return false;
        }
        let reads_both = |start: usize| {
            let glu = graph.at(body[start + 2]);
            glu.source(0) == body[start] && glu.source(1) == body[start + 1]
        };
        if !reads_both(routed) || !reads_both(shared) {
            return false;
        }
        let matrices = [routed, routed + 1, shared, shared + 1].map(|position| *graph.at(body[position]));
        let [gate, up, shared_gate, shared_up] = matrices;
        let x = up.source(1);
        if gate.source(1) != x || shared_gate.source(1) != shared_up.source(1) {
            return false;
        }
        for matrix in matrices {
            resolve_weight_type(graph, matrix.source(0), weights);
        }
        let [gate_weight, up_weight, shared_gate_weight, shared_up_weight] = matrices.map(|matrix| *graph.at(matrix.source(0)));
        let agree = gate_weight.ty == up_weight.ty
            && shared_gate_weight.ty == shared_up_weight.ty
            && up_weight.ty == shared_up_weight.ty
            && up_weight.ty.is_quantised()
            && up_weight.home != super::tensor::UNPLACED
            && up_weight.ne[..2] == shared_up_weight.ne[..2]
            && up_weight.nb[1] == shared_up_weight.nb[1];
        let input = graph.at(x);
        let same_input = input.op == Op::Reshape && input.source(0) == shared_up.source(1) && input.ne[1] == 1 && input.ne[3] == 1;
        if !agree || !same_input {
            return false;
        }
        let mut group = [TensorId::NONE; 6];
        group[..3].copy_from_slice(&body[routed..routed + 3]);
        group[3..].copy_from_slice(&body[shared..shared + 3]);
        self.is_closed(graph, &group, &[body[routed + 2], body[shared + 2]])
    }

    /// A product with the experts' weights, one view for each expert and their sum; returns what is weighted,
    /// the weights and the number of nodes.
    fn weighted_sum(&mut self, graph: &Graph, body: &[TensorId], position: usize) -> Option<(TensorId, TensorId, usize)> {
        let product = graph.at(body[position]);
        if product.op != Op::Mul {
            return None;
        }
        let (outputs, weights) = (graph.at(product.source(0)), graph.at(product.source(1)));
        let count = usize::try_from(product.ne[1]).ok().filter(|count| FUSED_SUM.contains(count))?;
        if outputs.ne != product.ne || weights.ne[0] != 1 || weights.ne[1..] != product.ne[1..] {
            return None;
        }
        if !outputs.is_contiguous() || !weights.is_contiguous() {
            return None;
        }
        let group = body.get(position..position + 2 * count)?;
        let views = &group[1..=count];
        let sums = &group[count + 1..];
        let is_sum = views.iter().all(|&id| graph.at(id).op == Op::View && graph.at(id).view_root == body[position])
            && sums.iter().all(|&id| graph.at(id).op == Op::Add);
        let last = *group.last()?;
        (is_sum && self.is_closed(graph, group, &[last])).then(|| (product.source(0), product.source(1), 2 * count))
    }

    /// The number of nodes of a router that one kernel computes, or 0.
    fn router(&mut self, graph: &Graph, body: &[TensorId], position: usize) -> usize {
        let start = body[position];
        let scores = graph.at(start);
        let is_start = match scores.op {
            Op::Sigmoid => true,
            Op::SoftMax => scores.source(1).is_none() && scores.source(2).is_none(),
            _ => false,
        };
        let at = |offset: usize| body.get(position + offset).map(|&id| graph.at(id));
        let is = |offset: usize, op: Op| at(offset).is_some_and(|tensor| tensor.op == op);
        let reads = |offset: usize, id: TensorId| at(offset).is_some_and(|tensor| tensor.source(0) == id);
        if !is_start || !is(1, Op::Reshape) || !reads(1, start) {
            return 0;
        }
        let mut next = 2;
        let mut chosen_by = start;
        if is(next, Op::Add) && reads(next, start) {
            chosen_by = body[position + next];
            next += 1;
        }
        if !is(next, Op::Argsort) || !reads(next, chosen_by) {
            return 0;
        }
        if !is(next + 1, Op::View) || !is(next + 2, Op::GetRows) || !reads(next + 2, body[position + 1]) {
            return 0;
        }
        let ids = body[position + next + 1];
        next += 3;
        let normalisation = [Op::Reshape, Op::SumRows, Op::Clamp, Op::Div, Op::Reshape];
        if normalisation.iter().enumerate().all(|(offset, &op)| is(next + offset, op)) {
            next += normalisation.len();
        }
        if is(next, Op::Scale) && reads(next, body[position + next - 1]) {
            next += 1;
        }
        let experts = scores.ne[0];
        let has_kernel = (experts.is_power_of_two() && experts <= 512) || matches!(experts, 288 | 576);
        let outputs = [ids, body[position + next - 1]];
        if has_kernel && self.is_closed(graph, &body[position..position + next], &outputs) { next } else { 0 }
    }

    /// Whether nothing outside the group reads a node of it other than the outputs.
    fn is_closed(&mut self, graph: &Graph, group: &[TensorId], outputs: &[TensorId]) -> bool {
        for &id in group {
            for source in graph.at(id).sources() {
                self.reads[source.index()] += 1;
            }
        }
        let is_closed = group.iter().all(|id| {
            let tensor = graph.at(*id);
            let root = tensor.view_root;
            outputs.contains(id)
                || (!tensor.is_output
                    && self.reads[id.index()] == tensor.reads
                    && (root.is_none() || group.contains(&root) || graph.at(root).is_weight()))
        });
        for &id in group {
            for source in graph.at(id).sources() {
                self.reads[source.index()] = 0;
            }
        }
        is_closed
    }
}
