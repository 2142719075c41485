//! Layers that sum images up: pools over windows, over equal parts, and over everything.

use gradus_core::Tensor;

use super::Sliding;
use super::window::image;
use crate::named::named;
use crate::{Ctx, Error, Module, Result};

named! {
    /// What a pool makes of the numbers of a channel.
    #[derive(Copy)]
    Pooling "pooling" {
        /// The largest.
        Max = "max";
        /// Their mean.
        Average = "average";
    }
}

impl Pooling {
    fn complaint(&self) -> Option<&'static str> {
        None
    }

    /// Over dimensions that are kept with size 1 or dropped.
    fn over(self, x: &Tensor, axes: &[isize], keep: bool) -> Result<Tensor> {
        Ok(match (self, keep) {
            (Pooling::Max, true) => x.max_keepdim(axes)?,
            (Pooling::Max, false) => x.max(axes)?,
            (Pooling::Average, true) => x.mean_keepdim(axes)?,
            (Pooling::Average, false) => x.mean(axes)?,
        })
    }
}

/// The largest number or the mean of each window of images `[height, width, channels]`, channel by channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pool2d {
    /// What is made of a window.
    pub kind: Pooling,
    /// The window.
    pub sliding: Sliding,
    /// Whether means count the zeros around an image, as PyTorch's do unless told otherwise; Keras' do not.
    pub count_padding: bool,
}

impl Pool2d {
    /// What complaints call it.
    fn called(&self) -> &'static str {
        match self.kind {
            Pooling::Max => "max_pool2d",
            Pooling::Average => "avg_pool2d",
        }
    }
}

impl Module for Pool2d {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        let [height, width, _] = image(self.called(), x.shape().get(1..).unwrap_or_default())?;
        let window = self.sliding.on([height, width]);
        Ok(match self.kind {
            Pooling::Max => x.max_pool2d(self.sliding.size, &window)?,
            Pooling::Average => x.avg_pool2d(self.sliding.size, &window, self.count_padding)?,
        })
    }

    fn takes_largest(&self) -> bool {
        self.kind == Pooling::Max
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let [height, width, channels] = image(self.called(), input)?;
        let [down, across] = self.sliding.places(self.called(), [height, width])?;
        Ok(vec![down, across, channels])
    }
}

/// The largest number or the mean of each channel: all dimensions of a sample but the last are summed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GlobalPool {
    /// What is made of a channel.
    pub kind: Pooling,
    /// Whether the dimensions stay, with size 1.
    pub keepdims: bool,
}

impl GlobalPool {
    fn check(input: &[usize]) -> Result<()> {
        match input {
            [_, .., _] if input.iter().all(|&size| size > 0) => Ok(()),
            _ => Err(Error::Config(format!(
                "global pool: a sample of shape {input:?} has nothing to sum up; it takes images"
            ))),
        }
    }
}

impl Module for GlobalPool {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        Self::check(x.shape().get(1..).unwrap_or_default())?;
        let axes: Vec<isize> = (1..x.rank() as isize - 1).collect();
        self.kind.over(x, &axes, self.keepdims)
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        Self::check(input)?;
        let channels = input[input.len() - 1];
        match self.keepdims {
            true => Ok(vec![1; input.len() - 1].into_iter().chain([channels]).collect()),
            false => Ok(vec![channels]),
        }
    }
}

/// A pool that leaves a given number of rows and columns, whatever size images have: part `i` of `n` goes from `floor(i * size / n)`
/// to `ceil((i + 1) * size / n)`, as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptivePool2d {
    /// What is made of a part.
    pub kind: Pooling,
    /// How many rows and columns are left.
    pub output: [usize; 2],
}

