//! `[data]`: what to train on.

use super::images::{read_augment, read_preparation, write_augment, write_preparation};
use super::reader::FromValue;
use super::value::Value;
use super::{Table, Writer};
use crate::Result;
use crate::data::{Augment, Class, ClassMap, Preparation, Relabel, Split};

/// Which data, and how to prepare them.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSpec {
    /// A known set (`fashion-mnist`), or the format of the user's own files: `idx`, `csv`, `npy`, `folder`.
    pub source: String,
    /// The user's own files for training: inputs and targets, one table with both, or one folder of images.
    pub train_files: Vec<String>,
    /// The same for the final test.
    pub test_files: Vec<String>,
    /// The column of a table that holds the target: a name, or a number from 0; the last one if absent.
    pub label: Option<String>,
    /// Whether the table's first line names the columns; found out if absent.
    pub header: Option<bool>,
    /// What is done to images before a network sees them. Those of a folder must all have one size, unless it gives them one.
    pub images: Preparation,
    /// How images are varied in training.
    pub augment: Augment,
    /// Whether images of a folder are read as grey values; without it, those are that have no colours.
    pub grey: Option<bool>,
    /// What inputs are divided by: 255 for images.
    pub scale: f64,
    /// Which classes are learnt, and what their numbers become.
    pub classes: ClassMap,
    /// What is kept aside of the training data for the final test, where there are no test files.
    pub test_split: Option<Split>,
    /// What is kept aside of the training data for validation.
    pub val_split: Option<Split>,
    /// How many samples to train on: the first ones of what is left after the splits and the choice of classes.
    pub first: Option<usize>,
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
            images: Preparation::default(),
            augment: Augment::default(),
            grey: None,
            scale: 1.0,
            classes: ClassMap::default(),
            test_split: None,
            val_split: None,
            first: None,
            shuffle: true,
        }
    }

    pub(super) fn read(mut table: Table) -> Result<Self> {
        let wanted = "the name of a data set, or idx, csv, npy or folder for files of your own";
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
        spec.images = read_preparation(&mut table)?;
        spec.augment = read_augment(&mut table)?;
        spec.grey = table.take("grey")?;
        spec.classes = read_classes(&mut table)?;
        spec.first = table.take_if("first", "a whole number of 1 or more", |&count: &usize| count > 0)?;
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
        write_preparation(&self.images, out);
        write_augment(&self.augment, out);
        if let Some(grey) = self.grey {
            out.put("grey", grey);
        }
        write_classes(&self.classes, out);
        if let Some(first) = self.first {
            out.put_number("first", first);
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

/// `classes`, `drop_classes`, `labels` and `one_hot`.
fn read_classes(table: &mut Table) -> Result<ClassMap> {
    let wanted = "a list of classes' numbers or names";
    let some = |classes: &Vec<Class>| !classes.is_empty();
    let keep = table.take_if("classes", wanted, some)?.unwrap_or_default();
    let drop = table.take_if("drop_classes", wanted, some)?.unwrap_or_default();
    if !keep.is_empty() && !drop.is_empty() {
        return Err(table.complain("classes says which classes stay and drop_classes which do not; give one of them"));
    }
    let labels = match table.take_node("labels") {
        None => Relabel::InOrder,
        Some(node) => match &node.value {
            Value::Text(text) => Relabel::parse(text).map_err(|error| table.refuse("labels", &node, error))?,
            value => match Vec::<usize>::from_value(value) {
                Some(numbers) => Relabel::Numbers(numbers),
                None => {
                    return Err(table.refuse("labels", &node, "must be parity, only:CLASS or a list of whole numbers"));
                }
            },
        },
    };
    Ok(ClassMap { keep, drop, labels, one_hot: table.take("one_hot")?.unwrap_or(false) })
}

fn write_classes(map: &ClassMap, out: &mut Writer) {
    for (key, classes) in [("classes", &map.keep), ("drop_classes", &map.drop)] {
        if !classes.is_empty() {
            let value = |class: &Class| match class {
                Class::Number(number) => toml::Value::Integer(*number as i64),
                Class::Name(name) => toml::Value::String(name.clone()),
            };
            out.put(key, classes.iter().map(value).collect::<Vec<_>>());
        }
    }
    match &map.labels {
        Relabel::InOrder => {}
        Relabel::Numbers(numbers) => out.put_sizes("labels", numbers),
        rule => out.put_named("labels", rule),
    }
    if map.one_hot {
        out.put("one_hot", true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::spec::Recipe;

    const REST: &str = "[[layer]]\ntype = \"flatten\"\n[optimizer]\nkind = \"sgd\"\n[train]\nloss = \"mse\"\n";

    fn read(data: &str) -> Result<Recipe> {
        Recipe::parse(&format!("[data]\nsource = \"x\"\n{data}\n{REST}"), "r.toml")
    }

    #[test]
    fn every_key_reads_back_as_it_is_written() {
        for data in [
            "classes = [\"Sandal\", 6]\nfirst = 200\none_hot = true",
            "drop_classes = [5, 6]\nlabels = \"parity\"",
            "labels = \"only:Shirt\"\nsize = [32, 48]\ngrey = true\nsplit.val = \"sklearn:0.2:42\"",
            "labels = [0, 1, 1]",
            "resize = \"nearest\"\nsize = [8, 8]\ncrop = [4, 6]\nchannels = 3",
            "augment.flip = \"both\"\naugment.crop = 4\naugment.fill = \"edge\"\naugment.mixup = 0.5\naugment.rotate = 15.0",
        ] {
            let recipe = read(data).unwrap();
            assert_eq!(Recipe::parse(&recipe.to_toml(), "again.toml").unwrap().data, recipe.data, "{data}");
            data.lines().for_each(|line| assert!(recipe.to_toml().contains(line), "{line}: {}", recipe.to_toml()));
        }
    }

    #[test]
    fn slips_are_refused_with_their_place() {
        let refusal = |data: &str| match read(data) {
            Err(Error::Config(text)) => text,
            other => panic!("{data}: {other:?}"),
        };
        assert!(refusal("labels = \"partiy\"").starts_with("r.toml:3:10: labels = \"partiy\" in [data]: labels"));
        assert!(refusal("labels = [0.5]").contains("must be parity, only:CLASS or a list of whole numbers"));
        assert!(refusal("classes = [-1]").contains("must be a list of classes' numbers or names"));
        assert!(refusal("classes = [1, 2]\ndrop_classes = [3]").contains("give one of them"));
        assert!(refusal("first = 0").contains("r.toml:3:9: first = 0 in [data]: must be a whole number of 1 or more"));
        assert!(refusal("size = [32]").contains("a height and a width"));
        assert!(refusal("channels = 4").contains("must be 1 for grey values or 3 for colours"));
        assert!(refusal("augment.rotate = 200").contains("rotate = 200 in [data.augment]: must be an angle"));
        assert!(refusal("augment = { flip = \"left\" }").contains("unknown flip \"left\""));
        assert!(refusal("augment.zom = 0.1").contains("did you mean \"zoom\"?"));
        assert!(refusal("one_hto = true").contains("did you mean \"one_hot\"?"));
    }
}
