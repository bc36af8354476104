//! llama.cpp's compute buffers, planned as the engine plans them.
//!
//! llama.cpp sizes its compute buffers by building the graph of one full micro-batch, placing every node on a
//! device, and letting an allocator with reuse run through it. This module does the same with op lists of its
//! own: [`plan`] is exact to the byte for every architecture with an op list. The pieces, in the order in which
//! data flows: a request and a model give sizes and a placement; an architecture's op list builds a graph of
//! tensors; the scheduler places nodes, splits the graph and adds copies at borders; devices prolong some
//! lifetimes for fused kernels; the allocator replays the run and its high-water marks are the answer.
//!
//! Version: the llama.cpp inside llama-cpp-sys-2 0.1.161 (ggml 0.26.0), CUDA on cards of the Ada generation.

mod allocator;
mod architectures;
mod builder;
mod capability;
mod closed_form;
mod explanation;
mod graph;
mod graph_model;
mod lifetimes;
mod placement;
mod request;
mod schedule;
mod tensor;
mod weights;

use alloc::{format, vec::Vec};

pub use closed_form::{Estimate, ModelClass, closed_form};
pub use explanation::{LiveTensor, Peak};
pub use request::{ComputeRequest, Planning};
use serde::Serialize;
pub use weights::{TensorTypes, WeightTypes};

use self::{
    allocator::{Observer, Unobserved},
    architectures::OpList,
    builder::{Builder, Pins},
    graph::Graph,
    graph_model::GraphModel,
    placement::Backends,
    request::Sizes,
    schedule::Policy,
    tensor::Op,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::Model,
    units::Bytes,
    workload::FlashAttention,
};

/// Copies of everything that crosses a border when micro-batches are pipelined (`GGML_SCHED_MAX_COPIES`).
const PIPELINE_COPIES: u32 = 4;

/// How far a plan can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exactness {
    /// The architecture has an op list that was compared with the engine's own figures: exact to the byte.
    OpList,
    /// The architecture has an op list that was compared with the engine's figures for loads without a device:
    /// exact to the byte there. On devices, placement and kernels are those of the compared architectures.
    OpListComparedOnHost,
    /// The architecture has no op list of its own and was planned as a plain transformer.
    GenericSkeleton,
}

/// The planned compute buffers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComputePlan {
    /// Each device's buffer.
    pub devices: Vec<Bytes>,
    /// The host's buffer.
    pub host: Bytes,
    /// Whether attention ends up fused.
    pub flash_attention: bool,
    /// Whether micro-batches are pipelined over the devices, which multiplies what crosses borders.
    pub pipeline_parallel: bool,
    /// How far the figures can be relied on.
    pub exactness: Exactness,
}

/// Plans the compute buffers of a load.
///
/// # Errors
/// [`ErrorKind::OutOfRange`] for sizes beyond their bounds, [`ErrorKind::EngineRefuses`] for what llama.cpp
/// itself refuses,
/// [`ErrorKind::UnknownArchitecture`] for recurrent or latent architectures without an op list,
/// [`ErrorKind::LimitExceeded`] and [`ErrorKind::Overflow`] for graphs or buffers beyond any published model.
pub fn plan(model: &Model, request: &ComputeRequest<'_>, weights: &dyn WeightTypes) -> Result<ComputePlan> {
    plan_observed(model, request, weights, &mut Unobserved)
}

/// Says what each buffer holds at its largest: devices first, the host last.
///
/// # Errors
/// As [`plan`].
pub fn explain(model: &Model, request: &ComputeRequest<'_>, weights: &dyn WeightTypes) -> Result<Vec<Peak>> {
    let mut peaks = explanation::Peaks::new(request.placement.device_count() + 1);
    let graph = plan_graph(model, request, weights, &mut peaks)?.graph;
    Ok(peaks.describe(&graph))
}

fn plan_observed<O: Observer>(
    model: &Model,
    request: &ComputeRequest<'_>,
    weights: &dyn WeightTypes,
    observer: &mut O,
) -> Result<ComputePlan> {
    let planned = plan_graph(model, request, weights, observer)?;
    let (host, devices) = planned.buffers.split_last().unwrap_or((&0, &[]));
    Ok(ComputePlan {
        devices: devices.iter().map(|&bytes| Bytes::new(bytes)).collect::<Result<_>>()?,
        host: Bytes::new(*host)?,
        flash_attention: planned.flash_attention,
        pipeline_parallel: planned.pipeline_parallel,
        exactness: planned.exactness,
    })
}

