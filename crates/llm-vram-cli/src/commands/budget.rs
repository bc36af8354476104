//! `budget`: what is left for weights, and the largest models for it.

use llm_vram_core::{Error, ErrorKind, Result, wire};

use super::{estimate::grouped, fit::equation, print_json};
use crate::{
    args::SubjectArgs,
    output::{self, amount, bold, line, table},
    scenario,
};

/// Prints the budget and the models.
pub fn run(args: &SubjectArgs) -> Result<()> {
    let (scenario, contents) = scenario::read(args)?;
    if !contents.is_empty() || scenario.params.is_some() {
        return Err(Error::new(ErrorKind::Unsupported, "a budget takes a model of the catalog, no file and no bare count")
            .help("use fit for a file or a parameter count"));
    }
    let answer = wire::budget(&scenario)?;
    if args.print.json {
        return print_json(&answer);
    }
    let unit = output::unit(args.print.units);
    let devices: Vec<&str> = answer.devices.iter().map(|device| device.id.as_str()).collect();
    line(&format!("{} · {}", bold(&devices.join(" + ")), answer.engine))?;
    match &answer.model {
        Some(model) => {
            line(&format!("cache and overhead of {model}, {} tokens × {}\n", grouped(answer.context), answer.concurrency))?
        }
        None => line("without a model there is no cache and no overhead to take off\n")?,
    }
    equation(&answer.budget, answer.safety, args)?;
    line(&format!("\nLargest models that fit at {} tokens × {}:", grouped(answer.context), answer.concurrency))?;
    let columns = [
        table::Column("model", false),
        table::Column("parameters", true),
        table::Column("best format", false),
        table::Column("weights", true),
        table::Column("in all", true),
    ];
    #[allow(clippy::cast_precision_loss)]
    let rows = answer.models.iter().map(|model| {
        vec![
            model.id.to_owned(),
            format!("{:.1} B", model.parameters as f64 / 1e9),
            model.best_quant.clone(),
            amount(model.weights_bytes, unit),
            amount(model.total_bytes, unit),
        ]
    });
    line(&table::table(&columns, rows))
}
