//! From a scenario to a scene: names looked up, files read into a model, defaults chosen.

use alloc::{format, string::String, vec::Vec};

use super::{
    answer::ModelAnswer,
    quantity::{clip, parse_device_count},
    request::{Files, Scenario},
};
use crate::{
    bounds, catalog,
    engine::{self, Engine, Memo, Scene},
    error::{Error, ErrorKind, Result},
    hardware::{Backend, Device, Hardware},
    input::{
        gguf,
        hf_config::HfConfig,
        safetensors::{self, Checkpoint, Index},
    },
    model::{Basis, Model, Warning},
    nominal::{self, NominalEngine},
    quant::{FormatFamily, WeightFormat, weight_bytes},
    units::{BitsPerWeight, Bytes},
    workload::Workload,
};

/// A scenario with everything looked up.
pub struct Question {
    /// What the model is called.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// The model; an assumed one where only a parameter count is known.
    pub model: Model,
    /// The parameter count and bits per weight, where nothing else is known.
    pub nominal: Option<(u64, BitsPerWeight)>,
    /// How its weights are stored.
    pub format: WeightFormat,
    /// The format that was asked for, where another one stands in for it.
    pub asked_format: Option<WeightFormat>,
    /// The engine.
    pub engine: &'static dyn Engine,
    /// The version asked for.
    pub version: Option<String>,
    /// Where it runs.
    pub hardware: Hardware,
    /// What it is asked to hold.
    pub workload: Workload,
    /// Share of memory left free.
    pub safety: f64,
    /// Remarks that arose so far.
    pub warnings: Vec<Warning>,
}

impl Question {
    /// Looks everything up.
    ///
    /// # Errors
    /// Unknown names with the nearest known ones, contradictions, and whatever is wrong with a file.
    pub fn resolve(scenario: &Scenario, files: &Files<'_>) -> Result<Self> {
        scenario.validate()?;
        let engine = engine::by_name(scenario.engine.as_deref().unwrap_or("llama.cpp"))?;
        let hardware = hardware(scenario)?;
        let subject = subject(scenario, files)?;
        let format = format(scenario, &subject, engine)?;
        let mut warnings = subject.model.warnings().to_vec();
        if let Some(text) = &scenario.quant
            && subject.nominal.is_some()
        {
            // A quant beside a bare count gives the bits.
            warnings.push(Warning::new("nominal_bits", format!("`{}` is taken by its nominal bits per weight", clip(text))));
        }
        Ok(Self {
            id: subject.id,
            name: subject.name,
            model: subject.model,
            nominal: subject.nominal,
            format,
            asked_format: None,
            engine,
            version: scenario.engine_version.clone(),
            hardware,
            workload: scenario.workload.clone(),
            safety: scenario.safety,
            warnings,
        })
    }

    /// What the engine is asked, with a memo of the model's own.
    #[must_use]
    pub fn scene_with<'a>(&'a self, memo: &'a Memo<'a>) -> Scene<'a> {
        Scene { memo: Some(memo), ..self.scene() }
    }

    /// What the engine is asked.
    #[must_use]
    pub fn scene(&self) -> Scene<'_> {
        Scene {
            model: &self.model,
            format: &self.format,
            workload: &self.workload,
            hardware: &self.hardware,
            version: self.version.as_deref(),
            memo: None,
        }
    }

    /// Calls `ask` with the engine that answers: the scenario's own, over nominal weights where only a count is known.
    pub fn with_engine<T>(&self, ask: impl FnOnce(&dyn Engine) -> T) -> T {
        match self.nominal {
            Some((parameters, bits)) => ask(&NominalEngine { inner: self.engine, parameters, bits }),
            None => ask(self.engine),
        }
    }

    /// What answers say of the model.
    #[must_use]
    pub fn model_answer(&self) -> ModelAnswer {
        let counts = self.model.parameters();
        let trained = self.model.hyperparameters().context_length;
        match self.nominal {
            Some((parameters, _)) => ModelAnswer {
                id: self.id.clone(),
                name: self.name.clone(),
                parameters,
                active_parameters: parameters,
                basis: Basis::Nominal,
                context_length: None,
            },
            None => ModelAnswer {
                id: self.id.clone(),
                name: self.name.clone(),
                parameters: counts.checkpoint,
                active_parameters: counts.active,
                basis: self.model.basis(),
                context_length: (trained > 0).then_some(trained),
            },
        }
    }
}

