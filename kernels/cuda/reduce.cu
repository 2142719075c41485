// Many numbers to one: along rows, where a warp or a block takes a row, and along columns. The host lays the axes that vanish last
// (rows) or first (columns), and picks the kernel by the lengths. Names end in the type that is read.
//
// The order of every sum depends on the shape alone. Sums and products of single precision are kept in double precision until they are
// written, those of bytes and truth values in 64 bits; integers wrap around, which those without a sign do.
#include "common.h"

// What every `step`-th element from `first` on makes, in the type A.
template <class F, class A, class T>
__device__ __forceinline__ A part_of_row(const T* row, u32 end, u32 first, u32 step) {
    // Four partial results hide the latency of the additions.
    A part[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        part[k] = F::template none<A>();
    }
    u32 i = first;
    for (; i + 3 * step < end; i += 4 * step) {
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            part[k] = F::both(part[k], (A)row[i + k * step]);
        }
    }
    for (; i < end; i += step) {
        part[0] = F::both(part[0], (A)row[i]);
    }
    return F::both(F::both(part[0], part[1]), F::both(part[2], part[3]));
}

// A warp for each row.
template <class F, class A, class T, class R>
__device__ __forceinline__ void rows_warp(const T* x, R* y, u32 rows, u32 columns, A scale) {
    u32 row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (row < rows) {
        const T* here = x + (u64)row * columns;
        A all = over_warp<F>(part_of_row<F, A>(here, columns, threadIdx.x % 32, 32));
        if (threadIdx.x % 32 == 0) {
            y[row] = (R)(all * scale);
        }
    }
}

// Part `blockIdx.y` of the numbers from 0 to n, of as many as the grid has there.
__device__ __forceinline__ void part(u32 n, u32& first, u32& end) {
    first = (u32)((u64)n * blockIdx.y / gridDim.y);
    end = (u32)((u64)n * (blockIdx.y + 1) / gridDim.y);
}

// A block for each row, or for each part of a row: y is [rows, gridDim.y]. Few long rows are done in two launches, the second of which
// takes the results of the first as rows.
template <class F, class A, class T, class R>
__device__ __forceinline__ void rows_block(const T* x, R* y, u32 columns, A scale) {
    __shared__ A shared[32];
    u32 first, end;
    part(columns, first, end);
    A all = over_block<F>(part_of_row<F, A>(x + (u64)blockIdx.x * columns, end, first + threadIdx.x, blockDim.x), shared);
    if (threadIdx.x == 0) {
        y[blockIdx.x * gridDim.y + blockIdx.y] = (R)(all * scale);
    }
}

// Blocks of [width, height] threads take `width` columns; height is a power of 2, and there are at most 256 threads. A block takes
// all rows, or a part of them: y is [gridDim.y, columns], and where there are several parts, a second launch takes them as rows.
template <class F, class A, class T, class R>
__device__ __forceinline__ void columns_of(const T* x, R* y, u32 rows, u32 columns, A scale) {
    __shared__ A shared[256];
    u32 column = blockIdx.x * blockDim.x + threadIdx.x, first, end;
    part(rows, first, end);
    A all = F::template none<A>();
    if (column < columns) {
        for (u32 row = first + threadIdx.y; row < end; row += blockDim.y) {
            all = F::both(all, (A)x[(u64)row * columns + column]);
        }
    }
    u32 here = threadIdx.y * blockDim.x + threadIdx.x;
    shared[here] = all;
    for (u32 half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) {
            shared[here] = F::both(shared[here], shared[here + half * blockDim.x]);
        }
    }
    if (threadIdx.y == 0 && column < columns) {
        y[(u64)blockIdx.y * columns + column] = (R)(shared[here] * scale);
    }
}

// Results are multiplied with `scale`: 1, or one over the number of elements for a mean. Integers have none.
#define REDUCE_FLOATS(op, F, type, T, A)                                                                   \
    KERNEL reduce_rows_warp_##op##_##type(const T* x, T* y, u32 rows, u32 columns, T scale) {              \
        rows_warp<F, A>(x, y, rows, columns, scale);                                                       \
    }                                                                                                      \
    KERNEL reduce_rows_block_##op##_##type(const T* x, T* y, u32 columns, T scale) {                       \
        rows_block<F, A>(x, y, columns, scale);                                                            \
    }                                                                                                      \
    KERNEL reduce_columns_##op##_##type(const T* x, T* y, u32 rows, u32 columns, T scale) {                \
        columns_of<F, A>(x, y, rows, columns, scale);                                                      \
    }
#define REDUCE_INTEGERS(op, F, type, T, A, R)                                                              \
    KERNEL reduce_rows_warp_##op##_##type(const T* x, R* y, u32 rows, u32 columns) {                       \
        rows_warp<F, A>(x, y, rows, columns, A(1));                                                        \
    }                                                                                                      \
    KERNEL reduce_rows_block_##op##_##type(const T* x, R* y, u32 columns) {                                \
        rows_block<F, A>(x, y, columns, A(1));                                                             \
    }                                                                                                      \
    KERNEL reduce_columns_##op##_##type(const T* x, R* y, u32 rows, u32 columns) {                         \
        columns_of<F, A>(x, y, rows, columns, A(1));                                                       \
    }
#define REDUCE_SUMS(op, F)                               \
    REDUCE_FLOATS(op, F, f32, float, double)             \
    REDUCE_FLOATS(op, F, f64, double, double)            \
    REDUCE_INTEGERS(op, F, i32, u32, u32, u32)           \
    REDUCE_INTEGERS(op, F, i64, u64, u64, u64)           \
    REDUCE_INTEGERS(op, F, u8, u8, u64, u64)             \
    REDUCE_INTEGERS(op, F, bool, Truth, u64, u64)
// Bytes serve for truth values too.
#define REDUCE_ENDS(op, F)                               \
    REDUCE_FLOATS(op, F, f32, float, float)              \
    REDUCE_FLOATS(op, F, f64, double, double)            \
    REDUCE_INTEGERS(op, F, i32, int, int, int)           \
    REDUCE_INTEGERS(op, F, i64, i64, i64, i64)           \
    REDUCE_INTEGERS(op, F, u8, u8, int, u8)

REDUCE_SUMS(sum, Sum)
REDUCE_SUMS(prod, Product)
REDUCE_ENDS(max, Largest)
REDUCE_ENDS(min, Smallest)
