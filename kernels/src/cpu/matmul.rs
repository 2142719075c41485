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
//! microkernel reads it. Packing costs one pass over the operand, and pays where a block is used often and lies badly. Rows less
//! than a page apart are read where they are, and so are the operands of a product of few rows or columns, as a small batch
//! makes them. Where rows of `b` are farther apart, the first tile of a panel copies it while it multiplies, since it waits for
//! memory anyway.
//!
//! What the caches hold must also arrive in time. While the microkernel works on the first rows of `b`, it asks for the rows
//! of `c` that it will write, and then for the rows of `b` that come next; and where it reads rows of `a` that were not packed,
//! for those of the next tile, or for the panel of `b` that comes after this one. When it writes its sums, the result's scale,
//! its bias or what `c` held before are put in on the way, and a function of the finished elements, an activation, runs over
//! each block of `c` as soon as its last sum is there (`complete`).
//!
//! A transposed operand is no special case: each matrix has a distance between rows and one between columns. Only `b`'s
//! panels want neighbouring columns next to each other, and where that would need a costly transposition, the whole
//! product is turned around (`turns_around`): `c^T = b^T a^T`.
//!
//! Threads share the work by parts of `c` (`grid`), where each element is summed by one thread in one order, that of `k`; or,
//! where few rows meet a long sum and weights stay in the caches, by parts of the sum (`long`), which depend on the sizes alone.
//! So results have the same bits however the parts are dealt out.

mod calls;
mod grid;
mod kernels;
pub(super) mod lane;
mod long;
mod pack;
mod tile;
mod vector;

use std::cell::Cell;
use std::ops::Range;
use std::{ptr, slice};

pub(in crate::cpu) use self::calls::{Activate, with_number};
pub use self::calls::{Finish, Matrix, gemm, linear, matmul, matmul_into};
use self::grid::Grid;
pub(in crate::cpu) use self::kernels::{HasKernels, Kernels};
pub(in crate::cpu) use self::pack::Copied;
pub(in crate::cpu) use self::tile::{CACHE_LINE, EARLY, MAX_HEIGHT, SOON, Tile};
use super::cache::caches;
use super::simd::MulAdd;
use super::threads;
use crate::Element;

/// A matrix that is read.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Operand<T> {
    pub start: *const T,
    pub row: isize,
    pub col: isize,
}

impl<T> Operand<T> {
    pub fn at(&self, i: usize, j: usize) -> *const T {
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
    /// The same elements, for reading.
    fn read(&self) -> Operand<T> {
        Operand { start: self.start, row: self.row, col: self.col }
    }

    fn at(&self, i: usize, j: usize) -> *mut T {
        self.start.wrapping_offset(i as isize * self.row + j as isize * self.col)
    }

    fn transposed(self) -> Self {
        Self { row: self.col, col: self.row, ..self }
    }
}

/// One product, `c = then(scale * a b + bias)`, or with `c` itself among the terms.
#[derive(Clone, Copy)]
struct Problem<'a, T> {
    m: usize,
    n: usize,
    k: usize,
    a: Operand<T>,
    b: Operand<T>,
    c: Target<T>,
    accumulate: bool,
    scale: T,
    /// As large as `c`: one row or one column, repeated.
    bias: Option<Operand<T>>,
    then: Option<&'a Then<'a, T>>,
}

/// A pointwise function of finished elements.
#[derive(Clone, Copy)]
pub struct Then<'a, T> {
    /// What it brings its argument into, if that is all: tiles then do so while they write.
    pub bounds: Option<[T; 2]>,
    /// The function, in place.
    pub call: &'a (dyn Fn(&mut [T]) + Sync + 'a),
}

/// Bounds that nothing lies beyond.
pub(in crate::cpu) fn unbounded<T: Number>() -> [T; 2] {
    [f64::NEG_INFINITY, f64::INFINITY].map(|x| T::from_scalar(x.into()))
}

// SAFETY: a problem is shared among threads that read `a`, `b` and `bias`, and write different elements of `c`.
unsafe impl<T: Sync> Sync for Problem<'_, T> {}

