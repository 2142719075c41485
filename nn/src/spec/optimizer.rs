//! `[optimizer]`: how weights move.

use super::value::Value;
use super::{Preset, Table, Writer};
use crate::Result;
use crate::optim::{Adam, AdamOptions, Sgd, SgdOptions, Update};
use crate::spec::preset::suggest;

/// An optimizer with all its numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum OptimizerSpec {
    /// Stochastic gradient descent, with or without momentum.
    Sgd(SgdOptions),
    /// Adam.
    Adam(AdamOptions),
}

impl OptimizerSpec {
    /// What users write for `kind`.
    pub const NAMES: &[&str] = &["sgd", "adam"];

    /// The name of the kind.
    pub fn kind(&self) -> &'static str {
        match self {
            OptimizerSpec::Sgd(_) => "sgd",
            OptimizerSpec::Adam(_) => "adam",
        }
    }

    /// The rate at which training starts.
    pub fn learning_rate(&self) -> f64 {
        match self {
            OptimizerSpec::Sgd(options) => options.learning_rate,
            OptimizerSpec::Adam(options) => options.learning_rate,
        }
    }

    /// The optimizer itself, fresh, with all that is done around its steps.
    pub fn build(&self) -> Update {
        Update::new(match self {
            OptimizerSpec::Sgd(options) => Box::new(Sgd::new(options.clone())),
            OptimizerSpec::Adam(options) => Box::new(Adam::new(options.clone())),
        })
    }

    pub(super) fn read(mut table: Table, preset: Preset) -> Result<Self> {
        let Some(node) = table.take_node("kind") else {
            return Err(table.lacks("kind", &format!("one of {}", Self::NAMES.join(", "))));
        };
        table.alias("lr", "learning_rate")?;
        let rate = table.take_if("learning_rate", "a finite number above 0", |&x: &f64| x.is_finite() && x > 0.0)?;
        let spec = match &node.value {
            Value::Text(kind) if kind == "sgd" => {
                let mut options = match preset {
                    Preset::Keras => SgdOptions::keras(),
                    Preset::Torch => SgdOptions::torch(),
                };
                fill(&mut options.learning_rate, rate);
                fill(&mut options.momentum, share(&mut table, "momentum")?);
                fill(&mut options.nesterov, table.take("nesterov")?);
                OptimizerSpec::Sgd(options)
            }
            Value::Text(kind) if kind == "adam" => {
                let mut options = match preset {
                    Preset::Keras => AdamOptions::keras(),
                    Preset::Torch => AdamOptions::torch(),
                };
                fill(&mut options.learning_rate, rate);
                fill(&mut options.beta_1, share(&mut table, "beta_1")?);
                fill(&mut options.beta_2, share(&mut table, "beta_2")?);
                let positive = |&x: &f64| x.is_finite() && x > 0.0;
                fill(&mut options.epsilon, table.take_if("epsilon", "a finite number above 0", positive)?);
                fill(&mut options.epsilon_inside, table.take("epsilon_inside")?);
                OptimizerSpec::Adam(options)
            }
            Value::Text(kind) => {
                let what = format!("unknown optimizer{}", suggest(kind, Self::NAMES));
                return Err(table.refuse("kind", &node, what));
            }
            _ => return Err(table.refuse("kind", &node, "must be a text in quotes")),
        };
        table.finish()?;
        Ok(spec)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("optimizer");
        out.put("kind", self.kind());
        out.put("learning_rate", self.learning_rate());
        match self {
            OptimizerSpec::Sgd(options) => {
                out.put("momentum", options.momentum);
                out.put("nesterov", options.nesterov);
            }
            OptimizerSpec::Adam(options) => {
                out.put("beta_1", options.beta_1);
                out.put("beta_2", options.beta_2);
                out.put("epsilon", options.epsilon);
                out.put("epsilon_inside", options.epsilon_inside);
            }
        }
    }
}

/// Replaces a default by what the user wrote, if anything.
pub(super) fn fill<T>(default: &mut T, written: Option<T>) {
    if let Some(value) = written {
        *default = value;
    }
}

/// A number from 0 up to, but without, 1.
pub(super) fn share(table: &mut Table, key: &'static str) -> Result<Option<f64>> {
    table.take_if(key, "a number from 0 up to but without 1", |x: &f64| (0.0..1.0).contains(x))
}
