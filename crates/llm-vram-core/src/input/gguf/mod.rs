//! GGUF files: everything that their header says.
//!
//! Source: the GGUF specification (ggml, `docs/gguf.md`) and llama.cpp, `ggml/src/gguf.cpp`
//! (llama-cpp-sys-2 0.1.161). Where the two differ, what llama.cpp refuses to load is refused or
//! becomes a warning.

mod architectures;
mod cursor;
mod facts;
mod file_type;
mod header;
mod keys;
mod metadata;
mod model;
mod shapes;
mod split;
mod value;

pub use file_type::file_type_name;
pub use header::{ByteOrder, Header, TensorInfo, read};
pub use split::{Split, join};
pub use value::{Array, Value, ValueType};
