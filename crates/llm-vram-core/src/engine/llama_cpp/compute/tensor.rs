//! A tensor as the planner sees it: operation, type, shape, strides, sources.
//!
//! Sizes and contiguity follow `ggml/src/ggml.c` (`ggml_nbytes`, `ggml_is_contiguous_n`), ggml 0.26.0.

use crate::quant::GgmlType;

/// A tensor of a [`Graph`](super::graph::Graph); [`TensorId::NONE`] where an operation leaves a source out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TensorId(pub(super) u32);

impl TensorId {
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }

    pub(super) const fn is_some(self) -> bool {
        self.0 != 0
    }

    pub(super) const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// What computes a tensor.
///
/// Only what placement, fusion and allocation tell apart has a name of its own: element-wise functions are
/// [`Op::Unary`] whatever they compute, apart from the sigmoid, which routers are recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// An input, a weight, a cache, or a copy made at the border of two devices.
    Leaf,
    View,
    Reshape,
    Permute,
    Transpose,
    Add,
    AddId,
    Sub,
    Mul,
    Div,
    Scale,
    Sqr,
    Sqrt,
    Unary,
    Sigmoid,
    Clamp,
    Fill,
    RmsNorm,
    Norm,
    SoftMax,
    Rope,
    MulMat,
    MulMatId,
    GetRows,
    SetRows,
    Copy,
    Cont,
    Dup,
    Concat,
    Repeat,
    Pad,
    Glu,
    SumRows,
    Mean,
    Argsort,
    TopK,
    FlashAttention,
    SsmConv,
    SsmScan,
    GatedDeltaNet,
    L2Norm,
    RwkvWkv7,
    LightningIndexer,
}

impl Op {
    /// Whether the result only looks at another tensor's memory.
    pub(super) const fn is_view(self) -> bool {
        matches!(self, Self::View | Self::Reshape | Self::Permute | Self::Transpose)
    }

    /// Whether the result may take over the memory of a source (`ggml-alloc.c`, `ggml_op_can_inplace`).
    pub(super) const fn can_run_in_place(self) -> bool {
        matches!(
            self,
            Self::Add
                | Self::AddId
                | Self::Sub
                | Self::Mul
                | Self::Div
                | Self::Scale
                | Self::Sqr
                | Self::Sqrt
                | Self::Unary
                | Self::Sigmoid
                | Self::Clamp
                | Self::Fill
                | Self::RmsNorm
                | Self::SoftMax
                | Self::Rope
        )
    }

    /// ggml's name of the operation.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Leaf => "NONE",
            Self::View => "VIEW",
            Self::Reshape => "RESHAPE",
            Self::Permute => "PERMUTE",
            Self::Transpose => "TRANSPOSE",
            Self::Add => "ADD",
            Self::AddId => "ADD_ID",
            Self::Sub => "SUB",
            Self::Mul => "MUL",
            Self::Div => "DIV",
            Self::Scale => "SCALE",
            Self::Sqr => "SQR",
            Self::Sqrt => "SQRT",
            Self::Unary => "UNARY",
            Self::Sigmoid => "SIGMOID",
            Self::Clamp => "CLAMP",
            Self::Fill => "FILL",
            Self::RmsNorm => "RMS_NORM",
            Self::Norm => "NORM",
            Self::SoftMax => "SOFT_MAX",
            Self::Rope => "ROPE",
            Self::MulMat => "MUL_MAT",
            Self::MulMatId => "MUL_MAT_ID",
            Self::GetRows => "GET_ROWS",
            Self::SetRows => "SET_ROWS",
            Self::Copy => "CPY",
            Self::Cont => "CONT",
            Self::Dup => "DUP",
            Self::Concat => "CONCAT",
            Self::Repeat => "REPEAT",
            Self::Pad => "PAD",
            Self::Glu => "GLU",
            Self::SumRows => "SUM_ROWS",
            Self::Mean => "MEAN",
            Self::Argsort => "ARGSORT",
            Self::TopK => "TOP_K",
            Self::FlashAttention => "FLASH_ATTN_EXT",
            Self::SsmConv => "SSM_CONV",
            Self::SsmScan => "SSM_SCAN",
            Self::GatedDeltaNet => "GATED_DELTA_NET",
            Self::L2Norm => "L2_NORM",
            Self::RwkvWkv7 => "RWKV_WKV7",
            Self::LightningIndexer => "LIGHTNING_INDEXER",
        }
    }
}

/// What a leaf is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Computed, or a leaf that the planner allocates.
    Computed,
    /// Filled in before the graph runs.
    Input,
    /// Part of the model, in a buffer of its own.
    Weight,
    /// A cache or recurrent state, in a buffer of its own.
    Cache,
}

/// A device (0 up) or, as the last one, the host.
pub(super) type BackendIndex = u8;

/// No backend: not placed yet, or (as home) without a buffer of its own.
pub(super) const UNPLACED: BackendIndex = u8::MAX;

/// Most sources an operation has (`GGML_MAX_SRC` is 10; none of the planned ones reads more than these).
pub(super) const MAX_SOURCES: usize = 7;

