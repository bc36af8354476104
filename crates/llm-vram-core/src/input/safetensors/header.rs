//! The header of one safetensors file.

use alloc::{borrow::Cow, format, vec::Vec};

use super::{dtype::Dtype, json};
use crate::{
    bounds,
    error::{Error, ErrorKind, Result},
    input::{ReadError, limits},
    units::{Bytes, grouped},
};

/// Bytes of the length that stands before the header.
const LENGTH_BYTES: u64 = 8;

/// An entry of a safetensors header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo<'a> {
    /// The name, for example `model.layers.0.self_attn.q_proj.weight`.
    pub name: Cow<'a, str>,
    /// The element type.
    pub dtype: Dtype,
    /// The dimensions, the row last.
    pub shape: Vec<u64>,
    /// Its bytes.
    pub bytes: Bytes,
    begin: u64,
}

/// The header of a safetensors file, its tensors in the order of their data.
#[derive(Debug, Clone)]
pub struct Header<'a> {
    tensors: Vec<TensorInfo<'a>>,
    header_bytes: Bytes,
    data_bytes: Bytes,
    format: Option<Cow<'a, str>>,
}

/// Reads the header at the beginning of `bytes`, which may be a whole file or only its beginning.
///
/// # Errors
/// As [`Header::read`]; bytes that end within the header are [`ErrorKind::Truncated`].
///
/// ```
/// use llm_vram_core::input::safetensors;
/// let mut file = Vec::from(60_u64.to_le_bytes());
/// file.extend(br#"{"x":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}  "#);
/// let header = safetensors::read(&file)?;
/// assert_eq!(header.tensors()[0].shape, [2, 3]);
/// assert_eq!(header.data_bytes().get(), 12);
/// # Ok::<(), llm_vram_core::Error>(())
/// ```
pub fn read(bytes: &[u8]) -> Result<Header<'_>> {
    Header::read(bytes, None).map_err(Error::from)
}

impl<'a> Header<'a> {
    /// Reads the header at the beginning of `bytes`; `file_bytes` is the size of the whole file, where known.
    ///
    /// Every check of the reference implementation applies: the header's length, the data sections following
    /// each other without gap or overlap, each as long as its type and shape say.
    ///
    /// # Errors
    /// [`ReadError::NeedMoreBytes`] if the header goes on beyond `bytes`; otherwise an error of kind
    /// [`ErrorKind::Malformed`], [`ErrorKind::Truncated`], [`ErrorKind::LimitExceeded`],
    /// [`ErrorKind::Contradiction`] or [`ErrorKind::Unsupported`] (an unknown element type), naming the tensor.
    pub fn read(bytes: &'a [u8], file_bytes: Option<u64>) -> core::result::Result<Self, ReadError> {
        const WHAT: &str = "the safetensors header";
        let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
            return match file_bytes {
                Some(size) if size < LENGTH_BYTES => {
                    Err(Error::new(ErrorKind::Truncated, format!("the file has `{size}` bytes: a header has at least 8")).into())
                }
                _ => Err(ReadError::NeedMoreBytes { at_least: LENGTH_BYTES, what: WHAT }),
            };
        };
        let length = limits::check(u64::from_le_bytes(*length), limits::SAFETENSORS_HEADER_BYTES, "length of the header")?;
        let end = LENGTH_BYTES + length;
        if let Some(size) = file_bytes.filter(|&size| size < end) {
            let message = format!("the header goes on to byte `{end}`, the file ends at {}", grouped(size));
            return Err(Error::new(ErrorKind::Truncated, message).help("the file is cut off: download it again").into());
        }
        let Some(text) = usize::try_from(length).ok().and_then(|length| rest.get(..length)) else {
            return Err(ReadError::NeedMoreBytes { at_least: end, what: WHAT });
        };
        let text = core::str::from_utf8(text)
            .map_err(|error| Error::new(ErrorKind::Malformed, format!("{WHAT} is not UTF-8: {error}")))?;
        let mut header = Self::parse(text)?;
        header.header_bytes = Bytes::new(end)?;
        header.check_layout()?;
        let whole = header.expected_file_bytes();
        match file_bytes {
            Some(size) if size < whole.get() => Err(Error::new(
                ErrorKind::Truncated,
                format!("the file has {} bytes, its tensors end at byte `{}`", grouped(size), whole.get()),
            )
            .help("the file is cut off: download it again")
            .into()),
            Some(size) if size > whole.get() => Err(Error::new(
                ErrorKind::Contradiction,
                format!("the file has {} bytes, its tensors end at byte `{}`", grouped(size), whole.get()),
            )
            .help("the reference implementation refuses a file with more bytes than its header names")
            .into()),
            _ => Ok(header),
        }
    }

    /// The tensors, in the order of their data.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo<'a>] {
        &self.tensors
    }

    /// Bytes of the header with the length before it.
    #[must_use]
    pub const fn header_bytes(&self) -> Bytes {
        self.header_bytes
    }

    /// Bytes of all tensors.
    #[must_use]
    pub const fn data_bytes(&self) -> Bytes {
        self.data_bytes
    }

    /// The size that the file must have.
    #[must_use]
    pub fn expected_file_bytes(&self) -> Bytes {
        self.header_bytes + self.data_bytes
    }

    /// Who wrote it, as `format` of the header's metadata says: `pt`, `mlx`, `tf`.
    #[must_use]
    pub fn format(&self) -> Option<&str> {
        self.format.as_deref()
    }

    fn parse(text: &'a str) -> Result<Self> {
        let mut tensors = Vec::new();
        let mut format = None;
        json::object(text, "the safetensors header", &mut |name, slot| {
            if name == "__metadata__" {
                return slot.object(&mut |key, slot| {
                    let value = slot.text()?;
                    if key == "format" {
                        format = Some(value);
                    }
                    Ok(())
                });
            }
            tensors.push(tensor(name, slot)?);
            Ok(())
        })?;
        limits::check(tensors.len() as u64, limits::TENSORS, "number of tensors")?;
        tensors.sort_unstable_by(|a, b| (a.begin, a.bytes, &a.name).cmp(&(b.begin, b.bytes, &b.name)));
        Ok(Self { tensors, header_bytes: Bytes::ZERO, data_bytes: Bytes::ZERO, format })
    }

    fn check_layout(&mut self) -> Result<()> {
        let mut end = 0;
        for tensor in &self.tensors {
            if tensor.begin != end {
                let what = if tensor.begin < end { "overlaps the tensor before it" } else { "leaves a gap before it" };
                return Err(Error::new(
                    ErrorKind::Contradiction,
                    format!("tensor `{}` at offset `{}` {what}: expected {end}", tensor.name, tensor.begin),
                )
                .field(tensor.name.clone()));
            }
            end = Bytes::from_wide(u128::from(end) + u128::from(tensor.bytes.get()))?.get();
        }
        self.data_bytes = Bytes::new(end)?;
        self.header_bytes.checked_add(self.data_bytes).map(drop)
    }
}

