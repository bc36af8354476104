//! Closed forms of the compute buffers of one device with all layers: an explanation and a quick estimate.
//!
//! Each term is the sum of the tensors that live at one stage of the graph; the largest stage decides. What the
//! forms leave out is which hole of the allocator a tensor falls into; the range says how much that can be.

use alloc::vec::Vec;

use serde::Serialize;

use super::{
    architectures,
    graph_model::GraphModel,
    request::{ComputeRequest, Sizes},
};
use crate::{
    error::Result,
    model::{Attention, FeedForward, Model},
    units::Bytes,
    workload::FlashAttention,
};

/// Kinds of models that the closed forms treat alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelClass {
    /// Attention over one cache, dense feed-forward.
    Dense,
    /// Full and windowed layers, dense feed-forward.
    Windowed,
    /// A mixture of experts, with or without windowed layers.
    Experts,
    /// Recurrent layers, alone or among attention layers.
    Recurrent,
    /// Latent attention.
    Latent,
    /// Latent attention with an indexer.
    LatentIndexed,
    /// Embeddings for every layer (Gemma 3n and 4 E).
    PerLayerEmbeddings,
}

/// An estimated compute buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// The device's buffer.
    pub device: Bytes,
    /// The host's buffer.
    pub host: Bytes,
    /// The least that it is expected to be: the live tensors of the largest stage without the holes that the
    /// form assumes.
    pub low: Bytes,
    /// The most: with the holes that the largest tensors of a layer leave.
    pub high: Bytes,
    /// Which forms were used.
    pub class: ModelClass,
}

/// Estimates the compute buffers of a load with all layers on one device.
///
/// Flash attention `auto` counts as on.
///
/// # Errors
/// As [`plan`](super::plan), except that every architecture is answered.
pub fn closed_form(model: &Model, request: &ComputeRequest<'_>) -> Result<Estimate> {
    let model = GraphModel::new(model);
    request.validate(&model)?;
    let flash_attention = request.parameters.flash_attn != FlashAttention::Off;
    let sizes = Sizes::of_prompt(request.parameters, model.window(), flash_attention);
    let form = Form::new(&model, &sizes);
    let masks = form.masks();
    let residuals = form.rows(4 * form.n_embd);
    let layers = form.largest_layer_stage();
    let logits = form.logits();
    let embeddings = form.embeddings_of_all_layers();
    let base = masks + residuals + embeddings;
    let device = base + layers.max(logits);
    let host = masks + residuals + embeddings;
    let has_list = architectures::op_list(&model).is_some_and(|list| list.exactness != super::Exactness::GenericSkeleton);
    let (below, above) = form.tolerance(has_list);
    Ok(Estimate {
        device: Bytes::from_wide(device)?,
        host: Bytes::from_wide(host)?,
        // Masks are dead when logits are computed; whether their space is used again is a matter of holes.
        low: Bytes::from_wide((base + layers).saturating_sub(below).max(logits))?,
        high: Bytes::from_wide(device + above)?,
        class: form.class(),
    })
}

/// The sizes that the forms are made of; products are taken in 128 bits.
struct Form<'a> {
    model: &'a GraphModel<'a>,
    sizes: &'a Sizes,
    n_tokens: u128,
    n_embd: u128,
}

impl<'a> Form<'a> {
    fn new(model: &'a GraphModel<'a>, sizes: &'a Sizes) -> Self {
        Self { model, sizes, n_tokens: sizes.n_tokens.into(), n_embd: model.n_embd.into() }
    }

    /// One F32 row of `width` numbers for each token.
    fn rows(&self, width: u128) -> u128 {
        4 * self.n_tokens * width
    }

    fn layers(&self) -> impl Iterator<Item = u32> {
        0..self.model.n_layer
    }

    fn class(&self) -> ModelClass {
        let hp = self.model.hp;
        if hp.embedding_length_per_layer_input > 0 {
            ModelClass::PerLayerEmbeddings
        } else if self.model.is_recurrent() {
            ModelClass::Recurrent
        } else if self.model.is_latent() {
            let has_indexer = self.layers().any(|layer| self.model.latent(layer).is_some_and(|latent| latent.indexer.is_some()));
            if has_indexer { ModelClass::LatentIndexed } else { ModelClass::Latent }
        } else if hp.expert_count > 0 {
            ModelClass::Experts
        } else if self.model.window() > 0 {
            ModelClass::Windowed
        } else {
            ModelClass::Dense
        }
    }

