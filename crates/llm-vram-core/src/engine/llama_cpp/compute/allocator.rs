//! The allocator: best fit with reuse, one pool for each backend.
//!
//! Follows `ggml/src/ggml-alloc.c` (`ggml_dyn_tallocr`, `ggml_gallocr_alloc_graph_impl`) and the sizes that
//! `ggml-cuda.cu` (`ggml_backend_cuda_buffer_type_get_alloc_size`) asks for, ggml 0.26.0.

use alloc::{format, vec, vec::Vec};

use super::{
    graph::Graph,
    schedule::{Schedule, Step},
    tensor::{BackendIndex, Op, Tensor, TensorId, UNPLACED},
};
use crate::{
    error::{Error, ErrorKind, Result},
    quant::GgmlType,
};

const HOST_ALIGNMENT: u64 = 32;
const CUDA_ALIGNMENT: u64 = 128;
/// CUDA pads rows of quantised matrices to a multiple of this (`MATRIX_ROW_PADDING`).
const CUDA_ROW_PADDING: u64 = 512;
/// Beyond this, planning ends with an error instead of a wrap-around.
const ADDRESS_LIMIT: u64 = 1 << 60;

/// The bytes that a tensor takes in a pool; saturating.
pub(super) fn allocated_bytes(graph: &Graph, tensor: &Tensor, is_host: bool) -> u64 {
    let mut bytes = tensor.bytes();
    if is_host {
        return align(bytes, HOST_ALIGNMENT);
    }
    if tensor.op == Op::FlashAttention {
        bytes = bytes_with_scratch(graph, tensor, bytes);
    }
    if tensor.ty.is_quantised() {
        let rest = tensor.ne[0] % CUDA_ROW_PADDING;
        if rest != 0 {
            bytes = bytes.saturating_add(super::tensor::row_bytes(tensor.ty, CUDA_ROW_PADDING - rest));
        }
    }
    align(bytes, CUDA_ALIGNMENT)
}

/// Flash attention over a prompt converts keys and values that are not F16 (`fattn.cu`,
/// `ggml_cuda_flash_attn_ext_get_alloc_size`).
fn bytes_with_scratch(graph: &Graph, tensor: &Tensor, bytes: u64) -> u64 {
    let [queries, keys, values] = [0, 1, 2].map(|slot| graph.at(tensor.source(slot)));
    let mut bytes = bytes;
    if queries.ne[1] <= 2 && keys.ty != GgmlType::F32 {
        return bytes;
    }
    let half = |tensor: &Tensor| tensor.elements().saturating_mul(2);
    let converts_keys = keys.ty != GgmlType::F16;
    if converts_keys {
        bytes = align(bytes, CUDA_ALIGNMENT).saturating_add(half(keys));
    }
    let is_view_of_keys = values.is_view() && values.view_root == keys.view_root && values.view_offset == keys.view_offset;
    if values.ty != GgmlType::F16 && !(is_view_of_keys && converts_keys) {
        bytes = align(bytes, CUDA_ALIGNMENT).saturating_add(half(values));
    }
    bytes
}

fn align(bytes: u64, alignment: u64) -> u64 {
    bytes.checked_next_multiple_of(alignment).unwrap_or(u64::MAX)
}

/// One backend's memory.
#[derive(Debug)]
struct Pool {
    /// Free stretches by address: start and length. The last one is open-ended.
    free: Vec<(u64, u64)>,
    high_water: u64,
}

impl Pool {
    fn new() -> Self {
        let mut free = Vec::with_capacity(16);
        free.push((0, u64::MAX));
        Self { free, high_water: 0 }
    }

