//! The operation `models` for one model: everything that its record says and that follows from it.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde::Serialize;

use super::{Entry, ModelEntry, SourceEntry, sources};
use crate::{
    catalog,
    derivation::{Certainty, Derivation},
    engine::{Engine, Scene, llama_cpp::LlamaCpp},
    error::{ErrorKind, Result},
    hardware::Hardware,
    model::{Attention, Block, CacheSource, FeedForward, Model, Recurrence, Span},
    quant::{FormatFamily, weight_bytes},
    units::{BitsPerWeight, Bytes, grouped},
    workload::Workload,
};

/// A model of the catalog, whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelDetails {
    /// What lists show of it.
    #[serde(flatten)]
    pub entry: ModelEntry,
    /// Further names that find it.
    pub aliases: &'static [&'static str],
    /// File formats in which it is published.
    pub formats: &'static [&'static str],
    /// Multi-token-prediction blocks that the publisher's repository carries.
    pub mtp_layers: u32,
    /// Its parameters, and how the stated count compares with the architecture's.
    pub parameter_counts: ParameterEntry,
    /// Width of its hidden states.
    pub embedding_length: u32,
    /// Tokens that it knows.
    pub vocab_size: u32,
    /// Blocks of the language model, multi-token-prediction blocks not counted.
    pub block_count: u32,
    /// How its blocks remember and attend, kind by kind.
    pub attention: Vec<LayerGroup>,
    /// How its blocks transform what they attended to, kind by kind.
    pub feed_forward: Vec<LayerGroup>,
    /// Sizes in the usual weight formats: GGUF, then checkpoints, then MLX.
    pub sizes: Vec<QuantSize>,
    /// What a request takes in memory; absent if llama.cpp does not run the architecture.
    pub kv_cache: Option<KvCacheSizes>,
    /// Fields that no source covers.
    pub unverified: &'static [&'static str],
    /// Where the rest comes from.
    pub sources: Vec<SourceEntry>,
}

/// Parameter counts, and the check of the stated one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ParameterEntry {
    /// Everything.
    pub total: u64,
    /// The language model alone.
    pub text: u64,
    /// Of one token.
    pub active: Option<u64>,
    /// Vision and audio towers with their projectors.
    pub tower: Option<u64>,
    /// Multi-token-prediction blocks.
    pub mtp: Option<u64>,
    /// What the publisher's repository lists.
    pub published: Option<u64>,
    /// What follows from the architecture for the language model alone.
    pub computed: u64,
    /// `exact` if `computed` equals `text`, else `explained`.
    pub check: &'static str,
    /// `text` − `computed`.
    pub difference: i64,
    /// Why there is a difference.
    pub because: Option<&'static str>,
}

/// Blocks of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerGroup {
    /// How many.
    pub layers: u32,
    /// Their kind in a word or two, such as `full attention`.
    pub kind: String,
    /// Their dimensions, in words.
    pub detail: String,
}

/// The size of a model in a weight format.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantSize {
    /// The format.
    pub quant: String,
    /// Its group: `gguf`, `hf` or `mlx`.
    pub family: &'static str,
    /// All weight tensors.
    pub weights_bytes: Bytes,
    /// Stored bits per weight over the whole model.
    pub bits_per_weight: Option<f64>,
    /// How well it is known.
    pub how_known: Certainty,
    /// Whether llama-quantize refuses to make it without an importance matrix.
    pub needs_imatrix: bool,
    /// What the format is for.
    pub purpose: &'static str,
}

/// What one request takes, as llama.cpp stores it with `f16` caches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KvCacheSizes {
    /// Growth per token once every window is full.
    pub bytes_per_token: Bytes,
    /// The recurrent state, which does not grow.
    pub recurrent_state_bytes: Bytes,
    /// The cache at 8,192 and 32,768 tokens and at the trained length.
    pub at: Vec<CacheSize>,
}

/// A cache of one request at a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CacheSize {
    /// Tokens.
    pub context: u64,
    /// Attention caches of all layers.
    pub kv_cache_bytes: Bytes,
}

