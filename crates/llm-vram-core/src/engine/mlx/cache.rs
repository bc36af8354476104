//! The caches that mlx-lm makes for a model, layer by layer.
//!
//! Source: mlx-lm 0.32.2, `models/cache.py:make_prompt_cache`, `make_cache` of `models/*.py`, and `generate.py`
//! (`maybe_quantize_kv_cache`).

use alloc::vec::Vec;

use super::{
    classes::{Caches, class_of},
    growth::CacheClass,
    options::KvBits,
};
use crate::{
    error::Result,
    model::{Attention, Block, CacheSource, Model, Recurrence, Recurrent, Span},
    quant::mlx::is_deepseek_v2,
    units::Bytes,
};

/// Elements of caches and activations are 16 bits wide.
const ELEMENT_BYTES: u64 = 2;

/// The cache of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerCache {
    /// The layer.
    pub block: u32,
    /// Its growing part, if it has attention.
    pub attention: Option<AttentionCache>,
    /// Its fixed part, if it has a state.
    pub state: Option<StateCache>,
}

/// The growing part of a layer's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionCache {
    /// How it grows.
    pub class: CacheClass,
    /// Heads that are cached: key-value heads, or 1 for a compressed row.
    pub head_count: u64,
    /// Elements of a key head.
    pub key_length: u64,
    /// Elements of a value head.
    pub value_length: u64,
    /// Further elements per token of a second cache beside it (the sparse-attention indexer's, keys stored twice).
    pub indexer_elements: u64,
    /// Whether the compressed row of latent attention is cached.
    pub is_latent: bool,
    /// Whether it lies in a `CacheList`, which is never quantised.
    pub is_listed: bool,
}

/// What `--kv-bits` does to a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvBitsOutcome {
    /// It is quantised once it holds `quantized_kv_start` tokens.
    Quantised,
    /// It stays at 16 bits.
    Ignored,
    /// The conversion or the next step raises an exception.
    Crash(&'static str),
}

impl AttentionCache {
    /// Bytes of one slot at 16 bits.
    #[must_use]
    pub const fn slot_bytes(&self) -> u64 {
        (self.head_count * (self.key_length + self.value_length) + self.indexer_elements) * ELEMENT_BYTES
    }

    /// Bytes of one slot in groups of `group_size`: bits ÷ 8 per element, and a 16-bit scale and bias per group.
    #[must_use]
    pub const fn quantised_slot_bytes(&self, bits: KvBits) -> u64 {
        let elements = self.head_count * (self.key_length + self.value_length);
        elements * bits.bits / 8 + elements / bits.group_size * 4
    }

    /// What `--kv-bits` does.
    #[must_use]
    pub const fn kv_bits_outcome(&self, bits: KvBits) -> KvBitsOutcome {
        if self.is_listed || matches!(self.class, CacheClass::Chunked { .. }) {
            return KvBitsOutcome::Ignored;
        }
        if matches!(self.class, CacheClass::Rotating { .. }) {
            return KvBitsOutcome::Crash("NotImplementedError: RotatingKVCache Quantization NYI");
        }
        if self.is_latent {
            return KvBitsOutcome::Crash("AttributeError: latent attention reads the cache as plain arrays");
        }
        if !self.key_length.is_multiple_of(bits.group_size) || !self.value_length.is_multiple_of(bits.group_size) {
            return KvBitsOutcome::Crash("ValueError: the head size is no multiple of kv_group_size");
        }
        KvBitsOutcome::Quantised
    }
}

/// The fixed part of a layer's cache, per sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateCache {
    /// Convolution and recurrent state.
    pub bytes: Bytes,
    /// Bytes per token of the last prefill chunk that a state, a slice of the chunk's activation, keeps alive until
    /// the first decoded token.
    pub held_bytes_per_token: u64,
}

/// The caches of a model's layers, those that make none left out.
///
/// With `max_kv_size`, classes that leave their caches to `make_prompt_cache` get rotating ones of that size.
///
/// # Errors
/// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) for states beyond [`Bytes::MAX`].
pub fn layer_caches(model: &Model, max_kv_size: Option<u64>) -> Result<Vec<LayerCache>> {
    let caches = caches_of(model);
    let main_blocks = model.hyperparameters().main_block_count();
    let mut layers = Vec::new();
    for (index, block) in (0..main_blocks).zip(model.blocks()) {
        let attention = attention_cache(model, block, caches, max_kv_size);
        let state = block.recurrent.map(|recurrent| state_cache(model, recurrent)).transpose()?;
        if attention.is_some() || state.is_some() {
            layers.push(LayerCache { block: index, attention, state });
        }
    }
    Ok(layers)
}

