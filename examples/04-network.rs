//! Lesson 4: a network, from layers to a trained model. Two moons are told apart by a small dense network.
//!
//! `cargo run --release --example 04-network`; `examples/03-descent.rs` does by hand what the trainer does here.

use gradus::nn::data::{Dataset, Loader, Scale};
use gradus::nn::layers::{Activation, Dense, DenseOptions};
use gradus::nn::loss::Loss;
use gradus::nn::metrics::Metric;
use gradus::nn::models::{Model, Sequential};
use gradus::nn::optim::{Adam, AdamOptions};
use gradus::nn::train::{Control, Event, Trainer, evaluate};
use gradus::prelude::*;

/// Points on two interleaved half circles, a little blurred, and which of both each lies on.
fn moons(count: usize, key: RandomKey) -> gradus::nn::Result<Dataset> {
    let angle = Tensor::rand(&[count], key.named("angle"), DType::F32, Device::CPU)? * std::f64::consts::PI;
    let class: Vec<i64> = (0..count as i64).map(|i| i % 2).collect();
    let class = Tensor::from_slice(&class, &[count])?;
    let lower = class.to_dtype(DType::F32)?;
    // The lower moon is the upper one turned around and moved to the right.
    let side = 1.0 - &lower * 2.0;
    let x = angle.cos()? * &side + &lower;
    let y = angle.sin()? * &side + &lower * 0.5;
    let noise = Tensor::randn(&[count, 2], key.named("noise"), DType::F32, Device::CPU)? * 0.1;
    let points = Tensor::stack(&[&x, &y], 1)? + noise;
    Dataset::new("moons", points, class, vec!["upper".into(), "lower".into()])
}

fn main() -> gradus::nn::Result<()> {
    let key = RandomKey::new(42);
    let (train, test) = (moons(1000, key.named("train"))?, moons(500, key.named("test"))?);

    // Each layer draws its first weights from a stream of its own, named after it.
    let dense = |inputs, units, name| Dense::new(inputs, &DenseOptions::keras(units), key.named(name));
    let net = Sequential::default()
        .with("hidden", dense(2, 32, "hidden")?)
        .with("relu", Activation::Relu)
        .with("output", dense(32, 2, "output")?)
        .with("softmax", Activation::Softmax);
    let model = Model::of(net, &[2])?;
    println!("{} numbers to learn", model.counts().trainable);

    // The trainer tells what happens; whoever listens decides what to do with it.
    let mut print = |event: &Event<'_>| {
        if let Event::EpochEnd(report) = event
            && report.epoch % 10 == 0
        {
            let values = report.values().into_iter().map(|(name, value)| format!("{name} {value:.4}"));
            println!("epoch {:2}  {}", report.epoch, values.collect::<Vec<_>>().join("  "));
        }
        Control::Continue
    };
    let (loss, metrics): (Loss, Vec<Metric>) = ("sparse_categorical_crossentropy".parse()?, vec!["accuracy".parse()?]);
    let options = AdamOptions { learning_rate: 0.01, ..AdamOptions::keras() };
    let optimizer = Adam::new(options);
    let batches = Loader::new(&train, 32, Some(key.named("order")), Scale::None)?;
    Trainer::new(&model, loss.clone(), metrics.clone(), optimizer, key).fit(&batches, None, 50, &mut [&mut print])?;

    let unseen = evaluate(&model, &loss, &metrics, &Loader::new(&test, 100, None, Scale::None)?)?;
    println!("on points it never saw: {:?}", unseen.values());
    Ok(())
}
