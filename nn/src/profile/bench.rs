//! Timing an operation, beside what the machine can do.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::exactness::max_rel_error;
use super::operation::{Operation, show};
use super::variant::Variant;
use crate::Result;
use crate::core::kernels::cpu::simd::Isa;
use crate::core::kernels::cpu::{peak, threads};
use crate::core::{Tensor, no_grad};

/// A run is repeated until a sample takes this long, since clocks are coarse.
const SAMPLE: Duration = Duration::from_micros(200);

/// A run that takes this long is not repeated.
const LONG: Duration = Duration::from_secs(2);

/// One operation at one shape on one variant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measurement {
    /// What was computed.
    pub op: &'static str,
    /// At which shape.
    pub shape: String,
    /// By which kernels.
    pub variant: String,
    /// On how many threads.
    pub threads: usize,
    /// How long one run takes: of many, the one that a tenth undercuts. None if it was not timed.
    pub seconds: Option<f64>,
    /// The time that half of the runs undercut.
    pub median_seconds: Option<f64>,
    /// Billions of additions and multiplications a second, for products.
    pub gflops: Option<f64>,
    /// Billions of bytes a second, counting what must be read and written at least; for all but products.
    pub gbps: Option<f64>,
    /// The time that the machine's peak would take, as a share of the time it took: arithmetic at the rate of multiply-adds
    /// in registers, or bytes at the rate of a triad over as many bytes, whichever takes longer.
    pub share_of_peak: Option<f64>,
    /// The largest error against `f64`. None if it was not asked for.
    pub max_rel_error: Option<f64>,
}

/// Measures operations, and once for all of them what the machine can do.
#[derive(Debug)]
pub struct Bench {
    patience: Duration,
    flops: HashMap<(Isa, usize), f64>,
    triads: HashMap<(usize, usize), f64>,
}

impl Bench {
    /// A bench that spends about `patience` on timing an operation.
    pub fn new(patience: Duration) -> Bench {
        Bench { patience, flops: HashMap::new(), triads: HashMap::new() }
    }

    /// Times `operation` at `shape`, and if `exact` computes its error too.
    ///
    /// # Errors
    /// If the operation cannot have that shape, the machine lacks the variant, or the count of threads is out of range.
    pub fn time(
        &mut self,
        operation: &Operation,
        shape: &[usize],
        variant: Variant,
        count: usize,
        exact: bool,
    ) -> Result<Measurement> {
        let mut measured = Bench::empty(operation, shape, variant, count);
        let patience = self.patience;
        let on_threads = || variant.select(|| no_grad(|| timed(operation, shape, variant, patience, exact)));
        let ([seconds, median], bytes, error) =
            threads::with_threads(count, on_threads).map_err(crate::core::Error::from)??;
        let flops = operation.flops(shape) as f64;
        let arithmetic = if flops > 0.0 { flops / self.peak_flops(variant.isa(), count)? } else { 0.0 };
        let memory = bytes as f64 / self.peak_triad(bytes, count)?;
        (measured.seconds, measured.median_seconds) = (Some(seconds), Some(median));
        match flops > 0.0 {
            true => measured.gflops = Some(flops / seconds / 1e9),
            false => measured.gbps = Some(bytes as f64 / seconds / 1e9),
        }
        measured.share_of_peak = Some(arithmetic.max(memory) / seconds);
        measured.max_rel_error = error;
        Ok(measured)
    }

    /// The error of `operation` at `shape` alone.
    ///
    /// # Errors
    /// As [`Bench::time`].
    pub fn verify(operation: &Operation, shape: &[usize], variant: Variant, count: usize) -> Result<Measurement> {
        let error = || {
            let mut inputs = inputs(operation, shape, variant)?;
            let outputs = variant.select(|| no_grad(|| operation.run(&mut inputs)))?;
            max_rel_error(operation, shape, &outputs)
        };
        let error = threads::with_threads(count, error).map_err(crate::core::Error::from)??;
        Ok(Measurement { max_rel_error: Some(error), ..Bench::empty(operation, shape, variant, count) })
    }

    fn empty(operation: &Operation, shape: &[usize], variant: Variant, count: usize) -> Measurement {
        Measurement {
            op: operation.name,
            shape: show(shape),
            variant: variant.to_string(),
            // The reference knows no other.
            threads: if variant == Variant::Reference { 1 } else { count },
            seconds: None,
            median_seconds: None,
            gflops: None,
            gbps: None,
            share_of_peak: None,
            max_rel_error: None,
        }
    }

    fn peak_flops(&mut self, isa: Isa, count: usize) -> Result<f64> {
        if let Some(&known) = self.flops.get(&(isa, count)) {
            return Ok(known);
        }
        let found = peak::flops(isa, count).map_err(crate::core::Error::from)?;
        self.flops.insert((isa, count), found);
        Ok(found)
    }

    /// The rate of a triad over about `bytes` in all; the same for all sizes between two powers of two.
    fn peak_triad(&mut self, bytes: usize, count: usize) -> Result<f64> {
        let len = (bytes / 12).max(256).next_power_of_two();
        if let Some(&known) = self.triads.get(&(len, count)) {
            return Ok(known);
        }
        let found = peak::triad(len, count).map_err(crate::core::Error::from)?;
        self.triads.insert((len, count), found);
        Ok(found)
    }
}

fn inputs(operation: &Operation, shape: &[usize], variant: Variant) -> Result<Vec<Tensor>> {
    let inputs = operation.inputs(shape)?;
    Ok(inputs.iter().map(|x| x.to_device(variant.device())).collect::<crate::core::Result<_>>()?)
}

/// The seconds that a tenth and that half of all runs undercut, the bytes that one moves, and its error if that is asked for.
fn timed(
    operation: &Operation,
    shape: &[usize],
    variant: Variant,
    patience: Duration,
    exact: bool,
) -> Result<([f64; 2], usize, Option<f64>)> {
    let mut inputs = inputs(operation, shape, variant)?;
    let start = Instant::now();
    let first = operation.run(&mut inputs)?;
    let once = start.elapsed();
    let bytes = operation.traffic(&inputs, &first);
    let error = exact.then(|| max_rel_error(operation, shape, &first)).transpose()?;
    drop(first);
    let mut samples = vec![once];
    // The first run takes memory from the system and fills the caches, so that it says little, unless it takes for ever.
    if once < patience.max(LONG) {
        let start = Instant::now();
        black_box(operation.run(&mut inputs)?);
        let once = start.elapsed().max(Duration::from_nanos(50));
        let repeats = SAMPLE.as_nanos().div_ceil(once.as_nanos()).clamp(1, 10_000) as u32;
        samples = vec![once];
        let start = Instant::now();
        while start.elapsed() < patience || samples.len() < 3 {
            let begin = Instant::now();
            for _ in 0..repeats {
                black_box(operation.run(black_box(&mut inputs))?);
            }
            samples.push(begin.elapsed() / repeats);
        }
        samples.sort_unstable();
    }
    Ok(([10, 2].map(|part| samples[samples.len() / part].as_secs_f64()), bytes, error))
}
