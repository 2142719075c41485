//! Instructions that compute.

use super::operands::Operands;
use crate::isa::{Binary, Comparison, Conversion, Logic, Op, Rounding, Ternary, Type, Unary};

type Decoded = Option<Result<Op, String>>;

/// The instruction, if its form is one of these.
pub(super) fn decode(words: &[&str], o: &mut Operands) -> Decoded {
    match words {
        ["mov", ty] => Some(mov(Type::named(ty)?, o)),
        ["setp", rest @ ..] => compare(rest, o),
        ["selp", ty] => {
            let ty = Type::named(ty).filter(|ty| ty.size() >= 2)?;
            Some((|| Ok(Op::Select { ty, d: o.d(ty)?, a: o.a(ty)?, b: o.a(ty)?, which: o.a(Type::Pred)? }))())
        }
        ["cvt", rest @ ..] => convert(rest, o),
        ["and" | "or" | "xor" | "not", "pred"] => Some(predicate(words[0], o)),
        ["mul" | "mad", "wide", ty] => {
            let ty = integer(ty).filter(|ty| ty.size() < 8)?;
            Some(wide(words[0] == "mad", ty, o))
        }
        ["bfi", ty @ ("b32" | "b64")] => {
            let ty = Type::named(ty)?;
            let mut read = || {
                let (d, a, b) = (o.d(ty)?, o.a(ty)?, o.a(ty)?);
                Ok(Op::Insert { ty, d, a, b, c: o.a(Type::U32)?, len: o.a(Type::U32)? })
            };
            Some(read())
        }
        _ => unary(words, o).or_else(|| binary(words, o)).or_else(|| ternary(words, o)),
    }
}

fn integer(name: &str) -> Option<Type> {
    use Type::*;
    Type::named(name).filter(|ty| matches!(ty, U16 | U32 | U64 | S16 | S32 | S64))
}

fn bits(name: &str) -> Option<Type> {
    use Type::*;
    Type::named(name).filter(|ty| matches!(ty, B16 | B32 | B64))
}

fn mov(ty: Type, o: &mut Operands) -> Result<Op, String> {
    if ty == Type::Pred {
        return Ok(Op::MovePredicate { d: o.d(ty)?, a: o.a(ty)? });
    }
    let half = |count: usize| match (ty.size(), count) {
        (8, 2) => Ok(Type::B32),
        (8, 4) | (4, 2) => Ok(Type::B16),
        _ => Err(format!("{ty:?} has no {count} parts")),
    };
    let (d, a) = (o.name()?, o.name()?);
    let parts = |text: &str| half(text.matches(',').count() + 1);
    let mut d_then_a = Operands::one_after_another(d, a, o);
    if d.starts_with('{') {
        let each = parts(d)?;
        return Ok(Op::Unpack { each, parts: d_then_a.ds(each, false)?, a: d_then_a.a(ty)? });
    }
    let d = d_then_a.d(ty)?;
    if a.starts_with('{') {
        let each = parts(a)?;
        return Ok(Op::Pack { each, d, parts: d_then_a.values(each, false)? });
    }
    Ok(Op::Move { ty, d, a: d_then_a.a(ty)? })
}

fn predicate(name: &str, o: &mut Operands) -> Result<Op, String> {
    let op = match name {
        "and" => Logic::And,
        "or" => Logic::Or,
        "xor" => Logic::Xor,
        _ => return Ok(Op::NotPredicate { d: o.d(Type::Pred)?, a: o.a(Type::Pred)? }),
    };
    Ok(Op::Logic { op, d: o.d(Type::Pred)?, a: o.a(Type::Pred)?, b: o.a(Type::Pred)? })
}

fn wide(plus: bool, ty: Type, o: &mut Operands) -> Result<Op, String> {
    let twice = if ty.size() == 2 { Type::B32 } else { Type::B64 };
    let (d, a, b) = (o.d(twice)?, o.a(ty)?, o.a(ty)?);
    Ok(Op::MulWide { ty, d, a, b, c: if plus { Some(o.a(twice)?) } else { None } })
}

