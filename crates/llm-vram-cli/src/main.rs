//! The `llm-vram` command.

fn main() {}
