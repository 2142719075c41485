//! Convolutions and pools: every combination of small strides, dilations, paddings and groups, on every instruction set.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gradus_kernels::cpu::CPU;
use gradus_kernels::cpu::simd::Isa;
use gradus_kernels::cpu::threads::with_threads;
use gradus_kernels::reference::REFERENCE;
use gradus_kernels::{Backend, Buffer, DType, Layout, Unary, View, Window};

use crate::common::{Bound, FLOATS, assert_close, layouts, values};

/// Sums of some hundred products of normal numbers; a product that is left out is off by far more.
const SUMS: Bound = Bound::ulps(16.0).or(2e-3);

/// A convolution.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub input: [usize; 4],
    /// Kernel and filters.
    pub w: [usize; 3],
    pub window: Window,
    pub groups: usize,
}

impl Case {
    pub fn weights(&self) -> [usize; 4] {
        [self.w[0], self.w[1], self.input[3] / self.groups, self.w[2]]
    }

    fn result(&self) -> Option<[usize; 4]> {
        let [n, h, w, _] = self.input;
        let [oh, ow] = self.window.output([h, w], [self.w[0], self.w[1]])?;
        Some([n, oh, ow, self.w[2]])
    }

    /// Images, weights, gradients of results and a bias.
    fn layouts(&self) -> [Layout; 4] {
        let [x, w, dy] = [self.input, self.weights(), self.result().unwrap()].map(|shape| Layout::contiguous(&shape));
        [x, w, dy, Layout::contiguous(&self.w[2..])]
    }

    /// Numbers for these.
    pub fn inputs(&self, dtype: DType) -> [Buffer; 4] {
        let (layouts, mut seed) = (self.layouts(), 0);
        layouts.each_ref().map(|layout| {
            seed += 1;
            values(dtype, layout, seed)
        })
    }

    /// The result with bias and activation, and the gradients of images and weights.
    pub fn run_on(&self, on: &dyn Backend, inputs: &[Buffer; 4], activation: Option<Unary>) -> [Buffer; 3] {
        let Case { input, window, groups, .. } = self;
        let layouts = self.layouts();
        let [x, w, dy, bias] = [0, 1, 2, 3].map(|i| View::new(&inputs[i], &layouts[i]));
        [
            on.conv2d(x, w, Some(bias), activation, window, *groups).unwrap(),
            on.conv2d_grad_input(dy, w, [input[1], input[2]], window, *groups).unwrap(),
            on.conv2d_grad_weight(x, dy, [self.w[0], self.w[1]], window, *groups).unwrap(),
        ]
    }

    /// The gradients of images, weights and bias, computed together.
    pub fn grads_on(&self, on: &dyn Backend, inputs: &[Buffer; 4]) -> [Buffer; 3] {
        let layouts = self.layouts();
        let views = [0, 1, 2].map(|i| View::new(&inputs[i], &layouts[i]));
        let all = on.conv2d_grads(views, [true; 3], &self.window, self.groups).unwrap();
        all.map(|grad| grad.expect("it was wanted"))
    }

    fn run(&self, on: &dyn Backend, dtype: DType) -> [Buffer; 6] {
        let inputs = self.inputs(dtype);
        let [y, only_dx, only_dw] = self.run_on(on, &inputs, Some(Unary::Relu));
        let [dx, dw, db] = self.grads_on(on, &inputs);
        [y, only_dx, only_dw, dx, dw, db]
    }
}

/// Makes those wait who change the instruction set, or count on its staying.
pub fn hold_isa() -> MutexGuard<'static, ()> {
    static ISA: Mutex<()> = Mutex::new(());
    ISA.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Compares the backends on every instruction set.
fn check(case: Case, dtype: DType) {
    let want = case.run(&REFERENCE, dtype);
    let (_held, before) = (hold_isa(), Isa::get());
    for isa in Isa::available() {
        isa.select().unwrap();
        let got = case.run(&CPU, dtype);
        let what = ["result", "gradient of x", "gradient of w", "dx of all", "dw of all", "db of all"];
        for (what, (got, want)) in what.iter().zip(got.iter().zip(&want)) {
            assert_close(got, want, SUMS, || format!("{what}: {dtype} {case:?} on {isa}"));
        }
    }
    before.select().unwrap();
}

