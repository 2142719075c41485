//! How the banks of shared memory serve an access of a warp.

use super::lanes;
use crate::warp::row_of;

/// Places that lanes ask for, each once, as far as that is cheap to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    list: [(u64, u32); 32],
    len: usize,
    /// What is added to each address of the list.
    moved: u64,
}

impl Places {
    fn push(&mut self, address: u64, lanes: u32) {
        self.list[self.len] = (address, lanes);
        self.len += 1;
    }

    pub fn none() -> Self {
        Self { list: [(0, 0); 32], len: 0, moved: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The addresses, each with the lanes that ask for it.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        self.list[..self.len].iter().map(|&(address, lanes)| (address.wrapping_add(self.moved), lanes))
    }
}

/// An access of a warp.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    /// The turns that it takes: a bank serves one word a turn.
    pub turns: u64,
    /// The turns without conflicts.
    pub ideal: u64,
    /// What is asked for; empty if banks conflict or an address is not aligned.
    pub places: Places,
}

/// The accesses that were looked at last, by the distances between their lanes. All banks together hold 128 bytes, so an access that
/// is moved by a multiple of that is served in the same way, bank by bank; kernels that go through a tile do little else.
#[derive(Debug)]
pub(crate) struct Memo {
    known: [Known; 4],
    /// Which one is replaced next.
    oldest: usize,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    first: u64,
    /// How far each lane's address is from that of lane 0.
    distances: [u64; 32],
    mask: u32,
    bytes: usize,
    served: Served,
}

impl Memo {
    /// One that knows nothing: no access has lanes of 0 bytes.
    pub fn new() -> Self {
        let served = Served { turns: 0, ideal: 0, places: Places::none() };
        let nothing = Known { first: 0, distances: [0; 32], mask: 0, bytes: 0, served };
        Self { known: [nothing; 4], oldest: 0 }
    }

    /// How an access is served: `bytes` at the address of each lane of `mask`.
    #[inline(always)]
    pub fn serve(&mut self, addresses: &[u64; 32], mask: u32, bytes: usize) -> Served {
        let first = addresses[0];
        let distances = row_of(|lane| addresses[lane].wrapping_sub(first));
        for known in &self.known {
            let moved = first.wrapping_sub(known.first);
            if known.bytes == bytes && known.mask == mask && moved % 128 == 0 && known.distances == distances {
                let mut served = known.served;
                served.places.moved = moved;
                return served;
            }
        }
        let served = serve(addresses, mask, bytes);
        self.known[self.oldest] = Known { first, distances, mask, bytes, served };
        self.oldest = (self.oldest + 1) % self.known.len();
        served
    }
}

/// Wide accesses go in phases of 128 bytes: half a warp with 8 bytes each, a quarter with 16.
fn serve(addresses: &[u64; 32], mask: u32, bytes: usize) -> Served {
    match bytes {
        16 => serve_in_phases::<8>(addresses, mask, bytes),
        8 => serve_in_phases::<16>(addresses, mask, bytes),
        _ => serve_in_phases::<32>(addresses, mask, bytes),
    }
}

/// In phases of so many lanes, which is also how many groups of banks there are: each serves a word, a pair or four of words.
fn serve_in_phases<const LANES: usize>(addresses: &[u64; 32], mask: u32, bytes: usize) -> Served {
    let words = 32 / LANES;
    let shift = 2 + words.trailing_zeros();
    let mut served = Served { turns: 0, ideal: 0, places: Places::none() };
    // Smaller accesses share words, and are not told apart.
    let mut is_plain = bytes >= 4;
    // What the phase before asked each group of banks for, and who asks; neighbouring phases often ask for the same.
    let mut before = ([0u32; LANES], 0u32);
    let mut who = [0u32; LANES];
    for first in (0..32).step_by(LANES) {
        let here = mask >> first & (u32::MAX >> (32 - LANES));
        if here == 0 {
            continue;
        }
        served.ideal += 1;
        let (mut units, mut used, mut asks) = ([0u32; LANES], 0u32, [0u32; LANES]);
        let mut conflict = false;
        for lane in 0..LANES {
            if here >> lane & 1 == 1 {
                let address = addresses[first + lane];
                let unit = (address >> shift) as u32;
                let bank = unit as usize % LANES;
                // Addresses of more than 32 bits are no places in shared memory.
                let is_odd = address & (bytes as u64 - 1) | address >> 32 != 0;
                conflict |= is_odd | (used >> bank & 1 == 1) & (units[bank] != unit);
                units[bank] = unit;
                used |= 1 << bank;
                asks[bank] |= 1 << (first + lane);
            }
        }
        if conflict {
            is_plain = false;
            served.turns += turns(lanes(here).flat_map(|lane| {
                let word = addresses[first + lane] / 4;
                word..word + words as u64
            }));
            continue;
        }
        served.turns += 1;
        if (units, used) == before {
            who.iter_mut().zip(asks).for_each(|(who, asks)| *who |= asks);
        } else {
            lanes(before.1).for_each(|bank| served.places.push(u64::from(before.0[bank]) << shift, who[bank]));
            (before, who) = ((units, used), asks);
        }
    }
    lanes(before.1).for_each(|bank| served.places.push(u64::from(before.0[bank]) << shift, who[bank]));
    if !is_plain {
        served.places.len = 0;
    }
    served
}

