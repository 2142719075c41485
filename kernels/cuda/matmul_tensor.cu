// Products of matrices on tensor cores, for compute capability 8.0 and later: `c = a b` with `a` [m, k] and `b` [k, n], and `c` [m, n] in
// single precision, all in row-major order. `a` and `b` are in bf16, `k` and `n` multiples of 8; or in single precision, of which ten
// bits behind the point are used (tf32), and multiples of 4.
#include "common.h"

#define TILE 128
#define STAGES 3
// The bytes of a slice of an operand: of `a`, 128 rows of four pieces of 16 bytes; of `b`, as many rows as four pieces have elements.
#define SLICE_BYTES 8192
#define THREADS 256

// Starts to copy 16 bytes to an address in shared memory, or to write zeros there.
__device__ __forceinline__ void copy_piece(u32 to, const void* from, bool exist) {
    u32 bytes = exist ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes));
}

// Loads four matrices of 8 rows of 16 bytes, of which each lane names one; each lane gets a word of each.
__device__ __forceinline__ void load_matrices(u32 (&words)[4], u32 from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(from));
}

// What differs between the types: the elements of a piece, how the operand `b` of products comes from shared memory, and the product.
struct Bf16 {
    typedef u16 Element;
    static const u32 PIECE = 8;

    // Which bits of its number a piece of `b` is mixed with: the eight rows that a matrix is loaded from lie in different banks.
    static __device__ __forceinline__ u32 mix(u32 row) {
        return row % 8;
    }
    // Where a lane's first element is in a slice of `b`, for the columns of its warp from `piece` on.
    static __device__ __forceinline__ u32 own_place(u32 lane, u32 piece) {
        return lane % 16 * 256 + ((piece + lane / 16) ^ mix(lane)) * 16;
    }
    static __device__ __forceinline__ void finish_a(u32 (&)[4]) {}
    // For half a slice, 16 rows, and 32 columns; transposed, since products take `b` by columns.
    static __device__ __forceinline__ void load_b(u32 (&part)[4][2], u32 from, u32 half) {
#pragma unroll
        for (u32 j = 0; j < 4; j += 2) {
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                         : "=r"(part[j][0]), "=r"(part[j][1]), "=r"(part[j + 1][0]), "=r"(part[j + 1][1])
                         : "r"((from ^ j * 16) + half * 16 * 256));
        }
    }
    static __device__ __forceinline__ void multiply(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
};

struct Tf32 {
    typedef float Element;
    static const u32 PIECE = 4;

    // Rows of `b` are read by single elements, and four of them at once.
    static __device__ __forceinline__ u32 mix(u32 row) {
        return row % 4 * 2;
    }
    static __device__ __forceinline__ u32 own_place(u32 lane, u32 piece) {
        return lane % 4 * 512 + ((piece + lane / 16) ^ mix(lane)) * 16 + lane / 4 % 4 * 4;
    }
    static __device__ __forceinline__ u32 rounded(u32 bits) {
        u32 tf32;
        asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(tf32) : "f"(__uint_as_float(bits)));
        return tf32;
    }
    // A piece is a row of a matrix of 16-bit pairs to `ldmatrix`, which deals them out as products take singles.
    static __device__ __forceinline__ void finish_a(u32 (&part)[4]) {
#pragma unroll
        for (u32 q = 0; q < 4; ++q) {
            part[q] = rounded(part[q]);
        }
    }
    static __device__ __forceinline__ void load_b(u32 (&part)[4][2], u32 from, u32 half) {
#pragma unroll
        for (u32 j = 0; j < 4; ++j) {
#pragma unroll
            for (u32 q = 0; q < 2; ++q) {
                u32 bits;
                asm volatile("ld.shared.u32 %0, [%1];" : "=r"(bits) : "r"((from ^ j * 32) + (half * 8 + q * 4) * 512));
                part[j][q] = rounded(bits);
            }
        }
    }
    static __device__ __forceinline__ void multiply(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
};

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

