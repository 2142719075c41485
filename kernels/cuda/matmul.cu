// Products of matrices in single precision, `c = a b` with `a` [m, k], `b` [k, n] and `c` [m, n], all in row-major order without gaps.
//
// Four versions of the same product, each faster than the one before; docs/cuda.md walks through them. `grid.z` counts the
// products of a batch.
#include "common.h"

// 1. A thread for each element of `c`, the threads of a warp below one another: each reads another row of `a`.
KERNEL matmul_naive(const float* a, const float* b, float* c, u32 m, u32 n, u32 k) {
    u32 row = blockIdx.x * blockDim.x + threadIdx.x, column = blockIdx.y * blockDim.y + threadIdx.y;
    a += (u64)blockIdx.z * m * k, b += (u64)blockIdx.z * k * n, c += (u64)blockIdx.z * m * n;
    if (row < m && column < n) {
        float sum = 0.0f;
        for (u32 i = 0; i < k; ++i) {
            sum = fmaf(a[(u64)row * k + i], b[(u64)i * n + column], sum);
        }
        c[(u64)row * n + column] = sum;
    }
}

// 2. The same with the threads of a warp beside one another: they read and write whole sectors.
KERNEL matmul_coalesced(const float* a, const float* b, float* c, u32 m, u32 n, u32 k) {
    u32 column = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
    a += (u64)blockIdx.z * m * k, b += (u64)blockIdx.z * k * n, c += (u64)blockIdx.z * m * n;
    if (row < m && column < n) {
        float sum = 0.0f;
        for (u32 i = 0; i < k; ++i) {
            sum = fmaf(a[(u64)row * k + i], b[(u64)i * n + column], sum);
        }
        c[(u64)row * n + column] = sum;
    }
}

// 3. Tiles of 32 x 32 in shared memory: each element is loaded once for 32 uses. Blocks have 32 x 32 threads.
KERNEL matmul_tiled(const float* a, const float* b, float* c, u32 m, u32 n, u32 k) {
    __shared__ float left[32][32], right[32][32];
    u32 x = threadIdx.x, y = threadIdx.y;
    u32 column = blockIdx.x * 32 + x, row = blockIdx.y * 32 + y;
    a += (u64)blockIdx.z * m * k, b += (u64)blockIdx.z * k * n, c += (u64)blockIdx.z * m * n;
    float sum = 0.0f;
    for (u32 first = 0; first < k; first += 32) {
        left[y][x] = row < m && first + x < k ? a[(u64)row * k + first + x] : 0.0f;
        right[y][x] = column < n && first + y < k ? b[(u64)(first + y) * n + column] : 0.0f;
        __syncthreads();
#pragma unroll
        for (u32 i = 0; i < 32; ++i) {
            sum = fmaf(left[y][i], right[i][x], sum);
        }
        __syncthreads();
    }
    if (row < m && column < n) {
        c[(u64)row * n + column] = sum;
    }
}

#define TILE 128
#define HALF 8
#define DEPTH (2 * HALF)

