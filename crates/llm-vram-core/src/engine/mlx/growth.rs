//! How each cache class of mlx-lm grows, in slots (tokens that its buffers have room for).
//!
//! Source: mlx-lm 0.32.2, `models/cache.py`: `KVCache`, `QuantizedKVCache`, `RotatingKVCache`, `ChunkedKVCache`,
//! `BatchKVCache`, `BatchRotatingKVCache` (`update_and_fetch`, `merge`, `filter`); `generate.py:generate_step`.

use alloc::vec::Vec;

/// Slots are added in steps of this many (`step` of every class).
pub(super) const STEP: u64 = 256;

/// A cache class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheClass {
    /// `KVCache`: everything, in steps of 256; nothing is reserved. `QuantizedKVCache` grows alike.
    Full,
    /// `RotatingKVCache`: the last `max_size` tokens once decoding.
    Rotating {
        /// Tokens held.
        max_size: u64,
        /// First tokens that are never overwritten.
        keep: u64,
    },
    /// `ChunkedKVCache`: cut at the front before each call.
    Chunked {
        /// Tokens that a cut leaves.
        chunk_size: u64,
    },
}

/// A cache while tokens are fed to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    class: CacheClass,
    slots: u64,
    offset: u64,
    /// Rotating: where the next token goes. Chunked: tokens cut off so far.
    position: u64,
}

impl Growth {
    /// An empty cache.
    #[must_use]
    pub const fn new(class: CacheClass) -> Self {
        Self { class, slots: 0, offset: 0, position: 0 }
    }

    /// A batch of caches that hold at most `longest` tokens, merged: as many slots as the longest has tokens, but the
    /// window's at most. Every sequence of the batch has that many.
    #[must_use]
    pub const fn merged(class: CacheClass, longest: u64) -> Self {
        let slots = match class {
            CacheClass::Rotating { max_size, .. } if longest > max_size => max_size,
            _ => longest,
        };
        Self { class, slots, offset: longest, position: if matches!(class, CacheClass::Rotating { .. }) { slots } else { 0 } }
    }

    /// The slots that its buffers have.
    #[must_use]
    pub const fn slots(&self) -> u64 {
        self.slots
    }

    /// Feeds the next `tokens` in one call.
    pub const fn feed(&mut self, tokens: u64) {
        if tokens == 0 {
            return;
        }
        match self.class {
            CacheClass::Full => self.extend(self.offset, tokens),
            CacheClass::Chunked { chunk_size } => {
                let held = self.offset - self.position;
                if self.slots > 0 && held > chunk_size {
                    self.position += held - chunk_size;
                    self.slots = chunk_size;
                }
                self.extend(self.offset - self.position, tokens);
            }
            CacheClass::Rotating { max_size, .. } if tokens > 1 => self.rotate_chunk(max_size, tokens),
            CacheClass::Rotating { max_size, keep } => self.rotate_one(max_size, keep),
        }
        self.offset += tokens;
    }

    /// Adds whole steps where the buffers are too short; a part-filled step is cut off before.
    const fn extend(&mut self, held: u64, tokens: u64) {
        if self.slots > 0 && held + tokens <= self.slots {
            return;
        }
        let kept = if self.slots == 0 || held.is_multiple_of(STEP) { self.slots } else { held };
        self.slots = kept + tokens.div_ceil(STEP) * STEP;
    }

    /// Several tokens: appended to at most the last `max_size - 1`, without padding.
    const fn rotate_chunk(&mut self, max_size: u64, tokens: u64) {
        // A buffer that has not been filled is cut to what it holds.
        let held = if self.position == self.slots || self.position < self.offset { self.slots } else { self.position };
        let kept = if held + 1 > max_size { max_size.saturating_sub(1) } else { held };
        self.slots = if self.slots == 0 { tokens } else { kept + tokens };
        self.position = self.slots;
    }

    /// One token: grown by a step at most up to the window, cut to the window, then overwritten in turn.
    const fn rotate_one(&mut self, max_size: u64, keep: u64) {
        if self.slots == 0 || (self.offset >= self.slots && self.slots < max_size) {
            let room = max_size.saturating_sub(self.offset);
            self.slots += if room < STEP { room } else { STEP };
            self.position = self.offset;
        }
        if self.slots > max_size {
            self.slots = max_size;
            self.position = max_size;
        }
        if self.position == max_size {
            self.position = keep;
        }
        self.position += 1;
    }
}

/// A cache after a prompt, fed as `generate_step` feeds it: all but the last token in chunks, then that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    /// The most slots at any time of the prefill.
    pub peak_slots: u64,
    /// Slots when the prefill ends.
    pub prefill_slots: u64,
    /// Slots once the last token is fed, which is when decoding starts.
    pub slots: u64,
    /// Tokens of the last chunk.
    pub last_chunk: u64,
}

/// Feeds a prompt of `tokens` in chunks of at most `prefill_step_size`.
#[must_use]
pub fn fill(class: CacheClass, tokens: u64, prefill_step_size: u64) -> Filled {
    let step = prefill_step_size.max(1);
    let mut cache = Growth::new(class);
    let mut peak_slots = 0;
    let mut left = tokens.saturating_sub(1);
    let mut last_chunk = 0;
    while left > 0 {
        last_chunk = left.min(step);
        cache.feed(last_chunk);
        peak_slots = peak_slots.max(cache.slots());
        left -= last_chunk;
    }
    let prefill_slots = cache.slots();
    cache.feed(tokens.min(1));
    Filled { peak_slots: peak_slots.max(cache.slots()), prefill_slots, slots: cache.slots(), last_chunk }
}

/// Filled caches by class: layers share a few classes, and a long prompt takes many calls.
#[derive(Debug, Default)]
pub(super) struct FillTable(Vec<(CacheClass, Filled)>);

impl FillTable {
    /// [`fill`], computed once per class; to be asked about one prompt only.
    pub(super) fn fill(&mut self, class: CacheClass, tokens: u64, prefill_step_size: u64) -> Filled {
        if let Some((_, filled)) = self.0.iter().find(|(known, _)| *known == class) {
            return *filled;
        }
        let filled = fill(class, tokens, prefill_step_size);
        self.0.push((class, filled));
        filled
    }
}
