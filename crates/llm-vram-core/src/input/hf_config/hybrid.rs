//! State-space models, linear attention and their mixtures with attention.

use alloc::{format, string::String, vec::Vec};

use super::{
    experts::{routed, shared},
    fields::Fields,
    latent::ranks,
    plain::{self, decoder, layers, llama},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Hyperparameters, MtpExtra, PerLayer},
};

/// Key-value heads for the blocks with attention, 0 for the others.
fn attention_in(hp: &mut Hyperparameters, has_attention: impl Fn(u32) -> bool) {
    let kv = hp.head_count_kv.at(0);
    hp.head_count_kv = PerLayer::Each((0..hp.block_count).map(|block| if has_attention(block) { kv } else { 0 }).collect());
}

/// Which blocks the list calls attention; every later spelling of transformers included.
fn attention_flags(kinds: &[&str]) -> Vec<bool> {
    kinds.iter().map(|kind| matches!(*kind, "attention" | "full_attention" | "sliding_attention" | "hybrid")).collect()
}

fn at(flags: &[bool], block: u32) -> bool {
    flags.get(block as usize).copied().unwrap_or(false)
}

/// A description without attention: no heads, no feed-forward width.
fn attention_free(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = Hyperparameters::new(architecture);
    hp.block_count = fields.number("num_hidden_layers")?;
    hp.embedding_length = fields.number("hidden_size")?;
    hp.vocab_size = fields.number("vocab_size")?;
    hp.context_length = fields.number_or("max_position_embeddings", 1 << 20)?.into();
    hp.facts.tied = fields.flag("tie_word_embeddings")?;
    Ok(hp)
}

/// The rank of the time step: stated, or hidden size ÷ 16 rounded up for `auto`.
fn time_step_rank(fields: &Fields<'_>, key: &str, hidden: u32) -> Result<u32> {
    let stated = if fields.is_text(key) { None } else { fields.positive(key)? };
    Ok(stated.unwrap_or_else(|| hidden.div_ceil(16)))
}

/// Mamba.
pub(super) fn mamba(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = attention_free(fields, architecture)?;
    let expand = fields.number_or("expand", 2)?;
    hp.ssm_inner_size = match fields.positive("intermediate_size")? {
        Some(inner) => inner,
        None => hp.embedding_length.saturating_mul(expand),
    };
    hp.ssm_state_size = fields.number_or("state_size", 16)?;
    hp.ssm_conv_kernel = fields.number_or("conv_kernel", 4)?;
    hp.ssm_time_step_rank = time_step_rank(fields, "time_step_rank", hp.embedding_length)?;
    hp.facts.conv_bias = fields.flag_or("use_conv_bias", true)?;
    Ok(hp)
}

/// Mamba 2.
pub(super) fn mamba2(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = attention_free(fields, architecture)?;
    let expand = fields.number_or("expand", 2)?;
    hp.ssm_inner_size = hp.embedding_length.saturating_mul(expand);
    hp.ssm_state_size = fields.number_or("state_size", 128)?;
    hp.ssm_conv_kernel = fields.number_or("conv_kernel", 4)?;
    hp.ssm_group_count = fields.number_or("n_groups", 1)?;
    hp.ssm_time_step_rank = match fields.positive("num_heads")? {
        Some(heads) => heads,
        None => hp.ssm_inner_size / fields.number_or("head_dim", 64)?.max(1),
    };
    hp.facts.conv_bias = fields.flag_or("use_conv_bias", true)?;
    Ok(hp)
}

/// Jamba: attention every `attn_layer_period` blocks, experts every `expert_layer_period`.
pub(super) fn jamba(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    let (period, offset) = period(fields, "attn_layer_period", "attn_layer_offset")?;
    attention_in(&mut hp, |block| block % period == offset);
    hp.ssm_inner_size = hp.embedding_length.saturating_mul(fields.number("mamba_expand")?);
    hp.ssm_state_size = fields.number("mamba_d_state")?;
    hp.ssm_conv_kernel = fields.number("mamba_d_conv")?;
    hp.ssm_time_step_rank = time_step_rank(fields, "mamba_dt_rank", hp.embedding_length)?;
    hp.expert_count = fields.number_or("num_experts", 0)?;
    if hp.expert_count > 1 {
        hp.expert_used_count = fields.number("num_experts_per_tok")?;
        hp.facts.moe_layers = Some(self::period(fields, "expert_layer_period", "expert_layer_offset")?);
    } else {
        hp.expert_count = 0;
    }
    hp.facts.conv_bias = fields.flag_or("mamba_conv_bias", true)?;
    Ok(hp)
}

