//! Values of GGUF metadata.

use alloc::format;

use super::{cursor::Cursor, header::ByteOrder};
use crate::{
    error::{Error, ErrorKind},
    input::{ReadError, limits},
};

type Result<T> = core::result::Result<T, ReadError>;

/// The type of a metadata value, as numbered in GGUF files (`enum gguf_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
#[repr(u8)]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    /// The type of an id, or `None` if there is none of that id.
    #[must_use]
    pub const fn from_id(id: u32) -> Option<Self> {
        Some(match id {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::String,
            9 => Self::Array,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of a value, or `None` for strings and arrays.
    #[must_use]
    pub const fn size(self) -> Option<u64> {
        Some(match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
            Self::String | Self::Array => return None,
        })
    }

    /// The name, for example `u32`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }
}

/// A metadata value. Strings and arrays point into the header's bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// An unsigned integer of any width.
    Unsigned(u64),
    /// A signed integer of any width.
    Signed(i64),
    /// A floating-point number of either width.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A string, not yet checked to be UTF-8.
    String(&'a [u8]),
    /// An array.
    Array(Array<'a>),
}

impl<'a> Value<'a> {
    /// The value as an integer; floating-point numbers only if they are whole (some converters write
    /// counts that way), truth values as 0 and 1.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::float_cmp)]
    pub fn as_integer(&self) -> Option<i128> {
        match *self {
            Self::Unsigned(value) => Some(value.into()),
            Self::Signed(value) => Some(value.into()),
            // 2^53 is the last number up to which every integer has its own floating-point number.
            Self::Float(value) if value.abs() <= 9_007_199_254_740_992.0 && value as i64 as f64 == value => {
                Some(i128::from(value as i64))
            }
            Self::Bool(value) => Some(value.into()),
            Self::Float(_) | Self::String(_) | Self::Array(_) => None,
        }
    }

    /// The string, if it is one and valid UTF-8.
    #[must_use]
    pub const fn as_str(&self) -> Option<&'a str> {
        match *self {
            Self::String(bytes) => match core::str::from_utf8(bytes) {
                Ok(text) => Some(text),
                Err(_) => None,
            },
            _ => None,
        }
    }

    /// What kind of value it is, for messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unsigned(_) | Self::Signed(_) => "an integer",
            Self::Float(_) => "a floating-point number",
            Self::Bool(_) => "a truth value",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
        }
    }

    pub(super) fn read(cursor: &mut Cursor<'a>, key: &str, ty: ValueType) -> Result<Self> {
        const WHAT: &str = "a metadata value";
        match ty {
            ValueType::String => Ok(Self::String(cursor.string(WHAT)?)),
            ValueType::Array => Ok(Self::Array(Array::read(cursor, key, 1)?)),
            scalar => {
                let bytes = cursor.take(scalar.size().unwrap_or(0), WHAT)?;
                Ok(decode(bytes, scalar, cursor.order()))
            }
        }
    }
}

/// An array of a header: its type and length are known, its elements are read when asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Array<'a> {
    element: ValueType,
    length: u64,
    bytes: &'a [u8],
    order: ByteOrder,
}

impl<'a> Array<'a> {
    /// The type of the elements.
    #[must_use]
    pub const fn element(&self) -> ValueType {
        self.element
    }

    /// The number of elements.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The elements of an array of numbers or truth values; nothing for strings and nested arrays.
    pub fn scalars(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (element, order) = (self.element, self.order);
        let size = element.size().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        let bytes = if size == 0 { &[] } else { self.bytes };
        bytes.chunks_exact(size.max(1)).map(move |chunk| decode(chunk, element, order))
    }

    fn read(cursor: &mut Cursor<'a>, key: &str, depth: u32) -> Result<Self> {
        const WHAT: &str = "an array of the metadata";
        if depth > limits::GGUF_ARRAY_DEPTH {
            return Err(limits::exceeded(depth.into(), limits::GGUF_ARRAY_DEPTH.into(), "depth of nested arrays")
                .field(key)
                .into());
        }
        let at = cursor.position();
        let id = cursor.u32(WHAT)?;
        let element = ValueType::from_id(id).ok_or_else(|| unknown_type(key, id, at))?;
        let length = cursor.u64(WHAT)?;
        let start = cursor.position();
        match element {
            ValueType::String => cursor.skip_strings(length, WHAT)?,
            ValueType::Array => {
                // An inner array has at least its type and its length.
                cursor.expect(length, 12, WHAT)?;
                for _ in 0..length {
                    Self::read(cursor, key, depth + 1)?;
                }
            }
            scalar => {
                let size = scalar.size().unwrap_or(1);
                cursor.expect(length, size, WHAT)?;
                cursor.take(length * size, WHAT)?;
            }
        }
        Ok(Self { element, length, bytes: cursor.since(start), order: cursor.order() })
    }
}

#[cold]
pub(super) fn unknown_type(key: &str, id: u32, at: u64) -> Error {
    Error::new(ErrorKind::Malformed, format!("key `{key}` has the unknown value type `{id}` at byte {at}: expected 0 to 12"))
        .field(key)
        .help("the file is damaged or newer than GGUF 3")
}

#[allow(clippy::cast_possible_wrap)]
fn decode<'a>(bytes: &[u8], ty: ValueType, order: ByteOrder) -> Value<'a> {
    let mut little = [0_u8; 8];
    let size = bytes.len().min(8);
    for (to, from) in little.iter_mut().zip(bytes) {
        *to = *from;
    }
    if let (ByteOrder::Big, Some(used)) = (order, little.get_mut(..size)) {
        used.reverse();
    }
    let [b0, b1, b2, b3, ..] = little;
    let wide = u64::from_le_bytes(little);
    match ty {
        ValueType::I8 => Value::Signed(i8::from_le_bytes([b0]).into()),
        ValueType::I16 => Value::Signed(i16::from_le_bytes([b0, b1]).into()),
        ValueType::I32 => Value::Signed(i32::from_le_bytes([b0, b1, b2, b3]).into()),
        ValueType::I64 => Value::Signed(i64::from_le_bytes(little)),
        ValueType::F32 => Value::Float(f32::from_le_bytes([b0, b1, b2, b3]).into()),
        ValueType::F64 => Value::Float(f64::from_le_bytes(little)),
        // Any other number than 0 is true, as in llama.cpp.
        ValueType::Bool => Value::Bool(wide != 0),
        _ => Value::Unsigned(wide),
    }
}
