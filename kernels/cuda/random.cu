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

// A product and a sum in double precision, each rounded, as the processor does it.
__device__ __forceinline__ double scaled(double x, double by, double plus) {
    return __dadd_rn(plus, __dmul_rn(x, by));
}

// The normal distribution (Box and Muller 1958): two points of random angles, at distances made from numbers in (0, 1]. The functions
// of double precision are not the processor's bit by bit, but nearly all numbers are, once they are rounded.
KERNEL random_normal(float* y, u32 n, double mean, double std, u64 seed, u64 stream) {
    for (EACH(block, n / 4 + (n % 4 != 0))) {
        Words words = philox(block, stream, seed);
#pragma unroll 1
        for (u32 i = 0; i < 4 && 4 * block + i < n; i += 2) {
            u32 a = i ? words.word[2] : words.word[0], b = i ? words.word[3] : words.word[1];
            double radius = sqrt(-2.0 * log(((double)a + 1.0) * SCALE)), turns = (double)b * SCALE;
            y[4 * block + i] = (float)scaled(radius * cospi(2.0 * turns), std, mean);
            if (4 * block + i + 1 < n) {
                y[4 * block + i + 1] = (float)scaled(radius * sinpi(2.0 * turns), std, mean);
            }
        }
    }
}

__device__ __forceinline__ double polynomial(const double (&factors)[8], double x) {
    double sum = 0.0;
#pragma unroll
    for (int i = 7; i >= 0; --i) {
        sum = scaled(sum, x, factors[i]);
    }
    return sum;
}

// The point below which a normal variable lies with probability `p`: see `normal_quantile` in `kernels/src/random.rs`.
__device__ __forceinline__ double normal_quantile(double p) {
    const double A[8] = {3.3871328727963666, 1.3314166789178438e2, 1.9715909503065513e3, 1.373169376550946e4,
                         4.592195393154987e4, 6.72657709270087e4, 3.343057558358813e4, 2.5090809287301227e3};
    const double B[8] = {1.0, 4.231333070160091e1, 6.871870074920579e2, 5.394196021424751e3,
                         2.1213794301586597e4, 3.930789580009271e4, 2.8729085735721943e4, 5.226495278852854e3};
    const double C[8] = {1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045,
                         1.2704582524523684, 2.417807251774506e-1, 2.2723844989269184e-2, 7.745450142783414e-4};
    const double D[8] = {1.0, 2.053191626637759, 1.6763848301838038, 6.897673349851e-1,
                         1.4810397642748008e-1, 1.5198666563616457e-2, 5.475938084995345e-4, 1.0507500716444169e-9};
    double q = p - 0.5;
    if (fabs(q) <= 0.425) {
        double r = 0.180625 - q * q;
        return q * polynomial(A, r) / polynomial(B, r);
    }
    double r = sqrt(-log(fmin(p, 1.0 - p))) - 1.6;
    return copysign(polynomial(C, r) / polynomial(D, r), q);
}

// The normal distribution without what lies further than two `std` from `mean`.
KERNEL random_truncated_normal(float* y, u32 n, double mean, double std, u64 seed, u64 stream) {
    // The share of a normal distribution above two standard deviations.
    const double tail = 0.022750131948179207;
    for (EACH(block, n / 4 + (n % 4 != 0))) {
        Words words = philox(block, stream, seed);
#pragma unroll 1
        for (u32 i = 0; i < 4 && 4 * block + i < n; ++i) {
            u32 word = i == 0 ? words.word[0] : i == 1 ? words.word[1] : i == 2 ? words.word[2] : words.word[3];
            double point = normal_quantile(scaled(((double)word + 0.5) * SCALE, 1.0 - 2.0 * tail, tail));
            y[4 * block + i] = (float)scaled(fmax(fmin(point, 2.0), -2.0), std, mean);
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
