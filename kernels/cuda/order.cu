// What depends on the order of a row's elements: places of extremes, running sums, sorting. Names end in the type that is read.
#include "common.h"

// Whether `a` stands before `b`; NaN is the largest, and like NaN.
template <class V>
__device__ __forceinline__ bool less(V a, V b) {
    return a < b || (b != b && a == a);
}

// Whether `a` at place `i` is to be found rather than `b` at place `j`: the smaller where `least` is set, else the larger; NaN before
// all, the first of equals, and anything rather than none, whose place is ALL_LANES.
template <class V>
__device__ __forceinline__ bool found_before(V a, u32 i, V b, u32 j, u32 least) {
    if (i == ALL_LANES || j == ALL_LANES) {
        return i != ALL_LANES;
    }
    bool turned = least && a == a && b == b;
    bool better = turned ? less(a, b) : less(b, a), worse = turned ? less(b, a) : less(a, b);
    return better || (!worse && i < j);
}

// The place of the largest of each row, or of the smallest. A warp takes a row.
template <class V, class T>
__device__ __forceinline__ void arg_rows(const T* x, i64* y, u32 rows, u32 columns, u32 least) {
    u32 row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) {
        return;
    }
    const T* here = x + (u64)row * columns;
    V best = V(0);
    u32 at = ALL_LANES;
    for (u32 i = lane; i < columns; i += 32) {
        V value = here[i];
        if (found_before(value, i, best, at, least)) {
            best = value;
            at = i;
        }
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        V other = __shfl_xor_sync(ALL_LANES, best, distance);
        u32 other_at = __shfl_xor_sync(ALL_LANES, at, distance);
        if (found_before(other, other_at, best, at, least)) {
            best = other;
            at = other_at;
        }
    }
    if (lane == 0) {
        y[row] = at;
    }
}

// Running sums along each row in the type A, 32 elements of a row at a time. A warp takes a row.
template <class A, class T, class R>
__device__ __forceinline__ void cumsum_rows(const T* x, R* y, u32 rows, u32 columns) {
    u32 row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) {
        return;
    }
    const T* from = x + (u64)row * columns;
    R* to = y + (u64)row * columns;
    A before = A(0);
    for (u32 first = 0; first < columns; first += 32) {
        u32 i = first + lane;
        A sum = i < columns ? (A)from[i] : A(0);
#pragma unroll
        for (int distance = 1; distance < 32; distance *= 2) {
            A left = __shfl_up_sync(ALL_LANES, sum, distance);
            if (lane >= distance) {
                sum += left;
            }
        }
        sum += before;
        if (i < columns) {
            to[i] = (R)sum;
        }
        before = __shfl_sync(ALL_LANES, sum, 31);
    }
}

// The most elements that a block sorts.
#define RUN 1024

// Whether `a`, which stood at `i`, goes before `b`, which stood at `j`. What fills a run up, at ALL_LANES, goes last.
template <class V>
__device__ __forceinline__ bool goes_before(V a, u32 i, V b, u32 j, u32 descending) {
    if (i == ALL_LANES || j == ALL_LANES) {
        return i < j;
    }
    bool before = descending ? less(b, a) : less(a, b), behind = descending ? less(a, b) : less(b, a);
    return before || (!behind && i < j);
}

