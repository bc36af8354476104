//! What one transformer block attends to, remembers and multiplies with.

use alloc::vec::Vec;

use serde::Serialize;

use super::hyperparameters::{Hyperparameters, WindowPattern};

/// One block (layer) of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Block {
    /// Its attention.
    pub attention: Attention,
    /// Its recurrent state, beside or instead of attention.
    pub recurrent: Option<Recurrent>,
    /// Its feed-forward part.
    pub feed_forward: FeedForward,
    /// Whether it predicts further tokens and idles in plain decoding.
    pub is_mtp: bool,
}

/// The attention of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attention {
    /// No attention.
    None,
    /// Heads with cached keys and values: full, grouped (GQA) or multi-query (MQA).
    Heads(Heads),
    /// Latent attention (MLA): one compressed row per token.
    Latent(Latent),
}

/// Attention over cached keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Heads {
    /// Query heads.
    pub head_count: u32,
    /// Key-value heads: equal to `head_count` for multi-head, 1 for multi-query attention.
    pub head_count_kv: u32,
    /// Size of a key head.
    pub key_length: u32,
    /// Size of a value head.
    pub value_length: u32,
    /// How far back it looks.
    pub span: Span,
    /// Whose cache it reads.
    pub cache: CacheSource,
}

/// Latent attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Latent {
    /// Query heads.
    pub head_count: u32,
    /// Rank of the compressed keys and values.
    pub kv_lora_rank: u32,
    /// Rotated part of a head, cached beside the compressed row.
    pub rope_length: u32,
    /// Size of a decompressed key head, rotated part included.
    pub key_length: u32,
    /// Size of a decompressed value head.
    pub value_length: u32,
    /// The sparse-attention indexer, where there is one.
    pub indexer: Option<Indexer>,
}

/// A sparse-attention indexer with a key cache of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Indexer {
    /// Query heads.
    pub head_count: u32,
    /// Size of its key, one per token.
    pub key_length: u32,
    /// Tokens selected.
    pub top_k: u32,
}

/// How far back attention looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// Everything.
    Full,
    /// The last `n` tokens.
    Sliding(u32),
    /// The current chunk of `n` tokens.
    Chunked(u32),
}

impl Span {
    /// The window in tokens, or `None` for full attention.
    #[must_use]
    pub const fn window(self) -> Option<u32> {
        match self {
            Self::Full => None,
            Self::Sliding(window) | Self::Chunked(window) => Some(window),
        }
    }
}

/// Whose keys and values a block reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheSource {
    /// Its own.
    Own,
    /// Those of an earlier block.
    SharedWith(u32),
}

/// The kind of a recurrent state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Recurrence {
    /// Mamba 1.
    Mamba1,
    /// Mamba 2.
    Mamba2,
    /// Gated delta net (Qwen3-Next, Qwen3.5).
    GatedDeltaNet,
    /// Kimi delta attention.
    Kda,
    /// Lightning attention (MiniMax-01).
    Lightning,
    /// RWKV 6 and 7.
    Rwkv,
    /// Gated short convolution (LFM2).
    ShortConv,
}

/// The recurrent state of a block: independent of the context length, one per sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Recurrent {
    /// Its kind.
    pub kind: Recurrence,
    /// Elements of the convolution or token-shift state.
    pub conv_elements: u64,
    /// Elements of the recurrent state proper.
    pub state_elements: u64,
}

/// The feed-forward part of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedForward {
    /// None.
    None,
    /// One network for all tokens.
    Dense {
        /// Its width.
        length: u32,
    },
    /// A mixture of experts.
    Experts {
        /// Routed experts.
        count: u32,
        /// Routed experts used per token.
        used: u32,
        /// Width of a routed expert.
        length: u32,
        /// Width of all shared experts together; 0 without.
        shared_length: u32,
    },
}

/// Architectures whose blocks alternate between windowed and full attention: the last of every `period` blocks is
/// full. Source: llama.cpp, `src/models/*.cpp` (`set_swa_pattern`), llama-cpp-sys-2 0.1.161.
const WINDOW_PERIODS: &[(&str, u32)] = &[
    ("gemma2", 2),
    ("gemma3", 6),
    ("gemma3n", 5),
    ("llama4", 4),
    ("cohere2", 4),
    ("exaone4", 4),
    ("exaone-moe", 4),
    ("gpt-oss", 2),
    ("olmo2", 4),
    ("plamo3", 8),
    ("afmoe", 4),
    ("mellum", 4),
    ("muse-glimmer", 4),
];

