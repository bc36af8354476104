//! One file for each command.

pub mod bake;
pub mod ready;

/// What a command ends with: nothing, or the text that says what is wrong.
pub type Outcome = Result<(), String>;
