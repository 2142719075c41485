//! One update of a model's weights, from its gradients to the numbers that stand in it afterwards.

use std::collections::BTreeMap;

use gradus_core::ops::step::{self, Step};
use gradus_core::{Gradient, Gradients, Tensor};

use super::memory::{AVERAGE, BEST, COOLDOWN, GATHERED, NUMBERS, OPTIMIZER, START, STEPS, WAIT};
use super::schedule::Progress;
use super::{Move, Optimizer, Schedule, Warmup, pair};
use crate::{Error, Param, Result};

/// What is done around the steps of an optimizer. All of it is off at first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Around {
    /// How the step size changes.
    pub schedule: Schedule,
    /// How it begins.
    pub warmup: Warmup,
    /// What is done to gradients that are too large.
    pub clip: Clip,
    /// Over how many batches gradients are gathered before the weights move; with 0 or 1 they move after each.
    ///
    /// Schedules go on counting batches meanwhile, as in Keras.
    pub accumulate: usize,
    /// Running means of the weights, if they are wanted.
    pub average: Option<Average>,
    /// Parameters whose steps have a size of their own. The first group that a parameter belongs to counts.
    pub groups: Vec<Group>,
}

/// What is done to gradients that are too large. Regularisers' slopes count as part of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Clip {
    /// Nothing.
    #[default]
    No,
    /// No number of a gradient beyond this, upwards or downwards.
    Value(f64),
    /// Each parameter's gradient is made shorter if its norm is above this.
    Norm(f64),
    /// All gradients are made shorter together if the norm of them all is above this (Pascanu, Mikolov and Bengio 2013).
    GlobalNorm(f64),
}

/// Running means of weights, which often do better than the weights themselves (Polyak and Juditsky 1992).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Average {
    /// How much of the mean is kept at each update.
    pub momentum: f64,
    /// After how many updates weights are replaced by their means; with 0 only [`Update::finish`] does it.
    pub overwrite_every: u64,
}

impl Default for Average {
    /// Keras' defaults.
    fn default() -> Self {
        Self { momentum: 0.99, overwrite_every: 0 }
    }
}

/// Parameters whose steps have a size of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Which: a name such as `dense_1.kernel`, in which `*` stands for any letters and `?` for one.
    pub pattern: String,
    /// How large their steps are, as a multiple of what they would be.
    pub learning_rate_scale: f64,
}

/// An optimizer with everything that is done around its step.
///
/// Training calls [`Update::apply`] after each batch, [`Update::epoch_end`] after each epoch and [`Update::finish`] at the very
/// end. What [`Update::state`] gives is all that is needed to go on later as if nothing had happened.
///
/// ```
/// # use gradus_nn::{Param, core::Tensor, optim::{Sgd, SgdOptions, Update}};
/// let mut update = Update::from(Sgd::new(SgdOptions::keras()));
/// let w = Param::weight("w", Tensor::scalar(3f64));
/// update.apply(&[w.clone()], w.value().square()?.backward()?)?;
/// assert_eq!((w.value().item()?, update.steps()), (3.0 - 0.01 * 6.0, 1));
/// # Ok::<(), gradus_nn::Error>(())
/// ```
#[derive(Debug)]
pub struct Update {
    optimizer: Box<dyn Optimizer>,
    around: Around,
    /// The step size from which the schedule starts.
    start: f64,
    /// Batches so far.
    steps: u64,
    progress: Progress,
    /// Sums of gradients that wait for more.
    gathered: BTreeMap<String, Tensor>,
    averages: BTreeMap<String, Tensor>,
    /// Whether every group was seen to have parameters.
    checked: bool,
}

impl Update {
    /// `optimizer` with what is to be done around its steps.
    pub fn new(optimizer: Box<dyn Optimizer>, around: Around) -> Self {
        Self {
            start: optimizer.learning_rate(),
            optimizer,
            around,
            steps: 0,
            progress: Progress::default(),
            gathered: BTreeMap::new(),
            averages: BTreeMap::new(),
            checked: false,
        }
    }