/// A period and the position within it.
fn period(fields: &Fields<'_>, period: &str, offset: &str) -> Result<(u32, u32)> {
    let (length, at) = (fields.number(period)?, fields.number(offset)?);
    if at < length {
        return Ok((length, at));
    }
    let path = fields.path(offset);
    let message = format!("`{path}` is {at}: expected less than `{}`, which is {length}", fields.path(period));
    Err(Error::new(ErrorKind::Contradiction, message).field(path))
}

/// Falcon-H1: attention and Mamba 2 side by side in every block.
pub(super) fn falcon_h1(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = llama(fields, architecture)?;
    hp.ssm_inner_size = match fields.positive("mamba_d_ssm")? {
        Some(inner) => inner,
        None => hp.embedding_length.saturating_mul(fields.number("mamba_expand")?),
    };
    mamba2_keys(fields, &mut hp)?;
    hp.facts.ssm_norm = fields.flag("mamba_rms_norm")?;
    Ok(hp)
}

fn mamba2_keys(fields: &Fields<'_>, hp: &mut Hyperparameters) -> Result<()> {
    hp.ssm_state_size = fields.number("mamba_d_state")?;
    hp.ssm_conv_kernel = fields.number("mamba_d_conv")?;
    hp.ssm_group_count = fields.number("mamba_n_groups")?;
    hp.ssm_time_step_rank = fields.number("mamba_n_heads")?;
    hp.facts.conv_bias = fields.flag_or("mamba_conv_bias", true)?;
    Ok(())
}

/// Granite 4: Mamba 2 and attention blocks, each with experts, a shared expert or both.
///
/// A model without Mamba blocks is written as plain Granite by converters.
pub(super) fn granite_hybrid(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let kinds = match fields.number("num_hidden_layers") {
        Ok(blocks) => layers(fields, "layer_types", blocks)?,
        Err(error) => return Err(error),
    };
    let flags = kinds.as_deref().map(attention_flags).unwrap_or_default();
    let mut hp = llama(fields, architecture)?;
    let shared = fields.number_or("shared_intermediate_size", 0)?;
    hp.expert_count = fields.number_or("num_experts", 0)?;
    if hp.expert_count > 0 {
        hp.expert_used_count = fields.number("num_experts_per_tok")?;
        hp.expert_shared_feed_forward_length = Some(shared);
    } else {
        hp.feed_forward_length = shared.into();
    }
    if !flags.is_empty() && flags.iter().all(|attention| *attention) {
        hp.architecture = String::from(if hp.expert_count > 0 { "granitemoe" } else { "granite" });
        return Ok(hp);
    }
    attention_in(&mut hp, |block| at(&flags, block));
    hp.ssm_inner_size = hp.embedding_length.saturating_mul(fields.number("mamba_expand")?);
    mamba2_keys(fields, &mut hp)?;
    Ok(hp)
}

