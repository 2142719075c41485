//! How weights start: Keras' initialisers, and those that PyTorch's layers use.

use gradus_core::kernels::random::fill;
use gradus_core::{DType, Device, Distribution, RandomKey, Tensor};

use crate::named::named;
use crate::{Error, Result};

named! {
    /// What a new weight is filled with. Each weight draws from a stream of its own, named by its path.
    Init "initialiser" {
        /// 0.
        Zeros = "zeros";
        /// 1.
        Ones = "ones";
        /// One number.
        Constant(value: f64 = 0.0) = "constant";
        /// Normal numbers.
        RandomNormal(mean: f64 = 0.0, std: f64 = 0.05) = "random_normal";
        /// Uniform numbers.
        RandomUniform(low: f64 = -0.05, high: f64 = 0.05) = "random_uniform";
        /// Normal numbers without those further than two `std` from `mean`, which makes what is left narrower than `std`.
        TruncatedNormal(mean: f64 = 0.0, std: f64 = 0.05) = "truncated_normal";
        /// Numbers of variance `scale` over the number of inputs, of outputs, or the mean of both.
        VarianceScaling(scale: f64 = 1.0, mode: FanMode = FanMode::In, shape: Shape = Shape::TruncatedNormal)
            = "variance_scaling";
        /// Truncated normal of variance `2 / (inputs + outputs)` (Glorot and Bengio 2010).
        GlorotNormal = "glorot_normal";
        /// Uniform of variance `2 / (inputs + outputs)`.
        GlorotUniform = "glorot_uniform" | "xavier_uniform";
        /// Truncated normal of variance `2 / inputs` (He et al. 2015).
        HeNormal = "he_normal";
        /// Uniform of variance `2 / inputs`.
        HeUniform = "he_uniform";
        /// Truncated normal of variance `1 / inputs` (LeCun et al. 1998).
        LecunNormal = "lecun_normal";
        /// Uniform of variance `1 / inputs`.
        LecunUniform = "lecun_uniform";
        /// Normal, not truncated, of variance `2 / (1 + a²) / inputs`: PyTorch's form of `he_normal`.
        KaimingNormal(a: f64 = 0.0) = "kaiming_normal";
        /// Uniform of variance `2 / (1 + a²) / inputs`. PyTorch's layers take `a = √5`: within `1 / √inputs`.
        KaimingUniform(a: f64 = 0.0) = "kaiming_uniform";
        /// Columns (or rows, where those are fewer) that are orthogonal and of length `gain` (Saxe et al. 2014).
        Orthogonal(gain: f64 = 1.0) = "orthogonal";
        /// `gain` on the diagonal, else 0.
        Identity(gain: f64 = 1.0) = "identity";
    }
}

named! {
    /// What a variance is divided by.
    #[derive(Copy)]
    FanMode "mode" {
        /// The number of inputs.
        In = "fan_in";
        /// The number of outputs.
        Out = "fan_out";
        /// The mean of both.
        Average = "fan_avg";
    }
}

named! {
    /// The distribution of a scaled variance.
    #[derive(Copy)]
    Shape "distribution" {
        /// Normal, cut at two standard deviations, widened so that the variance is right after the cut.
        TruncatedNormal = "truncated_normal" | "normal";
        /// Normal.
        UntruncatedNormal = "untruncated_normal";
        /// Uniform.
        Uniform = "uniform";
    }
}

/// How many inputs feed an output, and how many outputs an input feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fans {
    /// Inputs of each output.
    pub inputs: usize,
    /// Outputs of each input.
    pub outputs: usize,
}

impl Fans {
    /// By Keras' rule: the last two dimensions are inputs and outputs, and those before count as a window for both.
    pub fn of(shape: &[usize]) -> Self {
        match shape {
            [] => Self { inputs: 1, outputs: 1 },
            &[n] => Self { inputs: n, outputs: n },
            [window @ .., inputs, outputs] => {
                let window: usize = window.iter().product();
                Self { inputs: inputs * window, outputs: outputs * window }
            }
        }
    }
}

