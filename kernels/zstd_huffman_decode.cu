// A CUDA kernel that decodes Blosc frames of Huffman-only zstd frames. This file continues zstd_huffman.cu.
//
// zstd_huffman/reference.py says which frames are decoded. A block of threads takes a zstd frame, up to eight
// of its blocks at a time: warp i has block i. Its first lane reads the description of the codes, and four of
// its lanes read a stream each. A frame may hold any bytes: nothing outside the arrays is read or written.

const u32 AT_ONCE = THREADS / 32, TABLE = 1 << LONGEST;
const u32 NEW_CODES = 2, LATEST_CODES = 3;

// A block of a zstd frame.
struct Coded {
    u32 form, at, count;        // its form; where its bytes lie in the frame; how many bytes it opens to
    u32 to;                     // where these lie in the content of the frame
    u32 literals, coded;        // offset and bytes of the description and the streams, in the frame
    u32 described, longest;     // bytes of the description, 0 for the latest codes; bits of the longest code
    u32 streams, table;         // number of streams, and of the decoding table
};

struct Opening {
    u16 tables[AT_ONCE + 1][TABLE];  // symbol << 8 | length of its code; the last are the latest codes before
    u8 lengths[AT_ONCE][SYMBOLS];    // weights at first
    u8 weight_of[AT_ONCE][STATES], widths[AT_ONCE][STATES], bases[AT_ONCE][STATES];
    u32 shares[AT_ONCE][WEIGHTS], numbers[WEIGHTS];
    Coded blocks[AT_ONCE];
    u32 number, at, done;  // blocks that are decoded at once; bytes of the frame, and of its content, before
    u32 latest;            // number of the latest table; NO_TABLE
    u32 last, bad;         // whether no blocks follow; whether the frame is refused
};

const u32 NO_TABLE = AT_ONCE + 1;

DEVICE u64 take_number(const u8* __restrict__ from, u32 size)
{
    u64 value = 0;
    for (u32 i = 0; i < size; ++i) value |= (u64)from[i] << 8 * i;
    return value;
}

// ---- description of codes, by a single thread ----------------------------------------------------------------

// `count` bits, up to eight, below bit `end` of the data; those outside are 0.
DEVICE u32 bits_below(const u8* __restrict__ data, u32 size, u32 end, u32 count)
{
    const u32 low = end > count ? end - count : 0;
    u32 value = 0;
    for (u32 at = low / 8; 8 * at < end; ++at) value |= (at < size ? (u32)data[at] : 0) << 8 * (at - low / 8);
    return value >> low % 8 << (low + count - end) & ((1u << count) - 1);
}

// Reads probabilities in 1/64; returns their bytes, 0 if these are of another kind.
DEVICE u32 take_probabilities(const u8* __restrict__ data, u32 size, u32* shares)
{
    u32 bit = 4, left = STATES + 1, threshold = STATES, width = LOG + 1, weight = 0;
    for (u32 other = 0; other < WEIGHTS; ++other) shares[other] = 0;
    if (bits_below(data, size, 4, 4) != LOG - 5) return 0;
    while (left > 1) {
        if (weight >= WEIGHTS || bit >= 8 * size) return 0;
        const u32 most = 2 * threshold - 1 - left;
        u32 value = bits_below(data, size, bit + width - 1, width - 1);
        if (value < most)
            bit += width - 1;
        else {
            value = bits_below(data, size, bit + width, width);
            value -= value >= threshold ? most : 0;
            bit += width;
        }
        if (value < 1 || value > left) return 0;
        shares[weight++] = value - 1;
        left -= value - 1;
        for (u32 zeros = value == 1 ? 3 : 0; zeros == 3;) {
            if (bit >= 8 * size) return 0;
            zeros = bits_below(data, size, bit + 2, 2);
            weight += zeros;
            bit += 2;
        }
        for (; left < threshold; threshold >>= 1) --width;
    }
    return bit <= 8 * size ? (bit + 7) / 8 : 0;
}

