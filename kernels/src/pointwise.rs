//! The pointwise functions: their names and what each one means.
//!
//! A row here declares a function and specifies it in plain `f64`; it is the oracle for every backend's own row. A new
//! function also needs a row in `cpu/unary.rs` or `cpu/binary.rs`, and one with its gradient in the core; a test names the
//! row that is missing.

macro_rules! f64_for {
    ($parameter:ident) => {
        f64
    };
}

macro_rules! unary {
    ($($(#[$doc:meta])* $Op:ident $(($($p:ident = $typical:literal),+))? => $name:literal, |$x:ident| $value:expr;)*) => {
        /// A function of one number; its parameters, if any, stand inside.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Unary {
            $($(#[$doc])* $Op $(($(f64_for!($p)),+))?,)*
        }

        impl Unary {
            /// Every function, with typical parameters.
            pub const ALL: &[Unary] = &[$(Unary::$Op $(($($typical),+))?),*];

            /// The name, as users and tables write it.
            pub const fn name(self) -> &'static str {
                match self { $(unary!(@ignore $Op $(($($p),+))?) => $name,)* }
            }

            /// The value at `x`: the specification.
            pub fn reference(self, x: f64) -> f64 {
                match self { $(Unary::$Op $(($($p),+))? => { let $x = x; $value })* }
            }
        }
    };
    (@ignore $Op:ident) => { Unary::$Op };
    (@ignore $Op:ident ($($p:ident),+)) => { Unary::$Op(..) };
}

/// The slope that makes SELU keep the variance (Klambauer et al. 2017).
pub const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
/// The scale that makes SELU keep the variance (Klambauer et al. 2017).
pub const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

unary! {
    /// `-x`. Also for integers.
    Neg => "neg", |x| -x;
    /// `|x|`. Also for integers.
    Abs => "abs", |x| x.abs();
    /// -1, 0 or 1; NaN of NaN. Also for integers.
    Sign => "sign", |x| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { x * 0.0 };
    /// `x * x`. Also for integers.
    Square => "square", |x| x * x;
    /// The square root; NaN below 0.
    Sqrt => "sqrt", |x| x.sqrt();
    /// `1 / sqrt(x)`.
    Rsqrt => "rsqrt", |x| 1.0 / x.sqrt();
    /// `1 / x`.
    Recip => "recip", |x| 1.0 / x;
    /// `e^x`.
    Exp => "exp", |x| x.exp();
    /// `e^x - 1`, accurate near 0.
    Expm1 => "expm1", |x| x.exp_m1();
    /// The natural logarithm; -inf at 0, NaN below.
    Log => "log", |x| x.ln();
    /// The logarithm to base 2.
    Log2 => "log2", |x| x.log2();
    /// The logarithm to base 10.
    Log10 => "log10", |x| x.log10();
    /// `log(1 + x)`, accurate near 0.
    Log1p => "log1p", |x| x.ln_1p();
    /// The sine of an angle in radians.
    Sin => "sin", |x| x.sin();
    /// The cosine of an angle in radians.
    Cos => "cos", |x| x.cos();
    /// The tangent of an angle in radians.
    Tan => "tan", |x| x.tan();
    /// The angle whose sine is `x`.
    Asin => "asin", |x| x.asin();
    /// The angle whose cosine is `x`.
    Acos => "acos", |x| x.acos();
    /// The angle whose tangent is `x`.
    Atan => "atan", |x| x.atan();
    /// The hyperbolic sine.
    Sinh => "sinh", |x| x.sinh();
    /// The hyperbolic cosine.
    Cosh => "cosh", |x| x.cosh();
    /// The hyperbolic tangent.
    Tanh => "tanh", |x| x.tanh();
    /// The inverse of `sinh`.
    Asinh => "asinh", |x| x.asinh();
    /// The inverse of `cosh`.
    Acosh => "acosh", |x| x.acosh();
    /// The inverse of `tanh`.
    Atanh => "atanh", |x| x.atanh();
    /// The error function.
    Erf => "erf", |x| libm::erf(x);
    /// The largest whole number not above `x`.
    Floor => "floor", |x| x.floor();
    /// The smallest whole number not below `x`.
    Ceil => "ceil", |x| x.ceil();
    /// The nearest whole number, halves to even.
    Round => "round", |x| x.round_ties_even();
    /// The whole part.
    Trunc => "trunc", |x| x.trunc();
    /// `max(x, 0)`.
    Relu => "relu", |x| if x < 0.0 { 0.0 } else { x };
    /// `min(max(x, 0), 6)`.
    Relu6 => "relu6", |x| x.clamp(0.0, 6.0);
    /// `x` above 0, `slope * x` elsewhere.
    LeakyRelu(slope = 0.2) => "leaky_relu", |x| if x > 0.0 { x } else { slope * x };
    /// `x` above 0, `alpha * (e^x - 1)` elsewhere (Clevert et al. 2016).
    Elu(alpha = 1.0) => "elu", |x| if x > 0.0 { x } else { alpha * x.exp_m1() };
    /// ELU with the constants that keep the variance (Klambauer et al. 2017).
    Selu => "selu", |x| SELU_SCALE * if x > 0.0 { x } else { SELU_ALPHA * x.exp_m1() };
    /// `max(x, 0) + min(alpha * (e^(x / alpha) - 1), 0)` (Barron 2017).
    Celu(alpha = 1.5) => "celu", |x| if x > 0.0 { x } else { alpha * (x / alpha).exp_m1() };
    /// `log(1 + e^x)`.
    Softplus => "softplus", |x| softplus(x);
    /// `x / (1 + |x|)`.
    Softsign => "softsign", |x| x / (1.0 + x.abs());
    /// `1 / (1 + e^-x)`.
    Sigmoid => "sigmoid", |x| sigmoid(x);
    /// `log(sigmoid(x))`.
    LogSigmoid => "log_sigmoid", |x| -softplus(-x);
    /// `min(max(x / 6 + 1/2, 0), 1)`.
    HardSigmoid => "hard_sigmoid", |x| (x / 6.0 + 0.5).clamp(0.0, 1.0);
    /// `min(max(x, -1), 1)`.
    HardTanh => "hard_tanh", |x| x.clamp(-1.0, 1.0);
    /// `x * hard_sigmoid(x)` (Howard et al. 2019).
    HardSwish => "hard_swish", |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0);
    /// `x * sigmoid(x)`, also called swish.
    Silu => "silu", |x| x * sigmoid(x);
    /// `x * Phi(x)` with the normal distribution function `Phi` (Hendrycks and Gimpel 2016).
    Gelu => "gelu", |x| 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
    /// GELU by its `tanh` approximation.
    GeluTanh => "gelu_tanh", |x| {
        x * sigmoid(2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x))
    };
    /// `x * tanh(softplus(x))` (Misra 2019).
    Mish => "mish", |x| x * softplus(x).tanh();
    /// `min(max(x, low), high)`. Also for integers, whose bounds are the whole numbers from `low` to `high`.
    Clamp(low = -0.5, high = 0.75) => "clamp", |x| if x < low { low } else if x > high { high } else { x };
    /// `x^exponent` for a constant exponent.
    Powf(exponent = 2.5) => "powf", |x| x.powf(exponent);
}

