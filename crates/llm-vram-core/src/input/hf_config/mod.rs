//! Hugging Face `config.json`: from a model's configuration to its [`Hyperparameters`].
//!
//! The converters of llama.cpp define the way: what they write into a GGUF file follows from the config
//! alone, so the same model described by either gives the same blocks and tensors.

mod defaults;
mod experts;
mod fields;
mod hybrid;
mod json;
mod latent;
mod plain;
mod published;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
mod tower;
mod unknown;
mod windowed;

use alloc::{format, string::String, vec::Vec};

use fields::Fields;

use crate::{
    error::{Error, ErrorKind, Result},
    model::{Hyperparameters, Model, PerLayer, Tensor, Warning, WindowPattern},
    quant::WeightFormat,
};

/// A configuration that has been read.
///
/// ```
/// use llm_vram_core::input::hf_config::HfConfig;
/// let config = HfConfig::read(
///     r#"{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
///         "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
///         "rope_scaling": {"rope_type": "llama3"}}"#,
/// )?;
/// assert_eq!(config.hyperparameters().architecture, "llama");
/// assert_eq!(config.model()?.parameters().checkpoint, 8_030_261_248);
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct HfConfig {
    model_type: String,
    hyperparameters: Hyperparameters,
    prediction_layers: u32,
    checkpoint_only: u64,
    tower: Vec<Tensor>,
    dtype: Option<String>,
    published_format: Option<WeightFormat>,
    warnings: Vec<Warning>,
}

