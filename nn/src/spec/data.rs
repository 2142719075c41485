//! `[data]`: what to train on.

use super::value::Value;
use super::{Table, Writer};
use crate::Result;
use crate::data::Split;

/// Which data, and how to prepare them.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSpec {
    /// A known set (`fashion-mnist`), or the format of the user's own files: `idx`, `csv`, `npy`.
    pub source: String,
    /// The user's own files for training: inputs and targets, or one table with both.
    pub train_files: Vec<String>,
    /// The same for the final test.
    pub test_files: Vec<String>,
    /// The column of a table that holds the target: a name, or a number from 0; the last one if absent.
    pub label: Option<String>,
    /// Whether the table's first line names the columns; found out if absent.
    pub header: Option<bool>,
    /// What inputs are divided by: 255 for images.
    pub scale: f64,
    /// What is kept aside of the training data for the final test, where there are no test files.
    pub test_split: Option<Split>,
    /// What is kept aside of the training data for validation.
    pub val_split: Option<Split>,
    /// Whether every epoch takes the samples in another order.
    pub shuffle: bool,
}

impl DataSpec {
    /// Data of a known source, as they are.
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            train_files: Vec::new(),
            test_files: Vec::new(),
            label: None,
            header: None,
            scale: 1.0,
            test_split: None,
            val_split: None,
            shuffle: true,
        }
    }

    pub(super) fn read(mut table: Table) -> Result<Self> {
        let wanted = "the name of a data set, or idx, csv or npy for files of your own";
        let mut spec = Self::new(table.need_if::<String>("source", wanted, |name| !name.is_empty())?);
        if let Some(mut files) = table.take_table("files")? {
            files.title = "[data.files]".into();
            let some = |list: &Vec<String>| matches!(list.len(), 1 | 2);
            let wanted = "a list of one file, or of two: inputs and targets";
            spec.train_files = files.need_if("train", wanted, some)?;
            spec.test_files = files.take_if("test", wanted, some)?.unwrap_or_default();
            files.finish()?;
        }
        if let Some(mut split) = table.take_table("split")? {
            split.title = "[data.split]".into();
            spec.test_split = split.take_parsed("test", Split::parse)?;
            spec.val_split = split.take_parsed("val", Split::parse)?;
            split.finish()?;
        }
        if let Some(node) = table.take_node("label") {
            spec.label = match &node.value {
                Value::Text(name) => Some(name.clone()),
                Value::Integer(number) => Some(number.to_string()),
                _ => return Err(table.refuse("label", &node, "must be a column's name, or its number from 0")),
            };
        }
        spec.header = table.take("header")?;
        let nonzero = |&scale: &f64| scale.is_finite() && scale != 0.0;
        spec.scale = table.take_if("scale", "a finite number other than 0", nonzero)?.unwrap_or(spec.scale);
        spec.shuffle = table.take("shuffle")?.unwrap_or(spec.shuffle);
        table.finish()?;
        Ok(spec)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("data");
        out.put("source", self.source.as_str());
        out.put("scale", self.scale);
        out.put("shuffle", self.shuffle);
        if let Some(label) = &self.label {
            out.put("label", label.as_str());
        }
        if let Some(header) = self.header {
            out.put("header", header);
        }
        for (key, files) in [("files.train", &self.train_files), ("files.test", &self.test_files)] {
            if !files.is_empty() {
                out.put(key, files.clone());
            }
        }
        for (key, split) in [("split.test", &self.test_split), ("split.val", &self.val_split)] {
            if let Some(split) = split {
                out.put_named(key, split);
            }
        }
    }
}
