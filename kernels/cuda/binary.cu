// Functions of two numbers, comparisons, and the choice between two numbers. Operands are read through any strides, since
// broadcasting is common here.
//
// Names and meanings are those of `kernels/src/pointwise.rs`.
#include "common.h"

template <class R>
__device__ __forceinline__ R softplus_below(R x) {
    return log1p(exp(-fabs(x)));
}
// What division leaves, with the sign of the divisor. The remainder of the smallest number by -1 has no quotient.
template <class S>
__device__ __forceinline__ S rest(S a, S b) {
    if (b == 0 || b == -1) {
        return 0;
    }
    S left = a % b;
    return left != 0 && (left < 0) != (b < 0) ? left + b : left;
}

// The function `name` of `a` and `b`, which are of the type S; `value` calls the same without a sign U.
#define BINARY(name, type, T, S, Unsigned, value)                                                       \
    KERNEL binary_##name##_##type(const T* left, Layout at_left, const T* right, Layout at_right, T* to, u32 n) { \
        using U = Unsigned;                                                                             \
        for (EACH(i, n)) {                                                                              \
            S a = left[place(at_left, i)], b = right[place(at_right, i)];                               \
            to[i] = value;                                                                              \
        }                                                                                               \
    }
#define FLOATS(name, value)                             \
    BINARY(name, f32, float, float, float, value)       \
    BINARY(name, f64, double, double, double, value)
// Integers wrap around.
#define INTEGERS(name, value)                      \
    BINARY(name, i32, int, int, u32, value)        \
    BINARY(name, i64, i64, i64, u64, value)        \
    BINARY(name, u8, u8, int, u32, value)          \
    BINARY(name, bool, Truth, int, u32, value)

FLOATS(add, a + b)
FLOATS(sub, a - b)
FLOATS(mul, a * b)
FLOATS(div, a / b)
BINARY(pow, f32, float, float, float, pow(a, b))
BINARY(pow, f64, double, double, double, power(a, b))
FLOATS(maximum, a != a || a > b ? a : b)
FLOATS(minimum, a != a || a < b ? a : b)
FLOATS(atan2, atan2(a, b))
FLOATS(logistic_loss, fabs(a) * (a > 0 ? 1 - b : b) + softplus_below(a))
FLOATS(remainder, a - floor(a / b) * b)

INTEGERS(add, (U)a + (U)b)
INTEGERS(sub, (U)a - (U)b)
INTEGERS(mul, (U)a * (U)b)
INTEGERS(maximum, a > b ? a : b)
INTEGERS(minimum, a < b ? a : b)
INTEGERS(remainder, rest(a, b))

// Whether `a` and `b` compare so, as a byte of 0 or 1.
#define COMPARE_TYPE(name, type, T, S, holds)                                                                      \
    KERNEL compare_##name##_##type(const T* left, Layout at_left, const T* right, Layout at_right, u8* to, u32 n) { \
        for (EACH(i, n)) {                                                                                         \
            S a = left[place(at_left, i)], b = right[place(at_right, i)];                                          \
            to[i] = holds;                                                                                         \
        }                                                                                                          \
    }
#define COMPARE(name, holds)                             \
    COMPARE_TYPE(name, f32, float, float, holds)         \
    COMPARE_TYPE(name, f64, double, double, holds)       \
    COMPARE_TYPE(name, i32, int, int, holds)             \
    COMPARE_TYPE(name, i64, i64, i64, holds)             \
    COMPARE_TYPE(name, u8, u8, int, holds)               \
    COMPARE_TYPE(name, bool, Truth, int, holds)

COMPARE(eq, a == b)
COMPARE(ne, a != b)
COMPARE(lt, a < b)
COMPARE(le, a <= b)
COMPARE(gt, a > b)
COMPARE(ge, a >= b)

// `a` where the condition holds, else `b`, for each size of an element.
#define SELECT(bits, T)                                                                                                 \
    KERNEL select_##bits(const u8* condition, Layout at_condition, const T* left, Layout at_left, const T* right,       \
                         Layout at_right, T* to, u32 n) {                                                               \
        for (EACH(i, n)) {                                                                                              \
            to[i] = condition[place(at_condition, i)] != 0 ? left[place(at_left, i)] : right[place(at_right, i)];       \
        }                                                                                                               \
    }

SELECT(8, u8)
SELECT(16, u16)
SELECT(32, u32)
SELECT(64, u64)
