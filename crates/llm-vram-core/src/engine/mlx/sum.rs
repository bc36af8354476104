//! What mlx-lm's model and caches take, for every engine built on them.

use alloc::{format, string::String, vec::Vec};

use super::{
    cache::{AttentionCache, KvBitsOutcome, LayerCache, caches_of, layer_caches},
    check_hardware,
    classes::{Caches, class_of},
    growth::{CacheClass, FillTable, Growth},
    options::{KvBits, Options, QUANTIZED_KV_START},
    prefill,
};
use crate::{
    derivation::{Derivation, Step},
    engine::{Amount, Scene},
    error::{Error, ErrorKind, Result},
    model::{Basis, Group, Model, Warning},
    quant::{
        GgmlType, WeightFormat,
        mlx::{self, MlxQuantisation},
    },
    units::Bytes,
};

/// A program that runs mlx-lm's models, as far as memory depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    /// Its name.
    pub name: &'static str,
    /// Requests that it decodes at once.
    pub sequences: u64,
    /// Prompts that it prefills at once.
    pub prompts: u64,
    /// Whether it quantises caches as mlx-lm does.
    pub kv_bits: bool,
    /// Whether a single request is a batch of one.
    pub batches_one: bool,
}

/// What is held.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The model's arrays.
    pub weights: Bytes,
    /// The growing caches of all sequences.
    pub kv_cache: Bytes,
    /// The states of all sequences.
    pub recurrent_state: Bytes,
    /// What prefill needs on top.
    pub prefill: Amount,
    /// Sequences held at once.
    pub sequences: u64,
    /// The options as read.
    pub options: Options,
    /// Layers of the model.
    pub layers: u32,
    /// Remarks.
    pub warnings: Vec<Warning>,
}

/// The sum for a scene.
///
/// # Errors
/// [`ErrorKind::EngineRefuses`] for models without a class, for other hardware and where conversion fails,
/// [`ErrorKind::Unsupported`] for formats that mlx-lm does not load and several devices, and as [`Options::read`].
pub fn hold(scene: &Scene<'_>, server: Server, derivation: &mut Derivation) -> Result<Held> {
    scene.workload.validate()?;
    check_hardware(server.name, scene.hardware)?;
    let model = scene.model;
    let Some(class) = class_of(model.architecture()) else {
        return Err(Error::new(
            ErrorKind::EngineRefuses,
            format!("Model type {} not supported: mlx-lm 0.32.2 has no class for it", model.architecture()),
        )
        .field("model")
        .help("use llama.cpp, or an mlx-lm that is newer than these rules"));
    };
    let mut options = Options::read(scene.workload)?;
    let mut warnings: Vec<Warning> = model.warnings().to_vec();
    let weights = mlx_weights(model, scene.format)?;
    derivation.step(|| {
        Step::bytes(
            "mlx.weights",
            format!("arrays of mlx_lm.models.{}", class.module),
            "matrices × (bits ÷ 8 + 4 ÷ group) + other arrays × 2",
            weights,
            "mlx-lm 0.32.2 utils.py:quantize_model, mlx 0.32.4",
        )
        .with("parameters", mlx::modules(model).map(|module| module.parameters()).sum(), "parameters")
    });
    if options.kv_bits.is_some() && !server.kv_bits {
        options.kv_bits = None;
        warnings.push(Warning::new(
            "kv_bits_ignored",
            format!("{} has no kv_bits; caches are counted at 16 bits, as they are without its own compression", server.name),
        ));
    }
    remark_on_max_kv_size(model, &mut options, &mut warnings);
    let layers = layer_caches(model, options.max_kv_size)?;
    let kv_bits = active_kv_bits(&layers, &options, scene.workload.context, &mut warnings);
    let sequences = sequences_at_once(&layers, scene, server, options.kv_bits, &mut warnings);
    let context = scene.workload.context;
    let (kv_cache, recurrent_state) = caches(&layers, context, sequences, &options, kv_bits, server, derivation)?;
    let prefill =
        prefill::transient(model, &layers, context, options.prefill_step_size, sequences.min(server.prompts), derivation)?;
    Ok(Held {
        weights,
        kv_cache,
        recurrent_state,
        prefill,
        sequences,
        options,
        layers: model.hyperparameters().main_block_count(),
        warnings,
    })
}

