//! One op list for each architecture: which blocks follow each other, in the order of the engine's source
//! (`src/models/<architecture>.cpp`, llama-cpp-sys-2 0.1.161).

mod deepseek;
mod gemma;
mod hybrid;
mod parallel;
mod phi;
mod qwen3next;
mod transformer;

use super::{Exactness, builder::Builder, graph_model::GraphModel};
use transformer::Transformer;

/// The op list of a model.
#[derive(Clone, Copy)]
pub(super) struct OpList {
    /// How far it can be relied on.
    pub(super) exactness: Exactness,
    build: fn(&mut Builder<'_>),
}

impl OpList {
    const fn exact(build: fn(&mut Builder<'_>)) -> Self {
        Self { exactness: Exactness::OpList, build }
    }

    /// Read from the source, not compared with figures of the engine.
    const fn unverified(build: fn(&mut Builder<'_>)) -> Self {
        Self { exactness: Exactness::OpListUnverified, build }
    }

    /// Appends the whole graph.
    pub(super) fn build(self, builder: &mut Builder<'_>) {
        (self.build)(builder);
    }
}

/// The op list of a model's architecture, the generic one, or `None` for recurrent architectures without one.
pub(super) fn op_list(model: &GraphModel<'_>) -> Option<OpList> {
    let list = match model.architecture() {
        "llama" => OpList::exact(|b| Transformer::LLAMA.build(b)),
        "internlm2" => OpList::exact(|b| Transformer::PLAIN.build(b)),
        "qwen2" => OpList::exact(|b| Transformer::QWEN2.build(b)),
        "qwen3" | "qwen3moe" => OpList::exact(|b| Transformer::QWEN3.build(b)),
        "smollm3" => OpList::exact(|b| Transformer::SMOLLM3.build(b)),
        "gemma" => OpList::exact(|b| Transformer::GEMMA.build(b)),
        "gemma2" => OpList::exact(|b| Transformer::GEMMA2.build(b)),
        "gemma3" => OpList::exact(|b| Transformer::GEMMA3.build(b)),
        "starcoder2" => OpList::exact(|b| Transformer::STARCODER2.build(b)),
        "glm4" => OpList::exact(|b| Transformer::GLM4.build(b)),
        "olmo2" => OpList::exact(|b| Transformer::OLMO2.build(b)),
        "granite" => OpList::exact(|b| Transformer::GRANITE.build(b)),
        "minimax-m2" => OpList::exact(|b| Transformer::MINIMAX_M2.build(b)),
        "gpt-oss" => OpList::exact(|b| Transformer::GPT_OSS.build(b)),
        "llama4" => OpList::exact(|b| Transformer::LLAMA4.build(b)),
        "glm4moe" => OpList::exact(|b| Transformer::GLM4_MOE.build(b)),
        "ernie4_5-moe" => OpList::exact(|b| Transformer::ERNIE45_MOE.build(b)),
        "phi3" | "phimoe" => OpList::exact(phi::build),
        "command-r" => OpList::exact(parallel::command_r),
        "deepseek2" => OpList::exact(deepseek::deepseek2),
        "deepseek32" => OpList::exact(deepseek::deepseek32),
        "gemma3n" => OpList::exact(gemma::gemma3n),
        "gemma4" => OpList::exact(gemma::gemma4),
        "mamba" => OpList::exact(hybrid::mamba),
        "jamba" => OpList::exact(hybrid::jamba),
        "granitehybrid" => OpList::exact(hybrid::granite_hybrid),
        "nemotron_h" => OpList::exact(hybrid::nemotron_h),
        "lfm2" => OpList::exact(hybrid::lfm2),
        "qwen3next" | "qwen35" | "qwen35moe" => OpList::exact(qwen3next::build),
        "mistral3" => OpList::unverified(|b| Transformer::LLAMA.build(b)),
        "ernie4_5" => OpList::unverified(|b| Transformer::PLAIN.build(b)),
        "qwen2vl" => OpList::unverified(|b| Transformer::QWEN2.build(b)),
        "qwen2moe" => OpList::unverified(|b| Transformer::QWEN2_MOE.build(b)),
        "exaone4" => OpList::unverified(|b| Transformer::EXAONE4.build(b)),
        "seed_oss" => OpList::unverified(|b| Transformer::SEED_OSS.build(b)),
        "arcee" => OpList::unverified(|b| Transformer::ARCEE.build(b)),
        "hunyuan-dense" | "hunyuan-moe" | "hunyuan_vl" => OpList::unverified(|b| Transformer::HUNYUAN.build(b)),
        "olmoe" => OpList::unverified(|b| Transformer::OLMOE.build(b)),
        "granitemoe" => OpList::unverified(|b| Transformer::GRANITE.build(b)),
        "dots1" => OpList::unverified(|b| Transformer::dots1(b).build(b)),
        "cohere2" => OpList::unverified(parallel::command_r),
        "mamba2" => OpList::unverified(hybrid::mamba),
        "lfm2moe" if model.window() == 0 => OpList::unverified(hybrid::lfm2),
        _ if model.is_recurrent() || model.is_latent() => return None,
        _ => OpList { exactness: Exactness::GenericSkeleton, build: |b| Transformer::generic(b).build(b) },
    };
    Some(list)
}
