//! `quant-formats`: the weight formats, and one of them with its measurements.

use llm_vram_core::{
    Result,
    wire::{self, QualityEntry, QuantFormatDetails, QuantFormatEntry, QuantFormatQuery},
};

use super::{marked, names, not_empty, origin, print};
use crate::{
    args::QuantFormatsArgs,
    output::{
        document::{Field, Part, stated},
        table::Column,
    },
};

/// Lists weight formats, or shows one.
pub fn quant_formats(args: &QuantFormatsArgs) -> Result<()> {
    if let Some(id) = &args.id {
        let answer = wire::quant_format(id)?;
        return print(args.form, &answer, FIGURE_FIELDS, &answer.entry.figures, || details(&answer.entry));
    }
    let listing = wire::quant_formats(&QuantFormatQuery { filter: args.filter.clone(), family: args.family.clone() })?;
    not_empty(args.form, &listing.entries, "weight format")?;
    print(args.form, &listing, FIELDS, &listing.entries, || {
        let columns = vec![
            Column("format", false),
            Column("family", false),
            Column("bits/weight", true),
            Column("quality", false),
            Column("purpose", false),
        ];
        let rows = listing.entries.iter().map(|entry| {
            vec![
                entry.id.to_owned(),
                entry.family.to_owned(),
                bits(entry).unwrap_or_default(),
                entry.quality.to_owned(),
                entry.purpose.to_owned(),
            ]
        });
        vec![Part::Table(columns, rows.collect())]
    })
}

const FIELDS: &[Field<QuantFormatEntry>] = &[
    Field("id", |entry| entry.id.to_owned()),
    Field("name", |entry| entry.name.to_owned()),
    Field("family", |entry| entry.family.to_owned()),
    Field("bits_per_weight", |entry| stated(entry.bits_per_weight)),
    Field("bits_per_weight_high", |entry| stated(entry.bits_per_weight_high)),
    Field("mixture", |entry| entry.mixture.to_string()),
    Field("quality", |entry| entry.quality.to_owned()),
    Field("purpose", |entry| entry.purpose.to_owned()),
];

const FIGURE_FIELDS: &[Field<QualityEntry>] = &[
    Field("model", |figure| figure.model.to_owned()),
    Field("metric", |figure| figure.metric.to_owned()),
    Field("value", |figure| figure.value.to_string()),
    Field("baseline", |figure| stated(figure.baseline)),
    Field("method", |figure| stated(figure.method)),
    Field("dataset", |figure| stated(figure.dataset)),
    Field("url", |figure| figure.url.to_owned()),
];

/// Bits per weight, with the range over published models for mixtures.
fn bits(entry: &QuantFormatEntry) -> Option<String> {
    let low = entry.bits_per_weight?;
    Some(match entry.bits_per_weight_high {
        Some(high) => format!("{low:.2} to {high:.2}"),
        None => format!("{low:.2}"),
    })
}

fn details(format: &QuantFormatDetails) -> Vec<Part> {
    let entry = &format.entry;
    let unverified = format.unverified;
    let block = match (format.block_weights, format.block_bytes) {
        (Some(weights), Some(bytes)) => Some(format!("{weights} weights in {bytes} bytes")),
        _ => None,
    };
    let mut parts = vec![
        Part::Title(if entry.name == entry.id { entry.id.to_owned() } else { format!("{} ({})", entry.name, entry.id) }),
        Part::Facts(vec![
            ("for", marked(entry.purpose, "purpose", unverified)),
            ("quality", marked(entry.quality, "quality", unverified)),
            ("family", Some(entry.family.to_owned())),
            ("layout", marked(format.layout, "layout", unverified)),
            ("block", block),
            ("bits per weight", bits(entry).and_then(|text| marked(text, "bits_per_weight", unverified))),
            ("other names", names(format.aliases)),
        ]),
    ];
    if !format.figures.is_empty() {
        let columns = vec![
            Column("model", false),
            Column("measured", false),
            Column("value", true),
            Column("unquantised", true),
            Column("method", false),
            Column("text", false),
            Column("source", true),
        ];
        let mut addresses: Vec<&str> = format.figures.iter().map(|figure| figure.url).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let number =
            |url: &str| addresses.iter().position(|known| *known == url).map_or_else(String::new, |at| format!("[{}]", at + 1));
        let rows = format.figures.iter().map(|figure| {
            vec![
                figure.model.to_owned(),
                figure.metric.to_owned(),
                format!("{:.4}", figure.value),
                figure.baseline.map_or_else(String::new, |baseline| format!("{baseline:.4}")),
                figure.method.unwrap_or_default().to_owned(),
                figure.dataset.unwrap_or_default().to_owned(),
                number(figure.url),
            ]
        });
        parts.extend([
            Part::Heading("Published measurements".to_owned()),
            Part::Table(columns, rows.collect()),
            Part::List(addresses.iter().enumerate().map(|(at, url)| format!("[{}] {url}", at + 1)).collect()),
        ]);
    }
    parts.extend(origin(&format.sources, unverified));
    parts
}
