//! Optimizer steps: the only operations that change a tensor, in one pass over weights, gradients and states.

use gradus_kernels::backend::{Adjust, Moving, Rule};

use crate::{DType, Error, Gradient, Result, Tensor};

/// A tensor of weights that is about to move.
#[derive(Debug)]
pub struct Step<'a> {
    /// The weights.
    pub weights: &'a mut Tensor,
    /// Their gradient.
    pub gradient: &'a Tensor,
    /// What the rule remembers about them: as many tensors of the same shape as [`Rule::states`] says.
    pub states: &'a mut [Tensor],
    /// What is done to the gradient first.
    pub adjust: Adjust,
    /// How they move.
    pub rule: Rule,
}

/// Moves all weights by their rules, in place and in one pass over memory.
///
/// Nothing is recorded; a tensor that somebody else can see is copied first.
///
/// # Errors
/// If weights are no floats, something has another shape, type or device than its weights, the number of states is wrong, or
/// the devices differ; then nothing has moved.
///
/// ```
/// # use gradus_core::{Tensor, ops::step::{Step, update}};
/// # use gradus_core::kernels::backend::{Adjust, Rule};
/// let mut w = Tensor::from_slice(&[1f32, 2.0], &[2])?;
/// let gradient = Tensor::from_slice(&[4f32, -4.0], &[2])?;
/// let rule = Rule::Descend { rate: 0.25 };
/// update(vec![Step { weights: &mut w, gradient: &gradient, states: &mut [], adjust: Adjust::NOTHING, rule }])?;
/// assert_eq!(w.to_vec::<f32>()?, [0.0, 3.0]);
/// # Ok::<(), gradus_core::Error>(())
/// ```
pub fn update(mut steps: Vec<Step<'_>>) -> Result<()> {
    let Some(first) = steps.first() else { return Ok(()) };
    let (device, backend) = (first.weights.device(), first.weights.backend());
    for step in &steps {
        step.check()?;
        if step.weights.device() != device {
            let what = format!("weights are on {} and on {device}; move them to one device", step.weights.device());
            return Err(Error::argument("update", what));
        }
    }
    let rows = |step: &Step<'_>| step.gradient.detach().contiguous();
    let gradients = steps.iter().map(rows).collect::<Result<Vec<_>>>()?;
    let mut moving = Vec::with_capacity(steps.len());
    for (step, gradient) in steps.iter_mut().zip(&gradients) {
        let mut states = [None, None, None];
        for (slot, state) in states.iter_mut().zip(step.states.iter_mut()) {
            *slot = Some(state.make_mut()?);
        }
        let (adjust, rule) = (step.adjust, step.rule);
        moving.push(Moving { weights: step.weights.make_mut()?, gradient: gradient.view(), states, adjust, rule });
    }
    Ok(backend.update(&mut moving)?)
}

impl<'a> Step<'a> {
    /// A step of a running mean: `mean = momentum * mean + (1 - momentum) * value`.
    pub fn following(mean: &'a mut Tensor, value: &'a Tensor, momentum: f64) -> Self {
        let adjust = Adjust { keep: momentum, ..Adjust::NOTHING };
        let rule = Rule::Descend { rate: momentum - 1.0 };
        Self { weights: mean, gradient: value, states: &mut [], adjust, rule }
    }

    /// Kernels trust that all they are given has one shape, one float type and one device.
    fn check(&self) -> Result<()> {
        let weights = &*self.weights;
        if !weights.dtype().is_float() {
            return Err(Error::dtype("update", format!("weights are floats, not {}", weights.dtype())));
        }
        if self.states.len() != self.rule.states() {
            let (needs, has) = (self.rule.states(), self.states.len());
            return Err(Error::argument("update", format!("{:?} takes {needs} states, not {has}", self.rule)));
        }
        let parts =
            std::iter::once(("gradient", self.gradient)).chain(self.states.iter().map(|state| ("state", state)));
        for (name, part) in parts {
            if (part.shape(), part.dtype(), part.device()) != (weights.shape(), weights.dtype(), weights.device()) {
                let show = |x: &Tensor| format!("{} {:?} on {}", x.dtype(), x.shape(), x.device());
                let what = format!("weights are {}, the {name} is {}", show(weights), show(part));
                return Err(Error::shape("update", what));
            }
        }
        Ok(())
    }
}

