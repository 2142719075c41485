//! A vector times a matrix: each element of the matrix is used once, so this runs at the speed of memory, and all that
//! counts is reading the matrix in the order in which it lies there.

use std::ops::Range;

use super::{Number, Problem};
use crate::Buffer;
use crate::cpu::simd::{MulAdd, mul_add};

/// In which order the matrix lies.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// Rows of `b` are contiguous: `c` is a sum of rows.
    Rows,
    /// Columns of `b` are contiguous: each element of `c` is a product with one of them.
    Columns,
}

impl Form {
    /// The form of a problem with one row, if it has one.
    pub fn of<T>(p: &Problem<T>) -> Option<Form> {
        match (p.m, p.k) {
            (1, 1..) if p.b.col == 1 => Some(Form::Rows),
            (1, 1..) if p.b.row == 1 => Some(Form::Columns),
            _ => None,
        }
    }
}

/// How many sums are kept near at hand while rows are added.
const CHUNK: usize = 512;

/// How many partial sums a product of two vectors has: several registers, so that additions need not wait for each other.
const LANES: usize = 16;

/// Computes the elements of `c` in `columns`, for a problem with one row.
///
/// # Safety
/// The problem's elements may be read, and those of `c` written by nobody else.
pub(super) unsafe fn product<T: Number>(form: Form, p: &Problem<T>, columns: Range<usize>) {
    // SAFETY: passed on.
    unsafe {
        match form {
            Form::Rows => {
                let mut sums = [T::default(); CHUNK];
                for start in columns.clone().step_by(CHUNK) {
                    let len = CHUNK.min(columns.end - start);
                    sum_of_rows(p, start, &mut sums[..len]);
                    write(p, start, &sums[..len]);
                }
            }
            Form::Columns => products_with_columns(p, columns),
        }
    }
}

/// Sets `sums` to the elements of the product from `start` on: a few rows at a time, so that sums are loaded less often.
unsafe fn sum_of_rows<T: Number>(p: &Problem<T>, start: usize, sums: &mut [T]) {
    sums.fill(T::default());
    let len = sums.len();
    // SAFETY: the elements of a row are neighbours, and the caller vouches for them.
    let term = |i: usize| unsafe { (*p.a.at(0, i), std::slice::from_raw_parts(p.b.at(i, start), len)) };
    let fours = p.k - p.k % 4;
    for i in (0..fours).step_by(4) {
        add_rows([term(i), term(i + 1), term(i + 2), term(i + 3)], sums);
    }
    for i in fours..p.k {
        add_rows([term(i)], sums);
    }
}

/// Computes the product with one column of `b` after the other, four at a time.
unsafe fn products_with_columns<T: Number>(p: &Problem<T>, columns: Range<usize>) {
    let mut copy = None;
    let a = if p.a.col == 1 {
        // SAFETY: the elements of `a` are neighbours, and the caller vouches for them.
        unsafe { std::slice::from_raw_parts(p.a.start, p.k) }
    } else {
        let a = copy.insert(Buffer::unspecified(T::DTYPE, p.k)).as_mut_slice::<T>();
        for (i, a) in a.iter_mut().enumerate() {
            // SAFETY: the caller vouches for the elements.
            *a = unsafe { *p.a.at(0, i) };
        }
        a
    };
    // SAFETY: the elements of a column are neighbours, and the caller vouches for them.
    let column = |j: usize| unsafe { std::slice::from_raw_parts(p.b.at(0, j), p.k) };
    let fours = columns.end - columns.len() % 4;
    for j in (columns.start..fours).step_by(4) {
        // SAFETY: passed on.
        unsafe { write(p, j, &dots(a, [column(j), column(j + 1), column(j + 2), column(j + 3)])) };
    }
    for j in fours..columns.end {
        // SAFETY: passed on.
        unsafe { write(p, j, &dots(a, [column(j)])) };
    }
}

/// Writes elements of `c` from column `start` on.
unsafe fn write<T: Number>(p: &Problem<T>, start: usize, sums: &[T]) {
    for (j, &sum) in sums.iter().enumerate() {
        let c = p.c.at(0, start + j);
        // SAFETY: the caller vouches for the elements of `c`.
        unsafe { *c = if p.finish.accumulate { *c + sum } else { sum } };
    }
}

crate::simd! {
    /// Adds each row times its factor to `sums`, in order.
    fn add_rows<T; const N: usize>(terms: [(T, &[T]); N], sums: &mut [T]) where [T: MulAdd] {
        let len = sums.len();
        let terms = terms.map(|(factor, row)| (factor, &row[..len]));
        for j in 0..len {
            let mut sum = sums[j];
            for (factor, row) in terms {
                sum = mul_add::<FMA, T>(factor, row[j], sum);
            }
            sums[j] = sum;
        }
    }

    /// The products of `a` with each of some vectors of the same length.
    fn dots<T; const N: usize>(a: &[T], columns: [&[T]; N]) -> [T; N] where [T: Number] {
        let mut sums = [[T::default(); LANES]; N];
        let (chunks, rest) = a.as_chunks::<LANES>();
        let parts = columns.map(|column| column[..a.len()].as_chunks::<LANES>());
        for (i, a) in chunks.iter().enumerate() {
            for (sums, (column, _)) in sums.iter_mut().zip(parts) {
                let column = &column[i];
                for lane in 0..LANES {
                    sums[lane] = mul_add::<FMA, T>(a[lane], column[lane], sums[lane]);
                }
            }
        }
        let mut totals = [T::default(); N];
        for (total, (sums, (_, column))) in totals.iter_mut().zip(sums.iter().zip(parts)) {
            *total = sums.iter().fold(T::default(), |total, &sum| total + sum);
            for (&a, &x) in rest.iter().zip(column) {
                *total = mul_add::<FMA, T>(a, x, *total);
            }
        }
        totals
    }
}
