//! How many parameters a model has, and how many a token touches.

use serde::Serialize;

use super::{Model, Origin, Tensor, storage::contains, tensor::Group};

/// Parameter counts of a model.
///
/// Publishers' "active" figures follow no one convention, so both forms are given; speed follows
/// [`active_matmul`](Self::active_matmul).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Parameters {
    /// Every element of the tensor list: what `n_params` of a GGUF file counts.
    pub total: u64,
    /// What the published checkpoint holds in its main model: tied matrices once, without
    /// multi-token-prediction blocks, towers, and what only a GGUF file has ([`Origin::Converter`]).
    /// transformers' `num_parameters()` of the text model.
    pub checkpoint: u64,
    /// Elements of the multi-token-prediction blocks; part of `total`, idle in plain decoding.
    pub mtp: u64,
    /// Tables that are read by row only: the token embedding where there is an output matrix beside it, and
    /// per-layer embeddings always.
    pub lookup: u64,
    /// What one token touches: total − mtp − tower − experts that it does not use.
    pub active: u64,
    /// What one token multiplies with: active − lookup.
    pub active_matmul: u64,
    /// Elements of vision and audio towers with their projectors; part of `total`.
    pub tower: u64,
}

impl Model {
    /// Counts the model's parameters by their role.
    ///
    /// Idle experts are those of tensors with `_exps.` in their name: elements ÷ `expert_count` ×
    /// (`expert_count` − `expert_used_count`).
    ///
    /// ```
    /// use llm_vram_core::{Model, model::Hyperparameters};
    /// let mut llama = Hyperparameters::new("llama");
    /// llama.block_count = 32;
    /// llama.embedding_length = 4096;
    /// llama.vocab_size = 128_256;
    /// llama.feed_forward_length = 14_336.into();
    /// llama.head_count = 32.into();
    /// llama.head_count_kv = 8.into();
    /// llama.facts.rope_freqs = true;
    /// let parameters = Model::new(llama)?.parameters();
    /// assert_eq!(parameters.total, 8_030_261_312);
    /// assert_eq!(parameters.checkpoint, 8_030_261_248);
    /// assert_eq!(parameters.active_matmul, 8_030_261_312 - 4096 * 128_256);
    /// # Ok::<(), llm_vram_core::Error>(())
    /// ```
    #[must_use]
    pub fn parameters(&self) -> Parameters {
        let hp = self.hyperparameters();
        let tied = !self.has("output.weight");
        let mut counts = Parameters::default();
        let mut idle = 0;
        for tensor in self.tensors() {
            // The model's total is at most 2^50 (checked when it was built), so these sums cannot wrap.
            let elements = tensor.elements();
            counts.total += elements;
            match tensor.group {
                Group::Mtp => counts.mtp += elements,
                Group::Tower => counts.tower += elements,
                Group::Text => {
                    if tensor.origin == Origin::Checkpoint {
                        counts.checkpoint += elements;
                    }
                    if is_lookup(tensor, tied) {
                        counts.lookup += elements;
                    }
                    if hp.expert_count > 0 && contains(&tensor.stem, "_exps.") {
                        let unused = hp.expert_count - hp.expert_used_count.min(hp.expert_count);
                        idle += elements / u64::from(hp.expert_count) * u64::from(unused);
                    }
                }
            }
        }
        counts.active = counts.total - counts.mtp - counts.tower - idle;
        counts.active_matmul = counts.active - counts.lookup;
        counts
    }
}

fn is_lookup(tensor: &Tensor, tied: bool) -> bool {
    tensor.stem == "per_layer_token_embd.weight" || (!tied && tensor.stem == "token_embd.weight")
}
