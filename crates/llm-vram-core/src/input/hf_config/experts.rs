//! Mixtures of experts over plain attention.

use alloc::{format, vec::Vec};

use super::{
    fields::Fields,
    plain::{self, decoder, layers, llama, mistral, windows},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Facts, Hyperparameters, MtpExtra, PerLayer, WindowPattern},
};

/// Reads count, selection and width of the routed experts.
pub(super) fn routed(fields: &Fields<'_>, hp: &mut Hyperparameters) -> Result<()> {
    hp.expert_count = fields.number_or("num_experts", 0)?;
    if hp.expert_count == 0 {
        return Ok(());
    }
    hp.expert_used_count = fields.number("num_experts_per_tok")?;
    hp.expert_feed_forward_length = match fields.positive("moe_intermediate_size")? {
        Some(width) => Some(width),
        None => Some(fields.number("intermediate_size")?),
    };
    sparse_blocks(fields, hp)
}

/// Which blocks have experts: leading dense ones, every n-th, or one entry for each block.
fn sparse_blocks(fields: &Fields<'_>, hp: &mut Hyperparameters) -> Result<()> {
    let blocks = hp.block_count;
    let listed: Option<Vec<bool>> = if let Some(kinds) = layers(fields, "mlp_layer_types", blocks)? {
        Some(kinds.iter().map(|kind| *kind != "dense").collect())
    } else if fields.is_list("moe_layer_freq") {
        let flags = fields.numbers("moe_layer_freq")?.unwrap_or_default();
        if flags.len() < blocks as usize {
            return Err(plain::too_short(fields, "moe_layer_freq", flags.len(), blocks));
        }
        Some(flags.into_iter().take(blocks as usize).map(|flag| flag != 0).collect())
    } else {
        let step = fields.number_or("decoder_sparse_step", 1)?;
        let dense = fields.numbers("mlp_only_layers")?.unwrap_or_default();
        let leading = match fields.maybe("first_k_dense_replace")? {
            Some(leading) => leading,
            None => fields.number_or("num_dense_layers", 0)?,
        };
        let sparse = |block: u32| block >= leading && step > 0 && (block + 1).is_multiple_of(step) && !dense.contains(&block);
        Some((0..blocks).map(sparse).collect())
    };
    match listed {
        Some(flags) => place(fields, hp, &flags),
        None => Ok(()),
    }
}

/// Puts the blocks with experts into the terms that GGUF has for them: leading dense blocks, or a period.
fn place(fields: &Fields<'_>, hp: &mut Hyperparameters, flags: &[bool]) -> Result<()> {
    let leading = flags.iter().take_while(|sparse| !**sparse).count();
    let periodic = |period: usize| {
        let offset = period - 1;
        flags.iter().enumerate().all(|(block, sparse)| *sparse == (block % period == offset))
    };
    if flags.get(leading..).is_some_and(|rest| rest.iter().all(|sparse| *sparse)) {
        hp.leading_dense_block_count = u32::try_from(leading).unwrap_or(u32::MAX);
    } else if let Some(period) = (2..=flags.len().min(64)).find(|period| periodic(*period)) {
        let period = u32::try_from(period).unwrap_or(u32::MAX);
        hp.facts.moe_layers = Some((period, period - 1));
    } else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("the experts of this `{}` stand in no regular order of layers", fields.model_type()),
        )
        .field(fields.path("mlp_layer_types"))
        .help("give the model's safetensors index or a GGUF file, which list every tensor"));
    }
    if hp.leading_dense_block_count >= hp.block_count {
        (hp.expert_count, hp.expert_used_count, hp.leading_dense_block_count) = (0, 0, 0);
    }
    Ok(())
}

/// Reads shared experts that are each as wide as a routed one.
pub(super) fn shared(fields: &Fields<'_>, hp: &mut Hyperparameters) -> Result<()> {
    hp.expert_shared_count = fields.number_or("num_shared_experts", 0)?;
    Ok(())
}

/// Mixtral: experts as wide as `intermediate_size`.
pub(super) fn mixtral(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = mistral(fields, architecture)?;
    routed(fields, &mut hp)?;
    hp.expert_feed_forward_length = None;
    Ok(hp)
}

/// Phi-3.5-MoE: `attention_bias` also on the output projection, biases on norms and head.
pub(super) fn phimoe(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    let bias = fields.flag("attention_bias")?;
    hp.facts = Facts { qkv_bias: bias, o_bias: bias, output_bias: fields.flag_or("lm_head_bias", true)?, ..hp.facts };
    routed(fields, &mut hp)?;
    hp.expert_feed_forward_length = None;
    Ok(hp)
}

/// Qwen 2 MoE: one shared expert of a width of its own, behind a gate.
pub(super) fn qwen2_moe(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = plain::qwen2(fields, architecture)?;
    routed(fields, &mut hp)?;
    hp.expert_shared_feed_forward_length = fields.positive("shared_expert_intermediate_size")?;
    Ok(hp)
}

/// Qwen 3 MoE.
pub(super) fn qwen3_moe(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = plain::qwen3(fields, architecture)?;
    routed(fields, &mut hp)?;
    Ok(hp)
}

/// OLMoE: experts as wide as `intermediate_size`, queries and keys normalised.
pub(super) fn olmoe(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = llama(fields, architecture)?;
    routed(fields, &mut hp)?;
    Ok(hp)
}

