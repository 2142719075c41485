//! Packing: blocks of the operands in the order in which the microkernel reads them, where that pays.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;

use super::kernels::Kernels;
use super::lane::{Lane, Square};
use super::{CACHE_LINE, Number, Operand, Problem, Steps, heights};
use crate::Buffer;
use crate::cpu::stream::prefetch;

/// A block of `a`: one tile's rows after the other, each column by column.
pub(super) struct Rows<'a, T> {
    /// Whether they are read where they always were.
    direct: bool,
    memory: Memory<'a, T>,
    start: *const T,
    /// The rows and the part of `k` that the block holds.
    rows: Range<usize>,
    k: Range<usize>,
}

impl<'a, T: Number> Rows<'a, T> {
    /// Memory for blocks of `a` as large as `steps` says, for a product of `m` rows and `n` columns.
    pub fn new(
        kernels: &Kernels<T>,
        p: &Problem<T>,
        steps: &Steps,
        (m, n): (usize, usize),
        small: &'a mut Small<T>,
    ) -> Self {
        let near = match (p.a.row, p.a.col) {
            (1, distance) | (distance, 1) => !competes::<T>(distance, 2048),
            _ => false,
        };
        // Short sums would rather find one row's element behind the other's, and many panels of `b` would, too.
        let rows = p.a.col == 1 && is_close::<T>(p.a.row) && steps.k >= 128;
        let direct = near && n <= 8 * kernels.width() || rows && n <= 24 * kernels.width();
        let len = if direct { 0 } else { steps.m.min(m) * steps.k };
        Self { direct, memory: Memory::new(len, small), start: ptr::null(), rows: 0..0, k: 0..0 }
    }

    /// Takes in the elements of `a` in `rows` and `k`.
    ///
    /// # Safety
    /// They may be read.
    pub unsafe fn fill(&mut self, kernels: &Kernels<T>, a: &Operand<T>, rows: Range<usize>, k: Range<usize>) {
        if (&self.rows, &self.k) == (&rows, &k) {
            return;
        }
        let start = self.memory.start();
        for tile in heights(rows.clone(), kernels.height()).filter(|_| !self.direct) {
            let from = Operand { start: a.at(tile.start, k.start), ..*a }.transposed();
            let to = start.wrapping_add((tile.start - rows.start) * k.len());
            // SAFETY: the memory has room for the block, and the caller vouches for `a`.
            unsafe { (kernels.copy)(&Copied { from, rows: k.len(), columns: tile.len(), to, distance: tile.len() }) };
        }
        (self.start, self.rows, self.k) = (start, rows, k);
    }

    /// The first element of a tile's rows, and the distances to the next row and along `k`; one of the two is 1.
    pub fn tile(&self, a: &Operand<T>, tile: Range<usize>) -> (*const T, isize, isize) {
        if self.direct {
            return (a.at(tile.start, self.k.start), a.row, a.col);
        }
        let start = (tile.start - self.rows.start) * self.k.len();
        (self.start.wrapping_add(start), 1, tile.len() as isize)
    }
}

/// Whether rows this far apart are read as fast where they lie as one behind the other, however often.
fn is_close<T>(distance: isize) -> bool {
    distance.unsigned_abs() * size_of::<T>() <= 3072
}

/// Whether elements this far apart compete for the same few places of the first-level cache: whole steps of so many bytes, of
/// half a page or a page.
fn competes<T>(distance: isize, step: usize) -> bool {
    (distance.unsigned_abs() * size_of::<T>()).is_multiple_of(step)
}

/// A block of `b` as panels: each as wide as the widest tile, row by row, the last one filled up with zeros.
pub(super) struct Panels<'a, T> {
    packing: Packing,
    width: usize,
    memory: Memory<'a, T>,
    columns: Range<usize>,
    k: Range<usize>,
    /// Where the panels begin that the memory does not hold yet, of those that it is to hold.
    missing: usize,
}

/// When panels that are as wide as the widest tile are copied.
#[derive(Clone, Copy, PartialEq)]
enum Packing {
    /// They are read where they always were.
    Never,
    /// By the first tile that uses one, row by row as it reads them: while it multiplies there is time to wait for memory.
    OnUse,
    /// All before the first tile.
    Ahead,
}

