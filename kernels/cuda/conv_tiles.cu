// Convolutions of images [n, h, w, c] as products of matrices whose left operand is read from the images themselves, in tiles of 64 x 64
// (see `common.h`), with gradients; and convolutions of each channel by itself. `conv.cu` has kernels for what these leave, such as
// groups of several channels.
#include "common.h"

// Four places of a sum, of which `at` says where each stands; null is 0. Where `wide`, four places beside each other stand so too.
template <class At>
__device__ __forceinline__ float4 four_places(bool wide, u32 first, u32 end, const At& at) {
    float4 four = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (wide) {
        const float* from = first < end ? at(first) : nullptr;
        return from ? *(const float4*)from : four;
    }
    float* each = &four.x;
#pragma unroll
    for (u32 e = 0; e < 4; ++e) {
        const float* from = first + e < end ? at(first + e) : nullptr;
        each[e] = from ? *from : 0.0f;
    }
    return four;
}
__device__ __forceinline__ bool in_fours(const float* x, u32 run) {
    return run % 4 == 0 && (u64)x % 16 == 0;
}

// For each result, a line, what its window reads: places are taps, and for each its channels.
struct Windows {
    const Images& s;
    const float* image;
    int top, left;
    bool wide, exists;
    static constexpr bool across = false;

    __device__ __forceinline__ Windows(const float* x, const Images& s, u32 start) : s(s) {
        u32 line = start + own_line(across), row = line / s.out_w, picture = row / s.out_h;
        exists = picture < s.n;
        top = (int)(row % s.out_h) * s.stride_h - s.top;
        left = (int)(line % s.out_w) * s.stride_w - s.left;
        image = x + (u64)picture * s.h * s.w * s.c;
        wide = in_fours(x, s.c);
    }
    __device__ __forceinline__ float4 bring(u32 first, u32 end) const {
        return four_places(wide, first + own_place(across), exists ? end : 0, [&](u32 k) -> const float* {
            u32 tap = k / s.c;
            int ih = top + (int)(tap / s.kernel_w) * s.dilation_h, iw = left + (int)(tap % s.kernel_w) * s.dilation_w;
            bool inside = ih >= 0 && ih < (int)s.h && iw >= 0 && iw < (int)s.w;
            return inside ? image + ((i64)ih * s.w + iw) * s.c + k % s.c : nullptr;
        });
    }
};

// For each element of the images, a line, the slopes of the results that read it: places are taps, and for each the filters.
struct Readers {
    const Images& s;
    const float* image;
    u32 ih, iw;
    bool wide, exists;
    static constexpr bool across = false;

    __device__ __forceinline__ Readers(const float* dy, const Images& s, u32 start) : s(s) {
        u32 line = start + own_line(across), row = line / s.w, picture = row / s.h;
        exists = picture < s.n;
        ih = row % s.h, iw = line % s.w;
        image = dy + (u64)picture * s.out_h * s.out_w * s.out_c;
        wide = in_fours(dy, s.out_c);
    }
    __device__ __forceinline__ float4 bring(u32 first, u32 end) const {
        return four_places(wide, first + own_place(across), exists ? end : 0, [&](u32 k) -> const float* {
            u32 tap = k / s.out_c;
            int oh = read_by(ih, tap / s.kernel_w, s.stride_h, s.dilation_h, s.top, s.out_h);
            int ow = read_by(iw, tap % s.kernel_w, s.stride_w, s.dilation_w, s.left, s.out_w);
            return oh >= 0 && ow >= 0 ? image + ((i64)oh * s.out_w + ow) * s.out_c + k % s.out_c : nullptr;
        });
    }
};

// The weights [kernel_h, kernel_w, c, out_c] with a line for each channel: places are taps, and for each the filters.
struct TurnedWeights {
    const Images& s;
    const float* w;
    u32 channel;
    bool wide;
    static constexpr bool across = false;

    __device__ __forceinline__ TurnedWeights(const float* w, const Images& s, u32 start)
        : s(s), w(w), channel(start + own_line(across)), wide(in_fours(w, s.out_c)) {}
    __device__ __forceinline__ float4 bring(u32 first, u32 end) const {
        return four_places(wide, first + own_place(across), channel < s.c ? end : 0, [&](u32 k) -> const float* {
            return w + ((u64)(k / s.out_c) * s.c + channel) * s.out_c + k % s.out_c;
        });
    }
};

