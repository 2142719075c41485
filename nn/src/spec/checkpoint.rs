//! `[train.checkpoint]`: how often a training is saved, so that it can go on after a break.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::optimizer::fill;
use super::value::Value;
use super::{Table, Writer};
use crate::{Error, Result};

/// When and how training states are saved.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointSpec {
    /// How often.
    pub every: Every,
    /// How many of the newest are kept. With two, one is left where the other is damaged.
    pub keep: usize,
    /// The number whose best epoch is kept as a model of its own, such as `val_loss`.
    pub best: Option<String>,
}

/// How often something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// After so many steps.
    Steps(usize),
    /// After the step in which so much time has passed.
    Time(Duration),
}

impl CheckpointSpec {
    pub(super) fn read(mut table: Table) -> Result<Self> {
        table.title = "[train.checkpoint]".into();
        let mut spec = Self::default();
        if let Some(node) = table.take_node("every") {
            let text = match &node.value {
                Value::Text(text) => text.clone(),
                other => other.to_string(),
            };
            spec.every = text.parse().map_err(|error: Error| table.refuse("every", &node, error))?;
        }
        fill(&mut spec.keep, table.take_if("keep", "a whole number of 1 or more", |&n: &usize| n > 0)?);
        spec.best = table.take("best")?;
        table.finish()?;
        Ok(spec)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("train.checkpoint");
        out.put_named("every", self.every);
        out.put_number("keep", self.keep);
        if let Some(best) = &self.best {
            out.put("best", best.as_str());
        }
    }
}

impl Default for CheckpointSpec {
    /// Two of them, one every thirty seconds.
    fn default() -> Self {
        Self { every: Every::Time(Duration::from_secs(30)), keep: 2, best: None }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Every::Steps(steps) => write!(f, "{steps}"),
            Every::Time(time) => write!(f, "{}s", time.as_secs_f64()),
        }
    }
}

impl FromStr for Every {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let units = [("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let time = units.into_iter().find_map(|(unit, seconds)| {
            let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
            Duration::try_from_secs_f64(number * seconds).ok().filter(|time| !time.is_zero())
        });
        let steps = text.parse().ok().filter(|&steps| steps > 0).map(Every::Steps);
        steps.or(time.map(Every::Time)).ok_or_else(|| {
            Error::Config("must be a number of steps, such as 500, or a time, such as \"30s\", \"5m\" or \"1h\"".into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_times_are_told_apart() {
        let read = |text: &str| text.parse::<Every>().ok();
        assert_eq!(read("500"), Some(Every::Steps(500)));
        assert_eq!(read("1.5m"), Some(Every::Time(Duration::from_secs(90))));
        assert_eq!(read("90s").map(|every| every.to_string()), Some("90s".into()));
        for wrong in ["0", "-3", "0s", "-1s", "5 apples", "", "s", "1e300h", "nans"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
