//! A tokenizer of any size costs no memory: reading a header borrows it and keeps nothing of it.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

use llm_vram_core::input::gguf;
use llm_vram_tests::gguf_writer::{GgufWriter, Kv};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Strings as `Kv` lists them (GGUF value type 8).
fn header(tokens: usize) -> Vec<u8> {
    let words = |prefix: &str| (0..tokens).map(|n| Kv::Text(format!("{prefix}{n}"))).collect::<Vec<_>>();
    GgufWriter::new()
        .kv("general.architecture", Kv::Text("llama".into()))
        .kv("tokenizer.ggml.tokens", Kv::List(8, words("token")))
        .kv("tokenizer.ggml.merges", Kv::List(8, words("merge of ")))
        .tensor("token_embd.weight", &[64, 256], 0, 0)
        .bytes()
}

fn peak_bytes(bytes: &[u8]) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let header = gguf::read(bytes).expect("a header");
    assert_eq!(header.tensors().len(), 1);
    ALLOCATOR.peak_usage().saturating_sub(before)
}

#[test]
fn memory_does_not_grow_with_the_vocabulary() {
    let (small, large) = (header(10), header(150_000));
    let (few, many) = (peak_bytes(&small), peak_bytes(&large));
    println!("{} bytes of header: {few} bytes of memory; {} bytes of header: {many} bytes of memory", small.len(), large.len());
    assert_eq!(few, many);
    assert!(many < 16 << 10);
}
