//! From metadata keys to [`Hyperparameters`].
//!
//! Keys and defaults: llama.cpp, `src/llama-arch.cpp` (`LLM_KV_NAMES`), `src/llama-model.cpp`
//! (`load_hparams`) and `src/models/*.cpp`, llama-cpp-sys-2 0.1.161.

use alloc::{format, string::String, vec, vec::Vec};

use super::{facts, header::Header, keys::Keys, value::Value};
use crate::{
    bounds::{self, Bound},
    error::{Error, ErrorKind, Result},
    model::{Hyperparameters, PerLayer, Warning, WindowPattern},
};

/// Architectures whose windowed blocks follow a full one when the file gives a period
/// (`load_swa_pattern` with `dense_first`).
const DENSE_FIRST: [&str; 4] = ["cohere2moe", "laguna", "modern-bert", "smallthinker"];
/// RWKV keeps two shifted tokens per block unless the file says otherwise (`llama-hparams.h`).
const RWKV_TOKEN_SHIFTS: u32 = 2;

impl Header<'_> {
    /// What the metadata and the presence of tensors say about the architecture, not yet validated.
    ///
    /// # Errors
    /// [`ErrorKind::MissingField`] without architecture, block count, hidden size or vocabulary,
    /// [`ErrorKind::OutOfRange`], [`ErrorKind::InvalidValue`] and [`ErrorKind::Contradiction`] naming the key.
    pub fn hyperparameters(&self) -> Result<Hyperparameters> {
        read(self).map(|(hp, _)| hp)
    }
}

/// The description and what is to be said about it.
pub(super) fn read(header: &Header<'_>) -> Result<(Hyperparameters, Vec<Warning>)> {
    const ARCHITECTURE: &str = "general.architecture";
    let architecture = match header.get(ARCHITECTURE) {
        Some(value) => value.as_str().filter(|name| !name.is_empty() && name.len() <= 64).ok_or_else(|| {
            Error::new(ErrorKind::InvalidValue, format!("`{ARCHITECTURE}` is no usable name")).field(ARCHITECTURE)
        })?,
        None => {
            return Err(Error::new(ErrorKind::MissingField, format!("the metadata has no `{ARCHITECTURE}`"))
                .field(ARCHITECTURE)
                .help("this is not a model that llama.cpp can load"));
        }
    };
    let keys = Keys::new(header, architecture);
    let mut warnings = Vec::new();
    let mut hp = Hyperparameters::new(architecture);
    hp.name = header.get("general.name").and_then(Value::as_str).map(|name| name.chars().take(256).collect()).unwrap_or_default();
    general(&keys, header, &mut hp, &mut warnings)?;
    attention(&keys, &mut hp)?;
    feed_forward(&keys, &mut hp, &mut warnings)?;
    recurrent(&keys, &mut hp)?;
    extras(&keys, &mut hp)?;
    hp.facts = facts::of(header, &hp);
    Ok((hp, warnings))
}

fn general(keys: &Keys<'_, '_>, header: &Header<'_>, hp: &mut Hyperparameters, warnings: &mut Vec<Warning>) -> Result<()> {
    hp.block_count = keys.required("block_count", bounds::BLOCK_COUNT)?;
    hp.nextn_predict_layers = keys.count("nextn_predict_layers", bounds::NEXTN_PREDICT_LAYERS)?.unwrap_or(0);
    hp.embedding_length = keys.required("embedding_length", bounds::EMBEDDING_LENGTH)?;
    hp.context_length = keys.wide_count("context_length", bounds::CONTEXT_LENGTH)?.unwrap_or(0);
    let stated = keys.count("vocab_size", bounds::VOCAB_SIZE)?;
    // The rows of the embedding are what is stored and computed; published files may lack the key, and
    // the tokenizer may have fewer entries.
    let rows = header.tensors().iter().find(|tensor| tensor.name == "token_embd.weight").map(|tensor| tensor.shape[1]);
    let rows = rows.map(|rows| bounds::VOCAB_SIZE.check_u32(rows).map_err(|error| error.field("token_embd.weight"))).transpose()?;
    hp.vocab_size = match (rows, stated) {
        (Some(rows), Some(stated)) if rows != stated => {
            let message = format!("`{}` is {stated}, the token embedding has {rows} rows: the rows count", keys.full("vocab_size"));
            warnings.push(Warning::new("vocab_size_differs", message));
            rows
        }
        (Some(size), _) | (None, Some(size)) => size,
        (None, None) => match header.get("tokenizer.ggml.tokens") {
            Some(Value::Array(tokens)) => bounds::VOCAB_SIZE.check_u32(tokens.len())?,
            _ => return Err(keys.missing("vocab_size")),
        },
    };
    Ok(())
}

