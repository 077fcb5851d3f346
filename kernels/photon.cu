// The kernels on the GPU: the same functions as reference.py and cpu.py, in the same order.
//
// One source, three compilers: NVRTC (through CuPy), nvcc, and g++ behind tests/cuda_host/shim.h, which runs
// it thread by thread where there is no GPU. Hence: no toolkit includes, extern "C" kernels of one fixed block
// size, static shared memory, integers wherever something is decided, and no float arithmetic that a compiler
// may contract or flush (CuPy compiles everything with -ftz=true).
//
// Most kernels take frames of pixels with a stride between frames, in elements: a band of a chunk is a view.
// blockIdx.y walks the frames and blockIdx.x the pixels, both in grid strides, so any grid gives the result.

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

struct Sum { static DEVICE u64 of(u64 a, u64 b) { return a + b; } };
struct Max { static DEVICE u64 of(u64 a, u64 b) { return a > b ? a : b; } };

// The block's total, in thread 0. Every thread of the block must come here; `partial` holds one value a warp.
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

// Keys order as their values do, whatever the type, so that one integer atomic serves all.
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

// found: greatest complement of a key, greatest key, values not finite; the host sets all three to 0.
template <class T>
DEVICE void extent(const T* __restrict__ values, u64 values_stride, u32 frames, u64 pixels, u64* found)
{
    SHARED(u64, lows, THREADS / 32);
    SHARED(u64, highs, THREADS / 32);
    SHARED(u64, strangers, THREADS / 32);
    u64 low = 0, high = 0, strange = 0;
    for (u32 t = blockIdx.y; t < frames; t += gridDim.y)
        for (u64 i = thread_index(); i < pixels; i += thread_count()) {
            const T value = values[t * values_stride + i];
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
        atomicMax(found, low);
        atomicMax(found + 1, high);
        atomicAdd(found + 2, strange);
    }
}

template <class T>
DEVICE void extent_values(const u64* found, T* out)
{
    if (thread_index() != 0) return;
    if (found[0] || found[1]) {
        out[0] = from_key<T>(~found[0]);
        out[1] = from_key<T>(found[1]);
    }
    out[2] = (T)found[2];
}

#define EXTENT(T) \
    KERNEL extent_##T(const T* values, u64 values_stride, u32 frames, u64 pixels, u64* found) \
    { extent<T>(values, values_stride, frames, pixels, found); } \
    KERNEL extent_values_##T(const u64* found, T* out) { extent_values<T>(found, out); }
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

KERNEL phase(const u32* index, u64 count, u32 seed, u32* out)
{
    for (u64 i = thread_index(); i < count; i += thread_count()) out[i] = phase_of(index[i], seed);
}

// ---- forward_lut, inverse: out = table[in] ---------------------------------------------------------------

const u32 CACHE_BYTES = 16384;

// Neighbouring samples moved by one instruction of up to 16 bytes.
template <class T, int N>
struct alignas(N * sizeof(T) > 16 ? 16 : N * sizeof(T)) Pack { T item[N]; };

template <class T, int N>
DEVICE bool aligned(const T* at) { return (u64)at % alignof(Pack<T, N>) == 0; }

// `table` has `size` entries; its first 16 KiB are read from shared memory. An index beyond the table, which
// only damaged data has, reads the last entry: a fault would end the context, and the checksum names it.
template <class In, class Out>
DEVICE void lookup(const In* __restrict__ in, u64 in_stride, u32 frames, u64 pixels,
                   const Out* __restrict__ table, u32 size, Out* __restrict__ out, u64 out_stride)
{
    constexpr int N = sizeof(In) <= 2 && sizeof(Out) <= 2 ? 16 : 4;
    SHARED(Out, cache, CACHE_BYTES / sizeof(Out));
    const u32 cached = size < CACHE_BYTES / sizeof(Out) ? size : CACHE_BYTES / sizeof(Out);
    for (u32 i = threadIdx.x; i < cached; i += blockDim.x) cache[i] = table[i];
    __syncthreads();
    for (u32 t = blockIdx.y; t < frames; t += gridDim.y) {
        const In* from = in + t * in_stride;
        Out* to = out + t * out_stride;
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

// One table per phase, `size` entries each, one after the other.
template <class In, class Out>
DEVICE void lookup_phased(const In* __restrict__ in, u64 in_stride, u32 frames, u64 pixels,
                          const Out* __restrict__ tables, u32 size, u32 seed, u32 first, u32 stride,
                          Out* __restrict__ out, u64 out_stride)
{
    for (u32 t = blockIdx.y; t < frames; t += gridDim.y)
        for (u64 i = thread_index(); i < pixels; i += thread_count()) {
            const u32 index = in[t * in_stride + i];
            const u32 row = phase_of(first + t * stride + (u32)i, seed);
            out[t * out_stride + i] = tables[(u64)row * size + (index < size ? index : size - 1)];
        }
}

#define LOOKUP(In, Out) \
    KERNEL lookup_##In##_##Out(const In* __restrict__ in, u64 in_stride, u32 frames, u64 pixels, \
                               const Out* __restrict__ table, u32 size, Out* __restrict__ out, u64 out_stride) \
    { lookup<In, Out>(in, in_stride, frames, pixels, table, size, out, out_stride); } \
    KERNEL lookup_phased_##In##_##Out(const In* __restrict__ in, u64 in_stride, u32 frames, u64 pixels, \
                                      const Out* __restrict__ tables, u32 size, u32 seed, u32 first, u32 stride, \
                                      Out* __restrict__ out, u64 out_stride) \
    { lookup_phased<In, Out>(in, in_stride, frames, pixels, tables, size, seed, first, stride, out, \
                             out_stride); }
