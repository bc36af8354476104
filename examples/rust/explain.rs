//! Every number with its formula, its inputs and its source.

use llm_vram_core::{
    Result,
    wire::{self, Files, Question, Scenario},
};

fn main() -> Result<()> {
    let scenario = Scenario { model: Some("gemma-3-27b".into()), ..Scenario::default() };
    let answer = wire::estimate(&Question::resolve(&scenario, &Files::default())?)?;
    for step in answer.derivation {
        println!("{} = {} {}\n    {}\n    {}", step.label, step.result, step.unit, step.formula, step.source);
    }
    Ok(())
}
