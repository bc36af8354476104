//! Mixtures of experts whose windowed blocks have other numbers of heads than the full-attention ones, and
//! models that give the heads and width of every block.

use alloc::{format, vec::Vec};

use super::{
    experts::{routed, shared},
    fields::Fields,
    plain::{decoder, layers, llama, too_short},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Hyperparameters, PerLayer, WindowPattern},
};

/// Which blocks have the window: `layer_types`, a list of zeros and ones, or the class's own order.
fn windowed_blocks(fields: &Fields<'_>, blocks: u32, is_full: impl Fn(u32) -> bool) -> Result<Vec<bool>> {
    if let Some(kinds) = layers(fields, "layer_types", blocks)? {
        return Ok(kinds.iter().map(|kind| *kind != "full_attention").collect());
    }
    if let Some(flags) = fields.numbers("hybrid_layer_pattern")? {
        if flags.len() < blocks as usize {
            return Err(too_short(fields, "hybrid_layer_pattern", flags.len(), blocks));
        }
        return Ok(flags.into_iter().take(blocks as usize).map(|flag| flag != 0).collect());
    }
    Ok((0..blocks).map(|block| !is_full(block)).collect())
}

/// One number for the windowed blocks and one for the others.
fn by_window(flags: &[bool], windowed: u32, full: u32) -> PerLayer<u32> {
    PerLayer::Each(flags.iter().map(|flag| if *flag { windowed } else { full }).collect())
}

/// MiMo-V2-Flash: twice as many key-value heads in windowed blocks, values narrower than keys.
pub(super) fn mimo2(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    let flags = windowed_blocks(fields, hp.block_count, |block| block == 0 || (block + 1).is_multiple_of(6))?;
    let kv = hp.head_count_kv.at(0);
    let windowed = fields.positive("swa_num_key_value_heads")?.unwrap_or(kv.saturating_mul(2));
    hp.head_count_kv = by_window(&flags, windowed, kv);
    hp.value_length = fields.positive("v_head_dim")?;
    hp.sliding_window = match fields.positive("sliding_window")? {
        Some(window) => Some(window),
        None => fields.positive("sliding_window_size")?,
    };
    hp.sliding_window_pattern = Some(WindowPattern::Each(flags));
    hp.facts.exp_probs_b = true;
    routed(fields, &mut hp)?;
    shared(fields, &mut hp)?;
    Ok(hp)
}

/// Step 3.5 and 3.7: more query heads in windowed blocks, a shared expert of a width of its own.
pub(super) fn step35(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = llama(fields, architecture)?;
    let flags = windowed_blocks(fields, hp.block_count, |_| true)?;
    let other = fields.nested("attention_other_setting", "")?;
    let stated = other.as_ref().map_or(Ok(None), |other| other.positive("num_attention_heads"))?;
    if let Some(heads) = fields.positive("num_sliding_attention_heads")?.or(stated) {
        let full = hp.head_count.at(0);
        hp.head_count = by_window(&flags, heads, full);
    }
    hp.sliding_window = fields.positive("sliding_window")?;
    hp.sliding_window_pattern = Some(WindowPattern::Each(flags));
    hp.facts.exp_probs_b = true;
    routed(fields, &mut hp)?;
    let width = hp.expert_feed_forward_length.unwrap_or(0);
    hp.expert_shared_feed_forward_length = Some(fields.number_or("share_expert_dim", width)?);
    Ok(hp)
}

/// Nemotron from architecture search (DeciLM): each block states how many query heads share a key-value head
/// and how wide its network is, or that a part is left out or is one linear map.
///
/// Source: llama.cpp, `convert_hf_to_gguf.py` (`DeciModel`).
pub(super) fn deci(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = llama(&fields.without("num_key_value_heads"), architecture)?;
    let heads = hp.head_count.at(0);
    let Some(blocks) = fields.objects("block_configs")? else { return llama(fields, architecture) };
    if blocks.len() != hp.block_count as usize {
        return Err(too_short(fields, "block_configs", blocks.len(), hp.block_count));
    }
    let (mut query, mut shared, mut widths) = (Vec::new(), Vec::new(), Vec::new());
    for block in &blocks {
        let (q, kv) = match block.nested("attention", "")? {
            Some(attention) if attention.flag("no_op")? => (0, 0),
            Some(attention) if attention.flag("replace_with_linear")? => (heads, 0),
            Some(attention) => (heads, heads / attention.positive("n_heads_in_group")?.unwrap_or(1)),
            None => (heads, heads),
        };
        query.push(q);
        shared.push(kv);
        widths.push(match block.nested("ffn", "")? {
            Some(network) if network.flag("no_op")? => 0,
            Some(network) if network.flag("replace_with_linear")? => hp.embedding_length,
            Some(network) => network_width(&network, hp.embedding_length)?,
            None => hp.feed_forward_length.at(0),
        });
    }
    hp.head_count = PerLayer::Each(query);
    hp.head_count_kv = PerLayer::Each(shared);
    hp.feed_forward_length = PerLayer::Each(widths);
    hp.key_length = hp.key_length.or_else(|| hp.embedding_length.checked_div(heads));
    hp.value_length = hp.key_length;
    Ok(hp)
}

/// Two thirds of the hidden size times `ffn_mult`, cut to a whole number and rounded up to a multiple of 256.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn network_width(network: &Fields<'_>, hidden: u32) -> Result<u32> {
    let factor = network.real("ffn_mult")?.unwrap_or(0.0);
    if !(0.0..=64.0).contains(&factor) {
        let path = network.path("ffn_mult");
        return Err(Error::new(ErrorKind::OutOfRange, format!("`{path}` is `{factor}`: expected 0 to 64")).field(path));
    }
    // At most 2^27, so the conversion and the rounding stay within 32 bits.
    let width = (2.0 * factor * f64::from(hidden) / 3.0) as u32;
    Ok(width.next_multiple_of(256))
}
