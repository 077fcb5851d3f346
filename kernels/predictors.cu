// CUDA kernels that predict codes and restore them. This file continues quantize.cu.

// ---- shared by all predictors ----------------------------------------------------------------------------

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
DEVICE void mean_residuals(const Code* __restrict__ in, u64 in_stride, u64 in_band, u32 bands, u32 frames,
                           u64 pixels, const i32* __restrict__ rates, i32 first, Code* __restrict__ out,
                           u64 out_stride, u64 out_band)
{
    for (u32 b = blockIdx.y; b < bands; b += gridDim.y)
        for (u64 i = thread_index(); i < pixels; i += thread_count()) {
            const Code* from = in + b * in_band + i;
            Code* to = out + b * out_band + i;
            i32 mean = first << 7;
            for (u32 t = 0; t < frames; ++t) {
                const i32 predicted = mean + 64 >> 7;
                const Code read = from[t * in_stride];
                const Code code = RESTORE ? (Code)(predicted + unzigzag(read)) : read;
                to[t * out_stride] = RESTORE ? code : zigzag<Code>((i32)code - predicted);
                mean = follow(mean, code, rates[t]);
            }
        }
}

#define MEAN_OF(name, Code, RESTORE) \
    KERNEL name##_##Code(const Code* in, u64 in_stride, u64 in_band, u32 bands, u32 frames, u64 pixels, \
                         const i32* rates, i32 first, Code* out, u64 out_stride, u64 out_band) \
    { mean_residuals<Code, RESTORE>(in, in_stride, in_band, bands, frames, pixels, rates, first, out, out_stride, \
                                    out_band); }
#define MEAN(Code) MEAN_OF(predict_mean, Code, false) MEAN_OF(restore_mean, Code, true)
MEAN(u8) MEAN(u16)

// ---- predict_past, restore_past, predict_full: one launch per frame --------------------------------------

// Place of a pixel's band. Memory holds band after band, each (frames, its rows, columns), as a payload does.
// Planes of means hold row after row.
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

// Offsets of a pixel and its neighbours in a frame of its band; the edges of the band are replicated.
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

// Weighted sum of the frames before. The mean and the previous frame of frame 0 are 0.
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

// Weighted sum of the frames before, with a weight for each neighbour of the mean.
template <class Code>
DEVICE typename Width<Code>::Number each_mix(const i32* __restrict__ w, bool any, const i32* mean,
                                             const Code* previous, const Around& at)
{
    typedef typename Width<Code>::Number Number;
    Number total = (Number)w[15] * 128;
    if (any) {
        total += (Number)w[0] * mean[at.here];
        total += (Number)w[1] * mean[at.north] + (Number)w[2] * mean[at.south];
        total += (Number)w[3] * mean[at.west] + (Number)w[4] * mean[at.east];
        total += (Number)w[5] * mean[at.north_west] + (Number)w[6] * mean[at.north_east];
        total += (Number)w[7] * mean[at.south_west] + (Number)w[8] * mean[at.south_east];
        total += (Number)w[9] * ((i32)previous[at.here] << 7);
        total += (Number)w[10] * (((i32)previous[at.north] + (i32)previous[at.south] + (i32)previous[at.west]
                                   + (i32)previous[at.east]) << 7);
    }
    return total;
}

// Weighted code to the left. Beyond the edge of the band, the mean of the nearest pixel is used.
template <class Code>
DEVICE typename Width<Code>::Number west_mix(const i32* __restrict__ w, bool any, const i32* mean, const Code* now,
                                             const Around& at)
{
    typedef typename Width<Code>::Number Number;
    return (Number)w[11] * (!at.left ? now[at.west] << 7 : any ? mean[at.west] : 0);
}

// Weighted codes of the row above in the current frame, with the same rule at the edges.
template <class Code>
DEVICE typename Width<Code>::Number above_mix(const i32* __restrict__ w, bool any, const i32* mean,
                                              const Code* now, const Around& at)
{
    typedef typename Width<Code>::Number Number;
    const i32 north = !at.top ? now[at.north] << 7 : any ? mean[at.north] : 0;
    const i32 north_west = !at.top && !at.left ? now[at.north_west] << 7 : any ? mean[at.north_west] : 0;
    const i32 north_east = !at.top && !at.right ? now[at.north_east] << 7 : any ? mean[at.north_east] : 0;
    return (Number)w[12] * north + (Number)w[13] * north_west + (Number)w[14] * north_east;
}

enum Mode { PREDICT_PAST, RESTORE_PAST, PREDICT_FULL, RESTORE_FULL };

