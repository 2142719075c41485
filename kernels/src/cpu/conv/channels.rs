//! Kernels for channels that have nothing to do with each other: vectors hold neighbouring ones.

use crate::cpu::matmul::lane::Lane;
use crate::cpu::stream::prefetch;

/// Neighbouring pixels that are sums over the same taps.
pub struct Strip<'a, T> {
    pub count: usize,
    /// How many channels a pixel has.
    pub channels: usize,
    /// For each tap, the pixel that the first result reads, and its weights.
    pub taps: &'a [(*const T, *const T)],
    /// How far apart the pixels are that results read.
    pub from_step: usize,
    /// What the sums start from: one number for each channel.
    pub base: *const T,
    /// The first result, and the distance of results.
    pub to: *mut T,
    pub to_step: usize,
}

/// Results that are computed side by side, for which weights are loaded once.
const BESIDE: usize = 4;

/// How many pixels before their use memory is asked for them.
const AHEAD: usize = 12;

/// `to = base + sum of taps: weights * from`, for every pixel and channel of a strip.
///
/// # Safety
/// All pixels, weights and the base have as many elements as there are channels, nobody else uses the results, and the
/// caller enables the instruction set of `V`.
#[inline(always)]
pub unsafe fn weigh<V: Lane>(s: &Strip<V::Elem>) {
    let whole = s.count - s.count % BESIDE;
    // SAFETY: passed on; blocks of channels and pixels lie within the strip.
    unsafe {
        for pixel in (0..whole).step_by(BESIDE) {
            weigh_pixels::<V, BESIDE>(s, pixel);
        }
        for pixel in whole..s.count {
            weigh_pixels::<V, 1>(s, pixel);
        }
    }
}

/// [`weigh`] for `N` pixels.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "plain indices with constant bounds keep arrays in registers")]
unsafe fn weigh_pixels<V: Lane, const N: usize>(s: &Strip<V::Elem>, pixel: usize) {
    let whole = s.channels - s.channels % V::LANES;
    let (from, to) = (pixel * s.from_step, s.to.wrapping_add(pixel * s.to_step));
    // SAFETY: as for the caller.
    unsafe {
        for at in (0..whole).step_by(V::LANES) {
            let mut sums = [V::load(s.base.add(at)); N];
            for &(pixels, weights) in s.taps {
                let weight = V::load(weights.add(at));
                for i in 0..N {
                    sums[i] = weight.mul_add(V::load(pixels.add(from + i * s.from_step + at)), sums[i]);
                }
            }
            for i in 0..N {
                sums[i].store(to.add(i * s.to_step + at));
                // The last tap reads what no other has read before.
                if let Some(&(pixels, _)) = s.taps.last() {
                    prefetch(pixels.wrapping_add(from + (i + AHEAD) * s.from_step + at));
                }
            }
        }
        let rest = s.channels - whole;
        if rest > 0 {
            let mut sums = [V::load_first(s.base.add(whole), rest); N];
            for &(pixels, weights) in s.taps {
                let weight = V::load_first(weights.add(whole), rest);
                for i in 0..N {
                    let pixel = V::load_first(pixels.add(from + i * s.from_step + whole), rest);
                    sums[i] = weight.mul_add(pixel, sums[i]);
                }
            }
            for i in 0..N {
                sums[i].store_first(to.add(i * s.to_step + whole), rest);
            }
        }
    }
}

/// Pixels of two images, in pairs, for up to three taps.
pub struct Pairs<'a, T> {
    pub count: usize,
    pub channels: usize,
    /// The first pixel of one image for each tap, the distance of pixels, and the sums, one for each channel.
    pub taps: &'a [(*const T, *mut T)],
    pub step: usize,
    /// The first pixel of the other, and the distance.
    pub other: *const T,
    pub other_step: usize,
}

/// Taps that are worked on side by side.
const TAPS: usize = 3;

/// `sums += pixel * other`, for every channel, over all pairs.
///
/// # Safety
/// As for [`weigh`].
#[inline(always)]
pub unsafe fn correlate<V: Lane>(p: &Pairs<V::Elem>) {
    let pairs = p.channels / (2 * V::LANES) * 2 * V::LANES;
    let whole = p.channels - p.channels % V::LANES;
    // SAFETY: passed on.
    unsafe {
        for taps in p.taps.chunks(TAPS) {
            for at in (0..pairs).step_by(2 * V::LANES) {
                match taps {
                    [a, b, c] => correlate_taps::<V, 3, 2>(p, [*a, *b, *c], at, None),
                    _ => taps.iter().for_each(|&tap| correlate_taps::<V, 1, 2>(p, [tap], at, None)),
                }
            }
            for at in (pairs..p.channels).step_by(V::LANES) {
                let rest = (at >= whole).then_some(p.channels - whole);
                match taps {
                    [a, b, c] => correlate_taps::<V, 3, 1>(p, [*a, *b, *c], at, rest),
                    _ => taps.iter().for_each(|&tap| correlate_taps::<V, 1, 1>(p, [tap], at, rest)),
                }
            }
        }
    }
}

/// [`correlate`] for some taps and `W` vectors of channels from `at` on, of which the last may have only `rest` elements.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "plain indices with constant bounds keep arrays in registers")]
unsafe fn correlate_taps<V: Lane, const N: usize, const W: usize>(
    p: &Pairs<V::Elem>,
    taps: [(*const V::Elem, *mut V::Elem); N],
    at: usize,
    rest: Option<usize>,
) {
    // SAFETY: as for the caller.
    unsafe {
        let load = |from: *const V::Elem| match rest {
            None => V::load(from),
            Some(len) => V::load_first(from, len),
        };
        let mut sums = [[V::splat(V::Elem::default()); W]; N];
        for t in 0..N {
            for w in 0..W {
                sums[t][w] = load(taps[t].1.add(at + w * V::LANES));
            }
        }
        for pixel in 0..p.count {
            for w in 0..W {
                let place = p.other.wrapping_add(pixel * p.other_step + at + w * V::LANES);
                prefetch(place.wrapping_add(AHEAD * p.other_step));
                let other = load(place);
                for t in 0..N {
                    let place = taps[t].0.wrapping_add(pixel * p.step + at + w * V::LANES);
                    if t + 1 == N {
                        prefetch(place.wrapping_add(AHEAD * p.step));
                    }
                    let x = load(place);
                    sums[t][w] = x.mul_add(other, sums[t][w]);
                }
            }
        }
        for t in 0..N {
            for w in 0..W {
                let to = taps[t].1.add(at + w * V::LANES);
                match rest {
                    None => sums[t][w].store(to),
                    Some(len) => sums[t][w].store_first(to, len),
                }
            }
        }
    }
}
