//! What driver and libraries take on a device beside llama.cpp's own buffers.
//!
//! None of this is in the engine's own figures: it is what remains of a device's use when weights, caches and
//! buffers are subtracted. The ranges hold published readings; nothing here is exact.

use alloc::{vec, vec::Vec};

use crate::{
    derivation::Certainty,
    engine::{Amount, NamedAmount},
    hardware::{Backend, Device},
    units::Bytes,
};

/// Cards from this nameplate on have the large chips whose CUDA contexts are large too.
const LARGE_CARD_BYTES: Bytes = Bytes::mib(80 << 10);
/// Hopper, where cuBLAS takes a larger workspace.
const HOPPER: u32 = 90;

/// The named terms for one device; empty for a processor and for the ideal device.
#[must_use]
pub fn of(device: &Device) -> Vec<NamedAmount> {
    match device.backend {
        Backend::Cuda => cuda(device),
        Backend::Hip => vec![
            modelled(
                "HIP runtime",
                [250, 400, 550],
                "0.4 GiB left on an RX 7900 XTX by two different models: https://github.com/Quartermaster-Labs/Quartermaster/pull/24",
            ),
            modelled("kernel pool", [10, 64, 300], POOL),
        ],
        Backend::Vulkan => vec![assumed(
            "Vulkan pipelines and staging",
            [30, 100, 300],
            "no published reading; ggml-vulkan.cpp keeps staging buffers and compiled pipelines",
        )],
        Backend::Sycl => vec![assumed(
            "Level Zero context",
            [50, 200, 500],
            "no published reading of the context alone; ggml-sycl.cpp keeps pools like CUDA's",
        )],
        Backend::Metal => vec![assumed(
            "Metal heaps and pipelines",
            [10, 50, 150],
            "no published reading; command buffers, residency sets and compiled kernels",
        )],
        Backend::Cpu | Backend::Ideal => Vec::new(),
    }
}

const POOL: &str = "ggml-cuda.cu, common.cuh: pools grow as kernels need them; unaccounted memory in public logs grows by \
                    80 to 250 MiB after a load, cuBLAS and graphs included";

fn cuda(device: &Device) -> Vec<NamedAmount> {
    let large = device.nameplate_bytes >= LARGE_CARD_BYTES;
    // 107 MiB on an RTX 4060 Ti and 555 on an RTX PRO 6000: the context grows with the multiprocessors.
    let context = if large { [450, 550, 650] } else { [105, 200, 330] };
    let workspace = if device.compute_capability.is_some_and(|capability| capability >= HOPPER) { 32 } else { 4 };
    vec![
        modelled("CUDA context", context, "https://github.com/ggml-org/llama.cpp/pull/23604, unaccounted memory in public logs"),
        modelled(
            "cuBLAS workspace",
            [0, workspace, workspace],
            "ggml-cuda/common.cuh (cublas_handle): 4 MiB, 32 MiB from compute capability 9.0; taken at first use",
        ),
        modelled("kernel pool", [40, 90, 250], POOL),
    ]
}

fn modelled(name: &'static str, [low, expected, high]: [u64; 3], source: &'static str) -> NamedAmount {
    NamedAmount { name, amount: Amount::range(Bytes::mib(low), Bytes::mib(expected), Bytes::mib(high)), source }
}

fn assumed(name: &'static str, range: [u64; 3], source: &'static str) -> NamedAmount {
    let mut term = modelled(name, range, source);
    term.amount.certainty = Certainty::Assumed;
    term
}
