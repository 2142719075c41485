//! How a fast matrix product works.
//!
//! The product of an `m x k` and a `k x n` matrix takes `m n k` multiply-adds, and a core can do 16 to 64 of them in a
//! cycle, yet it can load only a few dozen numbers in that time, and far fewer from beyond its caches. So every number
//! that is loaded must be used many times before it is dropped again, at each level of the memory:
//!
//! - **Registers.** The microkernel (`tile`) computes one tile of `c`, say 14 x 32 numbers, while it walks along `k`.
//!   Each step loads 14 numbers of `a` and 32 of `b` for 448 multiply-adds.
//! - **First-level cache.** `k` is cut into blocks of `kc`, so that a *panel* of `b`, `kc x 32`, stays there while one
//!   tile after the other down the rows of `a` uses it.
//! - **Second-level cache.** The rows are cut into blocks of `mc`, so that a block of `a`, `mc x kc`, stays there while one
//!   panel of `b` after the other uses it.
//! - **Last-level cache.** The columns are cut into blocks of `nc`, so that a block of `b`, `kc x nc`, stays there while
//!   one block of `a` after the other uses it.
//!
//! That makes five loops around the microkernel (`block`), the scheme of Goto and van de Geijn (2008) as BLIS arranges
//! it (Van Zee and van de Geijn 2015). Before it is used, a block is *packed* (`pack`): copied in the order in which the
//! microkernel reads it. Packing costs one pass over the operand and pays when the block is used often enough; in a
//! product of few rows or columns, as a small batch makes them, the operands are read where they are.
//!
//! A transposed operand is no special case: each matrix has a distance between rows and one between columns. Only `b`'s
//! panels want neighbouring columns next to each other, and where that would need a costly transposition, the whole
//! product is turned around (`turns_around`): `c^T = b^T a^T`.
//!
//! Threads share the work by tiles of `c` alone. Each element is summed by one thread in one order, that of `k`, so results
//! have the same bits however the tiles are dealt out.

mod lane;
mod pack;
mod tile;
mod vector;

use std::ops::Range;

use smallvec::{SmallVec, smallvec};

use self::tile::{Kernels, Tile};
use super::cache::caches;
use super::simd::{Isa, MulAdd};
use super::threads;
use crate::{Buffer, DType, Element, Error, Layout, Result, View};

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

/// What happens to the sums when they are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finish {
    /// Adds them to what is there, instead of replacing it.
    pub accumulate: bool,
}

/// `c = a b` for an `m x k` matrix `a` and a `k x n` matrix `b`; `finish` tells how the sums are written.
///
/// # Panics
/// If a matrix reaches outside its slice, or two elements of `c` share a place: faults of the caller, never of a user.
pub fn gemm<T: Number>(
    (m, n, k): (usize, usize, usize),
    a: Matrix<&[T]>,
    b: Matrix<&[T]>,
    c: Matrix<&mut [T]>,
    finish: Finish,
) {
    gemm_on(Isa::get(), (m, n, k), a, b, c, finish);
}

/// [`gemm`] for one instruction set, which this machine has.
fn gemm_on<T: Number>(
    isa: Isa,
    (m, n, k): (usize, usize, usize),
    a: Matrix<&[T]>,
    b: Matrix<&[T]>,
    c: Matrix<&mut [T]>,
    finish: Finish,
) {
    assert!(a.fits(m, k, a.data.len()), "a reaches outside its slice");
    assert!(b.fits(k, n, b.data.len()), "b reaches outside its slice");
    assert!(c.fits(m, n, c.data.len()), "c reaches outside its slice");
    let (row, col) = (c.row.unsigned_abs(), c.col.unsigned_abs());
    let apart = (row >= n.max(1) * col && col > 0) || (col >= m.max(1) * row && row > 0);
    assert!(apart || m * n <= 1, "elements of c share a place");
    let problem = Problem {
        m,
        n,
        k,
        a: Operand { start: a.data.as_ptr().wrapping_add(a.offset), row: a.row, col: a.col },
        b: Operand { start: b.data.as_ptr().wrapping_add(b.offset), row: b.row, col: b.col },
        c: Target { start: c.data.as_mut_ptr().wrapping_add(c.offset), row: c.row, col: c.col },
        finish,
    };
    // SAFETY: all elements were just checked to lie within the slices, and those of `c` to be apart.
    unsafe { products(T::kernels(isa), problem, &[[0; 3]]) }
}

