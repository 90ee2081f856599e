// What lets the kernels compile as plain C++ for the host's CPU: the names of CUDA that they use.
// Goes before the kernels' own source. `host.py` appends a runner for each kernel, see RUNNER.

#include <cstdint>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(threads)
#define __restrict__ __restrict

struct alignas(16) uint4 { unsigned int x, y, z, w; };
struct alignas(8) uint2 { unsigned int x, y; };
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
    return {x, y, z, w};
}
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }

struct Dim3 { unsigned int x, y, z; };
static thread_local Dim3 threadIdx, blockIdx, blockDim, gridDim;

// For each byte of the result, the byte of b:a that the nibble of `selector` names.
static inline unsigned int __byte_perm(unsigned int a, unsigned int b, unsigned int selector) {
    const std::uint64_t bytes = (static_cast<std::uint64_t>(b) << 32) | a;
    unsigned int result = 0;
    for (int byte = 0; byte < 4; ++byte) {
        const int from = static_cast<int>((selector >> (4 * byte)) & 7);
        result |= static_cast<unsigned int>((bytes >> (8 * from)) & 0xFF) << (8 * byte);
    }
    return result;
}

// How many bytes the kernels have written since the count was last taken.
static thread_local unsigned long long stored;
#define ON_STORE(bytes) (stored += (bytes))
extern "C" unsigned long long take_stored_bytes() {
    const unsigned long long bytes = stored;
    stored = 0;
    return bytes;
}

// Runs a kernel: every thread of every block, one after the other. `dims` is grid and block.
template <class... Parameters, class... Args>
static void run(void (*kernel)(Parameters...), const unsigned int *dims, Args... args) {
    gridDim = {dims[0], dims[1], dims[2]};
    blockDim = {dims[3], dims[4], dims[5]};
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x)
                for (threadIdx.z = 0; threadIdx.z < blockDim.z; ++threadIdx.z)
                    for (threadIdx.y = 0; threadIdx.y < blockDim.y; ++threadIdx.y)
                        for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x)
                            kernel(args...);
}

#define POOL_RUNNER(symbol)                                                                       \
    extern "C" void run_##symbol(const unsigned *dims, const Byte *x, int n, int c, int h, int w, \
                                 Byte *y, Byte *index) {                                          \
        run(symbol, dims, x, n, c, h, w, y, index);                                               \
    }

#define UNPOOL_RUNNER(symbol)                                                                     \
    extern "C" void run_##symbol(const unsigned *dims, const Byte *x, const Byte *index, int n,   \
                                 int c, int h, int w, int crop_h, int crop_w, Byte *y) {          \
        run(symbol, dims, x, index, n, c, h, w, crop_h, crop_w, y);                               \
    }

// The address calculation on its own, for sizes that fit no memory.
#define OFFSET_RUNNERS                                                                            \
    extern "C" Count offset_linear(Count plane, Count pixel, Count pixels) {                      \
        return linear_offset(plane, pixel, pixels);                                               \
    }                                                                                             \
    extern "C" Count offset_hwc8(Count n, Count c, Count pixel, Count channels, Count pixels) {   \
        return Hwc8::offset(n, c, pixel, channels, pixels);                                       \
    }                                                                                             \
    extern "C" Count offset_hwc16(Count n, Count c, Count pixel, Count channels, Count pixels) {  \
        return Hwc16::offset(n, c, pixel, channels, pixels);                                      \
    }                                                                                             \
    extern "C" Count offset_chw32(Count n, Count c, Count pixel, Count channels, Count pixels) {  \
        return Chw32::offset(n, c, pixel, channels, pixels);                                      \
    }                                                                                             \
    extern "C" Count quotient(Count count, unsigned by) { return divide(count, by); }             \
    extern "C" Count piece(const unsigned *dims_and_places) {                                     \
        gridDim = {dims_and_places[0], 1, 1}, blockDim = {dims_and_places[1], 1, 1};              \
        blockIdx = {dims_and_places[2], 0, 0}, threadIdx = {dims_and_places[3], 0, 0};            \
        return first_piece() + piece_stride();                                                    \
    }
