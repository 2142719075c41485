//! Lesson 2: gradients. What is recorded, what comes back, and gradients of gradients.
//!
//! `cargo run --release --example 02-gradient`, and read `core/src/grad/mod.rs` beside it.

use gradus::prelude::*;

fn main() -> gradus::core::Result<()> {
    // Gradients are wanted for x: it is a leaf. Whatever is computed from it remembers how.
    let x = Tensor::from_slice(&[0.5f64, 1.0, 2.0], &[3])?.requires_grad();
    let loss = x.square()?.sum(&[])?;
    println!("loss = {loss}\n");

    // `backward` walks from the loss to the leaves. It consumes the loss: the record is freed on the way.
    let gradients = loss.backward()?;
    println!("d loss / d x = {}   (2 x)\n", gradients.get(&x)?);

    // `grad` leaves the record alone, and with `create_graph` records the walk itself.
    let y = x.sin()?;
    let first = grad(&[&y], &[&x], true)?;
    let second = grad(&[&first[0]], &[&x], false)?;
    println!("sin'  = {}   (cos x)", first[0]);
    println!("sin'' = {}   (-sin x)\n", second[0]);

    // A constant has no gradient, and asking for one is an error rather than a silent zero.
    let error = no_grad(|| x.square())?.sum(&[])?.backward().unwrap_err();
    println!("without a record: {error}");
    Ok(())
}
