//! Penalties on the size of weights and of layers' results.

use gradus_core::Tensor;
use gradus_core::kernels::backend::Adjust;

use crate::Result;
use crate::named::named;

named! {
    /// A penalty that is added to the loss. Keras' convention: without the half that textbooks have before squares, and over
    /// the sum, not the mean.
    Regularizer "regularizer" {
        /// `factor Σ |w|` (lasso, Tibshirani 1996): many weights become 0.
        L1(factor: f64 = 0.01) = "l1";
        /// `factor Σ w²` (ridge, Hoerl and Kennard 1970): all weights become smaller.
        L2(factor: f64 = 0.01) = "l2";
        /// Both (elastic net, Zou and Hastie 2005).
        L1L2(l1: f64 = 0.01, l2: f64 = 0.01) = "l1_l2";
    }
}

impl Regularizer {
    /// The factors of the magnitudes and of the squares.
    pub fn factors(&self) -> (f64, f64) {
        match *self {
            Regularizer::L1(l1) => (l1, 0.0),
            Regularizer::L2(l2) => (0.0, l2),
            Regularizer::L1L2(l1, l2) => (l1, l2),
        }
    }

    /// The penalty on `x`, a scalar.
    pub fn penalty(&self, x: &Tensor) -> Result<Tensor> {
        let magnitudes = |l1| x.abs()?.sum(&[])?.mul_scalar(l1);
        let squares = |l2| x.square()?.sum(&[])?.mul_scalar(l2);
        Ok(match self.factors() {
            (l1, 0.0) => magnitudes(l1)?,
            (0.0, l2) => squares(l2)?,
            (l1, l2) => magnitudes(l1)?.add(&squares(l2)?)?,
        })
    }

    /// Adds `times` the slope of the penalty to what is done to a gradient.
    pub(super) fn add_to(&self, adjust: &mut Adjust, times: f64) {
        let (l1, l2) = self.factors();
        adjust.l1 += times * l1;
        adjust.l2 += times * 2.0 * l2;
    }

    fn complaint(&self) -> Option<&'static str> {
        let (l1, l2) = self.factors();
        (l1 < 0.0 || l2 < 0.0).then_some("a factor must be 0 or more")
    }
}