// Sorts runs of RUN elements of each row: the block (row, run) writes the run's elements in order, and where in the row each stood. No
// two elements are equal in that order, so that any network sorts stably; this one is Batcher's bitonic one.
//
// A row of up to RUN elements is then sorted. For a longer one `sort_merge` follows, with a width of RUN, 2 RUN, .. as long as the
// width is smaller than the row, each time from the arrays that the launch before wrote to others.
template <class V, class T>
__device__ __forceinline__ void sort_rows(const T* x, T* values, i64* places, u32 columns, u32 descending) {
    __shared__ T key[RUN];
    __shared__ u32 place[RUN];
    u32 start = blockIdx.y * RUN, len = min(columns - start, RUN), padded = 1;
    while (padded < len) {
        padded *= 2;
    }
    u64 row = (u64)blockIdx.x * columns;
    for (u32 i = threadIdx.x; i < padded; i += blockDim.x) {
        bool inside = i < len;
        key[i] = x[row + start + (inside ? i : 0)];
        place[i] = inside ? start + i : ALL_LANES;
    }
    for (u32 size = 2; size <= padded; size *= 2) {
        for (u32 distance = size / 2; distance > 0; distance /= 2) {
            __syncthreads();
            for (u32 pair = threadIdx.x; pair < padded / 2; pair += blockDim.x) {
                u32 i = pair / distance * 2 * distance + pair % distance, j = i + distance;
                T left = key[i], right = key[j];
                u32 at_left = place[i], at_right = place[j];
                // Every other stretch of this size is turned around, so that two make one that rises and falls.
                bool swap = i & size ? goes_before((V)left, at_left, (V)right, at_right, descending)
                                     : goes_before((V)right, at_right, (V)left, at_left, descending);
                if (swap) {
                    key[i] = right, key[j] = left;
                    place[i] = at_right, place[j] = at_left;
                }
            }
        }
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < len; i += blockDim.x) {
        values[row + start + i] = key[i];
        places[row + start + i] = place[i];
    }
}

// Merges each two neighbouring runs of `width` elements of a row: an element goes to its number in its run plus that of the elements of
// the other run that go before it. Of equals, those of the first run do.
template <class V, class T>
__device__ __forceinline__ void sort_merge(const T* from, const i64* from_places, T* to, i64* to_places, u32 n, u32 columns,
                                           u32 width, u32 descending) {
    for (EACH(at, n)) {
        u32 i = at % columns, run = i / width, number = i % width;
        bool is_first = run % 2 == 0;
        const T* row = from + (at - i);
        T own = row[i];
        // The other run is from `low` to `high`, and may be short or empty.
        u32 start = min((is_first ? run + 1 : run - 1) * width, columns), low = start, high = min(start + width, columns);
        while (low < high) {
            u32 middle = (low + high) / 2;
            V other = (V)row[middle];
            bool before = descending ? less((V)own, other) : less(other, (V)own);
            bool behind = descending ? less(other, (V)own) : less((V)own, other);
            if (before || (!is_first && !behind)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        u32 place = (at - i) + run / 2 * 2 * width + number + (low - start);
        to[place] = own;
        to_places[place] = from_places[at];
    }
}

#define CUMSUM(type, T, A, R)                                                            \
    KERNEL cumsum_rows_##type(const T* x, R* y, u32 rows, u32 columns) {                 \
        cumsum_rows<A>(x, y, rows, columns);                                             \
    }
CUMSUM(f32, float, double, float)
CUMSUM(f64, double, double, double)
CUMSUM(i32, u32, u32, u32)
CUMSUM(i64, u64, u64, u64)
CUMSUM(u8, u8, u64, u64)
CUMSUM(bool, Truth, u64, u64)

#define ORDER(type, T, V)                                                                                            \
    KERNEL arg_rows_##type(const T* x, i64* y, u32 rows, u32 columns, u32 least) {                                   \
        arg_rows<V>(x, y, rows, columns, least);                                                                     \
    }                                                                                                                \
    KERNEL sort_rows_##type(const T* x, T* values, i64* places, u32 columns, u32 descending) {                       \
        sort_rows<V>(x, values, places, columns, descending);                                                        \
    }                                                                                                                \
    KERNEL sort_merge_##type(const T* from, const i64* from_places, T* to, i64* to_places, u32 n, u32 columns,       \
                             u32 width, u32 descending) {                                                            \
        sort_merge<V>(from, from_places, to, to_places, n, columns, width, descending);                              \
    }
ORDER(f32, float, float)
ORDER(f64, double, double)
ORDER(i32, int, int)
ORDER(i64, i64, i64)
ORDER(u8, u8, int)
ORDER(bool, Truth, int)
