// Functions of one number, for arrays without gaps: what has gaps is copied first.
//
// Names and meanings are those of `kernels/src/pointwise.rs`.
#include "common.h"

template <class R>
__device__ __forceinline__ R within(R x, R low, R high) {
    return x < low ? low : x > high ? high : x;
}
template <class R>
__device__ __forceinline__ R sigmoid(R x) {
    return R(1) / (R(1) + exp(-x));
}
template <class R>
__device__ __forceinline__ R softplus(R x) {
    return (x > R(0) ? x : x < R(0) ? R(0) : x) + log1p(exp(-fabs(x)));
}
// tanh(softplus(x)) = (w^2 + 2w) / (w^2 + 2w + 2) with w = e^x.
template <class R>
__device__ __forceinline__ R mish(R x) {
    if (x > R(20)) {
        return x;
    }
    R w = exp(x), up = w * (w + R(2));
    return x * (up / (up + R(2)));
}

// Sine and cosine of double precision, whose own ones the compiler would call, and not write out: quarters of a turn are taken off, and
// the rest goes through functions of half turns. To a few units in the last place for angles up to a million.
struct Quarters {
    int count;
    double halves;
    __device__ __forceinline__ Quarters(double x) {
        double whole = rint(x * 0.63661977236758134);
        double rest = fma(-whole, 6.123233995736766e-17, fma(-whole, 1.5707963267948966, x));
        count = (int)(i64)whole;
        halves = rest * 0.31830988618379067;
    }
};
__device__ __forceinline__ double sine(double x, int turned) {
    Quarters quarters(x);
    int count = quarters.count + turned;
    double y = count & 1 ? cospi(quarters.halves) : sinpi(quarters.halves);
    return count & 2 ? -y : y;
}
__device__ __forceinline__ double tangent(double x) {
    return sine(x, 0) / sine(x, 1);
}

// The function `name` of `x`; `p` and `q` are its parameters, if it has any. `value` calls its type R.
#define UNARY(name, type, T, P, value)                                           \
    KERNEL unary_##name##_##type(const T* from, T* to, u32 n, P p, P q) {        \
        using R = T;                                                             \
        for (EACH(i, n)) {                                                       \
            T x = from[i];                                                       \
            to[i] = value;                                                       \
        }                                                                        \
    }
#define FLOATS(name, value)                   \
    UNARY(name, f32, float, float, value)     \
    UNARY(name, f64, double, double, value)

FLOATS(neg, -x)
FLOATS(abs, fabs(x))
FLOATS(sign, x > R(0) ? R(1) : x < R(0) ? R(-1) : x * R(0))
FLOATS(square, x * x)
FLOATS(sqrt, sqrt(x))
FLOATS(rsqrt, R(1) / sqrt(x))
FLOATS(recip, R(1) / x)
FLOATS(exp, exp(x))
FLOATS(expm1, expm1(x))
FLOATS(log, log(x))
FLOATS(log2, log2(x))
FLOATS(log10, log10(x))
FLOATS(log1p, log1p(x))
UNARY(sin, f32, float, float, sin(x))
UNARY(sin, f64, double, double, sine(x, 0))
UNARY(cos, f32, float, float, cos(x))
UNARY(cos, f64, double, double, sine(x, 1))
UNARY(tan, f32, float, float, tan(x))
UNARY(tan, f64, double, double, tangent(x))
FLOATS(asin, asin(x))
FLOATS(acos, acos(x))
FLOATS(atan, atan(x))
FLOATS(sinh, sinh(x))
FLOATS(cosh, cosh(x))
FLOATS(tanh, tanh(x))
FLOATS(asinh, asinh(x))
FLOATS(acosh, acosh(x))
FLOATS(atanh, atanh(x))
FLOATS(erf, erf(x))
FLOATS(floor, floor(x))
FLOATS(ceil, ceil(x))
FLOATS(round, rint(x))
FLOATS(trunc, trunc(x))
FLOATS(relu, x < R(0) ? R(0) : x)
FLOATS(relu6, within(x, R(0), R(6)))
FLOATS(leaky_relu, x > R(0) ? x : p * x)
FLOATS(elu, x > R(0) ? x : p * expm1(x))
FLOATS(selu, x > R(0) ? R(SELU_SCALE) * x : R(SELU_BELOW) * expm1(x))
FLOATS(celu, x > R(0) ? x : p * expm1(x / p))
FLOATS(softplus, softplus(x))
FLOATS(softsign, x / (R(1) + fabs(x)))
FLOATS(sigmoid, sigmoid(x))
FLOATS(log_sigmoid, -softplus(-x))
FLOATS(hard_sigmoid, within(x / R(6) + R(0.5), R(0), R(1)))
FLOATS(hard_tanh, within(x, R(-1), R(1)))
FLOATS(hard_swish, x * within(x / R(6) + R(0.5), R(0), R(1)))
FLOATS(silu, x / (R(1) + exp(-x)))
FLOATS(gelu, R(0.5) * x * erfc(-x * R(0.70710678118654752)))
FLOATS(gelu_tanh, x * sigmoid(R(1.5957691216057308) * (x + R(0.044715) * x * x * x)))
FLOATS(mish, mish(x))
FLOATS(clamp, within(x, p, q))
UNARY(powf, f32, float, float, pow(x, p))
UNARY(powf, f64, double, double, power(x, p))

// Integers wrap around. The bounds of clamp are the whole numbers between those that were asked for.
#define INTEGERS(name, value)              \
    UNARY(name, i32, int, i64, value)      \
    UNARY(name, i64, i64, i64, value)      \
    UNARY(name, u8, u8, i64, value)

INTEGERS(neg, (R)(0 - (u64)(i64)x))
INTEGERS(abs, (R)((i64)x < 0 ? 0 - (u64)(i64)x : (u64)(i64)x))
INTEGERS(sign, (R)(((i64)x > 0) - ((i64)x < 0)))
INTEGERS(square, (R)((u64)(i64)x * (u64)(i64)x))
INTEGERS(clamp, (R)min(max((i64)x, p), q))
