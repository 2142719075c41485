//! Convolutions that look at each channel by itself.

use gradus_core::kernels::Unary;
use gradus_core::{RandomKey, Tensor};

use super::convolution::{Filters, check_channels};
use super::window::image;
use super::{ConvOptions, Sliding};
use crate::init::Fans;
use crate::{Ctx, Error, Module, Param, Result};

/// Filters that see one channel each, `multiplier` of them a channel. The kernel is `[height, width, channels, multiplier]`, as in
/// Keras; the results of one channel lie side by side.
#[derive(Debug)]
pub struct DepthwiseConv2d {
    filters: Filters,
    sliding: Sliding,
}

impl DepthwiseConv2d {
    /// A layer for images of so many channels, with `options.filters` filters for each. `key` is the layer's.
    pub fn new(channels: usize, options: &ConvOptions, key: RandomKey) -> Result<Self> {
        let (multiplier, [height, width]) = (options.filters, options.sliding.size);
        let filters = checked_product("depthwise_conv2d", channels, multiplier)?;
        let kernel = [height, width, channels, multiplier];
        Ok(Self { filters: Filters::new(&kernel, filters, options, key)?, sliding: options.sliding })
    }
}

impl Module for DepthwiseConv2d {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        let [height, width, channels] = image("depthwise_conv2d", x.shape().get(1..).unwrap_or_default())?;
        let kernel = channelwise(&self.filters.kernel.value())?;
        let (bias, window) = (self.filters.bias.as_ref().map(Param::value), self.sliding.on([height, width]));
        let sums = |function| Ok(x.conv2d_activated(&kernel, bias.as_ref(), &window, channels, function)?);
        self.filters.activation.finish(sums)
    }

    fn forward_scaled(
        &self,
        x: &Tensor,
        ctx: &Ctx,
        next: &dyn Module,
        function: Option<Unary>,
    ) -> Result<Option<Tensor>> {
        let [height, width, channels] = image("depthwise_conv2d", x.shape().get(1..).unwrap_or_default())?;
        let kernel = channelwise(&self.filters.kernel.value())?;
        let scaled = self.filters.scaled(x, &kernel, next, ctx)?;
        let Some([kernel, bias]) = scaled else { return Ok(None) };
        let window = self.sliding.on([height, width]);
        Ok(Some(x.conv2d_activated(&kernel, Some(&bias), &window, channels, function)?))
    }

    fn params(&self, visit: &mut dyn FnMut(&str, &Param)) {
        self.filters.params(visit);
    }

    fn multiply_adds(&self, input: &[usize]) -> usize {
        let places = self.output_shape(input).map_or(0, |shape| shape[0] * shape[1]);
        places * self.filters.kernel.len()
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let [height, width, channels] = image("depthwise_conv2d", input)?;
        let [_, _, depth, multiplier] = self.filters.kernel.shape()[..] else {
            unreachable!("made with four dimensions")
        };
        check_channels("depthwise_conv2d", channels, depth)?;
        let [down, across] = self.sliding.places("depthwise_conv2d", [height, width])?;
        Ok(vec![down, across, depth * multiplier])
    }
}

/// A depthwise convolution and then one of 1 x 1, with the bias and the activation after both: a [`Conv2d`](super::Conv2d) in two
/// cheap steps (Chollet 2017).
#[derive(Debug)]
pub struct SeparableConv2d {
    depthwise: Param,
    /// Of 1 x 1; what comes after belongs to it.
    pointwise: Filters,
    sliding: Sliding,
}

impl SeparableConv2d {
    /// A layer for images of so many channels, each of which is seen by `multiplier` depthwise filters. `key` is the layer's.
    pub fn new(channels: usize, multiplier: usize, options: &ConvOptions, key: RandomKey) -> Result<Self> {
        let [height, width] = options.sliding.size;
        let between = checked_product("separable_conv2d", channels, multiplier)?;
        checked_product("separable_conv2d", channels, options.filters)?;
        let shape = [height, width, channels, multiplier];
        let depthwise = options.kernel_init.sample(&shape, Fans::of(&shape), key.named("depthwise_kernel"))?;
        Ok(Self {
            depthwise: Param::weight("depthwise_kernel", depthwise),
            pointwise: Filters::new(
                &[1, 1, between, options.filters],
                options.filters,
                options,
                key.named("pointwise"),
            )?,
            sliding: options.sliding,
        })
    }
}

