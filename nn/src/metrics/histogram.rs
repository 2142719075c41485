//! How the numbers of a tensor are spread.

use gradus_core::{DType, Tensor};

use crate::Result;

/// How many parts the span between the smallest and the largest number is cut into.
const PARTS: usize = 64;

/// The numbers of a tensor in equally wide parts of their span. What is not finite is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// The smallest number.
    pub min: f64,
    /// The largest number.
    pub max: f64,
    /// How many numbers there are.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub sum_squares: f64,
    /// The upper end of each part, and how many numbers lie in it; a number on an end belongs to the part above.
    pub parts: Vec<(f64, u64)>,
}

impl Histogram {
    /// The histogram of the finite numbers of `x`; without any, all is 0 and there are no parts.
    pub fn of(x: &Tensor) -> Result<Self> {
        let mut values = x.detach().to_dtype(DType::F64)?.to_vec::<f64>()?;
        values.retain(|value| value.is_finite());
        let Some(&first) = values.first() else { return Ok(Self::default()) };
        let (min, max) = values.iter().fold((first, first), |(min, max), &value| (min.min(value), max.max(value)));
        let mut parts: Vec<(f64, u64)> = match min == max {
            true => vec![(max, 0)],
            // Weighted, since the difference of two finite numbers need not be finite.
            false => (1..=PARTS).map(|i| i as f64 / PARTS as f64).map(|t| (min * (1.0 - t) + max * t, 0)).collect(),
        };
        let last = parts.len() - 1;
        parts[last].0 = max;
        let (scale, mut sum, mut sum_squares) = (parts.len() as f64 / (max - min), 0.0, 0.0);
        for &value in &values {
            // Where the part should be; rounding may have put its ends elsewhere.
            let mut part = (((value - min) * scale) as usize).min(last);
            while part < last && parts[part].0 <= value {
                part += 1;
            }
            while part > 0 && parts[part - 1].0 > value {
                part -= 1;
            }
            parts[part].1 += 1;
            sum += value;
            sum_squares += value * value;
        }
        Ok(Self { min, max, count: values.len() as u64, sum, sum_squares, parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equally_wide_and_hold_every_finite_number() {
        let values: Vec<f32> = (0..=128).map(|i| i as f32 / 128.0).chain([f32::NAN, f32::INFINITY]).collect();
        let histogram = Histogram::of(&Tensor::from_slice(&values, &[values.len()]).unwrap()).unwrap();
        assert_eq!((histogram.min, histogram.max, histogram.count, histogram.sum), (0.0, 1.0, 129, 64.5));
        assert_eq!(histogram.sum_squares, (0..=128).map(|i| f64::from(i * i)).sum::<f64>() / 128.0 / 128.0);
        assert_eq!(histogram.parts.len(), 64);
        assert_eq!((histogram.parts[0], histogram.parts[63]), ((1.0 / 64.0, 2), (1.0, 3)));
        assert_eq!(histogram.parts.iter().map(|part| part.1).sum::<u64>(), 129);
    }

    #[test]
    fn a_number_lies_below_the_end_of_its_part_and_not_below_the_one_before() {
        let ramp = (0..1000).map(|i| f64::from(i * 37 % 1000) * 0.1 - 33.3);
        let huge = [-f64::MAX, -1.0, 0.0, 1e300, f64::MAX];
        let tiny = [0.0, 5e-324, 1e-323, 1.5e-323];
        for values in [ramp.collect(), huge.to_vec(), tiny.to_vec()] {
            let histogram = Histogram::of(&Tensor::from_slice(&values, &[values.len()]).unwrap()).unwrap();
            // On their ends the rounding of a part's place would show.
            let ends: Vec<f64> = histogram.parts.iter().map(|part| part.0).chain([histogram.min]).collect();
            let histogram = Histogram::of(&Tensor::from_slice(&ends, &[ends.len()]).unwrap()).unwrap();
            let last = histogram.parts.len() - 1;
            let mut counts = vec![0; last + 1];
            for end in ends {
                counts[histogram.parts.partition_point(|part| part.0 <= end).min(last)] += 1;
            }
            assert!(histogram.parts.iter().map(|part| part.1).eq(counts), "{histogram:?}");
        }
    }

    #[test]
    fn equal_numbers_are_one_part_and_none_are_none() {
        let constant = Histogram::of(&Tensor::from_slice(&[2f32; 5], &[5]).unwrap()).unwrap();
        assert_eq!(constant.parts, [(2.0, 5)]);
        assert_eq!(Histogram::of(&Tensor::from_slice(&[f32::NAN], &[1]).unwrap()).unwrap(), Histogram::default());
    }
}
