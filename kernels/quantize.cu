// CUDA kernels of values and codes: the functions of reference.py and cpu.py.
// The files that continue this one (SOURCES in cuda_launch.py) are compiled with it as one source.
//
// Three compilers compile it: NVRTC (through CuPy), nvcc, and g++ behind tests/support/cuda/shim.h, which runs
// it thread by thread where there is no GPU. Hence it has no toolkit includes, extern "C" kernels of one fixed
// block size, static shared memory, integers wherever something is decided, and no float arithmetic that a
// compiler may contract or flush (CuPy compiles everything with -ftz=true).
//
// Most kernels take bands of frames of pixels, with strides from frame to frame and from band to band in
// elements. blockIdx.y walks the frames of all bands and blockIdx.x the pixels, in grid strides, so that
// every grid gives the same result.

typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;

#define THREADS 256
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 1)
#define DEVICE __device__ __forceinline__
#ifndef SHARED
#define SHARED(type, name, count) __shared__ type name[count]
#endif

DEVICE u64 thread_index() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }
DEVICE u64 thread_count() { return (u64)gridDim.x * blockDim.x; }

// Offset of frame k, where frames are numbered through all bands of `per` frames each.
struct Rows {
    u64 frame, band;
    u32 per;
    DEVICE u64 operator()(u32 k) const { return k / per * band + k % per * frame; }
};

// Index of the first sample of frame k: within a frame it continues from band to band; frames are `stride`
// apart.
DEVICE u32 number_of(u32 k, u32 per, u64 pixels, u32 first, u32 stride)
{
    return first + k / per * (u32)pixels + k % per * stride;
}

struct Sum { static DEVICE u64 of(u64 a, u64 b) { return a + b; } };
struct Max { static DEVICE u64 of(u64 a, u64 b) { return a > b ? a : b; } };

// The total of a block, in thread 0. Every thread of the block must call it; `partial` holds a value per
// warp.
template <class Combine>
DEVICE u64 block_total(u64 value, u64* partial)
{
    for (int distance = 16; distance; distance >>= 1)
        value = Combine::of(value, __shfl_down_sync(0xffffffffu, value, distance));
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x == 0)
        for (int warp = 1; warp < THREADS / 32; ++warp) value = Combine::of(value, partial[warp]);
    return value;
}

// ---- extent ----------------------------------------------------------------------------------------------

// Unsigned keys in the order of their values, so that one integer atomic serves every type.
const u64 TOP = 1ull << 63;
template <class T> DEVICE u64 sign_of() { return (T)-1 < (T)0 ? TOP : 0; }
template <class T> DEVICE u64 key(T value) { return (u64)(i64)value ^ sign_of<T>(); }
template <class T> DEVICE T from_key(u64 k) { return (T)(k ^ sign_of<T>()); }
template <class T> DEVICE bool is_finite(T) { return true; }

DEVICE u64 key(f64 value)
{
    const u64 bits = (u64)__double_as_longlong(value);
    return bits & TOP ? ~bits : bits | TOP;
}
DEVICE u64 key(f32 value)
{
    const u32 bits = __float_as_uint(value);
    return bits & 0x80000000u ? (u32)~bits : bits | 0x80000000u;
}
template <> DEVICE f64 from_key<f64>(u64 k) { return __longlong_as_double((i64)(k & TOP ? k ^ TOP : ~k)); }
template <> DEVICE f32 from_key<f32>(u64 k)
{
    const u32 low = (u32)k;
    return __uint_as_float(low & 0x80000000u ? low ^ 0x80000000u : ~low);
}
DEVICE bool is_finite(f64 value) { return ((u64)__double_as_longlong(value) >> 52 & 0x7ff) != 0x7ff; }
DEVICE bool is_finite(f32 value) { return (__float_as_uint(value) >> 23 & 0xff) != 0xff; }

// extremes: greatest complement of a key, greatest key, number of values that are not finite. The host zeroes
// it.
template <class T>
DEVICE void extent(const T* __restrict__ values, Rows at, u32 frames, u64 pixels, u64* extremes)
{
    SHARED(u64, lows, THREADS / 32);
    SHARED(u64, highs, THREADS / 32);
    SHARED(u64, strangers, THREADS / 32);
    u64 low = 0, high = 0, strange = 0;
    for (u32 t = blockIdx.y; t < frames; t += gridDim.y)
        for (u64 i = thread_index(); i < pixels; i += thread_count()) {
            const T value = values[at(t) + i];
            if (is_finite(value)) {
                const u64 k = key(value);
                low = Max::of(low, ~k);
                high = Max::of(high, k);
            } else
                ++strange;
        }
    low = block_total<Max>(low, lows);
    high = block_total<Max>(high, highs);
    strange = block_total<Sum>(strange, strangers);
    if (threadIdx.x == 0) {
        atomicMax(extremes, low);
        atomicMax(extremes + 1, high);
        atomicAdd(extremes + 2, strange);
    }
}

