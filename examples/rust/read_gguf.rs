//! What a GGUF file on disk needs: only its header is read.

use std::{env, error::Error, fs::File, io::Read};

use llm_vram_core::{
    ByteUnit,
    wire::{self, Files, Question, Scenario},
};

fn main() -> Result<(), Box<dyn Error>> {
    let Some(path) = env::args().nth(1) else {
        println!("usage: read_gguf FILE.gguf");
        return Ok(());
    };
    // 64 MiB hold the header of any published model; a caller that streams can ask for more (`ReadError::NeedMoreBytes`).
    let mut header = Vec::new();
    File::open(path)?.take(64 << 20).read_to_end(&mut header)?;
    let files = Files { gguf: &[&header], ..Files::default() };
    let answer = wire::estimate(&Question::resolve(&Scenario::default(), &files)?)?;
    println!("{}: {} on devices", answer.model.name, answer.total_bytes.display(ByteUnit::GB));
    Ok(())
}