/// Who makes the caches of a model.
pub(super) fn caches_of(model: &Model) -> Caches {
    let hp = model.hyperparameters();
    match hp.architecture.as_str() {
        // Only configs with `layer_types` have windows here; Mistral 7B v0.1 names a window that the class ignores.
        "llama" if hp.sliding_window_pattern.is_none() => Caches::OwnFull,
        // OLMo 3 shares its GGUF architecture with OLMo 2.
        "olmo2" if hp.sliding_window.is_some_and(|window| window > 0) => Caches::OwnRotating,
        architecture => class_of(architecture).map_or(Caches::Default, |class| class.caches),
    }
}

fn attention_cache(model: &Model, block: &Block, caches: Caches, max_kv_size: Option<u64>) -> Option<AttentionCache> {
    let class = |span: Span| match (span, caches) {
        (Span::Sliding(window), Caches::OwnRotating) => CacheClass::Rotating { max_size: window.into(), keep: 0 },
        (Span::Chunked(chunk), _) => CacheClass::Chunked { chunk_size: chunk.into() },
        (_, Caches::Default) => match max_kv_size {
            Some(max_size) => CacheClass::Rotating { max_size, keep: 4 },
            None => CacheClass::Full,
        },
        _ => CacheClass::Full,
    };
    match block.attention {
        Attention::None => None,
        Attention::Heads(heads) => match heads.cache {
            CacheSource::SharedWith(_) => None,
            CacheSource::Own => Some(AttentionCache {
                class: class(heads.span),
                head_count: heads.head_count_kv.into(),
                key_length: heads.key_length.into(),
                value_length: heads.value_length.into(),
                indexer_elements: 0,
                is_latent: false,
                is_listed: block.recurrent.is_some(),
            }),
        },
        Attention::Latent(latent) if is_deepseek_v2(model) => Some(AttentionCache {
            class: class(Span::Full),
            head_count: latent.head_count.into(),
            key_length: latent.key_length.into(),
            value_length: latent.value_length.into(),
            indexer_elements: 0,
            is_latent: false,
            is_listed: false,
        }),
        Attention::Latent(latent) => Some(AttentionCache {
            class: class(Span::Full),
            head_count: 1,
            key_length: latent.kv_lora_rank.into(),
            value_length: latent.rope_length.into(),
            // The second cache of the list stores the indexer's key in both its arrays.
            indexer_elements: latent.indexer.map_or(0, |indexer| 2 * u64::from(indexer.key_length)),
            is_latent: true,
            is_listed: latent.indexer.is_some(),
        }),
    }
}

fn state_cache(model: &Model, recurrent: Recurrent) -> Result<StateCache> {
    let hp = model.hyperparameters();
    // Scan states of the newer kinds are F32, whatever the model's type.
    let state_element_bytes = match recurrent.kind {
        Recurrence::Mamba1 | Recurrence::Rwkv | Recurrence::ShortConv => ELEMENT_BYTES,
        _ => 4,
    };
    let bytes = u128::from(recurrent.conv_elements) * u128::from(ELEMENT_BYTES)
        + u128::from(recurrent.state_elements) * u128::from(state_element_bytes);
    let conv_taps = match recurrent.kind {
        Recurrence::ShortConv => hp.shortconv_l_cache,
        _ => hp.ssm_conv_kernel,
    };
    let channels = recurrent.conv_elements / u64::from(conv_taps.saturating_sub(1).max(1));
    let held_elements_per_token = match recurrent.kind {
        Recurrence::Mamba1 if hp.architecture == "jamba" => channels.saturating_add(recurrent.state_elements),
        Recurrence::Mamba1 | Recurrence::Mamba2 | Recurrence::ShortConv => channels,
        // Token shifts are slices too, one each for time and channel mixing.
        Recurrence::Rwkv => recurrent.conv_elements,
        // Copied, so that nothing stays behind.
        _ => 0,
    };
    Ok(StateCache { bytes: Bytes::from_wide(bytes)?, held_bytes_per_token: held_elements_per_token.saturating_mul(ELEMENT_BYTES) })
}
