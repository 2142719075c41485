//! The microkernel: one small tile of the product, kept in registers while it walks along `k`.
//!
//! A tile of `H` rows and `W` vectors needs `H * W` registers for its sums, `W` for a row of `b`, and one for an element of
//! `a` in every place. Each step of `k` loads `W` vectors and `H` single numbers for `H * W` vector multiply-adds: the
//! taller and wider the tile, the more arithmetic per load. `H * W` must also be at least 8 or so, since a multiply-add
//! takes about four cycles and two can start in each, so eight must be under way at any time.
//!
//! Where the last vector would be half empty, or emptier, two rows share one: 24 columns are three vectors of 16 for two rows, not
//! four.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr;

use super::lane::{Lane, clamp};
use super::pack::{Copied, copy};
use super::{Number, Operand, unbounded};
use crate::cpu::simd::MulAdd;
use crate::cpu::stream::prefetch;

/// One tile's work: which elements to read, and where the sums go.
///
/// The sum has one run or several, of the same length: a product of matrices has one; a convolution has one for each tap of
/// its kernel, and the gradient of its weights one for each row of the images. Within a run, elements of `a` and rows of `b`
/// are equally far apart; where runs begin is listed.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Tile<T> {
    /// How many products each run adds to each sum.
    pub k: usize,
    /// How many runs there are.
    pub runs: usize,
    /// For each run, where each of the tile's rows of `a` begins; or only the first, if the rows are neighbours.
    pub a: *const *const T,
    /// Whether the rows' elements lie next to each other.
    pub a_beside: bool,
    /// The distance of elements of `a` along `k`.
    pub a_step: isize,
    /// What later tiles read and memory is asked for meanwhile, a line at each step, and how far apart these begin; only a tile whose
    /// rows' elements do not lie next to each other has the time.
    pub next: *const T,
    pub next_step: isize,
    /// For each run, its first row of `b`, whose elements are neighbours; and the distance of rows.
    pub b: *const *const T,
    pub b_step: isize,
    /// Where a tile that copies puts its rows of `b`, one after the other.
    pub b_copy: *mut T,
    /// How many steps before its use a row of `b` is asked for: [`SOON`] or [`EARLY`].
    pub b_ahead: usize,
    /// Element `(0, 0)` of `c`, and the distances to the next row and the next column.
    pub c: *mut T,
    pub c_row: isize,
    pub c_col: isize,
    /// How many columns are written: at most `W` vectors. All of these are read from `b`.
    pub columns: usize,
    /// Whether the sums may be written as they are: `scale` is one, `base` nothing but zeros, and the bounds infinite.
    pub plain: bool,
    /// The sums are multiplied with this, and `base` is added, whose distances are its own.
    pub scale: T,
    pub base: Operand<T>,
    /// What lies beyond these is written as they are.
    pub bounds: [T; 2],
}

impl<T: Number> Tile<T> {
    /// A tile whose sums have `k` products in one run and are written as they are. What it reads and where it writes is still to
    /// be said. Whoever computes many keeps one and changes what differs, since making it takes as long as a few steps do.
    pub fn of(k: usize) -> Self {
        Self {
            k,
            runs: 1,
            a: ptr::null(),
            a_beside: false,
            a_step: 1,
            next: T::ZEROS.as_ptr(),
            next_step: 0,
            b: ptr::null(),
            b_step: 0,
            b_copy: ptr::null_mut(),
            b_ahead: SOON,
            c: ptr::null_mut(),
            c_row: 0,
            c_col: 1,
            columns: 0,
            plain: true,
            scale: T::wrap(1),
            base: Operand { start: T::ZEROS.as_ptr(), row: 0, col: 0 },
            bounds: unbounded(),
        }
    }

    /// Has the sums added to what `c` holds.
    pub fn accumulate(&mut self) {
        self.plain = false;
        self.base = Operand { start: self.c, row: self.c_row, col: self.c_col };
    }
}

/// Computes one tile. The caller vouches for the pointers and for the instruction set.
pub(in crate::cpu) type Kernel<T> = unsafe fn(&Tile<T>);

/// How many steps ahead to ask for rows of `b` that are in the second-level cache or the third.
pub(in crate::cpu) const SOON: usize = 12;

/// The same for rows that are in memory, some thousand cycles away when both cores read.
pub(in crate::cpu) const EARLY: usize = 64;

/// Steps of a sum that is done before memory answers.
const SHORT: usize = 32;