LOOKUP(u8, u8) LOOKUP(u8, u16) LOOKUP(u8, u32) LOOKUP(u8, u64)
LOOKUP(u16, u8) LOOKUP(u16, u16) LOOKUP(u16, u32) LOOKUP(u16, u64)
LOOKUP(u32, u8) LOOKUP(u32, u16) LOOKUP(u32, u32) LOOKUP(u32, u64)

// ---- subtract --------------------------------------------------------------------------------------------

template <class In, class Code>
DEVICE void subtract(const In* __restrict__ in, u64 in_stride, u32 frames, u64 pixels, i64 base,
                     Code* __restrict__ out, u64 out_stride)
{
    for (u32 t = blockIdx.y; t < frames; t += gridDim.y)
        for (u64 i = thread_index(); i < pixels; i += thread_count())
            out[t * out_stride + i] = (Code)((u64)in[t * in_stride + i] - (u64)base);
}

#define SUBTRACT_TO(In, Code) \
    KERNEL subtract_##In##_##Code(const In* in, u64 in_stride, u32 frames, u64 pixels, i64 base, Code* out, \
                                  u64 out_stride) \
    { subtract<In, Code>(in, in_stride, frames, pixels, base, out, out_stride); }
#define SUBTRACT(In) SUBTRACT_TO(In, u8) SUBTRACT_TO(In, u16) SUBTRACT_TO(In, u32)
SUBTRACT(i8) SUBTRACT(u8) SUBTRACT(i16) SUBTRACT(u16) SUBTRACT(i32) SUBTRACT(u32) SUBTRACT(i64) SUBTRACT(u64)

// ---- forward_thresholds ----------------------------------------------------------------------------------

template <class T> DEVICE f64 widened(T value) { return (f64)value; }

// By its bits: under -ftz=true the conversion instruction would turn subnormal numbers into 0.
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

// Greatest k with thresholds[k] <= value, from a guess that may be wrong by anything: it costs steps only.
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

// `thresholds` (rows, size): one row, or one per phase.
template <class In, class Out>
DEVICE void threshold(const In* __restrict__ in, u64 in_stride, u32 frames, u64 pixels,
                      const f64* __restrict__ thresholds, u32 rows, u32 size, const f64* __restrict__ model,
                      u32 seed, u32 first, u32 stride, Out* __restrict__ out, u64 out_stride)
{
    for (u32 t = blockIdx.y; t < frames; t += gridDim.y)
        for (u64 i = thread_index(); i < pixels; i += thread_count()) {
            const u32 row = rows > 1 ? phase_of(first + t * stride + (u32)i, seed) : 0;
            const f64 value = widened(in[t * in_stride + i]);
            out[t * out_stride + i] = (Out)code_of(value, thresholds + (u64)row * size, size - 1, model, row);
        }
}

#define THRESHOLD_TO(In, Out) \
    KERNEL threshold_##In##_##Out(const In* in, u64 in_stride, u32 frames, u64 pixels, \
                                  const f64* thresholds, u32 rows, u32 size, const f64* model, u32 seed, \
                                  u32 first, u32 stride, Out* out, u64 out_stride) \
    { threshold<In, Out>(in, in_stride, frames, pixels, thresholds, rows, size, model, seed, first, stride, \
                         out, out_stride); }
#define THRESHOLD(In) THRESHOLD_TO(In, u8) THRESHOLD_TO(In, u16) THRESHOLD_TO(In, u32)
THRESHOLD(i8) THRESHOLD(u8) THRESHOLD(i16) THRESHOLD(u16) THRESHOLD(i32) THRESHOLD(u32)
THRESHOLD(i64) THRESHOLD(u64) THRESHOLD(f32) THRESHOLD(f64)

