//! The flat description of an architecture that every input adapter produces.
//!
//! Field names are GGUF's metadata keys with dots turned into underscores (`attention.head_count_kv`
//! is `head_count_kv`), because they are the most complete published vocabulary. [`Facts`] holds what
//! that vocabulary leaves out: which optional tensors a checkpoint has.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    bounds::{self, Bound},
    error::{Error, ErrorKind, Result},
};

/// A value that is the same in every block, or given block by block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerLayer<T> {
    /// The same in every block.
    Uniform(T),
    /// One value for each block, multi-token-prediction blocks included.
    Each(Vec<T>),
}

impl<T: Copy + Default> PerLayer<T> {
    /// The value of block `block`; the default where an array is too short (validation excludes that).
    #[must_use]
    pub fn at(&self, block: u32) -> T {
        match self {
            Self::Uniform(value) => *value,
            Self::Each(values) => values.get(block as usize).copied().unwrap_or_default(),
        }
    }

    /// The values of the first `count` blocks.
    pub fn iter(&self, count: u32) -> impl Iterator<Item = T> + '_ {
        (0..count).map(|block| self.at(block))
    }
}

impl<T: Default> Default for PerLayer<T> {
    fn default() -> Self {
        Self::Uniform(T::default())
    }
}

impl<T> From<T> for PerLayer<T> {
    fn from(value: T) -> Self {
        Self::Uniform(value)
    }
}

/// Which blocks attend within a sliding window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum WindowPattern {
    /// Block `i` has a window iff `i % period < period - 1`.
    Period(u32),
    /// One flag for each block.
    Each(Vec<bool>),
}

/// Which extra tensors the multi-token-prediction blocks carry beside their projection and norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MtpExtra {
    /// None: embeddings, head and its norm are those of the main model.
    #[default]
    None,
    /// The norm of their own output head.
    HeadNorm,
    /// Their own embedding table, output head and norm.
    OwnTables,
}

/// What metadata does not say and the list of tensors proves.
///
/// A GGUF or safetensors header answers each of these; a `config.json` answers most of them; a catalog
/// record states them. [`Facts::typical`] gives what an architecture's published files have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// No separate output matrix: the token embedding serves as output head.
    pub tied: bool,
    /// Query, key and value projections have biases.
    pub qkv_bias: bool,
    /// The attention output projection has a bias.
    pub o_bias: bool,
    /// Feed-forward matrices have biases.
    pub ffn_bias: bool,
    /// Query, key and value are one matrix.
    pub fused_qkv: bool,
    /// Expert gate and up matrices are one tensor.
    pub fused_gate_up_exps: bool,
    /// The router has a selection bias.
    pub exp_probs_b: bool,
    /// A `rope_freqs` tensor is present.
    pub rope_freqs: bool,
    /// Long and short RoPE factor tensors are present.
    pub rope_factors: bool,
    /// Queries and keys are normalised, where the architecture leaves that open.
    pub qk_norm: bool,
    /// The state-space convolution has a bias.
    pub conv_bias: bool,
    /// A Mamba 2 mixer beside attention has a norm before its output projection (Falcon-H1).
    pub ssm_norm: bool,
    /// The output head has a bias.
    pub output_bias: bool,
    /// A classification head of that many rows is present (rerankers).
    pub cls_out: u32,
    /// Blocks carry a scalar output scale (Gemma 4).
    pub layer_scale: bool,
    /// Full-attention blocks have their own value projection (Gemma 4: false if keys serve as values).
    pub v_on_full: bool,
    /// Blocks that reuse another block's cache still carry key and value projections.
    pub kv_on_shared: bool,
    /// The linear-attention input is one matrix (old Qwen3-Next conversions).
    pub fused_ssm_in: bool,
    /// A second attention norm is present (Falcon 40B).
    pub attn_norm_2: bool,
    /// Block `i` has experts iff `i % period == offset`.
    pub moe_layers: Option<(u32, u32)>,
    /// Extra tensors of the multi-token-prediction blocks.
    pub mtp_extra: MtpExtra,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            tied: false,
            qkv_bias: false,
            o_bias: false,
            ffn_bias: false,
            fused_qkv: false,
            fused_gate_up_exps: false,
            exp_probs_b: false,
            rope_freqs: false,
            rope_factors: false,
            qk_norm: false,
            conv_bias: false,
            ssm_norm: false,
            output_bias: false,
            cls_out: 0,
            layer_scale: false,
            v_on_full: true,
            kv_on_shared: false,
            fused_ssm_in: false,
            attn_norm_2: false,
            moe_layers: None,
            mtp_extra: MtpExtra::None,
        }
    }
}