    /// Attention masks, and the slots of single values where values are cached transposed.
    fn masks(&self) -> u128 {
        let has_attention = self.layers().any(|layer| self.model.head_count_kv(layer) > 0);
        if !has_attention {
            return 0;
        }
        let cells = u128::from(self.sizes.cells);
        let number = if self.sizes.flash_attention { 2 } else { 4 };
        let caches = if self.model.window() > 0 { 2 } else { 1 };
        let mut bytes = number * cells * self.n_tokens;
        if self.model.window() > 0 {
            bytes += number * u128::from(self.sizes.cells_swa) * self.n_tokens;
        }
        if self.sizes.transposed_values && !self.model.is_latent() {
            bytes += 8 * self.n_tokens * u128::from(self.model.values_width_max) * caches;
        }
        if self.class() == ModelClass::LatentIndexed {
            bytes += 2 * cells * self.n_tokens;
        }
        bytes
    }

    /// Embeddings for every layer, which live until the last layer.
    fn embeddings_of_all_layers(&self) -> u128 {
        self.rows(u128::from(self.model.hp.embedding_length_per_layer_input) * u128::from(self.model.n_layer))
    }

    /// The most that lives at a stage of a layer beside masks and residuals.
    fn largest_layer_stage(&self) -> u128 {
        let mut largest = 0;
        let mut seen: Vec<(Option<Attention>, FeedForward, bool)> = Vec::new();
        for layer in self.layers() {
            let kind = (self.model.attention(layer), self.model.feed_forward(layer), self.model.recurrent(layer).is_some());
            if seen.contains(&kind) {
                continue;
            }
            seen.push(kind);
            largest = self.attention(layer).max(self.recurrence(layer)).max(self.feed_forward(layer)).max(largest);
        }
        largest + self.zeros_of_indexers()
    }

    /// The logits, beside what stays for the whole graph.
    fn logits(&self) -> u128 {
        4 * u128::from(self.sizes.n_outputs) * u128::from(self.model.n_vocab) + self.last_hidden_state() + self.zeros_of_indexers()
    }

    /// The zeros with which indexers open the selected cells: leaves, which live for the whole graph.
    fn zeros_of_indexers(&self) -> u128 {
        let indexers = self.layers().filter_map(|layer| self.model.latent(layer)?.indexer);
        indexers.map(|indexer| self.rows(u128::from(u64::from(indexer.top_k).min(self.sizes.cells)))).sum()
    }

    /// The full-width hidden state that is kept beside the logits.
    fn last_hidden_state(&self) -> u128 {
        match self.model.architecture() {
            "gpt-oss" | "gemma4" | "qwen3next" | "qwen35" | "qwen35moe" | "nemotron_h" => self.rows(self.n_embd),
            _ => 0,
        }
    }

    fn feed_forward(&self, layer: u32) -> u128 {
        match self.model.feed_forward(layer) {
            FeedForward::None => 0,
            FeedForward::Dense { length } => {
                let tensors = if matches!(self.model.architecture(), "starcoder2" | "nemotron_h") { 1 } else { 3 };
                let sparse = if self.model.architecture() == "gemma3n" { 1 } else { 0 };
                (tensors + sparse) * self.rows(length.into())
            }
            FeedForward::Experts { used, length, shared_length, .. } => {
                let used = u128::from(used);
                let inner = self.rows(used * u128::from(length));
                let outer = self.rows(used * self.n_embd);
                // Outputs go into the hole of gate and up if they fit, and so does their weighted copy.
                let routed = if 2 * inner >= outer {
                    3 * inner
                } else if outer <= 3 * inner {
                    3 * inner + outer
                } else {
                    3 * inner + 2 * outer
                };
                if shared_length == 0 {
                    return routed;
                }
                let one = self.rows(self.n_embd);
                (routed + one).max(outer + 3 * self.rows(shared_length.into()) + 2 * one)
            }
        }
    }

