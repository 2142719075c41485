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
#define DEPTH 8

// Four neighbours of a row, or zeros outside of the matrix; columns are a multiple of 4.
__device__ __forceinline__ float4 four(const float* x, u32 row, u32 column, u32 rows, u32 columns) {
    if (row < rows && column < columns) {
        return *(const float4*)&x[(u64)row * columns + column];
    }
    return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

// 4. Tiles of 128 x 128, of which each of 256 threads computes 8 x 8 in registers: an element from shared memory serves 8 products.
// All accesses are 16 bytes wide, and the next slice of 8 is on its way while one is multiplied. `n` and `k` are multiples of 4.
KERNEL __launch_bounds__(256, 2) matmul_128(const float* __restrict__ a, const float* __restrict__ b,
                                            float* __restrict__ c, u32 m, u32 n, u32 k) {
    // `a` stands transposed, so that a thread's 8 rows are neighbours.
    __shared__ __align__(16) float left[2][DEPTH][TILE], right[2][DEPTH][TILE];
    u32 thread = threadIdx.x;
    // A warp computes 32 rows by 64 columns: 4 by 8 threads, so that the lanes of a quarter read neighbouring words.
    u32 lane = thread % 32, warp = thread / 32;
    u32 y = warp / 2 * 32 + lane / 8 * 8, x = warp % 2 * 64 + lane % 8 * 4;
    u32 top = blockIdx.y * TILE, start = blockIdx.x * TILE;
    a += (u64)blockIdx.z * m * k, b += (u64)blockIdx.z * k * n, c += (u64)blockIdx.z * m * n;
    // Which four elements this thread brings: rows of `a` are 8 long, so that 128 of them take two threads each.
    u32 a_row = thread % TILE, a_column = thread / TILE * 4, b_row = thread / 32, b_column = thread % 32 * 4;
    float sum[8][8] = {};
    float4 next_a = four(a, top + a_row, a_column, m, k), next_b = four(b, b_row, start + b_column, k, n);
    for (u32 first = 0, now = 0; first < k; first += DEPTH, now ^= 1) {
        left[now][a_column][a_row] = next_a.x;
        left[now][a_column + 1][a_row] = next_a.y;
        left[now][a_column + 2][a_row] = next_a.z;
        left[now][a_column + 3][a_row] = next_a.w;
        *(float4*)&right[now][b_row][b_column] = next_b;
        __syncthreads();
        next_a = four(a, top + a_row, first + DEPTH + a_column, m, k);
        next_b = four(b, first + DEPTH + b_row, start + b_column, k, n);
#pragma unroll
        for (u32 i = 0; i < DEPTH; ++i) {
            float row[8], column[8];
            *(float4*)&row[0] = *(float4*)&left[now][i][y];
            *(float4*)&row[4] = *(float4*)&left[now][i][y + 4];
            *(float4*)&column[0] = *(float4*)&right[now][i][x];
            *(float4*)&column[4] = *(float4*)&right[now][i][x + 32];
#pragma unroll
            for (u32 p = 0; p < 8; ++p) {
#pragma unroll
                for (u32 q = 0; q < 8; ++q) {
                    sum[p][q] = fmaf(row[p], column[q], sum[p][q]);
                }
            }
        }
        // No second barrier: the next slice goes to the other half, which all have left before the barrier above.
    }
#pragma unroll
    for (u32 p = 0; p < 8; ++p) {
        u32 row = top + y + p;
#pragma unroll
        for (u32 q = 0; q < 8; q += 4) {
            u32 column = start + x + q * 8;
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
