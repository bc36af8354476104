//! Dense transformers: what every decoder config states, and the models that add only biases or norms.

use alloc::{format, vec::Vec};

use super::fields::Fields;
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Facts, Hyperparameters, PerLayer, WindowPattern},
};

/// The fields that every decoder states: sizes, heads, vocabulary, tying, rotary tables.
///
/// Absent `head_dim` and `num_key_value_heads` mean hidden size ÷ heads and as many as query heads.
pub(super) fn decoder(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = Hyperparameters::new(architecture);
    let heads = fields.number("num_attention_heads")?;
    let head_length = fields.positive("head_dim")?;
    hp.block_count = fields.number("num_hidden_layers")?;
    hp.embedding_length = fields.number("hidden_size")?;
    hp.vocab_size = fields.number("vocab_size")?;
    hp.context_length = fields.number_or("max_position_embeddings", 0)?.into();
    hp.feed_forward_length = fields.number_or("intermediate_size", 0)?.into();
    hp.head_count = heads.into();
    hp.head_count_kv = fields.number_or("num_key_value_heads", heads)?.into();
    hp.key_length = head_length;
    hp.value_length = head_length;
    hp.rope_dimension_count = rotated(fields, head_length.or_else(|| hp.embedding_length.checked_div(heads)))?;
    hp.final_logit_softcapping = fields.real("final_logit_softcapping")?;
    hp.facts = Facts { tied: fields.flag("tie_word_embeddings")?, ..bare(&hp.facts) };
    let scaling = rope_type(fields)?;
    hp.facts.rope_freqs = scaling == Some("llama3") && WRITES_ROPE_FREQS.contains(&architecture);
    hp.facts.rope_factors = matches!(scaling, Some("longrope" | "su")) && matches!(architecture, "phi3" | "phimoe");
    Ok(hp)
}

/// Architectures whose converter stores the factors of `llama3` scaling as a tensor.
/// Source: llama.cpp, `src/llama-model.cpp` (`LLM_TENSOR_ROPE_FREQS`), llama-cpp-sys-2 0.1.161.
const WRITES_ROPE_FREQS: &[&str] = &["llama", "llama4", "deci", "exaone", "exaone4", "exaone-moe", "granite", "smollm3", "apertus"];

/// The typical facts without those that a config decides itself.
fn bare(typical: &Facts) -> Facts {
    Facts { qkv_bias: false, o_bias: false, ffn_bias: false, rope_factors: false, moe_layers: None, ..typical.clone() }
}

/// The rotated part of a head of `length`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn rotated(fields: &Fields<'_>, length: Option<u32>) -> Result<Option<u32>> {
    let nested = |key| fields.nested(key, "").and_then(|rope| rope.map_or(Ok(None), |rope| rope.real("partial_rotary_factor")));
    if let Some(rotated) = fields.positive("rotary_dim")? {
        return Ok(Some(rotated));
    }
    let stated = fields.real("partial_rotary_factor")?.or(nested("rope_parameters")?);
    let factor = stated.unwrap_or_else(|| usual_rotated_share(fields.model_type()));
    if !(0.0..=1.0).contains(&factor) {
        let path = fields.path("partial_rotary_factor");
        return Err(Error::new(ErrorKind::OutOfRange, format!("`{path}` is `{factor}`: expected 0 to 1")).field(path));
    }
    Ok(length.map(|length| (f64::from(length) * factor) as u32))
}

/// The share of a head that is rotated where the file is silent.
///
/// Source: `kwargs.setdefault("partial_rotary_factor", …)` in `src/transformers/models/*/configuration_*.py`,
/// transformers 5.23.0.
fn usual_rotated_share(model_type: &str) -> f64 {
    match model_type {
        "stablelm" | "qwen3_next" | "qwen3_5" | "qwen3_5_text" | "qwen3_5_moe" | "qwen3_5_moe_text" => 0.25,
        "glm" | "glm4" | "glm4_moe" | "nemotron" | "persimmon" | "phi" => 0.5,
        _ => 1.0,
    }
}

