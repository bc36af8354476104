//! One file for each command.

pub mod add_gpu;
pub mod add_model;
pub mod bake;
pub mod ready;

/// What a command ends with: nothing, or the text that says what is wrong.
pub type Outcome = Result<(), String>;
