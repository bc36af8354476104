//! What prefill needs beside weights and finished caches: a range, for MLX has no buffer planned ahead.
//!
//! MLX evaluates lazily and frees late: the temporaries of some layers live at once. Per prefill call that is a multiple
//! of one layer's outputs, linear in the tokens of the call and independent of depth and vocabulary (measured with mlx
//! 0.32.4 on its CPU backend; on Metal the multiple follows from mlx-lm's own table of peaks, `BENCHMARKS.md`). Logits of
//! the prompt are never computed (`generate.py:generate_step` evaluates caches only).

use super::{
    cache::LayerCache,
    growth::{CacheClass, FillTable, Filled},
};
use crate::{
    derivation::{Certainty, Derivation, Step},
    engine::Amount,
    error::Result,
    model::{Attention, Block, FeedForward, Model, Recurrence, Span},
    units::Bytes,
};

/// How many layers' outputs live at once. The lower end was measured on the CPU backend, where they are freed soonest.
struct InFlight {
    low: f64,
    expected: f64,
    high: f64,
}

/// Metal, dense layers: 0.64 to 0.75 GB of Qwen3-4B's peak, whose layer puts out 0.25 GB per call.
const DENSE: InFlight = InFlight { low: 1.1, expected: 2.75, high: 4.0 };
/// Metal, experts: 0.78 GB of Qwen3-30B-A3B's peak, whose layer puts out 0.42 GB per call.
const EXPERTS: InFlight = InFlight { low: 1.1, expected: 1.9, high: 4.0 };
/// The most that LM Studio's engine has seen at the usual call of 2048 tokens (mlx-engine 08f0c07); it reserves 3 GiB.
const LARGEST_SEEN: Bytes = Bytes::mib(2468);
/// F32 blocks of a Mamba 2 step that take heads × 256 × 256: repeated gates, their triangle, cumulative sums, decay,
/// repeated products, their product with the decay and its triangle (mlx-lm 0.32.2, `models/ssm.py:ssm_attn`).
const SSD_BLOCKS: u64 = 7;
/// Tokens of such a step.
const SSD_STEP: u64 = 256;
/// Head sizes for which prefill attention is fused on Metal, keys and values being of one size
/// (mlx, `backend/metal/scaled_dot_product_attention.cpp`). Elsewhere a matrix of scores exists.
const FUSED_HEAD_LENGTHS: [u32; 5] = [64, 72, 80, 96, 128];

const SOURCE: &str =
    "mlx-lm 0.32.2 BENCHMARKS.md (M4 Max, macOS 26.1) less weights and caches; mlx 0.32.4 measured on its CPU backend";

/// What a prefill needs on top of weights and caches, for one prompt of `context` tokens; the upper end for `prompts` of
/// them prefilled together.
///
/// # Errors
/// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) for ranges beyond [`Bytes::MAX`].
pub fn transient(
    model: &Model,
    layers: &[LayerCache],
    context: u64,
    prefill_step_size: u64,
    prompts: u64,
    derivation: &mut Derivation,
) -> Result<Amount> {
    let call_tokens = context.saturating_sub(1).clamp(1, prefill_step_size);
    let outputs =
        model.blocks().iter().filter(|block| !block.is_mtp).map(|block| layer_output_elements(model, block)).max().unwrap_or(0);
    let layer_outputs = Bytes::from_wide(u128::from(outputs) * 2 * u128::from(call_tokens))?;
    let has_experts = model.blocks().iter().any(|block| matches!(block.feed_forward, FeedForward::Experts { .. }));
    let in_flight = if has_experts { EXPERTS } else { DENSE };
    let activations = Amount::range(
        scaled(layer_outputs, in_flight.low),
        scaled(layer_outputs, in_flight.expected),
        scaled(layer_outputs, in_flight.high)
            .max(Bytes::new(LARGEST_SEEN.get() / prefill_step_size.max(1) * call_tokens)?.min(LARGEST_SEEN)),
    );
    derivation.step(|| {
        Step::bytes(
            "mlx.prefill.activations",
            "activations of a prefill call",
            "2 × tokens × layer outputs × layers in flight",
            activations.expected,
            SOURCE,
        )
        .with("tokens", call_tokens, "tokens")
        .with("layer_outputs", outputs, "elements per token")
        .with_real("layers_in_flight", in_flight.expected, "layers")
        .known(Certainty::Modelled)
    });

    let scores = score_matrix(model, context, call_tokens)?;
    if scores > Bytes::ZERO {
        derivation.step(|| {
            Step::bytes(
                "mlx.prefill.scores",
                "matrix of attention scores, attention of this head size not being fused",
                "2 × heads × tokens × context",
                scores,
                "mlx 0.32.4 backend/metal/scaled_dot_product_attention.cpp",
            )
            .with("tokens", call_tokens, "tokens")
            .with("context", context, "tokens")
            .known(Certainty::Modelled)
        });
    }
    let scan = scan_blocks(model, call_tokens)?;
    let caches = cache_excess(layers, context, prefill_step_size, call_tokens)?;
    if caches > Bytes::ZERO {
        derivation.step(|| {
            Step::bytes(
                "mlx.prefill.caches",
                "caches while they are filled: windows before they are cut, two layers that grow, activations behind states",
                "windows + growth + states",
                caches,
                "mlx-lm 0.32.2 models/cache.py; measured with mlx 0.32.4",
            )
            .known(Certainty::Modelled)
        });
    }
    let one = activations.plus(Amount::range(Bytes::ZERO, scores, scaled(scores, 1.8))).plus(scan).plus(Amount::range(
        Bytes::ZERO,
        caches,
        caches,
    ));
    Ok(Amount::range(one.low, one.expected, one.high.checked_mul(prompts.max(1))?))
}

