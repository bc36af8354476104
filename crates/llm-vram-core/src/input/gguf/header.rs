//! The raw header: version, metadata, tensor list, and what the data section must look like.

use alloc::{format, string::String, vec::Vec};

use super::{
    cursor::Cursor,
    split::Split,
    value::{Value, ValueType, unknown_type},
};
use crate::{
    bounds,
    error::{Error, ErrorKind, Result},
    input::{ReadError, limits},
    model::Warning,
    quant::GgmlType,
    units::{Bytes, grouped},
};

const MAGIC: &[u8; 4] = b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;
/// llama.cpp takes names shorter than this (`GGML_MAX_NAME`).
const LLAMA_CPP_NAME_BYTES: usize = 64;

/// The byte order of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Least significant byte first, as nearly every file.
    Little,
    /// Most significant byte first.
    Big,
}

/// An entry of a file's tensor list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorInfo<'a> {
    /// The full name, for example `blk.3.attn_q.weight`.
    pub name: &'a str,
    /// The dimensions, the row first; unused ones are 1.
    pub shape: [u64; 4],
    /// The storage type.
    pub ty: GgmlType,
    /// Where its data begins, counted from the beginning of the data section.
    pub offset: u64,
    /// Its bytes, without padding.
    pub bytes: Bytes,
}

/// The header of a GGUF file. Strings and arrays point into the bytes it was read from.
#[derive(Debug, Clone)]
pub struct Header<'a> {
    pub(super) version: u32,
    pub(super) byte_order: ByteOrder,
    pub(super) alignment: u64,
    pub(super) metadata: Vec<(&'a str, Value<'a>)>,
    pub(super) by_key: Vec<u32>,
    pub(super) tensors: Vec<TensorInfo<'a>>,
    pub(super) header_bytes: Bytes,
    pub(super) data_bytes: Bytes,
    pub(super) file_bytes: Bytes,
    pub(super) warnings: Vec<Warning>,
    pub(super) shards_joined: u64,
}

/// Reads the header at the beginning of `bytes`, which may be a whole file or only its beginning.
///
/// # Errors
/// As [`Header::read`]; bytes that end within the header are [`ErrorKind::Truncated`].
///
/// ```
/// use llm_vram_core::{ErrorKind, input::gguf};
/// assert_eq!(gguf::read(b"GGUF\x03\0\0\0").unwrap_err().kind(), ErrorKind::Truncated);
/// assert_eq!(gguf::read(b"GGML\x03\0\0\0").unwrap_err().kind(), ErrorKind::Malformed);
/// ```
pub fn read(bytes: &[u8]) -> Result<Header<'_>> {
    Header::read(bytes, None).map_err(Error::from)
}

impl<'a> Header<'a> {
    /// Reads the header at the beginning of `bytes`, versions 2 and 3 in either byte order.
    ///
    /// `file_bytes` is the size of the whole file, where it is known: lengths and offsets beyond it are
    /// then errors at once. Time is linear in the header; memory grows with the number of metadata
    /// entries and tensors, not with the vocabulary.
    ///
    /// # Errors
    /// [`ReadError::NeedMoreBytes`] if the header goes on beyond `bytes`; otherwise an error of kind
    /// [`ErrorKind::Malformed`], [`ErrorKind::Truncated`], [`ErrorKind::LimitExceeded`],
    /// [`ErrorKind::Contradiction`], [`ErrorKind::Unsupported`] (GGUF 1, later versions, removed tensor
    /// types) or [`ErrorKind::Overflow`], which names the key or tensor.
    pub fn read(bytes: &'a [u8], file_bytes: Option<u64>) -> core::result::Result<Self, ReadError> {
        let mut cursor = Cursor::new(bytes, file_bytes);
        let version = read_version(&mut cursor)?;
        let tensor_count = cursor.u64("the header")?;
        let metadata_count = cursor.u64("the header")?;
        limits::check(tensor_count, limits::TENSORS, "number of tensors").map_err(|error| error.field("tensor_count"))?;
        limits::check(metadata_count, limits::GGUF_METADATA_ENTRIES, "number of metadata entries")
            .map_err(|error| error.field("metadata_kv_count"))?;

        let metadata = read_metadata(&mut cursor, metadata_count)?;
        let by_key = sorted_by(&metadata, |(key, _)| key);
        if let Some(key) = first_twin(&metadata, &by_key, |(key, _)| key) {
            return Err(Error::new(ErrorKind::Malformed, format!("key `{}` stands twice in the metadata", shown(key.as_bytes())))
                .field(key)
                .into());
        }
        let mut header = Self {
            version,
            byte_order: cursor.order(),
            alignment: DEFAULT_ALIGNMENT,
            metadata,
            by_key,
            tensors: Vec::new(),
            header_bytes: Bytes::ZERO,
            data_bytes: Bytes::ZERO,
            file_bytes: Bytes::ZERO,
            warnings: Vec::new(),
            shards_joined: 1,
        };
        header.alignment = header.read_alignment()?;
        header.tensors = read_tensors(&mut cursor, tensor_count)?;
        header.header_bytes = Bytes::new(cursor.position())?;
        header.check_names()?;
        header.check_offsets(file_bytes)?;
        Ok(header)
    }

