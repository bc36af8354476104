//! How much memory a language model needs, and whether it runs on given hardware.
//!
//! Give it a model (a catalog id, the header of a GGUF or safetensors file, a `config.json`, or a bare parameter count), a
//! weight format, what to hold (context, requests), an engine and devices; it answers what takes how much, term by term,
//! with a formula and a source for each number, and whether it fits.
//!
//! ```
//! use llm_vram_core::{ByteUnit, fit::Verdict, wire::{self, Files, Question, Scenario}, workload::Workload};
//!
//! let scenario = Scenario {
//!     model: Some("llama-3.1-8b".into()),
//!     hardware: vec!["rtx-4090".into()],
//!     workload: Workload::new(32_768),
//!     ..Scenario::default()
//! };
//! let answer = wire::fit(&Question::resolve(&scenario, &Files::default())?)?;
//! assert_eq!(answer.verdict, Verdict::Fits);
//! assert_eq!(answer.estimate.kv_cache_bytes.display(ByteUnit::GiB).to_string(), "4.00 GiB");
//! # Ok::<(), llm_vram_core::Error>(())
//! ```
//!
//! # Map
//! Data flows one way: [`input`] reads files into [`model::Hyperparameters`], [`Model`] validates them and derives blocks and
//! tensors, [`quant`] gives their bytes in a format, an [`engine`] places everything on [`hardware`] for a [`workload`],
//! [`fit`] judges, and [`wire`] (feature `catalog`) looks names up and lays answers out. [`derivation`] records how each
//! number came about. [`bounds`] says what each quantity can be.
//!
//! # What it never does
//! No I/O, no clock, no environment, no network: callers hand over bytes and text. It needs `alloc`, not `std`.
//!
//! # How far to trust it
//! Figures are exact, modelled (with a range) or assumed, and say which; see [`derivation::Certainty`]. What "exact" was
//! compared with is listed in the repository's `tests/README.md`.
//!
//! # Features
//! `catalog` (default): models, devices and engines by name, and with them the [`wire`] surface.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs, clippy::disallowed_methods, clippy::disallowed_types)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]

extern crate alloc;

pub mod bounds;
#[cfg(feature = "catalog")]
pub mod catalog;
pub mod derivation;
pub mod engine;
pub mod error;
pub mod fit;
pub mod hardware;
pub mod input;
pub mod metal_limits;
pub mod model;
pub mod nominal;
pub mod quant;
mod suggest;
pub mod units;
#[cfg(feature = "catalog")]
pub mod wire;
pub mod workload;

pub use error::{Error, ErrorKind, Result};
pub use model::Model;
pub use units::{BitsPerWeight, ByteUnit, Bytes};

/// The snapshot of the catalog that answers rest on.
#[cfg(feature = "catalog")]
pub const DATA_VERSION: &str = llm_vram_catalog::VERSION;
