//! Products against the plain triple loop. Operands are small whole numbers, so every order of summation gives the same
//! sum, and results must be equal.

use std::ops::Mul;

use super::calls::gemm_on;
use super::*;
use crate::backend::Unary;
use crate::cpu::simd::Isa;
use crate::cpu::unary;
use crate::{Buffer, Layout, View};

/// Numbers that can be made of small whole numbers and compared.
trait Whole: Number + PartialOrd + Mul<Output = Self> {
    fn whole(x: i64) -> Self;
}
impl Whole for f32 {
    fn whole(x: i64) -> Self {
        x as f32
    }
}
impl Whole for f64 {
    fn whole(x: i64) -> Self {
        x as f64
    }
}

/// A generator good enough to pick sizes and digits.
struct Digits(u64);

impl Digits {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    fn values<T: Whole>(&mut self, len: usize) -> Vec<T> {
        (0..len).map(|_| T::whole(self.below(9) as i64 - 4)).collect()
    }
}

/// How a test's matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Rows,
    Columns,
    GappedRows,
    GappedColumns,
    BackwardRows,
    Spread,
    OneRow,
    OneColumn,
}

impl Order {
    const ALL: [Order; 8] = [
        Order::Rows,
        Order::Columns,
        Order::GappedRows,
        Order::GappedColumns,
        Order::BackwardRows,
        Order::Spread,
        Order::OneRow,
        Order::OneColumn,
    ];

    /// Length of the memory, offset, and distances between rows and columns.
    fn place(self, rows: usize, columns: usize) -> (usize, usize, isize, isize) {
        let (m, n) = (rows as isize, columns as isize);
        match self {
            Order::Rows => (rows * columns, 0, n, 1),
            Order::Columns => (rows * columns, 0, 1, m),
            Order::GappedRows => (rows * (columns + 3) + 2, 2, n + 3, 1),
            Order::GappedColumns => ((rows + 1) * columns, 1, 1, m + 1),
            Order::BackwardRows => (rows * columns, (rows * columns).saturating_sub(1), -n, -1),
            Order::Spread => (rows * columns * 6, 0, n * 6, 2),
            Order::OneRow => (columns, 0, 0, 1),
            Order::OneColumn => (rows, 0, 1, 0),
        }
    }
}

/// Which parts of a [`Finish`] a test asks for.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    accumulate: bool,
    scale: bool,
    bias: bool,
    then: bool,
}

impl Asked {
    /// Each part in one of three cases.
    fn some(digits: &mut Digits) -> Self {
        let mut one = || digits.below(3) == 0;
        Self { accumulate: one(), scale: one(), bias: one(), then: one() }
    }

    fn finish<'a, T: Whole>(self, bias: &'a [T], then: &'a Then<'a, T>) -> Finish<'a, T> {
        Finish {
            accumulate: self.accumulate,
            scale: T::whole(if self.scale { -2 } else { 1 }),
            bias: self.bias.then_some(bias),
            then: self.then.then_some(then),
        }
    }
}

/// A function that shows how often, and in which order with the rest, it was applied.
fn tripled<T: Whole>(y: &mut [T]) {
    y.iter_mut().for_each(|y| *y = T::whole(3) * *y + T::whole(1));
}

/// The bounds of a function that the tiles can apply.
const BOUNDS: [i64; 2] = [-5, 7];

fn clipped<T: Whole>(y: &mut [T]) {
    let [least, most] = BOUNDS.map(T::whole);
    y.iter_mut().for_each(|y| *y = lane::clamp(*y, least, most));
}