/// Nemotron-H: one of Mamba 2, attention, feed-forward or experts in each block.
pub(super) fn nemotron_h(fields: &Fields<'_>, _architecture: &str) -> Result<Hyperparameters> {
    let kinds: Vec<char> = match (fields.texts("layer_types")?, fields.text("hybrid_override_pattern")?) {
        (Some(kinds), _) => kinds.iter().map(|kind| letter(fields, kind)).collect::<Result<_>>()?,
        (None, Some(pattern)) => pattern.chars().collect(),
        (None, None) if fields.states("num_hidden_layers") => return Err(no_pattern(fields)),
        (None, None) => alloc::vec!['M', 'E', '*', '-'],
    };
    if let Some(unknown) = kinds.iter().find(|kind| !matches!(kind, 'M' | 'E' | '*' | '-')) {
        let path = fields.path("hybrid_override_pattern");
        return Err(Error::new(ErrorKind::InvalidValue, format!("`{path}` holds `{unknown}`: expected M, E, * and -")).field(path));
    }
    let blocks = u32::try_from(kinds.len()).unwrap_or(u32::MAX);
    if let Some(stated) = fields.maybe("num_hidden_layers")?.filter(|&stated| stated != blocks) {
        return Err(plain::too_short(fields, "layer_types", kinds.len(), stated));
    }
    let has_experts = kinds.contains(&'E');
    let mut hp = nemotron_base(fields, if has_experts { "nemotron_h_moe" } else { "nemotron_h" }, blocks)?;
    let is = |block: u32, kind: char| kinds.get(block as usize) == Some(&kind);
    attention_in(&mut hp, |block| is(block, '*'));
    let (dense, expert) = (hp.feed_forward_length.at(0), fields.number_or("moe_intermediate_size", 0)?);
    let width = |block| match kinds.get(block as usize) {
        Some('-') => dense,
        Some('E') => expert,
        _ => 0,
    };
    hp.feed_forward_length = PerLayer::Each((0..blocks).map(width).collect());
    if has_experts {
        hp.expert_count = fields.number("num_experts")?;
        hp.expert_used_count = fields.number("num_experts_per_tok")?;
        hp.expert_feed_forward_length = Some(expert);
        hp.expert_shared_count = fields.number_or("num_shared_experts", 1)?;
        let shared = fields.number_or("moe_shared_expert_intermediate_size", 0)?;
        hp.expert_shared_feed_forward_length = Some(shared.saturating_mul(hp.expert_shared_count.min(1)));
        hp.facts.exp_probs_b = true;
        if kinds.contains(&'-') {
            // GGUF has no word for a model with both; a period stands for the blocks with experts if there is one.
            let period = (1..=blocks).find(|period| (0..blocks).all(|block| is(block, 'E') == is(block % period, 'E')));
            let offsets: Vec<u32> = (0..period.unwrap_or(blocks)).filter(|block| is(*block, 'E')).collect();
            match (period, offsets.as_slice()) {
                (Some(period), [offset]) => hp.facts.moe_layers = Some((period, *offset)),
                _ => return Err(mixed_feed_forward(fields)),
            }
        }
        hp.moe_latent_size = fields.positive("moe_latent_size")?.unwrap_or(0);
    }
    Ok(hp)
}

#[cold]
fn no_pattern(fields: &Fields<'_>) -> Error {
    let path = fields.path("hybrid_override_pattern");
    Error::new(ErrorKind::MissingField, format!("the config has neither `{path}` nor `{}`", fields.path("layers_block_type")))
        .field(path)
        .help("give the model's own config.json: which layers attend is not guessed")
}

#[cold]
fn mixed_feed_forward(fields: &Fields<'_>) -> Error {
    let message = "dense and expert feed-forward blocks stand in no regular order";
    Error::new(ErrorKind::Unsupported, message)
        .field(fields.path("layer_types"))
        .help("give the model's safetensors index or a GGUF file, which list every tensor")
}

fn letter(fields: &Fields<'_>, kind: &str) -> Result<char> {
    match kind {
        "mamba" | "linear_attention" => Ok('M'),
        "moe" => Ok('E'),
        "attention" | "full_attention" => Ok('*'),
        "mlp" => Ok('-'),
        other => {
            let path = fields.path("layer_types");
            let message = format!("`{path}` holds `{}`", other.chars().take(40).collect::<String>());
            Err(Error::new(ErrorKind::InvalidValue, message).field(path).help("expected mamba, attention, mlp and moe"))
        }
    }
}

