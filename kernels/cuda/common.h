// What all kernels share: names of types, strided access, sums over a warp and over a block.
//
// Blocks have a multiple of 32 threads, counts and places fit in 32 bits, and every array is in global memory.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

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

// What is combined over many elements. `none` changes nothing.
struct Sum {
    static __device__ __forceinline__ float none() { return 0.0f; }
    static __device__ __forceinline__ float both(float a, float b) { return a + b; }
};
struct Product {
    static __device__ __forceinline__ float none() { return 1.0f; }
    static __device__ __forceinline__ float both(float a, float b) { return a * b; }
};
// NaN wins over all numbers.
struct Largest {
    static __device__ __forceinline__ float none() { return -INFINITY; }
    static __device__ __forceinline__ float both(float a, float b) { return a > b || a != a ? a : b; }
};
struct Smallest {
    static __device__ __forceinline__ float none() { return INFINITY; }
    static __device__ __forceinline__ float both(float a, float b) { return a < b || a != a ? a : b; }
};

// Combines the values of a warp; every lane gets the result.
template <class F>
__device__ __forceinline__ float over_warp(float x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        x = F::both(x, __shfl_xor_sync(ALL_LANES, x, distance));
    }
    return x;
}

// Combines the values of a block; every thread gets the result. `shared` has room for a value of each warp.
template <class F>
__device__ __forceinline__ float over_block(float x, float* shared) {
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    x = over_warp<F>(x);
    if (lane == 0) {
        shared[warp] = x;
    }
    __syncthreads();
    x = over_warp<F>(lane < warps ? shared[lane] : F::none());
    // The next one may use the same room.
    __syncthreads();
    return x;
}
