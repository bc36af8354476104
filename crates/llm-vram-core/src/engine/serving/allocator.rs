//! PyTorch's caching allocator, as far as "allocated bytes" goes.
//!
//! Source: PyTorch, `c10/cuda/CUDACachingAllocator.cpp` (`round_size`, `get_allocation_size`,
//! `should_split`, `kMinBlockSize` 512, `kSmallSize` 1 MiB, `kSmallBuffer` 2 MiB, `kLargeBuffer` 20 MiB,
//! `kMinLargeAlloc` 10 MiB, `kRoundLarge` 2 MiB).

use alloc::vec::Vec;

const MIB: u64 = 1 << 20;
const GRAIN: u64 = 512;
const SMALL_REQUEST: u64 = MIB;
const SMALL_SEGMENT: u64 = 2 * MIB;
const MEDIUM_REQUEST: u64 = 10 * MIB;
const MEDIUM_SEGMENT: u64 = 20 * MIB;

/// Counts what a sequence of allocations that are never freed holds.
///
/// A request is cut out of a cached segment; if too little would be left over, the request keeps all of it.
/// So a matrix of 31.5 MiB holds 32.
#[derive(Debug, Clone, Default)]
pub struct Allocator {
    free_small: Vec<u64>,
    free_large: Vec<u64>,
    allocated: u64,
    requested: u64,
}

impl Allocator {
    /// Allocates a tensor.
    pub fn add(&mut self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.requested = self.requested.saturating_add(bytes);
        let size = bytes.div_ceil(GRAIN).saturating_mul(GRAIN);
        let small = size <= SMALL_REQUEST;
        let pool = if small { &mut self.free_small } else { &mut self.free_large };
        // The smallest cached piece that is large enough (the pools are sorted).
        let found = pool.partition_point(|&piece| piece < size);
        let piece = if found < pool.len() {
            pool.remove(found)
        } else if small {
            SMALL_SEGMENT
        } else if size < MEDIUM_REQUEST {
            MEDIUM_SEGMENT
        } else {
            size.div_ceil(2 * MIB).saturating_mul(2 * MIB)
        };
        let rest = piece - size;
        if (small && rest >= GRAIN) || (!small && rest > MIB) {
            let at = pool.partition_point(|&other| other < rest);
            pool.insert(at, rest);
            self.allocated = self.allocated.saturating_add(size);
        } else {
            self.allocated = self.allocated.saturating_add(piece);
        }
    }

    /// What the allocator counts as allocated, in bytes.
    #[must_use]
    pub const fn allocated(&self) -> u64 {
        self.allocated
    }

    /// The bytes that were asked for.
    #[must_use]
    pub const fn requested(&self) -> u64 {
        self.requested
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(sizes: &[u64]) -> u64 {
        let mut allocator = Allocator::default();
        sizes.iter().for_each(|&size| allocator.add(size));
        allocator.allocated()
    }

    #[test]
    fn a_request_keeps_a_remainder_that_is_too_small_to_split_off() {
        assert_eq!(held(&[31 * MIB + MIB / 2]), 32 * MIB);
        assert_eq!(held(&[3 * MIB]), 3 * MIB);
        assert_eq!(held(&[1]), 512);
        assert_eq!(held(&[3 * MIB, 16 * MIB + MIB / 2]), 20 * MIB, "3 MiB, then all of the 17 MiB that are left");
        assert_eq!(held(&[0]), 0);
    }
}
