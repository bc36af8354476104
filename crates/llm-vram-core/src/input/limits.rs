//! What is accepted from untrusted input, stated once.

use alloc::format;

use crate::{
    error::{Error, ErrorKind, Result},
    units::grouped,
};

/// Bytes of a GGUF header, tokenizer included. llama.cpp limits each string and array to the same number.
pub const GGUF_HEADER_BYTES: u64 = 1 << 30;
/// Metadata entries of a GGUF header; published files have 20 to 60.
pub const GGUF_METADATA_ENTRIES: u64 = 1 << 16;
/// Bytes of a metadata key (GGUF specification: 2^16 - 1).
pub const GGUF_KEY_BYTES: u64 = (1 << 16) - 1;
/// Bytes of a tensor name. The specification says 64, llama.cpp takes 63; image models have longer ones.
pub const GGUF_TENSOR_NAME_BYTES: u64 = 1024;
/// Depth of arrays within arrays. llama.cpp takes none at all.
pub const GGUF_ARRAY_DEPTH: u32 = 4;
/// Alignment of the data section; every published file has 32.
pub const GGUF_ALIGNMENT: u64 = 1 << 20;
/// Parts of a split file.
pub const SHARDS: u64 = 4096;
/// Tensors of a file.
pub const TENSORS: u64 = crate::bounds::TENSOR_COUNT.max;
/// Bytes of a safetensors header, as in the reference implementation (`MAX_HEADER_SIZE`).
pub const SAFETENSORS_HEADER_BYTES: u64 = 100_000_000;
/// Bytes of a `model.safetensors.index.json`; the largest published ones have about 10 MB.
pub const SAFETENSORS_INDEX_BYTES: u64 = 100_000_000;
/// Dimensions of a safetensors tensor; published ones have up to 5.
pub const SAFETENSORS_DIMENSIONS: usize = 8;

/// Returns `value` if it does not exceed `limit`.
pub(super) fn check(value: u64, limit: u64, what: &str) -> Result<u64> {
    if value <= limit { Ok(value) } else { Err(exceeded(value, limit, what)) }
}

#[cold]
pub(super) fn exceeded(value: u64, limit: u64, what: &str) -> Error {
    Error::new(ErrorKind::LimitExceeded, format!("{what} `{value}` is beyond the limit of {}", grouped(limit)))
        .help("the file is damaged or not what it claims to be")
}
