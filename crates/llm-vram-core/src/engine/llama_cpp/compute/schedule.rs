//! Where each tensor is computed, where the graph is split, and what is copied between devices.
//!
//! Follows `ggml/src/ggml-backend.cpp` (`ggml_backend_sched_split_graph`), ggml 0.26.0.

use alloc::{vec, vec::Vec};

use super::{
    builder::Pins,
    capability::runs_on,
    graph::Graph,
    lifetimes::{Keep, Lifetimes},
    placement::Backends,
    tensor::{BackendIndex, Op, Role, Tensor, TensorId, UNPLACED},
    weights::WeightTypes,
};

/// Fewer rows than this are not worth copying a host weight to a device (`GGML_OP_OFFLOAD_MIN_BATCH`).
const MIN_OFFLOAD_ROWS: u64 = 32;

/// How a graph is to be scheduled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub(super) op_offload: bool,
    /// Copies of everything that crosses a border: 4 with pipelining, else 1.
    pub(super) n_copies: u32,
    /// Whether placements that the graph's builder asked for are kept.
    pub(super) keeps_pins: bool,
    /// Whether devices may prolong lifetimes for fused kernels.
    pub(super) fuses: bool,
}

/// One step of a planned run.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A tensor is computed (or a copy arrives) on a backend.
    Compute(TensorId, BackendIndex),
    /// Tensors are read once more: a range of [`Schedule::reads`].
    Read { start: u32, end: u32 },
}

/// A graph placed, split and extended by copies.
#[derive(Debug)]
pub(super) struct Schedule {
    /// What is allocated before anything runs, in order.
    pub(super) leaves: Vec<(TensorId, BackendIndex)>,
    /// What then happens, in order.
    pub(super) steps: Vec<Step>,
    /// The tensors that [`Step::Read`] refers to.
    pub(super) reads: Vec<TensorId>,
}

/// Places every tensor of the graph.
pub(super) fn place(graph: &mut Graph, placement: Backends<'_>, pins: &Pins, policy: Policy) {
    let host = placement.host();
    if policy.keeps_pins {
        for &(id, backend) in pins {
            if runs_on(graph, id, backend, host) {
                graph.at_mut(id).backend = backend;
            }
        }
    }
    for position in 0..graph.leaves.len() {
        place_by_data(graph, graph.leaves[position], host, policy.op_offload);
    }
    let mut computed = Vec::with_capacity(graph.nodes.len());
    for position in 0..graph.nodes.len() {
        let id = graph.nodes[position];
        place_by_data(graph, id, host, policy.op_offload);
        if !graph.at(id).op.is_view() {
            computed.push(id);
        }
    }
    // Devices spread down and up first, stopping at what the host computes; then everything does.
    for host_stops in [true, false] {
        spread(graph, computed.iter().copied(), host, host_stops);
        spread(graph, computed.iter().rev().copied(), host, host_stops);
    }
    for &id in &computed {
        if graph.at(id).backend == UNPLACED {
            place_by_sources(graph, id, host);
        }
    }
    for position in 0..graph.nodes.len() {
        place_views_and_sources(graph, graph.nodes[position], host);
    }
}

/// Places what lies in a cache or reads a weight where that lies (`ggml_backend_sched_backend_id_from_cur`).
fn place_by_data(graph: &mut Graph, id: TensorId, host: BackendIndex, op_offload: bool) {
    let tensor = graph.at(id);
    if tensor.backend != UNPLACED {
        return;
    }
    let backend = backend_by_data(graph, tensor, id, host, op_offload);
    graph.at_mut(id).backend = backend;
}