// ---- codes_from_labels -----------------------------------------------------------------------------------

// `strange` counts labels that are no multiple of step; the host sets it to 0.
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

// Adds to `total`.
template <class Code>
DEVICE void checksum(const Code* __restrict__ codes, u64 codes_stride, u32 frames, u64 pixels, u32 first,
                     u32 stride, u64* total)
{
    SHARED(u64, partial, THREADS / 32);
    u64 sum = 0;
    for (u32 t = blockIdx.y; t < frames; t += gridDim.y)
        for (u64 i = thread_index(); i < pixels; i += thread_count()) {
            const u32 index = first + t * stride + (u32)i;
            u32 h = (u32)codes[t * codes_stride + i] + index * 0x9E3779B1u;
            h ^= h >> 16;
            h *= 0x7FEB352Du;
            h ^= h >> 15;
            sum += h;
        }
    sum = block_total<Sum>(sum, partial);
    if (threadIdx.x == 0) atomicAdd(total, sum);
}

#define CHECKSUM(Code) \
    KERNEL checksum_##Code(const Code* codes, u64 codes_stride, u32 frames, u64 pixels, u32 first, u32 stride, \
                           u64* total) \
    { checksum<Code>(codes, codes_stride, frames, pixels, first, stride, total); }
CHECKSUM(u8) CHECKSUM(u16) CHECKSUM(u32)

// ---- predictors: what they share -------------------------------------------------------------------------

template <class Code> struct Width;
template <> struct Width<u8> { typedef i8 Signed; typedef i32 Number; };    // 8-bit codes: 32 bits hold a mix
template <> struct Width<u16> { typedef i16 Signed; typedef i64 Number; };

template <class Code>
DEVICE Code zigzag(i32 difference)
{
    const i32 wrapped = (typename Width<Code>::Signed)difference;
    return (Code)((u32)wrapped << 1 ^ (u32)(wrapped >> 31));
}
DEVICE i32 unzigzag(u32 residual) { return (i32)(residual >> 1 ^ (0u - (residual & 1u))); }

// 64 bits: a mean that begins far from 16-bit codes is more than 2^24 away, and the rate has 8 bits.
DEVICE i32 follow(i32 mean, i32 now, i32 rate)
{
    return mean + (i32)(((i64)((now << 7) - mean) * rate + 64) >> 7);
}

// ---- predict_mean, restore_mean: a thread walks one pixel through time -----------------------------------

template <class Code, bool RESTORE>
DEVICE void mean_residuals(const Code* __restrict__ in, u64 in_stride, u32 frames, u64 pixels,
                           const i32* __restrict__ rates, i32 first, Code* __restrict__ out, u64 out_stride)
{
    for (u64 i = thread_index(); i < pixels; i += thread_count()) {
        i32 mean = first << 7;
        for (u32 t = 0; t < frames; ++t) {
            const i32 predicted = mean + 64 >> 7;
            const Code read = in[t * in_stride + i];
            const Code code = RESTORE ? (Code)(predicted + unzigzag(read)) : read;
            out[t * out_stride + i] = RESTORE ? code : zigzag<Code>((i32)code - predicted);
            mean = follow(mean, code, rates[t]);
        }
    }
}

#define MEAN(Code) \
    KERNEL predict_mean_##Code(const Code* codes, u64 codes_stride, u32 frames, u64 pixels, const i32* rates, \
                               i32 first, Code* out, u64 out_stride) \
    { mean_residuals<Code, false>(codes, codes_stride, frames, pixels, rates, first, out, out_stride); } \
    KERNEL restore_mean_##Code(const Code* residuals, u64 residuals_stride, u32 frames, u64 pixels, \
                               const i32* rates, i32 first, Code* out, u64 out_stride) \
    { mean_residuals<Code, true>(residuals, residuals_stride, frames, pixels, rates, first, out, out_stride); }
MEAN(u8) MEAN(u16)

// ---- predict_past, restore_past, predict_full: one launch per frame --------------------------------------

// Where a pixel's band lies. Memory holds band after band, each (frames, its rows, columns), as a payload does;
// planes of means hold row after row.
struct Band {
    u32 first, rows;   // of the chunk
    u64 start, frame;  // elements before the band, and in one of its frames

    DEVICE Band(u32 row, u32 all_rows, u32 columns, u32 band_rows, u32 frames)
    {
        first = row / band_rows * band_rows;
        rows = band_rows < all_rows - first ? band_rows : all_rows - first;
        start = (u64)first * columns * frames;
        frame = (u64)rows * columns;
    }
};