// Arguments of the kernels of past and full.
template <class Code>
struct Mix {
    const Code* in;
    u32 frames, rows, columns, band_rows;
    const i32 *weights, *rates;
    i32* means;
    Code* out;
};

// One pixel of frame t. `means` holds two planes. The mean before frame t is in plane t % 2; the mean after
// it goes to the other plane, which no pixel of frame t reads.
template <class Code, int MODE>
DEVICE void mix_pixel(const Mix<Code>& mix, u32 t, u32 row, u32 column)
{
    const bool restore = MODE == RESTORE_PAST || MODE == RESTORE_FULL;
    const bool full = MODE == PREDICT_FULL || MODE == RESTORE_FULL;
    const Band band(row, mix.rows, mix.columns, mix.band_rows, mix.frames);
    const Around at(row - band.first, column, band.rows, mix.columns);
    const u64 before = (u64)band.first * mix.columns, plane = (u64)mix.rows * mix.columns;
    const i32* w = mix.weights + (full ? 16 * t : t ? 11 : 0);  // a row for each frame, or two
    const i32* mean = mix.means + t % 2 * plane + before;
    i32* mean_after = mix.means + (t + 1) % 2 * plane + before;
    const Code* codes = (restore ? mix.out : mix.in) + band.start;
    const Code* now = codes + t * band.frame;
    const Code* previous = t ? now - band.frame : now;
    typename Width<Code>::Number total =
        full ? each_mix(w, t > 0, mean, previous, at) : past_mix(w, t > 0, mean, previous, at);
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

// ---- restore_full: one launch per diagonal of tiles ------------------------------------------------------

// Pixel (t, row, column) is restored in step column + 2*row + 4*t of its band: after its west (1 step
// before), north-east (1), north (2), north-west (3), and after (t - 1, row + 1, column + 1) (1 step before).
// The entry of `means` that it overwrites was last read one step before. A tile is `steps` steps of `group`
// frames of a band. It needs the tile before it of the same frames, and the same steps of the group before:
// hence diagonals.
template <class Code>
DEVICE void wavefront(const Mix<Code>& mix, u32 diagonal, u32 group, u32 steps)
{
    const u32 groups = (mix.frames + group - 1) / group, bands = (mix.rows + mix.band_rows - 1) / mix.band_rows;
    for (u64 tile = blockIdx.x; tile < (u64)bands * groups; tile += gridDim.x) {
        const u32 g = (u32)(tile % groups), first = (u32)(tile / groups) * mix.band_rows;
        if (g > diagonal) continue;
        const u32 rows = mix.band_rows < mix.rows - first ? mix.band_rows : mix.rows - first;
        const u32 t0 = g * group, lines = (group < mix.frames - t0 ? group : mix.frames - t0) * rows;
        const u32 begin = (diagonal - g) * steps;
        for (u32 step = begin; step < begin + steps; ++step) {
            for (u32 i = threadIdx.x; i < lines; i += blockDim.x) {
                const u32 t = t0 + i / rows, row = i % rows, before = 4 * t + 2 * row;
                if (before > step || step - before >= mix.columns) continue;
                mix_pixel<Code, RESTORE_FULL>(mix, t, first + row, step - before);
            }
            __syncthreads();  // the step's codes and means are there
        }
    }
}

#define MIX(name, Code, MODE) \
    KERNEL name##_##Code(const Code* in, u32 frames, u32 rows, u32 columns, u32 band_rows, const i32* weights, \
                         const i32* rates, i32* means, Code* out, u32 t) \
    { mix_frame<Code, MODE>({in, frames, rows, columns, band_rows, weights, rates, means, out}, t); }
#define WAVEFRONT(Code) \
    KERNEL restore_full_##Code(const Code* in, u32 frames, u32 rows, u32 columns, u32 band_rows, \
                               const i32* weights, const i32* rates, i32* means, Code* out, u32 diagonal, \
                               u32 group, u32 steps) \
    { wavefront<Code>({in, frames, rows, columns, band_rows, weights, rates, means, out}, diagonal, group, steps); }
MIX(predict_past, u8, PREDICT_PAST) MIX(predict_past, u16, PREDICT_PAST)
MIX(restore_past, u8, RESTORE_PAST) MIX(restore_past, u16, RESTORE_PAST)
MIX(predict_full, u8, PREDICT_FULL) MIX(predict_full, u16, PREDICT_FULL)
WAVEFRONT(u8) WAVEFRONT(u16)