impl Facts {
    /// What published checkpoints of an architecture have where nothing else is known.
    #[must_use]
    pub fn typical(architecture: &str) -> Self {
        let base = Self::default();
        match architecture {
            "gemma" | "gemma2" | "gemma3" | "command-r" | "cohere2" | "lfm2" | "bitnet" => Self { tied: true, ..base },
            "gemma3n" => Self { tied: true, kv_on_shared: true, ..base },
            "gemma4" => Self { tied: true, kv_on_shared: true, layer_scale: true, ..base },
            "mamba" | "mamba2" => Self { tied: true, conv_bias: true, ..base },
            "lfm2moe" => Self { tied: true, exp_probs_b: true, ..base },
            "phi2" => Self { qkv_bias: true, o_bias: true, ffn_bias: true, output_bias: true, ..base },
            "phi3" => Self { fused_qkv: true, ..base },
            "phimoe" => Self { rope_factors: true, qkv_bias: true, o_bias: true, output_bias: true, ..base },
            "falcon" | "bailingmoe2" => Self { fused_qkv: true, exp_probs_b: architecture == "bailingmoe2", ..base },
            "gpt2" | "gptneox" => {
                Self { tied: architecture == "gpt2", fused_qkv: true, qkv_bias: true, o_bias: true, ffn_bias: true, ..base }
            }
            "qwen2" | "qwen2moe" | "qwen2vl" | "glm4" | "seed_oss" => Self { qkv_bias: true, ..base },
            "starcoder2" => Self { qkv_bias: true, o_bias: true, ffn_bias: true, ..base },
            "gpt-oss" => Self { qkv_bias: true, o_bias: true, ..base },
            "glm4moe" => Self { qkv_bias: true, exp_probs_b: true, ..base },
            "minimax-m2" | "minimax-m3" | "deepseek32" | "glm-dsa" | "kimi-linear" | "ernie4_5-moe" | "afmoe" | "exaone-moe"
            | "dots1" | "hy_v3" | "laguna" | "mimo2" | "step35" | "bailingmoe3" => Self { exp_probs_b: true, ..base },
            "jamba" => Self { conv_bias: true, moe_layers: Some((2, 1)), ..base },
            "granitehybrid" | "nemotron_h" | "falcon-h1" => Self { conv_bias: true, ..base },
            "nemotron_h_moe" => Self { conv_bias: true, exp_probs_b: true, ..base },
            _ => base,
        }
    }
}

