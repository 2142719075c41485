//! Convolution of images `[n, h, w, channels]`.
//!
//! Convolution, its gradient with respect to the images and its gradient with respect to the weights are three functions of
//! two arguments each, linear in both, and the gradients of each are the other two. So three ops and no formula give
//! gradients of every order; the second of them is also the transposed convolution. Gradients that nobody will differentiate
//! again are computed by one kernel, which reads what they have in common once.

use gradus_kernels::layout::Dims;
use gradus_kernels::{Unary, Window};

use super::cast::apply_to_same;
use super::unary::{finished, tells_slope, through};
use crate::grad::{Grads, Op, Saved, Saves, apply, is_recording};
use crate::{Error, Result, Tensor};

impl Tensor {
    /// The convolution (cross-correlation, as networks have it) of images `[n, h, w, c]` with weights
    /// `[kh, kw, c / groups, o]`, plus a bias `[o]`: `[n, oh, ow, o]`.
    ///
    /// `window` holds stride, dilation and padding. With `groups`, the channels of input and result are cut into as many
    /// equal parts, each of which is made of its own part; as many groups as channels are a depthwise convolution.
    pub fn conv2d(&self, w: &Tensor, bias: Option<&Tensor>, window: &Window, groups: usize) -> Result<Tensor> {
        self.conv2d_activated(w, bias, window, groups, None)
    }

    /// [`Tensor::conv2d`] put through an activation, in one pass where the activation tells its slope from its value.
    pub fn conv2d_activated(
        &self,
        w: &Tensor,
        bias: Option<&Tensor>,
        window: &Window,
        groups: usize,
        activation: Option<Unary>,
    ) -> Result<Tensor> {
        // Where nothing is recorded, no gradient will ask for the slope.
        let tracked = |x: Option<&Tensor>| x.is_some_and(Tensor::is_tracked);
        let recorded = is_recording() && (tracked(Some(self)) || tracked(Some(w)) || tracked(bias));
        let (fused, after) = match activation {
            Some(f) if recorded && !tells_slope(f) => (None, Some(f)),
            other => (other, None),
        };
        let op = Conv2d { window: *window, groups, bias: bias.is_some(), activation: fused };
        let y = match bias {
            Some(bias) => apply_to_same(op, [self, w, bias])?,
            None => apply_to_same(op, [self, w])?,
        };
        finished(y, after)
    }

    /// The transposed convolution of images `[n, h, w, o]` with weights `[kh, kw, c / groups, o]`: what [`Tensor::conv2d`]
    /// with these weights makes gradients of, `[n, height, width, c]`.
    ///
    /// Several sizes may be made to `h` by `w` by the convolution; without `output` the result has the smallest.
    pub fn conv2d_transpose(
        &self,
        w: &Tensor,
        window: &Window,
        groups: usize,
        output: Option<[usize; 2]>,
    ) -> Result<Tensor> {
        let (&[_, h, width, _], &[kh, kw, ..]) = (self.shape(), w.shape()) else {
            return Err(Error::shape("conv2d_transpose", needed([self, w])));
        };
        let smallest = |i: usize, size: usize, kernel: usize| {
            let span = kernel.checked_sub(1)?.checked_mul(window.dilation[i])?.checked_add(1)?;
            let reach = size.checked_sub(1)?.checked_mul(window.stride[i])?.checked_add(span)?;
            reach.checked_sub(window.padding[i][0])?.checked_sub(window.padding[i][1])
        };
        let input = output.or_else(|| Some([smallest(0, h, kh)?, smallest(1, width, kw)?])).ok_or_else(|| {
            let what = format!("nothing is left of {:?} without the padding of {window:?}", self.shape());
            Error::shape("conv2d_transpose", what)
        })?;
        apply_to_same(Conv2dInput { window: *window, groups, input }, [self, w])
    }

