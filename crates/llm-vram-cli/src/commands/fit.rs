//! `fit`: the budget equation, the verdict, and what would make it fit.

use llm_vram_core::{
    Result,
    fit::Budget,
    wire::{self, FitAnswer},
};

use super::{
    ask,
    estimate::{bill, derivation, grouped, heading, remarks},
    print_json,
};
use crate::{
    args::SubjectArgs,
    output::{self, amount, bold, line, signed, table},
};

/// Prints the verdict with its reasons.
pub fn run(args: &SubjectArgs) -> Result<()> {
    let answer = ask(args, wire::fit)?;
    if args.print.json {
        return print_json(&answer);
    }
    heading(&answer.estimate)?;
    bill(&answer.estimate, args)?;
    line(&format!("\n{}", bold("Budget for weights")))?;
    equation(&answer.budget, answer.safety, args)?;
    verdict(&answer, args)?;
    if args.explain {
        derivation(&answer.estimate)?;
    }
    remarks(&answer.estimate)
}

/// The backbone, term by term.
pub fn equation(budget: &Budget, safety: f64, args: &SubjectArgs) -> Result<()> {
    let unit = output::unit(args.print.units);
    let rows = [
        ("total_vram", budget.total_bytes, "memory that software sees".to_owned()),
        ("− safety", budget.safety_bytes, format!("{:.0} % left free", safety * 100.0)),
        ("− kv_cache × concurrency", budget.kv_cache_bytes, "caches and states of all requests".to_owned()),
        ("− framework_overhead", budget.overhead_bytes, "compute buffers, driver, libraries".to_owned()),
        ("= budget for weights", budget.weights_bytes, String::new()),
    ];
    let columns = [table::Column("", false), table::Column("", true), table::Column("", false)];
    line(&table::table(
        &columns,
        rows.into_iter().map(|(term, bytes, note)| vec![term.to_owned(), amount(bytes, unit), output::dim(&note)]),
    ))
}

fn verdict(answer: &FitAnswer, args: &SubjectArgs) -> Result<()> {
    let unit = output::unit(args.print.units);
    let room = if answer.headroom_bytes < 0 { "lacking" } else { "to spare" };
    let size = signed(answer.headroom_bytes.saturating_abs(), unit);
    line(&format!("\nVerdict: {} ({size} {room} beyond the safety share)", output::verdict(answer.verdict)))?;
    line(&format!("What decides: {}", answer.binding.message))?;
    if let Some(context) = answer.max_context {
        line(&format!("Largest context: {} tokens × {}", grouped(context), answer.estimate.workload.concurrency))?;
    }
    if let Some(requests) = answer.max_concurrency {
        line(&format!("Most requests: {} × {} tokens", grouped(requests), grouped(answer.estimate.workload.context)))?;
    }
    if let Some(quant) = &answer.best_quant {
        line(&format!("Best format that fits: {quant}"))?;
    }
    if !answer.changes.is_empty() {
        line("\nEach of these makes it fit:")?;
        let columns = [table::Column("change", false), table::Column("on devices", true), table::Column("in host memory", true)];
        line(&table::table(
            &columns,
            answer
                .changes
                .iter()
                .map(|change| vec![change.message.clone(), amount(change.total_bytes, unit), amount(change.host_bytes, unit)]),
        ))?;
    }
    Ok(())
}
