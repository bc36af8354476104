//! What each layer caches: its page, and how a page is asked for.
//!
//! Source: vLLM, `v1/kv_cache_interface.py` (`FullAttentionSpec`, `MLAAttentionSpec`, `SlidingWindowSpec`,
//! `ChunkedLocalAttentionSpec`, `MambaSpec`: `page_size_bytes`, `max_memory_usage_bytes`), 0.19.0 and 0.33.0.

use alloc::{format, vec::Vec};

use crate::{
    engine::serving::{
        Parallel,
        cache_type::CacheType,
        state::{StateTypes, state_bytes},
    },
    error::{Error, ErrorKind, Result},
    model::{Attention, CacheSource, Heads, Latent, Model, Span},
};

use super::rules::{HybridAlignment, Rules};

/// vLLM's names of cache types.
/// Source: vLLM, `config/cache.py` (`CacheDType`).
pub(super) const CACHE_TYPES: &[(&str, CacheType)] = &[
    ("auto", CacheType::Half),
    ("bfloat16", CacheType::Half),
    ("fp8", CacheType::Byte),
    ("fp8_e4m3", CacheType::Byte),
    ("fp8_e5m2", CacheType::Byte),
    ("fp8_inc", CacheType::Byte),
    ("fp8_per_token_head", CacheType::BytePerTokenHead),
    ("int8_per_token_head", CacheType::BytePerTokenHead),
    ("fp8_ds_mla", CacheType::LatentByte),
];

/// Reads `kv_cache_dtype`.
///
/// # Errors
/// [`ErrorKind::UnknownQuant`] for names that vLLM does not have.
pub fn parse_cache_type(name: Option<&str>) -> Result<CacheType> {
    CacheType::parse("vLLM", CACHE_TYPES, name)
}

/// What decides how many pages a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecKind {
    /// All tokens.
    Full,
    /// All tokens, one latent row each; its pages cannot be padded.
    Latent,
    /// The last `n` tokens.
    Sliding(u64),
    /// The current chunk of `n` tokens.
    Chunked(u64),
    /// One recurrent state.
    State,
}

/// What one layer caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerSpec {
    /// The layer.
    pub layer: u32,
    /// What decides how many pages a request needs.
    pub kind: SpecKind,
    /// Tokens per page.
    pub block_tokens: u64,
    /// Bytes per page on one rank.
    pub page_bytes: u64,
}

/// Options that shape the specs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecOptions {
    /// The division over ranks.
    pub parallel: Parallel,
    /// The cache's type.
    pub cache_type: CacheType,
    /// Tokens per block of the attention backend.
    pub block_size: u64,
    /// Types of recurrent states.
    pub state_types: StateTypes,
    /// Longest request, the nominal block of recurrent states that keep no prefixes.
    pub max_model_len: u64,
    /// Recurrent states are kept at block ends.
    pub align: bool,
    /// Every attention layer counts as full attention.
    pub disable_hybrid_kv_cache_manager: bool,
}

/// What every layer caches, in order. Layers that read another layer's cache have none.
///
/// # Errors
/// [`ErrorKind::EngineRefuses`] for recurrences that vLLM does not run.
pub fn layer_specs(model: &Model, options: &SpecOptions, rules: &Rules) -> Result<Vec<LayerSpec>> {
    let hp = model.hyperparameters();
    let blocks = || (0_u32..).zip(model.blocks()).filter(|(_, block)| !block.is_mtp);
    let mut largest_state = 0;
    for (layer, block) in blocks() {
        if block.recurrent.is_none() {
            continue;
        }
        let (conv, recurrent) = state_bytes(hp, block, layer, &options.parallel, options.state_types).ok_or_else(|| {
            Error::new(
                ErrorKind::EngineRefuses,
                format!("vLLM does not run the recurrent layers of architecture `{}`", model.architecture()),
            )
            .field("engine")
        })?;
        largest_state = largest_state.max(conv.saturating_add(recurrent));
    }
    let rows = blocks().filter_map(|(_, block)| row(options, &block.attention));
    let (row_bytes, latent) =
        rows.fold((0, false), |(widest, latent), (kind, row)| (row.max(widest), latent || kind == SpecKind::Latent));
    let block_size = match (largest_state, row_bytes) {
        (0, _) | (_, 0) => options.block_size,
        // An attention page must hold a state, because all pages are of one size.
        (state, row) => {
            let align = if latent { latent_alignment(rules, options.block_size) } else { 16 };
            options.block_size.max(align * state.div_ceil(align * row))
        }
    };
    let state_page = largest_state.max(block_size.saturating_mul(row_bytes));
    let mut specs = Vec::with_capacity(model.blocks().len());
    for (layer, block) in blocks() {
        if let Some((kind, row)) = row(options, &block.attention) {
            specs.push(LayerSpec { layer, kind, block_tokens: block_size, page_bytes: block_size.saturating_mul(row) });
        }
        if let Attention::Latent(Latent { indexer: Some(indexer), .. }) = block.attention {
            let row = CacheType::indexer_row(indexer.key_length.into());
            specs.push(LayerSpec { layer, kind: SpecKind::Latent, block_tokens: block_size, page_bytes: block_size * row });
        }
        if block.recurrent.is_some() {
            let block_tokens = if options.align { block_size } else { options.max_model_len };
            specs.push(LayerSpec { layer, kind: SpecKind::State, block_tokens, page_bytes: state_page });
        }
    }
    Ok(specs)
}

const fn latent_alignment(rules: &Rules, block_size: u64) -> u64 {
    match rules.latent_hybrid {
        HybridAlignment::Tokens(tokens) => tokens,
        // FLASH_ATTN_MLA's smallest kernel block.
        HybridAlignment::Backend => {
            if block_size > 16 {
                block_size
            } else {
                16
            }
        }
    }
}

/// What a layer's attention caches per token on a rank.
fn row(options: &SpecOptions, attention: &Attention) -> Option<(SpecKind, u64)> {
    match *attention {
        Attention::None | Attention::Heads(Heads { cache: CacheSource::SharedWith(_), .. }) => None,
        Attention::Latent(latent) => {
            Some((SpecKind::Latent, options.cache_type.latent_row(latent.kv_lora_rank.into(), latent.rope_length.into())))
        }
        Attention::Heads(heads) => {
            let kind = match heads.span {
                Span::Sliding(window) if !options.disable_hybrid_kv_cache_manager => SpecKind::Sliding(window.into()),
                Span::Chunked(chunk) if !options.disable_hybrid_kv_cache_manager => SpecKind::Chunked(chunk.into()),
                _ => SpecKind::Full,
            };
            let on_rank = options.parallel.heads(heads.head_count_kv.into());
            Some((kind, options.cache_type.heads_row(on_rank, heads.key_length.into(), heads.value_length.into())))
        }
    }
}
