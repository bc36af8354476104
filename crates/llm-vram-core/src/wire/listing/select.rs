//! Picking entries by words, and ordering them.

use alloc::{format, string::String, vec::Vec};
use core::cmp::Ordering;

use super::super::quantity::clip;
use crate::{
    error::{Error, ErrorKind, Result},
    suggest::nearest,
};

/// Whether one of the texts contains `filter`, letter case ignored; without a filter everything does.
pub(super) fn contains(filter: Option<&str>, texts: &[&str]) -> bool {
    filter.is_none_or(|filter| {
        let filter = filter.trim().to_lowercase();
        texts.iter().any(|text| text.to_lowercase().contains(&filter))
    })
}

/// What a word of a field selects.
///
/// A word that is a value of the field selects exactly that value; any other selects the values in which a word starts
/// with it, so that `Qwen3` is one family and `llama` all of Meta's.
pub(super) struct Word {
    asked: String,
    whole: bool,
}

impl Word {
    /// Reads a word for a field with the given values.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] if it selects none of them.
    pub(super) fn new<'a>(field: &str, asked: &str, values: impl Iterator<Item = &'a str> + Clone) -> Result<Self> {
        let lower = asked.trim().to_lowercase();
        if values.clone().any(|value| value.to_lowercase() == lower) {
            return Ok(Self { asked: lower, whole: true });
        }
        let word = Self { asked: lower, whole: false };
        if !word.asked.is_empty() && values.clone().any(|value| word.selects(value)) {
            return Ok(word);
        }
        let mut known: Vec<&str> = values.clone().collect();
        known.sort_unstable();
        known.dedup();
        let error =
            Error::new(ErrorKind::InvalidValue, format!("no {field} in the catalog is called `{}`", clip(asked))).field(field);
        let words = values.clone().flat_map(|value| value.split(|letter: char| !letter.is_alphanumeric()));
        Err(match nearest(asked, values.chain(words.filter(|word| word.len() > 2))) {
            Some(name) => error.help(format!("did you mean `{name}`?")),
            None if known.len() <= LISTED => error.help(format!("the values are {}", known.join(", "))),
            None => error.help(format!(
                "some values: {}",
                known.iter().step_by(known.len() / LISTED + 1).copied().collect::<Vec<_>>().join(", ")
            )),
        })
    }

    /// Whether it selects that value.
    pub(super) fn selects(&self, value: &str) -> bool {
        let value = value.to_lowercase();
        if self.whole {
            return value == self.asked;
        }
        value.match_indices(&self.asked).any(|(at, _)| {
            let before = value.get(..at).and_then(|text| text.chars().next_back());
            before.is_none_or(|letter| !letter.is_alphanumeric())
        })
    }
}

/// How many values an error lists at most.
const LISTED: usize = 12;

/// Whether an optional word selects a value.
pub(super) fn selects(word: Option<&Word>, value: &str) -> bool {
    word.is_none_or(|word| word.selects(value))
}

/// One of a closed list of words, letter case ignored.
///
/// # Errors
/// [`ErrorKind::InvalidValue`] with the nearest word and the list.
pub fn parse_choice<T: Copy>(field: &str, asked: &str, choices: &[(&'static str, T)]) -> Result<T> {
    let lower = asked.trim().to_lowercase();
    choices.iter().find(|(word, _)| *word == lower).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let error =
            Error::new(ErrorKind::InvalidValue, format!("{field} is `{}`: expected one of {}", clip(asked), words.join(", ")))
                .field(field);
        match nearest(asked, words.iter().copied()) {
            Some(word) => error.help(format!("did you mean `{word}`?")),
            None => error,
        }
    })
}

/// Orders entries by what `key` gives, those without a value last in either direction.
pub(super) fn order<T, K: PartialOrd>(entries: &mut [T], reverse: bool, key: impl Fn(&T) -> Option<K>) {
    entries.sort_by(|a, b| match (key(a), key(b)) {
        (Some(a), Some(b)) => {
            let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
            if reverse { order.reverse() } else { order }
        }
        (a, b) => a.is_none().cmp(&b.is_none()),
    });
}