/// One model of the catalog, by any of its names.
///
/// # Errors
/// [`ErrorKind::UnknownModel`] with the nearest ids.
///
/// ```
/// let llama = llm_vram_core::wire::model("llama3.1:8b")?.entry;
/// assert_eq!(llama.attention[0].kind, "full attention");
/// assert_eq!(llama.kv_cache.map(|cache| cache.bytes_per_token.get()), Some(131_072));
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
pub fn model(name: &str) -> Result<Entry<ModelDetails>> {
    let catalog::CatalogModel { record, model } = catalog::model(name)?;
    let counts = record.parameters;
    let blocks = || model.blocks().iter().filter(|block| !block.is_mtp);
    Ok(Entry::new(ModelDetails {
        entry: ModelEntry::from(record),
        aliases: record.aliases,
        formats: record.formats,
        mtp_layers: record.mtp_layers.max(record.architecture.nextn_predict_layers),
        parameter_counts: ParameterEntry {
            total: counts.total,
            text: counts.text,
            active: counts.active,
            tower: counts.tower,
            mtp: counts.mtp,
            published: counts.published,
            computed: model.parameters().checkpoint,
            check: counts.check.word(),
            difference: counts.difference,
            because: counts.because,
        },
        embedding_length: record.architecture.embedding_length,
        vocab_size: record.architecture.vocab_size,
        block_count: model.hyperparameters().main_block_count(),
        attention: groups(blocks().map(memory_of)),
        feed_forward: groups(blocks().map(|block| feed_forward(&block.feed_forward))),
        sizes: sizes(&model)?,
        kv_cache: kv_cache(&model)?,
        unverified: record.unverified,
        sources: sources(record.sources),
    }))
}

/// Counts equal descriptions, in the order of their first appearance.
fn groups(descriptions: impl Iterator<Item = (String, String)>) -> Vec<LayerGroup> {
    let mut groups: Vec<LayerGroup> = Vec::new();
    for (kind, detail) in descriptions {
        match groups.iter_mut().find(|group| group.kind == kind && group.detail == detail) {
            Some(group) => group.layers += 1,
            None => groups.push(LayerGroup { layers: 1, kind, detail }),
        }
    }
    groups
}

/// Kind and dimensions of what a block attends to and remembers.
fn memory_of(block: &Block) -> (String, String) {
    let attention = match &block.attention {
        Attention::None => None,
        Attention::Heads(heads) => {
            let kind = match heads.span {
                Span::Full => String::from("full attention"),
                Span::Sliding(window) => format!("sliding window of {} tokens", grouped(window.into())),
                Span::Chunked(chunk) => format!("chunks of {} tokens", grouped(chunk.into())),
            };
            let sharing = match heads.head_count_kv {
                kv if kv == heads.head_count => "MHA",
                1 => "MQA",
                _ => "GQA",
            };
            let mut detail = format!("{sharing}: {} query heads, {} KV heads", heads.head_count, heads.head_count_kv);
            detail.push_str(&if heads.key_length == heads.value_length {
                format!(" of {}", heads.key_length)
            } else {
                format!(", keys of {}, values of {}", heads.key_length, heads.value_length)
            });
            if heads.cache != CacheSource::Own {
                detail.push_str(", cache shared with an earlier layer");
            }
            Some((kind, detail))
        }
        Attention::Latent(latent) => {
            let mut detail = format!(
                "MLA: {} heads, {} + {} cached values per token",
                latent.head_count, latent.kv_lora_rank, latent.rope_length
            );
            if let Some(indexer) = latent.indexer {
                detail.push_str(&format!(
                    ", indexer keys of {} select {} tokens",
                    indexer.key_length,
                    grouped(indexer.top_k.into())
                ));
            }
            Some((String::from("latent attention"), detail))
        }
    };
    let recurrent = block.recurrent.map(|state| {
        let kind = match state.kind {
            Recurrence::Mamba1 => "Mamba",
            Recurrence::Mamba2 => "Mamba 2",
            Recurrence::GatedDeltaNet => "gated delta net",
            Recurrence::Kda => "Kimi delta attention",
            Recurrence::Lightning => "lightning attention",
            Recurrence::Rwkv => "RWKV",
            Recurrence::ShortConv => "short convolution",
        };
        (String::from(kind), format!("state of {} values", grouped(state.conv_elements + state.state_elements)))
    });
    match (attention, recurrent) {
        (Some(one), None) | (None, Some(one)) => one,
        (Some(a), Some(b)) => (format!("{} beside {}", a.0, b.0), format!("{}; {}", a.1, b.1)),
        (None, None) => (String::from("no attention"), String::new()),
    }
}