/// The bytes that a core takes in at a time.
pub(in crate::cpu) const CACHE_LINE: usize = 64;

/// The body of every microkernel. With `HALF`, rows 0 and 1, 2 and 3, … share the last vector of the first of the two; with
/// `COPY`, rows of `b` are copied as they are used.
///
/// # Safety
/// As for [`Kernel`]; the caller must enable the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn compute<V: Lane, const H: usize, const W: usize, const HALF: bool, const COPY: bool>(
    t: &Tile<V::Elem>,
) -> [[V; W]; H] {
    // SAFETY: the caller vouches for every element that the strides reach. Pointers that run ahead of the last step are
    // computed with `wrapping_offset` and not read.
    unsafe {
        let zero = V::splat(V::Elem::default());
        let mut sums = [[zero; W]; H];
        let mut row = [zero; W];
        let mut copy = t.b_copy;
        let upper = if HALF { black_box(u32::MAX << (V::LANES / 2)) } else { 0 };
        // One step: a row of `b` is read, those to come are asked for, and an element of each row of `a` times the row is added.
        macro_rules! step {
            ($b:ident, $soon:ident, |$i:ident| $element:expr) => {
                for v in 0..W {
                    let from = $b.add(v * V::LANES);
                    row[v] = if HALF && v + 1 == W { V::load_twice(from) } else { V::load(from) };
                    if COPY {
                        row[v].store(copy.add(v * V::LANES));
                    }
                    if (v * V::LANES).is_multiple_of(CACHE_LINE / size_of::<V::Elem>()) {
                        prefetch($soon.wrapping_add(v * V::LANES));
                    }
                }
                if COPY {
                    copy = copy.wrapping_add(W * V::LANES);
                }
                let pairs = if HALF { H / 2 } else { 0 };
                for pair in 0..pairs {
                    let mut both = [zero; 2];
                    for (of, x) in both.iter_mut().enumerate() {
                        let $i = 2 * pair + of;
                        *x = V::splat($element);
                        for v in 0..W - 1 {
                            sums[$i][v] = x.mul_add(row[v], sums[$i][v]);
                        }
                    }
                    let shared = &mut sums[2 * pair][W - 1];
                    *shared = V::halves(both[0], both[1], upper).mul_add(row[W - 1], *shared);
                }
                for $i in 2 * pairs..H {
                    let x = V::splat($element);
                    for v in 0..W {
                        sums[$i][v] = x.mul_add(row[v], sums[$i][v]);
                    }
                }
            };
        }
        // While the first rows of `b` are used, the rows of `c` are asked for, one at each step, since a core waits for some
        // ten lines at a time; afterwards the rows of `b` that come next.
        // A short sum is written before they are there, so that it asks for the next tile's.
        let c_ahead = if t.runs * t.k <= SHORT { H as isize * t.c_row } else { 0 };
        let (mut rows_of_c, mut c) = (if t.c_col == 1 { H } else { 0 }, t.c.cast_const().wrapping_offset(c_ahead));
        for run in 0..t.runs {
            let mut b = *t.b.add(run);
            let asked = rows_of_c.min(t.k);
            let b_ahead = b.wrapping_offset((asked + t.b_ahead) as isize * t.b_step);
            let parts = [(asked, c, t.c_row), (t.k - asked, b_ahead, t.b_step)];
            if t.a_beside {
                let mut a = *t.a.add(run);
                for (steps, mut soon, distance) in parts {
                    for _ in 0..steps {
                        step!(b, soon, |i| *a.add(i));
                        a = a.wrapping_offset(t.a_step);
                        b = b.wrapping_offset(t.b_step);
                        soon = soon.wrapping_offset(distance);
                    }
                }
            } else {
                let rows = t.a.add(run * H);
                let (mut p, mut next) = (0, t.next);
                for (steps, mut soon, distance) in parts {
                    for _ in 0..steps {
                        step!(b, soon, |i| {
                            // More pointers than there are registers for are read anew at each step: a compiler that is free
                            // to choose advances each of them, in memory, which takes twice as long as the arithmetic.
                            let start = rows.add(i);
                            let start = if H > 8 { start.read_volatile() } else { *start };
                            *start.offset(p)
                        });
                        prefetch(next);
                        next = next.wrapping_offset(t.next_step);
                        p += t.a_step;
                        b = b.wrapping_offset(t.b_step);
                        soon = soon.wrapping_offset(distance);
                    }
                }
            }
            (rows_of_c, c) = (rows_of_c - asked, c.wrapping_offset(asked as isize * t.c_row));
        }
        sums
    }
}

