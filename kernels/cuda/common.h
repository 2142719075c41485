// What all kernels share: names of types, strided access, sums over a warp and over a block.
//
// Blocks have a multiple of 32 threads, counts and places fit in 32 bits, and every array is in global memory.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

// A truth value: any byte but 0 is true.
struct Truth {
    u8 byte;
    __device__ __forceinline__ operator int() const { return byte != 0; }
    __device__ __forceinline__ void operator=(int x) { byte = x != 0; }
};

// The most dimensions of a strided operand.
#define RANK 6

// A view of an array, whose pointer is that of its first element.
struct Layout {
    u32 rank;
    u32 shape[RANK];
    int stride[RANK];
};

// How far element `i`, in row-major order, lies behind the first. The loop has a fixed length, so that the layout stays in
// the kernel's parameters, which cost no load. What is left for the first axis needs no division: a view without gaps, which
// has one axis once axes that follow each other are joined, costs one multiplication.
__device__ __forceinline__ i64 place(const Layout& layout, u32 i) {
    i64 at = 0;
#pragma unroll
    for (int axis = RANK - 1; axis > 0; --axis) {
        if (axis < layout.rank) {
            u32 rest = i / layout.shape[axis];
            at += (i64)(int)(i - rest * layout.shape[axis]) * layout.stride[axis];
            i = rest;
        }
    }
    return at + (i64)i * layout.stride[0];
}

// The elements of a thread: `for (EACH(i, n))` goes over all of them, whatever the size of the grid.
#define EACH(i, n) u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += gridDim.x * blockDim.x

#define KERNEL extern "C" __global__ void
#define ALL_LANES 0xffffffffu
#define INFINITY __int_as_float(0x7f800000)
#define NOT_A_NUMBER __int_as_float(0x7fffffff)

// An index outside of 0..size is kept for the host: `bad` is four words, a flag, and where in the indices it stood, what it was and
// the size. The host clears the flag; the first thread that finds it so writes the rest.
__device__ __forceinline__ bool inside(i64 index, u32 size, u64 position, u64* bad) {
    if (index >= 0 && index < (i64)size) {
        return true;
    }
    if (atomicCAS(bad, 0ull, 1ull) == 0) {
        bad[1] = position;
        bad[2] = (u64)index;
        bad[3] = size;
    }
    return false;
}

// A power in double precision, whose own one the compiler would call, and not write out. The logarithm's rounding grows with the
// result's size: to about 1e-16 times the logarithm of the result.
__device__ __forceinline__ double power(double a, double b) {
    double size = fabs(a), whole = trunc(b), half = 0.5 * b;
    if (b == 0.0 || a == 1.0 || (size == 1.0 && fabs(b) == (double)INFINITY)) {
        return 1.0;
    }
    double log_size = log(size), product = b * log_size, y = exp(product);
    // What the product lost in rounding.
    double lost = fma(b, log_size, -product);
    if (fabs(product) < 800.0) {
        y = fma(y, lost, y);
    }
    if (a < 0.0 && whole != b && size != (double)INFINITY) {
        return __longlong_as_double(0x7ff8000000000000ll);
    }
    bool odd = whole == b && trunc(half) != half;
    return odd ? copysign(y, a) : y;
}

// The ends of a type.
template <class T>
__device__ __forceinline__ T highest();
template <>
__device__ __forceinline__ float highest() { return INFINITY; }
template <>
__device__ __forceinline__ double highest() { return __longlong_as_double(0x7ff0000000000000ll); }
template <>
__device__ __forceinline__ int highest() { return 0x7fffffff; }
template <>
__device__ __forceinline__ i64 highest() { return 0x7fffffffffffffffll; }
template <>
__device__ __forceinline__ u8 highest() { return 255; }
template <class T>
__device__ __forceinline__ T lowest() { return -highest<T>() - (T(0.5) == T(0) ? T(1) : T(0)); }
template <>
__device__ __forceinline__ u8 lowest() { return 0; }

