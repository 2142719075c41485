// Products of matrices on tensor cores, for compute capability 8.0 and later: `c = a b` with `a` [m, k] and `b` [k, n] in bf16, and `c`
// [m, n] in single precision, all in row-major order. `k` and `n` are multiples of 8.
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
__device__ __forceinline__ void copy_piece(u16* to, const u16* from, bool inside) {
    u32 address = (u32)__cvta_generic_to_shared(to);
    u32 bytes = inside ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes));
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
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
#pragma unroll
        for (u32 j = 0; j < 4; ++j) {
            u32 column = start + x + 8 * j + lane % 4 * 2;
#pragma unroll
            for (u32 half = 0; half < 2; ++half) {
                u32 row = top + y + 16 * i + lane / 4 + 8 * half;
                if (row < m && column < n) {
                    *(float2*)&c[(u64)row * n + column] = make_float2(sum[i][j][2 * half], sum[i][j][2 * half + 1]);
                }
            }
        }
    }
}
