// Products of matrices of any sizes and strides: what the backend launches where the tiles of `matmul.cu` do not fit. `c` is row-major
// without gaps, `a` and `b` are read through strides, so that transposed operands need no copy. See `Finish` in `common.h` for what is
// done with sums before they are written.
#include "common.h"

// Tiles of 64 x 64 by blocks of 256 threads.
KERNEL __launch_bounds__(256, 3) matmul_64(const float* a, const float* b, float* c, const float* bias, u32 m, u32 n, u32 k,
                                        Strides s, u32 parts, float scale, u32 accumulate, u32 activation, float p) {
    Part part = part_of(k, parts, SLICE);
    u32 top = blockIdx.y * TILE_64, start = blockIdx.x * TILE_64;
    Side rows(a + part.batch * s.a_batch, s.a_row, s.a_column, m, top, part.first);
    Side columns(b + part.batch * s.b_batch, s.b_column, s.b_row, n, start, part.first);
    Finish<float> finish = {bias, scale, p, accumulate, activation};
    tile_product(rows, columns, part.first, part.end, c + (u64)blockIdx.z * m * n, m, n, top, start, finish);
}

// The most rows of `a`, and the threads of a block for them: 32 columns, and 8 shares of each sum.
#define FEW 16
#define SHARES 8

// The same for up to 16 rows of `a`, where all work is to read `b` once: a thread keeps the sums of a column for all rows, over every
// eighth element. Blocks of 32 x 8 threads take 32 columns.
KERNEL __launch_bounds__(32 * SHARES) matmul_few(const float* a, const float* b, float* c, const float* bias, u32 m, u32 n, u32 k,
                                                 Strides s, u32 parts, float scale, u32 accumulate, u32 activation, float p) {
    __shared__ float shared[SHARES][FEW][32];
    Part part = part_of(k, parts, SHARES);
    u32 column = blockIdx.x * 32 + threadIdx.x;
    a += part.batch * s.a_batch, b += part.batch * s.b_batch;
    float sum[FEW] = {};
    for (u32 i = part.first + threadIdx.y; column < n && i < part.end; i += SHARES) {
        float weight = b[(i64)i * s.b_row + (i64)column * s.b_column];
#pragma unroll
        for (u32 row = 0; row < FEW; ++row) {
            if (row < m) {
                sum[row] = fmaf(a[(i64)row * s.a_row + (i64)i * s.a_column], weight, sum[row]);
            }
        }
    }
    // The shares of each sum are added in order: a warp does every eighth row.
#pragma unroll
    for (u32 row = 0; row < FEW; ++row) {
        shared[threadIdx.y][row][threadIdx.x] = sum[row];
    }
    __syncthreads();
    Finish<float> finish = {bias, scale, p, accumulate, activation};
    c += (u64)blockIdx.z * m * n;
#pragma unroll 1
    for (u32 row = threadIdx.y; column < n && row < m; row += SHARES) {
        float all = 0.0f;
#pragma unroll
        for (u32 share = 0; share < SHARES; ++share) {
            all += shared[share][row][threadIdx.x];
        }
        finish.write(c, (u64)row * n + column, column, all);
    }
}

// c = the sum of the parts [batch, parts, m n], in order. `size` is m n and `count` is batch m n.
KERNEL matmul_join(const float* partial, float* c, const float* bias, u32 count, u32 size, u32 columns, u32 parts, float scale,
                   u32 accumulate, u32 activation, float p) {
    Finish<float> finish = {bias, scale, p, accumulate, activation};
    for (EACH(i, count)) {
        const float* here = partial + (u64)(i / size) * parts * size + i % size;
        float sum = 0.0f;
        for (u32 part = 0; part < parts; ++part) {
            sum += here[(u64)part * size];
        }
        finish.write(c, i, i % columns, sum);
    }
}

// Double precision, with tiles of 16 x 16: blocks of 16 x 16 threads, one element each.
KERNEL matmul_f64(const double* a, const double* b, double* c, const double* bias, u32 m, u32 n, u32 k, Strides s, double scale,
                  u32 accumulate, u32 activation, double p) {
    __shared__ double left[16][16], right[16][17];
    u32 x = threadIdx.x, y = threadIdx.y;
    u32 column = blockIdx.x * 16 + x, row = blockIdx.y * 16 + y;
    a += blockIdx.z * s.a_batch, b += blockIdx.z * s.b_batch, c += (u64)blockIdx.z * m * n;
    double sum = 0.0;
    for (u32 first = 0; first < k; first += 16) {
        left[y][x] = row < m && first + x < k ? a[(i64)row * s.a_row + (i64)(first + x) * s.a_column] : 0.0;
        right[y][x] = column < n && first + y < k ? b[(i64)(first + y) * s.b_row + (i64)column * s.b_column] : 0.0;
        __syncthreads();
#pragma unroll
        for (u32 i = 0; i < 16; ++i) {
            sum = fma(left[y][i], right[i][x], sum);
        }
        __syncthreads();
    }
    Finish<double> finish = {bias, scale, p, accumulate, activation};
    if (row < m && column < n) {
        finish.write(c, (u64)row * n + column, column, sum);
    }
}
