// Softmax, its logarithm, and the loss made of it, along rows. A warp takes a row.
#include "common.h"

// The row of this warp; the kernel ends where there is none.
#define ROW(rows)                                                                                    \
    u32 row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;            \
    if (row >= (rows)) {                                                                             \
        return;                                                                                      \
    }

__device__ __forceinline__ float largest(const float* x, u32 columns, u32 lane) {
    float most = -INFINITY;
    for (u32 i = lane; i < columns; i += 32) {
        most = Largest::both(most, x[i]);
    }
    return over_warp<Largest>(most);
}

// The sum of `exp(x - most)`.
__device__ __forceinline__ float sum_exp(const float* x, u32 columns, u32 lane, float most) {
    float sum = 0.0f;
    for (u32 i = lane; i < columns; i += 32) {
        sum += expf(x[i] - most);
    }
    return over_warp<Sum>(sum);
}

KERNEL softmax(const float* x, float* y, u32 rows, u32 columns) {
    ROW(rows)
    x += (u64)row * columns, y += (u64)row * columns;
    float most = largest(x, columns, lane);
    float scale = 1.0f / sum_exp(x, columns, lane, most);
    for (u32 i = lane; i < columns; i += 32) {
        y[i] = expf(x[i] - most) * scale;
    }
}

// dx = y (dy - sum(y dy))
KERNEL softmax_grad(const float* y, const float* dy, float* dx, u32 rows, u32 columns) {
    ROW(rows)
    y += (u64)row * columns, dy += (u64)row * columns, dx += (u64)row * columns;
    float dot = 0.0f;
    for (u32 i = lane; i < columns; i += 32) {
        dot = fmaf(y[i], dy[i], dot);
    }
    dot = over_warp<Sum>(dot);
    for (u32 i = lane; i < columns; i += 32) {
        dx[i] = y[i] * (dy[i] - dot);
    }
}

KERNEL log_softmax(const float* x, float* y, u32 rows, u32 columns) {
    ROW(rows)
    x += (u64)row * columns, y += (u64)row * columns;
    float most = largest(x, columns, lane);
    float log_sum = logf(sum_exp(x, columns, lane, most));
    for (u32 i = lane; i < columns; i += 32) {
        y[i] = x[i] - most - log_sum;
    }
}

// dx = dy - exp(y) sum(dy)
KERNEL log_softmax_grad(const float* y, const float* dy, float* dx, u32 rows, u32 columns) {
    ROW(rows)
    y += (u64)row * columns, dy += (u64)row * columns, dx += (u64)row * columns;
    float sum = 0.0f;
    for (u32 i = lane; i < columns; i += 32) {
        sum += dy[i];
    }
    sum = over_warp<Sum>(sum);
    for (u32 i = lane; i < columns; i += 32) {
        dx[i] = dy[i] - expf(y[i]) * sum;
    }
}

// The loss of each row and, where `dx` is not null, its gradient for a `dy` of 1. A label outside of the classes goes to `bad`, see
// `common.h`, and its row's loss is NaN.
KERNEL cross_entropy(const float* x, const i64* labels, float* loss, float* dx, u32 rows, u32 columns, u64* bad) {
    ROW(rows)
    x += (u64)row * columns;
    i64 label = labels[row];
    float most = largest(x, columns, lane);
    float sum = sum_exp(x, columns, lane, most);
    if (dx) {
        dx += (u64)row * columns;
        float scale = 1.0f / sum;
        for (u32 i = lane; i < columns; i += 32) {
            dx[i] = expf(x[i] - most) * scale - (i == label ? 1.0f : 0.0f);
        }
    }
    if (lane == 0) {
        loss[row] = inside(label, columns, row, bad) ? logf(sum) - (x[label] - most) : NOT_A_NUMBER;
    }
}

// dx = (softmax(x) - one_hot(label)) dy, with one `dy` for each row.
KERNEL cross_entropy_grad(const float* x, const i64* labels, const float* dy, float* dx, u32 rows, u32 columns, u64* bad) {
    ROW(rows)
    x += (u64)row * columns, dx += (u64)row * columns;
    i64 label = labels[row];
    float slope = dy[row], most = largest(x, columns, lane);
    float scale = 1.0f / sum_exp(x, columns, lane, most);
    for (u32 i = lane; i < columns; i += 32) {
        dx[i] = (expf(x[i] - most) * scale - (i == label ? 1.0f : 0.0f)) * slope;
    }
    if (lane == 0) {
        inside(label, columns, row, bad);
    }
}
