//! What a configuration class of transformers assumes where the file is silent.

/// One line for each `model_type`: the fields that decide sizes, with the value of the class. Fields whose
/// default is null, false or a list are left out, except whether the output head is tied.
///
/// Source: class attributes in `src/transformers/models/*/configuration_*.py`, transformers 5.23.0.
const CLASSES: &str = include_str!("class_defaults.txt");

/// A class default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preset {
    Number(u64),
    Flag(bool),
}

/// The default of `key` in the class of `model_type`.
pub(super) fn of(model_type: &str, key: &str) -> Option<Preset> {
    let line = CLASSES.lines().find_map(|line| line.strip_prefix(model_type)?.strip_prefix(' '))?;
    let value = line.split(' ').find_map(|entry| entry.strip_prefix(key)?.strip_prefix('='))?;
    match value {
        "true" => Some(Preset::Flag(true)),
        "false" => Some(Preset::Flag(false)),
        number => number.parse().ok().map(Preset::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_follow_the_type() {
        assert_eq!(of("llama", "hidden_size"), Some(Preset::Number(4096)));
        assert_eq!(of("gemma3_text", "tie_word_embeddings"), Some(Preset::Flag(true)));
        assert_eq!(of("llama", "size"), None);
        assert_eq!(of("lla", "hidden_size"), None);
        assert_eq!(of("", ""), None);
    }
}
