//! One update of a model's weights, from its gradients to the numbers that stand in it afterwards.

use gradus_core::{Gradients, Tensor};

use super::Optimizer;
use crate::{Error, Param, Result};

/// Under which name the number of updates made is saved.
const STEPS: &str = "steps";
/// What stands before the names of the optimizer's own state.
const OPTIMIZER: &str = "optimizer/";

/// An optimizer with everything that is done around its step.
///
/// Training calls [`Update::apply`] after each batch and [`Update::epoch_end`] after each epoch. What [`Update::state`] gives
/// is all that is needed to go on later as if nothing had happened.
///
/// ```
/// # use gradus_nn::{Param, core::Tensor, optim::{Sgd, SgdOptions, Update}};
/// let mut update = Update::new(Box::new(Sgd::new(SgdOptions::keras())));
/// let w = Param::weight("w", Tensor::scalar(3f64));
/// update.apply(&[w.clone()], w.value().square()?.backward()?)?;
/// assert_eq!((w.value().item()?, update.steps()), (3.0 - 0.01 * 6.0, 1));
/// # Ok::<(), gradus_nn::Error>(())
/// ```
#[derive(Debug)]
pub struct Update {
    optimizer: Box<dyn Optimizer>,
    /// Updates made so far.
    steps: u64,
}

impl Update {
    /// Nothing but the steps of `optimizer`.
    pub fn new(optimizer: Box<dyn Optimizer>) -> Self {
        Self { optimizer, steps: 0 }
    }

    /// Moves every trainable one of `params` by its gradient.
    ///
    /// # Errors
    /// If a trainable parameter has no gradient, or two have the same name; then nothing has moved.
    pub fn apply(&mut self, params: &[Param], gradients: Gradients) -> Result<()> {
        self.optimizer.step(params, gradients)?;
        self.steps += 1;
        Ok(())
    }

    /// Hears what came out of an epoch: numbers by name, such as `val_loss`.
    pub fn epoch_end(&mut self, values: &[(String, f64)]) {
        _ = values;
    }

    /// How many updates were made.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The step size of the next update.
    pub fn learning_rate(&self) -> f64 {
        self.optimizer.learning_rate()
    }

    /// Changes the step size from the next update on.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.optimizer.set_learning_rate(learning_rate);
    }

    /// Everything that the next update depends on besides weights, gradients and options: for saving.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = vec![(STEPS.to_string(), Tensor::scalar(self.steps as i64))];
        state.extend(self.optimizer.state().into_iter().map(|(name, tensor)| (format!("{OPTIMIZER}{name}"), tensor)));
        state
    }

    /// Goes on from what [`Update::state`] gave.
    ///
    /// # Errors
    /// If something is missing, or is the state of another optimizer.
    pub fn load_state(&mut self, state: Vec<(String, Tensor)>) -> Result<()> {
        let (mut steps, mut inner) = (None, Vec::new());
        for (name, tensor) in state {
            match name.strip_prefix(OPTIMIZER) {
                Some(inside) => inner.push((inside.to_string(), tensor)),
                None if name == STEPS => steps = Some(tensor.item()? as u64),
                None => return Err(Error::Config(format!("state of training: {name:?} is not known"))),
            }
        }
        let missing = || Error::Config(format!("state of training: {STEPS:?}, the number of updates made, is missing"));
        self.steps = steps.ok_or_else(missing)?;
        self.optimizer.load_state(inner)
    }
}

impl<O: Optimizer + 'static> From<O> for Update {
    fn from(optimizer: O) -> Self {
        Self::new(Box::new(optimizer))
    }
}

impl From<Box<dyn Optimizer>> for Update {
    fn from(optimizer: Box<dyn Optimizer>) -> Self {
        Self::new(optimizer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{Adam, AdamOptions};

    fn adam() -> Update {
        Update::new(Box::new(Adam::new(AdamOptions::keras())))
    }

    fn step(update: &mut Update, param: &Param, gradient: f32) {
        let loss = param.value().mul(&Tensor::scalar(gradient)).unwrap();
        update.apply(std::slice::from_ref(param), loss.backward().unwrap()).unwrap();
    }

    #[test]
    fn an_update_goes_on_from_its_saved_state() {
        let (whole, parted) = (Param::weight("w", Tensor::scalar(1f32)), Param::weight("w", Tensor::scalar(1f32)));
        let (mut straight, mut before, mut after) = (adam(), adam(), adam());
        for gradient in [0.5, -0.25, 0.1] {
            step(&mut straight, &whole, gradient);
        }
        step(&mut before, &parted, 0.5);
        after.load_state(before.state()).unwrap();
        step(&mut after, &parted, -0.25);
        step(&mut after, &parted, 0.1);
        assert_eq!(whole.value().item().unwrap(), parted.value().item().unwrap());
        assert_eq!(after.steps(), 3);
    }

    #[test]
    fn a_state_that_is_none_is_refused() {
        let error = adam().load_state(Vec::new()).unwrap_err().to_string();
        assert_eq!(error, "state of training: \"steps\", the number of updates made, is missing");
        let error = adam().load_state(vec![("lr".into(), Tensor::scalar(1f32))]).unwrap_err().to_string();
        assert_eq!(error, "state of training: \"lr\" is not known");
    }
}
