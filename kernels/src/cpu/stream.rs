//! Writing past the caches, and asking for memory ahead of time.
//!
//! A store fetches its cache line first, since it may not fill it. Where a result is too large to be in a cache when it is
//! next read, that is a third of all traffic for nothing; a store that says so goes to memory directly, a line at a time.

use bytemuck::{Pod, cast_slice, cast_slice_mut};

use super::cache::caches;

/// Whether a result of so many bytes would leave the caches before anyone reads it: beyond half of the last level, which
/// also holds what it is made of.
pub fn pays(bytes: usize) -> bool {
    cfg!(target_arch = "x86_64") && bytes >= caches().l3 / 2
}

/// Whether so many bytes are hardly in a cache when they are read, since others were read or written meanwhile, so that it
/// pays to ask for them early.
pub fn is_far(bytes: usize) -> bool {
    bytes >= caches().l3 / 4
}

/// Makes the stores so far be seen in order by other threads; to be called before they learn of them.
pub fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every machine of the architecture has the instruction.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// Asks for the cache line of `at`, which will be read or written soon.
#[inline(always)]
pub fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: fetching reads nothing, and every machine of the architecture has the instruction.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Asks for `len` elements from `start` on, as far as `x` has them, to be in the cache soon.
#[inline]
pub fn fetch<T>(x: &[T], start: usize, len: usize) {
    if let Some(x) = x.get(start..start + len) {
        for line in x.chunks((64 / size_of::<T>()).max(1)) {
            prefetch(line.as_ptr());
        }
    }
}

/// As `to.copy_from_slice(from)`, past the caches where the memory is aligned for that; [`fence`] is the caller's.
pub fn copy<T: Pod>(from: &[T], to: &mut [T]) {
    copy_bytes(cast_slice(from), cast_slice_mut(to));
}

#[cfg(target_arch = "x86_64")]
fn copy_bytes(from: &[u8], to: &mut [u8]) {
    use std::arch::x86_64::{_mm_loadu_si128, _mm_stream_si128};
    const WIDTH: usize = 16;
    assert_eq!(from.len(), to.len());
    let whole = if to.as_ptr().align_offset(WIDTH) == 0 { to.len() / WIDTH * WIDTH } else { 0 };
    for at in (0..whole).step_by(WIDTH) {
        // SAFETY: `at + WIDTH` is within both, which have one length, and `to` is aligned. Every machine of the architecture
        // has these instructions.
        unsafe { _mm_stream_si128(to.as_mut_ptr().add(at).cast(), _mm_loadu_si128(from.as_ptr().add(at).cast())) };
    }
    to[whole..].copy_from_slice(&from[whole..]);
}

#[cfg(not(target_arch = "x86_64"))]
fn copy_bytes(from: &[u8], to: &mut [u8]) {
    to.copy_from_slice(from);
}

#[cfg(test)]
mod tests {
    #[test]
    fn everything_arrives() {
        let from: Vec<u8> = (0..200).map(|i| i as u8).collect();
        for start in 0..20 {
            for len in 0..100 {
                let mut to = [255; 200];
                super::copy(&from[3..][..len], &mut to[start..][..len]);
                assert_eq!(to[start..][..len], from[3..][..len]);
                assert!(to[..start].iter().chain(&to[start + len..]).all(|&byte| byte == 255));
            }
        }
    }
}