/// The kind of rotary scaling, under any of its historical names.
fn rope_type<'a>(fields: &Fields<'a>) -> Result<Option<&'a str>> {
    for key in ["rope_parameters", "rope_scaling"] {
        if let Some(rope) = fields.nested(key, "")? {
            let stated = rope.text("rope_type")?.or(rope.text("type")?);
            if stated.is_some() {
                return Ok(stated);
            }
        }
    }
    Ok(None)
}

/// Reads a list with one entry for each block, checking its length.
pub(super) fn layers<'a>(fields: &Fields<'a>, key: &str, blocks: u32) -> Result<Option<Vec<&'a str>>> {
    let Some(kinds) = fields.texts(key)? else { return Ok(None) };
    // A list that is longer than the model also describes its multi-token-prediction blocks.
    if kinds.len() < blocks as usize {
        return Err(too_short(fields, key, kinds.len(), blocks));
    }
    Ok(Some(kinds.into_iter().take(blocks as usize).collect()))
}

/// The error for a list that does not cover the blocks.
#[cold]
pub(super) fn too_short(fields: &Fields<'_>, key: &str, found: usize, blocks: u32) -> Error {
    let path = fields.path(key);
    Error::new(ErrorKind::Contradiction, format!("`{path}` has {found} entries for {blocks} layers")).field(path)
}

/// Reads the window and which blocks have it from `layer_types`, else from a period.
pub(super) fn windows(fields: &Fields<'_>, hp: &mut Hyperparameters, period: Option<u32>) -> Result<()> {
    hp.sliding_window = fields.positive("sliding_window")?;
    if hp.sliding_window.is_none() {
        return Ok(());
    }
    hp.sliding_window_pattern = match layers(fields, "layer_types", hp.block_count)? {
        Some(kinds) => Some(WindowPattern::Each(kinds.iter().map(|kind| *kind != "full_attention").collect())),
        None => {
            let text = fields.is_text("sliding_window_pattern");
            let stated =
                if text || fields.is_list("sliding_window_pattern") { None } else { fields.positive("sliding_window_pattern")? };
            stated.or(period).map(WindowPattern::Period)
        }
    };
    Ok(())
}

/// LLaMA and what is built like it; `attention_bias` covers all four projections.
pub(super) fn llama(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    let bias = fields.flag("attention_bias")? || fields.flag("use_bias")?;
    hp.facts.qkv_bias = bias;
    hp.facts.o_bias = bias;
    hp.facts.ffn_bias = fields.flag("mlp_bias")?;
    hp.embedding_scale = fields.real("embedding_multiplier")?;
    hp.residual_scale = fields.real("residual_multiplier")?;
    hp.logit_scale = fields.real("logits_scaling")?;
    Ok(hp)
}

/// Mistral: LLaMA without biases, in its first version with a window in every block.
pub(super) fn mistral(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    windows(fields, &mut hp, None)?;
    Ok(hp)
}

/// Qwen 2: biases on query, key and value; windows only if `use_sliding_window` says so.
pub(super) fn qwen2(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    hp.facts.qkv_bias = true;
    optional_windows(fields, &mut hp)?;
    Ok(hp)
}

/// Qwen 3: normalised queries and keys.
pub(super) fn qwen3(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = llama(fields, architecture)?;
    optional_windows(fields, &mut hp)?;
    Ok(hp)
}

/// Windows from block `max_window_layers` on, if `use_sliding_window` is set.
fn optional_windows(fields: &Fields<'_>, hp: &mut Hyperparameters) -> Result<()> {
    if !fields.flag("use_sliding_window")? {
        return Ok(());
    }
    hp.sliding_window = fields.positive("sliding_window")?;
    let first = fields.number_or("max_window_layers", 28)?;
    hp.sliding_window_pattern = match layers(fields, "layer_types", hp.block_count)? {
        Some(kinds) => Some(WindowPattern::Each(kinds.iter().map(|kind| *kind == "sliding_attention").collect())),
        None => Some(WindowPattern::Each((0..hp.block_count).map(|block| block >= first).collect())),
    };
    Ok(())
}