/// A flat, not yet validated description of a model's architecture.
///
/// The input adapters fill this in; [`Model::new`](crate::model::Model::new) validates it and derives
/// blocks and tensors. Absent numbers are `None` or 0 as in GGUF metadata.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hyperparameters {
    /// The architecture, as `general.architecture` of GGUF spells it.
    pub architecture: String,
    /// The `model_type` of its `config.json`, where it was read from one: architectures that GGUF merges differ in it.
    pub model_type: String,
    /// The model's name, for people.
    pub name: String,
    /// Number of blocks, multi-token-prediction blocks included.
    pub block_count: u32,
    /// How many of the last blocks predict further tokens and idle in plain decoding.
    pub nextn_predict_layers: u32,
    /// Hidden size.
    pub embedding_length: u32,
    /// Rows of the token embedding.
    pub vocab_size: u32,
    /// Trained context length, in tokens.
    pub context_length: u64,
    /// Width of the dense feed-forward part (in some architectures of each expert).
    pub feed_forward_length: PerLayer<u32>,
    /// Query heads.
    pub head_count: PerLayer<u32>,
    /// Key-value heads; 0 in blocks without attention.
    pub head_count_kv: PerLayer<u32>,
    /// Size of a key head; `embedding_length / head_count` if absent.
    pub key_length: Option<u32>,
    /// Size of a value head; `embedding_length / head_count` if absent.
    pub value_length: Option<u32>,
    /// Size of a key head in sliding-window blocks, where it differs.
    pub key_length_swa: Option<u32>,
    /// Size of a value head in sliding-window blocks, where it differs.
    pub value_length_swa: Option<u32>,
    /// Sliding window, in tokens.
    pub sliding_window: Option<u32>,
    /// Which blocks have the window; the architecture's own pattern if absent.
    pub sliding_window_pattern: Option<WindowPattern>,
    /// How many of the last blocks reuse the cache of earlier ones.
    pub shared_kv_layers: u32,
    /// Size of a decompressed key head (latent attention).
    pub key_length_mla: Option<u32>,
    /// Size of a decompressed value head (latent attention).
    pub value_length_mla: Option<u32>,
    /// Rank of the compressed keys and values (latent attention).
    pub kv_lora_rank: Option<u32>,
    /// Rank of the compressed queries; absent if queries are not compressed.
    pub q_lora_rank: Option<u32>,
    /// Heads of the sparse-attention indexer.
    pub indexer_head_count: Option<u32>,
    /// Key size of the sparse-attention indexer.
    pub indexer_key_length: Option<u32>,
    /// Tokens that the sparse-attention indexer selects.
    pub indexer_top_k: Option<u32>,
    /// Which blocks have an indexer of their own, where some reuse another's selection (GLM 5.2).
    pub indexer_layers: Option<Vec<bool>>,
    /// For how many tokens a block keeps one compressed row of the cache, 0 for none (DeepSeek V4, Qwen 4).
    pub compress_ratios: Option<Vec<u32>>,
    /// Rotated part of a head.
    pub rope_dimension_count: Option<u32>,
    /// Every how many blocks full attention stands in a linear-attention hybrid.
    pub full_attention_interval: Option<u32>,
    /// Which blocks are recurrent, where no other key tells.
    pub recurrent_layers: Option<Vec<bool>>,
    /// Routed experts.
    pub expert_count: u32,
    /// Routed experts used per token.
    pub expert_used_count: u32,
    /// Width of a routed expert.
    pub expert_feed_forward_length: Option<u32>,
    /// Width of all shared experts together.
    pub expert_shared_feed_forward_length: Option<u32>,
    /// Number of shared experts, each as wide as a routed one.
    pub expert_shared_count: u32,
    /// Width to which hidden states are projected for the routed experts (Nemotron 3); 0 without.
    pub moe_latent_size: u32,
    /// How many of the first blocks are dense.
    pub leading_dense_block_count: u32,
    /// Every how many blocks experts stand (Llama 4); 0 if in all.
    pub interleave_moe_layer_step: u32,
    /// Groups of experts in group-limited routing.
    pub expert_group_count: u32,
    /// Groups used per token in group-limited routing.
    pub expert_group_used_count: u32,
    /// Gating function: 1 softmax, 2 sigmoid, 3 softmax over the selected weights.
    pub expert_gating_func: u32,
    /// Whether the weights of the chosen experts are made to sum to 1; absent if nothing says so.
    pub expert_weights_norm: Option<bool>,
    /// Factor on the weights of the chosen experts.
    pub expert_weights_scale: Option<f64>,
    /// Inner width of a state-space block.
    pub ssm_inner_size: u32,
    /// State size.
    pub ssm_state_size: u32,
    /// Convolution width.
    pub ssm_conv_kernel: u32,
    /// Rank of the time step (Mamba 1), number of heads (Mamba 2) or of value heads (gated delta net).
    pub ssm_time_step_rank: u32,
    /// Groups (Mamba 2) or key heads (gated delta net).
    pub ssm_group_count: u32,
    /// Head size of Kimi delta attention.
    pub kda_head_dim: u32,
    /// Head size of RWKV.
    pub wkv_head_size: u32,
    /// Token-shift states per block of RWKV.
    pub token_shift_count: u32,
    /// Rank of the decay's correction (RWKV 7).
    pub decay_lora_rank: u32,
    /// Rank of the in-context learning rate's correction (RWKV 7).
    pub iclr_lora_rank: u32,
    /// Rank of the mix with the first block's values (RWKV 7).
    pub value_residual_mix_lora_rank: u32,
    /// Rank of the output gate (RWKV 7).
    pub gate_lora_rank: u32,
    /// Short-convolution cache length (LFM2).
    pub shortconv_l_cache: u32,
    /// Width of the per-layer embeddings (Gemma 3n and 4 E models).
    pub embedding_length_per_layer_input: u32,
    /// Parallel residual streams (Gemma 3n).
    pub altup_num_inputs: u32,
    /// Soft cap on the final logits.
    pub final_logit_softcapping: Option<f64>,
    /// Factor on the embedding output.
    pub embedding_scale: Option<f64>,
    /// Factor on residual branches.
    pub residual_scale: Option<f64>,
    /// Factor on the logits.
    pub logit_scale: Option<f64>,
    /// Slope by which queries grow with their position (Mistral Large 3); 0 without.
    pub temperature_scale: Option<f64>,
    /// Factor on the attention output (MiMo V2).
    pub value_scale: Option<f64>,
    /// Granite: whether queries and keys are rotated at all (`rope.scaling.finetuned`).
    pub rope_scaling_finetuned: Option<bool>,
    /// GPT-NeoX: whether attention and network read the same hidden state.
    pub use_parallel_residual: Option<bool>,
    /// Layers that a vision tower feeds beside the input (Qwen3-VL).
    pub n_deepstack_layers: u32,
    /// What metadata does not say.
    pub facts: Facts,
}

