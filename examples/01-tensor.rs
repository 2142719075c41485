//! Lesson 1: tensors. Making them, looking at them, computing with them.
//!
//! `cargo run --release --example 01-tensor`

use gradus::prelude::*;

fn main() -> gradus::core::Result<()> {
    // A tensor is an n-dimensional array of one element type.
    let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    println!("x =\n{x}\n");

    // Operators work element by element; shapes are aligned at the right, and a size of 1 is repeated.
    let row = Tensor::from_slice(&[10f32, 20.0, 30.0], &[3])?;
    println!("x * 2 + row =\n{}\n", &x * 2.0 + &row);

    // Methods return a Result, so that a program can react to shapes that do not fit. Operators panic with the same text.
    let wrong = x.matmul(&x).unwrap_err();
    println!("x.matmul(&x) fails: {wrong}\n");

    // Transposing, slicing and broadcasting make views: nothing is copied.
    println!("x transposed =\n{}\n", x.t()?);
    println!("the last two columns =\n{}\n", x.slice(1, 1, 3)?);

    // Reductions take the axes that vanish; none given means all.
    println!("column means = {}\n", x.mean(&[0])?);
    println!("x x^T =\n{}\n", x.matmul(&x.t()?)?);

    // Random numbers come from a key: the same key gives the same numbers, on any machine and at any thread count.
    let noise = Tensor::randn(&[2, 4], RandomKey::new(42).named("noise"), DType::F32, Device::CPU)?;
    println!("noise =\n{noise}");
    Ok(())
}