// Reads weights that are coded by FSE; returns their number, 0 if that fails.
DEVICE u32 take_weights(const u8* __restrict__ data, u32 size, u32 number, Opening& w)
{
    u32* shares = w.shares[number];
    u8 *weight_of = w.weight_of[number], *widths = w.widths[number], *bases = w.bases[number];
    const u32 begin = take_probabilities(data, size, shares);
    if (!begin || begin >= size || !data[size - 1]) return 0;
    u32 at = 0;
    for (u32 weight = 0; weight < WEIGHTS; ++weight)
        for (u32 i = 0; i < shares[weight]; ++i) {
            weight_of[at] = (u8)weight;
            at = (at + STATES / 2 + STATES / 8 + 3) % STATES;
        }
    for (u32 i = 0; i < STATES; ++i) {
        const u32 following = shares[weight_of[i]]++;
        widths[i] = (u8)(LOG - highest_bit(following));
        bases[i] = (u8)((following << widths[i]) - STATES);
    }
    const u8* stream = data + begin;
    const u32 length = size - begin;
    u32 bit = 8 * (length - 1) + highest_bit(stream[length - 1]);
    if (bit < 2 * LOG) return 0;
    u32 state = bits_below(stream, length, bit, LOG), other = bits_below(stream, length, bit - LOG, LOG);
    bit -= 2 * LOG;
    for (u32 i = 0; i < SYMBOLS - 2; ++i) {
        const u32 width = widths[state];
        w.lengths[number][i] = weight_of[state];
        if (bit < width) {
            w.lengths[number][i + 1] = weight_of[other];
            return i + 2;
        }
        const u32 next = bases[state] + bits_below(stream, length, bit, width);
        bit -= width;
        state = other;
        other = next;
    }
    return 0;
}

// Reads the description at the start of the data to `lengths`, as weights; returns its bytes, 0 if it is not
// supported. `lengths` are 0 before.
DEVICE u32 read_codes(const u8* __restrict__ data, u32 size, u32 number, u32& longest, Opening& w)
{
    if (size < 1) return 0;
    u8* weights = w.lengths[number];
    const u32 first = data[0], taken = first > 127 ? 1 + (first - 126) / 2 : 1 + first;
    if (taken > size) return 0;
    u32 count = first > 127 ? first - 127 : take_weights(data + 1, first, number, w);
    if (first > 127)
        for (u32 i = 0; i < count; ++i) weights[i] = data[1 + i / 2] >> (i % 2 ? 0 : 4) & 15;
    u32 whole = 0, ones = 0;
    for (u32 i = 0; i < count; ++i) {
        if (weights[i] > LONGEST) return 0;
        whole += 1u << weights[i] >> 1;
        ones += weights[i] == 1;
    }
    if (whole == 0 || whole >= 1 << LONGEST) return 0;
    longest = highest_bit(whole) + 1;
    const u32 rest = (1u << longest) - whole;
    if (rest & (rest - 1) || ones + (rest == 1) < 2) return 0;
    weights[count] = (u8)(highest_bit(rest) + 1);
    return taken;
}

// ---- blocks of a frame, by a single thread ---------------------------------------------------------------------

// Begins a frame of `size` bytes; false unless it opens to `content` bytes.
DEVICE bool begin_frame(const u8* __restrict__ frame, u32 size, u32 content, Opening& w)
{
    w.done = w.last = w.bad = 0;
    w.latest = NO_TABLE;
    if (size < 9 || take_number(frame, 4) != MAGIC) return false;
    const u32 form = frame[4], width = form == 0x20 ? 1 : form == 0x60 ? 2 : form == 0xA0 ? 4 : 0;
    w.at = 5 + width;
    return width && w.at <= size && take_number(frame + 5, width) + (width == 2 ? 256 : 0) == content;
}

// Reads the header of the literals of a block of `taken` bytes; false if the block is not supported.
DEVICE bool read_literals(const u8* __restrict__ frame, u32 taken, u32 number, Coded& block, Opening& w)
{
    const u8* data = frame + block.at;
    if (taken < 3) return false;
    const u32 codes = data[0] & 3, form = data[0] >> 2 & 3, header = form == 3 ? 5 : form == 2 ? 4 : 3;
    if (taken < header || codes < NEW_CODES || (codes == LATEST_CODES && w.latest == NO_TABLE)) return false;
    const u32 width = form == 3 ? 18 : form == 2 ? 14 : 10;
    const u64 numbers = take_number(data, header) >> 4;
    block.count = (u32)numbers & ((1u << width) - 1);
    block.coded = (u32)(numbers >> width);
    block.literals = block.at + header;
    block.streams = form ? QUARTERS : 1;
    block.table = w.latest = codes == NEW_CODES ? number : w.latest;
    block.described = codes == NEW_CODES;
    // Nothing but a byte of 0, which means no sequences, follows the literals.
    return header + block.coded + 1 == taken && data[taken - 1] == 0;
}

