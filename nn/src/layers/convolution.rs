//! Convolutions with a window for all channels: over images, over rows, and transposed.

use gradus_core::grad::is_recording;
use gradus_core::kernels::Unary;
use gradus_core::{RandomKey, Tensor};

use super::window::image;
use super::{Activation, Sliding};
use crate::init::{Fans, Init};
use crate::memo::Memo;
use crate::{Ctx, Error, Module, Param, Result};

/// What a convolution is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvOptions {
    /// How many filters, which are the channels of the result.
    pub filters: usize,
    /// The size of a filter, and how it moves.
    pub sliding: Sliding,
    /// Into how many groups the channels are cut, each of which feeds an equal part of the filters.
    pub groups: usize,
    /// Whether a number of its own is added to each filter's results.
    pub bias: bool,
    /// How the weights start.
    pub kernel_init: Init,
    /// How the bias starts.
    pub bias_init: Init,
    /// What the sums are put through.
    pub activation: Activation,
}

impl ConvOptions {
    /// Keras' defaults: stride 1, no padding, Glorot's uniform weights, a bias of 0, no activation.
    pub const fn keras(filters: usize, size: [usize; 2]) -> Self {
        Self {
            filters,
            sliding: Sliding::new(size),
            groups: 1,
            bias: true,
            kernel_init: Init::GlorotUniform,
            bias_init: Init::Zeros,
            activation: Activation::Linear,
        }
    }

    /// PyTorch's defaults: weights and bias uniform within `1 / √inputs`.
    pub fn torch(filters: usize, size: [usize; 2]) -> Self {
        let init = Init::KaimingUniform(5f64.sqrt());
        Self { kernel_init: init.clone(), bias_init: init, ..Self::keras(filters, size) }
    }

    fn check(&self, layer: &str, channels: usize) -> Result<()> {
        let Self { filters, groups, .. } = *self;
        if filters == 0 || channels == 0 {
            return Err(Error::Config(format!("{layer}: {filters} filters of {channels} channels compute nothing")));
        }
        if groups == 0 || !channels.is_multiple_of(groups) || !filters.is_multiple_of(groups) {
            return Err(Error::Config(format!(
                "{layer}: {groups} groups do not divide {channels} channels and {filters} filters into equal parts"
            )));
        }
        Ok(())
    }
}

/// Weights, a bias for each of the results' channels, and what sums are put through.
#[derive(Debug)]
pub(super) struct Filters {
    pub(super) kernel: Param,
    pub(super) bias: Option<Param>,
    pub(super) activation: Activation,
    scaled: Memo,
}

impl Filters {
    /// Weights of shape `kernel` and `filters` biases, from streams of their own below the layer's `key`.
    pub(super) fn new(kernel: &[usize], filters: usize, options: &ConvOptions, key: RandomKey) -> Result<Self> {
        let fans = Fans::of(kernel);
        let bias = || {
            let value = options.bias_init.sample(&[filters], fans, key.named("bias"))?;
            Ok::<_, Error>(Param::weight("bias", value))
        };
        Ok(Self {
            kernel: Param::weight("kernel", options.kernel_init.sample(kernel, fans, key.named("kernel"))?),
            bias: options.bias.then(bias).transpose()?,
            activation: options.activation.clone(),
            scaled: Memo::default(),
        })
    }

    pub(super) fn params(&self, visit: &mut dyn FnMut(&str, &Param)) {
        visit("kernel", &self.kernel);
        if let Some(bias) = &self.bias {
            visit("bias", bias);
        }
    }

    /// Weights and bias of filters that end with what `next` does, if that is scaling. None where a gradient is wanted, which weights
    /// that are computed would make dearer.
    pub(super) fn scaled(
        &self,
        x: &Tensor,
        kernel: &Tensor,
        next: &dyn Module,
        ctx: &Ctx,
    ) -> Result<Option<[Tensor; 2]>> {
        let bias = self.bias.as_ref().map(Param::value);
        let is_wanted = |tensors: &[&Tensor]| is_recording() && tensors.iter().any(|tensor| tensor.is_tracked());
        // Asked first, since computing the scale only to drop it would take its time in every step.
        if self.activation != Activation::Linear
            || is_wanted(&[x, kernel])
            || bias.as_ref().is_some_and(|b| is_wanted(&[b]))
        {
            return Ok(None);
        }
        let Some([factor, shift]) = next.as_scale(ctx)? else { return Ok(None) };
        if is_wanted(&[&factor, &shift]) {
            return Ok(None);
        }
        let from: Vec<&Tensor> = [kernel, &factor, &shift].into_iter().chain(&bias).collect();
        let scaled = self.scaled.of(&from, || {
            let shift = match &bias {
                Some(bias) => bias.mul(&factor)?.add(&shift)?,
                None => shift.clone(),
            };
            Ok([kernel.mul(&factor)?, shift])
        })?;
        Ok(Some(scaled))
    }

