// Elements and slices by index.
//
// x is [outer, size, inner], y and the indices are as each function says; names of kernels end in the type (or the size, where
// nothing is computed) of an element and in the type of an index. An index outside of 0..size goes to `bad`, see `common.h`; the
// element that it stands for is 0, or is not added. Sums are made in the order of the indices, the same each time.
#include "common.h"

// y[o, j, i] = x[o, index[j], i] for y [outer, count, inner]
template <class T, class I>
__device__ __forceinline__ void index_select(const T* x, const I* index, T* y, u32 n, u32 size, u32 count, u32 inner, u64* bad) {
    for (EACH(at, n)) {
        u32 i = at % inner, j = at / inner % count, o = at / inner / count;
        I from = index[j];
        y[at] = inside(from, size, j, bad) ? x[((u64)o * size + from) * inner + i] : T(0);
    }
}

// y[o, j, i] = x[o, index[o, j, i], i] for y [outer, count, inner]
template <class T, class I>
__device__ __forceinline__ void gather(const T* x, const I* index, T* y, u32 n, u32 size, u32 count, u32 inner, u64* bad) {
    for (EACH(at, n)) {
        u32 i = at % inner, o = at / inner / count;
        I from = index[at];
        y[at] = inside(from, size, at, bad) ? x[((u64)o * size + from) * inner + i] : T(0);
    }
}

// The slices of y that the blocks at this place of the grid's second axis add to. Where there are few lines, many parts fill the GPU.
__device__ __forceinline__ void part(u32 size, u32& first, u32& end) {
    first = (u32)((u64)size * blockIdx.y / gridDim.y);
    end = (u32)((u64)size * (blockIdx.y + 1) / gridDim.y);
}

// y[o, index[j], i] += source[o, j, i] in the order of j, for y [outer, size, inner] and n = outer * inner. A thread takes what falls
// on its line of y and in its part.
template <class T, class I>
__device__ __forceinline__ void index_add(const I* index, const T* source, T* y, u32 n, u32 size, u32 count, u32 inner, u64* bad) {
    u32 first, end;
    part(size, first, end);
    for (EACH(at, n)) {
        u32 i = at % inner, o = at / inner;
        for (u32 j = 0; j < count; ++j) {
            I to = index[j];
            if (inside(to, size, j, bad) && to >= first && to < end) {
                y[((u64)o * size + to) * inner + i] += source[((u64)o * count + j) * inner + i];
            }
        }
    }
}

// The same by atomics: faster where few indices repeat, and in another order each time.
template <class T, class I>
__device__ __forceinline__ void index_add_atomic(const I* index, const T* source, T* y, u32 n, u32 size, u32 count, u32 inner,
                                                 u64* bad) {
    for (EACH(at, n)) {
        u32 i = at % inner, j = at / inner % count, o = at / inner / count;
        I to = index[j];
        if (inside(to, size, j, bad)) {
            atomicAdd(&y[((u64)o * size + to) * inner + i], source[at]);
        }
    }
}

// y[o, index[o, j, i], i] += source[o, j, i] in the order of j, by lines and parts as above.
template <class T, class I>
__device__ __forceinline__ void scatter_add(const I* index, const T* source, T* y, u32 n, u32 size, u32 count, u32 inner, u64* bad) {
    u32 first, end;
    part(size, first, end);
    for (EACH(at, n)) {
        u32 i = at % inner, o = at / inner;
        for (u32 j = 0; j < count; ++j) {
            u64 from = ((u64)o * count + j) * inner + i;
            I to = index[from];
            if (inside(to, size, from, bad) && to >= first && to < end) {
                y[((u64)o * size + to) * inner + i] += source[from];
            }
        }
    }
}

// x, index and y for what reads; index, source and y for what adds.
#define READ(what, bits, T, type, I)                                                                                            \
    KERNEL what##_##bits##_##type(const T* x, const I* index, T* y, u32 n, u32 size, u32 count, u32 inner, u64* bad) {          \
        what(x, index, y, n, size, count, inner, bad);                                                                          \
    }
#define ADD(what, name, T, type, I)                                                                                             \
    KERNEL what##_##name##_##type(const I* index, const T* source, T* y, u32 n, u32 size, u32 count, u32 inner, u64* bad) {     \
        what(index, source, y, n, size, count, inner, bad);                                                                     \
    }
#define READS(what, type, I)      \
    READ(what, 8, u8, type, I)    \
    READ(what, 16, u16, type, I)  \
    READ(what, 32, u32, type, I)  \
    READ(what, 64, u64, type, I)
// Integers wrap around, which those without a sign do.
#define ADDS(what, type, I)         \
    ADD(what, f32, float, type, I)  \
    ADD(what, f64, double, type, I) \
    ADD(what, i32, u32, type, I)    \
    ADD(what, i64, u64, type, I)

READS(index_select, i32, int)
READS(index_select, i64, i64)
READS(gather, i32, int)
READS(gather, i64, i64)
ADDS(index_add, i32, int)
ADDS(index_add, i64, i64)
ADDS(scatter_add, i32, int)
ADDS(scatter_add, i64, i64)
ADD(index_add_atomic, f32, float, i32, int)
ADD(index_add_atomic, f32, float, i64, i64)