fn attention(keys: &Keys<'_, '_>, hp: &mut Hyperparameters) -> Result<()> {
    let blocks = hp.block_count;
    let head = bounds::HEAD_LENGTH;
    hp.head_count = keys.per_layer("attention.head_count", bounds::HEAD_COUNT, blocks)?.unwrap_or_default();
    hp.head_count_kv = match keys.per_layer("attention.head_count_kv", bounds::HEAD_COUNT_KV, blocks)? {
        Some(heads) => heads,
        None => hp.head_count.clone(),
    };
    hp.key_length = keys.count("attention.key_length", head)?;
    hp.value_length = keys.count("attention.value_length", head)?;
    hp.key_length_swa = keys.count("attention.key_length_swa", head)?;
    hp.value_length_swa = keys.count("attention.value_length_swa", head)?;
    hp.key_length_mla = keys.count("attention.key_length_mla", head)?;
    hp.value_length_mla = keys.count("attention.value_length_mla", head)?;
    // 0 stands for "not compressed" and "no window".
    hp.kv_lora_rank = keys.count("attention.kv_lora_rank", or_none(bounds::LORA_RANK))?.filter(|&rank| rank > 0);
    hp.q_lora_rank = keys.count("attention.q_lora_rank", or_none(bounds::LORA_RANK))?.filter(|&rank| rank > 0);
    let window = Bound { name: "sliding_window", human: "sliding window", ..or_none(bounds::CONTEXT_LENGTH) };
    hp.sliding_window = keys.count("attention.sliding_window", window)?.filter(|&window| window > 0);
    hp.sliding_window_pattern = keys.window_pattern("attention.sliding_window_pattern", blocks)?;
    if let Some(WindowPattern::Period(period)) = hp.sliding_window_pattern
        && DENSE_FIRST.contains(&hp.architecture.as_str())
    {
        let flags = (0..blocks).map(|block| block % period.max(1) != 0).collect();
        hp.sliding_window_pattern = Some(WindowPattern::Each(flags));
    }
    hp.shared_kv_layers = keys.count("attention.shared_kv_layers", or_none(bounds::BLOCK_COUNT))?.unwrap_or(0);
    hp.indexer_head_count = keys.count("attention.indexer.head_count", bounds::HEAD_COUNT)?.filter(|&heads| heads > 0);
    hp.indexer_key_length = keys.count("attention.indexer.key_length", or_none(head))?.filter(|&length| length > 0);
    hp.indexer_top_k = keys.count("attention.indexer.top_k", or_none(bounds::CONTEXT_LENGTH))?;
    hp.compress_ratios = keys.per_layer_prefix("attention.compress_ratios", or_none(bounds::CONTEXT_LENGTH), blocks)?;
    // The key is optional for Qwen 4, whose file without it compresses nothing.
    if hp.compress_ratios.is_none() && hp.architecture == "qwen4exp" {
        hp.compress_ratios = Some(vec![0; blocks as usize]);
    }
    hp.rope_dimension_count = keys.count("rope.dimension_count", or_none(head))?;
    hp.full_attention_interval = keys.count("full_attention_interval", bounds::BLOCK_COUNT)?;
    hp.recurrent_layers = keys.flags("attention.recurrent_layers", blocks)?;
    Ok(())
}

