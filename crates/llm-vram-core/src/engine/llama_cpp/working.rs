//! Compute buffers of a load, by backend and version.
//!
//! The plan is CUDA's. What other backends do differently, and how builds before June 2026 differed, is
//! stated here; where that is not a rule, the figure has a range.

use alloc::{format, rc::Rc, vec::Vec};

use super::{
    bound,
    compute::{self, ComputePlan, ComputeRequest, Exactness, TensorTypes, WeightTypes},
    load::Load,
    options::Parameters,
    placement::Placement,
    version,
};
use crate::{
    derivation::{Certainty, Derivation, Step},
    engine::Amount,
    error::{ErrorKind, Result},
    hardware::Backend,
    model::{Block, FeedForward, Warning},
    quant::GgmlType,
    units::Bytes,
    workload::FlashAttention,
};

const SOURCE: &str =
    "llama.cpp llama-cpp-sys-2 0.1.161, src/llama-context.cpp: graph_reserve; ggml-backend.cpp, ggml-alloc.c: planned";

/// What a plan depends on: the options, where layers lie, and which types weights have where that matters.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanKey {
    parameters: Parameters,
    placement: Placement,
    types: u64,
}

impl PlanKey {
    fn new(load: &Load<'_>, parameters: &Parameters) -> Self {
        // Where layers lie is the placement's; how it came about no longer matters.
        let parameters = Parameters { n_gpu_layers: None, tensor_split: None, ..parameters.clone() };
        Self { parameters, placement: load.placement.clone(), types: type_fingerprint(load) }
    }
}

/// A fingerprint of the weights' types; 0 where no plan depends on them. They matter where weights are copied to a device
/// for one operation (host layers, host experts), and where routed and shared experts of one type are computed together.
fn type_fingerprint(load: &Load<'_>) -> u64 {
    let shares_experts =
        |block: &Block| matches!(block.feed_forward, FeedForward::Experts { shared_length, .. } if shared_length > 0);
    let copies = !load.placement.is_full() || load.parameters.n_cpu_moe > 0;
    if !copies && !load.scene.model.blocks().iter().any(shares_experts) {
        return 0;
    }
    // FNV-1a: enough to tell a few dozen lists apart, and no list of types but the same gives 0.
    load.stored.iter().fold(0xcbf2_9ce4_8422_2325, |hash, stored| (hash ^ stored.ty as u64).wrapping_mul(0x0100_0000_01b3))
}

/// Plans, or recalls the plan of an equal load of the same model.
fn planned(load: &Load<'_>, parameters: &Parameters, types: &dyn WeightTypes) -> Result<Rc<ComputePlan>> {
    let model = load.scene.model;
    let plan = || compute::plan(model, &ComputeRequest::load(parameters, &load.placement), types);
    match load.scene.memo {
        Some(memo) => memo.plan(model, &PlanKey::new(load, parameters), plan),
        None => plan().map(Rc::new),
    }
}

/// The compute buffers of a load.
pub struct ComputeBuffers {
    /// Each device's.
    pub devices: Vec<Amount>,
    /// The host's.
    pub host: Amount,
    /// Whether attention ends up fused.
    pub flash_attention: bool,
    /// What the figures rest on.
    pub exactness: Exactness,
    /// A remark, where the figures rest on less than an op list.
    pub warning: Option<Warning>,
}

/// Plans the buffers of a load.
///
/// # Errors
/// Those of [`compute::plan`], architectures without any plan excepted.
pub fn plan(load: &Load<'_>) -> Result<ComputeBuffers> {
    let types = types(load);
    let parameters = parameters(load);
    let plan = match planned(load, &parameters, &types) {
        Err(error) if error.kind() == ErrorKind::UnknownArchitecture => return bounded(load),
        plan => plan?,
    };
    let plan = if load.rules.limits_outputs { plan } else { Rc::new(before_limits(load, &parameters, &types, &plan)?) };
    let devices = plan.devices.iter().enumerate().map(|(index, &bytes)| spread(load, index, plan.exactness, bytes));
    Ok(ComputeBuffers {
        devices: devices.collect::<Result<_>>()?,
        host: Amount::exact(plan.host.saturating_sub(absent_input_rows(load)?)),
        flash_attention: plan.flash_attention,
        exactness: plan.exactness,
        warning: warning(load.scene.model.architecture(), plan.exactness),
    })
}

/// A wide range, where not even a plain transformer can stand for the architecture.
fn bounded(load: &Load<'_>) -> Result<ComputeBuffers> {
    let [device, host] = bound::of(load)?;
    let architecture = load.scene.model.architecture();
    let message = format!("the operations of `{architecture}` are not known: its compute buffer is a rough bound");
    Ok(ComputeBuffers {
        devices: load.backends.iter().map(|_| device).collect(),
        host: if load.backends.is_empty() { device } else { host },
        flash_attention: load.parameters.flash_attn != FlashAttention::Off,
        exactness: Exactness::GenericSkeleton,
        warning: Some(Warning::new("compute_buffer_bound", message)),
    })
}

/// How each weight is stored.
fn types<'a>(load: &Load<'a>) -> impl WeightTypes + use<'a> {
    let stored = load.stored;
    TensorTypes::new(load.scene.model, move |index| stored.get(index).map_or(GgmlType::F32, |stored| stored.ty))
}

