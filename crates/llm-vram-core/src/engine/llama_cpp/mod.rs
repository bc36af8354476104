//! llama.cpp: exact where it plans ahead, which is everywhere but in the driver's own costs.
//!
//! Rules were read from and compared with the llama.cpp inside the crate llama-cpp-sys-2 0.1.161, which calls
//! itself 0.6.0-dev (ggml 0.26.0).
//!
//! A question becomes [`Parameters`] (its options, gaps filled) and a [`Context`] (rounded sizes); a
//! [`Placement`] deals layers to devices; [`weights`], [`cache`], [`recurrent`] and [`output`] lay out the
//! buffers that are exact; [`working`] plans the compute buffers; [`overhead`] names what drivers take; and
//! [`load`] puts the answer together.

mod bound;
pub mod buffer;
pub mod cache;
pub mod compressed;
pub mod compute;
pub mod context;
pub(in crate::engine) mod habits;
pub mod indexer;
pub mod load;
pub mod options;
pub mod output;
pub mod overhead;
pub mod placement;
pub mod recurrent;
pub mod refusal;
pub mod remarks;
mod steps;
pub mod stored;
pub mod version;
pub mod weights;
pub mod window;
pub mod working;

pub use context::Context;
pub use load::Load;
pub use options::Parameters;
pub use placement::Placement;

use super::{Engine, Habits, Memory, Scene};
use crate::{derivation::Derivation, error::Result, hardware::Backend, model::Warning};

/// llama.cpp, by llama-server's defaults or the library's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LlamaCpp;

/// The interfaces that ggml has and that devices of the catalog use.
pub(super) const BACKENDS: [Backend; 7] =
    [Backend::Cuda, Backend::Hip, Backend::Vulkan, Backend::Sycl, Backend::Metal, Backend::Cpu, Backend::Ideal];

impl Engine for LlamaCpp {
    fn name(&self) -> &'static str {
        "llama.cpp"
    }

    fn versions(&self) -> &'static [&'static str] {
        &version::NAMES
    }

    fn version_for(&self, asked: Option<&str>) -> Result<(&'static str, Option<Warning>)> {
        version::rules_for(asked).map(|(rules, warning)| (rules.name, warning))
    }

    fn backends(&self) -> &'static [Backend] {
        &BACKENDS
    }

    fn offloads_to_host(&self) -> bool {
        true
    }

    fn smaller_cache_type(&self) -> Option<&'static str> {
        Some("q8_0")
    }

    fn habits(&self, scene: &Scene<'_>) -> Result<Habits> {
        Ok(habits::of(scene, &Parameters::resolve(scene.workload)?))
    }

    fn memory(&self, scene: &Scene<'_>, derivation: &mut Derivation) -> Result<Memory> {
        let (rules, warning) = version::rules_for(scene.version)?;
        let parameters = Parameters::resolve(scene.workload)?;
        let stored = stored::in_scene(scene)?;
        let mut memory = Load::new(scene, &parameters, rules, &stored)?.memory(derivation)?;
        memory.warnings.extend(warning);
        Ok(memory)
    }
}