impl<'a, T: Number> Panels<'a, T> {
    /// Memory for blocks of `b` as large as `steps` says, for a product of `m` rows and `n` columns.
    pub fn new(
        kernels: &Kernels<T>,
        p: &Problem<T>,
        steps: &Steps,
        (m, n): (usize, usize),
        small: &'a mut Small<T>,
    ) -> Self {
        let width = kernels.width();
        // Within few steps a tile asks for no row in time, and others may just have written them on another core.
        let is_short = steps.k < 128;
        // Rows whole pages apart compete for so few places that a tile hardly finds any where it read them before.
        let few = match competes::<T>(p.b.row, 4096) {
            true if is_short => 5,
            true => 3,
            false => 10,
        };
        let packing = match p.b.col {
            1 if m <= few * kernels.height() || !is_short && is_close::<T>(p.b.row) => Packing::Never,
            // The more rows, the less a copy matters, and the more it does that memory is read in its order.
            1 if m <= 1024 && !is_short => Packing::OnUse,
            _ => Packing::Ahead,
        };
        let len = if packing != Packing::Never {
            steps.n.min(n.next_multiple_of(width)) * steps.k
        } else if n.is_multiple_of(width) {
            0
        } else {
            width * steps.k
        };
        Self { packing, width, memory: Memory::new(len, small), columns: 0..0, k: 0..0, missing: 0 }
    }

    /// Takes in the elements of `b` in `k` and `columns`.
    ///
    /// # Safety
    /// They may be read.
    pub unsafe fn fill(&mut self, kernels: &Kernels<T>, b: &Operand<T>, k: Range<usize>, columns: Range<usize>) {
        let ragged = columns.len() % self.width;
        let first = if self.packing == Packing::Ahead { columns.start } else { columns.end - ragged };
        (self.columns, self.k, self.missing) = (columns.clone(), k.clone(), columns.start);
        let memory = self.place(first);
        // Rows of neighbours are filled up with zeros as they are copied.
        if ragged > 0 && b.col != 1 {
            let last = (columns.end - ragged - first) * k.len();
            // SAFETY: the memory has room for the panels.
            unsafe { memory.wrapping_add(last).write_bytes(0, self.width * k.len()) };
        }
        // A few rows of all panels at a time, so that rows are read from one end to the other, as caches expect it.
        let few = if b.col == 1 { 16 } else { k.len().max(1) };
        for k_part in (k.start..k.end).step_by(few) {
            for start in (first..columns.end).step_by(self.width) {
                let columns = self.width.min(columns.end - start);
                let from = Operand { start: b.at(k_part, start), ..*b };
                let to = memory.wrapping_add((start - first) * k.len() + (k_part - k.start) * self.width);
                let rows = few.min(k.end - k_part);
                // SAFETY: as above, and the caller vouches for `b`.
                unsafe { (kernels.copy)(&Copied { from, rows, columns, to, distance: self.width }) };
            }
        }
    }

    /// The first element of the panel that starts at a column, the distance between its rows, and where to copy them to, if they
    /// should be copied on the way; the next tile then reads the copy.
    pub fn panel(&mut self, b: &Operand<T>, start: usize) -> (*const T, isize, Option<*mut T>) {
        let is_full = start + self.width <= self.columns.end;
        let copy = self.place(start);
        match self.packing {
            Packing::Never if is_full => (b.at(self.k.start, start), b.row, None),
            Packing::OnUse if is_full && start == self.missing => {
                self.missing += self.width;
                (b.at(self.k.start, start), b.row, Some(copy))
            }
            _ => (copy, self.width as isize, None),
        }
    }

    /// What the `nth` tile of the panel that starts at a column should ask for of the next one, if that is read where it lies: a
    /// line of each row, the first and the distance. The first tile waits for its own.
    pub fn next(&self, b: &Operand<T>, start: usize, nth: usize) -> Option<(*const T, isize)> {
        let lanes = CACHE_LINE / size_of::<T>();
        let (next, line) = (start + self.width, nth.checked_sub(1)?);
        let is_missing = self.packing == Packing::Never || self.packing == Packing::OnUse && next == self.missing;
        let is_whole = next + self.width <= self.columns.end && line * lanes < self.width;
        (is_missing && is_whole && b.col == 1).then(|| (b.at(self.k.start, next + line * lanes), b.row))
    }

