//! Limits that weights are brought back within after every step.

use gradus_core::{Tensor, no_grad};

use crate::Result;
use crate::named::named;

/// Added to a norm before it divides, as in Keras.
const EPSILON: f64 = 1e-7;

named! {
    /// A limit on weights. Norms are those of the weights that come together in one output: along the first dimension.
    Constraint "constraint" {
        /// No norm above `max` (Srebro and Shraibman 2005; Srivastava et al. 2014).
        MaxNorm(max: f64 = 2.0) = "max_norm";
        /// No weight below 0.
        NonNegative = "non_neg" | "non_negative";
        /// Every norm 1.
        UnitNorm = "unit_norm";
        /// Norms from `min` to `max`, brought nearer by `rate`, a share, at each step.
        MinMaxNorm(min: f64 = 0.0, max: f64 = 1.0, rate: f64 = 1.0) = "min_max_norm";
    }
}

impl Constraint {
    /// `weights` within the limit.
    pub fn apply(&self, weights: &Tensor) -> Result<Tensor> {
        no_grad(|| {
            let axis: &[isize] = if weights.rank() == 0 { &[] } else { &[0] };
            let norms = || weights.square()?.sum_keepdim(axis)?.sqrt();
            let brought_to = |wanted: Tensor, norms: Tensor| weights.mul(&wanted.div(&norms.add_scalar(EPSILON)?)?);
            Ok(match *self {
                Constraint::MaxNorm(max) => {
                    let norms = norms()?;
                    brought_to(norms.clamp(0.0, max)?, norms)?
                }
                Constraint::NonNegative => weights.maximum(&weights.scalar_like(0.0)?)?,
                Constraint::UnitNorm => weights.div(&norms()?.add_scalar(EPSILON)?)?,
                Constraint::MinMaxNorm(min, max, rate) => {
                    let norms = norms()?;
                    let wanted = norms.clamp(min, max)?.mul_scalar(rate)?.add(&norms.mul_scalar(1.0 - rate)?)?;
                    brought_to(wanted, norms)?
                }
            })
        })
    }

    fn complaint(&self) -> Option<&'static str> {
        match *self {
            Constraint::MaxNorm(max) if max <= 0.0 => Some("max must be above 0"),
            Constraint::MinMaxNorm(min, max, _) if min < 0.0 || max < min => {
                Some("min must be 0 or more, and max not below")
            }
            Constraint::MinMaxNorm(.., rate) if !(0.0..=1.0).contains(&rate) => Some("rate must lie from 0 to 1"),
            _ => None,
        }
    }
}
