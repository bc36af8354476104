//! Groups of layers that share a block table, blocks, and how many a request needs.
//!
//! Source: vLLM, `v1/core/kv_cache_utils.py` (later `kv_cache_planning.py`): `get_kv_cache_groups`,
//! `unify_kv_cache_spec_page_size`, `get_kv_cache_configs`, `get_max_concurrency_for_kv_cache_config`,
//! `check_enough_kv_cache_memory`, `estimate_max_model_len`; run in 0.19.0 and 0.33.0.

use alloc::{format, vec::Vec};
use core::ops::Range;

use crate::{
    error::{Error, ErrorKind, Result},
    units::Bytes,
};

use super::{
    kv_spec::{LayerSpec, SpecKind},
    rules::{Rules, TokenFigure},
};

/// Layers of one kind and block size, dealt into groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// What decides how many blocks a request needs.
    pub kind: SpecKind,
    /// Tokens per block.
    pub block_tokens: u64,
    /// Its layers.
    pub layers: u64,
    /// The groups that they are dealt into.
    pub groups: u64,
}

impl Bucket {
    /// Layers of each group, in order: dealt in turn, so the first groups may have one more.
    pub fn group_layers(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.groups).map(|group| self.layers / self.groups + u64::from(group < self.layers % self.groups))
    }
}

/// How the cache is laid out, independent of how much memory there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvPlan {
    /// The layers by kind, in the order of their first layers.
    pub buckets: Vec<Bucket>,
    /// Bytes of a block on each pipeline stage's ranks.
    pub bytes_per_block: Vec<Bytes>,
    /// States that a request keeps per group.
    states_per_request: u64,
    checks_null_block: bool,
    token_figure: TokenFigure,
}

impl KvPlan {
    /// Lays out the cache of `layers`, divided into pipeline `stages`.
    ///
    /// # Errors
    /// [`ErrorKind::EngineRefuses`] where this version cannot bring pages to one size.
    pub fn new(layers: &[LayerSpec], stages: &[Range<u32>], align: bool, rules: &Rules) -> Result<Self> {
        let largest = layers.iter().map(|spec| spec.page_bytes).max().unwrap_or(0);
        let uniform = layers.windows(2).all(|pair| same_bucket(&pair[0], &pair[1]));
        let mut members: Vec<(LayerSpec, u64)> = Vec::new();
        for spec in layers {
            let spec = if uniform { *spec } else { unify(spec, largest, rules)? };
            match members.iter_mut().find(|(first, _)| same_bucket(first, &spec)) {
                Some((_, count)) => *count += 1,
                None => members.push((spec, 1)),
            }
        }
        let most = members.iter().map(|(_, count)| *count).max().unwrap_or(0);
        let fewest = members.iter().map(|(_, count)| *count).min().unwrap_or(0);
        let (numerator, denominator) = rules.group_ratio;
        let group_size = if uniform || most * denominator < fewest * numerator { most } else { fewest };
        let buckets: Vec<Bucket> = members
            .iter()
            .map(|(spec, count)| Bucket {
                kind: spec.kind,
                block_tokens: spec.block_tokens,
                layers: *count,
                groups: count.div_ceil(group_size.max(1)),
            })
            .collect();
        let bytes_per_block = stages
            .iter()
            .map(|stage| if uniform { sum_of_pages(layers, stage) } else { widest_group(layers, &buckets, largest, stage, rules) })
            .collect::<Result<_>>()?;
        let states_per_request = if align { 2 } else { 1 };
        let (checks_null_block, token_figure) = (rules.checks_null_block, rules.token_figure);
        Ok(Self { buckets, bytes_per_block, states_per_request, checks_null_block, token_figure })
    }