/// `a` (`[.., m, k]`) times `b` (`[.., k, n]`) for equal leading dimensions, of which either operand may repeat elements.
///
/// # Errors
/// If the element type is not `f32` or `f64`.
pub fn matmul(a: View, b: View) -> Result<Buffer> {
    match a.dtype() {
        DType::F32 => Ok(typed::<f32>(Isa::get(), a, b)),
        DType::F64 => Ok(typed::<f64>(Isa::get(), a, b)),
        dtype => Err(Error::DType { op: "matmul", dtype, hint: "cast both operands to f32 or f64 first" }),
    }
}

/// [`matmul`] for one element type and instruction set.
fn typed<T: Number>(isa: Isa, a: View, b: View) -> Buffer {
    let rank = a.shape().len();
    let (m, k, n) = (a.shape()[rank - 2], a.shape()[rank - 1], b.shape()[rank - 1]);
    let mut c = Buffer::unspecified(T::DTYPE, a.shape()[..rank - 2].iter().product::<usize>() * m * n);
    let strides = |view: &View| -> [isize; 2] { [view.layout.strides()[rank - 2], view.layout.strides()[rank - 1]] };
    let ([a_row, a_col], [b_row, b_col]) = (strides(&a), strides(&b));
    let mut problem = Problem {
        m,
        n,
        k,
        a: Operand { start: a.buffer.as_slice::<T>().as_ptr(), row: a_row, col: a_col },
        b: Operand { start: b.buffer.as_slice::<T>().as_ptr(), row: b_row, col: b_col },
        c: Target { start: c.as_mut_slice::<T>().as_mut_ptr(), row: n as isize, col: 1 },
        finish: Finish::default(),
    };
    if c.is_empty() {
        return c;
    }
    let starts = |view: &View| {
        Layout::strided(&view.shape()[..rank - 2], &view.layout.strides()[..rank - 2], view.layout.offset())
    };
    let (a_starts, b_starts) = (starts(&a), starts(&b));
    // Matrices that share one `b`, and whose rows follow each other, are one tall matrix: a batch of sequences times a
    // weight. One large product beats many small ones.
    let outer = a_starts.merged();
    let tall = match *outer {
        [(_, stride)] => stride == m as isize * a_row && b_starts.strides().iter().all(|&stride| stride == 0),
        _ => false,
    };
    let starts: SmallVec<[[isize; 3]; 1]> = if tall {
        problem.m *= a_starts.len();
        smallvec![[a_starts.offset() as isize, b_starts.offset() as isize, 0]]
    } else {
        let c_starts = (0..).map(|i| i * (m * n) as isize);
        let pairs = a_starts.positions().zip(b_starts.positions()).zip(c_starts);
        pairs.map(|((a, b), c)| [a as isize, b as isize, c]).collect()
    };
    // SAFETY: views lie within their buffers, and `c` has room for every product one after the other.
    unsafe { products(T::kernels(isa), problem, &starts) };
    c
}

/// A matrix that is read.
#[derive(Clone, Copy)]
struct Operand<T> {
    start: *const T,
    row: isize,
    col: isize,
}

impl<T> Operand<T> {
    fn at(&self, i: usize, j: usize) -> *const T {
        self.start.wrapping_offset(i as isize * self.row + j as isize * self.col)
    }

    fn transposed(self) -> Self {
        Self { row: self.col, col: self.row, ..self }
    }
}

/// The matrix that is written.
#[derive(Clone, Copy)]
struct Target<T> {
    start: *mut T,
    row: isize,
    col: isize,
}

impl<T> Target<T> {
    fn at(&self, i: usize, j: usize) -> *mut T {
        self.start.wrapping_offset(i as isize * self.row + j as isize * self.col)
    }

    fn transposed(self) -> Self {
        Self { row: self.col, col: self.row, ..self }
    }
}

/// One product.
#[derive(Clone, Copy)]
struct Problem<T> {
    m: usize,
    n: usize,
    k: usize,
    a: Operand<T>,
    b: Operand<T>,
    c: Target<T>,
    finish: Finish,
}

// SAFETY: a problem is shared among threads that read `a` and `b`, and write different elements of `c`.
unsafe impl<T: Sync> Sync for Problem<T> {}

