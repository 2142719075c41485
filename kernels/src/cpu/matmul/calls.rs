//! The ways to ask for a product: of slices ([`gemm`]), of views ([`matmul`]), and as a layer of a network ([`linear`]).

use smallvec::{SmallVec, smallvec};

use super::{Number, Operand, Problem, Target, Then, products};
use crate::backend::Unary;
use crate::cpu::copy::Dense;
use crate::cpu::simd::Isa;
use crate::cpu::unary;
use crate::{Buffer, Element, Layout, Result, View};

/// The elements of a matrix within a slice: `(i, j)` stands at `offset + i * row + j * col`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<S> {
    /// The memory.
    pub data: S,
    /// Where element `(0, 0)` stands.
    pub offset: usize,
    /// The distance between rows, in elements.
    pub row: isize,
    /// The distance between columns, in elements.
    pub col: isize,
}

impl<S> Matrix<S> {
    /// A row-major matrix of `columns` columns without gaps.
    pub fn row_major(data: S, columns: usize) -> Self {
        Self { data, offset: 0, row: columns as isize, col: 1 }
    }

    /// The same elements with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self { row: self.col, col: self.row, ..self }
    }

    /// Whether `rows x columns` elements lie within a slice of `len`.
    fn fits(&self, rows: usize, columns: usize, len: usize) -> bool {
        Layout::strided(&[rows, columns], &[self.row, self.col], self.offset).fits(len)
    }
}

/// What becomes of the sums: `c = then(scale * a b + bias)`, or with `c` itself among the terms.
#[derive(Clone, Copy)]
pub struct Finish<'a, T> {
    /// Adds what `c` holds, instead of replacing it.
    pub accumulate: bool,
    /// What the product is multiplied with.
    pub scale: T,
    /// One number for each column of `c`, which is added.
    pub bias: Option<&'a [T]>,
    /// A pointwise function: called with stretches of finished elements, in any order and on any thread, while they are in
    /// a near cache.
    pub then: Option<&'a Then<'a, T>>,
}

impl<T: Element> Default for Finish<'_, T> {
    /// Writes the product as it is.
    fn default() -> Self {
        Self { accumulate: false, scale: T::wrap(1), bias: None, then: None }
    }
}

impl<T: Copy> Finish<'_, T> {
    /// The bias as a matrix of as many equal rows as wanted.
    fn bias(&self) -> Option<Operand<T>> {
        self.bias.map(|bias| Operand { start: bias.as_ptr(), row: 0, col: 1 })
    }
}

/// `c = a b` for an `m x k` matrix `a` and a `k x n` matrix `b`; `finish` tells how the sums are written.
///
/// # Panics
/// If a matrix reaches outside its slice, two elements of `c` share a place, or the bias is not as long as a row of `c`:
/// faults of the caller, never of a user.
pub fn gemm<T: Number>(
    (m, n, k): (usize, usize, usize),
    a: Matrix<&[T]>,
    b: Matrix<&[T]>,
    c: Matrix<&mut [T]>,
    finish: Finish<'_, T>,
) {
    gemm_on(Isa::get(), (m, n, k), a, b, c, finish);
}

/// [`gemm`] for one instruction set, which this machine has.
pub(super) fn gemm_on<T: Number>(
    isa: Isa,
    (m, n, k): (usize, usize, usize),
    a: Matrix<&[T]>,
    b: Matrix<&[T]>,
    c: Matrix<&mut [T]>,
    finish: Finish<'_, T>,
) {
    assert!(a.fits(m, k, a.data.len()), "a reaches outside its slice");
    assert!(b.fits(k, n, b.data.len()), "b reaches outside its slice");
    assert!(c.fits(m, n, c.data.len()), "c reaches outside its slice");
    let (row, col) = (c.row.unsigned_abs(), c.col.unsigned_abs());
    let apart = (row >= n.max(1) * col && col > 0) || (col >= m.max(1) * row && row > 0);
    assert!(apart || m * n <= 1, "elements of c share a place");
    assert!(finish.bias.is_none_or(|bias| bias.len() == n), "the bias is not as long as a row of c");
    let problem = Problem {
        m,
        n,
        k,
        a: Operand { start: a.data.as_ptr().wrapping_add(a.offset), row: a.row, col: a.col },
        b: Operand { start: b.data.as_ptr().wrapping_add(b.offset), row: b.row, col: b.col },
        c: Target { start: c.data.as_mut_ptr().wrapping_add(c.offset), row: c.row, col: c.col },
        accumulate: finish.accumulate,
        scale: finish.scale,
        bias: finish.bias(),
        then: finish.then,
    };
    // SAFETY: all elements were just checked to lie within the slices, and those of `c` to be apart.
    unsafe { products(T::kernels(isa), problem, &[[0; 3]]) }
}

