//! A position in the bytes of a header, with the file's byte order.

use alloc::format;

use super::header::ByteOrder;
use crate::{
    error::{Error, ErrorKind},
    input::{ReadError, limits},
    units::grouped,
};

type Result<T> = core::result::Result<T, ReadError>;

#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
    order: ByteOrder,
    /// The size of the whole file, where it is known; `bytes` may be only its beginning.
    file_bytes: Option<u64>,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8], file_bytes: Option<u64>) -> Self {
        Self { bytes, position: 0, order: ByteOrder::Little, file_bytes }
    }

    pub(super) const fn set_order(&mut self, order: ByteOrder) {
        self.order = order;
    }

    pub(super) const fn order(&self) -> ByteOrder {
        self.order
    }

    pub(super) const fn position(&self) -> u64 {
        self.position as u64
    }

    /// Bytes that are at hand from here on.
    pub(super) const fn at_hand(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The bytes from `start` up to here.
    pub(super) fn since(&self, start: u64) -> &'a [u8] {
        usize::try_from(start).ok().and_then(|start| self.bytes.get(start..self.position)).unwrap_or_default()
    }

    /// Fails if `count` items of at least `each` bytes cannot follow: they end beyond the file or the
    /// limit of a header (an error), or beyond the bytes at hand (more are needed).
    pub(super) fn expect(&self, count: u64, each: u64, what: &'static str) -> Result<()> {
        let end = u128::from(self.position()) + u128::from(count) * u128::from(each);
        if end <= self.bytes.len() as u128 { Ok(()) } else { Err(self.short(end, what)) }
    }

    #[cold]
    fn short(&self, end: u128, what: &'static str) -> ReadError {
        if let Some(file_bytes) = self.file_bytes
            && end > u128::from(file_bytes)
        {
            let message =
                format!("{what} at byte {} goes on to byte `{end}`, the file ends at {}", self.position, grouped(file_bytes));
            return Error::new(ErrorKind::Truncated, message)
                .field(what)
                .help("the file is cut off or damaged: download it again")
                .into();
        }
        match u64::try_from(end) {
            Ok(at_least) if at_least <= limits::GGUF_HEADER_BYTES => ReadError::NeedMoreBytes { at_least, what },
            _ => Error::new(
                ErrorKind::LimitExceeded,
                format!("{what} at byte {} goes on to byte `{end}`: a header has at most {} bytes", self.position, {
                    grouped(limits::GGUF_HEADER_BYTES)
                }),
            )
            .field(what)
            .help("the file is damaged or not what it claims to be")
            .into(),
        }
    }

    pub(super) fn take(&mut self, count: u64, what: &'static str) -> Result<&'a [u8]> {
        self.expect(count, 1, what)?;
        let end = self.position + usize::try_from(count).unwrap_or(usize::MAX);
        let taken = self.bytes.get(self.position..end).unwrap_or_default();
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        match self.bytes.get(self.position..).and_then(<[u8]>::first_chunk::<N>) {
            Some(chunk) => {
                self.position += N;
                Ok(*chunk)
            }
            None => Err(self.short(u128::from(self.position()) + N as u128, what)),
        }
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32> {
        let bytes = self.array(what)?;
        Ok(match self.order {
            ByteOrder::Little => u32::from_le_bytes(bytes),
            ByteOrder::Big => u32::from_be_bytes(bytes),
        })
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64> {
        let bytes = self.array(what)?;
        Ok(match self.order {
            ByteOrder::Little => u64::from_le_bytes(bytes),
            ByteOrder::Big => u64::from_be_bytes(bytes),
        })
    }

    pub(super) fn string(&mut self, what: &'static str) -> Result<&'a [u8]> {
        let length = self.u64(what)?;
        self.take(length, what)
    }

    /// Goes past `count` strings without looking at them: the part of a header that grows with the
    /// vocabulary, so it is a tight loop over the lengths.
    pub(super) fn skip_strings(&mut self, count: u64, what: &'static str) -> Result<()> {
        self.expect(count, 8, what)?;
        let skipped = match self.order {
            ByteOrder::Little => skip_strings(self.bytes, self.position, count, u64::from_le_bytes),
            ByteOrder::Big => skip_strings(self.bytes, self.position, count, u64::from_be_bytes),
        };
        match skipped {
            Ok(position) => {
                self.position = position;
                Ok(())
            }
            Err((position, remaining)) => {
                self.position = position;
                // Reports the string that is cut off, or the lengths that must still follow.
                self.string(what)?;
                self.expect(remaining.saturating_sub(1), 8, what)?;
                Ok(())
            }
        }
    }
}

/// Returns the position after `count` strings, or where and how many strings before the end the bytes run out.
#[inline]
fn skip_strings(
    bytes: &[u8],
    start: usize,
    count: u64,
    decode: impl Fn([u8; 8]) -> u64,
) -> core::result::Result<usize, (usize, u64)> {
    let mut rest = bytes.get(start..).unwrap_or_default();
    for done in 0..count {
        let next = rest.split_first_chunk::<8>().and_then(|(length, text)| {
            let length = usize::try_from(decode(*length)).ok()?;
            text.get(length..)
        });
        match next {
            Some(after) => rest = after,
            None => return Err((bytes.len() - rest.len(), count - done)),
        }
    }
    Ok(bytes.len() - rest.len())
}
