// CUDA kernels that write Huffman-only zstd frames within a Blosc frame. This file continues residuals.cu.
//
// zstd_huffman/reference.py defines the bytes. The content is cut into Blosc blocks of `length` bytes, each a
// zstd frame, and these into pieces of `piece` bytes. Pieces are counted, a plan is made for each frame, and
// blocks of pieces are written where the plan says, each by a block of threads of its own.

const u32 SYMBOLS = 256, LONGEST = 11, QUARTERS = 4, FEW = 256;
const u32 MOST_SHARED = 8, MOST_JOINED = 4, MOST_JOINED_BYTES = 1 << 17;
const u32 OVERHEAD = 16, DESCRIBED = 64, DESCRIBED_SYMBOL = 3;
const u32 RAW = 0, REPEATED = 1, CODED = 2, NO_BLOCK = 3;  // forms of a block; no block begins with this piece
const u32 WEIGHTS = LONGEST + 1, LOG = 6, STATES = 1 << LOG, MOST_DESCRIPTION = 128;
const u32 MAGIC = 0xFD2FB528u;

static_assert(SYMBOLS == THREADS, "a thread for each symbol");

// How a block of one piece, or of several that are joined, is written.
struct Block {
    u32 form, last, size, described;
    u32 at;                     // offset in its frame
    u32 streams[QUARTERS];      // bytes
};

static_assert(sizeof(Block) == 36, "zstd_huffman/cuda.py makes room for them");

// A piece of the content.
struct Piece {
    u64 frame, begin;           // number of its frame, its offset in the content
    u32 number, size, frame_size;  // number within its frame; bytes; bytes of its frame
};

// Pieces are numbered as if every frame had `per` of them; the last frame may have fewer, then `size` is 0.
DEVICE Piece piece_of(u64 k, u64 content, u32 length, u32 piece, u32 per)
{
    const u64 frame = k / per, first = frame * length, rest = content - first;
    const u32 number = (u32)(k % per), frame_size = rest < length ? (u32)rest : length;
    const u64 at = (u64)number * piece;
    const u32 size = at >= frame_size ? 0 : frame_size - at < piece ? (u32)(frame_size - at) : piece;
    return {frame, first + at, number, size, frame_size};
}

// ---- count_quarters --------------------------------------------------------------------------------------

KERNEL count_quarters(const u8* __restrict__ data, u64 content, u32 length, u32 piece, u32 per, u64 pieces,
                      u32* __restrict__ counts)
{
    SHARED(u32, own, QUARTERS * SYMBOLS);
    const u32 part = threadIdx.x / (THREADS / QUARTERS), first = threadIdx.x % (THREADS / QUARTERS);
    for (u64 k = blockIdx.x; k < pieces; k += gridDim.x) {
        const Piece at = piece_of(k, content, length, piece, per);
        const u32 quarter = (at.size + 3) / 4;
        const u32 end = (part + 1) * quarter < at.size ? (part + 1) * quarter : at.size;
        for (u32 i = threadIdx.x; i < QUARTERS * SYMBOLS; i += THREADS) own[i] = 0;
        __syncthreads();
        for (u32 i = part * quarter + first; i < end; i += THREADS / QUARTERS)
            atomicAdd(own + part * SYMBOLS + data[at.begin + i], 1u);
        __syncthreads();
        for (u32 i = threadIdx.x; i < QUARTERS * SYMBOLS; i += THREADS)
            counts[k * QUARTERS * SYMBOLS + i] = own[i];
    }
}

// ---- codes: all threads of a block take part, thread s for symbol s ------------------------------------------

struct Codes {
    u64 partial[THREADS / 32], total;
    u32 counts[SYMBOLS], leaves[SYMBOLS], packages[SYMBOLS], merged[2 * SYMBOLS];
    u16 places[LONGEST - 1][SYMBOLS];  // of each leaf in each list
    u32 numbers[WEIGHTS];              // codes of each length
    u8 lengths[SYMBOLS];
    // What only thread 0 uses, to describe codes.
    u8 weights[SYMBOLS], text[SYMBOLS], weight_of[STATES], states[STATES];
    u32 seen[WEIGHTS], shares[WEIGHTS], begins[WEIGHTS], most[WEIGHTS];
    u32 described;
    // Groups of up to eight pieces.
    u32 sums[MOST_SHARED][SYMBOLS];
    i64 costs[MOST_SHARED];
    u32 shared[MOST_SHARED], coded[MOST_SHARED];
};

