//! The stacked memory bar: what takes how much of the devices.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};
use llm_vram_core::{ByteUnit, Bytes, wire::EstimateAnswer};
use ratatui_core::layout::{Constraint, Layout, Rect};

use super::{amount, painted};

/// One part of the bar.
struct Part {
    label: &'static str,
    bytes: Bytes,
    colour: AnsiColor,
}

/// How wide the bar is at most.
const WIDTH: u16 = 72;

/// A bar with its legend, or nothing where standard output is no terminal.
pub fn memory(answer: &EstimateAnswer, unit: ByteUnit) -> Option<String> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let cache = answer.devices.iter().map(|device| device.kv_pool_bytes.unwrap_or(device.kv_cache_bytes)).sum();
    let mut parts = vec![
        Part { label: "weights", bytes: answer.devices.iter().map(|device| device.weights_bytes).sum(), colour: AnsiColor::Blue },
        Part { label: "KV cache", bytes: cache, colour: AnsiColor::Green },
        Part {
            label: "state",
            bytes: answer.devices.iter().map(|device| device.recurrent_state_bytes).sum(),
            colour: AnsiColor::Cyan,
        },
        Part { label: "compute", bytes: answer.compute_buffer_bytes, colour: AnsiColor::Yellow },
        Part { label: "overhead", bytes: answer.overhead_bytes, colour: AnsiColor::Magenta },
    ];
    let room: Bytes = answer.devices.iter().filter_map(|device| device.usable_bytes).sum();
    let free = room.saturating_sub(answer.total_bytes);
    parts.push(Part { label: "free", bytes: free, colour: AnsiColor::BrightBlack });
    parts.retain(|part| part.bytes > Bytes::ZERO);
    let width = terminal_size::terminal_size().map_or(WIDTH, |(terminal_size::Width(width), _)| width.min(WIDTH));
    // Widths in proportion, at least one cell each: the layout solver of the terminal library does the rounding.
    let share =
        |part: &Part| u16::try_from(part.bytes.get().saturating_mul(10_000) / total(&parts).max(1)).unwrap_or(10_000).max(1);
    let cells = Layout::horizontal(parts.iter().map(|part| Constraint::Fill(share(part)))).split(Rect::new(0, 0, width, 1));
    let mut bar = String::new();
    for (part, cell) in parts.iter().zip(cells.iter()) {
        let block = if part.label == "free" { "░" } else { "█" };
        bar.push_str(&painted(&block.repeat(cell.width.max(1).into()), Style::new().fg_color(Some(part.colour.into()))));
    }
    let legend: Vec<String> = parts
        .iter()
        .map(|part| {
            format!("{} {} {}", painted("■", Style::new().fg_color(Some(part.colour.into()))), part.label, amount(part.bytes, unit))
        })
        .collect();
    Some(format!("{bar}\n{}", legend.join("  ")))
}

fn total(parts: &[Part]) -> u64 {
    parts.iter().map(|part| part.bytes.get()).sum()
}