    /// Moves every trainable one of `params` by its gradient and its regulariser's, and brings it back within its constraint.
    ///
    /// # Errors
    /// If a trainable parameter has no gradient, two have the same name, or a group has no parameters; then nothing has moved.
    pub fn apply(&mut self, params: &[Param], gradients: Gradients) -> Result<()> {
        let mut moves = pair(params, gradients)?;
        self.check_groups(params)?;
        let rate = self.learning_rate();
        self.steps += 1;
        let parts = self.around.accumulate.max(1);
        if parts > 1 && !self.gather(&mut moves, parts)? {
            return Ok(());
        }
        for each in &mut moves {
            // Of a mean over several batches, each had the whole penalty.
            each.adjust.scale = 1.0 / parts as f64;
            if let Some(regularizer) = each.param.regularizer() {
                regularizer.add_to(&mut each.adjust, parts as f64);
            }
            let group = self.around.groups.iter().find(|group| group.has(&each.name));
            each.rate = group.map_or(1.0, |group| group.learning_rate_scale);
        }
        self.around.clip.apply(&mut moves)?;
        let constrained: Vec<_> =
            moves.iter().filter_map(|each| Some((each.param, each.param.constraint()?))).collect();
        let averaged: Vec<(&Param, String)> = match self.around.average {
            Some(_) => moves.iter().map(|each| (each.param, each.name.clone())).collect(),
            None => Vec::new(),
        };
        self.optimizer.set_learning_rate(rate);
        self.optimizer.advance(moves)?;
        if let Some(average) = self.around.average {
            self.follow(average, &averaged)?;
            let updates = self.steps / parts as u64;
            if average.overwrite_every > 0 && updates.is_multiple_of(average.overwrite_every) {
                self.finish(params)?;
            }
        }
        for (param, constraint) in constrained {
            param.set(constraint.apply(&param.value().detach())?)?;
        }
        Ok(())
    }

    /// Hears what came out of an epoch: numbers by name, such as `val_loss`.
    ///
    /// # Errors
    /// If the schedule waits for a number that is not among them.
    pub fn epoch_end(&mut self, values: &[(String, f64)]) -> Result<()> {
        let Schedule::Plateau(how) = &self.around.schedule else { return Ok(()) };
        let Some((_, number)) = values.iter().find(|(name, _)| *name == how.monitor) else {
            let there: Vec<_> = values.iter().map(|(name, _)| name.as_str()).collect();
            let text = format!(
                "the plateau schedule watches {:?}, which no epoch has; there are {}",
                how.monitor,
                there.join(", ")
            );
            return Err(Error::Config(text));
        };
        self.start = self.progress.hear(how, *number, self.start);
        Ok(())
    }

    /// Puts the running means, if there are any, in the place of the weights; to be called when training is over.
    pub fn finish(&self, params: &[Param]) -> Result<()> {
        for param in params {
            if let Some(average) = self.averages.get(&param.name()) {
                param.set(average.clone())?;
            }
        }
        Ok(())
    }

    /// How many batches there were.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The step size of the next update.
    pub fn learning_rate(&self) -> f64 {
        self.around.warmup.rate(&self.around.schedule, self.start, self.steps)
    }

