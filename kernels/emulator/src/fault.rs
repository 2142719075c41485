//! What a kernel did wrong, and where.

use std::fmt;

use crate::isa::Space;

/// Where a fault happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The kernel.
    pub kernel: String,
    /// The line of the PTX, from 1.
    pub line: u32,
    /// The instruction as it is written there.
    pub text: String,
    /// The file and line of the source, where the PTX names them.
    pub source: Option<(String, u32)>,
    /// The block, in x, y, z.
    pub block: [u32; 3],
    /// The thread in its block, in x, y, z.
    pub thread: [u32; 3],
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// No allocation holds the whole access.
    #[error("{access} of {bytes} bytes at {address:#x} is outside {}", outside(*space))]
    OutOfBounds {
        /// "a read", "a write", "an atomic".
        access: &'static str,
        /// Where.
        space: Space,
        /// At which address.
        address: u64,
        /// How many.
        bytes: usize,
    },
    /// The address is no multiple of the size.
    #[error("{access} of {bytes} bytes at {address:#x} is not aligned to its size")]
    Misaligned {
        /// What kind of access.
        access: &'static str,
        /// At which address.
        address: u64,
        /// How many.
        bytes: usize,
    },
    /// Nobody wrote what is read.
    #[error("a read of {space} memory at {address:#x} that nobody has written yet")]
    Unwritten {
        /// Where.
        space: Space,
        /// At which address.
        address: u64,
    },
    /// An asynchronous copy into it has not been waited for.
    #[error(
        "{access} of shared memory at {address:#x} while an asynchronous copy of line {copy_line} is on its way there: wait for its group first"
    )]
    InFlight {
        /// What kind of access.
        access: &'static str,
        /// At which address.
        address: u64,
        /// The line of the copy.
        copy_line: u32,
    },
    /// Two threads of a block use a place, one of them writes, and no barrier lies between.
    #[error(
        "a race on shared memory at {address:#x}: {access} here and {other_access} by thread {other_thread} in line {other_line}, with no barrier between them"
    )]
    SharedRace {
        /// What this thread does.
        access: &'static str,
        /// At which address.
        address: u64,
        /// The number of the other thread in its block.
        other_thread: u32,
        /// What that one did.
        other_access: &'static str,
        /// The line where.
        other_line: u32,
    },
    /// Two blocks of a launch use a place, one of them writes, and not both by atomics.
    #[error(
        "a race on global memory at {address:#x}: {access} here and {other_access} by block number {other_block} in line {other_line}, and blocks of a launch have no order"
    )]
    GlobalRace {
        /// What this thread does.
        access: &'static str,
        /// At which address.
        address: u64,
        /// The number of the other block.
        other_block: u32,
        /// What that one did.
        other_access: &'static str,
        /// The line where.
        other_line: u32,
    },
    /// Some threads wait at a barrier that others have not reached and never will.
    #[error("a barrier that not all threads reach: thread {other_thread} {other}")]
    DivergentBarrier {
        /// The number of a thread that is elsewhere.
        other_thread: u32,
        /// What it does instead.
        other: String,
    },
    /// An instruction for a whole warp, with lanes missing.
    #[error(
        "{what} names the lanes {members:#010x}, but only {here:#010x} are here: the others are in another branch or have ended"
    )]
    DivergentWarp {
        /// Which instruction.
        what: &'static str,
        /// The lanes that are named.
        members: u32,
        /// The lanes that have arrived.
        here: u32,
    },
    /// The kernel does not end.
    #[error("the block has executed {steps} instructions, which is the limit: the kernel may never end")]
    StepLimit {
        /// How many.
        steps: u64,
    },
    /// Arguments or sizes that no launch may have.
    #[error("{0}")]
    Launch(String),
}

/// A kernel that did something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Where; empty for a launch that was refused.
    pub place: Box<Place>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { kind, place } = self;
        if place.line == 0 {
            return write!(f, "kernel {}: {kind}", place.kernel);
        }
        let [x, y, z] = place.thread;
        let [bx, by, bz] = place.block;
        write!(f, "kernel {}, PTX line {}", place.kernel, place.line)?;
        if let Some((file, line)) = &place.source {
            write!(f, " ({file}:{line})")?;
        }
        write!(f, ", block ({bx}, {by}, {bz}), thread ({x}, {y}, {z}): {kind}\n  {}", place.text)
    }
}

impl std::error::Error for Fault {}

fn outside(space: Space) -> &'static str {
    match space {
        Space::Shared => "the block's shared memory",
        Space::Local => "the thread's local memory",
        Space::Global | Space::Generic => "every live allocation",
    }
}
