//! Writes GGUF headers, for tests that need one of any shape; the suite `headers` compares its output byte by
//! byte with files of the official writer.

/// A metadata value.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum Kv {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Text(String),
    /// The element type's number and the elements.
    List(u32, Vec<Kv>),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Kv {
    fn id(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::Text(_) => 8,
            Self::List(..) => 9,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        }
    }

    /// A JSON value as converters write it: counts as 32-bit integers, numbers as 32-bit floats.
    ///
    /// # Panics
    /// For JSON that no metadata is written from (objects, null, mixed arrays).
    #[must_use]
    pub fn from_json(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => match number.as_u64() {
                Some(count) => u32::try_from(count).map_or(Self::U64(count), Self::U32),
                #[allow(clippy::cast_possible_truncation)]
                None => Self::F32(number.as_f64().unwrap_or(f64::NAN) as f32),
            },
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => {
                let items: Vec<Self> = items
                    .iter()
                    .map(|item| match Self::from_json(item) {
                        #[allow(clippy::cast_possible_wrap)]
                        Self::U32(count) => Self::I32(count as i32),
                        other => other,
                    })
                    .collect();
                Self::List(items.first().map_or(5, Self::id), items)
            }
            other => panic!("no metadata value: {other}"),
        }
    }
}

/// A header in the making.
#[derive(Debug, Clone)]
pub struct GgufWriter {
    version: u32,
    big_endian: bool,
    metadata: Vec<(String, Kv)>,
    tensors: Vec<(String, Vec<u64>, u32, u64)>,
}

impl GgufWriter {
    /// An empty little-endian header of version 3.
    #[must_use]
    pub fn new() -> Self {
        Self { version: 3, big_endian: false, metadata: Vec::new(), tensors: Vec::new() }
    }

    /// With another version and byte order.
    #[must_use]
    pub fn format(mut self, version: u32, big_endian: bool) -> Self {
        (self.version, self.big_endian) = (version, big_endian);
        self
    }

    /// With one more metadata entry.
    #[must_use]
    pub fn kv(mut self, key: &str, value: Kv) -> Self {
        self.metadata.push((key.to_owned(), value));
        self
    }

    /// With one more tensor: name, dimensions (row first), number of the type, offset.
    #[must_use]
    pub fn tensor(mut self, name: &str, shape: &[u64], ty: u32, offset: u64) -> Self {
        self.tensors.push((name.to_owned(), shape.to_vec(), ty, offset));
        self
    }

    /// With another value of a key that is there, or with the key added.
    #[must_use]
    pub fn set(mut self, key: &str, value: Kv) -> Self {
        match self.metadata.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = value,
            None => self.metadata.push((key.to_owned(), value)),
        }
        self
    }

    /// Without a key.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.metadata.retain(|(known, _)| known != key);
        self
    }

    /// With other dimensions of a tensor, which must be there; offsets follow for tensors of four bytes a weight.
    ///
    /// # Panics
    /// If there is no such tensor.
    #[must_use]
    pub fn reshape(mut self, name: &str, shape: &[u64]) -> Self {
        let tensor = self.tensors.iter_mut().find(|(known, ..)| known == name);
        shape.clone_into(&mut tensor.unwrap_or_else(|| panic!("no tensor {name}")).1);
        let mut next = 0_u64;
        for (_, shape, _, offset) in &mut self.tensors {
            *offset = next;
            let elements = shape.iter().fold(4_u64, |product, &n| product.wrapping_mul(n));
            next = next.wrapping_add(elements).wrapping_add(31) / 32 * 32;
        }
        self
    }

    /// The bytes of the header, not padded.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(b"GGUF");
        self.put(&mut out, self.version.to_le_bytes());
        self.put(&mut out, (self.tensors.len() as u64).to_le_bytes());
        self.put(&mut out, (self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            self.text(&mut out, key);
            self.put(&mut out, value.id().to_le_bytes());
            self.value(&mut out, value);
        }
        for (name, shape, ty, offset) in &self.tensors {
            self.text(&mut out, name);
            self.put(&mut out, u32::try_from(shape.len()).unwrap_or(u32::MAX).to_le_bytes());
            for dimension in shape {
                self.put(&mut out, dimension.to_le_bytes());
            }
            self.put(&mut out, ty.to_le_bytes());
            self.put(&mut out, offset.to_le_bytes());
        }
        out
    }

    fn put<const N: usize>(&self, out: &mut Vec<u8>, mut little: [u8; N]) {
        if self.big_endian {
            little.reverse();
        }
        out.extend_from_slice(&little);
    }

    fn text(&self, out: &mut Vec<u8>, text: &str) {
        self.put(out, (text.len() as u64).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }

    fn value(&self, out: &mut Vec<u8>, value: &Kv) {
        match value {
            Kv::U8(value) => self.put(out, value.to_le_bytes()),
            Kv::I8(value) => self.put(out, value.to_le_bytes()),
            Kv::U16(value) => self.put(out, value.to_le_bytes()),
            Kv::I16(value) => self.put(out, value.to_le_bytes()),
            Kv::U32(value) => self.put(out, value.to_le_bytes()),
            Kv::I32(value) => self.put(out, value.to_le_bytes()),
            Kv::F32(value) => self.put(out, value.to_le_bytes()),
            Kv::Bool(value) => self.put(out, [u8::from(*value)]),
            Kv::Text(value) => self.text(out, value),
            Kv::U64(value) => self.put(out, value.to_le_bytes()),
            Kv::I64(value) => self.put(out, value.to_le_bytes()),
            Kv::F64(value) => self.put(out, value.to_le_bytes()),
            Kv::List(element, items) => {
                self.put(out, element.to_le_bytes());
                self.put(out, (items.len() as u64).to_le_bytes());
                for item in items {
                    self.value(out, item);
                }
            }
        }
    }
}

impl Default for GgufWriter {
    fn default() -> Self {
        Self::new()
    }
}