    /// [`Tensor::conv2d`] along one dimension: `[n, length, c]` with weights `[k, c / groups, o]` and the window's second
    /// dimension.
    pub fn conv1d(&self, w: &Tensor, bias: Option<&Tensor>, window: &Window, groups: usize) -> Result<Tensor> {
        if self.rank() != 3 || w.rank() != 3 {
            let what =
                format!("input [n, length, c] and weights [k, c / groups, o] are needed, not {}", show(&[self, w]));
            return Err(Error::shape("conv1d", what));
        }
        let along = |[_, second]: [usize; 2], first| [first, second];
        let window = Window {
            stride: along(window.stride, 1),
            dilation: along(window.dilation, 1),
            padding: [[0; 2], window.padding[1]],
        };
        self.unsqueeze(1)?.conv2d(&w.unsqueeze(0)?, bias, &window, groups)?.squeeze(1)
    }
}

fn show(tensors: &[&Tensor]) -> String {
    let all: Vec<String> = tensors.iter().map(|x| format!("{} {:?} on {}", x.dtype(), x.shape(), x.device())).collect();
    all.join(", ")
}

fn needed(tensors: [&Tensor; 2]) -> String {
    format!("images [n, h, w, channels] and weights [kh, kw, c / groups, o] are needed, not {}", show(&tensors))
}

/// What is asked of a convolution, for messages and checks.
struct Asked<'a> {
    op: &'static str,
    window: &'a Window,
    groups: usize,
    /// Height, width and channels of the images that are convolved, where they are known.
    input: [usize; 2],
    channels: Option<usize>,
    kernel: [usize; 2],
    /// The channels that a filter sees, where the weights are given.
    depth: Option<usize>,
    filters: usize,
}

impl Asked<'_> {
    /// Height and width of the result, or what is wrong.
    fn output(&self) -> Result<[usize; 2]> {
        let Asked { op, window, groups, input, kernel, filters, .. } = *self;
        if groups == 0 || !filters.is_multiple_of(groups) || self.channels.is_some_and(|c| !c.is_multiple_of(groups)) {
            let of = self.channels.map_or(String::new(), |c| format!("{c} channels and "));
            let what = format!("{groups} groups do not divide {of}{filters} filters into equal parts");
            return Err(Error::argument(op, what));
        }
        if let (Some(channels), Some(depth)) = (self.channels, self.depth)
            && channels / groups != depth
        {
            let what = format!(
                "images of {channels} channels in {groups} groups need weights [.., {}, o], not [{}, {}, {depth}, {filters}]",
                channels / groups,
                kernel[0],
                kernel[1],
            );
            return Err(Error::shape(op, what));
        }
        fit(op, window, input, kernel)
    }
}

/// Height and width of what a window makes of images, or an error that says why there are none.
pub(super) fn fit(op: &'static str, window: &Window, input: [usize; 2], kernel: [usize; 2]) -> Result<[usize; 2]> {
    if window.stride.contains(&0) || window.dilation.contains(&0) {
        let what = format!("stride {:?} and dilation {:?} must be at least 1", window.stride, window.dilation);
        return Err(Error::argument(op, what));
    }
    if kernel.contains(&0) {
        return Err(Error::argument(op, format!("a kernel of {} x {} has no taps", kernel[0], kernel[1])));
    }
    window.output(input, kernel).ok_or_else(|| {
        let [[top, bottom], [left, right]] = window.padding;
        let what = format!(
            "a kernel of {} x {} with dilation {:?} is larger than images of {} x {} with padding [{top}, {bottom}], [{left}, {right}]; \
             use a smaller kernel or more padding",
            kernel[0], kernel[1], window.dilation, input[0], input[1],
        );
        Error::shape(op, what)
    })
}

fn check(op: &'static str, inputs: &[&Tensor], fits: bool, needs: &str) -> Result<()> {
    let alike = inputs.iter().all(|x| x.device() == inputs[0].device() && x.dtype() == inputs[0].dtype());
    match fits && alike && inputs[0].dtype().is_float() {
        true => Ok(()),
        false => Err(Error::shape(op, format!("{needs} of floats on one device are needed, not {}", show(inputs)))),
    }
}

