//! Gives constants, and what the machine provides, registers of their own, so that every operand of an instruction that computes is
//! a register. They are filled when a warp begins, and nothing writes them.

use crate::isa::{Address, Op, Operand, Register, Type};

/// What stands in the rows behind a kernel's own registers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filled {
    /// In those of up to 32 bits.
    pub narrow: Vec<Operand>,
    /// In those of 64 bits.
    pub wide: Vec<Operand>,
}

/// Puts registers in place of the other operands of `op`; `own` says how many registers of each kind the kernel has itself.
pub(super) fn fill(op: &mut Op, own: [usize; 3], filled: &mut Filled) -> Result<(), String> {
    let mut put = |operand: &mut Operand, ty: Type| {
        let wide = ty.size() == 8;
        if matches!(operand, Operand::Register(_) | Operand::Not(_)) {
            return Ok(());
        }
        let (list, first) = if wide { (&mut filled.wide, own[1]) } else { (&mut filled.narrow, own[0]) };
        let at = list.iter().position(|known| known == operand).unwrap_or_else(|| {
            list.push(*operand);
            list.len() - 1
        });
        let number = u16::try_from(first + at).map_err(|_| "the kernel has more than 65536 registers and constants")?;
        *operand = Operand::Register(if wide { Register::Wide(number) } else { Register::Narrow(number) });
        Ok::<_, String>(())
    };
    match op {
        Op::Move { ty, a, .. } | Op::Unary { ty, a, .. } => put(a, *ty),
        Op::Pack { each, parts, .. } => parts.iter_mut().try_for_each(|part| put(part, *each)),
        Op::Unpack { each, parts, a } => put(a, if each.size() * parts.len() == 8 { Type::B64 } else { Type::B32 }),
        Op::Binary { op, ty, a, b, .. } => {
            use crate::isa::Binary::{Shl, Shr};
            put(a, *ty)?;
            put(b, if matches!(op, Shl | Shr) { Type::U32 } else { *ty })
        }
        Op::Ternary { op, ty, a, b, c, .. } => {
            let others = if *op == crate::isa::Ternary::Bfe { Type::U32 } else { *ty };
            put(a, *ty)?;
            put(b, others)?;
            put(c, others)
        }
        Op::MulWide { ty, a, b, c, .. } => {
            put(a, *ty)?;
            put(b, *ty)?;
            c.as_mut().map_or(Ok(()), |c| put(c, if ty.size() == 4 { Type::B64 } else { Type::B32 }))
        }
        Op::Insert { ty, a, b, c, len, .. } => {
            put(a, *ty)?;
            put(b, *ty)?;
            put(c, Type::U32)?;
            put(len, Type::U32)
        }
        Op::Compare { ty, a, b, .. } | Op::Select { ty, a, b, .. } => {
            put(a, *ty)?;
            put(b, *ty)
        }
        Op::Convert { how, a, .. } => put(a, how.from),
        Op::ConvertPair { a, b, .. } => {
            put(a, Type::F32)?;
            put(b, Type::F32)
        }
        Op::ConvertTf32 { a, .. } => put(a, Type::F32),
        Op::ToGeneric { a, .. } | Op::FromGeneric { a, .. } => put(a, Type::U64),
        Op::Load { address, .. } | Op::LoadMatrix { address, .. } => put(&mut address.base, Type::U64),
        Op::Store { ty, address, a, .. } => {
            put(&mut address.base, Type::U64)?;
            a.iter_mut().try_for_each(|a| put(a, *ty))
        }
        Op::Atomic { ty, address, a, b, .. } => {
            put(&mut address.base, Type::U64)?;
            put(a, *ty)?;
            put(b, *ty)
        }
        Op::WarpBarrier { members } | Op::Vote { members, .. } => put(members, Type::B32),
        Op::Shuffle { a, b, c, members, .. } => {
            [a, b, c, members].into_iter().try_for_each(|operand| put(operand, Type::B32))
        }
        Op::Mma { a, b, c, .. } => a.iter_mut().chain(b).chain(c).try_for_each(|operand| put(operand, Type::B32)),
        Op::CopyAsync { to: Address { base: to, .. }, from: Address { base: from, .. }, size, .. } => {
            put(to, Type::U64)?;
            put(from, Type::U64)?;
            size.as_mut().map_or(Ok(()), |size| put(size, Type::U32))
        }
        // These have operands that are predicates, or none.
        Op::Logic { .. }
        | Op::NotPredicate { .. }
        | Op::MovePredicate { .. }
        | Op::LoadParam { .. }
        | Op::Branch { .. }
        | Op::Exit
        | Op::Barrier
        | Op::Fence
        | Op::ActiveMask { .. }
        | Op::CommitGroup
        | Op::WaitGroup { .. } => Ok(()),
    }
}