// Reads the headers of the next blocks of a frame of `size` bytes, up to eight; false if one is not supported.
DEVICE bool next_blocks(const u8* __restrict__ frame, u32 size, u32 content, Opening& w)
{
    for (w.number = 0; w.number < AT_ONCE && !w.last; ++w.number) {
        if (size - w.at < 3) return false;
        const u32 header = (u32)take_number(frame + w.at, 3);
        Coded& block = w.blocks[w.number];
        block.form = header >> 1 & 3;
        block.at = w.at + 3;
        block.count = header >> 3;
        block.to = w.done;
        block.described = block.table = 0;
        const u32 taken = block.form == REPEATED ? 1 : block.count;
        if (block.form > CODED || size - block.at < taken) return false;
        if (block.form == CODED && !read_literals(frame, taken, w.number, block, w)) return false;
        if (block.count > content - w.done) return false;
        w.done += block.count;
        w.at = block.at + taken;
        w.last = header & 1;
    }
    return !w.last || (w.at == size && w.done == content);
}

// ---- content of a block: by a warp, a lane for each stream -------------------------------------------------------

// Fills `out` from a stream; false unless that uses up the stream exactly.
DEVICE bool read_stream(const u8* __restrict__ data, u32 size, const u16* table, u8* out, u32 count)
{
    if (size == 0 || data[size - 1] == 0) return false;
    u32 at = size - 1;
    i32 left = (i32)highest_bit(data[at]);  // bits of `word` that belong to the stream; below them are zeros
    u64 word = (u64)data[at] << 1 << (63 - left);
    for (u32 i = 0; i < count;) {
        const u32 ahead = count - i >= 4 && (u64)(out + i) % 4 == 0 ? 4 : 1;
        u32 symbols = 0;
        for (u32 j = 0; j < ahead; ++j) {
            while (left < (i32)LONGEST && at > 0)
                if (at >= 4 && (u64)(data + at) % 4 == 0) {
                    word |= (u64)*(const u32*)(data + at - 4) << (32 - left);
                    at -= 4, left += 32;
                } else {
                    word |= (u64)data[--at] << (56 - left);
                    left += 8;
                }
            const u32 entry = table[word >> (64 - LONGEST)];
            word <<= entry & 255;
            left -= (i32)(entry & 255);
            symbols |= entry >> 8 << 8 * j;
        }
        if (ahead == 4) *(u32*)(out + i) = symbols;
        else out[i] = (u8)symbols;
        i += ahead;
    }
    return at == 0 && left == 0;
}

// Writes the content of a block, all lanes of its warp together; false for a lane whose stream is damaged.
DEVICE bool read_block(const u8* __restrict__ frame, const Coded& block, const u16* table, u8* out)
{
    const u32 lane = threadIdx.x % 32;
    if (block.form != CODED) {
        const u8* from = frame + block.at;
        for (u32 i = lane; i < block.count; i += 32) out[i] = from[block.form == REPEATED ? 0 : i];
        return true;
    }
    if (lane >= block.streams) return true;
    const u8* data = frame + block.literals + block.described;
    const u32 size = block.coded - block.described;
    if (block.streams == 1) return read_stream(data, size, table, out, block.count);
    const u32 quarter = (block.count + 3) / 4;
    if (size < 10 || 3 * quarter >= block.count) return false;
    u32 begin = 6, length = 0;
    for (u32 i = 0; i <= lane; ++i) {
        begin += length;
        if (begin >= size) return false;
        length = i + 1 < QUARTERS ? (u32)take_number(data + 2 * i, 2) : size - begin;
    }
    if (begin + length > size) return false;
    const u32 first = lane * quarter;
    return read_stream(data + begin, length, table, out + first, lane + 1 < QUARTERS ? quarter : block.count - first);
}

// ---- decode_blosc: a block of threads for each zstd frame --------------------------------------------------------