// The total of a block, for all of its threads.
DEVICE u64 total_of(u64 value, Codes& w)
{
    value = block_total<Sum>(value, w.partial);
    if (threadIdx.x == 0) w.total = value;
    __syncthreads();
    return w.total;
}

// The binary logarithm of the first nine bits of a positive number, in 1/65536.
DEVICE u32 log2_of(u32 value, const u32* __restrict__ logarithms)
{
    const u32 bit = 31 - __clz((int)value);
    return bit << 16 | logarithms[(u32)(((u64)value << 8) >> bit) & 255];
}

// See the reference. `seen` is the number of symbols with a count.
DEVICE i64 about_bits(u32 count, const u32* __restrict__ logarithms, Codes& w, u32& seen)
{
    const u64 both = total_of((u64)count << 16 | (count > 0), w);
    const u32 total = (u32)(both >> 16), least = total >> LONGEST;
    const u32 share = count == 0 ? 0 : count > least ? count : least;
    seen = (u32)both & 0xffff;
    if (total == 0) return 0;
    const u32 raised = (u32)total_of(share, w);
    const u64 bits = total_of(count ? (u64)count * log2_of(share, logarithms) : 0, w);
    return ((i64)((u64)total * log2_of(raised, logarithms)) - (i64)bits) >> 16;
}

// Number of sorted values that are less than `limit`.
template <class T>
DEVICE u32 number_below(const T* sorted, u32 size, u32 limit)
{
    u32 low = 0;
    while (low < size) {
        const u32 middle = (low + size) / 2;
        if (sorted[middle] < limit) low = middle + 1;
        else size = middle;
    }
    return low;
}

// Sets `lengths` to those of the best code of at most 11 bits; returns the number of symbols with a count.
//
// The method is package-merge. Each item finds its place in a merged list by a search in the other list; a
// leaf comes before a package that equals it.
DEVICE u32 code_lengths(u32 count, Codes& w)
{
    const u32 s = threadIdx.x;
    w.counts[s] = count;
    const u32 seen = (u32)total_of(count > 0, w);
    u32 rank = 0;
    for (u32 other = 0; other < SYMBOLS; ++other) {
        const u32 its = w.counts[other];
        rank += its > 0 && (its < count || (its == count && other < s));
    }
    if (count) w.leaves[rank] = w.merged[rank] = count;
    w.places[0][s] = (u16)s;
    __syncthreads();
    u32 total = seen;
    for (u32 depth = 1; depth < LONGEST - 1; ++depth) {
        const u32 packed = total / 2, package = s < packed ? w.merged[2 * s] + w.merged[2 * s + 1] : 0;
        if (s < packed) w.packages[s] = package;
        __syncthreads();
        if (s < seen) {
            const u32 at = s + number_below(w.packages, packed, w.leaves[s]);
            w.merged[at] = w.leaves[s];
            w.places[depth][s] = (u16)at;
        }
        if (s < packed) w.merged[s + number_below(w.leaves, seen, package + 1)] = package;
        total = seen + packed;
        __syncthreads();
    }
    // A list contributes its rarest symbols.
    u32 length = 1, needed = 2 * (seen < 2 ? 0 : seen - 2);
    for (u32 depth = LONGEST - 1; depth-- > 0;) {
        const u32 leaf = number_below(w.places[depth], seen, needed);
        length += leaf > rank;
        needed = 2 * (needed - leaf);
    }
    w.lengths[s] = seen > 1 && count ? (u8)length : 0;
    __syncthreads();
    return seen;
}

// The code of this thread's symbol and its length: code << 4 | length; 0 without a code.
DEVICE u32 canonical_code(const u8* lengths, u32* numbers)
{
    const u32 s = threadIdx.x, own = lengths[s];
    if (s < WEIGHTS) numbers[s] = 0;
    __syncthreads();
    atomicAdd(numbers + own, 1u);
    __syncthreads();
    u32 code = 0;
    for (u32 length = LONGEST; length > own; --length) code = (code + numbers[length]) >> 1;
    for (u32 other = 0; other < s; ++other) code += lengths[other] == own;
    __syncthreads();  // all have read before these are set again
    return own ? code << 4 | own : 0;
}