    /// Takes the smallest free stretch that is large enough, the later one of equals; the open end only if
    /// nothing else fits.
    fn take(&mut self, bytes: u64) -> u64 {
        let last = self.free.len() - 1;
        let mut best = last;
        let mut best_length = u64::MAX;
        for (index, &(_, length)) in self.free[..last].iter().enumerate() {
            if length >= bytes && length <= best_length {
                (best, best_length) = (index, length);
            }
        }
        let (start, length) = self.free[best];
        let end = start.saturating_add(bytes);
        if length == bytes && best != last {
            self.free.remove(best);
        } else {
            self.free[best] = (end, length - bytes);
        }
        self.high_water = self.high_water.max(end);
        start
    }

    /// Gives a stretch back, merging it with the first free stretch that it touches, and that one with its neighbour.
    ///
    /// The order of the search matters: empty tensors leave free stretches of no length, which may lie within others.
    fn give(&mut self, start: u64, bytes: u64) {
        let end = start.saturating_add(bytes);
        for index in 0..self.free.len() {
            let (free, length) = self.free[index];
            if free.saturating_add(length) == start {
                let mut merged = length.saturating_add(bytes);
                if let Some(&(_, next_length)) = self.free.get(index + 1).filter(|next| next.0 == end) {
                    merged = merged.saturating_add(next_length);
                    self.free.remove(index + 1);
                }
                self.free[index].1 = merged;
                return;
            }
            if free == end {
                self.free[index] = (start, length.saturating_add(bytes));
                if index > 0 && self.free[index - 1].0.saturating_add(self.free[index - 1].1) == start {
                    self.free[index - 1].1 = self.free[index - 1].1.saturating_add(self.free[index].1);
                    self.free.remove(index);
                }
                return;
            }
        }
        let position = self.free.iter().position(|&(free, _)| free >= start).unwrap_or(self.free.len());
        self.free.insert(position, (start, bytes));
    }
}

/// What the allocator knows of a tensor.
#[derive(Debug, Clone, Copy)]
struct Allocation {
    address: u64,
    bytes: u64,
    /// Readers that have not run yet.
    readers: u32,
    /// Views that have not run out yet.
    views: u32,
    pool: BackendIndex,
    is_owned: bool,
}

const NOTHING: Allocation = Allocation { address: 0, bytes: 0, readers: 0, views: 0, pool: 0, is_owned: false };

/// Sees each tensor that raises a pool's high-water mark.
pub(super) trait Observer {
    /// `live` lists what the pool holds at that moment.
    fn raised(&mut self, tensor: TensorId, pool: BackendIndex, high_water: u64, live: &dyn Fn() -> Vec<(TensorId, u64)>);
}

/// An observer that sees nothing.
pub(super) struct Unobserved;

impl Observer for Unobserved {
    fn raised(&mut self, _: TensorId, _: BackendIndex, _: u64, _: &dyn Fn() -> Vec<(TensorId, u64)>) {}
}

/// Replays the allocation; returns each backend's bytes, the host's last.
pub(super) fn allocate<O: Observer>(graph: &Graph, schedule: &Schedule, host: BackendIndex, observer: &mut O) -> Result<Vec<u64>> {
    let mut run = Run {
        graph,
        host,
        pools: (0..=host).map(|_| Pool::new()).collect(),
        tensors: vec![NOTHING; graph.len()],
        observer,
        is_beyond_limit: false,
    };
    for &(id, backend) in &schedule.leaves {
        run.allocate(id, backend);
    }
    run.count_readers(schedule);
    for step in &schedule.steps {
        match *step {
            Step::Compute(id, backend) => {
                run.allocate(id, backend);
                for source in graph.at(id).sources() {
                    run.release_reader(source);
                }
            }
            Step::Read { start, end } => {
                for &source in &schedule.reads[start as usize..end as usize] {
                    run.release_reader(source);
                }
            }
        }
        if run.is_beyond_limit {
            return Err(Error::new(
                ErrorKind::Overflow,
                format!("a compute buffer would be larger than {} PiB", ADDRESS_LIMIT >> 50),
            )
            .help("check the context length, the batch sizes and the model's dimensions"));
        }
    }
    Ok(run.pools.iter().map(|pool| pool.high_water).collect())
}

