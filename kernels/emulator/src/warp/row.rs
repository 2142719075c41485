//! The registers of a warp, and the values in them.

use super::Warp;
use crate::isa::{Operand, Register};

/// A row with the value of `f` for each lane. A loop, since the library's functions on arrays are not always compiled into one.
#[inline(always)]
pub(crate) fn row_of<W: Word>(f: impl Fn(usize) -> W) -> [W; 32] {
    let mut row = [W::ZERO; 32];
    for (lane, word) in row.iter_mut().enumerate() {
        *word = f(lane);
    }
    row
}

/// A register of a warp: a word for each lane.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Row<T>(pub [T; 32]);

/// What registers hold: 32 bits, or 64.
pub(crate) trait Word: Copy {
    const ZERO: Self;
    /// The row of an operand, which must be a register of this width: the parser sees to it.
    fn row(warp: &Warp, operand: Operand) -> &[Self; 32];
    /// That of a result; none if it is dropped.
    fn row_mut(warp: &mut Warp, d: Register) -> Option<&mut [Self; 32]>;
}

impl Word for u32 {
    const ZERO: u32 = 0;

    #[inline(always)]
    fn row(warp: &Warp, operand: Operand) -> &[u32; 32] {
        match operand {
            Operand::Register(Register::Narrow(number)) => &warp.narrow[usize::from(number)].0,
            other => unreachable!("{other:?} is no register of 32 bits"),
        }
    }

    #[inline(always)]
    fn row_mut(warp: &mut Warp, d: Register) -> Option<&mut [u32; 32]> {
        match d {
            Register::Narrow(number) => Some(&mut warp.narrow[usize::from(number)].0),
            _ => None,
        }
    }
}

impl Word for u64 {
    const ZERO: u64 = 0;

    #[inline(always)]
    fn row(warp: &Warp, operand: Operand) -> &[u64; 32] {
        match operand {
            Operand::Register(Register::Wide(number)) => &warp.wide[usize::from(number)].0,
            other => unreachable!("{other:?} is no register of 64 bits"),
        }
    }

    #[inline(always)]
    fn row_mut(warp: &mut Warp, d: Register) -> Option<&mut [u64; 32]> {
        match d {
            Register::Wide(number) => Some(&mut warp.wide[usize::from(number)].0),
            _ => None,
        }
    }
}

/// A value of one lane: how it stands in a register.
pub(crate) trait Lane: Copy {
    /// What holds it: types of fewer than 32 bits have registers of 32.
    type Word: Word;
    /// From the word of a register.
    fn of(word: Self::Word) -> Self;
    /// As the word of a register, with the sign repeated to the left.
    fn word(self) -> Self::Word;
    /// From the bits of a register, of which there may be too many.
    fn from_bits(bits: u64) -> Self;
    /// The bits, with the sign repeated to the left.
    fn bits(self) -> u64;
}

macro_rules! integer_lanes {
    ($($T:ty => $Word:ty, $Wide:ty;)*) => {$(
        impl Lane for $T {
            type Word = $Word;

            #[inline(always)]
            fn of(word: $Word) -> Self {
                word as $T
            }

            #[inline(always)]
            fn word(self) -> $Word {
                self as $Wide as $Word
            }

            #[inline(always)]
            fn from_bits(bits: u64) -> Self {
                bits as $T
            }

            #[inline(always)]
            fn bits(self) -> u64 {
                self as $Wide as u64
            }
        }
    )*};
}

integer_lanes! {
    u8 => u32, u64;
    u16 => u32, u64;
    u32 => u32, u64;
    u64 => u64, u64;
    i8 => u32, i64;
    i16 => u32, i64;
    i32 => u32, i64;
    i64 => u64, i64;
}

impl Lane for f32 {
    type Word = u32;

    #[inline(always)]
    fn of(word: u32) -> Self {
        f32::from_bits(word)
    }

    #[inline(always)]
    fn word(self) -> u32 {
        self.to_bits()
    }

    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        f32::from_bits(bits as u32)
    }

    #[inline(always)]
    fn bits(self) -> u64 {
        u64::from(self.to_bits())
    }
}

impl Lane for f64 {
    type Word = u64;

    #[inline(always)]
    fn of(word: u64) -> Self {
        f64::from_bits(word)
    }

    #[inline(always)]
    fn word(self) -> u64 {
        self.to_bits()
    }

    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        f64::from_bits(bits)
    }

    #[inline(always)]
    fn bits(self) -> u64 {
        self.to_bits()
    }
}
