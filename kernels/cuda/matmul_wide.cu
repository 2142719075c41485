// Large products of matrices: the tiles of `matmul_128` for operands that may lie transposed, with all that `matmul_64` does with sums.
//
// Names end in how `a` and `b` lie: `n` by rows, whose columns have a stride of 1, `t` by columns, whose rows have. The other stride,
// those of a batch and `k` are multiples of 4, as are `n` and, for `a` by columns, `m`; arrays start at multiples of 16 bytes.
#include "common.h"

#define TILE 128
#define DEPTH 8

// An operand as lines along the sum, rows of `a` or columns of `b`. Where neighbours are of different lines (`ACROSS`), a thread brings
// four lines at one place, else four places of one line.
template <bool ACROSS>
struct Wide {
    const float* next;
    u32 stride;
    bool exists;

    // The next elements are those of the slice from `first` on.
    __device__ __forceinline__ Wide(const float* x, u32 lines, u32 stride, u32 start, u32 first) : stride(stride) {
        u32 line = start + (ACROSS ? threadIdx.x % 32 * 4 : threadIdx.x % TILE), at = first + place();
        next = x + (ACROSS ? (u64)at * stride + line : (u64)line * stride + at);
        exists = line < lines;
    }
    static __device__ __forceinline__ u32 place() {
        return ACROSS ? threadIdx.x / 32 : threadIdx.x / TILE * 4;
    }
    __device__ __forceinline__ float4 bring(u32 first, u32 end) {
        float4 four = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (exists && first + place() < end) {
            four = *(const float4*)next;
        }
        next += ACROSS ? (u64)DEPTH * stride : DEPTH;
        return four;
    }
    // Into a slice [DEPTH, TILE].
    __device__ __forceinline__ void keep(float* slice, float4 four) const {
        if (ACROSS) {
            *(float4*)&slice[place() * TILE + threadIdx.x % 32 * 4] = four;
        } else {
            float* at = &slice[place() * TILE + threadIdx.x % TILE];
            at[0] = four.x;
            at[TILE] = four.y;
            at[2 * TILE] = four.z;
            at[3 * TILE] = four.w;
        }
    }
};

template <bool ACROSS_A, bool ACROSS_B>
__device__ __forceinline__ void multiply(const float* a, const float* b, float* c, u32 m, u32 n, u32 k, const Strides& s, u32 parts,
                                         const Finish<float>& finish) {
    // Two slices of both operands, and at last a quarter of the sums.
    __shared__ __align__(16) float room[4 * DEPTH * TILE];
    u32 thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    // A warp computes 32 rows by 64 columns: 4 by 8 threads.
    u32 y = warp / 2 * 32 + lane / 8 * 8, x = warp % 2 * 64 + lane % 8 * 4;
    u32 top = blockIdx.y * TILE, start = blockIdx.x * TILE;
    Part part = part_of(k, parts, DEPTH);
    Wide<ACROSS_A> rows(a + part.batch * s.a_batch, m, ACROSS_A ? s.a_column : s.a_row, top, part.first);
    Wide<ACROSS_B> columns(b + part.batch * s.b_batch, n, ACROSS_B ? s.b_row : s.b_column, start, part.first);
    float sum[8][8] = {};
    float4 next_a = rows.bring(part.first, part.end), next_b = columns.bring(part.first, part.end);
    for (u32 first = part.first, now = 0; first < part.end; first += DEPTH, now ^= DEPTH * TILE) {
        float *left = room + now, *right = room + 2 * DEPTH * TILE + now;
        rows.keep(left, next_a);
        columns.keep(right, next_b);
        __syncthreads();
        next_a = rows.bring(first + DEPTH, part.end);
        next_b = columns.bring(first + DEPTH, part.end);
        const float4 *own_rows = (const float4*)&left[y], *own_columns = (const float4*)&right[x];
#pragma unroll
        for (int i = 0; i < DEPTH; ++i) {
            float row[8], column[8];
            *(float4*)&row[0] = own_rows[i * (TILE / 4)];
            *(float4*)&row[4] = own_rows[i * (TILE / 4) + 1];
            *(float4*)&column[0] = own_columns[i * (TILE / 4)];
            *(float4*)&column[4] = own_columns[i * (TILE / 4) + 8];
#pragma unroll
            for (u32 p = 0; p < 8; ++p) {
#pragma unroll
                for (u32 q = 0; q < 8; ++q) {
                    sum[p][q] = fmaf(row[p], column[q], sum[p][q]);
                }
            }
        }
    }
    // Through shared memory, 32 rows at a time: those of two warps, which all write then.
    c += (u64)blockIdx.z * m * n;
#pragma unroll 1
    for (u32 band = 0; band < 4; ++band) {
        __syncthreads();
        if (warp / 2 == band) {
#pragma unroll
            for (u32 p = 0; p < 8; ++p) {
                *(float4*)&room[(y % 32 + p) * TILE + x] = *(float4*)&sum[p][0];
                *(float4*)&room[(y % 32 + p) * TILE + x + 32] = *(float4*)&sum[p][4];
            }
        }
        __syncthreads();
        u32 column = start + lane * 4;
#pragma unroll 1
        for (u32 line = warp; line < 32; line += 8) {
            u32 row = top + band * 32 + line;
            if (row < m && column < n) {
                finish.write_four(&c[(u64)row * n + column], column, *(const float4*)&room[line * TILE + lane * 4]);
            }
        }
    }
}

// By blocks of 256 threads, a grid of [n / 128, m / 128, parts of all matrices], rounded up.
#define MULTIPLY(name, ACROSS_A, ACROSS_B)                                                                                         \
    KERNEL __launch_bounds__(256, 2) matmul_wide_##name(const float* __restrict__ a, const float* __restrict__ b, float* c,        \
                                                        const float* bias, u32 m, u32 n, u32 k, Strides s, u32 parts, float scale, \
                                                        u32 accumulate, u32 activation, float p) {                                 \
        multiply<ACROSS_A, ACROSS_B>(a, b, c, m, n, k, s, parts, {bias, scale, p, accumulate, activation});                        \
    }

MULTIPLY(nn, false, true)
MULTIPLY(nt, false, false)
MULTIPLY(tn, true, true)