fn nemotron_base(fields: &Fields<'_>, architecture: &str, blocks: u32) -> Result<Hyperparameters> {
    let mut hp = Hyperparameters::new(architecture);
    let heads = fields.number("num_attention_heads")?;
    hp.block_count = blocks;
    hp.embedding_length = fields.number("hidden_size")?;
    hp.vocab_size = fields.number("vocab_size")?;
    hp.context_length = fields.number_or("max_position_embeddings", 0)?.into();
    hp.feed_forward_length = fields.number_or("intermediate_size", 0)?.into();
    hp.head_count = heads.into();
    hp.head_count_kv = fields.number_or("num_key_value_heads", heads)?.into();
    hp.key_length = fields.positive("head_dim")?;
    hp.value_length = hp.key_length;
    hp.ssm_state_size = fields.number("ssm_state_size")?;
    hp.ssm_conv_kernel = fields.number("conv_kernel")?;
    hp.ssm_group_count = fields.number("n_groups")?;
    hp.ssm_time_step_rank = fields.number("mamba_num_heads")?;
    hp.ssm_inner_size = hp.ssm_time_step_rank.saturating_mul(fields.number("mamba_head_dim")?);
    let bias = fields.flag("attention_bias")?;
    hp.facts.tied = fields.flag("tie_word_embeddings")?;
    hp.facts.qkv_bias = bias;
    hp.facts.o_bias = bias;
    hp.facts.ffn_bias = fields.flag("mlp_bias")?;
    hp.facts.conv_bias = fields.flag_or("use_conv_bias", true)?;
    Ok(hp)
}

/// LFM2: gated short convolutions and attention.
pub(super) fn lfm2(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    let blocks = hp.block_count;
    let flags = match layers(fields, "layer_types", blocks)? {
        Some(kinds) => attention_flags(&kinds),
        None => match fields.numbers("full_attn_idxs")? {
            Some(full) => (0..blocks).map(|block| full.contains(&block)).collect(),
            None => (0..blocks).map(|_| true).collect(),
        },
    };
    attention_in(&mut hp, |block| at(&flags, block));
    hp.shortconv_l_cache = fields.number_or("conv_L_cache", 3)?;
    if architecture == "lfm2moe" {
        routed(fields, &mut hp)?;
        hp.facts.exp_probs_b = fields.flag_or("use_expert_bias", true)?;
    } else if fields.flag_or("block_auto_adjust_ff_dim", true)? {
        hp.feed_forward_length = adjusted_width(fields, hp.feed_forward_length.at(0))?.into();
    }
    Ok(hp)
}

/// LFM2 takes two thirds of the stated width, times a factor, rounded up to a multiple.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn adjusted_width(fields: &Fields<'_>, stated: u32) -> Result<u32> {
    let two_thirds = u64::from(stated) * 2 / 3;
    let factor = fields.real("block_ffn_dim_multiplier")?.unwrap_or(1.0);
    if !(0.0..=16.0).contains(&factor) {
        let path = fields.path("block_ffn_dim_multiplier");
        return Err(Error::new(ErrorKind::OutOfRange, format!("`{path}` is `{factor}`: expected 0 to 16")).field(path));
    }
    #[allow(clippy::cast_precision_loss)]
    let scaled = (two_thirds as f64 * factor) as u64;
    let multiple = u64::from(fields.number_or("block_multiple_of", 256)?.max(1));
    Ok(u32::try_from(scaled.div_ceil(multiple) * multiple).unwrap_or(u32::MAX))
}

/// Qwen3-Next and Qwen 3.5: gated delta nets, with full attention every fourth block.
pub(super) fn delta_net(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    let kinds = layers(fields, "layer_types", hp.block_count)?;
    hp.recurrent_layers = kinds.map(|kinds| attention_flags(&kinds).into_iter().map(|attention| !attention).collect());
    hp.full_attention_interval = Some(fields.positive("full_attention_interval")?.unwrap_or(4));
    hp.facts.mtp_extra = MtpExtra::HeadNorm;
    hp.ssm_state_size = fields.number("linear_key_head_dim")?;
    hp.ssm_time_step_rank = fields.number("linear_num_value_heads")?;
    hp.ssm_group_count = fields.number("linear_num_key_heads")?;
    hp.ssm_inner_size = fields.number("linear_value_head_dim")?.saturating_mul(hp.ssm_time_step_rank);
    hp.ssm_conv_kernel = fields.number("linear_conv_kernel_dim")?;
    if architecture != "qwen35" {
        routed(fields, &mut hp)?;
        hp.expert_shared_feed_forward_length = fields.positive("shared_expert_intermediate_size")?;
    }
    Ok(hp)
}