// What is combined over many elements. `none` changes nothing.
struct Sum {
    template <class T>
    static __device__ __forceinline__ T none() { return T(0); }
    template <class T>
    static __device__ __forceinline__ T both(T a, T b) { return a + b; }
};
struct Product {
    template <class T>
    static __device__ __forceinline__ T none() { return T(1); }
    template <class T>
    static __device__ __forceinline__ T both(T a, T b) { return a * b; }
};
// NaN wins over all numbers.
struct Largest {
    template <class T>
    static __device__ __forceinline__ T none() { return lowest<T>(); }
    template <class T>
    static __device__ __forceinline__ T both(T a, T b) { return a > b || a != a ? a : b; }
};
struct Smallest {
    template <class T>
    static __device__ __forceinline__ T none() { return highest<T>(); }
    template <class T>
    static __device__ __forceinline__ T both(T a, T b) { return a < b || a != a ? a : b; }
};

// Combines the values of a warp; every lane gets the result.
template <class F, class T>
__device__ __forceinline__ T over_warp(T x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        x = F::both(x, __shfl_xor_sync(ALL_LANES, x, distance));
    }
    return x;
}

// Combines the values of a block; every thread gets the result. `shared` has room for a value of each warp.
template <class F, class T>
__device__ __forceinline__ T over_block(T x, T* shared) {
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    x = over_warp<F>(x);
    if (lane == 0) {
        shared[warp] = x;
    }
    __syncthreads();
    x = over_warp<F>(lane < warps ? shared[lane] : F::template none<T>());
    // The next one may use the same room.
    __syncthreads();
    return x;
}

// The activations that products and convolutions end with, by number; `p` is the slope or the alpha of those that have one.
#define NO_ACTIVATION 0
#define RELU 1
#define SIGMOID 2
#define TANH 3
#define LEAKY_RELU 4
#define ELU 5
#define SELU 6
#define SELU_SCALE 1.0507009873554805
#define SELU_BELOW 1.7580993408473766

template <class R>
__device__ __forceinline__ R activate(u32 activation, R p, R x) {
    switch (activation) {
        case RELU: return x < R(0) ? R(0) : x;
        case SIGMOID: return R(1) / (R(1) + exp(-x));
        case TANH: return tanh(x);
        case LEAKY_RELU: return x > R(0) ? x : p * x;
        case ELU: return x > R(0) ? x : p * expm1(x);
        case SELU: return x > R(0) ? R(SELU_SCALE) * x : R(SELU_BELOW) * expm1(x);
        default: return x;
    }
}

// What becomes of the sums of a product: `scale` times each, plus what stands at `c` if `accumulate` is set, plus the bias of its
// column unless that is null, through an activation.
template <class R>
struct Finish {
    const R* bias;
    R scale, p;
    u32 accumulate, activation;
    __device__ __forceinline__ R finished(R old, u32 column, R sum) const {
        R value = scale * sum;
        if (accumulate) {
            value += old;
        }
        if (bias) {
            value += bias[column];
        }
        return activate(activation, p, value);
    }
    __device__ __forceinline__ void write(R* c, u64 at, u32 column, R sum) const {
        c[at] = finished(accumulate ? c[at] : R(0), column, sum);
    }
    // The same for four neighbours from `column` on, at an address that is a multiple of 16 bytes.
    __device__ __forceinline__ void write_four(float* c, u32 column, float4 sum) const {
        float4 old = accumulate ? *(const float4*)c : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        *(float4*)c = make_float4(finished(old.x, column, sum.x), finished(old.y, column + 1, sum.y),
                                  finished(old.z, column + 2, sum.z), finished(old.w, column + 3, sum.w));
    }
};

