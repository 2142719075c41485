//! The gradient of images of few channels.
//!
//! A convolution with the weights turned around would fill vectors with channels, of which there are one or three. So each
//! pixel of the result is first multiplied with all weights, which makes vectors of taps and channels, and the products are
//! then added where the taps read: one image at a time, while they are in a near cache.

use super::lattice::Lattice;
use super::taps::{Panels, Place, Sums};
use super::{Image, Sizes};
use crate::buffer::scratch::Scratch;
use crate::cpu::matmul::{Number, Operand};
use crate::cpu::read::for_parts;
use crate::cpu::simd::Isa;
use crate::window::Axis;

/// The gradient of the images, for one group.
pub fn grad_input<T: Number>(dy: &[T], w: &[T], s: &Sizes, dx: &mut [T]) {
    let [height, width] = s.axes;
    let (pixels, products) = (height.output * width.output, s.taps() * s.c);
    let matrix = Operand { start: w.as_ptr(), row: 1, col: s.o as isize };
    // SAFETY: there is a weight of each filter for each tap and channel; the kernels are chosen for this machine.
    let panels = unsafe { Panels::pack(T::kernels(Isa::get()), &[matrix], s.o, products) };
    let one_by_one =
        |axis: Axis| Lattice::forward(&Axis { input: axis.output, kernel: 1, stride: 1, before: 0, ..axis });
    let lattices = s.axes.map(one_by_one);
    let zeros = Scratch::filled(s.o, T::default());
    for_parts(dx, height.input * width.input * s.c, &|start, dx| {
        let n = start / dx.len();
        let mut all = Scratch::filled(pixels * products, T::default());
        let image = Image::new(&dy[n * pixels * s.o..], [height.output, width.output], s.o);
        // A row for each tap and channel, so that what is added lies as it does where it is added to.
        let to =
            Place { start: all.as_mut_ptr(), channel: pixels, pixel: 1, row: width.output, image: pixels * products };
        // SAFETY: the one tap reads the pixel itself, and there is a place for each pixel's products.
        unsafe { Sums::new(&panels, (1, image), lattices.each_ref(), to, &zeros).write_rows(0..height.output) };
        dx.fill(T::default());
        for (i, products) in all.chunks_exact(pixels).enumerate() {
            let (tap, channel) = (i / s.c, i % s.c);
            add(products, [tap / width.kernel, tap % width.kernel], &mut dx[channel..], s);
        }
    });
}

/// Adds the products of a tap where it reads.
fn add<T: Number>(products: &[T], [kh, kw]: [usize; 2], dx: &mut [T], s: &Sizes) {
    let [height, width] = s.axes;
    let columns = width.outputs_of_tap(kw);
    for oh in height.outputs_of_tap(kh).filter(|_| !columns.is_empty()) {
        let from = &products[oh * width.output + columns.start..][..columns.len()];
        let (ih, iw) = (height.place(oh, kh) as usize, width.place(columns.start, kw) as usize);
        let to = &mut dx[(ih * width.input + iw) * s.c..];
        if width.stride * s.c == 1 {
            add_beside(&mut to[..from.len()], from);
        } else {
            for (sum, &term) in to.iter_mut().step_by(width.stride * s.c).zip(from) {
                *sum = *sum + term;
            }
        }
    }
}

crate::simd! {
    /// `to += from`.
    fn add_beside<T>(to: &mut [T], from: &[T]) where [T: Number] {
        for (sum, &term) in to.iter_mut().zip(from) {
            *sum = *sum + term;
        }
    }
}