fn feed_forward(keys: &Keys<'_, '_>, hp: &mut Hyperparameters, warnings: &mut Vec<Warning>) -> Result<()> {
    let blocks = hp.block_count;
    let width = bounds::EXPERT_FEED_FORWARD_LENGTH;
    hp.feed_forward_length = keys.per_layer("feed_forward_length", bounds::FEED_FORWARD_LENGTH, blocks)?.unwrap_or_default();
    hp.expert_count = keys.count("expert_count", bounds::EXPERT_COUNT)?.unwrap_or(0);
    let mut largest = |key: &str, bound: Bound| -> Result<Option<u32>> {
        let found = keys.largest(key, bound, blocks)?;
        if let Some((value, true)) = found {
            let message = format!("`{}` differs between layers: the largest, {value}, is taken", keys.full(key));
            warnings.push(Warning::new("largest_layer_taken", message));
        }
        Ok(found.map(|(value, _)| value))
    };
    hp.expert_used_count = largest("expert_used_count", bounds::EXPERT_USED_COUNT)?.unwrap_or(0);
    hp.expert_feed_forward_length = largest("expert_feed_forward_length", width)?.filter(|&length| length > 0);
    hp.expert_shared_feed_forward_length = largest("expert_shared_feed_forward_length", width)?;
    hp.expert_shared_count = keys.count("expert_shared_count", bounds::STATE_SIZE)?.unwrap_or(0);
    hp.leading_dense_block_count = keys.count("leading_dense_block_count", or_none(bounds::BLOCK_COUNT))?.unwrap_or(0);
    hp.interleave_moe_layer_step = keys.count("interleave_moe_layer_step", or_none(bounds::BLOCK_COUNT))?.unwrap_or(0);
    hp.expert_group_count = keys.count("expert_group_count", bounds::EXPERT_COUNT)?.unwrap_or(0);
    hp.expert_group_used_count = keys.count("expert_group_used_count", bounds::EXPERT_COUNT)?.unwrap_or(0);
    hp.expert_gating_func = keys.count("expert_gating_func", bounds::EXPERT_COUNT)?.unwrap_or(0);
    hp.expert_weights_norm = keys.flag("expert_weights_norm")?;
    hp.expert_weights_scale = keys.factor("expert_weights_scale")?;
    Ok(())
}

fn recurrent(keys: &Keys<'_, '_>, hp: &mut Hyperparameters) -> Result<()> {
    let size = |key: &str| keys.count(key, bounds::STATE_SIZE).map(|found| found.unwrap_or(0));
    hp.ssm_inner_size = keys.count("ssm.inner_size", bounds::EXPERT_FEED_FORWARD_LENGTH)?.unwrap_or(0);
    hp.ssm_state_size = size("ssm.state_size")?;
    hp.ssm_conv_kernel = size("ssm.conv_kernel")?;
    hp.ssm_time_step_rank = size("ssm.time_step_rank")?;
    hp.ssm_group_count = size("ssm.group_count")?;
    hp.kda_head_dim = size("kda.head_dim")?;
    hp.wkv_head_size = size("wkv.head_size")?;
    hp.shortconv_l_cache = size("shortconv.l_cache")?;
    let shifts = keys.count("token_shift_count", bounds::STATE_SIZE)?;
    hp.token_shift_count = shifts.unwrap_or(if keys.architecture().contains("rwkv") { RWKV_TOKEN_SHIFTS } else { 0 });
    Ok(())
}

fn extras(keys: &Keys<'_, '_>, hp: &mut Hyperparameters) -> Result<()> {
    hp.embedding_length_per_layer_input =
        keys.count("embedding_length_per_layer_input", bounds::EXPERT_FEED_FORWARD_LENGTH)?.unwrap_or(0);
    hp.altup_num_inputs = keys.count("altup.num_inputs", bounds::STATE_SIZE)?.unwrap_or(0);
    hp.final_logit_softcapping = keys.factor("final_logit_softcapping")?;
    hp.embedding_scale = keys.factor("embedding_scale")?;
    hp.residual_scale = keys.factor("residual_scale")?;
    hp.logit_scale = keys.factor("logit_scale")?;
    hp.temperature_scale = keys.factor("attention.temperature_scale")?;
    hp.value_scale = keys.factor("attention.value_scale")?;
    hp.rope_scaling_finetuned = keys.flag("rope.scaling.finetuned")?;
    hp.use_parallel_residual = keys.flag("use_parallel_residual")?;
    hp.n_deepstack_layers = keys.count("n_deepstack_layers", or_none(bounds::BLOCK_COUNT))?.unwrap_or(0);
    Ok(())
}

/// The bound, with 0 for "none".
const fn or_none(bound: Bound) -> Bound {
    Bound { min: 0, ..bound }
}

/// An architecture without rules here: full attention in every block bounds its cache from above.
pub(super) fn conservative(hp: &mut Hyperparameters) -> Warning {
    // DeepSeek V4's caches follow rules of their own, which need its window.
    if hp.architecture != "deepseek4" {
        hp.sliding_window = None;
    }
    hp.sliding_window_pattern = None;
    hp.shared_kv_layers = 0;
    let heads = match &hp.head_count_kv {
        PerLayer::Uniform(heads) => format!("{heads} key-value heads"),
        PerLayer::Each(_) => String::from("each layer's key-value heads"),
    };
    Warning::new(
        "unknown_architecture",
        format!(
            "architecture `{}` is not known: weights are the file's own, full attention over {heads} in all layers is assumed as an upper bound",
            hp.architecture
        ),
    )
}
