//! The facts of a model that its graph depends on, in the graph's own terms.

use crate::{
    engine::llama_cpp::window::Windows,
    model::{Attention, Basis, Block, CacheSource, FeedForward, Hyperparameters, Latent, Model, Recurrent},
};

/// Architectures with four positions for each token (`llama_hparams::n_pos_per_embd`).
const MULTI_SECTION_ROPE: &[&str] =
    &["qwen2vl", "qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe", "hunyuan_vl", "paddleocr", "glm4v", "qwen4exp"];

/// A model, read for its graph.
#[derive(Debug, Clone, Copy)]
pub(super) struct GraphModel<'m> {
    pub(super) hp: &'m Hyperparameters,
    blocks: &'m [Block],
    model: &'m Model,
    /// Layers of plain decoding.
    pub(super) n_layer: u32,
    /// Hidden size.
    pub(super) n_embd: u64,
    /// Vocabulary.
    pub(super) n_vocab: u64,
    /// Width of the widest layer's values (`llama_hparams::n_embd_v_gqa_max`).
    pub(super) values_width_max: u64,
    /// First layers that a vision tower feeds: only where the loader reads their number.
    pub(super) n_deepstack_layers: u32,
    windows: Windows<'m>,
}

impl<'m> GraphModel<'m> {
    pub(super) fn new(model: &'m Model) -> Self {
        let hp = model.hyperparameters();
        let model = Self {
            hp,
            blocks: model.blocks(),
            model,
            n_layer: hp.main_block_count(),
            n_embd: hp.embedding_length.into(),
            n_vocab: hp.vocab_size.into(),
            values_width_max: 0,
            n_deepstack_layers: n_deepstack_layers(model),
            windows: Windows::of(hp),
        };
        let widths = (0..hp.block_count).map(|layer| model.head_count_kv(layer) * model.value_length(layer));
        Self { values_width_max: widths.max().unwrap_or(0), ..model }
    }

    pub(super) fn architecture(&self) -> &'m str {
        self.hp.architecture.as_str()
    }

    fn block(&self, layer: u32) -> Option<&'m Block> {
        self.blocks.get(layer as usize)
    }

    pub(super) fn attention(&self, layer: u32) -> Option<Attention> {
        self.block(layer).map(|block| block.attention)
    }

    pub(super) fn head_count(&self, layer: u32) -> u64 {
        self.hp.head_count.at(layer).into()
    }

    pub(super) fn head_count_kv(&self, layer: u32) -> u64 {
        self.hp.head_count_kv.at(layer).into()
    }

    /// Size of a key head of a layer.
    pub(super) fn key_length(&self, layer: u32) -> u64 {
        self.hp.key_length_at(layer, self.is_windowed(layer)).into()
    }

    /// Size of a value head of a layer.
    pub(super) fn value_length(&self, layer: u32) -> u64 {
        self.hp.value_length_at(layer, self.is_windowed(layer)).into()
    }

    /// Sizes of key and value heads with or without a window, whichever layers have one.
    pub(super) fn head_lengths(&self, windowed: bool) -> (u64, u64) {
        (self.hp.key_length_at(0, windowed).into(), self.hp.value_length_at(0, windowed).into())
    }

    /// Whether a layer looks back a limited number of tokens.
    pub(super) fn is_windowed(&self, layer: u32) -> bool {
        self.windows.covers(layer)
    }

    /// The window, in tokens, or 0 where the architecture keeps no windowed cache.
    pub(super) fn window(&self) -> u64 {
        self.windows.size().unwrap_or(0).into()
    }

    /// The layer whose cache a layer reads, where that is not its own.
    pub(super) fn shared_cache(&self, layer: u32) -> Option<u32> {
        match self.block(layer).map(|block| block.attention) {
            Some(Attention::Heads(heads)) => match heads.cache {
                CacheSource::Own => None,
                CacheSource::SharedWith(owner) => Some(owner),
            },
            _ => None,
        }
    }

    pub(super) fn latent(&self, layer: u32) -> Option<Latent> {
        match self.block(layer).map(|block| block.attention) {
            Some(Attention::Latent(latent)) => Some(latent),
            _ => None,
        }
    }

    /// Whether any layer caches keys and values together.
    pub(super) fn is_latent(&self) -> bool {
        self.blocks.iter().any(|block| matches!(block.attention, Attention::Latent(_)))
    }

    pub(super) fn recurrent(&self, layer: u32) -> Option<Recurrent> {
        self.block(layer).and_then(|block| block.recurrent)
    }

    /// Whether any layer keeps a state of fixed size.
    pub(super) fn is_recurrent(&self) -> bool {
        self.blocks.iter().any(|block| block.recurrent.is_some())
    }

    pub(super) fn feed_forward(&self, layer: u32) -> FeedForward {
        self.block(layer).map_or(FeedForward::None, |block| block.feed_forward)
    }

    /// Whether the router's choice is biased.
    pub(super) fn has_router_bias(&self) -> bool {
        match self.model.basis() {
            Basis::File => self.model.has("exp_probs_b.bias"),
            // Published checkpoints with a sigmoid router have the bias.
            _ => self.hp.facts.exp_probs_b || self.hp.expert_gating_func == 2,
        }
    }

    /// Whether the file, or where there is none the architecture, has a tensor in some layer.
    pub(super) fn may_have(&self, stem: &str) -> bool {
        self.model.basis() != Basis::File || self.model.has(stem)
    }

    /// Whether routing makes the weights of the chosen experts sum to 1: a file without the key leaves them,
    /// published models behind a description without it do not.
    pub(super) fn normalises_expert_weights(&self) -> bool {
        self.hp.expert_weights_norm.unwrap_or(self.model.basis() != Basis::File)
    }

    /// Whether the weights of the chosen experts are multiplied by a factor.
    pub(super) fn scales_expert_weights(&self) -> bool {
        is_factor(self.hp.expert_weights_scale)
    }

    /// Whether queries are multiplied by a temperature that grows with their position.
    pub(super) fn has_attention_temperature(&self) -> bool {
        self.hp.temperature_scale.is_some_and(|scale| scale != 0.0)
    }

    /// Whether RoPE is scaled by a vector of factors.
    pub(super) fn has_rope_factors(&self) -> bool {
        let facts = &self.hp.facts;
        facts.rope_freqs || facts.rope_factors
    }

    /// Whether logits are capped.
    pub(super) fn caps_logits(&self) -> bool {
        // These cap whether or not the metadata says so.
        let default = if matches!(self.architecture(), "gemma2" | "gemma3n" | "gemma4") { 30.0 } else { 0.0 };
        self.hp.final_logit_softcapping.unwrap_or(default) != 0.0
    }

    /// Positions for each token.
    pub(super) fn positions_per_token(&self) -> u64 {
        if MULTI_SECTION_ROPE.contains(&self.architecture()) { 4 } else { 1 }
    }
}

/// First layers that take vectors of a vision tower: what the file says; without one, the three of every
/// published Qwen3-VL (`deepstack_visual_indexes`).
fn n_deepstack_layers(model: &Model) -> u32 {
    let hp = model.hyperparameters();
    match hp.architecture.as_str() {
        "qwen3vl" | "qwen3vlmoe" if hp.n_deepstack_layers == 0 && model.basis() != Basis::File => 3,
        "qwen3vl" | "qwen3vlmoe" => hp.n_deepstack_layers,
        _ => 0,
    }
}

/// Whether a factor changes what it is applied to; the engine leaves out the operation otherwise.
pub(super) fn is_factor(factor: Option<f64>) -> bool {
    factor.is_some_and(|factor| factor != 0.0 && factor != 1.0)
}