impl Unary {
    /// Whether a larger `x` never has a smaller value, so that the largest of some values is the value of the largest `x`. Of the others
    /// some may have that as well, but no network takes their largest values.
    pub fn is_non_decreasing(self) -> bool {
        match self {
            Unary::LeakyRelu(slope) => slope >= 0.0,
            Unary::Elu(alpha) => alpha >= 0.0,
            Unary::Relu | Unary::Relu6 | Unary::Selu | Unary::Softplus | Unary::Softsign => true,
            Unary::Sigmoid | Unary::LogSigmoid | Unary::HardSigmoid | Unary::Tanh | Unary::HardTanh | Unary::Exp => {
                true
            }
            _ => false,
        }
    }

    /// The slope where the value is `y`; `None` where the value does not tell it.
    ///
    /// Layers that know it keep their result and need not keep what came before the function.
    pub fn slope_at(self, y: f64) -> Option<f64> {
        let above = y > 0.0;
        Some(match self {
            Unary::Relu => f64::from(above),
            Unary::LeakyRelu(slope) if slope >= 0.0 => {
                if above {
                    1.0
                } else {
                    slope
                }
            }
            Unary::Elu(alpha) if alpha >= 0.0 => {
                if above {
                    1.0
                } else {
                    y + alpha
                }
            }
            Unary::Selu => {
                if above {
                    SELU_SCALE
                } else {
                    y + SELU_SCALE * SELU_ALPHA
                }
            }
            Unary::Sigmoid => y * (1.0 - y),
            Unary::Tanh => 1.0 - y * y,
            _ => return None,
        })
    }