// Blocks of 256 threads: 8 warps, each with 64 rows by 32 columns of a tile of 128 x 128. Three slices are in shared memory: one is
// multiplied while two are on their way.
template <typename T>
__device__ __forceinline__ void multiply(const typename T::Element* a, const typename T::Element* b, float* c, u32 m, u32 n, u32 k) {
    const u32 DEPTH = 4 * T::PIECE, ROW_PIECES = TILE / T::PIECE, ROWS = THREADS / ROW_PIECES;
    __shared__ __align__(128) char slices[2][STAGES][SLICE_BYTES];
    u32 thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    u32 top = blockIdx.y * TILE, start = blockIdx.x * TILE, y = warp / 4 * 64, x = warp % 4 * 32;
    u32 left = (u32)__cvta_generic_to_shared(&slices[0][0][0]), right = (u32)__cvta_generic_to_shared(&slices[1][0][0]);

    // A thread brings two pieces of a slice of each operand, half a slice apart. A piece stands in its row at its number mixed with the
    // row's. What lies beyond the last row or column may be anything, since it is not written: the last stands in for it.
    u32 a_row = thread / 4, a_piece = thread % 4, b_row = thread / ROW_PIECES, b_piece = thread % ROW_PIECES;
    u32 to_a = left + a_row * 64 + (a_piece ^ (a_row / 2 % 4)) * 16;
    u32 to_b = right + b_row * (ROW_PIECES * 16) + (b_piece ^ T::mix(b_row)) * 16;
    u32 column = min(start + b_piece * T::PIECE, n - T::PIECE);
    const typename T::Element *from_a[2], *from_b[2];
#pragma unroll
    for (u32 i = 0; i < 2; ++i) {
        from_a[i] = a + (u64)min(top + a_row + i * (THREADS / 4), m - 1) * k + a_piece * T::PIECE;
        from_b[i] = b + (u64)(b_row + i * ROWS) * n + column;
    }
    int left_a = (int)k - (int)(a_piece * T::PIECE), left_b = (int)k - (int)b_row;
    u64 b_step = (u64)DEPTH * n;
    // What lies beyond the sum is zero. A group each time, so that the count of groups tells which slice has arrived.
    auto bring = [&](u32 stage) {
#pragma unroll
        for (u32 i = 0; i < 2; ++i) {
            copy_piece(to_a + stage + i * (SLICE_BYTES / 2), from_a[i], left_a > 0);
            copy_piece(to_b + stage + i * (SLICE_BYTES / 2), from_b[i], left_b > (int)(i * ROWS));
            from_a[i] += DEPTH, from_b[i] += b_step;
        }
        left_a -= DEPTH, left_b -= DEPTH;
        asm volatile("cp.async.commit_group;");
    };
    auto after = [](u32 stage) { return stage == (STAGES - 1) * SLICE_BYTES ? 0 : stage + SLICE_BYTES; };

    // Lanes 0 to 15 name the rows of the left half of 16 x 16, the others those of the right half.
    u32 own_a = left + (y + lane % 16) * 64 + (lane / 16 ^ (lane / 2 % 4)) * 16, own_b = right + T::own_place(lane, x / T::PIECE);
    float sum[4][4][4] = {};
#pragma unroll
    for (u32 stage = 0; stage < (STAGES - 1) * SLICE_BYTES; stage += SLICE_BYTES) {
        bring(stage);
    }
    u32 now = 0, next = (STAGES - 1) * SLICE_BYTES;
    for (u32 first = 0; first < k; first += DEPTH) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2));
        __syncthreads();
        bring(next);
#pragma unroll
        for (u32 half = 0; half < 2; ++half) {
            u32 part_a[4][4], part_b[4][2];
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
                load_matrices(part_a[i], (own_a + now ^ half * 32) + i * 16 * 64);
                T::finish_a(part_a[i]);
            }
            T::load_b(part_b, own_b + now, half);
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
#pragma unroll
                for (u32 j = 0; j < 4; ++j) {
                    T::multiply(sum[i][j], part_a[i], part_b[j]);
                }
            }
        }
        now = after(now), next = after(next);
    }
    write_sums(c, sum, top + y, start + x, m, n);
}

KERNEL __launch_bounds__(THREADS) matmul_bf16(const u16* __restrict__ a, const u16* __restrict__ b, float* __restrict__ c,
                                              u32 m, u32 n, u32 k) {
    multiply<Bf16>(a, b, c, m, n, k);
}

// By products of 16 x 8 with 8 x 8.
KERNEL __launch_bounds__(THREADS) matmul_tf32(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c,
                                              u32 m, u32 n, u32 k) {
    multiply<Tf32>(a, b, c, m, n, k);
}