/// Checks one product on every instruction set of this machine; `c` must be spared between its elements.
fn check<T: Whole>(digits: &mut Digits, (m, n, k): (usize, usize, usize), orders: [Order; 3], asked: Asked) {
    let [(a_len, a_offset, a_row, a_col), (b_len, b_offset, b_row, b_col), (c_len, c_offset, c_row, c_col)] =
        [orders[0].place(m, k), orders[1].place(k, n), orders[2].place(m, n)];
    let (a, b, before): (Vec<T>, Vec<T>, Vec<T>) = (digits.values(a_len), digits.values(b_len), digits.values(c_len));
    let at = |offset: usize, row: isize, col: isize, i: usize, j: usize| {
        (offset as isize + i as isize * row + j as isize * col) as usize
    };
    let bias: Vec<T> = digits.values(n);
    let then = match digits.below(2) {
        0 => Then { bounds: None, call: &tripled },
        _ => Then { bounds: Some(BOUNDS.map(T::whole)), call: &clipped },
    };
    let finish = asked.finish(&bias, &then);
    let mut expected = before.clone();
    for i in 0..m {
        for j in 0..n {
            let c = &mut expected[at(c_offset, c_row, c_col, i, j)];
            let mut sum = T::default();
            for p in 0..k {
                sum = sum
                    + a[at(a_offset, a_row, a_col, i, p)].separate(b[at(b_offset, b_row, b_col, p, j)], T::default());
            }
            let kept = if finish.accumulate { *c } else { T::default() };
            *c = finish.scale * sum + kept + finish.bias.map_or(T::default(), |bias| bias[j]);
            if let Some(then) = finish.then {
                (then.call)(slice::from_mut(c));
            }
        }
    }
    for isa in Isa::available() {
        let mut c = before.clone();
        let a = Matrix { data: &a[..], offset: a_offset, row: a_row, col: a_col };
        let b = Matrix { data: &b[..], offset: b_offset, row: b_row, col: b_col };
        let target = Matrix { data: &mut c[..], offset: c_offset, row: c_row, col: c_col };
        gemm_on(isa, (m, n, k), a, b, target, finish);
        assert!(c == expected, "{isa}: {m} x {k} times {k} x {n}, {orders:?}, {asked:?}");
    }
}

#[test]
fn every_size_to_17_in_every_order() {
    let mut digits = Digits(1);
    let transposed = [Order::Rows, Order::Columns];
    let written = [Order::Rows, Order::Columns, Order::GappedRows, Order::Spread, Order::BackwardRows];
    for size in 0..18 * 18 * 18 {
        let size = (size / 324, size / 18 % 18, size % 18);
        for pair in 0..4 {
            let usual = [transposed[pair / 2], transposed[pair % 2]];
            // Zero and negative distances, gaps, and operands that share neither order take turns.
            let odd = [0, 1].map(|_| Order::ALL[digits.below(Order::ALL.len())]);
            let c = written[digits.below(written.len())];
            let asked = Asked::some(&mut digits);
            check::<f32>(&mut digits, size, [usual[0], usual[1], Order::Rows], asked);
            check::<f64>(&mut digits, size, [usual[0], usual[1], c], asked);
            check::<f32>(&mut digits, size, [odd[0], odd[1], c], asked);
            check::<f64>(&mut digits, size, [odd[0], odd[1], Order::Rows], asked);
        }
    }
}

#[test]
fn sizes_up_to_300_in_random_orders() {
    let mut digits = Digits(2);
    for round in 0..120 {
        // Every third round is skinny, the shapes with kernels of their own.
        let most = if round % 3 == 0 { [9, 300, 300] } else { [300; 3] };
        let turn = digits.below(3);
        let size = [0, 1, 2].map(|i| 1 + digits.below(most[(i + turn) % 3]));
        let orders = [0, 1].map(|_| Order::ALL[digits.below(Order::ALL.len())]);
        let c = [Order::Rows, Order::Columns, Order::GappedRows, Order::BackwardRows][digits.below(4)];
        let asked = Asked::some(&mut digits);
        check::<f32>(&mut digits, size.into(), [orders[0], orders[1], c], asked);
        check::<f64>(&mut digits, size.into(), [orders[0], orders[1], c], asked);
    }
}

/// Panels that stay where they are, that the first tile copies, and that are copied ahead; the last has columns left over.
#[test]
fn wide_rows_are_copied_when_that_pays() {
    let mut digits = Digits(7);
    for size in [(14, 1024, 40), (45, 1024, 600), (145, 1000, 130), (1030, 790, 130)] {
        for asked in [Asked::default(), Asked { accumulate: true, then: true, ..Asked::default() }] {
            check::<f32>(&mut digits, size, [Order::Rows; 3], asked);
            check::<f64>(&mut digits, size, [Order::Columns, Order::Rows, Order::GappedRows], asked);
        }
    }
}

#[test]
fn long_sums_cross_blocks() {
    let mut digits = Digits(3);
    check::<f64>(&mut digits, (700, 600, 530), [Order::Columns, Order::Rows, Order::Rows], Asked::default());
    for size in [(3, 70, 2000), (150, 40, 1300), (1, 1100, 700), (600, 1, 900), (40, 1500, 30), (700, 33, 520)] {
        for (a, b) in [(Order::Rows, Order::Rows), (Order::Columns, Order::Rows), (Order::Rows, Order::Columns)] {
            check::<f32>(&mut digits, size, [a, b, Order::Rows], Asked { bias: true, then: true, ..Asked::default() });
            check::<f64>(
                &mut digits,
                size,
                [a, b, Order::Columns],
                Asked { accumulate: true, bias: true, ..Asked::default() },
            );
            let all = Asked { accumulate: true, scale: true, bias: true, then: true };
            check::<f32>(&mut digits, size, [a, b, Order::Columns], all);
        }
    }
}