impl Question {
    /// Says what is missing where a question needs hardware.
    ///
    /// # Errors
    /// [`ErrorKind::MissingField`] without any device.
    pub fn needs_hardware(&self) -> Result<()> {
        if self.hardware.is_ideal() {
            return Err(Error::new(ErrorKind::MissingField, "no hardware is given")
                .field("hardware")
                .help("name a device, such as rtx-4090, or give an amount of memory, such as 24GiB"));
        }
        Ok(())
    }

    /// All weight tensors in the question's own format.
    ///
    /// # Errors
    /// Those of [`weight_bytes`].
    pub fn weights_bytes(&self) -> Result<Bytes> {
        self.weights_in(&self.format)
    }

    /// All weight tensors in another format.
    ///
    /// # Errors
    /// Those of [`weight_bytes`].
    pub fn weights_in(&self, format: &WeightFormat) -> Result<Bytes> {
        Ok(weight_bytes(&self.model, format)?.total)
    }

    /// What the nominal rule says of the question's format, where it has nominal bits.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] beyond 2^53 - 1 bytes.
    pub fn nominal_weights(&self) -> Result<Option<Bytes>> {
        match (self.nominal, self.format.nominal_bits()) {
            (Some((parameters, bits)), _) => bits.bytes_for(parameters).map(Some),
            (None, Some(bits)) => bits.bytes_for(self.model.parameters().checkpoint).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The formats that the engine usually loads, the best quality first.
    #[must_use]
    pub fn ladder(&self) -> Vec<WeightFormat> {
        usual_family(self.engine).ladder()
    }

    /// The weights that the stored bytes are spread over.
    #[must_use]
    pub fn stored_parameters(&self) -> u64 {
        self.nominal.map_or_else(|| self.model.parameters().total, |(parameters, _)| parameters)
    }
}

struct Subject {
    id: String,
    name: String,
    model: Model,
    nominal: Option<(u64, BitsPerWeight)>,
}

fn subject(scenario: &Scenario, files: &Files<'_>) -> Result<Subject> {
    let named = [scenario.model.is_some(), scenario.params.is_some(), !files.is_empty()];
    match named.iter().filter(|given| **given).count() {
        0 => {
            return Err(Error::new(ErrorKind::MissingField, "no model is given")
                .field("model")
                .help("name a model of the catalog, give a file, or a parameter count"));
        }
        1 => {}
        _ => {
            return Err(Error::new(ErrorKind::Contradiction, "more than one model is given")
                .field("model")
                .help("give one of: a name, a file, a parameter count"));
        }
    }
    if let Some(name) = &scenario.model {
        let entry = catalog::model(name)?;
        return Ok(Subject { id: entry.record.id.into(), name: entry.record.name.into(), model: entry.model, nominal: None });
    }
    if let Some(parameters) = scenario.params {
        let bits = nominal_bits(scenario)?;
        return Ok(Subject {
            id: format!("{parameters}-parameters"),
            name: format!("{} parameters", crate::units::grouped(parameters)),
            model: nominal::assumed_model(parameters)?,
            nominal: Some((parameters, bits)),
        });
    }
    let model = model_from_files(files)?;
    let name = model.hyperparameters().name.clone();
    let name = if name.is_empty() { String::from(model.architecture()) } else { name };
    Ok(Subject { id: name.clone(), name, model, nominal: None })
}

/// The model that a set of files describes.
///
/// # Errors
/// Whatever is wrong with the files.
pub(super) fn model_from_files(files: &Files<'_>) -> Result<Model> {
    if !files.gguf.is_empty() {
        let parts = files.gguf.iter().map(|bytes| gguf::read(bytes)).collect::<Result<Vec<_>>>()?;
        return gguf::join(parts)?.model();
    }
    let config = files.config.map(HfConfig::read).transpose()?;
    let described = config.as_ref().map(HfConfig::hyperparameters);
    match (files.safetensors_index, files.safetensors, config.as_ref()) {
        (Some(index), [], Some(config)) => Index::read(index)?.model(config.hyperparameters()),
        (Some(_), [], None) => Err(Error::new(ErrorKind::MissingField, "an index alone does not say what the model is built like")
            .field("config")
            .help("give the config.json beside it, or the safetensors files that it names")),
        (Some(index), parts, _) => {
            let parts = parts.iter().map(|(name, bytes)| Ok((*name, safetensors::read(bytes)?))).collect::<Result<Vec<_>>>()?;
            Index::read(index)?.checkpoint(&parts)?.model(described)
        }
        (None, [(_, bytes)], _) => Checkpoint::from_header(&safetensors::read(bytes)?)?.model(described),
        (None, [], Some(config)) => config.model(),
        (None, [], None) => Err(Error::new(ErrorKind::MissingField, "no file is given").field("gguf")),
        (None, _, _) => Err(Error::new(ErrorKind::MissingField, "several safetensors files are given without their index")
            .field("safetensors")
            .help("give the model.safetensors.index.json that names them")),
    }
}

fn nominal_bits(scenario: &Scenario) -> Result<BitsPerWeight> {
    if let Some(bits) = scenario.bits {
        return Ok(bits);
    }
    let format = WeightFormat::parse(scenario.quant.as_deref().unwrap_or("Q4_K_M"))?;
    format.nominal_bits().ok_or_else(|| {
        Error::new(ErrorKind::MissingField, format!("`{format}` has no nominal bits per weight"))
            .field("bits")
            .help("give bits beside params")
    })
}

fn format(scenario: &Scenario, subject: &Subject, engine: &dyn Engine) -> Result<WeightFormat> {
    let family = usual_family(engine);
    let format = match (&scenario.quant, subject.nominal) {
        (_, Some(_)) => family.plain_format(),
        (Some(text), None) => family.adapt(WeightFormat::parse(text)?),
        (None, None) if subject.model.basis() == Basis::File => WeightFormat::Stored,
        (None, None) => family.default_format(),
    };
    Ok(match format {
        WeightFormat::Gguf(target) => WeightFormat::Gguf(target.imatrix(scenario.imatrix)),
        other => other,
    })
}

/// The family that an engine loads where nobody names a format.
pub(super) fn usual_family(engine: &dyn Engine) -> FormatFamily {
    engine.families().first().copied().unwrap_or(FormatFamily::Gguf)
}

pub(super) fn hardware(scenario: &Scenario) -> Result<Hardware> {
    let mut devices = Vec::new();
    for text in &scenario.hardware {
        let (count, name) = parse_device_count(text)?;
        let record = catalog::device(name)?;
        let boards = u64::from(count) * u64::from(record.devices.max(1));
        bounds::DEVICE_COUNT.check(boards + devices.len() as u64)?;
        let device = Device::from_record(record, record.memory_gib.is_none().then_some(scenario.host_memory).flatten())?;
        if device.visible_bytes == Bytes::ZERO {
            return Err(Error::new(ErrorKind::MissingField, format!("`{}` has no memory of its own", record.id))
                .field("host_memory")
                .help("give the machine's memory, such as 64GiB"));
        }
        devices.extend((0..boards).map(|_| device.clone()));
    }
    if let Some(memory) = scenario.memory {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let bandwidth = scenario.bandwidth_gb_per_second.map(|gb| (gb * 1e9) as u64);
        devices.push(Device {
            id: String::from("device"),
            name: format!("a device with {}", memory.display(crate::units::ByteUnit::GiB)),
            backend: Backend::Cuda,
            nameplate_bytes: memory,
            visible_bytes: memory,
            visible_is_measured: true,
            unified_memory: false,
            bandwidth_bytes_per_second: bandwidth,
            compute_capability: None,
        });
    }
    Ok(Hardware { devices, host_bytes: scenario.host_memory })
}
