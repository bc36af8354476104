//! Quantities: bytes as checked integers, bits per weight as an exact ratio.
//!
//! GB (10^9) and GiB (2^30) exist only in formatting.

use alloc::{format, string::String};
use core::{fmt, iter::Sum, ops::Add};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// An amount of memory, in bytes.
///
/// At most 2^53 - 1 (8 PiB), so that every language holds it exactly; larger results are an
/// [`ErrorKind::Overflow`] error where they arise.
///
/// ```
/// use llm_vram_core::{ByteUnit, Bytes};
/// let file = Bytes::new(4_912_898_304)?;
/// assert_eq!(file.display(ByteUnit::GB).to_string(), "4.91 GB");
/// assert_eq!(file.display(ByteUnit::GiB).to_string(), "4.58 GiB");
/// assert!(Bytes::new(1 << 53).is_err());
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(u64);

impl Bytes {
    /// No bytes.
    pub const ZERO: Self = Self(0);
    /// The largest amount that is represented.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// An amount of bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] above [`Bytes::MAX`].
    pub fn new(bytes: u64) -> Result<Self> {
        Self::from_wide(u128::from(bytes))
    }

    /// The product or sum of a calculation that was carried out in 128 bits.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] above [`Bytes::MAX`].
    pub fn from_wide(bytes: u128) -> Result<Self> {
        match u64::try_from(bytes) {
            Ok(small) if small <= Self::MAX.0 => Ok(Self(small)),
            _ => Err(Error::new(ErrorKind::Overflow, format!("the result of {bytes} bytes is larger than 2^53 - 1 bytes (8 PiB)"))
                .help("check the context length, the concurrency and the model's dimensions")),
        }
    }

    /// A number of mebibytes, saturating at [`Bytes::MAX`].
    #[must_use]
    pub const fn mib(mebibytes: u64) -> Self {
        let bytes = mebibytes.saturating_mul(1 << 20);
        if bytes > Self::MAX.0 { Self::MAX } else { Self(bytes) }
    }

    /// The integer.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] above [`Bytes::MAX`].
    pub fn checked_add(self, other: Self) -> Result<Self> {
        Self::from_wide(u128::from(self.0) + u128::from(other.0))
    }

    /// This amount, `count` times.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] above [`Bytes::MAX`].
    pub fn checked_mul(self, count: u64) -> Result<Self> {
        Self::from_wide(u128::from(self.0) * u128::from(count))
    }

    /// The difference, or zero where `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// This amount rounded up to a multiple of `alignment` (at least 1).
    #[must_use]
    pub const fn align_up(self, alignment: u64) -> Self {
        let padded = if alignment > 1 { self.0.div_ceil(alignment).saturating_mul(alignment) } else { self.0 };
        if padded > Self::MAX.0 { Self::MAX } else { Self(padded) }
    }

    /// The given share of this amount, rounded to the nearest byte; a share outside 0 to 1 is clamped.
    #[must_use]
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn share(self, share: f64) -> Self {
        let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        // Both factors are exact (53 bits), the product is below 2^53 and not negative.
        Self(((self.0 as f64) * share + 0.5) as u64)
    }

    /// This amount as text in the given unit, with three significant digits or more.
    #[must_use]
    pub const fn display(self, unit: ByteUnit) -> DisplayBytes {
        DisplayBytes { bytes: self, unit }
    }
}

impl Add for Bytes {
    type Output = Self;

    /// The sum, saturating at [`Bytes::MAX`]; use [`Bytes::checked_add`] where a sum may be that large.
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0).min(Self::MAX.0))
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, |sum, item| sum + item)
    }
}

impl From<u32> for Bytes {
    fn from(bytes: u32) -> Self {
        Self(u64::from(bytes))
    }
}

/// A unit that amounts are printed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum ByteUnit {
    /// Gigabytes, 10^9 bytes: how hubs and disks count.
    #[default]
    #[serde(rename = "gb")]
    GB,
    /// Gibibytes, 2^30 bytes: how memory is built and drivers report.
    #[serde(rename = "gib")]
    GiB,
}

impl ByteUnit {
    /// `GB` or `GiB`.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::GB => "GB",
            Self::GiB => "GiB",
        }
    }
}

