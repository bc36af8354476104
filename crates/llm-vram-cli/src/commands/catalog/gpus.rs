//! `gpus`: the devices of the catalog, and one of them with the models that run on it.

use llm_vram_core::{
    Bytes, Result,
    units::grouped,
    wire::{self, DeviceDetails, DeviceEntry, DeviceQuery, DeviceSort, FitRow, FitTable, MemoryFigure, parse_choice, parse_memory},
};

use super::{billions, marked, names, not_empty, origin, print, scenario};
use crate::{
    args::{FormArgs, GpusArgs, Units},
    output::{
        self, amount,
        document::{Field, Part, stated},
        table::Column,
    },
};

/// Lists devices, or shows one.
pub fn gpus(args: &GpusArgs) -> Result<()> {
    if let Some(id) = &args.id {
        let answer = wire::gpu(id, &scenario(&args.fit, Vec::new())?)?;
        let rows = answer.entry.fit.as_ref().map_or(&[][..], |fit| &fit.models);
        return print(args.form, &answer, FIT_FIELDS, rows, || details(&answer.entry, args.form));
    }
    let memory = |field: &str, text: &Option<String>| {
        text.as_deref().map(|text| parse_memory(text).map_err(|error| error.field(field))).transpose()
    };
    let listing = wire::gpus(&DeviceQuery {
        filter: args.filter.clone(),
        vendor: args.vendor.clone(),
        class: args.class.clone(),
        min_memory: memory("min_memory", &args.min_memory)?,
        max_memory: memory("max_memory", &args.max_memory)?,
        sort: args.sort.as_deref().map(|word| parse_choice("sort", word, DeviceSort::WORDS)).transpose()?,
        reverse: args.reverse,
    })?;
    not_empty(args.form, &listing.entries, "device")?;
    print(args.form, &listing, FIELDS, &listing.entries, || vec![table(&listing.entries, args.form)])
}

fn table(entries: &[DeviceEntry], form: FormArgs) -> Part {
    let unit = output::unit(form.units.unwrap_or(Units::Gib));
    let columns = vec![
        Column("id", false),
        Column("nameplate", true),
        Column("usable", true),
        Column("bandwidth", true),
        Column("launched", false),
        Column("price", true),
        Column("class", false),
    ];
    let rows = entries.iter().map(|entry| {
        vec![
            entry.id.to_owned(),
            entry.total_bytes.map_or_else(String::new, |bytes| amount(bytes, unit)),
            entry.usable_bytes.map_or_else(String::new, |bytes| {
                format!("{}{}", if entry.usable_is_measured { "" } else { "≈ " }, amount(bytes, unit))
            }),
            entry.bandwidth_gb_per_second.map_or_else(String::new, |rate| format!("{rate:.0} GB/s")),
            entry.launch.unwrap_or_default().to_owned(),
            entry.msrp_usd.map_or_else(String::new, |price| format!("${}", grouped(price.into()))),
            entry.class.to_owned(),
        ]
    });
    Part::Table(columns, rows.collect())
}

const FIELDS: &[Field<DeviceEntry>] = &[
    Field("id", |entry| entry.id.to_owned()),
    Field("name", |entry| entry.name.to_owned()),
    Field("vendor", |entry| entry.vendor.to_owned()),
    Field("class", |entry| entry.class.to_owned()),
    Field("total_bytes", |entry| stated(entry.total_bytes.map(Bytes::get))),
    Field("usable_bytes", |entry| stated(entry.usable_bytes.map(Bytes::get))),
    Field("usable_is_measured", |entry| entry.usable_is_measured.to_string()),
    Field("unified_memory", |entry| entry.unified_memory.to_string()),
    Field("bandwidth_gb_per_second", |entry| stated(entry.bandwidth_gb_per_second)),
    Field("launch", |entry| stated(entry.launch)),
    Field("msrp_usd", |entry| stated(entry.msrp_usd)),
];

const FIT_FIELDS: &[Field<FitRow>] = &[
    Field("id", |row| row.id.to_owned()),
    Field("name", |row| row.name.to_owned()),
    Field("parameters", |row| row.parameters.to_string()),
    Field("active_parameters", |row| stated(row.active_parameters)),
    Field("best_quant", |row| row.best_quant.clone()),
    Field("weights_bytes", |row| row.weights_bytes.get().to_string()),
    Field("total_bytes", |row| row.total_bytes.get().to_string()),
    Field("max_context", |row| row.max_context.to_string()),
    Field("context_length", |row| row.context_length.to_string()),
];