// ---- description of codes, by a single thread ----------------------------------------------------------------

DEVICE u32 highest_bit(u32 value) { return 31 - __clz((int)value); }

// Probabilities in 1/64 of the weights seen; false if only one weight occurs.
DEVICE bool probabilities(u32 count, Codes& w)
{
    i32 whole = 0;
    for (u32 weight = 0; weight < WEIGHTS; ++weight) w.seen[weight] = 0;
    for (u32 i = 0; i < count; ++i) ++w.seen[w.weights[i]];
    for (u32 weight = 0; weight < WEIGHTS; ++weight) {
        const u32 seen = w.seen[weight], share = seen * STATES / count;
        if (seen == count) return false;
        w.shares[weight] = seen == 0 ? 0 : share ? share : 1;
        whole += (i32)w.shares[weight];
    }
    while (whole != (i32)STATES) {
        // The probability that is furthest from its share is corrected by one.
        const i32 sign = whole < (i32)STATES ? 1 : -1;
        i32 best = -1, most = 0;
        for (u32 weight = 0; weight < WEIGHTS; ++weight) {
            const i32 share = (i32)w.shares[weight];
            const i32 missing = sign * ((i32)(w.seen[weight] * STATES) - share * (i32)count);
            if (share > (sign > 0 ? 0 : 1) && (best < 0 || missing > most)) {
                best = (i32)weight;
                most = missing;
            }
        }
        w.shares[best] += (u32)sign;
        whole += sign;
    }
    return true;
}

// Appends bits to bytes, the lowest first.
struct Bits {
    u8* to;
    u32 at, word, filled;
    DEVICE void put(u32 value, u32 count)
    {
        word |= (value & ((1u << count) - 1)) << filled;
        for (filled += count; filled >= 8; filled -= 8) {
            to[at++] = (u8)word;
            word >>= 8;
        }
    }
    DEVICE void end_byte() { if (filled) put(0, 8 - filled); }
};

// Writes `count` weights by FSE to `text`, with their length; returns the bytes, 0 if impossible or too long.
DEVICE u32 code_weights(u32 count, Codes& w)
{
    if (count < 2 || !probabilities(count, w)) return 0;
    Bits bits = {w.text, 1, 0, 0};
    bits.put(LOG - 5, 4);
    u32 left = STATES + 1, size = LOG + 1;
    for (u32 weight = 0; left > 1; ++weight) {
        const u32 share = w.shares[weight], most = (2u << (size - 1)) - 1 - left;
        const u32 value = share + 1 + (share + 1 >= 1u << (size - 1) ? most : 0);
        bits.put(value, size - (value < most));
        left -= share;
        if (share == 0) {
            u32 zeros = 0;
            for (; w.shares[weight + 1 + zeros] == 0; ++zeros) {}
            weight += zeros;
            for (; zeros >= 3; zeros -= 3) bits.put(3, 2);
            bits.put(zeros, 2);
        }
        while (left < 1u << (size - 1)) --size;
    }
    bits.end_byte();
    u32 at = 0, begin = 0;
    for (u32 weight = 0; weight < WEIGHTS; ++weight)
        for (u32 i = 0; i < w.shares[weight]; ++i) {
            w.weight_of[at] = (u8)weight;
            at = (at + STATES / 2 + STATES / 8 + 3) % STATES;
        }
    // The states of a weight, in order of their number, are its sub-states n, n + 1, ... to 2n - 1. A state
    // gives up bits until it is one of them: `most` bits, or one less if it is below n << most.
    for (u32 weight = 0; weight < WEIGHTS; ++weight) {
        const u32 share = w.shares[weight];
        w.begins[weight] = begin;
        w.most[weight] = share > 1 ? LOG - highest_bit(share - 1) : LOG;
        for (u32 i = 0; i < STATES; ++i)
            if (w.weight_of[i] == weight) w.states[begin++] = (u8)i;
    }
    const u32 last = w.weights[count - 1], before = w.weights[count - 2];
    u32 state = STATES + w.states[w.begins[last]], other = STATES + w.states[w.begins[before]];
    for (u32 i = count - 2; i-- > 0;) {
        const u32 weight = w.weights[i], share = w.shares[weight];
        const u32 shift = w.most[weight] - (state < share << w.most[weight]);
        bits.put(state, shift);
        const u32 next = STATES + w.states[w.begins[weight] + (state >> shift) - share];
        state = other;
        other = next;
    }
    bits.put(state, LOG);
    bits.put(other, LOG);
    bits.put(1, 1);
    bits.end_byte();
    w.text[0] = (u8)(bits.at - 1);
    return bits.at > MOST_DESCRIPTION ? 0 : bits.at;
}

