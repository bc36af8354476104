//! This machine's own devices, as its drivers report them.

use std::process::Command;

/// Names of the devices that this machine has, as the catalog may know them; empty where nothing is found.
pub fn devices() -> Vec<String> {
    let nvidia = lines("nvidia-smi", &["--query-gpu=name", "--format=csv,noheader"]);
    if !nvidia.is_empty() {
        return nvidia;
    }
    let chip = lines("sysctl", &["-n", "machdep.cpu.brand_string"]);
    let memory = lines("sysctl", &["-n", "hw.memsize"]);
    match (chip.first(), memory.first().and_then(|bytes| bytes.parse::<u64>().ok())) {
        (Some(chip), Some(bytes)) if chip.starts_with("Apple") => vec![format!("{chip} {}GB", bytes >> 30)],
        _ => Vec::new(),
    }
}

/// The lines that a command prints; none if it is absent or fails.
fn lines(program: &str, arguments: &[&str]) -> Vec<String> {
    let Ok(output) = Command::new(program).args(arguments).output() else { return Vec::new() };
    if !output.status.success() {
        return Vec::new();
    }
    String::from_utf8_lossy(&output.stdout).lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect()
}