#[test]
fn convolutions_of_every_kind_agree() {
    let mut count = 0;
    for (kernel, stride) in (1..4).flat_map(|kernel| (1..4).map(move |stride| (kernel, stride))) {
        for (dilation, before) in (1..4).flat_map(|dilation| (0..4).map(move |before| (dilation, before))) {
            for (groups, after) in (1..4).flat_map(|groups| [0, 2].map(move |after| (groups, after))) {
                count += 1;
                let window = Window {
                    stride: [stride, count % 3 + 1],
                    dilation: [dilation, (count / 3) % 3 + 1],
                    padding: [[before, after], [after, before]],
                };
                let case = Case {
                    input: [2, 7, 5 + count % 4, groups * [1, 2, 5, 3][count % 4]],
                    w: [kernel, 1 + count % 3, groups * [1, 3, 17, 2, 34][count % 5]],
                    window,
                    groups,
                };
                if case.result().is_some() {
                    check(case, if count % 3 == 0 { DType::F64 } else { DType::F32 });
                }
            }
        }
    }
}

/// Three by three taps over channels that fill vectors, in images of which one, two or all taps find the pixels.
#[test]
fn depthwise_convolutions_of_whole_vectors_agree() {
    let sides = (1..8).flat_map(|height| (1..10).map(move |width| [height, width]));
    for (i, [height, width]) in sides.enumerate() {
        for (j, padding) in [[[0, 0]; 2], [[1, 1]; 2], [[0, 1]; 2], [[1, 0]; 2], [[2, 2]; 2]].into_iter().enumerate() {
            let channels = [16, 32, 48][(i + j) % 3];
            for (stride, dtype) in
                [([1, 1], DType::F32), ([2, 2], DType::F32), ([1, 2], DType::F64), ([1, 1], DType::F64)]
            {
                let window = Window::valid().padded(padding).strided(stride);
                let case = Case { input: [2, height, width, channels], w: [3, 3, channels], window, groups: channels };
                if case.result().is_some() {
                    check(case, dtype);
                }
            }
        }
    }
}

/// Sizes at which work is cut into several parts, blocks, panels and tiles.
fn large() -> [Case; 17] {
    let valid = Window::valid();
    let around = valid.padded([[1; 2]; 2]);
    let case = |input, w, window, groups| Case { input, w, window, groups };
    [
        case([4, 28, 28, 1], [3, 3, 32], valid, 1),
        case([3, 32, 33, 3], [3, 3, 24], around.strided([2; 2]), 1),
        case([5, 13, 13, 32], [3, 3, 64], valid, 1),
        case([3, 16, 16, 40], [3, 3, 33], around, 1),
        case([2, 15, 15, 20], [5, 5, 48], around.strided([2; 2]), 2),
        case([3, 20, 20, 48], [1, 1, 70], valid, 1),
        case([5, 20, 20, 33], [1, 1, 64], valid, 1),
        case([3, 20, 20, 48], [1, 1, 70], valid.strided([2; 2]), 1),
        // Few pixels: products of matrices.
        case([32, 1, 1, 300], [1, 1, 70], valid, 1),
        case([8, 2, 3, 40], [1, 1, 700], valid, 1),
        case([13, 4, 4, 65], [1, 1, 33], valid, 1),
        case([4, 21, 22, 70], [3, 3, 70], around, 70),
        case([4, 21, 22, 70], [3, 3, 70], around.strided([2; 2]), 70),
        case([4, 21, 22, 64], [3, 3, 64], around, 64),
        case([4, 21, 22, 64], [3, 3, 64], around.strided([2; 2]), 64),
        // So many images that gradients of depthwise convolutions are cut between them.
        case([11, 27, 25, 48], [3, 3, 48], around, 48),
        case([9, 42, 43, 70], [3, 3, 70], around.strided([2; 2]), 70),
    ]
}