fn details(device: &DeviceDetails, form: FormArgs) -> Vec<Part> {
    let unit = output::unit(form.units.unwrap_or(Units::Gib));
    let entry = &device.entry;
    let unverified = device.unverified;
    let rate = device.fp16_tflops.map(|rate| match device.fp16_kind {
        Some(kind) => format!("{rate} TFLOPS: {kind}"),
        None => format!("{rate} TFLOPS"),
    });
    let bus = match (device.memory_type, device.memory_bus_bits) {
        (Some(kind), Some(bits)) => Some(format!("{kind}, {bits} bits")),
        (kind, bits) => kind.map(ToOwned::to_owned).or_else(|| bits.map(|bits| format!("{bits} bits"))),
    };
    let mut parts = vec![
        Part::Title(format!("{} ({})", entry.name, entry.id)),
        Part::Facts(vec![
            ("vendor", Some(entry.vendor.to_owned())),
            ("class", Some(format!("{}, {}", entry.class, device.kind))),
            ("architecture", device.architecture.and_then(|name| marked(name, "architecture", unverified))),
            ("compute capability", device.compute_capability.and_then(|text| marked(text, "compute_capability", unverified))),
            ("devices on the board", (device.devices > 1).then(|| device.devices.to_string())),
            (
                "bandwidth",
                entry.bandwidth_gb_per_second.and_then(|rate| marked(format!("{rate} GB/s"), "bandwidth_gb_s", unverified)),
            ),
            ("memory type", bus.and_then(|text| marked(text, "memory_type", unverified))),
            ("FP16 rate", rate.and_then(|text| marked(text, "fp16_tflops", unverified))),
            ("FP8 rate", device.fp8_tflops.and_then(|rate| marked(format!("{rate} TFLOPS"), "fp8_tflops", unverified))),
            ("INT8 rate", device.int8_tops.and_then(|rate| marked(format!("{rate} TOPS"), "int8_tops", unverified))),
            ("FP4 rate", device.fp4_tflops.and_then(|rate| marked(format!("{rate} TFLOPS"), "fp4_tflops", unverified))),
            ("at 8 and 4 bits", device.low_precision_kind.map(ToOwned::to_owned)),
            ("interconnect", device.interconnect.and_then(|text| marked(text, "interconnect", unverified))),
            ("power limit", device.tdp_w.and_then(|watts| marked(format!("{watts} W"), "tdp_w", unverified))),
            ("launched", entry.launch.and_then(|month| marked(month, "launch", unverified))),
            ("list price", entry.msrp_usd.and_then(|price| marked(format!("${}", grouped(price.into())), "msrp_usd", unverified))),
            ("other names", names(device.aliases)),
            ("note", device.note.map(ToOwned::to_owned)),
        ]),
    ];
    if !device.memory.is_empty() {
        parts.push(Part::Heading("Memory".to_owned()));
        let row = |figure: &MemoryFigure| {
            let range = figure.high_bytes.map_or_else(String::new, |high| format!(" to {}", amount(high, unit)));
            let used = if figure.of == device.used_figure { "what sums use" } else { "" };
            vec![
                words(figure.of).to_owned(),
                format!("{}{range}", amount(figure.bytes, unit)),
                figure.how_known.to_owned(),
                used.to_owned(),
            ]
        };
        parts.push(Part::Table(
            vec![Column("", false), Column("amount", true), Column("how known", false), Column("", false)],
            device.memory.iter().map(row).collect(),
        ));
    }
    match &device.fit {
        Some(fit) => parts.extend(fit_table(fit, entry.id, form)),
        None => parts.push(Part::Text(
            "A processor has no memory of its own: with --host-memory, such as 64GiB, the models that run on it are listed."
                .to_owned(),
        )),
    }
    parts.extend(origin(&device.sources, unverified));
    parts
}

/// What a figure of memory is, in words.
fn words(of: &'static str) -> &'static str {
    match of {
        "nvidia_smi" => "nvidia-smi",
        "cuda_linux" => "CUDA on Linux",
        "cuda_windows" => "CUDA on Windows and WSL",
        "metal_up_to_macos_15" => "Metal, up to macOS 15",
        "metal_from_macos_26" => "Metal, from macOS 26",
        other => other,
    }
}

fn fit_table(fit: &FitTable, id: &str, form: FormArgs) -> Vec<Part> {
    let unit = output::unit(form.units.unwrap_or(Units::Gib));
    let asked = format!("{} tokens × {}", grouped(fit.context), fit.concurrency);
    let mut parts = vec![
        Part::Heading(format!("What runs on {id}")),
        Part::Text(format!(
            "{} of {} models fit with {}, {asked}, {:.0} % left free.",
            fit.models.len(),
            fit.models_in_catalog,
            fit.engine,
            fit.safety * 100.0
        )),
    ];
    if fit.models.is_empty() {
        return parts;
    }
    let columns = vec![
        Column("model", false),
        Column("parameters", true),
        Column("active", true),
        Column("best format", false),
        Column("weights", true),
        Column("in all", true),
        Column("longest context", true),
        Column("trained for", true),
    ];
    let rows = fit.models.iter().map(|row| {
        vec![
            row.id.to_owned(),
            billions(row.parameters),
            row.active_parameters.filter(|&active| active < row.parameters).map_or_else(String::new, billions),
            row.best_quant.clone(),
            amount(row.weights_bytes, unit),
            amount(row.total_bytes, unit),
            grouped(row.max_context),
            grouped(row.context_length),
        ]
    });
    parts.push(Part::Table(columns, rows.collect()));
    parts
}