template <class T>
DEVICE void extent_values(const u64* extremes, T* out)
{
    if (thread_index() != 0) return;
    if (extremes[0] || extremes[1]) {
        out[0] = from_key<T>(~extremes[0]);
        out[1] = from_key<T>(extremes[1]);
    }
    out[2] = (T)extremes[2];
}

#define EXTENT(T) \
    KERNEL extent_##T(const T* values, u64 stride, u64 band, u32 per, u32 frames, u64 pixels, u64* extremes) \
    { extent<T>(values, {stride, band, per}, frames, pixels, extremes); } \
    KERNEL extent_values_##T(const u64* extremes, T* out) { extent_values<T>(extremes, out); }
EXTENT(i8) EXTENT(u8) EXTENT(i16) EXTENT(u16) EXTENT(i32) EXTENT(u32) EXTENT(i64) EXTENT(u64)
EXTENT(f32) EXTENT(f64)

// ---- phase -----------------------------------------------------------------------------------------------

DEVICE u32 phase_of(u32 index, u32 seed)
{
    u32 h = index * 0x9E3779B1u + seed;
    h ^= h >> 16;
    h *= 0x7FEB352Du;
    h ^= h >> 15;
    h *= 0x846CA68Bu;
    h ^= h >> 16;
    return h >> 28;
}

// ---- quantize_lut, dequantize: out = table[in] ---------------------------------------------------------------

const u32 CACHE_BYTES = 16384;

// Neighbouring samples that one instruction of up to 16 bytes moves.
template <class T, int N>
struct alignas(N * sizeof(T) > 16 ? 16 : N * sizeof(T)) Pack { T item[N]; };

template <class T, int N>
DEVICE bool aligned(const T* at) { return (u64)at % alignof(Pack<T, N>) == 0; }

// `table` has `size` entries; its first 16 KiB are read from shared memory. Only damaged data has an index
// beyond the table. It reads the last entry, since a fault would end the context; the checksum detects it.
template <class In, class Out>
DEVICE void lookup(const In* __restrict__ in, Rows in_at, u32 frames, u64 pixels,
                   const Out* __restrict__ table, u32 size, Out* __restrict__ out, Rows out_at)
{
    constexpr int N = sizeof(In) <= 2 && sizeof(Out) <= 2 ? 16 : 4;
    SHARED(Out, cache, CACHE_BYTES / sizeof(Out));
    const u32 cached = size < CACHE_BYTES / sizeof(Out) ? size : CACHE_BYTES / sizeof(Out);
    for (u32 i = threadIdx.x; i < cached; i += blockDim.x) cache[i] = table[i];
    __syncthreads();
    for (u32 t = blockIdx.y; t < frames; t += gridDim.y) {
        const In* from = in + in_at(t);
        Out* to = out + out_at(t);
        const u64 packs = aligned<In, N>(from) && aligned<Out, N>(to) ? pixels / N : 0;
        for (u64 p = thread_index(); p < packs; p += thread_count()) {
            const Pack<In, N> read = ((const Pack<In, N>*)from)[p];
            Pack<Out, N> write;
#pragma unroll
            for (int j = 0; j < N; ++j) {
                const u32 index = read.item[j];
                write.item[j] = index < cached ? cache[index] : table[index < size ? index : size - 1];
            }
            ((Pack<Out, N>*)to)[p] = write;
        }
        for (u64 i = packs * N + thread_index(); i < pixels; i += thread_count()) {
            const u32 index = from[i];
            to[i] = index < cached ? cache[index] : table[index < size ? index : size - 1];
        }
    }
}

