//! A bound on the compute buffer of an architecture that nobody has a list of operations for.
//!
//! The largest of the stages that every architecture is made of, as if nothing else were alive, beside the masks
//! and four rows of the hidden size. It rests on no plan, so its range is wide.

use super::{cache::Layers, load::Load};
use crate::{
    engine::Amount,
    error::Result,
    model::{Attention, Block, FeedForward},
    units::Bytes,
    workload::FlashAttention,
};

/// Bytes of an activation.
const ACTIVATION: u128 = 4;
/// The range around the bound, in percent: op lists that are known lie between half of it and twice as much.
const RANGE: [u128; 2] = [50, 250];

/// The device's and the host's buffer.
pub(super) fn of(load: &Load<'_>) -> Result<[Amount; 2]> {
    let hp = load.scene.model.hyperparameters();
    let context = &load.context;
    let flash = load.parameters.flash_attn != FlashAttention::Off;
    let tokens = u128::from(context.n_tokens);
    let layers = Layers::of(load.scene.model, load.parameters);
    let windowed = if layers.window() > 0 { context.window_cells(layers.window()) } else { 0 };
    let cells = u128::from(context.cells());
    let masks = (cells + u128::from(windowed)) * tokens * if flash { 2 } else { 4 };
    let hidden = ACTIVATION * tokens * u128::from(hp.embedding_length);
    let stage = load.scene.model.blocks().iter().map(|block| widths(hp.ssm_inner_size, block)).max().unwrap_or(0);
    let heads = hp.head_count.iter(hp.block_count).max().unwrap_or(0);
    let scores = if flash { 0 } else { ACTIVATION * cells * tokens * u128::from(heads) };
    let logits = ACTIVATION * u128::from(context.n_outputs) * u128::from(hp.vocab_size);
    let device = masks + 4 * hidden + (ACTIVATION * tokens * stage + scores).max(logits);
    Ok([amount(device)?, amount(masks + 4 * hidden)?])
}

/// Elements per token of a block's widest stage.
fn widths(inner: u32, block: &Block) -> u128 {
    let attention = match block.attention {
        Attention::None => 0,
        Attention::Heads(heads) => {
            2 * u128::from(heads.head_count) * u128::from(heads.key_length)
                + 2 * u128::from(heads.head_count_kv) * u128::from(heads.key_length)
        }
        Attention::Latent(latent) => {
            u128::from(latent.head_count) * (3 * u128::from(latent.kv_lora_rank) + u128::from(latent.rope_length))
        }
    };
    let feed_forward = match block.feed_forward {
        FeedForward::None => 0,
        FeedForward::Dense { length } => 3 * u128::from(length),
        FeedForward::Experts { used, length, shared_length, .. } => {
            3 * u128::from(used) * u128::from(length) + 3 * u128::from(shared_length)
        }
    };
    let recurrent = if block.recurrent.is_some() { 6 * u128::from(inner) } else { 0 };
    attention.max(feed_forward).max(recurrent)
}

fn amount(bytes: u128) -> Result<Amount> {
    let [low, high] = RANGE.map(|percent| Bytes::from_wide(bytes * percent / 100));
    Ok(Amount::range(low?, Bytes::from_wide(bytes)?, high?))
}