/// The same with the first of every `period` blocks full; same source.
const FULL_FIRST_PERIODS: &[(&str, u32)] = &[("cohere2moe", 4), ("laguna", 4), ("smallthinker", 4)];

/// Gemma 2 files without the key use this window (llama.cpp, `gemma2.cpp`).
const GEMMA2_WINDOW: u32 = 4096;
/// Llama 4 attends in chunks of this many tokens (llama.cpp, `llama4.cpp`).
const LLAMA4_CHUNK: u32 = 8192;
/// Gemma 3n keeps own keys and values in its first blocks only (llama.cpp, `gemma3n.cpp`).
const GEMMA3N_OWN_KV: u32 = 20;

/// How far back block `block` of the described model looks.
pub(super) fn span(hp: &Hyperparameters, block: u32) -> Span {
    let arch = hp.architecture.as_str();
    let window = match (arch, hp.sliding_window) {
        ("gemma2", None) => GEMMA2_WINDOW,
        ("llama4", None) => LLAMA4_CHUNK,
        ("llama4", Some(window)) if window > 0 => LLAMA4_CHUNK,
        (_, window) => window.unwrap_or(0),
    };
    // Beside its window DeepSeek V4 keeps all tokens, compressed: full attention is the bound where that is not counted.
    // Only the 64-layer EXAONE 4 has windows at all.
    if window == 0 || arch == "deepseek4" || (arch == "exaone4" && hp.block_count != 64) {
        return Span::Full;
    }
    let windowed = match &hp.sliding_window_pattern {
        Some(WindowPattern::Each(flags)) => flags.get(block as usize).copied().unwrap_or(false),
        // A pattern by period says nothing about prediction layers, which attend to everything.
        _ if block >= hp.main_block_count() => false,
        Some(WindowPattern::Period(period)) => is_windowed(arch, *period, block),
        None => match WINDOW_PERIODS.iter().chain(FULL_FIRST_PERIODS).find(|(name, _)| *name == arch) {
            Some((_, period)) => is_windowed(arch, *period, block),
            // A window without a pattern is one for every block (Mistral 7B v0.1, StarCoder2, Phi-3).
            None => true,
        },
    };
    match (windowed, arch) {
        (false, _) => Span::Full,
        (true, "llama4") => Span::Chunked(window),
        (true, _) => Span::Sliding(window),
    }
}

/// Whether a block has the window if one of every `period` blocks does not.
fn is_windowed(arch: &str, period: u32, block: u32) -> bool {
    if period == 0 {
        return false;
    }
    let full = if FULL_FIRST_PERIODS.iter().any(|(name, _)| *name == arch) { 0 } else { period - 1 };
    block % period != full
}

/// Derives every block of a validated description.
pub(super) fn derive(hp: &Hyperparameters) -> Vec<Block> {
    (0..hp.block_count).map(|block| derive_one(hp, block)).collect()
}

fn derive_one(hp: &Hyperparameters, block: u32) -> Block {
    let recurrent = recurrent(hp, block);
    Block {
        attention: attention(hp, block, recurrent.is_some()),
        recurrent,
        feed_forward: feed_forward(hp, block),
        is_mtp: block >= hp.main_block_count(),
    }
}

fn attention(hp: &Hyperparameters, block: u32, is_recurrent: bool) -> Attention {
    let head_count = hp.head_count.at(block);
    let head_count_kv = hp.head_count_kv.at(block);
    // Falcon-H1 runs attention and Mamba side by side in every block.
    if head_count_kv == 0 || (is_recurrent && hp.architecture != "falcon-h1") {
        return Attention::None;
    }
    if let (Some(key_length), Some(kv_lora_rank)) = (hp.key_length_mla, hp.kv_lora_rank) {
        let indexer = match (hp.indexer_head_count, hp.indexer_key_length) {
            (Some(head_count), Some(key_length)) if has_indexer(hp, block) => {
                Some(Indexer { head_count, key_length, top_k: hp.indexer_top_k.unwrap_or(0) })
            }
            _ => None,
        };
        return Attention::Latent(Latent {
            head_count,
            kv_lora_rank,
            rope_length: hp.rope_dimension_count.unwrap_or(0),
            key_length,
            value_length: hp.value_length_mla.unwrap_or(key_length),
            indexer,
        });
    }
    let span = span(hp, block);
    Attention::Heads(Heads {
        head_count,
        head_count_kv,
        key_length: hp.key_length_at(block, span.window().is_some()),
        value_length: hp.value_length_at(block, span.window().is_some()),
        span,
        cache: cache_source(hp, block, span),
    })
}

