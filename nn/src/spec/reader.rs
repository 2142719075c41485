//! Takes typed values out of a TOML table, and complains about what is left.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use super::overrides::{Change, put};
use super::value::{Entry, Node, Place, Value, parse_value};
use crate::data::Class;
use crate::{Error, Result};

/// The place of values that were not in the file.
const COMMAND_LINE: &str = "command line";

impl Entry {
    fn is_override(&self) -> bool {
        &*self.node.place == COMMAND_LINE
    }
}

/// A table that is being read: keys are taken out one by one, and [`Table::finish`] refuses what nobody took.
#[derive(Clone, Debug)]
pub struct Table {
    /// What complaints call the table: `[train]`, `[[layer]] number 3 ("dense")`.
    pub title: String,
    place: Place,
    entries: Vec<Entry>,
    /// The keys that the reader knows, for suggestions.
    known: Vec<&'static str>,
}

/// A type that a TOML value can become.
pub trait FromValue: Sized {
    /// What users must write: `a whole number`.
    const WANTED: &'static str;
    /// `None` if the value is of another kind.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for String {
    const WANTED: &'static str = "a text in quotes";
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text.clone()) } else { None }
    }
}

impl FromValue for bool {
    const WANTED: &'static str = "true or false";
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Truth(truth) = value { Some(*truth) } else { None }
    }
}

impl FromValue for f64 {
    const WANTED: &'static str = "a number";
    fn from_value(value: &Value) -> Option<Self> {
        match *value {
            Value::Integer(number) => Some(number as f64),
            Value::Float(number) => Some(number),
            _ => None,
        }
    }
}

impl FromValue for u64 {
    const WANTED: &'static str = "a whole number of 0 or more";
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Integer(number) = *value { number.try_into().ok() } else { None }
    }
}

impl FromValue for usize {
    const WANTED: &'static str = u64::WANTED;
    fn from_value(value: &Value) -> Option<Self> {
        u64::from_value(value)?.try_into().ok()
    }
}

impl FromValue for isize {
    const WANTED: &'static str = "a whole number";
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Integer(number) = *value { number.try_into().ok() } else { None }
    }
}

impl FromValue for Class {
    const WANTED: &'static str = "a class's number or name";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(Class::Number((*number).try_into().ok()?)),
            Value::Text(name) => Some(Class::Name(name.clone())),
            _ => None,
        }
    }
}

macro_rules! lists {
    ($($item:ty: $wanted:literal),*) => {$(
        impl FromValue for Vec<$item> {
            const WANTED: &'static str = $wanted;
            fn from_value(value: &Value) -> Option<Self> {
                let Value::List(nodes) = value else { return None };
                nodes.iter().map(|node| <$item>::from_value(&node.value)).collect()
            }
        }
    )*};
}
lists!(String: "a list of texts", f64: "a list of numbers", usize: "a list of whole numbers", Class: "a list of classes' numbers or names");

impl Table {
    /// The top level of a text.
    pub fn new(entries: Vec<Entry>, file: &str) -> Self {
        Self { title: "the top level".into(), place: file.into(), entries, known: Vec::new() }
    }

    /// The value of `key`, if it is there and of the right kind.
    pub fn take<T: FromValue>(&mut self, key: &'static str) -> Result<Option<T>> {
        self.take_if(key, T::WANTED, |_| true)
    }

    /// The value of `key`, if it is there; `wanted` says in words what `allowed` checks.
    pub fn take_if<T: FromValue>(
        &mut self,
        key: &'static str,
        wanted: &str,
        allowed: impl Fn(&T) -> bool,
    ) -> Result<Option<T>> {
        let Some(node) = self.take_node(key) else { return Ok(None) };
        match T::from_value(&node.value).filter(allowed) {
            Some(value) => Ok(Some(value)),
            None => Err(self.refuse(key, &node, format!("must be {wanted}"))),
        }
    }

    /// The value of a key that must be there.
    pub fn need_if<T: FromValue>(
        &mut self,
        key: &'static str,
        wanted: &str,
        allowed: impl Fn(&T) -> bool,
    ) -> Result<T> {
        self.take_if(key, wanted, allowed)?.ok_or_else(|| self.lacks(key, wanted))
    }

    /// The value of `key` in a type that reads itself from a text, such as an activation.
    pub fn take_named<T: FromStr<Err = E>, E: Display>(&mut self, key: &'static str) -> Result<Option<T>> {
        self.take_parsed(key, T::from_str)
    }

