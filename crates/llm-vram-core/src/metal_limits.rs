//! How much of an Apple computer's memory Metal lets a program use.
//!
//! `recommendedMaxWorkingSetSize` is what every engine on Metal plans with. It depends on the memory size and on the
//! system's generation, not on the chip. The rules were read off published logs of llama.cpp and of MLX's
//! `device_info()`; a limit is called measured where such a log shows that memory size.

use alloc::format;

use crate::{
    error::{Error, ErrorKind, Result},
    units::Bytes,
};

/// Page of Apple Silicon, which limits are rounded to.
const PAGE_BYTES: u64 = 16 * 1024;
const GIB: u64 = 1 << 30;

/// The generations of macOS that differ in their limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MacOs {
    /// macOS 15 and older.
    UpTo15,
    /// macOS 26 and newer, which logs of llama.cpp tell by the line `MTLGPUFamilyMetal4`.
    #[default]
    From26,
}

impl MacOs {
    /// The generation of a version such as `15.6` or `26`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] for text that does not start with a number.
    pub fn from_version(version: &str) -> Result<Self> {
        let major = version.trim().split('.').next().unwrap_or_default();
        match major.parse::<u32>() {
            Ok(0..=25) => Ok(Self::UpTo15),
            Ok(_) => Ok(Self::From26),
            Err(_) => Err(Error::new(ErrorKind::InvalidValue, format!("`{version}` is no version of macOS"))
                .field("macos")
                .help("give a version such as 15.6 or 26")),
        }
    }
}

/// A limit and how it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The limit.
    pub bytes: Bytes,
    /// Whether a published log shows it for this memory size and system; else the rule of the neighbouring sizes.
    pub measured: bool,
}

/// Memory sizes in GiB whose limit logs show: macOS 15 and older.
const MEASURED_UP_TO_15: &[u64] = &[16, 24, 32, 36, 48, 64, 96, 128, 256, 512];
/// Memory sizes in GiB whose limit logs show, with the share in hundredths that holds from there: macOS 26.
const SHARES_FROM_26: &[(u64, u64, bool)] = &[
    (0, 74, false),
    (16, 74, true),
    (18, 74, true),
    (24, 74, true),
    (32, 78, true),
    (36, 78, true),
    (48, 78, true),
    (64, 81, true),
    (128, 84, true),
    (256, 87, true),
];

/// Metal's recommended working set of a computer with `nameplate` bytes of memory.
///
/// Up to macOS 15: two thirds and one page up to 32 GiB, above it the larger of three quarters and all but 48 GiB. From
/// macOS 26 on: a share that grows with the size, from 74 to 87 hundredths, rounded up to a page.
///
/// ```
/// use llm_vram_core::{Bytes, metal_limits::{MacOs, metal_working_set}};
/// let limit = metal_working_set(Bytes::mib(128 * 1024), MacOs::From26);
/// assert_eq!(limit.bytes.get(), 115_448_725_504);
/// assert!(limit.measured);
/// ```
#[must_use]
pub fn metal_working_set(nameplate: Bytes, system: MacOs) -> Limit {
    let memory = nameplate.get();
    let whole_gib = memory.is_multiple_of(GIB).then_some(memory / GIB);
    match system {
        MacOs::UpTo15 => {
            let bytes = if memory <= 32 * GIB {
                // Exactly two thirds plus a page where a third is whole: 24 GiB computers report 17,179,885,568 bytes.
                (memory * 2 / 3 / PAGE_BYTES + 1) * PAGE_BYTES
            } else {
                (memory / 4 * 3).max(memory.saturating_sub(48 * GIB))
            };
            Limit {
                bytes: nameplate.min(clamped(bytes)),
                measured: whole_gib.is_some_and(|size| MEASURED_UP_TO_15.contains(&size)),
            }
        }
        MacOs::From26 => {
            let at_or_below = |&&(size, ..): &&(u64, u64, bool)| size * GIB <= memory;
            let (size, share, seen) = SHARES_FROM_26.iter().rev().find(at_or_below).copied().unwrap_or((0, 74, false));
            let bytes =
                (u128::from(memory) * u128::from(share)).div_ceil(100).div_ceil(u128::from(PAGE_BYTES)) * u128::from(PAGE_BYTES);
            Limit { bytes: nameplate.min(Bytes::from_wide(bytes).unwrap_or(Bytes::MAX)), measured: seen && whole_gib == Some(size) }
        }
    }
}

/// The largest single buffer: three quarters of the default working set, rounded down to a page. `iogpu.wired_limit_mb`
/// does not move it. Source: MLX's `device_info()` on computers of 16 to 256 GB, with and without the override.
#[must_use]
pub fn metal_max_buffer(nameplate: Bytes, system: MacOs) -> Bytes {
    clamped(metal_working_set(nameplate, system).bytes.get() / 4 * 3 / PAGE_BYTES * PAGE_BYTES)
}

/// The working set after `sysctl iogpu.wired_limit_mb=<mebibytes>`; 0 restores the default.
#[must_use]
pub fn metal_working_set_override(nameplate: Bytes, system: MacOs, wired_limit_mb: u64) -> Limit {
    match wired_limit_mb {
        0 => metal_working_set(nameplate, system),
        mebibytes => Limit { bytes: Bytes::mib(mebibytes), measured: true },
    }
}

fn clamped(bytes: u64) -> Bytes {
    Bytes::new(bytes).unwrap_or(Bytes::MAX)
}
