//! `cargo xtask add-model config.json`: a model's record from its configuration.

use std::{fs, path::PathBuf};

use clap::Args;
use llm_vram_core::input::hf_config::HfConfig;

use super::Outcome;
use crate::{
    catalog::{
        literal::embedded_names,
        page::{self, Page},
        rules,
    },
    workspace_root,
};

/// Options of the command.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The model's config.json.
    pub config: PathBuf,
    /// The repository on Hugging Face, for example `meta-llama/Llama-3.1-8B-Instruct`.
    #[arg(long)]
    pub hf_id: String,
    /// The name, for people.
    #[arg(long)]
    pub name: String,
    /// Who made it, for people; the folder is this name in lower case.
    #[arg(long)]
    pub maker: String,
    /// The family that it is listed in.
    #[arg(long)]
    pub family: String,
    /// The licence, as the publisher names it.
    #[arg(long)]
    pub licence: String,
    /// The month of release, `YYYY-MM`.
    #[arg(long)]
    pub release: Option<String>,
    /// The tag in Ollama's library.
    #[arg(long)]
    pub ollama_tag: Option<String>,
    /// The id; by default the name in lower case.
    #[arg(long)]
    pub id: Option<String>,
    /// The parameter count that the repository lists.
    #[arg(long)]
    pub published: Option<u64>,
    /// The day on which the repository was read, `YYYY-MM-DD`.
    #[arg(long)]
    pub date: String,
}

/// Runs the command.
///
/// # Errors
/// If the configuration cannot be read or understood, or the record exists already.
pub fn run(arguments: &Arguments) -> Outcome {
    let config = fs::read_to_string(&arguments.config).map_err(|error| format!("{}: {error}", arguments.config.display()))?;
    let (path, text, remarks) = record(&config, arguments)?;
    for remark in remarks {
        println!("note: {remark}");
    }
    println!("{}", page::add(&workspace_root().join("catalog"), &path, &text)?);
    Ok(())
}

/// Path and text of the record that a configuration gives, and what was assumed.
///
/// # Errors
/// If the configuration cannot be understood.
pub fn record(config: &str, arguments: &Arguments) -> Result<(String, String, Vec<String>), String> {
    let config = HfConfig::read(config).map_err(|error| error.to_string())?;
    let model = config.model().map_err(|error| error.to_string())?;
    let counts = model.parameters();
    let mtp = config.model_with_prediction().map_or(0, |model| model.parameters().mtp);
    let total = counts.checkpoint + counts.tower + mtp;
    let mut remarks: Vec<String> = model.warnings().iter().map(|warning| warning.message.clone()).collect();
    if let Some(published) = arguments.published.filter(|&published| published != total) {
        remarks.push(format!("the repository lists {published} parameters, the configuration gives {total}"));
    }

    let mut page = Page::default();
    page.field("name", &arguments.name);
    page.field("maker", &arguments.maker);
    page.field("family", &arguments.family);
    page.field("release", &arguments.release);
    page.field("licence", &arguments.licence);
    page.field("hf_id", &arguments.hf_id);
    page.field("ollama_tag", &arguments.ollama_tag);
    page.field("modalities", if counts.tower > 0 { &["text", "image"][..] } else { &["text"] });
    page.field("class", rules::class_of(total));
    page.field("formats", ["safetensors"]);
    page.field("mtp_layers", Some(config.prediction_layers()).filter(|_| mtp > 0));
    page.table("[parameters]");
    page.field("total", total);
    page.field("text", counts.checkpoint);
    page.field("active", counts.active.min(counts.checkpoint));
    page.field("tower", Some(counts.tower).filter(|&count| count > 0));
    page.field("mtp", Some(mtp).filter(|&count| count > 0));
    page.field("published", arguments.published);
    page.field("check", "exact");

    let description = config.hyperparameters();
    let (fields, facts) = embedded_names();
    let stated = serde_json::to_value(description).map_err(|error| error.to_string())?;
    let empty = serde_json::to_value(llm_vram_core::model::Hyperparameters::default()).map_err(|error| error.to_string())?;
    page.table("[architecture]");
    for field in fields.iter().filter(|field| stated[**field] != empty[**field]) {
        page.field(field, &stated[*field]);
    }
    let facts: Vec<_> = facts.iter().filter(|fact| stated["facts"][**fact] != empty["facts"][**fact]).collect();
    if !facts.is_empty() {
        page.table("[architecture.facts]");
        for fact in facts {
            page.field(fact, &stated["facts"][*fact]);
        }
    }
    let url = format!("https://huggingface.co/{}", arguments.hf_id);
    page.source(&url, &arguments.date, &["name", "hf_id", "licence", "parameters", "architecture"]);

    let id = arguments.id.clone().unwrap_or_else(|| page::id_of(&arguments.name));
    Ok((format!("models/{}/{id}.toml", page::id_of(&arguments.maker)), page.into_text(), remarks))
}