fn feed_forward(part: &FeedForward) -> (String, String) {
    match part {
        FeedForward::None => (String::from("none"), String::new()),
        FeedForward::Dense { length } => (String::from("dense"), format!("width {}", grouped((*length).into()))),
        FeedForward::Experts { count, used, length, shared_length } => {
            let mut detail = format!("{count} experts of width {}, {used} used per token", grouped((*length).into()));
            if *shared_length > 0 {
                detail.push_str(&format!(", shared width {}", grouped((*shared_length).into())));
            }
            (String::from("experts"), detail)
        }
    }
}

/// Sizes in the usual formats of every family that stores exact sizes; formats that refuse the model are left out.
fn sizes(model: &Model) -> Result<Vec<QuantSize>> {
    let families = [(FormatFamily::Gguf, "gguf"), (FormatFamily::Checkpoint, "hf"), (FormatFamily::Mlx, "mlx")];
    let parameters = model.parameters().total;
    let mut sizes = Vec::new();
    for (family, name) in families {
        for format in family.ladder() {
            match weight_bytes(model, &format) {
                Ok(weights) => sizes.push(QuantSize {
                    quant: format.to_string(),
                    family: name,
                    weights_bytes: weights.total,
                    bits_per_weight: BitsPerWeight::new(weights.total.get() * 8, parameters).ok().map(BitsPerWeight::to_f64),
                    how_known: weights.certainty,
                    needs_imatrix: weights.needs_imatrix,
                    purpose: format.purpose(),
                }),
                Err(error) if matches!(error.kind(), ErrorKind::EngineRefuses | ErrorKind::Unsupported) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(sizes)
}

/// Lengths beyond every window of published models, between which caches grow by whole tokens.
const BEYOND_WINDOWS: [u64; 2] = [1 << 19, 1 << 20];

fn kv_cache(model: &Model) -> Result<Option<KvCacheSizes>> {
    let format = FormatFamily::Gguf.default_format();
    let hardware = Hardware::default();
    let ask = |context: u64| -> Result<Option<(Bytes, Bytes)>> {
        let workload = Workload::new(context);
        let scene = Scene { model, format: &format, workload: &workload, hardware: &hardware, version: None, memo: None };
        match LlamaCpp.memory(&scene, &mut Derivation::off()) {
            Ok(memory) => Ok(Some((memory.kv_cache, memory.recurrent_state))),
            Err(error) if matches!(error.kind(), ErrorKind::EngineRefuses | ErrorKind::Unsupported) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let [near, far] = BEYOND_WINDOWS;
    let (Some((at_near, state)), Some((at_far, _))) = (ask(near)?, ask(far)?) else { return Ok(None) };
    let trained = model.hyperparameters().context_length;
    let mut contexts: Vec<u64> = [8192, 32_768].into_iter().filter(|&context| context < trained).collect();
    contexts.push(trained);
    let mut at = Vec::with_capacity(contexts.len());
    for context in contexts {
        at.extend(ask(context)?.map(|(kv_cache_bytes, _)| CacheSize { context, kv_cache_bytes }));
    }
    Ok(Some(KvCacheSizes {
        bytes_per_token: Bytes::new(at_far.saturating_sub(at_near).get() / (far - near))?,
        recurrent_state_bytes: state,
        at,
    }))
}
