//! `models`, `gpus` and `engines`: the catalog as tables.

use llm_vram_core::{Error, ErrorKind, Result, wire};

use super::{estimate::grouped, print_json};
use crate::{
    args::ListArgs,
    output::{self, amount, line, table},
};

/// Lists models, or shows one.
pub fn models(args: &ListArgs) -> Result<()> {
    let mut listing = wire::models(args.filter.as_deref());
    if let Some(name) = &args.id {
        let record = llm_vram_core::catalog::model(name)?.record;
        listing.entries.retain(|entry| entry.id == record.id);
    }
    if args.print.json {
        return print_json(&listing);
    }
    nothing(listing.entries.is_empty(), args)?;
    let columns = [
        table::Column("id", false),
        table::Column("parameters", true),
        table::Column("active", true),
        table::Column("context", true),
        table::Column("released", false),
        table::Column("licence", false),
        table::Column("class", false),
    ];
    let rows = listing.entries.iter().map(|entry| {
        vec![
            entry.id.to_owned(),
            billions(entry.parameters),
            entry.active_parameters.filter(|&active| active < entry.parameters).map_or_else(String::new, billions),
            grouped(entry.context_length),
            entry.release.unwrap_or_default().to_owned(),
            entry.licence.to_owned(),
            entry.class.to_owned(),
        ]
    });
    line(&table::table(&columns, rows))
}

/// Lists devices, or shows one.
pub fn gpus(args: &ListArgs) -> Result<()> {
    let mut listing = wire::gpus(args.filter.as_deref())?;
    if let Some(name) = &args.id {
        let record = llm_vram_core::catalog::device(name)?;
        listing.entries.retain(|entry| entry.id == record.id);
    }
    if args.print.json {
        return print_json(&listing);
    }
    nothing(listing.entries.is_empty(), args)?;
    let unit = output::unit(args.print.units);
    let columns = [
        table::Column("id", false),
        table::Column("nameplate", true),
        table::Column("usable", true),
        table::Column("bandwidth", true),
        table::Column("launched", false),
        table::Column("class", false),
    ];
    let rows = listing.entries.iter().map(|entry| {
        vec![
            entry.id.to_owned(),
            entry.total_bytes.map_or_else(String::new, |bytes| amount(bytes, unit)),
            entry.usable_bytes.map_or_else(String::new, |bytes| {
                format!("{}{}", if entry.usable_is_measured { "" } else { "≈ " }, amount(bytes, unit))
            }),
            entry.bandwidth_gb_per_second.map_or_else(String::new, |rate| format!("{rate:.0} GB/s")),
            entry.launch.unwrap_or_default().to_owned(),
            entry.class.to_owned(),
        ]
    });
    line(&table::table(&columns, rows))
}

/// Lists engines, or shows one.
pub fn engines(args: &ListArgs) -> Result<()> {
    let mut listing = wire::engines(args.filter.as_deref());
    if let Some(name) = &args.id {
        let engine = llm_vram_core::engine::by_name(name)?;
        listing.entries.retain(|entry| entry.name == engine.name());
    }
    if args.print.json {
        return print_json(&listing);
    }
    nothing(listing.entries.is_empty(), args)?;
    let columns = [
        table::Column("engine", false),
        table::Column("rules of", false),
        table::Column("default format", false),
        table::Column("host offload", false),
    ];
    let rows = listing.entries.iter().map(|entry| {
        vec![
            entry.name.to_owned(),
            entry.versions.join(", "),
            entry.default_quant.clone(),
            if entry.offloads_to_host { "yes" } else { "no" }.to_owned(),
        ]
    });
    line(&table::table(&columns, rows))
}

fn nothing(empty: bool, args: &ListArgs) -> Result<()> {
    match (&args.filter, empty) {
        (Some(filter), true) => Err(Error::new(ErrorKind::InvalidValue, format!("nothing in the catalog contains `{filter}`"))),
        _ => Ok(()),
    }
}

#[allow(clippy::cast_precision_loss)]
fn billions(count: u64) -> String {
    format!("{:.1} B", count as f64 / 1e9)
}
