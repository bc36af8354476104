//! A bound for model types that are not known.

use alloc::{format, string::String};

use super::fields::Fields;
use crate::{
    error::Result,
    model::{Facts, Hyperparameters, Warning},
};

/// Takes a config of an unknown type as a plain transformer whose every layer attends to everything with
/// the heads given, untied, with the widest feed-forward part that the config names.
///
/// This is an upper bound for windows, latent or linear attention, shared caches and tied tables; it is
/// none for towers and extra tables, which the warning says.
///
/// # Errors
/// [`ErrorKind::MissingField`](crate::ErrorKind::MissingField) without layers, hidden size, heads or vocabulary.
pub(super) fn bound(fields: &Fields<'_>) -> Result<(Hyperparameters, Warning)> {
    let mut hp = Hyperparameters::new(fields.model_type());
    hp.facts = Facts::default();
    hp.block_count = fields.number("num_hidden_layers")?;
    hp.embedding_length = fields.number("hidden_size")?;
    hp.vocab_size = fields.number("vocab_size")?;
    hp.context_length = fields.number_or("max_position_embeddings", 0)?.into();
    let heads = fields.number("num_attention_heads")?;
    hp.head_count = heads.into();
    hp.head_count_kv = fields.number_or("num_key_value_heads", heads)?.into();
    let length = fields.positive("head_dim")?;
    let parts = [fields.positive("qk_nope_head_dim")?, fields.positive("qk_rope_head_dim")?];
    let latent = parts.into_iter().flatten().fold(0_u32, u32::saturating_add);
    let global = fields.positive("global_head_dim")?.unwrap_or(0);
    hp.key_length = length.unwrap_or(0).max(latent).max(global).max(hp.embedding_length.checked_div(heads).unwrap_or(0)).into();
    hp.value_length = hp.key_length.max(fields.positive("v_head_dim")?);
    let dense = if fields.is_list("intermediate_size") {
        fields.numbers("intermediate_size")?.unwrap_or_default().into_iter().max().unwrap_or(0)
    } else {
        fields.number_or("intermediate_size", 0)?
    };
    hp.expert_count = fields.number_or("num_experts", 0)?;
    let mut experts = String::new();
    if hp.expert_count > 0 {
        hp.expert_used_count = fields.number_or("num_experts_per_tok", 1)?;
        let width = fields.positive("moe_intermediate_size")?.unwrap_or(dense);
        hp.expert_feed_forward_length = Some(width);
        let shared = fields.positive("shared_expert_intermediate_size")?;
        let counted = width.saturating_mul(fields.number_or("num_shared_experts", 0)?);
        hp.expert_shared_feed_forward_length = Some(shared.unwrap_or(0).max(counted));
        experts = format!(" and {} experts", hp.expert_count);
    }
    // Without any width the usual four times the hidden size stands in.
    let width = if dense == 0 && hp.expert_count == 0 { hp.embedding_length.saturating_mul(4) } else { dense };
    hp.feed_forward_length = width.into();
    let message = format!(
        "`{}` is not known: taken as a plain transformer with full attention of {} key-value heads{experts} in each of {} layers, \
         an upper bound for its cache; towers and further tables are not counted",
        fields.model_type(),
        hp.head_count_kv.at(0),
        hp.block_count,
    );
    Ok((hp, Warning::new("unknown_architecture", message)))
}
