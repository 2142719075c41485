//! Kernels for channels that have nothing to do with each other, of three by three taps.
//!
//! Most depthwise convolutions have so many. All weights of a vector of channels stay in registers for some rows of
//! results, and a pixel is loaded once for all neighbouring results that read it.

use std::hint::black_box;
use std::ops::Range;

use super::lattice::Lattice;
use crate::cpu::cache::caches;
use crate::cpu::matmul::lane::Lane;
use crate::cpu::stream::{self, prefetch};

/// A dimension along which results read through three neighbouring taps.
struct Three {
    count: usize,
    /// How many elements there are to read, and how far apart those are that neighbouring results read.
    source: usize,
    step: usize,
    /// The element that the first result reads through the tap that reads first, if there is one.
    first: isize,
    /// Whether the last tap reads first.
    backwards: bool,
    inner: Range<usize>,
}

impl Three {
    /// The lattice's, if it is as [`Patch`] wants it.
    fn of(lattice: &Lattice) -> Option<Self> {
        let &[(_, a), (_, b), (_, c)] = &lattice.taps[..] else { return None };
        let regular = (lattice.first, lattice.step) == (0, 1) && matches!(lattice.source_step, 1 | 2);
        let (first, backwards, inner) = (a.min(c), c < a, lattice.inner());
        let three =
            Self { count: lattice.count, source: lattice.source, step: lattice.source_step, first, backwards, inner };
        let edges = (0..three.inner.start).chain(three.inner.end..three.count);
        let known =
            |i| (0..3).all(|tap| lattice.read(i, first + tap as isize).is_some() == three.taps(i).contains(&tap));
        (regular && (b - a).abs() == 1 && c - b == b - a && edges.into_iter().all(known)).then_some(three)
    }

    /// The taps that find an element for a result, numbered as they read.
    fn taps(&self, i: usize) -> Range<usize> {
        usize::from(i < self.inner.start)..3 - usize::from(i >= self.inner.end)
    }
}

/// Three by three taps that reach into images.
pub struct Nine {
    height: Three,
    width: Three,
}

impl Nine {
    /// The lattices', if all taps are neighbours and all channels are in whole vectors.
    pub fn of([height, width]: [&Lattice; 2], channels: usize, lanes: usize) -> Option<Self> {
        let whole = channels > 0 && channels.is_multiple_of(lanes);
        let nine = Self { height: Three::of(height)?, width: Three::of(width)? };
        (whole && nine.height.step == nine.width.step).then_some(nine)
    }

    /// Whether rows are so long that pixels are shared; where not, channels are better read one after the other.
    pub fn shares(&self) -> bool {
        self.width.inner.len() >= BESIDE
    }

    /// How many rows of results belong together, so that what they read stays in the second-level cache.
    pub fn rows<T>(&self, channels: usize) -> usize {
        let row = self.height.step * self.width.source * channels * size_of::<T>();
        (caches().l2 / 8 / row.max(1)).clamp(1, 16)
    }

    /// `rows` of the results of image `n`, cut where they read through other rows of the kernel, with the first of these.
    pub fn patches<T>(
        &self,
        x: &[T],
        channels: usize,
        n: usize,
        rows: Range<usize>,
    ) -> impl Iterator<Item = (Range<usize>, usize, Patch<T>)> {
        let Self { height, width } = self;
        let row = width.source * channels;
        assert!(x.len() >= (n + 1) * height.source * row, "the image is one of those that there are");
        let far = stream::is_far(size_of_val(x));
        let mut next = rows.start;
        std::iter::from_fn(move || {
            let (start, taps) = (next, height.taps(next));
            if start >= rows.end {
                return None;
            }
            let end = if taps.len() == 3 { rows.end.min(height.inner.end) } else { start + 1 };
            next = end;
            let top = n * height.source + height.step * start;
            let first =
                (top as isize + height.first + taps.start as isize) * row as isize + width.first * channels as isize;
            let patch = Patch {
                channels,
                rows: end - start,
                columns: width.count,
                inner: width.inner.clone(),
                step: width.step,
                taps: taps.len(),
                from: x.as_ptr().wrapping_offset(first),
                from_row: height.step * row,
                tap_row: row,
                ahead: if far { (end - start) * height.step * row } else { 0 },
                to_row: width.count * channels,
                past: false,
            };
            Some((start..end, taps.start, patch))
        })
    }