    /// Adds the bias to `sums`.
    fn biased(&self, sums: Tensor) -> Result<Tensor> {
        match &self.bias {
            Some(bias) => Ok(sums.add(&bias.value())?),
            None => Ok(sums),
        }
    }
}

/// Filters that move over images `[height, width, channels]`: each result is a weighted sum of a window of all channels, or of
/// those of its group. The kernel is `[height, width, channels / groups, filters]`, as in Keras.
#[derive(Debug)]
pub struct Conv2d {
    filters: Filters,
    sliding: Sliding,
    groups: usize,
}

impl Conv2d {
    /// A layer for images of so many channels. `key` is the layer's.
    pub fn new(channels: usize, options: &ConvOptions, key: RandomKey) -> Result<Self> {
        options.check("conv2d", channels)?;
        let ([height, width], groups) = (options.sliding.size, options.groups);
        let kernel = [height, width, channels / groups, options.filters];
        Ok(Self { filters: Filters::new(&kernel, options.filters, options, key)?, sliding: options.sliding, groups })
    }

    /// The weighted sums with their bias, put through `function`.
    fn sums(&self, x: &Tensor, function: Option<Unary>) -> Result<Tensor> {
        let [height, width, _] = image("conv2d", x.shape().get(1..).unwrap_or_default())?;
        let (kernel, bias) = (self.filters.kernel.value(), self.filters.bias.as_ref().map(Param::value));
        let window = self.sliding.on([height, width]);
        Ok(x.conv2d_activated(&kernel, bias.as_ref(), &window, self.groups, function)?)
    }
}

impl Module for Conv2d {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        self.filters.activation.finish(|function| self.sums(x, function))
    }

    fn forward_activated(&self, x: &Tensor, _: &Ctx, function: Unary) -> Result<Option<Tensor>> {
        let alone = self.filters.activation == Activation::Linear;
        alone.then(|| self.sums(x, Some(function))).transpose()
    }

    fn forward_unfinished(&self, x: &Tensor, _: &Ctx) -> Result<Option<(Tensor, Unary)>> {
        let function = self.filters.activation.function().filter(|function| function.is_non_decreasing());
        function.map(|function| Ok((self.sums(x, None)?, function))).transpose()
    }

    fn forward_scaled(
        &self,
        x: &Tensor,
        ctx: &Ctx,
        next: &dyn Module,
        function: Option<Unary>,
    ) -> Result<Option<Tensor>> {
        let [height, width, _] = image("conv2d", x.shape().get(1..).unwrap_or_default())?;
        let scaled = self.filters.scaled(x, &self.filters.kernel.value(), next, ctx)?;
        let Some([kernel, bias]) = scaled else { return Ok(None) };
        let window = self.sliding.on([height, width]);
        Ok(Some(x.conv2d_activated(&kernel, Some(&bias), &window, self.groups, function)?))
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
        let [height, width, channels] = image("conv2d", input)?;
        let [_, _, depth, filters] = self.filters.kernel.shape()[..] else { unreachable!("made with four dimensions") };
        check_channels("conv2d", channels, depth * self.groups)?;
        let [down, across] = self.sliding.places("conv2d", [height, width])?;
        Ok(vec![down, across, filters])
    }
}

/// [`Conv2d`] over rows `[length, channels]`; the second of each pair of the options counts. The kernel is
/// `[length, channels / groups, filters]`.
#[derive(Debug)]
pub struct Conv1d {
    filters: Filters,
    sliding: Sliding,
    groups: usize,
}

impl Conv1d {
    /// A layer for rows of so many channels. `key` is the layer's.
    pub fn new(channels: usize, options: &ConvOptions, key: RandomKey) -> Result<Self> {
        options.check("conv1d", channels)?;
        let kernel = [options.sliding.size[1], channels / options.groups, options.filters];
        let filters = Filters::new(&kernel, options.filters, options, key)?;
        Ok(Self { filters, sliding: options.sliding, groups: options.groups })
    }

