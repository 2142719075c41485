//! A GPU as a [`Backend`].

use std::sync::atomic::Ordering::Relaxed;

use super::device::{Counts, Gpu};
use super::host::{Copies, bring, cast, run};
use super::operand::memory;
use super::ops::rows::Function::{LogSoftmax, Softmax};
use super::ops::{along, conv, copy, index, matmul, norm, pointwise, pool, random, rows, update};
use crate::backend::{ArgReduce, Backend, Figures, Moving, Normalize, Reduce, Window};
use crate::{Binary, Buffer, CPU, Compare, DType, Distribution, Layout, RandomKey, Result, Scalar, Unary, View};

/// An NVIDIA GPU.
///
/// Single precision is computed by its kernels, and `f16` and `bf16` in single precision. What has no kernel for its type, such
/// as functions of `f64`, is computed by the processor on copies; [`Figures::on_host`] tells how often. Kernels run in
/// the order in which they were started, while the program goes on; a failure shows at the next download.
#[derive(Clone, Copy, Debug)]
pub struct Cuda {
    gpu: &'static Gpu,
}

impl Cuda {
    /// Opens the device with this number.
    ///
    /// # Errors
    /// If there is no driver, or one too old, or no such device. The text says which.
    pub fn open(ordinal: usize) -> Result<Self> {
        Ok(Self { gpu: Gpu::open(ordinal)? })
    }

    /// How many milliseconds the device takes for what `work` starts, by its own clock.
    ///
    /// # Errors
    /// If `work` fails, or a kernel that it started.
    pub fn milliseconds(&self, work: impl FnOnce() -> Result<()>) -> Result<f32> {
        self.gpu.milliseconds(work)
    }

    /// Where a buffer stands in the device's memory, for other libraries that work on it in the default stream.
    ///
    /// # Errors
    /// If it is in the memory of the host.
    pub fn address(&self, buffer: &Buffer) -> Result<u64> {
        Ok(memory(buffer)?.address(0).0)
    }
}