// A pixel and its neighbours as offsets into a frame of its band, the band's edges replicated.
struct Around {
    u32 here, north, south, west, east, north_west, north_east, south_west, south_east;
    bool top, left, right;

    DEVICE Around(u32 row, u32 column, u32 rows, u32 columns)
    {
        top = row == 0;
        left = column == 0;
        right = column == columns - 1;
        const u32 above = (top ? row : row - 1) * columns, below = (row == rows - 1 ? row : row + 1) * columns;
        const u32 before = left ? column : column - 1, after = right ? column : column + 1;
        here = row * columns + column;
        west = row * columns + before;
        east = row * columns + after;
        north = above + column;
        north_west = above + before;
        north_east = above + after;
        south = below + column;
        south_west = below + before;
        south_east = below + after;
    }
};

// Weighted mix of the frames before. Nothing comes before frame 0: its mean and previous frame are 0.
template <class Code>
DEVICE typename Width<Code>::Number past_mix(const i32* __restrict__ w, bool any, const i32* mean,
                                             const Code* previous, const Around& at)
{
    typedef typename Width<Code>::Number Number;
    Number total = (Number)w[10] * 128;
    if (any) {
        total += (Number)w[0] * mean[at.here];
        total += (Number)w[1] * (mean[at.north] + mean[at.south]);
        total += (Number)w[2] * (mean[at.west] + mean[at.east]);
        total += (Number)w[3] * (mean[at.north_west] + mean[at.north_east] + mean[at.south_west]
                                 + mean[at.south_east]);
        total += (Number)w[4] * ((i32)previous[at.here] << 7);
        total += (Number)w[5] * (((i32)previous[at.north] + (i32)previous[at.south] + (i32)previous[at.west]
                                  + (i32)previous[at.east]) << 7);
    }
    return total;
}

// Weighted mix of the current frame so far; beyond the band's edge the mean of the nearest pixel stands in.
// The pixel to the left has a part of its own: it is all that a pixel of a row waits for.
template <class Code>
DEVICE typename Width<Code>::Number west_mix(const i32* __restrict__ w, bool any, const i32* mean, const Code* now,
                                             const Around& at)
{
    typedef typename Width<Code>::Number Number;
    return (Number)w[6] * (!at.left ? now[at.west] << 7 : any ? mean[at.west] : 0);
}

template <class Code>
DEVICE typename Width<Code>::Number above_mix(const i32* __restrict__ w, bool any, const i32* mean,
                                              const Code* now, const Around& at)
{
    typedef typename Width<Code>::Number Number;
    const i32 north = !at.top ? now[at.north] << 7 : any ? mean[at.north] : 0;
    const i32 north_west = !at.top && !at.left ? now[at.north_west] << 7 : any ? mean[at.north_west] : 0;
    const i32 north_east = !at.top && !at.right ? now[at.north_east] << 7 : any ? mean[at.north_east] : 0;
    return (Number)w[7] * north + (Number)w[8] * north_west + (Number)w[9] * north_east;
}

enum Mode { PREDICT_PAST, RESTORE_PAST, PREDICT_FULL, RESTORE_FULL };

// What the kernels of a mix are given.
template <class Code>
struct Mix {
    const Code* in;
    u32 frames, rows, columns, band_rows;
    const i32 *weights, *rates;
    i32* means;
    Code* out;
};

// One pixel of frame t. `means` holds two planes: the mean before frame t lies in plane t % 2, and the mean
// after it goes into the other, where no pixel of frame t reads.
template <class Code, int MODE>
DEVICE void mix_pixel(const Mix<Code>& mix, u32 t, u32 row, u32 column)
{
    const bool restore = MODE == RESTORE_PAST || MODE == RESTORE_FULL;
    const bool full = MODE == PREDICT_FULL || MODE == RESTORE_FULL;
    const Band band(row, mix.rows, mix.columns, mix.band_rows, mix.frames);
    const Around at(row - band.first, column, band.rows, mix.columns);
    const u64 before = (u64)band.first * mix.columns, plane = (u64)mix.rows * mix.columns;
    const i32* w = mix.weights + (t ? 11 : 0);
    const i32* mean = mix.means + t % 2 * plane + before;
    i32* mean_after = mix.means + (t + 1) % 2 * plane + before;
    const Code* codes = (restore ? mix.out : mix.in) + band.start;
    const Code* now = codes + t * band.frame;
    typename Width<Code>::Number total = past_mix(w, t > 0, mean, t ? now - band.frame : now, at);
    if (full) total += west_mix(w, t > 0, mean, now, at) + above_mix(w, t > 0, mean, now, at);
    const i32 predicted = (i32)(total + (1 << 14) >> 15);
    const u64 sample = band.start + t * band.frame + at.here;
    const Code read = mix.in[sample];
    const Code code = restore ? (Code)(predicted + unzigzag(read)) : read;
    mix.out[sample] = restore ? code : zigzag<Code>((i32)code - predicted);
    if (t + 1 < mix.frames) mean_after[at.here] = follow(t ? mean[at.here] : 0, code, mix.rates[t]);
}