// Tiles of 64 x 64 of a product, of which each of 256 threads computes 4 x 4. The sum is taken in slices of 16. An operand is seen as
// lines along the sum, rows of the left one and columns of the right one; it brings four elements for each thread of a block, either of
// four lines at one place of the sum (`across`), or of four places on one line.
#define TILE_64 64
#define SLICE 16

__device__ __forceinline__ u32 own_line(bool across) {
    return across ? threadIdx.x % 16 * 4 : threadIdx.x / 4;
}
__device__ __forceinline__ u32 own_place(bool across) {
    return across ? threadIdx.x / 16 : threadIdx.x % 4 * 4;
}

// Where an element stands in a slice. The lines are mixed with the place, so that neither those who write four lines nor those who
// write four places meet in a bank.
__device__ __forceinline__ u32 mixed(u32 place, u32 line) {
    return place * TILE_64 + (line ^ (place / 4 * 8));
}
__device__ __forceinline__ void keep(float* slice, bool across, float4 four) {
    u32 line = own_line(across), place = own_place(across);
    if (across) {
        *(float4*)&slice[mixed(place, line)] = four;
    } else {
        slice[mixed(place, line)] = four.x;
        slice[mixed(place + 1, line)] = four.y;
        slice[mixed(place + 2, line)] = four.z;
        slice[mixed(place + 3, line)] = four.w;
    }
}

// The thread's first row and column in a tile: a warp computes 16 rows by 32 columns, 4 by 8 threads.
__device__ __forceinline__ u32 own_row() {
    return threadIdx.x / 64 * 16 + threadIdx.x % 32 / 8 * 4;
}
__device__ __forceinline__ u32 own_column() {
    return threadIdx.x / 32 % 2 * 32 + threadIdx.x % 8 * 4;
}

// Computes the tile at `top` and `start` of `c` [m, n] from the elements `begin` to `end` of the sum, and writes it as `finish` says.
template <class Left, class Right>
__device__ __forceinline__ void tile_product(Left rows, Right columns, u32 begin, u32 end, float* c, u32 m, u32 n,
                                             u32 top, u32 start, const Finish<float>& finish) {
    // Two slices of both operands, and at last the sums.
    __shared__ __align__(16) float room[4 * SLICE * TILE_64];
    u32 y = own_row(), x = own_column();
    float sum[4][4] = {};
    float4 next_left = rows.bring(begin, end), next_right = columns.bring(begin, end);
    for (u32 first = begin, now = 0; first < end; first += SLICE, now ^= SLICE * TILE_64) {
        float *left = room + now, *right = room + 2 * SLICE * TILE_64 + now;
        keep(left, rows.across, next_left);
        keep(right, columns.across, next_right);
        __syncthreads();
        // The next slice is on its way while this one is multiplied. It goes to the other half, which all have left before the barrier.
        next_left = rows.bring(first + SLICE, end);
        next_right = columns.bring(first + SLICE, end);
#pragma unroll
        for (u32 i = 0; i < SLICE; i += 4) {
            const float *of_left = left + mixed(i, y), *of_right = right + mixed(i, x);
#pragma unroll
            for (int place = 0; place < 4; ++place) {
                float row[4], column[4];
                *(float4*)row = *(const float4*)&of_left[place * TILE_64];
                *(float4*)column = *(const float4*)&of_right[place * TILE_64];
#pragma unroll
                for (u32 q = 0; q < 16; ++q) {
                    sum[q / 4][q % 4] = fmaf(row[q / 4], column[q % 4], sum[q / 4][q % 4]);
                }
            }
        }
    }
    // Through shared memory, so that neighbouring threads write neighbours of a row.
    __syncthreads();
#pragma unroll
    for (u32 p = 0; p < 4; ++p) {
        *(float4*)&room[(y + p) * TILE_64 + x] = *(float4*)sum[p];
    }
    __syncthreads();
    if (n % 4 != 0) {
#pragma unroll 1
        for (u32 i = threadIdx.x; i < TILE_64 * TILE_64; i += 256) {
            u32 row = top + i / TILE_64, column = start + i % TILE_64;
            if (row < m && column < n) {
                finish.write(c, (u64)row * n + column, column, room[i]);
            }
        }
        return;
    }
    u32 column = start + threadIdx.x % 16 * 4;
#pragma unroll 1
    for (u32 line = threadIdx.x / 16; line < TILE_64; line += 16) {
        u32 row = top + line;
        if (row < m && column < n) {
            const float* from = &room[line * TILE_64 + threadIdx.x % 16 * 4];
            finish.write_four(&c[(u64)row * n + column], column, *(const float4*)from);
        }
    }
}