    /// The version of the format, 2 or 3.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The byte order.
    #[must_use]
    pub const fn byte_order(&self) -> ByteOrder {
        self.byte_order
    }

    /// The alignment of the data section and of each tensor in it, in bytes.
    #[must_use]
    pub const fn alignment(&self) -> u64 {
        self.alignment
    }

    /// The metadata, in the order of the file.
    #[must_use]
    pub fn metadata(&self) -> &[(&'a str, Value<'a>)] {
        &self.metadata
    }

    /// The value of a metadata key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        let entry = |index: &u32| self.metadata.get(*index as usize);
        let found = self.by_key.binary_search_by(|index| entry(index).map_or("", |(key, _)| key).cmp(key)).ok()?;
        self.by_key.get(found).and_then(entry).map(|(_, value)| value)
    }

    /// The tensors, in the order of the file.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo<'a>] {
        &self.tensors
    }

    /// Bytes of the header, up to the end of the tensor list; of all parts if joined.
    #[must_use]
    pub const fn header_bytes(&self) -> Bytes {
        self.header_bytes
    }

    /// Bytes of the data section, each tensor padded to the alignment; of all parts if joined.
    #[must_use]
    pub const fn data_bytes(&self) -> Bytes {
        self.data_bytes
    }

    /// The size that the file must have: padded header and padded tensors; of all parts if joined.
    #[must_use]
    pub const fn expected_file_bytes(&self) -> Bytes {
        self.file_bytes
    }

    /// Bytes of all tensors, without padding.
    #[must_use]
    pub fn tensor_bytes(&self) -> Bytes {
        self.tensors.iter().map(|tensor| tensor.bytes).sum()
    }

    /// The architecture.
    #[must_use]
    pub fn architecture(&self) -> Option<&'a str> {
        self.get("general.architecture").and_then(Value::as_str)
    }

    /// The file type, for example `Q4_K_M`, where the metadata names a known one.
    #[must_use]
    pub fn file_type(&self) -> Option<&'static str> {
        let number = self.get("general.file_type")?.as_integer()?;
        super::file_type_name(u64::try_from(number).ok()?)
    }

    /// Which part of a split file this is; `None` for a whole file.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`], [`ErrorKind::LimitExceeded`] or [`ErrorKind::Contradiction`] if the
    /// `split.*` keys make no sense.
    pub fn split(&self) -> Result<Option<Split>> {
        Split::of(self)
    }

    /// Remarks: what is unusual but does not make the file unreadable.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    fn read_alignment(&self) -> Result<u64> {
        const KEY: &str = "general.alignment";
        let Some(value) = self.get(KEY) else { return Ok(DEFAULT_ALIGNMENT) };
        let Value::Unsigned(alignment) = *value else {
            return Err(
                Error::new(ErrorKind::Malformed, format!("`{KEY}` is {}: expected an unsigned integer", value.kind())).field(KEY)
            );
        };
        if !alignment.is_power_of_two() {
            return Err(Error::new(ErrorKind::Malformed, format!("`{KEY}` is `{alignment}`: expected a power of two")).field(KEY));
        }
        limits::check(alignment, limits::GGUF_ALIGNMENT, "alignment").map_err(|error| error.field(KEY))
    }

    fn check_names(&mut self) -> Result<()> {
        let by_name = sorted_by(&self.tensors, |tensor| tensor.name);
        if let Some(name) = first_twin(&self.tensors, &by_name, |tensor| tensor.name) {
            return Err(Error::new(ErrorKind::Malformed, format!("tensor `{}` stands twice in the file", shown(name.as_bytes())))
                .field(name));
        }
        if let Some(tensor) = self.tensors.iter().find(|tensor| tensor.name.len() >= LLAMA_CPP_NAME_BYTES) {
            let message = format!("tensor name `{}` has {} bytes: llama.cpp loads names up to 63", tensor.name, tensor.name.len());
            self.warnings.push(Warning::new("long_tensor_name", message));
        }
        Ok(())
    }

    /// Lays the tensors out as their types and shapes say and compares the offsets.
    fn check_offsets(&mut self, file_bytes: Option<u64>) -> Result<()> {
        let align = self.alignment;
        let data_begins = if self.tensors.is_empty() { self.header_bytes } else { self.header_bytes.align_up(align) };
        // Sequential in every file that llama.cpp loads (gguf.cpp compares each offset with the running sum).
        let mut expected = 0_u64;
        let mut sequential = true;
        for tensor in &self.tensors {
            if tensor.offset % align != 0 {
                return Err(Error::new(
                    ErrorKind::Malformed,
                    format!(
                        "tensor `{}` has offset `{}`: expected a multiple of the alignment {align}",
                        tensor.name, tensor.offset
                    ),
                )
                .field(tensor.name));
            }
            sequential &= tensor.offset == expected;
            expected = tensor_end(tensor, align)?;
        }
        let mut end = expected;
        if !sequential {
            end = self.check_overlaps()?;
            self.warnings.push(Warning::new(
                "offsets_not_sequential",
                "the tensors do not follow each other without gaps in the order of the list: llama.cpp refuses such a file",
            ));
        }
        self.data_bytes = Bytes::new(end)?;
        self.file_bytes = data_begins.checked_add(self.data_bytes)?;
        match file_bytes {
            // The padding after the last tensor may be missing.
            Some(size) if size < self.last_byte(data_begins) => Err(Error::new(
                ErrorKind::Truncated,
                format!("the file has {} bytes, its tensors end at byte `{}`", grouped(size), self.last_byte(data_begins)),
            )
            .field("tensors")
            .help("the file is cut off: download it again")),
            _ => Ok(()),
        }
    }

    fn last_byte(&self, data_begins: Bytes) -> u64 {
        let ends = self.tensors.iter().map(|tensor| tensor.offset.saturating_add(tensor.bytes.get()));
        data_begins.get().saturating_add(ends.max().unwrap_or(0))
    }

    fn check_overlaps(&self) -> Result<u64> {
        let mut by_offset: Vec<&TensorInfo<'_>> = self.tensors.iter().collect();
        by_offset.sort_unstable_by_key(|tensor| tensor.offset);
        let mut end = 0;
        let mut previous = "";
        for tensor in by_offset {
            if tensor.offset < end {
                return Err(Error::new(
                    ErrorKind::Contradiction,
                    format!(
                        "tensor `{}` at offset `{}` overlaps tensor `{previous}`, which ends at {end}",
                        tensor.name, tensor.offset
                    ),
                )
                .field(tensor.name));
            }
            end = tensor_end(tensor, self.alignment)?;
            previous = tensor.name;
        }
        Ok(end)
    }
}

