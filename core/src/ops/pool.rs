//! Pools over images `[n, h, w, channels]`, padding and enlarging them.

use std::sync::{Arc, OnceLock};

use gradus_kernels::Window;

use super::conv::fit;
use crate::grad::{Grads, Op, Saved, apply};
use crate::{Error, Result, Tensor};

impl Tensor {
    /// The largest element of each window of `size`, channel by channel; padding counts as nothing. A NaN wins over all
    /// numbers. The gradient goes to the first of equals.
    pub fn max_pool2d(&self, size: [usize; 2], window: &Window) -> Result<Tensor> {
        let pool = Pool::new("max_pool2d", self, size, window)?;
        apply(MaxPool { pool, places: Arc::default() }, &[self])
    }

    /// The mean of each window of `size`, channel by channel. With `count_padding`, zeros of the padding are averaged too.
    pub fn avg_pool2d(&self, size: [usize; 2], window: &Window, count_padding: bool) -> Result<Tensor> {
        let pool = Pool::new("avg_pool2d", self, size, window)?;
        apply(AvgPool { pool, count_padding }, &[self])
    }

    /// Means over parts of images so that `output` of them are left along height and width: part `i` of `o` goes from
    /// `floor(i * size / o)` to `ceil((i + 1) * size / o)`, as PyTorch has it.
    pub fn adaptive_avg_pool2d(&self, output: [usize; 2]) -> Result<Tensor> {
        images("adaptive_avg_pool2d", self)?;
        output.iter().zip([1, 2]).try_fold(self.clone(), |x, (&parts, axis)| {
            let size = x.size(axis)?;
            if parts == 0 || size == 0 {
                let what = format!("{parts} parts of dimension {axis} of {:?} cannot be averaged", self.shape());
                return Err(Error::argument("adaptive_avg_pool2d", what));
            }
            let part = |i: usize| x.slice(axis, i * size / parts, ((i + 1) * size).div_ceil(parts));
            let means = (0..parts).map(|i| part(i)?.mean_keepdim(&[axis])).collect::<Result<Vec<_>>>()?;
            Tensor::cat(&means.iter().collect::<Vec<_>>(), axis)
        })
    }

    /// Zeros around images: `padding` before and after, along height and width.
    pub fn pad2d(&self, padding: [[usize; 2]; 2]) -> Result<Tensor> {
        images("pad2d", self)?;
        let [[top, bottom], [left, right]] = padding;
        let grown = |size: usize, before: usize, after: usize| size.checked_add(before)?.checked_add(after);
        let sizes = (grown(self.shape()[1], top, bottom), grown(self.shape()[2], left, right));
        let (Some(height), Some(width)) = sizes else {
            return Err(Error::argument("pad2d", format!("{padding:?} is more than memory can hold")));
        };
        crate::tensor::element_count("pad2d", &[self.shape()[0], height, width, self.shape()[3]])?;
        let vertical = if top + bottom > 0 { self.pad(1, top, bottom)? } else { self.clone() };
        if left + right > 0 { vertical.pad(2, left, right) } else { Ok(vertical) }
    }

    /// Each pixel of images repeated `scale` times along height and width.
    pub fn upsample_nearest2d(&self, scale: [usize; 2]) -> Result<Tensor> {
        images("upsample_nearest2d", self)?;
        self.repeat_interleave(1, scale[0])?.repeat_interleave(2, scale[1])
    }

    /// Images of another size, linear between the pixels' centres (not between corners): PyTorch's `bilinear` without
    /// `align_corners`, TensorFlow's without antialiasing.
    pub fn upsample_bilinear2d(&self, output: [usize; 2]) -> Result<Tensor> {
        images("upsample_bilinear2d", self)?;
        let &[n, h, w, c] = self.shape() else { unreachable!("images have four dimensions") };
        if h == 0 || w == 0 {
            let what = format!("{:?} has no pixels to take values from", self.shape());
            return Err(Error::argument("upsample_bilinear2d", what));
        }
        crate::tensor::element_count("upsample_bilinear2d", &[n, output[0], output[1], c])?;
        let mix = |from, to| between(from, to)?.to_dtype(self.dtype())?.to_device(self.device());
        let tall = mix(h, output[0])?.matmul(&self.reshape(&[n, h, w * c])?)?;
        let wide = mix(w, output[1])?.matmul(&tall.reshape(&[n * output[0], w, c])?)?;
        wide.reshape(&[n, output[0], output[1], c])
    }
}

/// The matrix that takes `from` values to `to` by linear interpolation between centres.
fn between(from: usize, to: usize) -> Result<Tensor> {
    let mut weights = vec![0.0; crate::tensor::element_count("upsample_bilinear2d", &[from, to])?];
    for (i, row) in weights.chunks_mut(from).enumerate() {
        let centre = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
        let (below, share) = ((centre as usize).min(from - 1), centre.fract());
        row[below] += 1.0 - share;
        row[(below + 1).min(from - 1)] += share;
    }
    Tensor::from_slice(&weights, &[to, from])
}

