// Products of matrices on tensor cores, for compute capability 8.0 and later: `c = a b` with `a` [m, k] and `b` [k, n], and `c` [m, n] in
// single precision, all in row-major order. `a` and `b` are in bf16, `k` and `n` multiples of 8; or in single precision, of which ten
// bits behind the point are used (tf32), and multiples of 4.
#include "common.h"

#define TILE 128
#define DEPTH 32
#define STAGES 3

// Rows of both tiles are pieces of 16 bytes (8 elements). A piece stands in its row at its number mixed with the row's, so that
// the eight rows that a matrix is loaded from lie in different banks.
__device__ __forceinline__ u32 left_place(u32 row, u32 piece) {
    return row * DEPTH + ((piece ^ (row / 2 & 3)) * 8);
}
__device__ __forceinline__ u32 right_place(u32 row, u32 piece) {
    return row * TILE + ((piece ^ (row & 7)) * 8);
}

// Starts to copy 16 bytes; `inside` is false outside of the matrix, where zeros are written.
__device__ __forceinline__ void copy_piece(void* to, const void* from, bool inside) {
    u32 address = (u32)__cvta_generic_to_shared(to);
    u32 bytes = inside ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes));
}

// Writes the sums of a warp, 64 rows by 32 columns from `top` and `start` on: a lane has pairs of neighbours of every eighth row.
__device__ __forceinline__ void write_sums(float* c, const float (&sum)[4][4][4], u32 top, u32 start, u32 m, u32 n) {
    u32 lane = threadIdx.x % 32;
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
#pragma unroll
        for (u32 j = 0; j < 4; ++j) {
            u32 column = start + 8 * j + lane % 4 * 2;
#pragma unroll
            for (u32 half = 0; half < 2; ++half) {
                u32 row = top + 16 * i + lane / 4 + 8 * half;
                if (row < m && column < n) {
                    *(float2*)&c[(u64)row * n + column] = make_float2(sum[i][j][2 * half], sum[i][j][2 * half + 1]);
                }
            }
        }
    }
}

// Blocks of 256 threads: 8 warps, each with 64 rows by 32 columns of a tile of 128 x 128. Three slices of 32 are in shared memory: one
// is multiplied while two are on their way.
KERNEL __launch_bounds__(256) matmul_bf16(const u16* __restrict__ a, const u16* __restrict__ b, float* __restrict__ c,
                                          u32 m, u32 n, u32 k) {
    __shared__ __align__(16) u16 left[STAGES][TILE * DEPTH], right[STAGES][DEPTH * TILE];
    u32 thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    u32 top = blockIdx.y * TILE, start = blockIdx.x * TILE;
    u32 y = warp / 4 * 64, x = warp % 4 * 32;
    u32 slices = (k + DEPTH - 1) / DEPTH;
    float sum[4][4][4] = {};

    auto bring = [&](u32 slice) {
        u32 stage = slice % STAGES, first = slice * DEPTH;
#pragma unroll
        for (u32 i = 0; i < 2; ++i) {
            u32 at = thread + 256 * i;
            u32 row = at / 4, piece = at % 4;
            bool inside = top + row < m && first + piece * 8 < k;
            const u16* from = inside ? a + (u64)(top + row) * k + first + piece * 8 : a;
            copy_piece(&left[stage][left_place(row, piece)], from, inside);
            row = at / 16, piece = at % 16;
            inside = first + row < k && start + piece * 8 < n;
            from = inside ? b + (u64)(first + row) * n + start + piece * 8 : b;
            copy_piece(&right[stage][right_place(row, piece)], from, inside);
        }
    };

#pragma unroll
    for (u32 slice = 0; slice < STAGES - 1; ++slice) {
        if (slice < slices) {
            bring(slice);
        }
        // A group each time, even an empty one, so that the count of groups tells which slice has arrived.
        asm volatile("cp.async.commit_group;");
    }
    for (u32 slice = 0; slice < slices; ++slice) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2));
        __syncthreads();
        if (slice + STAGES - 1 < slices) {
            bring(slice + STAGES - 1);
        }
        asm volatile("cp.async.commit_group;");
        const u16 *tile_a = left[slice % STAGES], *tile_b = right[slice % STAGES];
#pragma unroll
        for (u32 depth = 0; depth < DEPTH; depth += 16) {
            u32 part_a[4][4], part_b[4][2];
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
                // Lanes 0 to 15 name the rows of the left half of 16 x 16, the others those of the right half.
                u32 row = y + 16 * i + lane % 16, piece = depth / 8 + lane / 16;
                u32 address = (u32)__cvta_generic_to_shared(&tile_a[left_place(row, piece)]);
                asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                             : "=r"(part_a[i][0]), "=r"(part_a[i][1]), "=r"(part_a[i][2]), "=r"(part_a[i][3])
                             : "r"(address));
            }