/// The standard deviation of what is left of a standard normal distribution that is cut at -2 and 2.
const CUT_STD: f64 = 0.879_625_661_034_239_8;

impl Init {
    /// A new tensor of `f32` on the CPU.
    ///
    /// `fans` are those of the layer: PyTorch's biases are drawn by the inputs of the weights beside them.
    pub fn sample(&self, shape: &[usize], fans: Fans, key: RandomKey) -> Result<Tensor> {
        use {FanMode as Mode, Init::*};
        let random = |distribution| Ok(Tensor::random(shape, distribution, key, DType::F32, Device::CPU)?);
        let scaled = |scale: f64, mode, distribution| {
            let (inputs, outputs) = (fans.inputs as f64, fans.outputs as f64);
            let fan = match mode {
                Mode::In => inputs,
                Mode::Out => outputs,
                Mode::Average => (inputs + outputs) / 2.0,
            };
            let std = (scale / fan.max(1.0)).sqrt();
            random(match distribution {
                Shape::TruncatedNormal => Distribution::TruncatedNormal { mean: 0.0, std: std / CUT_STD },
                Shape::UntruncatedNormal => Distribution::Normal { mean: 0.0, std },
                Shape::Uniform => Distribution::Uniform { low: -std * 3f64.sqrt(), high: std * 3f64.sqrt() },
            })
        };
        match *self {
            Zeros => Ok(Tensor::zeros(shape, DType::F32, Device::CPU)?),
            Ones => Ok(Tensor::ones(shape, DType::F32, Device::CPU)?),
            Constant(value) => Ok(Tensor::full(shape, value, DType::F32, Device::CPU)?),
            RandomNormal(mean, std) => random(Distribution::Normal { mean, std }),
            RandomUniform(low, high) => random(Distribution::Uniform { low, high }),
            TruncatedNormal(mean, std) => random(Distribution::TruncatedNormal { mean, std }),
            VarianceScaling(scale, mode, distribution) => scaled(scale, mode, distribution),
            GlorotNormal => scaled(1.0, Mode::Average, Shape::TruncatedNormal),
            GlorotUniform => scaled(1.0, Mode::Average, Shape::Uniform),
            HeNormal => scaled(2.0, Mode::In, Shape::TruncatedNormal),
            HeUniform => scaled(2.0, Mode::In, Shape::Uniform),
            LecunNormal => scaled(1.0, Mode::In, Shape::TruncatedNormal),
            LecunUniform => scaled(1.0, Mode::In, Shape::Uniform),
            KaimingNormal(a) => scaled(2.0 / (1.0 + a * a), Mode::In, Shape::UntruncatedNormal),
            KaimingUniform(a) => scaled(2.0 / (1.0 + a * a), Mode::In, Shape::Uniform),
            Orthogonal(gain) => orthogonal(shape, gain, key),
            Identity(gain) => identity(shape, gain),
        }
    }

    fn complaint(&self) -> Option<&'static str> {
        match *self {
            Init::RandomNormal(_, std) | Init::TruncatedNormal(_, std) if std < 0.0 => Some("std must be 0 or more"),
            Init::RandomUniform(low, high) if low > high => Some("low must not be above high"),
            Init::VarianceScaling(scale, ..) if scale <= 0.0 => Some("scale must be above 0"),
            _ => None,
        }
    }
}

impl FanMode {
    fn complaint(&self) -> Option<&'static str> {
        None
    }
}

impl Shape {
    fn complaint(&self) -> Option<&'static str> {
        None
    }
}

fn identity(shape: &[usize], gain: f64) -> Result<Tensor> {
    let &[rows, columns] = shape else {
        return Err(Error::Config(format!("initialiser identity: needs a matrix, not a weight of shape {shape:?}")));
    };
    let values: Vec<f32> =
        (0..rows * columns).map(|i| if i / columns == i % columns { gain as f32 } else { 0.0 }).collect();
    Ok(Tensor::from_slice(&values, shape)?)
}

