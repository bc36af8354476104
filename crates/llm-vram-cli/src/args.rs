//! The command line, as the docs name it.

mod catalog;

use std::path::PathBuf;

pub use catalog::{EnginesArgs, FitArgs, FormArgs, GlossaryArgs, GpusArgs, ModelsArgs, QuantFormatsArgs};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// How much memory a language model needs, and whether it runs on your hardware.
#[derive(Debug, Parser)]
#[command(name = "llm-vram", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to answer.
    #[command(subcommand)]
    pub command: Command,
}

/// The questions.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Does it run? A sentence, and a table of weight formats
    CanIRun(SubjectArgs),
    /// What takes how much: weights, cache, buffers, overhead
    Estimate(SubjectArgs),
    /// The budget equation term by term, the verdict, and what would make it fit
    Fit(SubjectArgs),
    /// What hardware leaves for weights, and the largest models for it
    Budget(SubjectArgs),
    /// Engines side by side, or several models, with the reason for each difference
    ///
    /// One model over the engines of --engine (a comma between them; all by default), or several models, each on every
    /// engine named.
    Compare(CompareArgs),
    /// Sizes in every weight format, nominal and as stored
    Quants(SubjectArgs),
    /// What a GGUF, safetensors or config.json file says
    Inspect(InspectArgs),
    /// The models of the catalog, or one of them whole
    Models(ModelsArgs),
    /// The devices of the catalog, or one of them with the models that run on it
    Gpus(GpusArgs),
    /// The engines, or one of them whole
    Engines(EnginesArgs),
    /// The weight formats, or one of them with its measurements
    QuantFormats(QuantFormatsArgs),
    /// The terms that answers use, or one of them
    Glossary(GlossaryArgs),
    /// The JSON surface: one request on standard input, one answer on standard output
    Call(CallArgs),
    /// Shell completions, written to standard output
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// The manual page, written to standard output
    Man,
}

/// A unit to print amounts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Units {
    /// 10^9 bytes
    Gb,
    /// 2^30 bytes
    Gib,
}

/// Whether a switch is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On
    On,
    /// Off
    Off,
}

/// Whether flash attention is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FlashAttn {
    /// Used
    On,
    /// Not used
    Off,
    /// Used if the device runs it
    Auto,
}

/// Whose defaults fill the gaps of llama.cpp's options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DefaultsOf {
    /// llama-server's
    Server,
    /// The C library's
    Library,
}

/// How to print.
#[derive(Debug, Clone, Copy, Args)]
pub struct PrintArgs {
    /// Print the answer as JSON and nothing else on standard output
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Print amounts in GB (10^9 bytes) or GiB (2^30 bytes)
    #[arg(long, value_enum, default_value_t = Units::Gb, help_heading = "Output")]
    pub units: Units,
}

/// Several models, or one over several engines.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The first of them, and what they are asked to hold.
    #[command(flatten)]
    pub first: SubjectArgs,
    /// Further models to put beside the first
    #[arg(value_name = "SUBJECT")]
    pub others: Vec<String>,
}

/// A model, what it is asked to hold, and where.
#[derive(Debug, Clone, Args)]
pub struct SubjectArgs {
    /// Catalog id, alias, Hugging Face id, Ollama tag, or the path of a GGUF, safetensors or config.json file
    pub subject: Option<String>,

    /// The same as the positional argument
    #[arg(long, conflicts_with = "subject", value_name = "NAME", help_heading = "Model")]
    pub model: Option<String>,
    /// A GGUF file; further parts of a split file are found beside it
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub gguf: Option<PathBuf>,
    /// A safetensors file, an index, or a folder with either
    #[arg(long, value_name = "PATH", help_heading = "Model")]
    pub safetensors: Option<PathBuf>,
    /// A Hugging Face config.json; beside --safetensors it says what the tensors mean
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub config: Option<PathBuf>,
    /// A parameter count alone, such as 70B
    #[arg(long, value_name = "COUNT", help_heading = "Model")]
    pub params: Option<String>,
    /// Bits per weight beside --params
    #[arg(long, value_name = "BITS", requires = "params", help_heading = "Model")]
    pub bits: Option<String>,
    /// Weight format, such as Q4_K_M, FP8, AWQ or MLX-4bit-g64
    #[arg(long, short, value_name = "FORMAT", help_heading = "Model")]
    pub quant: Option<String>,
    /// GGUF recipes as made with an importance matrix
    #[arg(long, help_heading = "Model")]
    pub imatrix: bool,

    /// Tokens per request, prompt and answer together, such as 8k
    #[arg(long, short, value_name = "TOKENS", help_heading = "Workload")]
    pub context: Option<String>,
    /// Requests held at once
    #[arg(long, value_name = "COUNT", help_heading = "Workload")]
    pub concurrency: Option<u64>,

