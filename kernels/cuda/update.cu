// Steps of optimizers, in place. Rules and their numbers are those of `kernels/src/update.rs`, in single precision.
#include "common.h"

// What is done to a gradient before a rule gets it, and to the weight itself.
struct Adjust {
    float l1, l2, scale, limit, decay, keep;
};

__device__ __forceinline__ float sign(float x) {
    return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f;
}
__device__ __forceinline__ float adjusted(const Adjust& how, float w, float g) {
    g = how.scale * (g + how.l1 * sign(w) + how.l2 * w);
    g = g < -how.limit ? -how.limit : g > how.limit ? how.limit : g;
    return g + how.decay * w;
}

KERNEL update_descend(float* weights, const float* gradient, u32 n, Adjust how, float rate) {
    for (EACH(i, n)) {
        float w = weights[i], g = adjusted(how, w, gradient[i]);
        weights[i] = how.keep * w - rate * g;
    }
}

KERNEL update_momentum(float* weights, const float* gradient, float* velocity, u32 n, Adjust how, float momentum,
                       float inner, float outer, u32 nesterov) {
    for (EACH(i, n)) {
        float w = weights[i], g = adjusted(how, w, gradient[i]);
        float v = momentum * velocity[i] - inner * g;
        velocity[i] = v;
        weights[i] = how.keep * w + outer * (nesterov ? momentum * v - inner * g : v);
    }
}

// `most` is read and written only where `largest` is set.
KERNEL update_moments(float* weights, const float* gradient, float* mean, float* square, float* most, u32 n, Adjust how,
                      float beta1, float beta2, float rate_m, float rate_g, float root, float epsilon, u32 largest) {
    for (EACH(i, n)) {
        float w = weights[i], g = adjusted(how, w, gradient[i]);
        float m = beta1 * mean[i] + (1.0f - beta1) * g, v = beta2 * square[i] + (1.0f - beta2) * g * g;
        mean[i] = m;
        square[i] = v;
        if (largest) {
            v = fmaxf(most[i], v);
            most[i] = v;
        }
        weights[i] = how.keep * w - (rate_m * m + rate_g * g) / (root * sqrtf(v) + epsilon);
    }
}

KERNEL update_infinity(float* weights, const float* gradient, float* mean, float* norm, u32 n, Adjust how, float beta1,
                       float beta2, float rate, float inside, float outside) {
    for (EACH(i, n)) {
        float w = weights[i], g = adjusted(how, w, gradient[i]);
        float m = beta1 * mean[i] + (1.0f - beta1) * g, u = fmaxf(beta2 * norm[i], fabsf(g) + inside);
        mean[i] = m;
        norm[i] = u;
        weights[i] = how.keep * w - rate * m / (u + outside);
    }
}

// `average` is used where `centered` is set, `step` where the momentum is not 0.
KERNEL update_squares(float* weights, const float* gradient, float* square, float* average, float* step, u32 n, Adjust how,
                      float keep, float add, u32 centered, float momentum, float inner, float outer, float inside,
                      float outside) {
    for (EACH(i, n)) {
        float w = weights[i], g = adjusted(how, w, gradient[i]);
        float v = keep * square[i] + add * g * g, d = v;
        square[i] = v;
        if (centered) {
            float a = keep * average[i] + add * g;
            average[i] = a;
            d -= a * a;
        }
        float b = inner * g / (sqrtf(d + inside) + outside);
        if (momentum != 0.0f) {
            b += momentum * step[i];
            step[i] = b;
        }
        weights[i] = how.keep * w - outer * b;
    }
}

KERNEL update_deltas(float* weights, const float* gradient, float* square, float* steps, u32 n, Adjust how, float rho,
                     float rate, float epsilon) {
    for (EACH(i, n)) {
        float w = weights[i], g = adjusted(how, w, gradient[i]), s = steps[i];
        float v = rho * square[i] + (1.0f - rho) * g * g;
        float d = g * sqrtf(s + epsilon) / sqrtf(v + epsilon);
        square[i] = v;
        steps[i] = rho * s + (1.0f - rho) * d * d;
        weights[i] = how.keep * w - rate * d;
    }
}

KERNEL update_sign(float* weights, const float* gradient, float* mean, u32 n, Adjust how, float beta1, float beta2,
                   float rate) {
    for (EACH(i, n)) {
        float w = weights[i], g = adjusted(how, w, gradient[i]), m = mean[i];
        mean[i] = beta2 * m + (1.0f - beta2) * g;
        weights[i] = how.keep * w - rate * sign(beta1 * m + (1.0f - beta1) * g);
    }
}