struct Run<'a, O> {
    graph: &'a Graph,
    host: BackendIndex,
    pools: Vec<Pool>,
    tensors: Vec<Allocation>,
    observer: &'a mut O,
    is_beyond_limit: bool,
}

impl<O: Observer> Run<'_, O> {
    fn count_readers(&mut self, schedule: &Schedule) {
        for step in &schedule.steps {
            match *step {
                Step::Compute(id, _) => {
                    let tensor = self.graph.at(id);
                    if tensor.is_view() && tensor.op != Op::Leaf {
                        self.tensors[tensor.view_root.index()].views += 1;
                    }
                    for source in tensor.sources() {
                        self.tensors[source.index()].readers += 1;
                    }
                }
                Step::Read { start, end } => {
                    for source in &schedule.reads[start as usize..end as usize] {
                        self.tensors[source.index()].readers += 1;
                    }
                }
            }
        }
    }

    fn allocate(&mut self, id: TensorId, backend: BackendIndex) {
        let tensor = self.graph.at(id);
        if self.tensors[id.index()].is_owned || tensor.home != UNPLACED || tensor.is_view() || backend > self.host {
            return;
        }
        if tensor.op.can_run_in_place() && self.take_over(id, tensor) {
            return;
        }
        let bytes = allocated_bytes(self.graph, tensor, backend == self.host);
        if bytes > ADDRESS_LIMIT {
            self.is_beyond_limit = true;
            return;
        }
        let pool = &mut self.pools[usize::from(backend)];
        let before = pool.high_water;
        let address = pool.take(bytes);
        let high_water = pool.high_water;
        self.is_beyond_limit |= high_water > ADDRESS_LIMIT;
        let state = &mut self.tensors[id.index()];
        (state.address, state.bytes, state.pool, state.is_owned) = (address, bytes, backend, true);
        if high_water > before {
            let tensors = &self.tensors;
            self.observer.raised(id, backend, high_water, &|| {
                let held = tensors.iter().enumerate().filter(|(_, state)| state.is_owned && state.pool == backend);
                held.map(|(index, state)| (TensorId(index as u32), state.bytes)).collect()
            });
        }
    }

    /// Lets a tensor take over the memory of a source that nobody else needs.
    fn take_over(&mut self, id: TensorId, tensor: &Tensor) -> bool {
        for source in tensor.sources() {
            let (parent, held) = (self.graph.at(source), self.tensors[source.index()]);
            let is_free = held.is_owned && !parent.is_output && held.readers == 1 && held.views == 0;
            if !is_free || parent.ty != tensor.ty || parent.ne != tensor.ne || parent.nb != tensor.nb {
                continue;
            }
            let bytes = allocated_bytes(self.graph, tensor, held.pool == self.host).min(held.bytes);
            self.tensors[source.index()].is_owned = false;
            let state = &mut self.tensors[id.index()];
            (state.address, state.bytes, state.pool, state.is_owned) = (held.address, bytes, held.pool, true);
            if held.bytes > bytes {
                self.pools[usize::from(held.pool)].give(held.address + bytes, held.bytes - bytes);
            }
            return true;
        }
        false
    }

    fn release_reader(&mut self, id: TensorId) {
        let state = &mut self.tensors[id.index()];
        state.readers = state.readers.saturating_sub(1);
        if state.readers > 0 || state.views > 0 {
            return;
        }
        let root = self.graph.at(id).view_root;
        if root.is_none() {
            self.free(id);
            return;
        }
        let state = &mut self.tensors[root.index()];
        state.views = state.views.saturating_sub(1);
        if state.views == 0 && state.readers == 0 {
            self.free(root);
        }
    }

    fn free(&mut self, id: TensorId) {
        let state = self.tensors[id.index()];
        if !state.is_owned || self.graph.at(id).is_output {
            return;
        }
        self.tensors[id.index()].is_owned = false;
        self.pools[usize::from(state.pool)].give(state.address, state.bytes);
    }
}
