//! Files that were split into parts.
//!
//! Source: llama.cpp, `src/llama-model-loader.cpp` (`LLM_KV_SPLIT_*`) and `tools/gguf-split`: the first
//! part has all metadata, every part has `split.no`, `split.count` and `split.tensors.count`.

use alloc::{format, string::String, vec, vec::Vec};

use super::header::{Header, twin_of_any};
use crate::{
    error::{Error, ErrorKind, Result},
    input::limits,
    units::Bytes,
};

const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// Which part of a split file a header is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// The part's number, from 0.
    pub number: u64,
    /// The number of parts.
    pub count: u64,
    /// Tensors of all parts together.
    pub tensors: u64,
}

impl Split {
    pub(super) fn of(header: &Header<'_>) -> Result<Option<Self>> {
        let Some(count) = integer(header, COUNT)? else { return Ok(None) };
        limits::check(count, limits::SHARDS, "number of parts").map_err(|error| error.field(COUNT))?;
        // 0 and 1 mean: not split (llama-model-loader.cpp loads further parts only above 1).
        if count <= 1 {
            return Ok(None);
        }
        let number = integer(header, NUMBER)?
            .ok_or_else(|| Error::new(ErrorKind::MissingField, format!("`{NUMBER}` is missing beside `{COUNT}`")).field(NUMBER))?;
        if number >= count {
            return Err(Error::new(
                ErrorKind::Contradiction,
                format!("`{NUMBER}` is {number} of {count} parts: they count from 0"),
            )
            .field(NUMBER));
        }
        let tensors = integer(header, TENSORS)?.unwrap_or(0);
        Ok(Some(Self { number, count, tensors }))
    }

    /// The error for a file of which only this part was given.
    #[cold]
    pub(super) fn alone(self) -> Error {
        missing(&(0..self.count).filter(|&number| number != self.number).collect::<Vec<_>>(), self.count)
    }
}

fn integer(header: &Header<'_>, key: &str) -> Result<Option<u64>> {
    let Some(value) = header.get(key) else { return Ok(None) };
    match value.as_integer().map(u64::try_from) {
        Some(Ok(number)) => Ok(Some(number)),
        _ => Err(Error::new(ErrorKind::Malformed, format!("`{key}` is {}: expected a count", value.kind())).field(key)),
    }
}

/// Puts the parts of a split file together, given in any order: all metadata and all tensors.
///
/// A single header of an unsplit file is returned as it is.
///
/// # Errors
/// [`ErrorKind::MissingField`] naming the parts that are missing, [`ErrorKind::Contradiction`] if the parts
/// disagree about their number, their metadata or the number of tensors, or if a part or a tensor stands twice.
pub fn join(parts: Vec<Header<'_>>) -> Result<Header<'_>> {
    let several = parts.len() > 1;
    let mut numbered = Vec::with_capacity(parts.len());
    for part in parts {
        match part.split()? {
            Some(split) => numbered.push((split, part)),
            None if !several => return Ok(part),
            None => {
                return Err(
                    Error::new(ErrorKind::Contradiction, "a file that is not split cannot be joined with others").field(COUNT)
                );
            }
        }
    }
    numbered.sort_by_key(|(split, _)| split.number);
    let Some((first, _)) = numbered.first() else {
        return Err(Error::new(ErrorKind::MissingField, "no parts were given").help("give every part of the split file"));
    };
    let (count, tensors) = (first.count, first.tensors);
    let mut seen = vec![false; usize::try_from(count).unwrap_or(0)];
    for (split, _) in &numbered {
        if split.count != count {
            return Err(disagree(COUNT, split.number, split.count, count));
        }
        if split.tensors != tensors {
            return Err(disagree(TENSORS, split.number, split.tensors, tensors));
        }
        let place = seen.get_mut(usize::try_from(split.number).unwrap_or(usize::MAX));
        if place.is_some_and(|place| core::mem::replace(place, true)) {
            let message = format!("part {} of {count} was given twice", split.number + 1);
            return Err(Error::new(ErrorKind::Contradiction, message).field(NUMBER));
        }
    }
    let absent: Vec<u64> = (0_u64..).zip(&seen).filter(|(_, seen)| !**seen).map(|(number, _)| number).collect();
    if !absent.is_empty() {
        return Err(missing(&absent, count));
    }
    merge(numbered.into_iter().map(|(_, part)| part), count, tensors)
}

fn merge<'a>(mut parts: impl Iterator<Item = Header<'a>>, count: u64, tensors: u64) -> Result<Header<'a>> {
    let Some(mut whole) = parts.next() else { return Err(missing(&[0], count)) };
    for part in parts {
        if (part.version, part.byte_order) != (whole.version, whole.byte_order) {
            return Err(Error::new(ErrorKind::Contradiction, "the parts differ in GGUF version or byte order").field("version"));
        }
        for (key, value) in &part.metadata {
            let same = key.starts_with("split.") || whole.get(key).is_none_or(|first| first == value);
            if !same {
                return Err(Error::new(ErrorKind::Contradiction, format!("key `{key}` differs between the parts")).field(*key));
            }
        }
        whole.tensors.extend_from_slice(&part.tensors);
        whole.header_bytes = whole.header_bytes.checked_add(part.header_bytes)?;
        whole.data_bytes = whole.data_bytes.checked_add(part.data_bytes)?;
        whole.file_bytes = whole.file_bytes.checked_add(part.file_bytes)?;
        for warning in part.warnings {
            if !whole.warnings.iter().any(|known| known.code == warning.code) {
                whole.warnings.push(warning);
            }
        }
    }
    if tensors != 0 && whole.tensors.len() as u64 != tensors {
        let message = format!("the parts hold {} tensors, `{TENSORS}` says {tensors}", whole.tensors.len());
        return Err(Error::new(ErrorKind::Contradiction, message).field(TENSORS));
    }
    limits::check(whole.tensors.len() as u64, limits::TENSORS, "number of tensors")?;
    if let Some(name) = twin_of_any(&whole.tensors) {
        return Err(Error::new(ErrorKind::Contradiction, format!("tensor `{name}` stands in two parts")).field(name));
    }
    // No sum of that many bytes occurs: each addition above is checked.
    debug_assert!(whole.file_bytes <= Bytes::MAX);
    whole.shards_joined = count;
    Ok(whole)
}

#[cold]
fn disagree(key: &str, number: u64, found: u64, first: u64) -> Error {
    Error::new(ErrorKind::Contradiction, format!("`{key}` is {found} in part {} and {first} in the first", number + 1))
        .field(key)
        .help("give the parts of one file")
}

#[cold]
fn missing(numbers: &[u64], count: u64) -> Error {
    const SHOWN: usize = 8;
    let mut list = String::new();
    for (position, number) in numbers.iter().take(SHOWN).enumerate() {
        list.push_str(if position == 0 { "" } else { ", " });
        list.push_str(&format!("{}", number + 1));
    }
    if numbers.len() > SHOWN {
        list.push_str(", ...");
    }
    let plural = if numbers.len() == 1 { "part" } else { "parts" };
    Error::new(ErrorKind::MissingField, format!("the file is split into {count} parts: {plural} {list} missing"))
        .field(COUNT)
        .help("give every part, named -00001-of-..., -00002-of-... and so on")
}