// Four neighbours, or zeros.
__device__ __forceinline__ float4 four(const float* x, bool exist) {
    return exist ? *(const float4*)x : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

// 4. Tiles of 128 x 128, of which each of 256 threads computes 8 x 8 in registers: an element from shared memory serves 8 products.
// All accesses are 16 bytes wide, and half of the next slice of 16 is on its way while half of this one is multiplied. `n` and `k` are
// multiples of 4.
//
// The loop is written for few instructions beside the products: pointers that advance in place of addresses that are computed anew,
// places in shared memory that change sides with one exclusive or, and nothing kept through it that can be found again after it.
KERNEL __launch_bounds__(256, 2) matmul_128(const float* __restrict__ a, const float* __restrict__ b,
                                            float* __restrict__ c, u32 m, u32 n, u32 k) {
    // Two sides, of which one is filled while the other is multiplied. Each has a slice of `a`, transposed so that a thread's 8 rows
    // are neighbours, and below it one of `b`.
    __shared__ __align__(16) float slices[2 * 2 * DEPTH * TILE];
    const int OTHER = 2 * DEPTH * TILE;
    u32 thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    // A warp computes 32 rows by 64 columns: 4 by 8 threads, so that the lanes of a quarter read neighbouring words.
    int own_rows = warp / 2 * 32 + lane / 8 * 8, own_columns = DEPTH * TILE + warp % 2 * 64 + lane % 8 * 4;
    // Which four elements of half a slice this thread brings: rows of `a` are 8 long there, so that 128 of them take two threads each.
    u32 a_row = thread % TILE, a_place = thread / TILE * 4, b_place = thread / 32, b_column = thread % 32 * 4;
    int to_a = a_place * TILE + a_row, to_b = (DEPTH + b_place) * TILE + b_column;
    // What lies beyond the last row or column may be anything, since it is not written: the last stands in for it.
    a += ((u64)blockIdx.z * m + min(blockIdx.y * TILE + a_row, m - 1)) * k + a_place;
    b += ((u64)blockIdx.z * k + b_place) * n + min(blockIdx.x * TILE + b_column, n - 4);
    int left_a = (int)k - (int)a_place, left_b = (int)k - (int)b_place;
    u64 b_step = (u64)HALF * n;
    float4 next_a, next_b;
    // What lies beyond the sum has to be zero.
    auto bring = [&]() {
        next_a = four(a, left_a > 0), next_b = four(b, left_b > 0);
        a += HALF, b += b_step, left_a -= HALF, left_b -= HALF;
    };
    auto keep = [&](int half) {
        slices[to_a + half * TILE] = next_a.x;
        slices[to_a + (half + 1) * TILE] = next_a.y;
        slices[to_a + (half + 2) * TILE] = next_a.z;
        slices[to_a + (half + 3) * TILE] = next_a.w;
        *(float4*)&slices[to_b + half * TILE] = next_b;
    };
    float sum[8][8] = {};
#pragma unroll
    for (int half = 0; half < DEPTH; half += HALF) {
        bring();
        keep(half);
    }
    for (u32 first = 0; first < k; first += DEPTH) {
        // One barrier is enough: before it, all have filled this side, and all have left the other.
        __syncthreads();
        to_a ^= OTHER, to_b ^= OTHER;
#pragma unroll
        for (int half = 0; half < DEPTH; half += HALF) {
            bring();
#pragma unroll
            for (int i = half; i < half + HALF; ++i) {
                float row[8], column[8];
                *(float4*)&row[0] = *(float4*)&slices[own_rows + i * TILE];
                *(float4*)&row[4] = *(float4*)&slices[own_rows + i * TILE + 4];
                *(float4*)&column[0] = *(float4*)&slices[own_columns + i * TILE];
                *(float4*)&column[4] = *(float4*)&slices[own_columns + i * TILE + 32];
#pragma unroll
                for (u32 p = 0; p < 8; ++p) {
#pragma unroll
                    for (u32 q = 0; q < 8; ++q) {
                        sum[p][q] = fmaf(row[p], column[q], sum[p][q]);
                    }
                }
            }
            keep(half);
        }
        own_rows ^= OTHER, own_columns ^= OTHER;
    }
    c += (u64)blockIdx.z * m * n;
#pragma unroll
    for (u32 p = 0; p < 8; ++p) {
        u32 row = blockIdx.y * TILE + own_rows % TILE + p;
#pragma unroll
        for (u32 q = 0; q < 8; q += 4) {
            u32 column = blockIdx.x * TILE + own_columns % TILE + q * 8;
            if (row < m && column < n) {
                *(float4*)&c[(u64)row * n + column] = make_float4(sum[p][q], sum[p][q + 1], sum[p][q + 2], sum[p][q + 3]);
            }
        }
    }
}

// Adds a row to every row unless it is null, and puts the sum through an activation of `common.h`.
KERNEL bias_activation(float* y, const float* bias, u32 n, u32 columns, u32 activation, float p) {
    for (EACH(i, n)) {
        y[i] = activate(activation, p, y[i] + (bias ? bias[i % columns] : 0.0f));
    }
}