template <class Code, int MODE>
DEVICE void mix_frame(const Mix<Code>& mix, u32 t)
{
    const u32 pixels = mix.rows * mix.columns;
    for (u64 i = thread_index(); i < pixels; i += thread_count())
        mix_pixel<Code, MODE>(mix, t, (u32)i / mix.columns, (u32)i % mix.columns);
}

// ---- restore_full: one launch per step of a wavefront through all frames ---------------------------------

// Pixel (t, row, column) is restored in step column + 2*row + 4*t of its band: after its west (1 step before),
// north-east (1), north (2), north-west (3), and after (t - 1, row + 1, column + 1) (1 step before). What it
// overwrites in `means` was last read one step before. The launch is given the frames t0.. that the step meets.
template <class Code>
DEVICE void wavefront_step(const Mix<Code>& mix, u32 step, u32 t0, u32 met)
{
    const u64 lines = (u64)met * mix.rows;
    for (u64 i = thread_index(); i < lines; i += thread_count()) {
        const u32 t = t0 + (u32)(i / mix.rows), row = (u32)(i % mix.rows);
        const u32 before = 4 * t + 2 * (row % mix.band_rows);
        if (before > step || step - before >= mix.columns) continue;
        mix_pixel<Code, RESTORE_FULL>(mix, t, row, step - before);
    }
}

#define MIX(name, Code, MODE) \
    KERNEL name##_##Code(const Code* in, u32 frames, u32 rows, u32 columns, u32 band_rows, const i32* weights, \
                         const i32* rates, i32* means, Code* out, u32 t) \
    { mix_frame<Code, MODE>({in, frames, rows, columns, band_rows, weights, rates, means, out}, t); }
#define WAVEFRONT(Code) \
    KERNEL restore_full_##Code(const Code* in, u32 frames, u32 rows, u32 columns, u32 band_rows, \
                               const i32* weights, const i32* rates, i32* means, Code* out, u32 step, u32 t0, \
                               u32 met) \
    { wavefront_step<Code>({in, frames, rows, columns, band_rows, weights, rates, means, out}, step, t0, met); }
MIX(predict_past, u8, PREDICT_PAST) MIX(predict_past, u16, PREDICT_PAST)
MIX(restore_past, u8, RESTORE_PAST) MIX(restore_past, u16, RESTORE_PAST)
MIX(predict_full, u8, PREDICT_FULL) MIX(predict_full, u16, PREDICT_FULL)
WAVEFRONT(u8) WAVEFRONT(u16)

// ---- pack, unpack: a block for each segment, tile after tile, so that escapes keep their order ------------

const u32 RUN = 8;  // neighbouring residuals that a thread takes: four bytes of nibbles
const u32 ESCAPE = 15;

// The counts of all threads before this one; `total`: those of all. Every thread of the block must come here.
DEVICE u32 block_before(u32 count, u32* partial, u32& total)
{
    const u32 lane = threadIdx.x % 32, own_warp = threadIdx.x / 32;
    u32 sum = count, before = 0;
    for (u32 distance = 1; distance < 32; distance <<= 1) {
        const u32 lower = __shfl_up_sync(0xffffffffu, sum, distance);
        if (lane >= distance) sum += lower;
    }
    __syncthreads();  // the sums of the tile before have been read
    if (lane == 31) partial[own_warp] = sum;
    __syncthreads();
    total = 0;
    for (u32 warp = 0; warp < THREADS / 32; ++warp) {
        if (warp == own_warp) before = total;
        total += partial[warp];
    }
    return before + sum - count;
}

// Neighbours, by one instruction where all are there and aligned; those beyond `count` read as 0.
template <class T, u32 N>
DEVICE Pack<T, N> neighbours(const T* at, u32 count)
{
    if (count == N && aligned<T, N>(at)) return *(const Pack<T, N>*)at;
    Pack<T, N> read;
#pragma unroll
    for (u32 j = 0; j < N; ++j) read.item[j] = j < count ? at[j] : 0;
    return read;
}

template <class T, u32 N>
DEVICE void put_neighbours(T* at, u32 count, const Pack<T, N>& given)
{
    if (count == N && aligned<T, N>(at)) {
        *(Pack<T, N>*)at = given;
        return;
    }
#pragma unroll
    for (u32 j = 0; j < N; ++j)
        if (j < count) at[j] = given.item[j];
}

