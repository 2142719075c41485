// Copies through strides, constants, and conversions between types.
#include "common.h"

// The elements of a view in row-major order, for each size of an element.
#define COPY(bits, T)                                             \
    KERNEL copy_##bits(const T* from, Layout at, T* to, u32 n) {  \
        for (EACH(i, n)) {                                        \
            to[i] = from[place(at, i)];                           \
        }                                                         \
    }                                                             \
    KERNEL copy_into_##bits(const T* from, T* to, Layout at, u32 n) { \
        for (EACH(i, n)) {                                        \
            to[place(at, i)] = from[i];                           \
        }                                                         \
    }                                                             \
    KERNEL fill_##bits(T* to, T value, u32 n) {                   \
        for (EACH(i, n)) {                                        \
            to[i] = value;                                        \
        }                                                         \
    }

COPY(8, u8)
COPY(16, u16)
COPY(32, u32)
COPY(64, u64)

__device__ __forceinline__ float from_bf16(u16 bits) {
    return __uint_as_float((u32)bits << 16);
}
// Rounded to the nearest, halves to even.
__device__ __forceinline__ u16 to_bf16(float x) {
    u32 bits = __float_as_uint(x);
    return x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
__device__ __forceinline__ float from_f16(u16 bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
__device__ __forceinline__ u16 to_f16(float x) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
// Towards 0 and limited to the type; NaN becomes 0.
__device__ __forceinline__ i64 to_i64(float x) {
    return x != x ? 0 : __float2ll_rz(x);
}

__device__ __forceinline__ u32 to_u8(float x) {
    u32 whole = __float2uint_rz(x);
    return whole > 255 ? 255 : whole;
}

#define CAST(name, From, To, value)                              \
    KERNEL cast_##name(const From* from, To* to, u32 n) {        \
        for (EACH(i, n)) {                                       \
            From x = from[i];                                    \
            to[i] = value;                                       \
        }                                                        \
    }

CAST(f32_bf16, float, u16, to_bf16(x))
CAST(bf16_f32, u16, float, from_bf16(x))
CAST(f32_f16, float, u16, to_f16(x))
CAST(f16_f32, u16, float, from_f16(x))
CAST(f32_f64, float, double, (double)x)
CAST(f64_f32, double, float, (float)x)
CAST(f32_i32, float, int, __float2int_rz(x))
CAST(i32_f32, int, float, (float)x)
CAST(f32_i64, float, i64, to_i64(x))
CAST(i64_f32, i64, float, (float)x)
CAST(i32_i64, int, i64, (i64)x)
CAST(f32_u8, float, u8, to_u8(x))
CAST(u8_f32, u8, float, (float)x)
CAST(f32_bool, float, u8, x != 0.0f)
CAST(bool_f32, u8, float, x != 0 ? 1.0f : 0.0f)
