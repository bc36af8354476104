//! Attention caches: what each layer keeps per token, for how many cells, and where.
//!
//! Source: `src/llama-kv-cache.cpp` (constructor), `src/llama-kv-cache-{iswa,dsa,msa,dsv4}.cpp`,
//! `src/llama-model.cpp` (`create_memory`), llama-cpp-sys-2 0.1.161.

use super::{
    buffer::{Machine, Place, Places},
    compressed,
    context::Context,
    indexer,
    options::Parameters,
    placement::Placement,
    window::Windows,
};
use crate::{
    error::Result,
    model::{Attention, CacheSource, Hyperparameters, Model},
    quant::GgmlType,
    workload::FlashAttention,
};

/// Architectures that are run without any cache: encoders and diffusion models.
const WITHOUT_CACHE: [&str; 15] = [
    "bert",
    "jina-bert-v2",
    "jina-bert-v3",
    "nomic-bert",
    "nomic-bert-moe",
    "neo-bert",
    "eurobert",
    "wavtokenizer-dec",
    "modern-bert",
    "gemma-embedding",
    "dream",
    "llada",
    "llada-moe",
    "rnd1",
    "clef",
];

/// What one layer caches for one token, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LayerCache {
    /// Whether the layer has a sliding window, and so a cache of its own kind.
    pub windowed: bool,
    /// Keys, or the compressed row of latent attention.
    pub key: u64,
    /// Values; 0 where they are read from the keys.
    pub value: u64,
    /// Keys of the sparse-attention indexer.
    pub indexer_key: u64,
    /// Values that the indexer's cache allocates and never uses.
    pub indexer_value: u64,
}

/// The attention caches of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caches {
    /// Layers that attend to everything.
    pub full: Places,
    /// Layers with a sliding window.
    pub windowed: Places,
    /// Sparse-attention indexers.
    pub indexer: Places,
}

impl Caches {
    /// All three kinds together.
    #[must_use]
    pub fn all(&self) -> Places {
        let mut sum = self.full.clone();
        sum.add_all(&self.windowed);
        sum.add_all(&self.indexer);
        sum
    }
}

/// Allocates the caches of every layer.
///
/// # Errors
/// [`ErrorKind::EngineRefuses`](crate::ErrorKind::EngineRefuses) where a row does not divide into the type's blocks.
pub fn allocate(
    model: &Model,
    parameters: &Parameters,
    context: &Context,
    placement: &Placement,
    machine: Machine<'_>,
) -> Result<Caches> {
    if compressed::applies(model.hyperparameters()) {
        return compressed::allocate(model, parameters, context, placement, machine);
    }
    let devices = placement.device_count();
    let mut caches = Caches { full: Places::empty(devices), windowed: Places::empty(devices), indexer: Places::empty(devices) };
    let layers = Layers::of(model, parameters);
    for layer in 0..model.hyperparameters().main_block_count() {
        let Some(cache) = layers.cache(layer) else { continue };
        let place = if parameters.offload_kqv { placement.layer(layer) } else { Place::Host };
        let rule = machine.rule(place);
        let cells = if cache.windowed { context.window_cells(layers.window) } else { context.cells() };
        let tensor = |elements: u64, ty: GgmlType| -> Result<u128> {
            if elements == 0 {
                return Ok(0);
            }
            let row = u128::from(ty.row_bytes(elements)?.get());
            rule.tensor(row * u128::from(cells) * u128::from(context.n_stream), ty, elements)
        };
        let own = if cache.windowed { &mut caches.windowed } else { &mut caches.full };
        own.add(place, tensor(cache.key, parameters.type_k)? + tensor(cache.value, parameters.type_v)?);
        caches.indexer.add(place, tensor(cache.indexer_key, parameters.type_k)? + tensor(cache.indexer_value, parameters.type_v)?);
    }
    Ok(caches)
}

/// The layers of a model with the engine's view of each.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    model: &'a Model,
    windows: Windows<'a>,
    window: u64,
    /// Width to which every layer's values are padded, where they are stored transposed.
    padded_value: Option<u64>,
}

impl<'a> Layers<'a> {
    /// The layers of `model` under the given options.
    #[must_use]
    pub fn of(model: &'a Model, parameters: &Parameters) -> Self {
        let hp = model.hyperparameters();
        let windows = Windows::of(hp);
        // Values are stored transposed where flash attention was refused; what `auto` ends with comes later.
        let transposed = parameters.flash_attn == FlashAttention::Off || is_without_flash_attention(hp);
        let padded_value = transposed.then(|| widest_value(hp, &windows));
        Self { model, windows, window: windows.size().unwrap_or(0).into(), padded_value }
    }

    /// What layer `layer` caches; `None` if it has no cache of its own.
    #[must_use]
    pub fn cache(&self, layer: u32) -> Option<LayerCache> {
        let hp = self.model.hyperparameters();
        let block = self.model.blocks().get(layer as usize)?;
        if block.is_mtp || runs_without_cache(hp) {
            return None;
        }
        match block.attention {
            Attention::None => None,
            Attention::Heads(heads) => {
                if matches!(heads.cache, CacheSource::SharedWith(_)) {
                    return None;
                }
                let windowed = self.windows.covers(layer);
                let kv_heads = u64::from(heads.head_count_kv);
                let value = kv_heads * u64::from(hp.value_length_at(layer, windowed));
                let [indexer_key, indexer_value] = indexer::heads_row(hp, layer, windowed);
                Some(LayerCache {
                    windowed,
                    key: kv_heads * u64::from(hp.key_length_at(layer, windowed)),
                    value: self.padded_value.unwrap_or(value),
                    indexer_key,
                    indexer_value,
                })
            }
            Attention::Latent(latent) => Some(LayerCache {
                windowed: self.windows.covers(layer),
                key: u64::from(latent.kv_lora_rank) + u64::from(latent.rope_length),
                value: 0,
                indexer_key: latent.indexer.map_or(0, |indexer| indexer::latent_row(hp, indexer.key_length)),
                indexer_value: 0,
            }),
        }
    }
}

impl Layers<'_> {
    /// The window in tokens; 0 without.
    #[must_use]
    pub const fn window(&self) -> u64 {
        self.window
    }
}

/// Whether llama.cpp runs the architecture without any cache.
#[must_use]
pub fn runs_without_cache(hp: &Hyperparameters) -> bool {
    WITHOUT_CACHE.contains(&hp.architecture.as_str())
}

/// llama.cpp forces flash attention off for Grok (`llama_init_from_model`).
fn is_without_flash_attention(hp: &Hyperparameters) -> bool {
    hp.architecture == "grok"
}

/// The widest value row over all layers, with a cache or not (`n_embd_v_gqa_max`).
fn widest_value(hp: &Hyperparameters, windows: &Windows<'_>) -> u64 {
    (0..hp.block_count)
        .map(|layer| u64::from(hp.head_count_kv.at(layer)) * u64::from(hp.value_length_at(layer, windows.covers(layer))))
        .max()
        .unwrap_or(0)
}
