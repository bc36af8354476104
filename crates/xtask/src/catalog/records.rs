//! The records as the files state them. Field names and order are those of `llm_vram_catalog`.

use llm_vram_core::model::Hyperparameters;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::literal::{Literal, Structure};

/// A fact that is known exactly, or within limits: `24` or `{ min = 23, max = 25 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Fact<T> {
    /// One value.
    Exact(T),
    /// A value between two others.
    Range {
        /// The lower end.
        min: T,
        /// The upper end.
        max: T,
    },
}

impl<T: Copy> Fact<T> {
    /// The lower and the upper end.
    pub const fn ends(&self) -> (T, T) {
        match *self {
            Self::Exact(value) => (value, value),
            Self::Range { min, max } => (min, max),
        }
    }
}

impl<'de, T: Deserialize<'de> + PartialOrd> Deserialize<'de> for Fact<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a number or `{ min = …, max = … }`")]
        enum Form<T> {
            Exact(T),
            Range(Limits<T>),
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Limits<T> {
            min: T,
            max: T,
        }
        match Form::deserialize(deserializer)? {
            Form::Exact(value) => Ok(Self::Exact(value)),
            Form::Range(Limits { min, max }) if min < max => Ok(Self::Range { min, max }),
            Form::Range(_) => Err(D::Error::custom("`min` is not below `max`")),
        }
    }
}