fn tensor_end(tensor: &TensorInfo<'_>, align: u64) -> Result<u64> {
    let padded = u128::from(tensor.bytes.get()).next_multiple_of(u128::from(align.max(1)));
    match Bytes::from_wide(u128::from(tensor.offset) + padded) {
        Ok(end) => Ok(end.get()),
        Err(error) => Err(error.field(tensor.name).help("the tensor's offset or size is a lie")),
    }
}

fn read_version(cursor: &mut Cursor<'_>) -> core::result::Result<u32, ReadError> {
    let magic = cursor.take(4, "the magic number")?;
    if magic != MAGIC {
        return Err(Error::new(ErrorKind::Malformed, format!("the file begins with `{}`: expected `GGUF`", shown(magic)))
            .field("magic")
            .help("give a GGUF file; older GGML files must be converted")
            .into());
    }
    let raw = cursor.u32("the version")?;
    // The magic number is the same in both byte orders; a version with nothing in its lower half is the
    // other one's (gguf.cpp).
    let version = if raw & 0xFFFF == 0 {
        cursor.set_order(ByteOrder::Big);
        raw.swap_bytes()
    } else {
        raw
    };
    match version {
        2 | 3 => Ok(version),
        0 => Err(Error::new(ErrorKind::Malformed, "GGUF version `0` does not exist: expected 2 or 3").field("version").into()),
        1 => Err(Error::new(ErrorKind::Unsupported, "GGUF version `1` is no longer in use: expected 2 or 3")
            .field("version")
            .help("convert the model again with a current converter; llama.cpp refuses version 1 too")
            .into()),
        later => Err(Error::new(ErrorKind::Unsupported, format!("GGUF version `{later}` is not known: expected 2 or 3"))
            .field("version")
            .help("the file is damaged or newer than this program")
            .into()),
    }
}