    /// The value for integers; `None` where the function has none. The result wraps to the type.
    pub fn reference_int(self, x: i64) -> Option<i64> {
        match self {
            Unary::Neg => Some(x.wrapping_neg()),
            Unary::Abs => Some(x.wrapping_abs()),
            Unary::Sign => Some(x.signum()),
            Unary::Square => Some(x.wrapping_mul(x)),
            Unary::Clamp(low, high) => Some(x.max(low.ceil() as i64).min(high.floor() as i64)),
            _ => None,
        }
    }
}

macro_rules! binary {
    ($($(#[$doc:meta])* $Op:ident => $name:literal, |$a:ident, $b:ident| $float:expr, $int:expr;)*) => {
        /// A function of two numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Binary { $($(#[$doc])* $Op,)* }

        impl Binary {
            /// Every function.
            pub const ALL: &[Binary] = &[$(Binary::$Op),*];

            /// The name, as users and tables write it.
            pub const fn name(self) -> &'static str {
                match self { $(Binary::$Op => $name,)* }
            }

            /// The value for floats: the specification.
            pub fn reference(self, a: f64, b: f64) -> f64 {
                match self { $(Binary::$Op => { let ($a, $b) = (a, b); $float })* }
            }

            /// The value for integers and truth values; `None` where the function has none. The result wraps to the type.
            pub fn reference_int(self, a: i64, b: i64) -> Option<i64> {
                match self { $(Binary::$Op => { let ($a, $b) = (a, b); let _ = ($a, $b); $int })* }
            }
        }
    };
}

binary! {
    /// `a + b`.
    Add => "add", |a, b| a + b, Some(a.wrapping_add(b));
    /// `a - b`.
    Sub => "sub", |a, b| a - b, Some(a.wrapping_sub(b));
    /// `a * b`; "and" for truth values.
    Mul => "mul", |a, b| a * b, Some(a.wrapping_mul(b));
    /// `a / b`; floats only.
    Div => "div", |a, b| a / b, None;
    /// `a^b`; floats only.
    Pow => "pow", |a, b| a.powf(b), None;
    /// The larger; NaN if either is. "Or" for truth values.
    Maximum => "maximum", |a, b| if a.is_nan() || a > b { a } else { b }, Some(a.max(b));
    /// The smaller; NaN if either is.
    Minimum => "minimum", |a, b| if a.is_nan() || a < b { a } else { b }, Some(a.min(b));
    /// The angle of the point `(b, a)` as seen from the origin, in radians; floats only.
    Atan2 => "atan2", |a, b| a.atan2(b), None;
    /// `b softplus(-a) + (1 - b) softplus(a)`: the binary cross entropy of the probability `sigmoid(a)` where the truth is `b`,
    /// without what that sum loses where the model is sure; floats only.
    LogisticLoss => "logistic_loss", |a, b| a.abs() * (if a > 0.0 { 1.0 - b } else { b }) + softplus(-a.abs()), None;
    /// What division leaves, with the sign of `b`, as `%` in Python; NaN or 0 for `b = 0`.
    Remainder => "remainder", |a, b| a - (a / b).floor() * b, whole_remainder(a, b);
}

fn whole_remainder(a: i64, b: i64) -> Option<i64> {
    let left = if b == 0 { 0 } else { a.wrapping_rem(b) };
    Some(if left != 0 && (left < 0) != (b < 0) { left + b } else { left })
}

/// A comparison of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    /// `a == b`.
    Eq,
    /// `a != b`.
    Ne,
    /// `a < b`.
    Lt,
    /// `a <= b`.
    Le,
    /// `a > b`.
    Gt,
    /// `a >= b`.
    Ge,
}

impl Compare {
    /// Every comparison.
    pub const ALL: &[Compare] = &[Compare::Eq, Compare::Ne, Compare::Lt, Compare::Le, Compare::Gt, Compare::Ge];

    /// The name, as users and tables write it.
    pub const fn name(self) -> &'static str {
        match self {
            Compare::Eq => "eq",
            Compare::Ne => "ne",
            Compare::Lt => "lt",
            Compare::Le => "le",
            Compare::Gt => "gt",
            Compare::Ge => "ge",
        }
    }

    /// Whether it holds: the specification, for any ordered type.
    #[inline(always)]
    pub fn holds<T: PartialOrd>(self, a: T, b: T) -> bool {
        match self {
            Compare::Eq => a == b,
            Compare::Ne => a != b,
            Compare::Lt => a < b,
            Compare::Le => a <= b,
            Compare::Gt => a > b,
            Compare::Ge => a >= b,
        }
    }
}
