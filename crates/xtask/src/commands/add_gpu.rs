//! `cargo xtask add-gpu`: a device's record from what a data sheet says.

use clap::Args;

use super::Outcome;
use crate::{
    catalog::{
        page::{self, Page},
        rules::working_set_mib,
    },
    workspace_root,
};

/// Options of the command.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The name, for people, for example `NVIDIA GeForce RTX 4090`.
    #[arg(long)]
    pub name: String,
    /// Who makes it; the folder is this name in lower case.
    #[arg(long)]
    pub vendor: String,
    /// `discrete`, `laptop`, `workstation`, `datacenter` or `unified`.
    #[arg(long, value_parser = ["discrete", "laptop", "workstation", "datacenter", "unified"])]
    pub kind: String,
    /// Memory on the nameplate, in GiB.
    #[arg(long)]
    pub memory_gib: u32,
    /// Memory bandwidth in GB/s.
    #[arg(long)]
    pub bandwidth: f64,
    /// Width of the memory bus in bits.
    #[arg(long)]
    pub bus: Option<u32>,
    /// Gb/s of one memory pin.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Kind of memory, for example `GDDR7`.
    #[arg(long)]
    pub memory_type: Option<String>,
    /// Dense rate at 16 bits, in 10^12 operations per second.
    #[arg(long, requires = "fp16_kind")]
    pub fp16_tflops: Option<f64>,
    /// What that rate is of, for example `tensor, dense, FP16 in`.
    #[arg(long)]
    pub fp16_kind: Option<String>,
    /// Dense rate of the matrix units on 8-bit floating point, in 10^12 operations per second.
    #[arg(long, requires = "low_precision_kind")]
    pub fp8_tflops: Option<f64>,
    /// The same on 8-bit integers.
    #[arg(long, requires = "low_precision_kind")]
    pub int8_tops: Option<f64>,
    /// The same on 4-bit floating point.
    #[arg(long, requires = "low_precision_kind")]
    pub fp4_tflops: Option<f64>,
    /// What these rates are of, for example `tensor, dense, FP32 accumulate`.
    #[arg(long)]
    pub low_precision_kind: Option<String>,
    /// How it is connected, for example `PCIe 5.0 x16`.
    #[arg(long)]
    pub interconnect: Option<String>,
    /// Power limit in watts.
    #[arg(long)]
    pub tdp: Option<u32>,
    /// The month of launch, `YYYY-MM`.
    #[arg(long)]
    pub launch: Option<String>,
    /// List price in US dollars.
    #[arg(long)]
    pub msrp: Option<u32>,
    /// CUDA compute capability, for example `12.0`.
    #[arg(long)]
    pub compute_capability: Option<String>,
    /// The id; by default the name in lower case without vendor and brand.
    #[arg(long)]
    pub id: Option<String>,
    /// Further names.
    #[arg(long)]
    pub alias: Vec<String>,
    /// The public address of the data sheet.
    #[arg(long)]
    pub source: String,
    /// The day on which it was read, `YYYY-MM-DD`.
    #[arg(long)]
    pub date: String,
}

/// Runs the command.
///
/// # Errors
/// If the record exists already or cannot be written.
pub fn run(arguments: &Arguments) -> Outcome {
    let (path, text) = record(arguments);
    println!("{}", page::add(&workspace_root().join("catalog"), &path, &text)?);
    Ok(())
}

/// Path and text of the record.
#[must_use]
pub fn record(arguments: &Arguments) -> (String, String) {
    let vendor = arguments.vendor.to_lowercase();
    let class = match (vendor.as_str(), arguments.kind.as_str()) {
        ("apple", _) => "apple-silicon",
        ("amd", _) => "amd",
        ("intel", _) => "intel",
        ("nvidia", "discrete" | "laptop") => "consumer-nvidia",
        _ => "datacenter-workstation",
    };
    let unified = arguments.kind == "unified";
    let (older, newer) = working_set_mib(arguments.memory_gib);
    let mut page = Page::default();
    let mut covers = Vec::new();
    page.field("name", &arguments.name);
    page.field("vendor", &arguments.vendor);
    page.field("kind", &arguments.kind);
    page.field("class", class);
    page.field("aliases", &arguments.alias);
    page.field("memory_gib", arguments.memory_gib);
    page.field("unified", unified.then_some(true));
    if class == "apple-silicon" {
        page.field("working_set_mib", older);
        page.field("working_set_mib_macos_26", newer);
    }
    page.field("bandwidth_gb_s", arguments.bandwidth);
    macro_rules! optional {
        ($($field:literal = $value:expr;)*) => {
            $(if $value.is_some() {
                page.field($field, &$value);
                covers.push($field);
            })*
        };
    }
    optional! {
        "fp16_tflops" = arguments.fp16_tflops;
        "fp16_kind" = arguments.fp16_kind;
        "fp8_tflops" = arguments.fp8_tflops;
        "int8_tops" = arguments.int8_tops;
        "fp4_tflops" = arguments.fp4_tflops;
        "low_precision_kind" = arguments.low_precision_kind;
        "memory_type" = arguments.memory_type;
        "memory_bus_bits" = arguments.bus;
        "memory_rate_gbps" = arguments.rate;
        "interconnect" = arguments.interconnect;
        "tdp_w" = arguments.tdp;
        "launch" = arguments.launch;
        "msrp_usd" = arguments.msrp;
        "compute_capability" = arguments.compute_capability;
    }
    let covers: Vec<&str> = ["name", "memory_gib", "bandwidth_gb_s"].into_iter().chain(covers).collect();
    page.source(&arguments.source, &arguments.date, &covers);

    let brand = ["nvidia", "amd", "intel", "apple", "geforce", "radeon"];
    let name = arguments.name.to_lowercase();
    let words: Vec<&str> = name.split(' ').filter(|word| !brand.contains(word)).collect();
    let id = arguments.id.clone().unwrap_or_else(|| page::id_of(&words.join(" ")));
    (format!("hardware/{}/{id}.toml", page::id_of(&vendor)), page.into_text())
}
