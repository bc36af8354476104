//! Reading the fields of a listing's request.

use alloc::{string::String, vec::Vec};

use serde_json::{Map, Value};

use super::super::{
    quantity::parse_parameters,
    request::{self, Scenario, unknown_field_among},
};
use crate::{
    error::{Error, ErrorKind, Result},
    units::Bytes,
};

/// The fields that say what a model would be asked to hold, and by which engine.
const FIT_FIELDS: &[&str] =
    &["context", "concurrency", "engine", "engine_version", "host_memory", "safety", "kv_cache_type_k", "kv_cache_type_v"];

/// What a request asks: one entry by its name, or those that a query selects.
pub(in crate::wire) enum Ask<Q> {
    /// The entry of that name.
    One(String),
    /// What the query selects.
    List(Q),
}

/// The fields of a request that were not read yet.
pub(in crate::wire) struct Fields {
    object: Map<String, Value>,
    asks_fit: bool,
}

impl Fields {
    /// The fields of an operation with those of its own, and those of a fit question if `fit`.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownField`] for any other, with the nearest one that exists.
    pub(super) fn new(mut object: Map<String, Value>, own: &[&str], fit: bool) -> Result<Self> {
        let known = || own.iter().chain(if fit { FIT_FIELDS } else { &[] }).copied();
        if let Some(unknown) = object.keys().find(|key| !known().any(|name| name == key.as_str())) {
            return Err(unknown_field_among(unknown, known()));
        }
        object.retain(|_, value| !value.is_null());
        Ok(Self { object, asks_fit: fit })
    }

    pub(super) fn text(&mut self, field: &str) -> Result<Option<String>> {
        self.object.remove(field).map(|value| request::text(field, value)).transpose()
    }

    pub(super) fn flag(&mut self, field: &str) -> Result<bool> {
        self.object.remove(field).map(|value| request::flag(field, &value)).transpose().map(Option::unwrap_or_default)
    }

    pub(super) fn memory(&mut self, field: &str) -> Result<Option<Bytes>> {
        self.object.remove(field).map(|value| request::memory(field, value)).transpose()
    }

    pub(super) fn parameters(&mut self, field: &str) -> Result<Option<u64>> {
        self.object
            .remove(field)
            .map(|value| request::count(field, value, parse_parameters).map_err(|error| error.field(field)))
            .transpose()
    }

    pub(super) fn devices(&mut self, field: &str) -> Result<Vec<String>> {
        self.object.remove(field).map(|value| request::devices(field, value)).transpose().map(Option::unwrap_or_default)
    }

    /// The fit question that is left when everything else was read.
    pub(super) fn scenario(self, hardware: Vec<String>) -> Result<Scenario> {
        let scenario = if self.asks_fit { Scenario::from_object(self.object)? } else { Scenario::default() };
        Ok(Scenario { hardware, ..scenario })
    }

    /// Refuses a fit question where there is nothing that it could be about.
    ///
    /// # Errors
    /// [`ErrorKind::MissingField`] naming `subject`.
    pub(super) fn without(self, subject: &str) -> Result<()> {
        match self.object.keys().next() {
            None => Ok(()),
            Some(field) => Err(Error::new(ErrorKind::MissingField, alloc::format!("{field} is given, but no {subject}"))
                .field(subject)
                .help(alloc::format!("{field} says what a machine is asked to hold: name the machine in {subject}"))),
        }
    }

    /// Refuses filters beside the name of one entry.
    pub(super) fn alone(&self, entry: &str) -> Result<()> {
        match self.object.keys().find(|key| !FIT_FIELDS.contains(&key.as_str())) {
            None => Ok(()),
            Some(field) => Err(Error::new(ErrorKind::Contradiction, alloc::format!("both {entry} and {field} are given"))
                .field(field.as_str())
                .help(alloc::format!("{entry} shows one entry whole, {field} selects among all: give one of the two"))),
        }
    }
}
