//! Reductions along rows and columns.

use gradus_kernels::backend::Reduce;
use gradus_kernels::{Backend, Bool, Buffer, DType, Element, Layout, REFERENCE, View, with_element};

use crate::gpu::{Arg, Gpu, assert_near, list, values};

const SHAPES: [[usize; 2]; 6] = [[1, 1], [3, 31], [5, 32], [9, 1000], [70, 5], [300, 2]];

const OPS: [(Reduce, &str); 5] =
    [(Reduce::Sum, "sum"), (Reduce::Mean, "sum"), (Reduce::Prod, "prod"), (Reduce::Max, "max"), (Reduce::Min, "min")];

/// Kernels of one function on matrices of one type.
struct Matrix<'a> {
    gpu: &'a mut Gpu,
    name: &'static str,
    scale: f64,
}

impl Matrix<'_> {
    /// Launches a kernel on elements of a type, and then one of the same function on its results, which are as many for each as there
    /// are parts.
    fn launch(&mut self, kernel: &str, dtype: DType, grid: [u32; 3], block: [u32; 3], args: &[Arg], is_last: bool) {
        let mut args = args.to_vec();
        let scale = if is_last { self.scale } else { 1.0 };
        match dtype {
            DType::F32 => args.push(Arg::from(scale as f32)),
            DType::F64 => args.push(Arg::from(scale)),
            _ => {}
        }
        self.gpu.launch(&format!("reduce_{kernel}_{}_{dtype}", self.name), grid, block, &args);
    }

    fn rows(&mut self, dtype: DType, x: u64, [rows, columns]: [u32; 2], to: DType, parts: u32) -> u64 {
        let size = to.size() * rows as usize;
        let y = self.gpu.room(size);
        if parts == 0 {
            self.launch("rows_warp", dtype, [rows.div_ceil(4), 1, 1], [128, 1, 1], list![x, y, rows, columns], true);
        } else if parts == 1 {
            self.launch("rows_block", dtype, [rows, 1, 1], [96, 1, 1], list![x, y, columns], true);
        } else {
            let between = self.gpu.room(size * parts as usize);
            self.launch("rows_block", dtype, [rows, parts, 1], [64, 1, 1], list![x, between, columns], false);
            let args = list![between, y, rows, parts];
            self.launch("rows_warp", to, [rows.div_ceil(2), 1, 1], [64, 1, 1], args, true);
        }
        y
    }

    fn columns(&mut self, dtype: DType, x: u64, [rows, columns]: [u32; 2], to: DType, parts: u32) -> u64 {
        let width = columns.next_power_of_two().min(32);
        let (size, block) = (to.size() * columns as usize, [width, 256 / width, 1]);
        let y = self.gpu.room(size);
        let grid = |parts: u32| [columns.div_ceil(width), parts, 1];
        if parts == 1 {
            self.launch("columns", dtype, grid(1), block, list![x, y, rows, columns], true);
        } else {
            let between = self.gpu.room(size * parts as usize);
            self.launch("columns", dtype, grid(parts), block, list![x, between, rows, columns], false);
            self.launch("columns", to, grid(1), block, list![between, y, parts, columns], true);
        }
        y
    }
}

fn check<T: Element>(seed: u32) {
    let mut gpu = Gpu::new("reduce");
    for [rows, columns] in SHAPES {
        let x = values::<T>(rows * columns, seed, 2.0);
        let (buffer, layout) = (Buffer::from_slice(&x), Layout::contiguous(&[rows, columns]));
        let (view, x, shape) = (View::new(&buffer, &layout), gpu.put(&x), [rows as u32, columns as u32]);
        for (op, name) in OPS {
            let is_end = matches!(op, Reduce::Max | Reduce::Min);
            if op == Reduce::Mean && !T::DTYPE.is_float() || is_end && T::DTYPE == DType::Bool {
                continue;
            }
            for axis in [1, 0] {
                let expected = REFERENCE.reduce(op, view, &[axis]).unwrap();
                let scale = if op == Reduce::Mean { 1.0 / [rows, columns][axis] as f64 } else { 1.0 };
                let mut matrix = Matrix { gpu: &mut gpu, name, scale };
                for parts in [0, 1, 3] {
                    let y = match axis {
                        1 => matrix.rows(T::DTYPE, x, shape, expected.dtype(), parts),
                        _ => matrix.columns(T::DTYPE, x, shape, expected.dtype(), parts.max(1)),
                    };
                    let what = format!("{op:?} of {} over axis {axis} of {rows} x {columns}, {parts} parts", T::DTYPE);
                    let tolerance = if T::DTYPE == DType::F64 { 1e-11 } else { 1e-5 };
                    with_element!(expected.dtype(), R => {
                        assert_near(&what, &matrix.gpu.get::<R>(y, expected.len()), expected.as_slice(), tolerance);
                    });
                }
            }
        }
    }
}

#[test]
fn floats_are_reduced() {
    check::<f32>(5);
    check::<f64>(6);
}

#[test]
fn whole_numbers_are_reduced_and_wrap() {
    check::<i32>(7);
    check::<i64>(8);
    check::<u8>(9);
    check::<Bool>(10);
}

#[test]
fn long_sums_lose_no_digits() {
    let mut gpu = Gpu::new("reduce");
    // Each addition to a sum of single precision would round the small number away.
    let mut x = vec![1e-4f32; 40_000];
    x[0] = 10_000.0;
    let (from, to) = (gpu.put(&x), gpu.room(4));
    gpu.launch("reduce_rows_warp_sum_f32", [1; 3], [32, 1, 1], list![from, to, 1u32, 40_000u32, 1f32]);
    assert_eq!(gpu.get::<f32>(to, 1), [10_004.0]);
}