/// The options as the backend and the version take them.
fn parameters(load: &Load<'_>) -> Parameters {
    // Metal reserves 16-bit copies of keys and values whatever their type; CUDA does for all but 16-bit floats, so the
    // other 16-bit type asks for Metal's buffer (`ggml-metal.cpp`, `ggml_backend_metal_buffer_type_get_alloc_size`).
    let copies_half = load.backends.contains(&Backend::Metal);
    let cached = |ty: GgmlType| if copies_half && ty == GgmlType::F16 { GgmlType::BF16 } else { ty };
    let asked = load.parameters;
    Parameters {
        type_k: cached(asked.type_k),
        type_v: cached(asked.type_v),
        n_outputs_max: if load.rules.limits_outputs { asked.n_outputs_max } else { 0 },
        ..asked.clone()
    }
}

/// How builds before the limit on outputs planned: logits for a whole physical batch, and a 32-bit mask on the
/// host whose 16-bit copy on the device is freed before the logits.
fn before_limits(load: &Load<'_>, parameters: &Parameters, types: &dyn WeightTypes, all: &ComputePlan) -> Result<ComputePlan> {
    if load.rules.half_masks || !all.flash_attention {
        return Ok(all.clone());
    }
    let mask = mask_bytes(load)?;
    let one_row = Parameters { n_outputs_max: 1, ..parameters.clone() };
    let stages = planned(load, &one_row, types)?;
    let larger = |(logits, stage): (&Bytes, &Bytes)| logits.saturating_sub(mask).max(*stage);
    Ok(ComputePlan {
        devices: all.devices.iter().zip(&stages.devices).map(larger).collect(),
        host: all.host.checked_add(mask)?,
        ..all.clone()
    })
}

/// The 16-bit masks of the full and the windowed cache.
fn mask_bytes(load: &Load<'_>) -> Result<Bytes> {
    let layers = super::cache::Layers::of(load.scene.model, load.parameters);
    let windowed = if layers.window() > 0 { load.context.window_cells(layers.window()) } else { 0 };
    let cells = u128::from(load.context.cells()) + u128::from(windowed);
    Bytes::from_wide(cells * u128::from(load.context.n_tokens) * 2)
}

/// Input rows on the host that the plan counts and the version does not have. Without devices they share one buffer
/// with everything else, and leave holes there instead.
fn absent_input_rows(load: &Load<'_>) -> Result<Bytes> {
    if load.backends.is_empty() {
        return Ok(Bytes::ZERO);
    }
    let rows = version::PLANNED_INPUT_ROWS.saturating_sub(load.rules.input_rows);
    let row = u128::from(load.scene.model.hyperparameters().embedding_length) * u128::from(load.context.n_tokens) * 4;
    Bytes::from_wide(row * u128::from(rows))
}

/// How far a device's buffer may lie from the plan.
fn spread(load: &Load<'_>, index: usize, exactness: Exactness, bytes: Bytes) -> Result<Amount> {
    // Percent of the plan, by what it rests on. The skeleton's range is that of models planned blindly.
    let [mut low, mut high] = match exactness {
        Exactness::OpList => [100, 100],
        Exactness::OpListComparedOnHost => [97, 103],
        Exactness::GenericSkeleton => [50, 160],
    };
    let backend = load.backends.get(index).copied().unwrap_or(Backend::Ideal);
    let [less, more] = match backend {
        Backend::Cuda | Backend::Ideal if load.rules.input_rows == version::PLANNED_INPUT_ROWS => [0, 0],
        Backend::Cuda | Backend::Ideal => [10, 10],
        // Other kernels are fused, and flash attention takes other scratch space.
        Backend::Hip => [10, 10],
        Backend::Metal => [10, 15],
        _ => [10, 30],
    };
    low -= less;
    high += more;
    if low == 100 && high == 100 {
        return Ok(Amount::exact(bytes));
    }
    // On Vulkan the 32-bit mask stayed beside the logits (https://github.com/hogeheer499-commits/strix-halo-guide).
    let masks = if backend == Backend::Vulkan && !load.rules.half_masks { mask_bytes(load)?.checked_mul(2)? } else { Bytes::ZERO };
    let percent = |share: u64| Bytes::from_wide(u128::from(bytes.get()) * u128::from(share) / 100);
    Ok(Amount::range(percent(low)?, bytes, percent(high)?.checked_add(masks)?))
}

fn warning(architecture: &str, exactness: Exactness) -> Option<Warning> {
    (exactness == Exactness::GenericSkeleton).then(|| {
        let message =
            format!("no list of operations is known for `{architecture}`: its compute buffer is that of a plain transformer");
        Warning::new("compute_buffer_generic", message)
    })
}

impl ComputeBuffers {
    /// Records the buffers with what they hold at their largest.
    pub(super) fn record(&self, load: &Load<'_>, derivation: &mut Derivation) {
        let types = types(load);
        let parameters = parameters(load);
        let request = ComputeRequest::load(&parameters, &load.placement);
        let peaks = compute::explain(load.scene.model, &request, &types).unwrap_or_default();
        let amounts = self.devices.iter().chain(core::iter::once(&self.host));
        for (index, amount) in amounts.enumerate() {
            let place = if index < self.devices.len() { format!("device {index}") } else { "the host".into() };
            derivation.step(|| {
                let label = match peaks.get(index) {
                    Some(peak) => format!("compute buffer of {place}, {}", peak.in_words()),
                    None => format!("compute buffer of {place}"),
                };
                let known = if amount.is_range() { Certainty::Modelled } else { Certainty::Exact };
                let step = Step::bytes(
                    "llama_cpp.compute_buffer",
                    label,
                    "planned: live tensors at the largest stage + holes",
                    amount.expected,
                    SOURCE,
                )
                .with("n_tokens", load.context.n_tokens, "tokens")
                .with("n_outputs", load.context.n_outputs, "rows")
                .with("cells", load.context.cells(), "tokens");
                let step = match peaks.get(index) {
                    Some(peak) => step.with("holes", peak.holes.get(), "bytes"),
                    None => step,
                };
                step.known(known)
            });
        }
    }
}