impl<T: Literal> Literal for Fact<T> {
    fn literal(&self, out: &mut String) {
        match self {
            Self::Exact(value) => {
                out.push_str("Fact::Exact(");
                value.literal(out);
            }
            Self::Range { min, max } => {
                out.push_str("Fact::Range(");
                min.literal(out);
                out.push(',');
                max.literal(out);
            }
        }
        out.push(')');
    }
    fn is_empty(&self) -> bool {
        false
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[allow(missing_docs)]
        pub enum $name {
            $(#[serde(rename = $word)] $variant,)*
        }

        impl Literal for $name {
            fn literal(&self, out: &mut String) {
                out.push_str(match self {
                    $(Self::$variant => concat!(stringify!($name), "::", stringify!($variant)),)*
                });
            }
            fn is_empty(&self) -> bool {
                false
            }
        }
    };
}

words! {
    /// How large a machine a model asks for.
    ModelClass { Edge = "edge", Workstation = "workstation", Serious = "serious", MultiGpu = "multi-gpu", }
}
words! {
    /// How a derived parameter count compares with the stated one.
    ParameterCheck { Exact = "exact", Explained = "explained", }
}
words! {
    /// What kind of device a record describes.
    HardwareKind {
        Discrete = "discrete", Laptop = "laptop", Workstation = "workstation", Datacenter = "datacenter", Unified = "unified",
        Cpu = "cpu",
    }
}
words! {
    /// The group that a device is listed in.
    HardwareClass {
        ConsumerNvidia = "consumer-nvidia", AppleSilicon = "apple-silicon", Datacenter = "datacenter-workstation", Amd = "amd",
        Intel = "intel", Cpu = "cpu",
    }
}
words! {
    /// What a weight format does to answers.
    Quality {
        Reference = "reference", NearLossless = "near-lossless", VerySmallLoss = "very small loss", SmallLoss = "small loss",
        ProductionFloor = "production floor", VisibleLoss = "visible loss", HeavyLoss = "heavy loss",
    }
}

/// A record: fields that a file states, and how they are written as a constant.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident as $target:literal {
        $($(#[$attribute:meta])* $field:ident: $type:ty $(= $written:ident)?,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize, Serialize)]
        #[serde(deny_unknown_fields)]
        #[allow(missing_docs)]
        pub struct $name {
            $($(#[$attribute])* #[serde(skip_serializing_if = "Literal::is_empty")] pub $field: $type,)*
        }

        impl $name {
            /// Writes the fields into a structure that has been begun.
            fn fields(&self, structure: &mut Structure<'_>) {
                $(record!(@write structure self $field $($written)?);)*
            }
        }

        impl Literal for $name {
            fn literal(&self, out: &mut String) {
                let mut structure = Structure::begin(out, $target);
                self.fields(&mut structure);
                structure.end();
            }
            fn is_empty(&self) -> bool {
                false
            }
        }

        impl Record for $name {
            fn written(&self, id: &str, out: &mut String) {
                let mut structure = Structure::begin(out, $target);
                structure.always("id", &id.to_owned());
                self.fields(&mut structure);
                structure.end();
            }
        }
    };
    (@write $structure:ident $self:ident $field:ident) => { $structure.field(stringify!($field), &$self.$field); };
    (@write $structure:ident $self:ident $field:ident $written:ident) => { $structure.field(stringify!($written), &$self.$field); };
}

/// A record that is written under its id.
pub trait Record {
    /// Writes the constant.
    fn written(&self, id: &str, out: &mut String);
}

record! {
    /// Where facts come from.
    Source as "Source" { url: String, date: String, covers: Vec<String>, }
}

record! {
    /// Parameter counts.
    Parameters as "Parameters" {
        total: u64, text: u64, #[serde(default)] active: Option<u64>, #[serde(default)] tower: Option<u64>,
        #[serde(default)] mtp: Option<u64>, #[serde(default)] published: Option<u64>, check: ParameterCheck,
        #[serde(default)] difference: i64, #[serde(default)] because: Option<String>,
    }
}

record! {
    /// An open model.
    Model as "ModelRecord" {
        name: String, maker: String, family: String, #[serde(default)] release: Option<String>, licence: String, hf_id: String,
        #[serde(default)] ollama_tag: Option<String>, #[serde(default)] aliases: Vec<String>, modalities: Vec<String>,
        class: ModelClass, formats: Vec<String>, #[serde(default)] mtp_layers: u32, parameters: Parameters, architecture: Hyperparameters,
        #[serde(default)] unverified: Vec<String>, #[serde(default)] source: Vec<Source> = sources,
    }
}

record! {
    /// A device.
    Hardware as "HardwareRecord" {
        name: String, vendor: String, kind: HardwareKind, class: HardwareClass, #[serde(default)] aliases: Vec<String>,
        #[serde(default)] memory_gib: Option<u32>, #[serde(default = "one")] devices: u32,
        #[serde(default)] memory_mib_reported: Option<Fact<u32>>, #[serde(default)] memory_mib_cuda: Option<Fact<u32>>,
        #[serde(default)] memory_mib_cuda_windows: Option<Fact<u32>>, #[serde(default)] unified: bool,
        #[serde(default)] working_set_mib: Option<Fact<u32>>, #[serde(default)] working_set_mib_macos_26: Option<Fact<u32>>,
        #[serde(default)] bandwidth_gb_s: Option<Fact<f64>>, #[serde(default)] fp16_tflops: Option<Fact<f64>>,
        #[serde(default)] fp16_kind: Option<String>, #[serde(default)] fp8_tflops: Option<Fact<f64>>,
        #[serde(default)] int8_tops: Option<Fact<f64>>, #[serde(default)] fp4_tflops: Option<Fact<f64>>,
        #[serde(default)] low_precision_kind: Option<String>, #[serde(default)] memory_type: Option<String>,
        #[serde(default)] memory_bus_bits: Option<u32>, #[serde(default)] memory_rate_gbps: Option<f64>,
        #[serde(default)] interconnect: Option<String>, #[serde(default)] tdp_w: Option<u32>,
        #[serde(default)] launch: Option<String>, #[serde(default)] msrp_usd: Option<Fact<u32>>,
        #[serde(default)] architecture: Option<String>, #[serde(default)] compute_capability: Option<String>,
        #[serde(default)] note: Option<String>, #[serde(default)] unverified: Vec<String>,
        #[serde(default)] source: Vec<Source> = sources,
    }
}

const fn one() -> u32 {
    1
}

record! {
    /// A published measurement.
    Figure as "QualityFigure" {
        model: String, metric: String, value: f64, #[serde(default)] baseline: Option<f64>,
        #[serde(default)] method: Option<String>, #[serde(default)] dataset: Option<String>, url: String,
    }
}

record! {
    /// A weight format.
    Quant as "QuantRecord" {
        name: String, family: String, #[serde(default)] aliases: Vec<String>, layout: String,
        #[serde(default)] block_weights: Option<u32>, #[serde(default)] block_bytes: Option<u32>,
        #[serde(default)] bits_per_weight: Option<Fact<f64>>, #[serde(default)] mixture: bool, purpose: String,
        quality: Quality, #[serde(default)] figure: Vec<Figure> = figures, #[serde(default)] unverified: Vec<String>,
        #[serde(default)] source: Vec<Source> = sources,
    }
}

record! {
    /// A default of an engine.
    EngineDefault as "EngineDefault" { option: String, value: String, effect: String, }
}

record! {
    /// An engine.
    Engine as "EngineRecord" {
        name: String, maker: String, #[serde(default)] aliases: Vec<String>, summary: String, pick_when: String,
        platforms: Vec<String>, formats: Vec<String>, install: String, run: String, licence: String, homepage: String,
        version: String, #[serde(default)] default: Vec<EngineDefault> = defaults, #[serde(default)] unverified: Vec<String>,
        #[serde(default)] source: Vec<Source> = sources,
    }
}

record! {
    /// A term.
    Term as "TermRecord" {
        name: String, #[serde(default)] aliases: Vec<String>, text: String, #[serde(default)] see_also: Vec<String>,
        #[serde(default)] source: Vec<Source> = sources,
    }
}

/// Ids that were used once and may not come back.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    /// Each with what took its place.
    #[serde(default)]
    pub id: Vec<RetiredId>,
}

/// An id that was used once.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetiredId {
    /// The folder: `models`, `hardware`, `quants`, `engines` or `glossary`.
    pub folder: String,
    /// The id.
    pub id: String,
    /// Why it went.
    pub because: String,
}
