//! What can be said about a few numbers that came out differently each time: means, intervals, paired tests.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// The share of repetitions in which an interval contains the true mean.
const CONFIDENCE: f64 = 0.95;

/// A mean with the interval that contains the true one in 95 of 100 repetitions, if the numbers are about normal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Of how many numbers.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, as an estimate for all that could have come out: with `count - 1`. NaN of one number.
    pub deviation: f64,
    /// The interval's ends, from Student's t distribution (Student 1908). NaN of one number.
    pub interval: (f64, f64),
}

impl Estimate {
    /// The estimate from `values`; of none, everything is NaN.
    pub fn of(values: &[f64]) -> Self {
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = match count {
            0 | 1 => f64::NAN,
            _ => (squares / (count - 1) as f64).sqrt(),
        };
        let half = students_t(count)
            .map_or(f64::NAN, |t| t.inverse_cdf(0.5 + CONFIDENCE / 2.0) * deviation / (count as f64).sqrt());
        Self { count, mean, deviation, interval: (mean - half, mean + half) }
    }
}

/// How much two series differ whose elements belong together, such as results from the same seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The first series minus the second.
    pub estimate: Estimate,
    /// How likely so large a mean difference is if there is none: the two-sided paired t-test. NaN of one pair.
    pub p: f64,
}

impl Difference {
    /// Compares two series of the same length; what one has more is ignored.
    pub fn of(first: &[f64], second: &[f64]) -> Self {
        let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
        let estimate = Estimate::of(&differences);
        let p = match students_t(differences.len()) {
            None => f64::NAN,
            // Without any spread there is no t; then the difference is certain, or there is none.
            Some(_) if estimate.deviation == 0.0 => f64::from(estimate.mean == 0.0),
            Some(t) => {
                let error = estimate.deviation / (estimate.count as f64).sqrt();
                2.0 * t.cdf(-(estimate.mean / error).abs())
            }
        };
        Self { estimate, p }
    }
}

/// Raises the p-values of several tests so that all of them together keep the level of one (Holm 1979).
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![f64::NAN; p.len()];
    let mut least: f64 = 0.0;
    for (rank, &i) in order.iter().enumerate() {
        least = least.max(((p.len() - rank) as f64 * p[i]).min(1.0));
        adjusted[i] = if p[i].is_nan() { f64::NAN } else { least };
    }
    adjusted
}

/// The distribution of the mean of `count` numbers around the true one, in units of its estimated error.
fn students_t(count: usize) -> Option<StudentsT> {
    StudentsT::new(0.0, 1.0, count.checked_sub(1)? as f64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f64; 6] = [0.9771, 0.9759, 0.9768, 0.9780, 0.9749, 0.9763];
    const B: [f64; 6] = [0.9761, 0.9763, 0.9752, 0.9771, 0.9751, 0.9748];

    const ESTIMATE: [f64; 4] = [0.9765, 0.0010639548862616285, 0.9753834478231156, 0.9776165521768845];
    const PAIRED: [f64; 3] = [0.08762610910955403, -0.0001563174389520469, 0.001622984105618737];
    const HOLM: [f64; 5] = [0.04, 0.09, 0.09, 0.025, 0.9];

    fn near(got: f64, wanted: f64) {
        assert!((got - wanted).abs() <= 1e-9 * wanted.abs().max(1e-3), "{got} is not {wanted}");
    }

    /// What SciPy 1.17.1 and statsmodels 0.15.0 print: tests/golden/significance.py.
    #[test]
    fn estimates_and_tests_are_those_of_scipy() {
        let estimate = Estimate::of(&A);
        near(estimate.mean, ESTIMATE[0]);
        near(estimate.deviation, ESTIMATE[1]);
        near(estimate.interval.0, ESTIMATE[2]);
        near(estimate.interval.1, ESTIMATE[3]);
        let difference = Difference::of(&A, &B);
        near(difference.p, PAIRED[0]);
        near(difference.estimate.interval.0, PAIRED[1]);
        near(difference.estimate.interval.1, PAIRED[2]);
        for (got, wanted) in holm(&[0.01, 0.04, 0.03, 0.005, 0.9]).into_iter().zip(HOLM) {
            near(got, wanted);
        }
    }

    #[test]
    fn one_number_or_none_says_nothing_about_spread() {
        let one = Estimate::of(&[0.5]);
        assert!(one.mean == 0.5 && one.deviation.is_nan() && one.interval.0.is_nan());
        assert!(Estimate::of(&[]).mean.is_nan());
        assert!(Difference::of(&[1.0], &[2.0]).p.is_nan());
        assert!(holm(&[f64::NAN, 0.01])[0].is_nan());
    }

    #[test]
    fn differences_without_spread_are_certain() {
        assert_eq!(Difference::of(&[1.0, 2.0], &[1.0, 2.0]).p, 1.0);
        assert_eq!(Difference::of(&[1.0, 2.0], &[0.5, 1.5]).p, 0.0);
    }
}