    fn attention(&self, layer: u32) -> u128 {
        if let Some(latent) = self.model.latent(layer) {
            let heads = u128::from(latent.head_count);
            let [rank, rope] = [latent.kv_lora_rank, latent.rope_length].map(u128::from);
            let queries = self.rows(heads * (rank + rope));
            let values = self.rows(heads * rank);
            let cells = u128::from(self.sizes.cells) * u128::from(self.sizes.n_stream);
            let converted = if self.sizes.type_k == crate::quant::GgmlType::F16 { 0 } else { 2 * cells * (rank + rope) };
            return if self.sizes.flash_attention {
                queries + values.max(self.rows(heads * u128::from(latent.key_length))) + converted
            } else {
                queries + 4 * u128::from(self.sizes.cells) * self.n_tokens * heads + 2 * rank * cells
            };
        }
        if !matches!(self.model.attention(layer), Some(Attention::Heads(_))) {
            return 0;
        }
        let heads = u128::from(self.model.head_count(layer));
        let heads_kv = u128::from(self.model.head_count_kv(layer));
        let [key, value] = [self.model.key_length(layer), self.model.value_length(layer)].map(u128::from);
        let cells = u128::from(if self.model.is_windowed(layer) { self.sizes.cells_swa } else { self.sizes.cells });
        let stored = cells * u128::from(self.sizes.n_stream);
        let queries = self.rows(heads * key);
        let half = crate::quant::GgmlType::F16;
        if !self.sizes.flash_attention {
            let transposed = if self.sizes.transposed_values { 0 } else { 2 * stored * heads_kv * value };
            return queries + 4 * cells * self.n_tokens * heads + transposed;
        }
        if self.sizes.type_k == half && self.sizes.type_v == half {
            let gate = if matches!(self.model.architecture(), "qwen3next" | "qwen35" | "qwen35moe") { 2 } else { 0 };
            return (2 + gate) * queries + self.rows(heads_kv * (key + value));
        }
        let mut converted = 0;
        if self.sizes.type_k != half {
            converted += 2 * stored * heads_kv * key;
        }
        if self.sizes.type_v != half {
            converted += 2 * stored * heads_kv * value;
        }
        queries + queries.saturating_sub(self.rows(self.n_embd)) + converted
    }

    /// The working set of a recurrent layer: its input projection, the convolution over it and what that gives.
    fn recurrence(&self, layer: u32) -> u128 {
        let Some(recurrent) = self.model.recurrent(layer) else { return 0 };
        let hp = self.model.hp;
        let inner = u128::from(hp.ssm_inner_size);
        let mixed = inner + 2 * u128::from(hp.ssm_group_count) * u128::from(hp.ssm_state_size);
        let state = 4 * u128::from(recurrent.state_elements) * u128::from(self.sizes.n_seq);
        match recurrent.kind {
            crate::model::Recurrence::ShortConv => self.rows(6 * self.n_embd),
            crate::model::Recurrence::GatedDeltaNet => self.rows(2 * mixed + 3 * inner) + 2 * state,
            _ => self.rows(2 * inner + 2 * mixed) + state,
        }
    }

    /// How far below and above the form the buffer can be.
    ///
    /// A tensor falls into a hole or beside it, so a stage can be off by the largest tensors of one layer: one
    /// residual for dense models, one output of all chosen experts (and its weighted copy) for mixtures, one
    /// set of queries or convolution inputs for latent and recurrent ones. Architectures that are not read in
    /// detail may hold twice as much.
    fn tolerance(&self, has_list: bool) -> (u128, u128) {
        let residual = self.rows(self.n_embd);
        let mut widest = residual;
        for layer in self.layers() {
            widest = widest.max(self.feed_forward(layer)).max(self.recurrence(layer));
            if let Some(latent) = self.model.latent(layer) {
                widest =
                    widest.max(self.rows(u128::from(latent.head_count) * u128::from(latent.kv_lora_rank + latent.rope_length)));
            }
            let queries = self.rows(u128::from(self.model.head_count(layer)) * u128::from(self.model.key_length(layer)));
            widest = widest.max(queries);
        }
        if has_list { (widest, 2 * widest) } else { (2 * widest, 4 * widest) }
    }
}
