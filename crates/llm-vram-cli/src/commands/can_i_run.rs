//! `can-i-run`: the verdict in a sentence, and a table of weight formats or devices.

use llm_vram_core::{
    Result,
    fit::Verdict,
    wire::{self, FitAnswer, QuantsAnswer},
};
use serde::Serialize;

use super::{
    estimate::{grouped, remarks},
    print_json, quants,
};
use crate::{
    args::SubjectArgs,
    output::{self, amount, bar, bold, line, signed, table, verdict},
    probe,
};

/// Devices that are shown where this machine has none that is known: one of each size that people own.
const SHOWN_DEVICES: &[&str] = &[
    "rtx-3060-12gb",
    "rtx-4060-ti-16gb",
    "rtx-3090",
    "rtx-4090",
    "rtx-5090",
    "rx-7900-xtx",
    "macbook-pro-m4-pro-24gb",
    "macbook-pro-m4-max-64gb",
    "macbook-pro-m4-max-128gb",
    "mac-studio-m3-ultra-512gb",
    "l40s",
    "a100-sxm-80gb",
    "h100-sxm-80gb",
    "h200-sxm-141gb",
];

/// The verdict on one set of devices, with the table of formats.
#[derive(Serialize)]
struct OnHardware {
    #[serde(flatten)]
    fit: FitAnswer,
    quants: Vec<wire::QuantRow>,
}

/// The verdict on one device of the table.
#[derive(Serialize)]
struct OnDevice {
    device: String,
    verdict: Verdict,
    total_bytes: llm_vram_core::Bytes,
    usable_bytes: llm_vram_core::Bytes,
    max_context: Option<u64>,
    best_quant: Option<String>,
}

/// Prints the verdict for the devices given, for this machine's own, or for a choice of devices.
pub fn run(args: &SubjectArgs) -> Result<()> {
    if args.gpu.is_empty() && args.memory.is_none() {
        let own: Vec<String> = probe::devices().into_iter().filter(|name| llm_vram_catalog::device(name).is_some()).collect();
        if own.is_empty() {
            return over_devices(args);
        }
        return on_hardware(args, &own);
    }
    on_hardware(args, &args.gpu)
}

fn on_hardware(args: &SubjectArgs, gpu: &[String]) -> Result<()> {
    let (fit, grid) = ask_on(args, gpu, |question| Ok((wire::fit(question)?, wire::quants(question)?)))?;
    if args.print.json {
        return print_json(&OnHardware { fit, quants: grid.quants });
    }
    sentence(&fit, args)?;
    if let Some(bar) = bar::memory(&fit.estimate, output::unit(args.print.units)) {
        line(&format!("\n{bar}"))?;
    }
    line("")?;
    quants::grid(&visible(grid), args)?;
    remarks(&fit.estimate)
}

/// Formats that the engine loads, with the grid of the six chapters among them.
fn visible(mut grid: QuantsAnswer) -> QuantsAnswer {
    grid.quants.retain(|row| row.verdict.is_some());
    grid
}

fn sentence(fit: &FitAnswer, args: &SubjectArgs) -> Result<()> {
    let unit = output::unit(args.print.units);
    let estimate = &fit.estimate;
    let devices: Vec<&str> = estimate.devices.iter().map(|device| device.id.as_str()).collect();
    let yes = match fit.verdict {
        Verdict::Fits => "Yes",
        Verdict::Tight => "Barely",
        Verdict::Offload => "Only with a part in host memory",
        Verdict::DoesNotFit => "No",
    };
    line(&format!(
        "{}: {} as {} {} {} with {} tokens × {} ({}).",
        bold(yes),
        bold(&estimate.model.name),
        estimate.quant,
        match fit.verdict {
            Verdict::Fits => "runs on",
            Verdict::Tight => "just runs on",
            Verdict::Offload => "is too large for",
            Verdict::DoesNotFit => "does not run on",
        },
        devices.join(" + "),
        grouped(estimate.workload.context),
        estimate.workload.concurrency,
        verdict(fit.verdict),
    ))?;
    let usable: llm_vram_core::Bytes = estimate.devices.iter().filter_map(|device| device.usable_bytes).sum();
    line(&format!(
        "It takes {} of {}; {} {} beyond the {:.0} % left free.",
        amount(estimate.total_bytes, unit),
        amount(usable, unit),
        signed(fit.headroom_bytes.saturating_abs(), unit),
        if fit.headroom_bytes < 0 { "are lacking" } else { "are to spare" },
        fit.safety * 100.0
    ))?;
    if let Some(context) = fit.max_context.filter(|_| fit.verdict == Verdict::Fits) {
        line(&format!("The context can grow to {} tokens.", grouped(context)))?;
    }
    for change in &fit.changes {
        let (devices, host) = (amount(change.total_bytes, unit), amount(change.host_bytes, unit));
        line(&format!("  to make it fit: {} ({devices} on devices, {host} in host memory)", change.message))?;
    }
    Ok(())
}

fn over_devices(args: &SubjectArgs) -> Result<()> {
    let mut rows = Vec::new();
    let mut name = String::new();
    for device in SHOWN_DEVICES.iter().filter(|device| llm_vram_catalog::device(device).is_some()) {
        let fit = ask_on(args, &[(*device).to_owned()], wire::fit)?;
        name.clone_from(&fit.estimate.model.name);
        rows.push(OnDevice {
            device: (*device).to_owned(),
            verdict: fit.verdict,
            total_bytes: fit.estimate.total_bytes,
            usable_bytes: fit.estimate.devices.iter().filter_map(|device| device.usable_bytes).sum(),
            max_context: fit.max_context,
            best_quant: fit.best_quant,
        });
    }
    if args.print.json {
        return print_json(&rows);
    }
    let unit = output::unit(args.print.units);
    line(&format!("{} on devices of each size (name yours with --gpu):\n", bold(&name)))?;
    let columns = [
        table::Column("device", false),
        table::Column("verdict", false),
        table::Column("takes", true),
        table::Column("of", true),
        table::Column("largest context", true),
        table::Column("best format", false),
    ];
    let rows = rows.into_iter().map(|row| {
        vec![
            row.device,
            verdict(row.verdict),
            amount(row.total_bytes, unit),
            amount(row.usable_bytes, unit),
            row.max_context.map_or_else(String::new, grouped),
            row.best_quant.unwrap_or_default(),
        ]
    });
    line(&table::table(&columns, rows))
}

/// Asks with other devices than the arguments name.
fn ask_on<T>(args: &SubjectArgs, gpu: &[String], answer: impl FnOnce(&wire::Question) -> Result<T>) -> Result<T> {
    let (mut scenario, contents) = crate::scenario::read(args)?;
    scenario.hardware = gpu.to_vec();
    let (mut gguf, mut safetensors) = (Vec::new(), Vec::new());
    let files = contents.lend(&mut gguf, &mut safetensors);
    answer(&wire::Question::resolve(&scenario, &files)?)
}
