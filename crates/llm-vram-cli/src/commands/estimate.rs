//! `estimate`: what takes how much.

use llm_vram_core::{
    Bytes, Result,
    wire::{self, DeviceAnswer, EstimateAnswer},
};

use super::{ask, print_json};
use crate::{
    args::SubjectArgs,
    output::{self, amount, bar, bold, dim, line, table},
};

/// Prints the bill of memory.
pub fn run(args: &SubjectArgs) -> Result<()> {
    let answer = ask(args, wire::estimate)?;
    if args.print.json {
        return print_json(&answer);
    }
    heading(&answer)?;
    bill(&answer, args)?;
    if args.explain {
        derivation(&answer)?;
    }
    remarks(&answer)
}

/// Which model, how stored, on which engine.
pub fn heading(answer: &EstimateAnswer) -> Result<()> {
    let model = &answer.model;
    #[allow(clippy::cast_precision_loss)]
    let billions = model.parameters as f64 / 1e9;
    line(&format!(
        "{} · {} · {billions:.2} B parameters · {} tokens × {} · {} {}",
        bold(&model.name),
        answer.quant,
        grouped(answer.workload.context),
        answer.workload.concurrency,
        answer.engine,
        answer.engine_version,
    ))
}

/// The component table with its bar.
pub fn bill(answer: &EstimateAnswer, args: &SubjectArgs) -> Result<()> {
    let unit = output::unit(args.print.units);
    line("")?;
    if let Some(bar) = bar::memory(answer, unit) {
        line(&format!("{bar}\n"))?;
    }
    let range = |field: &str| {
        answer
            .ranges
            .get(field)
            .map_or_else(|| dim("exact"), |[low, high]| format!("{} to {}", amount(*low, unit), amount(*high, unit)))
    };
    // The rows are what lies on devices, so that they add up; what the engine leaves on the host stands below the sum.
    let on_devices = |part: fn(&DeviceAnswer) -> Bytes| answer.devices.iter().map(part).sum::<Bytes>();
    let weights = on_devices(|device| device.weights_bytes);
    let mut rows = vec![vec!["weights".into(), amount(weights, unit), dim(&weights_note(answer, args))]];
    if answer.kv_pool_bytes.is_none() {
        rows.push(vec!["KV cache".into(), amount(on_devices(|device| device.kv_cache_bytes), unit), range("kv_cache_bytes")]);
    }
    let state = on_devices(|device| device.recurrent_state_bytes);
    if state > Bytes::ZERO {
        rows.push(vec!["recurrent state".into(), amount(state, unit), range("recurrent_state_bytes")]);
    }
    rows.push(vec!["compute buffer".into(), amount(answer.compute_buffer_bytes, unit), range("compute_buffer_bytes")]);
    for part in &answer.overhead {
        let [low, high] = part.range;
        let known = if low == high { dim("exact") } else { format!("{} to {}", amount(low, unit), amount(high, unit)) };
        rows.push(vec![part.name.into(), amount(part.bytes, unit), known]);
    }
    if let (Some(pool), Some(tokens)) = (answer.kv_pool_bytes, answer.kv_pool_tokens) {
        let all = answer.devices.iter().map(|device| device.kv_pool_bytes.unwrap_or(pool)).sum();
        let asked = amount(answer.kv_cache_bytes, unit);
        let note = format!("holds {} tokens; the requests asked for need {asked}", grouped(tokens));
        rows.push(vec!["cache pool".into(), amount(all, unit), dim(&note)]);
    }
    rows.push(vec![bold("on devices"), bold(&amount(answer.total_bytes, unit)), range("total_bytes")]);
    if answer.host_bytes.get() > 0 {
        rows.push(vec!["in host memory".into(), amount(answer.host_bytes, unit), String::new()]);
    }
    line(&table::table(&[table::Column("", false), table::Column("", true), table::Column("", false)], rows))?;
    if answer.devices.len() > 1 {
        line("")?;
        devices(answer, args)?;
    }
    Ok(())
}

fn weights_note(answer: &EstimateAnswer, args: &SubjectArgs) -> String {
    let bits = answer
        .bits_per_weight
        .map_or_else(String::new, |bits| format!("{bits:.5} bits per weight", bits = format!("{:.2}", bits.to_f64())));
    let stored = amount(answer.weights_bytes, output::unit(args.print.units));
    match answer.nominal_weights_bytes {
        Some(nominal) if nominal != answer.weights_bytes => {
            format!("of {stored} stored, {bits}; nominally {}", amount(nominal, output::unit(args.print.units)))
        }
        _ => format!("of {stored} stored, {bits}"),
    }
}

/// Device by device.
pub fn devices(answer: &EstimateAnswer, args: &SubjectArgs) -> Result<()> {
    let unit = output::unit(args.print.units);
    let columns = [
        table::Column("device", false),
        table::Column("layers", true),
        table::Column("weights", true),
        table::Column("cache", true),
        table::Column("compute", true),
        table::Column("overhead", true),
        table::Column("used", true),
        table::Column("of", true),
    ];
    let rows = answer.devices.iter().enumerate().map(|(at, device)| {
        vec![
            format!("{at} {}", device.id),
            device.layers.to_string(),
            amount(device.weights_bytes, unit),
            amount(device.kv_pool_bytes.unwrap_or(device.kv_cache_bytes) + device.recurrent_state_bytes, unit),
            amount(device.compute_buffer_bytes, unit),
            amount(device.overhead_bytes, unit),
            amount(device.used_bytes, unit),
            device.usable_bytes.map_or_else(String::new, |bytes| amount(bytes, unit)),
        ]
    });
    line(&table::table(&columns, rows))
}

/// How each number came about.
pub fn derivation(answer: &EstimateAnswer) -> Result<()> {
    line(&format!("\n{}", bold("How each number came about")))?;
    for step in &answer.derivation {
        line(&format!("\n{} {}", step.label, dim(&format!("[{}]", step.id))))?;
        line(&format!("  {}", step.formula))?;
        for input in &step.inputs {
            line(&format!("    {} = {} {}", input.name, number(input.value), input.unit))?;
        }
        line(&format!("  = {} {}", bold(&number(step.result)), step.unit))?;
        line(&dim(&format!("  {} · {}", certainty(step.assumption), step.source)))?;
    }
    Ok(())
}

const fn certainty(certainty: llm_vram_core::derivation::Certainty) -> &'static str {
    use llm_vram_core::derivation::Certainty;
    match certainty {
        Certainty::Exact => "exact",
        Certainty::Modelled => "modelled",
        Certainty::Assumed => "assumed",
    }
}

/// Remarks, on standard error so that the answer can be piped on.
pub fn remarks(answer: &EstimateAnswer) -> Result<()> {
    use anstream::eprintln;
    let yellow = anstyle::Style::new().fg_color(Some(anstyle::AnsiColor::Yellow.into()));
    for warning in &answer.warnings {
        eprintln!("{yellow}note[{}]{yellow:#}: {}", warning.code, warning.message);
    }
    Ok(())
}

/// An integer with thousands separators, another number with up to four decimals.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn number(value: f64) -> String {
    if (0.0..9e15).contains(&value) && value % 1.0 == 0.0 {
        return grouped(value as u64);
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub(super) fn grouped(number: u64) -> String {
    llm_vram_core::units::grouped(number)
}
