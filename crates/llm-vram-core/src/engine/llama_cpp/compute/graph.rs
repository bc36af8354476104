//! A graph under construction: an arena of tensors, and the order in which they will be computed.
//!
//! Each method creates one tensor of the named ggml operation with the shape that `ggml/src/ggml.c` gives it
//! (ggml 0.26.0). Nothing is computed until it is expanded; expansion appends sources first, left to right,
//! as `ggml_build_forward_expand` does. The order decides how long tensors live.

use alloc::{format, vec::Vec};

use super::tensor::{BackendIndex, Op, Role, Tensor, TensorId};
use crate::{
    error::{Error, ErrorKind, Result},
    quant::GgmlType,
};

/// Graphs with more tensors are refused: several times what the largest published models need.
const MAX_TENSORS: usize = 1 << 18;

#[derive(Debug)]
pub(super) struct Graph {
    tensors: Vec<Tensor>,
    /// What is computed, in order.
    pub(super) nodes: Vec<TensorId>,
    /// Inputs, weights and caches, in the order in which they are first read.
    pub(super) leaves: Vec<TensorId>,
    /// The block that new tensors belong to.
    pub(super) block: u16,
    pending: Vec<(TensorId, u8)>,
    is_too_large: bool,
}

impl Graph {
    /// An empty graph with room for about `capacity` tensors.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.min(MAX_TENSORS);
        let mut tensors = Vec::with_capacity(capacity);
        // Index 0 stands for "none".
        tensors.push(Tensor::new(Op::Leaf, GgmlType::F32, [1; 4], &[]));
        Self {
            tensors,
            nodes: Vec::with_capacity(capacity),
            leaves: Vec::with_capacity(capacity / 2),
            block: 0,
            pending: Vec::with_capacity(64),
            is_too_large: false,
        }
    }

    /// Number of tensors, the placeholder for "none" included.
    pub(super) const fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether it has outgrown what is planned; builders stop then.
    pub(super) const fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// Refuses a graph that has outgrown what is planned.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_too_large {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("the computation graph has more than {MAX_TENSORS} tensors, which is beyond any published model"),
            )
            .field("block_count")
            .help("check the number of layers and of experts used per token"));
        }
        Ok(())
    }

    pub(super) fn at(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.index()]
    }

    pub(super) fn at_mut(&mut self, id: TensorId) -> &mut Tensor {
        &mut self.tensors[id.index()]
    }

    pub(super) fn ne(&self, id: TensorId) -> [u64; 4] {
        self.at(id).ne
    }

    pub(super) fn nb(&self, id: TensorId) -> [u64; 4] {
        self.at(id).nb
    }

    /// What a view looks into, or the tensor itself.
    pub(super) fn root(&self, id: TensorId) -> TensorId {
        let root = self.at(id).view_root;
        if root.is_some() { root } else { id }
    }

    pub(super) fn push(&mut self, mut tensor: Tensor) -> TensorId {
        if self.tensors.len() >= MAX_TENSORS {
            self.is_too_large = true;
            return TensorId::NONE;
        }
        tensor.block = self.block;
        let id = TensorId(self.tensors.len() as u32);
        self.tensors.push(tensor);
        id
    }

    /// Appends a tensor and everything it needs that is not in the graph yet.
    pub(super) fn expand(&mut self, id: TensorId) {
        if self.at(id).visited || id.is_none() {
            return;
        }
        let mut pending = core::mem::take(&mut self.pending);
        self.at_mut(id).visited = true;
        pending.push((id, 0));
        while let Some((current, slot)) = pending.pop() {
            let tensor = &self.tensors[current.index()];
            if usize::from(slot) < tensor.slots().len() {
                pending.push((current, slot + 1));
                let source = tensor.source(usize::from(slot));
                if source.is_some() {
                    let source_tensor = &mut self.tensors[source.index()];
                    source_tensor.reads += 1;
                    if !source_tensor.visited {
                        source_tensor.visited = true;
                        pending.push((source, 0));
                    }
                }
            } else if tensor.op == Op::Leaf {
                self.leaves.push(current);
            } else {
                self.nodes.push(current);
            }
        }
        self.pending = pending;
    }

    // Leaves.

    pub(super) fn input(&mut self, label: &'static str, ty: GgmlType, ne: [u64; 4]) -> TensorId {
        self.push(Tensor { role: Role::Input, label, ..Tensor::new(Op::Leaf, ty, ne, &[]) })
    }

    pub(super) fn weight(&mut self, label: &'static str, ne: [u64; 4], home: BackendIndex) -> TensorId {
        self.push(Tensor { role: Role::Weight, label, home, ..Tensor::new(Op::Leaf, GgmlType::F32, ne, &[]) })
    }

    pub(super) fn cache(&mut self, label: &'static str, ty: GgmlType, ne: [u64; 4], home: BackendIndex) -> TensorId {
        self.push(Tensor { role: Role::Cache, label, home, ..Tensor::new(Op::Leaf, ty, ne, &[]) })
    }

    // Views.

    fn view_of(&mut self, op: Op, a: TensorId, ne: [u64; 4], nb: [u64; 4], offset: u64) -> TensorId {
        let (ty, start) = (self.at(a).ty, self.at(a).view_offset);
        let root = self.root(a);
        let tensor = Tensor::with_strides(op, ty, ne, nb, &[a]);
        self.push(Tensor { view_root: root, view_offset: start.saturating_add(offset), ..tensor })
    }

    pub(super) fn view_4d(&mut self, a: TensorId, ne: [u64; 4], [nb1, nb2, nb3]: [u64; 3], offset: u64) -> TensorId {
        let element = self.at(a).ty.block_bytes();
        self.view_of(Op::View, a, ne, [element, nb1, nb2, nb3], offset)
    }

    pub(super) fn view_3d(&mut self, a: TensorId, ne: [u64; 3], [nb1, nb2]: [u64; 2], offset: u64) -> TensorId {
        self.view_4d(a, [ne[0], ne[1], ne[2], 1], [nb1, nb2, nb2.saturating_mul(ne[2])], offset)
    }

    pub(super) fn view_2d(&mut self, a: TensorId, ne: [u64; 2], nb1: u64, offset: u64) -> TensorId {
        self.view_3d(a, [ne[0], ne[1], 1], [nb1, nb1.saturating_mul(ne[1])], offset)
    }

    pub(super) fn view_1d(&mut self, a: TensorId, n: u64, offset: u64) -> TensorId {
        let row = self.at(a).ty.block_bytes().saturating_mul(n);
        self.view_2d(a, [n, 1], row, offset)
    }

    pub(super) fn reshape(&mut self, a: TensorId, ne: [u64; 4]) -> TensorId {
        let nb = super::tensor::contiguous_strides(self.at(a).ty, ne);
        self.view_of(Op::Reshape, a, ne, nb, 0)
    }

    pub(super) fn reshape_2d(&mut self, a: TensorId, n0: u64, n1: u64) -> TensorId {
        self.reshape(a, [n0, n1, 1, 1])
    }

    pub(super) fn reshape_3d(&mut self, a: TensorId, n0: u64, n1: u64, n2: u64) -> TensorId {
        self.reshape(a, [n0, n1, n2, 1])
    }

    /// Dimension `i` becomes dimension `axes[i]`.
    pub(super) fn permute(&mut self, a: TensorId, axes: [usize; 4]) -> TensorId {
        let (ne, nb) = (self.ne(a), self.nb(a));
        let (mut new_ne, mut new_nb) = ([1; 4], [0; 4]);
        for (dim, &axis) in axes.iter().enumerate() {
            new_ne[axis] = ne[dim];
            new_nb[axis] = nb[dim];
        }
        self.view_of(Op::Permute, a, new_ne, new_nb, 0)
    }

    pub(super) fn transpose(&mut self, a: TensorId) -> TensorId {
        let ([n0, n1, n2, n3], [b0, b1, b2, b3]) = (self.ne(a), self.nb(a));
        self.view_of(Op::Transpose, a, [n1, n0, n2, n3], [b1, b0, b2, b3], 0)
    }

    // Results of the shape of their first source.

    /// One source.
    pub(super) fn map(&mut self, op: Op, a: TensorId) -> TensorId {
        let (ty, ne) = (self.at(a).ty, self.ne(a));
        self.push(Tensor::new(op, ty, ne, &[a]))
    }

    fn zip(&mut self, op: Op, a: TensorId, b: TensorId) -> TensorId {
        let (ty, ne) = (self.at(a).ty, self.ne(a));
        self.push(Tensor::new(op, ty, ne, &[a, b]))
    }

    pub(super) fn add(&mut self, a: TensorId, b: TensorId) -> TensorId {
        self.zip(Op::Add, a, b)
    }

    pub(super) fn sub(&mut self, a: TensorId, b: TensorId) -> TensorId {
        self.zip(Op::Sub, a, b)
    }

    pub(super) fn mul(&mut self, a: TensorId, b: TensorId) -> TensorId {
        self.zip(Op::Mul, a, b)
    }

    pub(super) fn div(&mut self, a: TensorId, b: TensorId) -> TensorId {
        self.zip(Op::Div, a, b)
    }

    pub(super) fn add_id(&mut self, a: TensorId, b: TensorId, ids: TensorId) -> TensorId {
        let ne = self.ne(a);
        self.push(Tensor::new(Op::AddId, GgmlType::F32, ne, &[a, b, ids]))
    }

    pub(super) fn scale(&mut self, a: TensorId) -> TensorId {
        self.map(Op::Scale, a)
    }

    /// Scales in place, as a view (`ggml_scale_inplace`).
    pub(super) fn scale_in_place(&mut self, a: TensorId) -> TensorId {
        let (ty, ne, nb, offset) = (self.at(a).ty, self.ne(a), self.nb(a), self.at(a).view_offset);
        let root = self.root(a);
        let tensor = Tensor::with_strides(Op::Scale, ty, ne, nb, &[a]);
        self.push(Tensor { view_root: root, view_offset: offset, ..tensor })
    }

    pub(super) fn unary(&mut self, a: TensorId) -> TensorId {
        self.map(Op::Unary, a)
    }

    pub(super) fn sigmoid(&mut self, a: TensorId) -> TensorId {
        self.map(Op::Sigmoid, a)
    }

    pub(super) fn soft_max(&mut self, a: TensorId, mask: TensorId, sinks: TensorId) -> TensorId {
        let ne = self.ne(a);
        self.push(Tensor::new(Op::SoftMax, GgmlType::F32, ne, &[a, mask, sinks]))
    }

    pub(super) fn rope(&mut self, a: TensorId, positions: TensorId, factors: TensorId) -> TensorId {
        let (ty, ne) = (self.at(a).ty, self.ne(a));
        self.push(Tensor::new(Op::Rope, ty, ne, &[a, positions, factors]))
    }

    // Results of other shapes.

    pub(super) fn mul_mat(&mut self, a: TensorId, b: TensorId) -> TensorId {
        let (ne_a, ne_b) = (self.ne(a), self.ne(b));
        self.push(Tensor::new(Op::MulMat, GgmlType::F32, [ne_a[1], ne_b[1], ne_b[2], ne_b[3]], &[a, b]))
    }

    pub(super) fn mul_mat_id(&mut self, a: TensorId, b: TensorId, ids: TensorId) -> TensorId {
        let ne = [self.ne(a)[1], self.ne(ids)[0], self.ne(b)[2], 1];
        self.push(Tensor::new(Op::MulMatId, GgmlType::F32, ne, &[a, b, ids]))
    }

    pub(super) fn get_rows(&mut self, a: TensorId, ids: TensorId) -> TensorId {
        let ty = if self.at(a).ty == GgmlType::I32 { GgmlType::I32 } else { GgmlType::F32 };
        let (ne, ids_ne) = (self.ne(a), self.ne(ids));
        self.push(Tensor::new(Op::GetRows, ty, [ne[0], ids_ne[0], ids_ne[1], ids_ne[2]], &[a, ids]))
    }

    /// Writes the rows of `b` into `a`; the result is a view of `a`.
    pub(super) fn set_rows(&mut self, a: TensorId, b: TensorId, ids: TensorId) -> TensorId {
        let (ty, ne, nb) = (self.at(a).ty, self.ne(a), self.nb(a));
        let root = self.root(a);
        let tensor = Tensor::with_strides(Op::SetRows, ty, ne, nb, &[b, ids, a]);
        self.push(Tensor { view_root: root, ..tensor })
    }

    /// Copies `a` into `b`; the result is a view of `b`.
    pub(super) fn copy_into(&mut self, a: TensorId, b: TensorId) -> TensorId {
        let (ty, ne, nb) = (self.at(b).ty, self.ne(b), self.nb(b));
        let root = self.root(b);
        let tensor = Tensor::with_strides(Op::Copy, ty, ne, nb, &[a, b]);
        self.push(Tensor { view_root: root, ..tensor })
    }

    /// Converts to another type (`ggml_cast`, which names itself as its second source).
    pub(super) fn cast(&mut self, a: TensorId, ty: GgmlType) -> TensorId {
        let ne = self.ne(a);
        let id = self.push(Tensor::new(Op::Copy, ty, ne, &[a]));
        if id.is_some() {
            self.at_mut(id).set_source(1, id);
        }
        id
    }

    pub(super) fn cont(&mut self, a: TensorId) -> TensorId {
        self.map(Op::Cont, a)
    }

    pub(super) fn cont_as(&mut self, a: TensorId, ne: [u64; 4]) -> TensorId {
        let ty = self.at(a).ty;
        self.push(Tensor::new(Op::Cont, ty, ne, &[a]))
    }

    pub(super) fn concat(&mut self, a: TensorId, b: TensorId, dim: usize) -> TensorId {
        let (ty, mut ne) = (self.at(a).ty, self.ne(a));
        ne[dim] = ne[dim].saturating_add(self.ne(b)[dim]);
        self.push(Tensor::new(Op::Concat, ty, ne, &[a, b]))
    }

    pub(super) fn repeat(&mut self, a: TensorId, ne: [u64; 4]) -> TensorId {
        let ty = self.at(a).ty;
        self.push(Tensor::new(Op::Repeat, ty, ne, &[a]))
    }

    /// Pads the first dimension to `n0`.
    pub(super) fn pad_rows(&mut self, a: TensorId, n0: u64) -> TensorId {
        let (ty, [_, n1, n2, n3]) = (self.at(a).ty, self.ne(a));
        self.push(Tensor::new(Op::Pad, ty, [n0, n1, n2, n3], &[a]))
    }

    /// A gated activation of two tensors.
    pub(super) fn glu(&mut self, gate: TensorId, up: TensorId) -> TensorId {
        self.zip(Op::Glu, gate, up)
    }

    /// A gated activation of the two halves of a row.
    pub(super) fn glu_of_halves(&mut self, a: TensorId) -> TensorId {
        let (ty, [n0, n1, n2, n3]) = (self.at(a).ty, self.ne(a));
        self.push(Tensor::new(Op::Glu, ty, [n0 / 2, n1, n2, n3], &[a]))
    }

    /// One number for each row.
    pub(super) fn reduce(&mut self, op: Op, a: TensorId) -> TensorId {
        let [_, n1, n2, n3] = self.ne(a);
        self.push(Tensor::new(op, GgmlType::F32, [1, n1, n2, n3], &[a]))
    }

    pub(super) fn sum_rows(&mut self, a: TensorId) -> TensorId {
        self.reduce(Op::SumRows, a)
    }

    /// The indices of the `k` largest of each row, by sorting them all (`ggml_argsort_top_k`).
    pub(super) fn argsort_top_k(&mut self, a: TensorId, k: u64) -> TensorId {
        let ne = self.ne(a);
        let sorted = self.push(Tensor::new(Op::Argsort, GgmlType::I32, ne, &[a]));
        let nb = self.nb(sorted);
        self.view_4d(sorted, [k, ne[1], ne[2], ne[3]], [nb[1], nb[2], nb[3]], 0)
    }

    /// Any other operation.
    pub(super) fn op(&mut self, op: Op, ty: GgmlType, ne: [u64; 4], sources: &[TensorId]) -> TensorId {
        self.push(Tensor::new(op, ty, ne, sources))
    }
}
