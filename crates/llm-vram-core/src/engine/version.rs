//! Versions of engines: which rules answer for a version that nobody wrote down.

use alloc::{format, vec::Vec};
use core::cmp::Ordering;

use crate::{
    error::{Error, ErrorKind, Result},
    model::Warning,
};

/// The version of `known` (the newest first) whose rules answer for `asked`: itself if known, else the newest that is not
/// newer, else the oldest. A version that is not known comes with the remark `unknown_engine_version`.
///
/// # Errors
/// [`ErrorKind::InvalidValue`] for text that is no version.
pub(crate) fn nearest(
    engine: &str,
    known: &'static [&'static str],
    asked: Option<&str>,
) -> Result<(&'static str, Option<Warning>)> {
    let newest = known.first().copied().unwrap_or("0");
    let Some(asked) = asked else { return Ok((newest, None)) };
    let numbers = numbers(asked).ok_or_else(|| {
        Error::new(ErrorKind::InvalidValue, format!("`{asked}` is no version of {engine}"))
            .field("engine_version")
            .help(format!("give numbers and dots, such as {newest}"))
    })?;
    let mut nearest = known.last().copied().unwrap_or(newest);
    for &version in known {
        match compare(version, &numbers) {
            Ordering::Equal => return Ok((version, None)),
            Ordering::Less => {
                nearest = version;
                break;
            }
            Ordering::Greater => {}
        }
    }
    let remark = format!("the rules of {engine} {asked} are not known: those of {nearest} are used");
    Ok((nearest, Some(Warning::new("unknown_engine_version", remark))))
}

/// The numbers of a version; a suffix of the last one, such as `rc1`, is left out.
fn numbers(text: &str) -> Option<Vec<u32>> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut numbers = Vec::new();
    for part in text.split('.').take(4) {
        let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| part.get(..end).unwrap_or_default());
        match digits.parse() {
            Ok(number) => numbers.push(number),
            // `dev0` and the like end the numbers.
            Err(_) if !numbers.is_empty() => break,
            Err(_) => return None,
        }
    }
    Some(numbers)
}

fn compare(known: &str, asked: &[u32]) -> Ordering {
    let known = numbers(known).unwrap_or_default();
    let length = known.len().max(asked.len());
    let at = |numbers: &[u32], index: usize| numbers.get(index).copied().unwrap_or(0);
    (0..length)
        .map(|index| at(&known, index).cmp(&at(asked, index)))
        .find(|order| *order != Ordering::Equal)
        .unwrap_or(Ordering::Equal)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::nearest;

    const KNOWN: &[&str] = &["0.32.2", "0.30"];

    #[test]
    fn the_nearest_older_version_answers() {
        for (asked, version, known) in [
            (None, "0.32.2", true),
            (Some("0.32.2"), "0.32.2", true),
            (Some("v0.30.0"), "0.30", true),
            (Some("0.31.7rc1"), "0.30", false),
            (Some("9"), "0.32.2", false),
            (Some("0.1.dev3"), "0.30", false),
        ] {
            let (found, remark) = nearest("x", KNOWN, asked).unwrap();
            assert_eq!((found, remark.is_none()), (version, known), "{asked:?}");
        }
        for asked in ["", "latest", "99999999999"] {
            assert!(nearest("x", KNOWN, Some(asked)).is_err(), "{asked}");
        }
    }
}
