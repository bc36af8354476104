//! JSON as configuration files hold it: bounded in size, depth and number of values.

use alloc::{
    borrow::{Cow, ToOwned},
    collections::BTreeMap,
    format,
    string::String,
    vec::Vec,
};
use core::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::{
    bounds,
    error::{Error, ErrorKind, Result},
};

/// How many values (numbers, texts, lists, objects) a configuration may hold. Published ones stay below
/// 20,000, even with a quantisation entry for every module.
const VALUE_LIMIT: u32 = 1 << 19;

/// An object: keys in alphabetical order, each once.
pub(super) type Object = BTreeMap<String, Json>;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Flag(bool),
    Integer(u64),
    Negative(i64),
    Real(f64),
    Text(String),
    List(Vec<Json>),
    Object(Object),
}

impl Json {
    /// What kind of value it is, for messages.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag(_) => "true or false",
            Self::Integer(_) | Self::Negative(_) | Self::Real(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// Parses a configuration.
///
/// Python writes `NaN` and `Infinity` where JSON has no number (`time_step_limit` of Mamba models), so
/// these three words are read as texts and are no error unless a number is needed in their place.
pub(super) fn parse(text: &str) -> Result<Object> {
    bounds::CONFIG_BYTES.check(text.len() as u64)?;
    let text = quote_non_finite(text);
    let budget = Budget { values: Cell::new(VALUE_LIMIT), fault: Cell::new(None) };
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let value = (&budget).deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    let error = match value {
        Ok(Json::Object(object)) => return Ok(object),
        Ok(other) => {
            return Err(Error::new(ErrorKind::Malformed, format!("a config.json is an object, not {}", other.kind())));
        }
        Err(error) => error,
    };
    let kind = match budget.fault.take() {
        Some(kind) => kind,
        None if error.is_eof() => ErrorKind::Truncated,
        None => ErrorKind::Malformed,
    };
    Err(Error::new(kind, format!("config.json cannot be read: {error}"))
        .help("give the file as it stands in the model's repository"))
}

/// Puts `NaN`, `Infinity` and `-Infinity` outside of texts in quotes.
fn quote_non_finite(text: &str) -> Cow<'_, str> {
    if !text.contains("NaN") && !text.contains("Infinity") {
        return Cow::Borrowed(text);
    }
    let mut quoted = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(stop) = rest.find(['"', 'N', 'I', '-']) {
        let (before, from) = rest.split_at(stop);
        quoted.push_str(before);
        let taken = match ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| from.starts_with(word)) {
            Some(word) => {
                quoted.push('"');
                quoted.push_str(word);
                quoted.push('"');
                word.len()
            }
            None => {
                let length = if from.starts_with('"') { text_length(from) } else { 1 };
                quoted.push_str(from.get(..length).unwrap_or(from));
                length
            }
        };
        rest = from.get(taken..).unwrap_or("");
    }
    quoted.push_str(rest);
    Cow::Owned(quoted)
}

/// The length of the text that `from` begins with, quotes included.
fn text_length(from: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in from.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    from.len()
}

/// What is left to read, and why reading stopped.
struct Budget {
    values: Cell<u32>,
    fault: Cell<Option<ErrorKind>>,
}

impl Budget {
    fn spend<E: serde::de::Error>(&self) -> core::result::Result<(), E> {
        match self.values.get().checked_sub(1) {
            Some(left) => {
                self.values.set(left);
                Ok(())
            }
            None => {
                self.fault.set(Some(ErrorKind::LimitExceeded));
                Err(E::custom(format!("more than {VALUE_LIMIT} values")))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for &Budget {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> core::result::Result<Json, D::Error> {
        self.spend()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Budget {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> core::result::Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> core::result::Result<Json, E> {
        Ok(Json::Flag(value))
    }

    fn visit_u64<E>(self, value: u64) -> core::result::Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_i64<E>(self, value: i64) -> core::result::Result<Json, E> {
        Ok(u64::try_from(value).map_or(Json::Negative(value), Json::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> core::result::Result<Json, E> {
        Ok(Json::Real(value))
    }

    fn visit_str<E>(self, value: &str) -> core::result::Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> core::result::Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> core::result::Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> core::result::Result<Json, A::Error> {
        let mut object = Object::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
            if object.contains_key(&key) {
                self.fault.set(Some(ErrorKind::Contradiction));
                return Err(serde::de::Error::custom(format!("the key `{key}` stands twice in one object")));
            }
            object.insert(key, value);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn non_finite_numbers_are_texts() {
        let object = parse(r#"{"a": [0.0, Infinity], "b": "NaN \" -Infinity", "c": -Infinity, "d": NaN}"#).unwrap();
        assert_eq!(object["a"], Json::List(alloc::vec![Json::Real(0.0), Json::Text("Infinity".into())]));
        assert_eq!(object["b"], Json::Text("NaN \" -Infinity".into()));
        assert_eq!(object["d"], Json::Text("NaN".into()));
    }

    #[test]
    fn broken_and_hostile_texts_are_errors() {
        let kind = |text: &str| parse(text).unwrap_err().kind();
        assert_eq!(kind("{\"a\": 1"), ErrorKind::Truncated);
        assert_eq!(kind("{\"a\": 1, \"a\": 2}"), ErrorKind::Contradiction);
        assert_eq!(kind("[]"), ErrorKind::Malformed);
        assert_eq!(kind(""), ErrorKind::OutOfRange);
        assert_eq!(kind("{\"NaN"), ErrorKind::Truncated);
        assert_eq!(kind(&"[".repeat(100_000)), ErrorKind::Malformed);
        let many = format!("{{\"a\":[{}0]}}", "0,".repeat(VALUE_LIMIT as usize));
        assert_eq!(kind(&many), ErrorKind::LimitExceeded);
        assert_eq!(kind(&" ".repeat((16 << 20) + 1)), ErrorKind::OutOfRange);
    }
}
