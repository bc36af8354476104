//! The operation `budget`: what hardware leaves for weights, and the largest models for it.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use serde::Serialize;

use super::{
    answer::{DeviceAnswer, SCHEMA},
    question::{hardware, usual_family},
    request::Scenario,
};
use crate::{
    DATA_VERSION, catalog,
    derivation::Derivation,
    engine::{self, Memo, Scene},
    error::{Error, ErrorKind, Result},
    fit::{self, Budget, BudgetTerms},
    hardware::Hardware,
    model::Model,
    quant::WeightFormat,
    units::Bytes,
};

/// A model that fits, in its best format.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelFit {
    /// Catalog id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Parameters of the language model.
    pub parameters: u64,
    /// Best weight format that fits at the asked context.
    pub best_quant: String,
    /// Weights in that format.
    pub weights_bytes: Bytes,
    /// Everything on the devices.
    pub total_bytes: Bytes,
}

/// The answer of `budget`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BudgetAnswer {
    /// The shape of this answer.
    pub schema: &'static str,
    /// The snapshot of the catalog.
    pub data_version: &'static str,
    /// The engine.
    pub engine: &'static str,
    /// Tokens per request.
    pub context: u64,
    /// Requests held at once.
    pub concurrency: u64,
    /// Share of memory left free.
    pub safety: f64,
    /// The devices, empty as they are.
    pub devices: Vec<DeviceAnswer>,
    /// The budget equation; cache and overhead are those of `model`, 0 without one.
    pub budget: Budget,
    /// The model whose cache and overhead were taken.
    pub model: Option<String>,
    /// Models of the catalog that fit, the largest first.
    pub models: Vec<ModelFit>,
}

/// How many models are listed.
const LISTED: usize = 20;

/// What hardware leaves for weights, and the largest models of the catalog that fit it.
///
/// # Errors
/// [`ErrorKind::MissingField`] without hardware, unknown names, and those of the engine.
pub fn budget(scenario: &Scenario) -> Result<BudgetAnswer> {
    scenario.validate()?;
    let engine = engine::by_name(scenario.engine.as_deref().unwrap_or("llama.cpp"))?;
    let family = usual_family(engine);
    let ladder = family.ladder();
    let hardware = hardware(scenario)?;
    if hardware.is_ideal() {
        return Err(Error::new(ErrorKind::MissingField, "no hardware is given")
            .field("hardware")
            .help("name a device, such as rtx-4090, or give an amount of memory, such as 24GiB"));
    }
    let mut budget = fit::weights_budget(BudgetTerms {
        total_vram: hardware.visible_bytes(),
        safety: scenario.safety,
        kv_cache_per_request: Bytes::ZERO,
        concurrency: 1,
        framework_overhead: Bytes::ZERO,
    })?;
    if let Some(name) = &scenario.model {
        let entry = catalog::model(name)?;
        let format = family.default_format();
        budget =
            fit::fit(engine, &scene(scenario, &hardware, &entry.model, &format), scenario.safety, &mut Derivation::off())?.budget;
    }
    let mut models = Vec::new();
    for record in llm_vram_catalog::models() {
        let model = Model::new(catalog::hyperparameters(record))?;
        let usual = family.default_format();
        let memo = Memo::new(&model);
        let Some(format) = fit::best_quant(
            engine,
            &Scene { memo: Some(&memo), ..scene(scenario, &hardware, &model, &usual) },
            &ladder,
            scenario.safety,
        )?
        else {
            continue;
        };
        let scene = Scene { memo: Some(&memo), ..scene(scenario, &hardware, &model, &format) };
        let memory = engine.memory(&scene, &mut Derivation::off())?.bounded()?;
        models.push(ModelFit {
            id: record.id,
            name: record.name,
            parameters: model.parameters().checkpoint,
            best_quant: format.to_string(),
            weights_bytes: memory.weights,
            total_bytes: memory.devices.iter().map(|device| device.used().expected).sum(),
        });
    }
    models.sort_by_key(|model| core::cmp::Reverse((model.parameters, model.id)));
    models.truncate(LISTED);
    Ok(BudgetAnswer {
        schema: SCHEMA,
        data_version: DATA_VERSION,
        engine: engine.name(),
        context: scenario.workload.context,
        concurrency: scenario.workload.concurrency,
        safety: scenario.safety,
        devices: hardware.devices.iter().map(DeviceAnswer::empty).collect(),
        budget,
        model: scenario.model.clone(),
        models,
    })
}

fn scene<'a>(scenario: &'a Scenario, hardware: &'a Hardware, model: &'a Model, format: &'a WeightFormat) -> Scene<'a> {
    Scene { model, format, workload: &scenario.workload, hardware, version: scenario.engine_version.as_deref(), memo: None }
}