#[derive(Debug)]
struct Conv2d {
    window: Window,
    groups: usize,
    bias: bool,
    activation: Option<Unary>,
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn saves(&self) -> Saves {
        if self.activation.is_some() { Saves::BOTH } else { Saves::INPUTS }
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let (x, w, bias) = (inputs[0], inputs[1], inputs.get(2));
        let fits = x.rank() == 4 && w.rank() == 4 && bias.is_none_or(|bias| bias.shape() == &w.shape()[3..]);
        check("conv2d", inputs, fits, "images [n, h, w, c], weights [kh, kw, c / groups, o] and a bias [o]")?;
        let asked = Asked {
            op: "conv2d",
            window: &self.window,
            groups: self.groups,
            input: [x.shape()[1], x.shape()[2]],
            channels: Some(x.shape()[3]),
            kernel: [w.shape()[0], w.shape()[1]],
            depth: Some(w.shape()[2]),
            filters: w.shape()[3],
        };
        let [oh, ow] = asked.output()?;
        let shape = [x.shape()[0], oh, ow, w.shape()[3]];
        crate::tensor::element_count("conv2d", &shape)?;
        let bias = bias.map(|bias| bias.view());
        let y = x.backend().conv2d(x.view(), w.view(), bias, self.activation, &self.window, self.groups)?;
        x.computed(y, &shape)
    }

    fn backward(&self, saved: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let [x, w] = match self.bias {
            true => saved.inputs::<3>().map(|[x, w, _]| [x, w])?,
            false => saved.inputs()?,
        };
        let (dz, db) = match self.activation {
            None => (dy.clone(), None),
            Some(f) => through(f, saved, dy)?,
        };
        let (window, groups) = (self.window, self.groups);
        if is_recording() {
            let (input, kernel) = ([x.shape()[1], x.shape()[2]], [w.shape()[0], w.shape()[1]]);
            grads.wrt(0, || apply(Conv2dInput { window, groups, input }, &[&dz, w]))?;
            grads.wrt(1, || apply(Conv2dWeight { window, groups, kernel }, &[x, &dz]))?;
            return if self.bias { grads.wrt(2, || dz.sum(&[0, 1, 2])) } else { Ok(()) };
        }
        // Nobody will differentiate these, so that one kernel may compute them all.
        let wanted = [grads.wants(0), grads.wants(1), self.bias && db.is_none() && grads.wants(2)];
        let [dx, dw, sum] = x.backend().conv2d_grads([x.view(), w.view(), dz.view()], wanted, &window, groups)?;
        for (i, gradient, shape) in [(0, dx, x.shape()), (1, dw, w.shape()), (2, sum, &w.shape()[3..])] {
            if let Some(gradient) = gradient {
                grads.wrt(i, || x.computed(gradient, shape))?;
            }
        }
        db.map_or(Ok(()), |db| grads.wrt(2, || Ok(db)))
    }
}

/// The gradient of [`Conv2d`] with respect to its images, from that of its result and the weights.
#[derive(Debug)]
struct Conv2dInput {
    window: Window,
    groups: usize,
    /// Height and width of the images.
    input: [usize; 2],
}

