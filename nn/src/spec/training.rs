//! `[train]` and `[document]`: how to train, and what the document says came out.

use std::collections::BTreeMap;

use super::checkpoint::CheckpointSpec;
use super::optimizer::{fill, share};
use super::reader::FromValue;
use super::value::{Node, Value};
use super::{Table, Writer};
use crate::Result;
use crate::loss::Loss;
use crate::metrics::Metric;
use crate::train::EarlyStop;

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
    /// When to end a training that gets no better.
    pub early_stop: Option<EarlyStop>,
    /// How often the training is saved.
    pub checkpoint: CheckpointSpec,
    /// How much the loss of a sample counts in training, by the number of its class; empty if all count the same.
    pub class_weight: Vec<f64>,
}

impl TrainSpec {
    pub(super) fn read(mut table: Table) -> Result<Self> {
        let one = "a whole number of 1 or more";
        let Some(mut loss) = table.take_named::<Loss, _>("loss")? else {
            return Err(table.lacks("loss", &format!("one of {}", Loss::NAMES.join(", "))));
        };
        if let Some(share) = share(&mut table, "label_smoothing")? {
            let name = loss.name();
            let Some(place) = loss.label_smoothing() else {
                return Err(table
                    .complain(format!("label_smoothing: loss {name} has no labels to smooth; take a crossentropy")));
            };
            *place = share;
        }
        let weights = "a list of finite numbers of 0 or more, one for each class";
        let allowed = |list: &Vec<f64>| !list.is_empty() && list.iter().all(|x| x.is_finite() && *x >= 0.0);
        let class_weight = table.take_if("class_weight", weights, allowed)?.unwrap_or_default();
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
        let early_stop = table.take_table("early_stop")?.map(read_early_stop).transpose()?;
        let checkpoint = table.take_table("checkpoint")?.map(CheckpointSpec::read).transpose()?.unwrap_or_default();
        table.finish()?;
        Ok(Self { loss, epochs, batch, metrics, class_weight, early_stop, checkpoint })
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("train");
        out.put_named("loss", &self.loss);
        out.put_number("epochs", self.epochs);
        out.put_number("batch", self.batch);
        if !self.class_weight.is_empty() {
            out.put("class_weight", self.class_weight.clone());
        }
        out.put("metrics", self.metrics.iter().map(Metric::to_string).collect::<Vec<_>>());
        if let Some(rule) = &self.early_stop {
            out.table("train.early_stop");
            out.put("monitor", rule.monitor.as_str());
            out.put_named("mode", &rule.mode);
            out.put("min_delta", rule.min_delta);
            out.put_number("patience", rule.patience);
            out.put("restore_best", rule.restore_best);
            out.put_number("start_from", rule.start_from);
        }
        self.checkpoint.write(out);
    }
}

/// `early_stop = { monitor = "val_loss", patience = 3, restore_best = true }`, with Keras' defaults.
fn read_early_stop(mut table: Table) -> Result<EarlyStop> {
    table.title = "[train.early_stop]".into();
    let mut rule = EarlyStop::keras();
    let wanted = "the name of a number that is measured, such as val_loss";
    fill(&mut rule.monitor, table.take_if("monitor", wanted, |name: &String| !name.is_empty())?);
    fill(&mut rule.mode, table.take_named("mode")?);
    let wanted = "a finite number of 0 or more";
    fill(&mut rule.min_delta, table.take_if("min_delta", wanted, |&x: &f64| x.is_finite() && x >= 0.0)?);
    fill(&mut rule.patience, table.take("patience")?);
    fill(&mut rule.restore_best, table.take("restore_best")?);
    fill(&mut rule.start_from, table.take("start_from")?);
    table.finish()?;
    Ok(rule)
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