    /// The value of `key`, a text, as `parse` reads it.
    pub fn take_parsed<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> std::result::Result<T, E>,
    ) -> Result<Option<T>> {
        let Some(node) = self.take_node(key) else { return Ok(None) };
        let Value::Text(text) = &node.value else {
            return Err(self.refuse(key, &node, format!("must be {}", String::WANTED)));
        };
        parse(text).map(Some).map_err(|error| self.refuse(key, &node, error))
    }

    /// The table that `key` stands for; a text `"x"` is short for `{ kind = "x" }`.
    pub fn take_table(&mut self, key: &'static str) -> Result<Option<Table>> {
        let Some(node) = self.take_node(key) else { return Ok(None) };
        let place = node.place.clone();
        let entries = match node.value {
            Value::Table(entries) => entries,
            Value::Text(_) => vec![Entry { key: "kind".into(), place: place.clone(), node }],
            _ => return Err(self.refuse(key, &node, "must be a table")),
        };
        Ok(Some(Table { title: format!("[{key}]"), place, entries, known: Vec::new() }))
    }

    /// The tables of `[[key]]`.
    pub fn take_tables(&mut self, key: &'static str) -> Result<Vec<Table>> {
        let Some(node) = self.take_node(key) else { return Ok(Vec::new()) };
        let Value::List(nodes) = node.value else {
            return Err(self.refuse(key, &node, format!("must be tables; write each as [[{key}]]")));
        };
        let table = |(i, node): (usize, Node)| match node.value {
            Value::Table(entries) => Ok(Table {
                title: format!("[[{key}]] number {}", i + 1),
                place: node.place,
                entries,
                known: Vec::new(),
            }),
            _ => Err(self.refuse(key, &node, format!("must be a table; write it as [[{key}]]"))),
        };
        nodes.into_iter().enumerate().map(table).collect()
    }

    /// All that is left, for tables whose keys are the user's own; `wanted` says what each must be.
    pub fn take_rest<T: FromValue>(&mut self, wanted: &str) -> Result<BTreeMap<String, T>> {
        let entries = std::mem::take(&mut self.entries);
        let value = |entry: Entry| match T::from_value(&entry.node.value) {
            Some(value) => Ok((entry.key, value)),
            None => Err(self.refuse(&entry.key, &entry.node, format!("must be {wanted}"))),
        };
        entries.into_iter().map(value).collect()
    }

    /// Reads `other` as if the user had written `key`. Both at once are refused, unless one comes from the command line
    /// and so replaces the other.
    pub fn alias(&mut self, other: &str, key: &'static str) -> Result<()> {
        let Some(i) = self.entries.iter().position(|entry| entry.key == other) else { return Ok(()) };
        let mut entry = self.entries.remove(i);
        if let Some(i) = self.entries.iter().position(|entry| entry.key == key) {
            match (entry.is_override(), self.entries[i].is_override()) {
                (true, false) => _ = self.entries.remove(i),
                (false, true) => return Ok(()),
                _ => {
                    let title = &self.title;
                    let text = format!("{}: {other} and {key} in {title} mean the same; keep one", entry.place);
                    return Err(Error::Config(text));
                }
            }
        }
        entry.key = key.into();
        self.entries.push(entry);
        Ok(())
    }

    /// The keys of both tables, none of which may be in both, unless one comes from the command line.
    pub fn merged(mut self, other: Table) -> Result<Table> {
        for entry in other.entries {
            match self.entries.iter_mut().find(|own| own.key == entry.key) {
                None => self.entries.push(entry),
                Some(own) if entry.is_override() && !own.is_override() => *own = entry,
                Some(own) if own.is_override() && !entry.is_override() => {}
                Some(_) => {
                    let (place, key) = (&entry.place, &entry.key);
                    let text = format!("{place}: {key} is given in {} and in {}; keep one", other.title, self.title);
                    return Err(Error::Config(text));
                }
            }
        }
        Ok(self)
    }

    /// Where the table was written.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A complaint about the table as a whole.
    pub fn complain(&self, what: impl Display) -> Error {
        Error::Config(format!("{}: {}: {what}", self.place, self.title))
    }

    /// A complaint about a key that is not there, or about the one that was probably meant to be it.
    pub fn lacks(&self, key: &str, wanted: &str) -> Error {
        let bare = key.trim_matches(['[', ']']);
        // One slip at most: keys that are right and not read yet are among the entries, and `init` is two from `units`.
        match self.entries.iter().find(|entry| strsim::damerau_levenshtein(&entry.key, bare) == 1) {
            Some(entry) => self.unknown(entry, &format!("did you mean {bare:?}?")),
            None => Error::Config(format!("{}: {} lacks {key}: {wanted}", self.place, self.title)),
        }
    }

    fn unknown(&self, entry: &Entry, hint: &str) -> Error {
        Error::Config(format!("{}: unknown key {:?} in {}; {hint}", entry.place, entry.key, self.title))
    }

    /// Refuses keys that nobody took.
    pub fn finish(self) -> Result<()> {
        let Some(entry) = self.entries.first() else { return Ok(()) };
        let hint = match nearest(&entry.key, &self.known) {
            Some(name) => format!("did you mean {name:?}?"),
            None => format!("known are {}", self.known.join(", ")),
        };
        Err(self.unknown(entry, &hint))
    }

    /// Writes `text` over the value at a dotted `path`; tables on the way are made where they are missing.
    ///
    /// An element of a list is named by its number from 1, or by its `name`; `*` means every one that has the next key.
    pub fn set(&mut self, path: &str, text: &str) -> Result<()> {
        let place: Place = COMMAND_LINE.into();
        let value = parse_value(text, &place)?;
        let steps: Vec<&str> = path.split('.').collect();
        put(&mut self.entries, &steps, &Change { path, node: Node { place, value } })
    }

    /// The value of `key`, which stays.
    pub fn peek(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node.value)
    }

    /// The value of `key` as it was written, with its place.
    pub fn take_node(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let i = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(i).node)
    }

    /// A complaint about the value of `key`.
    pub fn refuse(&self, key: &str, node: &Node, what: impl Display) -> Error {
        Error::Config(format!("{}: {key} = {} in {}: {what}", node.place, node.value, self.title))
    }
}