    /// Where the weights of a row of taps stand, which is counted as the taps read.
    pub fn weights<T>(&self, w: &[T], channels: usize, row: usize) -> Weights<T> {
        assert!(w.len() >= 9 * channels, "each tap has a weight for every channel");
        let place = |three: &Three, tap: usize| if three.backwards { 2 - tap } else { tap };
        let sign = |three: &Three| if three.backwards { -1 } else { 1 };
        Weights {
            first: w[(3 * place(&self.height, row) + place(&self.width, 0)) * channels..].as_ptr(),
            row: sign(&self.height) * 3 * channels as isize,
            tap: sign(&self.width) * channels as isize,
        }
    }
}

/// Rows of results that read through the same rows of a kernel.
pub struct Patch<T> {
    /// How many channels a pixel has: whole vectors of them.
    pub channels: usize,
    /// How many rows of results there are, how many results in each, and which of these find a pixel for every tap; at most
    /// one before them lacks that of the first tap, and one behind them that of the last.
    pub rows: usize,
    pub columns: usize,
    pub inner: Range<usize>,
    /// How far apart the pixels are that neighbouring results read: one or two.
    pub step: usize,
    /// How many rows of the kernel there are: two or three.
    pub taps: usize,
    /// What the first result would read through the first tap, if there is such a pixel, and the distances to what the next
    /// row of results reads and to what the next row of taps reads.
    pub from: *const T,
    pub from_row: usize,
    pub tap_row: usize,
    /// How far behind what is read memory is asked for, or 0 for nowhere.
    pub ahead: usize,
    /// The distance between rows of results.
    pub to_row: usize,
    /// Whether results are written past the caches; if so, each vector of them is aligned.
    pub past: bool,
}

/// The weights of a patch: those of the first tap, and the distances to the next row of taps and to the next tap.
pub struct Weights<T> {
    pub first: *const T,
    pub row: isize,
    pub tap: isize,
}

/// Results that are computed side by side.
const BESIDE: usize = 4;

/// Runs `$body` for the constants of a patch.
macro_rules! with_constants {
    ($patch:expr, |$taps:ident, $step:ident| $body:expr) => {
        match ($patch.taps, $patch.step) {
            (3, 1) => with_constants!($taps = 3, $step = 1, $body),
            (3, 2) => with_constants!($taps = 3, $step = 2, $body),
            (2, 1) => with_constants!($taps = 2, $step = 1, $body),
            (2, 2) => with_constants!($taps = 2, $step = 2, $body),
            (taps, step) => unreachable!("{taps} rows of taps, {step} apart"),
        }
    };
    ($taps:ident = $taps_value:literal, $step:ident = $step_value:literal, $body:expr) => {{
        const $taps: usize = $taps_value;
        const $step: usize = $step_value;
        $body
    }};
}

/// Runs `$body` for all results of a row, with how many there are side by side, the taps that find pixels, and the first.
macro_rules! for_columns {
    ($patch:expr, |$count:ident, $low:ident, $high:ident, $column:ident| $body:expr) => {{
        let inner = &$patch.inner;
        let whole = inner.start + inner.len() / BESIDE * BESIDE;
        for $column in 0..inner.start {
            const $count: usize = 1;
            const $low: usize = 1;
            const $high: usize = 3;
            $body
        }
        for $column in (inner.start..whole).step_by(BESIDE) {
            const $count: usize = BESIDE;
            const $low: usize = 0;
            const $high: usize = 3;
            $body
        }
        for $column in whole..inner.end {
            const $count: usize = 1;
            const $low: usize = 0;
            const $high: usize = 3;
            $body
        }
        for $column in inner.end..$patch.columns {
            const $count: usize = 1;
            const $low: usize = 0;
            const $high: usize = 2;
            $body
        }
    }};
}

