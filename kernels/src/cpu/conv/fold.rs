//! The gradient of images of few channels.
//!
//! A convolution with the weights turned around would fill vectors with channels, of which there are one or three. So the
//! weights of each tap and channel are first multiplied with all pixels of the result, which makes vectors of pixels, and the
//! products are then added where the taps read: one image at a time, while they are in a near cache.

use super::Sizes;
use crate::Buffer;
use crate::cpu::matmul::{Finish, Matrix, Number, gemm};
use crate::cpu::read::for_parts;

/// The gradient of the images, for one group.
pub fn grad_input<T: Number>(dy: &[T], w: &[T], s: &Sizes, dx: &mut [T]) {
    let [height, width] = s.axes;
    let (pixels, products) = (height.output * width.output, s.taps() * s.c);
    for_parts(dx, height.input * width.input * s.c, &|start, dx| {
        let n = start / dx.len();
        // A row for each tap and channel, so that what is added lies as it does where it is added to.
        let mut all = Buffer::unspecified(T::DTYPE, pixels * products);
        let all = all.as_mut_slice::<T>();
        let dy = Matrix::row_major(&dy[n * pixels * s.o..][..pixels * s.o], s.o).transposed();
        let to = Matrix::row_major(&mut *all, pixels);
        gemm((products, pixels, s.o), Matrix::row_major(w, s.o), dy, to, Finish::default());
        dx.fill(T::default());
        for (i, products) in all.chunks_exact(pixels.max(1)).enumerate() {
            let (tap, channel) = (i / s.c, i % s.c);
            add(products, [tap / width.kernel, tap % width.kernel], &mut dx[channel..], s);
        }
    });
}

/// Adds the products of a tap where it reads.
fn add<T: Number>(products: &[T], [kh, kw]: [usize; 2], dx: &mut [T], s: &Sizes) {
    let [height, width] = s.axes;
    let (rows, columns) = (height.outputs_of_tap(kh), width.outputs_of_tap(kw));
    if rows.is_empty() || columns.is_empty() {
        return;
    }
    let from = &products[rows.start * width.output + columns.start..];
    let (ih, iw) = (height.place(rows.start, kh) as usize, width.place(columns.start, kw) as usize);
    let to = &mut dx[(ih * width.input + iw) * s.c..];
    let steps = (width.output, height.stride * width.input * s.c);
    let step = width.stride * s.c;
    if step == 1 {
        add_rows(to, from, (rows.len(), columns.len()), steps);
        return;
    }
    for (to, from) in to.chunks_mut(steps.1).zip(from.chunks(steps.0)).take(rows.len()) {
        for (sum, &term) in to.iter_mut().step_by(step).zip(&from[..columns.len()]) {
            *sum = *sum + term;
        }
    }
}

crate::simd! {
    /// `to += from` for rows of some columns, and the distances of rows in both.
    fn add_rows<T>(to: &mut [T], from: &[T], size: (usize, usize), steps: (usize, usize)) where [T: Number] {
        for (to, from) in to.chunks_mut(steps.1).zip(from.chunks(steps.0)).take(size.0) {
            for (sum, &term) in to[..size.1].iter_mut().zip(&from[..size.1]) {
                *sum = *sum + term;
            }
        }
    }
}
