//! The list of tensors of each architecture.
//!
//! One file per family, one function per architecture or group of architectures with the same list; what
//! they share is in `parts`. Names, shapes and presence follow llama.cpp's loader: `src/llama-arch.cpp` for names,
//! `load_arch_tensors` in `src/models/<architecture>.cpp` for shapes, llama-cpp-sys-2 0.1.161.

mod gemma;
mod gpt;
mod hybrid;
mod latent;
mod linear;
mod list;
mod llama;
mod parts;
mod qwen;
mod relatives;
mod rwkv;
mod windowed;

use alloc::{format, vec::Vec};

use self::list::List;
use super::{Block, CacheSource, Hyperparameters, Origin, Tensor, Warning, block::Attention, tensor::Group};
use crate::error::Result;

/// Lists the tensors of a validated description.
pub(super) fn derive(hp: &Hyperparameters, blocks: &[Block]) -> Result<(Vec<Tensor>, Vec<Warning>)> {
    let mut list = List::new(hp, blocks);
    let mut warnings = Vec::new();
    if let Some(write) = writer(&hp.architecture) {
        write(&mut list);
    } else {
        llama::assumed(&mut list);
        warnings.push(Warning::new(
            "unknown_architecture",
            format!(
                "no tensor list is known for the architecture `{}`: assumed is a plain transformer with separate query, key and \
                 value projections, {} and {} output matrix",
                hp.architecture,
                if hp.expert_count > 0 { "experts with gated networks" } else { "a gated feed-forward network" },
                if hp.facts.tied { "no separate" } else { "a separate" },
            ),
        ));
    }
    Ok((list.finish()?, warnings))
}

/// Settles the parts of a file's tensors that depend on the description beside the name.
pub(super) fn classify(hp: &Hyperparameters, blocks: &[Block], tensors: &mut [Tensor]) {
    for tensor in tensors {
        let Some(block) = tensor.block.and_then(|block| blocks.get(block as usize)) else { continue };
        if block.is_mtp && tensor.group == Group::Text {
            tensor.group = Group::Mtp;
        }
        if is_unread(hp, block, &tensor.stem) {
            tensor.origin = Origin::Converter;
        }
    }
}

/// Whether no computation reads the tensor: keys and values of Gemma's blocks that reuse an earlier block's cache.
/// Files carry them, transformers 5.23 does not build them.
fn is_unread(hp: &Hyperparameters, block: &Block, stem: &str) -> bool {
    let shares = matches!(block.attention, Attention::Heads(heads) if heads.cache != CacheSource::Own);
    shares
        && matches!(hp.architecture.as_str(), "gemma3n" | "gemma4")
        && matches!(stem, "attn_k.weight" | "attn_v.weight" | "attn_k_norm.weight")
}

type Writer = fn(&mut List<'_>);

/// The function that writes an architecture's list.
fn writer(architecture: &str) -> Option<Writer> {
    Some(match architecture {
        "llama" | "llama-embed" | "granite" => llama::llama,
        "llama4" => llama::llama4,
        "qwen2" | "smollm3" | "internlm2" | "baichuan" | "xverse" | "dream" | "deepseek" | "deepseek2-ocr" | "bailingmoe" => {
            llama::plain
        }
        "phi3" => llama::phi3,
        "phimoe" => llama::phimoe,
        "command-r" => llama::command_r,
        "starcoder2" => llama::starcoder2,
        "olmo" => llama::olmo,
        "olmo2" => llama::olmo2,
        "falcon" => llama::falcon,
        "minimax-m2" => llama::minimax_m2,
        "ernie4_5" | "ernie4_5-moe" | "paddleocr" => llama::plain,
        "glm4" => llama::glm4,
        "glm4moe" => llama::glm4moe,
        "gpt-oss" => llama::gpt_oss,
        "gptneox" => gpt::gptneox,
        "gpt2" => gpt::gpt2,
        "mimo2" => windowed::mimo2,
        "step35" => windowed::step35,
        "laguna" => windowed::laguna,
        "cohere2moe" => windowed::cohere2moe,
        "minimax-m3" => windowed::minimax_m3,
        "deci" => windowed::deci,
        "rwkv7" => rwkv::rwkv7,
        "gemma" => gemma::gemma,
        "gemma2" => gemma::gemma2,
        "gemma3" => gemma::gemma3,
        "gemma3n" => gemma::gemma3n,
        "gemma4" => gemma::gemma4,
        "qwen3" | "qwen3moe" | "hunyuan_vl" => qwen::qwen3,
        "qwen3next" => qwen::qwen3next,
        "qwen35" | "qwen35moe" => qwen::qwen35,
        "deepseek2" | "mistral4" => latent::deepseek2,
        "deepseek32" | "glm-dsa" => latent::deepseek32,
        "granitehybrid" => hybrid::granitehybrid,
        "nemotron_h" => hybrid::nemotron_h,
        "jamba" => hybrid::jamba,
        "mamba" => hybrid::mamba,
        "lfm2" => hybrid::lfm2,
        "mistral3" | "exaone" | "granitemoe" => llama::llama,
        "qwen2vl" => llama::plain,
        "qwen2moe" => relatives::qwen2moe,
        "qwen3vl" | "qwen3vlmoe" | "hunyuan-dense" | "hunyuan-moe" | "hy_v3" | "dots1" | "exaone-moe" => relatives::head_normed,
        "bailingmoe2" => relatives::bailingmoe2,
        "olmoe" => relatives::olmoe,
        "cohere2" => relatives::cohere2,
        "exaone4" => relatives::exaone4,
        "seed_oss" => relatives::seed_oss,
        "apertus" => relatives::apertus,
        "arcee" => relatives::arcee,
        "nemotron" => relatives::nemotron,
        "stablelm" => relatives::stablelm,
        "phi2" => relatives::phi2,
        "bitnet" => relatives::bitnet,
        "afmoe" => relatives::afmoe,
        "lfm2moe" => hybrid::lfm2,
        "mamba2" => linear::mamba2,
        "falcon-h1" => linear::falcon_h1,
        "nemotron_h_moe" => linear::nemotron_h_moe,
        "minimax-01" => linear::minimax_01,
        "kimi-linear" => linear::kimi_linear,
        "olmo_hybrid" => linear::olmo_hybrid,
        _ => return None,
    })
}