fn backend_by_data(graph: &Graph, tensor: &Tensor, id: TensorId, host: BackendIndex, op_offload: bool) -> BackendIndex {
    let home = home(graph, id);
    if home != UNPLACED && runs_on(graph, id, home, host) {
        return home;
    }
    if tensor.is_input() {
        return host;
    }
    if matches!(tensor.op, Op::Rope | Op::FlashAttention) {
        return UNPLACED;
    }
    let Some(weight) = tensor.sources().find(|&source| graph.at(source).is_weight()) else { return UNPLACED };
    let home = graph.at(weight).home;
    if !runs_on(graph, id, home, host) {
        return UNPLACED;
    }
    if op_offload
        && home == host
        && rows(tensor) >= MIN_OFFLOAD_ROWS
        && let Some(device) = (0..host).find(|&device| runs_on(graph, id, device, host))
    {
        return device;
    }
    home
}

/// Rows of a batch that an operation multiplies (`ggml_backend_cuda_device_offload_op`, `get_op_batch_size`).
fn rows(tensor: &Tensor) -> u64 {
    match tensor.op {
        Op::GetRows => 0,
        Op::MulMat => tensor.ne[1],
        Op::MulMatId | Op::Rope => tensor.ne[2],
        _ => tensor.ne[1].saturating_mul(tensor.ne[2]).saturating_mul(tensor.ne[3]),
    }
}

/// The device whose buffer a tensor, or what it looks into, lies in.
fn home(graph: &Graph, id: TensorId) -> BackendIndex {
    graph.at(graph.root(id)).home
}

/// Lets placed nodes pull their neighbours along.
fn spread(graph: &mut Graph, nodes: impl Iterator<Item = TensorId>, host: BackendIndex, host_stops: bool) {
    let mut current = UNPLACED;
    for id in nodes {
        let backend = graph.at(id).backend;
        if backend != UNPLACED {
            current = if host_stops && backend == host { UNPLACED } else { backend };
        } else if current != UNPLACED && runs_on(graph, id, current, host) {
            graph.at_mut(id).backend = current;
        }
    }
}

/// The backend that holds most of what a node reads.
fn place_by_sources(graph: &mut Graph, id: TensorId, host: BackendIndex) {
    let mut best = None;
    for backend in 0..=host {
        if runs_on(graph, id, backend, host) {
            let held = graph.at(id).sources().filter(|&source| location(graph, source) == backend).count();
            if best.is_none_or(|(_, most)| held > most) {
                best = Some((backend, held));
            }
        }
    }
    if let Some((backend, _)) = best {
        graph.at_mut(id).backend = backend;
    }
}

/// Where a tensor's bytes are, as far as known.
fn location(graph: &Graph, id: TensorId) -> BackendIndex {
    let home = home(graph, id);
    if home != UNPLACED {
        return home;
    }
    let own = graph.at(id).backend;
    if own != UNPLACED { own } else { graph.at(graph.root(id)).backend }
}

fn place_views_and_sources(graph: &mut Graph, id: TensorId, host: BackendIndex) {
    if graph.at(id).backend == UNPLACED && graph.at(id).is_view() {
        let root = graph.at(graph.at(id).view_root).backend;
        graph.at_mut(id).backend = root;
    }
    let tensor = *graph.at(id);
    for source in tensor.sources() {
        if graph.at(source).backend == UNPLACED {
            let root = graph.at(source).view_root;
            let backend = if root.is_some() { graph.at(root).backend } else { graph.at(id).backend };
            graph.at_mut(source).backend = backend;
        }
    }
    if graph.at(id).backend == UNPLACED {
        let backend = (0..host).find(|&device| runs_on(graph, id, device, host)).unwrap_or(host);
        graph.at_mut(id).backend = backend;
    }
}

/// A run of nodes on one backend.
#[derive(Debug)]
struct Split {
    backend: BackendIndex,
    nodes: core::ops::Range<usize>,
    inputs: core::ops::Range<usize>,
}

/// Copies made of tensors for other backends, found by tensor.
struct Copies {
    newest: Vec<u32>,
    entries: Vec<CopyEntry>,
}

