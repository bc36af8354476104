//! Which format a file's first bytes are in.

use super::limits;

/// The formats that are told apart by their first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InputKind {
    /// A GGUF file.
    Gguf,
    /// A safetensors file.
    SafetensorsHeader,
    /// A `model.safetensors.index.json`.
    SafetensorsIndex,
    /// A `config.json`.
    ConfigJson,
    /// None of these.
    Unknown,
}

/// Tells the format of a file from its beginning.
///
/// ```
/// use llm_vram_core::input::{InputKind, detect};
/// assert_eq!(detect(b"GGUF\x03\0\0\0"), InputKind::Gguf);
/// assert_eq!(detect(b"{\"model_type\": \"llama\"}"), InputKind::ConfigJson);
/// assert_eq!(detect(b"PK\x03\x04"), InputKind::Unknown);
/// ```
#[must_use]
pub fn detect(bytes: &[u8]) -> InputKind {
    if bytes.starts_with(b"GGUF") {
        return InputKind::Gguf;
    }
    if let Some((length, rest)) = bytes.split_first_chunk::<8>() {
        let length = u64::from_le_bytes(*length);
        if (2..=limits::SAFETENSORS_HEADER_BYTES).contains(&length) && rest.first() == Some(&b'{') {
            return InputKind::SafetensorsHeader;
        }
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    if text.first() != Some(&b'{') {
        return InputKind::Unknown;
    }
    // `weight_map` stands at the end or the beginning of an index; neither key occurs in a config.
    let holds = |key: &[u8]| text.windows(key.len()).any(|window| window == key);
    if holds(b"\"weight_map\"") { InputKind::SafetensorsIndex } else { InputKind::ConfigJson }
}
