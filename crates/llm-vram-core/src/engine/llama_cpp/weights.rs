//! Which tensor lies in which buffer, and how large each weight buffer is.
//!
//! Source: `src/llama-model-loader.cpp` (`create_tensor`, `select_weight_buft`), `src/llama-arch.cpp`
//! (`LLM_TENSOR_INFOS`), `src/llama-model.cpp` (`make_cpu_buft_list`, `make_gpu_buft_list`), `ggml/src/ggml-cpu/repack.cpp`,
//! llama-cpp-sys-2 0.1.161.

use super::{
    buffer::{BufferRule, Machine, Place, Places},
    placement::Placement,
    window::Windows,
};
use crate::{
    error::Result,
    hardware::Backend,
    model::{Group, Hyperparameters, Model, Tensor},
    quant::GgmlType,
    units::Bytes,
};

/// Tables larger than this are read from the file as rows are needed, where the architecture allows it
/// (`lazy_read::add`).
const LAZY_BYTES: u64 = 4 << 30;
/// Super-blocks of the k- and i-quants.
const SUPER_BLOCK: u64 = 256;
/// Rows that the processor's repacked kernels take together (x86 with AVX2).
const REPACKED_ROWS: u64 = 8;

/// Architectures that ask for the tied output head before the table itself, and so never share one buffer
/// (`models/gemma3n.cpp`, `models/gemma4.cpp`).
const ALWAYS_COPIED: [&str; 2] = ["gemma3n", "gemma4"];

/// How one tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredAs {
    /// Its type.
    pub ty: GgmlType,
    /// Its bytes, without padding.
    pub bytes: Bytes,
}

/// The weight buffers of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    /// Every loaded tensor once, without padding.
    pub total: Bytes,
    /// Bytes by place, padding and second copies included.
    pub places: Places,
    /// Of the host's bytes: in plain memory (`CPU`).
    pub host_plain: Bytes,
    /// Of the host's bytes: rearranged for the processor's kernels (`CPU_REPACK`).
    pub host_repacked: Bytes,
    /// Of the host's bytes: pinned for a device (`CUDA_Host`).
    pub host_pinned: Bytes,
    /// Tensors of multi-token-prediction layers, which are not loaded.
    pub skipped_mtp: Bytes,
    /// Tensors of vision and audio towers, which come in a file of their own.
    pub skipped_tower: Bytes,
}

/// What a tensor is used for, which decides where it may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Rows are looked up.
    Lookup,
    /// Multiplied by activations.
    Multiply,
    /// Multiplied, one slice per expert.
    MultiplyExperts,
    /// Anything else: added, scaled, rotated.
    Other,
}

/// The kinds of host memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostBuffer {
    Plain,
    Repacked,
    Pinned,
}

/// Lays out the weight buffers.
///
/// `stored` gives type and bytes of each tensor, by its index in [`Model::tensors`].
///
/// # Errors
/// Those of `stored`, and [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) above 2^53 - 1 bytes.
pub fn allocate(
    model: &Model,
    placement: &Placement,
    n_cpu_moe: u64,
    machine: Machine<'_>,
    mut stored: impl FnMut(usize, &Tensor) -> Result<StoredAs>,
) -> Result<Weights> {
    let hp = model.hyperparameters();
    let loader = Loader { hp, placement, machine, windows: Windows::of(hp), n_cpu_moe };
    let tied = !model.tensors().iter().any(|tensor| tensor.block.is_none() && tensor.stem == "output.weight");
    let mut sum = Sum::new(placement.device_count());
    for (index, tensor) in model.tensors().iter().enumerate() {
        let stored = stored(index, tensor)?;
        match tensor.group {
            Group::Mtp => sum.skipped_mtp += u128::from(stored.bytes.get()),
            Group::Tower => sum.skipped_tower += u128::from(stored.bytes.get()),
            Group::Text => {
                sum.total += u128::from(stored.bytes.get());
                loader.load(tensor, stored, tied, &mut sum)?;
            }
        }
    }
    sum.finish()
}

/// Everything that decides about one tensor.
struct Loader<'a> {
    hp: &'a Hyperparameters,
    placement: &'a Placement,
    machine: Machine<'a>,
    windows: Windows<'a>,
    n_cpu_moe: u64,
}

