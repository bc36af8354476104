//! The engines, by name.

use alloc::format;

use super::{
    Engine, exllama::ExLlama, llama_cpp::LlamaCpp, lm_studio::LmStudio, mlx::Mlx, ollama::Ollama, omlx::Omlx, sglang::SgLang,
    tensorrt_llm::TensorRtLlm, transformers::Transformers, vllm::Vllm,
};
use crate::error::{Error, ErrorKind, Result};

/// Every engine, in the order of the docs.
#[must_use]
pub fn all() -> &'static [&'static dyn Engine] {
    ENGINES
}

static ENGINES: &[&dyn Engine] =
    &[&LlamaCpp, &Ollama, &LmStudio, &Vllm, &SgLang, &Mlx, &Omlx, &Transformers, &TensorRtLlm, &ExLlama];

/// Other spellings of engines' names.
const ALIASES: &[(&str, &str)] = &[
    ("llamacpp", "llama.cpp"),
    ("llama-cpp", "llama.cpp"),
    ("llama_cpp", "llama.cpp"),
    ("llama-server", "llama.cpp"),
    ("lmstudio", "lm-studio"),
    ("lm_studio", "lm-studio"),
    ("mlx-lm", "mlx"),
    ("mlx_lm", "mlx"),
    ("hf", "transformers"),
    ("trt-llm", "tensorrt-llm"),
    ("trtllm", "tensorrt-llm"),
    ("tensorrt_llm", "tensorrt-llm"),
    ("exllamav3", "exllama"),
    ("exllamav2", "exllama"),
];

/// The engine of that name, in any letter case.
///
/// # Errors
/// [`ErrorKind::UnknownEngine`], listing the engines.
pub fn by_name(name: &str) -> Result<&'static dyn Engine> {
    let lower = name.trim().to_ascii_lowercase();
    let canonical = ALIASES.iter().find(|(alias, _)| *alias == lower).map_or(lower.as_str(), |(_, canonical)| canonical);
    all().iter().copied().find(|engine| engine.name() == canonical).ok_or_else(|| {
        let shown: alloc::string::String = name.chars().take(40).collect();
        let names: alloc::vec::Vec<&str> = all().iter().map(|engine| engine.name()).collect();
        Error::new(ErrorKind::UnknownEngine, format!("no engine is called `{shown}`"))
            .field("engine")
            .help(format!("the engines are {}", names.join(", ")))
    })
}
