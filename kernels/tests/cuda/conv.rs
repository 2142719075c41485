//! Convolution and pooling, with gradients.

use gradus_kernels::window::Window;
use gradus_kernels::{Backend, Buffer, Layout, REFERENCE, View};

use crate::gpu::{Arg, Gpu, assert_close, list, numbers};

/// Images `[n, h, w, c]`, a kernel `[kh, kw, c / groups, o]`, and a window.
pub struct Case {
    pub images: [usize; 4],
    pub kernel: [usize; 2],
    pub filters: usize,
    pub groups: usize,
    pub window: Window,
}

fn cases() -> Vec<Case> {
    let plain = Window::valid();
    let same = |input, kernel, stride, dilation| Window::same(input, kernel, stride, dilation);
    let case = |images, kernel, filters, groups, window| Case { images, kernel, filters, groups, window };
    vec![
        case([1, 1, 1, 1], [1, 1], 1, 1, plain),
        case([2, 7, 6, 3], [3, 3], 5, 1, plain),
        case([2, 7, 6, 4], [3, 2], 6, 2, same([7, 6], [3, 2], [2, 2], [1, 1])),
        case([1, 9, 8, 3], [3, 3], 6, 3, same([9, 8], [3, 3], [1, 1], [2, 2])),
        case([1, 6, 9, 2], [2, 3], 4, 1, plain.strided([3, 2]).padded([[1, 0], [2, 1]])),
    ]
}

impl Case {
    pub fn output(&self) -> [usize; 4] {
        let [n, h, w, _] = self.images;
        let [oh, ow] = self.window.output([h, w], self.kernel).unwrap();
        [n, oh, ow, self.filters]
    }

    pub fn sizes(&self) -> Arg {
        let ([n, h, w, c], [_, oh, ow, o]) = (self.images, self.output());
        let Window { stride, dilation, padding } = self.window;
        let [kh, kw] = self.kernel;
        let sizes = [n, h, w, c, oh, ow, o, kh, kw, self.groups];
        let window = [stride[0], stride[1], dilation[0], dilation[1], padding[0][0], padding[1][0]];
        Arg::words(sizes.into_iter().chain(window).map(|size| size as u32))
    }
}

pub fn len(shape: &[usize]) -> usize {
    shape.iter().product()
}

#[test]
fn convolutions_with_both_gradients() {
    let mut gpu = Gpu::new("conv");
    for case in cases() {
        let [_, h, w, c] = case.images;
        let shapes =
            [&case.images[..], &[case.kernel[0], case.kernel[1], c / case.groups, case.filters], &case.output()];
        let lens = shapes.map(len);
        let values = [0, 1, 2].map(|i| numbers(lens[i], 30 + i as u32));
        let buffers = [0, 1, 2].map(|i| Buffer::from_slice(&values[i]));
        let layouts = shapes.map(Layout::contiguous);
        let [x, weights, dy] = [0, 1, 2].map(|i| View::new(&buffers[i], &layouts[i]));
        let [on_x, on_w, on_dy] = [0, 1, 2].map(|i| gpu.put(&values[i]));
        let [dx, dw, y] = [0, 1, 2].map(|i| gpu.room(4 * lens[i]));
        let size = |i: usize| lens[i] as u32;
        gpu.each("conv2d", lens[2], list![on_x, on_w, y, size(2), case.sizes()]);
        let expected = REFERENCE.conv2d(x, weights, None, None, &case.window, case.groups).unwrap();
        assert_close("conv2d", &gpu.get(y, lens[2]), expected.as_slice(), 2e-6);
        gpu.each("conv2d_grad_input", lens[0], list![on_dy, on_w, dx, size(0), case.sizes()]);
        let expected = REFERENCE.conv2d_grad_input(dy, weights, [h, w], &case.window, case.groups).unwrap();
        assert_close("conv2d_grad_input", &gpu.get(dx, lens[0]), expected.as_slice(), 2e-6);
        gpu.each("conv2d_grad_weight", lens[1], list![on_x, on_dy, dw, size(1), case.sizes()]);
        let expected = REFERENCE.conv2d_grad_weight(x, dy, case.kernel, &case.window, case.groups).unwrap();
        assert_close("conv2d_grad_weight", &gpu.get(dw, lens[1]), expected.as_slice(), 2e-6);
    }
}

#[test]
fn pools_with_gradients() {
    let mut gpu = Gpu::new("conv");
    for mut case in cases() {
        let [_, h, w, c] = case.images;
        (case.filters, case.groups) = (c, 1);
        let (n, m) = (len(&case.images), len(&case.output()));
        let (mut x, dy) = (numbers(n, 33), numbers(m, 34));
        // Equals and a NaN: the first of them is the largest.
        x.iter_mut().step_by(3).for_each(|x| *x = 2.0);
        x[n / 2] = f32::NAN;
        let (images, results) = (Layout::contiguous(&case.images), Layout::contiguous(&case.output()));
        let [from, slopes] = [&x, &dy].map(|values| Buffer::from_slice(values));
        let (view, dy_view) = (View::new(&from, &images), View::new(&slopes, &results));
        let (y, places, dx) = (gpu.room(4 * m), gpu.room(4 * m), gpu.room(4 * n));
        let (on_x, on_dy) = (gpu.put(&x), gpu.put(&dy));
        gpu.each("max_pool2d", m, list![on_x, y, places, m as u32, case.sizes()]);
        let (plain, plain_places) = REFERENCE.max_pool2d(view, case.kernel, &case.window).unwrap();
        assert_close("max_pool2d", &gpu.get(y, m), plain.as_slice(), 0.0);
        assert_eq!(gpu.get::<i32>(places, m), plain_places.as_slice::<i32>());
        gpu.each("max_pool2d_grad", n, list![on_dy, places, dx, n as u32, case.sizes()]);
        let at = View::new(&plain_places, &results);
        let expected = REFERENCE.max_pool2d_grad(dy_view, at, [h, w], case.kernel, &case.window).unwrap();
        assert_close("max_pool2d_grad", &gpu.get(dx, n), expected.as_slice(), 1e-6);
        for count in [false, true] {
            gpu.each("avg_pool2d", m, list![on_x, y, m as u32, case.sizes(), u32::from(count)]);
            let expected = REFERENCE.avg_pool2d(view, case.kernel, &case.window, count).unwrap();
            assert_close("avg_pool2d", &gpu.get(y, m), expected.as_slice(), 2e-6);
            gpu.each("avg_pool2d_grad", n, list![on_dy, dx, n as u32, case.sizes(), u32::from(count)]);
            let expected = REFERENCE.avg_pool2d_grad(dy_view, [h, w], case.kernel, &case.window, count).unwrap();
            assert_close("avg_pool2d_grad", &gpu.get(dx, n), expected.as_slice(), 2e-6);
        }
    }
}
