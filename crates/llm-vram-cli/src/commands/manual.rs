//! Shell completions and the manual page, from the definitions of the arguments.

use clap::CommandFactory;
use clap_complete::Shell;
use llm_vram_core::{Error, ErrorKind, Result};

use crate::args::Cli;

/// Writes completions for a shell.
pub fn completions(shell: Shell) -> Result<()> {
    clap_complete::generate(shell, &mut Cli::command(), "llm-vram", &mut std::io::stdout());
    Ok(())
}

/// Writes the manual page.
pub fn page() -> Result<()> {
    clap_mangen::Man::new(Cli::command())
        .render(&mut std::io::stdout())
        .map_err(|error| Error::new(ErrorKind::MissingField, format!("cannot write to standard output: {error}")))
}
