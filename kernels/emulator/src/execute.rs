//! What each instruction does to a warp.

mod access;
mod arithmetic;
mod convert;
mod copies;
mod math;
mod numbers;
mod tensor;
mod together;
pub(crate) mod vector;

use crate::block::{Block, Done};
use crate::isa::{Logic, Op, Space, Type};
use crate::warp::{Warp, Word};

/// Generic addresses of shared memory begin here.
const SHARED_WINDOW: u64 = 0x7100_0000_0000_0000;

/// Generic addresses of local memory begin here.
const LOCAL_WINDOW: u64 = 0x7200_0000_0000_0000;

/// The space and the address there of a generic address.
fn resolve(address: u64) -> (Space, u64) {
    match address & 0xffff_0000_0000_0000 {
        SHARED_WINDOW => (Space::Shared, address & 0xffff_ffff),
        LOCAL_WINDOW => (Space::Local, address & 0xffff_ffff),
        _ => (Space::Global, address),
    }
}

impl<'a> Block<'a> {
    /// Executes an instruction that is no jump, for the lanes of `mask`.
    #[inline(always)]
    pub fn execute(&mut self, warp: &mut Warp, op: &Op, line: u32, mask: u32) -> Done {
        match op {
            Op::Ternary { op, ty, rounding, d, a, b, c } => {
                if *ty == Type::F32 {
                    self.counters.multiply_adds += u64::from(mask.count_ones());
                }
                arithmetic::ternary(warp, mask, (*op, *ty, *rounding), *d, [*a, *b, *c]);
            }
            Op::Binary { op, ty, rounding, d, a, b } => {
                arithmetic::binary(warp, mask, (*op, *ty, *rounding), *d, [*a, *b]);
            }
            Op::Load { space, ty, d, address } => return self.load(warp, (*space, *ty, line), d, *address, mask),
            Op::Store { space, ty, address, a } => return self.store(warp, (*space, *ty, line), *address, a, mask),
            Op::Move { ty, d, a } if ty.size() == 8 => warp.put(*d, mask, &{ *u64::row(warp, *a) }),
            Op::Move { d, a, .. } => warp.put(*d, mask, &{ *u32::row(warp, *a) }),
            Op::Compare { op, ty, d, a, b, with } => {
                let mut holds = arithmetic::compare(warp, *op, *ty, [*a, *b]);
                if let Some((logic, other)) = with {
                    holds = combine(*logic, holds, warp.predicate(*other));
                }
                warp.write_predicate(*d, mask, holds);
            }
            Op::MulWide { ty, d, a, b, c } => arithmetic::mul_wide(warp, mask, *ty, *d, [*a, *b], *c),
            Op::Unary { op, ty, d, a } => arithmetic::unary(warp, mask, *op, *ty, *d, *a),
            Op::Select { ty, d, a, b, which } => {
                arithmetic::select(warp, mask, *ty, *d, [*a, *b], warp.predicate(*which));
            }
            Op::Convert { how, d, a } => convert::convert(warp, mask, *how, *d, *a),
            Op::ConvertPair { to, d, a, b } => convert::pair(warp, mask, *to, *d, [*a, *b]),
            Op::ConvertTf32 { d, a } => {
                let row = warp.row::<u32>(*a).map(convert::tf32);
                warp.write(*d, mask, &row);
            }
            Op::Insert { ty, d, a, b, c, len } => arithmetic::insert(warp, mask, *ty, *d, [*a, *b, *c, *len]),
            Op::Pack { each, d, parts } => {
                let mut whole = [0u64; 32];
                for (part, &operand) in parts.iter().enumerate() {
                    let bits = 8 * each.size();
                    let row = warp.row::<u64>(operand);
                    let low = u64::MAX >> (64 - bits);
                    (0..32).for_each(|lane| whole[lane] |= (row[lane] & low) << (bits * part));
                }
                warp.write(*d, mask, &whole);
            }
            Op::Unpack { each, parts, a } => {
                let whole = warp.row::<u64>(*a);
                for (part, &d) in parts.iter().enumerate() {
                    let bits = 8 * each.size();
                    let low = u64::MAX >> (64 - bits);
                    warp.write(d, mask, &whole.map(|whole| whole >> (bits * part) & low));
                }
            }
            Op::Logic { op, d, a, b } => {
                let bits = combine(*op, warp.predicate(*a), warp.predicate(*b));
                warp.write_predicate(*d, mask, bits);
            }
            Op::NotPredicate { d, a } => warp.write_predicate(*d, mask, !warp.predicate(*a)),
            Op::MovePredicate { d, a } => warp.write_predicate(*d, mask, warp.predicate(*a)),
            Op::ToGeneric { space, d, a } => {
                let window = match space {
                    Space::Shared => SHARED_WINDOW,
                    Space::Local => LOCAL_WINDOW,
                    Space::Global | Space::Generic => 0,
                };
                warp.write(*d, mask, &warp.row::<u64>(*a).map(|address| address | window));
            }
            Op::FromGeneric { space, d, a } => {
                let keep = if matches!(space, Space::Shared | Space::Local) { 0xffff_ffff } else { u64::MAX };
                warp.write(*d, mask, &warp.row::<u64>(*a).map(|address| address & keep));
            }
            Op::LoadParam { ty, d, offset } => return self.load_param(warp, *ty, d, *offset, mask),
            Op::Atomic { .. } => return self.atomic(warp, op, line, mask),
            Op::Fence => {}
            Op::WarpBarrier { members } => {
                self.members("bar.warp.sync", &warp.row(*members), mask)?;
                warp.epoch += 1;
            }
            Op::Shuffle { .. } => return self.shuffle(warp, op, mask),
            Op::Vote { how, d, a, members } => return self.vote(warp, *how, *d, *a, *members, mask),
            Op::ActiveMask { d } => warp.write(*d, mask, &[mask; 32]),
            Op::Mma { how, d, a, b, c } => {
                self.whole_warp("mma.sync", mask)?;
                self.counters.tensor_products += 1;
                tensor::multiply(warp, *how, d, a, b, c);
            }
            Op::LoadMatrix { transposed, d, address } => {
                self.whole_warp("ldmatrix.sync", mask)?;
                return self.load_matrix(warp, *transposed, d, *address, line);
            }
            Op::CopyAsync { to, from, bytes, size } => {
                return self.copy_async(warp, (*to, *from), usize::from(*bytes), *size, line, mask);
            }
            Op::CommitGroup => lanes(mask).for_each(|lane| warp.groups[lane] += 1),
            Op::WaitGroup { unfinished } => return self.wait_group(warp, *unfinished, line, mask),
            Op::Branch { .. } | Op::Exit | Op::Barrier => unreachable!("whoever runs the warp handles jumps"),
        }
        Ok(())
    }
}

use crate::counters::lanes;

fn combine(op: Logic, a: u32, b: u32) -> u32 {
    match op {
        Logic::And => a & b,
        Logic::Or => a | b,
        Logic::Xor => a ^ b,
    }
}
