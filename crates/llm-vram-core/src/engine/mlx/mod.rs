//! mlx-lm: exact in weights and caches, a range for what prefill needs on top.

pub mod cache;
pub mod classes;
pub mod growth;
pub mod options;