// What each weight multiplies, a line for each tap and channel: places are the results of all images.
struct Products {
    const Images& s;
    const float* x;
    u32 line;
    bool wide;
    static constexpr bool across = true;

    __device__ __forceinline__ Products(const float* x, const Images& s, u32 start)
        : s(s), x(x), line(start + own_line(across)), wide(in_fours(x, s.c)) {}
    __device__ __forceinline__ float4 bring(u32 first, u32 end) const {
        u32 place = first + own_place(across), row = place / s.out_w, picture = row / s.out_h;
        int top = (int)(row % s.out_h) * s.stride_h - s.top, left = (int)(place % s.out_w) * s.stride_w - s.left;
        u32 lines = s.kernel_h * s.kernel_w * s.c;
        return four_places(wide, line, place < end ? lines : 0, [&](u32 at) -> const float* {
            u32 tap = at / s.c;
            int ih = top + (int)(tap / s.kernel_w) * s.dilation_h, iw = left + (int)(tap % s.kernel_w) * s.dilation_w;
            bool inside = ih >= 0 && ih < (int)s.h && iw >= 0 && iw < (int)s.w;
            return inside ? x + (((u64)picture * s.h + ih) * s.w + iw) * s.c + at % s.c : nullptr;
        });
    }
};

// y = x with w, plus a bias unless that is null, through an activation. The grid is [n out_h out_w / 64, out_c / 64], rounded up; here
// and below, blocks have 256 threads.
KERNEL __launch_bounds__(256, 3) conv2d_tiles(const float* x, const float* w, float* y, const float* bias, Images s, u32 activation,
                                           float p) {
    u32 k = s.kernel_h * s.kernel_w * s.c, m = s.n * s.out_h * s.out_w;
    u32 top = blockIdx.x * TILE_64, start = blockIdx.y * TILE_64;
    Finish<float> finish = {bias, 1.0f, p, 0, activation};
    tile_product(Windows(x, s, top), Side(w, 1, s.out_c, s.out_c, start, 0), 0, k, y, m, s.out_c, top, start, finish);
}

// The gradient with respect to `x`. The grid is [n h w / 64, c / 64], rounded up.
KERNEL __launch_bounds__(256, 3) conv2d_tiles_grad_input(const float* dy, const float* w, float* dx, Images s) {
    u32 k = s.kernel_h * s.kernel_w * s.out_c, m = s.n * s.h * s.w;
    u32 top = blockIdx.x * TILE_64, start = blockIdx.y * TILE_64;
    Finish<float> finish = {nullptr, 1.0f, 0.0f, 0, NO_ACTIVATION};
    tile_product(Readers(dy, s, top), TurnedWeights(w, s, start), 0, k, dx, m, s.c, top, start, finish);
}

// The gradient with respect to `w`, in as many parts as the grid has on its third axis: `matmul_join` adds them. The grid is
// [kernel_h kernel_w c / 64, out_c / 64, parts], rounded up.
KERNEL __launch_bounds__(256, 3) conv2d_tiles_grad_weight(const float* x, const float* dy, float* dw, Images s) {
    u32 m = s.kernel_h * s.kernel_w * s.c;
    u32 top = blockIdx.x * TILE_64, start = blockIdx.y * TILE_64;
    Part part = part_of(s.n * s.out_h * s.out_w, gridDim.z, SLICE);
    Finish<float> finish = {nullptr, 1.0f, 0.0f, 0, NO_ACTIVATION};
    tile_product(Products(x, s, top), Side(dy, 1, s.out_c, s.out_c, start, part.first), part.first, part.end,
                 dw + (u64)blockIdx.z * m * s.out_c, m, s.out_c, top, start, finish);
}

// How many neighbours of a row a thread computes where each channel is convolved by itself.
#define STRIP 4

