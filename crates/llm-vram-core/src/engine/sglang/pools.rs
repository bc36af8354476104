//! Pools of tokens and of recurrent states.
//!
//! Source: SGLang 0.5.23, `srt/model_executor/model_runner_kv_cache_mixin.py` (`profile_max_num_token`,
//! `_handle_max_mamba_cache`, `set_num_tokens_hybrid`), `srt/mem_cache/memory_pool.py` (sizes and their padding),
//! `srt/configs/model_config.py` (`is_hybrid_swa_model`).

use core::ops::Range;

use crate::{
    engine::serving::{
        Parallel,
        cache_type::CacheType,
        state::{StateTypes, state_bytes},
    },
    model::{Attention, CacheSource, Heads, Latent, Model, Span},
};

/// Of the full pool's tokens, how many windowed layers hold, in tenths (`swa_full_tokens_ratio`).
const WINDOW_TENTHS: u64 = 8;
/// States against keys and values, in tenths (`mamba_full_memory_ratio`).
const STATE_TENTHS: u64 = 9;
/// State slots that a running request may hold, with radix cache.
pub const SLOTS_PER_REQUEST: u64 = 3;

/// Architectures whose windowed layers have a pool of their own; in others they hold all tokens.
const WINDOW_POOLS: &[&str] = &["llama4", "gpt-oss", "gemma4", "mimo2", "step35"];

/// Bytes that a token or a request takes on one rank of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rows {
    /// Per token, layers that hold all tokens.
    pub full: u64,
    /// Per token, layers that hold a window.
    pub windowed: u64,
    /// The widest window, in tokens.
    pub window: u64,
    /// Per request, recurrent states; `None` where SGLang does not run the recurrence.
    pub state: Option<u64>,
}

impl Rows {
    /// The rows of the layers of a stage.
    #[must_use]
    pub fn of(model: &Model, parallel: &Parallel, cache_type: CacheType, stage: &Range<u32>) -> Self {
        let pools = WINDOW_POOLS.contains(&model.architecture());
        let types = StateTypes::of(model.architecture());
        let mut rows = Self { state: Some(0), ..Self::default() };
        for (layer, block) in (0_u32..).zip(model.blocks()) {
            if block.is_mtp || !stage.contains(&layer) {
                continue;
            }
            match block.attention {
                Attention::None | Attention::Heads(Heads { cache: CacheSource::SharedWith(_), .. }) => {}
                Attention::Latent(Latent { kv_lora_rank, rope_length, indexer, .. }) => {
                    rows.full += cache_type.latent_row(kv_lora_rank.into(), rope_length.into());
                    rows.full += indexer.map_or(0, |indexer| CacheType::indexer_row(indexer.key_length.into()));
                }
                Attention::Heads(heads) => {
                    let on_rank = parallel.heads(heads.head_count_kv.into());
                    let row = cache_type.heads_row(on_rank, heads.key_length.into(), heads.value_length.into());
                    match heads.span {
                        Span::Sliding(window) | Span::Chunked(window) if pools => {
                            rows.windowed += row;
                            rows.window = rows.window.max(window.into());
                        }
                        _ => rows.full += row,
                    }
                }
            }
            if block.recurrent.is_some() {
                let state = state_bytes(model.hyperparameters(), block, layer, parallel, types);
                rows.state =
                    rows.state.zip(state).map(|(sum, (conv, recurrent))| sum.saturating_add(conv).saturating_add(recurrent));
            }
        }
        rows
    }

    /// Bytes of `requests` requests of `tokens` each: pages of tokens, windows with the chunk that is being
    /// prefilled, one state.
    #[must_use]
    pub fn requests(&self, requests: u64, tokens: u64, page_size: u64, chunk: u64) -> u128 {
        let paged = |tokens: u64| u128::from(tokens.next_multiple_of(page_size.max(1)));
        let windowed = tokens.min(self.window.saturating_add(chunk));
        let each = paged(tokens) * u128::from(self.full)
            + paged(windowed) * u128::from(self.windowed)
            + u128::from(self.state.unwrap_or(0));
        each.saturating_mul(requests.into())
    }
}

/// What a rank allocates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pools {
    /// Tokens of layers that hold all of them (`max_total_num_tokens`).
    pub full_tokens: u64,
    /// Tokens of windowed layers.
    pub windowed_tokens: u64,
    /// Recurrent states, without the slot for padding.
    pub state_slots: u64,
}

impl Pools {
    /// The pools of a rank with `budget` bytes for them.
    #[must_use]
    pub fn fill(rows: &Rows, budget: u64, page_size: u64) -> Self {
        let state = rows.state.unwrap_or(0);
        // A share of the budget for states, one slot of it for padding.
        let share = u128::from(budget) * u128::from(STATE_TENTHS) / u128::from(10 + STATE_TENTHS);
        let share = u64::try_from(share).unwrap_or(u64::MAX);
        let state_slots = share.saturating_sub(state).checked_div(state).unwrap_or(0);
        let state_bytes = if state == 0 { 0 } else { (state_slots + 1).saturating_mul(state) };
        let rest = u128::from(budget.saturating_sub(state_bytes));
        // Ten tokens of full layers go with eight of windowed ones.
        let ten = u128::from(rows.full) * 10 + u128::from(rows.windowed) * u128::from(WINDOW_TENTHS);
        let tokens = (rest * 10).checked_div(ten).map_or(0, |tokens| u64::try_from(tokens).unwrap_or(u64::MAX));
        Self { state_slots, ..Self::of_tokens(tokens, rows.windowed > 0, page_size) }
    }

    /// Pools of so many tokens, whole pages.
    #[must_use]
    pub const fn of_tokens(tokens: u64, windowed: bool, page_size: u64) -> Self {
        let page = if page_size == 0 { 1 } else { page_size };
        let full_tokens = tokens / page * page;
        let share = (full_tokens as u128 * WINDOW_TENTHS as u128 / 10) as u64;
        Self { full_tokens, windowed_tokens: if windowed { share / page * page } else { 0 }, state_slots: 0 }
    }

    /// Bytes on one rank; each pool has a page more than it counts.
    #[must_use]
    pub fn bytes(&self, rows: &Rows, page_size: u64) -> u128 {
        let pool = |tokens: u64, row: u64| if row == 0 { 0 } else { u128::from(tokens + page_size) * u128::from(row) };
        let states = match rows.state {
            Some(state) if state > 0 => u128::from(self.state_slots + 1) * u128::from(state),
            _ => 0,
        };
        pool(self.full_tokens, rows.full) + pool(self.windowed_tokens, rows.windowed) + states
    }

    /// Requests of `tokens` each that run at once.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn concurrency(&self, rows: &Rows, tokens: u64, chunk: u64) -> f64 {
        let mut least = f64::INFINITY;
        if rows.full > 0 {
            least = self.full_tokens as f64 / tokens.max(1) as f64;
        }
        if rows.windowed > 0 {
            let needed = tokens.min(rows.window.saturating_add(chunk)).max(1);
            least = least.min(self.windowed_tokens as f64 / needed as f64);
        }
        if rows.state.is_some_and(|state| state > 0) {
            least = least.min((self.state_slots / SLOTS_PER_REQUEST) as f64);
        }
        if least.is_finite() { least } else { 0.0 }
    }
}
