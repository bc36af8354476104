//! `compare`: engines or models side by side, with the reason for each difference.

use llm_vram_core::{
    ByteUnit, Bytes, Error, ErrorKind, Result,
    wire::{self, CompareAnswer, Comparison, Files, Scenario, SideAnswer},
};

use super::{estimate::grouped, print_json};
use crate::{
    args::{CompareArgs, SubjectArgs},
    files::Contents,
    output::{self, amount, bold, dim, line, signed, table},
    scenario,
};

/// Prints the columns and the sentences.
pub fn run(args: &CompareArgs) -> Result<()> {
    let answer = ask(args)?;
    if args.first.print.json {
        return print_json(&answer);
    }
    let unit = output::unit(args.first.print.units);
    columns(&answer, unit)?;
    sentences(&answer, unit)?;
    left_out(&answer)
}

/// One subject over the engines, or every subject on every engine.
fn ask(args: &CompareArgs) -> Result<CompareAnswer> {
    let engines: Vec<String> =
        args.first.engine.iter().flat_map(|names| names.split(',')).map(|name| name.trim().to_owned()).collect();
    if engines.iter().any(String::is_empty) {
        return Err(Error::new(ErrorKind::InvalidValue, "an engine's name is empty")
            .field("engine")
            .help("put one comma between two names, such as llama.cpp,vllm"));
    }
    let subjects = std::iter::once(args.first.subject.clone()).chain(args.others.iter().cloned().map(Some));
    let of_subject = |subject: Option<String>| scenario::read(&SubjectArgs { subject, engine: None, ..args.first.clone() });
    let read: Vec<(Scenario, Contents)> = subjects.map(of_subject).collect::<Result<_>>()?;
    if let [(scenario, contents)] = read.as_slice() {
        let (mut gguf, mut safetensors) = (Vec::new(), Vec::new());
        return wire::compare(Comparison::over_engines(scenario, &engines, &contents.lend(&mut gguf, &mut safetensors))?);
    }
    let mut lent: Vec<Lent<'_>> = read.iter().map(|_| Lent::default()).collect();
    let mut sides: Vec<(Scenario, Files<'_>)> = Vec::new();
    for ((scenario, contents), (gguf, safetensors)) in read.iter().zip(&mut lent) {
        let files = contents.lend(gguf, safetensors);
        if engines.is_empty() {
            sides.push((scenario.clone(), files));
        }
        sides.extend(engines.iter().map(|engine| (Scenario { engine: Some(engine.clone()), ..scenario.clone() }, files)));
    }
    wire::compare(Comparison::of_scenarios(sides.iter().map(|(scenario, files)| (scenario, *files)))?)
}

/// Borrowed GGUF and safetensors files of one subject.
type Lent<'a> = (Vec<&'a [u8]>, Vec<(&'a str, &'a [u8])>);

/// One row per part, one column per side.
fn columns(answer: &CompareAnswer, unit: ByteUnit) -> Result<()> {
    let sides = &answer.sides;
    let row = |name: &str, cell: &dyn Fn(&SideAnswer) -> String| {
        std::iter::once(name.to_owned()).chain(sides.iter().map(cell)).collect::<Vec<_>>()
    };
    let any = |has: &dyn Fn(&SideAnswer) -> bool| sides.iter().any(has);
    let bytes = |bytes: Bytes| amount(bytes, unit);
    let optional = |value: Option<String>| value.unwrap_or_else(|| dim("none"));
    let mut rows = vec![
        row("", &|side| bold(&side.label)),
        row("format", &|side| side.quant.clone()),
        row("weights", &|side| bytes(side.weights_bytes)),
        row("KV cache", &|side| bytes(side.kv_cache_bytes)),
    ];
    if any(&|side| side.kv_pool_bytes.is_some()) {
        rows.push(row("cache pool", &|side| optional(side.kv_pool_bytes.map(bytes))));
        rows.push(row("pool tokens", &|side| optional(side.kv_pool_tokens.map(grouped))));
    }
    if any(&|side| side.recurrent_state_bytes > Bytes::ZERO) {
        rows.push(row("recurrent state", &|side| bytes(side.recurrent_state_bytes)));
    }
    rows.push(row("compute buffer", &|side| bytes(side.compute_buffer_bytes)));
    rows.push(row("overhead", &|side| bytes(side.overhead_bytes)));
    rows.push(row("on devices", &|side| bold(&bytes(side.total_bytes))));
    rows.push(row("in host memory", &|side| bytes(side.host_bytes)));
    if any(&|side| side.verdict.is_some()) {
        rows.push(row("verdict", &|side| side.verdict.map_or_else(String::new, output::verdict)));
    }
    let headings: Vec<table::Column> =
        std::iter::once(table::Column("", false)).chain(sides.iter().map(|_| table::Column("", true))).collect();
    line(&table::table(&headings, rows))
}

/// The differences, each with its reason.
fn sentences(answer: &CompareAnswer, unit: ByteUnit) -> Result<()> {
    for side in answer.sides.iter().filter(|side| side.quant_asked.is_some()) {
        let asked = side.quant_asked.as_deref().unwrap_or_default();
        line(&dim(&format!("{}: {} stands in for {asked}, which is not its usual format", side.label, side.quant)))?;
    }
    let Some(first) = answer.sides.first() else { return Ok(()) };
    for side in answer.sides.iter().skip(1) {
        line(&format!("\n{}", bold(&format!("{} against {}", side.label, first.label))))?;
        let mut of_side = answer.differences.iter().filter(|difference| difference.b == side.label).peekable();
        if of_side.peek().is_none() {
            line("  no part differs by more than one per cent")?;
        }
        for difference in of_side {
            let sign = if difference.bytes > 0 { "+" } else { "" };
            let part = difference.part.replace('_', " ");
            line(&format!("  {part} {sign}{}: {}", signed(difference.bytes, unit), difference.because))?;
        }
    }
    Ok(())
}

/// Sides without an answer, on standard error.
fn left_out(answer: &CompareAnswer) -> Result<()> {
    use anstream::eprintln;
    for out in &answer.left_out {
        eprintln!("left out[{}]: {} on {}: {}", out.code, out.model, out.engine, out.message);
    }
    Ok(())
}
