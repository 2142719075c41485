// Functions of one and of two numbers, comparisons, and the choice between two numbers.
//
// Names and meanings are those of `kernels/src/pointwise.rs`. Functions of one number read and write arrays without gaps (what has
// gaps is copied first); those of two read both operands through any strides, since broadcasting is common there.
#include "common.h"

// The function `name` of `x`; `p` and `q` are its parameters, if it has any.
#define UNARY(name, value)                                                       \
    KERNEL unary_##name(const float* from, float* to, u32 n, float p, float q) { \
        for (EACH(i, n)) {                                                       \
            float x = from[i];                                                   \
            to[i] = value;                                                       \
        }                                                                        \
    }

__device__ __forceinline__ float within(float x, float low, float high) {
    return x < low ? low : x > high ? high : x;
}
__device__ __forceinline__ float sigmoid(float x) {
    return 1.0f / (1.0f + expf(-x));
}
__device__ __forceinline__ float softplus(float x) {
    return (x > 0.0f ? x : x < 0.0f ? 0.0f : x) + log1pf(expf(-fabsf(x)));
}
// tanh(softplus(x)) = (w^2 + 2w) / (w^2 + 2w + 2) with w = e^x.
__device__ __forceinline__ float mish(float x) {
    if (x > 20.0f) {
        return x;
    }
    float w = expf(x), up = w * (w + 2.0f);
    return x * (up / (up + 2.0f));
}

#define SELU_SCALE 1.0507009873554805f
#define SELU_BELOW 1.7580993408473766f

UNARY(neg, -x)
UNARY(abs, fabsf(x))
UNARY(sign, x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x * 0.0f)
UNARY(square, x* x)
UNARY(sqrt, sqrtf(x))
UNARY(rsqrt, 1.0f / sqrtf(x))
UNARY(recip, 1.0f / x)
UNARY(exp, expf(x))
UNARY(expm1, expm1f(x))
UNARY(log, logf(x))
UNARY(log2, log2f(x))
UNARY(log10, log10f(x))
UNARY(log1p, log1pf(x))
UNARY(sin, sinf(x))
UNARY(cos, cosf(x))
UNARY(tan, tanf(x))
UNARY(asin, asinf(x))
UNARY(acos, acosf(x))
UNARY(atan, atanf(x))
UNARY(sinh, sinhf(x))
UNARY(cosh, coshf(x))
UNARY(tanh, tanhf(x))
UNARY(asinh, asinhf(x))
UNARY(acosh, acoshf(x))
UNARY(atanh, atanhf(x))
UNARY(erf, erff(x))
UNARY(floor, floorf(x))
UNARY(ceil, ceilf(x))
UNARY(round, rintf(x))
UNARY(trunc, truncf(x))
UNARY(relu, x < 0.0f ? 0.0f : x)
UNARY(relu6, within(x, 0.0f, 6.0f))
UNARY(leaky_relu, x > 0.0f ? x : p * x)
UNARY(elu, x > 0.0f ? x : p * expm1f(x))
UNARY(selu, x > 0.0f ? SELU_SCALE * x : SELU_BELOW * expm1f(x))
UNARY(celu, x > 0.0f ? x : p * expm1f(x / p))
UNARY(softplus, softplus(x))
UNARY(softsign, x / (1.0f + fabsf(x)))
UNARY(sigmoid, sigmoid(x))
UNARY(log_sigmoid, -softplus(-x))
UNARY(hard_sigmoid, within(x / 6.0f + 0.5f, 0.0f, 1.0f))
UNARY(hard_tanh, within(x, -1.0f, 1.0f))
UNARY(hard_swish, x* within(x / 6.0f + 0.5f, 0.0f, 1.0f))
UNARY(silu, x / (1.0f + expf(-x)))
UNARY(gelu, 0.5f * x * erfcf(-x * 0.70710678f))
UNARY(gelu_tanh, x* sigmoid(1.5957691216057308f * (x + 0.044715f * x * x * x)))
UNARY(mish, mish(x))
UNARY(clamp, within(x, p, q))
UNARY(powf, powf(x, p))

// The function `name` of `a` and `b`, which are seen through their layouts.
#define BINARY(name, value)                                                                                  \
    KERNEL binary_##name(const float* left, Layout at_left, const float* right, Layout at_right, float* to, u32 n) { \
        for (EACH(i, n)) {                                                                                   \
            float a = left[place(at_left, i)], b = right[place(at_right, i)];                                \
            to[i] = value;                                                                                   \
        }                                                                                                    \
    }

BINARY(add, a + b)
BINARY(sub, a - b)
BINARY(mul, a* b)
BINARY(div, a / b)
BINARY(pow, powf(a, b))
BINARY(maximum, a != a || a > b ? a : b)
BINARY(minimum, a != a || a < b ? a : b)
BINARY(atan2, atan2f(a, b))
BINARY(logistic_loss, fabsf(a) * (a > 0.0f ? 1.0f - b : b) + softplus(-fabsf(a)))
BINARY(remainder, a - floorf(a / b) * b)

// Whether `a` and `b` compare so, as a byte of 0 or 1.
#define COMPARE(name, holds)                                                                                     \
    KERNEL compare_##name(const float* left, Layout at_left, const float* right, Layout at_right, u8* to, u32 n) { \
        for (EACH(i, n)) {                                                                                       \
            float a = left[place(at_left, i)], b = right[place(at_right, i)];                                    \
            to[i] = holds;                                                                                       \
        }                                                                                                        \
    }

COMPARE(eq, a == b)
COMPARE(ne, a != b)
COMPARE(lt, a < b)
COMPARE(le, a <= b)
COMPARE(gt, a > b)
COMPARE(ge, a >= b)

// `a` where the condition holds, else `b`.
KERNEL select(const u8* condition, Layout at_condition, const float* left, Layout at_left, const float* right,
              Layout at_right, float* to, u32 n) {
    for (EACH(i, n)) {
        to[i] = condition[place(at_condition, i)] != 0 ? left[place(at_left, i)] : right[place(at_right, i)];
    }
}
