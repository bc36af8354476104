//! The arguments of the catalog's verbs.

use clap::Args;

use super::Units;

/// What to print a list as.
#[derive(Debug, Clone, Copy, Args)]
pub struct FormArgs {
    /// Print the answer as JSON and nothing else on standard output
    #[arg(long, help_heading = "Output", conflicts_with_all = ["csv", "markdown"])]
    pub json: bool,
    /// Print comma-separated values, amounts in bytes; of one entry its table
    #[arg(long, help_heading = "Output", conflicts_with = "markdown")]
    pub csv: bool,
    /// Print Markdown
    #[arg(long, help_heading = "Output")]
    pub markdown: bool,
    /// Print amounts in GB (10^9 bytes) or GiB (2^30 bytes) [default: GiB for devices, GB for models]
    #[arg(long, value_enum, help_heading = "Output")]
    pub units: Option<Units>,
}

/// What models are asked to hold on a machine.
#[derive(Debug, Args)]
pub struct FitArgs {
    /// Tokens per request, prompt and answer together, such as 8k
    #[arg(long, short, value_name = "TOKENS", requires = "machine", help_heading = "Fit")]
    pub context: Option<String>,
    /// Requests held at once
    #[arg(long, value_name = "COUNT", requires = "machine", help_heading = "Fit")]
    pub concurrency: Option<u64>,
    /// Engine
    #[arg(long, value_name = "NAME", requires = "machine", help_heading = "Fit")]
    pub engine: Option<String>,
    /// Version of the engine
    #[arg(long, value_name = "VERSION", requires = "machine", help_heading = "Fit")]
    pub engine_version: Option<String>,
    /// Memory of the host, such as 64GiB
    #[arg(long, value_name = "AMOUNT", requires = "machine", help_heading = "Fit")]
    pub host_memory: Option<String>,
    /// Share of device memory to leave free
    #[arg(long, value_name = "SHARE", requires = "machine", help_heading = "Fit")]
    pub safety: Option<f64>,
}

/// Models of the catalog.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// One model, whole, by any of its names
    #[arg(conflicts_with_all = [
        "filter", "family", "maker", "licence", "modality", "class", "min_params", "max_params", "machine", "sort", "reverse",
    ])]
    pub id: Option<String>,
    /// Id, name, maker, family, Hugging Face id or Ollama tag contain this text
    #[arg(long, value_name = "TEXT", help_heading = "Filter")]
    pub filter: Option<String>,
    /// Family, whole (Qwen3) or the start of a word in it (llama)
    #[arg(long, value_name = "FAMILY", help_heading = "Filter")]
    pub family: Option<String>,
    /// Maker, in the same way
    #[arg(long, value_name = "MAKER", help_heading = "Filter")]
    pub maker: Option<String>,
    /// Licence, in the same way (mit, apache)
    #[arg(long, value_name = "LICENCE", visible_alias = "license", help_heading = "Filter")]
    pub licence: Option<String>,
    /// What it takes in: text, image, audio or video
    #[arg(long, value_name = "KIND", help_heading = "Filter")]
    pub modality: Option<String>,
    /// How large a machine it asks for: edge, workstation, serious or multi-gpu
    #[arg(long, value_name = "CLASS", help_heading = "Filter")]
    pub class: Option<String>,
    /// At least so many parameters, such as 8B
    #[arg(long, value_name = "COUNT", help_heading = "Filter")]
    pub min_params: Option<String>,
    /// At most so many parameters
    #[arg(long, value_name = "COUNT", help_heading = "Filter")]
    pub max_params: Option<String>,
    /// It fits this device, with a count if there are several: rtx-4090, "2x rtx-3090" (repeatable)
    #[arg(long = "fits-on", id = "machine", value_name = "DEVICE", help_heading = "Filter")]
    pub fits_on: Vec<String>,
    /// Order by name, params, released or context
    #[arg(long, value_name = "KEY", help_heading = "Order")]
    pub sort: Option<String>,
    /// Turn the order round
    #[arg(long, help_heading = "Order")]
    pub reverse: bool,
    /// What it is asked to hold.
    #[command(flatten)]
    pub fit: FitArgs,
    /// How to print.
    #[command(flatten)]
    pub form: FormArgs,
}

/// Devices of the catalog.
#[derive(Debug, Args)]
pub struct GpusArgs {
    /// One device with the models that run on it, by any of its names
    #[arg(id = "machine", value_name = "ID", conflicts_with_all = [
        "filter", "vendor", "class", "min_memory", "max_memory", "sort", "reverse",
    ])]
    pub id: Option<String>,
    /// Id, name, vendor or architecture contain this text
    #[arg(long, value_name = "TEXT", help_heading = "Filter")]
    pub filter: Option<String>,
    /// Vendor
    #[arg(long, value_name = "VENDOR", help_heading = "Filter")]
    pub vendor: Option<String>,
    /// consumer-nvidia, apple-silicon, datacenter-workstation, amd, intel or cpu
    #[arg(long, value_name = "CLASS", help_heading = "Filter")]
    pub class: Option<String>,
    /// At least so much memory on the nameplate, such as 24GiB
    #[arg(long, value_name = "AMOUNT", help_heading = "Filter")]
    pub min_memory: Option<String>,
    /// At most so much memory
    #[arg(long, value_name = "AMOUNT", help_heading = "Filter")]
    pub max_memory: Option<String>,
    /// Order by name, memory, bandwidth, launched or price
    #[arg(long, value_name = "KEY", help_heading = "Order")]
    pub sort: Option<String>,
    /// Turn the order round
    #[arg(long, help_heading = "Order")]
    pub reverse: bool,
    /// What each model is asked to hold.
    #[command(flatten)]
    pub fit: FitArgs,
    /// How to print.
    #[command(flatten)]
    pub form: FormArgs,
}

/// Engines.
#[derive(Debug, Args)]
pub struct EnginesArgs {
    /// One engine, whole, by any of its names
    #[arg(conflicts_with = "filter")]
    pub id: Option<String>,
    /// Name, maker, platforms, formats or licence contain this text
    #[arg(long, value_name = "TEXT", help_heading = "Filter")]
    pub filter: Option<String>,
    /// How to print.
    #[command(flatten)]
    pub form: FormArgs,
}

/// Weight formats.
#[derive(Debug, Args)]
pub struct QuantFormatsArgs {
    /// One format, whole, by any of its names
    #[arg(conflicts_with_all = ["filter", "family"])]
    pub id: Option<String>,
    /// Id, layout, purpose or quality contain this text
    #[arg(long, value_name = "TEXT", help_heading = "Filter")]
    pub filter: Option<String>,
    /// gguf, float, hf, mlx or exl
    #[arg(long, value_name = "FAMILY", help_heading = "Filter")]
    pub family: Option<String>,
    /// How to print.
    #[command(flatten)]
    pub form: FormArgs,
}

/// Terms.
#[derive(Debug, Args)]
pub struct GlossaryArgs {
    /// One term, by any of its names
    #[arg(conflicts_with = "filter")]
    pub term: Option<String>,
    /// Name or explanation contain this text
    #[arg(long, value_name = "TEXT", help_heading = "Filter")]
    pub filter: Option<String>,
    /// How to print.
    #[command(flatten)]
    pub form: FormArgs,
}