impl Loader<'_> {
    fn load(&self, tensor: &Tensor, stored: StoredAs, tied: bool, sum: &mut Sum) -> Result<()> {
        let usage = Use::of(tensor);
        match tensor.block {
            Some(layer) => {
                let on_host = u64::from(layer) < self.n_cpu_moe && is_expert_matrix(&tensor.stem);
                let place = if on_host { Place::Host } else { self.placement.layer(layer) };
                self.add(tensor, stored, usage, place, sum)
            }
            None if is_rope_table(&tensor.stem) => self.load_rope_table(tensor, stored, sum),
            None if is_output(&self.hp.architecture, &tensor.stem) => self.add(tensor, stored, usage, self.placement.output(), sum),
            None if usage == Use::Lookup => {
                self.add(tensor, stored, usage, Place::Host, sum)?;
                // A tied table serves as output head too. It is loaded a second time unless that lies in the same buffer.
                if !tied || tensor.stem != "token_embd.weight" {
                    return Ok(());
                }
                let output = self.placement.output();
                let same = output == Place::Host
                    && !ALWAYS_COPIED.contains(&self.hp.architecture.as_str())
                    && self.host_buffer(tensor, stored, Use::Lookup) == self.host_buffer(tensor, stored, Use::Multiply);
                if same { Ok(()) } else { self.add(tensor, stored, Use::Multiply, output, sum) }
            }
            // Norms and projections of the embedding count as the first layer's.
            None => self.add(tensor, stored, usage, self.placement.layer(0), sum),
        }
    }

    /// Rotary tables are loaded once in every place that has a layer which uses them.
    fn load_rope_table(&self, tensor: &Tensor, stored: StoredAs, sum: &mut Sum) -> Result<()> {
        let uses = |layer: &u32| self.hp.architecture != "gemma4" || !self.windows.covers(*layer);
        let mut last = None;
        for layer in (0..self.hp.main_block_count()).filter(uses) {
            let place = self.placement.layer(layer);
            // Layers lie in order: the host's first, then each device's.
            if last != Some(place) {
                self.add(tensor, stored, Use::Other, place, sum)?;
                last = Some(place);
            }
        }
        Ok(())
    }

    fn add(&self, tensor: &Tensor, stored: StoredAs, usage: Use, place: Place, sum: &mut Sum) -> Result<()> {
        if let Place::Device(index) = place
            && self.machine.backend(index).is_some_and(|backend| self.runs(backend, tensor, stored.ty, usage))
        {
            let bytes = self.machine.rule(place).tensor(stored.bytes.get().into(), stored.ty, tensor.shape[0])?;
            sum.places.add(place, bytes);
            return Ok(());
        }
        let bytes = BufferRule::HOST.tensor(stored.bytes.get().into(), stored.ty, tensor.shape[0])?;
        sum.places.add(Place::Host, bytes);
        match self.host_buffer(tensor, stored, usage) {
            HostBuffer::Plain => sum.plain += bytes,
            HostBuffer::Repacked => sum.repacked += bytes,
            HostBuffer::Pinned => sum.pinned += bytes,
        }
        Ok(())
    }

    /// The first of pinned, repacked and plain memory that takes the tensor.
    fn host_buffer(&self, tensor: &Tensor, stored: StoredAs, usage: Use) -> HostBuffer {
        let lazy = self.hp.architecture == "gemma4" && tensor.stem == "per_layer_token_embd.weight";
        if lazy && stored.bytes.get() > LAZY_BYTES {
            return HostBuffer::Plain;
        }
        if self.machine.pins_host_memory() {
            let pinning = self.machine.backend(0).unwrap_or(Backend::Cpu);
            if self.runs(pinning, tensor, stored.ty, usage) {
                return HostBuffer::Pinned;
            }
        }
        let repackable = match usage {
            Use::Multiply => tensor.dimensions() == 2,
            Use::MultiplyExperts => tensor.dimensions() == 3,
            Use::Lookup | Use::Other => false,
        };
        if repackable && is_repacked_type(stored.ty) && tensor.shape[1].is_multiple_of(REPACKED_ROWS) {
            return HostBuffer::Repacked;
        }
        HostBuffer::Plain
    }

    /// Whether a device runs the operation that the tensor is for (`ggml_backend_*_device_supports_op`).
    fn runs(&self, backend: Backend, tensor: &Tensor, ty: GgmlType, usage: Use) -> bool {
        let is_cuda = matches!(backend, Backend::Cuda | Backend::Hip);
        match usage {
            Use::Multiply | Use::MultiplyExperts => match ty {
                GgmlType::TQ1_0 => matches!(backend, Backend::Vulkan | Backend::Ideal),
                GgmlType::TQ2_0 => !is_cuda,
                GgmlType::NVFP4 => backend != Backend::Metal,
                _ => true,
            },
            Use::Lookup => match ty {
                // The kernel walks super-blocks.
                GgmlType::IQ4_NL | GgmlType::MXFP4 => !is_cuda || tensor.shape[0].is_multiple_of(SUPER_BLOCK),
                GgmlType::NVFP4 | GgmlType::TQ1_0 | GgmlType::TQ2_0 => !is_cuda,
                _ => true,
            },
            Use::Other => !is_cuda || self.runs_scan(tensor),
        }
    }

    /// CUDA's state-space kernels take certain sizes only; the tensors of others stay on the host.
    fn runs_scan(&self, tensor: &Tensor) -> bool {
        let hp = self.hp;
        match tensor.stem.as_ref() {
            "ssm_conv1d.weight" => tensor.shape[1].is_multiple_of(128),
            // Mamba 2 has one number per head, Mamba 1 a row of states per channel; others have no scan.
            "ssm_a" if tensor.shape[0] == 1 && tensor.shape[1] > 1 => {
                let heads = tensor.shape[1];
                matches!(hp.ssm_state_size, 96 | 128 | 256) && (u64::from(hp.ssm_inner_size) / heads).is_multiple_of(16)
            }
            "ssm_a" if tensor.shape[1] > 1 => tensor.shape[0] == 16 && tensor.shape[1].is_multiple_of(128),
            _ => true,
        }
    }
}

