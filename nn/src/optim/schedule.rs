//! How the step size changes in the course of training.

use std::f64::consts::PI;

use super::elementwise::{Setting, Visit};
use crate::Result;

/// The step size of every step, from the one at which training starts.
///
/// Steps are batches, counted from 0. Names and formulas are Keras', where it has the schedule.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Schedule {
    /// Always the same.
    #[default]
    Constant,
    /// `start / (1 + rate t / steps)`: Keras' `InverseTimeDecay`, also called power scheduling.
    Power {
        /// How fast it falls.
        rate: f64,
        /// After how many steps it has fallen to `1 / (1 + rate)`.
        steps: f64,
        /// Whether it falls only once in `steps` steps.
        staircase: bool,
    },
    /// `start rate^(t / steps)`.
    Exponential {
        /// To which share it falls within `steps`.
        rate: f64,
        /// After how many steps it has fallen to that share.
        steps: f64,
        /// Whether it falls only once in `steps` steps.
        staircase: bool,
    },
    /// `start rate^floor(t / steps)`: PyTorch's `StepLR`, and `Exponential` with a staircase.
    Step {
        /// What it is multiplied with.
        rate: f64,
        /// How often, in steps.
        steps: f64,
    },
    /// Given values between given steps; the start has no say.
    Piecewise {
        /// The last step of each value but the last one, ascending.
        boundaries: Vec<f64>,
        /// The values, one more than boundaries.
        values: Vec<f64>,
    },
    /// `(start - end) (1 - t / steps)^power + end`, and `end` from then on.
    Polynomial {
        /// How long it falls.
        steps: f64,
        /// Where it ends.
        end: f64,
        /// The shape of the fall; 1 is a straight line.
        power: f64,
    },
    /// Half of a cosine, from the start down to `alpha` times the start (Loshchilov and Hutter 2017), which then stays.
    Cosine {
        /// How long it falls.
        steps: f64,
        /// At which share of the start it ends.
        alpha: f64,
    },
    /// Such cosines one after the other.
    CosineRestarts {
        /// How long the first falls.
        steps: f64,
        /// How many times as long each is as the one before.
        t_mul: f64,
        /// How many times as high each starts as the one before.
        m_mul: f64,
        /// At which share of the start each ends.
        alpha: f64,
    },
    /// Up from `max / div` to `max` and down to `max / div / final_div`, both along a cosine (Smith and Topin 2018, in the form
    /// of PyTorch's `OneCycleLR`); the start is `max`.
    OneCycle {
        /// How long the whole takes.
        steps: f64,
        /// The share of it that goes up.
        rise: f64,
        /// How much smaller than its height it begins.
        div: f64,
        /// How much smaller than it begins it ends.
        final_div: f64,
    },
    /// Less by a factor whenever a number of the epochs gets no better.
    Plateau(Plateau),
}

/// When and how far the step size falls that waits for progress: Keras' `ReduceLROnPlateau`.
#[derive(Clone, Debug, PartialEq)]
pub struct Plateau {
    /// Which number of an epoch is watched. Accuracies are to grow, all others to fall.
    pub monitor: String,
    /// What the step size is multiplied with.
    pub factor: f64,
    /// How many epochs without progress are waited for.
    pub patience: u64,
    /// By how much a number must be better than the best so far to count as progress.
    pub min_delta: f64,
    /// For how many epochs after a fall nothing is counted.
    pub cooldown: u64,
    /// Where the fall ends.
    pub min_rate: f64,
}

/// A step size that begins small.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Warmup {
    /// How many steps it takes until the schedule begins; with 0 there is no warm-up.
    pub steps: u64,
    /// At which step size it begins.
    pub from: f64,
}

impl Default for Plateau {
    /// Keras' defaults.
    fn default() -> Self {
        let monitor = "val_loss".into();
        Self { monitor, factor: 0.1, patience: 10, min_delta: 1e-4, cooldown: 0, min_rate: 0.0 }
    }
}

impl Schedule {
    /// What users write for the kind.
    pub const NAMES: &[&str] = &[
        "constant",
        "power",
        "exponential",
        "step",
        "piecewise",
        "polynomial",
        "cosine",
        "cosine_restarts",
        "one_cycle",
        "plateau",
    ];

