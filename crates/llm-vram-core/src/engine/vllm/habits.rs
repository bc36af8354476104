//! How vLLM takes memory, as facts for comparisons.

use super::{kv_spec, options::Options, rules::Rules};
use crate::{
    engine::{
        Scene,
        habits::{Batch, CacheStep, Habits, States, Working},
    },
    error::Result,
};

/// The facts for a scene.
pub(super) fn of(scene: &Scene<'_>) -> Result<Habits> {
    let (_, rules, _) = Rules::of(scene.version)?;
    let (options, _) = Options::resolve(scene.model, scene.workload, scene.hardware, rules)?;
    let specs = kv_spec::layer_specs(scene.model, &options.spec(scene.model), rules)?;
    let in_flight =
        rules.tokens_in_flight(options.max_num_batched_tokens, options.parallel.pipeline, rules.runs_on_v2(scene.model));
    let requests = scene.workload.concurrency;
    let mut block = options.block_size.max(1);
    let mut window_tokens = None;
    for spec in &specs {
        let size = spec.block_tokens.max(1);
        let reach = |width: u64| width.saturating_add(in_flight).min(options.max_model_len);
        let tokens = match spec.kind {
            kv_spec::SpecKind::Sliding(window) => (reach(window.saturating_sub(1)).div_ceil(size) + 1) * size,
            kv_spec::SpecKind::Chunked(chunk) => reach(chunk).div_ceil(size) * size,
            kv_spec::SpecKind::Full | kv_spec::SpecKind::Latent => {
                block = size;
                continue;
            }
            kv_spec::SpecKind::State => continue,
        };
        window_tokens = window_tokens.max(Some(tokens.saturating_mul(requests)));
    }
    Ok(Habits {
        cache_step: CacheStep { tokens: block, unit: "block tokens" },
        cached_tokens: options.max_model_len.next_multiple_of(block).saturating_mul(requests),
        window_tokens,
        expands_latent: false,
        states: States::InCache,
        batch: Batch { option: "max_num_batched_tokens", tokens: options.max_num_batched_tokens },
        working: Working::Profiled,
        embedding_on_host: false,
        copies_tied_output: false,
    })
}
