//! Why the beginning of a file could not be read.

use alloc::format;

use crate::{
    error::{Error, ErrorKind},
    units::grouped,
};

/// Why a header could not be read from the bytes given.
///
/// A caller that fetches a file piece by piece fetches at least the named number of bytes and tries
/// again; everything else is final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadError {
    /// The header goes on beyond the bytes given.
    NeedMoreBytes {
        /// How many bytes of the file, from its beginning, are needed at least.
        at_least: u64,
        /// What is cut off, for people.
        what: &'static str,
    },
    /// The header is wrong.
    Invalid(Error),
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::Invalid(error)
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NeedMoreBytes { at_least, what } => Self::new(
                ErrorKind::Truncated,
                format!("the input ends within {what}: at least {} bytes are needed", grouped(at_least)),
            )
            .help("give more of the file's beginning, or download the file again"),
            ReadError::Invalid(error) => error,
        }
    }
}