// How many of a run that begins at `begin` lie within `length`.
DEVICE u32 run_within(u32 begin, u32 length)
{
    return begin >= length ? 0 : length - begin < RUN ? length - begin : RUN;
}

// `segment` is even, so that no byte has nibbles of two segments.
template <class Code>
DEVICE void pack(const Code* __restrict__ residuals, u64 size, u32 segment, u8* __restrict__ nibbles,
                 Code* __restrict__ escapes, i64* __restrict__ counts)
{
    SHARED(u32, partial, THREADS / 32);
    for (u64 s = blockIdx.x; s * segment < size; s += gridDim.x) {
        const u64 first = s * segment;
        const u32 length = size - first < segment ? (u32)(size - first) : segment;
        u32 count = 0;
        for (u32 tile = 0; tile < length; tile += THREADS * RUN) {
            const u32 begin = tile + threadIdx.x * RUN, mine = run_within(begin, length);
            const Pack<Code, RUN> read = neighbours<Code, RUN>(residuals + first + begin, mine);
            Pack<u8, RUN / 2> write;
            u32 escaped = 0, total;
#pragma unroll
            for (u32 j = 0; j < RUN; j += 2) {
                const u32 low = read.item[j] < ESCAPE ? read.item[j] : ESCAPE;
                const u32 high = read.item[j + 1] < ESCAPE ? read.item[j + 1] : ESCAPE;
                write.item[j / 2] = (u8)(low | high << 4);
                escaped += (low == ESCAPE) + (high == ESCAPE);
            }
            put_neighbours<u8, RUN / 2>(nibbles + (first + begin) / 2, (mine + 1) / 2, write);
            Code* to = escapes + first + count + block_before(escaped, partial, total);
#pragma unroll
            for (u32 j = 0; j < RUN; ++j)
                if (read.item[j] >= ESCAPE) *to++ = (Code)(read.item[j] - ESCAPE);
            count += total;
        }
        if (threadIdx.x == 0) counts[s] = count;
    }
}

// Adds to `strange`. Whatever `starts` says, only `escaped` escapes are read.
template <class Code>
DEVICE void unpack(const u8* __restrict__ nibbles, const Code* __restrict__ escapes, u64 escaped,
                   const i64* __restrict__ starts, u64 size, u32 segment, Code* __restrict__ out, u64* strange)
{
    SHARED(u32, partial, THREADS / 32);
    for (u64 s = blockIdx.x; s * segment < size; s += gridDim.x) {
        const u64 first = s * segment;
        const u32 length = size - first < segment ? (u32)(size - first) : segment;
        const u64 start = (u64)starts[s] < escaped ? (u64)starts[s] : escaped;
        const u64 bound = (u64)starts[s + 1] < escaped ? (u64)starts[s + 1] : escaped;
        const u64 given = bound > start ? bound - start : 0;
        u32 count = 0;
        for (u32 tile = 0; tile < length; tile += THREADS * RUN) {
            const u32 begin = tile + threadIdx.x * RUN, mine = run_within(begin, length);
            const Pack<u8, RUN / 2> read
                = neighbours<u8, RUN / 2>(nibbles + (first + begin) / 2, (mine + 1) / 2);
            Pack<Code, RUN> write;
            u32 long_ones = 0, total;
#pragma unroll
            for (u32 j = 0; j < RUN; ++j) {
                write.item[j] = read.item[j / 2] >> j % 2 * 4 & 15;
                long_ones += write.item[j] == ESCAPE && j < mine;
            }
            u64 next = count + block_before(long_ones, partial, total);
#pragma unroll
            for (u32 j = 0; j < RUN; ++j)
                if (write.item[j] == ESCAPE && j < mine) {
                    if (next < given) write.item[j] = (Code)(ESCAPE + escapes[start + next]);
                    ++next;
                }
            put_neighbours<Code, RUN>(out + first + begin, mine, write);
            count += total;
        }
        if (threadIdx.x == 0) {
            const bool half = first + length == size && size % 2 && nibbles[size / 2] >> 4;
            if (count != given || half) atomicAdd(strange, (u64)(count != given) + half);
        }
    }
}

// Rows of `escapes` one after the other: segment s from starts[s] on.
template <class Code>
DEVICE void join_escapes(const Code* __restrict__ escapes, const i64* __restrict__ starts, u64 segments, u32 segment,
                         Code* __restrict__ out)
{
    for (u64 s = blockIdx.x; s < segments; s += gridDim.x)
        for (u64 i = threadIdx.x; i < (u64)(starts[s + 1] - starts[s]); i += blockDim.x)
            out[starts[s] + i] = escapes[s * segment + i];
}