fn scaled(bytes: Bytes, factor: f64) -> Bytes {
    // Factors are at most 4; the share is taken of four times the amount to stay within 0 to 1.
    bytes.checked_mul(4).map_or(Bytes::MAX, |four| four.share(factor / 4.0))
}

/// Elements per token that the operations of a layer put out: six of the hidden size, three of queries, of keys, of values
/// and of the feed-forward width; experts count for each one used.
fn layer_output_elements(model: &Model, block: &Block) -> u64 {
    let hidden = u64::from(model.hyperparameters().embedding_length);
    let attention = match block.attention {
        Attention::None => 0,
        Attention::Heads(heads) => 3 * u64::from(heads.key_length) * (u64::from(heads.head_count) + u64::from(heads.head_count_kv)),
        Attention::Latent(latent) => 6 * u64::from(latent.key_length) * u64::from(latent.head_count),
    };
    let recurrent = block.recurrent.map_or(0, |_| 6 * u64::from(model.hyperparameters().ssm_inner_size));
    let feed_forward = match block.feed_forward {
        FeedForward::None => 0,
        FeedForward::Dense { length } => 3 * u64::from(length),
        FeedForward::Experts { used, length, shared_length, .. } => {
            u64::from(used) * (3 * u64::from(length) + 7 * hidden / 2) + 3 * u64::from(shared_length)
        }
    };
    6 * hidden + attention + recurrent + feed_forward
}

/// The largest matrix of scores of unfused attention: query heads × tokens of the call × tokens attended to, 16 bit.
fn score_matrix(model: &Model, context: u64, call_tokens: u64) -> Result<Bytes> {
    let scores = |block: &Block| match block.attention {
        Attention::Heads(heads) if heads.key_length != heads.value_length || !FUSED_HEAD_LENGTHS.contains(&heads.key_length) => {
            let reach = match heads.span {
                Span::Full => context,
                Span::Sliding(window) | Span::Chunked(window) => context.min(u64::from(window) + call_tokens),
            };
            u128::from(heads.head_count) * u128::from(reach)
        }
        Attention::Latent(latent) => u128::from(latent.head_count) * u128::from(context),
        _ => 0,
    };
    let largest = model.blocks().iter().filter(|block| !block.is_mtp).map(scores).max().unwrap_or(0);
    Bytes::from_wide(largest.saturating_mul(u128::from(call_tokens)).saturating_mul(2))
}

/// Mamba 2's blocks: those of one step at least, of every step of the call where encoding runs ahead.
fn scan_blocks(model: &Model, call_tokens: u64) -> Result<Amount> {
    let is_mamba2 = |block: &Block| block.recurrent.is_some_and(|recurrent| recurrent.kind == Recurrence::Mamba2);
    if !model.blocks().iter().any(is_mamba2) {
        return Ok(Amount::ZERO);
    }
    let heads = u128::from(model.hyperparameters().ssm_time_step_rank);
    let step = u128::from(call_tokens.min(SSD_STEP));
    let one_step = Bytes::from_wide(heads * step * step * 4 * u128::from(SSD_BLOCKS))?;
    let all_steps = one_step.checked_mul(call_tokens.div_ceil(SSD_STEP))?;
    Ok(Amount::range(one_step, all_steps, all_steps.checked_mul(2)?))
}

/// What caches hold beyond their final size: windows that are cut at the first decoded token, two layers' old buffers
/// while a cache grows, and activations that states keep alive.
fn cache_excess(layers: &[LayerCache], context: u64, prefill_step_size: u64, call_tokens: u64) -> Result<Bytes> {
    let mut excess = Bytes::ZERO;
    let mut largest = Bytes::ZERO;
    let mut table = FillTable::default();
    for layer in layers {
        if let Some(cache) = layer.attention {
            let Filled { slots, peak_slots: peak, .. } = table.fill(cache.class, context, prefill_step_size);
            if cache.class != CacheClass::Full {
                excess = excess
                    .checked_add(Bytes::from_wide(u128::from(peak.saturating_sub(slots)) * u128::from(cache.slot_bytes()))?)?;
            }
            largest = largest.max(Bytes::from_wide(u128::from(slots) * u128::from(cache.slot_bytes()))?);
        }
        if let Some(state) = layer.state {
            excess = excess.checked_add(Bytes::from_wide(u128::from(state.held_bytes_per_token) * u128::from(call_tokens))?)?;
        }
    }
    excess.checked_add(largest.checked_mul(2)?)
}