/// Loads each pixel that some neighbouring results read, and runs `$body` for each of these, with the row and the number of the tap.
macro_rules! for_taps {
    ($patch:expr, $from:expr, [$taps:ident, $step:ident, $count:ident, $low:ident, $high:ident],
     |$r:ident, $tap:ident, $pixel:ident, $i:ident| $body:expr) => {
        for $r in 0..$taps {
            let from = $from.wrapping_add($r * $patch.tap_row);
            for place in $low..($count - 1) * $step + $high {
                let $pixel = V::load(from.wrapping_add(place * $patch.channels));
                for $i in 0..$count {
                    if place >= $i * $step + $low && place < $i * $step + $high {
                        let $tap = place - $i * $step;
                        $body
                    }
                }
            }
        }
    };
}

/// `to = base + sum of taps: weights * pixels`, for every result of a patch and every channel.
///
/// # Safety
/// All pixels that the patch names, the weights, the base and the results have that many channels, nobody else uses the results,
/// and the caller enables the instruction set of `V`.
#[inline(always)]
pub unsafe fn weigh<V: Lane>(p: &Patch<V::Elem>, weights: &Weights<V::Elem>, base: *const V::Elem, to: *mut V::Elem) {
    // SAFETY: passed on.
    unsafe { with_constants!(p, |TAPS, STEP| weigh_rows::<V, TAPS, STEP>(p, weights, base, to)) }
}

#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "plain indices with constant bounds keep arrays in registers")]
unsafe fn weigh_rows<V: Lane, const TAPS: usize, const STEP: usize>(
    p: &Patch<V::Elem>,
    weights: &Weights<V::Elem>,
    base: *const V::Elem,
    to: *mut V::Elem,
) {
    // SAFETY: as for the caller.
    unsafe {
        for at in (0..p.channels).step_by(V::LANES) {
            let base = V::load(base.add(at));
            let mut w = [[base; 3]; TAPS];
            for r in 0..TAPS {
                for tap in 0..3 {
                    let place = r as isize * weights.row + tap as isize * weights.tap;
                    w[r][tap] = V::load(weights.first.offset(place).add(at));
                }
            }
            for row in 0..p.rows {
                let from = black_box(p.from.wrapping_add(row * p.from_row + at));
                let to = to.add(row * p.to_row + at);
                for_columns!(p, |COUNT, LOW, HIGH, column| {
                    let from = from.wrapping_add(column * STEP * p.channels);
                    let sums = weigh_results::<V, TAPS, STEP, COUNT, LOW, HIGH>(p, from, &w, base);
                    for i in 0..COUNT {
                        let to = to.add((column + i) * p.channels);
                        if p.past { sums[i].stream(to) } else { sums[i].store(to) }
                    }
                });
            }
        }
    }
}

/// `COUNT` neighbouring results, to which the taps `LOW..HIGH` of each row contribute.
#[inline(always)]
unsafe fn weigh_results<
    V: Lane,
    const TAPS: usize,
    const STEP: usize,
    const COUNT: usize,
    const LOW: usize,
    const HIGH: usize,
>(
    p: &Patch<V::Elem>,
    from: *const V::Elem,
    w: &[[V; 3]; TAPS],
    base: V,
) -> [V; COUNT] {
    let mut sums = [base; COUNT];
    // SAFETY: as for the caller.
    unsafe {
        for_taps!(p, from, [TAPS, STEP, COUNT, LOW, HIGH], |r, tap, pixel, i| {
            sums[i] = w[r][tap].mul_add(pixel, sums[i]);
        });
    }
    fetch::<V, TAPS, STEP, COUNT>(p, from);
    sums
}