/// Room for the announced number of entries, but never for more than the bytes at hand can hold.
fn room(cursor: &Cursor<'_>, count: u64, smallest: usize) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).min(cursor.at_hand() / smallest)
}

fn read_metadata<'a>(cursor: &mut Cursor<'a>, count: u64) -> core::result::Result<Vec<(&'a str, Value<'a>)>, ReadError> {
    const WHAT: &str = "the metadata";
    // A key has its length and a byte, a value its type and a byte.
    const SMALLEST: u64 = 8 + 1 + 4 + 1;
    cursor.expect(count, SMALLEST, WHAT)?;
    let mut metadata = Vec::with_capacity(room(cursor, count, SMALLEST as usize));
    for number in 0..count {
        let at = cursor.position();
        let key = name(cursor, limits::GGUF_KEY_BYTES, "a metadata key", number)?;
        if key.is_empty() {
            return Err(Error::new(ErrorKind::Malformed, format!("metadata key {number} at byte {at} is empty")).into());
        }
        let type_at = cursor.position();
        let id = cursor.u32(WHAT)?;
        let ty = ValueType::from_id(id).ok_or_else(|| unknown_type(key, id, type_at))?;
        metadata.push((key, Value::read(cursor, key, ty)?));
    }
    Ok(metadata)
}

fn read_tensors<'a>(cursor: &mut Cursor<'a>, count: u64) -> core::result::Result<Vec<TensorInfo<'a>>, ReadError> {
    // A name has its length and a byte, then come dimensions, type and offset.
    const SMALLEST: u64 = 8 + 1 + 4 + 4 + 8;
    cursor.expect(count, SMALLEST, "the tensor list")?;
    let mut tensors = Vec::with_capacity(room(cursor, count, SMALLEST as usize));
    for number in 0..count {
        tensors.push(read_tensor(cursor, number)?);
    }
    Ok(tensors)
}

