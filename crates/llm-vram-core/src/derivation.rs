//! How each number came about: formula, inputs with units, result and source.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use crate::units::Bytes;

/// How well a figure is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// An integer rule of the engine or the file format, reproduced to the byte.
    Exact,
    /// A rule with measured or estimated constants; the figure has a range.
    Modelled,
    /// Taken for granted because nothing was said.
    Assumed,
}

/// A number that went into a formula.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Input {
    /// Its symbol in the formula.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// What it counts, for example `bytes`, `tokens` or `layers`.
    pub unit: &'static str,
}

/// One step of a derivation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The formula's stable id, for example `llama_cpp.kv_cache`.
    pub id: &'static str,
    /// What is computed, in words.
    pub label: String,
    /// The formula, in the inputs' symbols.
    pub formula: &'static str,
    /// The inputs.
    pub inputs: Vec<Input>,
    /// The result.
    pub result: f64,
    /// The result's unit.
    pub unit: &'static str,
    /// Where the formula comes from: engine, version, file and function, or a published file.
    pub source: &'static str,
    /// How well the result is known.
    pub assumption: Certainty,
}

impl Step {
    /// A step whose result is an amount of memory.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn bytes(id: &'static str, label: impl Into<String>, formula: &'static str, result: Bytes, source: &'static str) -> Self {
        Self {
            id,
            label: label.into(),
            formula,
            inputs: Vec::new(),
            // Exact: amounts are below 2^53.
            result: result.get() as f64,
            unit: "bytes",
            source,
            assumption: Certainty::Exact,
        }
    }

    /// Adds an input.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn with(mut self, name: &'static str, value: u64, unit: &'static str) -> Self {
        self.inputs.push(Input { name, value: value as f64, unit });
        self
    }

    /// Adds an input that is no integer.
    #[must_use]
    pub fn with_real(mut self, name: &'static str, value: f64, unit: &'static str) -> Self {
        self.inputs.push(Input { name, value, unit });
        self
    }

    /// Says how well the result is known.
    #[must_use]
    pub const fn known(mut self, certainty: Certainty) -> Self {
        self.assumption = certainty;
        self
    }
}

/// Collects the steps of a calculation, or nothing where nobody asked for them.
///
/// Steps are given as closures, so that a calculation without a derivation allocates nothing for it.
#[derive(Debug, Clone, Default)]
pub struct Derivation {
    steps: Option<Vec<Step>>,
}

impl Derivation {
    /// Collects nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self { steps: None }
    }

    /// Collects every step.
    #[must_use]
    pub const fn on() -> Self {
        Self { steps: Some(Vec::new()) }
    }

    /// Whether steps are collected.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.steps.is_some()
    }

    /// Adds a step, if steps are collected.
    pub fn step(&mut self, step: impl FnOnce() -> Step) {
        if let Some(steps) = &mut self.steps {
            steps.push(step());
        }
    }

    /// The collected steps, in order.
    #[must_use]
    pub fn into_steps(self) -> Vec<Step> {
        self.steps.unwrap_or_default()
    }
}
