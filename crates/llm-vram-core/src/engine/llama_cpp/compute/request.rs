//! What a load asks for, and the sizes that the engine makes of it.

use alloc::{format, string::String};

use super::graph_model::GraphModel;
use crate::{
    bounds,
    engine::llama_cpp::{Context, Parameters, Placement, options::MAX_SEQUENCES},
    error::{Error, ErrorKind, Result},
    quant::GgmlType,
    workload::FlashAttention,
};

/// Devices beside the host that the scheduler takes (`ggml-backend.cpp`, `GGML_SCHED_MAX_BACKENDS` is 16).
pub(super) const MAX_DEVICES: usize = 15;

/// Which of the engine's two ways of planning is asked for.
///
/// They differ on several devices only: the planning that allocates nothing forgets the placement of norms
/// that the graph's builder asked for, so devices after the first are planned larger
/// (`ggml-backend.cpp`, `ggml_backend_sched_reserve_size` resets the scheduler after the graph was built).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Planning {
    /// What a load allocates.
    #[default]
    Load,
    /// What the engine answers when asked without allocating, as its `--fit` does.
    Measured,
}

/// What the compute buffers of a load depend on beside the model.
#[derive(Debug, Clone, Copy)]
pub struct ComputeRequest<'a> {
    /// The options of the load.
    pub parameters: &'a Parameters,
    /// Which layer lies on which device.
    pub placement: &'a Placement,
    /// Which way of planning.
    pub planning: Planning,
}

impl<'a> ComputeRequest<'a> {
    /// The buffers that a load allocates.
    #[must_use]
    pub const fn load(parameters: &'a Parameters, placement: &'a Placement) -> Self {
        Self { parameters, placement, planning: Planning::Load }
    }

    /// The buffers that the engine announces when asked without allocating.
    #[must_use]
    pub const fn measured(parameters: &'a Parameters, placement: &'a Placement) -> Self {
        Self { parameters, placement, planning: Planning::Measured }
    }

    /// Whether micro-batches are pipelined over the devices (`llama_context::llama_context`).
    pub(super) fn is_pipelined(&self) -> bool {
        self.placement.device_count() > 1
            && self.placement.is_full()
            && self.parameters.offload_kqv
            && self.parameters.n_cpu_moe == 0
    }

    /// Checks every number and what the engine itself would refuse.
    pub(super) fn validate(&self, model: &GraphModel<'_>) -> Result<()> {
        let Parameters { n_ctx, n_seq_max, n_batch, n_ubatch, .. } = *self.parameters;
        let n_seq_max = n_seq_max.max(1);
        if n_seq_max > MAX_SEQUENCES {
            return Err(refusal(format!(
                "llama.cpp: n_seq_max must be <= {MAX_SEQUENCES}, but `{n_seq_max}` sequences were asked for"
            ))
            .field("n_seq_max")
            .help("lower the number of sequences, or start several servers"));
        }
        bounds::CONTEXT.check(n_ctx.div_ceil(n_seq_max))?;
        bounds::N_BATCH.check(n_batch)?;
        bounds::N_UBATCH.check(n_ubatch)?;
        let devices = self.placement.device_count();
        if devices > MAX_DEVICES {
            return Err(
                refusal(format!("llama.cpp schedules at most {MAX_DEVICES} devices, but `{devices}` were given")).field("hardware")
            );
        }
        self.validate_caches(model)
    }

    /// The checks of `llama_init_from_model` (`src/llama-context.cpp`).
    fn validate_caches(&self, model: &GraphModel<'_>) -> Result<()> {
        let Parameters { type_k, type_v, flash_attn, .. } = *self.parameters;
        if model.is_latent() && type_k != type_v {
            return Err(refusal(format!(
                "llama.cpp: model does not support different K (`{}`) and V (`{}`) cache types",
                type_k.name(),
                type_v.name()
            ))
            .field("kv_cache_type_v")
            .help("latent attention caches keys and values together: give both the same type"));
        }
        if flash_attn == FlashAttention::Off {
            if type_v.is_quantised() {
                return Err(refusal(format!(
                    "llama.cpp: quantized V cache (`{}`) requires flash_attn to be enabled",
                    type_v.name()
                ))
                .field("flash_attn")
                .help("leave flash attention on `auto`, or keep values as `f16`"));
            }
            return Ok(());
        }
        for layer in 0..model.n_layer {
            let [key, value] = [model.key_length(layer), model.value_length(layer)];
            for (field, ty, length) in [("kv_cache_type_k", type_k, key), ("kv_cache_type_v", type_v, value)] {
                if length % ty.block_len() != 0 {
                    return Err(refusal(format!(
                        "llama.cpp: cache type `{}` with block size {} does not divide the head size {length}",
                        ty.name(),
                        ty.block_len()
                    ))
                    .field(field)
                    .help("use `f16`, or a type with smaller blocks"));
                }
            }
        }
        Ok(())
    }
}

fn refusal(message: String) -> Error {
    Error::new(ErrorKind::EngineRefuses, message)
}

/// What the graph is built for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Tokens of the planned micro-batch.
    pub(super) n_tokens: u64,
    /// Rows of logits.
    pub(super) n_outputs: u64,
    /// Cells of each stream of the full cache.
    pub(super) cells: u64,
    /// Cells of each stream of the windowed cache.
    pub(super) cells_swa: u64,
    /// Caches that are kept apart.
    pub(super) n_stream: u64,
    /// Sequences.
    pub(super) n_seq: u64,
    pub(super) type_k: GgmlType,
    pub(super) type_v: GgmlType,
    /// Whether values are cached transposed: chosen before `auto` flash attention is resolved.
    pub(super) transposed_values: bool,
    pub(super) flash_attention: bool,
}

impl Sizes {
    /// The sizes of the prompt graph that buffers are planned for.
    pub(super) fn of_prompt(parameters: &Parameters, window: u64, flash_attention: bool) -> Self {
        let context = Context::new(parameters);
        Self {
            n_tokens: context.n_tokens,
            n_outputs: context.n_outputs,
            cells: context.cells(),
            cells_swa: if window == 0 { context.cells() } else { context.window_cells(window) },
            n_stream: context.n_stream,
            n_seq: context.n_seq_max,
            type_k: parameters.type_k,
            type_v: parameters.type_v,
            transposed_values: parameters.flash_attn == FlashAttention::Off,
            flash_attention,
        }
    }

    /// The sizes of the graph of one token for each sequence, which resolves `auto` flash attention.
    pub(super) fn of_one_token_each(parameters: &Parameters, window: u64) -> Self {
        let single = Parameters { n_ubatch: parameters.n_seq_max.max(1), n_outputs_max: 0, ..parameters.clone() };
        Self::of_prompt(&single, window, true)
    }
}
