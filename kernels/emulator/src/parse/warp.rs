//! Flow, barriers, and instructions of a whole warp.

use super::operands::Operands;
use crate::isa::{Mma, Op, Shuffle, Type, Vote};

/// The instruction, if its form is one of these.
pub(super) fn decode(words: &[&str], o: &mut Operands) -> Option<Result<Op, String>> {
    use Type::{B32, F32, Pred, U32};
    match *words {
        ["ret"] | ["exit"] => Some(Ok(Op::Exit)),
        ["bar", "sync"] | ["barrier", "sync"] | ["barrier", "sync", "aligned"] => Some(match o.name() {
            Ok("0") => Ok(Op::Barrier),
            Ok(other) => Err(format!("the emulator knows the barrier 0, not {other}")),
            Err(missing) => Err(missing),
        }),
        ["membar", "cta" | "gl" | "sys"] | ["fence", "sc" | "acq_rel", "cta" | "gpu" | "sys"] => Some(Ok(Op::Fence)),
        ["bar", "warp", "sync"] => Some((|| Ok(Op::WarpBarrier { members: o.a(B32)? }))()),
        ["shfl", "sync", name, "b32"] => {
            let how = match name {
                "bfly" => Shuffle::Butterfly,
                "down" => Shuffle::Down,
                "up" => Shuffle::Up,
                "idx" => Shuffle::Index,
                _ => return None,
            };
            let mut read = || {
                let (d, valid) = o.d_and_predicate(B32)?;
                Ok(Op::Shuffle { how, d, valid, a: o.a(B32)?, b: o.a(U32)?, c: o.a(U32)?, members: o.a(B32)? })
            };
            Some(read())
        }
        ["vote", "sync", name, ty] => {
            let (how, d) = match (name, ty) {
                ("ballot", "b32") => (Vote::Ballot, B32),
                ("any", "pred") => (Vote::Any, Pred),
                ("all", "pred") => (Vote::All, Pred),
                ("uni", "pred") => (Vote::Uniform, Pred),
                _ => return None,
            };
            Some((|| Ok(Op::Vote { how, d: o.d(d)?, a: o.a(Pred)?, members: o.a(B32)? }))())
        }
        ["activemask", "b32"] => Some((|| Ok(Op::ActiveMask { d: o.d(B32)? }))()),
        ["mma", "sync", "aligned", shape, "row", "col", "f32", a, b, "f32"] if a == b => {
            let how = match (shape, a) {
                ("m16n8k16", "bf16") => Mma::Bf16,
                ("m16n8k16", "f16") => Mma::F16,
                ("m16n8k8", "tf32") => Mma::Tf32,
                _ => return None,
            };
            let mut read = || {
                let d = Operands::exactly(o.ds(F32, false)?)?;
                let (a, b) = (Operands::exactly(o.values(B32, false)?)?, Operands::exactly(o.values(B32, false)?)?);
                Ok(Op::Mma { how, d, a, b, c: Operands::exactly(o.values(F32, false)?)? })
            };
            Some(read())
        }
        ["ldmatrix", "sync", "aligned", "m8n8", count, ref rest @ ..] => {
            let count = match count {
                "x1" => 1,
                "x2" => 2,
                "x4" => 4,
                _ => return None,
            };
            let transposed = match rest {
                ["shared", "b16"] => false,
                ["trans", "shared", "b16"] => true,
                _ => return None,
            };
            let mut read = || {
                let d = o.ds(B32, false)?;
                match d.len() == count {
                    true => Ok(Op::LoadMatrix { transposed, d, address: o.address()? }),
                    false => Err(format!("{count} registers stand in the braces")),
                }
            };
            Some(read())
        }
        _ => None,
    }
}