    /// The schedule that is called `name`; numbers without a default are NaN.
    pub fn named(name: &str) -> Option<Self> {
        let (rate, steps, staircase) = (f64::NAN, f64::NAN, false);
        Some(match name {
            "constant" => Schedule::Constant,
            "power" => Schedule::Power { rate, steps, staircase },
            "exponential" => Schedule::Exponential { rate, steps, staircase },
            "step" => Schedule::Step { rate, steps },
            "piecewise" => Schedule::Piecewise { boundaries: Vec::new(), values: Vec::new() },
            "polynomial" => Schedule::Polynomial { steps, end: 1e-4, power: 1.0 },
            "cosine" => Schedule::Cosine { steps, alpha: 0.0 },
            "cosine_restarts" => Schedule::CosineRestarts { steps, t_mul: 2.0, m_mul: 1.0, alpha: 0.0 },
            "one_cycle" => Schedule::OneCycle { steps, rise: 0.3, div: 25.0, final_div: 1e4 },
            "plateau" => Schedule::Plateau(Plateau::default()),
            _ => return None,
        })
    }

    /// What users write for this one.
    pub fn name(&self) -> &'static str {
        match self {
            Schedule::Constant => "constant",
            Schedule::Power { .. } => "power",
            Schedule::Exponential { .. } => "exponential",
            Schedule::Step { .. } => "step",
            Schedule::Piecewise { .. } => "piecewise",
            Schedule::Polynomial { .. } => "polynomial",
            Schedule::Cosine { .. } => "cosine",
            Schedule::CosineRestarts { .. } => "cosine_restarts",
            Schedule::OneCycle { .. } => "one_cycle",
            Schedule::Plateau(_) => "plateau",
        }
    }

    /// Shows `visit` every number with the name that users write.
    ///
    /// # Errors
    /// Those of `visit`.
    pub fn settings(&mut self, visit: &mut Visit<'_>) -> Result<()> {
        use Setting::{Count, Flag, List, NotNegative, Positive, Share, Text};
        match self {
            Schedule::Constant => Ok(()),
            Schedule::Power { rate, steps, staircase } | Schedule::Exponential { rate, steps, staircase } => {
                visit("rate", Positive(rate))?;
                visit("steps", Positive(steps))?;
                visit("staircase", Flag(staircase))
            }
            Schedule::Step { rate, steps } => {
                visit("rate", Positive(rate))?;
                visit("steps", Positive(steps))
            }
            Schedule::Piecewise { boundaries, values } => {
                visit("boundaries", List(boundaries))?;
                visit("values", List(values))
            }
            Schedule::Polynomial { steps, end, power } => {
                visit("steps", Positive(steps))?;
                visit("end", NotNegative(end))?;
                visit("power", Positive(power))
            }
            Schedule::Cosine { steps, alpha } => {
                visit("steps", Positive(steps))?;
                visit("alpha", NotNegative(alpha))
            }
            Schedule::CosineRestarts { steps, t_mul, m_mul, alpha } => {
                visit("steps", Positive(steps))?;
                visit("t_mul", Positive(t_mul))?;
                visit("m_mul", Positive(m_mul))?;
                visit("alpha", NotNegative(alpha))
            }
            Schedule::OneCycle { steps, rise, div, final_div } => {
                visit("steps", Positive(steps))?;
                visit("rise", Share(rise))?;
                visit("div", Positive(div))?;
                visit("final_div", Positive(final_div))
            }
            Schedule::Plateau(how) => {
                visit("monitor", Text(&mut how.monitor))?;
                visit("factor", Share(&mut how.factor))?;
                visit("patience", Count(&mut how.patience))?;
                visit("min_delta", NotNegative(&mut how.min_delta))?;
                visit("cooldown", Count(&mut how.cooldown))?;
                visit("min_rate", NotNegative(&mut how.min_rate))
            }
        }
    }

    /// What is wrong with the numbers taken together, if anything.
    pub fn complaint(&self) -> Option<&'static str> {
        match self {
            Schedule::Piecewise { boundaries, values } if values.len() != boundaries.len() + 1 => {
                Some("values must be one more than boundaries: before the first, between, and after the last")
            }
            Schedule::Piecewise { boundaries, .. } if !boundaries.is_sorted() => Some("boundaries must ascend"),
            Schedule::CosineRestarts { t_mul, .. } if *t_mul < 1.0 => Some("t_mul must be 1 or more"),
            Schedule::OneCycle { rise: 0.0, .. } => Some("rise must be above 0"),
            _ => None,
        }
    }
}