impl<T> Problem<T> {
    /// The same product turned around: `c^T = b^T a^T`.
    fn transposed(self) -> Self {
        let Self { m, n, a, b, c, .. } = self;
        Self { m: n, n: m, a: b.transposed(), b: a.transposed(), c: c.transposed(), ..self }
    }

    /// The same product with each matrix starting elsewhere.
    fn shifted(mut self, [a, b, c]: [isize; 3]) -> Self {
        self.a.start = self.a.start.wrapping_offset(a);
        self.b.start = self.b.start.wrapping_offset(b);
        self.c.start = self.c.start.wrapping_offset(c);
        self
    }
}

/// Computes one product for each of `starts`, which are added to the matrices' own.
///
/// # Safety
/// The instruction set of `kernels` is there, every element lies in memory that may be read, or for `c` written by nobody
/// else, and no two elements of any `c` share a place.
unsafe fn products<T: Number>(kernels: &Kernels<T>, problem: Problem<T>, starts: &[[isize; 3]]) {
    if problem.m == 0 || problem.n == 0 || starts.is_empty() {
        return;
    }
    let turned = turns_around(kernels, &problem);
    let problem = if turned { problem.transposed() } else { problem };
    let start = |&[a, b, c]: &[isize; 3]| problem.shifted(if turned { [b, a, c] } else { [a, b, c] });
    let grid = Grid::new(kernels, &problem, starts.len());
    threads::for_tasks(starts.len() * grid.len(), &|task| {
        let problem = start(&starts[task / grid.len()]);
        let (rows, columns) = grid.part(task % grid.len());
        // SAFETY: passed on; parts of the grid do not overlap.
        unsafe {
            match vector::Form::of(&problem) {
                Some(form) => (kernels.vector)(form, &problem, columns),
                None => block(kernels, &problem, rows, columns),
            }
        }
    });
}

/// Whether `c^T = b^T a^T` is cheaper.
///
/// The microkernel takes elements of `a` one by one, in any order, but rows of `b` and `c` as vectors.
fn turns_around<T: Copy>(kernels: &Kernels<T>, problem: &Problem<T>) -> bool {
    if problem.m == 1 || problem.n == 1 {
        return problem.m > 1;
    }
    cost(kernels, &problem.transposed()) < cost(kernels, problem)
}

/// An estimate of a product's time, in cycles.
fn cost<T>(kernels: &Kernels<T>, p: &Problem<T>) -> usize {
    let vectors = p.n.div_ceil(kernels.lanes);
    let products = p.m * p.k * vectors / 2;
    let transposition = if p.b.col == 1 { 0 } else { p.k * p.n * 2 / 5 };
    let scatter = if p.c.col == 1 { 0 } else { p.m * p.n };
    products + transposition + scatter
}

/// How the elements of `c` are dealt out as tasks.
struct Grid {
    rows: Split,
    columns: Split,
}

/// A length cut into parts of almost the same size, each a multiple of `unit` but for the last.
struct Split {
    len: usize,
    part: usize,
}

impl Split {
    fn new(len: usize, parts: usize, unit: usize) -> Self {
        Self { len, part: len.div_ceil(parts.max(1)).next_multiple_of(unit) }
    }

    fn parts(&self) -> usize {
        self.len.div_ceil(self.part)
    }

    fn range(&self, i: usize) -> Range<usize> {
        i * self.part..self.len.min((i + 1) * self.part)
    }
}

impl Grid {
    /// Multiply-adds that pay for waking a thread.
    const GRAIN: usize = 1 << 20;

    /// Cuts the longer side again and again while parts are worth a thread's while and there are threads without one.
    fn new<T>(kernels: &Kernels<T>, p: &Problem<T>, products: usize) -> Self {
        let wanted = match threads::threads() {
            1 => 1,
            threads => (2 * threads).div_ceil(products).min(p.m * p.n * p.k / Self::GRAIN),
        };
        let (height, width) = (kernels.height(), kernels.width());
        let (mut down, mut across) = (1, 1);
        while down * across < wanted {
            let (rows, columns) = (p.m / down, p.n / across);
            if columns >= 2 * width && (columns >= rows || rows < 2 * height) {
                across *= 2;
            } else if rows >= 2 * height {
                down *= 2;
            } else {
                break;
            }
        }
        Self { rows: Split::new(p.m, down, height), columns: Split::new(p.n, across, width) }
    }

