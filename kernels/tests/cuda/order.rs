//! Places of extremes, running sums, and sorting.

use gradus_kernels::backend::ArgReduce;
use gradus_kernels::{Backend, Bool, Buffer, Element, Layout, REFERENCE, View, with_element};

use crate::gpu::{Gpu, assert_near, list, values};

const SHAPES: [[usize; 2]; 4] = [[1, 1], [3, 31], [5, 64], [2, 500]];

/// Calls `check` with matrices of each shape: where they are, and what the reference sees.
fn each_shape<T: Element>(shapes: &[[usize; 2]], scale: f64, mut check: impl FnMut(&mut Gpu, [usize; 2], u64, View)) {
    let mut gpu = Gpu::new("order");
    for &[rows, columns] in shapes {
        let x = values::<T>(rows * columns, 5, scale);
        let (buffer, layout) = (Buffer::from_slice(&x), Layout::contiguous(&[rows, columns]));
        let address = gpu.put(&x);
        check(&mut gpu, [rows, columns], address, View::new(&buffer, &layout));
    }
}

fn extremes<T: Element>() {
    // Few different numbers: there are equals, of which the first wins.
    each_shape::<T>(&SHAPES, 3.0, |gpu, [rows, columns], x, view| {
        for (op, least) in [(ArgReduce::Max, 0u32), (ArgReduce::Min, 1)] {
            let to = gpu.room(8 * rows);
            let (m, n) = (rows as u32, columns as u32);
            let name = format!("arg_rows_{}", T::DTYPE);
            gpu.launch(&name, [m.div_ceil(2), 1, 1], [64, 1, 1], list![x, to, m, n, least]);
            let expected = REFERENCE.arg_reduce(op, view, 1).unwrap();
            assert_eq!(gpu.get::<i64>(to, rows), expected.as_slice::<i64>(), "{name} of {rows} x {columns}");
        }
    });
}

#[test]
fn places_of_extremes() {
    extremes::<f32>();
    extremes::<f64>();
    extremes::<i32>();
    extremes::<i64>();
    extremes::<u8>();
    extremes::<Bool>();
    // Equals: the first of them, even where lanes find theirs in another order; and where all is lost.
    let mut gpu = Gpu::new("order");
    for (value, at) in [(1.0, 3), (f32::NAN, 40), (f32::NEG_INFINITY, 0)] {
        let mut x = vec![f32::NEG_INFINITY; 100];
        for i in [at, at + 1, at + 32, at + 57] {
            x[i] = value;
        }
        let (from, to) = (gpu.put(&x), gpu.room(8));
        gpu.launch("arg_rows_f32", [1; 3], [32, 1, 1], list![from, to, 1u32, 100u32, 0u32]);
        assert_eq!(gpu.get::<i64>(to, 1), [at as i64], "{value}");
    }
}

fn sums<T: Element>() {
    each_shape::<T>(&SHAPES, 50.0, |gpu, [rows, columns], x, view| {
        let expected = REFERENCE.cumsum(view, 1).unwrap();
        let (to, m, n) = (gpu.room(expected.bytes().len()), rows as u32, columns as u32);
        let name = format!("cumsum_rows_{}", T::DTYPE);
        gpu.launch(&name, [m.div_ceil(2), 1, 1], [64, 1, 1], list![x, to, m, n]);
        let tolerance = if T::DTYPE.size() == 8 { 1e-10 } else { 1e-6 };
        with_element!(expected.dtype(), R => {
            assert_near(&name, &gpu.get::<R>(to, rows * columns), expected.as_slice(), tolerance);
        });
    });
}

#[test]
fn running_sums() {
    sums::<f32>();
    sums::<f64>();
    sums::<i32>();
    sums::<i64>();
    sums::<u8>();
    sums::<Bool>();
}

/// Sorts as a host would: runs, then merges from one pair of arrays to another.
fn sorted(gpu: &mut Gpu, dtype: &str, size: usize, x: u64, [rows, columns]: [u32; 2], descending: u32) -> [u64; 2] {
    let n = rows * columns;
    let mut room = || [gpu.room(size * n as usize), gpu.room(8 * n as usize)];
    let (mut from, mut to) = (room(), room());
    let args = list![x, from[0], from[1], columns, descending];
    gpu.launch(&format!("sort_rows_{dtype}"), [rows, columns.div_ceil(1024), 1], [128, 1, 1], args);
    let mut width = 1024;
    while width < columns {
        let args = list![from[0], from[1], to[0], to[1], n, columns, width, descending];
        gpu.each(&format!("sort_merge_{dtype}"), n as usize, args);
        (from, to, width) = (to, from, 2 * width);
    }
    from
}

fn sort<T: Element>(shapes: &[[usize; 2]]) {
    each_shape::<T>(shapes, 9.0, |gpu, [rows, columns], x, view| {
        for descending in [false, true] {
            let (values, places) = REFERENCE.sort(view, 1, descending).unwrap();
            let shape = [rows as u32, columns as u32];
            let name = T::DTYPE.name();
            let [y, at] = sorted(gpu, name, size_of::<T>(), x, shape, descending.into());
            let n = rows * columns;
            assert_eq!(gpu.get::<i64>(at, n), places.as_slice::<i64>(), "{name} {rows} x {columns} {descending}");
            assert_near(name, &gpu.get::<T>(y, n), values.as_slice(), 0.0);
        }
    });
}

#[test]
fn rows_are_sorted_and_equals_keep_their_order() {
    let shapes = [[1, 1], [3, 2], [2, 37], [1, 300]];
    sort::<f32>(&shapes);
    sort::<f64>(&shapes);
    sort::<i32>(&shapes);
    sort::<i64>(&shapes);
    sort::<u8>(&shapes);
    sort::<Bool>(&shapes);
    // The last run is short, or has no neighbour.
    sort::<f32>(&[[2, 1024], [1, 1025], [2, 2500], [1, 3500]]);
    sort::<u8>(&[[1, 4097]]);
}
