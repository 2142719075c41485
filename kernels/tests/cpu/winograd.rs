//! Convolutions with 3 x 3 kernels and many channels, which are computed with fewer products and larger errors.

use gradus_kernels::cpu::CPU;
use gradus_kernels::cpu::simd::Isa;
use gradus_kernels::cpu::threads::with_threads;
use gradus_kernels::reference::REFERENCE;
use gradus_kernels::{Backend, Buffer, DType, Layout, Unary, View, Window};

use crate::images::{Case, hold_isa};

/// An error over the largest sum of the magnitudes of a result's products, at most. A result's own sum is no measure at the border,
/// where few of the products that go through together are its own.
const STATED: f64 = 1e-6;

fn cases() -> Vec<Case> {
    let of = |n, [h, w]: [usize; 2], [c, o]: [usize; 2], padding| {
        let window = Window::valid().padded(padding);
        Case { input: [n, h, w, c], w: [3, 3, o], window, groups: 1 }
    };
    vec![
        // One square of results, and then some that lie partly outside of the images.
        of(1, [6, 6], [16, 16], [[0, 0], [0, 0]]),
        of(3, [13, 13], [32, 64], [[0, 0], [0, 0]]),
        of(2, [15, 14], [17, 33], [[1, 1], [1, 1]]),
        of(2, [9, 11], [40, 24], [[2, 0], [1, 2]]),
        // More padding than a kernel reaches over, so that some results are nothing but bias.
        of(2, [10, 7], [20, 70], [[3, 1], [0, 4]]),
        of(2, [7, 7], [128, 100], [[1, 1], [1, 1]]),
        // Several blocks of squares, and several parts of sums.
        of(9, [32, 31], [48, 65], [[1, 1], [1, 1]]),
        of(0, [8, 8], [16, 16], [[1, 1], [1, 1]]),
        // Gradients of images that stand one below the other, at several places within squares.
        of(7, [13, 12], [16, 32], [[0, 0], [1, 1]]),
        of(5, [9, 10], [24, 40], [[0, 0], [0, 0]]),
        of(0, [8, 8], [16, 16], [[0, 0], [0, 0]]),
    ]
}

fn floats(buffer: &Buffer) -> impl Iterator<Item = f64> {
    buffer.as_slice::<f32>().iter().map(|&x| f64::from(x))
}

#[test]
fn errors_are_as_small_as_stated_on_every_instruction_set() {
    for case in cases() {
        let inputs = case.inputs(DType::F32);
        let want = case.run_on(&REFERENCE, &inputs, None);
        let magnitudes = inputs.each_ref().map(|x| {
            let magnitudes: Vec<f32> = x.as_slice::<f32>().iter().map(|x| x.abs()).collect();
            Buffer::from_slice(&magnitudes)
        });
        let magnitudes = case.run_on(&REFERENCE, &magnitudes, None);
        let (_held, before) = (hold_isa(), Isa::get());
        for isa in Isa::available() {
            isa.select().unwrap();
            let [y, dx, dw] = case.run_on(&CPU, &inputs, None);
            let [dx_of_all, ..] = case.grads_on(&CPU, &inputs);
            let got =
                [("result", 0, y), ("gradient of x", 1, dx), ("gradient of w", 2, dw), ("dx of all", 1, dx_of_all)];
            for (what, i, got) in &got {
                let (want, scale) = (&want[*i], &magnitudes[*i]);
                assert_eq!(got.len(), want.len());
                let scale = floats(scale).fold(1e-30, f64::max);
                let worst =
                    floats(got).zip(floats(want)).map(|(got, want)| (got - want).abs() / scale).fold(0.0, f64::max);
                assert!(worst <= STATED, "{what}: {case:?} on {isa}: {worst:e} of the magnitudes");
            }
        }
        before.select().unwrap();
    }
}

#[test]
fn activations_follow() {
    for case in cases() {
        let (_held, inputs) = (hold_isa(), case.inputs(DType::F32));
        let [plain, through] = [None, Some(Unary::Relu)].map(|then| case.run_on(&CPU, &inputs, then)[0].clone());
        for (plain, through) in floats(&plain).zip(floats(&through)) {
            assert_eq!(plain.max(0.0), through, "{case:?}");
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for case in cases() {
        let (_held, inputs) = (hold_isa(), case.inputs(DType::F32));
        let bits = |threads| {
            let results = with_threads(threads, || case.run_on(&CPU, &inputs, None)).unwrap();
            results.map(|buffer| buffer.bytes().to_vec())
        };
        let one = bits(1);
        for threads in [2, 5] {
            assert!(bits(threads) == one, "{case:?} on {threads} threads");
        }
    }
}

#[test]
fn an_image_has_the_same_results_in_every_batch() {
    for case in cases().into_iter().filter(|case| case.input[0] > 1) {
        let (_held, inputs) = (hold_isa(), case.inputs(DType::F32));
        let [y, dx, _] = case.run_on(&CPU, &inputs, None);
        let last = Case { input: [1, case.input[1], case.input[2], case.input[3]], ..case };
        let of_last = |buffer: &Buffer| {
            let all = buffer.as_slice::<f32>();
            Buffer::from_slice(&all[all.len() / case.input[0] * (case.input[0] - 1)..])
        };
        let [x, w, dy, bias] = &inputs;
        let [y_last, dx_last, _] = last.run_on(&CPU, &[of_last(x), w.clone(), of_last(dy), bias.clone()], None);
        assert!(of_last(&y).bytes() == y_last.bytes(), "result: {case:?}");
        assert!(of_last(&dx).bytes() == dx_last.bytes(), "gradient of x: {case:?}");
    }
}

#[test]
fn images_may_lie_in_memory_in_another_order() {
    let case = cases()[2];
    let (_held, inputs) = (hold_isa(), case.inputs(DType::F32));
    let [n, h, w, c] = case.input;
    // The same images as planes of channels.
    let mut planes = vec![0.0f32; inputs[0].len()];
    for (i, &x) in inputs[0].as_slice::<f32>().iter().enumerate() {
        planes[((i / (h * w * c)) * c + i % c) * h * w + i / c % (h * w)] = x;
    }
    let (planes, layout) = (Buffer::from_slice(&planes), Layout::contiguous(&[n, c, h, w]).permute(&[0, 2, 3, 1]));
    let weights = Layout::contiguous(&case.weights());
    let y = CPU.conv2d(View::new(&planes, &layout), View::new(&inputs[1], &weights), None, None, &case.window, 1);
    let straight = Layout::contiguous(&case.input);
    let want =
        CPU.conv2d(View::new(&inputs[0], &straight), View::new(&inputs[1], &weights), None, None, &case.window, 1);
    assert!(y.unwrap().bytes() == want.unwrap().bytes());
}
