// Many numbers to one: along rows, where a warp or a block takes a row, and along columns, where a thread takes a column.
//
// The host lays the axes that vanish last (rows) or first (columns), and picks the kernel by the length of a row. The order of
// every sum depends on the shape alone.
#include "common.h"

template <class F>
__device__ __forceinline__ float part_of_row(const float* row, u32 columns, u32 first, u32 step) {
    // Four partial results hide the latency of the additions.
    float part[4] = {F::none(), F::none(), F::none(), F::none()};
    u32 i = first;
    for (; i + 3 * step < columns; i += 4 * step) {
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            part[k] = F::both(part[k], row[i + k * step]);
        }
    }
    for (; i < columns; i += step) {
        part[0] = F::both(part[0], row[i]);
    }
    return F::both(F::both(part[0], part[1]), F::both(part[2], part[3]));
}

// The result is multiplied with `scale`: 1, or one over the number of elements for a mean.
#define REDUCE(name, F)                                                                            \
    KERNEL reduce_rows_warp_##name(const float* x, float* y, u32 rows, u32 columns, float scale) { \
        u32 row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;                               \
        if (row < rows) {                                                                          \
            const float* here = x + (u64)row * columns;                                            \
            float all = over_warp<F>(part_of_row<F>(here, columns, threadIdx.x % 32, 32));         \
            if (threadIdx.x % 32 == 0) {                                                           \
                y[row] = all * scale;                                                              \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    KERNEL reduce_rows_block_##name(const float* x, float* y, u32 columns, float scale) {          \
        __shared__ float shared[32];                                                               \
        const float* here = x + (u64)blockIdx.x * columns;                                         \
        float all = over_block<F>(part_of_row<F>(here, columns, threadIdx.x, blockDim.x), shared); \
        if (threadIdx.x == 0) {                                                                    \
            y[blockIdx.x] = all * scale;                                                           \
        }                                                                                          \
    }                                                                                              \
    KERNEL reduce_columns_##name(const float* x, float* y, u32 rows, u32 columns, float scale) {   \
        for (EACH(column, columns)) {                                                              \
            float all = F::none();                                                                 \
            for (u32 row = 0; row < rows; ++row) {                                                 \
                all = F::both(all, x[(u64)row * columns + column]);                                \
            }                                                                                      \
            y[column] = all * scale;                                                               \
        }                                                                                          \
    }

REDUCE(sum, Sum)
REDUCE(prod, Product)
REDUCE(max, Largest)
REDUCE(min, Smallest)

// The place of the largest (`sign` = 1) or smallest (-1) of each row; the first of equals, and NaN before all.
KERNEL arg_rows(const float* x, i64* y, u32 rows, u32 columns, float sign) {
    u32 row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) {
        return;
    }
    const float* here = x + (u64)row * columns;
    float best = -INFINITY;
    u32 at = ALL_LANES;
    for (u32 i = lane; i < columns; i += 32) {
        float value = here[i] * sign;
        if (at == ALL_LANES || value > best || (value != value && best == best)) {
            best = value;
            at = i;
        }
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        float other = __shfl_xor_sync(ALL_LANES, best, distance);
        u32 other_at = __shfl_xor_sync(ALL_LANES, at, distance);
        bool same = other == best || (other != other && best != best);
        bool better = other_at != ALL_LANES && (at == ALL_LANES || other > best || (other != other && best == best));
        if (same ? other_at < at : better) {
            best = other;
            at = other_at;
        }
    }
    if (lane == 0) {
        y[row] = at;
    }
}

// Running sums along each row, 32 elements of a row at a time.
KERNEL cumsum_rows(const float* x, float* y, u32 rows, u32 columns) {
    u32 row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) {
        return;
    }
    const float* from = x + (u64)row * columns;
    float* to = y + (u64)row * columns;
    float before = 0.0f;
    for (u32 first = 0; first < columns; first += 32) {
        u32 i = first + lane;
        float sum = i < columns ? from[i] : 0.0f;
#pragma unroll
        for (int distance = 1; distance < 32; distance *= 2) {
            float left = __shfl_up_sync(ALL_LANES, sum, distance);
            if (lane >= distance) {
                sum += left;
            }
        }
        sum += before;
        if (i < columns) {
            to[i] = sum;
        }
        before = __shfl_sync(ALL_LANES, sum, 31);
    }
}
