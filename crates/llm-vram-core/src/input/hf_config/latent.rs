//! Latent attention (MLA) with a mixture of experts, as DeepSeek introduced it.

use alloc::vec::Vec;

use super::{
    experts::{routed, shared},
    fields::Fields,
    plain::{decoder, layers, too_short},
};
use crate::{
    error::Result,
    model::{Hyperparameters, MtpExtra},
};

/// Reads ranks and head sizes. GGUF states one key-value head as wide as the compressed row.
pub(super) fn ranks(fields: &Fields<'_>, hp: &mut Hyperparameters) -> Result<()> {
    let rank = fields.number("kv_lora_rank")?;
    let rotated = fields.number("qk_rope_head_dim")?;
    hp.kv_lora_rank = Some(rank);
    hp.q_lora_rank = fields.positive("q_lora_rank")?;
    hp.rope_dimension_count = Some(rotated);
    hp.key_length_mla = Some(fields.number("qk_nope_head_dim")?.saturating_add(rotated));
    hp.value_length_mla = Some(fields.number("v_head_dim")?);
    hp.key_length = Some(rank.saturating_add(rotated));
    hp.value_length = Some(rank);
    hp.head_count_kv = 1.into();
    Ok(())
}

/// DeepSeek V2 and V3, Kimi K2, GLM-4.7-Flash, Mistral Small 4 and their kin.
pub(super) fn deepseek(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    ranks(fields, &mut hp)?;
    routed(fields, &mut hp)?;
    shared(fields, &mut hp)?;
    hp.expert_group_count = fields.number_or("n_group", 0)?;
    hp.expert_group_used_count = fields.number_or("topk_group", 0)?;
    hp.facts.exp_probs_b = match fields.text("topk_method")? {
        Some(method) => method == "noaux_tc",
        None => !matches!(fields.model_type(), "deepseek_v2" | "mistral4"),
    };
    hp.facts.exp_probs_b &= hp.expert_count > 0;
    // Releases repeat both tables in the prediction layer of DeepSeek's own models, only the norm in GLM's.
    hp.facts.mtp_extra = match fields.model_type() {
        "glm_moe_dsa" | "glm4_moe_lite" => MtpExtra::HeadNorm,
        _ => MtpExtra::OwnTables,
    };
    Ok(hp)
}

/// Which blocks select tokens themselves; `None` if all do. The others reuse the last selection.
/// Source: `configuration_glm_moe_dsa.py`, transformers 5.23.
fn own_indexers(fields: &Fields<'_>, blocks: u32) -> Result<Option<Vec<bool>>> {
    let flags: Vec<bool> = if let Some(kinds) = layers(fields, "indexer_types", blocks)? {
        kinds.iter().map(|kind| *kind == "full").collect()
    } else if let Some(pattern) = fields.text("index_topk_pattern")? {
        if pattern.len() < blocks as usize {
            return Err(too_short(fields, "index_topk_pattern", pattern.len(), blocks));
        }
        pattern.bytes().take(blocks as usize).map(|letter| letter == b'F').collect()
    } else {
        let every = fields.number_or("index_topk_freq", 1)?.max(1);
        let offset = fields.number_or("index_skip_topk_offset", 2)?;
        (0..blocks).map(|block| (block + 1).saturating_sub(offset) % every == 0).collect()
    };
    Ok(flags.contains(&false).then_some(flags))
}

/// DeepSeek V3.2 and GLM-5: a sparse-attention indexer beside latent attention.
pub(super) fn indexed(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = deepseek(fields, architecture)?;
    hp.indexer_head_count = Some(fields.number("index_n_heads")?);
    hp.indexer_key_length = Some(fields.number("index_head_dim")?);
    hp.indexer_top_k = fields.maybe("index_topk")?;
    hp.indexer_layers = own_indexers(fields, hp.block_count)?;
    Ok(hp)
}
