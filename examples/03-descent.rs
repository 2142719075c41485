//! Lesson 3: learning. A line is fitted to points by descending along the gradient, by hand.
//!
//! `cargo run --release --example 03-descent`

use gradus::prelude::*;

fn main() -> gradus::core::Result<()> {
    // Points near the line y = 3 x - 1.
    let key = RandomKey::new(7);
    let x = Tensor::rand(&[100, 1], key.named("x"), DType::F32, Device::CPU)?;
    let noise = Tensor::randn(&[100, 1], key.named("noise"), DType::F32, Device::CPU)?;
    let y = &x * 3.0 - 1.0 + noise * 0.05;

    let mut slope = Tensor::zeros(&[1, 1], DType::F32, Device::CPU)?;
    let mut offset = Tensor::zeros(&[1], DType::F32, Device::CPU)?;
    for step in 0..=200 {
        // Fresh leaves each round: the old ones stand for the values before the step.
        (slope, offset) = (slope.requires_grad(), offset.requires_grad());
        let loss = (x.matmul(&slope)? + &offset - &y).square()?.mean(&[])?;
        if step % 40 == 0 {
            println!("step {step:3}  loss {:.5}  y = {:.3} x + {:.3}", loss.item()?, slope.item()?, offset.item()?);
        }
        let gradients = loss.backward()?;
        let descend = |leaf: &Tensor| no_grad(|| leaf.sub(&gradients.get(leaf)?.mul_scalar(0.3)?));
        (slope, offset) = (descend(&slope)?, descend(&offset)?);
    }
    Ok(())
}
