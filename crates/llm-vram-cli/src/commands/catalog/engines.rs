//! `engines`: the programs that run models, and one of them whole.

use llm_vram_core::{
    Result,
    hardware::Backend,
    wire::{self, EngineDefaultEntry, EngineDetails, EngineEntry, EngineQuery},
};

use super::{names, not_empty, origin, print};
use crate::{
    args::EnginesArgs,
    output::{
        document::{Field, Part, stated},
        table::Column,
    },
};

/// Lists engines, or shows one.
pub fn engines(args: &EnginesArgs) -> Result<()> {
    if let Some(id) = &args.id {
        let answer = wire::engine(id)?;
        return print(args.form, &answer, DEFAULT_FIELDS, &answer.entry.defaults, || details(&answer.entry));
    }
    let listing = wire::engines(&EngineQuery { filter: args.filter.clone() });
    not_empty(args.form, &listing.entries, "engine")?;
    print(args.form, &listing, FIELDS, &listing.entries, || {
        let columns = vec![
            Column("engine", false),
            Column("rules of", false),
            Column("default format", false),
            Column("host offload", false),
            Column("licence", false),
            Column("runs on", false),
        ];
        let rows = listing.entries.iter().map(|entry| {
            vec![
                entry.name.to_owned(),
                versions(entry),
                entry.default_quant.clone(),
                if entry.offloads_to_host { "yes" } else { "no" }.to_owned(),
                entry.licence.unwrap_or_default().to_owned(),
                backends(entry),
            ]
        });
        vec![Part::Table(columns, rows.collect())]
    })
}

const FIELDS: &[Field<EngineEntry>] = &[
    Field("name", |entry| entry.name.to_owned()),
    Field("versions", |entry| entry.versions.join(" ")),
    Field("backends", |entry| backends(entry).replace(", ", " ")),
    Field("default_quant", |entry| entry.default_quant.clone()),
    Field("quants", |entry| entry.quants.join(" ")),
    Field("offloads_to_host", |entry| entry.offloads_to_host.to_string()),
    Field("licence", |entry| stated(entry.licence)),
    Field("summary", |entry| stated(entry.summary)),
];

const DEFAULT_FIELDS: &[Field<EngineDefaultEntry>] = &[
    Field("option", |default| default.option.to_owned()),
    Field("value", |default| default.value.to_owned()),
    Field("effect", |default| default.effect.to_owned()),
];

/// The newest and the oldest version whose rules are known.
fn versions(entry: &EngineEntry) -> String {
    match entry.versions {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [newest, .., oldest] => format!("{oldest} to {newest}"),
    }
}

fn backends(entry: &EngineEntry) -> String {
    let words =
        entry.backends.iter().filter(|backend| **backend != Backend::Ideal).map(|backend| format!("{backend:?}").to_lowercase());
    words.collect::<Vec<_>>().join(", ")
}

fn details(engine: &EngineDetails) -> Vec<Part> {
    let entry = &engine.entry;
    let mut parts = vec![Part::Title(match engine.full_name {
        Some(name) if name != entry.name => format!("{name} ({})", entry.name),
        _ => entry.name.to_owned(),
    })];
    parts.extend(entry.summary.map(|summary| Part::Text(summary.to_owned())));
    parts.push(Part::Facts(vec![
        ("pick it when", engine.pick_when.map(ToOwned::to_owned)),
        ("maker", engine.maker.map(ToOwned::to_owned)),
        ("licence", entry.licence.map(ToOwned::to_owned)),
        ("home", engine.homepage.map(ToOwned::to_owned)),
        ("platforms", names(engine.platforms)),
        ("loads", names(engine.formats)),
        ("default format", Some(entry.default_quant.clone())),
        ("host offload", Some(if entry.offloads_to_host { "yes" } else { "no" }.to_owned())),
        ("rules known of", names(entry.versions)),
        ("facts are of", engine.facts_of_version.map(ToOwned::to_owned)),
        ("other names", names(engine.aliases)),
    ]));
    if let (Some(install), Some(run)) = (engine.install, engine.run) {
        parts.extend([
            Part::Heading("Install".to_owned()),
            Part::Command(install.to_owned()),
            Part::Heading("Run".to_owned()),
            Part::Command(run.to_owned()),
        ]);
    }
    if !engine.defaults.is_empty() {
        parts.push(Part::Heading("Defaults that decide about memory".to_owned()));
        parts.push(Part::Table(
            vec![Column("option", false), Column("default", false), Column("effect", false)],
            engine
                .defaults
                .iter()
                .map(|default| vec![default.option.to_owned(), default.value.to_owned(), default.effect.to_owned()])
                .collect(),
        ));
    }
    if !engine.sources.is_empty() {
        parts.extend(origin(&engine.sources, engine.unverified));
    }
    parts
}