fn images(op: &'static str, x: &Tensor) -> Result<()> {
    match x.rank() == 4 && x.dtype().is_float() {
        true => Ok(()),
        false => {
            let what = format!("images [n, h, w, channels] of floats are needed, not {} {:?}", x.dtype(), x.shape());
            Err(Error::shape(op, what))
        }
    }
}

/// What both pools know of their sizes.
#[derive(Clone, Copy, Debug)]
struct Pool {
    size: [usize; 2],
    window: Window,
    input: [usize; 2],
    /// The shape of the result.
    output: [usize; 4],
}

impl Pool {
    fn new(op: &'static str, x: &Tensor, size: [usize; 2], window: &Window) -> Result<Self> {
        images(op, x)?;
        let &[n, h, w, c] = x.shape() else { unreachable!("images have four dimensions") };
        let input = [h, w];
        let [oh, ow] = fit(op, window, input, size)?;
        crate::tensor::element_count(op, &[n, oh, ow, c])?;
        let axes = window.axes(input, size).into_iter().flatten();
        // The places of elements are kept as `i32`.
        let countable = h.checked_mul(w).is_some_and(|pixels| i32::try_from(pixels).is_ok());
        if !countable || axes.into_iter().any(|axis| (0..axis.output).any(|o| axis.taps(o).next().is_none())) {
            let what = match countable {
                true => format!("with padding {:?} a window of {size:?} can hold nothing but padding", window.padding),
                false => format!("images of {h} x {w} have too many pixels"),
            };
            return Err(Error::argument(op, what));
        }
        Ok(Self { size, window: *window, input, output: [n, oh, ow, c] })
    }

    /// The shape of what is pooled.
    fn shape(&self) -> [usize; 4] {
        let ([n, .., c], [h, w]) = (self.output, self.input);
        [n, h, w, c]
    }
}

#[derive(Debug)]
struct MaxPool {
    pool: Pool,
    /// Where the largest elements stand, once the op has run.
    places: Arc<OnceLock<Tensor>>,
}

impl Op for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let x = inputs[0];
        let (y, places) = x.backend().max_pool2d(x.view(), self.pool.size, &self.pool.window)?;
        self.places.get_or_init(|| Tensor::from_buffer(places, &self.pool.output, x.device()).expect("one for each"));
        x.computed(y, &self.pool.output)
    }

    fn backward(&self, _: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let places = self.places.get().expect("the op has run").clone();
        grads.wrt(0, || apply(MaxPoolGrad { pool: self.pool, places }, &[dy]))
    }
}

/// Puts each element where the largest of its window stood. Its gradient reads there.
#[derive(Debug)]
struct MaxPoolGrad {
    pool: Pool,
    places: Tensor,
}

impl Op for MaxPoolGrad {
    fn name(&self) -> &'static str {
        "max_pool2d_grad"
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let (dy, Pool { size, window, input, .. }) = (inputs[0], &self.pool);
        let dx = dy.backend().max_pool2d_grad(dy.view(), self.places.view(), *input, *size, window)?;
        dy.computed(dx, &self.pool.shape())
    }

    fn backward(&self, _: &Saved<'_>, dx: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let ([n, oh, ow, c], [h, w]) = (self.pool.output, self.pool.input);
        grads.wrt(0, || {
            let places = self.places.reshape(&[n, oh * ow, c])?;
            dx.reshape(&[n, h * w, c])?.gather(&places, 1)?.reshape(&self.pool.output)
        })
    }
}

/// A mean over windows: linear, so that it and its gradient are each other's gradients.
#[derive(Debug)]
struct AvgPool {
    pool: Pool,
    count_padding: bool,
}

impl Op for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let (x, Pool { size, window, output, .. }) = (inputs[0], &self.pool);
        x.computed(x.backend().avg_pool2d(x.view(), *size, window, self.count_padding)?, output)
    }

    fn backward(&self, _: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        grads.wrt(0, || apply(AvgPoolGrad { pool: self.pool, count_padding: self.count_padding }, &[dy]))
    }
}

#[derive(Debug)]
struct AvgPoolGrad {
    pool: Pool,
    count_padding: bool,
}

impl Op for AvgPoolGrad {
    fn name(&self) -> &'static str {
        "avg_pool2d_grad"
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let (dy, Pool { size, window, input, .. }) = (inputs[0], &self.pool);
        let dx = dy.backend().avg_pool2d_grad(dy.view(), *input, *size, window, self.count_padding)?;
        dy.computed(dx, &self.pool.shape())
    }

    fn backward(&self, _: &Saved<'_>, dx: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        grads.wrt(0, || apply(AvgPool { pool: self.pool, count_padding: self.count_padding }, &[dx]))
    }
}
