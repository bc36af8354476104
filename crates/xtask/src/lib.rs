//! What developer commands do; the command line in front of it is `main.rs`.

pub mod catalog;
pub mod commands;

use std::path::{Path, PathBuf};

/// The folder that holds the workspace's manifest.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}
