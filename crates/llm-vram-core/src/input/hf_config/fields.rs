//! Typed, bounded access to the fields of a configuration, with the class defaults of its `model_type`.

use alloc::{format, string::String, vec::Vec};

use super::{
    defaults::{self, Preset},
    json::{Json, Object},
};
use crate::{
    bounds::{self, Bound},
    error::{Error, ErrorKind, Result},
};

/// Names that different model classes give to the same quantity; the first is the one used here.
/// Source: `attribute_map` of the configuration classes of transformers 5.23.
const SYNONYMS: &[&[&str]] = &[
    &["hidden_size", "n_embd", "d_model", "dim"],
    &["num_hidden_layers", "n_layer", "n_layers", "num_layers"],
    &["num_attention_heads", "n_head", "n_heads", "num_heads"],
    &["num_key_value_heads", "num_kv_heads", "num_attention_groups"],
    &["max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length"],
    &["moe_intermediate_size", "expert_ffn_hidden_size"],
    &["intermediate_size", "block_ff_dim", "ffn_hidden_size", "ffn_dim", "n_inner"],
    &["num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"],
    &["num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts", "moe_top_k"],
    &["num_shared_experts", "n_shared_experts", "num_shared_expert", "moe_num_shared_experts"],
    &["tie_word_embeddings", "tie_embedding"],
    &["layer_types", "layers_block_type"],
];

/// The bound of a field, where a quantity has one.
const BOUNDS: &[(&str, Bound)] = &[
    ("hidden_size", bounds::EMBEDDING_LENGTH),
    ("num_hidden_layers", bounds::BLOCK_COUNT),
    ("vocab_size", bounds::VOCAB_SIZE),
    ("num_attention_heads", bounds::HEAD_COUNT),
    ("num_key_value_heads", bounds::HEAD_COUNT_KV),
    ("intermediate_size", bounds::FEED_FORWARD_LENGTH),
    ("moe_intermediate_size", bounds::EXPERT_FEED_FORWARD_LENGTH),
    ("num_experts", bounds::EXPERT_COUNT),
    ("num_experts_per_tok", bounds::EXPERT_USED_COUNT),
    ("max_position_embeddings", bounds::CONTEXT_LENGTH),
    ("num_nextn_predict_layers", bounds::NEXTN_PREDICT_LAYERS),
];

/// One object of a configuration.
pub(super) struct Fields<'a> {
    object: &'a Object,
    path: String,
    model_type: String,
    hidden: Option<&'static str>,
}

impl<'a> Fields<'a> {
    /// The fields of `object`, found at `path`, read as a configuration of `model_type`.
    pub(super) const fn new(object: &'a Object, path: String, model_type: String) -> Self {
        Self { object, path, model_type, hidden: None }
    }

    /// The same fields with `key` taken as null, for a key that a family reads in a form of its own.
    pub(super) fn without(&self, key: &'static str) -> Self {
        Self { object: self.object, path: self.path.clone(), model_type: self.model_type.clone(), hidden: Some(key) }
    }

    /// The same fields read as another type.
    pub(super) fn typed(&self, model_type: &str) -> Self {
        Self { object: self.object, path: self.path.clone(), model_type: String::from(model_type), hidden: self.hidden }
    }