struct Planned {
    graph: Graph,
    /// Each backend's bytes, the host's last.
    buffers: Vec<u64>,
    flash_attention: bool,
    pipeline_parallel: bool,
    exactness: Exactness,
}

fn plan_graph<O: Observer>(
    model: &Model,
    request: &ComputeRequest<'_>,
    weights: &dyn WeightTypes,
    observer: &mut O,
) -> Result<Planned> {
    let model = GraphModel::new(model);
    request.validate(&model)?;
    let list = architectures::op_list(&model).ok_or_else(|| {
        Error::new(ErrorKind::UnknownArchitecture, format!("no op list is known for the architecture `{}`", model.architecture()))
            .field("architecture")
            .help("use the closed form, which gives a range")
    })?;
    let placement = Backends::new(request);
    let (mut graph, pins, flash_attention) = build_resolved(model, list, request, placement)?;
    let pipeline_parallel = request.is_pipelined();
    let policy = Policy {
        op_offload: request.parameters.op_offload,
        n_copies: if pipeline_parallel { PIPELINE_COPIES } else { 1 },
        keeps_pins: request.planning == Planning::Load,
        fuses: true,
    };
    schedule::place(&mut graph, placement, &pins, policy);
    let schedule = schedule::schedule(&mut graph, placement, policy, weights);
    graph.check()?;
    let buffers = allocator::allocate(&graph, &schedule, placement.host(), observer)?;
    let exactness = match list.exactness {
        Exactness::OpListComparedOnHost if placement.device_count == 0 => Exactness::OpList,
        exactness => exactness,
    };
    Ok(Planned { graph, buffers, flash_attention, pipeline_parallel, exactness })
}

/// The prompt graph with flash attention resolved (`llama_context::sched_reserve`).
fn build_resolved(
    model: GraphModel<'_>,
    list: OpList,
    request: &ComputeRequest<'_>,
    placement: Backends<'_>,
) -> Result<(Graph, Pins, bool)> {
    let prompt = |flash_attention: bool| {
        let sizes = Sizes::of_prompt(request.parameters, model.window(), flash_attention);
        build(model, list, sizes, placement)
    };
    let without = || prompt(false).map(|(graph, pins)| (graph, pins, false));
    let with = || prompt(true).map(|(graph, pins)| (graph, pins, true));
    match request.parameters.flash_attn {
        FlashAttention::Off => without(),
        FlashAttention::On => with(),
        // A quantised value cache forces it on.
        FlashAttention::Auto if request.parameters.type_v.is_quantised() || placement.device_count == 0 => with(),
        FlashAttention::Auto if placement.is_full_offload() && request.parameters.offload_kqv => {
            // Every attention operation directly follows nodes that are bound to its layer's device, so it lands
            // there exactly if the device has a kernel for it. That does not depend on the number of tokens.
            let (graph, pins, _) = with()?;
            let has_kernels = graph
                .nodes
                .iter()
                .map(|&id| graph.at(id))
                .filter(|tensor| tensor.op == Op::FlashAttention)
                .all(|tensor| capability::runs_flash_attention(&graph, tensor));
            if has_kernels { Ok((graph, pins, true)) } else { without() }
        }
        FlashAttention::Auto => {
            let sizes = Sizes::of_one_token_each(request.parameters, model.window());
            let (mut graph, pins) = build(model, list, sizes, placement)?;
            let policy = Policy { op_offload: request.parameters.op_offload, n_copies: 1, keeps_pins: true, fuses: false };
            schedule::place(&mut graph, placement, &pins, policy);
            let stays_on_its_device = graph
                .nodes
                .iter()
                .map(|&id| graph.at(id))
                .filter(|tensor| tensor.op == Op::FlashAttention)
                .all(|tensor| tensor.backend == placement.layer(tensor.block.into()));
            if stays_on_its_device { with() } else { without() }
        }
    }
}

fn build(model: GraphModel<'_>, list: OpList, sizes: Sizes, placement: Backends<'_>) -> Result<(Graph, Pins)> {
    let mut builder = Builder::new(model, sizes, placement);
    list.build(&mut builder);
    builder.graph.check()?;
    Ok((builder.graph, builder.pins))
}