impl Hyperparameters {
    /// A description of the given architecture with its typical facts and nothing else filled in.
    #[must_use]
    pub fn new(architecture: &str) -> Self {
        Self { architecture: String::from(architecture), facts: Facts::typical(architecture), ..Self::default() }
    }

    /// Blocks without the multi-token-prediction ones.
    #[must_use]
    pub const fn main_block_count(&self) -> u32 {
        self.block_count.saturating_sub(self.nextn_predict_layers)
    }

    /// Size of a key head in `block`, window variant taken into account by `windowed`.
    #[must_use]
    pub fn key_length_at(&self, block: u32, windowed: bool) -> u32 {
        let swa = if windowed { self.key_length_swa } else { None };
        swa.or(self.key_length).unwrap_or_else(|| self.default_head_length(block))
    }

    /// Size of a value head in `block`, window variant taken into account by `windowed`.
    #[must_use]
    pub fn value_length_at(&self, block: u32, windowed: bool) -> u32 {
        let swa = if windowed { self.value_length_swa } else { None };
        swa.or(self.value_length).unwrap_or_else(|| self.default_head_length(block))
    }

    fn default_head_length(&self, block: u32) -> u32 {
        // Blocks without attention have no heads; the first block that has some gives the size.
        let heads = Some(self.head_count.at(block)).filter(|&n| n > 0);
        let heads = heads.or_else(|| self.head_count.iter(self.block_count).find(|&n| n > 0));
        heads.map_or(0, |heads| self.embedding_length / heads)
    }

    /// Width of a routed expert: its own key, else the feed-forward width of the block.
    #[must_use]
    pub fn expert_length_at(&self, block: u32) -> u32 {
        self.expert_feed_forward_length.filter(|&n| n > 0).unwrap_or_else(|| self.feed_forward_length.at(block))
    }

