//! How far results in `f32` are from the same computed with `f64`.

use super::operation::{Operation, Scale};
use crate::Result;
use crate::core::{DType, Device, Tensor, no_grad};

/// Up to this many elements or additions, the plain loops of the reference tell what is right; beyond, the fast kernels
/// do with `f64`, which tests hold against the plain loops, since nobody wants to wait minutes for a check.
const PLAIN: usize = 1 << 23;

/// The largest error of `outputs`, which `operation` made of its inputs for `shape`; see [`Scale`] for what it is relative
/// to. Infinite if a whole number or truth value is wrong, or if one of the two is not a number.
///
/// # Errors
/// If the operation refuses its inputs.
pub fn max_rel_error(operation: &Operation, shape: &[usize], outputs: &[Tensor]) -> Result<f64> {
    let inputs = operation.inputs(shape)?;
    let work = operation.flops(shape).max(inputs.iter().map(Tensor::len).sum());
    let device = if work <= PLAIN { Device::REFERENCE } else { Device::CPU };
    let wide = |x: &Tensor| if x.dtype().is_float() { x.to_dtype(DType::F64) } else { Ok(x.clone()) };
    let widened = inputs.iter().map(|x| wide(x)?.to_device(device)).collect::<crate::core::Result<Vec<_>>>()?;
    no_grad(|| {
        let right = operation.run(&mut widened.clone())?;
        let scales = match operation.scale {
            Scale::Magnitudes => {
                let magnitude = |x: &Tensor| if x.dtype().is_float() { x.abs() } else { Ok(x.clone()) };
                let mut magnitudes = widened.iter().map(magnitude).collect::<crate::core::Result<Vec<_>>>()?;
                Some(operation.run(&mut magnitudes)?)
            }
            Scale::Each | Scale::Largest => None,
        };
        let mut worst = 0f64;
        for (i, (ours, right)) in outputs.iter().zip(&right).enumerate() {
            let (ours, right) = (ours.to_f64_vec()?, right.to_f64_vec()?);
            let scale = scales.as_ref().map(|scales| scales[i].to_f64_vec()).transpose()?;
            let exact = !outputs[i].dtype().is_float();
            worst = worst.max(worst_of(&ours, &right, scale.as_deref(), operation.scale, exact));
        }
        Ok(worst)
    })
}

fn worst_of(ours: &[f64], right: &[f64], scales: Option<&[f64]>, scale: Scale, exact: bool) -> f64 {
    if ours.len() != right.len() {
        return f64::INFINITY;
    }
    let largest = right.iter().filter(|y| y.is_finite()).fold(0f64, |largest, y| largest.max(y.abs()));
    let mut worst = 0f64;
    for (i, (&ours, &right)) in ours.iter().zip(right).enumerate() {
        if ours == right || (ours.is_nan() && right.is_nan()) {
            continue;
        }
        let measure = match (scale, scales) {
            (Scale::Magnitudes, Some(scales)) => scales[i].abs(),
            (Scale::Largest, _) => largest,
            _ => right.abs().max(largest / 1000.0),
        };
        let error = (ours - right).abs() / measure.max(f64::from(f32::MIN_POSITIVE));
        worst = worst.max(if exact || error.is_nan() { f64::INFINITY } else { error });
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_relative_to_what_the_scale_says() {
        let each = |ours: &[f64], right: &[f64]| worst_of(ours, right, None, Scale::Each, false);
        assert_eq!(each(&[1.0, 2.0, 0.0], &[1.0, 2.0, 0.0]), 0.0);
        assert_eq!(each(&[1.0, 2.5], &[1.0, 2.0]), 0.25);
        assert_eq!(each(&[1.0, 0.5], &[1.0, 0.0]), 500.0);
        assert_eq!(worst_of(&[1.0, 2.5], &[5.0, 2.0], None, Scale::Largest, false), 0.8);
        assert_eq!(worst_of(&[1.0, 2.5], &[1.0, 2.0], Some(&[9.0, 5.0]), Scale::Magnitudes, false), 0.1);
    }

    #[test]
    fn what_is_simply_wrong_is_infinitely_so() {
        let wrong = |ours: &[f64], right: &[f64], exact| worst_of(ours, right, None, Scale::Each, exact);
        assert_eq!(wrong(&[3.0], &[4.0], true), f64::INFINITY);
        assert_eq!(wrong(&[f64::NAN], &[4.0], false), f64::INFINITY);
        assert_eq!(wrong(&[4.0], &[f64::NAN], false), f64::INFINITY);
        assert_eq!(wrong(&[4.0], &[4.0, 5.0], false), f64::INFINITY);
        assert_eq!(wrong(&[f64::NAN, f64::INFINITY], &[f64::NAN, f64::INFINITY], false), 0.0);
    }
}
