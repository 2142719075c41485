//! Reductions along rows and columns, places of extremes, running sums.

use gradus_kernels::backend::{ArgReduce, Reduce};
use gradus_kernels::{Backend, Buffer, Layout, REFERENCE, View};

use crate::gpu::{Gpu, assert_close, list, numbers};

const SHAPES: [[usize; 2]; 5] = [[1, 1], [3, 31], [5, 32], [9, 1000], [70, 5]];

fn each_shape(mut check: impl FnMut(&mut Gpu, [usize; 2], &[f32], u64, View)) {
    let mut gpu = Gpu::new("reduce");
    for [rows, columns] in SHAPES {
        let mut x: Vec<f32> = numbers(rows * columns, 5).iter().map(|x| x + 1.1).collect();
        for row in (2..rows).step_by(4) {
            x[row * columns + columns / 2] = f32::NAN;
        }
        let buffer = Buffer::from_slice(&x);
        let layout = Layout::contiguous(&[rows, columns]);
        let address = gpu.put(&x);
        check(&mut gpu, [rows, columns], &x, address, View::new(&buffer, &layout));
    }
}

#[test]
fn sums_products_and_extremes() {
    each_shape(|gpu, [rows, columns], _, x, view| {
        let mean = 1.0 / columns as f32;
        let (m, n) = (rows as u32, columns as u32);
        for (op, name, scale) in [
            (Reduce::Sum, "sum", 1.0),
            (Reduce::Mean, "sum", mean),
            (Reduce::Prod, "prod", 1.0),
            (Reduce::Max, "max", 1.0),
            (Reduce::Min, "min", 1.0),
        ] {
            let expected = REFERENCE.reduce(op, view, &[1]).unwrap();
            let by_warp = gpu.room(4 * rows);
            let args = list![x, by_warp, m, n, scale];
            gpu.launch(&format!("reduce_rows_warp_{name}"), [m.div_ceil(4), 1, 1], [128, 1, 1], args);
            assert_close(name, &gpu.get(by_warp, rows), expected.as_slice(), 2e-6);
            let by_block = gpu.room(4 * rows);
            gpu.launch(&format!("reduce_rows_block_{name}"), [m, 1, 1], [96, 1, 1], list![x, by_block, n, scale]);
            assert_close(name, &gpu.get(by_block, rows), expected.as_slice(), 2e-6);
            if op != Reduce::Mean {
                let expected = REFERENCE.reduce(op, view, &[0]).unwrap();
                let to = gpu.room(4 * columns);
                gpu.each(&format!("reduce_columns_{name}"), columns, list![x, to, m, n, 1.0f32]);
                assert_close(name, &gpu.get(to, columns), expected.as_slice(), 2e-6);
            }
        }
    });
}

#[test]
fn places_of_extremes() {
    each_shape(|gpu, [rows, columns], _, x, view| {
        for (op, sign) in [(ArgReduce::Max, 1.0f32), (ArgReduce::Min, -1.0)] {
            let to = gpu.room(8 * rows);
            let (m, n) = (rows as u32, columns as u32);
            gpu.launch("arg_rows", [m.div_ceil(2), 1, 1], [64, 1, 1], list![x, to, m, n, sign]);
            let expected = REFERENCE.arg_reduce(op, view, 1).unwrap();
            assert_eq!(gpu.get::<i64>(to, rows), expected.as_slice::<i64>(), "{rows} x {columns}");
        }
    });
    // Equals: the first of them, even where lanes find theirs in another order; and where all is lost.
    let mut gpu = Gpu::new("reduce");
    for (value, at) in [(1.0, 3), (f32::NAN, 40), (f32::NEG_INFINITY, 0)] {
        let mut x = vec![f32::NEG_INFINITY; 100];
        for i in [at, at + 1, at + 32, at + 57] {
            x[i] = value;
        }
        let (from, to) = (gpu.put(&x), gpu.room(8));
        gpu.launch("arg_rows", [1; 3], [32, 1, 1], list![from, to, 1u32, 100u32, 1.0f32]);
        assert_eq!(gpu.get::<i64>(to, 1), [at as i64], "{value}");
    }
}

#[test]
fn running_sums() {
    each_shape(|gpu, [rows, columns], _, x, view| {
        let to = gpu.room(4 * rows * columns);
        let (m, n) = (rows as u32, columns as u32);
        gpu.launch("cumsum_rows", [m.div_ceil(2), 1, 1], [64, 1, 1], list![x, to, m, n]);
        let expected = REFERENCE.cumsum(view, 1).unwrap();
        assert_close("cumsum", &gpu.get(to, rows * columns), expected.as_slice(), 2e-6);
    });
}