impl Module for SeparableConv2d {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        let [height, width, channels] = image("separable_conv2d", x.shape().get(1..).unwrap_or_default())?;
        let window = self.sliding.on([height, width]);
        let between = x.conv2d(&channelwise(&self.depthwise.value())?, None, &window, channels)?;
        let (kernel, bias) = (self.pointwise.kernel.value(), self.pointwise.bias.as_ref().map(Param::value));
        let single = gradus_core::Window::valid();
        let sums = |function| Ok(between.conv2d_activated(&kernel, bias.as_ref(), &single, 1, function)?);
        self.pointwise.activation.finish(sums)
    }

    fn params(&self, visit: &mut dyn FnMut(&str, &Param)) {
        visit("depthwise_kernel", &self.depthwise);
        self.pointwise
            .params(&mut |name, param| visit(if name == "kernel" { "pointwise_kernel" } else { name }, param));
    }

    fn multiply_adds(&self, input: &[usize]) -> usize {
        let places = self.output_shape(input).map_or(0, |shape| shape[0] * shape[1]);
        places * (self.depthwise.len() + self.pointwise.kernel.len())
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let [height, width, channels] = image("separable_conv2d", input)?;
        check_channels("separable_conv2d", channels, self.depthwise.shape()[2])?;
        let [down, across] = self.sliding.places("separable_conv2d", [height, width])?;
        Ok(vec![down, across, self.pointwise.kernel.shape()[3]])
    }
}

/// `[height, width, channels, multiplier]` as the weights of a convolution with as many groups as channels: the same numbers.
fn channelwise(kernel: &Tensor) -> Result<Tensor> {
    let &[height, width, channels, multiplier] = kernel.shape() else { unreachable!("made with four dimensions") };
    Ok(kernel.reshape(&[height, width, 1, channels * multiplier])?)
}

fn checked_product(layer: &str, channels: usize, filters: usize) -> Result<usize> {
    match channels.checked_mul(filters) {
        Some(product) if product > 0 => Ok(product),
        _ => Err(Error::Config(format!("{layer}: {filters} filters for {channels} channels are not possible"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::{check_layer, random};
    use crate::layers::{Activation, Padding};

    const KEY: RandomKey = RandomKey::new(1);

    fn options(filters: usize) -> ConvOptions {
        let sliding = Sliding { stride: [2, 1], padding: Padding::Same, ..Sliding::new([3, 2]) };
        ConvOptions { sliding, activation: Activation::Tanh, ..ConvOptions::torch(filters, [3, 2]) }
    }

    #[test]
    fn each_channel_is_convolved_by_itself() {
        let layer = DepthwiseConv2d::new(3, &options(2), KEY).unwrap();
        layer.params(&mut |_, param| param.to_dtype(gradus_core::DType::F64).unwrap());
        let x = random(&[2, 4, 5, 3], 1);
        let y = layer.forward(&x, &Ctx::eval()).unwrap();
        assert_eq!(&y.shape()[1..], layer.output_shape(&[4, 5, 3]).unwrap());
        // Another first channel changes the first two results alone.
        let other = Tensor::cat(&[&random(&[2, 4, 5, 1], 9), &x.slice(3, 1, 3).unwrap()], 3).unwrap();
        let change = layer.forward(&other, &Ctx::eval()).unwrap().sub(&y).unwrap().abs().unwrap();
        let of_channel: Vec<f64> = change.sum(&[0, 1, 2]).unwrap().to_vec().unwrap();
        assert!(of_channel[0] > 0.1 && of_channel[1] > 0.1 && of_channel[2..] == [0.0; 4], "{of_channel:?}");
    }

    #[test]
    fn shapes_costs_and_names() {
        let layer = SeparableConv2d::new(3, 2, &options(8), KEY).unwrap();
        assert_eq!(layer.output_shape(&[4, 5, 3]).unwrap(), [2, 5, 8]);
        assert_eq!(layer.multiply_adds(&[4, 5, 3]), 10 * (6 * 6 + 6 * 8));
        let mut names = Vec::new();
        layer.params(&mut |name, param| names.push((name.to_owned(), param.shape().to_vec())));
        assert_eq!(names[0], ("depthwise_kernel".into(), vec![3, 2, 3, 2]));
        assert_eq!(names[1], ("pointwise_kernel".into(), vec![1, 1, 6, 8]));
        assert_eq!(names[2], ("bias".into(), vec![8]));
        let error = layer.output_shape(&[4, 5, 2]).unwrap_err().to_string();
        assert_eq!(error, "separable_conv2d: takes 3 channels, and a sample has 2");
        assert!(DepthwiseConv2d::new(0, &options(2), KEY).is_err());
    }

    #[test]
    fn gradients_agree_with_differences_to_second_order() {
        check_layer(&DepthwiseConv2d::new(2, &options(2), KEY).unwrap(), &[1, 3, 3, 2]);
        check_layer(&SeparableConv2d::new(2, 1, &options(2), KEY).unwrap(), &[1, 3, 3, 2]);
    }
}
