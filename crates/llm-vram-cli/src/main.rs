//! The `llm-vram` command: reads files and arguments, calls one operation of the core, prints its answer.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod args;
mod commands;
mod files;
mod output;
mod probe;
mod scenario;

use std::process::ExitCode;

use clap::Parser;
use llm_vram_core::{Error, ErrorKind};

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match commands::run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(status(&error))
        }
    }
}

/// 2 for what was typed wrongly, 1 for input that is wrong or missing.
fn status(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::OutOfRange
        | ErrorKind::InvalidValue
        | ErrorKind::UnknownField
        | ErrorKind::UnknownOperation
        | ErrorKind::UnknownModel
        | ErrorKind::UnknownHardware
        | ErrorKind::UnknownQuant
        | ErrorKind::UnknownEngine => 2,
        _ => 1,
    }
}

fn report(error: &Error) {
    use anstream::eprintln;
    let (red, reset) = (anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into())), anstyle::Reset);
    eprintln!("{red}error[{}]{reset}: {}", error.kind().code(), error.message());
    if let Some(help) = error.help_text() {
        eprintln!("  help: {help}");
    }
}