type Reader = fn(&Fields<'_>, &str) -> Result<Hyperparameters>;

/// The model types of decoders, the architecture that converters call them, and who reads them.
const READERS: &[(&[&str], &str, Reader)] = &[
    (&["llama", "yi", "vicuna", "aquila"], "llama", plain::llama),
    (&["mistral"], "llama", plain::mistral),
    (&["ministral", "ministral3"], "mistral3", plain::mistral),
    (&["mixtral"], "llama", experts::mixtral),
    (&["qwen2", "mimo"], "qwen2", plain::qwen2),
    (&["qwen2_vl_text", "qwen2_5_vl_text"], "qwen2vl", plain::qwen2),
    (&["qwen2_moe"], "qwen2moe", experts::qwen2_moe),
    (&["qwen3"], "qwen3", plain::qwen3),
    (&["qwen3_vl_text"], "qwen3vl", plain::qwen3),
    (&["qwen3_moe"], "qwen3moe", experts::qwen3_moe),
    (&["qwen3_vl_moe_text"], "qwen3vlmoe", experts::qwen3_moe),
    (&["qwen3_next"], "qwen3next", hybrid::delta_net),
    (&["qwen3_5_text"], "qwen35", hybrid::delta_net),
    (&["qwen3_5_moe_text"], "qwen35moe", hybrid::delta_net),
    (&["gemma"], "gemma", plain::gemma),
    (&["gemma2"], "gemma2", plain::gemma),
    (&["gemma3_text"], "gemma3", plain::gemma),
    (&["gemma3n_text"], "gemma3n", plain::gemma3n),
    (&["gemma4_text"], "gemma4", plain::gemma4),
    (&["phi"], "phi2", plain::phi2),
    (&["phi3"], "phi3", plain::phi3),
    (&["phimoe"], "phimoe", experts::phimoe),
    (&["starcoder2"], "starcoder2", plain::starcoder2),
    (&["stablelm"], "stablelm", plain::stablelm),
    (&["internlm2"], "internlm2", plain::internlm2),
    (&["cohere"], "command-r", plain::cohere),
    (&["cohere2"], "cohere2", plain::cohere),
    (&["olmo2", "olmo3"], "olmo2", plain::olmo2),
    (&["olmoe"], "olmoe", experts::olmoe),
    (&["olmo_hybrid"], "olmo_hybrid", hybrid::olmo_hybrid),
    (&["glm4"], "glm4", plain::qkv_bias),
    (&["glm4_moe"], "glm4moe", experts::glm4_moe),
    (&["glm4_moe_lite"], "deepseek2", latent::deepseek),
    (&["glm_moe_dsa"], "glm-dsa", latent::indexed),
    (&["granite"], "granite", plain::llama),
    (&["granitemoe", "granitemoeshared"], "granitemoe", experts::granite_moe),
    (&["granitemoehybrid"], "granitehybrid", hybrid::granite_hybrid),
    (&["exaone"], "exaone", plain::llama),
    (&["exaone4"], "exaone4", plain::exaone4),
    (&["exaone_moe"], "exaone-moe", experts::windowed_shared_experts),
    (&["smollm3"], "smollm3", plain::llama),
    (&["seed_oss"], "seed_oss", plain::qkv_bias),
    (&["ernie4_5"], "ernie4_5", plain::llama),
    (&["ernie4_5_moe"], "ernie4_5-moe", experts::ernie_moe),
    (&["hunyuan_v1_dense"], "hunyuan-dense", plain::llama),
    (&["hunyuan_v1_moe"], "hunyuan-moe", experts::hunyuan_moe),
    (&["hy_v3"], "hy_v3", experts::shared_experts),
    (&["apertus"], "apertus", plain::llama),
    (&["arcee"], "arcee", plain::llama),
    (&["nemotron"], "nemotron", plain::llama),
    (&["nemotron_h"], "nemotron_h", hybrid::nemotron_h),
    (&["bitnet"], "bitnet", plain::llama),
    (&["gpt_oss"], "gpt-oss", experts::gpt_oss),
    (&["llama4_text"], "llama4", experts::llama4),
    (&["minimax", "minimax_text_01", "MiniMaxText01"], "minimax-01", hybrid::minimax_01),
    (&["minimax_m2"], "minimax-m2", experts::minimax_m2),
    (&["deepseek_v2", "deepseek_v3", "kimi_k2"], "deepseek2", latent::deepseek),
    (&["deepseek_v32"], "deepseek32", latent::indexed),
    (&["mistral4"], "mistral4", latent::deepseek),
    (&["kimi_linear"], "kimi-linear", hybrid::kimi_linear),
    (&["jamba"], "jamba", hybrid::jamba),
    (&["falcon"], "falcon", plain::falcon),
    (&["falcon_h1"], "falcon-h1", hybrid::falcon_h1),
    (&["mamba", "falcon_mamba"], "mamba", hybrid::mamba),
    (&["mimo_v2_flash", "mimo_v2"], "mimo2", windowed::mimo2),
    (&["step3p5", "step3p7"], "step35", windowed::step35),
    (&["nemotron-nas", "deci"], "deci", windowed::deci),
    (&["mamba2"], "mamba2", hybrid::mamba2),
    (&["lfm2"], "lfm2", hybrid::lfm2),
    (&["lfm2_moe"], "lfm2moe", hybrid::lfm2),
    (&["afmoe"], "afmoe", experts::windowed_shared_experts),
    (&["dots1"], "dots1", experts::shared_experts),
    (&["laguna"], "laguna", experts::laguna),
    (&["bailing_moe_v2", "bailing_moe"], "bailingmoe2", experts::shared_experts),
];

/// Wrappers of a language model and a tower: the wrapper's type and the type of its language part where
/// that part does not name its own.
const WRAPPERS: &[(&str, &str)] = &[
    ("gemma3", "gemma3_text"),
    ("gemma3n", "gemma3n_text"),
    ("gemma4", "gemma4_text"),
    ("gemma4_unified", "gemma4_text"),
    ("llama4", "llama4_text"),
    ("mistral3", "mistral"),
    ("qwen2_vl", "qwen2_vl_text"),
    ("qwen2_5_vl", "qwen2_5_vl_text"),
    ("qwen3_vl", "qwen3_vl_text"),
    ("qwen3_vl_moe", "qwen3_vl_moe_text"),
    ("qwen3_5", "qwen3_5_text"),
    ("qwen3_5_moe", "qwen3_5_moe_text"),
    ("step3p7", "step3p5"),
    ("kimi_k25", "kimi_k2"),
    ("kimi_vl", "deepseek_v3"),
    ("llava", "llama"),
    ("internvl", "qwen2"),
    ("internvl_chat", "qwen2"),
];

impl HfConfig {
    /// Reads a `config.json`.
    ///
    /// Absent fields take the default of the model's class in transformers 5.23; a warning
    /// (`class_default`) names those among them that decide the size. A type that is not known gives a
    /// bound with the warning `unknown_architecture`.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`], [`ErrorKind::Truncated`] and [`ErrorKind::LimitExceeded`] for text that is
    /// no JSON object or too large, [`ErrorKind::Contradiction`] for a key that stands twice or lists that do
    /// not fit the number of layers, [`ErrorKind::InvalidValue`] and [`ErrorKind::OutOfRange`] for fields,
    /// by their path, [`ErrorKind::MissingField`] where neither file nor class gives a needed one.
    pub fn read(json: &str) -> Result<Self> {
        let object = json::parse(json)?;
        let wrapper = Fields::new(&object, String::new(), String::new());
        let model_type = match wrapper.text("model_type")? {
            Some(model_type) if !model_type.is_empty() => model_type,
            _ => return Err(no_model_type()),
        };
        let wrapper = Fields::new(&object, String::new(), String::from(model_type));
        let text_type = WRAPPERS.iter().find(|(name, _)| *name == model_type).map_or(model_type, |(_, text)| *text);
        let text = match wrapper.nested("text_config", text_type)? {
            Some(text) => text,
            None => match wrapper.nested("llm_config", text_type)? {
                Some(text) => text,
                None => Fields::new(&object, String::new(), String::from(text_type)),
            },
        };
        let mut warnings = Vec::new();
        let reader = READERS.iter().find(|(types, _, _)| types.contains(&text.model_type()));
        let mut hyperparameters = match reader {
            Some((_, architecture, reader)) => {
                warnings.extend(class_defaults(&text));
                reader(&text, architecture)?
            }
            None => {
                let (hyperparameters, warning) = unknown::bound(&text)?;
                warnings.push(warning);
                hyperparameters
            }
        };
        hyperparameters.model_type = String::from(text.model_type());
        // The wrapper's word on tying wins over that of its language part.
        if wrapper.states("tie_word_embeddings") {
            hyperparameters.facts.tied = wrapper.flag("tie_word_embeddings")?;
        }
        hyperparameters.validate()?;
        let tower = Self::tower(&wrapper, &hyperparameters, &mut warnings)?;
        let prediction_layers = match text.maybe("num_nextn_predict_layers")? {
            Some(layers) => layers,
            None => text.number_or("mtp_num_hidden_layers", 0)?,
        };
        let own_or_outer = |key: &str| text.text(key).and_then(|own| own.map_or_else(|| wrapper.text(key), |own| Ok(Some(own))));
        let dtype = match own_or_outer("dtype")? {
            Some(dtype) => Some(dtype),
            None => own_or_outer("torch_dtype")?,
        };
        let quantisation = match wrapper.nested("quantization_config", "")? {
            Some(quantisation) => Some(quantisation),
            None => text.nested("quantization_config", "")?,
        };
        let mlx = wrapper.nested("quantization", "")?;
        Ok(Self {
            model_type: String::from(model_type),
            prediction_layers: crate::bounds::NEXTN_PREDICT_LAYERS.check_u32(prediction_layers.into())?,
            checkpoint_only: checkpoint_only(&text, &hyperparameters)?,
            hyperparameters,
            tower,
            dtype: dtype.map(String::from),
            published_format: published::read(quantisation.as_ref(), mlx.as_ref(), dtype)?,
            warnings,
        })
    }

    fn tower(wrapper: &Fields<'_>, text: &Hyperparameters, warnings: &mut Vec<Warning>) -> Result<Vec<Tensor>> {
        let vision_type = match wrapper.model_type() {
            "gemma3" => String::from("siglip_vision_model"),
            "mistral3" => String::from("pixtral"),
            "llama4" => String::from("llama4_vision_model"),
            other => format!("{other}_vision"),
        };
        let vision = wrapper.nested("vision_config", &vision_type)?;
        let mut uncounted = wrapper.nested("audio_config", "")?.is_some() || wrapper.nested("speech_config", "")?.is_some();
        let mut tensors = Vec::new();
        if let Some(vision) = vision {
            // Early configs repeat the wrapper's type in the tower; its class is the wrapper's vision class.
            match tower::read(wrapper, &vision.typed(&vision_type), text)? {
                Some(known) => tensors = known,
                None => uncounted = true,
            }
        }
        if uncounted {
            warnings.push(Warning::new(
                "tower_not_counted",
                format!("the vision or audio tower of `{}` is not counted: its design is not known here", wrapper.model_type()),
            ));
        }
        Ok(tensors)
    }

    /// The `model_type` of the file.
    #[must_use]
    pub fn model_type(&self) -> &str {
        &self.model_type
    }

    /// The main model, without multi-token-prediction layers.
    #[must_use]
    pub const fn hyperparameters(&self) -> &Hyperparameters {
        &self.hyperparameters
    }

    /// How many multi-token-prediction layers the release has beside the main model; files may drop them.
    #[must_use]
    pub const fn prediction_layers(&self) -> u32 {
        self.prediction_layers
    }

    /// The description of a file that also carries the multi-token-prediction layers, as the last blocks.
    #[must_use]
    pub fn hyperparameters_with_prediction(&self) -> Hyperparameters {
        let mut hp = self.hyperparameters.clone();
        let extra = self.prediction_layers;
        let blocks = hp.block_count.saturating_add(extra);
        for values in [&mut hp.feed_forward_length, &mut hp.head_count, &mut hp.head_count_kv] {
            if let PerLayer::Each(each) = values {
                // Such a layer is built like the widest of the main ones.
                let widest = each.iter().copied().max().unwrap_or(0);
                each.resize(blocks as usize, widest);
            }
        }
        if let Some(WindowPattern::Each(flags)) = &mut hp.sliding_window_pattern {
            flags.resize(blocks as usize, false);
        }
        if let Some(flags) = &mut hp.recurrent_layers {
            flags.resize(blocks as usize, false);
        }
        if let Some(flags) = &mut hp.indexer_layers {
            flags.resize(blocks as usize, true);
        }
        hp.block_count = blocks;
        hp.nextn_predict_layers = extra;
        hp
    }

    /// How many parameters transformers builds from the config: main model and tower, tied matrices once,
    /// without multi-token-prediction layers and buffers.
    ///
    /// # Errors
    /// As [`HfConfig::model`].
    pub fn parameters(&self) -> Result<u64> {
        let counts = self.model()?.parameters();
        Ok(counts.checkpoint.saturating_add(counts.tower).saturating_add(self.checkpoint_only))
    }

    /// The type that the weights are published in, for example `bfloat16`.
    #[must_use]
    pub fn dtype(&self) -> Option<&str> {
        self.dtype.as_deref()
    }

    /// The format that the repository's weights are published in, where the config says so: plain, or by its
    /// `quantization_config` (FP8, AWQ, GPTQ, compressed-tensors, NF4, MXFP4, NVFP4, EXL2, EXL3) or by MLX's `quantization`.
    #[must_use]
    pub const fn published_format(&self) -> Option<WeightFormat> {
        self.published_format
    }

    /// What was assumed or left out.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The model: language part and, where its design is known, the tower.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn model(&self) -> Result<Model> {
        Model::new(self.hyperparameters.clone())?.with_tower(self.tower.clone(), self.warnings.clone())
    }

    /// The model with its multi-token-prediction layers.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn model_with_prediction(&self) -> Result<Model> {
        Model::new(self.hyperparameters_with_prediction())?.with_tower(self.tower.clone(), self.warnings.clone())
    }
}