// Writes the description of the codes to `text`; sets its bytes, 0 if there is none.
DEVICE void describe_codes(Codes& w)
{
    u32 longest = 0, last = 0;
    for (u32 s = 0; s < SYMBOLS; ++s)
        if (w.lengths[s]) {
            longest = w.lengths[s] > longest ? w.lengths[s] : longest;
            last = s;
        }
    for (u32 s = 0; s < SYMBOLS; ++s)
        w.weights[s] = s < last && w.lengths[s] ? (u8)(longest + 1 - w.lengths[s]) : 0;
    const u32 direct = last <= MOST_DESCRIPTION ? 1 + (last + 1) / 2 : 0, coded = code_weights(last, w);
    w.described = coded && (!direct || coded < direct) ? coded : direct;
    if (w.described == coded && coded) return;
    if (!direct) return;
    w.text[0] = (u8)(127 + last);
    for (u32 i = 0; i + 1 < direct; ++i) w.text[1 + i] = (u8)(w.weights[2 * i] << 4 | w.weights[2 * i + 1]);
}

// ---- plan_frames: a block of threads for each frame ------------------------------------------------------------

// Count of a symbol in a quarter of the block that `joined` pieces form, the first of which has `counts`.
DEVICE u32 quarter_count(const u32* __restrict__ counts, u32 part, u32 joined)
{
    u32 count = 0;
    for (u32 k = 0; k < joined; ++k) count += counts[(part * joined + k) * SYMBOLS + threadIdx.x];
    return count;
}

// Counts of up to eight pieces, those of all others 0, and about how many bits they take with their own codes.
DEVICE void count_pieces(const u32* __restrict__ counts, u32 number, u32 size, u32 piece,
                         const u32* __restrict__ logarithms, Codes& w)
{
    for (u32 i = 0; i < MOST_SHARED; ++i) {
        u32 seen = 0, count = i < number ? quarter_count(counts + i * QUARTERS * SYMBOLS, 0, QUARTERS) : 0;
        const i64 bits = about_bits(count, logarithms, w, seen);
        const u32 own = i < number ? (size - i * piece < piece ? size - i * piece : piece) : 0;
        const bool coded = seen > 1 && bits < 8 * ((i64)own - OVERHEAD);
        w.sums[i][threadIdx.x] = coded ? count : 0;
        if (threadIdx.x == 0) {
            w.coded[i] = coded;
            w.shared[i] = 1;
            w.costs[i] = coded ? bits + DESCRIBED + DESCRIBED_SYMBOL * seen + 8 * OVERHEAD : 0;
        }
    }
    __syncthreads();
}

// Sets shared[i] to the number of pieces, 1 to 8, that share the codes of a group begun by piece i.
DEVICE void share_codes(const u32* __restrict__ logarithms, Codes& w)
{
    for (u32 size = 1; size < MOST_SHARED; size *= 2)
        for (u32 first = 0; first < MOST_SHARED; first += 2 * size) {
            const u32 second = first + size;
            const bool alone = w.shared[first] != size || w.shared[second] != size;
            const i64 apart = w.costs[first] + w.costs[second];
            const u32 joined = w.sums[first][threadIdx.x] + w.sums[second][threadIdx.x];
            u32 seen = 0;
            const i64 bits = about_bits(alone ? 0 : joined, logarithms, w, seen);
            const u32 blocks = 2 * size / MOST_JOINED ? 2 * size / MOST_JOINED : 1;
            const u32 described = DESCRIBED + DESCRIBED_SYMBOL * seen + 8 * OVERHEAD * blocks;
            const i64 together = bits + (seen ? described : 0);
            const bool share = !alone && together <= apart;
            __syncthreads();  // all have read
            if (share) w.sums[first][threadIdx.x] = joined;
            if (threadIdx.x == 0) {
                w.costs[first] = share ? together : apart;
                if (share) w.shared[first] = 2 * size;
            }
            __syncthreads();
        }
}