/// The bits of a product of fractions, which tell one order of summation from another.
fn bits(threads: usize, (m, n, k): (usize, usize, usize), turned: bool) -> Vec<u32> {
    let mut digits = Digits(4);
    let mut fractions = |len: usize| -> Vec<f32> { (0..len).map(|_| digits.next() as f32 / 1e9 - 1.0).collect() };
    let (a, b) = (fractions(m * k), fractions(k * n));
    let mut c = vec![0.0; m * n];
    let b = if turned { Matrix::row_major(&b[..], k).transposed() } else { Matrix::row_major(&b[..], n) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let finish = Finish::default();
    pool.install(|| gemm((m, n, k), Matrix::row_major(&a, k), b, Matrix::row_major(&mut c, n), finish));
    c.into_iter().map(f32::to_bits).collect()
}

#[test]
fn the_same_bits_at_any_thread_count() {
    let long = [(32, 300, 784), (10, 100, 3000), (8, 600, 1000), (5, 70, 300)];
    for size in long.into_iter().chain([(300, 200, 500), (1, 3000, 900), (2000, 1, 900), (1000, 10, 333)]) {
        for turned in [false, true] {
            let one = bits(1, size, turned);
            for threads in [2, 3, 7] {
                assert!(bits(threads, size, turned) == one, "{size:?} at {threads} threads");
            }
        }
    }
}

#[test]
fn rounding_stays_within_the_bound() {
    let mut digits = Digits(5);
    for (m, n, k) in [(33, 65, 1000), (1, 40, 1000), (14, 32, 3000)] {
        let mut fractions = |len: usize| -> Vec<f32> { (0..len).map(|_| digits.next() as f32 / 1e9 - 1.0).collect() };
        let (a, b) = (fractions(m * k), fractions(k * n));
        for isa in Isa::available() {
            let mut c = vec![0.0; m * n];
            let (a, b) = (Matrix::row_major(&a[..], k), Matrix::row_major(&b[..], n));
            gemm_on(isa, (m, n, k), a, b, Matrix::row_major(&mut c, n), Finish::default());
            for (i, &c) in c.iter().enumerate() {
                let terms = (0..k).map(|p| f64::from(a.data[i / n * k + p]) * f64::from(b.data[p * n + i % n]));
                let (sum, magnitude) = terms.fold((0.0, 0.0), |(sum, all), term| (sum + term, all + term.abs()));
                // Higham's bound for one order of summation is k units in the last place of the sum of magnitudes; the
                // errors are random, so a hundredth of it is already generous.
                let bound = k as f64 / 100.0 * f64::from(f32::EPSILON) * magnitude;
                assert!((f64::from(c) - sum).abs() < bound, "{isa}: {c} is not {sum}");
            }
        }
    }
}

#[test]
fn batches_and_repeated_operands() {
    let mut digits = Digits(6);
    let a = Buffer::from_slice(&digits.values::<f32>(2 * 3 * 4 * 5));
    let b = Buffer::from_slice(&digits.values::<f32>(2 * 3 * 5 * 6));
    let contiguous = Layout::contiguous(&[2, 3, 4, 5]);
    let swapped = Layout::contiguous(&[3, 2, 4, 5]).permute(&[1, 0, 2, 3]);
    let repeated = |shape: &[usize]| Layout::contiguous(shape).broadcast_to(&[2, 3, 5, 6]).unwrap();
    let full = Layout::contiguous(&[2, 3, 5, 6]);
    for a_layout in [contiguous, swapped] {
        for b_layout in [full.clone(), repeated(&[5, 6]), repeated(&[3, 5, 6]), repeated(&[2, 1, 5, 6])] {
            let c = matmul(View::new(&a, &a_layout), View::new(&b, &b_layout)).unwrap();
            let (a, b): (Vec<_>, Vec<_>) = (
                a_layout.positions().map(|at| a.as_slice::<f32>()[at]).collect(),
                b_layout.positions().map(|at| b.as_slice::<f32>()[at]).collect(),
            );
            for (i, &c) in c.as_slice::<f32>().iter().enumerate() {
                let (batch, row, column) = (i / 24, i / 6 % 4, i % 6);
                let sum: f32 = (0..5).map(|p| a[batch * 20 + row * 5 + p] * b[batch * 30 + p * 6 + column]).sum();
                assert_eq!(c, sum, "{a_layout:?} {b_layout:?} {i}");
            }
        }
    }
    let whole = Buffer::from_slice(&[1_i32; 4]);
    let square = Layout::contiguous(&[2, 2]);
    let error = matmul(View::new(&whole, &square), View::new(&whole, &square)).unwrap_err();
    assert!(error.to_string().contains("matmul: not defined for i32"), "{error}");
}

#[test]
fn layers_are_products_with_bias_and_activation() {
    let mut digits = Digits(7);
    let [x, w, bias] = [2 * 3 * 50, 50 * 21, 2 * 21].map(|len| Buffer::from_slice(&digits.values::<f32>(len)));
    let (x_layout, w_layout) = (Layout::contiguous(&[2, 3, 50]), Layout::contiguous(&[21, 50]).permute(&[1, 0]));
    let bias_layout = Layout::strided(&[21], &[2], 1);
    let repeated = w_layout.broadcast_to(&[2, 50, 21]).unwrap();
    let mut sums = matmul(View::new(&x, &x_layout), View::new(&w, &repeated)).unwrap();
    for (i, y) in sums.as_mut_slice::<f32>().iter_mut().enumerate() {
        *y += bias.as_slice::<f32>()[1 + 2 * (i % 21)];
    }
    let layer = |activation| {
        let (x, w, bias) = (View::new(&x, &x_layout), View::new(&w, &w_layout), View::new(&bias, &bias_layout));
        linear(x, w, Some(bias), activation).unwrap()
    };
    assert_eq!(layer(None).as_slice::<f32>(), sums.as_slice::<f32>());
    let flat = Layout::contiguous(&[sums.len()]);
    let tanh = unary::unary(Unary::Tanh, View::new(&sums, &flat)).unwrap();
    assert_eq!(layer(Some(Unary::Tanh)).as_slice::<f32>(), tanh.as_slice::<f32>());

    let wide = [&x, &w]
        .map(|buffer| Buffer::from_slice(&buffer.as_slice::<f32>().iter().map(|&x| f64::from(x)).collect::<Vec<_>>()));
    let y = linear(View::new(&wide[0], &x_layout), View::new(&wide[1], &w_layout), None, Some(Unary::Relu)).unwrap();
    let plain = linear(View::new(&wide[0], &x_layout), View::new(&wide[1], &w_layout), None, None).unwrap();
    assert!(y.as_slice::<f64>().iter().zip(plain.as_slice::<f64>()).all(|(y, x)| *y == x.max(0.0)));
    let whole = Buffer::from_slice(&[1_i32; 4]);
    let square = Layout::contiguous(&[2, 2]);
    let error = linear(View::new(&whole, &square), View::new(&whole, &square), None, None).unwrap_err();
    assert!(error.to_string().contains("linear: not defined for i32"), "{error}");
}

#[test]
fn products_add_to_what_is_there() {
    let mut digits = Digits(8);
    let [a, b] = [5 * 4, 4 * 6].map(|len| Buffer::from_slice(&digits.values::<f64>(len)));
    let (a_layout, b_layout) = (Layout::contiguous(&[5, 4]), Layout::contiguous(&[4, 6]));
    let (a, b) = (View::new(&a, &a_layout), View::new(&b, &b_layout));
    let product = matmul(a, b).unwrap();
    let mut c = product.clone();
    matmul_into(a, b, &mut c, 0.5, true).unwrap();
    assert!(c.as_slice::<f64>().iter().zip(product.as_slice::<f64>()).all(|(c, x)| *c == 1.5 * x));
    matmul_into(a, b, &mut c, -1.0, false).unwrap();
    assert!(c.as_slice::<f64>().iter().zip(product.as_slice::<f64>()).all(|(c, x)| *c == -x));
}

#[test]
fn bounds_leave_what_is_no_number() {
    let (a, b) = ([f32::NAN, 1.0, -1.0], [2.0; 16]);
    for isa in Isa::available() {
        let mut c = [0.0; 3 * 16];
        let then = Then { bounds: Some([0.0, 1.5]), call: &|_| unreachable!("tiles do it") };
        let [a, b] = [Matrix::row_major(&a[..], 1), Matrix::row_major(&b[..], 16)];
        let finish = Finish { then: Some(&then), ..Finish::default() };
        gemm_on(isa, (3, 16, 1), a, b, Matrix::row_major(&mut c[..], 16), finish);
        assert!(c[..16].iter().all(|c| c.is_nan()), "{isa}");
        assert!(c[16..32].iter().all(|&c| c == 1.5) && c[32..].iter().all(|&c| c == 0.0), "{isa}");
    }
}