// One table per phase, one after another, `size` entries each.
template <class In, class Out>
DEVICE void lookup_phased(const In* __restrict__ in, Rows in_at, u32 frames, u64 pixels,
                          const Out* __restrict__ tables, u32 size, u32 seed, u32 first, u32 stride,
                          Out* __restrict__ out, Rows out_at)
{
    for (u32 t = blockIdx.y; t < frames; t += gridDim.y)
        for (u64 i = thread_index(); i < pixels; i += thread_count()) {
            const u32 index = in[in_at(t) + i];
            const u32 row = phase_of(number_of(t, in_at.per, pixels, first, stride) + (u32)i, seed);
            out[out_at(t) + i] = tables[(u64)row * size + (index < size ? index : size - 1)];
        }
}

#define LOOKUP(In, Out) \
    KERNEL lookup_##In##_##Out(const In* __restrict__ in, u64 in_stride, u64 in_band, u32 per, u32 frames, \
                               u64 pixels, const Out* __restrict__ table, u32 size, Out* __restrict__ out, \
                               u64 out_stride, u64 out_band) \
    { lookup<In, Out>(in, {in_stride, in_band, per}, frames, pixels, table, size, out, \
                      {out_stride, out_band, per}); } \
    KERNEL lookup_phased_##In##_##Out(const In* __restrict__ in, u64 in_stride, u64 in_band, u32 per, \
                                      u32 frames, u64 pixels, const Out* __restrict__ tables, u32 size, u32 seed, \
                                      u32 first, u32 stride, Out* __restrict__ out, u64 out_stride, \
                                      u64 out_band) \
    { lookup_phased<In, Out>(in, {in_stride, in_band, per}, frames, pixels, tables, size, seed, first, stride, \
                             out, {out_stride, out_band, per}); }
LOOKUP(u8, u8) LOOKUP(u8, u16) LOOKUP(u8, u32) LOOKUP(u8, u64)
LOOKUP(u16, u8) LOOKUP(u16, u16) LOOKUP(u16, u32) LOOKUP(u16, u64)
LOOKUP(u32, u8) LOOKUP(u32, u16) LOOKUP(u32, u32) LOOKUP(u32, u64)

// ---- subtract --------------------------------------------------------------------------------------------

template <class In, class Code>
DEVICE void subtract(const In* __restrict__ in, Rows in_at, u32 frames, u64 pixels, i64 base,
                     Code* __restrict__ out, Rows out_at)
{
    for (u32 t = blockIdx.y; t < frames; t += gridDim.y)
        for (u64 i = thread_index(); i < pixels; i += thread_count())
            out[out_at(t) + i] = (Code)((u64)in[in_at(t) + i] - (u64)base);
}

#define SUBTRACT_TO(In, Code) \
    KERNEL subtract_##In##_##Code(const In* in, u64 in_stride, u64 in_band, u32 per, u32 frames, u64 pixels, \
                                  i64 base, Code* out, u64 out_stride, u64 out_band) \
    { subtract<In, Code>(in, {in_stride, in_band, per}, frames, pixels, base, out, {out_stride, out_band, per}); }
#define SUBTRACT(In) SUBTRACT_TO(In, u8) SUBTRACT_TO(In, u16) SUBTRACT_TO(In, u32)
SUBTRACT(i8) SUBTRACT(u8) SUBTRACT(i16) SUBTRACT(u16) SUBTRACT(i32) SUBTRACT(u32) SUBTRACT(i64) SUBTRACT(u64)

// ---- quantize_thresholds ----------------------------------------------------------------------------------

template <class T> DEVICE f64 widened(T value) { return (f64)value; }

// Converts by bits, because under -ftz=true the conversion instruction turns subnormal numbers into 0.
DEVICE f64 widened(f32 value)
{
    const u32 bits = __float_as_uint(value), exponent = bits >> 23 & 0xff, fraction = bits & 0x7fffffu;
    if (exponent == 0) {
        const f64 small = __dmul_rn((f64)fraction, 1.401298464324817070923729583289916131280e-45);  // 2^-149
        return bits >> 31 ? -small : small;
    }
    const u64 wide = exponent == 0xff ? 0x7ff : exponent + (1023 - 127);
    return __longlong_as_double((i64)((u64)(bits >> 31) << 63 | wide << 52 | (u64)fraction << 29));
}

// Greatest k with thresholds[k] <= value. A wrong first guess costs time only.
DEVICE u32 code_of(f64 value, const f64* __restrict__ thresholds, u32 last, const f64* __restrict__ model,
                   u32 row)
{
    const f64 gain = model[0], above = value - model[1], dark = model[2];
    const f64 guess = above >= 0.0 ? 2.0 / gain * sqrt(gain * above + dark)
                                   : 2.0 / gain * sqrt(dark) + above / sqrt(dark);
    const f64 scaled = guess * model[3] + model[4 + row];
    u32 k = scaled >= 1.0 ? (scaled < (f64)last ? (u32)scaled : last) : 0;
    while (k < last && thresholds[k + 1] <= value) ++k;
    while (k > 0 && thresholds[k] > value) --k;
    return k;
}

