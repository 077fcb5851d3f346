// CUDA kernels that pack and sort residuals. This file continues predictors.cu.

// ---- pack, unpack: one block per segment, tile after tile, so that escapes keep their order ---------------

const u32 RUN = 8;  // neighbouring residuals per thread: four bytes of nibbles
const u32 ESCAPE = 15;

// Sum of the counts of all threads before this one; `total` is that of all. Every thread must call it.
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

// Read neighbours, by one instruction if all exist and are aligned; those beyond `count` are 0.
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
DEVICE void put_neighbours(T* at, u32 count, const Pack<T, N>& values)
{
    if (count == N && aligned<T, N>(at)) {
        *(Pack<T, N>*)at = values;
        return;
    }
#pragma unroll
    for (u32 j = 0; j < N; ++j)
        if (j < count) at[j] = values.item[j];
}

// Number of residuals of the run from `begin` that lie within `length`.
DEVICE u32 run_within(u32 begin, u32 length)
{
    return begin >= length ? 0 : length - begin < RUN ? length - begin : RUN;
}

// `segment` is even, so that no byte holds nibbles of two segments.
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

// Adds to `strange`. Never reads beyond the `escaped` escapes, whatever `starts` holds.
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
        const u64 stored = bound > start ? bound - start : 0;
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
                    if (next < stored) write.item[j] = (Code)(ESCAPE + escapes[start + next]);
                    ++next;
                }
            put_neighbours<Code, RUN>(out + first + begin, mine, write);
            count += total;
        }
        if (threadIdx.x == 0) {
            const bool half = first + length == size && size % 2 && nibbles[size / 2] >> 4;
            if (count != stored || half) atomicAdd(strange, (u64)(count != stored) + half);
        }
    }
}

// Joins the rows of `escapes`; segment s begins at starts[s].
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

// Level of sample i; NO_LEVEL for a lane beyond the samples, which still takes part in its warp's operations.
template <class Code>
DEVICE u32 level_at(const Code* __restrict__ codes, const Code* __restrict__ residuals, u64 i, u64 size, u32 levels)
{
    return i < size ? level_of<Code>((Code)((i32)codes[i] - unzigzag(residuals[i])), levels) : NO_LEVEL;
}

// Adds to `table` the number of samples at each level, for each `run` (a multiple of 32) of samples.
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

// Turns counts into the index of the first sample of each level and run. `places` advances past each level.
KERNEL place_runs(u64* table, u64 runs, u32 levels, i64* places)
{
    for (u64 level = thread_index(); level < levels; level += thread_count()) {
        u64 index = (u64)places[level];
        for (u64 r = 0; r < runs; ++r) {
            const u64 count = table[r * levels + level];
            table[r * levels + level] = index;
            index += count;
        }
        places[level] = (i64)index;
    }
}

// A warp walks a run, 32 samples at a time; `table` holds the index of its next sample at each level.
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
            const u64 index = level != NO_LEVEL ? next[level] : 0;
            __syncwarp();  // all have read before one writes
            if (level != NO_LEVEL) {
                out[index + __popc(lower)] = residuals[i];
                if (!lower) next[level] = index + __popc(alike);
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
