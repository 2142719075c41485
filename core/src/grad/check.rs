//! The test that every gradient rule must pass: finite differences along one random direction.
//!
//! For `f` at `x`, random `u` and `v`, the slope of `<u, f(x + h v)>` at `h = 0` must equal `<f'(x)^T u, v>` as computed
//! backward. That takes two evaluations of `f`, whatever the sizes. For the second order, the check applies itself to the
//! gradient.

use gradus_kernels::{Distribution, RandomKey};

use super::grad;
use crate::{DType, Error, Result, Tensor};

/// How far apart the two evaluations lie; near the best for central differences in `f64`, the cube root of its epsilon.
const STEP: f64 = 6e-6;

/// Checks the gradient of `f` at `inputs`, and with `order` 2 the gradient of that gradient.
///
/// The inputs are `f64`. An error says which order failed, what the rule gave and what the differences say; so does one
/// in which an input got no gradient although the differences see an influence.
///
/// ```
/// # use gradus_core::{Tensor, grad::check::check_gradient};
/// let x = Tensor::from_slice(&[0.3f64, -1.2, 2.0], &[3])?;
/// check_gradient(|x| x[0].tanh()?.mul(&x[0]), &[x], 2)?;
/// # Ok::<(), gradus_core::Error>(())
/// ```
pub fn check_gradient(f: impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor], order: u32) -> Result<()> {
    check(&f, inputs, order, 1)
}

fn check(f: &dyn Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor], order: u32, level: u32) -> Result<()> {
    if let Some(wrong) = inputs.iter().find(|input| input.dtype() != DType::F64) {
        return Err(Error::dtype("check_gradient", format!("differences need f64, not {}", wrong.dtype())));
    }
    let directions = inputs.iter().zip(0..).map(|(x, i)| random_like(x, i)).collect::<Result<Vec<_>>>()?;
    let weights = random_like(&f(inputs)?, 1000)?;
    let weighted = |x: &[Tensor]| f(x)?.mul(&weights)?.sum(&[]);

    let at = |h: f64| {
        let moved = inputs.iter().zip(&directions).map(|(x, v)| x.detach().add(&v.mul_scalar(h)?));
        weighted(&moved.collect::<Result<Vec<_>>>()?)?.item()
    };
    let numeric = (at(STEP)? - at(-STEP)?) / (2.0 * STEP);

    let slope = |x: &[Tensor], create_graph: bool| -> Result<Tensor> {
        let tracked: Vec<Tensor> =
            x.iter().map(|x| if x.is_tracked() { x.clone() } else { x.requires_grad() }).collect();
        let y = weighted(&tracked)?;
        let mut sum = Tensor::scalar(0f64);
        for (x, v) in tracked.iter().zip(&directions) {
            // An input without influence has no gradient; if that is wrong, the differences will tell.
            if let Ok(gradient) = grad(&[&y], &[x], create_graph) {
                sum = sum.add(&gradient[0].mul(v)?.sum(&[])?)?;
            }
        }
        Ok(sum)
    };
    let exact = slope(inputs, false)?.item()?;

    // A rule may use a kernel where its gradient is not to be differentiated, and plain operations where it is.
    let recorded = slope(inputs, true)?.item()?;
    if (recorded - exact).abs() > 1e-9 * (1.0 + exact.abs()) {
        let what = format!("gradient of order {level} is {exact}, and {recorded} where it is recorded");
        return Err(Error::Gradient(what));
    }

    // Differences lose a third of the digits; a second-order check differentiates values that are exact themselves.
    let tolerance = 1e-6 * (1.0 + numeric.abs().max(exact.abs()));
    if (numeric - exact).abs() > tolerance || !numeric.is_finite() {
        let what = format!("gradient of order {level} along a random direction is {exact}, differences say {numeric}");
        return Err(Error::Gradient(what));
    }
    if level < order {
        check(&|x| slope(x, true), inputs, order, level + 1)?;
    }
    Ok(())
}

/// Random numbers in the shape of `x`, a stream for each `number`.
fn random_like(x: &Tensor, number: u64) -> Result<Tensor> {
    let distribution = Distribution::Uniform { low: -1.0, high: 1.0 };
    Tensor::random(x.shape(), distribution, RandomKey::new(0x9e37).numbered(number), DType::F64, x.device())
}