    fn row(input: &[usize]) -> Result<[usize; 2]> {
        input
            .try_into()
            .map_err(|_| Error::Config(format!("conv1d: takes rows [length, channels], a sample has shape {input:?}")))
    }
}

impl Module for Conv1d {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        let [length, _] = Self::row(x.shape().get(1..).unwrap_or_default())?;
        let (kernel, bias) = (self.filters.kernel.value(), self.filters.bias.as_ref().map(Param::value));
        let sums = x.conv1d(&kernel, bias.as_ref(), &self.sliding.on([1, length]), self.groups)?;
        self.filters.activation.apply(&sums)
    }

    fn params(&self, visit: &mut dyn FnMut(&str, &Param)) {
        self.filters.params(visit);
    }

    fn multiply_adds(&self, input: &[usize]) -> usize {
        self.output_shape(input).map_or(0, |shape| shape[0]) * self.filters.kernel.len()
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let [length, channels] = Self::row(input)?;
        let [_, depth, filters] = self.filters.kernel.shape()[..] else { unreachable!("made with three dimensions") };
        check_channels("conv1d", channels, depth * self.groups)?;
        let [_, places] = self.sliding.places("conv1d", [1, length])?;
        Ok(vec![places, filters])
    }
}

/// A convolution the other way round, which makes images larger: each element is spread over a window, weighted by each filter. The
/// kernel is `[height, width, filters, channels]`, as in Keras.
///
/// With `same` padding an image of `n` rows gets `n * stride` of them, with `valid` `n * stride` and what a filter reaches beyond;
/// with explicit padding as many as in PyTorch: the fewest from which a convolution makes `n`.
#[derive(Debug)]
pub struct Conv2dTranspose {
    filters: Filters,
    sliding: Sliding,
}

impl Conv2dTranspose {
    /// A layer for images of so many channels. `key` is the layer's.
    pub fn new(channels: usize, options: &ConvOptions, key: RandomKey) -> Result<Self> {
        options.check("conv2d_transpose", channels)?;
        if options.groups != 1 {
            return Err(Error::Config(format!(
                "conv2d_transpose: has no groups, and {} are asked for",
                options.groups
            )));
        }
        let [height, width] = options.sliding.size;
        let kernel = [height, width, options.filters, channels];
        Ok(Self { filters: Filters::new(&kernel, options.filters, options, key)?, sliding: options.sliding })
    }

    /// Height and width of what is made of an image of `input` rows and columns.
    fn grown(&self, input: [usize; 2]) -> Result<[usize; 2]> {
        // The same checks as for every window; it always fits into itself.
        self.sliding.places("conv2d_transpose", self.sliding.size.map(|side| side.saturating_mul(2)))?;
        let Sliding { size, stride, dilation, padding } = self.sliding;
        let mut output = [0; 2];
        for i in 0..2 {
            let span = (size[i] - 1) * dilation[i] + 1;
            output[i] = match padding {
                super::Padding::Same => input[i] * stride[i],
                super::Padding::Valid => input[i] * stride[i] + span.saturating_sub(stride[i]),
                super::Padding::Explicit(sides) => {
                    let whole = (input[i].max(1) - 1) * stride[i] + span;
                    whole.checked_sub(sides[i][0] + sides[i][1]).filter(|&left| left > 0).ok_or_else(|| {
                        let what = format!("padding {sides:?} leaves nothing of the {whole} rows or columns");
                        Error::Config(format!("conv2d_transpose: {what} that images of {input:?} become"))
                    })?
                }
            };
        }
        Ok(output)
    }
}

impl Module for Conv2dTranspose {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        let [height, width, _] = image("conv2d_transpose", x.shape().get(1..).unwrap_or_default())?;
        let output = self.grown([height, width])?;
        let sums = x.conv2d_transpose(&self.filters.kernel.value(), &self.sliding.on(output), 1, Some(output))?;
        self.filters.activation.apply(&self.filters.biased(sums)?)
    }

    fn params(&self, visit: &mut dyn FnMut(&str, &Param)) {
        self.filters.params(visit);
    }

    fn multiply_adds(&self, input: &[usize]) -> usize {
        input.iter().take(2).product::<usize>() * self.filters.kernel.len()
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let [height, width, channels] = image("conv2d_transpose", input)?;
        let [_, _, filters, depth] = self.filters.kernel.shape()[..] else { unreachable!("made with four dimensions") };
        check_channels("conv2d_transpose", channels, depth)?;
        let [down, across] = self.grown([height, width])?;
        Ok(vec![down, across, filters])
    }
}