// Four neighbours of a row with three taps across and a stride that the compiler knows: what several of them read is loaded once.
template <int STRIDE>
__device__ __forceinline__ void strip_of_three(const float* row, const float* w, int left, const Images& s, float (&sum)[STRIP]) {
    float seen[(STRIP - 1) * STRIDE + 3];
#pragma unroll
    for (int i = 0; i < (STRIP - 1) * STRIDE + 3; ++i) {
        int iw = left + i;
        seen[i] = iw >= 0 && iw < (int)s.w ? row[(i64)iw * s.c] : 0.0f;
    }
#pragma unroll
    for (int tap = 0; tap < 3; ++tap) {
        float weight = w[(u64)tap * s.c];
#pragma unroll
        for (int i = 0; i < STRIP; ++i) {
            sum[i] = fmaf(seen[i * STRIDE + tap], weight, sum[i]);
        }
    }
}
__device__ __forceinline__ void strip(const float* row, const float* w, int left, const Images& s, float (&sum)[STRIP]) {
    for (u32 tap = 0; tap < s.kernel_w; ++tap) {
        float weight = w[(u64)tap * s.c];
#pragma unroll
        for (int i = 0; i < STRIP; ++i) {
            int iw = left + i * s.stride_w + (int)tap * s.dilation_w;
            sum[i] = fmaf(iw >= 0 && iw < (int)s.w ? row[(i64)iw * s.c] : 0.0f, weight, sum[i]);
        }
    }
}

// y = x with w [kernel_h, kernel_w, 1, c] for as many groups as channels, each with one filter, plus a bias unless that is null, through
// an activation. A thread takes a strip of four neighbours of a row, and neighbouring threads neighbouring channels: n counts the strips.
KERNEL conv2d_depthwise(const float* x, const float* w, float* y, const float* bias, u32 n, Images s, u32 activation, float p) {
    u32 strips = (s.out_w + STRIP - 1) / STRIP;
    Finish<float> finish = {bias, 1.0f, p, 0, activation};
    for (EACH(at, n)) {
        u32 channel = at % s.c, ow = at / s.c % strips * STRIP, line = at / s.c / strips, oh = line % s.out_h;
        int top = (int)oh * s.stride_h - s.top, left = (int)ow * s.stride_w - s.left;
        float sum[STRIP] = {};
        for (u32 kh = 0; kh < s.kernel_h; ++kh) {
            int ih = top + (int)kh * s.dilation_h;
            if (ih >= 0 && ih < (int)s.h) {
                const float* row = x + ((u64)(line / s.out_h) * s.h + ih) * s.w * s.c + channel;
                const float* weights = w + (u64)kh * s.kernel_w * s.c + channel;
                bool three = s.kernel_w == 3 && s.dilation_w == 1;
                if (three && s.stride_w == 1) {
                    strip_of_three<1>(row, weights, left, s, sum);
                } else if (three && s.stride_w == 2) {
                    strip_of_three<2>(row, weights, left, s, sum);
                } else {
                    strip(row, weights, left, s, sum);
                }
            }
        }
#pragma unroll
        for (u32 i = 0; i < STRIP; ++i) {
            if (ow + i < s.out_w) {
                finish.write(y, ((u64)line * s.out_w + ow + i) * s.c + channel, channel, sum[i]);
            }
        }
    }
}

// The gradient with respect to `w` of the same, in as many parts as the grid has on its third axis; `reduce_columns_sum` adds them.
// Blocks of 32 x 8 threads take 32 channels of one tap, and every eighth row of results; the grid is [c / 32, kernel_h kernel_w, parts].
KERNEL __launch_bounds__(256) conv2d_depthwise_grad_weight(const float* x, const float* dy, float* dw, Images s) {
    __shared__ float shared[8][32];
    u32 channel = blockIdx.x * 32 + threadIdx.x, kh = blockIdx.y / s.kernel_w, kw = blockIdx.y % s.kernel_w;
    Part part = part_of(s.n * s.out_h, gridDim.z, 1);
    float sum = 0.0f;
    for (u32 row = part.first + threadIdx.y; channel < s.c && row < part.end; row += 8) {
        int ih = reads(row % s.out_h, kh, s.stride_h, s.dilation_h, s.top);
        if (ih >= 0 && ih < (int)s.h) {
            const float* slopes = dy + (u64)row * s.out_w * s.c + channel;
            const float* pixels = x + ((u64)(row / s.out_h) * s.h + ih) * s.w * s.c + channel;
            for (u32 ow = 0; ow < s.out_w; ++ow) {
                int iw = reads(ow, kw, s.stride_w, s.dilation_w, s.left);
                if (iw >= 0 && iw < (int)s.w) {
                    sum = fmaf(slopes[(u64)ow * s.c], pixels[(u64)iw * s.c], sum);
                }
            }
        }
    }
    shared[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && channel < s.c) {
        float all = 0.0f;
#pragma unroll
        for (u32 i = 0; i < 8; ++i) {
            all += shared[i][threadIdx.x];
        }
        dw[((u64)blockIdx.z * gridDim.y + blockIdx.y) * s.c + channel] = all;
    }
}
