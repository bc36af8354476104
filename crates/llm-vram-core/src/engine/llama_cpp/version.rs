//! Versions of llama.cpp and what differs between them, as data.

use alloc::format;

use crate::{
    error::{Error, ErrorKind, Result},
    model::Warning,
};

/// What a version does differently from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRules {
    /// The version's name.
    pub name: &'static str,
    /// Whether logits buffers can be limited to the rows that are asked for. Before, they always held a whole
    /// physical batch (<https://github.com/ggml-org/llama.cpp/pull/23861>, June 2026).
    pub limits_outputs: bool,
    /// Whether the attention mask is 16-bit from the start with flash attention. Before, a 32-bit mask lay on the
    /// host and was converted on the device (<https://github.com/ggml-org/llama.cpp/pull/23764>, May 2026).
    pub half_masks: bool,
    /// Rows of `n_embd` per token that the host's buffer keeps for the input: token rows alone, later given vectors
    /// beside them, now both also for batches that mix the two. Seen in the host buffers of public logs, which are
    /// masks and this many rows to the printed digit.
    pub input_rows: u64,
}

/// The versions whose rules are known, the newest first.
pub const RULES: [VersionRules; 4] = [
    // The version inside llama-cpp-sys-2 0.1.161, on which every rule was checked.
    VersionRules { name: "0.6.0-dev", limits_outputs: true, half_masks: true, input_rows: 4 },
    // August and September 2026.
    VersionRules { name: "0.3.0", limits_outputs: true, half_masks: true, input_rows: 2 },
    // The last build reported with both older behaviours (https://github.com/ggml-org/llama.cpp/issues/23527, 2026-05-22).
    VersionRules { name: "b9272", limits_outputs: false, half_masks: false, input_rows: 2 },
    // December 2025.
    VersionRules { name: "b7342", limits_outputs: false, half_masks: false, input_rows: 1 },
];

/// Rows that the plan counts, which is that of the newest version.
pub const PLANNED_INPUT_ROWS: u64 = RULES[0].input_rows;

/// Their names.
pub const NAMES: [&str; 4] = [RULES[0].name, RULES[1].name, RULES[2].name, RULES[3].name];

/// The rules for a version as a user writes it: `0.6.0-dev`, `0.3.0`, `b9272`, `9272`; `None` for the newest.
///
/// # Errors
/// [`ErrorKind::InvalidValue`] for text that is no version.
pub fn rules_for(asked: Option<&str>) -> Result<(&'static VersionRules, Option<Warning>)> {
    let [newest, numbered, limitless, oldest] = &RULES;
    let Some(asked) = asked else { return Ok((newest, None)) };
    let text = asked.trim();
    if let Some(rules) = RULES.iter().find(|rules| rules.name.eq_ignore_ascii_case(text)) {
        return Ok((rules, None));
    }
    let rules = match parse(text) {
        Some(Version::Build(..=7342)) => oldest,
        Some(Version::Build(..=9272)) => limitless,
        // Version numbers came after builds: 0.2.0 in August 2026.
        Some(Version::Build(_) | Version::Number(0, ..=4)) => numbered,
        Some(Version::Number(..)) => newest,
        None => {
            return Err(Error::new(ErrorKind::InvalidValue, format!("`{asked}` is no version of llama.cpp"))
                .field("engine_version")
                .help("give a build such as `b9272` or a version such as `0.6.0`"));
        }
    };
    let message = format!("the rules of llama.cpp `{text}` are not known one by one; those of {} answer", rules.name);
    Ok((rules, Some(Warning::new("unknown_engine_version", message))))
}

enum Version {
    /// A build count, `b9272`.
    Build(u64),
    /// A version number, major and minor: `0.6.0`.
    Number(u64, u64),
}

fn parse(text: &str) -> Option<Version> {
    let digits = text.strip_prefix(['b', 'B']).unwrap_or(text);
    if digits.len() >= 2 && digits.len() <= 9 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return digits.parse().ok().map(Version::Build);
    }
    let number = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let number = number.split_once('-').map_or(number, |(number, _)| number);
    let part =
        |part: &str| if part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit()) { part.parse().ok() } else { None };
    let mut parts = number.split('.').map(part);
    let version = Version::Number(parts.next()??, parts.next()??);
    // A patch number may follow, and nothing else.
    match (parts.next(), parts.next()) {
        (None | Some(Some(_)), None) => Some(version),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_find_their_band() {
        for (asked, name, known) in [
            (None, "0.6.0-dev", true),
            (Some("b9272"), "b9272", true),
            (Some("b8000"), "b9272", false),
            (Some("b3000"), "b7342", false),
            (Some("10000"), "0.3.0", false),
            (Some("0.2.1"), "0.3.0", false),
            (Some("v0.6.1"), "0.6.0-dev", false),
            (Some("1.0"), "0.6.0-dev", false),
        ] {
            let (rules, warning) = rules_for(asked).unwrap_or((&RULES[0], None));
            assert_eq!((rules.name, warning.is_none()), (name, known), "{asked:?}");
        }
        for nonsense in ["", "latest", "1.2.3.4", "b", "0..1", "99999999999999999999"] {
            assert!(rules_for(Some(nonsense)).is_err(), "{nonsense}");
        }
    }
}
