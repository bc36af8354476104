//! Facts about how an engine takes memory, from which differences between engines are explained.
//!
//! They are read from the same options and rules as [`Engine::memory`](super::Engine::memory), so that a reason never
//! rests on anything that the figures do not rest on.

use super::Scene;

/// How an engine treats one scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Habits {
    /// The step in which caches are allocated.
    pub cache_step: CacheStep,
    /// Tokens that a layer of full attention has room for, all requests together.
    pub cached_tokens: u64,
    /// Tokens that a windowed layer has room for, all requests together; `None` where no layer is run with a window.
    pub window_tokens: Option<u64>,
    /// Whether latent attention is cached as full heads instead of its compressed rows.
    pub expands_latent: bool,
    /// Where recurrent states lie, and how wide they are.
    pub states: States,
    /// Tokens computed at once, and the option that says so.
    pub batch: Batch,
    /// How working memory comes about.
    pub working: Working,
    /// Whether the input embedding stays in host memory.
    pub embedding_on_host: bool,
    /// Whether a tied output is a second copy of the embedding on a device.
    pub copies_tied_output: bool,
}

/// The step in which a cache is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStep {
    /// Its size; 1 for a cache of exactly as many tokens as there are.
    pub tokens: u64,
    /// What the engine calls the units, for example `cells` or `blocks`.
    pub unit: &'static str,
}

/// Tokens computed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// The engine's option.
    pub option: &'static str,
    /// Its value.
    pub tokens: u64,
}

/// Recurrent states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum States {
    /// A buffer of their own, 32 bits an element.
    Wide,
    /// A buffer of their own, in the types of the model's class.
    Typed,
    /// Pages of the cache.
    InCache,
}

/// How working memory comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Working {
    /// A buffer of fixed size, planned operation by operation before the first token.
    Planned,
    /// The peak of a forward pass that the engine runs and measures at start.
    Profiled,
    /// Not measured: it must find room in what a fixed fraction of memory leaves.
    LeftOver,
    /// Nothing is reserved: arrays come and go with each step of the prompt.
    Transient,
    /// A buffer of the serialised engine, sized when the engine was built.
    Built,
}

impl Habits {
    /// Those of an engine that caches the asked tokens exactly, reserves nothing and computes a prompt whole.
    #[must_use]
    pub fn plain(scene: &Scene<'_>) -> Self {
        let workload = scene.workload;
        Self {
            cache_step: CacheStep { tokens: 1, unit: "tokens" },
            cached_tokens: workload.context.saturating_mul(workload.concurrency),
            window_tokens: None,
            expands_latent: false,
            states: States::Typed,
            batch: Batch { option: "context", tokens: workload.context },
            working: Working::Transient,
            embedding_on_host: false,
            copies_tied_output: false,
        }
    }
}