/// The one of `names` that `wrong` is most likely a slip of, if any is near.
pub fn nearest<'a>(wrong: &str, names: &[&'a str]) -> Option<&'a str> {
    let distance = |name: &&str| strsim::damerau_levenshtein(&wrong.to_lowercase(), name);
    let best = names.iter().copied().min_by_key(distance)?;
    (distance(&best) <= wrong.chars().count().max(best.len()) / 2).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::value::parse;

    fn table(text: &str) -> Table {
        Table::new(parse(text, "r.toml").unwrap(), "r.toml")
    }

    #[test]
    fn an_unknown_key_is_reported_with_place_table_and_nearest_name() {
        let mut root = table("[[layer]]\nunits = 1\n[[layer]]\n\n  unitz = 300\n");
        let mut second = root.take_tables("layer").unwrap().remove(1);
        assert_eq!(second.take::<usize>("units").unwrap(), None);
        let error = second.finish().unwrap_err().to_string();
        assert_eq!(error, r#"r.toml:5:3: unknown key "unitz" in [[layer]] number 2; did you mean "units"?"#);
    }

    #[test]
    fn a_wrong_kind_says_what_was_expected() {
        let mut root = table("batch = \"many\"\nseed = -1\n");
        let error = root.take_if::<usize>("batch", "a whole number of 1 or more", |&n| n > 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"r.toml:1:9: batch = "many" in the top level: must be a whole number of 1 or more"#
        );
        let error = root.take::<u64>("seed").unwrap_err().to_string();
        assert_eq!(error, "r.toml:2:8: seed = -1 in the top level: must be a whole number of 0 or more");
    }

    #[test]
    fn an_alias_is_the_key_itself_but_not_beside_it() {
        let mut root = table("lr = 0.5");
        root.alias("lr", "learning_rate").unwrap();
        assert_eq!(root.take::<f64>("learning_rate").unwrap(), Some(0.5));
        let mut both = table("lr = 0.5\nlearning_rate = 1");
        let error = both.clone().alias("lr", "learning_rate").unwrap_err().to_string();
        assert!(error.contains("mean the same"), "{error}");
        both.set("lr", "2").unwrap();
        both.alias("lr", "learning_rate").unwrap();
        assert_eq!(both.take::<f64>("learning_rate").unwrap(), Some(2.0));
    }

    #[test]
    fn the_command_line_reaches_into_tables_lists_and_short_forms() {
        let mut root = table("optimizer = \"sgd\"\n[[layer]]\nname = \"a\"\n[[layer]]\nunits = 1\n");
        root.set("layer.a.units", "7").unwrap();
        root.set("layer.2.units", "8").unwrap();
        root.set("optimizer.momentum", "0.9").unwrap();
        root.set("train.epochs", "3").unwrap();
        let mut layers = root.take_tables("layer").unwrap();
        assert_eq!(layers[0].take::<usize>("units").unwrap(), Some(7));
        assert_eq!(layers[1].take::<usize>("units").unwrap(), Some(8));
        let mut optimizer = root.take_table("optimizer").unwrap().unwrap();
        assert_eq!(optimizer.take::<String>("kind").unwrap().as_deref(), Some("sgd"));
        assert_eq!(optimizer.take::<f64>("momentum").unwrap(), Some(0.9));
        assert_eq!(root.take_table("train").unwrap().unwrap().take::<usize>("epochs").unwrap(), Some(3));
        let error = table("[[layer]]\n").set("layer.2.units", "8").unwrap_err().to_string();
        assert!(error.contains("number from 1 to 1"), "{error}");
    }

    #[test]
    fn nearest_knows_slips_and_keeps_quiet_otherwise() {
        assert_eq!(nearest("unitz", &["units", "type"]), Some("units"));
        assert_eq!(nearest("zzzzzz", &["units", "type"]), None);
    }
}
