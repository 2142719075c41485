//! The CUDA backend, driven through the unmodified `cudarc` on the emulator that stands in for NVIDIA's driver: every operation,
//! training, and what goes wrong. `GRADUS_CUDA_HARDWARE=1` runs the same on a GPU.
#![cfg(all(target_os = "linux", feature = "cuda"))]

mod cases;
mod nets;

use std::sync::{Mutex, MutexGuard, PoisonError};

use gradus::core::{DType, Device, Distribution, RandomKey, Result, Tensor};
use gradus::nn::data::{Batch, Dataset, Loader, Scale};
use gradus::nn::models::Model;
use gradus::nn::spec::Recipe;
use gradus::nn::train::{Parts, Trainer, training_batches};
use gradus_kernels::Unary;

/// The device, for one test at a time: its counts and its alarm are those of all threads.
struct Turn {
    device: Device,
    _turn: MutexGuard<'static, ()>,
}

/// The device: the emulator, unless a GPU is asked for.
fn gpu() -> Turn {
    static TURNS: Mutex<()> = Mutex::new(());
    let turn = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    if std::env::var_os("GRADUS_CUDA_HARDWARE").is_none() {
        gradus_emulator::driver::load_stand_in().unwrap();
    }
    Turn { device: Device::cuda(0).unwrap(), _turn: turn }
}

/// How often the driver made the host wait; 0 on hardware, whose driver does not count.
fn waits() -> u64 {
    let emulated = std::env::var_os("GRADUS_CUDA_HARDWARE").is_none();
    if emulated { gradus_emulator::driver::load_stand_in().unwrap().counts().synchronisations } else { 0 }
}

/// The values of `x` in a layout of the given kind.
fn laid_out(x: &Tensor, kind: usize) -> Result<Tensor> {
    let last = x.rank() as isize - 1;
    match kind {
        1 if x.rank() >= 2 => x.transpose(0, last)?.contiguous()?.transpose(0, last),
        2 if x.rank() >= 1 => x.flip(-1)?.contiguous()?.flip(-1),
        3 if x.rank() >= 1 => x.pad(0, 1, 2)?.slice(0, 1, 1 + x.shape()[0]),
        _ => Ok(x.clone()),
    }
}

/// The result and the gradients of all inputs, as numbers.
fn run(case: &cases::Case, inputs: &[Tensor], kind: usize, device: Device) -> Result<Vec<Vec<f64>>> {
    let place = |x: &Tensor| Ok(laid_out(&x.to_device(device)?, kind)?.requires_grad());
    let tracked = inputs.iter().map(place).collect::<Result<Vec<_>>>()?;
    let y = (case.compute)(&tracked)?;
    let mut out = vec![y.to_f64_vec()?];
    let gradients = y.sum(&[])?.backward()?;
    for x in &tracked {
        out.push(gradients.get(x)?.to_f64_vec()?);
    }
    Ok(out)
}

/// Types, how far results may be off relative to the largest, and in how many layouts they are tried. Narrow types are rounded after
/// each operation, so that a number between two of theirs may go either way.
const TYPES: [(DType, f64, usize); 4] =
    [(DType::F32, 1e-5, 4), (DType::F64, 1e-11, 1), (DType::F16, 4e-3, 1), (DType::BF16, 3e-2, 1)];

/// What is wrong with a case in a type and a layout.
fn complaint(case: &cases::Case, (dtype, tolerance): (DType, f64), kind: usize, gpu: Device) -> Option<String> {
    let on_host = || gpu.figures().unwrap().on_host;
    let inputs: Vec<Tensor> = case.inputs.iter().map(|x| x.to_dtype(dtype).unwrap()).collect();
    let plain = run(case, &inputs, kind, Device::REFERENCE).unwrap();
    let before = on_host();
    let found = match run(case, &inputs, kind, gpu) {
        Ok(_) if on_host() > before && dtype == DType::F32 => return Some("the host has computed a part of it".into()),
        Ok(found) => found,
        Err(error) => return Some(error.to_string()),
    };
    let far = |(found, plain): (&Vec<f64>, &Vec<f64>)| {
        let scale = plain.iter().fold(1f64, |most, x| most.max(x.abs()));
        let far = |(a, b): (&f64, &f64)| (a - b).abs() > tolerance * scale || a.is_nan() != b.is_nan();
        found.len() != plain.len() || found.iter().zip(plain).any(far)
    };
    let wrong = found.iter().zip(&plain).position(far)?;
    Some(format!("result {wrong}: {:?}\n  not {:?}", found[wrong], plain[wrong]))
}

