//! `cargo xtask ready`: everything that has to hold before a change lands.

use std::{process::Command, time::Instant};

/// One thing that has to hold.
struct Check {
    /// What it shows, in a few words.
    name: &'static str,
    /// The command.
    command: &'static [&'static str],
    /// Environment that it needs beside the caller's.
    env: &'static [(&'static str, &'static str)],
    /// A command that must succeed for the check to be possible, and what to install where it does not.
    needs: Option<(&'static [&'static str], &'static str)>,
}

const CHECKS: &[Check] = &[
    Check {
        name: "formatting",
        command: &["cargo", "fmt", "--all", "--check"],
        env: &[],
        needs: Some((&["cargo", "fmt", "--version"], "rustup component add rustfmt")),
    },
    Check {
        name: "lints",
        command: &["cargo", "clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"],
        env: &[],
        needs: Some((&["cargo", "clippy", "--version"], "rustup component add clippy")),
    },
    Check { name: "catalog is baked", command: &["cargo", "xtask", "bake", "--check"], env: &[], needs: None },
    Check {
        name: "core without the catalog",
        command: &["cargo", "check", "--quiet", "-p", "llm-vram-core", "--no-default-features"],
        env: &[],
        needs: None,
    },
    Check {
        name: "core for the browser",
        command: &["cargo", "check", "--quiet", "-p", "llm-vram-core", "--target", "wasm32-unknown-unknown"],
        env: &[],
        needs: Some((&["rustup", "target", "add", "wasm32-unknown-unknown"], "rustup and its wasm32-unknown-unknown target")),
    },
    Check { name: "tests", command: &["cargo", "test", "--workspace", "--no-fail-fast"], env: &[], needs: None },
    Check {
        name: "examples run",
        command: &["cargo", "run", "--quiet", "-p", "llm-vram-examples", "--example", "quickstart"],
        env: &[],
        needs: None,
    },
    Check { name: "benches run", command: &["cargo", "bench", "--workspace", "--quiet", "--", "--test"], env: &[], needs: None },
    Check {
        name: "documentation",
        command: &["cargo", "doc", "--workspace", "--no-deps", "--quiet"],
        env: &[("RUSTDOCFLAGS", "-D warnings")],
        needs: None,
    },
    Check {
        name: "packages verify",
        command: &[
            "cargo",
            "package",
            "--quiet",
            "--allow-dirty",
            "-p",
            "llm-vram-catalog",
            "-p",
            "llm-vram-core",
            "-p",
            "llm-vram-cli",
        ],
        env: &[],
        needs: None,
    },
];

/// Runs every check, names what could not run, and ends with `N passed, N failed`.
///
/// # Errors
/// If a check failed.
pub fn run() -> Result<(), String> {
    let mut passed = 0;
    let mut failed = Vec::new();
    let mut skipped = Vec::new();
    for check in CHECKS {
        if let Some((probe, install)) = check.needs
            && !succeeds(probe)
        {
            skipped.push((check.name, install));
            continue;
        }
        println!("\n== {}: {}", check.name, check.command.join(" "));
        let start = Instant::now();
        let mut command = Command::new(check.command[0]);
        command.args(&check.command[1..]).envs(check.env.iter().copied());
        match command.status() {
            Ok(status) if status.success() => passed += 1,
            Ok(_) => failed.push(check.name),
            Err(error) => {
                eprintln!("cannot run {}: {error}", check.command[0]);
                failed.push(check.name);
            }
        }
        println!("== {} took {:.1} s", check.name, start.elapsed().as_secs_f64());
    }
    println!();
    for (name, install) in &skipped {
        println!("not run: {name} (needs: {install})");
    }
    for name in &failed {
        println!("failed: {name}");
    }
    println!("{passed} passed, {} failed", failed.len());
    if failed.is_empty() { Ok(()) } else { Err(format!("not ready: {}", failed.join(", "))) }
}

fn succeeds(command: &[&str]) -> bool {
    Command::new(command[0]).args(&command[1..]).output().is_ok_and(|output| output.status.success())
}
