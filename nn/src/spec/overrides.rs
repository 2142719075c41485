//! Values of the command line, written into a recipe before anybody reads it.

use std::fmt::Display;

use super::value::{Entry, Node, Value};
use crate::{Error, Result};

/// A value of the command line on its way to its place.
pub struct Change<'a> {
    /// The dotted path that the user wrote.
    pub path: &'a str,
    /// The value.
    pub node: Node,
}

impl Change<'_> {
    fn refuse(&self, what: impl Display) -> Error {
        Error::Config(format!("{}: {}: {what}", self.node.place, self.path))
    }
}

/// Writes a value below a table, at the place that `steps` lead to.
pub fn put(entries: &mut Vec<Entry>, steps: &[&str], change: &Change<'_>) -> Result<()> {
    let Some((&key, rest)) = steps.split_first() else { return Ok(()) };
    let i = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
        let place = &change.node.place;
        let node = Node { place: place.clone(), value: Value::Table(Vec::new()) };
        entries.push(Entry { key: key.into(), place: place.clone(), node });
        entries.len() - 1
    });
    put_into(&mut entries[i].node, key, rest, change)
}

/// Writes a value over `node`, which users call `key`, or to the place inside that `steps` lead to.
fn put_into(node: &mut Node, key: &str, steps: &[&str], change: &Change<'_>) -> Result<()> {
    let Some((&step, rest)) = steps.split_first() else {
        *node = change.node.clone();
        return Ok(());
    };
    if let Value::Text(_) = node.value {
        // The short form `optimizer = "sgd"` makes room for `optimizer.momentum`.
        let kind = node.clone();
        node.value = Value::Table(vec![Entry { key: "kind".into(), place: kind.place.clone(), node: kind }]);
    }
    let shown = node.value.to_string();
    match &mut node.value {
        Value::List(nodes) if step == "*" => {
            let next = rest.first().copied().unwrap_or_default();
            let mut having: Vec<&mut Node> = nodes.iter_mut().filter(|node| has(node, next)).collect();
            if having.is_empty() {
                return Err(change.refuse(format!("no {key} has {next:?}; write it into those that are meant")));
            }
            having.iter_mut().try_for_each(|node| put_into(node, key, rest, change))
        }
        Value::List(nodes) => {
            let count = nodes.len();
            let Some(i) = element(nodes, step) else {
                return Err(
                    change.refuse(format!("{key} has no {step:?}; use a name, a number from 1 to {count}, or *"))
                );
            };
            put_into(&mut nodes[i], key, rest, change)
        }
        Value::Table(inner) => put(inner, steps, change),
        _ => Err(change.refuse(format!("{key} is {shown}, which has no keys"))),
    }
}

/// Whether a node is a table with this key.
fn has(node: &Node, key: &str) -> bool {
    matches!(&node.value, Value::Table(entries) if entries.iter().any(|entry| entry.key == key))
}

/// The element of a list that a user calls `step`: a number from 1, or a name.
fn element(nodes: &[Node], step: &str) -> Option<usize> {
    if let Ok(number) = step.parse::<usize>() {
        return (1..=nodes.len()).contains(&number).then(|| number - 1);
    }
    nodes.iter().position(|node| {
        let Value::Table(entries) = &node.value else { return false };
        entries.iter().any(|e| e.key == "name" && matches!(&e.node.value, Value::Text(name) if name == step))
    })
}
