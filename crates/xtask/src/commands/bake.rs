//! `cargo xtask bake`: from the catalog's files to `catalog/baked.rs`, `catalog/catalog.json` and `catalog/COMPLETENESS.md`.

use std::{fs, path::Path};

use clap::Args;

use super::Outcome;
use crate::{
    catalog::{self, Catalog, Finding},
    workspace_root,
};

/// Options of the command.
#[derive(Args)]
pub struct Arguments {
    /// Write nothing; fail if the written form is not that of the files.
    #[arg(long)]
    check: bool,
}

/// Runs the command.
///
/// # Errors
/// Every broken rule with its file, field and reason; files that cannot be read or written; with
/// `--check`, written files that differ.
pub fn run(arguments: &Arguments) -> Outcome {
    let folder = workspace_root().join("catalog");
    let catalog = Catalog::load(&folder).map_err(|findings| listed(&findings))?;
    let findings = catalog::rules::check(&catalog);
    if !findings.is_empty() {
        return Err(listed(&findings));
    }
    for (name, text) in catalog.baked().map_err(|findings| listed(&findings))? {
        let path = folder.join(name);
        if arguments.check { compare(&path, &text)? } else { write(&path, &text)? }
    }
    println!("{}", catalog.summary());
    Ok(())
}

fn listed(findings: &[Finding]) -> String {
    let mut text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    text.push_str(&format!("{} problems in the catalog; nothing was written", findings.len()));
    text
}

fn compare(path: &Path, text: &str) -> Outcome {
    let written = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if written == text {
        return Ok(());
    }
    Err(format!("{} is not what the catalog's files say: run `cargo xtask bake`", path.display()))
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("wrote {} ({} bytes)", path.display(), text.len());
    Ok(())
}