/// Granite MoE: experts as wide as `intermediate_size`, a shared one of `shared_intermediate_size`.
pub(super) fn granite_moe(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = llama(fields, architecture)?;
    routed(fields, &mut hp)?;
    hp.expert_shared_feed_forward_length = fields.positive("shared_intermediate_size")?;
    Ok(hp)
}

/// gpt-oss: biases on every matrix, experts included; windows in every other block.
pub(super) fn gpt_oss(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = llama(fields, architecture)?;
    routed(fields, &mut hp)?;
    windows(fields, &mut hp, Some(2))?;
    Ok(hp)
}

/// Llama 4: one shared expert as wide as a routed one; dense blocks have a width of their own.
pub(super) fn llama4(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = llama(fields, architecture)?;
    let width = fields.number("intermediate_size")?;
    hp.feed_forward_length = fields.number_or("intermediate_size_mlp", width)?.into();
    hp.expert_count = fields.number("num_experts")?;
    hp.expert_used_count = fields.number("num_experts_per_tok")?;
    hp.expert_feed_forward_length = Some(width);
    hp.expert_shared_count = 1;
    hp.interleave_moe_layer_step = fields.number_or("interleave_moe_layer_step", 1)?.max(1);
    // The chunk length is the engine's constant; 0 stands for full attention in every block.
    hp.sliding_window = fields.positive("attention_chunk_size")?.or(Some(0));
    Ok(hp)
}

/// MiniMax M2: queries and keys normalised over their full width.
pub(super) fn minimax_m2(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    routed(fields, &mut hp)?;
    hp.facts.exp_probs_b = true;
    Ok(hp)
}

/// ERNIE 4.5 MoE: experts from `moe_layer_start_index` on.
pub(super) fn ernie_moe(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = llama(fields, architecture)?;
    hp.expert_count = fields.number("num_experts")?;
    hp.expert_used_count = fields.number("num_experts_per_tok")?;
    let width = fields.number("moe_intermediate_size")?;
    hp.expert_feed_forward_length = Some(width);
    shared(fields, &mut hp)?;
    hp.expert_shared_feed_forward_length = Some(width.saturating_mul(hp.expert_shared_count)).filter(|&width| width > 0);
    hp.leading_dense_block_count = fields.number_or("moe_layer_start_index", 0)?;
    hp.interleave_moe_layer_step = 1;
    hp.facts.exp_probs_b = true;
    Ok(hp)
}

/// Hunyuan A13B: experts as wide as `intermediate_size`, beside shared ones that every token passes.
pub(super) fn hunyuan_moe(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = llama(fields, architecture)?;
    let width = fields.number("intermediate_size")?;
    hp.expert_count = fields.number("num_experts")?;
    hp.expert_used_count = fields.number("num_experts_per_tok")?;
    hp.expert_feed_forward_length = Some(width);
    let count = fields.number_or("num_shared_experts", 1)?.max(1);
    hp.expert_shared_count = count;
    hp.expert_shared_feed_forward_length = Some(width.saturating_mul(count));
    Ok(hp)
}

/// GLM-4.5 to 4.7: leading dense blocks, shared experts, a selection bias; biases on query, key and value.
pub(super) fn glm4_moe(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    hp.facts.qkv_bias = fields.flag("attention_bias")?;
    hp.facts.qk_norm = fields.flag("use_qk_norm")?;
    hp.facts.exp_probs_b = true;
    hp.expert_gating_func = 2;
    hp.facts.mtp_extra = MtpExtra::OwnTables;
    routed(fields, &mut hp)?;
    shared(fields, &mut hp)?;
    Ok(hp)
}

/// dots.llm1, Ling 2.0, Hunyuan 3 and others: leading dense blocks, shared experts, a selection bias and
/// normalised queries and keys.
pub(super) fn shared_experts(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = llama(fields, architecture)?;
    hp.facts.qk_norm = true;
    hp.facts.exp_probs_b = true;
    routed(fields, &mut hp)?;
    shared(fields, &mut hp)?;
    Ok(hp)
}

/// K-EXAONE and AFMoE: as [`shared_experts`], with windows in three of four blocks.
pub(super) fn windowed_shared_experts(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = shared_experts(fields, architecture)?;
    windows(fields, &mut hp, Some(4))?;
    if let (None, Some(_)) = (&hp.sliding_window_pattern, hp.sliding_window) {
        hp.sliding_window_pattern = Some(WindowPattern::Period(4));
    }
    Ok(hp)
}

/// Laguna: a shared expert of a width of its own; head counts may differ by block.
pub(super) fn laguna(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    if fields.is_text("gating") && fields.text("gating")? != Some("per-head") {
        let path = fields.path("gating");
        return Err(Error::new(ErrorKind::Unsupported, format!("`{path}` other than per-head is not known")).field(path));
    }
    let mut hp = windowed_shared_experts(fields, architecture)?;
    hp.expert_shared_feed_forward_length = fields.positive("shared_expert_intermediate_size")?;
    if let Some(heads) = fields.numbers("num_attention_heads_per_layer")? {
        if heads.len() != hp.block_count as usize {
            return Err(plain::too_short(fields, "num_attention_heads_per_layer", heads.len(), hp.block_count));
        }
        hp.head_count = PerLayer::Each(heads);
    }
    Ok(hp)
}
