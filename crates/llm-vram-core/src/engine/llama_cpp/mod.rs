//! llama.cpp: exact where it plans ahead, which is everywhere but in the driver's own costs.
//!
//! Rules were read from and compared with the llama.cpp inside the crate llama-cpp-sys-2 0.1.161, which calls
//! itself 0.6.0-dev (ggml 0.26.0).

pub mod buffer;
pub mod cache;
pub mod compute;
pub mod context;
pub mod options;
pub mod output;
pub mod placement;
pub mod recurrent;
pub mod weights;
pub mod window;

pub use context::Context;
pub use options::Parameters;
pub use placement::Placement;