    /// Number of groups.
    #[must_use]
    pub fn groups(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.groups).sum()
    }

    /// Blocks that a request of `tokens` needs over all groups, with `tokens_in_flight` beside windows and chunks.
    #[must_use]
    pub fn blocks_per_request(&self, tokens: u64, tokens_in_flight: u64) -> u64 {
        let blocks = |bucket: &Bucket| {
            let (size, reach) = (bucket.block_tokens.max(1), |width: u64| width.saturating_add(tokens_in_flight).min(tokens));
            match bucket.kind {
                SpecKind::Full | SpecKind::Latent => tokens.div_ceil(size),
                // One more, because a window may begin inside a block.
                SpecKind::Sliding(window) => reach(window.saturating_sub(1)).div_ceil(size) + 1,
                SpecKind::Chunked(chunk) => reach(chunk).div_ceil(size),
                SpecKind::State => self.states_per_request,
            }
        };
        self.buckets.iter().map(|bucket| blocks(bucket).saturating_mul(bucket.groups)).fold(0, u64::saturating_add)
    }

    /// Blocks that all ranks can hold, given each stage's bytes for cache.
    #[must_use]
    pub fn num_blocks(&self, available: impl IntoIterator<Item = Bytes>) -> u64 {
        self.bytes_per_block
            .iter()
            .zip(available)
            .filter(|(block, _)| block.get() > 0)
            .map(|(block, bytes)| bytes.get() / block.get())
            .min()
            .unwrap_or(0)
    }

    /// Requests of `max_model_len` tokens that `num_blocks` hold at once.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn concurrency(&self, num_blocks: u64, max_model_len: u64, tokens_in_flight: u64) -> f64 {
        let needed = self.blocks_per_request(max_model_len, tokens_in_flight);
        // Both are far below 2^53.
        if needed == 0 { 0.0 } else { num_blocks as f64 / needed as f64 }
    }

    /// The tokens that "GPU KV cache size" prints in this version.
    #[must_use]
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn logged_tokens(&self, num_blocks: u64, max_model_len: u64, tokens_in_flight: u64) -> u64 {
        match self.token_figure {
            TokenFigure::BlocksPerGroup => {
                let smallest = self.buckets.iter().map(|bucket| bucket.block_tokens).min().unwrap_or(0);
                (num_blocks / self.groups().max(1)).saturating_mul(smallest)
            }
            // As the engine computes it, in floating point.
            TokenFigure::Concurrency => {
                (self.concurrency(num_blocks, max_model_len, tokens_in_flight) * max_model_len as f64) as u64
            }
        }
    }

    /// Whether the engine starts: one request of `max_model_len` fits.
    #[must_use]
    pub fn starts(&self, num_blocks: u64, max_model_len: u64, tokens_in_flight: u64) -> bool {
        let null_block = u64::from(self.checks_null_block);
        num_blocks > 0 && num_blocks >= self.blocks_per_request(max_model_len, tokens_in_flight).saturating_add(null_block)
    }

    /// The longest request, up to `longest`, with which the engine starts; `None` if it never does.
    #[must_use]
    pub fn max_model_len(&self, num_blocks: u64, longest: u64, tokens_in_flight: u64) -> Option<u64> {
        let fits = |tokens| self.starts(num_blocks, tokens, tokens_in_flight);
        if !fits(1) {
            return None;
        }
        let (mut low, mut high) = (1, longest.max(1));
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if fits(middle) { low = middle } else { high = middle - 1 }
        }
        Some(low)
    }
}

/// Whether two layers count as one type. Latent attention is a kind of full attention.
fn same_bucket(a: &LayerSpec, b: &LayerSpec) -> bool {
    let base = |kind| if kind == SpecKind::Latent { SpecKind::Full } else { kind };
    base(a.kind) == base(b.kind) && a.block_tokens == b.block_tokens
}

/// A layer with its page brought to the largest: by more tokens per page where that divides, else by padding.
fn unify(spec: &LayerSpec, largest: u64, rules: &Rules) -> Result<LayerSpec> {
    let refuse = || {
        let message = format!("pages of {} bytes cannot be brought to the {largest} bytes of other layers", spec.page_bytes);
        Err(Error::new(ErrorKind::EngineRefuses, message)
            .field("model")
            .help("this version of vLLM does not start with such layers"))
    };
    match spec.kind {
        SpecKind::State => {}
        _ if spec.page_bytes == largest => {}
        _ if spec.page_bytes > 0 && largest.is_multiple_of(spec.page_bytes) => {
            let block_tokens = spec.block_tokens.saturating_mul(largest / spec.page_bytes);
            return Ok(LayerSpec { block_tokens, page_bytes: largest, ..*spec });
        }
        SpecKind::Latent => return refuse(),
        _ if !rules.pads_attention_pages => return refuse(),
        _ => {}
    }
    Ok(LayerSpec { page_bytes: largest, ..*spec })
}

fn sum_of_pages(layers: &[LayerSpec], stage: &Range<u32>) -> Result<Bytes> {
    let pages = layers.iter().filter(|spec| stage.contains(&spec.layer)).map(|spec| u128::from(spec.page_bytes));
    Bytes::from_wide(pages.sum())
}

/// The most layers of any one group on a stage, times the page: groups are formed over the whole model.
fn widest_group(layers: &[LayerSpec], buckets: &[Bucket], largest: u64, stage: &Range<u32>, rules: &Rules) -> Result<Bytes> {
    let mut widest = 0;
    for bucket in buckets {
        let mut on_stage = alloc::vec![0_u64; usize::try_from(bucket.groups).unwrap_or(0)];
        let mut position = 0_usize;
        for spec in layers {
            let spec = unify(spec, largest, rules)?;
            if spec.kind == bucket.kind && spec.block_tokens == bucket.block_tokens {
                let group = position % on_stage.len().max(1);
                if let (true, Some(count)) = (stage.contains(&spec.layer), on_stage.get_mut(group)) {
                    *count += 1;
                }
                position += 1;
            }
        }
        widest = on_stage.into_iter().fold(widest, u64::max);
    }
    Bytes::from_wide(u128::from(widest) * u128::from(largest))
}
