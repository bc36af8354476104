//! `inspect`: what a file says.

use llm_vram_core::{
    Result,
    wire::{self, InspectAnswer},
};

use super::{estimate::grouped, print_json};
use crate::{
    args::InspectArgs,
    files::Contents,
    output::{self, amount, bold, line, table},
};

/// Prints architecture, tensors by type, exact bytes.
pub fn run(args: &InspectArgs) -> Result<()> {
    let mut contents = Contents::default();
    contents.add_any(&args.file)?;
    let (mut gguf, mut safetensors) = (Vec::new(), Vec::new());
    let answer = wire::inspect(&contents.lend(&mut gguf, &mut safetensors), args.tensors)?;
    if args.print.json {
        return print_json(&answer);
    }
    summary(&answer, args)?;
    if args.tensors {
        let columns = [
            table::Column("tensor", false),
            table::Column("shape", false),
            table::Column("type", false),
            table::Column("bytes", true),
        ];
        let rows = answer.tensors.iter().map(|tensor| {
            let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
            vec![
                tensor.name.clone(),
                shape.join(" × "),
                tensor.stored_type.clone().unwrap_or_default(),
                tensor.bytes.map_or_else(String::new, |bytes| grouped(bytes.get())),
            ]
        });
        line(&format!("\n{}", table::table(&columns, rows)))?;
    }
    for warning in &answer.warnings {
        use anstream::eprintln;
        eprintln!("note[{}]: {}", warning.code, warning.message);
    }
    Ok(())
}

fn summary(answer: &InspectAnswer, args: &InspectArgs) -> Result<()> {
    let unit = output::unit(args.print.units);
    let hp = &answer.hyperparameters;
    line(&format!(
        "{} · architecture {}",
        bold(if answer.name.is_empty() { "(no name)" } else { &answer.name }),
        answer.architecture
    ))?;
    let counts = &answer.parameters;
    let mut facts = vec![
        vec!["parameters".to_owned(), grouped(counts.total)],
        vec!["active per token".to_owned(), grouped(counts.active)],
        vec!["layers".to_owned(), grouped(hp.block_count.into())],
        vec!["hidden size".to_owned(), grouped(hp.embedding_length.into())],
        vec!["vocabulary".to_owned(), grouped(hp.vocab_size.into())],
        vec!["trained context".to_owned(), grouped(hp.context_length)],
        vec!["tensors".to_owned(), grouped(answer.tensor_count)],
    ];
    if let Some(bytes) = answer.tensor_bytes {
        facts.push(vec!["tensor bytes".to_owned(), format!("{} ({})", grouped(bytes.get()), amount(bytes, unit))]);
    }
    let blocks = &answer.blocks;
    for (label, count) in [
        ("full-attention layers", blocks.full_attention),
        ("windowed layers", blocks.windowed_attention),
        ("latent-attention layers", blocks.latent_attention),
        ("layers with a shared cache", blocks.shared_cache),
        ("recurrent layers", blocks.recurrent),
        ("dense feed-forward layers", blocks.dense),
        ("expert layers", blocks.experts),
        ("multi-token-prediction layers", blocks.mtp),
    ] {
        if count > 0 {
            facts.push(vec![label.to_owned(), grouped(count.into())]);
        }
    }
    line(&table::table(&[table::Column("", false), table::Column("", true)], facts))?;
    if !answer.types.is_empty() {
        let columns = [
            table::Column("type", false),
            table::Column("tensors", true),
            table::Column("weights", true),
            table::Column("size", true),
        ];
        let rows = answer
            .types
            .iter()
            .map(|(name, count)| vec![name.clone(), grouped(count.tensors), grouped(count.elements), amount(count.bytes, unit)]);
        line(&format!("\n{}", table::table(&columns, rows)))?;
    }
    Ok(())
}
