//! Reductions, running sums, sorting, fused rows and products.

use gradus_kernels::cpu::CPU;
use gradus_kernels::{ArgReduce, Backend, Buffer, DType, Element, Layout, REFERENCE, Reduce, View, with_element};

use crate::common::*;

const REDUCTIONS: [Reduce; 5] = [Reduce::Sum, Reduce::Prod, Reduce::Mean, Reduce::Max, Reduce::Min];

/// Every choice of dimensions.
fn subsets(rank: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..1u32 << rank).map(move |bits| (0..rank).filter(|axis| bits >> axis & 1 == 1).collect())
}

fn assert_reductions_agree(what: &str, x: View) {
    let wide = x.dtype() == DType::F64;
    // What cancels leaves the errors of what went before: each addition loses half a unit of what was summed so far, at
    // most of the sum of all magnitudes. The bound is given for `f32`, whence the factor, which double precision takes
    // out again. Narrower types are summed in double precision, and products of them multiplied in it.
    let magnitudes: f64 = with_element!(x.dtype(), T => {
        let elements = x.buffer.as_slice::<T>();
        x.layout.positions().map(|at| elements[at].to_scalar().as_f64().abs()).sum()
    });
    let distance = if wide { 1e7 * f64::EPSILON * x.len() as f64 * magnitudes } else { 1e-9 };
    for axes in subsets(x.shape().len()) {
        for op in REDUCTIONS {
            // Long products leave the range of numbers at one point or another, as the order of factors has it.
            if op == Reduce::Prod && x.len() > 200 {
                continue;
            }
            match (CPU.reduce(op, x, &axes), REFERENCE.reduce(op, x, &axes)) {
                (Ok(got), Ok(want)) => {
                    // Every factor of a product may cost half a unit, in whatever order they are multiplied.
                    let ulps = if wide && op == Reduce::Prod { 1f64.max(x.len() as f64) } else { 1.0 };
                    let bound = Bound::ulps(ulps).or(distance);
                    assert_close(&got, &want, bound, || format!("{op:?} of {what} over {axes:?}"));
                }
                (got, want) => assert_eq!(got.err(), want.err(), "{op:?} of {what} over {axes:?}"),
            }
        }
    }
}

#[test]
fn reductions_agree() {
    for dtype in DType::ALL {
        for_views(dtype, values, assert_reductions_agree);
        for_views(dtype, special_values, |what, x| {
            for axes in subsets(x.shape().len()) {
                for op in [Reduce::Max, Reduce::Min] {
                    let (got, want) = (CPU.reduce(op, x, &axes).unwrap(), REFERENCE.reduce(op, x, &axes).unwrap());
                    assert_close(&got, &want, Bound::EXACT, || format!("{op:?} of {what} over {axes:?}"));
                }
            }
        });
    }
}

#[test]
fn reductions_of_many_elements_agree() {
    // Long enough for several pieces, in either order of folding, and wide enough for several blocks of columns.
    for shape in [&[100_003][..], &[70_000, 2], &[2, 70_000], &[40, 3000], &[9, 70, 130], &[300, 3, 100]] {
        for (name, layout) in layouts(shape) {
            let x = values(DType::F32, &layout, 6);
            for axes in subsets(shape.len()) {
                for op in [Reduce::Sum, Reduce::Max] {
                    let x = View::new(&x, &layout);
                    let (got, want) = (CPU.reduce(op, x, &axes).unwrap(), REFERENCE.reduce(op, x, &axes).unwrap());
                    let bound = Bound::ulps(1.0).or(1e-7);
                    assert_close(&got, &want, bound, || format!("{op:?} of {shape:?} {name} over {axes:?}"));
                }
            }
        }
    }
}

#[test]
fn sums_do_not_depend_on_memory_order_or_threads() {
    let shape = [70, 60, 50];
    let layout = Layout::contiguous(&shape);
    let x = values(DType::F64, &layout, 7);
    let permuted = layout.permute(&[2, 0, 1]);
    let x = View::new(&x, &permuted);
    let copied = CPU.copy(x).unwrap();
    let dense = Layout::contiguous(permuted.shape());
    for axes in subsets(3) {
        let strided = CPU.reduce(Reduce::Sum, x, &axes).unwrap();
        assert_eq!(strided.bytes(), CPU.reduce(Reduce::Sum, View::new(&copied, &dense), &axes).unwrap().bytes());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(5).build().unwrap();
        assert_eq!(strided.bytes(), pool.install(|| CPU.reduce(Reduce::Sum, x, &axes).unwrap()).bytes());
    }
}

#[test]
fn scans_and_sorts_agree() {
    for dtype in DType::ALL {
        for_views(dtype, special_values, |what, x| {
            for axis in 0..x.shape().len() {
                let what = |op: &str| format!("{op} of {what} along {axis}");
                let (got, want) = (CPU.cumsum(x, axis).unwrap(), REFERENCE.cumsum(x, axis).unwrap());
                assert_close(&got, &want, Bound::EXACT, || what("cumsum"));
                for descending in [false, true] {
                    let got = CPU.sort(x, axis, descending).unwrap();
                    let want = REFERENCE.sort(x, axis, descending).unwrap();
                    assert_close(&got.0, &want.0, Bound::EXACT, || what("sort"));
                    assert_close(&got.1, &want.1, Bound::EXACT, || what("ranks"));
                }
                if x.shape()[axis] == 0 {
                    continue;
                }
                for op in [ArgReduce::Max, ArgReduce::Min] {
                    let (got, want) =
                        (CPU.arg_reduce(op, x, axis).unwrap(), REFERENCE.arg_reduce(op, x, axis).unwrap());
                    assert_close(&got, &want, Bound::EXACT, || what("arg_reduce"));
                }
            }
        });
    }
}

