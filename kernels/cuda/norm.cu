// Normalisation: along rows (layer norm), and of each column over all rows (batch norm).
#include "common.h"

// Each row less its mean and over the root of its variance plus `epsilon`, times `gamma` plus `beta`. A block takes a row.
KERNEL layer_norm(const float* x, const float* gamma, const float* beta, float* y, u32 columns, float epsilon) {
    __shared__ float shared[32];
    x += (u64)blockIdx.x * columns, y += (u64)blockIdx.x * columns;
    float sum = 0.0f;
    for (u32 i = threadIdx.x; i < columns; i += blockDim.x) {
        sum += x[i];
    }
    float mean = over_block<Sum>(sum, shared) / columns;
    // In a second pass, since the mean of squares less the square of the mean may lose all digits.
    float squares = 0.0f;
    for (u32 i = threadIdx.x; i < columns; i += blockDim.x) {
        float d = x[i] - mean;
        squares = fmaf(d, d, squares);
    }
    float scale = 1.0f / sqrtf(over_block<Sum>(squares, shared) / columns + epsilon);
    for (u32 i = threadIdx.x; i < columns; i += blockDim.x) {
        y[i] = fmaf((x[i] - mean) * scale, gamma[i], beta[i]);
    }
}

// Blocks of 32 x 8 threads take 32 columns: sums of 8 threads meet in shared memory, in order.
__device__ __forceinline__ float over_rows(float x, float (*shared)[32]) {
    shared[threadIdx.y][threadIdx.x] = x;
    __syncthreads();
    float sum = 0.0f;
#pragma unroll
    for (u32 i = 0; i < 8; ++i) {
        sum += shared[i][threadIdx.x];
    }
    __syncthreads();
    return sum;
}

// The rows of part `i` of as many as the grid has on its second axis.
__device__ __forceinline__ u32 start_of_part(u32 rows, u32 i, u32 parts) {
    return (u32)((u64)rows * i / parts);
}

// The mean and the biased variance of each column, for each part of the rows: both are [gridDim.y, columns]. There are no more parts
// than rows.
KERNEL moments(const float* x, float* means, float* variances, u32 rows, u32 columns) {
    __shared__ float shared[8][32];
    u32 column = blockIdx.x * 32 + threadIdx.x;
    u32 first = start_of_part(rows, blockIdx.y, gridDim.y), end = start_of_part(rows, blockIdx.y + 1, gridDim.y);
    bool inside = column < columns;
    float sum = 0.0f, squares = 0.0f;
    for (u32 row = first + threadIdx.y; inside && row < end; row += 8) {
        sum += x[(u64)row * columns + column];
    }
    float mean = over_rows(sum, shared) / (end - first);
    for (u32 row = first + threadIdx.y; inside && row < end; row += 8) {
        float d = x[(u64)row * columns + column] - mean;
        squares = fmaf(d, d, squares);
    }
    float variance = over_rows(squares, shared) / (end - first);
    if (inside && threadIdx.y == 0) {
        means[blockIdx.y * columns + column] = mean;
        variances[blockIdx.y * columns + column] = variance;
    }
}

// The moments of all rows from those of the parts (Chan et al. 1979).
KERNEL moments_join(const float* means, const float* variances, float* mean, float* variance, u32 rows, u32 columns, u32 parts) {
    for (EACH(column, columns)) {
        float sum = 0.0f, squares = 0.0f;
        for (u32 i = 0; i < parts; ++i) {
            sum += (start_of_part(rows, i + 1, parts) - start_of_part(rows, i, parts)) * means[i * columns + column];
        }
        float all = sum / rows;
        for (u32 i = 0; i < parts; ++i) {
            float d = means[i * columns + column] - all;
            squares += (start_of_part(rows, i + 1, parts) - start_of_part(rows, i, parts)) *
                       fmaf(d, d, variances[i * columns + column]);
        }
        mean[column] = all;
        variance[column] = squares / rows;
    }
}

// (x - mean) / sqrt(variance + epsilon) * gamma + beta. Here and below, x is [.., columns, inner]: where features lie along the last
// dimension, `inner` is 1.
KERNEL normalize(const float* x, const float* mean, const float* variance, const float* gamma, const float* beta,
                 float* y, u32 n, u32 columns, u32 inner, float epsilon) {
    for (EACH(i, n)) {
        u32 column = i / inner % columns;
        y[i] = fmaf((x[i] - mean[column]) / sqrtf(variance[column] + epsilon), gamma[column], beta[column]);
    }
}

// The gradients of `gamma` and `beta`, for each part of the rows: sums of `dy` times what was normalised, and of `dy`. Both are
// [gridDim.y, columns], which `reduce_columns_sum` adds.
KERNEL normalize_grad_params(const float* x, const float* dy, const float* mean, const float* variance, float* dgamma,
                             float* dbeta, u32 rows, u32 columns, float epsilon) {
    __shared__ float shared[8][32];
    u32 column = blockIdx.x * 32 + threadIdx.x;
    u32 first = start_of_part(rows, blockIdx.y, gridDim.y), end = start_of_part(rows, blockIdx.y + 1, gridDim.y);
    bool inside = column < columns;
    float centre = inside ? mean[column] : 0.0f, scale = inside ? 1.0f / sqrtf(variance[column] + epsilon) : 0.0f;
    float products = 0.0f, sum = 0.0f;
    for (u32 row = first + threadIdx.y; inside && row < end; row += 8) {
        float d = dy[(u64)row * columns + column];
        products = fmaf(d, (x[(u64)row * columns + column] - centre) * scale, products);
        sum += d;
    }
    products = over_rows(products, shared);
    sum = over_rows(sum, shared);
    if (inside && threadIdx.y == 0) {
        dgamma[blockIdx.y * columns + column] = products;
        dbeta[blockIdx.y * columns + column] = sum;
    }
}