/// Reads a `config.json` and derives its model; see [`HfConfig::read`].
///
/// # Errors
/// As [`HfConfig::read`] and [`Model::new`].
pub fn model(json: &str) -> Result<Model> {
    HfConfig::read(json)?.model()
}

/// Parameters that the published model has and a GGUF file has not.
fn checkpoint_only(fields: &Fields<'_>, hp: &Hyperparameters) -> Result<u64> {
    Ok(match hp.architecture.as_str() {
        // Rows for image and audio placeholders, which the converter cuts off.
        "gemma3n" => u64::from(fields.number("vocab_size")?.saturating_sub(hp.vocab_size)) * u64::from(hp.embedding_length),
        // The two slopes of the xIELU activation, which the converter writes as metadata.
        "apertus" => 2 * u64::from(hp.block_count),
        _ => 0,
    })
}

#[cold]
fn no_model_type() -> Error {
    Error::new(ErrorKind::MissingField, "the config has no `model_type`")
        .field("model_type")
        .help("give the model's own config.json; a generation_config.json or tokenizer_config.json does not describe its layers")
}

/// Names the fields that decide the size and that only the class gives.
fn class_defaults(fields: &Fields<'_>) -> Option<Warning> {
    let essential = ["hidden_size", "num_hidden_layers", "vocab_size"];
    let mut absent: Vec<&str> = essential.into_iter().filter(|key| !fields.states(key)).collect();
    // Nemotron-H derives the number of layers from their list.
    if fields.states("layer_types") || fields.states("hybrid_override_pattern") {
        absent.retain(|key| *key != "num_hidden_layers");
    }
    (!absent.is_empty()).then(|| {
        let message = format!("the config does not state {}: the default of `{}` is taken", absent.join(", "), fields.model_type());
        Warning::new("class_default", message)
    })
}
