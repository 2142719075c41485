//! Products of matrices of any sizes and strides, and what is done with their sums.

use gradus_emulator::Counters;
use gradus_kernels::{Backend, Buffer, Element, Layout, REFERENCE, Scalar, Unary, View};

use crate::gpu::{Arg, Gpu, assert_close, list, numbers};

/// How an operand lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Rows,
    Columns,
    /// Backwards, with gaps.
    Odd,
}
use Order::{Columns, Odd, Rows};

/// Matrices `[batch, rows, columns]` that lie so, in a buffer of so many elements.
fn layout(order: Order, [batch, rows, columns]: [usize; 3]) -> (Layout, usize) {
    let (m, n) = (rows as isize, columns as isize);
    let each = rows * columns;
    match order {
        Rows => (Layout::contiguous(&[batch, rows, columns]), batch * each),
        Columns => (Layout::strided(&[batch, rows, columns], &[m * n, 1, m], 0), batch * each),
        Odd => {
            let strides = [-3 * m * n, 3 * n, -3];
            (
                Layout::strided(&[batch, rows, columns], &strides, 3 * (batch - 1) * each + 3 * (columns - 1)),
                3 * batch * each,
            )
        }
    }
}

/// A product: the sizes, the layouts, and what is done with its sums.
#[derive(Clone, Copy, Debug)]
struct Case {
    kernel: &'static str,
    batch: usize,
    sizes: [usize; 3],
    orders: [Order; 2],
    parts: u32,
    bias: bool,
    scale: f64,
    accumulate: bool,
    activation: Option<Unary>,
}

const PLAIN: Case = Case {
    kernel: "matmul_64",
    batch: 1,
    sizes: [1, 1, 1],
    orders: [Rows, Rows],
    parts: 1,
    bias: false,
    scale: 1.0,
    accumulate: false,
    activation: None,
};

/// The number of an activation, and its parameter.
pub fn activation(op: Option<Unary>) -> (u32, f64) {
    match op {
        None => (0, 0.0),
        Some(Unary::Relu) => (1, 0.0),
        Some(Unary::Sigmoid) => (2, 0.0),
        Some(Unary::Tanh) => (3, 0.0),
        Some(Unary::LeakyRelu(slope)) => (4, slope),
        Some(Unary::Elu(alpha)) => (5, alpha),
        Some(Unary::Selu) => (6, 0.0),
        Some(other) => panic!("{} has no number", other.name()),
    }
}

fn strides(a: &Layout, b: &Layout) -> Arg {
    let narrow = [a.strides()[1], a.strides()[2], b.strides()[1], b.strides()[2]].map(|stride| stride as i32 as u32);
    let wide = [a.strides()[0], b.strides()[0]].map(|stride| [stride as u32, (stride as i64 >> 32) as u32]);
    Arg::words(narrow.into_iter().chain(wide.into_iter().flatten()))
}

fn filled<T: Element>(len: usize, seed: u32) -> Vec<T> {
    numbers(len, seed).iter().map(|&x| Scalar::Float(x.into()).to()).collect()
}

impl Case {
    fn grid(&self) -> ([u32; 3], [u32; 3]) {
        let [m, n, _] = self.sizes.map(|size| size as u32);
        let matrices = self.batch as u32 * self.parts;
        match self.kernel {
            "matmul_wide_nn" | "matmul_wide_nt" | "matmul_wide_tn" => {
                ([n.div_ceil(128), m.div_ceil(128), matrices], [256, 1, 1])
            }
            "matmul_64" => ([n.div_ceil(64), m.div_ceil(64), matrices], [256, 1, 1]),
            "matmul_few" => ([n.div_ceil(32), 1, matrices], [32, 8, 1]),
            _ => ([n.div_ceil(16), m.div_ceil(16), matrices], [16, 16, 1]),
        }
    }

    /// Launches it in the type `T` and compares with the reference.
    fn run<T: Element>(self) -> Counters {
        let [m, n, k] = self.sizes;
        let is_wide = self.kernel.starts_with("matmul_wide");
        let mut gpu = Gpu::new(if is_wide { "matmul_wide" } else { "matmul_any" });
        let ((at_a, len_a), (at_b, len_b)) =
            (layout(self.orders[0], [self.batch, m, k]), layout(self.orders[1], [self.batch, k, n]));
        let count = self.batch * m * n;
        let (a, b, old, bias) =
            (filled::<T>(len_a, 6), filled::<T>(len_b, 7), filled::<T>(count, 8), filled::<T>(n, 9));
        let size = size_of::<T>() as u64;
        let from_a = gpu.put(&a) + at_a.offset() as u64 * size;
        let from_b = gpu.put(&b) + at_b.offset() as u64 * size;
        let to = if self.accumulate { gpu.put(&old) } else { gpu.room(count * size as usize) };
        let on_bias = if self.bias { gpu.put(&bias) } else { 0 };
        let (number, p) = activation(self.activation);
        let real = |x: f64| Arg::of(Scalar::Float(x).to::<T>());
        let finish = |scale: f64, accumulate: bool, number: u32| {
            [real(scale), Arg::from(u32::from(accumulate)), number.into(), real(p)]
        };
        let (grid, block) = self.grid();
        let sizes = list![m as u32, n as u32, k as u32, strides(&at_a, &at_b)].to_vec();
        let whole = finish(self.scale, self.accumulate, number);
        let launch = |gpu: &mut Gpu, c: u64, bias: u64, end: &[Arg]| {
            let parts = (self.kernel != "matmul_f64").then(|| Arg::from(self.parts));
            let mut args = list![from_a, from_b, c, bias].to_vec();
            args.extend(sizes.iter().cloned().chain(parts).chain(end.iter().cloned()));
            gpu.launch(self.kernel, grid, block, &args)
        };
        let counters = if self.parts == 1 {
            launch(&mut gpu, to, on_bias, &whole)
        } else {
            let partial = gpu.room(count * self.parts as usize * size as usize);
            let counters = launch(&mut gpu, partial, 0, &finish(1.0, false, 0));
            let mut args = list![partial, to, on_bias, count as u32, (m * n) as u32, n as u32, self.parts].to_vec();
            args.extend(whole);
            // The parts of large products are joined by the same kernel.
            let mut joiner = if is_wide { gpu.with_kernels_of("matmul_any") } else { gpu };
            joiner.each("matmul_join", count, &args);
            gpu = joiner;
            counters
        };
        let (a, b) = (Buffer::from_slice(&a), Buffer::from_slice(&b));
        let product = REFERENCE.matmul(View::new(&a, &at_a), View::new(&b, &at_b)).unwrap();
        let expected: Vec<f32> = (0..count)
            .map(|i| {
                let value = |x: T| x.to_scalar().as_f64();
                let mut sum = self.scale * value(product.as_slice::<T>()[i]);
                sum += if self.accumulate { value(old[i]) } else { 0.0 };
                sum += if self.bias { value(bias[i % n]) } else { 0.0 };
                self.activation.map_or(sum, |op| op.reference(sum)) as f32
            })
            .collect();
        let found: Vec<f32> = gpu.get::<T>(to, count).iter().map(|x| x.to_scalar().as_f64() as f32).collect();
        assert_close(&format!("{self:?}"), &found, &expected, 2e-6);
        counters
    }
}

