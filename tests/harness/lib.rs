//! What the suites share: vectors and the models they are about.

pub mod llama_cpp_memory;
