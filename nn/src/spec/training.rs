//! `[train]` and `[document]`: how to train, and what the document says came out.

use std::collections::BTreeMap;

use super::reader::FromValue;
use super::value::{Node, Value};
use super::{Table, Writer};
use crate::Result;
use crate::loss::Loss;
use crate::metrics::Metric;

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSpec {
    /// What is made small.
    pub loss: Loss,
    /// How often all samples are seen.
    pub epochs: usize,
    /// How many samples make one step.
    pub batch: usize,
    /// What is reported beside the loss.
    pub metrics: Vec<Metric>,
}

impl TrainSpec {
    pub(super) fn read(mut table: Table) -> Result<Self> {
        let one = "a whole number of 1 or more";
        let Some(loss) = table.take_named("loss")? else {
            return Err(table.lacks("loss", &format!("one of {}", Loss::NAMES.join(", "))));
        };
        let epochs = table.take_if("epochs", one, |&n: &usize| n > 0)?.unwrap_or(1);
        let batch = table.take_if("batch", one, |&n: &usize| n > 0)?.unwrap_or(32);
        let metrics = match table.take_node("metrics") {
            None => Metric::usual_for(&loss).into_iter().collect(),
            Some(node) => {
                let refuse = |what: String| table.refuse("metrics", &node, what);
                let Value::List(names) = &node.value else {
                    return Err(refuse("must be a list of texts".into()));
                };
                let metric = |name: &Node| match &name.value {
                    Value::Text(text) => text.parse::<Metric>().map_err(|error| refuse(error.to_string())),
                    _ => Err(refuse("must be a list of texts".into())),
                };
                names.iter().map(metric).collect::<Result<_>>()?
            }
        };
        table.finish()?;
        Ok(Self { loss, epochs, batch, metrics })
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("train");
        out.put_named("loss", &self.loss);
        out.put_number("epochs", self.epochs);
        out.put_number("batch", self.batch);
        out.put("metrics", self.metrics.iter().map(Metric::to_string).collect::<Vec<_>>());
    }
}

/// What the document that a recipe reproduces reports, to be shown beside our own numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// What the document calls the experiment.
    pub id: String,
    /// How far our final numbers may be off, in the number's own unit.
    pub tolerance: Option<f64>,
    /// Final numbers by name, such as `val_accuracy`.
    pub values: BTreeMap<String, f64>,
    /// Numbers of every epoch by name.
    pub history: BTreeMap<String, Vec<f64>>,
}

impl Document {
    pub(super) fn read(mut table: Table) -> Result<Self> {
        let id = table.need_if::<String>("id", "the document's name of the experiment", |id| !id.is_empty())?;
        let tolerance = table.take_if("tolerance", "a number of 0 or more", |&x: &f64| x >= 0.0)?;
        let mut document = Self { id, tolerance, ..Self::default() };
        if let Some(mut history) = table.take_table("history")? {
            history.title = "[document.history]".into();
            document.history = history.take_rest("a list with one number an epoch")?;
        }
        document.values = table.take_rest(f64::WANTED)?;
        Ok(document)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("document");
        out.put("id", self.id.as_str());
        if let Some(tolerance) = self.tolerance {
            out.put("tolerance", tolerance);
        }
        out.put_all(&self.values);
        if !self.history.is_empty() {
            out.table("document.history");
            out.put_all(&self.history);
        }
    }
}
