//! Reading the catalog's files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use super::{Catalog, Entry, Finding, records::Retired};

/// Reads every file; see [`Catalog::load`].
pub(super) fn catalog(folder: &Path) -> Result<Catalog, Vec<Finding>> {
    let mut findings = Vec::new();
    let catalog = Catalog {
        models: entries(folder, "models", 2, &mut findings),
        hardware: entries(folder, "hardware", 2, &mut findings),
        quants: entries(folder, "quants", 2, &mut findings),
        engines: entries(folder, "engines", 1, &mut findings),
        glossary: entries(folder, "glossary", 1, &mut findings),
        retired: file::<Retired>(folder, "retired.toml", &mut findings).unwrap_or_default(),
    };
    if findings.is_empty() { Ok(catalog) } else { Err(findings) }
}

/// All records of a kind: files at the given depth below their folder, in the order of their paths.
fn entries<R: DeserializeOwned>(folder: &Path, kind: &str, depth: usize, findings: &mut Vec<Finding>) -> Vec<Entry<R>> {
    let mut paths = Vec::new();
    if let Err(error) = collect(&folder.join(kind), &mut paths) {
        findings.push(Finding::new(kind, "folder", error.to_string()));
    }
    paths.sort();
    let mut entries = Vec::new();
    for path in paths {
        let relative = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        let Some(id) = relative.rsplit('/').next().and_then(|name| name.strip_suffix(".toml")) else {
            findings.push(Finding::new(relative, "file name", "a record's file ends in .toml"));
            continue;
        };
        if relative.split('/').count() != depth + 1 {
            findings.push(Finding::new(&relative, "path", format!("{kind} are {depth} folders deep")));
        }
        let id = id.to_owned();
        if let Some(record) = file(folder, &relative, findings) {
            entries.push(Entry { path: relative, id, record });
        }
    }
    entries
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, paths)? } else { paths.push(path) }
    }
    Ok(())
}

fn file<R: DeserializeOwned>(folder: &Path, relative: &str, findings: &mut Vec<Finding>) -> Option<R> {
    let text = match fs::read_to_string(folder.join(relative)) {
        Ok(text) => text,
        Err(error) => {
            findings.push(Finding::new(relative, "file", error.to_string()));
            return None;
        }
    };
    match toml::from_str(&text) {
        Ok(record) => Some(record),
        Err(error) => {
            let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
            findings.push(Finding::new(relative, format!("line {line}"), error.message().replace('\n', " ")));
            None
        }
    }
}
