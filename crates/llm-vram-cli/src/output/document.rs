//! Documents of headings, facts and tables, for a terminal, as Markdown or as comma-separated values.

use llm_vram_core::{Error, ErrorKind, Result};

use super::{bold, dim, line, table};

/// A part of a document.
pub enum Part {
    /// What it is about.
    Title(String),
    /// The title of what follows.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// Facts with their names; those without a value are left out.
    Facts(Vec<(&'static str, Option<String>)>),
    /// Links to other entries, under a name: each with its text and its id.
    Links(&'static str, Vec<(&'static str, &'static str)>),
    /// Rows under headings.
    Table(Vec<table::Column>, Vec<Vec<String>>),
    /// Items, a line each however long, so that addresses stay whole.
    List(Vec<String>),
    /// A line for a shell.
    Command(String),
}

/// Prints a document for a terminal.
pub fn plain(parts: &[Part]) -> Result<()> {
    for (at, part) in parts.iter().enumerate() {
        let text = match part {
            Part::Title(text) => bold(text),
            Part::Heading(text) => format!("\n{}", bold(text)),
            Part::Text(text) => wrapped(text),
            Part::List(items) => items.iter().map(|item| format!("  {item}")).collect::<Vec<_>>().join("\n"),
            Part::Command(text) => format!("  {text}"),
            Part::Facts(facts) => {
                let columns = [table::Column("", false), table::Column("", false)];
                let rows = facts.iter().filter_map(|(name, value)| Some(vec![dim(name), value.clone()?]));
                table::table(&columns, rows)
            }
            Part::Links(name, links) => {
                let links: Vec<String> = links.iter().map(|(text, id)| format!("{text} ({id})")).collect();
                wrapped(&format!("{}: {}", dim(name), links.join(", ")))
            }
            Part::Table(columns, rows) => table::table(columns, rows.iter().cloned()),
        };
        let gap = at > 0 && matches!((parts.get(at - 1), part), (Some(Part::Text(_) | Part::Facts(_)), Part::Table(..)));
        line(&if gap { format!("\n{text}") } else { text })?;
    }
    Ok(())
}

/// Prints a document as Markdown.
pub fn markdown(parts: &[Part]) -> Result<()> {
    let texts = parts.iter().map(|part| match part {
        Part::Title(text) => format!("# {text}"),
        Part::Heading(text) => format!("## {text}"),
        Part::Text(text) => text.clone(),
        Part::List(items) => items.iter().map(|item| format!("- {item}")).collect::<Vec<_>>().join("\n"),
        Part::Command(text) => format!("```sh\n{text}\n```"),
        Part::Facts(facts) => {
            let items = facts.iter().filter_map(|(name, value)| Some(format!("- **{name}**: {}", value.as_ref()?)));
            items.collect::<Vec<_>>().join("\n")
        }
        Part::Links(name, links) => {
            let links: Vec<String> = links.iter().map(|(text, id)| format!("[{text}](#{id})")).collect();
            format!("**{name}**: {}", links.join(", "))
        }
        Part::Table(columns, rows) => table::markdown(columns, rows),
    });
    line(&texts.collect::<Vec<_>>().join("\n\n"))
}

/// A column of comma-separated values: its name, and what it says of a row.
pub struct Field<T>(pub &'static str, pub fn(&T) -> String);

// Derived, these would ask the same of `T`.
impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

/// Prints rows as comma-separated values under the names of their fields.
pub fn csv<T>(fields: &[Field<T>], rows: &[T]) -> Result<()> {
    let failed = |error: csv::Error| Error::new(ErrorKind::Overflow, format!("the answer cannot be written as CSV: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields.iter().map(|Field(name, _)| name)).map_err(failed)?;
    for row in rows {
        writer.write_record(fields.iter().map(|Field(_, value)| value(row))).map_err(failed)?;
    }
    let bytes = writer.into_inner().unwrap_or_default();
    line(String::from_utf8_lossy(&bytes).trim_end_matches('\n'))
}

/// A value of a field that may be absent.
pub fn stated<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// Text in lines as wide as the terminal at most, and never so wide that it is hard to read.
fn wrapped(text: &str) -> String {
    const WIDEST: usize = 100;
    let width = terminal_size::terminal_size().map_or(WIDEST, |(width, _)| usize::from(width.0).min(WIDEST));
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(last) if last.chars().count() + 1 + word.chars().count() <= width => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}