/// Asks for what the results some rows further on will be the first to read.
#[inline(always)]
fn fetch<V: Lane, const TAPS: usize, const STEP: usize, const COUNT: usize>(p: &Patch<V::Elem>, from: *const V::Elem) {
    if p.ahead > 0 {
        for r in TAPS - STEP..TAPS {
            for place in 0..COUNT * STEP {
                prefetch(from.wrapping_add(p.ahead + r * p.tap_row + place * p.channels));
            }
        }
    }
}

/// `sums += pixel * other`, for every tap and channel, over all results of a patch, to each of which belongs an `other`, and
/// `total += other`. The sums of neighbouring taps are `channels` apart.
///
/// # Safety
/// As for [`weigh`].
#[inline(always)]
pub unsafe fn correlate<V: Lane>(p: &Patch<V::Elem>, other: *const V::Elem, sums: *mut V::Elem, total: *mut V::Elem) {
    // SAFETY: passed on.
    unsafe { with_constants!(p, |TAPS, STEP| correlate_rows::<V, TAPS, STEP>(p, other, sums, total)) }
}

#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "plain indices with constant bounds keep arrays in registers")]
unsafe fn correlate_rows<V: Lane, const TAPS: usize, const STEP: usize>(
    p: &Patch<V::Elem>,
    other: *const V::Elem,
    sums: *mut V::Elem,
    total: *mut V::Elem,
) {
    // SAFETY: as for the caller.
    unsafe {
        for at in (0..p.channels).step_by(V::LANES) {
            let mut b = V::load(total.add(at));
            let mut w = [[V::splat(V::Elem::default()); 3]; TAPS];
            for r in 0..TAPS {
                for tap in 0..3 {
                    w[r][tap] = V::load(sums.add((3 * r + tap) * p.channels + at));
                }
            }
            for row in 0..p.rows {
                let from = black_box(p.from.wrapping_add(row * p.from_row + at));
                let other = other.add(row * p.to_row + at);
                for_columns!(p, |COUNT, LOW, HIGH, column| {
                    let from = from.wrapping_add(column * STEP * p.channels);
                    let other = other.add(column * p.channels);
                    correlate_results::<V, TAPS, STEP, COUNT, LOW, HIGH>(p, from, other, &mut w, &mut b);
                });
            }
            b.store(total.add(at));
            for r in 0..TAPS {
                for tap in 0..3 {
                    w[r][tap].store(sums.add((3 * r + tap) * p.channels + at));
                }
            }
        }
    }
}

/// What `COUNT` neighbouring results add to the sums of the taps `LOW..HIGH` of each row.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "plain indices with constant bounds keep arrays in registers")]
unsafe fn correlate_results<
    V: Lane,
    const TAPS: usize,
    const STEP: usize,
    const COUNT: usize,
    const LOW: usize,
    const HIGH: usize,
>(
    p: &Patch<V::Elem>,
    from: *const V::Elem,
    other: *const V::Elem,
    w: &mut [[V; 3]; TAPS],
    b: &mut V,
) {
    // SAFETY: as for the caller.
    unsafe {
        let mut others = [V::splat(V::Elem::default()); COUNT];
        for i in 0..COUNT {
            others[i] = V::load(other.add(i * p.channels));
            *b = b.add(others[i]);
            if p.ahead > 0 {
                prefetch(other.wrapping_add(p.rows * p.to_row + i * p.channels));
            }
        }
        for_taps!(p, from, [TAPS, STEP, COUNT, LOW, HIGH], |r, tap, pixel, i| {
            w[r][tap] = pixel.mul_add(others[i], w[r][tap]);
        });
    }
    fetch::<V, TAPS, STEP, COUNT>(p, from);
}