    /// Changes the step size from the next update on: that from which the schedule starts.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.start = learning_rate;
    }

    /// Everything that the next update depends on besides weights, gradients and options: for saving.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let Progress { best, wait, cooldown } = self.progress;
        let mut state = vec![
            (STEPS.to_string(), Tensor::scalar(self.steps as i64)),
            (START.to_string(), Tensor::scalar(self.start)),
            (BEST.to_string(), Tensor::scalar(best.unwrap_or(f64::NAN))),
            (WAIT.to_string(), Tensor::scalar(wait as i64)),
            (COOLDOWN.to_string(), Tensor::scalar(cooldown as i64)),
        ];
        let under = |prefix: &str, (name, tensor): (&String, &Tensor)| (format!("{prefix}{name}"), tensor.clone());
        state.extend(self.gathered.iter().map(|entry| under(GATHERED, entry)));
        state.extend(self.averages.iter().map(|entry| under(AVERAGE, entry)));
        state.extend(self.optimizer.state().iter().map(|(name, tensor)| under(OPTIMIZER, (name, tensor))));
        state
    }

    /// Goes on from what [`Update::state`] gave.
    ///
    /// # Errors
    /// If something is missing, or is the state of another optimizer.
    pub fn load_state(&mut self, state: Vec<(String, Tensor)>) -> Result<()> {
        let mut numbers = BTreeMap::new();
        let (mut inner, mut gathered, mut averages) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for (name, tensor) in state {
            if let Some(inside) = name.strip_prefix(OPTIMIZER) {
                inner.push((inside.to_string(), tensor));
            } else if let Some(inside) = name.strip_prefix(GATHERED) {
                gathered.insert(inside.to_string(), tensor);
            } else if let Some(inside) = name.strip_prefix(AVERAGE) {
                averages.insert(inside.to_string(), tensor);
            } else if NUMBERS.contains(&name.as_str()) {
                numbers.insert(name, tensor.item()?);
            } else {
                return Err(Error::Config(format!("state of training: {name:?} is not known")));
            }
        }
        let number = |name: &str| {
            let missing = || Error::Config(format!("state of training: {name:?} is missing"));
            numbers.get(name).copied().ok_or_else(missing)
        };
        let best = Some(number(BEST)?).filter(|best| !best.is_nan());
        let progress = Progress { best, wait: number(WAIT)? as u64, cooldown: number(COOLDOWN)? as u64 };
        let (steps, start) = (number(STEPS)? as u64, number(START)?);
        self.optimizer.load_state(inner)?;
        (self.steps, self.start, self.progress) = (steps, start, progress);
        (self.gathered, self.averages) = (gathered, averages);
        Ok(())
    }

    /// Adds the gradients to those that wait. Tells whether they are enough, and then puts the sums in their place.
    fn gather(&mut self, moves: &mut [Move<'_>], parts: usize) -> Result<bool> {
        let enough = self.steps.is_multiple_of(parts as u64);
        for each in moves {
            let sum = match self.gathered.remove(&each.name) {
                Some(mut sum) => {
                    sum.descend(-1.0, &each.gradient)?;
                    sum
                }
                None => each.gradient.value()?.clone(),
            };
            if enough {
                each.gradient = Gradient::from(sum);
            } else {
                self.gathered.insert(each.name.clone(), sum);
            }
        }
        Ok(enough)
    }

    /// Lets the means follow the weights, all in one pass. The first time they are the weights.
    fn follow(&mut self, Average { momentum, .. }: Average, moved: &[(&Param, String)]) -> Result<()> {
        let mut values = BTreeMap::new();
        for (param, name) in moved {
            let value = param.value().detach();
            if self.averages.contains_key(name) {
                values.insert(name, value);
            } else {
                self.averages.insert(name.clone(), value);
            }
        }
        let steps = self
            .averages
            .iter_mut()
            .filter_map(|(name, average)| values.get(name).map(|value| Step::following(average, value, momentum)));
        Ok(step::update(steps.collect())?)
    }

    /// A group without parameters is a slip of the pen, found before the first update.
    fn check_groups(&mut self, params: &[Param]) -> Result<()> {
        if self.checked {
            return Ok(());
        }
        let names: Vec<String> = params.iter().map(Param::name).collect();
        if let Some(group) = self.around.groups.iter().find(|group| !names.iter().any(|name| group.has(name))) {
            let (pattern, names) = (&group.pattern, names.join(", "));
            return Err(Error::Config(format!("optimizer.group: {pattern:?} matches no parameter; there are {names}")));
        }
        self.checked = true;
        Ok(())
    }
}

impl Clip {
    /// Makes gradients shorter, or lets the step do so.
    fn apply(self, moves: &mut [Move<'_>]) -> Result<()> {
        let shorten = |norm: f64, most: f64| if norm > most { most / norm } else { 1.0 };
        match self {
            Clip::No => {}
            Clip::Value(most) => moves.iter_mut().for_each(|each| each.adjust.limit = most),
            Clip::Norm(most) => {
                for each in moves {
                    each.adjust.scale *= shorten(each.squares()?.sqrt(), most);
                }
            }
            Clip::GlobalNorm(most) => {
                let squares = moves.iter().map(Move::squares).sum::<Result<f64>>()?;
                moves.iter_mut().for_each(|each| each.adjust.scale *= shorten(squares.sqrt(), most));
            }
        }
        Ok(())
    }
}

impl Group {
    /// Whether a parameter of this name belongs to it.
    pub fn has(&self, name: &str) -> bool {
        matches(self.pattern.as_bytes(), name.as_bytes())
    }
}

/// Whether `name` is what `pattern` describes.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|skip| matches(rest, &name[skip..])),
        ([b'?', pattern @ ..], [_, name @ ..]) => matches(pattern, name),
        ([letter, pattern @ ..], [other, name @ ..]) => letter == other && matches(pattern, name),
        _ => false,
    }
}

impl<O: Optimizer + 'static> From<O> for Update {
    fn from(optimizer: O) -> Self {
        Self::new(Box::new(optimizer), Around::default())
    }
}

impl From<Box<dyn Optimizer>> for Update {
    fn from(optimizer: Box<dyn Optimizer>) -> Self {
        Self::new(optimizer, Around::default())
    }
}