    /// Engine
    #[arg(long, value_name = "NAME", help_heading = "Engine")]
    pub engine: Option<String>,
    /// Version of the engine
    #[arg(long, value_name = "VERSION", help_heading = "Engine")]
    pub engine_version: Option<String>,
    /// Type of cached keys
    #[arg(long, value_name = "TYPE", help_heading = "Engine")]
    pub cache_type_k: Option<String>,
    /// Type of cached values
    #[arg(long, value_name = "TYPE", help_heading = "Engine")]
    pub cache_type_v: Option<String>,
    /// llama.cpp: whose defaults fill the gaps
    #[arg(long, value_enum, help_heading = "Engine")]
    pub defaults: Option<DefaultsOf>,
    /// llama.cpp: logical batch size
    #[arg(long, value_name = "TOKENS", help_heading = "Engine")]
    pub batch_size: Option<u64>,
    /// llama.cpp: physical batch size
    #[arg(long, value_name = "TOKENS", help_heading = "Engine")]
    pub ubatch_size: Option<u64>,
    /// llama.cpp: flash attention
    #[arg(long, value_enum, help_heading = "Engine")]
    pub flash_attn: Option<FlashAttn>,
    /// llama.cpp: one cache for all sequences
    #[arg(long, value_enum, help_heading = "Engine")]
    pub kv_unified: Option<Switch>,
    /// llama.cpp: full-size caches for sliding-window layers
    #[arg(long, help_heading = "Engine")]
    pub swa_full: bool,
    /// llama.cpp: keep the cache in host memory
    #[arg(long, help_heading = "Engine")]
    pub no_kv_offload: bool,
    /// llama.cpp: layers on the devices, the output counted as one more
    #[arg(long, value_name = "COUNT", visible_alias = "n-gpu-layers", help_heading = "Engine")]
    pub gpu_layers: Option<u64>,
    /// llama.cpp: how many of the first layers keep their experts in host memory
    #[arg(long, value_name = "COUNT", help_heading = "Engine")]
    pub n_cpu_moe: Option<u64>,
    /// llama.cpp: shares of the devices, such as 3,1
    #[arg(long, value_name = "SHARES", value_delimiter = ',', help_heading = "Engine")]
    pub tensor_split: Option<Vec<f64>>,
    /// vLLM, SGLang: share of device memory that the engine may take
    #[arg(long, value_name = "SHARE", help_heading = "Engine")]
    pub gpu_memory_utilization: Option<f64>,
    /// vLLM, SGLang: most sequences at once
    #[arg(long, value_name = "COUNT", help_heading = "Engine")]
    pub max_num_seqs: Option<u64>,
    /// vLLM, SGLang: most tokens per step
    #[arg(long, value_name = "TOKENS", help_heading = "Engine")]
    pub max_num_batched_tokens: Option<u64>,
    /// vLLM, SGLang: devices that share each layer
    #[arg(long, value_name = "COUNT", help_heading = "Engine")]
    pub tensor_parallel_size: Option<u64>,
    /// vLLM, SGLang: groups of layers on different devices
    #[arg(long, value_name = "COUNT", help_heading = "Engine")]
    pub pipeline_parallel_size: Option<u64>,
    /// vLLM, SGLang: experts are divided between devices whole
    #[arg(long, help_heading = "Engine")]
    pub enable_expert_parallel: bool,
    /// vLLM, SGLang: no CUDA graphs
    #[arg(long, help_heading = "Engine")]
    pub enforce_eager: bool,
    /// vLLM: tokens per cache block
    #[arg(long, value_name = "TOKENS", help_heading = "Engine")]
    pub block_size: Option<u64>,

    /// A device, with a count if there are several: rtx-4090, "2x rtx-3090" (repeatable)
    #[arg(long, value_name = "DEVICE", help_heading = "Hardware")]
    pub gpu: Vec<String>,
    /// Memory of one unnamed device, such as 24GiB
    #[arg(long, value_name = "AMOUNT", conflicts_with = "gpu", help_heading = "Hardware")]
    pub memory: Option<String>,
    /// Bandwidth of that device in GB/s
    #[arg(long, value_name = "GB/S", requires = "memory", help_heading = "Hardware")]
    pub bandwidth: Option<f64>,
    /// Memory of the host, such as 64GiB
    #[arg(long, value_name = "AMOUNT", help_heading = "Hardware")]
    pub host_memory: Option<String>,
    /// Share of device memory to leave free
    #[arg(long, value_name = "SHARE", help_heading = "Hardware")]
    pub safety: Option<f64>,

    /// Print how each number came about
    #[arg(long, help_heading = "Output")]
    pub explain: bool,
    /// How to print.
    #[command(flatten)]
    pub print: PrintArgs,
}

/// A file to look into.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A GGUF file, a safetensors file, index or folder, or a config.json
    pub file: PathBuf,
    /// List every tensor
    #[arg(long, help_heading = "Output")]
    pub tensors: bool,
    /// How to print.
    #[command(flatten)]
    pub print: PrintArgs,
}

/// A call of the JSON surface.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// The operation; without one, the list of operations
    pub operation: Option<String>,
}
