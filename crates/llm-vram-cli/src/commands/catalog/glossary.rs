//! `glossary`: the terms that answers use.

use llm_vram_core::{
    Result,
    wire::{self, TermDetails, TermEntry, TermLink, TermQuery},
};

use super::{names, not_empty, origin, print};
use crate::{
    args::GlossaryArgs,
    output::{
        document::{Field, Part},
        table::Column,
    },
};

/// Lists terms, or explains one.
pub fn glossary(args: &GlossaryArgs) -> Result<()> {
    if let Some(term) = &args.term {
        let answer = wire::term(term)?;
        let row = [answer.entry.entry];
        return print(args.form, &answer, FIELDS, &row, || details(&answer.entry));
    }
    let listing = wire::glossary(&TermQuery { filter: args.filter.clone() });
    not_empty(args.form, &listing.entries, "term")?;
    print(args.form, &listing, FIELDS, &listing.entries, || {
        let columns = vec![Column("id", false), Column("term", false), Column("meaning", false)];
        let rows = listing.entries.iter().map(|entry| vec![entry.id.to_owned(), entry.name.to_owned(), first_sentence(entry.text)]);
        vec![Part::Table(columns, rows.collect())]
    })
}

const FIELDS: &[Field<TermEntry>] = &[
    Field("id", |entry| entry.id.to_owned()),
    Field("name", |entry| entry.name.to_owned()),
    Field("text", |entry| entry.text.to_owned()),
    Field("see_also", |entry| entry.see_also.join(" ")),
];

/// The text up to the end of its first sentence.
fn first_sentence(text: &str) -> String {
    text.split_once(". ").map_or_else(|| text.to_owned(), |(first, _)| format!("{first}."))
}

fn details(term: &TermDetails) -> Vec<Part> {
    let pairs = |links: &[TermLink]| links.iter().map(|link| (link.name, link.id)).collect::<Vec<_>>();
    let mut parts = vec![Part::Title(term.entry.name.to_owned()), Part::Text(term.entry.text.to_owned())];
    for (name, links) in [("see also", &term.links), ("named by", &term.linked_from)] {
        if !links.is_empty() {
            parts.push(Part::Links(name, pairs(links)));
        }
    }
    if let Some(aliases) = names(term.aliases) {
        parts.push(Part::Text(format!("Also called: {aliases}.")));
    }
    if !term.sources.is_empty() {
        parts.extend(origin(&term.sources, &[]));
    }
    parts
}