/// Runs `$body` with `$T` bound to the type of `$dtype`, if that is one of [`Number`].
macro_rules! with_number {
    ($op:literal, $dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            crate::DType::F32 => {
                type $T = f32;
                $body
            }
            crate::DType::F64 => {
                type $T = f64;
                $body
            }
            dtype => {
                return Err(crate::Error::DType { op: $op, dtype, hint: "cast both operands to f32 or f64 first" });
            }
        }
    };
}
pub(in crate::cpu) use with_number;

/// `a` (`[.., m, k]`) times `b` (`[.., k, n]`) for equal leading dimensions, of which either operand may repeat elements.
///
/// # Errors
/// If the element type is not `f32` or `f64`.
pub fn matmul(a: View, b: View) -> Result<Buffer> {
    let mut c = Buffer::unspecified(a.dtype(), result_len(&a, &b));
    matmul_into(a, b, &mut c, 1.0, false)?;
    Ok(c)
}

/// `c = scale * a b`, or `c += scale * a b` with `accumulate`, for operands as [`matmul`] takes them and a `c` that holds the
/// result in row-major order.
///
/// # Errors
/// If the element type is not `f32` or `f64`.
///
/// # Panics
/// If `c` has not the operands' type and the result's length: a fault of the caller, never of a user.
pub fn matmul_into(a: View, b: View, c: &mut Buffer, scale: f64, accumulate: bool) -> Result<()> {
    with_number!("matmul", a.dtype(), T => {
        let finish = Finish { accumulate, scale: T::from_scalar(scale.into()), ..Finish::default() };
        typed(Isa::get(), a, b, c.as_mut_slice::<T>(), finish);
    });
    Ok(())
}

/// `activation(x w + bias)` for `x` (`[.., m, k]`), a weight `w` (`[k, n]`) and a bias (`[n]`), in one pass over the result.
///
/// # Errors
/// If the element type is not `f32` or `f64`.
///
/// # Panics
/// If the shapes do not match: a fault of the caller, never of a user.
pub fn linear(x: View, w: View, bias: Option<View>, activation: Option<Unary>) -> Result<Buffer> {
    let outer = &x.shape()[..x.shape().len() - 2];
    let repeated;
    let w = if outer.is_empty() {
        w
    } else {
        repeated = w.layout.broadcast_to(&[outer, w.shape()].concat()).expect("added dimensions fit");
        View::new(w.buffer, &repeated)
    };
    let mut y = Buffer::unspecified(x.dtype(), result_len(&x, &w));
    with_number!("linear", x.dtype(), T => {
        let bias = bias.map(Dense::<T>::new);
        let bias = bias.as_ref().map(Dense::as_slice);
        T::activate(activation, &mut |then| {
            typed(Isa::get(), x, w, y.as_mut_slice::<T>(), Finish { bias, then, ..Finish::default() });
        })?;
    });
    Ok(y)
}