#[test]
fn every_operation_agrees_with_the_reference() {
    let turn = gpu();
    let mut failures = Vec::new();
    for case in cases::all() {
        for (dtype, tolerance, kinds) in TYPES {
            for kind in 0..kinds {
                let complaint = complaint(&case, (dtype, tolerance), kind, turn.device);
                failures.extend(complaint.map(|what| format!("{}, {dtype}, layout {kind}: {what}", case.name)));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Sizes for every kernel of products: few rows, tiles of 64 and of 128, and short results with long sums.
const PRODUCTS: [[usize; 3]; 5] = [[5, 700, 40], [130, 132, 256], [128, 1100, 128], [200, 38, 301], [33, 2000, 20]];

#[test]
fn products_of_all_sizes_agree_with_the_processor() {
    let turn = gpu();
    for [m, k, n] in PRODUCTS {
        for turned in [[false, false], [true, false], [false, true], [true, true]] {
            let operand = |shape: [usize; 2], turned: bool, device: Device| -> Tensor {
                let stored = if turned { [shape[1], shape[0]] } else { shape };
                let x = cases::uniform(&stored, -1.0, 1.0).to_dtype(DType::F32).unwrap().to_device(device).unwrap();
                if turned { x.transpose(0, 1).unwrap() } else { x }
            };
            let compute = |device: Device| -> [Vec<f64>; 2] {
                let (a, b) = (operand([m, k], turned[0], device), operand([k, n], turned[1], device));
                let bias = operand([1, n], false, device).reshape(&[n]).unwrap();
                let linear = a.linear(&b, Some(&bias), Some(Unary::Sigmoid)).unwrap();
                [a.matmul(&b).unwrap(), linear].map(|y| y.to_f64_vec().unwrap())
            };
            let largest = |x: &[f64]| x.iter().fold(0f64, |most, x| most.max(x.abs()));
            for (found, expected) in compute(turn.device).iter().zip(compute(Device::CPU)) {
                let off: Vec<f64> = found.iter().zip(&expected).map(|(a, b)| a - b).collect();
                assert!(
                    largest(&off) < 1e-5 * largest(&expected),
                    "{m} x {k} x {n}, turned {turned:?}: {}",
                    largest(&off)
                );
            }
        }
    }
}

#[test]
fn bf16_is_multiplied_on_tensor_cores_and_rounded_once() {
    let turn = gpu();
    for [m, k, n] in [[130, 72, 200], [7, 16, 8], [5, 9, 8]] {
        let product = |device: Device| {
            let operand = |shape: &[usize]| cases::uniform(shape, -1.0, 1.0).to_dtype(DType::BF16)?.to_device(device);
            let product: Result<Tensor> = operand(&[m, k])?.matmul(&operand(&[k, n])?);
            product?.to_f64_vec()
        };
        let (found, expected) = (product(turn.device).unwrap(), product(Device::REFERENCE).unwrap());
        // A sum in another order may fall on the other side of the middle between two numbers, which are 2^-8 apart.
        let off = found.iter().zip(&expected).filter(|(a, b)| (*a - *b).abs() > b.abs() / 128.0).count();
        let other = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert!(off == 0 && other * 100 <= found.len(), "{m} x {k} x {n}: {off} wrong, {other} rounded otherwise");
    }
}

/// Every recipe, two steps on a few samples, all of it on the GPU: the first loss is that of the processor. The second is not held to
/// it, since norms over so few samples make much of little. Images are 32 x 32 at most.
#[test]
fn every_recipe_trains() {
    let turn = gpu();
    let clothes = [nets::named_clothes("train"), nets::named_clothes("t10k")];
    for name in nets::recipe_names() {
        let mut recipe = nets::whole_recipe(&name);
        recipe.data.images.size = recipe.data.images.size.map(|size| size.map(|side| side.min(32)));
        let samples = if recipe.data.images.size.is_some() || name.starts_with("cnn") { 2 } else { 16 };
        recipe.train.batch = samples;
        let [train_part, test_part] = clothes.clone();
        let data = Parts::cut(&recipe, train_part, Some(test_part)).unwrap().train.subset(0..2 * samples).unwrap();
        let losses = |device: Device| -> Vec<f64> {
            let model = Model::build(&recipe, data.sample_shape()).unwrap();
            model.to_device(device).unwrap();
            let mut trainer = Trainer::of(&recipe, &model);
            let batches = training_batches(&recipe, &data).unwrap().on(device);
            batches.epoch(1).map(|batch| trainer.step(&batch.unwrap()).unwrap().0).collect()
        };
        let before = turn.device.figures().unwrap().on_host;
        let (there, here) = (losses(turn.device), losses(Device::CPU));
        assert_eq!(turn.device.figures().unwrap().on_host, before, "{name}: the host has computed a part of it");
        // Two samples of one pixel each are what the last batch norms of an image net see here.
        let tolerance = if samples == 2 { 5e-3 } else { 1e-4 };
        let off = (there[0] / here[0] - 1.0).abs();
        assert!(off < tolerance, "{name}: {} on the GPU, {} on the processor", there[0], here[0]);
        assert_eq!(there[1].is_finite(), here[1].is_finite(), "{name}: {} and {}", there[1], here[1]);
    }
}

/// The shape of an image as a recipe's first layer takes it.
fn sample(recipe: &Recipe) -> &'static [usize] {
    if recipe.name.starts_with("cnn") { &[28, 28, 1] } else { &[28, 28] }
}

/// A model of a recipe on a device.
fn model(recipe: &Recipe, device: Device) -> Model {
    let model = Model::build(recipe, sample(recipe)).unwrap();
    model.to_device(device).unwrap();
    model
}

/// Batches of clothes on a device.
fn batches(recipe: &Recipe, batch: usize, steps: usize, device: Device) -> Vec<Batch> {
    let data = nets::clothes().subset(0..steps * batch).unwrap();
    let images = data.inputs.reshape(&[&[data.len()], sample(recipe)].concat()).unwrap();
    let data = Dataset::new(data.name, images, data.targets, data.classes).unwrap();
    let loader = Loader::new(&data, batch, Some(RandomKey::new(1)), Scale::Divide(recipe.data.scale)).unwrap();
    loader.on(device).epoch(1).collect::<std::result::Result<_, _>>().unwrap()
}

/// The losses of so many steps, and the weights after them.
fn train(recipe: &Recipe, batch: usize, steps: usize, device: Device) -> (Vec<f64>, Model) {
    let model = model(recipe, device);
    let mut trainer = Trainer::of(recipe, &model);
    let losses = batches(recipe, batch, steps, device).iter().map(|batch| trainer.step(batch).unwrap().0).collect();
    drop(trainer);
    (losses, model)
}

fn follows(processor: Device, recipe: &Recipe, batch: usize, steps: usize) {
    let (here, _) = train(recipe, batch, steps, processor);
    let (there, _) = train(recipe, batch, steps, gpu().device);
    for (step, (here, there)) in here.iter().zip(&there).enumerate() {
        let off = (here / there - 1.0).abs();
        println!("{}, step {}: off by {off:.1e}", recipe.name, step + 1);
        assert!(off < 1e-4, "{}, step {}: {there} on the GPU, {here} on the processor", recipe.name, step + 1);
    }
}

#[test]
fn networks_train_as_on_the_processor() {
    let mlp = nets::recipe("fashion-mlp");
    follows(Device::CPU, &mlp, 8, 20);
    follows(Device::CPU, &nets::recipe("fashion-bn"), 8, 5);
    // Plain loops sum a convolution as the GPU does. The fast kernels sum at Winograd's points and round otherwise: now and then another
    // of two almost equal neighbours is the largest of a pool, which a larger batch evens out, and the recipe's Adam makes a whole step of
    // what rounding leaves of a gradient that is nearly nothing, which plain descent does not.
    let cnn = nets::recipe("cnn-fashion");
    follows(Device::REFERENCE, &cnn, 2, 5);
    follows(Device::CPU, &Recipe { optimizer: mlp.optimizer, ..cnn }, 8, 5);
}

#[test]
fn a_step_waits_for_nothing_but_its_loss_and_metrics() {
    let turn = gpu();
    let gpu = turn.device;
    let recipe = nets::recipe("fashion-bn");
    let model = model(&recipe, gpu);
    let mut trainer = Trainer::of(&recipe, &model);
    let batches = batches(&recipe, 4, 4, gpu);
    trainer.step(&batches[0]).unwrap();
    let (before, waits_before) = (gpu.figures().unwrap(), waits());
    batches[1..].iter().for_each(|batch| _ = trainer.step(batch).unwrap());
    let (after, waits_after) = (gpu.figures().unwrap(), waits());
    let steps = batches.len() as u64 - 1;
    // Besides what is downloaded, the alarm is looked at once: by the first download after the labels were used.
    assert!(waits_after - waits_before <= after.downloads - before.downloads + steps, "the driver counts more waits");
    assert_eq!(after.downloads - before.downloads, steps * (1 + recipe.train.metrics.len() as u64));
    assert_eq!((after.uploads, after.on_host), (before.uploads, before.on_host));
    assert_eq!(after.live, before.live, "what a step takes, it gives back");
    println!("{}: {} kernels a step", recipe.name, (after.launches - before.launches) / steps);
}

#[test]
fn random_numbers_are_those_of_the_processor() {
    let turn = gpu();
    let gpu = turn.device;
    for distribution in [
        Distribution::Uniform { low: -1.0, high: 2.0 },
        Distribution::Normal { mean: 0.5, std: 2.0 },
        Distribution::Bernoulli { probability: 0.3 },
    ] {
        let draw = |device| Tensor::random(&[1001], distribution, RandomKey::new(7), DType::F32, device).unwrap();
        assert_eq!(draw(gpu).to_vec::<f32>().unwrap(), draw(Device::CPU).to_vec::<f32>().unwrap(), "{distribution:?}");
    }
}

#[test]
fn the_same_run_gives_the_same_bits() {
    let turn = gpu();
    let recipe = nets::recipe("fashion-bn");
    let weights = || -> Vec<Vec<f64>> {
        let (_, model) = train(&recipe, 8, 3, turn.device);
        model.weights().iter().map(|(_, value)| value.to_f64_vec().unwrap()).collect()
    };
    assert_eq!(weights(), weights());
}

#[test]
fn an_index_out_of_range_is_told_at_the_next_download() {
    let turn = gpu();
    let gpu = turn.device;
    let x = Tensor::arange(0.0, 12.0, 1.0, DType::F32, gpu).unwrap().reshape(&[4, 3]).unwrap();
    let index = Tensor::from_slice(&[1i64, 7, 0], &[3]).unwrap().to_device(gpu).unwrap();
    let error = x.index_select(&index, 0).unwrap().to_vec::<f32>().unwrap_err().to_string();
    assert!(error.contains("index 7 at position 1 is out of range for a dimension of 4"), "{error}");
    assert_eq!(x.to_vec::<f32>().unwrap()[11], 11.0, "the device goes on");
}

#[test]
fn what_cannot_be_done_is_said() {
    let turn = gpu();
    let gpu = turn.device;
    let error = Device::cuda(3).unwrap_err().to_string();
    assert!(error.contains("cuda:3: no such device; there is cuda:0"), "{error}");
    let error = Tensor::zeros(&[1 << 31, 4], DType::F32, gpu).unwrap_err().to_string();
    assert!(error.contains("more than a kernel can count") || error.contains("out of memory"), "{error}");
    let error = Tensor::zeros(&[1 << 31], DType::F64, gpu).unwrap_err().to_string();
    assert!(error.contains("out of memory: 16384.0 MiB asked for") && error.contains("in use"), "{error}");
    let tall = Tensor::ones(&[64 * 65_536, 1], DType::F32, gpu).unwrap();
    let error = tall.matmul(&Tensor::ones(&[1, 2], DType::F32, gpu).unwrap()).unwrap_err().to_string();
    assert!(error.contains("matmul_64 would take [1, 65536, 1] blocks"), "{error}");
    assert_eq!(Tensor::ones(&[2], DType::F32, gpu).unwrap().to_vec::<f32>().unwrap(), [1.0, 1.0], "the device goes on");
}
