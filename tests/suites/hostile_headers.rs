//! Hostile headers: what lies, contradicts itself or never ends is refused with its code, fast and in little memory.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used, clippy::cast_precision_loss)]

use std::time::Instant;

use llm_vram_core::{
    Error, Result,
    input::{
        gguf,
        safetensors::{self, Checkpoint, Index},
    },
};
use llm_vram_tests::hostile::{self, Input};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MILLISECONDS: u128 = 100;
const BYTES: usize = 32 << 20;

fn answer(input: &Input) -> Result<()> {
    match input {
        Input::GgufFile(bytes) => gguf::Header::read(bytes, Some(bytes.len() as u64)).map_err(Error::from)?.model().map(drop),
        Input::Gguf(bytes) => gguf::read(bytes)?.model().map(drop),
        Input::SafetensorsFile(bytes) => {
            let header = safetensors::Header::read(bytes, Some(bytes.len() as u64)).map_err(Error::from)?;
            Checkpoint::from_header(&header)?.model(None).map(drop)
        }
        Input::Safetensors(bytes) => Checkpoint::from_header(&safetensors::read(bytes)?)?.model(None).map(drop),
        Input::Index(text) => Index::read(text).map(drop),
    }
}

#[test]
fn every_hostile_header_is_refused_with_its_code() {
    // What is changed below is refused for the change alone.
    answer(&Input::Gguf(hostile::good().bytes())).expect("the header that the others are made from");

    let cases = hostile::cases();
    let count = cases.len();
    let (mut slowest, mut largest) = ((0, ""), (0, ""));
    let mut off = Vec::new();
    for (name, input, expected) in cases {
        let before = PeakAlloc.current_usage();
        PeakAlloc.reset_peak_usage();
        let start = Instant::now();
        let answer = answer(&input);
        let micros = start.elapsed().as_micros();
        let bytes = PeakAlloc.peak_usage().saturating_sub(before);
        slowest = slowest.max((micros, name));
        largest = largest.max((bytes, name));
        match answer {
            Err(error) if error.kind() == expected => {
                let message = error.message();
                let lower = !message.starts_with(char::is_uppercase) || message.starts_with("GGUF ");
                let form = lower && !message.ends_with('.');
                if !form || message.len() > 600 {
                    off.push(format!("{name}: message `{message}`"));
                }
            }
            Err(error) => off.push(format!("{name}: {} instead of {expected}: {error}", error.kind())),
            Ok(()) => off.push(format!("{name}: accepted")),
        }
        if micros > MILLISECONDS * 1000 || bytes > BYTES {
            off.push(format!("{name}: {micros} µs, {bytes} bytes"));
        }
    }
    println!(
        "{count} hostile headers refused; slowest {} µs ({}), largest {} bytes ({})",
        slowest.0, slowest.1, largest.0, largest.1
    );
    assert!(off.is_empty(), "{}", off.join("\n"));
    assert!(count >= 165, "{count} cases");
}
