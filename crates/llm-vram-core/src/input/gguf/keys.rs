//! Typed look-ups of an architecture's metadata keys.

use alloc::{format, string::String, vec::Vec};

use super::{
    header::Header,
    value::{Array, Value},
};
use crate::{
    bounds::{self, Bound},
    error::{Error, ErrorKind, Result},
    model::{PerLayer, WindowPattern},
};

/// The keys below `general.architecture` of a header.
pub(super) struct Keys<'h, 'a> {
    header: &'h Header<'a>,
    architecture: &'a str,
}

impl<'h, 'a> Keys<'h, 'a> {
    pub(super) const fn new(header: &'h Header<'a>, architecture: &'a str) -> Self {
        Self { header, architecture }
    }

    pub(super) const fn architecture(&self) -> &'a str {
        self.architecture
    }

    pub(super) fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn get(&self, key: &str) -> Option<&'h Value<'a>> {
        self.header.get(&self.full(key))
    }

    /// A count or size. Some converters write these as floating-point numbers; whole ones are taken.
    pub(super) fn count(&self, key: &str, bound: Bound) -> Result<Option<u32>> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => self.number(key, value, bound).map(Some),
        }
    }

    pub(super) fn wide_count(&self, key: &str, bound: Bound) -> Result<Option<u64>> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => self.wide_number(key, value, bound).map(Some),
        }
    }

    pub(super) fn required(&self, key: &str, bound: Bound) -> Result<u32> {
        self.count(key, bound)?.ok_or_else(|| self.missing(key))
    }

    #[cold]
    pub(super) fn missing(&self, key: &str) -> Error {
        let key = self.full(key);
        Error::new(ErrorKind::MissingField, format!("the metadata has no `{key}`"))
            .field(key)
            .help("the file is incomplete: llama.cpp cannot load it either")
    }

    /// The same number for every block, or one for each.
    pub(super) fn per_layer(&self, key: &str, bound: Bound, blocks: u32) -> Result<Option<PerLayer<u32>>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(array)) => {
                let values = self.elements(key, array, blocks)?.map(|value| self.number(key, &value, bound));
                values.collect::<Result<Vec<u32>>>().map(|values| Some(simplest(values)))
            }
            Some(value) => Ok(Some(PerLayer::Uniform(self.number(key, value, bound)?))),
        }
    }

    /// One number for each block from an array that may go on (llama.cpp refuses one that is shorter), or one for all.
    pub(super) fn per_layer_prefix(&self, key: &str, bound: Bound, blocks: u32) -> Result<Option<Vec<u32>>> {
        match self.get(key) {
            Some(Value::Array(array)) if array.len() > u64::from(blocks) && array.element().size().is_some() => {
                array.scalars().take(blocks as usize).map(|value| self.number(key, &value, bound)).collect::<Result<_>>().map(Some)
            }
            _ => Ok(self.per_layer(key, bound, blocks)?.map(|values| values.iter(blocks).collect())),
        }
    }

    /// The largest of one number for each block, and whether they differ.
    pub(super) fn largest(&self, key: &str, bound: Bound, blocks: u32) -> Result<Option<(u32, bool)>> {
        Ok(self.per_layer(key, bound, blocks)?.map(|values| match values {
            PerLayer::Uniform(value) => (value, false),
            PerLayer::Each(values) => (values.into_iter().max().unwrap_or(0), true),
        }))
    }

    /// One flag for each block; an array that is too short ends with `false` (llama-model-loader.cpp).
    pub(super) fn flags(&self, key: &str, blocks: u32) -> Result<Option<Vec<bool>>> {
        let Some(Value::Array(array)) = self.get(key) else { return Ok(None) };
        self.flags_of(key, array, blocks).map(Some)
    }

    pub(super) fn window_pattern(&self, key: &str, blocks: u32) -> Result<Option<WindowPattern>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(array)) => Ok(Some(WindowPattern::Each(self.flags_of(key, array, blocks)?))),
            Some(value) => {
                let period =
                    Bound { name: "sliding_window_pattern", human: "sliding-window period", min: 1, ..bounds::BLOCK_COUNT };
                Ok(Some(WindowPattern::Period(self.number(key, value, period)?)))
            }
        }
    }

    /// A truth value.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_integer() {
            Some(number) => Ok(Some(number != 0)),
            None => Err(self.wrong(key, value, "a truth value")),
        }
    }

    /// A finite factor.
    pub(super) fn factor(&self, key: &str) -> Result<Option<f64>> {
        let value = match self.get(key) {
            None => return Ok(None),
            Some(Value::Float(value)) => *value,
            Some(value) => match value.as_integer().and_then(|value| i32::try_from(value).ok()) {
                Some(value) => value.into(),
                None => return Err(self.wrong(key, value, "a number")),
            },
        };
        if value.is_finite() {
            return Ok(Some(value));
        }
        let key = self.full(key);
        Err(Error::new(ErrorKind::InvalidValue, format!("`{key}` is `{value}`: expected a finite number")).field(key))
    }

    fn flags_of(&self, key: &str, array: &Array<'a>, blocks: u32) -> Result<Vec<bool>> {
        if array.len() > u64::from(blocks) {
            return Err(self.wrong_length(key, array.len(), blocks));
        }
        let mut flags = Vec::with_capacity(blocks as usize);
        for value in array.scalars() {
            match value.as_integer() {
                Some(number) => flags.push(number != 0),
                None => return Err(self.wrong(key, &value, "truth values")),
            }
        }
        flags.resize(blocks as usize, false);
        Ok(flags)
    }

    fn elements(&self, key: &str, array: &Array<'a>, blocks: u32) -> Result<impl Iterator<Item = Value<'a>> + use<'a>> {
        if array.len() != u64::from(blocks) {
            return Err(self.wrong_length(key, array.len(), blocks));
        }
        if array.element().size().is_none() {
            let key = self.full(key);
            let message = format!("`{key}` is an array of {}s: expected numbers", array.element().name());
            return Err(Error::new(ErrorKind::InvalidValue, message).field(key));
        }
        Ok(array.scalars())
    }

    fn number(&self, key: &str, value: &Value<'a>, bound: Bound) -> Result<u32> {
        let wide = self.wide_number(key, value, bound)?;
        u32::try_from(wide).map_err(|_| bound.error(&format!("{wide}")).field(self.full(key)))
    }

    fn wide_number(&self, key: &str, value: &Value<'a>, bound: Bound) -> Result<u64> {
        let Some(integer) = value.as_integer() else { return Err(self.wrong(key, value, "an integer")) };
        match u64::try_from(integer) {
            Ok(number) if (bound.min..=bound.max).contains(&number) => Ok(number),
            _ => Err(bound.error(&format!("{integer}")).field(self.full(key))),
        }
    }

    #[cold]
    fn wrong(&self, key: &str, value: &Value<'a>, expected: &str) -> Error {
        let key = self.full(key);
        let found = match value {
            Value::Float(number) => format!("`{number}`"),
            other => String::from(other.kind()),
        };
        Error::new(ErrorKind::InvalidValue, format!("`{key}` is {found}: expected {expected}")).field(key)
    }

    #[cold]
    fn wrong_length(&self, key: &str, found: u64, blocks: u32) -> Error {
        let key = self.full(key);
        Error::new(ErrorKind::Contradiction, format!("`{key}` has {found} entries for {blocks} layers")).field(key)
    }
}

/// Arrays whose entries are all equal are as good as one number.
fn simplest(values: Vec<u32>) -> PerLayer<u32> {
    match values.first() {
        Some(&first) if values.iter().all(|&value| value == first) => PerLayer::Uniform(first),
        _ => PerLayer::Each(values),
    }
}
