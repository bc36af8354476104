//! One error type with a small, stable set of kinds.

use alloc::string::String;
use core::fmt;

/// What went wrong, as a value that programs match on.
///
/// [`ErrorKind::code`] is the same text in every language and on the command line, and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A number lies outside the range that its quantity can have.
    OutOfRange,
    /// A value has the wrong form: not a number where one is needed, an unreadable quantity, NaN.
    InvalidValue,
    /// A field that the sum needs is absent.
    MissingField,
    /// A request names a field or an option that does not exist.
    UnknownField,
    /// No model of that id, alias, Hugging Face id or Ollama tag.
    UnknownModel,
    /// No device of that id or alias.
    UnknownHardware,
    /// No weight format or cache type of that name.
    UnknownQuant,
    /// No engine of that name.
    UnknownEngine,
    /// No term of that name in the glossary.
    UnknownTerm,
    /// No operation of that name.
    UnknownOperation,
    /// No architecture of that name, where a bound cannot stand in for it.
    UnknownArchitecture,
    /// Bytes or text do not follow the format that they claim.
    Malformed,
    /// The input ends before the structure that it announces.
    Truncated,
    /// Two facts of the input exclude each other.
    Contradiction,
    /// A format is understood, but this form of it is not supported.
    Unsupported,
    /// The engine itself refuses this combination.
    EngineRefuses,
    /// A count or length is beyond what is accepted from untrusted input.
    LimitExceeded,
    /// A result is larger than 2^53 - 1 bytes.
    Overflow,
}

impl ErrorKind {
    /// Every kind, in the order of their declaration.
    pub const ALL: [Self; 18] = [
        Self::OutOfRange,
        Self::InvalidValue,
        Self::MissingField,
        Self::UnknownField,
        Self::UnknownModel,
        Self::UnknownHardware,
        Self::UnknownQuant,
        Self::UnknownEngine,
        Self::UnknownTerm,
        Self::UnknownOperation,
        Self::UnknownArchitecture,
        Self::Malformed,
        Self::Truncated,
        Self::Contradiction,
        Self::Unsupported,
        Self::EngineRefuses,
        Self::LimitExceeded,
        Self::Overflow,
    ];

    /// The stable code of this kind, for example `out_of_range`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::OutOfRange => "out_of_range",
            Self::InvalidValue => "invalid_value",
            Self::MissingField => "missing_field",
            Self::UnknownField => "unknown_field",
            Self::UnknownModel => "unknown_model",
            Self::UnknownHardware => "unknown_hardware",
            Self::UnknownQuant => "unknown_quant",
            Self::UnknownEngine => "unknown_engine",
            Self::UnknownTerm => "unknown_term",
            Self::UnknownOperation => "unknown_operation",
            Self::UnknownArchitecture => "unknown_architecture",
            Self::Malformed => "malformed",
            Self::Truncated => "truncated",
            Self::Contradiction => "contradiction",
            Self::Unsupported => "unsupported",
            Self::EngineRefuses => "engine_refuses",
            Self::LimitExceeded => "limit_exceeded",
            Self::Overflow => "overflow",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An error: its kind, a sentence for people, the field it is about and a way out.
///
/// ```
/// use llm_vram_core::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::OutOfRange, "context length `0` is out of range")
///     .field("context")
///     .help("give at least 1 token");
/// assert_eq!(error.kind().code(), "out_of_range");
/// assert_eq!(error.to_string(), "context length `0` is out of range");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    field: Option<String>,
    help: Option<String>,
}

impl Error {
    /// A new error. The message is lower case, without a final stop, with what the user gave in backticks.
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), field: None, help: None }
    }

    /// Names the field, tensor or place in the input that the error is about.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The sentence for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The field, tensor or place in the input, where there is one.
    #[must_use]
    pub fn field_name(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// What to do next, where something can be said.
    #[must_use]
    pub fn help_text(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

/// A result with the crate's [`Error`].
pub type Result<T> = core::result::Result<T, Error>;