/// Numbers that activations are functions of.
pub trait Activate: Sized {
    /// Calls `f` with an activation as what is to be done with finished elements.
    ///
    /// # Errors
    /// If the activation has no kernel.
    fn activate(activation: Option<Unary>, f: &mut dyn FnMut(Option<&Then<'_, Self>>)) -> Result<()>;
}

impl Activate for f32 {
    fn activate(activation: Option<Unary>, f: &mut dyn FnMut(Option<&Then<'_, f32>>)) -> Result<()> {
        match activation {
            None => f(None),
            Some(Unary::Relu) => {
                let bounds = Some([0.0, f32::INFINITY]);
                f(Some(&Then { bounds, call: &|y| rectify(y, f32::INFINITY) }));
            }
            Some(Unary::Relu6) => f(Some(&Then { bounds: Some([0.0, 6.0]), call: &|y| rectify(y, 6.0) })),
            Some(op) => unary::with_row(op, &mut |_, row| {
                let call = |y: &mut [f32]| {
                    // The table's functions write elsewhere than they read, so they read a copy in the first-level cache.
                    let mut block = [0.0; 256];
                    for y in y.chunks_mut(block.len()) {
                        let block = &mut block[..y.len()];
                        block.copy_from_slice(y);
                        row(block, y);
                    }
                };
                f(Some(&Then { bounds: None, call: &call }));
            })?,
        }
        Ok(())
    }
}

crate::simd! {
    /// ReLU, and ReLU6 with its `most`, as in the table, but in place: the most usual activations cost less than the copy that
    /// others need.
    fn rectify(y: &mut [f32], most: f32) {
        for y in y {
            let positive = if *y < 0.0 { 0.0 } else { *y };
            *y = if positive > most { most } else { positive };
        }
    }
}

impl Activate for f64 {
    fn activate(activation: Option<Unary>, f: &mut dyn FnMut(Option<&Then<'_, f64>>)) -> Result<()> {
        match activation {
            // As in `unary`, the specification itself serves as double precision's kernel.
            Some(op) => {
                let call = |y: &mut [f64]| y.iter_mut().for_each(|y| *y = op.reference(*y));
                f(Some(&Then { bounds: None, call: &call }));
            }
            None => f(None),
        }
        Ok(())
    }
}

/// How many elements the product of two views has.
fn result_len(a: &View, b: &View) -> usize {
    let rank = a.shape().len();
    a.shape()[..rank - 1].iter().product::<usize>() * b.shape()[rank - 1]
}

/// [`matmul_into`] for one element type and instruction set.
fn typed<T: Number>(isa: Isa, a: View, b: View, c: &mut [T], finish: Finish<'_, T>) {
    let rank = a.shape().len();
    let (m, k, n) = (a.shape()[rank - 2], a.shape()[rank - 1], b.shape()[rank - 1]);
    assert!(a.shape()[..rank - 2] == b.shape()[..rank - 2] && b.shape()[rank - 2] == k, "the operands do not match");
    assert_eq!(c.len(), result_len(&a, &b), "c has not the result's length");
    assert!(finish.bias.is_none_or(|bias| bias.len() == n), "the bias is not as long as a row of c");
    if c.is_empty() {
        return;
    }
    let strides = |view: &View| -> [isize; 2] { [view.layout.strides()[rank - 2], view.layout.strides()[rank - 1]] };
    let ([a_row, a_col], [b_row, b_col]) = (strides(&a), strides(&b));
    let mut problem = Problem {
        m,
        n,
        k,
        a: Operand { start: a.buffer.as_slice::<T>().as_ptr(), row: a_row, col: a_col },
        b: Operand { start: b.buffer.as_slice::<T>().as_ptr(), row: b_row, col: b_col },
        c: Target { start: c.as_mut_ptr(), row: n as isize, col: 1 },
        accumulate: finish.accumulate,
        scale: finish.scale,
        bias: finish.bias(),
        then: finish.then,
    };
    let starts = if rank == 2 {
        smallvec![[a.layout.offset() as isize, b.layout.offset() as isize, 0]]
    } else {
        starts_of_batch(&a, &b, &mut problem)
    };
    // SAFETY: views lie within their buffers, and `c` has room for every product one after the other.
    unsafe { products(T::kernels(isa), problem, &starts) };
}

/// Where the matrices of each product of a batch begin, of which `problem` describes the first.
fn starts_of_batch<T>(a: &View, b: &View, problem: &mut Problem<'_, T>) -> SmallVec<[[isize; 3]; 1]> {
    let starts = |view: &View| {
        let outer = view.shape().len() - 2;
        Layout::strided(&view.shape()[..outer], &view.layout.strides()[..outer], view.layout.offset())
    };
    let (a_starts, b_starts) = (starts(a), starts(b));
    // Matrices that share one `b`, and whose rows follow each other, are one tall matrix: a batch of sequences times a
    // weight. One large product beats many small ones.
    let outer = a_starts.merged();
    let tall = match *outer {
        [(_, stride)] => {
            stride == problem.m as isize * problem.a.row && b_starts.strides().iter().all(|&stride| stride == 0)
        }
        _ => false,
    };
    if tall {
        problem.m *= a_starts.len();
        return smallvec![[a_starts.offset() as isize, b_starts.offset() as isize, 0]];
    }
    let c_starts = (0..).map(|i| i * (problem.m * problem.n) as isize);
    let pairs = a_starts.positions().zip(b_starts.positions()).zip(c_starts);
    pairs.map(|((a, b), c)| [a as isize, b as isize, c]).collect()
}
