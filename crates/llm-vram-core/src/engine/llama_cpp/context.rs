//! How llama.cpp rounds a context, and how many cells a cache gets.
//!
//! Source: `src/llama-context.cpp` (`llama_context::llama_context`, `graph_reserve`) and
//! `src/llama-kv-cache-iswa.cpp`, llama-cpp-sys-2 0.1.161.

use super::options::Parameters;

/// Cells are counted in multiples of this (`GGML_PAD(.., 256)`).
pub(super) const CELL_PADDING: u64 = 256;

/// The sizes that follow from the parameters before any layer is looked at.
///
/// ```
/// use llm_vram_core::engine::llama_cpp::{Context, Parameters};
/// // 5,000 tokens for 3 sequences become 1,792 each.
/// let context = Context::new(&Parameters { n_seq_max: 3, ..Parameters::library(5000) });
/// assert_eq!((context.n_ctx_seq, context.n_ctx), (1792, 5376));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Tokens of all sequences after rounding.
    pub n_ctx: u64,
    /// Tokens that one sequence can reach, which are the cells of one stream.
    pub n_ctx_seq: u64,
    /// Sequences.
    pub n_seq_max: u64,
    /// Separate caches: 1 if unified, else one per sequence.
    pub n_stream: u64,
    /// Logical batch.
    pub n_batch: u64,
    /// Physical batch.
    pub n_ubatch: u64,
    /// Rows of logits in the planned prompt graph.
    pub n_outputs: u64,
    /// Tokens of the planned prompt graph: the physical batch, rounded up to whole sequences.
    pub n_tokens: u64,
    /// Whether windowed layers keep a full-size cache.
    pub swa_full: bool,
}

impl Context {
    /// Rounds as `llama_context` does; every parameter must be within its bound.
    #[must_use]
    pub fn new(parameters: &Parameters) -> Self {
        let n_seq_max = parameters.n_seq_max.max(1);
        // The logical batch is cut to the context before that is padded.
        let n_batch = parameters.n_batch.min(parameters.n_ctx);
        let n_ubatch = parameters.n_ubatch.min(n_batch);
        let padded = parameters.n_ctx.next_multiple_of(CELL_PADDING);
        let (n_ctx_seq, n_stream, n_ctx) = if parameters.kv_unified {
            (padded, 1, padded)
        } else {
            let per_sequence = (padded / n_seq_max).next_multiple_of(CELL_PADDING).max(CELL_PADDING);
            (per_sequence, n_seq_max, per_sequence * n_seq_max)
        };
        let n_outputs_max = if parameters.n_outputs_max == 0 { n_batch } else { parameters.n_outputs_max };
        let n_tokens = n_ubatch.min(n_ctx);
        Self {
            n_ctx,
            n_ctx_seq,
            n_seq_max,
            n_stream,
            n_batch,
            n_ubatch,
            n_outputs: n_tokens.min(n_outputs_max),
            n_tokens: n_tokens.next_multiple_of(n_seq_max),
            swa_full: parameters.swa_full,
        }
    }

    /// Cells per stream of layers that attend to everything.
    #[must_use]
    pub const fn cells(&self) -> u64 {
        self.n_ctx_seq
    }

    /// Cells per stream of layers with a window of `window` tokens: the window of every sequence of the
    /// stream and one physical batch, rounded up, but never more than the context.
    #[must_use]
    pub fn window_cells(&self, window: u64) -> u64 {
        if self.swa_full {
            return self.n_ctx_seq;
        }
        let sequences = if self.n_stream == 1 { self.n_seq_max } else { 1 };
        let wanted = window.saturating_mul(sequences).saturating_add(self.n_ubatch);
        wanted.min(self.n_ctx_seq).next_multiple_of(CELL_PADDING)
    }
}
