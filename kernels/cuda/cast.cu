// Conversions between all types, of the elements of a view in row-major order.
//
// Floats are rounded once, to the nearest and halves to even; to integers they lose what is behind the point. Integers are limited to
// the type, and NaN becomes 0. A truth value is whether something is not 0.
#include "common.h"

// How the types without arithmetic lie in memory.
struct Half {
    u16 bits;
};
struct Brain {
    u16 bits;
};

// The value as a type with arithmetic.
template <class T>
__device__ __forceinline__ T value(T x) {
    return x;
}
__device__ __forceinline__ int value(u8 x) {
    return x;
}
__device__ __forceinline__ int value(Truth x) {
    return x;
}
__device__ __forceinline__ float value(Brain x) {
    return __uint_as_float((u32)x.bits << 16);
}
__device__ __forceinline__ float value(Half x) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
    return wide;
}

// In single precision, rounded to odd: where that is not exact, the last bit is set. It then tells on which side of a middle the
// number was, and rounding it once more gives what rounding the number once would have.
__device__ __forceinline__ float odd(double x) {
    float near = (float)x;
    u32 bits = __float_as_uint(near);
    if ((double)near == x || x != x || (bits & 0x7f800000) == 0x7f800000) {
        return near;
    }
    return __uint_as_float((bits - (fabs((double)near) > fabs(x))) | 1);
}
__device__ __forceinline__ float odd(float x) {
    return x;
}
__device__ __forceinline__ float odd(int x) {
    return odd((double)x);
}
__device__ __forceinline__ float odd(i64 x) {
    return odd((double)x);
}

__device__ __forceinline__ i64 whole(float x) {
    return x != x ? 0 : __float2ll_rz(x);
}
__device__ __forceinline__ i64 whole(double x) {
    return x != x ? 0 : __double2ll_rz(x);
}
__device__ __forceinline__ i64 whole(int x) {
    return x;
}
__device__ __forceinline__ i64 whole(i64 x) {
    return x;
}
__device__ __forceinline__ i64 within(i64 x, i64 low, i64 high) {
    return x < low ? low : x > high ? high : x;
}

template <class V>
__device__ __forceinline__ void put(float& to, V x) {
    to = (float)x;
}
template <class V>
__device__ __forceinline__ void put(double& to, V x) {
    to = (double)x;
}
template <class V>
__device__ __forceinline__ void put(i64& to, V x) {
    to = whole(x);
}
template <class V>
__device__ __forceinline__ void put(int& to, V x) {
    to = (int)within(whole(x), -2147483648ll, 2147483647ll);
}
template <class V>
__device__ __forceinline__ void put(u8& to, V x) {
    to = (u8)within(whole(x), 0, 255);
}
template <class V>
__device__ __forceinline__ void put(Truth& to, V x) {
    to.byte = x != (V)0;
}
template <class V>
__device__ __forceinline__ void put(Brain& to, V x) {
    float near = odd(x);
    u32 bits = __float_as_uint(near);
    to.bits = near != near ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
template <class V>
__device__ __forceinline__ void put(Half& to, V x) {
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to.bits) : "f"(odd(x)));
}

#define CAST(from_name, From, to_name, To)                                              \
    KERNEL cast_##from_name##_##to_name(const From* from, Layout at, To* to, u32 n) {   \
        for (EACH(i, n)) {                                                              \
            put(to[i], value(from[place(at, i)]));                                      \
        }                                                                               \
    }

#define CAST_FROM(name, From)       \
    CAST(name, From, f32, float)    \
    CAST(name, From, f64, double)   \
    CAST(name, From, f16, Half)     \
    CAST(name, From, bf16, Brain)   \
    CAST(name, From, i32, int)      \
    CAST(name, From, i64, i64)      \
    CAST(name, From, u8, u8)        \
    CAST(name, From, bool, Truth)

CAST_FROM(f32, float)
CAST_FROM(f64, double)
CAST_FROM(f16, Half)
CAST_FROM(bf16, Brain)
CAST_FROM(i32, int)
CAST_FROM(i64, i64)
CAST_FROM(u8, u8)
CAST_FROM(bool, Truth)