impl Op for Conv2dInput {
    fn name(&self) -> &'static str {
        "conv2d_transpose"
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let [dy, w] = inputs else { unreachable!("every use passes two inputs") };
        let op = "conv2d_transpose";
        let fits = dy.rank() == 4 && w.rank() == 4 && dy.shape()[3] == w.shape()[3];
        check(op, inputs, fits, "images [n, h, w, o] and weights [kh, kw, c / groups, o]")?;
        let asked = Asked {
            op,
            window: &self.window,
            groups: self.groups,
            input: self.input,
            channels: None,
            kernel: [w.shape()[0], w.shape()[1]],
            depth: None,
            filters: w.shape()[3],
        };
        let output = asked.output()?;
        let [height, width] = self.input;
        if output != dy.shape()[1..3] {
            let what =
                format!("a convolution of {height} x {width} makes {output:?} of it, not {:?}", &dy.shape()[1..3]);
            return Err(Error::shape(op, format!("{what}; give another output size")));
        }
        let channels = w.shape()[2].saturating_mul(self.groups);
        let shape: Dims = [dy.shape()[0], height, width, channels].into_iter().collect();
        crate::tensor::element_count(op, &shape)?;
        let dx = dy.backend().conv2d_grad_input(dy.view(), w.view(), self.input, &self.window, self.groups)?;
        dy.computed(dx, &shape)
    }

    fn backward(&self, saved: &Saved<'_>, dx: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let [dy, w] = saved.inputs()?;
        let (window, groups) = (self.window, self.groups);
        grads.wrt(0, || dx.conv2d(w, None, &window, groups))?;
        grads.wrt(1, || apply(Conv2dWeight { window, groups, kernel: [w.shape()[0], w.shape()[1]] }, &[dx, dy]))
    }
}

/// The gradient of [`Conv2d`] with respect to its weights, from its images and the gradient of its result.
#[derive(Debug)]
struct Conv2dWeight {
    window: Window,
    groups: usize,
    /// Height and width of the weights.
    kernel: [usize; 2],
}