/// The most different words that one of the 32 banks has to serve.
fn turns(words: impl Iterator<Item = u64>) -> u64 {
    let mut words: Vec<u64> = words.collect();
    words.sort_unstable();
    words.dedup();
    let mut load = [0; 32];
    words.iter().for_each(|&word| load[word as usize % 32] += 1);
    load.into_iter().max().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: impl Fn(u64) -> u64, mask: u32, bytes: usize) -> Served {
        serve(&std::array::from_fn(|lane| address(lane as u64)), mask, bytes)
    }

    fn shared(address: impl Fn(u64) -> u64, mask: u32, bytes: usize) -> u64 {
        at(address, mask, bytes).turns
    }

    #[test]
    fn banks_serve_a_word_a_turn() {
        assert_eq!(shared(|lane| 4 * lane, u32::MAX, 4), 1);
        assert_eq!(shared(|_| 64, u32::MAX, 4), 1, "one word goes to all");
        assert_eq!(shared(|lane| 8 * lane, u32::MAX, 4), 2);
        assert_eq!(shared(|lane| 128 * lane, u32::MAX, 4), 32);
        assert_eq!(shared(|lane| 132 * lane, u32::MAX, 4), 1, "a padded column");
        assert_eq!(shared(|lane| 16 * lane, u32::MAX, 16), 4, "four phases of 128 bytes");
        assert_eq!(shared(|lane| 128 * lane, 0b101, 4), 2);
        assert_eq!(shared(|lane| 2 * lane, u32::MAX, 2), 1, "two lanes share a word");
    }

    #[test]
    fn what_is_known_is_moved() {
        let mut memo = Memo::new();
        type Shape = (fn(u64) -> u64, usize);
        let shapes: [Shape; 6] = [
            (|lane| 4 * lane, 4),
            (|lane| 16 * (lane % 2), 16),
            (|lane| 128 * lane, 4),
            (|lane| 132 * lane, 4),
            (|_| 0, 4),
            (|lane| 8 * lane, 8),
        ];
        // Few enough to be remembered until the next.
        for (address, bytes) in shapes {
            for first in [0, 128, 64, 4, 132, 260, 640, 2] {
                for mask in [u32::MAX, 0x00ff_00ff] {
                    let addresses = row_of(|lane| first + address(lane as u64));
                    let (here, fresh) = (memo.serve(&addresses, mask, bytes), serve(&addresses, mask, bytes));
                    assert_eq!((here.turns, here.ideal), (fresh.turns, fresh.ideal), "{bytes} bytes from {first} on");
                    assert!(here.places.iter().eq(fresh.places.iter()), "{bytes} bytes from {first} on");
                }
            }
        }
    }

    #[test]
    fn places_are_listed_with_all_who_ask() {
        let list = |served: Served| served.places.iter().collect::<Vec<_>>();
        assert_eq!(list(at(|lane| 4 * (lane / 16), u32::MAX, 4)), [(0, 0xffff), (4, 0xffff_0000)]);
        assert_eq!(list(at(|lane| 16 * (lane % 2), u32::MAX, 16)), [(0, 0x5555_5555), (16, 0xaaaa_aaaa)]);
        let columns = list(at(|lane| 16 * (lane / 8), 0x00ff_00ff, 16));
        assert_eq!(columns, [(0, 0xff), (32, 0x00ff_0000)]);
        assert_eq!(list(at(|lane| 8 * lane, u32::MAX, 4)), [], "banks conflict");
        assert_eq!(list(at(|_| 2, 1, 4)), [], "not aligned");
    }
}