/// OLMo Hybrid: delta nets with separate projections, and attention as in OLMo 2.
pub(super) fn olmo_hybrid(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = llama(fields, architecture)?;
    let kinds = layers(fields, "layer_types", hp.block_count)?;
    hp.recurrent_layers = kinds.map(|kinds| attention_flags(&kinds).into_iter().map(|attention| !attention).collect());
    hp.full_attention_interval = Some(4);
    let heads = hp.head_count.at(0);
    hp.ssm_group_count = fields.number_or("linear_num_key_heads", heads)?;
    hp.ssm_time_step_rank = fields.number_or("linear_num_value_heads", heads)?;
    // Three quarters of the hidden size, divided among the key heads.
    let key = u64::from(hp.embedding_length) * 3 / 4 / u64::from(hp.ssm_group_count.max(1));
    hp.ssm_state_size = fields.number_or("linear_key_head_dim", u32::try_from(key).unwrap_or(u32::MAX))?;
    let value = fields.number_or("linear_value_head_dim", hp.ssm_state_size.saturating_mul(2))?;
    hp.ssm_inner_size = value.saturating_mul(hp.ssm_time_step_rank);
    hp.ssm_conv_kernel = fields.number_or("linear_conv_kernel_dim", 4)?;
    Ok(hp)
}

/// MiniMax-01: lightning attention, with softmax attention in some blocks.
pub(super) fn minimax_01(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    let blocks = hp.block_count;
    let softmax: Vec<bool> = if let Some(kinds) = layers(fields, "layer_types", blocks)? {
        attention_flags(&kinds)
    } else if let Some(kinds) = fields.numbers("attn_type_list")? {
        if kinds.len() != blocks as usize {
            return Err(plain::too_short(fields, "attn_type_list", kinds.len(), blocks));
        }
        kinds.into_iter().map(|kind| kind == 1).collect()
    } else {
        (0..blocks).map(|block| block % 2 == 0).collect()
    };
    hp.recurrent_layers = Some(softmax.into_iter().map(|softmax| !softmax).collect());
    hp.expert_count = fields.number("num_experts")?;
    hp.expert_used_count = fields.number("num_experts_per_tok")?;
    hp.expert_feed_forward_length = Some(fields.number("intermediate_size")?);
    Ok(hp)
}

/// Kimi Linear: Kimi delta attention, with latent attention in every fourth block.
pub(super) fn kimi_linear(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    ranks(fields, &mut hp)?;
    let blocks = hp.block_count;
    let linear = fields.nested("linear_attn_config", "")?;
    let nested = |key: &str| linear.as_ref().map_or(Ok(None), |linear| linear.maybe(key));
    let stated = linear.as_ref().map_or(Ok(None), |linear| linear.numbers("full_attn_layers"))?;
    let flags: Vec<bool> = match (layers(fields, "layer_types", blocks)?, stated) {
        (Some(kinds), _) => attention_flags(&kinds),
        // These lists count blocks from 1.
        (None, Some(full)) => (0..blocks).map(|block| full.contains(&(block + 1))).collect(),
        (None, None) => (0..blocks).map(|block| block > 0 && block % 4 == 0).collect(),
    };
    attention_in(&mut hp, |block| at(&flags, block));
    hp.kda_head_dim = match nested("head_dim")? {
        Some(length) => length,
        None => fields.number_or("linear_head_dim", 128)?,
    };
    let heads = match nested("num_heads")? {
        Some(heads) => heads,
        None => fields.number_or("linear_num_heads", hp.head_count.at(0))?,
    };
    if heads != hp.head_count.at(0) {
        let path = fields.path("linear_attn_config");
        let message = format!("`{path}` has {heads} heads and attention {}: only equal numbers are known", hp.head_count.at(0));
        return Err(Error::new(ErrorKind::Unsupported, message).field(path));
    }
    hp.ssm_conv_kernel = match nested("short_conv_kernel_size")? {
        Some(kernel) => kernel,
        None => fields.number_or("linear_conv_kernel_dim", 4)?,
    };
    let dense = !fields.states("mlp_layer_types") && !fields.states("first_k_dense_replace");
    routed(fields, &mut hp)?;
    if dense && hp.expert_count > 0 {
        hp.leading_dense_block_count = 1;
    }
    shared(fields, &mut hp)?;
    hp.facts.exp_probs_b = hp.expert_count > 0;
    Ok(hp)
}