impl<T: Copy> Problem<'_, T> {
    /// The same product turned around: `c^T = b^T a^T`.
    fn transposed(self) -> Self {
        let Self { m, n, a, b, c, bias, .. } = self;
        let bias = bias.map(Operand::transposed);
        Self { m: n, n: m, a: b.transposed(), b: a.transposed(), c: c.transposed(), bias, ..self }
    }

    /// Whether the tiles can start from the bias instead of from nothing: they add only once, and read rows of it as they
    /// write rows of `c`.
    fn starts_from_bias(&self, blocks: usize) -> bool {
        blocks <= 1 && !self.accumulate && self.bias.is_some_and(|bias| bias.col == 1 || self.c.col != 1)
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
unsafe fn products<T: Number>(kernels: &Kernels<T>, problem: Problem<'_, T>, starts: &[[isize; 3]]) {
    if problem.m == 0 || problem.n == 0 || starts.is_empty() {
        return;
    }
    let turned = turns_around(kernels, &problem);
    let problem = if turned { problem.transposed() } else { problem };
    let start = |&[a, b, c]: &[isize; 3]| problem.shifted(if turned { [b, a, c] } else { [a, b, c] });
    if let [only] = starts {
        let parts = long::parts(&problem);
        if parts > 1 {
            // SAFETY: passed on.
            return unsafe { long::product(kernels, &start(only), parts) };
        }
    }
    let grid = Grid::new(kernels, &problem, starts.len());
    threads::for_tasks(starts.len() * grid.len(), &|task| {
        let problem = start(&starts[task / grid.len()]);
        let (rows, columns) = grid.part(task % grid.len());
        // SAFETY: passed on; parts of the grid do not overlap.
        unsafe {
            match vector::Form::of(&problem) {
                Some(form) => {
                    (kernels.vector)(form, &problem, columns.clone());
                    complete(&problem, None, problem.then, 0..1, columns);
                }
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

/// How far the loops step; see the top of this file.
struct Steps {
    m: usize,
    n: usize,
    k: usize,
}

impl Steps {
    /// Steps for a product of these sizes. Shares of the caches are those that measured best; they matter little, as long
    /// as each block leaves room for what streams past it.
    fn new<T>(kernels: &Kernels<T>, m: usize, n: usize, k: usize, finishes: bool) -> Self {
        let (caches, size) = (caches(), size_of::<T>());
        let even = |len: usize, most: usize, unit: usize| {
            let parts = len.div_ceil(most.max(unit)).max(1);
            len.div_ceil(parts).next_multiple_of(unit).max(unit)
        };
        // A panel may outgrow the first level a little: it streams from the second fast enough, and fewer blocks of `k` mean
        // fewer passes over `c`.
        let k = even(k, caches.l1 * 4 / 3 / (kernels.width() * size), 8);
        let most_rows = caches.l2 / 2 / (k * size);
        // If something is made of the sums when they are there, they had better still be in the second level; but not at the
        // price of fetching a large `b` more often.
        let near = finishes && k * n * size <= caches.l2 / 2;
        let most_rows = if near { most_rows.min(caches.l2 / 2 / (n * size)) } else { most_rows };
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
    let steps = Steps::new(kernels, rows.len(), columns.len(), p.k, p.then.is_some());
    let starts_from_bias = p.starts_from_bias(p.k.div_ceil(steps.k));
    let (first_base, late_bias) = if starts_from_bias { (p.bias, None) } else { (None, p.bias) };
    // Elements that nothing is added to later are brought into their bounds by the tiles.
    let bounds = p.then.and_then(|then| then.bounds).filter(|_| late_bias.is_none());
    let then = p.then.filter(|_| bounds.is_none());
    let (mut a_small, mut b_small) = (pack::Small::new(), pack::Small::new());
    let sizes = (rows.len(), columns.len());
    let mut a_block = pack::Rows::new(kernels, p, &steps, sizes, &mut a_small);
    let mut b_block = pack::Panels::new(kernels, p, &steps, sizes, &mut b_small);
    let (a_rows, b_row) = ([const { Cell::new(ptr::null()) }; MAX_HEIGHT], Cell::new(ptr::null()));
    let (a, b) = (a_rows.as_ptr().cast(), b_row.as_ptr());
    let mut tile = Tile { a, b, c_row: p.c.row, c_col: p.c.col, scale: p.scale, ..Tile::of(0) };
    for k in ranges(0..p.k, steps.k) {
        let base = if p.accumulate || k.start > 0 { Some(p.c.read()) } else { first_base };
        let bounds = bounds.filter(|_| k.end == p.k);
        tile.k = k.len();
        tile.plain = base.is_none() && p.scale == T::wrap(1) && bounds.is_none();
        tile.bounds = bounds.unwrap_or_else(unbounded);
        for columns in ranges(columns.clone(), steps.n) {
            // SAFETY: ranges lie within the problem.
            unsafe { b_block.fill(kernels, &p.b, k.clone(), columns.clone()) };
            for rows in ranges(rows.clone(), steps.m) {
                // SAFETY: as above.
                unsafe { a_block.fill(kernels, &p.a, rows.clone(), k.clone()) };
                for panel in ranges(columns.clone(), kernels.width()) {
                    tile.columns = panel.len();
                    for (nth, rows) in heights(rows.clone(), kernels.height()).enumerate() {
                        let (a, a_row, a_step) = a_block.tile(&p.a, rows.clone());
                        let apart = if a_row == 1 { 1 } else { rows.len() };
                        for (i, row) in a_rows.iter().enumerate().take(apart) {
                            row.set(a.wrapping_offset(i as isize * a_row));
                        }
                        (tile.a_beside, tile.a_step) = (a_row == 1, a_step);
                        // Rows that are read where they lie arrive too late unless asked for: the next tile's, if there is no
                        // gap between them, or those of the next panel.
                        (tile.next, tile.next_step) = if (a_row, a_step) == (k.len() as isize, 1) {
                            (a.wrapping_add(rows.len() * k.len()), rows.len() as isize)
                        } else {
                            b_block.next(&p.b, panel.start, nth).unwrap_or((a, 0))
                        };
                        let (b, b_step, b_copy) = b_block.panel(&p.b, panel.start);
                        b_row.set(b);
                        tile.b_step = b_step;
                        tile.c = p.c.at(rows.start, panel.start);
                        if let Some(base) = base {
                            tile.base = Operand { start: base.at(rows.start, panel.start), ..base };
                        }
                        let kernel = match b_copy {
                            Some(to) => {
                                (tile.b_copy, tile.b_ahead) = (to, EARLY);
                                kernels.copying_tile(rows.len())
                            }
                            None => {
                                tile.b_ahead = SOON;
                                kernels.tile(rows.len(), panel.len())
                            }
                        };
                        // SAFETY: the blocks hold, or lie in, what the tile reads; `c` is the caller's promise.
                        unsafe { kernel(&tile) };
                    }
                }
                if k.end == p.k {
                    // SAFETY: as above; no tile writes these elements again.
                    unsafe { complete(p, late_bias, then, rows, columns.clone()) };
                }
            }
        }
    }
}

/// What is left to do with finished elements of `c`, while they are still in a near cache: adds `bias`, where the tiles
/// could not, and calls `then` with stretches of neighbours.
///
/// # Safety
/// As for [`products`].
unsafe fn complete<T: Number>(
    p: &Problem<T>,
    bias: Option<Operand<T>>,
    then: Option<&Then<T>>,
    rows: Range<usize>,
    columns: Range<usize>,
) {
    if let Some(bias) = bias {
        for (i, j) in rows.clone().flat_map(|i| columns.clone().map(move |j| (i, j))) {
            // SAFETY: the caller vouches for the elements.
            unsafe { *p.c.at(i, j) = *p.c.at(i, j) + *bias.at(i, j) };
        }
    }
    let Some(then) = then else { return };
    let (c, rows, columns) = if p.c.col == 1 { (p.c, rows, columns) } else { (p.c.transposed(), columns, rows) };
    let (rows, columns, stretch) = match columns.len() {
        _ if c.col != 1 => (rows, columns, 1),
        len if c.row == len as isize => {
            (rows.start..rows.start + 1, columns.start..columns.start + 1, rows.len() * len)
        }
        len => (rows, columns.start..columns.start + 1, len),
    };
    for (i, j) in rows.flat_map(|i| columns.clone().map(move |j| (i, j))) {
        // SAFETY: a stretch is one element, one row's part, or rows without a gap between them; nobody else uses them.
        (then.call)(unsafe { slice::from_raw_parts_mut(c.at(i, j), stretch) });
    }
}

/// Consecutive ranges of `step` elements, the last one shorter; an empty range is its own part.
pub(in crate::cpu) fn ranges(whole: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = whole.len().div_ceil(step).max(1);
    (0..parts).map(move |i| whole.start + i * step..whole.end.min(whole.start + (i + 1) * step))
}

/// Consecutive ranges of at most `most` rows and of almost the same size: 32 rows are 11 + 11 + 10, not 14 + 14 + 4, since
/// short tiles leave multipliers idle.
pub(in crate::cpu) fn heights(whole: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = whole.len().div_ceil(most).max(1);
    let (height, taller) = (whole.len() / parts, whole.len() % parts);
    let at = move |i: usize| whole.start + i * height + i.min(taller);
    (0..parts).map(move |i| at(i)..at(i + 1))
}

/// The types that are multiplied at full speed.
pub trait Number: Element + MulAdd + Default + std::ops::Add<Output = Self> + HasKernels + Activate {}
impl Number for f32 {}
impl Number for f64 {}

#[cfg(test)]
mod tests;