// `thresholds` is (rows, size), with one row, or one per phase.
template <class In, class Out>
DEVICE void threshold(const In* __restrict__ in, Rows in_at, u32 frames, u64 pixels,
                      const f64* __restrict__ thresholds, u32 rows, u32 size, const f64* __restrict__ model,
                      u32 seed, u32 first, u32 stride, Out* __restrict__ out, Rows out_at)
{
    for (u32 t = blockIdx.y; t < frames; t += gridDim.y)
        for (u64 i = thread_index(); i < pixels; i += thread_count()) {
            const u32 number = number_of(t, in_at.per, pixels, first, stride) + (u32)i;
            const u32 row = rows > 1 ? phase_of(number, seed) : 0;
            const f64 value = widened(in[in_at(t) + i]);
            out[out_at(t) + i] = (Out)code_of(value, thresholds + (u64)row * size, size - 1, model, row);
        }
}

#define THRESHOLD_TO(In, Out) \
    KERNEL threshold_##In##_##Out(const In* in, u64 in_stride, u64 in_band, u32 per, u32 frames, u64 pixels, \
                                  const f64* thresholds, u32 rows, u32 size, const f64* model, u32 seed, \
                                  u32 first, u32 stride, Out* out, u64 out_stride, u64 out_band) \
    { threshold<In, Out>(in, {in_stride, in_band, per}, frames, pixels, thresholds, rows, size, model, seed, \
                         first, stride, out, {out_stride, out_band, per}); }
#define THRESHOLD(In) THRESHOLD_TO(In, u8) THRESHOLD_TO(In, u16) THRESHOLD_TO(In, u32)
THRESHOLD(i8) THRESHOLD(u8) THRESHOLD(i16) THRESHOLD(u16) THRESHOLD(i32) THRESHOLD(u32)
THRESHOLD(i64) THRESHOLD(u64) THRESHOLD(f32) THRESHOLD(f64)

// ---- codes_from_labels -----------------------------------------------------------------------------------

// `strange` counts labels that are not a multiple of step; the host sets it to 0.
KERNEL codes_from_labels(const f64* labels, u64 count, f64 step, i32* out, u64* strange)
{
    SHARED(u64, partial, THREADS / 32);
    u64 off_grid = 0;
    for (u64 i = thread_index(); i < count; i += thread_count()) {
        const f64 label = labels[i], k = rint(__ddiv_rn(label, step));
        const bool on_grid = k > -2147483648.0 && k < 2147483648.0 && __dmul_rn(k, step) == label;
        out[i] = on_grid ? (i32)k : 0;
        off_grid += !on_grid;
    }
    off_grid = block_total<Sum>(off_grid, partial);
    if (threadIdx.x == 0) atomicAdd(strange, off_grid);
}

// ---- checksum --------------------------------------------------------------------------------------------

// Adds the checksum to `total`.
template <class Code>
DEVICE void checksum(const Code* __restrict__ codes, Rows at, u32 frames, u64 pixels, u32 first, u32 stride,
                     u64* total)
{
    SHARED(u64, partial, THREADS / 32);
    u64 sum = 0;
    for (u32 t = blockIdx.y; t < frames; t += gridDim.y)
        for (u64 i = thread_index(); i < pixels; i += thread_count()) {
            const u32 number = number_of(t, at.per, pixels, first, stride) + (u32)i;
            u32 h = (u32)codes[at(t) + i] + number * 0x9E3779B1u;
            h ^= h >> 16;
            h *= 0x7FEB352Du;
            h ^= h >> 15;
            sum += h;
        }
    sum = block_total<Sum>(sum, partial);
    if (threadIdx.x == 0) atomicAdd(total, sum);
}

#define CHECKSUM(Code) \
    KERNEL checksum_##Code(const Code* codes, u64 frame, u64 band, u32 per, u32 frames, u64 pixels, u32 first, \
                           u32 stride, u64* total) \
    { checksum<Code>(codes, {frame, band, per}, frames, pixels, first, stride, total); }
CHECKSUM(u8) CHECKSUM(u16) CHECKSUM(u32)