/// The bytes of the model's arrays.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for formats that mlx-lm does not load, and as [`mlx::weights`].
pub fn mlx_weights(model: &Model, format: &WeightFormat) -> Result<Bytes> {
    let plain = match format {
        WeightFormat::Mlx(quantisation) => return Ok(mlx::weights(model, *quantisation)?.bytes),
        WeightFormat::Stored => return stored_weights(model),
        // `F16` and `BF16` are read as GGUF files where nothing else is said; here they are checkpoints.
        WeightFormat::Gguf(target) => target.file_type.default_type(),
        WeightFormat::Plain(ty) => *ty,
        WeightFormat::Checkpoint(_) | WeightFormat::Exl2(_) | WeightFormat::Exl3(_) => return Err(not_loaded(format)),
    };
    match plain {
        GgmlType::BF16 | GgmlType::F16 => Ok(mlx::weights(model, MlxQuantisation::None)?.bytes),
        GgmlType::F32 => {
            let parameters: u128 = mlx::modules(model).map(|module| u128::from(module.parameters())).sum();
            Bytes::from_wide(parameters * 4)
        }
        _ => Err(not_loaded(format)),
    }
}

/// A file's own tensors; GGUF's block types are refused.
fn stored_weights(model: &Model) -> Result<Bytes> {
    if model.basis() != Basis::File {
        return Ok(mlx::weights(model, MlxQuantisation::None)?.bytes);
    }
    let text = model.tensors().iter().filter(|tensor| tensor.group == Group::Text);
    let mut total = Bytes::ZERO;
    for stored in text.filter_map(|tensor| tensor.stored.as_ref()) {
        if GgmlType::from_name(&stored.type_name).is_some_and(GgmlType::is_quantised) {
            return Err(not_loaded(&stored.type_name.as_ref()));
        }
        total = total.checked_add(stored.bytes)?;
    }
    Ok(total)
}

#[cold]
fn not_loaded(format: &dyn core::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("mlx-lm does not load `{format}`: it reads safetensors at 16 bits or in MLX's own quantisations"),
    )
    .field("quant")
    .help("use MLX-4bit-g64 (4.5 bits per weight) for Q4_K_M, MLX-6bit-g64 for Q6_K, MLX-8bit-g64 for Q8_0")
}

fn remark_on_max_kv_size(model: &Model, options: &mut Options, warnings: &mut Vec<Warning>) {
    if options.max_kv_size.is_some() && caches_of(model) != Caches::Default {
        options.max_kv_size = None;
        warnings.push(Warning::new(
            "max_kv_size_ignored",
            format!("--max-kv-size has no effect: the class of `{}` makes its caches itself", model.architecture()),
        ));
    }
}

/// The quantisation that is in force at the asked length.
fn active_kv_bits(layers: &[LayerCache], options: &Options, context: u64, warnings: &mut Vec<Warning>) -> Option<KvBits> {
    let bits = options.kv_bits?;
    if context < QUANTIZED_KV_START {
        warnings.push(Warning::new(
            "kv_bits_not_yet",
            format!("caches stay at 16 bits below {QUANTIZED_KV_START} tokens (--quantized-kv-start)"),
        ));
        return None;
    }
    let mut ignored = 0;
    for cache in layers.iter().filter_map(|layer| layer.attention) {
        match cache.kv_bits_outcome(bits) {
            KvBitsOutcome::Quantised => {}
            KvBitsOutcome::Ignored => ignored += 1,
            KvBitsOutcome::Crash(exception) => {
                warnings.push(Warning::new(
                    "kv_bits_crash",
                    format!("mlx-lm stops with an exception at {QUANTIZED_KV_START} tokens with kv_bits ({exception}); caches are counted at 16 bits"),
                ));
                return None;
            }
        }
    }
    if ignored > 0 {
        warnings.push(Warning::new(
            "kv_bits_ignored",
            format!("kv_bits has no effect on the caches of {ignored} layers, which stay at 16 bits"),
        ));
    }
    Some(bits)
}