impl Op for Conv2dWeight {
    fn name(&self) -> &'static str {
        "conv2d_grad_weight"
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let [x, dy] = inputs else { unreachable!("every use passes two inputs") };
        let dw = x.backend().conv2d_grad_weight(x.view(), dy.view(), self.kernel, &self.window, self.groups)?;
        let [kh, kw] = self.kernel;
        x.computed(dw, &[kh, kw, x.shape()[3] / self.groups, dy.shape()[3]])
    }

    fn backward(&self, saved: &Saved<'_>, dw: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        let [x, dy] = saved.inputs()?;
        let (window, groups, input) = (self.window, self.groups, [x.shape()[1], x.shape()[2]]);
        grads.wrt(0, || apply(Conv2dInput { window, groups, input }, &[dy, dw]))?;
        grads.wrt(1, || x.conv2d(dw, None, &window, groups))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Device, grad};

    fn zeros(shape: &[usize]) -> Tensor {
        Tensor::zeros(shape, DType::F32, Device::CPU).unwrap()
    }

    /// Gradients of one kernel, and gradients by one op each, which can be differentiated again.
    #[test]
    fn gradients_together_and_one_by_one_are_equal_to_rounding() {
        let numbers = |shape: &[usize]| {
            let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (i * 37 % 101) as f32 / 101.0).collect();
            Tensor::from_slice(&values, shape).unwrap().requires_grad()
        };
        for (channels, groups) in [(5, 1), (64, 64)] {
            let window = Window::valid().padded([[1; 2]; 2]);
            let shapes: [&[usize]; 3] = [&[9, 22, 23, channels], &[3, 3, channels / groups, 64], &[64]];
            let leaves = shapes.map(numbers);
            let [x, w, b] = &leaves;
            let y = x.conv2d(w, Some(b), &window, groups).unwrap();
            let loss = (&y * &y).sum(&[]).unwrap();
            let of = |create_graph| grad(&[&loss], &[x, w, b], create_graph).unwrap();
            for (together, alone) in of(false).iter().zip(&of(true)) {
                let [together, alone] = [together, alone].map(|x| x.to_f64_vec().unwrap());
                let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-5 * b.abs() + 1e-6;
                assert!(together.iter().zip(&alone).all(near), "{groups} groups");
            }
        }
    }

    /// The example of every course: a 5 x 5 image of ones and zeros, and a filter that looks for a cross.
    #[test]
    fn a_filter_finds_its_picture() {
        let image = [1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0].map(|x| x as f32);
        let cross = [1, 0, 1, 0, 1, 0, 1, 0, 1].map(|x| x as f32);
        let (x, w) = (Tensor::from_slice(&image, &[1, 5, 5, 1]), Tensor::from_slice(&cross, &[3, 3, 1, 1]));
        let y = x.unwrap().conv2d(&w.unwrap(), None, &Window::valid(), 1).unwrap();
        assert_eq!(y.shape(), [1, 3, 3, 1]);
        assert_eq!(y.to_f64_vec().unwrap(), [4.0, 3.0, 4.0, 2.0, 4.0, 3.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn transposed_convolutions_have_the_smallest_size_or_the_one_asked_for() {
        let (x, w) = (zeros(&[1, 3, 3, 4]), zeros(&[3, 3, 2, 4]));
        let window = Window::valid().strided([2; 2]).padded([[1; 2]; 2]);
        assert_eq!(x.conv2d_transpose(&w, &window, 1, None).unwrap().shape(), [1, 5, 5, 2]);
        assert_eq!(x.conv2d_transpose(&w, &window, 2, Some([6, 5])).unwrap().shape(), [1, 6, 5, 4]);
        let error = x.conv2d_transpose(&w, &window, 1, Some([9, 5])).unwrap_err().to_string();
        assert!(error.contains("makes [5, 3] of it, not [3, 3]; give another output size"), "{error}");
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_sizes() {
        let (x, w, valid) = (zeros(&[2, 5, 4, 6]), zeros(&[3, 3, 6, 8]), Window::valid());
        let error = |x: &Tensor, w: &Tensor, window: &Window, groups| {
            x.conv2d(w, None, window, groups).unwrap_err().to_string()
        };
        let all = [
            (error(&x, &zeros(&[3, 5, 6, 8]), &valid, 1), "3 x 5 with dilation [1, 1] is larger than images of 5 x 4"),
            (error(&x, &w, &valid.strided([0, 1]), 1), "stride [0, 1] and dilation [1, 1] must be at least 1"),
            (error(&x, &w, &valid.dilated([1, 0]), 1), "must be at least 1"),
            (error(&x, &zeros(&[0, 3, 6, 8]), &valid, 1), "a kernel of 0 x 3 has no taps"),
            (error(&x, &w, &valid, 0), "0 groups do not divide 6 channels and 8 filters"),
            (error(&x, &w, &valid, 4), "4 groups do not divide 6 channels and 8 filters"),
            (error(&x, &w, &valid, 2), "images of 6 channels in 2 groups need weights [.., 3, o], not [3, 3, 6, 8]"),
            (error(&zeros(&[2, 5, 6]), &w, &valid, 1), "not f32 [2, 5, 6] on cpu"),
            (x.conv2d(&w, Some(&zeros(&[7])), &valid, 1).unwrap_err().to_string(), "f32 [7] on cpu"),
            (x.conv1d(&w, None, &valid, 1).unwrap_err().to_string(), "input [n, length, c]"),
            (x.conv2d_transpose(&w, &valid, 1, None).unwrap_err().to_string(), "weights [kh, kw, c / groups, o]"),
            (x.max_pool2d([6, 2], &valid).unwrap_err().to_string(), "max_pool2d: a kernel of 6 x 2"),
            (x.max_pool2d([2; 2], &valid.padded([[2; 2]; 2])).unwrap_err().to_string(), "nothing but padding"),
            (x.avg_pool2d([2; 2], &valid.strided([0; 2]), true).unwrap_err().to_string(), "avg_pool2d: stride [0, 0]"),
            (x.pad2d([[usize::MAX, 1], [0, 0]]).unwrap_err().to_string(), "pad2d"),
            (x.adaptive_avg_pool2d([0, 1]).unwrap_err().to_string(), "0 parts of dimension 1"),
        ];
        for (error, text) in all {
            assert!(error.contains(text), "{error}\n  lacks {text:?}");
        }
    }
}