impl Tensor {
    /// `self -= rate * gradient`, in place: a step of plain gradient descent. Where the gradient is a product that nobody has
    /// computed yet, the product is added to the weights as it is computed, and never takes memory of its own.
    pub fn descend(&mut self, rate: f64, gradient: &Gradient) -> Result<()> {
        match gradient.factors() {
            Some((a, b)) if matches!(self.dtype(), DType::F32 | DType::F64) && a.dtype() == self.dtype() => {
                let (backend, [a, b]) = (self.backend(), [a, b].map(Tensor::detach));
                Ok(backend.add_product(self.make_mut()?, -rate, a.view(), b.view())?)
            }
            _ => {
                let (gradient, rule) = (gradient.value()?, Rule::Descend { rate });
                update(vec![Step { weights: self, gradient, states: &mut [], adjust: Adjust::NOTHING, rule }])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Rule = Rule::Descend { rate: 0.5 };
    const HEAVY: Rule = Rule::Momentum { momentum: 0.9, inner: 0.5, outer: 1.0, nesterov: false };

    fn step(weights: &mut Tensor, gradient: &Tensor, states: &mut [Tensor], rule: Rule) -> Result<()> {
        update(vec![Step { weights, gradient, states, adjust: Adjust::NOTHING, rule }])
    }

    #[test]
    fn a_step_leaves_what_others_hold_as_it_is() {
        let mut w = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], &[2, 2]).unwrap();
        let held = w.clone();
        let gradient = Tensor::from_slice(&[1.0f32, 2.0], &[1, 2]).unwrap().broadcast_to(&[2, 2]).unwrap();
        step(&mut w, &gradient, &mut [], PLAIN).unwrap();
        assert_eq!(w.to_vec::<f32>().unwrap(), [0.5, 1.0, 2.5, 3.0]);
        assert_eq!(held.to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn a_running_mean_follows_what_it_is_shown() {
        let mut mean = Tensor::from_slice(&[1.0f32, -2.0], &[2]).unwrap();
        let value = Tensor::from_slice(&[5.0f32, 2.0], &[2]).unwrap();
        update(vec![Step::following(&mut mean, &value, 0.75)]).unwrap();
        assert_eq!(mean.to_vec::<f32>().unwrap(), [2.0, -1.0]);
    }

    #[test]
    fn descending_along_a_product_is_descending_along_its_value() {
        let ramp = |shape: &[usize]| {
            let values: Vec<f32> =
                (0..shape.iter().product()).map(|i: usize| (i * 37 % 29) as f32 / 14.5 - 1.0).collect();
            Tensor::from_slice(&values, shape).unwrap()
        };
        let (x, w) = (ramp(&[50, 40]), ramp(&[40, 70]).requires_grad());
        let loss = x.linear(&w, None, None).unwrap().square().unwrap().mean(&[]).unwrap();
        let mut gradients = loss.backward().unwrap();
        let known = gradients.get(&w).unwrap().clone();
        let loss = x.linear(&w, None, None).unwrap().square().unwrap().mean(&[]).unwrap();
        gradients = loss.backward().unwrap();
        let (mut product, mut value) = (w.detach(), w.detach());
        let gradient = gradients.take(&w).unwrap();
        assert!(gradient.factors().is_some());
        product.descend(0.5, &gradient).unwrap();
        step(&mut value, &known, &mut [], PLAIN).unwrap();
        let far = product.sub(&value).unwrap().abs().unwrap().max(&[]).unwrap().item().unwrap();
        assert!(far < 1e-6, "{far}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut w = Tensor::scalar(1f32);
        let error = step(&mut w, &Tensor::scalar(1f64), &mut [], PLAIN).unwrap_err().to_string();
        assert_eq!(error, "update: weights are f32 [] on cpu, the gradient is f64 [] on cpu");
        let error = step(&mut w, &Tensor::scalar(1f32), &mut [], HEAVY).unwrap_err().to_string();
        assert!(error.starts_with("update: Momentum") && error.ends_with("takes 1 states, not 0"), "{error}");
        let error = step(&mut Tensor::scalar(1i64), &Tensor::scalar(1i64), &mut [], PLAIN).unwrap_err().to_string();
        assert_eq!(error, "update: weights are floats, not i64");
    }

    #[test]
    fn many_tensors_move_as_they_would_one_by_one() {
        let tensors = |seed: usize| {
            [3usize, 70_000, 0, 1, 5_000].map(|len| {
                let values: Vec<f32> = (0..len).map(|i| ((i * 37 + seed * 11) % 29) as f32 / 14.5 - 1.0).collect();
                Tensor::from_slice(&values, &[len]).unwrap()
            })
        };
        let adjust = Adjust { scale: 0.5, limit: 0.25, l1: 0.1, l2: 0.2, decay: 0.3, keep: 0.9 };
        let (gradients, states) = (tensors(1), tensors(2));
        let (mut together, mut alone) = (tensors(3), tensors(3));
        let (mut v, mut u) = (states.clone(), states);
        let steps = together.iter_mut().zip(&gradients).zip(&mut v).map(|((weights, gradient), state)| {
            let states = std::slice::from_mut(state);
            Step { weights, gradient, states, adjust, rule: HEAVY }
        });
        update(steps.collect()).unwrap();
        for ((weights, gradient), state) in alone.iter_mut().zip(&gradients).zip(&mut u) {
            update(vec![Step { weights, gradient, states: std::slice::from_mut(state), adjust, rule: HEAVY }]).unwrap();
        }
        let bits = |x: &Tensor| x.to_vec::<f32>().unwrap();
        assert!(together.iter().chain(&v).zip(alone.iter().chain(&u)).all(|(a, b)| bits(a) == bits(b)));
    }
}
