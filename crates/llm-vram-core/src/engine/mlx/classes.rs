//! Which class of mlx-lm runs an architecture, and what caches it makes.
//!
//! Source: mlx-lm 0.32.2, `models/*.py` (`make_cache`) and `utils.py` (`MODEL_REMAPPING`).

/// A class of mlx-lm, as far as memory depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelClass {
    /// The architecture in GGUF's vocabulary.
    pub architecture: &'static str,
    /// The module under `mlx_lm/models`.
    pub module: &'static str,
    /// What caches it makes.
    pub caches: Caches,
}

/// What caches a class makes for its attention layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caches {
    /// `make_prompt_cache` decides: full-length ones, also where the model has a window, or rotating ones with
    /// `--max-kv-size`.
    Default,
    /// `make_cache` of the class: full-length ones; `--max-kv-size` is ignored.
    OwnFull,
    /// `make_cache` of the class: rotating ones where a layer has a window; `--max-kv-size` is ignored.
    OwnRotating,
}

macro_rules! classes {
    ($($architecture:literal $module:literal $caches:ident;)*) => {
        /// Every architecture that GGUF names and mlx-lm runs.
        pub const CLASSES: &[ModelClass] =
            &[$(ModelClass { architecture: $architecture, module: $module, caches: Caches::$caches }),*];
    };
}

classes! {
    "afmoe" "afmoe" OwnRotating;
    "apertus" "apertus" Default;
    "baichuan" "baichuan_m1" OwnRotating;
    "bailingmoe" "bailing_moe" Default;
    "bailingmoe2" "bailing_moe" Default;
    "bailingmoe3" "bailing_moe_v3" OwnFull;
    "bitnet" "bitnet" Default;
    "cohere2" "cohere2" OwnRotating;
    "command-r" "cohere" Default;
    "dbrx" "dbrx" Default;
    "deci" "nemotron-nas" OwnFull;
    "deepseek" "deepseek" Default;
    "deepseek2" "deepseek_v3" Default;
    "deepseek32" "deepseek_v32" OwnFull;
    "dots1" "dots1" Default;
    "ernie4_5" "ernie4_5" Default;
    "ernie4_5-moe" "ernie4_5_moe" Default;
    "exaone" "exaone" Default;
    "exaone4" "exaone4" OwnRotating;
    "exaone-moe" "exaone_moe" OwnRotating;
    "falcon-h1" "falcon_h1" OwnFull;
    "gemma" "gemma" Default;
    "gemma2" "gemma2" Default;
    "gemma3" "gemma3_text" OwnRotating;
    "gemma3n" "gemma3n" OwnRotating;
    "gemma4" "gemma4_text" OwnRotating;
    "glm4" "glm4" Default;
    "glm4moe" "glm4_moe" Default;
    "glm-dsa" "glm_moe_dsa" OwnFull;
    "gpt2" "gpt2" Default;
    "gptneox" "gpt_neox" Default;
    "gptj" "gptj" Default;
    "gpt-oss" "gpt_oss" OwnRotating;
    "granite" "granite" Default;
    "granitehybrid" "granitemoehybrid" OwnFull;
    "granitemoe" "granitemoe" Default;
    "hunyuan-dense" "hunyuan_v1_dense" Default;
    "hunyuan-moe" "hunyuan" Default;
    "internlm2" "internlm2" Default;
    "jamba" "jamba" OwnFull;
    "kimi-linear" "kimi_linear" OwnFull;
    "kimi-k3" "kimi_k3" OwnFull;
    "laguna" "laguna" OwnRotating;
    "lfm2" "lfm2" OwnFull;
    "lfm2moe" "lfm2_moe" OwnFull;
    "llama" "llama" OwnRotating;
    "llama4" "llama4" OwnFull;
    "mamba" "mamba" OwnFull;
    "mamba2" "mamba2" OwnFull;
    "mellum" "mellum" OwnRotating;
    "mimo" "mimo" Default;
    "mimo2" "mimo_v2_flash" OwnRotating;
    "minicpm" "minicpm" Default;
    "minicpm3" "minicpm3" Default;
    "minimax-m2" "minimax" Default;
    "mistral3" "ministral3" OwnRotating;
    "mistral4" "mistral4" Default;
    "nemotron" "nemotron" Default;
    "nemotron_h" "nemotron_h" OwnFull;
    "nemotron_h_moe" "nemotron_h" OwnFull;
    "olmo" "olmo" Default;
    "olmo2" "olmo2" Default;
    "olmo3" "olmo3" OwnRotating;
    "olmo_hybrid" "olmo_hybrid" OwnFull;
    "olmoe" "olmoe" Default;
    "openelm" "openelm" Default;
    "phi2" "phi" Default;
    "phi3" "phi3" Default;
    "phimoe" "phimoe" Default;
    "plamo" "plamo" Default;
    "plamo2" "plamo2" OwnFull;
    "plamo3" "plamo3" OwnRotating;
    "qwen" "qwen" Default;
    "qwen2" "qwen2" Default;
    "qwen2moe" "qwen2_moe" Default;
    "qwen2vl" "qwen2_vl" Default;
    "qwen3" "qwen3" Default;
    "qwen3moe" "qwen3_moe" Default;
    "qwen3next" "qwen3_next" OwnFull;
    "qwen3vl" "qwen3_vl" Default;
    "qwen3vlmoe" "qwen3_vl_moe" Default;
    "qwen35" "qwen3_5" OwnFull;
    "qwen35moe" "qwen3_5_moe" OwnFull;
    "recurrent_gemma" "recurrent_gemma" OwnRotating;
    "recurrentgemma" "recurrent_gemma" OwnRotating;
    "rwkv7" "rwkv7" OwnFull;
    "seed_oss" "seed_oss" Default;
    "smollm3" "smollm3" OwnRotating;
    "stablelm" "stablelm" Default;
    "starcoder" "gpt_bigcode" Default;
    "starcoder2" "starcoder2" Default;
    "step35" "step3p5" OwnRotating;
}

/// The class that runs an architecture.
#[must_use]
pub fn class_of(architecture: &str) -> Option<&'static ModelClass> {
    CLASSES.iter().find(|class| class.architecture == architecture)
}