#[test]
fn tiles_of_64_multiply_whatever_the_strides() {
    for a in [Rows, Columns, Odd] {
        for b in [Rows, Columns, Odd] {
            for (batch, sizes) in [(1, [1, 1, 1]), (2, [65, 67, 33]), (1, [64, 128, 48]), (2, [20, 12, 8])] {
                let counters = Case { batch, sizes, orders: [a, b], ..PLAIN }.run::<f32>();
                assert_eq!(counters.bank_conflicts(), 0, "{sizes:?} {a:?} {b:?}");
            }
        }
    }
}

#[test]
fn wide_loads_are_used_where_they_fit() {
    let case = |orders, sizes| Case { orders, sizes, ..PLAIN }.run::<f32>();
    for orders in [[Rows, Rows], [Rows, Columns], [Columns, Rows], [Columns, Columns]] {
        let wide = case(orders, [64, 64, 64]);
        let narrow = case(orders, [63, 63, 63]);
        assert!(wide.global_requests < narrow.global_requests / 2, "{orders:?}");
    }
}

#[test]
fn few_rows_multiply() {
    for (m, parts) in [(1, 1), (7, 1), (16, 3)] {
        for orders in [[Rows, Rows], [Columns, Columns], [Odd, Odd]] {
            let case = Case { kernel: "matmul_few", sizes: [m, 70, 50], orders, parts, batch: 2, ..PLAIN };
            assert_eq!(case.run::<f32>().bank_conflicts(), 0);
        }
    }
    Case { kernel: "matmul_few", sizes: [5, 40, 9], bias: true, activation: Some(Unary::Relu), ..PLAIN }.run::<f32>();
}

#[test]
fn long_sums_are_cut() {
    // The last part is short, or empty.
    for (k, parts) in [(200, 2), (200, 3), (40, 5), (17, 4)] {
        for batch in [1, 2] {
            Case { sizes: [30, 20, k], parts, batch, bias: true, scale: 0.5, accumulate: true, ..PLAIN }.run::<f32>();
        }
    }
}

#[test]
fn sums_are_finished() {
    let cases = [(false, 1.0, false), (true, 1.0, false), (false, -0.5, true), (true, 2.0, true)];
    for kernel in ["matmul_64", "matmul_f64"] {
        for (bias, scale, accumulate) in cases {
            for &op in Unary::ALL.iter().filter(|op| op.slope_at(0.5).is_some()) {
                let case = Case { kernel, bias, scale, accumulate, activation: Some(op), sizes: [9, 21, 30], ..PLAIN };
                if kernel == "matmul_f64" {
                    case.run::<f64>();
                } else {
                    case.run::<f32>();
                }
            }
        }
    }
}

#[test]
fn double_precision_multiplies_whatever_the_strides() {
    for orders in [[Rows, Rows], [Columns, Odd], [Odd, Columns]] {
        for sizes in [[1, 1, 1], [17, 33, 35]] {
            Case { kernel: "matmul_f64", batch: 2, sizes, orders, ..PLAIN }.run::<f64>();
        }
    }
}

#[test]
fn large_tiles_multiply_however_operands_lie() {
    let large = |kernel, orders| Case { kernel, orders, ..PLAIN };
    let ways =
        [("matmul_wide_nn", [Rows, Rows]), ("matmul_wide_nt", [Rows, Columns]), ("matmul_wide_tn", [Columns, Rows])];
    for (kernel, orders) in ways {
        for (batch, sizes) in [(1, [4, 4, 4]), (2, [132, 136, 20]), (1, [128, 128, 64]), (1, [36, 260, 12])] {
            let counters = Case { batch, sizes, ..large(kernel, orders) }.run::<f32>();
            assert_eq!(counters.bank_conflicts(), 0, "{kernel} {sizes:?}");
        }
        let finished = Case { bias: true, scale: 0.5, accumulate: true, ..large(kernel, orders) };
        Case { sizes: [20, 24, 28], activation: Some(Unary::Tanh), ..finished }.run::<f32>();
        Case { sizes: [12, 20, 100], batch: 2, parts: 3, ..finished }.run::<f32>();
    }
}