impl Warmup {
    /// The step size of step number `step`, which starts at 0, in front of `schedule`.
    pub fn rate(&self, schedule: &Schedule, start: f64, step: u64) -> f64 {
        match step.checked_sub(self.steps) {
            Some(step) => schedule.rate(start, step),
            // It ends where the schedule begins.
            None => {
                let end = schedule.rate(start, 0);
                self.from + (end - self.from) * step as f64 / self.steps as f64
            }
        }
    }
}

impl Schedule {
    /// The step size of step number `step`, which starts at 0; that of a plateau is `start`, since only epochs change it.
    pub fn rate(&self, start: f64, step: u64) -> f64 {
        let t = step as f64;
        let passed = |steps: f64, staircase: bool| if staircase { (t / steps).floor() } else { t / steps };
        let between = |from: f64, to: f64, share: f64| to + (from - to) / 2.0 * (1.0 + (PI * share).cos());
        match *self {
            Schedule::Constant | Schedule::Plateau(_) => start,
            Schedule::Power { rate, steps, staircase } => start / (1.0 + rate * passed(steps, staircase)),
            Schedule::Exponential { rate, steps, staircase } => start * rate.powf(passed(steps, staircase)),
            Schedule::Step { rate, steps } => start * rate.powf(passed(steps, true)),
            Schedule::Piecewise { ref boundaries, ref values } => {
                let now = boundaries.partition_point(|&last| last < t);
                values.get(now).or(values.last()).copied().unwrap_or(start)
            }
            Schedule::Polynomial { steps, end, power } => {
                (start - end) * (1.0 - t.min(steps) / steps).powf(power) + end
            }
            Schedule::Cosine { steps, alpha } => start * between(1.0, alpha, t.min(steps) / steps),
            Schedule::CosineRestarts { steps, t_mul, m_mul, alpha } => {
                let (mut begin, mut length, mut height) = (0.0, steps, 1.0);
                while t - begin >= length {
                    begin += length;
                    // All that are alike are passed in one go.
                    let more = if t_mul == 1.0 { ((t - begin) / length).floor() } else { 0.0 };
                    begin += more * length;
                    length *= t_mul.max(1.0);
                    height *= m_mul.powf(1.0 + more);
                }
                start * (alpha + (1.0 - alpha) * height * between(1.0, 0.0, (t - begin) / length))
            }
            Schedule::OneCycle { steps, rise, div, final_div } => {
                let (low, top) = (start / div, rise * steps - 1.0);
                match t < top {
                    true => between(low, start, t / top),
                    false => between(start, low / final_div, (t - top).min(steps - 1.0 - top) / (steps - 1.0 - top)),
                }
            }
        }
    }
}

/// How far a [`Plateau`] has come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Progress {
    /// The best number so far.
    pub best: Option<f64>,
    /// Epochs without progress.
    pub wait: u64,
    /// Epochs in which nothing is counted.
    pub cooldown: u64,
}

impl Progress {
    /// Hears the number of an epoch; gives the step size from now on.
    pub fn hear(&mut self, how: &Plateau, number: f64, rate: f64) -> f64 {
        let grows = how.monitor.contains("accuracy");
        if self.cooldown > 0 {
            self.cooldown -= 1;
            self.wait = 0;
        }
        let better = self.best.is_none_or(|best| match grows {
            true => number - how.min_delta > best,
            false => number + how.min_delta < best,
        });
        if better {
            (self.best, self.wait) = (Some(number), 0);
        } else if self.cooldown == 0 {
            self.wait += 1;
            if self.wait >= how.patience && rate > how.min_rate {
                (self.cooldown, self.wait) = (how.cooldown, 0);
                return (rate * how.factor).max(how.min_rate);
            }
        }
        rate
    }
}
