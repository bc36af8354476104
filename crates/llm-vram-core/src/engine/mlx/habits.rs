//! How mlx-lm's models and caches take memory, as facts for comparisons.

use super::{
    Server,
    cache::layer_caches,
    growth::{CacheClass, FillTable},
    options::Options,
    sum::final_slots,
};
use crate::{
    engine::{
        Scene,
        habits::{Batch, CacheStep, Habits, States, Working},
    },
    error::Result,
    model::Attention,
};

/// The facts for a program that decodes at most `server.sequences` requests at once.
pub(in crate::engine) fn of(scene: &Scene<'_>, server: Server) -> Result<Habits> {
    let options = Options::read(scene.workload)?;
    let layers = layer_caches(scene.model, options.max_kv_size)?;
    let sequences = scene.workload.concurrency.min(server.sequences).max(1);
    let batched = sequences > 1 || server.batches_one;
    let context = scene.workload.context;
    let mut table = FillTable::default();
    let mut slots = |class| final_slots(class, context, batched, options.prefill_step_size, &mut table).saturating_mul(sequences);
    let caches = || layers.iter().filter_map(|layer| layer.attention);
    let is_window = |class| !matches!(class, CacheClass::Full);
    let cached_tokens = slots(CacheClass::Full);
    let window_tokens = caches().map(|cache| cache.class).filter(|&class| is_window(class)).map(&mut slots).max();
    let latent = scene.model.blocks().iter().any(|block| matches!(block.attention, Attention::Latent(_)));
    Ok(Habits {
        // A batch is merged to its longest request, a single cache grows in steps.
        cache_step: CacheStep { tokens: if batched { 1 } else { super::growth::STEP }, unit: "slots" },
        cached_tokens,
        window_tokens,
        expands_latent: latent && !caches().any(|cache| cache.is_latent),
        states: States::Typed,
        batch: Batch { option: "prefill_step_size", tokens: options.prefill_step_size.min(context) },
        working: Working::Transient,
        embedding_on_host: false,
        copies_tied_output: false,
    })
}
