//! Writes a recipe back as TOML, every value spelled out.

use std::collections::BTreeMap;
use std::fmt::Display;

/// A TOML text that grows by tables and keys.
#[derive(Debug, Default)]
pub struct Writer {
    text: String,
}

impl Writer {
    /// Starts the table `[name]`.
    pub fn table(&mut self, name: &str) {
        self.text.push_str(&format!("\n[{name}]\n"));
    }

    /// Starts one more element of the list `[[name]]`.
    pub fn element(&mut self, name: &str) {
        self.text.push_str(&format!("\n[[{name}]]\n"));
    }

    /// Adds `key = value`.
    pub fn put(&mut self, key: &str, value: impl Into<toml::Value>) {
        self.text.push_str(&format!("{key} = {}\n", value.into()));
    }

    /// Adds a value that writes itself as a text, such as an activation.
    pub fn put_named(&mut self, key: &str, value: impl Display) {
        self.put(key, value.to_string());
    }

    /// Adds a whole number.
    pub fn put_number(&mut self, key: &str, number: impl Display) {
        self.text.push_str(&format!("{key} = {number}\n"));
    }

    /// Adds a list of whole numbers.
    pub fn put_sizes(&mut self, key: &str, sizes: &[usize]) {
        self.text.push_str(&format!("{key} = {sizes:?}\n"));
    }

    /// Adds every key of a map.
    pub fn put_all<V: Into<toml::Value> + Clone>(&mut self, map: &BTreeMap<String, V>) {
        for (key, value) in map {
            let key = toml::Value::from(key.as_str()).to_string();
            self.put(&key, value.clone());
        }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}
