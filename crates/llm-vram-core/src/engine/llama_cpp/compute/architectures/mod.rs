//! One op list for each architecture: which blocks follow each other, in the order of the engine's source
//! (`src/models/<architecture>.cpp`, llama-cpp-sys-2 0.1.161).

mod deepseek;
mod gemma;
mod hybrid;
mod kimi;
mod lightning;
mod parallel;
mod phi;
mod qwen3next;
mod rwkv;
mod transformer;

use super::{Exactness, builder::Builder, graph_model::GraphModel};
use crate::model::FeedForward;
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

    /// Read from the source and compared with the engine's figures for loads without a device.
    const fn compared_on_host(build: fn(&mut Builder<'_>)) -> Self {
        Self { exactness: Exactness::OpListComparedOnHost, build }
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
        "mistral3" => OpList::compared_on_host(|b| Transformer::LLAMA.build(b)),
        "ernie4_5" => OpList::compared_on_host(|b| Transformer::PLAIN.build(b)),
        "qwen2vl" => OpList::compared_on_host(|b| Transformer::QWEN2.build(b)),
        "qwen2moe" => OpList::compared_on_host(|b| Transformer::QWEN2_MOE.build(b)),
        "exaone4" => OpList::compared_on_host(|b| Transformer::EXAONE4.build(b)),
        "seed_oss" => OpList::compared_on_host(|b| Transformer::SEED_OSS.build(b)),
        "arcee" => OpList::compared_on_host(|b| Transformer::ARCEE.build(b)),
        "hunyuan-dense" | "hunyuan-moe" | "hunyuan_vl" => OpList::compared_on_host(|b| Transformer::HUNYUAN.build(b)),
        "olmoe" => OpList::compared_on_host(|b| Transformer::OLMOE.build(b)),
        "granitemoe" => OpList::compared_on_host(|b| Transformer::GRANITE.build(b)),
        "dots1" => OpList::compared_on_host(|b| Transformer::dots1(b).build(b)),
        "cohere2" => OpList::compared_on_host(parallel::command_r),
        "mamba2" => OpList::compared_on_host(hybrid::mamba),
        "lfm2moe" if model.window() == 0 => OpList::compared_on_host(hybrid::lfm2),
        "qwen3vl" | "qwen3vlmoe" => OpList::compared_on_host(|b| Transformer::QWEN3.build(b)),
        "exaone" => OpList::compared_on_host(|b| Transformer::PLAIN.build(b)),
        "olmo" => OpList::compared_on_host(|b| Transformer::OLMO.build(b)),
        "apertus" => OpList::compared_on_host(|b| Transformer::APERTUS.build(b)),
        "nemotron" => OpList::compared_on_host(|b| Transformer::NEMOTRON.build(b)),
        "jais2" => OpList::compared_on_host(|b| Transformer::JAIS2.build(b)),
        "gpt2" => OpList::compared_on_host(|b| Transformer::GPT2.build(b)),
        "bitnet" => OpList::compared_on_host(|b| Transformer::BITNET.build(b)),
        "baichuan" => OpList::compared_on_host(|b| Transformer::baichuan(b).build(b)),
        "deepseek" => OpList::compared_on_host(|b| Transformer::DEEPSEEK.build(b)),
        "bailingmoe" | "bailingmoe2" => OpList::compared_on_host(|b| Transformer::bailing(b).build(b)),
        "afmoe" => OpList::compared_on_host(|b| Transformer::afmoe(b).build(b)),
        "exaone-moe" => OpList::compared_on_host(|b| Transformer::exaone_moe(b).build(b)),
        "step35" => OpList::compared_on_host(|b| Transformer::step35(b).build(b)),
        "mimo2" => OpList::compared_on_host(|b| Transformer::mimo2(b).build(b)),
        "stablelm" => OpList::compared_on_host(parallel::stablelm),
        "phi2" => OpList::compared_on_host(parallel::phi2),
        "gptneox" => OpList::compared_on_host(parallel::gptneox),
        "glm-dsa" => OpList::compared_on_host(deepseek::deepseek32),
        "nemotron_h_moe" => OpList::compared_on_host(hybrid::nemotron_h),
        "falcon-h1" => OpList::compared_on_host(hybrid::falcon_h1),
        "plamo2" => OpList::compared_on_host(hybrid::plamo2),
        "kimi-linear" if model.is_latent() => OpList::compared_on_host(kimi::build),
        "minimax-01" => OpList::compared_on_host(lightning::build),
        "rwkv7" | "arwkv7" => OpList::compared_on_host(rwkv::build),
        _ if model.is_recurrent() || model.is_latent() => return None,
        _ => OpList { exactness: Exactness::GenericSkeleton, build: |b| Transformer::generic(b).build(b) },
    };
    let is_exact = list.exactness == Exactness::OpList;
    Some(if is_exact && is_beyond_device_figures(model) { OpList::compared_on_host(list.build) } else { list })
}

/// What figures of loads on devices do not cover, in architectures that were compared otherwise: expert gate and up in one
/// tensor, and Llama 4's layers with experts between dense ones.
fn is_beyond_device_figures(model: &GraphModel<'_>) -> bool {
    let kinds = || (0..model.n_layer).map(|layer| matches!(model.feed_forward(layer), FeedForward::Experts { .. }));
    let has_experts = kinds().any(|experts| experts);
    let alternates = || kinds().skip_while(|experts| !experts).any(|experts| !experts);
    has_experts && (model.hp.facts.fused_gate_up_exps || (model.architecture() == "llama4" && alternates()))
}