impl Use {
    fn of(tensor: &Tensor) -> Self {
        let stem = tensor.stem.as_ref();
        if stem.ends_with(".bias") || tensor.dimensions() == 1 {
            return Self::Other;
        }
        match stem {
            "token_embd.weight" | "per_layer_token_embd.weight" | "position_embd.weight" | "token_types.weight" => Self::Lookup,
            "ssm_conv1d.weight" | "ssm_a" => Self::Other,
            _ if is_expert_matrix(stem) => Self::MultiplyExperts,
            _ => Self::Multiply,
        }
    }
}

/// The tensors that `--n-cpu-moe` keeps on the host (`common/common.h`, `LLM_FFN_EXPS_REGEX`), biases included.
fn is_expert_matrix(stem: &str) -> bool {
    let Some((name, _)) = stem.split_once('.') else { return false };
    let Some(name) = name.strip_prefix("ffn_") else { return false };
    let Some(kind) = name.strip_suffix("_exps").or_else(|| name.strip_suffix("_chexps")) else { return false };
    matches!(kind, "up" | "down" | "gate" | "gate_up")
}

fn is_rope_table(stem: &str) -> bool {
    matches!(stem, "rope_freqs.weight" | "rope_factors_long.weight" | "rope_factors_short.weight")
}

/// Tensors of the output unit. LFM2 files call the norm of the output after the embedding.
fn is_output(architecture: &str, stem: &str) -> bool {
    let misnamed = architecture.starts_with("lfm2") && stem == "token_embd_norm.weight";
    misnamed || ["output", "cls", "altup_", "dense_", "hc_head"].iter().any(|prefix| stem.starts_with(prefix))
}

/// Types that a processor with AVX2 keeps rearranged (`ggml_repack_get_optimal_repack_type`). Processors with
/// Arm's dot-product instructions rearrange `q5_K`, `q6_K` and `q8_0` too; the bytes are the same.
const fn is_repacked_type(ty: GgmlType) -> bool {
    matches!(ty, GgmlType::Q4_0 | GgmlType::Q4_K | GgmlType::IQ4_NL | GgmlType::MXFP4)
}

struct Sum {
    total: u128,
    places: Places,
    plain: u128,
    repacked: u128,
    pinned: u128,
    skipped_mtp: u128,
    skipped_tower: u128,
}

impl Sum {
    fn new(devices: usize) -> Self {
        Self { total: 0, places: Places::empty(devices), plain: 0, repacked: 0, pinned: 0, skipped_mtp: 0, skipped_tower: 0 }
    }

    fn finish(self) -> Result<Weights> {
        Ok(Weights {
            total: Bytes::from_wide(self.total)?,
            host_plain: Bytes::from_wide(self.plain)?,
            host_repacked: Bytes::from_wide(self.repacked)?,
            host_pinned: Bytes::from_wide(self.pinned)?,
            skipped_mtp: Bytes::from_wide(self.skipped_mtp)?,
            skipped_tower: Bytes::from_wide(self.skipped_tower)?,
            places: self.places,
        })
    }
}
