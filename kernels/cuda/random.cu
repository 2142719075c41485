// Counter-based random numbers: the same as those of `kernels/src/random.rs`, element by element.
#include "common.h"

struct Words {
    u32 word[4];
};

// Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011): ten rounds of multiplying, swapping and mixing in the key.
__device__ __forceinline__ Words philox(u64 block, u64 stream, u64 seed) {
    u32 a = (u32)block, b = (u32)(block >> 32), c = (u32)stream, d = (u32)(stream >> 32);
    u32 low_key = (u32)seed, high_key = (u32)(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        u32 high0 = __umulhi(0xd2511f53u, a), low0 = 0xd2511f53u * a;
        u32 high1 = __umulhi(0xcd9e8d57u, c), low1 = 0xcd9e8d57u * c;
        a = high1 ^ b ^ low_key;
        b = low1;
        c = high0 ^ d ^ high_key;
        d = low0;
        low_key += 0x9e3779b9u;
        high_key += 0xbb67ae85u;
    }
    return {{a, b, c, d}};
}

#define SCALE (1.0 / 4294967296.0)

// Evenly from `low` to `high`; `before_high` is the largest float below `high`, for products that round up to it. A thread makes
// the four elements of a block.
KERNEL random_uniform(float* y, u32 n, double low, double high, float before_high, u64 seed, u64 stream) {
    for (EACH(block, n / 4 + (n % 4 != 0))) {
        Words words = philox(block, stream, seed);
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            if (4 * block + i < n) {
                float x = (float)__dadd_rn(low, __dmul_rn(high - low, __dmul_rn((double)words.word[i], SCALE)));
                y[4 * block + i] = (double)x < high ? x : before_high;
            }
        }
    }
}

// 1 with this probability, else 0.
KERNEL random_bernoulli(float* y, u32 n, double probability, u64 seed, u64 stream) {
    for (EACH(block, n / 4 + (n % 4 != 0))) {
        Words words = philox(block, stream, seed);
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            if (4 * block + i < n) {
                y[4 * block + i] = words.word[i] * SCALE < probability ? 1.0f : 0.0f;
            }
        }
    }
}

// Elements kept with this probability and divided by it, else 0: as a Bernoulli stream of the same key, times `x / keep`.
KERNEL dropout(const float* x, float* y, u32 n, double keep, u64 seed, u64 stream) {
    float scale = (float)(1.0 / keep);
    for (EACH(block, n / 4 + (n % 4 != 0))) {
        Words words = philox(block, stream, seed);
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            if (4 * block + i < n) {
                y[4 * block + i] = words.word[i] * SCALE < keep ? x[4 * block + i] * scale : 0.0f;
            }
        }
    }
}
