//! A vector times a matrix: each element of the matrix is used once, so this runs at the speed of memory, and all that
//! counts is reading the matrix in the order in which it lies there.

use std::ops::{Add, Range};

use super::Problem;
use super::lane::Lane;
use crate::cpu::simd::MulAdd;

/// In which order the matrix lies.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// Rows of `b` are contiguous: `c` is a sum of rows.
    Rows,
    /// Columns of `b` are contiguous, and `a` is: each element of `c` is a product with one of them.
    Columns,
}

impl Form {
    /// The form of a problem with one row, if it has one.
    pub fn of<T>(p: &Problem<T>) -> Option<Form> {
        match (p.m, p.k) {
            (1, 1..) if p.b.col == 1 => Some(Form::Rows),
            (1, 1..) if p.b.row == 1 && p.a.col == 1 => Some(Form::Columns),
            _ => None,
        }
    }
}

/// How many sums are kept near at hand while rows are added; rows are read in runs of this length, the longer the better.
const CHUNK: usize = 2048;

/// Computes the elements of `c` in `columns`, for a problem with one row.
///
/// # Safety
/// The problem's elements may be read, and those of `c` written by nobody else; the caller enables the instruction set
/// of `V`.
#[inline(always)]
pub(super) unsafe fn product<V: Lane>(form: Form, p: &Problem<V::Elem>, columns: Range<usize>) {
    // SAFETY: passed on.
    unsafe {
        match form {
            Form::Rows => {
                let mut sums = [V::Elem::default(); CHUNK];
                for start in columns.clone().step_by(CHUNK) {
                    let sums = &mut sums[..CHUNK.min(columns.end - start)];
                    sums.fill(V::Elem::default());
                    // Four rows at a time, so that the sums are loaded and written less often.
                    let fours = p.k - p.k % 4;
                    for i in (0..fours).step_by(4) {
                        add_rows::<V, 4>(p, i, start, sums);
                    }
                    for i in fours..p.k {
                        add_rows::<V, 1>(p, i, start, sums);
                    }
                    write(p, start, sums);
                }
            }
            Form::Columns => {
                // Four columns at a time, for the same elements of `a`.
                let fours = columns.end - columns.len() % 4;
                for j in (columns.start..fours).step_by(4) {
                    write(p, j, &products_with_columns::<V, 4>(p, j));
                }
                for j in fours..columns.end {
                    write(p, j, &products_with_columns::<V, 1>(p, j));
                }
            }
        }
    }
}

/// Adds `N` rows of `b` from row `i` and column `start` on, times their elements of `a`, to `sums`.
#[inline(always)]
unsafe fn add_rows<V: Lane, const N: usize>(p: &Problem<V::Elem>, i: usize, start: usize, sums: &mut [V::Elem]) {
    // SAFETY: the caller vouches for the elements.
    unsafe {
        let mut factors = [V::splat(V::Elem::default()); N];
        let mut rows = [p.b.start; N];
        for r in 0..N {
            factors[r] = V::splat(*p.a.at(0, i + r));
            rows[r] = p.b.at(i + r, start);
        }
        let whole = sums.len() - sums.len() % V::LANES;
        let to = sums.as_mut_ptr();
        for j in (0..whole).step_by(V::LANES) {
            let mut sum = V::load(to.add(j));
            for r in 0..N {
                sum = factors[r].mul_add(V::load(rows[r].add(j)), sum);
            }
            sum.store(to.add(j));
        }
        let rest = sums.len() - whole;
        if rest > 0 {
            let mut sum = V::load_first(to.add(whole), rest);
            for r in 0..N {
                sum = factors[r].mul_add(V::load_first(rows[r].add(whole), rest), sum);
            }
            sum.store_first(to.add(whole), rest);
        }
    }
}

/// The products of `a` with `N` columns of `b` from column `j` on.
#[inline(always)]
unsafe fn products_with_columns<V: Lane, const N: usize>(p: &Problem<V::Elem>, j: usize) -> [V::Elem; N] {
    // SAFETY: the caller vouches for the elements.
    unsafe {
        let a = p.a.start;
        let mut columns = [p.b.start; N];
        for (c, column) in columns.iter_mut().enumerate() {
            *column = p.b.at(0, j + c);
        }
        // Two sums for each column, since a sum can take up a new product only every few cycles.
        let mut sums = [[V::splat(V::Elem::default()); 2]; N];
        let whole = p.k - p.k % (2 * V::LANES);
        for i in (0..whole).step_by(2 * V::LANES) {
            let a = [V::load(a.add(i)), V::load(a.add(i + V::LANES))];
            for c in 0..N {
                sums[c][0] = a[0].mul_add(V::load(columns[c].add(i)), sums[c][0]);
                sums[c][1] = a[1].mul_add(V::load(columns[c].add(i + V::LANES)), sums[c][1]);
            }
        }
        for i in (whole..p.k).step_by(V::LANES) {
            let len = V::LANES.min(p.k - i);
            let a = V::load_first(a.add(i), len);
            for c in 0..N {
                sums[c][0] = a.mul_add(V::load_first(columns[c].add(i), len), sums[c][0]);
            }
        }
        let mut totals = [V::Elem::default(); N];
        for c in 0..N {
            let mut parts = [V::Elem::default(); MAX_LANES];
            sums[c][0].add(sums[c][1]).store(parts.as_mut_ptr());
            totals[c] = parts[..V::LANES].iter().fold(V::Elem::default(), |total, &part| total + part);
        }
        totals
    }
}

/// How many numbers the longest vector of all instruction sets holds.
const MAX_LANES: usize = 16;

/// Writes elements of `c` from column `start` on.
#[inline(always)]
unsafe fn write<T: MulAdd + Default + Add<Output = T>>(p: &Problem<T>, start: usize, sums: &[T]) {
    for (j, &sum) in sums.iter().enumerate() {
        let c = p.c.at(0, start + j);
        // SAFETY: the caller vouches for the elements of `c` and of the bias.
        unsafe {
            let y = sum.separate(p.scale, if p.accumulate { *c } else { T::default() });
            *c = match p.bias {
                Some(bias) => y + *bias.at(0, start + j),
                None => y,
            };
        }
    }
}