fn read_tensor<'a>(cursor: &mut Cursor<'a>, number: u64) -> core::result::Result<TensorInfo<'a>, ReadError> {
    const WHAT: &str = "the tensor list";
    let at = cursor.position();
    let name = name(cursor, limits::GGUF_TENSOR_NAME_BYTES, "a tensor name", number)?;
    let malformed = |kind: ErrorKind, what: String| Error::new(kind, format!("tensor `{name}` at byte {at} {what}")).field(name);
    if name.is_empty() {
        return Err(Error::new(ErrorKind::Malformed, format!("the name of tensor {number} at byte {at} is empty")).into());
    }
    let dimensions = cursor.u32(WHAT)?;
    let mut shape = [1_u64; 4];
    let Some(used) = usize::try_from(dimensions).ok().and_then(|used| shape.get_mut(..used)) else {
        return Err(malformed(ErrorKind::Malformed, format!("has `{dimensions}` dimensions: expected up to 4")).into());
    };
    for dimension in used {
        *dimension = cursor.u64(WHAT)?;
        if *dimension == 0 {
            return Err(malformed(ErrorKind::Malformed, String::from("has a dimension of `0`: expected at least 1")).into());
        }
        if *dimension > bounds::TENSOR_DIMENSION.max {
            let what = format!("has a dimension of `{dimension}`: expected at most {}", grouped(bounds::TENSOR_DIMENSION.max));
            return Err(malformed(ErrorKind::LimitExceeded, what).into());
        }
    }
    // Each dimension is below 2^41, so only the last product can leave 128 bits; it is checked.
    let elements = shape.iter().try_fold(1_u128, |product, &n| product.checked_mul(n.into()));
    if elements.is_none_or(|elements| elements > u128::from(bounds::PARAMETERS.max)) {
        let what = format!("has the shape {shape:?}: expected at most {} weights", grouped(bounds::PARAMETERS.max));
        return Err(malformed(ErrorKind::LimitExceeded, what).into());
    }
    let id = cursor.u32(WHAT)?;
    let Some(ty) = GgmlType::from_id(id) else {
        return Err(malformed(ErrorKind::Unsupported, format!("has the unknown or removed type `{id}`"))
            .help("the file is damaged, from an old llama.cpp (convert it again) or newer than this program")
            .into());
    };
    if shape[0] % ty.block_len() != 0 {
        let what = format!("has rows of {} weights: {} stores blocks of {}", shape[0], ty.name(), ty.block_len());
        return Err(malformed(ErrorKind::Contradiction, what).into());
    }
    let bytes = ty.tensor_bytes(shape).map_err(|error| error.field(name))?;
    let offset = cursor.u64(WHAT)?;
    Ok(TensorInfo { name, shape, ty, offset, bytes })
}

fn name<'a>(cursor: &mut Cursor<'a>, limit: u64, what: &'static str, number: u64) -> core::result::Result<&'a str, ReadError> {
    let at = cursor.position();
    let length = cursor.u64(what)?;
    limits::check(length, limit, "length of a name")
        .map_err(|error| error.field(format!("{what} (number {number}, byte {at})")))?;
    let bytes = cursor.take(length, what)?;
    core::str::from_utf8(bytes).map_err(|_| {
        Error::new(ErrorKind::Malformed, format!("{what} (number {number}, byte {at}) is not UTF-8: `{}`", shown(bytes))).into()
    })
}

/// Bytes as they can be shown in a message: ASCII as it is, the rest escaped, not too long.
fn shown(bytes: &[u8]) -> String {
    let mut text = format!("{}", bytes.get(..48).unwrap_or(bytes).escape_ascii());
    if bytes.len() > 48 {
        text.push_str("...");
    }
    text
}

fn sorted_by<T>(items: &[T], name: impl Fn(&T) -> &str) -> Vec<u32> {
    let mut order: Vec<u32> = (0..u32::try_from(items.len()).unwrap_or(u32::MAX)).collect();
    order.sort_unstable_by(|&a, &b| name(&items[a as usize]).cmp(name(&items[b as usize])));
    order
}

fn first_twin<'t, T>(items: &'t [T], order: &[u32], name: impl Fn(&'t T) -> &'t str) -> Option<&'t str> {
    let names = order.windows(2).map(|pair| [name(&items[pair[0] as usize]), name(&items[pair[1] as usize])]);
    names.into_iter().find(|[a, b]| a == b).map(|[a, _]| a)
}

/// Whether any of the tensors has that name.
pub(super) fn twin_of_any<'a>(tensors: &[TensorInfo<'a>]) -> Option<&'a str> {
    let mut names: Vec<&'a str> = tensors.iter().map(|tensor| tensor.name).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}
