//! `mem_fraction_static`: the share of memory that weights and pools may take.
//!
//! Source: SGLang 0.5.23, `srt/server_args.py` (`_handle_gpu_memory_settings`,
//! `_generate_cuda_graph_batch_sizes`, `_generate_piecewise_cuda_graph_tokens`); its code was run for 48 settings.

/// Defaults by a device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryClass {
    /// `chunked_prefill_size`, in tokens.
    pub chunked_prefill_size: u64,
    /// `cuda_graph_max_bs`, in sequences.
    pub cuda_graph_max_bs: u64,
}

/// The defaults for a device of `memory_mib`.
#[must_use]
pub const fn memory_class(memory_mib: u64, tensor_parallel: u64) -> MemoryClass {
    const GIB: u64 = 1024;
    let (chunked_prefill_size, few, many) = match memory_mib {
        0..20_480 => (2048, 8, 8),
        mib if mib < 35 * GIB => (4096, 48, 160),
        mib if mib < 60 * GIB => (4096, 32, 160),
        mib if mib < 160 * GIB => (8192, 256, 512),
        _ => (16_384, 512, 512),
    };
    MemoryClass { chunked_prefill_size, cuda_graph_max_bs: if tensor_parallel >= 4 { many } else { few } }
}

/// Largest prefill captured as a graph in models with latent attention.
const LATENT_PREFILL_GRAPHS: u64 = 8192;

/// How many decode batch sizes are captured.
#[must_use]
pub fn decode_graphs(largest: u64) -> u64 {
    steps(largest, &[(1, 2, 1), (4, 12, 4), (16, 256, 8), (272, 496, 16), (512, u64::MAX, 32)])
}

/// How many prefill lengths are captured.
#[must_use]
pub fn prefill_graphs(chunked_prefill_size: u64, latent: bool) -> u64 {
    let largest = if latent { chunked_prefill_size.min(LATENT_PREFILL_GRAPHS) } else { chunked_prefill_size };
    let ranges = [(4, 32, 4), (48, 256, 16), (288, 512, 32), (576, 1024, 64), (1280, 4096, 256), (4608, u64::MAX, 512)];
    steps(largest, &ranges)
}

/// Values up to `largest` in ranges of first, last and step.
fn steps(largest: u64, ranges: &[(u64, u64, u64)]) -> u64 {
    ranges.iter().filter(|(first, ..)| *first <= largest).map(|(first, last, step)| (largest.min(*last) - first) / step + 1).sum()
}

/// What the default fraction depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserved {
    /// The device's memory, in MiB.
    pub memory_mib: u64,
    /// Devices: tensor-parallel size × pipeline-parallel size.
    pub devices: u64,
    /// Whether the model has latent attention.
    pub latent: bool,
    /// `chunked_prefill_size`.
    pub chunked_prefill_size: u64,
    /// `cuda_graph_max_bs`.
    pub cuda_graph_max_bs: u64,
}

impl Reserved {
    /// MiB that decode graphs are expected to take: 2 each sequence of the largest batch.
    #[must_use]
    pub const fn decode_graphs_mib(&self) -> u64 {
        2 * self.cuda_graph_max_bs
    }

    /// MiB that prefill graphs are expected to take.
    #[must_use]
    pub fn prefill_graphs_mib(&self) -> u64 {
        if self.latent { 1536 } else { 8 * prefill_graphs(self.chunked_prefill_size, false) }
    }

    /// Eighths of a MiB left for activations, graphs and communication.
    fn eighths(&self) -> u64 {
        let fixed = 512 * 8 + 12 * self.chunked_prefill_size.max(2048) + self.devices * 1024;
        let reserved = fixed + 8 * (self.decode_graphs_mib() + self.prefill_graphs_mib());
        if self.memory_mib > 60 * 1024 { reserved.max(10 * 1024 * 8) } else { reserved }
    }

    /// The default `mem_fraction_static`, to three decimals; `images` models keep some for their towers.
    #[must_use]
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn mem_fraction_static(&self, images: bool) -> f64 {
        let total = (self.memory_mib * 8).max(1) as f64;
        let fraction = (total - self.eighths() as f64) / total;
        // Images: ×0.95, for a tower of CLIP-large's size; larger towers get down to 0.8 of that.
        let fraction = if images { fraction * 0.95 } else { fraction };
        ((fraction.max(0.0) * 1000.0 + 0.5) as u64) as f64 / 1000.0
    }
}
