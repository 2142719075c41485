// Convolution and pooling of images [n, h, w, c], with gradients. Nothing is scattered: each thread sums what one element needs, in an
// order of its own, so that results are the same each time and no atomics are needed.
#include "common.h"

// y = x with w [kernel_h, kernel_w, c / groups, out_c]. Neighbouring threads have neighbouring filters, so that weights are read in
// whole sectors and an element of `x` goes to all.
KERNEL conv2d(const float* x, const float* w, float* y, u32 n, Images s) {
    u32 part = s.c / s.groups, filters = s.out_c / s.groups;
    for (EACH(at, n)) {
        u32 filter = at % s.out_c, ow = at / s.out_c % s.out_w, oh = at / s.out_c / s.out_w % s.out_h;
        u32 image = at / s.out_c / s.out_w / s.out_h;
        float sum = 0.0f;
        for (u32 kh = 0; kh < s.kernel_h; ++kh) {
            int ih = reads(oh, kh, s.stride_h, s.dilation_h, s.top);
            for (u32 kw = 0; kw < s.kernel_w; ++kw) {
                int iw = reads(ow, kw, s.stride_w, s.dilation_w, s.left);
                if (ih >= 0 && ih < (int)s.h && iw >= 0 && iw < (int)s.w) {
                    const float* pixel = x + (((u64)image * s.h + ih) * s.w + iw) * s.c + filter / filters * part;
                    const float* weights = w + ((u64)kh * s.kernel_w + kw) * part * s.out_c + filter;
                    for (u32 i = 0; i < part; ++i) {
                        sum = fmaf(pixel[i], weights[(u64)i * s.out_c], sum);
                    }
                }
            }
        }
        y[at] = sum;
    }
}

// The gradient with respect to `x`, which is also the transposed convolution of `dy`.
KERNEL conv2d_grad_input(const float* dy, const float* w, float* dx, u32 n, Images s) {
    u32 part = s.c / s.groups, filters = s.out_c / s.groups;
    for (EACH(at, n)) {
        u32 channel = at % s.c, iw = at / s.c % s.w, ih = at / s.c / s.w % s.h, image = at / s.c / s.w / s.h;
        u32 first = channel / part * filters;
        float sum = 0.0f;
        for (u32 kh = 0; kh < s.kernel_h; ++kh) {
            int oh = read_by(ih, kh, s.stride_h, s.dilation_h, s.top, s.out_h);
            for (u32 kw = 0; kw < s.kernel_w; ++kw) {
                int ow = read_by(iw, kw, s.stride_w, s.dilation_w, s.left, s.out_w);
                if (oh >= 0 && ow >= 0) {
                    const float* slopes = dy + (((u64)image * s.out_h + oh) * s.out_w + ow) * s.out_c + first;
                    const float* weights =
                        w + (((u64)kh * s.kernel_w + kw) * part + channel % part) * s.out_c + first;
                    for (u32 filter = 0; filter < filters; ++filter) {
                        sum = fmaf(slopes[filter], weights[filter], sum);
                    }
                }
            }
        }
        dx[at] = sum;
    }
}

// The gradient with respect to `w`.
KERNEL conv2d_grad_weight(const float* x, const float* dy, float* dw, u32 n, Images s) {
    u32 part = s.c / s.groups, filters = s.out_c / s.groups;
    for (EACH(at, n)) {
        u32 filter = at % s.out_c, i = at / s.out_c % part, kw = at / s.out_c / part % s.kernel_w;
        u32 kh = at / s.out_c / part / s.kernel_w, channel = filter / filters * part + i;
        float sum = 0.0f;
        for (u32 image = 0; image < s.n; ++image) {
            for (u32 oh = 0; oh < s.out_h; ++oh) {
                int ih = reads(oh, kh, s.stride_h, s.dilation_h, s.top);
                for (u32 ow = 0; ih >= 0 && ih < (int)s.h && ow < s.out_w; ++ow) {
                    int iw = reads(ow, kw, s.stride_w, s.dilation_w, s.left);
                    if (iw >= 0 && iw < (int)s.w) {
                        sum = fmaf(dy[(((u64)image * s.out_h + oh) * s.out_w + ow) * s.out_c + filter],
                                   x[(((u64)image * s.h + ih) * s.w + iw) * s.c + channel], sum);
                    }
                }
            }
        }
        dw[at] = sum;
    }
}