#[test]
fn large_convolutions_agree() {
    for case in large() {
        check(case, DType::F64);
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let _held = hold_isa();
    for case in large() {
        let bits = |threads| {
            let results = with_threads(threads, || case.run(&CPU, DType::F32)).unwrap();
            results.map(|buffer| buffer.bytes().to_vec())
        };
        let one = bits(1);
        for threads in [2, 3, 7] {
            assert!(bits(threads) == one, "{case:?} on {threads} threads");
        }
    }
}

#[test]
fn images_may_lie_in_memory_in_any_order() {
    let case = Case { input: [2, 5, 4, 3], w: [2, 3, 4], window: Window::valid().padded([[1; 2]; 2]), groups: 1 };
    for dtype in FLOATS {
        for ((name, x), (_, w)) in layouts(&case.input).into_iter().zip(layouts(&case.weights())) {
            let (images, weights) = (values(dtype, &x, 1), values(dtype, &w, 2));
            let (images, weights) = (View::new(&images, &x), View::new(&weights, &w));
            let [got, want] = [&CPU as &dyn Backend, &REFERENCE]
                .map(|on| on.conv2d(images, weights, None, None, &case.window, 1).unwrap());
            assert_close(&got, &want, SUMS, || format!("{dtype} {name}"));
            let [got, want] =
                [&CPU as &dyn Backend, &REFERENCE].map(|on| on.max_pool2d(images, [2; 2], &Window::valid()).unwrap());
            assert_close(&got.0, &want.0, Bound::EXACT, || format!("max_pool2d: {dtype} {name}"));
            assert_close(&got.1, &want.1, Bound::EXACT, || format!("max_pool2d, places: {dtype} {name}"));
        }
    }
}

#[test]
fn pools_of_every_kind_agree() {
    let kinds =
        (1..4).flat_map(|size| (1..4).flat_map(move |stride| (1..3).map(move |dilation| (size, stride, dilation))));
    for (i, (size, stride, dilation)) in kinds.enumerate() {
        for (before, after) in [(0, 0), (1, 0), (0, 2), (1, 2)] {
            let size = [size, 1 + i % 3];
            let window = Window {
                stride: [stride, 1 + i % 2],
                dilation: [dilation, 1],
                padding: [[before, 0], [0, after]].map(|[a, b]| [a.min(size[0] - 1), b.min(size[1] - 1)]),
            };
            let channels = [1, 3, 16, 17, 33][i % 5];
            pool_agrees([2, 9, 7, channels], size, window, if i % 2 == 0 { DType::F32 } else { DType::F64 });
        }
    }
    let halves = Window::valid().strided([2; 2]);
    pool_agrees([40, 26, 26, 32], [2; 2], halves, DType::F64);
    pool_agrees([30, 26, 26, 20], [3; 2], halves.padded([[1; 2]; 2]), DType::F64);
}

fn pool_agrees(shape: [usize; 4], size: [usize; 2], window: Window, dtype: DType) {
    let [n, h, w, c] = shape;
    let [oh, ow] = window.output([h, w], size).unwrap();
    let (layout, result) = (Layout::contiguous(&shape), Layout::contiguous(&[n, oh, ow, c]));
    let (x, dy) = (values(dtype, &layout, 1), values(dtype, &result, 2));
    let (x, dy) = (View::new(&x, &layout), View::new(&dy, &result));
    let what = || format!("{dtype} {shape:?} {size:?} {window:?}");
    let places = REFERENCE.max_pool2d(x, size, &window).unwrap().1;
    let run = |on: &dyn Backend| {
        let (y, chosen) = on.max_pool2d(x, size, &window).unwrap();
        assert_close(&chosen, &places, Bound::EXACT, || format!("places: {}", what()));
        let mut all = vec![y];
        all.push(on.max_pool2d_grad(dy, View::new(&places, &result), [h, w], size, &window).unwrap());
        for count_padding in [false, true] {
            all.push(on.avg_pool2d(x, size, &window, count_padding).unwrap());
            all.push(on.avg_pool2d_grad(dy, [h, w], size, &window, count_padding).unwrap());
        }
        all
    };
    for (i, (got, want)) in run(&CPU).iter().zip(&run(&REFERENCE)).enumerate() {
        assert_close(got, want, Bound::ulps(8.0).or(1e-5), || format!("{i}: {}", what()));
    }
}

#[test]
fn a_maximum_is_the_first_of_equals_or_a_nan() {
    let x = Buffer::from_slice(&[1.0f32, 2.0, 2.0, f32::NAN, 1.0, 0.0, -1.0, f32::NAN, f32::NEG_INFINITY]);
    let layout = Layout::contiguous(&[1, 1, 9, 1]);
    let window = Window::valid().strided([1, 3]);
    for on in [&CPU as &dyn Backend, &REFERENCE] {
        let (y, places) = on.max_pool2d(View::new(&x, &layout), [1, 3], &window).unwrap();
        assert!(y.as_slice::<f32>()[0] == 2.0 && y.as_slice::<f32>()[1..].iter().all(|y| y.is_nan()));
        assert_eq!(places.as_slice::<i32>(), [1, 3, 7]);
    }
}
