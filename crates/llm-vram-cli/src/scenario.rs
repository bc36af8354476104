//! From arguments to a scenario of the core.

use std::path::Path;

use llm_vram_core::{
    BitsPerWeight, Result,
    fit::DEFAULT_SAFETY,
    wire::{Scenario, parse_memory, parse_parameters, parse_tokens},
    workload::{Defaults, FlashAttention, Workload},
};

use crate::{
    args::{DefaultsOf, FlashAttn, SubjectArgs, Switch},
    files::Contents,
};

/// The scenario that the arguments describe, and the files that it is about.
pub fn read(args: &SubjectArgs) -> Result<(Scenario, Contents)> {
    let mut contents = Contents::default();
    let mut model = args.model.clone();
    if let Some(subject) = &args.subject {
        let path = Path::new(subject);
        if path.exists() || looks_like_a_path(subject) {
            contents.add_any(path)?;
        } else {
            model = Some(subject.clone());
        }
    }
    if let Some(path) = &args.gguf {
        contents.add_gguf(path)?;
    }
    if let Some(path) = &args.config {
        contents.add_config(path)?;
    }
    if let Some(path) = &args.safetensors {
        contents.add_safetensors(path)?;
    }
    let scenario = Scenario {
        model,
        params: args.params.as_deref().map(parse_parameters).transpose()?,
        bits: args.bits.as_deref().map(BitsPerWeight::parse).transpose()?,
        quant: args.quant.clone(),
        imatrix: args.imatrix,
        engine: args.engine.clone(),
        engine_version: args.engine_version.clone(),
        hardware: args.gpu.clone(),
        memory: args.memory.as_deref().map(parse_memory).transpose()?,
        bandwidth_gb_per_second: args.bandwidth,
        host_memory: args.host_memory.as_deref().map(parse_memory).transpose()?,
        safety: args.safety.unwrap_or(DEFAULT_SAFETY),
        workload: workload(args)?,
    };
    scenario.validate()?;
    Ok((scenario, contents))
}

/// Whether a name that is no file was meant as one, so that the message speaks of a file.
fn looks_like_a_path(text: &str) -> bool {
    let lower = text.to_lowercase();
    [".gguf", ".safetensors", ".json"].iter().any(|suffix| lower.ends_with(suffix)) || text.starts_with(['.', '/', '~'])
}

fn workload(args: &SubjectArgs) -> Result<Workload> {
    let defaults = Workload::default();
    Ok(Workload {
        context: args.context.as_deref().map(parse_tokens).transpose()?.unwrap_or(defaults.context),
        concurrency: args.concurrency.unwrap_or(defaults.concurrency),
        kv_cache_type_k: args.cache_type_k.clone(),
        kv_cache_type_v: args.cache_type_v.clone(),
        defaults: match args.defaults {
            Some(DefaultsOf::Library) => Defaults::Library,
            Some(DefaultsOf::Server) | None => Defaults::Server,
        },
        n_batch: args.batch_size,
        n_ubatch: args.ubatch_size,
        flash_attn: match args.flash_attn {
            Some(FlashAttn::On) => FlashAttention::On,
            Some(FlashAttn::Off) => FlashAttention::Off,
            Some(FlashAttn::Auto) | None => FlashAttention::Auto,
        },
        kv_unified: args.kv_unified.map(|switch| switch == Switch::On),
        swa_full: args.swa_full.then_some(true),
        n_gpu_layers: args.gpu_layers,
        n_cpu_moe: args.n_cpu_moe,
        tensor_split: args.tensor_split.clone(),
        offload_kqv: args.no_kv_offload.then_some(false),
        gpu_memory_utilization: args.gpu_memory_utilization,
        max_num_seqs: args.max_num_seqs,
        max_num_batched_tokens: args.max_num_batched_tokens,
        tensor_parallel_size: args.tensor_parallel_size,
        pipeline_parallel_size: args.pipeline_parallel_size,
        enable_expert_parallel: args.enable_expert_parallel,
        enforce_eager: args.enforce_eager.then_some(true),
        block_size: args.block_size,
        ..defaults
    })
}