/// GLM models trained for that many tokens share the selection of one block among four by default
/// (llama.cpp, `glm-dsa.cpp`, `GLM_5_2_DEFAULT_INDEXER_TYPES`).
const GLM_SHARED_INDEXER_CONTEXT: u64 = 1 << 20;

/// Whether a block selects tokens by an indexer of its own; prediction blocks always do.
fn has_indexer(hp: &Hyperparameters, block: u32) -> bool {
    if block >= hp.main_block_count() {
        return true;
    }
    match &hp.indexer_layers {
        Some(flags) => flags.get(block as usize).copied().unwrap_or(false),
        None if hp.architecture == "glm-dsa" && hp.context_length >= GLM_SHARED_INDEXER_CONTEXT => {
            block < 2 || (block - 2).is_multiple_of(4)
        }
        None => true,
    }
}

fn cache_source(hp: &Hyperparameters, block: u32, span: Span) -> CacheSource {
    let own = match hp.architecture.as_str() {
        "gemma3n" => GEMMA3N_OWN_KV.min(hp.main_block_count()),
        _ => hp.main_block_count() - hp.shared_kv_layers.min(hp.main_block_count()),
    };
    // Windowed blocks read the last but one block with its own cache, the others the last.
    let back = if span.window().is_some() { 2 } else { 1 };
    if block < own || block >= hp.main_block_count() || own < back { CacheSource::Own } else { CacheSource::SharedWith(own - back) }
}

/// Whether the description's block is recurrent, by the rule of its architecture.
fn recurrent(hp: &Hyperparameters, block: u32) -> Option<Recurrent> {
    let no_kv = hp.head_count_kv.at(block) == 0;
    let by_interval = |interval: u32| match (&hp.recurrent_layers, hp.full_attention_interval) {
        (Some(flags), _) => flags.get(block as usize).copied().unwrap_or(false),
        (None, given) => !(block + 1).is_multiple_of(given.unwrap_or(interval).max(1)),
    };
    let is_mtp = block >= hp.main_block_count();
    let (kind, present) = match hp.architecture.as_str() {
        "mamba" => (Recurrence::Mamba1, true),
        "mamba2" => (Recurrence::Mamba2, true),
        "rwkv6" | "rwkv6qwen2" | "rwkv7" | "arwkv7" => (Recurrence::Rwkv, true),
        "falcon-h1" => (Recurrence::Mamba2, true),
        "jamba" => (Recurrence::Mamba1, no_kv),
        "granitehybrid" | "plamo2" => (Recurrence::Mamba2, no_kv),
        "nemotron_h" | "nemotron_h_moe" => (Recurrence::Mamba2, !is_mtp && no_kv && hp.feed_forward_length.at(block) == 0),
        "qwen3next" | "qwen35" | "qwen35moe" | "qwen4exp" | "olmo_hybrid" => (Recurrence::GatedDeltaNet, by_interval(4) && !is_mtp),
        "minimax-01" => (Recurrence::Lightning, by_interval(8)),
        "kimi-linear" | "kimi-k3" | "bailingmoe3" | "glm5-next" => (Recurrence::Kda, no_kv && !is_mtp),
        "lfm2" | "lfm2moe" => (Recurrence::ShortConv, no_kv),
        _ => return None,
    };
    present.then(|| {
        let (conv_elements, state_elements) = state_sizes(hp, block, kind);
        Recurrent { kind, conv_elements, state_elements }
    })
}

/// Elements of the convolution and recurrent state of one sequence in one block.
///
/// Source: llama.cpp, `src/llama-hparams.cpp` (`n_embd_r`, `n_embd_s`), llama-cpp-sys-2 0.1.161.
fn state_sizes(hp: &Hyperparameters, block: u32, kind: Recurrence) -> (u64, u64) {
    let conv = u64::from(hp.ssm_conv_kernel).saturating_sub(1);
    let inner = u64::from(hp.ssm_inner_size);
    let state = u64::from(hp.ssm_state_size);
    let d = u64::from(hp.embedding_length);
    let heads = u64::from(hp.head_count.at(block));
    match kind {
        Recurrence::Mamba1 | Recurrence::Mamba2 | Recurrence::GatedDeltaNet => {
            (conv * (inner + 2 * u64::from(hp.ssm_group_count) * state), state * inner)
        }
        Recurrence::Kda => {
            let width = heads * u64::from(hp.kda_head_dim);
            (3 * conv * width, u64::from(hp.kda_head_dim) * width)
        }
        Recurrence::Lightning => {
            let head = u64::from(hp.key_length_at(block, false));
            (0, head * head * heads)
        }
        Recurrence::Rwkv => (u64::from(hp.token_shift_count.max(1)) * d, d * u64::from(hp.wkv_head_size)),
        Recurrence::ShortConv => (d * u64::from(hp.shortconv_l_cache).saturating_sub(1), 0),
    }
}

