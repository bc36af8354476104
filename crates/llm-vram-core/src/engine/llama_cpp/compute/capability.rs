//! What a CUDA device runs, as far as the op lists can ask for something it does not.
//!
//! Source: `ggml/src/ggml-cuda/ggml-cuda.cu` (`ggml_backend_cuda_device_supports_op`) and
//! `ggml/src/ggml-cuda/fattn.cu` (`ggml_cuda_get_best_fattn_kernel`), ggml 0.26.0, for cards with tensor cores
//! of the Ada generation.

use super::{
    graph::Graph,
    tensor::{BackendIndex, Op, Tensor, TensorId, UNPLACED},
};
use crate::quant::GgmlType;

/// Whether `backend` can compute the tensor; the host (`host`) computes everything.
pub(super) fn runs_on(graph: &Graph, id: TensorId, backend: BackendIndex, host: BackendIndex) -> bool {
    if backend == host {
        return true;
    }
    let tensor = graph.at(id);
    let is_elsewhere = |home: BackendIndex| home != UNPLACED && home != host && home != backend;
    if tensor.sources().any(|source| is_elsewhere(graph.at(source).home)) {
        return false;
    }
    let first = graph.at(tensor.source(0));
    match tensor.op {
        Op::FlashAttention => runs_flash_attention(graph, tensor),
        Op::Unary | Op::Sigmoid => first.is_contiguous(),
        Op::Glu => first.is_contiguous_beyond(1),
        Op::MulMat | Op::MulMatId => first.has_packed_elements() && graph.at(tensor.source(1)).has_packed_elements(),
        Op::RmsNorm | Op::Norm | Op::SumRows | Op::Mean => first.has_contiguous_rows(),
        Op::Rope => first.has_packed_elements() && first.is_contiguous_beyond(2),
        Op::SsmConv => first.ne[1].is_multiple_of(128),
        Op::SsmScan => {
            if graph.at(tensor.source(3)).ne[0] == 1 {
                matches!(first.ne[0], 96 | 128 | 256) && first.ne[1].is_multiple_of(16)
            } else {
                first.ne[0] == 16 && first.ne[1] == 1 && first.ne[2].is_multiple_of(128) && graph.at(tensor.source(4)).ne[1] == 1
            }
        }
        Op::LightningIndexer => {
            first.ne[0] == 128 && matches!(first.ne[1], 64 | 32 | 4) && is_cache_type(graph.at(tensor.source(1)).ty)
        }
        _ => true,
    }
}

/// Types of keys and values that the kernels are built for (without `GGML_CUDA_FA_ALL_QUANTS` the mixed ones
/// are converted first).
const fn is_cache_type(ty: GgmlType) -> bool {
    use GgmlType as T;
    matches!(ty, T::F32 | T::F16 | T::BF16 | T::Q4_0 | T::Q4_1 | T::Q5_0 | T::Q5_1 | T::Q8_0)
}

/// Whether a kernel exists for a flash-attention operation.
pub(super) fn runs_flash_attention(graph: &Graph, tensor: &Tensor) -> bool {
    let [queries, keys, values] = [0, 1, 2].map(|slot| graph.at(tensor.source(slot)));
    let mask = tensor.source(3);
    let group = queries.ne[2].checked_div(keys.ne[2]).unwrap_or(0);
    let is_aligned = [queries, keys, values]
        .into_iter()
        .chain(mask.is_some().then(|| graph.at(mask)))
        .all(|tensor| tensor.ty.is_quantised() || tensor.nb[1..].iter().all(|stride| stride % 16 == 0));
    let shares_keys = group >= 2 && mask.is_some() && keys.ne[1] % 256 == 0 && is_aligned;
    let (key, value) = (keys.ne[0], values.ne[0]);
    let has_kernel = match key {
        40 | 64 | 72 | 80 | 96 | 112 | 128 | 256 => key == value,
        192 => value == 128 && shares_keys && group % 8 == 0,
        320 => value == 256 && shares_keys && group % 32 == 0,
        512 => value == key && shares_keys,
        576 => value == 512 && shares_keys,
        _ => false,
    };
    has_kernel && is_cache_type(keys.ty) && is_cache_type(values.ty)
}