    /// The object itself.
    pub(super) const fn object(&self) -> &'a Object {
        self.object
    }

    /// The type whose class defaults stand in for absent fields.
    pub(super) fn model_type(&self) -> &str {
        &self.model_type
    }

    /// Whether the file itself states the field, by any of its names, and not as null.
    pub(super) fn states(&self, key: &str) -> bool {
        self.find(key).is_some_and(|(_, value)| *value != Json::Null)
    }

    /// The full path of a field, for messages.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { String::from(key) } else { format!("{}.{key}", self.path) }
    }

    fn find(&self, key: &str) -> Option<(&str, &'a Json)> {
        if self.hidden == Some(key) {
            return Some(("", &Json::Null));
        }
        let names = SYNONYMS.iter().find(|names| names.contains(&key));
        if let Some((name, value)) = self.object.get_key_value(key) {
            return Some((name, value));
        }
        names?.iter().find_map(|name| self.object.get_key_value(*name)).map(|(name, value)| (name.as_str(), value))
    }

    fn preset(&self, key: &str) -> Option<Preset> {
        let names = SYNONYMS.iter().find(|names| names.contains(&key));
        defaults::of(&self.model_type, key).or_else(|| names?.iter().find_map(|name| defaults::of(&self.model_type, name)))
    }

    fn wrong(&self, name: &str, value: &Json, expected: &str) -> Error {
        let path = self.path(name);
        let message = match value {
            Json::Text(text) if text.len() <= 40 => format!("`{path}` is `{text}`: expected {expected}"),
            Json::Negative(number) => format!("`{path}` is `{number}`: expected {expected}"),
            Json::Real(number) => format!("`{path}` is `{number}`: expected {expected}"),
            other => format!("`{path}` is {}: expected {expected}", other.kind()),
        };
        let kind = if matches!(value, Json::Negative(_)) { ErrorKind::OutOfRange } else { ErrorKind::InvalidValue };
        Error::new(kind, message).field(path)
    }

    fn whole(&self, key: &str, name: &str, value: &Json) -> Result<u64> {
        let number = match value {
            Json::Integer(number) => *number,
            // Some tools write counts as `4096.0`; the comparison excludes fractions, NaN and large values.
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Json::Real(number) if *number >= 0.0 && *number < 9e15 && (*number as u64) as f64 == *number => *number as u64,
            other => return Err(self.wrong(name, other, "a whole number of at least 0")),
        };
        let limit = Bound { name: "config", human: "number", unit: "", min: 0, max: 1 << 31 };
        let bound = BOUNDS.iter().find(|(bounded, _)| *bounded == key).map_or(limit, |(_, bound)| *bound);
        // Absent experts are written as 0 or 1; absence of heads and of a width as 0.
        if number == 0 && bound.min == 0 {
            return Ok(0);
        }
        bound.check(number).map_err(|error| {
            let path = self.path(name);
            Error::new(error.kind(), format!("`{path}`: {}", error.message())).field(path)
        })
    }

    /// A whole number, or `None` if the field is null or absent without a class default.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] for anything but a whole number, [`ErrorKind::OutOfRange`] outside the
    /// bound of the quantity; both name the path of the field.
    pub(super) fn maybe(&self, key: &str) -> Result<Option<u32>> {
        let number = match self.find(key) {
            Some((_, Json::Null)) => None,
            Some((name, value)) => Some(self.whole(key, name, value)?),
            None => match self.preset(key) {
                Some(Preset::Number(number)) => Some(number),
                _ => None,
            },
        };
        number
            .map(|number| u32::try_from(number).map_err(|_| self.wrong(key, &Json::Integer(number), "a smaller number")))
            .transpose()
    }

    /// A whole number that must be there.
    ///
    /// # Errors
    /// As [`Fields::maybe`], and [`ErrorKind::MissingField`].
    pub(super) fn number(&self, key: &str) -> Result<u32> {
        self.maybe(key)?.ok_or_else(|| {
            let path = self.path(key);
            Error::new(ErrorKind::MissingField, format!("the config has no `{path}`"))
                .field(path)
                .help("give the model's own config.json: this field decides the size and has no default for this `model_type`")
        })
    }

    /// A whole number, or `fallback`.
    ///
    /// # Errors
    /// As [`Fields::maybe`].
    pub(super) fn number_or(&self, key: &str, fallback: u32) -> Result<u32> {
        Ok(self.maybe(key)?.unwrap_or(fallback))
    }

    /// A positive number, or `None`: some files write 0 for absence.
    ///
    /// # Errors
    /// As [`Fields::maybe`].
    pub(super) fn positive(&self, key: &str) -> Result<Option<u32>> {
        Ok(self.maybe(key)?.filter(|&number| number > 0))
    }

    /// True or false; false if absent without a class default.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] for anything else.
    pub(super) fn flag(&self, key: &str) -> Result<bool> {
        self.flag_or(key, false)
    }

    /// True or false, or `fallback` if absent without a class default.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] for anything else.
    pub(super) fn flag_or(&self, key: &str, fallback: bool) -> Result<bool> {
        match self.find(key) {
            Some((_, Json::Flag(flag))) => Ok(*flag),
            Some((_, Json::Null)) => Ok(fallback),
            Some((name, other)) => Err(self.wrong(name, other, "true or false")),
            None => Ok(match self.preset(key) {
                Some(Preset::Flag(flag)) => flag,
                _ => fallback,
            }),
        }
    }

    /// Any finite number, or `None`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] for anything else.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn real(&self, key: &str) -> Result<Option<f64>> {
        match self.find(key) {
            Some((_, Json::Integer(number))) => Ok(Some(*number as f64)),
            Some((_, Json::Negative(number))) => Ok(Some(*number as f64)),
            Some((_, Json::Real(number))) if number.is_finite() => Ok(Some(*number)),
            None | Some((_, Json::Null)) => Ok(None),
            Some((name, other)) => Err(self.wrong(name, other, "a number")),
        }
    }

    /// A text, or `None`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] for anything else.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        match self.find(key) {
            Some((_, Json::Text(text))) => Ok(Some(text)),
            None | Some((_, Json::Null)) => Ok(None),
            Some((name, other)) => Err(self.wrong(name, other, "a text")),
        }
    }

    /// A list of texts, or `None`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] for anything else.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        let Some((name, list)) = self.list(key)? else { return Ok(None) };
        let text = |(at, item): (usize, &'a Json)| match item {
            Json::Text(text) => Ok(text.as_str()),
            other => Err(self.wrong(&format!("{name}[{at}]"), other, "a text")),
        };
        list.iter().enumerate().map(text).collect::<Result<_>>().map(Some)
    }

    /// A list of whole numbers, or `None`.
    ///
    /// # Errors
    /// As [`Fields::maybe`], with the position in the path.
    pub(super) fn numbers(&self, key: &str) -> Result<Option<Vec<u32>>> {
        let Some((name, list)) = self.list(key)? else { return Ok(None) };
        let number = |(at, item): (usize, &Json)| {
            let name = format!("{name}[{at}]");
            let number = match item {
                // A list of booleans is a list of zeros and ones (`moe_layer_freq`).
                Json::Flag(flag) => u64::from(*flag),
                other => self.whole(key, &name, other)?,
            };
            u32::try_from(number).map_err(|_| self.wrong(&name, item, "a smaller number"))
        };
        list.iter().enumerate().map(number).collect::<Result<_>>().map(Some)
    }

    /// Whether the field holds a list.
    pub(super) fn is_list(&self, key: &str) -> bool {
        matches!(self.find(key), Some((_, Json::List(_))))
    }

    /// Whether the field holds a text.
    pub(super) fn is_text(&self, key: &str) -> bool {
        matches!(self.find(key), Some((_, Json::Text(_))))
    }

    fn list(&self, key: &str) -> Result<Option<(&str, &'a [Json])>> {
        match self.find(key) {
            Some((name, Json::List(list))) => Ok(Some((name, list))),
            None | Some((_, Json::Null)) => Ok(None),
            Some((name, other)) => Err(self.wrong(name, other, "a list")),
        }
    }

    /// The objects of a list, or `None`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] for anything else.
    pub(super) fn objects(&self, key: &str) -> Result<Option<Vec<Self>>> {
        let Some((name, list)) = self.list(key)? else { return Ok(None) };
        let object = |(at, item): (usize, &'a Json)| {
            let name = format!("{name}[{at}]");
            match item {
                Json::Object(object) => Ok(Self::new(object, self.path(&name), String::new())),
                other => Err(self.wrong(&name, other, "an object")),
            }
        };
        list.iter().enumerate().map(object).collect::<Result<_>>().map(Some)
    }

    /// A nested object, read as a configuration of its own `model_type` or else of `model_type`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] if the field is neither an object nor null.
    pub(super) fn nested(&self, key: &str, model_type: &str) -> Result<Option<Fields<'a>>> {
        match self.find(key) {
            Some((name, Json::Object(object))) => {
                let own = match object.get("model_type") {
                    Some(Json::Text(own)) if !own.is_empty() => own.as_str(),
                    _ => model_type,
                };
                Ok(Some(Fields::new(object, self.path(name), String::from(own))))
            }
            None | Some((_, Json::Null)) => Ok(None),
            Some((name, other)) => Err(self.wrong(name, other, "an object")),
        }
    }
}