/// An amount of bytes together with the unit to print it in; see [`Bytes::display`].
///
/// Amounts below one unit are printed in the next smaller one (MB or MiB, kB or KiB, bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisplayBytes {
    bytes: Bytes,
    unit: ByteUnit,
}

impl fmt::Display for DisplayBytes {
    #[allow(clippy::cast_precision_loss)]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, symbols): (f64, [&str; 4]) = match self.unit {
            ByteUnit::GB => (1000.0, ["GB", "MB", "kB", "B"]),
            ByteUnit::GiB => (1024.0, ["GiB", "MiB", "KiB", "B"]),
        };
        let bytes = self.bytes.get() as f64;
        let mut scale = base * base * base;
        let mut symbol = symbols[0];
        for smaller in &symbols[1..] {
            if bytes >= scale {
                break;
            }
            scale /= base;
            symbol = smaller;
        }
        let value = bytes / scale;
        let digits = if symbol == "B" || value >= 1000.0 {
            0
        } else if value >= 99.95 {
            1
        } else {
            2
        };
        f.pad(&format!("{value:.digits$} {symbol}"))
    }
}

/// Bits per weight, as the exact ratio of stored bits and weights.
///
/// ```
/// use llm_vram_core::BitsPerWeight;
/// let q4_k = BitsPerWeight::new(144 * 8, 256)?;
/// assert_eq!(q4_k.to_string(), "4.5");
/// assert_eq!(q4_k.bytes_for(70_000_000_000)?.get(), 39_375_000_000);
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BitsPerWeight {
    bits: u64,
    weights: u64,
}

impl BitsPerWeight {
    /// `bits` stored bits for `weights` weights.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] for zero weights.
    pub fn new(bits: u64, weights: u64) -> Result<Self> {
        if weights == 0 {
            return Err(Error::new(ErrorKind::InvalidValue, "bits per weight need at least one weight"));
        }
        Ok(Self { bits, weights })
    }

    /// A whole number of bits.
    #[must_use]
    pub const fn whole(bits: u32) -> Self {
        Self { bits: bits as u64, weights: 1 }
    }

    /// Reads a decimal number such as `4.5` or `16` exactly (up to six decimals).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] for anything that is not a decimal number above 0,
    /// [`ErrorKind::OutOfRange`] above 64.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = || {
            Error::new(ErrorKind::InvalidValue, format!("`{text}` is not a number of bits per weight"))
                .field("bits")
                .help("give a decimal number from 0.1 to 64, such as 4.5")
        };
        let trimmed = text.trim();
        let (whole, fraction) = trimmed.split_once('.').unwrap_or((trimmed, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) || fraction.len() > 6 || whole.len() > 6
        {
            return Err(invalid());
        }
        let mut bits: u64 = 0;
        let mut weights: u64 = 1;
        for digit in whole.bytes() {
            bits = bits * 10 + u64::from(digit - b'0');
        }
        for digit in fraction.bytes() {
            bits = bits * 10 + u64::from(digit - b'0');
            weights *= 10;
        }
        let ratio = Self { bits, weights };
        if bits == 0 {
            return Err(invalid());
        }
        if ratio.to_f64() > 64.0 || ratio.to_f64() < 0.1 {
            return Err(Error::new(ErrorKind::OutOfRange, format!("bits per weight `{text}` is out of range: expected 0.1 to 64"))
                .field("bits"));
        }
        Ok(ratio)
    }

    /// The bytes of `parameters` weights, rounded to the nearest byte: parameters × bits ÷ 8.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] above [`Bytes::MAX`].
    pub fn bytes_for(self, parameters: u64) -> Result<Bytes> {
        let divisor = u128::from(self.weights) * 8;
        let numerator = u128::from(parameters).checked_mul(u128::from(self.bits)).unwrap_or(u128::MAX - divisor);
        Bytes::from_wide((numerator + divisor / 2) / divisor)
    }

    /// The ratio as a floating-point number.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn to_f64(self) -> f64 {
        self.bits as f64 / self.weights as f64
    }
}

impl fmt::Display for BitsPerWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.4}", self.to_f64());
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// Formats an integer with thousands separators, for messages: `131,072`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = format!("{number}");
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
