//! One file per question.

mod budget;
mod call;
mod can_i_run;
mod catalog;
mod compare;
mod estimate;
mod fit;
mod inspect;
mod manual;
mod quants;

use llm_vram_core::{
    Error, ErrorKind, Result,
    wire::{Files, Question},
};

use crate::{
    args::{Command, SubjectArgs},
    scenario,
};

/// Answers a question on standard output.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::CanIRun(args) => can_i_run::run(&args),
        Command::Estimate(args) => estimate::run(&args),
        Command::Fit(args) => fit::run(&args),
        Command::Budget(args) => budget::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Quants(args) => quants::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Models(args) => catalog::models(&args),
        Command::Gpus(args) => catalog::gpus(&args),
        Command::Engines(args) => catalog::engines(&args),
        Command::QuantFormats(args) => catalog::quant_formats(&args),
        Command::Glossary(args) => catalog::glossary(&args),
        Command::Call(args) => call::run(&args),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man => manual::page(),
    }
}

/// Looks a scenario up and asks the core.
fn ask<T>(args: &SubjectArgs, answer: impl FnOnce(&Question) -> Result<T>) -> Result<T> {
    let (scenario, contents) = scenario::read(args)?;
    let (mut gguf, mut safetensors) = (Vec::new(), Vec::new());
    let files: Files<'_> = contents.lend(&mut gguf, &mut safetensors);
    answer(&Question::resolve(&scenario, &files)?)
}

/// Prints an answer as JSON.
fn print_json<T: serde::Serialize>(answer: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(answer)
        .map_err(|error| Error::new(ErrorKind::Overflow, format!("the answer cannot be written as JSON: {error}")))?;
    crate::output::line(&text)
}
