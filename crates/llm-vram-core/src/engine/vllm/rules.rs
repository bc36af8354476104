//! What differs between versions of vLLM, as data.
//!
//! Source: the releases 0.11, 0.13 and 0.15 to 0.33 compared, and 0.19.0 and 0.33.0 run; files are named at each
//! rule. The paths are those of the vLLM repository, below `vllm/`.

use alloc::format;

use crate::{
    error::{Error, ErrorKind, Result},
    model::{Model, Warning},
};

/// The figure that "GPU KV cache size: … tokens" prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFigure {
    /// Blocks per group × the smallest block.
    BlocksPerGroup,
    /// Concurrency × `max_model_len`.
    Concurrency,
}

/// The multiple that the attention block of a hybrid with latent attention is rounded up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HybridAlignment {
    /// Fixed, in tokens.
    Tokens(u64),
    /// The backend's own block, or the block size if that is larger.
    Backend,
}

/// How the profile run samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampler {
    /// Sorting in PyTorch.
    Sort,
    /// Top-k and top-p in Triton, one row buffer per program.
    Triton,
    /// FlashInfer.
    FlashInfer,
}

/// Which models run on the second model runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunnerV2 {
    /// None.
    Never,
    /// Dense Qwen3.
    Qwen3,
    /// Dense Llama, Mistral, Qwen3.
    LlamaMistralQwen3,
    /// All dense models without recurrent states.
    Dense,
    /// All.
    Always,
}

/// The rules of a range of versions, from `since` to the next band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// The first minor version (0.x) with these rules.
    pub since: u32,
    /// The engine before V1: no groups, one block size, sequences profiled in one shot.
    pub v0: bool,
    /// Default of `gpu_memory_utilization` (`config/cache.py`).
    pub gpu_memory_utilization: f64,
    /// A group takes the most layers of any kind if that is less than this multiple of the fewest, as a ratio
    /// (`v1/core/kv_cache_utils.py`, later `kv_cache_planning.py`: `_get_kv_cache_groups_uniform_page_size`).
    pub group_ratio: (u64, u64),
    /// Attention pages that do not divide the largest are padded; before, the engine refused.
    pub pads_attention_pages: bool,
    /// The estimate of CUDA graphs is taken out of the cache's budget
    /// (`VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS`, `v1/worker/gpu_worker.py`).
    pub graphs_in_budget: bool,
    /// The printed token figure (`_report_kv_cache_config`).
    pub token_figure: TokenFigure,
    /// Windows are sized for all batches in flight, not for one
    /// (`v1/kv_cache_interface.py`: `SlidingWindowSpec.max_memory_usage_bytes`).
    pub batches_in_flight: bool,
    /// Models with recurrent states cache prefixes by default, with two states per request (`align`).
    pub caches_state_prefixes: bool,
    /// The block of hybrids with latent attention (`platforms/interface.py`, before `models/config.py`).
    pub latent_hybrid: HybridAlignment,
    /// The start-up check also wants the null block.
    pub checks_null_block: bool,
    /// Data-centre Blackwell captures graphs up to 1024 tokens.
    pub blackwell_graphs_1024: bool,
    /// How the profile run samples (`v1/sample/ops/topk_topp_sampler.py`).
    pub sampler: Sampler,
    /// Who runs on the second model runner.
    pub runner_v2: RunnerV2,
    /// The second runner profiles its sampler with all options on.
    pub v2_profiles_all_options: bool,
    /// The second runner's penalty counters count as used memory.
    pub counters_in_budget: bool,
    /// Non-torch memory of one device, in hundredths of a GiB: expected, low, high.
    pub non_torch_single: (u64, u64, u64),
}

