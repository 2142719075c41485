// Copies through strides, and constants.
#include "common.h"

// The elements of a view in row-major order, for each size of an element.
#define COPY(bits, T)                                             \
    KERNEL copy_##bits(const T* from, Layout at, T* to, u32 n) {  \
        for (EACH(i, n)) {                                        \
            to[i] = from[place(at, i)];                           \
        }                                                         \
    }                                                             \
    KERNEL copy_into_##bits(const T* from, T* to, Layout at, u32 n) { \
        for (EACH(i, n)) {                                        \
            to[place(at, i)] = from[i];                           \
        }                                                         \
    }                                                             \
    KERNEL fill_##bits(T* to, T value, u32 n) {                   \
        for (EACH(i, n)) {                                        \
            to[i] = value;                                        \
        }                                                         \
    }

COPY(8, u8)
COPY(16, u16)
COPY(32, u32)
COPY(64, u64)
