//! Which elements of an image a convolution or a pool reads for each of its results.
//!
//! Along one dimension, result `o` reads the elements `o * stride + tap * dilation - before` for each `tap` of the kernel;
//! those outside of the image are padding. A [`Window`] says so for the height and the width of an image; an [`Axis`] is
//! one of the two, with its sizes.

use std::ops::Range;

/// Stride, dilation and padding of a convolution or a pool, each for height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// How far the kernel moves from one result to the next; not 0.
    pub stride: [usize; 2],
    /// The distance between neighbouring taps of the kernel; 1: none is left out. Not 0.
    pub dilation: [usize; 2],
    /// How many elements are imagined before and after the image: top and bottom, left and right.
    pub padding: [[usize; 2]; 2],
}

impl Default for Window {
    fn default() -> Self {
        Self::valid()
    }
}

impl Window {
    /// Stride 1, no gaps, no padding: only results whose kernel lies within the image.
    pub const fn valid() -> Self {
        Self { stride: [1; 2], dilation: [1; 2], padding: [[0; 2]; 2] }
    }

    /// With another stride.
    pub const fn strided(self, stride: [usize; 2]) -> Self {
        Self { stride, ..self }
    }

    /// With another dilation.
    pub const fn dilated(self, dilation: [usize; 2]) -> Self {
        Self { dilation, ..self }
    }

    /// With another padding.
    pub const fn padded(self, padding: [[usize; 2]; 2]) -> Self {
        Self { padding, ..self }
    }

    /// As many results as strides fit into the image, rounded up: TensorFlow's `same`. Where the padding is odd, the end
    /// gets the larger half.
    pub fn same(input: [usize; 2], kernel: [usize; 2], stride: [usize; 2], dilation: [usize; 2]) -> Self {
        let padding = std::array::from_fn(|i| {
            let stride = stride[i].max(1);
            let last = input[i].div_ceil(stride).saturating_sub(1).saturating_mul(stride);
            let span = kernel[i].saturating_sub(1).saturating_mul(dilation[i]).saturating_add(1);
            let total = last.saturating_add(span).saturating_sub(input[i]);
            [total / 2, total - total / 2]
        });
        Self { stride, dilation, padding }
    }

    /// How many results there are along height and width; none where the kernel is larger than the padded image, or where
    /// a stride, a dilation or the kernel is 0.
    pub fn output(&self, input: [usize; 2], kernel: [usize; 2]) -> Option<[usize; 2]> {
        let [height, width] = self.axes(input, kernel)?;
        Some([height.output, width.output])
    }

    /// Height and width; `None` as for [`Window::output`].
    pub fn axes(&self, input: [usize; 2], kernel: [usize; 2]) -> Option<[Axis; 2]> {
        let axis = |i: usize| {
            let (stride, dilation, [before, after]) = (self.stride[i], self.dilation[i], self.padding[i]);
            let span = kernel[i].checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
            let padded = input[i].checked_add(before)?.checked_add(after)?;
            // Positions within the padded image are also counted below its start.
            let countable = isize::try_from(padded.checked_mul(2)?).is_ok();
            if stride == 0 || dilation == 0 || !countable {
                return None;
            }
            let output = padded.checked_sub(span)? / stride + 1;
            Some(Axis { input: input[i], output, kernel: kernel[i], stride, dilation, before })
        };
        Some([axis(0)?, axis(1)?])
    }
}

/// One dimension of an image, as a [`Window`] sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// How many elements there are.
    pub input: usize,
    /// How many results.
    pub output: usize,
    /// How many taps the kernel has.
    pub kernel: usize,
    /// See [`Window::stride`].
    pub stride: usize,
    /// See [`Window::dilation`].
    pub dilation: usize,
    /// The padding before the first element.
    pub before: usize,
}

impl Axis {
    /// Where a tap of a result reads; negative, or from `input` on, in the padding.
    pub fn place(&self, output: usize, tap: usize) -> isize {
        (output * self.stride + tap * self.dilation) as isize - self.before as isize
    }