// The gradient of `x` where mean and variance are its own: gamma / sqrt(variance + epsilon) * (dy - dbeta / rows - x' dgamma / rows)
// with the normalised x', where `rows` counts the elements of a feature. Where they are constants, both sums are null.
KERNEL normalize_grad_input(const float* x, const float* dy, const float* mean, const float* variance, const float* gamma,
                            const float* dgamma, const float* dbeta, float* dx, u32 n, u32 rows, u32 columns, u32 inner,
                            float epsilon) {
    for (EACH(i, n)) {
        u32 column = i / inner % columns;
        float scale = 1.0f / sqrtf(variance[column] + epsilon), less = 0.0f;
        if (dgamma) {
            less = (dbeta[column] + (x[i] - mean[column]) * scale * dgamma[column]) / rows;
        }
        dx[i] = gamma[column] * scale * (dy[i] - less);
    }
}

// Element `i` of the feature of this block in x [outer, columns, inner].
__device__ __forceinline__ u64 in_feature(u32 i, u32 inner) {
    return ((u64)(i / inner) * gridDim.x + blockIdx.x) * inner + i % inner;
}

// The moments where features do not lie along the last dimension: x is [outer, gridDim.x, inner], and a block takes a feature, of which
// there are `rows` elements.
KERNEL moments_inner(const float* x, float* means, float* variances, u32 rows, u32 inner) {
    __shared__ float shared[32];
    float sum = 0.0f, squares = 0.0f;
    for (u32 i = threadIdx.x; i < rows; i += blockDim.x) {
        sum += x[in_feature(i, inner)];
    }
    float mean = over_block<Sum>(sum, shared) / rows;
    for (u32 i = threadIdx.x; i < rows; i += blockDim.x) {
        float d = x[in_feature(i, inner)] - mean;
        squares = fmaf(d, d, squares);
    }
    squares = over_block<Sum>(squares, shared);
    if (threadIdx.x == 0) {
        means[blockIdx.x] = mean;
        variances[blockIdx.x] = squares / rows;
    }
}

// The gradients of `gamma` and `beta` there.
KERNEL normalize_grad_params_inner(const float* x, const float* dy, const float* mean, const float* variance, float* dgamma,
                                   float* dbeta, u32 rows, u32 inner, float epsilon) {
    __shared__ float shared[32];
    float centre = mean[blockIdx.x], scale = 1.0f / sqrtf(variance[blockIdx.x] + epsilon), products = 0.0f, sum = 0.0f;
    for (u32 i = threadIdx.x; i < rows; i += blockDim.x) {
        u64 at = in_feature(i, inner);
        products = fmaf(dy[at], (x[at] - centre) * scale, products);
        sum += dy[at];
    }
    products = over_block<Sum>(products, shared);
    sum = over_block<Sum>(sum, shared);
    if (threadIdx.x == 0) {
        dgamma[blockIdx.x] = products;
        dbeta[blockIdx.x] = sum;
    }
}

// The slope of an activation of `common.h` where its value is `y`.
__device__ __forceinline__ float slope_at(u32 activation, float p, float y) {
    switch (activation) {
        case RELU: return y > 0.0f ? 1.0f : 0.0f;
        case SIGMOID: return y * (1.0f - y);
        case TANH: return 1.0f - y * y;
        case LEAKY_RELU: return y > 0.0f ? 1.0f : p;
        case ELU: return y > 0.0f ? 1.0f : y + p;
        case SELU: return y > 0.0f ? (float)SELU_SCALE : y + (float)SELU_BELOW;
        default: return 1.0f;
    }
}

// dx = dy times the slope at the value y, all [rows, columns], and the sums of dx over the rows of each part: sums is
// [gridDim.y, columns], which `reduce_columns_sum` adds.
KERNEL activation_grad(const float* y, const float* dy, float* dx, float* sums, u32 rows, u32 columns, u32 activation, float p) {
    __shared__ float shared[8][32];
    u32 column = blockIdx.x * 32 + threadIdx.x;
    u32 first = start_of_part(rows, blockIdx.y, gridDim.y), end = start_of_part(rows, blockIdx.y + 1, gridDim.y);
    float sum = 0.0f;
    for (u32 row = first + threadIdx.y; column < columns && row < end; row += 8) {
        u64 at = (u64)row * columns + column;
        float d = slope_at(activation, p, y[at]) * dy[at];
        dx[at] = d;
        sum += d;
    }
    sum = over_rows(sum, shared);
    if (column < columns && threadIdx.y == 0) {
        sums[blockIdx.y * columns + column] = sum;
    }
}