/// Phi-3: one matrix for query, key and value; a window in every block.
pub(super) fn phi3(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = mistral(fields, architecture)?;
    hp.facts.fused_qkv = true;
    Ok(hp)
}

/// Phi-1 and 2: every matrix has a bias, the output head too.
pub(super) fn phi2(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    hp.facts = Facts { qkv_bias: true, o_bias: true, ffn_bias: true, output_bias: true, ..hp.facts };
    Ok(hp)
}

/// StarCoder 2: biases everywhere if `use_bias`.
pub(super) fn starcoder2(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = mistral(fields, architecture)?;
    let bias = fields.flag_or("use_bias", true)?;
    hp.facts = Facts { qkv_bias: bias, o_bias: bias, ffn_bias: bias, ..hp.facts };
    Ok(hp)
}

/// StableLM: `use_qkv_bias`, and optional per-head norms.
pub(super) fn stablelm(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    hp.facts.qkv_bias = fields.flag("use_qkv_bias")?;
    hp.facts.qk_norm = fields.flag("qk_layernorm")?;
    Ok(hp)
}

/// InternLM 2: `bias` on all projections.
pub(super) fn internlm2(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    let bias = fields.flag("bias")?;
    hp.facts = Facts { qkv_bias: bias, o_bias: bias, ..hp.facts };
    Ok(hp)
}

/// GLM-4 and Seed-OSS: `attention_bias` on query, key and value alone.
pub(super) fn qkv_bias(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    hp.facts.qkv_bias = fields.flag("attention_bias")?;
    hp.facts.o_bias = fields.flag("attention_out_bias")?;
    hp.facts.ffn_bias = fields.flag("mlp_bias")?;
    Ok(hp)
}

/// Command R and Command R7B: optional per-head norms, windows in three of four blocks of the latter.
pub(super) fn cohere(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = llama(fields, architecture)?;
    hp.facts.qk_norm = fields.flag("use_qk_norm")?;
    hp.logit_scale = fields.real("logit_scale")?;
    if architecture == "cohere2" {
        windows(fields, &mut hp, Some(4))?;
    }
    Ok(hp)
}

/// OLMo 2 and 3: norms after the blocks, queries and keys normalised over their full width.
pub(super) fn olmo2(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = llama(fields, architecture)?;
    // The second generation has no windows, the third has them in three of four blocks.
    if fields.model_type() == "olmo3" {
        windows(fields, &mut hp, Some(4))?;
    }
    Ok(hp)
}

/// EXAONE 4: windows as `layer_types` or a pattern such as `LLLG` says.
pub(super) fn exaone4(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    windows(fields, &mut hp, Some(4))?;
    if fields.is_text("sliding_window_pattern") && hp.sliding_window.is_some() && !fields.states("layer_types") {
        let letters = fields.text("sliding_window_pattern")?.unwrap_or_default().as_bytes();
        let windowed = |block: u32| letters.get(block as usize % letters.len().max(1)).is_some_and(|letter| *letter == b'L');
        hp.sliding_window_pattern = Some(WindowPattern::Each((0..hp.block_count).map(windowed).collect()));
    }
    Ok(hp)
}

/// Gemma 1 to 3: tied, with windows in every other block (2) or five of six (3).
pub(super) fn gemma(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = llama(fields, architecture)?;
    match architecture {
        "gemma2" => windows(fields, &mut hp, Some(2))?,
        "gemma3" => windows(fields, &mut hp, Some(6))?,
        _ => {}
    }
    Ok(hp)
}

/// Gemma 3n: per-layer embeddings, parallel residual streams, shared caches.
///
/// The language table's last rows, placeholders for image and audio tokens, are dropped by converters.
pub(super) fn gemma3n(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let is_list = fields.is_list("intermediate_size");
    let widths = if is_list { fields.numbers("intermediate_size")? } else { None };
    let mut hp = per_layer_embedded(fields, architecture, is_list)?;
    if let Some(widths) = widths {
        if widths.len() != hp.block_count as usize {
            return Err(too_short(fields, "intermediate_size", widths.len(), hp.block_count));
        }
        let uniform = widths.first().copied().filter(|first| widths.iter().all(|width| width == first));
        hp.feed_forward_length = uniform.map_or(PerLayer::Each(widths), PerLayer::Uniform);
    }
    windows(fields, &mut hp, Some(5))?;
    hp.vocab_size = fields.number_or("vocab_size_per_layer_input", hp.vocab_size)?;
    hp.altup_num_inputs = fields.number("altup_num_inputs")?;
    hp.facts.kv_on_shared = true;
    Ok(hp)
}

