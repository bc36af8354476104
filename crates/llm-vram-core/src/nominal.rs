//! The sum from a parameter count alone: parameters × bits ÷ 8, and a plausible shape for the rest.

use crate::{
    derivation::{Certainty, Derivation, Step},
    engine::{Engine, Habits, Memory, Scene},
    error::Result,
    hardware::Backend,
    model::{Hyperparameters, Model, PerLayer, Warning},
    units::{BitsPerWeight, Bytes},
};

/// The shapes of published dense models with grouped attention: parameters, layers, hidden size, feed-forward width,
/// heads, key-value heads. Source: the `config.json` of Qwen3 0.6B, Llama 3.2 1B and 3B, Llama 3.1 8B, Qwen3 14B and
/// 32B, Llama 3.1 70B and 405B.
const SHAPES: &[(u64, u32, u32, u32, u32, u32)] = &[
    (596_049_920, 28, 1024, 3072, 16, 8),
    (1_235_814_400, 16, 2048, 8192, 32, 8),
    (3_212_749_824, 28, 3072, 8192, 24, 8),
    (8_030_261_248, 32, 4096, 14_336, 32, 8),
    (14_768_307_200, 40, 5120, 17_408, 40, 8),
    (32_762_123_264, 64, 5120, 25_600, 64, 8),
    (70_553_706_496, 80, 8192, 28_672, 64, 8),
    (405_853_388_800, 126, 16_384, 53_248, 128, 8),
];

/// A model of the published dense shape that is nearest to a parameter count.
///
/// It stands in where only a count is known: its caches and buffers are an assumption and are labelled so.
///
/// # Errors
/// None for counts within bounds.
pub fn assumed_model(parameters: u64) -> Result<Model> {
    let nearest = SHAPES.iter().fold(SHAPES[0], |best, shape| {
        // Nearest by ratio, the larger of two equally near.
        if ratio_key(shape.0, parameters) <= ratio_key(best.0, parameters) { *shape } else { best }
    });
    let (_, block_count, embedding_length, feed_forward_length, head_count, head_count_kv) = nearest;
    let mut hp = Hyperparameters::new("llama");
    hp.block_count = block_count;
    hp.embedding_length = embedding_length;
    hp.vocab_size = 128_256;
    hp.feed_forward_length = PerLayer::Uniform(feed_forward_length);
    hp.head_count = PerLayer::Uniform(head_count);
    hp.head_count_kv = PerLayer::Uniform(head_count_kv);
    hp.key_length = Some(128);
    hp.value_length = Some(128);
    Model::new(hp)
}

/// The ratio of two counts in thousandths, at least 1,000.
fn ratio_key(a: u64, b: u64) -> u128 {
    let (large, small) = (u128::from(a.max(b)), u128::from(a.min(b).max(1)));
    large * 1000 / small
}

/// An engine whose weights are nominal: the inner engine places an assumed model, and its weights are scaled to
/// parameters × bits ÷ 8.
#[derive(Clone, Copy)]
pub struct NominalEngine<'a> {
    /// The engine that places the assumed model.
    pub inner: &'a dyn Engine,
    /// The parameter count.
    pub parameters: u64,
    /// Bits per weight.
    pub bits: BitsPerWeight,
}

impl Engine for NominalEngine<'_> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn versions(&self) -> &'static [&'static str] {
        self.inner.versions()
    }

    fn version_for(&self, asked: Option<&str>) -> Result<(&'static str, Option<Warning>)> {
        self.inner.version_for(asked)
    }

    fn backends(&self) -> &'static [Backend] {
        self.inner.backends()
    }

    fn offloads_to_host(&self) -> bool {
        self.inner.offloads_to_host()
    }

    fn habits(&self, scene: &Scene<'_>) -> Result<Habits> {
        self.inner.habits(scene)
    }

    fn memory(&self, scene: &Scene<'_>, derivation: &mut Derivation) -> Result<Memory> {
        let mut memory = self.inner.memory(scene, derivation)?;
        let nominal = self.bits.bytes_for(self.parameters)?;
        derivation.step(|| {
            Step::bytes(
                "nominal.weights",
                "weights, nominally",
                "params × bits ÷ 8",
                nominal,
                "the nominal rule; real files differ, see quants",
            )
            .with("params", self.parameters, "parameters")
            .with_real("bits", self.bits.to_f64(), "bits per weight")
        });
        let shapes = memory.weights;
        let scaled = |part: Bytes| scale(part, nominal, shapes);
        for device in &mut memory.devices {
            device.weights = scaled(device.weights)?;
            device.compute_buffer.certainty = Certainty::Assumed;
        }
        memory.host.weights = scaled(memory.host.weights)?;
        memory.weights = nominal;
        memory.warnings.push(Warning::new(
            "assumed_shape",
            "only a parameter count is known: cache and buffers are those of a published dense model of about that size; \
             name a model for its own figures",
        ));
        Ok(memory)
    }
}

/// `part` × `to` ÷ `from`, rounded to the nearest byte.
fn scale(part: Bytes, to: Bytes, from: Bytes) -> Result<Bytes> {
    if from == Bytes::ZERO {
        return Ok(Bytes::ZERO);
    }
    let product = u128::from(part.get()) * u128::from(to.get());
    Bytes::from_wide((product + u128::from(from.get()) / 2) / u128::from(from.get()))
}
