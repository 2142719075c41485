//! Instructions that read and write memory.

use super::operands::Operands;
use crate::isa::{Atomic, Op, Operand, Register, Space, Type};

/// The instruction, if its form is one of these.
pub(super) fn decode(words: &[&str], o: &mut Operands) -> Option<Result<Op, String>> {
    match *words {
        ["ld", "param", ref rest @ ..] => {
            let (count, ty) = vector(rest)?;
            let mut read = || {
                let d = counted(o.ds(ty, true)?, count)?;
                Ok(Op::LoadParam { ty, d, offset: o.param()? })
            };
            Some(read())
        }
        ["ld", ref rest @ ..] => {
            let (space, rest) = load_space(rest)?;
            let (count, ty) = vector(rest)?;
            Some((|| Ok(Op::Load { space, ty, d: counted(o.ds(ty, true)?, count)?, address: o.address()? }))())
        }
        ["st", ref rest @ ..] => {
            let (space, rest) = space(match rest {
                ["volatile", rest @ ..] => rest,
                _ => rest,
            });
            let (count, ty) = vector(rest)?;
            let mut read = || {
                let address = o.address()?;
                Ok(Op::Store { space, ty, address, a: counted(o.values(ty, true)?, count)? })
            };
            Some(read())
        }
        ["atom", ref rest @ ..] => atomic(rest, true, o),
        ["red", ref rest @ ..] => atomic(rest, false, o),
        ["cvta", "to", name, "u64"] => {
            let space = named(name)?;
            Some((|| Ok(Op::FromGeneric { space, d: o.d(Type::U64)?, a: o.a(Type::U64)? }))())
        }
        ["cvta", name, "u64"] => {
            let space = named(name)?;
            Some((|| Ok(Op::ToGeneric { space, d: o.d(Type::U64)?, a: o.a(Type::U64)? }))())
        }
        ["cp", "async", "cg" | "ca", "shared", "global"] => Some(copy_async(words[2], o)),
        ["cp", "async", "commit_group"] => Some(Ok(Op::CommitGroup)),
        ["cp", "async", "wait_group"] => {
            let mut read = || {
                let count = super::operands::constant(o.name()?).and_then(|count| u32::try_from(count).ok());
                Ok(Op::WaitGroup { unfinished: Some(count.ok_or("a count of groups is a number")?) })
            };
            Some(read())
        }
        ["cp", "async", "wait_all"] => Some(Ok(Op::WaitGroup { unfinished: None })),
        _ => None,
    }
}

fn named(name: &str) -> Option<Space> {
    Some(match name {
        "global" | "const" => Space::Global,
        "shared" => Space::Shared,
        "local" => Space::Local,
        _ => return None,
    })
}

fn space<'a, 'b>(words: &'a [&'b str]) -> (Space, &'a [&'b str]) {
    match words {
        // `.shared::cta` is the same as `.shared`.
        ["shared", "cta", rest @ ..] => (Space::Shared, rest),
        [name, rest @ ..] if named(name).is_some() => (named(name).unwrap_or(Space::Generic), rest),
        _ => (Space::Generic, words),
    }
}

/// The space of a load and what follows; `.nc` and `.volatile` change nothing for an interpreter without caches.
fn load_space<'a, 'b>(words: &'a [&'b str]) -> Option<(Space, &'a [&'b str])> {
    match words {
        ["global", "nc", rest @ ..] => Some((Space::Global, rest)),
        ["volatile", rest @ ..] => Some(space(rest)),
        _ => Some(space(words)),
    }
}

/// `.v4.f32`, `.v2.f32` or `.f32`: how many, of which type. At most 16 bytes in all.
fn vector(words: &[&str]) -> Option<(usize, Type)> {
    let (count, ty) = match words {
        [ty] => (1, ty),
        ["v2", ty] => (2, ty),
        ["v4", ty] => (4, ty),
        _ => return None,
    };
    Type::named(ty)
        .filter(|&ty| !matches!(ty, Type::Pred | Type::F16 | Type::Bf16) && count * ty.size() <= 16)
        .map(|ty| (count, ty))
}

fn counted<T>(list: Vec<T>, count: usize) -> Result<Vec<T>, String> {
    match list.len() {
        found if found == count => Ok(list),
        found => Err(format!("{count} elements stand in the braces, not {found}")),
    }
}

fn atomic(words: &[&str], has_result: bool, o: &mut Operands) -> Option<Result<Op, String>> {
    use Type::*;
    let (space, rest) = space(words);
    let (name, ty) = match *rest {
        [name, ty] => (name, Type::named(ty)?),
        _ => return None,
    };
    let op = match (name, ty) {
        ("add", U32 | S32 | U64 | F32 | F64) => Atomic::Add,
        ("min", U32 | S32 | U64 | S64) => Atomic::Min,
        ("max", U32 | S32 | U64 | S64) => Atomic::Max,
        ("and", B32 | B64) => Atomic::And,
        ("or", B32 | B64) => Atomic::Or,
        ("xor", B32 | B64) => Atomic::Xor,
        ("exch", B32 | B64) if has_result => Atomic::Exchange,
        ("cas", B32 | B64) if has_result => Atomic::CompareExchange,
        _ => return None,
    };
    let mut read = || {
        let d = if has_result { o.d(ty)? } else { Register::Sink };
        let (address, a) = (o.address()?, o.a(ty)?);
        let b = if op == Atomic::CompareExchange { o.a(ty)? } else { Operand::Constant(0) };
        Ok(Op::Atomic { op, space, ty, d, address, a, b })
    };
    Some(read())
}

fn copy_async(cache: &str, o: &mut Operands) -> Result<Op, String> {
    let (to, from) = (o.address()?, o.address()?);
    let bytes = super::operands::constant(o.name()?).unwrap_or(0);
    // Past the first cache only whole lines of 16 bytes are copied.
    let known: &[u64] = if cache == "cg" { &[16] } else { &[4, 8, 16] };
    if !known.contains(&bytes) {
        return Err(format!("cp.async.{cache} copies {known:?} bytes, not {bytes}"));
    }
    Ok(Op::CopyAsync { to, from, bytes: bytes as u8, size: o.optional_a(Type::U32)? })
}
