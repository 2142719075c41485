//! Instructions in which the lanes of a warp exchange values.

use crate::block::{Block, Done};
use crate::counters::lanes;
use crate::isa::{Op, Operand, Register, Shuffle, Vote};
use crate::warp::Warp;

impl Block<'_> {
    pub(super) fn shuffle(&mut self, warp: &mut Warp, op: &Op, mask: u32) -> Done {
        let &Op::Shuffle { how, d, valid, a, b, c, members } = op else { unreachable!("the caller looked") };
        self.members("shfl.sync", &warp.row(members), mask)?;
        let (values, by, limits) = (warp.row::<u32>(a), warp.row::<u32>(b), warp.row::<u32>(c));
        let (mut row, mut in_range) = ([0u32; 32], 0);
        for lane in lanes(mask) {
            let (from, is_in_range) = source(how, lane as i32, by[lane], limits[lane]);
            row[lane] = values[from];
            in_range |= u32::from(is_in_range) << lane;
        }
        warp.write(d, mask, &row);
        warp.write_predicate(valid, mask, in_range);
        Ok(())
    }

    pub(super) fn vote(
        &mut self,
        warp: &mut Warp,
        how: Vote,
        d: Register,
        a: Operand,
        members: Operand,
        mask: u32,
    ) -> Done {
        let members = self.members("vote.sync", &warp.row(members), mask)?;
        let votes = warp.predicate(a) & members;
        let holds = match how {
            Vote::Ballot => {
                warp.write(d, mask, &[votes; 32]);
                return Ok(());
            }
            Vote::Any => votes != 0,
            Vote::All => votes == members,
            Vote::Uniform => votes == 0 || votes == members,
        };
        warp.write_predicate(d, mask, if holds { mask } else { 0 });
        Ok(())
    }
}

/// The lane that a lane takes its value from, and whether that is within its segment; else it keeps its own.
///
/// Bits 0 to 4 of `limits` are the last lane of a segment for which the shuffle is meant, bits 8 to 12 the bits of a lane's number
/// that name its segment.
fn source(how: Shuffle, lane: i32, by: u32, limits: u32) -> (usize, bool) {
    let (clamp, segment, by) = ((limits & 31) as i32, (limits >> 8 & 31) as i32, (by & 31) as i32);
    let most = lane & segment | clamp & !segment;
    let least = lane & segment;
    let (from, is_in_range) = match how {
        Shuffle::Up => (lane - by, lane - by >= most),
        Shuffle::Down => (lane + by, lane + by <= most),
        Shuffle::Butterfly => (lane ^ by, lane ^ by <= most),
        Shuffle::Index => (least | by & !segment, least | by & !segment <= most),
    };
    (if is_in_range { from as usize } else { lane as usize }, is_in_range)
}