fn unary(words: &[&str], o: &mut Operands) -> Decoded {
    use Type::*;
    let (op, ty, result) = match *words {
        ["neg", ty] => {
            let ty = Type::named(ty).filter(|ty| matches!(ty, S16 | S32 | S64 | F32 | F64))?;
            (Unary::Neg, ty, ty)
        }
        ["abs", ty] => {
            let ty = Type::named(ty).filter(|ty| matches!(ty, S16 | S32 | S64 | F32 | F64))?;
            (Unary::Abs, ty, ty)
        }
        ["not", ty] => (Unary::Not, bits(ty)?, bits(ty)?),
        ["popc", ty @ ("b32" | "b64")] => (Unary::Popc, bits(ty)?, U32),
        ["clz", ty @ ("b32" | "b64")] => (Unary::Clz, bits(ty)?, U32),
        ["brev", ty @ ("b32" | "b64")] => (Unary::Brev, bits(ty)?, bits(ty)?),
        ["rcp", "rn", "f64"] => (Unary::Rcp, F64, F64),
        ["sqrt", "rn", "f64"] => (Unary::Sqrt, F64, F64),
        ["rcp", "rn" | "approx", "f32"] => (Unary::Rcp, F32, F32),
        ["sqrt", "rn" | "approx", "f32"] => (Unary::Sqrt, F32, F32),
        ["rsqrt", "approx", "f32"] => (Unary::Rsqrt, F32, F32),
        ["sin", "approx", "f32"] => (Unary::Sin, F32, F32),
        ["cos", "approx", "f32"] => (Unary::Cos, F32, F32),
        ["lg2", "approx", "f32"] => (Unary::Lg2, F32, F32),
        ["ex2", "approx", "f32"] => (Unary::Ex2, F32, F32),
        ["tanh", "approx", "f32"] => (Unary::Tanh, F32, F32),
        ["rcp", "approx", "ftz", ty @ ("f32" | "f64")] => (Unary::RcpFlush, Type::named(ty)?, Type::named(ty)?),
        ["rsqrt", "approx", "ftz", "f64"] => (Unary::RsqrtFlush, F64, F64),
        ["ex2", "approx", "ftz", "f32"] => (Unary::Ex2Flush, F32, F32),
        ["lg2", "approx", "ftz", "f32"] => (Unary::Lg2Flush, F32, F32),
        _ => return None,
    };
    Some((|| Ok(Op::Unary { op, ty, d: o.d(result)?, a: o.a(ty)? }))())
}

fn rounding(word: &str) -> Option<Rounding> {
    Some(match word {
        "rn" => Rounding::Nearest,
        "rz" => Rounding::Zero,
        "rm" => Rounding::Down,
        "rp" => Rounding::Up,
        _ => return None,
    })
}

/// The rounding of an arithmetic instruction on floats of a type: directed only for `f32`.
fn float_rounding(words: &[&str]) -> Option<(Rounding, Type)> {
    match *words {
        [ty @ ("f32" | "f64")] => Some((Rounding::Nearest, Type::named(ty)?)),
        ["rn", "f64"] => Some((Rounding::Nearest, Type::F64)),
        [mode, "f32"] => Some((rounding(mode)?, Type::F32)),
        _ => None,
    }
}

