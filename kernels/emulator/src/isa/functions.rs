//! What instructions compute: names, without operands.

use super::Type;

/// Functions of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Unary {
    Neg,
    Abs,
    Not,
    /// The number of ones.
    Popc,
    /// The number of zeros above the highest one.
    Clz,
    /// Bits in reverse order.
    Brev,
    /// `1 / x`, approximate or rounded.
    Rcp,
    Sqrt,
    Rsqrt,
    Sin,
    Cos,
    /// The logarithm to base 2.
    Lg2,
    /// A power of 2.
    Ex2,
    Tanh,
    /// As `Rcp`, with subnormal numbers taken for 0 (`.ftz`).
    RcpFlush,
    /// As `Rsqrt`, with subnormal numbers taken for 0.
    RsqrtFlush,
    /// As `Lg2`, with subnormal numbers taken for 0.
    Lg2Flush,
    /// As `Ex2`, with subnormal numbers taken for 0.
    Ex2Flush,
}

/// Functions of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Binary {
    Add,
    Sub,
    /// The lower half of a product of integers, or a product of floats.
    Mul,
    /// The upper half of a product of integers.
    MulHigh,
    Div,
    Rem,
    Min,
    Max,
    /// The smaller; NaN if either is.
    MinNan,
    /// The larger; NaN if either is.
    MaxNan,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    /// The second with the sign of the first.
    Copysign,
}

/// Functions of three values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Ternary {
    /// `a b + c` of floats, rounded once.
    Fma,
    /// The lower half of a product of integers, plus the third.
    Mad,
    /// The upper half of a product of integers, plus the third.
    MadHigh,
    /// A field of bits: from which, from where, how many.
    Bfe,
    /// Bytes picked from two words.
    Prmt,
    /// A pair of words shifted to the left; the upper one.
    ShiftLeftWrap,
    /// A pair of words shifted to the right; the lower one.
    ShiftRightWrap,
    /// As `ShiftLeftWrap`, by at most 32.
    ShiftLeftClamp,
    /// As `ShiftRightWrap`, by at most 32.
    ShiftRightClamp,
    /// Any function of three bits, by its table of 8.
    Lop3(u8),
}

/// How a result that is no number of its type becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest, halves to even.
    Nearest,
    /// To the nearest, halves away from 0 (`rna`, for `tf32`).
    NearestAway,
    /// Towards 0.
    Zero,
    /// Down.
    Down,
    /// Up.
    Up,
}

/// What a comparison asks. The unordered forms also hold if either is NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    EqUnordered,
    NeUnordered,
    LtUnordered,
    LeUnordered,
    GtUnordered,
    GeUnordered,
    /// Neither is NaN.
    Number,
    /// One is NaN.
    Nan,
}

/// What two truth values become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Logic {
    And,
    Or,
    Xor,
}

/// Where a shuffle takes its value from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shuffle {
    /// The lane whose number differs in these bits.
    Butterfly,
    /// A lane so many further.
    Down,
    /// A lane so many before.
    Up,
    /// This lane.
    Index,
}

/// What lanes agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Vote {
    Ballot,
    Any,
    All,
    Uniform,
}

/// What an atomic does with a place in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Atomic {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exchange,
    CompareExchange,
}

/// The products of a tensor core. All take `A` by rows, `B` by columns, and add in `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mma {
    /// 16 x 16 times 16 x 8 of `bf16`.
    Bf16,
    /// 16 x 16 times 16 x 8 of `f16`.
    F16,
    /// 16 x 8 times 8 x 8 of `tf32`.
    Tf32,
}

/// A conversion's types and how it rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// The type of the result.
    pub to: Type,
    /// The type of the operand.
    pub from: Type,
    /// How it rounds: to the type, or to a whole number where `whole`.
    pub rounding: Rounding,
    /// Whether the result is a whole number though it is a float.
    pub whole: bool,
    /// Whether the result is limited to 0..1, NaN to 0.
    pub saturate: bool,
}
