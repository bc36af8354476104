//! Which models of the catalog run on a machine.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use llm_vram_catalog::ModelRecord;
use serde::Serialize;

use super::super::{
    question::{hardware, usual_family},
    request::Scenario,
};
use crate::{
    catalog,
    derivation::Derivation,
    engine::{self, Engine, Memo, Scene},
    error::{Error, ErrorKind, Result},
    fit,
    hardware::Hardware,
    model::Model,
    quant::WeightFormat,
    units::Bytes,
};

/// A model that runs on the machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FitRow {
    /// Catalog id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Parameters, towers and multi-token-prediction blocks included.
    pub parameters: u64,
    /// Parameters of one token.
    pub active_parameters: Option<u64>,
    /// The best weight format that fits at the asked context.
    pub best_quant: String,
    /// Weights in that format.
    pub weights_bytes: Bytes,
    /// Everything on the devices at the asked context.
    pub total_bytes: Bytes,
    /// The largest context per request that fits with that format.
    pub max_context: u64,
    /// Trained context length in tokens.
    pub context_length: u64,
}

/// The models of the catalog that run on a machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FitTable {
    /// The engine.
    pub engine: &'static str,
    /// Tokens per request.
    pub context: u64,
    /// Requests held at once.
    pub concurrency: u64,
    /// Share of memory left free.
    pub safety: f64,
    /// Models in the catalog.
    pub models_in_catalog: usize,
    /// Those that fit, the largest first.
    pub models: Vec<FitRow>,
}

/// A machine, and what every model on it is asked to hold.
pub(super) struct Machine<'a> {
    scenario: &'a Scenario,
    engine: &'static dyn Engine,
    hardware: Hardware,
    ladder: Vec<WeightFormat>,
    usual: WeightFormat,
}

impl<'a> Machine<'a> {
    /// Looks engine and hardware up.
    ///
    /// # Errors
    /// Unknown names, and [`ErrorKind::EngineRefuses`] for an engine that does not run there.
    pub(super) fn new(scenario: &'a Scenario) -> Result<Self> {
        scenario.validate()?;
        let engine = engine::by_name(scenario.engine.as_deref().unwrap_or("llama.cpp"))?;
        engine.version_for(scenario.engine_version.as_deref())?;
        let hardware = hardware(scenario)?;
        if let Some(device) = hardware.devices.iter().find(|device| !engine.backends().contains(&device.backend)) {
            return Err(Error::new(ErrorKind::EngineRefuses, format!("{} does not run on `{}`", engine.name(), device.id))
                .field("engine")
                .help("name another engine, such as llama.cpp"));
        }
        let family = usual_family(engine);
        Ok(Self { scenario, engine, hardware, ladder: family.ladder(), usual: family.default_format() })
    }

    /// How a model of the catalog runs there; `None` if it does not.
    ///
    /// # Errors
    /// None for a catalog that passes its own checks.
    pub(super) fn runs(&self, record: &'static ModelRecord) -> Result<Option<FitRow>> {
        let model = Model::new(catalog::hyperparameters(record))?;
        // One model is asked for several formats and a dozen lengths: what does not depend on them is worked out once.
        let memo = Memo::new(&model);
        let scene = Scene {
            model: &model,
            format: &self.usual,
            workload: &self.scenario.workload,
            hardware: &self.hardware,
            version: self.scenario.engine_version.as_deref(),
            memo: Some(&memo),
        };
        let safety = self.scenario.safety;
        let Some(format) = fit::best_quant(self.engine, &scene, &self.ladder, safety)? else { return Ok(None) };
        let scene = Scene { format: &format, ..scene };
        let memory = self.engine.memory(&scene, &mut Derivation::off())?;
        let Some(max_context) = fit::max_context(self.engine, &scene, safety)? else { return Ok(None) };
        Ok(Some(FitRow {
            id: record.id,
            name: record.name,
            parameters: record.parameters.total,
            active_parameters: record.parameters.active,
            best_quant: format.to_string(),
            weights_bytes: memory.weights,
            total_bytes: memory.devices.iter().map(|device| device.used().expected).sum(),
            max_context,
            context_length: record.architecture.context_length,
        }))
    }

    /// All models that run there, the largest first.
    ///
    /// # Errors
    /// None for a catalog that passes its own checks.
    pub(super) fn table(&self) -> Result<FitTable> {
        let records = llm_vram_catalog::models();
        let mut models = Vec::new();
        for record in records {
            models.extend(self.runs(record)?);
        }
        models.sort_by_key(|model| (core::cmp::Reverse(model.parameters), model.id));
        Ok(FitTable {
            engine: self.engine.name(),
            context: self.scenario.workload.context,
            concurrency: self.scenario.workload.concurrency,
            safety: self.scenario.safety,
            models_in_catalog: records.len(),
            models,
        })
    }
}
