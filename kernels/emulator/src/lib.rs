//! A GPU to read: runs PTX, NVIDIA's portable assembly, on the processor.
//!
//! [`Module::parse`] turns text into instructions of a closed set and refuses what is not in it. [`Launch::run`] executes a
//! kernel as a GPU does: blocks of warps, each warp 32 lanes in lock step, lanes that diverge and meet again. Every access is
//! checked: bounds and alignment, memory that nobody wrote, races between threads on shared memory and between blocks on
//! global memory, barriers and shuffles that some thread never reaches. A [`Fault`] names the line, the block and the thread.
//! [`Counters`] hold what decides speed on a GPU: instructions, sectors of memory touched, conflicts between banks.
//!
//! It shows no time: nothing here knows how long a GPU takes. And it rounds approximate functions (`ex2.approx` and its kin)
//! correctly, where hardware may be off by a unit in the last place or two.

mod block;
mod counters;
pub mod driver;
mod execute;
mod fault;
pub mod isa;
mod launch;
mod memory;
mod parse;
mod shared;
mod warp;

pub use counters::Counters;
pub use fault::{Fault, FaultKind, Place};
pub use launch::{Launch, Limits};
pub use memory::{Memory, MemoryError};
pub use parse::{Kernel, Module, Param, ParseError};
