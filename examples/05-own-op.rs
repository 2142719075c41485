//! Lesson 5: an operation of one's own, with its gradient, and the check that proves the gradient right.
//!
//! `cargo run --release --example 05-own-op`

use gradus::core::grad::check::check_gradient;
use gradus::core::grad::{Grads, Op, Saved, Saves, apply};
use gradus::core::{Result, Tensor};

/// The squared distance of every row of `a` from the row of `b` beside it.
#[derive(Debug)]
struct SquaredDistance;

impl Op for SquaredDistance {
    fn name(&self) -> &'static str {
        "squared_distance"
    }

    // The rule below reads the inputs, so they are kept until it has run. Nothing else is.
    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        inputs[0].sub(inputs[1])?.square()?.sum(&[-1])
    }

    // `dy` has one number a row. Each gradient is handed over as a closure, which runs only if that input wants one; and
    // because it is written in tensor operations, it can be differentiated again.
    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let [a, b] = saved.inputs()?;
        let pull = || a.sub(b)?.mul(&dy.unsqueeze(-1)?)?.mul_scalar(2.0);
        grads.wrt(0, pull)?;
        grads.wrt(1, || pull()?.neg())
    }
}

fn main() -> Result<()> {
    let a = Tensor::from_slice(&[0.0, 0.0, 1.0, 2.0], &[2, 2])?;
    let b = Tensor::from_slice(&[3.0, 4.0, 1.0, 1.0], &[2, 2])?;
    println!("distances: {}", apply(SquaredDistance, &[&a, &b])?);

    // One random direction, compared with finite differences; order 2 checks the gradient of the gradient as well.
    check_gradient(|x| apply(SquaredDistance, &[&x[0], &x[1]]), &[a, b], 2)?;
    println!("the gradient is right, and so is the gradient of the gradient");
    Ok(())
}
