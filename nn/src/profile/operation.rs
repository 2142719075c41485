//! An operation that can be measured: its inputs, how to run it, and what it costs.

use crate::core::{self, DType, Device, Distribution, RandomKey, Tensor};
use crate::{Error, Result};

/// A tensor of more elements than this, 8 GiB of `f32`, is a slip of the hand.
const MOST: usize = 1 << 31;

/// Makes the inputs for a shape, in `f32` on the processor.
type Inputs = Box<dyn Fn(&[usize]) -> core::Result<Vec<Tensor>> + Send + Sync>;

/// Computes the outputs; only optimizers change their inputs, and return these.
type Run = Box<dyn Fn(&mut [Tensor]) -> core::Result<Vec<Tensor>> + Send + Sync>;

/// The bytes that must be read and written at least, from inputs and outputs.
type Traffic = fn(&[Tensor], &[Tensor]) -> usize;

/// What an error is measured against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Each element's own magnitude, or a thousandth of the largest where it is less: functions of one element.
    Each,
    /// The largest magnitude of the output.
    Largest,
    /// The same operation on the magnitudes of the inputs: what is added up, before it cancels out.
    Magnitudes,
}

/// One row of the list.
pub struct Operation {
    /// What users call it.
    pub name: &'static str,
    /// The primitive of [`Backend`](crate::core::kernels::Backend) that does the work.
    pub primitive: &'static str,
    /// What the numbers of a shape mean, as in `MxKxN`; `..` stands for any number of dimensions.
    pub dims: &'static str,
    /// The shapes that it is measured at.
    pub shapes: Vec<Vec<usize>>,
    /// What its error is measured against.
    pub scale: Scale,
    /// The largest error, measured so, that counts as right.
    pub tolerance: f64,
    inputs: Inputs,
    run: Run,
    flops: fn(&[usize]) -> usize,
    traffic: Traffic,
}

impl Operation {
    /// An operation that reads every input and writes every output once, and is exact to a few units in the last place of
    /// `f32`.
    pub(super) fn new(
        name: &'static str,
        primitive: &'static str,
        dims: &'static str,
        shapes: &[&[usize]],
        inputs: impl Fn(&[usize]) -> core::Result<Vec<Tensor>> + Send + Sync + 'static,
        run: impl Fn(&mut [Tensor]) -> core::Result<Vec<Tensor>> + Send + Sync + 'static,
    ) -> Operation {
        Operation {
            name,
            primitive,
            dims,
            shapes: shapes.iter().map(|shape| shape.to_vec()).collect(),
            scale: Scale::Each,
            tolerance: 2e-6,
            inputs: Box::new(inputs),
            run: Box::new(run),
            flops: |_| 0,
            traffic: |inputs, outputs| bytes(inputs) + bytes(outputs),
        }
    }

    /// Measures errors otherwise.
    pub(super) fn exact_to(mut self, scale: Scale, tolerance: f64) -> Operation {
        (self.scale, self.tolerance) = (scale, tolerance);
        self
    }

    /// Counts arithmetic: how many additions and multiplications a shape takes.
    pub(super) fn counting(mut self, flops: fn(&[usize]) -> usize) -> Operation {
        self.flops = flops;
        self
    }

    /// Counts bytes otherwise.
    pub(super) fn moving(mut self, traffic: Traffic) -> Operation {
        self.traffic = traffic;
        self
    }

