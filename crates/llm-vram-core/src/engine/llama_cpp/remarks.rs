//! What a user would want to know before trying: options without effect, contexts beyond training, memory that
//! grows on the host.

use alloc::{format, string::String, vec::Vec};

use super::{
    buffer::Places,
    cache::{self, Caches},
    compressed,
    context::Context,
    indexer,
    options::Parameters,
    weights::Weights,
    window::Windows,
};
use crate::{
    error::Result,
    model::{Model, Warning},
    units::{ByteUnit, Bytes, grouped},
    workload::{Defaults, Workload},
};

/// Checkpoints that llama-server keeps for each slot (`common/common.h`, `n_ctx_checkpoints`).
const CHECKPOINTS_PER_SLOT: u64 = 32;
/// Least distance between two of them, in tokens (`checkpoint_min_step`).
const CHECKPOINT_STEP: u64 = 8192;
/// Slots that llama-server opens if nobody says how many.
const AUTOMATIC_SLOTS: u64 = 4;

/// What the remarks are about.
pub struct Facts<'a> {
    /// The model.
    pub model: &'a Model,
    /// What was asked.
    pub workload: &'a Workload,
    /// What the engine makes of it.
    pub parameters: &'a Parameters,
    /// The rounded context.
    pub context: &'a Context,
    /// Attention caches.
    pub caches: &'a Caches,
    /// Recurrent states.
    pub states: &'a Places,
    /// Weights.
    pub weights: &'a Weights,
}

impl Facts<'_> {
    /// Collects the remarks.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) if a sum is beyond 2^53 - 1 bytes.
    pub fn remarks(&self) -> Result<Vec<Warning>> {
        let mut remarks = Vec::new();
        self.about_cache(&mut remarks)?;
        self.about_layers(&mut remarks);
        self.about_server(&mut remarks)?;
        Ok(remarks)
    }

    fn about_cache(&self, remarks: &mut Vec<Warning>) -> Result<()> {
        let hp = self.model.hyperparameters();
        let chosen = self.workload.kv_cache_type_k.is_some() || self.workload.kv_cache_type_v.is_some();
        let has_cache = self.caches.all().total()? > Bytes::ZERO;
        if chosen && !has_cache {
            let why =
                if cache::runs_without_cache(hp) { "llama.cpp runs it without a cache" } else { "its state is always 32-bit" };
            remarks.push(Warning::new("kv_cache_type_ignored", format!("the cache type has no effect on this model: {why}")));
        } else if chosen && self.states.total()? > Bytes::ZERO {
            remarks.push(Warning::new(
                "recurrent_state_not_quantised",
                "the cache type has no effect on the recurrent state, which is always 32-bit",
            ));
        }
        if let (Some(window), None) = (hp.sliding_window.filter(|&size| size > 0), Windows::of(hp).size())
            && u64::from(window) < self.context.n_ctx_seq
        {
            let message = format!(
                "the model describes a sliding window of {} tokens, which llama.cpp does not apply to `{}`: every layer caches the whole context",
                grouped(window.into()),
                hp.architecture
            );
            remarks.push(Warning::new("window_ignored", message));
        }
        if compressed::is_bound(hp) {
            remarks.push(Warning::new(
                "cache_is_a_bound",
                "the layers' compress ratios are not known (a GGUF file has them): every layer counts with the finer cache, which is \
                 the most that llama.cpp can allocate",
            ));
        }
        if indexer::is_bound(hp) {
            remarks.push(Warning::new(
                "cache_is_a_bound",
                "whether the indexer pools its keys is not known (a GGUF file tells): its cache counts with pooled keys, the larger form",
            ));
        }
        if self.model.tensors().iter().any(|tensor| tensor.stem.contains("ple_conv1d")) {
            remarks.push(Warning::new(
                "state_not_counted",
                "the history of the n-gram embeddings, a few rows of the hidden size per sequence, is not counted",
            ));
        }
        if hp.context_length > 0 && self.workload.context > hp.context_length {
            let message = format!(
                "{} tokens are more than the {} that the model was trained for; llama.cpp allocates them nevertheless",
                grouped(self.workload.context),
                grouped(hp.context_length)
            );
            remarks.push(Warning::new("context_beyond_training", message));
        }
        Ok(())
    }

    fn about_layers(&self, remarks: &mut Vec<Warning>) {
        let hp = self.model.hyperparameters();
        if hp.nextn_predict_layers > 0 && self.weights.skipped_mtp > Bytes::ZERO {
            let message = format!(
                "the file's {} for predicting further tokens ({}) is not loaded; drafting with it takes that much more, and a cache of its own",
                if hp.nextn_predict_layers == 1 { "layer" } else { "layers" },
                self.weights.skipped_mtp.display(ByteUnit::GiB)
            );
            remarks.push(Warning::new("mtp_layers_idle", message));
        }
        if self.weights.skipped_tower > Bytes::ZERO {
            let message = format!(
                "the vision or audio tower ({}) is a file of its own for llama.cpp (`--mmproj`) and is not counted",
                self.weights.skipped_tower.display(ByteUnit::GiB)
            );
            remarks.push(Warning::new("tower_not_counted", message));
        }
        let units = u64::from(hp.block_count) + 1;
        if let Some(asked) = self.parameters.n_gpu_layers.filter(|&asked| asked > units) {
            let message =
                format!("{} GPU layers were asked for; the model has {units} with its output, all are offloaded", grouped(asked));
            remarks.push(Warning::new("n_gpu_layers_above_layers", message));
        }
        if self.parameters.n_cpu_moe > 0 && hp.expert_count == 0 {
            remarks.push(Warning::new("n_cpu_moe_without_experts", "the model has no experts to keep on the host"));
        }
    }

    fn about_server(&self, remarks: &mut Vec<Warning>) -> Result<()> {
        if self.workload.defaults != Defaults::Server {
            return Ok(());
        }
        let windowed = if self.parameters.swa_full { Bytes::ZERO } else { self.caches.windowed.total()? };
        let states = self.states.total()?;
        if windowed == Bytes::ZERO && states == Bytes::ZERO {
            return Ok(());
        }
        let slots = self.context.n_seq_max;
        let each = (windowed + states).get() / slots.max(1);
        let count = CHECKPOINTS_PER_SLOT.min(self.context.n_ctx_seq / CHECKPOINT_STEP).max(1);
        let all = Bytes::from_wide(u128::from(each) * u128::from(count) * u128::from(slots))?;
        let message = format!(
            "llama-server saves up to {count} {} per slot in host memory for such a model, {} each, {} in all (`--ctx-checkpoints 0` turns them off)",
            if count == 1 { "checkpoint" } else { "checkpoints" },
            mebibytes(each),
            mebibytes(all.get())
        );
        remarks.push(Warning::new("context_checkpoints", message));
        if slots == 1 && self.workload.kv_unified.is_none() && states > Bytes::ZERO {
            let message = format!(
                "this is llama-server with `-np 1`; without it, it opens {AUTOMATIC_SLOTS} slots, and recurrent states take {} instead of {}",
                mebibytes(states.get().saturating_mul(AUTOMATIC_SLOTS)),
                mebibytes(states.get())
            );
            remarks.push(Warning::new("server_slots", message));
        }
        Ok(())
    }
}

/// States are a matter of mebibytes; small ones are rounded up.
fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", grouped(bytes.div_ceil(1 << 20)))
}