fn per_layer_embedded(fields: &Fields<'_>, architecture: &str, widths_listed: bool) -> Result<Hyperparameters> {
    let mut hp = if widths_listed { decoder_without_width(fields, architecture)? } else { decoder(fields, architecture)? };
    hp.embedding_length_per_layer_input = fields.number_or("hidden_size_per_layer_input", 0)?;
    hp.shared_kv_layers = fields.number_or("num_kv_shared_layers", 0)?;
    Ok(hp)
}

/// As [`decoder`] where `intermediate_size` is a list that the caller reads.
pub(super) fn decoder_without_width(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    decoder(&fields.without("intermediate_size"), architecture)
}

/// Gemma 4: wider heads and fewer of them in full-attention blocks, optional experts beside the dense part.
pub(super) fn gemma4(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = per_layer_embedded(fields, architecture, false)?;
    windows(fields, &mut hp, Some(6))?;
    let blocks = hp.block_count;
    let full = |hp: &Hyperparameters, block: u32| match &hp.sliding_window_pattern {
        Some(WindowPattern::Each(flags)) => !flags.get(block as usize).copied().unwrap_or(false),
        Some(WindowPattern::Period(period)) => *period == 0 || block % period == period - 1,
        None => true,
    };
    // transformers forces the last block to full attention.
    let flags = (0..blocks).map(|block| block + 1 < blocks && !full(&hp, block)).collect();
    hp.sliding_window_pattern = Some(WindowPattern::Each(flags));
    let length = hp.key_length;
    let global = fields.positive("global_head_dim")?.unwrap_or(512);
    (hp.key_length_swa, hp.value_length_swa) = (length, length);
    (hp.key_length, hp.value_length) = (Some(global), Some(global));
    hp.rope_dimension_count = Some(global);
    let key_is_value = fields.flag("attention_k_eq_v")?;
    if let (true, Some(kv)) = (key_is_value, fields.positive("num_global_key_value_heads")?) {
        let own = hp.head_count_kv.at(0);
        hp.head_count_kv = PerLayer::Each((0..blocks).map(|block| if full(&hp, block) { kv } else { own }).collect());
    }
    if fields.flag("use_double_wide_mlp")? {
        let (width, own) = (hp.feed_forward_length.at(0), blocks.saturating_sub(hp.shared_kv_layers));
        let wide = |block| if block < own { width } else { width.saturating_mul(2) };
        hp.feed_forward_length = PerLayer::Each((0..blocks).map(wide).collect());
    }
    if fields.flag("enable_moe_block")? {
        hp.expert_count = fields.number("num_experts")?;
        hp.expert_used_count = fields.number("num_experts_per_tok")?;
        hp.expert_feed_forward_length = Some(fields.number("moe_intermediate_size")?);
    }
    hp.facts = Facts { v_on_full: !key_is_value, kv_on_shared: true, layer_scale: true, rope_freqs: true, ..hp.facts };
    Ok(hp)
}

/// Falcon 7B and 40B: one matrix for query, key and value, norms with biases.
pub(super) fn falcon(fields: &Fields<'_>, architecture: &str) -> Result<Hyperparameters> {
    let mut hp = decoder(fields, architecture)?;
    let newer = fields.flag("new_decoder_architecture")?;
    if !newer {
        hp.head_count_kv = if fields.flag_or("multi_query", true)? { 1.into() } else { hp.head_count.clone() };
    }
    if hp.feed_forward_length.at(0) == 0 {
        hp.feed_forward_length = hp.embedding_length.saturating_mul(4).into();
    }
    hp.facts.fused_qkv = true;
    hp.facts.attn_norm_2 = newer;
    Ok(hp)
}