// The number of pieces of a group that become one block.
DEVICE u32 pieces_joined(u32 first, u32 number, u32 size, u32 piece, const Codes& w)
{
    u32 joined = 1;
    for (u32 i = 0; i < number; ++i)
        if (!w.coded[first + i] || (u64)piece * number != size || piece % 4) return 1;
    while (joined < MOST_JOINED && number % (2 * joined) == 0 && 2 * joined * piece <= MOST_JOINED_BYTES) joined *= 2;
    return joined;
}

// Bits that the counted symbols take; -1 if one of them has no code.
DEVICE i64 coded_bits(u32 count, u32 code, Codes& w)
{
    const u64 both = total_of((u64)count * (code & 15) << 16 | (count > 0 && code == 0), w);
    return both & 0xffff ? -1 : (i64)(both >> 16);
}

// Plans a block in the shortest form; returns its bytes. `counts` are those of its quarters.
DEVICE u32 plan_block(const u32* __restrict__ counts, u32 joined, u32 size, u32 described, u32 code, Block& plan,
                      u32& form, Codes& w)
{
    const u32 length = code & 15, streams = size < FEW ? 1 : QUARTERS;
    u64 bits[2] = {0, 0}, flags = 0;
    u32 whole = 0;
#pragma unroll
    for (u32 part = 0; part < QUARTERS; ++part) {
        const u32 count = quarter_count(counts, part, joined);
        bits[part / 2] |= (u64)(count * length) << part % 2 * 32;
        flags |= count > 0 && length == 0;
        whole += count;
    }
    const u64 early = total_of(bits[0], w), late = total_of(bits[1], w);
    flags = total_of(flags | (u64)(whole == size) << 16, w);
    u32 sizes[QUARTERS] = {(u32)early, (u32)(early >> 32), (u32)late, (u32)(late >> 32)}, total = 0;
    if (streams == 1) {
        sizes[0] += sizes[1] + sizes[2] + sizes[3];
        sizes[1] = sizes[2] = sizes[3] = 0;
    }
#pragma unroll
    for (u32 part = 0; part < QUARTERS; ++part) {
        if (part < streams) sizes[part] = (sizes[part] + 8) / 8;
        total += sizes[part];
    }
    const u32 coded = described + total + (streams == 1 ? 0 : 6);
    const u32 header = size < 1 << 10 ? 3 : size < 1 << 14 ? 4 : 5;
    form = flags >> 16 ? REPEATED : (flags & 0xffff) || header + coded + 1 >= size ? RAW : CODED;
    if (threadIdx.x == 0) {
        plan.form = form;
        plan.size = size;
        plan.described = form == CODED ? described : 0;
#pragma unroll
        for (u32 part = 0; part < QUARTERS; ++part) plan.streams[part] = sizes[part];
    }
    return form == REPEATED ? 4 : form == RAW ? 3 + size : 3 + header + coded + 1;
}

DEVICE u32 frame_header(u32 size) { return size < 256 ? 6 : size < 65536 + 256 ? 7 : 9; }

