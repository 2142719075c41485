//! Softmax, log-softmax and cross-entropy: each a kernel forward, a kernel for the gradient, and for that gradient a rule
//! in plain operations, so that second derivatives work.

use std::sync::OnceLock;

use gradus_kernels::layout::Dims;

use crate::grad::{Grads, Op, Saved, Saves, apply, is_recording};
use crate::{DType, Error, Result, Tensor};

impl Tensor {
    /// `exp(x) / sum(exp(x))` along `axis`.
    pub fn softmax(&self, axis: isize) -> Result<Tensor> {
        self.float("softmax")?;
        apply(Softmax(self.axis("softmax", axis)?), &[self])
    }

    /// `x - log(sum(exp(x)))` along `axis`: the logarithm of the softmax, without its underflow.
    pub fn log_softmax(&self, axis: isize) -> Result<Tensor> {
        self.float("log_softmax")?;
        apply(LogSoftmax(self.axis("log_softmax", axis)?), &[self])
    }

    /// For each row of logits the loss `-log_softmax(row)[label]`; `[n, classes]` and `[n]` give `[n]`.
    pub fn cross_entropy(&self, labels: &Tensor) -> Result<Tensor> {
        self.float("cross_entropy")?;
        let fits = matches!(self.shape(), [n, _] if labels.shape() == [*n]);
        if !fits || labels.dtype() != DType::I64 {
            let (shape, dtype) = (labels.shape(), labels.dtype());
            let what = format!("logits {:?} need one i64 label a row, not {dtype} {shape:?}", self.shape());
            return Err(Error::shape("cross_entropy", what));
        }
        let wants_gradient = self.is_tracked() && is_recording();
        apply(CrossEntropy { wants_gradient, gradient: OnceLock::new() }, &[self, labels])
    }

    fn float(&self, op: &'static str) -> Result<()> {
        match self.dtype().is_float() {
            true => Ok(()),
            false => Err(Error::dtype(op, format!("not defined for {}; convert with to_dtype first", self.dtype()))),
        }
    }
}

/// Ops of two inputs of one shape whose kernel takes an axis, with its name, kernel and saved tensors.
macro_rules! softmax_ops {
    ($($Op:ident $name:literal $kernel:ident ($($x:ident),+) $saves:ident, |$axis:ident, $saved:ident, $dy:ident, $grads:ident| $rule:block)*) => {$(
        #[derive(Debug)]
        struct $Op(usize);

        impl Op for $Op {
            fn name(&self) -> &'static str {
                $name
            }

            fn saves(&self) -> Saves {
                Saves::$saves
            }

            fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
                let [$($x),+] = inputs else { unreachable!("every use passes all inputs") };
                let first = inputs[0];
                first.computed(first.backend().$kernel($($x.view()),+, self.0)?, first.shape())
            }

            fn backward(&self, $saved: &Saved<'_>, $dy: &Tensor, $grads: &mut Grads<'_>) -> Result<()> {
                let $axis = self.0;
                $rule
            }
        }
    )*};
}

softmax_ops! {
    Softmax "softmax" softmax (x) OUTPUT, |axis, saved, dy, grads| {
        let y = saved.output()?;
        grads.wrt(0, || apply(SoftmaxGrad(axis), &[y, dy]))
    }

    SoftmaxGrad "softmax_grad" softmax_grad (y, dy) INPUTS, |axis, saved, g, grads| {
        let [y, dy] = saved.inputs()?;
        let over = &[axis as isize];
        grads.wrt(0, || Ok(g * (dy - (y * dy).sum_keepdim(over)?) - dy * (g * y).sum_keepdim(over)?))?;
        grads.wrt(1, || apply(SoftmaxGrad(axis), &[y, g]))
    }

    LogSoftmax "log_softmax" log_softmax (x) OUTPUT, |axis, saved, dy, grads| {
        let y = saved.output()?;
        grads.wrt(0, || apply(LogSoftmaxGrad(axis), &[y, dy]))
    }

    LogSoftmaxGrad "log_softmax_grad" log_softmax_grad (y, dy) INPUTS, |axis, saved, g, grads| {
        let [y, dy] = saved.inputs()?;
        let over = &[axis as isize];
        grads.wrt(0, || Ok(-(g * y.exp()? * dy.sum_keepdim(over)?)))?;
        grads.wrt(1, || Ok(g - (g * y.exp()?).sum_keepdim(over)?))
    }
}

/// The gradient costs little beside the loss when both are computed at once, so it is kept if it may be wanted.
#[derive(Debug)]
struct CrossEntropy {
    wants_gradient: bool,
    gradient: OnceLock<Tensor>,
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let [logits, labels] = inputs else { unreachable!("`cross_entropy` passes two inputs") };
        let backend = logits.backend();
        if !self.wants_gradient {
            return logits.computed(backend.cross_entropy(logits.view(), labels.view())?, labels.shape());
        }
        let (losses, gradient) = backend.cross_entropy_with_grad(logits.view(), labels.view())?;
        let gradient = logits.computed(gradient, logits.shape())?;
        _ = self.gradient.set(gradient);
        logits.computed(losses, labels.shape())
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let [logits, labels] = saved.inputs()?;
        grads.wrt(0, || match self.gradient.get() {
            Some(gradient) if !is_recording() => gradient.mul(&dy.unsqueeze(1)?),
            _ => apply(CrossEntropyGrad, &[logits, labels, dy]),
        })
    }
}

#[derive(Debug)]
struct CrossEntropyGrad;

impl Op for CrossEntropyGrad {
    fn name(&self) -> &'static str {
        "cross_entropy_grad"
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let [logits, labels, dy] = inputs else { unreachable!("every use passes three inputs") };
        let dx = logits.backend().cross_entropy_grad(logits.view(), labels.view(), dy.view())?;
        logits.computed(dx, logits.shape())
    }

    fn backward(&self, saved: &Saved<'_>, g: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let [logits, labels, dy] = saved.inputs()?;
        let y = logits.softmax(1)?;
        grads.wrt(0, || apply(SoftmaxGrad(1), &[&y, &(g * dy.unsqueeze(1)?)]))?;
        grads.wrt(2, || {
            let picked = g.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1)?;
            Ok((g * &y).sum(&[1])? - picked)
        })
    }
}

impl Tensor {
    /// `log(sum(exp(x)))` over `axes`, which vanish; exact where the exponentials would overflow.
    pub fn logsumexp(&self, axes: &[isize]) -> Result<Tensor> {
        // The largest is a constant here: shifting by any constant leaves value and gradient as they are.
        let largest = self.detach().max_keepdim(axes)?;
        let shift = largest.masked_fill(&largest.abs()?.eq_scalar(f64::INFINITY)?, 0.0)?;
        let sum = (self - &shift).exp()?.sum_keepdim(axes)?.log()? + &shift;
        let reduced = self.axes("logsumexp", axes)?;
        let shape: Dims =
            (0..self.rank()).filter(|axis| !reduced.contains(axis)).map(|axis| self.shape()[axis]).collect();
        sum.reshape(&shape)
    }
}
