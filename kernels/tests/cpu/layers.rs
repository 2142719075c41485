//! Primitives that are parts of whole layers, at sizes that are cut into several pieces and blocks, and at small ones.

use gradus_kernels::backend::Normalize;
use gradus_kernels::cpu::CPU;
use gradus_kernels::reference::REFERENCE;
use gradus_kernels::{Backend, Buffer, DType, Layout, Unary, View};

use crate::common::{Bound, FLOATS, assert_close, index_values, values};

/// In `f64`, five thousand terms of some tens lose 5e-11 at most: a thousandth is 1e-10 there (see [`Bound::for_type`]). A
/// piece that is left out, or counted twice, is off by far more.
const SUMS: Bound = Bound::ulps(8.0).or(1e-3);

/// Shapes with the dimension of their features. Of the large ones, the first has several blocks of features and several
/// pieces of rows, the second many rows of few features, the third runs of elements behind
/// each feature, and the fourth few rows.
const LARGE: [(&[usize], usize); 4] = [(&[300, 700], 1), (&[5000, 20], 1), (&[40, 90, 30], 1), (&[50, 700], 1)];

/// As [`LARGE`], for every type.
const SMALL: [(&[usize], usize); 4] = [(&[7, 33], 1), (&[7, 33], 0), (&[3, 4, 5], 1), (&[1, 9], 1)];

fn cases() -> impl Iterator<Item = (DType, &'static [usize], usize)> {
    let small = FLOATS.into_iter().flat_map(|dtype| SMALL.map(|(shape, axis)| (dtype, shape, axis)));
    LARGE.into_iter().map(|(shape, axis)| (DType::F64, shape, axis)).chain(small)
}

fn assert_both(got: &(Buffer, Buffer), want: &(Buffer, Buffer), what: impl Fn() -> String) {
    assert_close(&got.0, &want.0, SUMS, || format!("{}, first", what()));
    assert_close(&got.1, &want.1, SUMS, || format!("{}, second", what()));
}

#[test]
fn normalisation_agrees() {
    for (dtype, shape, axis) in cases() {
        let (layout, row) = (Layout::contiguous(shape), Layout::contiguous(&shape[axis..=axis]));
        let [x, dy] = [1, 2].map(|seed| values(dtype, &layout, seed));
        let [gamma, beta] = [3, 4].map(|seed| values(dtype, &row, seed));
        let [x, dy] = [&x, &dy].map(|buffer| View::new(buffer, &layout));
        let what = |op: &str| format!("{op}: {dtype} {shape:?} along {axis}");
        let moments = REFERENCE.moments(x, axis).unwrap();
        assert_both(&CPU.moments(x, axis).unwrap(), &moments, || what("moments"));
        let [mean, variance, gamma, beta] =
            [&moments.0, &moments.1, &gamma, &beta].map(|buffer| View::new(buffer, &row));
        let how = Normalize { mean, variance, gamma, beta, epsilon: 1e-3 };
        let [got, want] = [&CPU as &dyn Backend, &REFERENCE].map(|on| on.normalize(x, axis, &how).unwrap());
        assert_close(&got, &want, SUMS, || what("normalize"));
        let backends = [&CPU as &dyn Backend, &REFERENCE];
        let [got, want] = backends.map(|on| on.batch_norm(x, axis, gamma, beta, 1e-3).unwrap());
        for (got, want) in got.iter().zip(&want) {
            assert_close(got, want, SUMS, || what("batch_norm"));
        }
        let [got, want] = backends.map(|on| on.batch_norm_grad(x, dy, axis, &how).unwrap());
        for (got, want) in got.iter().zip(&want) {
            assert_close(got, want, SUMS, || what("batch_norm_grad"));
        }
        for activation in [Unary::Relu, Unary::Relu6] {
            activated_agrees([x, dy], axis, &how, activation);
        }
        assert!(CPU.normalize_activated(x, axis, &how, Unary::Tanh).unwrap().is_none());
        let params = REFERENCE.normalize_grad_params(x, dy, axis, &how).unwrap();
        assert_both(&CPU.normalize_grad_params(x, dy, axis, &how).unwrap(), &params, || {
            what("gradients of gamma, beta")
        });
        for sums in [None, Some((&params.0, &params.1))] {
            let [got, want] =
                [&CPU as &dyn Backend, &REFERENCE].map(|on| on.normalize_grad_input(x, dy, axis, &how, sums).unwrap());
            assert_close(&got, &want, SUMS, || what("gradient of x"));
        }
    }
}

