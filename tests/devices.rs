//! The fast kernels against the plain reference: every operation and its gradient, in `f32` and `f64`, through every kind
//! of layout. `GRADUS_ISA` chooses the instruction set.

mod cases;

use gradus::core::{DType, Device, Result, Tensor};

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
fn run(case: &cases::Case, inputs: &[Tensor], device: Device) -> Result<Vec<Vec<f64>>> {
    let tracked = inputs.iter().map(|x| Ok(x.to_device(device)?.requires_grad())).collect::<Result<Vec<_>>>()?;
    let y = (case.compute)(&tracked)?;
    let mut out = vec![y.to_f64_vec()?];
    let gradients = y.sum(&[])?.backward()?;
    for x in &tracked {
        out.push(gradients.get(x)?.to_f64_vec()?);
    }
    Ok(out)
}

#[test]
fn fast_kernels_agree_with_the_reference() {
    let mut failures = Vec::new();
    for case in cases::all() {
        for (dtype, tolerance) in [(DType::F32, 2e-5), (DType::F64, 1e-12)] {
            for kind in 0..4 {
                let inputs = case.inputs.iter().map(|x| laid_out(&x.to_dtype(dtype)?, kind));
                let inputs = inputs.collect::<Result<Vec<_>>>().unwrap();
                let fast = run(&case, &inputs, Device::CPU).unwrap_or_else(|e| panic!("{} on the CPU: {e}", case.name));
                let plain = run(&case, &inputs, Device::REFERENCE).unwrap();
                for (what, (fast, plain)) in fast.iter().zip(&plain).enumerate() {
                    let scale = plain.iter().fold(1f64, |most, x| most.max(x.abs()));
                    let far = |(a, b): (&f64, &f64)| (a - b).abs() > tolerance * scale || a.is_nan() != b.is_nan();
                    if fast.len() != plain.len() || fast.iter().zip(plain).any(far) {
                        failures.push(format!(
                            "{}, {dtype}, layout {kind}, result {what}: {fast:?}\n  not {plain:?}",
                            case.name
                        ));
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
