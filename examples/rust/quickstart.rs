//! Does Llama 3.1 8B run on an RTX 4090, and what takes how much?

use llm_vram_core::{
    ByteUnit, Result,
    wire::{self, Files, Question, Scenario},
    workload::Workload,
};

fn main() -> Result<()> {
    let scenario = Scenario {
        model: Some("llama-3.1-8b".into()),
        quant: Some("Q4_K_M".into()),
        hardware: vec!["rtx-4090".into()],
        workload: Workload::new(32_768),
        ..Scenario::default()
    };
    let answer = wire::fit(&Question::resolve(&scenario, &Files::default())?)?;
    let estimate = &answer.estimate;
    for (part, bytes) in [
        ("weights", estimate.weights_bytes),
        ("KV cache", estimate.kv_cache_bytes),
        ("compute buffer", estimate.compute_buffer_bytes),
        ("overhead", estimate.overhead_bytes),
        ("on the device", estimate.total_bytes),
    ] {
        println!("{part:15} {:>10}", bytes.display(ByteUnit::GiB).to_string());
    }
    println!("verdict: {}", answer.verdict.code());
    Ok(())
}
