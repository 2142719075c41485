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

// The mean and the biased variance of each column.
KERNEL moments(const float* x, float* means, float* variances, u32 rows, u32 columns) {
    __shared__ float shared[8][32];
    u32 column = blockIdx.x * 32 + threadIdx.x;
    bool inside = column < columns;
    float sum = 0.0f, squares = 0.0f;
    for (u32 row = threadIdx.y; inside && row < rows; row += 8) {
        sum += x[(u64)row * columns + column];
    }
    float mean = over_rows(sum, shared) / rows;
    for (u32 row = threadIdx.y; inside && row < rows; row += 8) {
        float d = x[(u64)row * columns + column] - mean;
        squares = fmaf(d, d, squares);
    }
    float variance = over_rows(squares, shared) / rows;
    if (inside && threadIdx.y == 0) {
        means[column] = mean;
        variances[column] = variance;
    }
}

// (x - mean) / sqrt(variance + epsilon) * gamma + beta
KERNEL normalize(const float* x, const float* mean, const float* variance, const float* gamma, const float* beta,
                 float* y, u32 n, u32 columns, float epsilon) {
    for (EACH(i, n)) {
        u32 column = i % columns;
        y[i] = fmaf((x[i] - mean[column]) / sqrtf(variance[column] + epsilon), gamma[column], beta[column]);
    }
}

// The gradients of `gamma` and `beta`: sums of `dy` times what was normalised, and of `dy`.
KERNEL normalize_grad_params(const float* x, const float* dy, const float* mean, const float* variance, float* dgamma,
                             float* dbeta, u32 rows, u32 columns, float epsilon) {
    __shared__ float shared[8][32];
    u32 column = blockIdx.x * 32 + threadIdx.x;
    bool inside = column < columns;
    float centre = inside ? mean[column] : 0.0f, scale = inside ? 1.0f / sqrtf(variance[column] + epsilon) : 0.0f;
    float products = 0.0f, sum = 0.0f;
    for (u32 row = threadIdx.y; inside && row < rows; row += 8) {
        float d = dy[(u64)row * columns + column];
        products = fmaf(d, (x[(u64)row * columns + column] - centre) * scale, products);
        sum += d;
    }
    products = over_rows(products, shared);
    sum = over_rows(sum, shared);
    if (inside && threadIdx.y == 0) {
        dgamma[column] = products;
        dbeta[column] = sum;
    }
}

// The gradient of `x` where mean and variance are its own: gamma / sqrt(variance + epsilon) * (dy - dbeta / rows - x' dgamma / rows)
// with the normalised x'. Where they are constants, the host gives zeros for both sums.
KERNEL normalize_grad_input(const float* x, const float* dy, const float* mean, const float* variance, const float* gamma,
                            const float* dgamma, const float* dbeta, float* dx, u32 n, u32 rows, u32 columns, float epsilon) {
    for (EACH(i, n)) {
        u32 column = i % columns;
        float scale = 1.0f / sqrtf(variance[column] + epsilon), whitened = (x[i] - mean[column]) * scale;
        float less = (dbeta[column] + whitened * dgamma[column]) / rows;
        dx[i] = gamma[column] * scale * (dy[i] - less);
    }
}