    /// Checks every number against the table of bounds and every array against the number of blocks.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] naming the quantity, [`ErrorKind::Contradiction`] for arrays of the wrong
    /// length or counts that exclude each other.
    pub fn validate(&self) -> Result<()> {
        let blocks = bounds::BLOCK_COUNT.check_u32(self.block_count.into())?;
        bounds::NEXTN_PREDICT_LAYERS.check(self.nextn_predict_layers.into())?;
        if self.nextn_predict_layers >= blocks {
            return Err(contradiction(
                "nextn_predict_layers",
                &alloc::format!("{} of {blocks} layers cannot all be multi-token-prediction layers", self.nextn_predict_layers),
            ));
        }
        bounds::EMBEDDING_LENGTH.check(self.embedding_length.into())?;
        bounds::VOCAB_SIZE.check(self.vocab_size.into())?;
        if self.context_length != 0 {
            bounds::CONTEXT_LENGTH.check(self.context_length)?;
        }
        per_layer(&self.feed_forward_length, blocks, bounds::FEED_FORWARD_LENGTH)?;
        per_layer(&self.head_count, blocks, bounds::HEAD_COUNT)?;
        per_layer(&self.head_count_kv, blocks, bounds::HEAD_COUNT_KV)?;
        let lengths = [
            self.key_length,
            self.value_length,
            self.key_length_swa,
            self.value_length_swa,
            self.key_length_mla,
            self.value_length_mla,
        ];
        for length in lengths.into_iter().flatten() {
            bounds::HEAD_LENGTH.check(length.into())?;
        }
        for rank in [self.kv_lora_rank, self.q_lora_rank].into_iter().flatten() {
            bounds::LORA_RANK.check(rank.into())?;
        }
        for (block, kv) in self.head_count_kv.iter(blocks).enumerate() {
            let heads = self.head_count.at(u32::try_from(block).unwrap_or(u32::MAX));
            if kv > 0 && (heads == 0 || !heads.is_multiple_of(kv)) {
                return Err(contradiction(
                    "head_count_kv",
                    &alloc::format!("{kv} key-value heads do not divide {heads} attention heads in layer {block}"),
                ));
            }
        }
        bounds::EXPERT_COUNT.check(self.expert_count.into())?;
        bounds::EXPERT_USED_COUNT.check(self.expert_used_count.into())?;
        if self.expert_used_count > self.expert_count {
            return Err(contradiction(
                "expert_used_count",
                &alloc::format!(
                    "{} experts used per token are more than the {} experts",
                    self.expert_used_count,
                    self.expert_count
                ),
            ));
        }
        let widths = [
            self.expert_feed_forward_length.unwrap_or(0),
            self.expert_shared_feed_forward_length.unwrap_or(0),
            self.ssm_inner_size,
            self.embedding_length_per_layer_input,
            self.moe_latent_size,
        ];
        for width in widths {
            bounds::EXPERT_FEED_FORWARD_LENGTH.check(width.into())?;
        }
        let states = [
            self.ssm_state_size,
            self.ssm_conv_kernel,
            self.ssm_time_step_rank,
            self.ssm_group_count,
            self.kda_head_dim,
            self.wkv_head_size,
            self.token_shift_count,
            self.decay_lora_rank,
            self.iclr_lora_rank,
            self.value_residual_mix_lora_rank,
            self.gate_lora_rank,
            self.shortconv_l_cache,
            self.altup_num_inputs,
            self.expert_shared_count,
            self.indexer_head_count.unwrap_or(0),
            self.indexer_key_length.unwrap_or(0),
            self.rope_dimension_count.unwrap_or(0),
        ];
        for state in states {
            bounds::STATE_SIZE.check(state.into())?;
        }
        if self.shared_kv_layers > self.main_block_count() {
            return Err(contradiction(
                "shared_kv_layers",
                &alloc::format!(
                    "{} layers that share a cache are more than the {} layers",
                    self.shared_kv_layers,
                    self.main_block_count()
                ),
            ));
        }
        match &self.sliding_window_pattern {
            Some(WindowPattern::Each(flags)) => array_length("sliding_window_pattern", flags.len(), blocks)?,
            Some(WindowPattern::Period(0)) => {
                return Err(Error::new(ErrorKind::OutOfRange, "sliding-window period `0` is out of range: expected at least 1")
                    .field("sliding_window_pattern"));
            }
            _ => {}
        }
        if let Some(flags) = &self.recurrent_layers {
            array_length("recurrent_layers", flags.len(), blocks)?;
        }
        if let Some(flags) = &self.indexer_layers {
            array_length("indexer_layers", flags.len(), blocks)?;
        }
        if let Some(ratios) = &self.compress_ratios {
            array_length("compress_ratios", ratios.len(), blocks)?;
        }
        if self.full_attention_interval == Some(0) {
            return Err(Error::new(ErrorKind::OutOfRange, "full attention interval `0` is out of range: expected at least 1")
                .field("full_attention_interval"));
        }
        Ok(())
    }
}

fn per_layer(values: &PerLayer<u32>, blocks: u32, bound: Bound) -> Result<()> {
    match values {
        PerLayer::Uniform(value) => bound.check((*value).into()).map(drop),
        PerLayer::Each(values) => {
            array_length(bound.name, values.len(), blocks)?;
            values.iter().try_for_each(|&value| bound.check(value.into()).map(drop))
        }
    }
}

fn array_length(field: &str, found: usize, blocks: u32) -> Result<()> {
    if found == blocks as usize {
        return Ok(());
    }
    Err(contradiction(field, &alloc::format!("{field} has {found} entries for {blocks} layers")))
}

#[cold]
fn contradiction(field: &str, message: &str) -> Error {
    Error::new(ErrorKind::Contradiction, message).field(field)
}
