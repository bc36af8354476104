//! `cargo xtask ready`: everything that has to hold before a change lands.

use std::{process::Command, time::Instant};

/// What a check needs on the machine.
struct Need {
    /// What it is called.
    name: &'static str,
    /// Succeeds where it is there.
    probe: &'static [&'static str],
    /// Installs it where it is not.
    install: &'static [&'static str],
}

const RUSTFMT: Need =
    Need { name: "rustfmt", probe: &["cargo", "fmt", "--version"], install: &["rustup", "component", "add", "rustfmt"] };
const CLIPPY: Need =
    Need { name: "clippy", probe: &["cargo", "clippy", "--version"], install: &["rustup", "component", "add", "clippy"] };
const WASM: Need = Need {
    name: "the wasm32-unknown-unknown target",
    // Listing succeeds without the target too, so installing is its own probe: it does nothing where it is there.
    probe: &["rustup", "target", "add", "wasm32-unknown-unknown"],
    install: &["rustup", "target", "add", "wasm32-unknown-unknown"],
};

/// One thing that has to hold.
struct Check {
    /// What it shows, in a few words.
    name: &'static str,
    /// The command.
    command: &'static [&'static str],
    /// Environment that it needs beside the caller's.
    env: &'static [(&'static str, &'static str)],
    /// What it needs on the machine.
    needs: Option<Need>,
}

impl Check {
    const fn new(name: &'static str, command: &'static [&'static str]) -> Self {
        Self { name, command, env: &[], needs: None }
    }

    const fn needs(self, need: Need) -> Self {
        Self { needs: Some(need), ..self }
    }
}

const CHECKS: &[Check] = &[
    Check::new("formatting", &["cargo", "fmt", "--all", "--check"]).needs(RUSTFMT),
    Check::new("lints", &["cargo", "clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]).needs(CLIPPY),
    Check::new("catalog is baked", &["cargo", "run", "--quiet", "--package", "xtask", "--", "bake", "--check"]),
    Check::new("core without the catalog", &["cargo", "check", "--quiet", "-p", "llm-vram-core", "--no-default-features"]),
    Check::new("core for the browser", &["cargo", "check", "--quiet", "-p", "llm-vram-core", "--target", "wasm32-unknown-unknown"])
        .needs(WASM),
    Check::new("tests", &["cargo", "test", "--workspace", "--no-fail-fast"]),
    Check::new("examples run", &["cargo", "run", "--quiet", "-p", "llm-vram-examples", "--example", "quickstart"]),
    Check::new("benches run", &["cargo", "bench", "--quiet", "-p", "llm-vram-benches", "--benches", "--", "--test"]),
    Check {
        name: "documentation",
        command: &["cargo", "doc", "--workspace", "--no-deps", "--quiet"],
        env: &[("RUSTDOCFLAGS", "-D warnings")],
        needs: None,
    },
    Check::new(
        "packages verify",
        &["cargo", "package", "--quiet", "--allow-dirty", "-p", "llm-vram-catalog", "-p", "llm-vram-core", "-p", "llm-vram-cli"],
    ),
    Check::new(
        "the main job",
        &["cargo", "run", "--release", "--quiet", "-p", "llm-vram-cli", "--", "can-i-run", "llama-3.1-8b", "--gpu", "rtx-4090"],
    ),
];

/// Installs what is missing, runs every check, names what could not run, and ends with `N passed, N failed`.
///
/// # Errors
/// If a check failed.
pub fn run() -> super::Outcome {
    let mut passed = 0;
    let mut failed = Vec::new();
    let mut not_run = Vec::new();
    for check in CHECKS {
        if let Some(need) = &check.needs
            && !provided(need)
        {
            not_run.push((check.name, need.name));
            continue;
        }
        println!("\n== {}: {}", check.name, check.command.join(" "));
        let start = Instant::now();
        if succeeds_aloud(check) {
            passed += 1;
        } else {
            failed.push(check.name);
        }
        println!("== {} took {:.1} s", check.name, start.elapsed().as_secs_f64());
    }
    println!();
    for (name, need) in &not_run {
        println!("not run: {name} ({need} is missing and could not be installed)");
    }
    for name in &failed {
        println!("failed: {name}");
    }
    println!("{passed} passed, {} failed", failed.len());
    if failed.is_empty() { Ok(()) } else { Err(format!("not ready: {}", failed.join(", "))) }
}

/// Whether a need is there, if need be after installing it.
fn provided(need: &Need) -> bool {
    if succeeds(need.probe) {
        return true;
    }
    println!("installing {}: {}", need.name, need.install.join(" "));
    succeeds(need.install) && succeeds(need.probe)
}

fn succeeds_aloud(check: &Check) -> bool {
    let mut command = Command::new(check.command[0]);
    command.args(&check.command[1..]).envs(check.env.iter().copied());
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cannot run {}: {error}", check.command[0]);
            false
        }
    }
}

fn succeeds(command: &[&str]) -> bool {
    Command::new(command[0]).args(&command[1..]).output().is_ok_and(|output| output.status.success())
}
