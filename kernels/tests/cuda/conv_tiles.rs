//! Convolutions as products in tiles, and of each channel by itself.

use gradus_kernels::window::Window;
use gradus_kernels::{Backend, Buffer, Layout, REFERENCE, Unary, View};

use crate::conv::{Case, len};
use crate::gpu::{Gpu, assert_close, list, numbers};
use crate::matmul_any::activation;

/// Images, kernel and slopes of a case: for the reference, and where they are on the device.
struct Operands {
    shapes: [Vec<usize>; 3],
    buffers: [Buffer; 3],
    layouts: [Layout; 3],
    addresses: [u64; 3],
}

impl Operands {
    fn new(gpu: &mut Gpu, case: &Case) -> Operands {
        let [kh, kw] = case.kernel;
        let kernel = vec![kh, kw, case.images[3] / case.groups, case.filters];
        let shapes = [case.images.to_vec(), kernel, case.output().to_vec()];
        let values = [0, 1, 2].map(|i| numbers(len(&shapes[i]), 30 + i as u32));
        let addresses = [0, 1, 2].map(|i| gpu.put(&values[i]));
        let layouts = [0, 1, 2].map(|i| Layout::contiguous(&shapes[i]));
        Operands { shapes, buffers: values.map(|values| Buffer::from_slice(&values)), layouts, addresses }
    }

    fn view(&self, i: usize) -> View<'_> {
        View::new(&self.buffers[i], &self.layouts[i])
    }

    fn len(&self, i: usize) -> usize {
        len(&self.shapes[i])
    }
}

/// Adds the sums of parts as a second launch would.
pub fn joined(parts: &[f32], count: usize) -> Vec<f32> {
    (0..count).map(|i| parts.iter().skip(i).step_by(count).sum()).collect()
}

const CHOICES: [(bool, Option<Unary>); 3] = [(false, None), (true, None), (true, Some(Unary::Elu(0.7)))];

#[test]
fn tiles_convolve_with_both_gradients() {
    let plain = Window::valid();
    let same = |input, kernel, stride, dilation| Window::same(input, kernel, stride, dilation);
    let case = |images, kernel, filters, window| Case { images, kernel, filters, groups: 1, window };
    let cases = [
        case([1, 1, 1, 1], [1, 1], 1, plain),
        case([2, 7, 6, 3], [3, 3], 5, plain),
        case([2, 8, 8, 16], [1, 1], 20, plain),
        case([2, 9, 9, 4], [3, 3], 8, same([9, 9], [3, 3], [2, 2], [1, 1])),
        case([1, 9, 8, 6], [3, 2], 7, same([9, 8], [3, 2], [1, 1], [2, 3])),
        case([1, 6, 9, 2], [2, 3], 4, plain.strided([3, 2]).padded([[1, 0], [2, 1]])),
        // More than a tile both ways, and all in whole fours.
        case([1, 10, 9, 68], [3, 3], 72, same([10, 9], [3, 3], [1, 1], [1, 1])),
    ];
    let mut gpu = Gpu::new("conv_tiles");
    for case in cases {
        let all = Operands::new(&mut gpu, &case);
        let ([n, h, w, c], [_, oh, ow, o]) = (case.images.map(|x| x as u32), case.output().map(|x| x as u32));
        let taps = (case.kernel[0] * case.kernel[1]) as u32;
        let [x, weights, dy] = all.addresses;
        let bias = numbers(case.filters, 33);
        let (on_bias, row) = (gpu.put(&bias), Layout::contiguous(&[case.filters]));
        let bias = Buffer::from_slice(&bias);
        for (with_bias, op) in CHOICES {
            let (y, (number, p)) = (gpu.room(4 * all.len(2)), activation(op));
            let address = if with_bias { on_bias } else { 0 };
            let args = list![x, weights, y, address, case.sizes(), number, p as f32];
            let counters =
                gpu.launch("conv2d_tiles", [(n * oh * ow).div_ceil(64), o.div_ceil(64), 1], [256, 1, 1], args);
            let bias = with_bias.then(|| View::new(&bias, &row));
            let expected = REFERENCE.conv2d(all.view(0), all.view(1), bias, op, &case.window, 1).unwrap();
            assert_close("conv2d_tiles", &gpu.get(y, all.len(2)), expected.as_slice(), 2e-6);
            assert_eq!(counters.bank_conflicts(), 0);
        }
        let dx = gpu.room(4 * all.len(0));
        let grid = [(n * h * w).div_ceil(64), c.div_ceil(64), 1];
        gpu.launch("conv2d_tiles_grad_input", grid, [256, 1, 1], list![dy, weights, dx, case.sizes()]);
        let input = [case.images[1], case.images[2]];
        let expected = REFERENCE.conv2d_grad_input(all.view(2), all.view(1), input, &case.window, 1).unwrap();
        assert_close("conv2d_tiles_grad_input", &gpu.get(dx, all.len(0)), expected.as_slice(), 2e-6);
        let expected = REFERENCE.conv2d_grad_weight(all.view(0), all.view(2), case.kernel, &case.window, 1).unwrap();
        for parts in [1, 3] {
            let dw = gpu.room(4 * all.len(1) * parts);
            let grid = [(taps * c).div_ceil(64), o.div_ceil(64), parts as u32];
            gpu.launch("conv2d_tiles_grad_weight", grid, [256, 1, 1], list![x, dy, dw, case.sizes()]);
            let found = joined(&gpu.get(dw, all.len(1) * parts), all.len(1));
            assert_close("conv2d_tiles_grad_weight", &found, expected.as_slice(), 2e-6);
        }
    }
}

