//! `quants`: sizes in every weight format.

use llm_vram_core::{
    Result,
    wire::{self, QuantsAnswer},
};

use super::{ask, estimate::grouped, print_json};
use crate::{
    args::SubjectArgs,
    output::{self, amount, bold, dim, line, table, verdict},
};

/// Prints the grid.
pub fn run(args: &SubjectArgs) -> Result<()> {
    let answer = ask(args, wire::quants)?;
    if args.print.json {
        return print_json(&answer);
    }
    #[allow(clippy::cast_precision_loss)]
    let billions = answer.model.parameters as f64 / 1e9;
    line(&format!("{} · {billions:.2} B parameters\n", bold(&answer.model.name)))?;
    grid(&answer, args)?;
    line(&dim("\nnominal: parameters × bits ÷ 8. Real files mix types: embeddings, output and some layers keep more bits."))
}

/// The table of formats.
pub fn grid(answer: &QuantsAnswer, args: &SubjectArgs) -> Result<()> {
    let unit = output::unit(args.print.units);
    let with_verdict = answer.quants.iter().any(|row| row.verdict.is_some());
    let mut columns = vec![
        table::Column("format", false),
        table::Column("nominal bits", true),
        table::Column("nominal", true),
        table::Column("real", true),
        table::Column("real bits", true),
    ];
    if with_verdict {
        columns.push(table::Column("verdict", false));
        columns.push(table::Column("largest context", true));
    }
    columns.push(table::Column("for", false));
    let rows =
        answer.quants.iter().filter(|row| !with_verdict || row.verdict.is_some() || row.weights_bytes.is_none()).map(|row| {
            let mut cells = vec![
                row.quant.clone(),
                row.nominal_bits.map_or_else(String::new, |bits| bits.to_string()),
                row.nominal_bytes.map_or_else(String::new, |bytes| amount(bytes, unit)),
                row.weights_bytes.map_or_else(String::new, |bytes| amount(bytes, unit)),
                row.bits_per_weight.map_or_else(String::new, |bits| format!("{bits:.2}")),
            ];
            if with_verdict {
                cells.push(row.verdict.map_or_else(String::new, verdict));
                cells.push(row.max_context.map_or_else(String::new, grouped));
            }
            cells.push(row.purpose.to_owned());
            cells
        });
    line(&table::table(&columns, rows))
}
