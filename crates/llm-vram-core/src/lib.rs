//! How much memory a language model needs, and whether it runs on given hardware.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs, clippy::disallowed_methods, clippy::disallowed_types)]

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