/// What the activation has a pass of its own for in the reference.
fn activated_agrees([x, dy]: [View; 2], axis: usize, how: &Normalize, activation: Unary) {
    let layout = Layout::contiguous(x.shape());
    let what = |op: &str| format!("{op} with {activation:?}: {} {:?} along {axis}", x.dtype(), x.shape());
    let y = REFERENCE.normalize(x, axis, how).unwrap();
    let want = REFERENCE.unary(activation, View::new(&y, &layout)).unwrap();
    let got = CPU.normalize_activated(x, axis, how, activation).unwrap().unwrap();
    assert_close(&got, &want, SUMS, || what("normalize"));
    let Normalize { gamma, beta, epsilon, .. } = *how;
    let all = CPU.batch_norm_activated(x, axis, gamma, beta, epsilon, activation).unwrap().unwrap();
    let [y_of_batch, mean, variance] = REFERENCE.batch_norm(x, axis, gamma, beta, epsilon).unwrap();
    let want = REFERENCE.unary(activation, View::new(&y_of_batch, &layout)).unwrap();
    for (got, want) in all.iter().zip([&want, &mean, &variance]) {
        assert_close(got, want, SUMS, || what("batch_norm"));
    }
    let slope = |y: f64| f64::from(y > 0.0 && (activation == Unary::Relu || y < 6.0));
    let through = |dtype| -> Buffer {
        let [y, dy] = [View::new(&y, &layout), dy].map(|view| REFERENCE.cast(view, DType::F64).unwrap());
        let pairs = y.as_slice::<f64>().iter().zip(dy.as_slice::<f64>());
        let dz = Buffer::from_slice(&pairs.map(|(&y, &dy)| slope(y) * dy).collect::<Vec<f64>>());
        REFERENCE.cast(View::new(&dz, &layout), dtype).unwrap()
    };
    let dz = through(x.dtype());
    let want = REFERENCE.batch_norm_grad(x, View::new(&dz, &layout), axis, how).unwrap();
    let got = CPU.batch_norm_activated_grad(x, dy, axis, how, activation).unwrap().unwrap();
    for (got, want) in got.iter().zip(&want) {
        assert_close(got, want, SUMS, || what("batch_norm_grad"));
    }
}

#[test]
fn rows_agree() {
    for (dtype, shape, _) in cases() {
        let width = shape[shape.len() - 1];
        let (layout, row) = (Layout::contiguous(shape), Layout::contiguous(&[width]));
        let [x, dy] = [1, 2].map(|seed| values(dtype, &layout, seed));
        let [gamma, beta] = [3, 4].map(|seed| values(dtype, &row, seed));
        let [x, dy] = [&x, &dy].map(|buffer| View::new(buffer, &layout));
        let [gamma, beta] = [&gamma, &beta].map(|buffer| View::new(buffer, &row));
        let [got, want] = [&CPU as &dyn Backend, &REFERENCE].map(|on| on.layer_norm(x, gamma, beta, 1e-3).unwrap());
        assert_close(&got, &want, SUMS, || format!("layer_norm: {dtype} {shape:?}"));
        for &op in Unary::ALL.iter().filter(|op| op.slope_at(0.5).is_some()) {
            let [got, want] = [&CPU as &dyn Backend, &REFERENCE].map(|on| on.activation_grad(op, x, dy).unwrap());
            assert_both(&got, &want, || format!("activation_grad of {}: {dtype} {shape:?}", op.name()));
        }
    }
}

#[test]
fn the_loss_comes_with_its_gradient() {
    for shape in [[5000, 10], [700, 1100], [7, 3]] {
        let (layout, rows) = (Layout::contiguous(&shape), Layout::contiguous(&shape[..1]));
        let (logits, labels) = (values(DType::F64, &layout, 1), index_values(DType::I64, &rows, shape[1], 2));
        let (logits, labels) = (View::new(&logits, &layout), View::new(&labels, &rows));
        let [got, want] =
            [&CPU as &dyn Backend, &REFERENCE].map(|on| on.cross_entropy_with_grad(logits, labels).unwrap());
        assert_both(&got, &want, || format!("cross_entropy_with_grad: {shape:?}"));
    }
}

#[test]
fn products_are_added_in_place() {
    for [m, k, n] in [[784, 32, 300], [100, 32, 10], [1, 5, 7], [3, 0, 4]] {
        let (a_layout, b_layout) = (Layout::contiguous(&[m, k]), Layout::contiguous(&[k, n]));
        let [a, b] = [(&a_layout, 1), (&b_layout, 2)].map(|(layout, seed)| values(DType::F64, layout, seed));
        let (a, b) = (View::new(&a, &a_layout), View::new(&b, &b_layout));
        let [got, want] = [&CPU as &dyn Backend, &REFERENCE].map(|on| {
            let mut c = values(DType::F64, &Layout::contiguous(&[m, n]), 3);
            on.add_product(&mut c, -0.5, a, b).unwrap();
            c
        });
        assert_close(&got, &want, SUMS, || format!("add_product: {m} x {k} times {k} x {n}"));
    }
}

#[test]
fn moments_of_many_columns_agree() {
    for shape in [[3, 600], [40, 1100]] {
        let layout = Layout::contiguous(&shape);
        let x = values(DType::F32, &layout, 3);
        let moments = |on: &dyn Backend| on.moments(View::new(&x, &layout), 1).unwrap();
        let (got, want) = (moments(&CPU), moments(&REFERENCE));
        assert_close(&got.0, &want.0, SUMS, || format!("means of {shape:?}"));
        assert_close(&got.1, &want.1, SUMS, || format!("variances of {shape:?}"));
    }
}

/// A number that is none must be seen in what follows from it.
#[test]
fn norms_do_not_hide_what_is_not_finite() {
    let layout = Layout::contiguous(&[20, 4]);
    for odd in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        let mut x = Buffer::full(DType::F32, 80, 1.5.into());
        x.as_mut_slice::<f32>()[9] = odd;
        let x = View::new(&x, &layout);
        let (_, variance) = CPU.moments(x, 1).unwrap();
        let finite: Vec<bool> = variance.as_slice::<f32>().iter().map(|variance| variance.is_finite()).collect();
        assert_eq!(finite, [true, false, true, true], "{odd}");
        let line = Buffer::full(DType::F32, 4, 1.0.into());
        let (row, line) = (Layout::contiguous(&[4]), &line);
        let y = CPU.layer_norm(x, View::new(line, &row), View::new(line, &row), 1e-3).unwrap();
        let nan = y.as_slice::<f32>().iter().filter(|y| y.is_nan()).count();
        assert_eq!(nan, 4, "{odd}: the row that holds it");
    }
}
