//! Quantities as people write them: `70B`, `8k`, `24GiB`, `2x rtx-3090`.

use alloc::{format, string::String};

use crate::{
    bounds,
    error::{Error, ErrorKind, Result},
    units::Bytes,
};

/// Reads a parameter count: `8030261248`, `70B`, `0.6b`, `1.5T`, `350M`; letters stand for powers of 1,000.
///
/// # Errors
/// [`ErrorKind::InvalidValue`] for anything else, [`ErrorKind::OutOfRange`] beyond the bound.
///
/// ```
/// use llm_vram_core::wire::parse_parameters;
/// assert_eq!(parse_parameters("70B")?, 70_000_000_000);
/// assert_eq!(parse_parameters("0.6b")?, 600_000_000);
/// assert!(parse_parameters("many").is_err());
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
pub fn parse_parameters(text: &str) -> Result<u64> {
    let suffixes = [("k", 1_000), ("m", 1_000_000), ("b", 1_000_000_000), ("t", 1_000_000_000_000)];
    let count = scaled(text, &suffixes).ok_or_else(|| {
        Error::new(ErrorKind::InvalidValue, format!("`{}` is not a parameter count", clip(text)))
            .field("params")
            .help("write a number, or one with K, M, B or T, such as 70B")
    })?;
    bounds::PARAMETERS.check(u64::try_from(count).map_err(|_| bounds::PARAMETERS.error(&clip(text)))?)
}

/// Reads a number of tokens: `8192`, `8k` (8,192), `128K` (131,072), `1M` (1,048,576); letters stand for powers of
/// 1,024, as context lengths are named.
///
/// # Errors
/// [`ErrorKind::InvalidValue`] for anything else, [`ErrorKind::OutOfRange`] beyond the bound.
pub fn parse_tokens(text: &str) -> Result<u64> {
    let suffixes = [("k", 1 << 10), ("m", 1 << 20)];
    let count = scaled(text, &suffixes).ok_or_else(|| {
        Error::new(ErrorKind::InvalidValue, format!("`{}` is not a number of tokens", clip(text)))
            .field("context")
            .help("write a number, or one with k or M, such as 8k for 8,192")
    })?;
    bounds::CONTEXT.check(u64::try_from(count).map_err(|_| bounds::CONTEXT.error(&clip(text)))?)
}

/// Reads an amount of memory with its unit: `24GiB`, `24 GB`, `512MiB`, `25769803776B`.
///
/// # Errors
/// [`ErrorKind::InvalidValue`] without a number or a unit, [`ErrorKind::OutOfRange`] beyond the bound.
///
/// ```
/// use llm_vram_core::wire::parse_memory;
/// assert_eq!(parse_memory("24GiB")?.get(), 24 << 30);
/// assert_eq!(parse_memory("24 GB")?.get(), 24_000_000_000);
/// assert!(parse_memory("24").is_err());
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
pub fn parse_memory(text: &str) -> Result<Bytes> {
    let units = [
        ("gib", 1 << 30),
        ("mib", 1 << 20),
        ("tib", 1 << 40),
        ("gb", 1_000_000_000),
        ("mb", 1_000_000),
        ("tb", 1_000_000_000_000),
        ("b", 1),
    ];
    let trimmed = text.trim();
    let has_unit = trimmed.bytes().last().is_some_and(|b| b.is_ascii_alphabetic());
    let bytes = if has_unit { scaled(trimmed, &units) } else { None };
    let bytes = bytes.ok_or_else(|| {
        Error::new(ErrorKind::InvalidValue, format!("`{}` is not an amount of memory", clip(text)))
            .field("memory")
            .help("write a number with its unit: 24GiB (2^30) or 24GB (10^9)")
    })?;
    let bytes = u64::try_from(bytes).map_err(|_| bounds::MEMORY.error(&clip(text)))?;
    Bytes::new(bounds::MEMORY.check(bytes)?)
}

/// Splits a device with its count: `2x rtx-3090` is two of `rtx-3090`, `rtx-3090` is one.
///
/// # Errors
/// [`ErrorKind::InvalidValue`] for an empty name, [`ErrorKind::OutOfRange`] for a count beyond its bound.
pub fn parse_device_count(text: &str) -> Result<(u32, &str)> {
    let trimmed = text.trim();
    let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
    let (count, rest) = trimmed.split_at(digits);
    // `4090` and `3060 12GB` are names, `2x 4090`, `2×4090` and `2 x 4090` are counts.
    let after = rest.trim_start();
    let name = match after.strip_prefix(['x', 'X', '×', '*']) {
        Some(name) if digits > 0 => name.trim_start(),
        _ => {
            return if trimmed.is_empty() {
                Err(Error::new(ErrorKind::InvalidValue, "a device name is empty")
                    .field("hardware")
                    .help("name a device, such as rtx-4090"))
            } else {
                Ok((1, trimmed))
            };
        }
    };
    let number = count.parse::<u64>().map_err(|_| bounds::DEVICE_COUNT.error(&clip(count)))?;
    let number = bounds::DEVICE_COUNT.check_u32(number)?;
    if name.is_empty() {
        return Err(Error::new(ErrorKind::InvalidValue, format!("`{}` names no device", clip(text))).field("hardware"));
    }
    Ok((number, name))
}

/// A decimal number times the factor of its suffix, rounded to a whole number; `None` if the text has another form.
fn scaled(text: &str, suffixes: &[(&str, u128)]) -> Option<u128> {
    let text = text.trim();
    if text.len() > 40 || !text.is_ascii() {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let (number, factor) = suffixes
        .iter()
        .find_map(|(suffix, factor)| lower.strip_suffix(suffix).map(|number| (number, *factor)))
        .unwrap_or((lower.as_str(), 1));
    let number = number.trim_end();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let plain = |s: &str| s.bytes().all(|b| b.is_ascii_digit() || b == b'_' || b == b',');
    if whole.is_empty() || !plain(whole) || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut value: u128 = 0;
    for digit in whole.bytes().filter(u8::is_ascii_digit) {
        value = value.checked_mul(10)?.checked_add(u128::from(digit - b'0'))?;
    }
    if !whole.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut divisor: u128 = 1;
    for digit in fraction.bytes() {
        value = value.checked_mul(10)?.checked_add(u128::from(digit - b'0'))?;
        divisor = divisor.checked_mul(10)?;
    }
    let product = value.checked_mul(factor)?;
    Some((product + divisor / 2) / divisor)
}

/// User input, short enough for a message.
pub(crate) fn clip(text: &str) -> String {
    const LIMIT: usize = 60;
    if text.chars().count() <= LIMIT {
        return String::from(text);
    }
    let mut short: String = text.chars().take(LIMIT).collect();
    short.push('…');
    short
}