fn binary(words: &[&str], o: &mut Operands) -> Decoded {
    use Type::{F32, F64, U32};
    let near = Rounding::Nearest;
    let (op, ty, rounding) = match *words {
        ["add", ty] if integer(ty).is_some() => (Binary::Add, integer(ty)?, near),
        ["sub", ty] if integer(ty).is_some() => (Binary::Sub, integer(ty)?, near),
        ["mul", "lo", ty] => (Binary::Mul, integer(ty)?, near),
        ["mul", "hi", ty] => (Binary::MulHigh, integer(ty)?, near),
        ["div", ty] => (Binary::Div, integer(ty)?, near),
        ["rem", ty] => (Binary::Rem, integer(ty)?, near),
        ["min", ty] => (Binary::Min, integer(ty).or_else(|| float_rounding(&[ty]).map(|f| f.1))?, near),
        ["max", ty] => (Binary::Max, integer(ty).or_else(|| float_rounding(&[ty]).map(|f| f.1))?, near),
        ["min", "NaN", "f32"] => (Binary::MinNan, F32, near),
        ["max", "NaN", "f32"] => (Binary::MaxNan, F32, near),
        ["and", ty] => (Binary::And, bits(ty)?, near),
        ["or", ty] => (Binary::Or, bits(ty)?, near),
        ["xor", ty] => (Binary::Xor, bits(ty)?, near),
        ["shl", ty] => (Binary::Shl, bits(ty)?, near),
        ["shr", ty] => (Binary::Shr, bits(ty).or_else(|| integer(ty))?, near),
        ["copysign", ty @ ("f32" | "f64")] => (Binary::Copysign, Type::named(ty)?, near),
        ["div", "rn", "f64"] => (Binary::Div, F64, near),
        ["div", "rn" | "approx" | "full", "f32"] => (Binary::Div, F32, near),
        ["add", ref rest @ ..] => float_rounding(rest).map(|(rounding, ty)| (Binary::Add, ty, rounding))?,
        ["sub", ref rest @ ..] => float_rounding(rest).map(|(rounding, ty)| (Binary::Sub, ty, rounding))?,
        ["mul", ref rest @ ..] => float_rounding(rest).map(|(rounding, ty)| (Binary::Mul, ty, rounding))?,
        _ => return None,
    };
    let second = if matches!(op, Binary::Shl | Binary::Shr) { U32 } else { ty };
    Some((|| Ok(Op::Binary { op, ty, rounding, d: o.d(ty)?, a: o.a(ty)?, b: o.a(second)? }))())
}

fn ternary(words: &[&str], o: &mut Operands) -> Decoded {
    use Type::{B32, U32};
    let near = Rounding::Nearest;
    let (op, ty, rounding) = match *words {
        ["fma", mode, ty] => {
            let (rounding, ty) = float_rounding(&[mode, ty])?;
            (Ternary::Fma, ty, rounding)
        }
        ["mad", "lo", ty] => (Ternary::Mad, integer(ty)?, near),
        ["mad", "hi", ty @ ("u32" | "s32")] => (Ternary::MadHigh, integer(ty)?, near),
        ["bfe", ty @ ("u32" | "s32" | "u64" | "s64")] => (Ternary::Bfe, integer(ty)?, near),
        ["prmt", "b32"] => (Ternary::Prmt, B32, near),
        ["shf", "l", "wrap", "b32"] => (Ternary::ShiftLeftWrap, B32, near),
        ["shf", "r", "wrap", "b32"] => (Ternary::ShiftRightWrap, B32, near),
        ["shf", "l", "clamp", "b32"] => (Ternary::ShiftLeftClamp, B32, near),
        ["shf", "r", "clamp", "b32"] => (Ternary::ShiftRightClamp, B32, near),
        ["lop3", "b32"] => return Some(lop3(o)),
        _ => return None,
    };
    let (second, third) = if op == Ternary::Bfe { (U32, U32) } else { (ty, ty) };
    Some((|| Ok(Op::Ternary { op, ty, rounding, d: o.d(ty)?, a: o.a(ty)?, b: o.a(second)?, c: o.a(third)? }))())
}

fn lop3(o: &mut Operands) -> Result<Op, String> {
    use Type::B32;
    let (d, a, b, c) = (o.d(B32)?, o.a(B32)?, o.a(B32)?, o.a(B32)?);
    let table = super::operands::constant(o.name()?).and_then(|table| u8::try_from(table).ok());
    let op = Ternary::Lop3(table.ok_or("the table of lop3 has 8 bits")?);
    Ok(Op::Ternary { op, ty: B32, rounding: Rounding::Nearest, d, a, b, c })
}

fn compare(words: &[&str], o: &mut Operands) -> Decoded {
    let (name, logic, ty) = match *words {
        [name, ty] => (name, None, Type::named(ty)?),
        [name, "and", ty] => (name, Some(Logic::And), Type::named(ty)?),
        [name, "or", ty] => (name, Some(Logic::Or), Type::named(ty)?),
        [name, "xor", ty] => (name, Some(Logic::Xor), Type::named(ty)?),
        _ => return None,
    };
    let is_float = matches!(ty, Type::F32 | Type::F64);
    if !is_float && (ty.is_float() || ty.size() < 2) {
        return None;
    }
    let op = comparison(name, is_float, matches!(ty, Type::U16 | Type::U32 | Type::U64))?;
    let equality = matches!(op, Comparison::Eq | Comparison::Ne);
    if matches!(ty, Type::B16 | Type::B32 | Type::B64) && !equality {
        return None;
    }
    let mut read = || {
        let (d, a, b) = (o.d(Type::Pred)?, o.a(ty)?, o.a(ty)?);
        let with = match logic {
            Some(logic) => Some((logic, o.a(Type::Pred)?)),
            None => None,
        };
        Ok(Op::Compare { op, ty, d, a, b, with })
    };
    Some(read())
}

