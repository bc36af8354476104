//! The form in which names are compared.
//!
//! Case and separators do not count, except between two digits, where they keep numbers apart:
//! `Gemma 3 1B`, `gemma-3-1b` and `gemma3:1b` are one name, `gemma-31b` is another.

/// The longest name that is looked up, in bytes of its normal form.
pub const MAX_LENGTH: usize = 96;

/// A name in its normal form.
#[derive(Clone, Copy)]
pub struct NormalForm {
    bytes: [u8; MAX_LENGTH],
    length: usize,
}

impl NormalForm {
    /// The normal form of a name, or `None` if it is too long or has no letter or digit.
    ///
    /// Letters outside ASCII are kept as they are.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let mut form = Self { bytes: [0; MAX_LENGTH], length: 0 };
        let mut gap = false;
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || !byte.is_ascii() {
                if gap && byte.is_ascii_digit() && form.last().is_some_and(|last| last.is_ascii_digit()) {
                    form.push(b'.')?;
                }
                form.push(byte.to_ascii_lowercase())?;
                gap = false;
            } else {
                gap = true;
            }
        }
        (form.length > 0).then_some(form)
    }

    fn last(&self) -> Option<u8> {
        self.as_bytes().last().copied()
    }

    fn push(&mut self, byte: u8) -> Option<()> {
        *self.bytes.get_mut(self.length)? = byte;
        self.length += 1;
        Some(())
    }

    /// The bytes of the normal form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