#[test]
fn fused_rows_agree() {
    for dtype in FLOATS {
        for_views(dtype, values, |what, x| {
            let dy = values(dtype, x.layout, 8);
            let dy = View::new(&dy, x.layout);
            // Subtracting the largest element rounds, and the exponential turns that into so much of the result. The
            // gradients take sums over all elements of values that are no softmax, and thus large.
            let bound = Bound::ulps(32.0).or(2e-6);
            let gradient_bound = Bound::ulps(32.0).or(1e-5 * x.len() as f64);
            for axis in 0..x.shape().len() {
                let check = |op: &str, results: [gradus_kernels::Result<Buffer>; 2], bound| {
                    let [got, want] = results.map(Result::unwrap);
                    assert_close(&got, &want, bound, || format!("{op} of {what} along {axis}"));
                };
                check("softmax", [CPU.softmax(x, axis), REFERENCE.softmax(x, axis)], bound);
                check("log_softmax", [CPU.log_softmax(x, axis), REFERENCE.log_softmax(x, axis)], bound);
                let both = [&CPU as &dyn Backend, &REFERENCE];
                check("softmax_grad", both.map(|on| on.softmax_grad(x, dy, axis)), gradient_bound);
                check("log_softmax_grad", both.map(|on| on.log_softmax_grad(x, dy, axis)), gradient_bound);
            }
        });
    }
}

#[test]
fn softmax_survives_what_overflows() {
    let layout = Layout::contiguous(&[4, 3]);
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let x = Buffer::from_slice(&[1e30, 1e30, -inf, 3e38, -3e38, 0.0, -inf, -inf, -inf, nan, 1.0, 2.0]);
    let x = View::new(&x, &layout);
    for (got, want) in
        [(CPU.softmax(x, 1), REFERENCE.softmax(x, 1)), (CPU.log_softmax(x, 1), REFERENCE.log_softmax(x, 1))]
    {
        assert_close(&got.unwrap(), &want.unwrap(), Bound::ulps(4.0), || "softmax of extremes".into());
    }
}

#[test]
fn cross_entropy_agrees() {
    for dtype in FLOATS {
        for shape in [[0, 3], [1, 1], [5, 10], [130, 10], [7, 1500]] {
            for (name, layout) in layouts(&shape) {
                let logits = values(dtype, &layout, 9);
                let rows = Layout::contiguous(&shape[..1]);
                let (labels, dy) = (index_values(DType::I64, &rows, shape[1], 10), values(dtype, &rows, 11));
                let (x, labels, dy) = (View::new(&logits, &layout), View::new(&labels, &rows), View::new(&dy, &rows));
                let what = || format!("cross_entropy of {dtype} {shape:?} {name}");
                let bound = Bound::ulps(4.0).or(4e-6);
                let (got, want) = (CPU.cross_entropy(x, labels).unwrap(), REFERENCE.cross_entropy(x, labels).unwrap());
                assert_close(&got, &want, bound, what);
                let got = CPU.cross_entropy_grad(x, labels, dy).unwrap();
                assert_close(&got, &REFERENCE.cross_entropy_grad(x, labels, dy).unwrap(), bound, what);
            }
        }
    }
}

#[test]
fn matrix_products_agree() {
    for dtype in FLOATS {
        for (a_shape, b_shape) in [([2, 5, 7], [2, 7, 3]), ([1, 1, 9], [1, 9, 1]), ([3, 4, 0], [3, 0, 2])] {
            for ((name, a_layout), (_, b_layout)) in layouts(&a_shape).into_iter().zip(layouts(&b_shape)) {
                let (a, b) = (values(dtype, &a_layout, 12), values(dtype, &b_layout, 13));
                let (a, b) = (View::new(&a, &a_layout), View::new(&b, &b_layout));
                let bound = Bound::ulps(4.0).or(1e-5);
                let what = || format!("matmul of {dtype} {a_shape:?} {name}");
                assert_close(&CPU.matmul(a, b).unwrap(), &REFERENCE.matmul(a, b).unwrap(), bound, what);
            }
        }
    }
}

/// Long rows are looked through in blocks, and numbers apart from NaN.
#[test]
fn the_best_of_a_long_row_is_found_wherever_it_stands() {
    for size in [127, 128, 200, 1024, 1500] {
        let layout = Layout::contiguous(&[1, size]);
        for place in [0, 1, 63, 64, size / 2, size - 30, size - 1] {
            for (best, op) in [(9.0, ArgReduce::Max), (-9.0, ArgReduce::Min), (f32::NAN, ArgReduce::Max)] {
                let mut x: Vec<f32> = (0..size).map(|i| (i * 7919 % 17) as f32 - 8.0).collect();
                x[place] = best;
                // Of equals the first is meant.
                x[size - 1] = best;
                let x = Buffer::from_slice(&x);
                let found = CPU.arg_reduce(op, View::new(&x, &layout), 1).unwrap();
                assert_eq!(found.as_slice::<i64>(), [place as i64], "{best} among {size}");
            }
            let mut x = vec![0f32; size];
            x[place] = 200.0;
            let x = Buffer::from_slice(&x);
            let y = CPU.softmax(View::new(&x, &layout), 1).unwrap();
            assert_eq!(y.as_slice::<f32>()[place], 1.0, "softmax of {size}, {place}");
        }
    }
}