#[derive(Debug, Clone, Copy)]
struct CopyEntry {
    backend: BackendIndex,
    first: TensorId,
    older: u32,
}

impl Copies {
    fn find(&self, source: TensorId, backend: BackendIndex) -> Option<TensorId> {
        let mut entry = self.newest.get(source.index()).copied().unwrap_or(0);
        while entry > 0 {
            let found = self.entries[entry as usize - 1];
            if found.backend == backend {
                return Some(found.first);
            }
            entry = found.older;
        }
        None
    }

    fn insert(&mut self, source: TensorId, backend: BackendIndex, first: TensorId) {
        if let Some(newest) = self.newest.get_mut(source.index()) {
            self.entries.push(CopyEntry { backend, first, older: *newest });
            *newest = self.entries.len() as u32;
        }
    }
}

/// Splits a placed graph and lists what is allocated and computed in which order.
pub(super) fn schedule(graph: &mut Graph, placement: Backends<'_>, policy: Policy, weights: &dyn WeightTypes) -> Schedule {
    let host = placement.host();
    let mut split_inputs: Vec<(TensorId, TensorId)> = Vec::new();
    let mut copies = Copies { newest: vec![0; graph.len()], entries: Vec::new() };
    let splits = split(graph, policy, weights, &mut split_inputs, &mut copies);
    let mut plan = Schedule {
        leaves: leaves(graph, policy, &splits, &split_inputs),
        steps: Vec::with_capacity(graph.nodes.len() + 2 * split_inputs.len()),
        reads: Vec::new(),
    };
    let mut lifetimes = Lifetimes::new(graph.len());
    let mut body = Vec::new();
    for split in &splits {
        body.clear();
        body.extend_from_slice(&graph.nodes[split.nodes.clone()]);
        let keeps: &[Keep] =
            if policy.fuses && split.backend != host { lifetimes.of_split(graph, &mut body, weights) } else { &[] };
        for &(source, copy) in &split_inputs[split.inputs.clone()] {
            let start = plan.reads.len();
            plan.reads.push(source);
            plan.read_since(start);
            plan.steps.push(Step::Compute(copy, split.backend));
        }
        let mut keeps = keeps.iter().peekable();
        for (position, &id) in body.iter().enumerate() {
            plan.steps.push(Step::Compute(id, graph.at(id).backend));
            let start = plan.reads.len();
            while let Some(keep) = keeps.next_if(|keep| keep.until == position) {
                plan.reads.push(keep.tensor);
            }
            plan.read_since(start);
        }
    }
    plan
}

impl Schedule {
    /// Reads everything that was noted since `start`.
    fn read_since(&mut self, start: usize) {
        if self.reads.len() > start {
            self.steps.push(Step::Read { start: start as u32, end: self.reads.len() as u32 });
        }
    }
}

fn split(
    graph: &mut Graph,
    policy: Policy,
    weights: &dyn WeightTypes,
    inputs: &mut Vec<(TensorId, TensorId)>,
    copies: &mut Copies,
) -> Vec<Split> {
    let first = graph.nodes.iter().find(|&&id| !graph.at(id).op.is_view());
    let mut current = first.map_or(0, |&id| graph.at(id).backend);
    let mut splits = vec![Split { backend: current, nodes: 0..0, inputs: 0..0 }];
    for position in 0..graph.nodes.len() {
        let id = graph.nodes[position];
        let tensor = *graph.at(id);
        if tensor.op.is_view() {
            continue;
        }
        let has_inputs = splits.last().is_some_and(|split| inputs.len() > split.inputs.start);
        let starts_new = tensor.backend != current
            || (has_inputs && tensor.sources().any(|source| graph.at(source).is_weight() && is_elsewhere(graph, source, current)));
        if starts_new {
            if let Some(split) = splits.last_mut() {
                split.nodes.end = position;
                split.inputs.end = inputs.len();
            }
            current = tensor.backend;
            splits.push(Split { backend: current, nodes: position..position, inputs: inputs.len()..inputs.len() });
        }
        for (slot, &source) in tensor.slots().iter().enumerate() {
            if source.is_none() || !is_elsewhere(graph, source, current) {
                continue;
            }
            let copy = copies.find(source, current).unwrap_or_else(|| {
                let copy = make_copies(graph, source, current, policy.n_copies, weights);
                copies.insert(source, current, copy);
                inputs.push((source, copy));
                copy
            });
            graph.at_mut(id).set_source(slot, copy);
        }
    }
    if let Some(split) = splits.last_mut() {
        split.nodes.end = graph.nodes.len();
        split.inputs.end = inputs.len();
    }
    splits
}