/// Gives each row of a tile with `HALF` its own last vector, of which the first half matters.
///
/// # Safety
/// As for [`compute`].
#[inline(always)]
pub(super) unsafe fn parted<V: Lane, const H: usize, const W: usize>(mut sums: [[V; W]; H]) -> [[V; W]; H] {
    for i in (1..H).step_by(2) {
        // SAFETY: passed on to the caller.
        sums[i][W - 1] = unsafe { sums[i - 1][W - 1].second_half() };
    }
    sums
}

/// Writes the sums of a whole tile to rows whose elements are neighbours; and of a tile with `HALF`, if they are plain.
///
/// # Safety
/// As for [`compute`].
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "plain indices with constant bounds keep arrays in registers")]
pub(super) unsafe fn write_whole<V: Lane, const H: usize, const W: usize, const HALF: bool>(
    t: &Tile<V::Elem>,
    sums: &[[V; W]; H],
) {
    // SAFETY: passed on to the caller.
    unsafe {
        if t.plain {
            for i in 0..H {
                let c = t.c.wrapping_offset(i as isize * t.c_row);
                for v in 0..W {
                    let c = c.wrapping_add(v * V::LANES);
                    if HALF && v + 1 == W {
                        sums[i][v].store_first(c, t.columns - v * V::LANES);
                    } else {
                        sums[i][v].store(c);
                    }
                }
            }
            return;
        }
        let (scale, [least, most]) = (V::splat(t.scale), t.bounds.map(|x| V::splat(x)));
        for i in 0..H {
            let c = t.c.wrapping_offset(i as isize * t.c_row);
            let base = t.base.at(i, 0);
            for v in 0..W {
                let base = V::load(base.wrapping_add(v * V::LANES));
                sums[i][v].mul_add(scale, base).clamp(least, most).store(c.wrapping_add(v * V::LANES));
            }
        }
    }
}

/// Writes `height` rows of `width` sums of a tile at the edge of the matrix, or to a transposed result.
///
/// The sums are read from memory, so that one function serves tiles of all sizes: code of their own for every height and
/// width would lengthen every build for the sake of few tiles.
///
/// # Safety
/// As for [`compute`]; `sums` are as many as said.
#[inline(always)]
pub(super) unsafe fn write_rest<V: Lane>(t: &Tile<V::Elem>, sums: *const V::Elem, height: usize, width: usize) {
    // SAFETY: passed on to the caller; a tile is at most `MAX_HEIGHT` by `MAX_WIDTH`.
    unsafe {
        if t.c_col == 1 {
            let (scale, [least, most]) = (V::splat(t.scale), t.bounds.map(|x| V::splat(x)));
            for i in 0..height {
                let c = t.c.wrapping_offset(i as isize * t.c_row);
                let base = t.base.at(i, 0);
                for j in (0..t.columns).step_by(V::LANES) {
                    let len = (t.columns - j).min(V::LANES);
                    let base = V::load_first(base.wrapping_add(j), len);
                    let sum = V::load(sums.add(i * width + j)).mul_add(scale, base).clamp(least, most);
                    sum.store_first(c.wrapping_add(j), len);
                }
            }
            return;
        }
        let transposed = |to, distance| Copied {
            from: Operand { start: sums, row: 1, col: width as isize },
            rows: t.columns,
            columns: height,
            to,
            distance,
        };
        if t.plain && t.c_row == 1 && t.c_col > 0 {
            return copy::<V>(&transposed(t.c, t.c_col as usize));
        }
        let mut columns = [MaybeUninit::<V::Elem>::uninit(); MAX_HEIGHT * MAX_WIDTH];
        let columns = columns.as_mut_ptr().cast::<V::Elem>();
        copy::<V>(&transposed(columns, height));
        for j in 0..t.columns {
            let c = t.c.wrapping_offset(j as isize * t.c_col);
            for i in 0..height {
                let sum = *columns.add(j * height + i);
                let sum = sum.separate(t.scale, *t.base.at(i, j));
                *c.wrapping_offset(i as isize * t.c_row) = clamp(sum, t.bounds[0], t.bounds[1]);
            }
        }
    }
}

/// The height of the tallest tile of all instruction sets.
pub(in crate::cpu) const MAX_HEIGHT: usize = 14;
/// The width of the widest tile of all instruction sets.
pub(in crate::cpu) const MAX_WIDTH: usize = 32;