/// Requests held at once: one where the program cannot batch, at most its limit else.
fn sequences_at_once(
    layers: &[LayerCache],
    scene: &Scene<'_>,
    server: Server,
    kv_bits: Option<KvBits>,
    warnings: &mut Vec<Warning>,
) -> u64 {
    let asked = scene.workload.concurrency;
    if asked == 1 {
        return 1;
    }
    let chunked = layers.iter().filter_map(|layer| layer.attention).any(|cache| matches!(cache.class, CacheClass::Chunked { .. }));
    if kv_bits.is_some() || chunked {
        let reason = if chunked { "chunked caches cannot be merged" } else { "kv_bits turns batching off" };
        warnings.push(Warning::new("no_batching", format!("{} serves one request at a time here: {reason}", server.name)));
        return 1;
    }
    if asked > server.sequences {
        warnings.push(Warning::new(
            "requests_wait",
            format!("{} decodes {} requests at once, {} wait", server.name, server.sequences, asked - server.sequences),
        ));
    }
    asked.min(server.sequences)
}

/// Slots of one sequence at the first decoded token of a prompt that fills the context.
pub(super) fn final_slots(class: CacheClass, context: u64, batched: bool, step: u64, table: &mut FillTable) -> u64 {
    if batched {
        let mut batch = Growth::merged(class, context.saturating_sub(1));
        batch.feed(1);
        return batch.slots();
    }
    table.fill(class, context, step).slots
}

fn caches(
    layers: &[LayerCache],
    context: u64,
    sequences: u64,
    options: &Options,
    kv_bits: Option<KvBits>,
    server: Server,
    derivation: &mut Derivation,
) -> Result<(Bytes, Bytes)> {
    let (mut kv_cache, mut states) = (Bytes::ZERO, Bytes::ZERO);
    // Layers with the same cache stand in runs or alternate between two; each kind is one step of the derivation.
    let mut kinds: Vec<(AttentionCache, u64, u64)> = Vec::new();
    let mut table = FillTable::default();
    let batched = sequences > 1 || server.batches_one;
    for layer in layers {
        if let Some(state) = layer.state {
            states = states.checked_add(state.bytes.checked_mul(sequences)?)?;
        }
        let Some(cache) = layer.attention else { continue };
        match kinds.iter_mut().find(|(kind, ..)| *kind == cache) {
            Some((_, count, _)) => *count += 1,
            None => kinds.push((cache, 1, final_slots(cache.class, context, batched, options.prefill_step_size, &mut table))),
        }
    }
    for (cache, count, slots) in kinds {
        let slot_bytes = match kv_bits {
            Some(bits) if cache.kv_bits_outcome(bits) == KvBitsOutcome::Quantised => cache.quantised_slot_bytes(bits),
            _ => cache.slot_bytes(),
        };
        let product =
            [count, slots, slot_bytes, sequences].into_iter().try_fold(1_u128, |product, n| product.checked_mul(u128::from(n)));
        let bytes = Bytes::from_wide(product.unwrap_or(u128::MAX))?;
        kv_cache = kv_cache.checked_add(bytes)?;
        derivation.step(|| {
            Step::bytes(
                "mlx.kv_cache",
                label(&cache),
                "layers × slots × bytes per slot × sequences",
                bytes,
                "mlx-lm 0.32.2 models/cache.py",
            )
            .with("layers", count, "layers")
            .with("slots", slots, "tokens")
            .with("slot_bytes", slot_bytes, "bytes")
            .with("sequences", sequences, "sequences")
        });
    }
    if states > Bytes::ZERO {
        derivation.step(|| {
            Step::bytes(
                "mlx.state",
                "states",
                "Σ layers (convolution + state) × sequences",
                states,
                "mlx-lm 0.32.2 models/*.py:make_cache",
            )
            .with("sequences", sequences, "sequences")
        });
    }
    Ok((kv_cache, states))
}

fn label(cache: &AttentionCache) -> String {
    match cache.class {
        CacheClass::Full if cache.is_latent => String::from("KVCache of compressed rows"),
        CacheClass::Full => String::from("KVCache, in steps of 256 tokens"),
        CacheClass::Rotating { max_size, .. } => format!("RotatingKVCache of {max_size} tokens"),
        CacheClass::Chunked { chunk_size } => format!("ChunkedKVCache of {chunk_size} tokens"),
    }
}
