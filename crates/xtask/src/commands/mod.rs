//! One file for each command.

pub mod bake;

/// What a command ends with: nothing, or the text that says what is wrong.
pub type Outcome = Result<(), String>;
