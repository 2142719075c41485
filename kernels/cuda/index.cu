// Elements and slices by index. The host checks indices; the kernels trust them.
#include "common.h"

// y[o, j, i] = x[o, index[j], i] for x [outer, size, inner] and y [outer, count, inner]
KERNEL index_select(const float* x, const i64* index, float* y, u32 n, u32 size, u32 count, u32 inner) {
    for (EACH(at, n)) {
        u32 i = at % inner, j = at / inner % count, o = at / inner / count;
        y[at] = x[((u64)o * size + index[j]) * inner + i];
    }
}

// y[o, index[j], i] += source[o, j, i], in the order of j: a thread takes all that falls on its line of y. The same each time.
KERNEL index_add(const i64* index, const float* source, float* y, u32 n, u32 size, u32 count, u32 inner) {
    for (EACH(at, n)) {
        u32 i = at % inner, o = at / inner;
        for (u32 j = 0; j < count; ++j) {
            y[((u64)o * size + index[j]) * inner + i] += source[((u64)o * count + j) * inner + i];
        }
    }
}

// The same by atomics: faster where few indices repeat, and in another order each time.
KERNEL index_add_atomic(const i64* index, const float* source, float* y, u32 n, u32 size, u32 count, u32 inner) {
    for (EACH(at, n)) {
        u32 i = at % inner, j = at / inner % count, o = at / inner / count;
        atomicAdd(&y[((u64)o * size + index[j]) * inner + i], source[at]);
    }
}

// y[o, j, i] = x[o, index[o, j, i], i]
KERNEL gather(const float* x, const i64* index, float* y, u32 n, u32 size, u32 count, u32 inner) {
    for (EACH(at, n)) {
        u32 i = at % inner, o = at / inner / count;
        y[at] = x[((u64)o * size + index[at]) * inner + i];
    }
}

// y[o, index[o, j, i], i] += source[o, j, i], in the order of j.
KERNEL scatter_add(const i64* index, const float* source, float* y, u32 n, u32 size, u32 count, u32 inner) {
    for (EACH(at, n)) {
        u32 i = at % inner, o = at / inner;
        for (u32 j = 0; j < count; ++j) {
            u64 from = ((u64)o * count + j) * inner + i;
            y[((u64)o * size + index[from]) * inner + i] += source[from];
        }
    }
}
