//! Kernels of 1 x 1: products of matrices, as they stand.
//!
//! The gradient of the weights is one with a long sum and a small result. Over many pixels `weight` cuts that sum between rows of
//! pixels. Images of 1 x 1 to 4 x 4 with hundreds of channels have more weights than pixels: sums would be short, and all
//! weights written for each; a product of matrices is cut between filters as well.

use super::Sizes;
use crate::cpu::matmul::{Finish, Matrix, Number, Then, gemm};
use crate::window::Axis;

/// How many pixels are few.
const FEW: usize = 1024;

/// Pixels of a row, at most, where rows are put together.
const ROW: usize = 512;

/// Whether the gradient of the weights is such a product, rather than `weight`'s.
pub fn pays_grad_weight(s: &Sizes) -> bool {
    s.is_pointwise() && s.outputs() <= FEW
}

/// `then(x * w + bias)`.
pub fn forward<T: Number>(x: &[T], w: &[T], bias: Option<&[T]>, s: &Sizes, then: Option<&Then<'_, T>>, y: &mut [T]) {
    let finish = Finish { bias, then, ..Finish::default() };
    let [x, w] = [Matrix::row_major(x, s.c), Matrix::row_major(w, s.o)];
    gemm((s.outputs(), s.o, s.c), x, w, Matrix::row_major(y, s.o), finish);
}

/// The gradient of the images.
pub fn grad_input<T: Number>(dy: &[T], w: &[T], s: &Sizes, dx: &mut [T]) {
    let [dy, w] = [dy, w].map(|matrix| Matrix::row_major(matrix, s.o));
    gemm((s.inputs(), s.c, s.o), dy, w.transposed(), Matrix::row_major(dx, s.c), Finish::default());
}

/// The gradient of the weights.
pub fn grad_weight<T: Number>(x: &[T], dy: &[T], s: &Sizes, dw: &mut [T]) {
    let (x, dy) = (Matrix::row_major(x, s.c).transposed(), Matrix::row_major(dy, s.o));
    gemm((s.c, s.o, s.outputs()), x, dy, Matrix::row_major(dw, s.o), Finish::default());
}

/// The same pixels as one image of longer rows: to a kernel of 1 x 1 it is all the same where a row ends, and sums walk along
/// rows.
pub fn in_long_rows(s: &Sizes) -> Sizes {
    let (rows, width) = (s.n * s.axes[0].output, s.axes[1].output);
    let together = (1..=(ROW / width.max(1)).max(1)).rev().find(|many| rows.is_multiple_of(*many)).unwrap_or(1);
    let axis = |axis: Axis, len: usize| Axis { input: len, output: len, ..axis };
    Sizes { n: 1, axes: [axis(s.axes[0], rows / together), axis(s.axes[1], width * together)], ..*s }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::Window;

    #[test]
    fn rows_are_put_together_without_a_rest() {
        for (n, [height, width], wanted) in
            [(32, [8, 8], [4, 512]), (7, [3, 5], [1, 105]), (13, [47, 11], [47, 143]), (3, [2, 600], [6, 600])]
        {
            let s = in_long_rows(&Sizes::new(n, [height, width], [1, 1, 2, 3], &Window::valid(), 1));
            assert_eq!((s.n, s.axes.map(|axis| axis.output)), (1, wanted));
            assert_eq!(s.outputs(), n * height * width);
        }
    }
}