// A matrix whose neighbours lie as far apart as they may: lines, of which the tile begins with `start`, and places along the sum, which
// begins with `begin`. It brings one slice after the other.
struct Side {
    const float* next;
    // From one place to the next, and from one of the thread's four elements to the next.
    int along, step;
    // How many of the four are of lines that exist.
    u32 exist;
    bool across, wide;

    __device__ __forceinline__ Side(const float* x, int line, int along, u32 lines, u32 start, u32 begin)
        : along(along), across(line == 1 && along != 1) {
        // Whether the four lie beside each other, so that one access brings them.
        wide = (across ? along % 4 == 0 : along == 1 && line % 4 == 0) && (u64)x % 16 == 0;
        step = across ? 1 : along;
        u32 at = start + own_line(across);
        next = x + (i64)at * line + (i64)(begin + own_place(across)) * along;
        exist = across ? lines - min(at, lines) : at < lines ? 4 : 0;
    }
    // The thread's elements of a slice, with zeros outside of the matrix.
    __device__ __forceinline__ float4 bring(u32 first, u32 end) {
        u32 places = end - min(first + own_place(across), end);
        u32 left = across ? (places ? exist : 0) : (exist ? places : 0);
        const float* here = next;
        next += (i64)along * SLICE;
        if (wide && left >= 4) {
            return *(const float4*)here;
        }
        float4 four;
        float* each = &four.x;
#pragma unroll
        for (u32 e = 0; e < 4; ++e, here += step) {
            each[e] = e < left ? *here : 0.0f;
        }
        return four;
    }
};

// Long sums are cut into parts, which are sums of their own, so that short outputs fill a GPU too. `blockIdx.z` counts the parts of the
// first product, then those of the second, and so do the matrices that are written; `matmul_join` adds them.
struct Part {
    u32 batch, first, end;
};
__device__ __forceinline__ Part part_of(u32 k, u32 parts, u32 multiple) {
    u32 each = ((k + parts - 1) / parts + multiple - 1) / multiple * multiple, first = min(blockIdx.z % parts * each, k);
    return {blockIdx.z / parts, first, min(first + each, k)};
}

// Sizes and window of a convolution or a pool on images [n, h, w, c]. Result `o` of an axis reads the elements `o * stride + tap * dilation - before`; those outside are padding.
struct Images {
    u32 n, h, w, c, out_h, out_w, out_c, kernel_h, kernel_w, groups;
    int stride_h, stride_w, dilation_h, dilation_w, top, left;
};

// The element that a tap reads, which is negative or too large where it is padding.
__device__ __forceinline__ int reads(u32 out, u32 tap, int stride, int dilation, int before) {
    return (int)out * stride + (int)tap * dilation - before;
}

// The result that reads `in` through a tap, or -1 if there is none.
__device__ __forceinline__ int read_by(u32 in, u32 tap, int stride, int dilation, int before, u32 outs) {
    int at = (int)in + before - (int)tap * dilation;
    return at >= 0 && at % stride == 0 && at / stride < (int)outs ? at / stride : -1;
}

// How far neighbours of an operand's rows and columns lie apart, and its matrices.
struct Strides {
    int a_row, a_column, b_row, b_column;
    i64 a_batch, b_batch;
};