#[test]
fn channels_are_convolved_by_themselves() {
    let same = |input, kernel, stride, dilation| Window::same(input, kernel, stride, dilation);
    let case =
        |images: [usize; 4], kernel, window| Case { images, kernel, filters: images[3], groups: images[3], window };
    let cases = [
        case([1, 1, 1, 1], [1, 1], Window::valid()),
        case([2, 7, 6, 3], [3, 3], same([7, 6], [3, 3], [1, 1], [1, 1])),
        case([1, 9, 11, 40], [3, 3], same([9, 11], [3, 3], [2, 2], [1, 1])),
        case([2, 8, 9, 5], [5, 3], same([8, 9], [5, 3], [1, 1], [2, 2])),
        case([1, 12, 10, 33], [2, 5], Window::valid().strided([1, 3]).padded([[0, 0], [1, 0]])),
    ];
    let mut gpu = Gpu::new("conv_tiles");
    for case in cases {
        let all = Operands::new(&mut gpu, &case);
        let [_, oh, ow, channels] = case.output();
        let [x, weights, dy] = all.addresses;
        let bias = numbers(channels, 33);
        let (on_bias, row) = (gpu.put(&bias), Layout::contiguous(&[channels]));
        let bias = Buffer::from_slice(&bias);
        let strips = case.images[0] * oh * ow.div_ceil(4) * channels;
        for (with_bias, op) in CHOICES {
            let (y, (number, p)) = (gpu.room(4 * all.len(2)), activation(op));
            let address = if with_bias { on_bias } else { 0 };
            let args = list![x, weights, y, address, strips as u32, case.sizes(), number, p as f32];
            gpu.each("conv2d_depthwise", strips, args);
            let bias = with_bias.then(|| View::new(&bias, &row));
            let expected = REFERENCE.conv2d(all.view(0), all.view(1), bias, op, &case.window, channels).unwrap();
            assert_close("conv2d_depthwise", &gpu.get(y, all.len(2)), expected.as_slice(), 2e-6);
        }
        let expected = REFERENCE.conv2d_grad_weight(all.view(0), all.view(2), case.kernel, &case.window, channels);
        let taps = (case.kernel[0] * case.kernel[1]) as u32;
        for parts in [1, 3] {
            let dw = gpu.room(4 * all.len(1) * parts);
            let grid = [(channels as u32).div_ceil(32), taps, parts as u32];
            gpu.launch("conv2d_depthwise_grad_weight", grid, [32, 8, 1], list![x, dy, dw, case.sizes()]);
            let found = joined(&gpu.get(dw, all.len(1) * parts), all.len(1));
            assert_close("conv2d_depthwise_grad_weight", &found, expected.as_ref().unwrap().as_slice(), 2e-6);
        }
    }
}