fn comparison(name: &str, is_float: bool, is_unsigned: bool) -> Option<Comparison> {
    use Comparison::*;
    Some(match name {
        "eq" => Eq,
        "ne" => Ne,
        "lt" => Lt,
        "le" => Le,
        "gt" => Gt,
        "ge" => Ge,
        "lo" if is_unsigned => Lt,
        "ls" if is_unsigned => Le,
        "hi" if is_unsigned => Gt,
        "hs" if is_unsigned => Ge,
        "equ" if is_float => EqUnordered,
        "neu" if is_float => NeUnordered,
        "ltu" if is_float => LtUnordered,
        "leu" if is_float => LeUnordered,
        "gtu" if is_float => GtUnordered,
        "geu" if is_float => GeUnordered,
        "num" if is_float => Number,
        "nan" if is_float => Nan,
        _ => return None,
    })
}

fn convert(words: &[&str], o: &mut Operands) -> Decoded {
    match *words {
        ["rn", to @ ("bf16x2" | "f16x2"), "f32"] => {
            let to = if to == "f16x2" { Type::F16 } else { Type::Bf16 };
            Some((|| Ok(Op::ConvertPair { to, d: o.d(Type::B32)?, a: o.a(Type::F32)?, b: o.a(Type::F32)? }))())
        }
        ["rna", "tf32", "f32"] => Some((|| Ok(Op::ConvertTf32 { d: o.d(Type::B32)?, a: o.a(Type::F32)? }))()),
        [ref modes @ .., to, from] => {
            let how = conversion(modes, Type::named(to)?, Type::named(from)?)?;
            Some((|| Ok(Op::Convert { how, d: o.wide_d(how.to)?, a: o.wide_a(how.from)? }))())
        }
        _ => None,
    }
}

/// The conversion that these modifiers make; PTX wants a rounding exactly where one can be needed.
fn conversion(modes: &[&str], to: Type, from: Type) -> Option<Conversion> {
    use Type::*;
    let plain = Conversion { to, from, rounding: Rounding::Nearest, whole: false, saturate: false };
    let arithmetic = |ty: Type| ty.is_float() || matches!(ty, U8 | U16 | U32 | U64 | S8 | S16 | S32 | S64);
    if !arithmetic(to) || !arithmetic(from) {
        return None;
    }
    let to_whole = |word| {
        Some(match word {
            "rni" => Rounding::Nearest,
            "rzi" => Rounding::Zero,
            "rmi" => Rounding::Down,
            "rpi" => Rounding::Up,
            _ => return None,
        })
    };
    match (modes, from.is_float(), to.is_float()) {
        ([], false, false) => Some(plain),
        ([mode], true, false) if matches!(from, F32 | F64) => Some(Conversion { rounding: to_whole(mode)?, ..plain }),
        ([mode], false, true) if matches!(to, F32 | F64) => {
            Some(Conversion { rounding: rounding(mode)?, ..plain }).filter(|how| how.rounding == Rounding::Nearest)
        }
        // To a wider float nothing is lost.
        ([], true, true) if to.size() > from.size() && matches!((to, from), (F64, F32) | (F32, F16)) => Some(plain),
        (["rn"], true, true) if matches!((to, from), (F32, F64) | (F16 | Bf16, F32)) => Some(plain),
        (["sat"], true, true) if (to, from) == (F32, F32) => Some(Conversion { saturate: true, ..plain }),
        ([mode], true, true) if to == from && matches!(to, F32 | F64) => {
            Some(Conversion { rounding: to_whole(mode)?, whole: true, ..plain })
        }
        _ => None,
    }
}