#pragma unroll
            for (u32 j = 0; j < 4; j += 2) {
                // Two products' worth of columns at once; transposed, since products take `b` by columns.
                u32 row = depth + lane % 16, piece = (x + 8 * j) / 8 + lane / 16;
                u32 address = (u32)__cvta_generic_to_shared(&tile_b[right_place(row, piece)]);
                asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                             : "=r"(part_b[j][0]), "=r"(part_b[j][1]), "=r"(part_b[j + 1][0]), "=r"(part_b[j + 1][1])
                             : "r"(address));
            }
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
#pragma unroll
                for (u32 j = 0; j < 4; ++j) {
                    asm volatile(
                        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                        "{%0,%1,%2,%3};"
                        : "+f"(sum[i][j][0]), "+f"(sum[i][j][1]), "+f"(sum[i][j][2]), "+f"(sum[i][j][3])
                        : "r"(part_a[i][0]), "r"(part_a[i][1]), "r"(part_a[i][2]), "r"(part_a[i][3]),
                          "r"(part_b[j][0]), "r"(part_b[j][1]));
                }
            }
        }
    }
    write_sums(c, sum, top + y, start + x, m, n);
}

// The depth of a slice in single precision: as many bytes as in bf16.
#define SINGLES 16

// Pieces are four elements here, of which a row of `a` has four. Rows of `b` are read by single elements, and four of them at once: each
// is mixed with its number, so that they lie in different banks.
__device__ __forceinline__ u32 left_single(u32 row, u32 piece) {
    return row * SINGLES + ((piece ^ (row / 2 & 3)) * 4);
}
__device__ __forceinline__ u32 right_single(u32 row, u32 column) {
    return row * TILE + (column ^ (row % 4 * 8));
}
__device__ __forceinline__ u32 to_tf32(u32 bits) {
    u32 rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
    return rounded;
}

// As matmul_bf16, by products of 16 x 8 with 8 x 8.
KERNEL __launch_bounds__(256) matmul_tf32(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c,
                                          u32 m, u32 n, u32 k) {
    __shared__ __align__(16) float left[STAGES][TILE * SINGLES], right[STAGES][SINGLES * TILE];
    u32 thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    u32 top = blockIdx.y * TILE, start = blockIdx.x * TILE;
    u32 y = warp / 4 * 64, x = warp % 4 * 32;
    u32 slices = (k + SINGLES - 1) / SINGLES;
    float sum[4][4][4] = {};

    auto bring = [&](u32 slice) {
        u32 stage = slice % STAGES, first = slice * SINGLES;
#pragma unroll
        for (u32 i = 0; i < 2; ++i) {
            u32 at = thread + 256 * i;
            u32 row = at / 4, piece = at % 4;
            bool inside = top + row < m && first + piece * 4 < k;
            copy_piece(&left[stage][left_single(row, piece)], inside ? a + (u64)(top + row) * k + first + piece * 4 : a, inside);
            u32 column = at % 32 * 4;
            row = at / 32;
            inside = first + row < k && start + column < n;
            copy_piece(&right[stage][right_single(row, column)], inside ? b + (u64)(first + row) * n + start + column : b, inside);
        }
    };

#pragma unroll
    for (u32 slice = 0; slice < STAGES - 1; ++slice) {
        if (slice < slices) {
            bring(slice);
        }
        asm volatile("cp.async.commit_group;");
    }
    for (u32 slice = 0; slice < slices; ++slice) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2));
        __syncthreads();
        if (slice + STAGES - 1 < slices) {
            bring(slice + STAGES - 1);
        }
        asm volatile("cp.async.commit_group;");
        const float *tile_a = left[slice % STAGES], *tile_b = right[slice % STAGES];
#pragma unroll
        for (u32 depth = 0; depth < SINGLES; depth += 8) {
            u32 part_a[4][4], part_b[4][2];
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
                // A piece is a row of a matrix of 16-bit pairs to `ldmatrix`, which deals them out as products take singles.
                u32 address = (u32)__cvta_generic_to_shared(&tile_a[left_single(y + 16 * i + lane % 16, depth / 4 + lane / 16)]);
                asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                             : "=r"(part_a[i][0]), "=r"(part_a[i][1]), "=r"(part_a[i][2]), "=r"(part_a[i][3])
                             : "r"(address));
#pragma unroll
                for (u32 q = 0; q < 4; ++q) {
                    part_a[i][q] = to_tf32(part_a[i][q]);
                }
            }
#pragma unroll
            for (u32 j = 0; j < 4; ++j) {
#pragma unroll
                for (u32 q = 0; q < 2; ++q) {
                    u32 row = depth + lane % 4 + 4 * q, column = x + 8 * j + lane / 4;
                    part_b[j][q] = to_tf32(__float_as_uint(tile_b[right_single(row, column)]));
                }
            }
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
#pragma unroll
                for (u32 j = 0; j < 4; ++j) {
                    asm volatile(
                        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                        "{%0,%1,%2,%3};"
                        : "+f"(sum[i][j][0]), "+f"(sum[i][j][1]), "+f"(sum[i][j][2]), "+f"(sum[i][j][3])
                        : "r"(part_a[i][0]), "r"(part_a[i][1]), "r"(part_a[i][2]), "r"(part_a[i][3]),
                          "r"(part_b[j][0]), "r"(part_b[j][1]));
                }
            }
        }
    }
    write_sums(c, sum, top + y, start + x, m, n);
}