/// Whether a tensor is neither placed nor stored on `backend`.
fn is_elsewhere(graph: &Graph, id: TensorId, backend: BackendIndex) -> bool {
    graph.at(id).backend != backend && location(graph, id) != backend
}

/// Adds `count` copies of a tensor, with its strides; returns the first.
fn make_copies(graph: &mut Graph, source: TensorId, backend: BackendIndex, count: u32, weights: &dyn WeightTypes) -> TensorId {
    resolve_weight_type(graph, source, weights);
    let original = *graph.at(source);
    let mut first = TensorId::NONE;
    for _ in 0..count {
        let mut copy = Tensor::with_strides(Op::Leaf, original.ty, original.ne, original.nb, &[]);
        copy.backend = backend;
        copy.label = original.label;
        if count > 1 {
            copy.role = Role::Input;
            copy.is_output = true;
        }
        graph.block = original.block;
        let id = graph.push(copy);
        if first.is_none() {
            first = id;
        }
    }
    first
}

/// Gives a matrix its storage type; until then it passes for F32.
pub(super) fn resolve_weight_type(graph: &mut Graph, id: TensorId, weights: &dyn WeightTypes) {
    let tensor = *graph.at(id);
    if !tensor.is_weight() || !tensor.label.ends_with("weight") || tensor.ne[1] == 1 && tensor.ne[2] == 1 {
        return;
    }
    let block = (tensor.block != u16::MAX && !is_outside_blocks(tensor.label)).then_some(u32::from(tensor.block));
    let ty = weights.weight_type(block, tensor.label, tensor.ne);
    let tensor = graph.at_mut(id);
    tensor.ty = ty;
    tensor.nb = super::tensor::contiguous_strides(ty, tensor.ne);
}

/// Matrices that belong to no block although they are read while one is built.
fn is_outside_blocks(label: &str) -> bool {
    matches!(
        label,
        "token_embd.weight"
            | "output.weight"
            | "per_layer_token_embd.weight"
            | "per_layer_model_proj.weight"
            | "altup_proj.weight"
            | "altup_unembd_proj.weight"
            | "rope_freqs.weight"
    )
}

/// What is allocated before anything runs.
fn leaves(graph: &mut Graph, policy: Policy, splits: &[Split], inputs: &[(TensorId, TensorId)]) -> Vec<(TensorId, BackendIndex)> {
    let mut list = Vec::with_capacity(graph.leaves.len());
    if policy.n_copies > 1 {
        for position in 0..graph.leaves.len() {
            let id = graph.leaves[position];
            if !graph.at(id).is_input() {
                continue;
            }
            graph.at_mut(id).is_output = true;
            let original = *graph.at(id);
            list.push((id, original.backend));
            for _ in 1..policy.n_copies {
                let copy = Tensor { visited: false, ..original };
                list.push((graph.push(copy), original.backend));
            }
        }
        for split in splits {
            for &(_, copy) in &inputs[split.inputs.clone()] {
                for index in 0..policy.n_copies {
                    list.push((TensorId(copy.0 + index), split.backend));
                }
            }
        }
    }
    list.extend(graph.leaves.iter().map(|&id| (id, graph.at(id).backend)));
    list
}
