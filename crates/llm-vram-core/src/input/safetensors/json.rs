//! JSON objects from an untrusted source, read entry by entry.
//!
//! Values are read three levels deep at most and skipped without recursion otherwise, so nesting costs no stack;
//! entries are limited, and a key that stands twice is an error.

use alloc::{borrow::Cow, format, string::String, vec::Vec};
use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{
    error::{Error, ErrorKind, Result},
    input::limits,
};

/// Reads `text`, one object, with `entry` called for every key.
pub(super) fn object<'a>(text: &'a str, what: &str, entry: &mut Entry<'_, 'a>) -> Result<()> {
    let mut problem = None;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = Object { entry, problem: &mut problem };
    let result = seed.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (problem, result) {
        (Some(problem), _) => Err(problem),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => {
            let kind = if error.is_eof() { ErrorKind::Truncated } else { ErrorKind::Malformed };
            Err(Error::new(kind, format!("{what} is not readable: {error}")).help("the file is damaged: download it again"))
        }
    }
}

/// Takes one key and its value.
pub(super) type Entry<'f, 'a> = dyn FnMut(Cow<'a, str>, &mut Slot<'_, 'a>) -> Result<()> + 'f;

/// The value of a key, to be read in one of these forms; left alone, it is skipped.
pub(super) struct Slot<'s, 'a> {
    read: &'s mut dyn FnMut(Form<'_, 'a>) -> core::result::Result<(), String>,
}

/// What a value is expected to be, and where it goes.
pub(super) enum Form<'f, 'a> {
    Text(&'f mut Cow<'a, str>),
    Number(&'f mut u64),
    Numbers(&'f mut Vec<u64>, usize),
    Object(&'f mut Entry<'f, 'a>, &'f mut Option<Error>),
    Anything,
}

impl<'a> Slot<'_, 'a> {
    fn take(&mut self, form: Form<'_, 'a>) -> Result<()> {
        (self.read)(form).map_err(|error| Error::new(ErrorKind::Malformed, error))
    }

    pub(super) fn text(&mut self) -> Result<Cow<'a, str>> {
        let mut text = Cow::Borrowed("");
        self.take(Form::Text(&mut text))?;
        Ok(text)
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        self.take(Form::Number(&mut number))?;
        Ok(number)
    }

    /// At most `limit` numbers.
    pub(super) fn numbers(&mut self, limit: usize) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        self.take(Form::Numbers(&mut numbers, limit))?;
        Ok(numbers)
    }

    pub(super) fn object(&mut self, entry: &mut Entry<'_, 'a>) -> Result<()> {
        let mut problem = None;
        let read = (self.read)(Form::Object(entry, &mut problem));
        match (problem, read) {
            (Some(problem), _) => Err(problem),
            (None, read) => read.map_err(|error| Error::new(ErrorKind::Malformed, error)),
        }
    }

    pub(super) fn skip(&mut self) -> Result<()> {
        self.take(Form::Anything)
    }
}

struct Object<'o, 'f, 'a> {
    entry: &'o mut Entry<'f, 'a>,
    problem: &'o mut Option<Error>,
}

impl<'a> DeserializeSeed<'a> for Object<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> core::result::Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Object<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> core::result::Result<(), A::Error> {
        let mut keys: Vec<Cow<'a, str>> = Vec::new();
        while let Some(Text(key)) = map.next_key()? {
            if let Err(problem) = limits::check(keys.len() as u64 + 1, limits::TENSORS + 1, "number of entries") {
                *self.problem = Some(problem);
                return Err(A::Error::custom("too many entries"));
            }
            keys.push(key.clone());
            let mut taken = false;
            let mut failure = None;
            let mut read = |form: Form<'_, 'a>| {
                taken = true;
                map.next_value_seed(form).map_err(|error| {
                    let message = format!("{error}");
                    failure = Some(error);
                    message
                })
            };
            let outcome = (self.entry)(key, &mut Slot { read: &mut read });
            // A value that is not JSON of the expected form is reported with its place.
            if let Some(error) = failure {
                if let Err(problem) = outcome
                    && problem.kind() != ErrorKind::Malformed
                {
                    *self.problem = Some(problem);
                }
                return Err(error);
            }
            if let Err(problem) = outcome {
                *self.problem = Some(problem);
                return Err(A::Error::custom("refused"));
            }
            if !taken {
                map.next_value::<IgnoredAny>()?;
            }
        }
        keys.sort_unstable();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("key `{}` stands twice", pair[0]);
            *self.problem = Some(Error::new(ErrorKind::Malformed, message).field(pair[0].clone()));
            return Err(A::Error::custom("a key stands twice"));
        }
        Ok(())
    }
}

impl<'a> DeserializeSeed<'a> for Form<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> core::result::Result<(), D::Error> {
        match self {
            Self::Text(into) => *into = <Text<'a> as serde::Deserialize>::deserialize(deserializer)?.0,
            Self::Number(into) => *into = <u64 as serde::Deserialize>::deserialize(deserializer)?,
            Self::Numbers(into, limit) => deserializer.deserialize_seq(Numbers(into, limit))?,
            Self::Object(entry, problem) => Object { entry, problem }.deserialize(deserializer)?,
            Self::Anything => {
                deserializer.deserialize_ignored_any(IgnoredAny)?;
            }
        }
        Ok(())
    }
}

struct Numbers<'n>(&'n mut Vec<u64>, usize);

impl<'a> Visitor<'a> for Numbers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of up to {} numbers", self.1)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> core::result::Result<(), A::Error> {
        while let Some(number) = items.next_element()? {
            if self.0.len() == self.1 {
                return Err(A::Error::custom(format!("more than {} numbers", self.1)));
            }
            self.0.push(number);
        }
        Ok(())
    }
}

/// Text that is borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'a> serde::Deserialize<'a> for Text<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> core::result::Result<Self, D::Error> {
        struct TextVisitor;
        impl<'a> Visitor<'a> for TextVisitor {
            type Value = Text<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'a str) -> core::result::Result<Text<'a>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> core::result::Result<Text<'a>, E> {
                Ok(Text(Cow::Owned(String::from(text))))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}