    fn len(&self) -> usize {
        self.rows.parts() * self.columns.parts()
    }

    fn part(&self, i: usize) -> (Range<usize>, Range<usize>) {
        (self.rows.range(i / self.columns.parts()), self.columns.range(i % self.columns.parts()))
    }
}

/// How far the loops step; see the top of this file.
struct Steps {
    m: usize,
    n: usize,
    k: usize,
}

impl Steps {
    /// Steps for a product of these sizes. Shares of the caches are those that measured best; they matter little, as long
    /// as each block leaves room for what streams past it.
    fn new<T>(kernels: &Kernels<T>, m: usize, n: usize, k: usize) -> Self {
        let (caches, size) = (caches(), size_of::<T>());
        let even = |len: usize, most: usize, unit: usize| {
            let parts = len.div_ceil(most.max(unit)).max(1);
            len.div_ceil(parts).next_multiple_of(unit).max(unit)
        };
        // A panel may outgrow the first level a little: it streams from the second fast enough, and fewer blocks of `k` mean
        // fewer passes over `c`.
        let k = even(k, caches.l1 * 4 / 3 / (kernels.width() * size), 8);
        let most_rows = caches.l2 / 2 / (k * size);
        // With one block of `a`, a block of `b` is used once, so it had better still be in the second level then.
        let b_share = if m > most_rows { caches.l3 / 16 } else { caches.l2 / 4 };
        let m = even(m, most_rows, kernels.height());
        let n = even(n, b_share / (k * size), kernels.width());
        Self { m, n, k }
    }
}

/// The five loops: computes the elements of `c` in `rows` and `columns`.
///
/// # Safety
/// As for [`products`].
unsafe fn block<T: Number>(kernels: &Kernels<T>, p: &Problem<T>, rows: Range<usize>, columns: Range<usize>) {
    let steps = Steps::new(kernels, rows.len(), columns.len(), p.k);
    let mut a_block = pack::Rows::new(kernels, p, &steps, rows.len(), columns.len());
    let mut b_block = pack::Panels::new(kernels, p, &steps, rows.len(), columns.len());
    for k in ranges(0..p.k, steps.k) {
        let accumulate = p.finish.accumulate || k.start > 0;
        for columns in ranges(columns.clone(), steps.n) {
            // SAFETY: ranges lie within the problem.
            unsafe { b_block.fill(kernels, &p.b, k.clone(), columns.clone()) };
            for rows in ranges(rows.clone(), steps.m) {
                // SAFETY: as above.
                unsafe { a_block.fill(kernels, &p.a, rows.clone(), k.clone()) };
                for panel in ranges(columns.clone(), kernels.width()) {
                    let vectors = panel.len().div_ceil(kernels.lanes);
                    let (b, b_step) = b_block.panel(&p.b, panel.start);
                    for rows in heights(rows.clone(), kernels.height()) {
                        let (a, a_row, a_step) = a_block.tile(&p.a, rows.clone());
                        let tile = Tile {
                            k: k.len(),
                            a,
                            a_row,
                            a_step,
                            b,
                            b_step,
                            c: p.c.at(rows.start, panel.start),
                            c_row: p.c.row,
                            c_col: p.c.col,
                            columns: panel.len(),
                            accumulate,
                        };
                        // SAFETY: the blocks hold, or lie in, what the tile reads; `c` is the caller's promise.
                        unsafe { kernels.tiles[rows.len() - 1][vectors - 1](&tile) };
                    }
                }
            }
        }
    }
}

/// Consecutive ranges of `step` elements, the last one shorter; an empty range is its own part.
fn ranges(whole: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = whole.len().div_ceil(step).max(1);
    (0..parts).map(move |i| whole.start + i * step..whole.end.min(whole.start + (i + 1) * step))
}

/// Consecutive ranges of at most `most` rows and of almost the same size: 32 rows are 11 + 11 + 10, not 14 + 14 + 4, since
/// short tiles leave multipliers idle.
fn heights(whole: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = whole.len().div_ceil(most);
    let at = move |i: usize| whole.start + whole.len() * i / parts;
    (0..parts).map(move |i| at(i)..at(i + 1))
}

/// The types that are multiplied at full speed.
pub trait Number: Element + MulAdd + Default + std::ops::Add<Output = Self> + tile::HasKernels {}
impl Number for f32 {}
impl Number for f64 {}

#[cfg(test)]
mod tests;
