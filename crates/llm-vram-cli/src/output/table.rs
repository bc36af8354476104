//! Tables: numbers to the right, text to the left, as wide as the terminal at most.

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

/// A column: its heading, and whether it holds numbers.
#[derive(Clone, Copy)]
pub struct Column(pub &'static str, pub bool);

/// Lays rows out under headings.
pub fn table(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some((terminal_size::Width(width), _)) = terminal_size::terminal_size() {
        table.set_width(width);
    } else {
        table.set_width(160);
    }
    if columns.iter().any(|Column(heading, _)| !heading.is_empty()) {
        table.set_header(header(columns));
    }
    for row in rows {
        table.add_row(
            row.into_iter().zip(columns).map(|(text, Column(_, number))| Cell::new(text).set_alignment(alignment(*number))),
        );
    }
    for (column, Column(_, number)) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        if *number {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    // Trailing spaces would make diffs and copies ugly.
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Rows under headings as a Markdown table.
pub fn markdown(columns: &[Column], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header(columns));
    for row in rows {
        table.add_row(
            row.iter()
                .zip(columns)
                .map(|(text, Column(_, number))| Cell::new(text.replace('|', "\\|")).set_alignment(alignment(*number))),
        );
    }
    table.to_string()
}

fn header(columns: &[Column]) -> impl Iterator<Item = Cell> + '_ {
    columns.iter().map(|Column(heading, number)| Cell::new(heading).set_alignment(alignment(*number)))
}

const fn alignment(number: bool) -> CellAlignment {
    if number { CellAlignment::Right } else { CellAlignment::Left }
}