#define PACKS(Code) \
    KERNEL pack_##Code(const Code* residuals, u64 size, u32 segment, u8* nibbles, Code* escapes, i64* counts) \
    { pack<Code>(residuals, size, segment, nibbles, escapes, counts); } \
    KERNEL unpack_##Code(const u8* nibbles, const Code* escapes, u64 escaped, const i64* starts, u64 size, \
                         u32 segment, Code* out, u64* strange) \
    { unpack<Code>(nibbles, escapes, escaped, starts, size, segment, out, strange); } \
    KERNEL join_escapes_##Code(const Code* escapes, const i64* starts, u64 segments, u32 segment, Code* out) \
    { join_escapes<Code>(escapes, starts, segments, segment, out); }
PACKS(u8) PACKS(u16)

// ---- count_levels, sort_levels ---------------------------------------------------------------------------

const u32 NO_LEVEL = 0xffffffffu;

template <class Code>
DEVICE u32 level_of(Code predicted, u32 levels) { return predicted < levels ? predicted : levels - 1; }

// The level of sample i; a lane beyond the samples has none, and goes with the others of its warp all the same.
template <class Code>
DEVICE u32 level_at(const Code* __restrict__ codes, const Code* __restrict__ residuals, u64 i, u64 size, u32 levels)
{
    return i < size ? level_of<Code>((Code)((i32)codes[i] - unzigzag(residuals[i])), levels) : NO_LEVEL;
}

// Adds to `table`: for each `run` (a multiple of 32) of samples, how many have each of the levels.
template <class Code>
DEVICE void count_levels(const Code* __restrict__ codes, const Code* __restrict__ residuals, u64 size, u32 levels,
                         u64 run, u64* table)
{
    const u32 lane = threadIdx.x % 32;
    for (u64 i = thread_index(); i - lane < size; i += thread_count()) {
        const u32 level = level_at(codes, residuals, i, size, levels);
        const u32 alike = __match_any_sync(0xffffffffu, level);
        if (level != NO_LEVEL && !(alike & (1u << lane) - 1))
            atomicAdd(table + i / run * levels + level, (u64)__popc(alike));
    }
}

// From counts to places: where the first of each level and run goes. `places` moves past the last of each level.
KERNEL place_runs(u64* table, u64 runs, u32 levels, i64* places)
{
    for (u64 level = thread_index(); level < levels; level += thread_count()) {
        u64 place = (u64)places[level];
        for (u64 r = 0; r < runs; ++r) {
            const u64 count = table[r * levels + level];
            table[r * levels + level] = place;
            place += count;
        }
        places[level] = (i64)place;
    }
}

// A warp walks a run, 32 samples at a time; `table` holds where its next of each level goes.
template <class Code>
DEVICE void sort_levels(const Code* __restrict__ codes, const Code* __restrict__ residuals, u64 size, u32 levels,
                        u64 run, u64* table, Code* __restrict__ out)
{
    const u32 lane = threadIdx.x % 32;
    for (u64 r = thread_index() / 32; r * run < size; r += thread_count() / 32) {
        u64* next = table + r * levels;
        for (u64 i = r * run + lane; i - lane < size && i - lane < (r + 1) * run; i += 32) {
            const u32 level = level_at(codes, residuals, i, size, levels);
            const u32 alike = __match_any_sync(0xffffffffu, level);
            const u32 lower = alike & (1u << lane) - 1;
            const u64 place = level != NO_LEVEL ? next[level] : 0;
            __syncwarp();  // all have read before one writes
            if (level != NO_LEVEL) {
                out[place + __popc(lower)] = residuals[i];
                if (!lower) next[level] = place + __popc(alike);
            }
            __syncwarp();
        }
    }
}

#define LEVELS(Code) \
    KERNEL count_levels_##Code(const Code* codes, const Code* residuals, u64 size, u32 levels, u64 run, u64* table) \
    { count_levels<Code>(codes, residuals, size, levels, run, table); } \
    KERNEL sort_levels_##Code(const Code* codes, const Code* residuals, u64 size, u32 levels, u64 run, u64* table, \
                              Code* out) \
    { sort_levels<Code>(codes, residuals, size, levels, run, table, out); }
LEVELS(u8) LEVELS(u16)

// ---- restore_full_sorted ---------------------------------------------------------------------------------

