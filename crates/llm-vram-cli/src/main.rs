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
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
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
        | ErrorKind::UnknownEngine
        | ErrorKind::UnknownTerm => 2,
        _ => 1,
    }
}

/// Prints what the argument parser says: help and version as they are, a mistake with the code of its kind.
fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind as Usage;
    let kind = match error.kind() {
        Usage::DisplayHelp | Usage::DisplayVersion | Usage::DisplayHelpOnMissingArgumentOrSubcommand => {
            // A closed pipe is no failure of the help.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
        Usage::UnknownArgument => ErrorKind::UnknownField,
        Usage::InvalidSubcommand => ErrorKind::UnknownOperation,
        Usage::ArgumentConflict => ErrorKind::Contradiction,
        Usage::MissingRequiredArgument | Usage::MissingSubcommand => ErrorKind::MissingField,
        _ => ErrorKind::InvalidValue,
    };
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    report(&Error::new(kind, text));
    ExitCode::from(2)
}

fn report(error: &Error) {
    use anstream::eprintln;
    let (red, reset) = (anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into())), anstyle::Reset);
    eprintln!("{red}error[{}]{reset}: {}", error.kind().code(), error.message());
    if let Some(help) = error.help_text() {
        eprintln!("  help: {help}");
    }
}