// Plans all blocks of each frame. `codes` are those of each block, `descriptions` new ones; `sizes` are the
// bytes of each frame.
KERNEL plan_frames(const u32* __restrict__ counts, u64 content, u32 length, u32 piece, u32 per, u64 frames,
                   const u32* __restrict__ logarithms, Block* plans, u16* __restrict__ codes,
                   u8* __restrict__ descriptions, u32* __restrict__ sizes)
{
    SHARED(Codes, work, 1);
    Codes& w = work[0];
    for (u64 frame = blockIdx.x; frame < frames; frame += gridDim.x) {
        const u64 base = frame * per;
        const u32 frame_size = piece_of(base, content, length, piece, per).frame_size;
        const u32 pieces = (frame_size + piece - 1) / piece;
        u32 at = frame_header(frame_size), latest = 0;  // the code of this thread's symbol
        for (u32 batch = 0; batch < pieces; batch += MOST_SHARED) {
            const u32 number = pieces - batch < MOST_SHARED ? pieces - batch : MOST_SHARED;
            count_pieces(counts + (base + batch) * QUARTERS * SYMBOLS, number, frame_size - batch * piece, piece,
                         logarithms, w);
            share_codes(logarithms, w);
            for (u32 first = 0, next; first < number; first = next) {
                next = first + w.shared[first] < number ? first + w.shared[first] : number;
                const u32 begin = (batch + first) * piece, whole = w.sums[first][threadIdx.x];
                const u32 most = (next - first) * piece;
                const u32 size = frame_size - begin < most ? frame_size - begin : most;
                const u32 joined = pieces_joined(first, next - first, size, piece, w), before = latest;
                u32 described = 0;
                if (code_lengths(whole, w) > 1) {
                    if (threadIdx.x == 0) describe_codes(w);
                    const u32 fresh = canonical_code(w.lengths, w.numbers);
                    const i64 again = coded_bits(whole, latest, w), anew = coded_bits(whole, fresh, w);
                    if (w.described && (again < 0 || anew + 8 * w.described < again)) {
                        described = w.described;
                        latest = fresh;
                    }
                }
                for (u32 i = first; i < next; ++i) {
                    const u64 k = base + batch + i;
                    Block& plan = plans[k];
                    if ((i - first) % joined) {
                        if (threadIdx.x == 0) plan.form = NO_BLOCK;
                        continue;
                    }
                    const u32 from = (batch + i) * piece, most_here = joined * piece;
                    const u32 here = frame_size - from < most_here ? frame_size - from : most_here;
                    if (threadIdx.x == 0) {
                        plan.at = at;
                        plan.last = from + here == frame_size;
                    }
                    u32 form;
                    at += plan_block(counts + k * QUARTERS * SYMBOLS, joined, here, described, latest, plan, form, w);
                    codes[k * SYMBOLS + threadIdx.x] = (u16)latest;
                    if (form != CODED) continue;
                    if (threadIdx.x < described) descriptions[k * MOST_DESCRIPTION + threadIdx.x] = w.text[threadIdx.x];
                    described = 0;
                }
                if (described) latest = before;  // these are not in the frame
                __syncthreads();  // all have read before the next group's codes are found
            }
        }
        if (threadIdx.x == 0) sizes[frame] = at < frame_size ? at : frame_size;
        __syncthreads();
    }
}

// ---- write_frames: a block of threads for each block -----------------------------------------------------------

DEVICE u8* put_number(u8* to, u64 value, u32 size)
{
    for (u32 i = 0; i < size; ++i) to[i] = (u8)(value >> 8 * i);
    return to + size;
}

DEVICE void copy_bytes(u8* __restrict__ to, const u8* __restrict__ from, u32 size)
{
    for (u32 i = threadIdx.x; i < size; i += THREADS) to[i] = from[i];
}

struct Streams {
    u32 partial[THREADS / 32], bases[QUARTERS];
    u16 codes[SYMBOLS];
    u8 carried[THREADS + 1];
};

// Writes the streams of a block, each by a quarter of the threads. A stream is read from its highest bit down,
// so the last symbols come first. Threads take runs of symbols; a byte that two of them share is written by the
// first, to which the second carries its bits. Two share it at most, since a run has eight symbols or more.
DEVICE void write_streams(const u8* __restrict__ data, const Block& plan, u8* to, Streams& w)
{
    const u32 quarters = plan.size < FEW ? 1 : QUARTERS, each = THREADS / QUARTERS;
    const u32 part = threadIdx.x / each, number = threadIdx.x % each;
    const u32 quarter = (plan.size + quarters - 1) / quarters, first = part * quarter;
    const u32 count = part >= quarters ? 0 : plan.size - first < quarter ? plan.size - first : quarter;
    const u32 even = (count + each - 1) / each, run = even < 8 ? 8 : even;
    const u32 high = number * run < count ? count - number * run : 0, low = high > run ? high - run : 0;
    const u8* own = data + first;
    u32 bits = 0, total;
    for (u32 i = low; i < high; ++i) bits += w.codes[own[i]] & 15;
    u32 begin = block_before(bits, w.partial, total);
    if (number == 0) w.bases[part] = begin;
    __syncthreads();
    begin -= w.bases[part];
    for (u32 i = 0; i < part; ++i) to += plan.streams[i];
    to += begin / 8;
    u64 word = 0;
    u32 filled = begin % 8;
    bool owed = filled > 0;  // the first byte, to the thread before
    for (u32 i = high; i-- > low;) {
        const u32 code = w.codes[own[i]];
        word |= (u64)(code >> 4) << filled;
        for (filled += code & 15; filled >= 32;) {
            if (!owed && (u64)to % 4 == 0) {
                *(u32*)to = (u32)word;
                to += 4, word >>= 32, filled -= 32;
                continue;
            }
            if (owed) w.carried[threadIdx.x] = (u8)word;
            else *to = (u8)word;
            owed = false;
            ++to, word >>= 8, filled -= 8;
        }
    }
    const bool last = high > 0 && low == 0;
    if (last) word |= 1ull << filled++;  // the end mark
    while (high > 0 && (filled >= 8 || (last && filled > 0))) {
        if (owed) w.carried[threadIdx.x] = (u8)word;
        else *to = (u8)word;
        owed = false;
        ++to, word >>= 8, filled -= filled < 8 ? filled : 8;
    }
    __syncthreads();  // what is carried is there
    if (high > 0 && filled > 0) *to = (u8)word | w.carried[threadIdx.x + 1];
    __syncthreads();
}