const V0: Rules = Rules {
    since: 0,
    v0: true,
    gpu_memory_utilization: 0.90,
    group_ratio: (1, 1),
    pads_attention_pages: false,
    graphs_in_budget: false,
    token_figure: TokenFigure::BlocksPerGroup,
    batches_in_flight: false,
    caches_state_prefixes: false,
    latent_hybrid: HybridAlignment::Tokens(64),
    checks_null_block: false,
    blackwell_graphs_1024: false,
    sampler: Sampler::Sort,
    runner_v2: RunnerV2::Never,
    v2_profiles_all_options: false,
    counters_in_budget: false,
    non_torch_single: (25, 10, 179),
};
const V0_8: Rules = Rules { since: 8, v0: false, non_torch_single: (13, 11, 35), ..V0 };
const V0_13: Rules = Rules { since: 13, group_ratio: (5, 4), ..V0_8 };
const V0_17: Rules = Rules { since: 17, sampler: Sampler::Triton, ..V0_13 };
const V0_18: Rules = Rules { since: 18, group_ratio: (3, 2), non_torch_single: (25, 23, 47), ..V0_17 };
const V0_20: Rules = Rules {
    since: 20,
    gpu_memory_utilization: 0.92,
    graphs_in_budget: true,
    latent_hybrid: HybridAlignment::Backend,
    // 0.19 refuses, 0.33 pads; the releases between were not run.
    pads_attention_pages: true,
    ..V0_18
};
const V0_21: Rules = Rules { since: 21, token_figure: TokenFigure::Concurrency, sampler: Sampler::FlashInfer, ..V0_20 };
const V0_22: Rules = Rules { since: 22, runner_v2: RunnerV2::Qwen3, ..V0_21 };
const V0_23: Rules = Rules { since: 23, runner_v2: RunnerV2::LlamaMistralQwen3, ..V0_22 };
const V0_25: Rules = Rules { since: 25, runner_v2: RunnerV2::Dense, ..V0_23 };
const V0_26: Rules = Rules { since: 26, batches_in_flight: true, caches_state_prefixes: true, ..V0_25 };
const V0_27: Rules = Rules { since: 27, latent_hybrid: HybridAlignment::Tokens(128), counters_in_budget: true, ..V0_26 };
const V0_28: Rules = Rules { since: 28, blackwell_graphs_1024: true, runner_v2: RunnerV2::Always, ..V0_27 };
const V0_29: Rules = Rules { since: 29, checks_null_block: true, ..V0_28 };
const V0_33: Rules = Rules { since: 33, v2_profiles_all_options: true, ..V0_29 };

/// Every band, the newest first.
pub const BANDS: [Rules; 15] =
    [V0_33, V0_29, V0_28, V0_27, V0_26, V0_25, V0_23, V0_22, V0_21, V0_20, V0_18, V0_17, V0_13, V0_8, V0];

/// The versions whose source was read, the newest first.
pub const VERSIONS: &[&str] = &[
    "0.33.0", "0.32.0", "0.31.0", "0.30.0", "0.29.0", "0.28.0", "0.27.0", "0.26.0", "0.25.0", "0.24.0", "0.23.0", "0.22.0",
    "0.21.0", "0.20.0", "0.19.0", "0.18.0", "0.17.0", "0.16.0", "0.15.0", "0.13.0", "0.11.0", "0.6.6",
];

impl Rules {
    /// The rules of one of [`VERSIONS`], or of the version nearest to `asked`, with a remark that says so.
    ///
    /// Patch releases follow their minor version. `None` stands for the newest.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] for text that is no version.
    pub fn of(asked: Option<&str>) -> Result<(&'static str, &'static Self, Option<Warning>)> {
        let newest = VERSIONS.first().copied().unwrap_or_default();
        let Some(asked) = asked else { return Ok((newest, Self::band(u32::MAX), None)) };
        let (major, minor) = parse(asked)?;
        let known = |version: &&'static str| parse(version).is_ok_and(|(_, known)| known == minor);
        if let (0, Some(version)) = (major, VERSIONS.iter().find(|version| known(version))) {
            return Ok((version, Self::band(minor), None));
        }
        let wanted = if major > 0 { u32::MAX } else { minor };
        let band = Self::band(wanted);
        // Of the versions whose rules were read, the nearest that runs the same engine.
        let nearest = VERSIONS
            .iter()
            .filter(|version| parse(version).is_ok_and(|(_, known)| (known < V0_8.since) == band.v0))
            .min_by_key(|version| parse(version).map_or(u32::MAX, |(_, known)| known.abs_diff(wanted)))
            .copied()
            .unwrap_or(newest);
        let minor = parse(nearest).map_or(u32::MAX, |(_, minor)| minor);
        let warning =
            Warning::new("unknown_engine_version", format!("vLLM `{asked}` is not known; the rules of {nearest} answer for it"));
        Ok((nearest, Self::band(minor), Some(warning)))
    }

