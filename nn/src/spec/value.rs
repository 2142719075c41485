//! A TOML text as a tree whose every value knows where it stands.

use std::fmt;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::{Error, Result};

/// Where a value was written: `recipe.toml:12:5`, or `command line`.
pub type Place = Arc<str>;

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it was written.
    pub place: Place,
    /// What was written.
    pub value: Value,
}

/// A key, its place, and what it stands for.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key was written.
    pub place: Place,
    /// The value.
    pub node: Node,
}

/// A TOML value.
#[derive(Clone, Debug)]
pub enum Value {
    /// A text; a date counts as one.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// `true` or `false`.
    Truth(bool),
    /// Values in brackets.
    List(Vec<Node>),
    /// Keys and values, in the order of the text.
    Table(Vec<Entry>),
}

impl Value {
    /// What a user would call this kind of value.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a text",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Truth(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Float(number) => write!(f, "{number}"),
            Value::Truth(truth) => write!(f, "{truth}"),
            Value::List(nodes) => {
                f.write_str("[")?;
                for (i, node) in nodes.iter().enumerate() {
                    write!(f, "{}{}", if i == 0 { "" } else { ", " }, node.value)?;
                }
                f.write_str("]")
            }
            Value::Table(_) => f.write_str("{..}"),
        }
    }
}

/// Reads a whole text; `file` is what complaints call it.
pub fn parse(text: &str, file: &str) -> Result<Vec<Entry>> {
    let places = Places::new(text, file);
    let table = DeTable::parse(text).map_err(|error| {
        let place = places.at(error.span().map_or(0, |span| span.start));
        Error::Config(format!("{place}: this is no TOML: {}", error.message()))
    })?;
    places.entries(table.into_inner())
}

/// Reads one value from the command line. What is no TOML is a text, so that users need not quote twice.
pub fn parse_value(text: &str, place: &Place) -> Result<Value> {
    match DeValue::parse(text) {
        Ok(value) => Places { of: Numbering::Fixed(place.clone()) }.value(value.into_inner(), 0),
        Err(_) => Ok(Value::Text(text.into())),
    }
}

/// Turns byte offsets into places.
struct Places {
    of: Numbering,
}

enum Numbering {
    /// Lines and columns of a file.
    Lines { file: String, text: String, starts: Vec<usize> },
    /// One place for everything.
    Fixed(Place),
}

impl Places {
    fn new(text: &str, file: &str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Self { of: Numbering::Lines { file: file.into(), text: text.into(), starts } }
    }

    fn at(&self, offset: usize) -> Place {
        match &self.of {
            Numbering::Fixed(place) => place.clone(),
            Numbering::Lines { file, text, starts } => {
                let line = starts.partition_point(|&start| start <= offset);
                let before = text.get(starts[line - 1]..offset).unwrap_or_default();
                format!("{file}:{line}:{}", before.chars().count() + 1).into()
            }
        }
    }

    fn entries(&self, table: DeTable<'_>) -> Result<Vec<Entry>> {
        let mut spanned: Vec<_> = table.into_iter().collect();
        // The parser sorts by name; people read from the top, and so do complaints.
        spanned.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (Spanned<_>, _)| {
            let place = self.at(key.span().start);
            Ok(Entry { key: String::from(key.into_inner()), place, node: self.node(value)? })
        };
        spanned.into_iter().map(entry).collect()
    }

    fn node(&self, value: Spanned<DeValue<'_>>) -> Result<Node> {
        let start = value.span().start;
        Ok(Node { place: self.at(start), value: self.value(value.into_inner(), start)? })
    }

    fn value(&self, value: DeValue<'_>, start: usize) -> Result<Value> {
        let unreadable = |text: &str| {
            let place = self.at(start);
            Error::Config(format!("{place}: the number {text} is too large; 64 bits must hold it"))
        };
        Ok(match value {
            DeValue::String(text) => Value::Text(text.into()),
            DeValue::Boolean(truth) => Value::Truth(truth),
            DeValue::Datetime(date) => Value::Text(date.to_string()),
            DeValue::Integer(number) => {
                let read = i64::from_str_radix(number.as_str(), number.radix());
                Value::Integer(read.map_err(|_| unreadable(number.as_str()))?)
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().map_err(|_| unreadable(number.as_str()))?),
            DeValue::Array(nodes) => Value::List(nodes.into_iter().map(|node| self.node(node)).collect::<Result<_>>()?),
            DeValue::Table(table) => Value::Table(self.entries(table)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_the_order_of_the_text_with_their_places() {
        let entries = parse("b = 1\n[zoo]\n  \"ä\" = \"x\" # c\n[apple]\n", "r.toml").unwrap();
        let names: Vec<_> = entries.iter().map(|entry| (entry.key.as_str(), &*entry.place)).collect();
        assert_eq!(names, [("b", "r.toml:1:1"), ("zoo", "r.toml:2:2"), ("apple", "r.toml:4:2")]);
        let Value::Table(inner) = &entries[1].node.value else { panic!("a table") };
        assert_eq!((&*inner[0].place, &*inner[0].node.place), ("r.toml:3:3", "r.toml:3:9"));
    }

    #[test]
    fn a_broken_text_is_reported_with_its_place() {
        let error = parse("seed = 1\nname = \"x\n", "r.toml").unwrap_err().to_string();
        assert!(error.starts_with("r.toml:2:"), "{error}");
    }

    #[test]
    fn a_number_beyond_64_bits_is_reported() {
        let error = parse("seed = 99999999999999999999", "r.toml").unwrap_err().to_string();
        assert!(error.contains("r.toml:1:8") && error.contains("too large"), "{error}");
    }

    #[test]
    fn values_of_the_command_line_need_no_quotes() {
        let place: Place = "command line".into();
        let shown = |text| parse_value(text, &place).unwrap().to_string();
        assert_eq!(shown("3"), "3");
        assert_eq!(shown("1e-3"), "0.001");
        assert_eq!(shown("[1, 2]"), "[1, 2]");
        assert_eq!(shown("leaky_relu(0.2)"), "\"leaky_relu(0.2)\"");
        assert_eq!(shown("first:5000"), "\"first:5000\"");
    }
}