fn feed_forward(hp: &Hyperparameters, block: u32) -> FeedForward {
    if hp.expert_count > 0 && has_experts(hp, block) {
        let length = expert_length(hp, block);
        let shared_length = shared_length(hp, block, length);
        return FeedForward::Experts { count: hp.expert_count, used: hp.expert_used_count, length, shared_length };
    }
    let length = hp.feed_forward_length.at(block);
    if length == 0 { FeedForward::None } else { FeedForward::Dense { length } }
}

/// Width of a routed expert.
///
/// Source: llama.cpp, `load_arch_tensors` in `src/models/*.cpp` (`n_ff` or `n_ff_exp` in the shapes of `ffn_*_exps`),
/// llama-cpp-sys-2 0.1.161.
fn expert_length(hp: &Hyperparameters, block: u32) -> u32 {
    let block_length = hp.feed_forward_length.at(block);
    match hp.architecture.as_str() {
        "llama" | "mistral3" | "granite" | "granitemoe" | "granitehybrid" | "phimoe" | "jamba" | "olmoe" | "hunyuan-moe"
        | "minimax-01" | "minimax-m2"
            if block_length > 0 =>
        {
            block_length
        }
        "qwen2moe" | "qwen3moe" | "qwen3vlmoe" | "glm4moe" | "hy_v3" | "grovemoe" => {
            // Without a key of its own the experts used share the block's width.
            let share = block_length / hp.expert_used_count.max(1);
            hp.expert_feed_forward_length.filter(|&length| length > 0).unwrap_or(share)
        }
        _ => hp.expert_length_at(block),
    }
}

/// Width of all shared experts together; same source.
fn shared_length(hp: &Hyperparameters, block: u32, expert_length: u32) -> u32 {
    let given = hp.expert_shared_feed_forward_length.filter(|&length| length > 0);
    let count = hp.expert_shared_count;
    match hp.architecture.as_str() {
        "llama" | "mistral3" | "granite" | "granitemoe" | "granitehybrid" | "ernie4_5-moe" | "step35" | "nemotron_h"
        | "nemotron_h_moe" => given.unwrap_or(0),
        "qwen2moe" | "qwen3next" | "qwen35moe" | "hunyuan-moe" => given.unwrap_or(hp.feed_forward_length.at(block)),
        "llama4" => expert_length,
        "exaone-moe" | "hy_v3" => given.unwrap_or(expert_length),
        "kimi-linear" => expert_length.saturating_mul(count.max(1)),
        "bailingmoe2" => given.unwrap_or(expert_length).saturating_mul(count),
        "laguna" => given.unwrap_or_else(|| expert_length.saturating_mul(count.max(1))),
        // The dense network beside the experts serves every token.
        "gemma4" => hp.feed_forward_length.at(block),
        "cohere2moe" if count == 0 => 0,
        _ => given.unwrap_or_else(|| expert_length.saturating_mul(count)),
    }
}

fn has_experts(hp: &Hyperparameters, block: u32) -> bool {
    let is_mtp = block >= hp.main_block_count();
    if block < hp.leading_dense_block_count {
        return false;
    }
    if let Some((period, offset)) = hp.facts.moe_layers {
        return period > 0 && block % period == offset;
    }
    match hp.architecture.as_str() {
        "llama4" => hp.interleave_moe_layer_step > 0 && (block + 1).is_multiple_of(hp.interleave_moe_layer_step),
        "nemotron_h" | "nemotron_h_moe" => is_mtp || (hp.head_count_kv.at(block) == 0 && hp.feed_forward_length.at(block) > 0),
        // Their prediction layers have a dense network: `load_arch_tensors` for EXAONE. For the other two llama.cpp takes
        // either kind; published checkpoints have `model.mtp.layers.0.mlp.gate_proj` of 16384 × 4096 (MiMo-V2-Flash) and
        // `model.layers.45.mlp.gate_proj` (Step 3.5, as loaders of vLLM and SGLang map it).
        "exaone-moe" | "mimo2" | "step35" => !is_mtp,
        _ => true,
    }
}