    /// Where the memory holds the panel that starts at a column.
    fn place(&mut self, start: usize) -> *mut T {
        let first = if self.packing == Packing::Never { start } else { self.columns.start };
        self.memory.start().wrapping_add((start - first) * self.k.len())
    }
}

/// Scratch memory: little of it on the stack, else from the pool.
struct Memory<'a, T> {
    large: Option<Buffer>,
    small: &'a mut Small<T>,
}

/// Room for the blocks of a product of some ten rows and columns, which would be done sooner than the pool is asked.
#[repr(align(64))]
pub(super) struct Small<T>([MaybeUninit<T>; 1024]);

impl<T: Copy> Small<T> {
    pub fn new() -> Self {
        Self([MaybeUninit::uninit(); 1024])
    }
}

impl<'a, T: Number> Memory<'a, T> {
    fn new(len: usize, small: &'a mut Small<T>) -> Self {
        let large = (len > small.0.len()).then(|| Buffer::unspecified(T::DTYPE, len));
        Self { large, small }
    }

    fn start(&mut self) -> *mut T {
        match &mut self.large {
            Some(buffer) => buffer.as_mut_slice::<T>().as_mut_ptr(),
            None => self.small.0.as_mut_ptr().cast(),
        }
    }
}

/// A copy of a matrix to row-major order.
pub(in crate::cpu) struct Copied<T> {
    pub from: Operand<T>,
    pub rows: usize,
    pub columns: usize,
    pub to: *mut T,
    /// The distance between rows of the copy.
    pub distance: usize,
}

/// Copies a matrix; compiled for each instruction set with its lanes.
///
/// # Safety
/// The elements may be read and written, and the caller enables the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn copy<V: Lane>(c: &Copied<V::Elem>) {
    // SAFETY: passed on.
    unsafe {
        if c.from.col == 1 {
            copy_rows::<V>(c);
        } else if c.from.row == 1 {
            transpose::<V>(c);
        } else {
            gather(c);
        }
    }
}

/// Vectors before their turn at which memory is asked for them: those of the panels that come next.
const AHEAD: usize = 4;

/// Copies rows whose elements are neighbours; where their copies are far enough apart, the last vector is filled up with
/// zeros.
#[inline(always)]
unsafe fn copy_rows<V: Lane>(c: &Copied<V::Elem>) {
    let (vectors, rest) = (c.columns / V::LANES, c.columns % V::LANES);
    let fills = (vectors + 1) * V::LANES <= c.distance;
    for i in 0..c.rows {
        // SAFETY: the caller vouches for the elements.
        unsafe {
            let (from, to) = (c.from.at(i, 0), c.to.add(i * c.distance));
            for v in 0..vectors {
                prefetch(from.wrapping_add((v + AHEAD) * V::LANES));
                V::load(from.add(v * V::LANES)).store(to.add(v * V::LANES));
            }
            if rest > 0 {
                let last = V::load_first(from.add(vectors * V::LANES), rest);
                let to = to.add(vectors * V::LANES);
                if fills { last.store(to) } else { last.store_first(to, rest) }
            }
        }
    }
}

/// Copies a matrix whose columns have neighbouring elements, in squares that are transposed in registers.
#[inline(always)]
unsafe fn transpose<V: Lane>(c: &Copied<V::Elem>) {
    for j in (0..c.columns).step_by(V::LANES) {
        let columns = V::LANES.min(c.columns - j);
        for i in (0..c.rows).step_by(V::LANES) {
            let rows = V::LANES.min(c.rows - i);
            let (from, to) = (c.from.at(i, j), c.to.wrapping_add(i * c.distance + j));
            let from = Square { start: from, distance: c.from.col, rows: columns, columns: rows };
            let to = Square { start: to, distance: c.distance as isize, rows, columns };
            // SAFETY: the caller vouches for the elements.
            unsafe { V::transpose(from, to) };
        }
    }
}

/// Copies elements one by one.
#[inline(always)]
unsafe fn gather<T: Copy>(c: &Copied<T>) {
    for i in 0..c.rows {
        for j in 0..c.columns {
            // SAFETY: the caller vouches for the elements.
            unsafe { *c.to.add(i * c.distance + j) = *c.from.at(i, j) };
        }
    }
}