DEVICE void write_block(const u8* __restrict__ data, const Block& plan, const u8* __restrict__ description, u8* to,
                        Streams& w)
{
    const u32 size = plan.size, header = size < 1 << 10 ? 3 : size < 1 << 14 ? 4 : 5;
    const u32 total = plan.streams[0] + plan.streams[1] + plan.streams[2] + plan.streams[3];
    const u32 jumps = size < FEW ? 0 : 6, coded = plan.described + jumps + total;
    const u32 stored = plan.form == CODED ? header + coded + 1 : size;
    if (threadIdx.x == 0) put_number(to, plan.last | plan.form << 1 | (u64)stored << 3, 3);
    to += 3;
    if (plan.form == REPEATED) {
        if (threadIdx.x == 0) *to = data[0];
    } else if (plan.form == RAW)
        copy_bytes(to, data, size);
    else {
        const u32 form = size < FEW ? 0 : header - 2, width = form == 3 ? 18 : form == 2 ? 14 : 10;
        if (threadIdx.x == 0) {
            const u64 type = plan.described ? 2 : 3;  // new codes, or the latest
            put_number(to, type | form << 2 | (u64)size << 4 | (u64)coded << (4 + width), header);
            for (u32 i = 0; 2 * i < jumps; ++i) put_number(to + header + plan.described + 2 * i, plan.streams[i], 2);
            to[header + coded] = 0;  // no sequences
        }
        copy_bytes(to + header, description, plan.described);
        write_streams(data, plan, to + header + plan.described + jumps, w);
    }
}

// Writes each frame, and its length before it, at starts[frame] of `out`. A frame as long as its content is
// replaced by the content.
KERNEL write_frames(const u8* __restrict__ data, u64 content, u32 length, u32 piece, u32 per, u64 pieces,
                    const Block* __restrict__ plans, const u16* __restrict__ codes,
                    const u8* __restrict__ descriptions, const u32* __restrict__ sizes,
                    const i64* __restrict__ starts, u8* __restrict__ out)
{
    SHARED(Streams, work, 1);
    Streams& w = work[0];
    for (u64 k = blockIdx.x; k < pieces; k += gridDim.x) {
        const Piece at = piece_of(k, content, length, piece, per);
        if (at.size == 0) continue;
        u8* to = out + starts[at.frame];
        const u32 size = sizes[at.frame];
        if (at.number == 0 && threadIdx.x == 0) put_number(to, size, 4);
        to += 4;
        if (size == at.frame_size) {
            copy_bytes(to + at.number * piece, data + at.begin, at.size);
            continue;
        }
        if (at.number == 0 && threadIdx.x == 0) {
            const u32 header = frame_header(at.frame_size);
            put_number(put_number(to, MAGIC, 4), header == 6 ? 0x20 : header == 7 ? 0x60 : 0xA0, 1);
            put_number(to + 5, header == 7 ? at.frame_size - 256 : at.frame_size, header - 5);
        }
        const Block& plan = plans[k];
        if (plan.form == NO_BLOCK) continue;
        w.codes[threadIdx.x] = codes[k * SYMBOLS + threadIdx.x];
        __syncthreads();
        write_block(data + at.begin, plan, descriptions + k * MOST_DESCRIPTION, to + plan.at, w);
        __syncthreads();  // all have used the codes
    }
}