    /// Refuses a shape that the operation cannot have.
    ///
    /// # Errors
    /// If it has the wrong number of dimensions, or one of size 0.
    pub fn check(&self, shape: &[usize]) -> Result<()> {
        let rank = self.dims.split('x').count();
        let fits = self.dims == ".." || shape.len() == rank;
        let whole = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        // A product's matrices lack one of the sizes each.
        let smallest = if rank > 2 { shape.iter().copied().min().unwrap_or(1).max(1) } else { 1 };
        match whole {
            _ if !fits || shape.is_empty() => Err(Error::Config(format!(
                "{}: {} is no shape for it: it takes {}, as in {}",
                self.name,
                show(shape),
                self.dims,
                show(&self.shapes[0])
            ))),
            Some(0) => Err(Error::Config(format!("{}: {}: there is nothing to measure", self.name, show(shape)))),
            Some(whole) if whole / smallest <= MOST => Ok(()),
            _ => Err(Error::Config(format!(
                "{}: {} does not fit into memory: {MOST} elements are the most",
                self.name,
                show(shape)
            ))),
        }
    }

    /// A shape of about `work` elements, or multiply-adds for products: to see how time grows.
    pub fn shape_of(&self, work: usize) -> Vec<usize> {
        match self.dims.split('x').count() {
            1 => vec![work],
            // Rows as long as a layer is wide, where there is enough for some.
            2 => {
                let columns = work.min(1000);
                vec![work / columns, columns]
            }
            // Images: the first shape that is listed, with as many of them as that leaves.
            6 => {
                let mut shape = self.shapes[0].clone();
                shape[0] = (2 * work * shape[0] / self.flops(&shape).max(1)).max(1);
                shape
            }
            rank => {
                let side = (work as f64).powf(1.0 / 3.0).round().max(1.0) as usize;
                let mut shape = vec![side; rank];
                shape[..rank - 3].fill(1);
                shape
            }
        }
    }

    /// The inputs for a shape, in `f32` on the processor: the same numbers at every call.
    ///
    /// # Errors
    /// If they do not fit into memory.
    pub fn inputs(&self, shape: &[usize]) -> Result<Vec<Tensor>> {
        self.check(shape)?;
        Ok((self.inputs)(shape)?)
    }

    /// Runs it once.
    ///
    /// # Errors
    /// If the operation refuses the inputs.
    pub fn run(&self, inputs: &mut [Tensor]) -> Result<Vec<Tensor>> {
        Ok((self.run)(inputs)?)
    }

    /// How many additions and multiplications a shape takes; 0 where nobody counts them.
    pub fn flops(&self, shape: &[usize]) -> usize {
        (self.flops)(shape)
    }

    /// The bytes that must be read and written at least.
    pub fn traffic(&self, inputs: &[Tensor], outputs: &[Tensor]) -> usize {
        (self.traffic)(inputs, outputs)
    }
}

/// What tensors weigh.
pub(super) fn bytes(tensors: &[Tensor]) -> usize {
    tensors.iter().map(|tensor| tensor.len() * tensor.dtype().size()).sum()
}

/// Even random numbers from `low` to `high`, others for each `stream`.
pub(super) fn uniform(shape: &[usize], low: f64, high: f64, stream: u64) -> core::Result<Tensor> {
    let key = RandomKey::new(1).numbered(stream);
    Tensor::random(shape, Distribution::Uniform { low, high }, key, DType::F32, Device::CPU)
}

/// Random whole numbers below `size`.
pub(super) fn indices(shape: &[usize], size: usize) -> core::Result<Tensor> {
    let numbers = Distribution::Uniform { low: 0.0, high: size as f64 };
    Tensor::random(shape, numbers, RandomKey::new(2), DType::F64, Device::CPU)?.to_dtype(DType::I64)
}

/// A shape as users write it: `32x784x300`.
pub fn show(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

/// Reads a shape as users write it; a number may be a power of two, `2^20`.
///
/// # Errors
/// If it is something else.
pub fn to_shape(text: &str) -> Result<Vec<usize>> {
    let wrong = || Error::Config(format!("shape {text:?}: write whole numbers with x between them, as in 32x784x300"));
    let number = |part: &str| match part.split_once('^') {
        Some((base, power)) => base.parse::<usize>().ok()?.checked_pow(power.parse().ok()?),
        None => part.parse().ok(),
    };
    text.split('x').map(|part| number(part).ok_or_else(wrong)).collect()
}