// The largest element of each window and its place `row * w + column`. The first of equals wins, and NaN before all.
KERNEL max_pool2d(const float* x, float* y, int* places, u32 n, Images s) {
    for (EACH(at, n)) {
        u32 channel = at % s.c, ow = at / s.c % s.out_w, oh = at / s.c / s.out_w % s.out_h;
        u32 image = at / s.c / s.out_w / s.out_h;
        float best = 0.0f;
        int place = -1;
        for (u32 kh = 0; kh < s.kernel_h; ++kh) {
            int ih = reads(oh, kh, s.stride_h, s.dilation_h, s.top);
            for (u32 kw = 0; kw < s.kernel_w; ++kw) {
                int iw = reads(ow, kw, s.stride_w, s.dilation_w, s.left);
                if (ih >= 0 && ih < (int)s.h && iw >= 0 && iw < (int)s.w) {
                    float value = x[(((u64)image * s.h + ih) * s.w + iw) * s.c + channel];
                    if (place < 0 || value > best || (value != value && best == best)) {
                        best = value;
                        place = ih * (int)s.w + iw;
                    }
                }
            }
        }
        y[at] = best;
        places[at] = place;
    }
}

// Each element gets the slopes of the windows whose largest it is. A window may read an element only once.
KERNEL max_pool2d_grad(const float* dy, const int* places, float* dx, u32 n, Images s) {
    for (EACH(at, n)) {
        u32 channel = at % s.c, iw = at / s.c % s.w, ih = at / s.c / s.w % s.h, image = at / s.c / s.w / s.h;
        float sum = 0.0f;
        for (u32 kh = 0; kh < s.kernel_h; ++kh) {
            int oh = read_by(ih, kh, s.stride_h, s.dilation_h, s.top, s.out_h);
            for (u32 kw = 0; kw < s.kernel_w; ++kw) {
                int ow = read_by(iw, kw, s.stride_w, s.dilation_w, s.left, s.out_w);
                if (oh >= 0 && ow >= 0) {
                    u64 window = (((u64)image * s.out_h + oh) * s.out_w + ow) * s.c + channel;
                    sum += places[window] == (int)(ih * s.w + iw) ? dy[window] : 0.0f;
                }
            }
        }
        dx[at] = sum;
    }
}

// How many elements of the image a window holds along one axis.
__device__ __forceinline__ u32 held(u32 out, u32 taps, int stride, int dilation, int before, u32 size) {
    u32 count = 0;
    for (u32 tap = 0; tap < taps; ++tap) {
        int in = reads(out, tap, stride, dilation, before);
        count += in >= 0 && in < (int)size;
    }
    return count;
}

// What a window's sum is divided by: its taps, or the elements that it holds.
__device__ __forceinline__ float divisor(const Images& s, u32 oh, u32 ow, u32 count_padding) {
    if (count_padding) {
        return s.kernel_h * s.kernel_w;
    }
    return held(oh, s.kernel_h, s.stride_h, s.dilation_h, s.top, s.h) *
           held(ow, s.kernel_w, s.stride_w, s.dilation_w, s.left, s.w);
}

KERNEL avg_pool2d(const float* x, float* y, u32 n, Images s, u32 count_padding) {
    for (EACH(at, n)) {
        u32 channel = at % s.c, ow = at / s.c % s.out_w, oh = at / s.c / s.out_w % s.out_h;
        u32 image = at / s.c / s.out_w / s.out_h;
        float sum = 0.0f;
        for (u32 kh = 0; kh < s.kernel_h; ++kh) {
            int ih = reads(oh, kh, s.stride_h, s.dilation_h, s.top);
            for (u32 kw = 0; kw < s.kernel_w; ++kw) {
                int iw = reads(ow, kw, s.stride_w, s.dilation_w, s.left);
                if (ih >= 0 && ih < (int)s.h && iw >= 0 && iw < (int)s.w) {
                    sum += x[(((u64)image * s.h + ih) * s.w + iw) * s.c + channel];
                }
            }
        }
        y[at] = sum / divisor(s, oh, ow, count_padding);
    }
}

KERNEL avg_pool2d_grad(const float* dy, float* dx, u32 n, Images s, u32 count_padding) {
    for (EACH(at, n)) {
        u32 channel = at % s.c, iw = at / s.c % s.w, ih = at / s.c / s.w % s.h, image = at / s.c / s.w / s.h;
        float sum = 0.0f;
        for (u32 kh = 0; kh < s.kernel_h; ++kh) {
            int oh = read_by(ih, kh, s.stride_h, s.dilation_h, s.top, s.out_h);
            for (u32 kw = 0; kw < s.kernel_w; ++kw) {
                int ow = read_by(iw, kw, s.stride_w, s.dilation_w, s.left, s.out_w);
                if (oh >= 0 && ow >= 0) {
                    float slope = dy[(((u64)image * s.out_h + oh) * s.out_w + ow) * s.c + channel];
                    sum += slope / divisor(s, oh, ow, count_padding);
                }
            }
        }
        dx[at] = sum;
    }
}
