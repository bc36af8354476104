//! Which layers llama.cpp runs with a sliding window.
//!
//! Not every window in a model's description counts: an architecture has windows only where its loader
//! sets them up. Source: `load_arch_hparams` of `src/models/*.cpp`, `llama_model_base::load_swa_pattern` and
//! `llama_hparams::set_swa_pattern`, llama-cpp-sys-2 0.1.161.

use crate::model::{Hyperparameters, WindowPattern};

/// How an architecture's loader chooses windowed layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layers {
    /// All but the last of every `n` layers, unless the file has a pattern.
    Period(u32),
    /// All but the first of every `n` layers, unless the file has a pattern.
    DenseFirst(u32),
    /// As the file's array says; there is no default.
    Array,
    /// Every layer.
    All,
    /// Every layer that is not recurrent.
    NotRecurrent,
}

/// Where the window's size comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// The file; no windows if absent or 0.
    File,
    /// The file, else this.
    FileOr(u32),
    /// This, unless the file says 0.
    Forced(u32),
    /// This, if the file has a size above 0.
    ForcedIfPresent(u32),
}

const RULES: &[(&str, Layers, Size)] = &[
    ("afmoe", Layers::Period(4), Size::File),
    ("cohere2", Layers::Period(4), Size::File),
    ("cohere2moe", Layers::DenseFirst(4), Size::File),
    ("deepseek4", Layers::All, Size::File),
    ("dots3note", Layers::Array, Size::File),
    ("exaone-moe", Layers::Period(4), Size::File),
    ("exaone4", Layers::Period(4), Size::FileOr(4096)),
    ("gemma2", Layers::Period(2), Size::FileOr(4096)),
    ("gemma3", Layers::Period(6), Size::File),
    ("gemma3n", Layers::Period(5), Size::File),
    ("gemma4", Layers::Array, Size::File),
    ("gpt-oss", Layers::Period(2), Size::File),
    ("granite_swa", Layers::Array, Size::File),
    ("laguna", Layers::DenseFirst(4), Size::File),
    ("lfm2", Layers::NotRecurrent, Size::File),
    ("lfm2moe", Layers::NotRecurrent, Size::File),
    ("llama4", Layers::Period(4), Size::Forced(8192)),
    ("maple", Layers::Array, Size::File),
    ("mellum", Layers::Period(4), Size::File),
    ("mimo2", Layers::Array, Size::File),
    ("muse-glimmer", Layers::Period(4), Size::File),
    ("olmo2", Layers::Period(4), Size::File),
    ("plamo3", Layers::Period(8), Size::File),
    ("smallthinker", Layers::DenseFirst(4), Size::ForcedIfPresent(4096)),
    ("spark2_5", Layers::Array, Size::File),
    ("step35", Layers::Array, Size::File),
];

/// EXAONE 4 has windows in the model of that many layers only.
const EXAONE4_WINDOWED_LAYERS: u32 = 64;

/// The windows of one model, as llama.cpp applies them.
#[derive(Debug, Clone, Copy)]
pub struct Windows<'a> {
    size: u32,
    layers: Layers,
    pattern: Option<&'a WindowPattern>,
    main_blocks: u32,
}

impl<'a> Windows<'a> {
    /// The windows of the described model.
    #[must_use]
    pub fn of(hp: &'a Hyperparameters) -> Self {
        let main_blocks = hp.main_block_count();
        let none = Self { size: 0, layers: Layers::All, pattern: None, main_blocks };
        let Some((name, layers, size)) = RULES.iter().find(|(name, ..)| *name == hp.architecture) else { return none };
        if *name == "exaone4" && main_blocks != EXAONE4_WINDOWED_LAYERS {
            return none;
        }
        let size = match (size, hp.sliding_window) {
            (Size::File | Size::FileOr(_), Some(size)) => size,
            (Size::FileOr(size), None) => *size,
            (Size::Forced(_), Some(0)) | (Size::File | Size::ForcedIfPresent(_), None) => 0,
            (Size::Forced(size), _) => *size,
            (Size::ForcedIfPresent(size), Some(given)) => {
                if given > 0 {
                    *size
                } else {
                    0
                }
            }
        };
        Self { size, layers: *layers, pattern: hp.sliding_window_pattern.as_ref(), main_blocks }
    }

    /// The window in tokens, or `None` if no layer has one.
    #[must_use]
    pub const fn size(&self) -> Option<u32> {
        if self.size > 0 { Some(self.size) } else { None }
    }

    /// Whether layer `layer` has the window, recurrent layers aside.
    #[must_use]
    pub fn covers(&self, layer: u32) -> bool {
        if self.size == 0 {
            return false;
        }
        let period = |default: u32, dense_first: bool| {
            let n = match self.pattern {
                Some(WindowPattern::Period(n)) => *n,
                _ => default,
            };
            n == 0 || if dense_first { !layer.is_multiple_of(n) } else { layer % n < n - 1 }
        };
        match (self.layers, self.pattern) {
            (Layers::All, _) => true,
            (Layers::NotRecurrent, _) => layer < self.main_blocks,
            (_, Some(WindowPattern::Each(flags))) => flags.get(layer as usize).copied().unwrap_or(false),
            (Layers::Period(n), _) => layer < self.main_blocks && period(n, false),
            (Layers::DenseFirst(n), _) => layer < self.main_blocks && period(n, true),
            // Without its array such a file does not load; a description without one may still state a period.
            (Layers::Array, Some(WindowPattern::Period(_))) => layer < self.main_blocks && period(0, false),
            (Layers::Array, None) => false,
        }
    }
}
