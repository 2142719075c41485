//! The dense layer as one operation: product, bias and activation in one pass forward, and the activation's gradient
//! together with the bias' in one pass backward.
//!
//! Where a gradient is itself to be differentiated, its rule is written in plain operations; the kernels that know it in
//! one pass run everywhere else. The gradient check sees both.

use gradus_kernels::Unary;
use gradus_kernels::layout::Dims;

use super::cast::apply_to_same;
use super::unary::{finished, tells_slope, through};
use crate::grad::{Grads, Op, Saved, Saves};
use crate::{Error, Result, Tensor};

impl Tensor {
    /// `activation(self w + bias)` over the last dimension: `[.., k]` times `[k, n]` plus `[n]`.
    ///
    /// The same as [`Tensor::matmul`], [`Tensor::add`] and the activation one after the other, with fewer passes.
    pub fn linear(&self, w: &Tensor, bias: Option<&Tensor>, activation: Option<Unary>) -> Result<Tensor> {
        // Only a result that tells its own slope can be kept in place of what came before the activation.
        let (fused, after) = match activation {
            Some(f) if !tells_slope(f) => (None, Some(f)),
            other => (other, None),
        };
        let op = Linear { bias: bias.is_some(), activation: fused };
        let y = match bias {
            Some(bias) => apply_to_same(op, [self, w, bias])?,
            None => apply_to_same(op, [self, w])?,
        };
        finished(y, after)
    }
}

#[derive(Debug)]
struct Linear {
    bias: bool,
    activation: Option<Unary>,
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn saves(&self) -> Saves {
        if self.activation.is_some() { Saves::BOTH } else { Saves::INPUTS }
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let (x, w, bias) = (inputs[0], inputs[1], inputs.get(2));
        let show = |x: &Tensor| format!("{} {:?} on {}", x.dtype(), x.shape(), x.device());
        let fits = match (x.shape(), w.shape()) {
            ([.., k], [rows, n]) => k == rows && bias.is_none_or(|bias| bias.shape() == [*n]),
            _ => false,
        };
        if !fits || inputs.iter().any(|input| input.device() != x.device()) || !x.dtype().is_float() {
            let all: Vec<String> = inputs.iter().map(|input| show(input)).collect();
            let what = "input [.., k], weights [k, n] and bias [n] of floats on one device are needed";
            return Err(Error::shape("linear", format!("{what}, not {}", all.join(", "))));
        }
        let mut shape = Dims::from_slice(x.shape());
        shape[x.rank() - 1] = w.shape()[1];
        x.computed(x.backend().linear(x.view(), w.view(), bias.map(|bias| bias.view()), self.activation)?, &shape)
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let [x, w] = match self.bias {
            true => saved.inputs::<3>().map(|[x, w, _]| [x, w])?,
            false => saved.inputs()?,
        };
        let (dz, db) = match self.activation {
            None => (dy.clone(), None),
            Some(f) => through(f, saved, dy)?,
        };
        // All leading dimensions are rows of one matrix.
        let rows = |x: &Tensor| x.reshape(&[x.shape()[..x.rank() - 1].iter().product(), x.size(-1)?]);
        grads.wrt(0, || dz.matmul(&w.t()?))?;
        grads.wrt_product(1, || Ok((rows(x)?.t()?, rows(&dz)?)))?;
        if self.bias {
            grads.wrt(2, || db.map_or_else(|| rows(&dz)?.sum(&[0]), Ok))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::unary::pointwise;
    use crate::{DType, grad};

    fn ramp(shape: &[usize]) -> Tensor {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|i| ((i * 37 + 11) % 29) as f32 / 14.5 - 1.0).collect();
        Tensor::from_slice(&values, shape).unwrap()
    }

    /// Gradients by kernels, gradients by plain operations, and gradients of the operations one by one.
    #[test]
    fn fused_and_composed_gradients_are_equal_to_rounding() {
        let functions = Unary::ALL.iter().filter(|f| f.slope_at(0.5).is_some());
        for f in functions.map(|&f| Some(f)).chain([None]) {
            let leaves = [ramp(&[2, 5, 7]), ramp(&[7, 33]), ramp(&[33])].map(|x| x.requires_grad());
            let [x, w, b] = &leaves;
            let fused = x.linear(w, Some(b), f).unwrap();
            let sum = x.matmul(w).unwrap().add(b).unwrap();
            let composed = f.map_or(Ok(sum.clone()), |f| pointwise(&sum, f)).unwrap();
            let weights = ramp(&[2, 5, 33]);
            let of = |y: &Tensor, create_graph| {
                let loss = y.mul(&weights).unwrap().sum(&[]).unwrap();
                grad(&[&loss], &[x, w, b], create_graph).unwrap()
            };
            let expected = of(&composed, false);
            for create_graph in [false, true] {
                for (got, expected) in of(&fused, create_graph).iter().zip(&expected) {
                    let (got, expected) = (got.to_f64_vec().unwrap(), expected.to_f64_vec().unwrap());
                    assert!(got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{f:?} {create_graph}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (x, w, b) = (ramp(&[2, 3]), ramp(&[3, 4]), ramp(&[5]));
        let error = x.linear(&w, Some(&b), None).unwrap_err().to_string();
        assert!(error.ends_with("not f32 [2, 3] on cpu, f32 [3, 4] on cpu, f32 [5] on cpu"), "{error}");
        let wide = x.linear(&w.to_dtype(DType::F64).unwrap(), None, None).unwrap();
        assert_eq!(wide.dtype(), DType::F64);
        let whole = [&x, &w].map(|x| x.to_dtype(DType::I64).unwrap());
        assert!(whole[0].linear(&whole[1], None, None).is_err());
        assert!(x.linear(&b, None, None).is_err());
    }
}