// Which residual is next depends on every prediction before, so one thread walks along the rows. The block
// works out beforehand what does not wait for the pixel to the left, and moves the means afterwards.
template <class Code>
DEVICE void restore_full_sorted(const Code* __restrict__ residuals, u64 size, i64* places, u32 levels, u32 frames,
                                u32 rows, u32 columns, const i32* __restrict__ weights,
                                const i32* __restrict__ rates, i32* means, Code* out, u64* missing)
{
    typedef typename Width<Code>::Number Number;
    SHARED(i64, known, THREADS);
    const u64 plane = (u64)rows * columns;
    u64 absent = 0;
    for (u32 t = 0; t < frames; ++t) {
        const i32* w = weights + (t ? 11 : 0);
        const i32* mean = means + t % 2 * plane;
        i32* mean_after = means + (t + 1) % 2 * plane;
        Code* now = out + t * plane;
        __syncthreads();  // the means of the frame before are there
        for (u32 row = 0; row < rows; ++row)
            for (u32 first = 0; first < columns; first += THREADS) {
                const u32 column = first + threadIdx.x, count = columns - first < THREADS ? columns - first : THREADS;
                if (threadIdx.x < count) {
                    const Around at(row, column, rows, columns);
                    known[threadIdx.x] = past_mix(w, t > 0, mean, t ? now - plane : now, at)
                                         + above_mix(w, t > 0, mean, now, at);
                }
                __syncthreads();
                if (threadIdx.x == 0)
                    for (u32 i = 0; i < count; ++i) {
                        const Around at(row, first + i, rows, columns);
                        const Number total = (Number)known[i] + west_mix(w, t > 0, mean, now, at);
                        const i32 predicted = (i32)(total + (1 << 14) >> 15);
                        const u32 level = level_of<Code>((Code)predicted, levels);
                        const i64 place = places[level];
                        Code residual = 0;
                        if (place < places[levels + level] && (u64)place < size) {
                            residual = residuals[place];
                            places[level] = place + 1;
                        } else
                            ++absent;
                        now[at.here] = (Code)(predicted + unzigzag(residual));
                    }
                __syncthreads();
                if (threadIdx.x < count && t + 1 < frames) {
                    const u32 here = row * columns + column;
                    mean_after[here] = follow(t ? mean[here] : 0, now[here], rates[t]);
                }
            }
    }
    if (threadIdx.x == 0) *missing = absent;
}

#define SORTED(Code) \
    KERNEL restore_full_sorted_##Code(const Code* residuals, u64 size, i64* places, u32 levels, u32 frames, \
                                      u32 rows, u32 columns, const i32* weights, const i32* rates, i32* means, \
                                      Code* out, u64* missing) \
    { restore_full_sorted<Code>(residuals, size, places, levels, frames, rows, columns, weights, rates, means, out, \
                                missing); }
SORTED(u8) SORTED(u16)

// ---- moments ---------------------------------------------------------------------------------------------

const u32 BINS = 1024;

// Adds to `out`: three runs of `bins` numbers, counts, sums and squares. A block collects in shared memory.
template <class T>
DEVICE void moments(const T* __restrict__ values, u64 values_stride, u32 frames, u64 pixels, i64 low, u32 shift,
                    u32 bins, u64* out)
{
    SHARED(u64, counts, BINS);
    SHARED(u64, sums, BINS);
    SHARED(u64, squares, BINS);
    for (u32 b = threadIdx.x; b < bins; b += blockDim.x) counts[b] = sums[b] = squares[b] = 0;
    __syncthreads();
    for (u64 i = thread_index(); i < pixels; i += thread_count()) {
        i64 before = values[i];
        for (u32 t = 1; t < frames; ++t) {
            const i64 now = values[t * values_stride + i];
            const i64 level = (before + now >> 1) - low >> shift;
            if (level >= 0 && level < bins) {
                const u64 difference = (u64)(now - before);
                atomicAdd(counts + level, 1ull);
                atomicAdd(sums + level, (u64)(before + now));
                atomicAdd(squares + level, difference * difference);
            }
            before = now;
        }
    }
    __syncthreads();
    for (u32 b = threadIdx.x; b < bins; b += blockDim.x)
        if (counts[b]) {
            atomicAdd(out + b, counts[b]);
            atomicAdd(out + bins + b, sums[b]);
            atomicAdd(out + 2 * bins + b, squares[b]);
        }
}

#define MOMENTS(T) \
    KERNEL moments_##T(const T* values, u64 values_stride, u32 frames, u64 pixels, i64 low, u32 shift, u32 bins, \
                       u64* out) \
    { moments<T>(values, values_stride, frames, pixels, low, shift, bins, out); }
MOMENTS(i8) MOMENTS(u8) MOMENTS(i16) MOMENTS(u16) MOMENTS(i32) MOMENTS(u32)