// Turns the weights of a block into lengths of codes, and these into its table.
DEVICE void fill_table(u32 number, Opening& w)
{
    const u32 s = threadIdx.x, weight = w.lengths[number][s];
    w.lengths[number][s] = weight ? (u8)(w.blocks[number].longest + 1 - weight) : 0;
    const u32 code = canonical_code(w.lengths[number], w.numbers), rest = LONGEST - (code & 15);
    if (code)
        for (u32 i = 0; i < 1u << rest; ++i)
            w.tables[number][(code >> 4 << rest) + i] = (u16)(s << 8 | (code & 15));
}

// Decodes a zstd frame to `content` bytes; returns, to all threads, whether that is possible.
DEVICE bool decode_frame(const u8* __restrict__ frame, u32 size, u8* __restrict__ out, u32 content, Opening& w)
{
    const u32 number = threadIdx.x / 32;
    if (threadIdx.x == 0 && !begin_frame(frame, size, content, w)) w.bad = 1;
    for (u32 last = 0; !last;) {
        if (threadIdx.x == 0 && (w.bad || !next_blocks(frame, size, content, w))) w.bad = w.last = 1;
        for (u32 i = 0; i < AT_ONCE; ++i) w.lengths[i][threadIdx.x] = 0;
        __syncthreads();
        Coded& block = w.blocks[number];
        const bool mine = !w.bad && number < w.number;
        __syncthreads();  // all have read
        if (mine && threadIdx.x % 32 == 0 && block.described) {
            block.described = read_codes(frame + block.literals, block.coded, number, block.longest, w);
            if (!block.described) atomicAdd(&w.bad, 1u);
        }
        __syncthreads();
        const bool bad = w.bad;
        for (u32 i = 0; !bad && i < w.number; ++i)
            if (w.blocks[i].described) fill_table(i, w);
        __syncthreads();  // the tables are there
        if (mine && !bad && !read_block(frame, block, w.tables[block.table], out + block.to)) atomicAdd(&w.bad, 1u);
        __syncthreads();
        last = w.last;
        const u32 latest = w.latest;
        if (!last && latest < AT_ONCE)
            for (u32 i = threadIdx.x; i < TABLE; i += THREADS) w.tables[AT_ONCE][i] = w.tables[latest][i];
        __syncthreads();  // all have read before the next blocks are found
        if (threadIdx.x == 0 && latest < AT_ONCE) w.latest = AT_ONCE;
    }
    const bool whole = w.bad == 0;
    __syncthreads();
    return whole;
}

// Where the body of zstd frame k lies in a Blosc frame; its bytes, 0 if it is not within the frame.
DEVICE u32 find_body(const u8* __restrict__ frame, u64 size, u64 frames, u64 k, u64& at)
{
    at = take_number(frame + 16 + 4 * k, 4);
    if (at < 16 + 4 * frames || at + 4 > size) return 0;
    const u32 body = (u32)take_number(frame + at, 4);
    at += 4;
    return body <= size - at ? body : 0;
}

// Decodes a Blosc frame to `content` bytes; adds to `strange` if that is not possible.
KERNEL decode_blosc(const u8* __restrict__ frame, u64 size, u8* __restrict__ out, u64 content, u64* strange)
{
    SHARED(Opening, work, 1);
    const bool known = size >= 16 && frame[0] == 2 && frame[1] == 1 && frame[2] == 0x90 && frame[3];
    const u64 length = known ? take_number(frame + 8, 4) : 0;
    const bool fits = length && length <= content && take_number(frame + 4, 4) == content
        && take_number(frame + 12, 4) == size;
    const u64 frames = fits ? (content + length - 1) / length : 0;
    if (!fits || 16 + 4 * frames > size) {
        if (thread_index() == 0) atomicAdd(strange, 1ull);
        return;
    }
    for (u64 k = blockIdx.x; k < frames; k += gridDim.x) {
        u64 at;
        const u32 body = find_body(frame, size, frames, k, at);
        const u64 rest = content - k * length;
        const u32 part = (u32)(rest < length ? rest : length);
        bool whole = body > 0;
        if (body == part)
            copy_bytes(out + k * length, frame + at, part);
        else if (body)
            whole = decode_frame(frame + at, body, out + k * length, part, work[0]);
        if (!whole && threadIdx.x == 0) atomicAdd(strange, 1ull);
    }
}
