//! Which architectures' files are understood how far.

/// Architectures whose tensors have the plain meaning that the comparison of shapes assumes, so that a
/// difference is an error. Source: llama.cpp, `src/models/*.cpp` (`load_arch_tensors`), llama-cpp-sys-2 0.1.161.
#[rustfmt::skip]
const PLAIN: &[&str] = &[
    "arcee", "baichuan", "cohere2", "command-r", "deepseek2", "deepseek32", "dots1", "ernie4_5", "ernie4_5-moe", "exaone",
    "exaone4", "falcon", "gemma", "gemma2", "gemma3", "gemma4", "glm4", "glm4moe", "gpt-oss", "granite", "granitehybrid",
    "granitemoe", "internlm2", "jamba", "lfm2", "lfm2moe", "llama", "llama4", "minimax-m2", "mistral3", "nemotron",
    "nemotron_h", "olmo", "olmo2", "olmoe", "phi2", "phi3", "phimoe", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen35",
    "qwen35moe", "qwen3moe", "qwen3next", "qwen3vl", "qwen3vlmoe", "seed_oss", "smollm3", "stablelm", "starcoder2",
];

/// Further architectures whose attention and state follow from the metadata by the rules of
/// [`Block`](crate::model::Block). Source: llama.cpp, `src/models/*.cpp` (`load_arch_hparams`), same version.
#[rustfmt::skip]
const FURTHER: &[&str] = &[
    "afmoe", "apertus", "arctic", "arwkv7", "bailingmoe", "bailingmoe2", "bitnet", "bloom", "chameleon", "chatglm",
    "codeshell", "cohere2moe", "dbrx", "deci", "deepseek", "exaone-moe", "falcon-h1", "gemma3n", "gpt2", "gptj", "gptneox",
    "grok", "grovemoe", "hunyuan-dense", "hunyuan-moe", "jais", "kimi-linear", "laguna", "mamba", "mamba2", "minicpm",
    "minicpm3", "minimax-01", "mpt", "nemotron_h_moe", "openelm", "orion", "pangu-embedded", "plamo", "plamo2", "plamo3",
    "plm", "qwen", "refact", "rwkv6", "rwkv6qwen2", "rwkv7", "smallthinker", "starcoder", "xverse",
];

/// Whether a tensor's shape that contradicts the metadata is an error.
pub(super) fn is_plain(architecture: &str) -> bool {
    PLAIN.contains(&architecture)
}

/// Whether attention and state follow from the metadata.
pub(super) fn is_known(architecture: &str) -> bool {
    is_plain(architecture) || FURTHER.contains(&architecture)
}