fn tensor<'a>(name: Cow<'a, str>, slot: &mut json::Slot<'_, 'a>) -> Result<TensorInfo<'a>> {
    let (mut dtype, mut shape, mut offsets) = (None, None, None);
    slot.object(&mut |key, slot| {
        match &*key {
            "dtype" => dtype = Some(slot.text()?),
            "shape" => shape = Some(slot.numbers(limits::SAFETENSORS_DIMENSIONS)?),
            "data_offsets" => offsets = Some(slot.numbers(2)?),
            _ => slot.skip()?,
        }
        Ok(())
    })?;
    let missing = |field: &str| {
        Error::new(ErrorKind::MissingField, format!("tensor `{name}` has no `{field}`")).field(name.clone().into_owned())
    };
    let wrong = |kind: ErrorKind, what: alloc::string::String| {
        Error::new(kind, format!("tensor `{name}` {what}")).field(name.clone().into_owned())
    };
    let text = dtype.ok_or_else(|| missing("dtype"))?;
    let shape = shape.ok_or_else(|| missing("shape"))?;
    let offsets = offsets.ok_or_else(|| missing("data_offsets"))?;
    let dtype = Dtype::from_name(&text).ok_or_else(|| {
        let shown: alloc::string::String = text.chars().take(32).collect();
        wrong(ErrorKind::Unsupported, format!("has the unknown element type `{shown}`"))
    })?;
    let [begin, end] = offsets[..] else {
        return Err(wrong(ErrorKind::Malformed, format!("has {} data offsets: expected 2", offsets.len())));
    };
    if begin > end {
        return Err(wrong(ErrorKind::Malformed, format!("ends at `{end}` before it begins at `{begin}`")));
    }
    let elements = shape.iter().try_fold(1_u128, |product, &n| product.checked_mul(n.into()));
    let elements = elements.filter(|&elements| elements <= u128::from(bounds::PARAMETERS.max)).ok_or_else(|| {
        wrong(
            ErrorKind::LimitExceeded,
            format!("has the shape {shape:?}: expected at most {} elements", grouped(bounds::PARAMETERS.max)),
        )
    })?;
    let bits = elements * u128::from(dtype.bits());
    if bits % 8 != 0 || bits / 8 != u128::from(end - begin) {
        let what = format!("has {} bytes of data: {} of shape {shape:?} takes {} bits", grouped(end - begin), dtype.name(), bits);
        return Err(wrong(ErrorKind::Contradiction, what));
    }
    let bytes = Bytes::new(end - begin).map_err(|error| error.field(name.clone().into_owned()))?;
    Ok(TensorInfo { dtype, shape, bytes, begin, name })
}