/// All dimensions but the last count as rows.
fn orthogonal(shape: &[usize], gain: f64, key: RandomKey) -> Result<Tensor> {
    let [window @ .., columns] = shape else {
        return Err(Error::Config("initialiser orthogonal: needs at least a row of numbers, not a single one".into()));
    };
    let (rows, columns) = (window.iter().product::<usize>(), *columns);
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut vectors = vec![vec![0.0; length]; count];
    for (i, vector) in vectors.iter_mut().enumerate() {
        fill(Distribution::Normal { mean: 0.0, std: 1.0 }, key, i * length, vector);
    }
    orthonormalise(&mut vectors);
    let value = |row: usize, column: usize| if rows < columns { vectors[row][column] } else { vectors[column][row] };
    let values: Vec<f32> = (0..rows * columns).map(|i| (gain * value(i / columns, i % columns)) as f32).collect();
    Ok(Tensor::from_slice(&values, shape)?)
}

/// Gram and Schmidt's method. From normal vectors it makes every direction equally likely, since it divides by lengths,
/// which are positive: the diagonal of the R in a QR decomposition whose signs others have to correct.
fn orthonormalise(vectors: &mut [Vec<f64>]) {
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    for i in 0..vectors.len() {
        let (done, rest) = vectors.split_at_mut(i);
        let vector = &mut rest[0];
        // The second pass removes what rounding left of the first.
        for _ in 0..2 {
            for other in done.iter() {
                let share = dot(vector, other);
                vector.iter_mut().zip(other).for_each(|(x, y)| *x -= share * y);
            }
        }
        let length = dot(vector, vector).sqrt();
        vector.iter_mut().for_each(|x| *x /= length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [usize; 2] = [400, 300];

    fn draw(init: &str, shape: &[usize], key: RandomKey) -> Vec<f64> {
        let init: Init = init.parse().unwrap();
        init.sample(shape, Fans::of(shape), key).unwrap().to_f64_vec().unwrap()
    }

    fn std(values: &[f64]) -> f64 {
        (values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64).sqrt()
    }

    fn largest(values: &[f64]) -> f64 {
        values.iter().fold(0.0, |largest, x| x.abs().max(largest))
    }

    #[test]
    fn every_name_reads_back_as_it_is_written() {
        for name in Init::NAMES {
            let init: Init = name.parse().unwrap();
            assert_eq!(init.to_string().parse::<Init>().unwrap(), init);
        }
        let text = "variance_scaling(2, fan_avg, uniform)";
        assert_eq!(text.parse::<Init>().unwrap().to_string(), text);
        assert_eq!("random_normal".parse::<Init>().unwrap().to_string(), "random_normal(0, 0.05)");
    }

    #[test]
    fn complaints_say_what_is_wrong() {
        let complaint = |text: &str| text.parse::<Init>().unwrap_err().to_string();
        assert_eq!(complaint("he_norml"), "unknown initialiser \"he_norml\"; did you mean \"he_normal\"?");
        assert_eq!(complaint("random_normal(0, -1)"), "initialiser \"random_normal(0, -1)\": std must be 0 or more");
        assert_eq!(
            complaint("random_uniform(1, 0)"),
            "initialiser \"random_uniform(1, 0)\": low must not be above high"
        );
        let error = Init::Identity(1.0).sample(&[3], Fans::of(&[3]), RandomKey::new(0)).unwrap_err().to_string();
        assert_eq!(error, "initialiser identity: needs a matrix, not a weight of shape [3]");
    }

    #[test]
    fn fans_follow_keras() {
        assert_eq!(Fans::of(&[784, 300]), Fans { inputs: 784, outputs: 300 });
        assert_eq!(Fans::of(&[7]), Fans { inputs: 7, outputs: 7 });
        assert_eq!(Fans::of(&[3, 5, 8, 16]), Fans { inputs: 120, outputs: 240 });
    }

    /// Standard deviation and largest value of every random initialiser; the means lie near 0. With 120,000 numbers the
    /// standard error of a standard deviation is 0.2 percent.
    #[test]
    fn numbers_spread_as_the_formulas_say() {
        let (inputs, outputs) = (SHAPE[0] as f64, SHAPE[1] as f64);
        let average = (inputs + outputs) / 2.0;
        let cut = 2.0 / CUT_STD;
        for (name, want, reach) in [
            ("random_normal(0, 0.01)", 0.01, 6.0),
            ("random_uniform(-2, 2)", 2.0 / 3f64.sqrt(), 3f64.sqrt()),
            ("truncated_normal(0, 1)", CUT_STD, cut),
            ("glorot_normal", (1.0 / average).sqrt(), cut),
            ("glorot_uniform", (1.0 / average).sqrt(), 3f64.sqrt()),
            ("he_normal", (2.0 / inputs).sqrt(), cut),
            ("he_uniform", (2.0 / inputs).sqrt(), 3f64.sqrt()),
            ("lecun_normal", (1.0 / inputs).sqrt(), cut),
            ("lecun_uniform", (1.0 / inputs).sqrt(), 3f64.sqrt()),
            ("kaiming_normal", (2.0 / inputs).sqrt(), 6.0),
            ("kaiming_uniform(2.23606797749979)", (1.0 / 3.0 / inputs).sqrt(), 3f64.sqrt()),
            ("variance_scaling(3, fan_out, untruncated_normal)", (3.0 / outputs).sqrt(), 6.0),
        ] {
            let values = draw(name, &SHAPE, RandomKey::new(1).named(name));
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            assert!(mean.abs() < 4.0 * want / (values.len() as f64).sqrt(), "{name}: mean {mean}");
            assert!((std(&values) / want - 1.0).abs() < 0.01, "{name}: std {} is not {want}", std(&values));
            let largest = largest(&values) / want;
            assert!(largest <= reach * 1.000_001 && largest > 0.6 * reach, "{name}: largest {largest} std of {reach}");
        }
    }

    #[test]
    fn a_bias_takes_the_fans_of_its_layer() {
        let init = Init::KaimingUniform(5f64.sqrt());
        let bias = init.sample(&[5000], Fans { inputs: 16, outputs: 5000 }, RandomKey::new(3)).unwrap();
        let largest = largest(&bias.to_f64_vec().unwrap());
        assert!(largest <= 0.25 && largest > 0.24, "{largest}");
    }

    #[test]
    fn streams_of_two_paths_and_of_two_seeds_have_nothing_in_common() {
        let key = |seed, path| RandomKey::new(seed).named(path);
        let first = draw("random_normal(0, 1)", &SHAPE, key(7, "dense.kernel"));
        assert_eq!(first, draw("random_normal(0, 1)", &SHAPE, key(7, "dense.kernel")));
        for other in [key(7, "dense_1.kernel"), key(7, "dense.bias"), key(8, "dense.kernel")] {
            let second = draw("random_normal(0, 1)", &SHAPE, other);
            let n = first.len() as f64;
            let correlation = first.iter().zip(&second).map(|(a, b)| a * b).sum::<f64>() / n;
            assert!(correlation.abs() < 4.0 / n.sqrt(), "{correlation}");
        }
    }

    #[test]
    fn orthogonal_vectors_are_orthonormal_times_the_gain() {
        for shape in [[40, 15], [15, 40], [20, 20], [1, 1]] {
            let matrix = Tensor::from_slice(&draw("orthogonal(2)", &shape, RandomKey::new(5)), &shape).unwrap();
            let product = match shape {
                [rows, columns] if rows < columns => matrix.matmul(&matrix.t().unwrap()),
                _ => matrix.t().unwrap().matmul(&matrix),
            };
            let wanted = Tensor::eye(shape[0].min(shape[1]), DType::F64, Device::CPU).unwrap().mul_scalar(4.0).unwrap();
            let error = product.unwrap().sub(&wanted).unwrap().abs().unwrap().max(&[]).unwrap().item().unwrap();
            assert!(error < 1e-6, "{shape:?}: {error}");
        }
        assert!(draw("orthogonal", &[2, 3, 0], RandomKey::new(5)).is_empty());
    }

    #[test]
    fn the_identity_need_not_be_square() {
        assert_eq!(draw("identity(3)", &[2, 3], RandomKey::new(0)), [3.0, 0.0, 0.0, 0.0, 3.0, 0.0]);
    }
}