pub(super) fn check_channels(layer: &str, given: usize, wanted: usize) -> Result<()> {
    match given == wanted {
        true => Ok(()),
        false => Err(Error::Config(format!("{layer}: takes {wanted} channels, and a sample has {given}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Padding;
    use crate::layers::testing::check_layer;

    const KEY: RandomKey = RandomKey::new(1);

    #[test]
    fn a_filter_by_hand() {
        // The example of every lecture: which places look like a cross.
        let image = [
            1f32, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0,
            1.0, 1.0, 0.0, 0.0,
        ];
        let cross = [1f32, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0];
        let layer = Conv2d::new(1, &ConvOptions::keras(1, [3, 3]), KEY).unwrap();
        layer.filters.kernel.set(Tensor::from_slice(&cross, &[3, 3, 1, 1]).unwrap()).unwrap();
        let y = layer.forward(&Tensor::from_slice(&image, &[1, 5, 5, 1]).unwrap(), &Ctx::eval()).unwrap();
        assert_eq!(y.to_vec::<f32>().unwrap(), [4.0, 3.0, 4.0, 2.0, 4.0, 3.0, 2.0, 3.0, 4.0]);
        assert_eq!(layer.multiply_adds(&[5, 5, 1]), 81);
    }

    #[test]
    fn shapes_are_inferred_and_checked() {
        let sliding = Sliding { stride: [2; 2], padding: Padding::Same, ..Sliding::new([3; 2]) };
        let options = ConvOptions { sliding, ..ConvOptions::keras(8, [3; 2]) };
        let layer = Conv2d::new(4, &options, KEY).unwrap();
        assert_eq!(layer.output_shape(&[7, 6, 4]).unwrap(), [4, 3, 8]);
        let error = layer.output_shape(&[7, 6, 3]).unwrap_err().to_string();
        assert_eq!(error, "conv2d: takes 4 channels, and a sample has 3");
        let error = Conv2d::new(4, &ConvOptions { groups: 3, ..options.clone() }, KEY).unwrap_err().to_string();
        assert_eq!(error, "conv2d: 3 groups do not divide 4 channels and 8 filters into equal parts");
        assert_eq!(Conv2dTranspose::new(4, &options, KEY).unwrap().output_shape(&[7, 6, 4]).unwrap(), [14, 12, 8]);
        let valid = ConvOptions { sliding: Sliding { padding: Padding::Valid, ..sliding }, ..options.clone() };
        assert_eq!(Conv2dTranspose::new(4, &valid, KEY).unwrap().output_shape(&[7, 6, 4]).unwrap(), [15, 13, 8]);
        let one = ConvOptions { sliding: Sliding::new([1, 3]), ..options };
        assert_eq!(Conv1d::new(4, &one, KEY).unwrap().output_shape(&[9, 4]).unwrap(), [7, 8]);
        let error = Conv1d::new(4, &one, KEY).unwrap().output_shape(&[9, 4, 4]).unwrap_err().to_string();
        assert_eq!(error, "conv1d: takes rows [length, channels], a sample has shape [9, 4, 4]");
    }

    #[test]
    fn gradients_agree_with_differences_to_second_order() {
        let sliding = Sliding { stride: [2, 1], padding: Padding::Same, ..Sliding::new([3, 2]) };
        let options = ConvOptions { sliding, activation: Activation::Tanh, ..ConvOptions::torch(2, [3, 2]) };
        check_layer(&Conv2d::new(2, &options, KEY).unwrap(), &[2, 4, 3, 2]);
        check_layer(&Conv2d::new(2, &ConvOptions { groups: 2, ..options.clone() }, KEY).unwrap(), &[1, 3, 3, 2]);
        check_layer(&Conv2dTranspose::new(2, &options, KEY).unwrap(), &[1, 2, 2, 2]);
        let row = ConvOptions { sliding: Sliding::new([1, 2]), ..options };
        check_layer(&Conv1d::new(2, &row, KEY).unwrap(), &[2, 4, 2]);
    }
}