/// One tensor of a graph.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tensor {
    /// Elements in each dimension, the row first.
    pub(super) ne: [u64; 4],
    /// Bytes between neighbours in each dimension.
    pub(super) nb: [u64; 4],
    /// What it looks into, if it is a view.
    pub(super) view_root: TensorId,
    /// Where in the root it starts, in bytes.
    pub(super) view_offset: u64,
    pub(super) sources: [TensorId; MAX_SOURCES],
    pub(super) source_count: u8,
    pub(super) op: Op,
    pub(super) ty: GgmlType,
    pub(super) role: Role,
    /// Never released once allocated.
    pub(super) is_output: bool,
    /// The device whose weight or cache buffer it lives in.
    pub(super) home: BackendIndex,
    /// Where it is computed.
    pub(super) backend: BackendIndex,
    pub(super) visited: bool,
    /// The block that it was built for.
    pub(super) block: u16,
    /// How often nodes of the graph read it.
    pub(super) reads: u32,
    /// A weight's stem, an input's name, or empty.
    pub(super) label: &'static str,
}

impl Tensor {
    /// A contiguous tensor.
    pub(super) fn new(op: Op, ty: GgmlType, ne: [u64; 4], sources: &[TensorId]) -> Self {
        Self::with_strides(op, ty, ne, contiguous_strides(ty, ne), sources)
    }

    pub(super) fn with_strides(op: Op, ty: GgmlType, ne: [u64; 4], nb: [u64; 4], sources: &[TensorId]) -> Self {
        let mut held = [TensorId::NONE; MAX_SOURCES];
        for (slot, source) in held.iter_mut().zip(sources) {
            *slot = *source;
        }
        Self {
            ne,
            nb,
            view_root: TensorId::NONE,
            view_offset: 0,
            sources: held,
            source_count: sources.len().min(MAX_SOURCES) as u8,
            op,
            ty,
            role: Role::Computed,
            is_output: false,
            home: UNPLACED,
            backend: UNPLACED,
            visited: false,
            block: 0,
            reads: 0,
            label: "",
        }
    }

    /// The sources in order, [`TensorId::NONE`] where one is left out.
    pub(super) fn slots(&self) -> &[TensorId] {
        &self.sources[..usize::from(self.source_count)]
    }

    /// The sources that are there.
    pub(super) fn sources(&self) -> impl Iterator<Item = TensorId> + '_ {
        self.slots().iter().copied().filter(|source| source.is_some())
    }

    /// Source `slot`, or [`TensorId::NONE`].
    pub(super) fn source(&self, slot: usize) -> TensorId {
        self.sources.get(slot).copied().unwrap_or(TensorId::NONE)
    }

    pub(super) fn set_source(&mut self, slot: usize, source: TensorId) {
        if let Some(held) = self.sources.get_mut(slot) {
            *held = source;
            self.source_count = self.source_count.max(slot as u8 + 1);
        }
    }

    pub(super) const fn is_input(&self) -> bool {
        matches!(self.role, Role::Input)
    }

    pub(super) const fn is_weight(&self) -> bool {
        matches!(self.role, Role::Weight)
    }

    /// Whether it looks into another tensor.
    pub(super) const fn is_view(&self) -> bool {
        self.view_root.is_some()
    }

    pub(super) fn elements(&self) -> u64 {
        self.ne.iter().fold(1, |product, &n| product.saturating_mul(n))
    }

    /// The bytes from its first to its last element, gaps included; saturating.
    pub(super) fn bytes(&self) -> u64 {
        if self.ne.contains(&0) {
            return 0;
        }
        let block = self.ty.block_len();
        let row = if block == 1 {
            (self.ne[0] - 1).saturating_mul(self.nb[0]).saturating_add(self.ty.block_bytes())
        } else {
            self.ne[0].saturating_mul(self.nb[0]) / block
        };
        (1..4).fold(row, |sum, dim| sum.saturating_add((self.ne[dim] - 1).saturating_mul(self.nb[dim])))
    }

    /// Whether elements follow each other without gaps, apart from the dimensions 1 to `dims`.
    pub(super) fn is_contiguous_beyond(&self, dims: usize) -> bool {
        let block = self.ty.block_len();
        let mut next = self.ty.block_bytes();
        if self.ne[0] != block && self.nb[0] != next {
            return false;
        }
        next = next.saturating_mul(self.ne[0] / block);
        for dim in 1..4 {
            if dim > dims {
                if self.ne[dim] != 1 && self.nb[dim] != next {
                    return false;
                }
                next = next.saturating_mul(self.ne[dim]);
            } else {
                next = self.ne[dim].saturating_mul(self.nb[dim]);
            }
        }
        true
    }

    pub(super) fn is_contiguous(&self) -> bool {
        self.is_contiguous_beyond(0)
    }

    pub(super) fn has_contiguous_rows(&self) -> bool {
        self.ne[0] == self.ty.block_len() || self.nb[0] == self.ty.block_bytes()
    }

    pub(super) const fn has_packed_elements(&self) -> bool {
        self.nb[0] == self.ty.block_bytes()
    }
}

/// Strides of a tensor without gaps; saturating.
pub(super) fn contiguous_strides(ty: GgmlType, ne: [u64; 4]) -> [u64; 4] {
    let row = row_bytes(ty, ne[0]);
    let plane = row.saturating_mul(ne[1]);
    [ty.block_bytes(), row, plane, plane.saturating_mul(ne[2])]
}

/// Bytes of a row whose last block may be incomplete (it is then not counted); saturating.
pub(super) fn row_bytes(ty: GgmlType, elements: u64) -> u64 {
    ty.block_bytes().saturating_mul(elements / ty.block_len())
}
