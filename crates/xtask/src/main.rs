//! Developer commands: `cargo xtask <command>`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::commands;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the catalog's files and write its embedded form.
    Bake(commands::bake::Arguments),
    /// Write a model's record from its config.json.
    AddModel(commands::add_model::Arguments),
    /// Write a device's record from its data sheet.
    AddGpu(commands::add_gpu::Arguments),
    /// Run everything that has to hold before a change lands.
    Ready,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Bake(arguments) => commands::bake::run(&arguments),
        Command::AddModel(arguments) => commands::add_model::run(&arguments),
        Command::AddGpu(arguments) => commands::add_gpu::run(&arguments),
        Command::Ready => commands::ready::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
