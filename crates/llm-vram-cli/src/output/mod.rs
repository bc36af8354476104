//! How answers look in a terminal, and plainly where it is none.

pub mod bar;
pub mod document;
pub mod table;

use std::io::{ErrorKind as IoKind, Write};

use anstyle::{AnsiColor, Style};
use llm_vram_core::{ByteUnit, Bytes, Error, ErrorKind, Result, fit::Verdict};

use crate::args::Units;

/// The unit that amounts are printed in.
pub const fn unit(units: Units) -> ByteUnit {
    match units {
        Units::Gb => ByteUnit::GB,
        Units::Gib => ByteUnit::GiB,
    }
}

/// An amount as text.
pub fn amount(bytes: Bytes, unit: ByteUnit) -> String {
    bytes.display(unit).to_string()
}

/// A signed amount as text.
pub fn signed(bytes: i64, unit: ByteUnit) -> String {
    let size = Bytes::new(bytes.unsigned_abs()).unwrap_or(Bytes::MAX);
    if bytes < 0 { format!("−{}", amount(size, unit)) } else { amount(size, unit) }
}

/// Writes a line; colours are left out where the output is no terminal or `NO_COLOR` is set.
///
/// A reader that closes the pipe early (`| head`) ends the command quietly.
pub fn line(text: &str) -> Result<()> {
    let mut out = anstream::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == IoKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Error::new(ErrorKind::MissingField, format!("cannot write to standard output: {error}"))),
    }
}

/// A verdict, coloured as traffic lights are.
pub fn verdict(verdict: Verdict) -> String {
    let (word, colour) = match verdict {
        Verdict::Fits => ("fits", AnsiColor::Green),
        Verdict::Tight => ("tight", AnsiColor::Yellow),
        Verdict::Offload => ("with offload", AnsiColor::Cyan),
        Verdict::DoesNotFit => ("does not fit", AnsiColor::Red),
    };
    painted(word, Style::new().fg_color(Some(colour.into())))
}

/// Text in a style.
pub fn painted(text: &str, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

/// Text in bold.
pub fn bold(text: &str) -> String {
    painted(text, Style::new().bold())
}

/// Text that steps back.
pub fn dim(text: &str) -> String {
    painted(text, Style::new().dimmed())
}