impl Backend for Cuda {
    fn name(&self) -> &'static str {
        self.gpu.name
    }

    fn figures(&self) -> Option<Figures> {
        let Counts { launches, uploads, downloads, on_host } = &self.gpu.counts;
        let [launches, uploads, downloads, on_host] = [launches, uploads, downloads, on_host].map(|n| n.load(Relaxed));
        let [live, peak] = self.gpu.pool.figures();
        Some(Figures { launches, uploads, downloads, on_host, live, peak })
    }

    fn upload(&self, host: Buffer) -> Result<Buffer> {
        self.gpu.upload(&host)
    }

    fn download(&self, buffer: &Buffer) -> Result<Buffer> {
        self.gpu.download(memory(buffer)?, buffer.dtype(), buffer.len())
    }

    fn full(&self, dtype: DType, len: usize, value: Scalar) -> Result<Buffer> {
        copy::full(self.gpu, dtype, len, value)
    }

    fn random(&self, dtype: DType, len: usize, distribution: Distribution, key: RandomKey) -> Result<Buffer> {
        match random::random(self.gpu, dtype, len, distribution, key)? {
            Some(y) => Ok(y),
            None => self.gpu.upload(&CPU.random(dtype, len, distribution, key)?),
        }
    }

    fn copy(&self, x: View) -> Result<Buffer> {
        copy::copy(self.gpu, x)
    }

    fn copy_into(&self, x: View, y: &mut Buffer, at: &Layout) -> Result<()> {
        copy::copy_into(self.gpu, x, y, at)
    }

    fn cast(&self, x: View, to: DType) -> Result<Buffer> {
        cast(self.gpu, x, to)
    }

    fn unary(&self, op: Unary, x: View) -> Result<Buffer> {
        run(self.gpu, &[x], |v| pointwise::unary(self.gpu, op, v[0]), |v| CPU.unary(op, v[0]))
    }

    fn binary(&self, op: Binary, a: View, b: View) -> Result<Buffer> {
        run(self.gpu, &[a, b], |v| pointwise::binary(self.gpu, op, v[0], v[1]), |v| CPU.binary(op, v[0], v[1]))
    }

    fn compare(&self, op: Compare, a: View, b: View) -> Result<Buffer> {
        run(self.gpu, &[a, b], |v| pointwise::compare(self.gpu, op, v[0], v[1]), |v| CPU.compare(op, v[0], v[1]))
    }

    fn select(&self, condition: View, a: View, b: View) -> Result<Buffer> {
        let on_gpu = |v: &[View]| pointwise::select(self.gpu, v[0], v[1], v[2]);
        run(self.gpu, &[condition, a, b], on_gpu, |v| CPU.select(v[0], v[1], v[2]))
    }

    fn reduce(&self, op: Reduce, x: View, axes: &[usize]) -> Result<Buffer> {
        run(self.gpu, &[x], |v| along::reduce(self.gpu, op, v[0], axes), |v| CPU.reduce(op, v[0], axes))
    }

    fn arg_reduce(&self, op: ArgReduce, x: View, axis: usize) -> Result<Buffer> {
        run(self.gpu, &[x], |v| along::arg_reduce(self.gpu, op, v[0], axis), |v| CPU.arg_reduce(op, v[0], axis))
    }

    fn cumsum(&self, x: View, axis: usize) -> Result<Buffer> {
        run(self.gpu, &[x], |v| along::cumsum(self.gpu, v[0], axis), |v| CPU.cumsum(v[0], axis))
    }

    fn sort(&self, x: View, axis: usize, descending: bool) -> Result<(Buffer, Buffer)> {
        let on_gpu = |v: &[View]| along::sort(self.gpu, v[0], axis, descending);
        run(self.gpu, &[x], on_gpu, |v| CPU.sort(v[0], axis, descending))
    }

    fn matmul(&self, a: View, b: View) -> Result<Buffer> {
        run(self.gpu, &[a, b], |v| matmul::matmul(self.gpu, v[0], v[1]), |v| CPU.matmul(v[0], v[1]))
    }

    fn add_product(&self, c: &mut Buffer, scale: f64, a: View, b: View) -> Result<()> {
        if matmul::add_product(self.gpu, c, scale, a, b)? {
            return Ok(());
        }
        self.gpu.computed_on_host();
        let here = Copies::new(&[a, b], |view| bring(self.gpu, view))?;
        let mut sum = self.download(c)?;
        CPU.add_product(&mut sum, scale, here.views()[0], here.views()[1])?;
        *c = self.gpu.upload(&sum)?;
        Ok(())
    }

    fn linear(&self, x: View, w: View, bias: Option<View>, activation: Option<Unary>) -> Result<Buffer> {
        let views: Vec<View> = [x, w].into_iter().chain(bias).collect();
        let on_gpu = |v: &[View]| matmul::linear(self.gpu, v[0], v[1], v.get(2).copied(), activation);
        run(self.gpu, &views, on_gpu, |v| CPU.linear(v[0], v[1], v.get(2).copied(), activation))
    }

    fn activation_grad(&self, op: Unary, y: View, dy: View) -> Result<(Buffer, Buffer)> {
        let on_gpu = |v: &[View]| norm::activation_grad(self.gpu, op, v[0], v[1]);
        run(self.gpu, &[y, dy], on_gpu, |v| CPU.activation_grad(op, v[0], v[1]))
    }

    fn conv2d(
        &self,
        x: View,
        w: View,
        bias: Option<View>,
        activation: Option<Unary>,
        window: &Window,
        groups: usize,
    ) -> Result<Buffer> {
        let views: Vec<View> = [x, w].into_iter().chain(bias).collect();
        let on_gpu = |v: &[View]| conv::conv2d(self.gpu, v[0], v[1], v.get(2).copied(), activation, window, groups);
        run(self.gpu, &views, on_gpu, |v| CPU.conv2d(v[0], v[1], v.get(2).copied(), activation, window, groups))
    }

    fn conv2d_grad_input(
        &self,
        dy: View,
        w: View,
        input: [usize; 2],
        window: &Window,
        groups: usize,
    ) -> Result<Buffer> {
        let on_gpu = |v: &[View]| conv::grad_input(self.gpu, v[0], v[1], input, window, groups);
        run(self.gpu, &[dy, w], on_gpu, |v| CPU.conv2d_grad_input(v[0], v[1], input, window, groups))
    }

    fn conv2d_grad_weight(
        &self,
        x: View,
        dy: View,
        kernel: [usize; 2],
        window: &Window,
        groups: usize,
    ) -> Result<Buffer> {
        let on_gpu = |v: &[View]| conv::grad_weight(self.gpu, v[0], v[1], kernel, window, groups);
        run(self.gpu, &[x, dy], on_gpu, |v| CPU.conv2d_grad_weight(v[0], v[1], kernel, window, groups))
    }

    fn max_pool2d(&self, x: View, size: [usize; 2], window: &Window) -> Result<(Buffer, Buffer)> {
        let on_gpu = |v: &[View]| pool::max_pool2d(self.gpu, v[0], size, window);
        run(self.gpu, &[x], on_gpu, |v| CPU.max_pool2d(v[0], size, window))
    }

    fn max_pool2d_grad(
        &self,
        dy: View,
        places: View,
        input: [usize; 2],
        size: [usize; 2],
        window: &Window,
    ) -> Result<Buffer> {
        let on_gpu = |v: &[View]| pool::max_pool2d_grad(self.gpu, v[0], v[1], input, size, window);
        run(self.gpu, &[dy, places], on_gpu, |v| CPU.max_pool2d_grad(v[0], v[1], input, size, window))
    }

    fn avg_pool2d(&self, x: View, size: [usize; 2], window: &Window, count_padding: bool) -> Result<Buffer> {
        let on_gpu = |v: &[View]| pool::avg_pool2d(self.gpu, v[0], size, window, count_padding);
        run(self.gpu, &[x], on_gpu, |v| CPU.avg_pool2d(v[0], size, window, count_padding))
    }

    fn avg_pool2d_grad(
        &self,
        dy: View,
        input: [usize; 2],
        size: [usize; 2],
        window: &Window,
        count_padding: bool,
    ) -> Result<Buffer> {
        let on_gpu = |v: &[View]| pool::avg_pool2d_grad(self.gpu, v[0], input, size, window, count_padding);
        run(self.gpu, &[dy], on_gpu, |v| CPU.avg_pool2d_grad(v[0], input, size, window, count_padding))
    }

    fn gather(&self, x: View, index: View, axis: usize) -> Result<Buffer> {
        run(self.gpu, &[x, index], |v| index::gather(self.gpu, v[0], v[1], axis), |v| CPU.gather(v[0], v[1], axis))
    }

    fn scatter_add(&self, x: View, index: View, source: View, axis: usize) -> Result<Buffer> {
        let on_gpu = |v: &[View]| index::scatter_add(self.gpu, v[0], v[1], v[2], axis);
        run(self.gpu, &[x, index, source], on_gpu, |v| CPU.scatter_add(v[0], v[1], v[2], axis))
    }

    fn index_select(&self, x: View, index: View, axis: usize) -> Result<Buffer> {
        let on_gpu = |v: &[View]| index::index_select(self.gpu, v[0], v[1], axis);
        run(self.gpu, &[x, index], on_gpu, |v| CPU.index_select(v[0], v[1], axis))
    }

    fn index_add(&self, x: View, index: View, source: View, axis: usize) -> Result<Buffer> {
        let on_gpu = |v: &[View]| index::index_add(self.gpu, v[0], v[1], v[2], axis);
        run(self.gpu, &[x, index, source], on_gpu, |v| CPU.index_add(v[0], v[1], v[2], axis))
    }

    fn softmax(&self, x: View, axis: usize) -> Result<Buffer> {
        run(self.gpu, &[x], |v| rows::softmax(self.gpu, Softmax, v[0], axis), |v| CPU.softmax(v[0], axis))
    }

    fn softmax_grad(&self, y: View, dy: View, axis: usize) -> Result<Buffer> {
        let on_gpu = |v: &[View]| rows::softmax_grad(self.gpu, Softmax, v[0], v[1], axis);
        run(self.gpu, &[y, dy], on_gpu, |v| CPU.softmax_grad(v[0], v[1], axis))
    }

    fn log_softmax(&self, x: View, axis: usize) -> Result<Buffer> {
        run(self.gpu, &[x], |v| rows::softmax(self.gpu, LogSoftmax, v[0], axis), |v| CPU.log_softmax(v[0], axis))
    }

    fn log_softmax_grad(&self, y: View, dy: View, axis: usize) -> Result<Buffer> {
        let on_gpu = |v: &[View]| rows::softmax_grad(self.gpu, LogSoftmax, v[0], v[1], axis);
        run(self.gpu, &[y, dy], on_gpu, |v| CPU.log_softmax_grad(v[0], v[1], axis))
    }

    fn cross_entropy(&self, logits: View, labels: View) -> Result<Buffer> {
        let on_gpu = |v: &[View]| rows::cross_entropy(self.gpu, v[0], v[1]);
        run(self.gpu, &[logits, labels], on_gpu, |v| CPU.cross_entropy(v[0], v[1]))
    }

    fn cross_entropy_with_grad(&self, logits: View, labels: View) -> Result<(Buffer, Buffer)> {
        let on_gpu = |v: &[View]| rows::cross_entropy_with_grad(self.gpu, v[0], v[1]);
        run(self.gpu, &[logits, labels], on_gpu, |v| CPU.cross_entropy_with_grad(v[0], v[1]))
    }

    fn cross_entropy_grad(&self, logits: View, labels: View, dy: View) -> Result<Buffer> {
        let on_gpu = |v: &[View]| rows::cross_entropy_grad(self.gpu, v[0], v[1], v[2]);
        run(self.gpu, &[logits, labels, dy], on_gpu, |v| CPU.cross_entropy_grad(v[0], v[1], v[2]))
    }

    fn moments(&self, x: View, axis: usize) -> Result<(Buffer, Buffer)> {
        run(self.gpu, &[x], |v| norm::moments(self.gpu, v[0], axis), |v| CPU.moments(v[0], axis))
    }

    fn normalize(&self, x: View, axis: usize, how: &Normalize<'_>) -> Result<Buffer> {
        let on_gpu = |v: &[View]| norm::normalize(self.gpu, v[0], axis, &with(v, 1, how.epsilon));
        let views = [x, how.mean, how.variance, how.gamma, how.beta];
        run(self.gpu, &views, on_gpu, |v| CPU.normalize(v[0], axis, &with(v, 1, how.epsilon)))
    }

    fn normalize_grad_params(&self, x: View, dy: View, axis: usize, how: &Normalize<'_>) -> Result<(Buffer, Buffer)> {
        let on_gpu = |v: &[View]| norm::grad_params(self.gpu, v[0], v[1], axis, &with(v, 2, how.epsilon));
        let views = [x, dy, how.mean, how.variance, how.gamma, how.beta];
        run(self.gpu, &views, on_gpu, |v| CPU.normalize_grad_params(v[0], v[1], axis, &with(v, 2, how.epsilon)))
    }

    fn normalize_grad_input(
        &self,
        x: View,
        dy: View,
        axis: usize,
        how: &Normalize<'_>,
        params: Option<(&Buffer, &Buffer)>,
    ) -> Result<Buffer> {
        let features = Layout::contiguous(&[x.shape()[axis]]);
        let mut views = vec![x, dy, how.mean, how.variance, how.gamma, how.beta];
        if let Some((dgamma, dbeta)) = params {
            views.extend([dgamma, dbeta].map(|sum| View::new(sum, &features)));
        }
        let sums = |v: &[View<'_>]| params.map(|_| (6, 7)).filter(|_| v.len() == 8);
        let on_gpu = |v: &[View]| {
            let params = sums(v).map(|(dgamma, dbeta)| (v[dgamma].buffer, v[dbeta].buffer));
            norm::grad_input(self.gpu, v[0], v[1], axis, &with(v, 2, how.epsilon), params)
        };
        run(self.gpu, &views, on_gpu, |v| {
            let params = sums(v).map(|(dgamma, dbeta)| (v[dgamma].buffer, v[dbeta].buffer));
            CPU.normalize_grad_input(v[0], v[1], axis, &with(v, 2, how.epsilon), params)
        })
    }

    fn batch_norm(&self, x: View, axis: usize, gamma: View, beta: View, epsilon: f64) -> Result<[Buffer; 3]> {
        let (mean, variance) = self.moments(x, axis)?;
        let features = Layout::contiguous(&[x.shape()[axis]]);
        let (centre, spread) = (View::new(&mean, &features), View::new(&variance, &features));
        let y = self.normalize(x, axis, &Normalize { mean: centre, variance: spread, gamma, beta, epsilon })?;
        Ok([y, mean, variance])
    }

    fn batch_norm_grad(&self, x: View, dy: View, axis: usize, how: &Normalize<'_>) -> Result<[Buffer; 3]> {
        let (dgamma, dbeta) = self.normalize_grad_params(x, dy, axis, how)?;
        let dx = self.normalize_grad_input(x, dy, axis, how, Some((&dgamma, &dbeta)))?;
        Ok([dx, dgamma, dbeta])
    }

    fn layer_norm(&self, x: View, gamma: View, beta: View, epsilon: f64) -> Result<Buffer> {
        let on_gpu = |v: &[View]| norm::layer_norm(self.gpu, v[0], v[1], v[2], epsilon);
        run(self.gpu, &[x, gamma, beta], on_gpu, |v| CPU.layer_norm(v[0], v[1], v[2], epsilon))
    }

    fn update(&self, all: &mut [Moving<'_>]) -> Result<()> {
        all.iter_mut().try_for_each(|moving| {
            if update::update(self.gpu, moving)? {
                return Ok(());
            }
            self.update_on_host(moving)
        })
    }
}

impl Cuda {
    /// Moves weights of a type that the kernels do not take.
    fn update_on_host(&self, moving: &mut Moving<'_>) -> Result<()> {
        self.gpu.computed_on_host();
        let mut weights = self.download(moving.weights)?;
        let gradient = bring(self.gpu, moving.gradient)?;
        let layout = Layout::contiguous(moving.gradient.shape());
        let states = moving.states.iter().map(|state| state.as_ref().map(|state| self.download(state)).transpose());
        let mut states = states.collect::<Result<Vec<_>>>()?.into_iter();
        let mut states: [Option<Buffer>; 3] = std::array::from_fn(|_| states.next().flatten());
        let [a, b, c] = &mut states;
        let here = Moving {
            weights: &mut weights,
            gradient: View::new(&gradient, &layout),
            states: [a.as_mut(), b.as_mut(), c.as_mut()],
            adjust: moving.adjust,
            rule: moving.rule,
        };
        CPU.update(&mut [here])?;
        *moving.weights = self.gpu.upload(&weights)?;
        for (to, from) in moving.states.iter_mut().zip(&states) {
            if let (Some(to), Some(from)) = (to, from) {
                **to = self.gpu.upload(from)?;
            }
        }
        Ok(())
    }
}

/// What a normalisation takes features to, from the four views that begin at `first`.
fn with<'a>(views: &[View<'a>], first: usize, epsilon: f64) -> Normalize<'a> {
    let [mean, variance, gamma, beta] = std::array::from_fn(|i| views[first + i]);
    Normalize { mean, variance, gamma, beta, epsilon }
}
