//! The backbone: what is left for weights.

use serde::Serialize;

use crate::{bounds, error::Result, units::Bytes};

/// The budget equation, term by term.
///
/// budget for weights = total_vram × (1 − safety) − kv_cache × concurrency − framework_overhead
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Memory that software sees on all devices.
    pub total_bytes: Bytes,
    /// The share of it that is left free.
    pub safety_bytes: Bytes,
    /// Caches and recurrent states of all requests.
    pub kv_cache_bytes: Bytes,
    /// Compute buffers, driver context, libraries, reserves.
    pub overhead_bytes: Bytes,
    /// What is left for weights; 0 where the other terms already take everything.
    pub weights_bytes: Bytes,
}

/// What the budget equation is computed from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetTerms {
    /// Memory that software sees on all devices.
    pub total_vram: Bytes,
    /// Share of it to leave free, from 0 to below 1.
    pub safety: f64,
    /// Cache and recurrent state of one request.
    pub kv_cache_per_request: Bytes,
    /// Requests held at once.
    pub concurrency: u64,
    /// Compute buffers, driver context, libraries, reserves.
    pub framework_overhead: Bytes,
}

/// The budget for weights: total_vram × (1 − safety) − kv_cache × concurrency − framework_overhead.
///
/// # Errors
/// [`ErrorKind::OutOfRange`](crate::ErrorKind::OutOfRange) for a safety outside 0 to below 1 or a concurrency
/// beyond its bound, [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) if the caches exceed 2^53 - 1 bytes.
///
/// # Source
/// The sum that every memory calculator starts from; each term of it is computed elsewhere in this crate.
///
/// # Examples
/// ```
/// use llm_vram_core::{Bytes, fit::{BudgetTerms, weights_budget}};
/// let budget = weights_budget(BudgetTerms {
///     total_vram: Bytes::new(24 << 30)?,
///     safety: 0.10,
///     kv_cache_per_request: Bytes::new(1 << 30)?,
///     concurrency: 4,
///     framework_overhead: Bytes::new(1 << 30)?,
/// })?;
/// assert_eq!(budget.weights_bytes.get(), 24 * (1 << 30) - 2_576_980_378 - 5 * (1 << 30));
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
pub fn weights_budget(terms: BudgetTerms) -> Result<Budget> {
    let safety = bounds::safety(terms.safety)?;
    let concurrency = bounds::CONCURRENCY.check(terms.concurrency)?;
    let safety_bytes = terms.total_vram.share(safety);
    let kv_cache_bytes = terms.kv_cache_per_request.checked_mul(concurrency)?;
    Ok(Budget {
        total_bytes: terms.total_vram,
        safety_bytes,
        kv_cache_bytes,
        overhead_bytes: terms.framework_overhead,
        weights_bytes: terms
            .total_vram
            .saturating_sub(safety_bytes)
            .saturating_sub(kv_cache_bytes)
            .saturating_sub(terms.framework_overhead),
    })
}
