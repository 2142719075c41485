//! Optimizer steps: the only operations that change a tensor, each in one pass over weights, gradient and state.

use gradus_kernels::backend::{Adam, Sgd};

use crate::{DType, Error, Gradient, Result, Tensor};

/// In place, for optimizers. Nothing is recorded; a tensor that somebody else can see is copied first.
impl Tensor {
    /// One step of gradient descent; see [`Backend::sgd_step`](gradus_kernels::Backend::sgd_step) for the formula.
    ///
    /// `velocity` has the shape of the weights, and is there exactly when the momentum is not 0.
    pub fn sgd_step(&mut self, how: &Sgd, gradient: &Tensor, velocity: Option<&mut Tensor>) -> Result<()> {
        self.check_step("sgd_step", gradient, velocity.as_deref().as_slice())?;
        if velocity.is_some() != (how.momentum != 0.0) {
            let what =
                format!("momentum {} needs {} velocity", how.momentum, if velocity.is_some() { "no" } else { "a" });
            return Err(Error::argument("sgd_step", what));
        }
        let (backend, gradient) = (self.backend(), gradient.detach().contiguous()?);
        let velocity = velocity.map(Tensor::make_mut).transpose()?;
        Ok(backend.sgd_step(how, self.make_mut()?, gradient.view(), velocity)?)
    }

    /// `self -= rate * gradient`: a step of plain gradient descent. Where the gradient is a product that nobody has computed
    /// yet, the product is added to the weights as it is computed, and never takes memory of its own.
    pub fn descend(&mut self, rate: f64, gradient: &Gradient) -> Result<()> {
        match gradient.factors() {
            Some((a, b)) if matches!(self.dtype(), DType::F32 | DType::F64) && a.dtype() == self.dtype() => {
                let (backend, [a, b]) = (self.backend(), [a, b].map(Tensor::detach));
                Ok(backend.add_product(self.make_mut()?, -rate, a.view(), b.view())?)
            }
            _ => {
                let how = Sgd { learning_rate: rate, momentum: 0.0, nesterov: false };
                self.sgd_step(&how, gradient.value()?, None)
            }
        }
    }

    /// One step of Adam; see [`Backend::adam_step`](gradus_kernels::Backend::adam_step).
    ///
    /// The moments have the shape of the weights and start as zeros.
    pub fn adam_step(&mut self, how: &Adam, gradient: &Tensor, m: &mut Tensor, v: &mut Tensor) -> Result<()> {
        self.check_step("adam_step", gradient, &[m, v])?;
        let (backend, gradient) = (self.backend(), gradient.detach().contiguous()?);
        Ok(backend.adam_step(how, self.make_mut()?, gradient.view(), m.make_mut()?, v.make_mut()?)?)
    }

    /// Kernels trust that all they are given has one shape, one float type and one device.
    fn check_step(&self, op: &'static str, gradient: &Tensor, state: &[&Tensor]) -> Result<()> {
        if !self.dtype().is_float() {
            return Err(Error::dtype(op, format!("weights are floats, not {}", self.dtype())));
        }
        for (name, other) in std::iter::once(("gradient", gradient)).chain(state.iter().map(|&state| ("state", state)))
        {
            if (other.shape(), other.dtype(), other.device()) != (self.shape(), self.dtype(), self.device()) {
                let show = |x: &Tensor| format!("{} {:?} on {}", x.dtype(), x.shape(), x.device());
                return Err(Error::shape(op, format!("weights are {}, the {name} is {}", show(self), show(other))));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Sgd = Sgd { learning_rate: 0.5, momentum: 0.0, nesterov: false };

    #[test]
    fn a_step_leaves_what_others_hold_as_it_is() {
        let mut w = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], &[2, 2]).unwrap();
        let held = w.clone();
        let gradient = Tensor::from_slice(&[1.0f32, 2.0], &[1, 2]).unwrap().broadcast_to(&[2, 2]).unwrap();
        w.sgd_step(&PLAIN, &gradient, None).unwrap();
        assert_eq!(w.to_vec::<f32>().unwrap(), [0.5, 1.0, 2.5, 3.0]);
        assert_eq!(held.to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0]);
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
        value.sgd_step(&PLAIN, &known, None).unwrap();
        let far = product.sub(&value).unwrap().abs().unwrap().max(&[]).unwrap().item().unwrap();
        assert!(far < 1e-6, "{far}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut w = Tensor::scalar(1f32);
        let error = w.sgd_step(&PLAIN, &Tensor::scalar(1f64), None).unwrap_err().to_string();
        assert_eq!(error, "sgd_step: weights are f32 [] on cpu, the gradient is f64 [] on cpu");
        let heavy = Sgd { momentum: 0.9, ..PLAIN };
        let error = w.sgd_step(&heavy, &Tensor::scalar(1f32), None).unwrap_err().to_string();
        assert_eq!(error, "sgd_step: momentum 0.9 needs a velocity");
    }
}