    fn band(minor: u32) -> &'static Self {
        BANDS.iter().find(|band| band.since <= minor).unwrap_or(&V0)
    }

    /// Whether a model runs on the second model runner.
    #[must_use]
    pub fn runs_on_v2(&self, model: &Model) -> bool {
        let dense = model.hyperparameters().expert_count == 0;
        let hybrid = model.blocks().iter().any(|block| block.recurrent.is_some());
        match self.runner_v2 {
            RunnerV2::Never => false,
            RunnerV2::Qwen3 => model.architecture() == "qwen3",
            // Mistral's files call themselves `llama`.
            RunnerV2::LlamaMistralQwen3 => dense && matches!(model.architecture(), "llama" | "mistral3" | "qwen3"),
            RunnerV2::Dense => dense && !hybrid,
            RunnerV2::Always => true,
        }
    }

    /// Tokens that a window must hold beside itself: those of the batches in flight.
    ///
    /// Source: vLLM, `v1/kv_cache_interface.py`, `config/scheduler.py` (asynchronous scheduling keeps two
    /// batches), `v1/executor/abstract.py` (`max_concurrent_batches`).
    #[must_use]
    pub const fn tokens_in_flight(&self, max_num_batched_tokens: u64, pipeline: u64, v2: bool) -> u64 {
        let batches = match (self.batches_in_flight, v2, pipeline) {
            (false, ..) => 1,
            (true, true, stages) => stages.saturating_add(1),
            (true, false, 1) => 2,
            (true, false, stages) => stages,
        };
        max_num_batched_tokens.saturating_mul(batches)
    }
}

/// Major and minor number of a version such as `0.19.0`, `v0.29.1rc1.dev17` or `0.11`.
fn parse(text: &str) -> Result<(u32, u32)> {
    let trimmed = text.trim();
    let mut parts = trimmed.strip_prefix('v').unwrap_or(trimmed).split('.').map(|part| {
        let digits = part.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        digits.parse::<u32>().ok()
    });
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => Ok((major, minor)),
        _ => Err(Error::new(ErrorKind::InvalidValue, format!("`{text}` is not a version of vLLM"))
            .field("engine_version")
            .help("give a version such as 0.19.0, or leave it out for the newest known")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn versions_find_their_band_and_unknown_ones_the_nearest() {
        let since = |asked| {
            let (version, rules, warning) = Rules::of(asked).unwrap();
            (version, rules.since, warning.is_some())
        };
        assert_eq!(since(None), ("0.33.0", 33, false));
        assert_eq!(since(Some("0.19.1")), ("0.19.0", 18, false));
        assert_eq!(since(Some("v0.29.1rc1.dev17")), ("0.29.0", 29, false));
        assert_eq!(since(Some("0.14.0")), ("0.15.0", 13, true));
        assert_eq!(since(Some("0.9.2")), ("0.11.0", 8, true));
        assert_eq!(since(Some("0.6.3.post1")), ("0.6.6", 0, false));
        assert_eq!(since(Some("0.5.4")), ("0.6.6", 0, true));
        assert_eq!(since(Some("1.2")), ("0.33.0", 33, true));
        assert!(Rules::of(Some("newest")).is_err());
        assert!(BANDS.windows(2).all(|pair| pair[0].since > pair[1].since));
    }
}
