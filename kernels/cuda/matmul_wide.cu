// Large products of matrices: the tiles of `matmul_128` for operands that may lie transposed, with all that `matmul_64` does with sums.
//
// Names end in how `a` and `b` lie: `n` by rows, whose columns have a stride of 1, `t` by columns, whose rows have. The other stride,
// those of a batch and `k` are multiples of 4, as are `n` and, for `a` by columns, `m`; arrays start at multiples of 16 bytes.
#include "common.h"

#define TILE 128
#define HALF 8
#define DEPTH (2 * HALF)

// An operand as lines along the sum, rows of `a` or columns of `b`. Where neighbours are of different lines (`ACROSS`), a thread brings
// four lines at one place, else four places of one line.
template <bool ACROSS>
struct Wide {
    const float* next;
    u64 step;
    // How many places of the sum are left, from the thread's own on, and where in shared memory its elements go.
    int left, to;

    // The next elements are those of the slice from `first` on, and go to a slice [DEPTH, TILE]. What lies beyond the last line may be
    // anything, since it is not written: the last stands in for it.
    __device__ __forceinline__ Wide(const float* x, u32 lines, u32 stride, u32 start, u32 first, u32 end, int slice) {
        u32 place = ACROSS ? threadIdx.x / 32 : threadIdx.x / TILE * 4;
        u32 line = ACROSS ? threadIdx.x % 32 * 4 : threadIdx.x % TILE;
        u32 from = min(start + line, lines - (ACROSS ? 4 : 1)), at = first + place;
        next = x + (ACROSS ? (u64)at * stride + from : (u64)from * stride + at);
        step = ACROSS ? (u64)HALF * stride : HALF;
        left = (int)end - (int)at;
        to = slice + place * TILE + line;
    }
    // What lies beyond the sum has to be zero.
    __device__ __forceinline__ float4 bring() {
        float4 four = left > 0 ? *(const float4*)next : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        next += step, left -= HALF;
        return four;
    }
    __device__ __forceinline__ void keep(float* slices, int half, float4 four) const {
        float* at = &slices[to + half * TILE];
        if (ACROSS) {
            *(float4*)at = four;
        } else {
            at[0] = four.x, at[TILE] = four.y, at[2 * TILE] = four.z, at[3 * TILE] = four.w;
        }
    }
};

template <bool ACROSS_A, bool ACROSS_B>
__device__ __forceinline__ void multiply(const float* a, const float* b, float* c, u32 m, u32 n, u32 k, const Strides& s, u32 parts,
                                         const Finish<float>& finish) {
    // Two sides of a slice of `a` and one of `b` below it, as in `matmul_128`, and at last a quarter of the sums.
    __shared__ __align__(16) float room[2 * 2 * DEPTH * TILE];
    const int OTHER = 2 * DEPTH * TILE;
    u32 thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    // A warp computes 32 rows by 64 columns: 4 by 8 threads.
    int own_rows = warp / 2 * 32 + lane / 8 * 8, own_columns = DEPTH * TILE + warp % 2 * 64 + lane % 8 * 4;
    u32 top = blockIdx.y * TILE, start = blockIdx.x * TILE;
    Part part = part_of(k, parts, DEPTH);
    Wide<ACROSS_A> rows(a + part.batch * s.a_batch, m, ACROSS_A ? s.a_column : s.a_row, top, part.first, part.end, 0);
    Wide<ACROSS_B> columns(b + part.batch * s.b_batch, n, ACROSS_B ? s.b_row : s.b_column, start, part.first, part.end, DEPTH * TILE);
    float sum[8][8] = {};
#pragma unroll
    for (int half = 0; half < DEPTH; half += HALF) {
        rows.keep(room, half, rows.bring());
        columns.keep(room, half, columns.bring());
    }
    for (int left = part.end - part.first; left > 0; left -= DEPTH) {
        __syncthreads();
        rows.to ^= OTHER, columns.to ^= OTHER;
#pragma unroll
        for (int half = 0; half < DEPTH; half += HALF) {
            float4 next_a = rows.bring(), next_b = columns.bring();
#pragma unroll
            for (int i = half; i < half + HALF; ++i) {
                float row[8], column[8];
                *(float4*)&row[0] = *(float4*)&room[own_rows + i * TILE];
                *(float4*)&row[4] = *(float4*)&room[own_rows + i * TILE + 4];
                *(float4*)&column[0] = *(float4*)&room[own_columns + i * TILE];
                *(float4*)&column[4] = *(float4*)&room[own_columns + i * TILE + 32];
#pragma unroll
                for (u32 p = 0; p < 8; ++p) {
#pragma unroll
                    for (u32 q = 0; q < 8; ++q) {
                        sum[p][q] = fmaf(row[p], column[q], sum[p][q]);
                    }
                }
            }
            rows.keep(room, half, next_a);
            columns.keep(room, half, next_b);
        }
        own_rows ^= OTHER, own_columns ^= OTHER;
    }
    // Through shared memory, 32 rows at a time: those of two warps, which all write then.
    c += (u64)blockIdx.z * m * n;
#pragma unroll 1
    for (u32 band = 0; band < 4; ++band) {
        __syncthreads();
        if (warp / 2 == band) {
            float* at = &room[own_rows % 32 * TILE + own_columns % TILE];
#pragma unroll
            for (u32 p = 0; p < 8; ++p) {
                *(float4*)&at[p * TILE] = *(float4*)&sum[p][0];
                *(float4*)&at[p * TILE + 32] = *(float4*)&sum[p][4];
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
