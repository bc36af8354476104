//! Programs that show how to use llm-vram; each is run with `cargo run -p llm-vram-examples --example NAME`.