impl Module for AdaptivePool2d {
    fn forward(&self, x: &Tensor, _: &Ctx) -> Result<Tensor> {
        self.output_shape(x.shape().get(1..).unwrap_or_default())?;
        let mut y = x.clone();
        for (axis, &parts) in (1..).zip(&self.output) {
            let size = y.shape()[axis as usize];
            let part = |i: usize| {
                let part = y.slice(axis, i * size / parts, ((i + 1) * size).div_ceil(parts))?;
                self.kind.over(&part, &[axis], true)
            };
            let parts = (0..parts).map(part).collect::<Result<Vec<_>>>()?;
            y = Tensor::cat(&parts.iter().collect::<Vec<_>>(), axis)?;
        }
        Ok(y)
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let [height, width, channels] = image("adaptive pool", input)?;
        let [down, across] = self.output;
        if height == 0 || width == 0 || down == 0 || across == 0 {
            let what = format!("images of {height} x {width} cannot become {down} x {across}");
            return Err(Error::Config(format!("adaptive pool: {what}; all sides are 1 or more")));
        }
        Ok(vec![down, across, channels])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Padding;
    use crate::layers::testing::check_layer;

    fn pool(kind: Pooling, size: usize, stride: usize, padding: Padding) -> Pool2d {
        Pool2d {
            kind,
            sliding: Sliding { stride: [stride; 2], padding, ..Sliding::new([size; 2]) },
            count_padding: false,
        }
    }

    fn of(layer: &dyn Module, values: &[f32], shape: &[usize]) -> Vec<f32> {
        let x = Tensor::from_slice(values, shape).unwrap();
        let y = layer.forward(&x, &Ctx::eval()).unwrap();
        assert_eq!(&y.shape()[1..], layer.output_shape(&shape[1..]).unwrap());
        y.to_vec().unwrap()
    }

    #[test]
    fn windows_are_summed_up() {
        let values: Vec<f32> = (0..9).map(|x| x as f32).collect();
        let shape = [1, 3, 3, 1];
        assert_eq!(of(&pool(Pooling::Max, 2, 1, Padding::Valid), &values, &shape), [4.0, 5.0, 7.0, 8.0]);
        assert_eq!(of(&pool(Pooling::Average, 2, 1, Padding::Valid), &values, &shape), [2.0, 3.0, 5.0, 6.0]);
        // The padding of `same` is no part of a mean, unless it is counted.
        let same = pool(Pooling::Average, 2, 2, Padding::Same);
        assert_eq!(of(&same, &values, &shape), [2.0, 3.5, 6.5, 8.0]);
        assert_eq!(of(&Pool2d { count_padding: true, ..same }, &values, &shape), [2.0, 1.75, 3.25, 2.0]);
        let parts = AdaptivePool2d { kind: Pooling::Max, output: [2, 1] };
        assert_eq!(of(&parts, &values, &shape), [5.0, 8.0]);
        let all = |kind, keepdims| GlobalPool { kind, keepdims };
        assert_eq!(of(&all(Pooling::Average, false), &values, &shape), [4.0]);
        assert_eq!(of(&all(Pooling::Max, true), &values, &[1, 3, 3]), [6.0, 7.0, 8.0]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let error = pool(Pooling::Max, 2, 2, Padding::Valid).output_shape(&[1, 5, 3]).unwrap_err().to_string();
        assert!(error.starts_with("max_pool2d: a window of 2 x 2 is larger than images of 1 x 5"), "{error}");
        let error = GlobalPool { kind: Pooling::Average, keepdims: false }.output_shape(&[7]).unwrap_err().to_string();
        assert!(error.starts_with("global pool: a sample of shape [7] has nothing to sum up"), "{error}");
        let none = AdaptivePool2d { kind: Pooling::Average, output: [0, 2] };
        assert!(none.output_shape(&[4, 4, 1]).unwrap_err().to_string().contains("cannot become 0 x 2"));
    }

    #[test]
    fn gradients_agree_with_differences_to_second_order() {
        for kind in [Pooling::Max, Pooling::Average] {
            check_layer(&pool(kind, 2, 1, Padding::Same), &[1, 3, 3, 2]);
            check_layer(&AdaptivePool2d { kind, output: [2, 2] }, &[1, 3, 3, 2]);
        }
        check_layer(&GlobalPool { kind: Pooling::Average, keepdims: false }, &[2, 2, 2, 2]);
        check_layer(&GlobalPool { kind: Pooling::Max, keepdims: true }, &[2, 2, 2, 2]);
    }
}
