//! The settings of a Keras layer, taken one by one, so that none is passed over in silence.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;

use serde_json::{Map, Value};

use super::objects::shortest;
use crate::{Error, Result};

/// Settings that say nothing about what a layer computes, or that are read for all layers alike.
const QUIET: &[&str] =
    &["name", "trainable", "dtype", "seed", "batch_input_shape", "batch_shape", "build_config", "autocast"];

/// The settings of one layer.
pub(super) struct Fields<'a> {
    /// What complaints call the layer: `layer "dense" (Dense)`.
    title: String,
    map: &'a Map<String, Value>,
    taken: RefCell<BTreeSet<&'a str>>,
    /// The version of Keras that saved it.
    pub(super) version: &'a str,
}

impl<'a> Fields<'a> {
    pub(super) fn new(title: String, map: &'a Map<String, Value>, version: &'a str) -> Self {
        Self { title, map, taken: RefCell::default(), version }
    }

    /// The value of `key`; `None` if it is absent or `null`.
    pub(super) fn get(&self, key: &'a str) -> Option<&'a Value> {
        self.taken.borrow_mut().insert(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn number(&self, key: &'a str) -> Result<Option<f64>> {
        Ok(self.typed(key, "a number", Value::as_f64)?.map(shortest))
    }

    pub(super) fn truth(&self, key: &'a str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(super) fn text(&self, key: &'a str) -> Result<Option<&'a str>> {
        self.typed(key, "a text", Value::as_str)
    }

    /// A size of 1 or more that must be there.
    pub(super) fn size(&self, key: &'a str) -> Result<usize> {
        let size = |value: &Value| value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
        self.typed(key, "a whole number of 1 or more", size)?.ok_or_else(|| self.complain(format!("{key} is missing")))
    }

    /// Whole numbers: a list, or a number for a list of one.
    pub(super) fn whole(&self, key: &'a str) -> Result<Option<Vec<i64>>> {
        let list = |value: &Value| match value {
            Value::Array(items) => items.iter().map(Value::as_i64).collect(),
            one => one.as_i64().map(|one| vec![one]),
        };
        self.typed(key, "whole numbers", list)
    }

    /// Refuses a setting that is there with another value than the only one that gradus' layer has.
    pub(super) fn only(&self, key: &'a str, known: impl Into<Value>) -> Result<()> {
        let known = known.into();
        let same = |value: &Value| *value == known || (value.is_number() && value.as_f64() == known.as_f64());
        match self.get(key) {
            Some(value) if !same(value) => Err(self.complain(format!("{key} = {value}, and gradus has only {known}"))),
            _ => Ok(()),
        }
    }

    /// A complaint about the layer.
    pub(super) fn complain(&self, what: impl Display) -> Error {
        Error::Data(format!("{}: {what}", self.title))
    }

    /// Refuses settings that nobody took, unless they are off.
    pub(super) fn finish(&self) -> Result<()> {
        let taken = self.taken.borrow();
        let is_off = |value: &Value| value.is_null() || *value == Value::Bool(false);
        // Weights are read from the file, so how they began is of no matter.
        let left = self.map.iter().find(|(key, value)| {
            !taken.contains(key.as_str())
                && !QUIET.contains(&key.as_str())
                && !key.ends_with("_initializer")
                && !is_off(value)
        });
        match left {
            Some((key, value)) => Err(self.complain(format!("has {key} = {value}, which gradus' layer lacks"))),
            None => Ok(()),
        }
    }

    fn typed<T>(&self, key: &'a str, wanted: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.complain(format!("{key} = {value}: it must be {wanted}")))
    }
}