    /// Which element a tap of a result reads, unless that is padding.
    pub fn read(&self, output: usize, tap: usize) -> Option<usize> {
        usize::try_from(self.place(output, tap)).ok().filter(|&place| place < self.input)
    }

    /// The results for which a tap reads an element.
    pub fn outputs_of_tap(&self, tap: usize) -> Range<usize> {
        let reach = tap * self.dilation;
        let first = self.before.saturating_sub(reach).div_ceil(self.stride);
        let end = (self.input + self.before).saturating_sub(reach).div_ceil(self.stride).min(self.output);
        first.min(end)..end
    }

    /// The taps with which a result reads elements: `(tap, element)`.
    pub fn taps(self, output: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..self.kernel).filter_map(move |tap| Some((tap, self.read(output, tap)?)))
    }

    /// The results that read an element, with the tap that does: `(tap, result)`.
    pub fn readers(self, input: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..self.kernel).filter_map(move |tap| {
            let distance = (input + self.before).checked_sub(tap * self.dilation)?;
            let output = distance / self.stride;
            (distance.is_multiple_of(self.stride) && output < self.output).then_some((tap, output))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_or_refused() {
        let output = |window: Window, input, kernel| window.output([input; 2], [kernel; 2]).map(|[h, _]| h);
        assert_eq!(output(Window::valid(), 5, 3), Some(3));
        assert_eq!(output(Window::valid(), 3, 3), Some(1));
        assert_eq!(output(Window::valid(), 2, 3), None);
        assert_eq!(output(Window::valid(), 5, 0), None);
        assert_eq!(output(Window::valid().strided([2; 2]), 6, 3), Some(2));
        assert_eq!(output(Window::valid().dilated([3; 2]).padded([[1, 2]; 2]), 5, 3), Some(2));
        for broken in [Window::valid().strided([0; 2]), Window::valid().dilated([0; 2])] {
            assert_eq!(output(broken, 5, 3), None);
        }
        let absurd = Window::valid().padded([[usize::MAX / 3; 2]; 2]).dilated([usize::MAX / 5; 2]);
        assert_eq!(output(absurd, 5, 3), None);
    }

    #[test]
    fn same_is_tensorflows() {
        for (input, kernel, stride, dilation, padding) in [
            (5, 3, 1, 1, [1, 1]),
            (5, 2, 1, 1, [0, 1]),
            (224, 3, 2, 1, [0, 1]),
            (7, 3, 2, 1, [1, 1]),
            (8, 5, 3, 1, [1, 2]),
            (6, 1, 2, 1, [0, 0]),
            (9, 3, 1, 2, [2, 2]),
        ] {
            let window = Window::same([input; 2], [kernel; 2], [stride; 2], [dilation; 2]);
            assert_eq!(window.padding[0], padding, "{input} {kernel} {stride} {dilation}");
            assert_eq!(window.output([input; 2], [kernel; 2]), Some([input.div_ceil(stride); 2]));
        }
    }

    #[test]
    fn elements_know_their_readers() {
        for (stride, dilation, before) in [(1, 1, 0), (1, 1, 2), (2, 1, 1), (3, 2, 1), (2, 3, 4)] {
            let window = Window::valid().strided([stride; 2]).dilated([dilation; 2]).padded([[before, 1]; 2]);
            let [axis, _] = window.axes([9; 2], [3; 2]).unwrap();
            let forward: Vec<_> =
                (0..axis.output).flat_map(|o| axis.taps(o).map(move |(tap, i)| (i, tap, o))).collect();
            let mut backward: Vec<_> = (0..9).flat_map(|i| axis.readers(i).map(move |(tap, o)| (i, tap, o))).collect();
            backward.sort_by_key(|&(_, tap, o)| (o, tap));
            assert_eq!(forward, backward);
            for tap in 0..3 {
                let reading: Vec<_> = (0..axis.output).filter(|&o| axis.read(o, tap).is_some()).collect();
                assert_eq!(axis.outputs_of_tap(tap).collect::<Vec<_>>(), reading);
            }
        }
    }
}
