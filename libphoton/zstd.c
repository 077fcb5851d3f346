/* Decode zstd frames without dictionaries (RFC 8878). Every read and write is checked. */
#include "internal.h"

#include <string.h>

#define MOST_ACCURACY 9
#define MOST_HUFFMAN 11
#define BLOCK (128u << 10)

typedef struct { const uint8_t *data; size_t bytes; size_t bit; } forward_bits;
typedef struct { const uint8_t *data; int64_t left; } backward_bits; /* bits from the end; below 0: zeros */
typedef struct { uint8_t symbol, bits; uint16_t base; } fse_entry;
typedef struct { fse_entry entry[1 << MOST_ACCURACY]; int accuracy; } fse_table;
typedef struct { uint8_t symbol, bits; } huffman_entry;

typedef struct {
    fse_table literals, offsets, matches, weights;
    huffman_entry huffman[1 << MOST_HUFFMAN];
    int has_literals, has_offsets, has_matches, huffman_bits;
    uint64_t recent[3];
    uint8_t literal[BLOCK];
} state;

_Static_assert(sizeof(state) <= PHOTON_FRAME_MEMORY, "memory of a frame");

static const uint32_t LITERAL_BASE[36] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24,
    28, 32, 40, 48, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536};
static const uint8_t LITERAL_BITS[36] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6,
    7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const uint32_t MATCH_BASE[53] = {3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
    24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 37, 39, 41, 43, 47, 51, 59, 67, 83, 99, 131, 259, 515, 1027, 2051,
    4099, 8195, 16387, 32771, 65539};
static const uint8_t MATCH_BITS[53] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const int16_t LITERAL_COUNTS[36] = {4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3,
    2, 1, 1, 1, 1, 1, -1, -1, -1, -1};
static const int16_t OFFSET_COUNTS[29] = {1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1,
    -1, -1, -1};
static const int16_t MATCH_COUNTS[53] = {1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1};

static int highest_bit(uint32_t value) { return 31 - __builtin_clz(value); }

static uint32_t read_forward(forward_bits *bits, int count)
{
    uint32_t value = 0;
    for (int i = 0; i < count; ++i, ++bits->bit)
        if (bits->bit / 8 < bits->bytes) value |= (uint32_t)(bits->data[bits->bit / 8] >> bits->bit % 8 & 1) << i;
    return value;
}

static int open_backward(backward_bits *bits, const uint8_t *data, size_t bytes)
{
    if (!bytes || !data[bytes - 1]) return PHOTON_DAMAGED;
    bits->data = data;
    bits->left = (int64_t)(8 * bytes) - 8 + highest_bit(data[bytes - 1]);
    return PHOTON_OK;
}

/* Up to 32 bits at bit `at` of the data, which may begin before it; bits there are zeros. */
static uint32_t bits_at(const uint8_t *data, int64_t at, int count)
{
    if (count == 0 || at + count <= 0) return 0;
    int64_t first = at < 0 ? 0 : at;
    uint64_t window = 0;
    for (int64_t byte = first / 8, shift = 0; byte <= (at + count - 1) / 8; ++byte, shift += 8)
        window |= (uint64_t)data[byte] << shift;
    window = window >> first % 8 << (first - at);
    return (uint32_t)(window & ((1ull << count) - 1));
}

static uint32_t read_backward(backward_bits *bits, int count)
{
    bits->left -= count;
    return bits_at(bits->data, bits->left, count);
}

static void fse_build(fse_table *table, const int16_t *counts, int symbols, int accuracy)
{
    uint16_t next[256];
    const int size = 1 << accuracy;
    int high = size, at = 0;
    for (int s = 0; s < symbols; ++s) {
        next[s] = (uint16_t)(counts[s] < 0 ? 1 : counts[s]);
        if (counts[s] < 0) table->entry[--high].symbol = (uint8_t)s;
    }
    for (int s = 0; s < symbols; ++s)
        for (int i = 0; i < counts[s]; ++i) {
            table->entry[at].symbol = (uint8_t)s;
            do at = (at + (size >> 1) + (size >> 3) + 3) & (size - 1);
            while (at >= high);
        }
    for (int i = 0; i < size; ++i) {
        const uint32_t now = next[table->entry[i].symbol]++;
        table->entry[i].bits = (uint8_t)(accuracy - highest_bit(now));
        table->entry[i].base = (uint16_t)((now << table->entry[i].bits) - (uint32_t)size);
    }
    table->accuracy = accuracy;
}

/* Read a table's description; `used` is its length in bytes. */
static int fse_read(fse_table *table, const uint8_t *data, size_t bytes, int most_accuracy, int most_symbols,
                    size_t *used)
{
    int16_t counts[256];
    forward_bits bits = {data, bytes, 0};
    const int accuracy = (int)read_forward(&bits, 4) + 5;
    if (accuracy > most_accuracy) return PHOTON_DAMAGED;
    int remaining = 1 << accuracy, symbols = 0;
    while (remaining > 0) {
        if (symbols >= most_symbols || bits.bit / 8 >= bytes) return PHOTON_DAMAGED;
        const int width = highest_bit((uint32_t)remaining + 1) + 1;
        const int half = (1 << (width - 1)) - 1, spare = (1 << width) - 2 - remaining;
        int value = (int)read_forward(&bits, width);
        if ((value & half) < spare) {
            value &= half;
            --bits.bit;
        } else if (value > half)
            value -= spare;
        counts[symbols++] = (int16_t)(value - 1);
        remaining -= value ? value - 1 : 1;
        for (uint32_t repeat = value == 1 ? 3 : 0; repeat == 3;) {
            repeat = read_forward(&bits, 2);
            if (symbols + (int)repeat > most_symbols || bits.bit / 8 > bytes) return PHOTON_DAMAGED;
            for (uint32_t i = 0; i < repeat; ++i) counts[symbols++] = 0;
        }
    }
    *used = (bits.bit + 7) / 8;
    if (remaining || *used > bytes) return PHOTON_DAMAGED;
    fse_build(table, counts, symbols, accuracy);
    return PHOTON_OK;
}

/* Read the weights of a Huffman code, and make the table of all prefixes. */
static int read_huffman(state *s, const uint8_t *data, size_t bytes, size_t *used)
{
    uint8_t weights[256];
    int count = 0;
    if (!bytes) return PHOTON_DAMAGED;
    if (data[0] >= 128) {
        count = data[0] - 127;
        *used = 1 + (size_t)(count + 1) / 2;
        if (*used > bytes) return PHOTON_DAMAGED;
        for (int i = 0; i < count; ++i) weights[i] = i % 2 ? data[1 + i / 2] & 15 : data[1 + i / 2] >> 4;
    } else {
        size_t head;
        *used = 1 + (size_t)data[0];
        if (*used > bytes || fse_read(&s->weights, data + 1, data[0], 6, 256, &head)) return PHOTON_DAMAGED;
        backward_bits bits;
        if (open_backward(&bits, data + 1 + head, data[0] - head)) return PHOTON_DAMAGED;
        const int accuracy = s->weights.accuracy;
        uint32_t states[2];
        states[0] = read_backward(&bits, accuracy);
        states[1] = read_backward(&bits, accuracy);
        if (bits.left < 0) return PHOTON_DAMAGED;
        int turn = 0;
        for (; bits.left >= 0; turn ^= 1) {
            if (count >= 254) return PHOTON_DAMAGED;
            const fse_entry entry = s->weights.entry[states[turn]];
            weights[count++] = entry.symbol;
            states[turn] = entry.base + read_backward(&bits, entry.bits);
        }
        weights[count++] = s->weights.entry[states[turn]].symbol;
    }
    uint32_t total = 0;
    for (int i = 0; i < count; ++i) {
        if (weights[i] > MOST_HUFFMAN) return PHOTON_DAMAGED;
        total += weights[i] ? 1u << (weights[i] - 1) : 0;
    }
    if (!total) return PHOTON_DAMAGED;
    const int length = highest_bit(total) + 1;
    const uint32_t rest = (1u << length) - total;
    if (length > MOST_HUFFMAN || rest & (rest - 1)) return PHOTON_DAMAGED;
    weights[count++] = (uint8_t)(highest_bit(rest) + 1);
    uint32_t at = 0;
    for (int weight = 1; weight <= length; ++weight)
        for (int symbol = 0; symbol < count; ++symbol)
            if (weights[symbol] == weight)
                for (uint32_t i = 0; i < 1u << (weight - 1); ++i) {
                    if (at >> length) return PHOTON_DAMAGED;
                    s->huffman[at++] = (huffman_entry){(uint8_t)symbol, (uint8_t)(length + 1 - weight)};
                }
    s->huffman_bits = length;
    return at == 1u << length ? PHOTON_OK : PHOTON_DAMAGED;
}

typedef struct { const uint8_t *data; int64_t left; uint8_t *out, *end; } stream;

/* Four symbols of up to 11 bits come from one read of 8 bytes, while that stays inside. */
static inline int four_symbols_fit(const stream *x) { return x->left >= 64 && x->end - x->out >= 4; }

static inline void four_symbols(const state *s, stream *x)
{
    const int64_t byte = (x->left - 57) / 8;
    const int shift = 64 - s->huffman_bits;
    int in = (int)(x->left - 8 * byte); /* 57 to 64 bits of the window are still to be read */
    uint64_t window = photon_u64(x->data + byte) << (64 - in);
    for (int k = 0; k < 4; ++k) {
        const huffman_entry entry = s->huffman[window >> shift];
        x->out[k] = entry.symbol;
        window <<= entry.bits;
        in -= entry.bits;
    }
    x->out += 4;
    x->left = 8 * byte + in;
}

static int finish_stream(const state *s, stream *x)
{
    while (four_symbols_fit(x)) four_symbols(s, x);
    for (; x->out < x->end; ++x->out) {
        if (x->left <= 0) return PHOTON_DAMAGED;
        const huffman_entry entry = s->huffman[bits_at(x->data, x->left - s->huffman_bits, s->huffman_bits)];
        *x->out = entry.symbol;
        x->left -= entry.bits;
    }
    return x->left == 0 ? PHOTON_OK : PHOTON_DAMAGED;
}

static int huffman_stream(const state *s, const uint8_t *data, size_t bytes, uint8_t *out, size_t count)
{
    backward_bits bits;
    if (open_backward(&bits, data, bytes)) return PHOTON_DAMAGED;
    stream x = {data, bits.left, out, out + count};
    return finish_stream(s, &x);
}

/* Decode the literals of a block into s->literal; `used` is the length of the section. */
static int read_literals(state *s, const uint8_t *data, size_t bytes, size_t *used, size_t *count)
{
    if (!bytes) return PHOTON_DAMAGED;
    const int kind = data[0] & 3, form = data[0] >> 2 & 3;
    uint64_t head = 0;
    for (size_t i = 0; i < 5 && i < bytes; ++i) head |= (uint64_t)data[i] << 8 * i;
    if (kind < 2) {
        const size_t header = form == 1 ? 2 : form == 3 ? 3 : 1;
        const uint64_t fields = head & ((1ull << 8 * header) - 1);
        *count = (size_t)(fields >> (form == 1 || form == 3 ? 4 : 3));
        const size_t body = kind ? 1 : *count;
        if (*count > BLOCK || header + body > bytes) return PHOTON_DAMAGED;
        if (kind) memset(s->literal, data[header], *count);
        else memcpy(s->literal, data + header, *count);
        *used = header + body;
        return PHOTON_OK;
    }
    const size_t header = form < 2 ? 3 : form == 2 ? 4 : 5;
    const int width = form < 2 ? 10 : form == 2 ? 14 : 18;
    if (header > bytes) return PHOTON_DAMAGED;
    *count = (size_t)(head >> 4 & ((1ull << width) - 1));
    size_t packed = (size_t)(head >> (4 + width) & ((1ull << width) - 1));
    *used = header + packed;
    if (*count > BLOCK || *used > bytes) return PHOTON_DAMAGED;
    const uint8_t *body = data + header;
    if (kind == 2) {
        size_t table;
        s->huffman_bits = 0;
        if (read_huffman(s, body, packed, &table)) return PHOTON_DAMAGED;
        body += table;
        packed -= table;
    }
    if (!s->huffman_bits) return PHOTON_DAMAGED;
    if (form == 0) return huffman_stream(s, body, packed, s->literal, *count);
    if (packed < 6) return PHOTON_DAMAGED;
    const size_t part = (*count + 3) / 4;
    if (3 * part > *count) return PHOTON_DAMAGED;
    stream streams[4];
    size_t at = 6;
    for (int i = 0; i < 4; ++i) {
        const size_t length = i < 3 ? (size_t)(body[2 * i] | body[2 * i + 1] << 8) : packed - at;
        if (at > packed || length > packed - at) return PHOTON_DAMAGED;
        backward_bits bits;
        if (open_backward(&bits, body + at, length)) return PHOTON_DAMAGED;
        streams[i] = (stream){body + at, bits.left, s->literal + (size_t)i * part,
                              s->literal + (i < 3 ? (size_t)(i + 1) * part : *count)};
        at += length;
    }
    /* The four streams do not depend on each other, so a processor can work on all of them at once. */
    while (four_symbols_fit(&streams[0]) && four_symbols_fit(&streams[1]) && four_symbols_fit(&streams[2]) &&
           four_symbols_fit(&streams[3])) {
        four_symbols(s, &streams[0]);
        four_symbols(s, &streams[1]);
        four_symbols(s, &streams[2]);
        four_symbols(s, &streams[3]);
    }
    for (int i = 0; i < 4; ++i)
        if (finish_stream(s, &streams[i])) return PHOTON_DAMAGED;
    return PHOTON_OK;
}

static int read_table(fse_table *table, int *known, int mode, const int16_t *counts, int symbols, int accuracy,
                      int most_accuracy, const uint8_t *data, size_t bytes, size_t *at)
{
    size_t used;
    if (mode == 0) fse_build(table, counts, symbols, accuracy);
    if (mode == 1) {
        if (*at >= bytes || data[*at] >= symbols) return PHOTON_DAMAGED;
        table->entry[0] = (fse_entry){data[(*at)++], 0, 0};
        table->accuracy = 0;
    }
    if (mode == 2) {
        if (fse_read(table, data + *at, bytes - *at, most_accuracy, symbols, &used)) return PHOTON_DAMAGED;
        *at += used;
    }
    if (mode == 3 && !*known) return PHOTON_DAMAGED;
    *known = 1;
    return PHOTON_OK;
}

/* Decode one block to out + *at; the frame began at out + begin. */
static int read_block(state *s, const uint8_t *data, size_t bytes, uint8_t *out, size_t out_bytes, size_t begin,
                      size_t *at)
{
    size_t in, literals, used = 0;
    if (read_literals(s, data, bytes, &in, &literals) || in >= bytes) return PHOTON_DAMAGED;
    uint32_t count = data[in++];
    if (count >= 128) {
        const size_t extra = count == 255 ? 2 : 1;
        if (in + extra > bytes) return PHOTON_DAMAGED;
        count = extra == 2 ? 0x7F00u + data[in] + (uint32_t)(data[in + 1] << 8) : (count - 128) << 8 | data[in];
        in += extra;
    }
    if (count) {
        if (in >= bytes) return PHOTON_DAMAGED;
        const int modes = data[in++];
        if (read_table(&s->literals, &s->has_literals, modes >> 6, LITERAL_COUNTS, 36, 6, 9, data, bytes, &in) ||
            read_table(&s->offsets, &s->has_offsets, modes >> 4 & 3, OFFSET_COUNTS, 29, 5, 8, data, bytes, &in) ||
            read_table(&s->matches, &s->has_matches, modes >> 2 & 3, MATCH_COUNTS, 53, 6, 9, data, bytes, &in))
            return PHOTON_DAMAGED;
        backward_bits bits;
        if (open_backward(&bits, data + in, bytes - in)) return PHOTON_DAMAGED;
        uint32_t literal_state = read_backward(&bits, s->literals.accuracy);
        uint32_t offset_state = read_backward(&bits, s->offsets.accuracy);
        uint32_t match_state = read_backward(&bits, s->matches.accuracy);
        for (uint32_t number = 0; number < count; ++number) {
            const fse_entry l = s->literals.entry[literal_state], o = s->offsets.entry[offset_state],
                            m = s->matches.entry[match_state];
            if (l.symbol > 35 || o.symbol > 28 || m.symbol > 52) return PHOTON_DAMAGED;
            uint64_t offset = (1ull << o.symbol) + read_backward(&bits, o.symbol);
            const size_t match = MATCH_BASE[m.symbol] + read_backward(&bits, MATCH_BITS[m.symbol]);
            const size_t run = LITERAL_BASE[l.symbol] + read_backward(&bits, LITERAL_BITS[l.symbol]);
            if (offset > 3) {
                offset -= 3;
                s->recent[2] = s->recent[1];
                s->recent[1] = s->recent[0];
            } else {
                const int which = (int)offset - 1 + (run == 0);
                offset = which == 3 ? s->recent[0] - 1 : s->recent[which];
                if (which > 1) s->recent[2] = s->recent[1];
                if (which > 0) s->recent[1] = s->recent[0];
            }
            s->recent[0] = offset;
            if (run > literals - used || run + match > out_bytes - *at) return PHOTON_DAMAGED;
            memcpy(out + *at, s->literal + used, run);
            used += run;
            *at += run;
            if (!offset || offset > *at - begin) return PHOTON_DAMAGED;
            for (size_t i = 0; i < match; ++i, ++*at) out[*at] = out[*at - offset];
            if (number + 1 < count) {
                literal_state = l.base + read_backward(&bits, l.bits);
                match_state = m.base + read_backward(&bits, m.bits);
                offset_state = o.base + read_backward(&bits, o.bits);
            }
            if (bits.left < 0) return PHOTON_DAMAGED;
        }
        if (bits.left) return PHOTON_DAMAGED;
    }
    if (literals - used > out_bytes - *at) return PHOTON_DAMAGED;
    memcpy(out + *at, s->literal + used, literals - used);
    *at += literals - used;
    return PHOTON_OK;
}

int photon_zstd(const uint8_t *data, size_t bytes, uint8_t *out, size_t out_bytes, void *memory)
{
    state *s = memory;
    size_t in = 0, at = 0;
    while (in < bytes) {
        if (bytes - in < 8) return PHOTON_DAMAGED;
        const uint32_t magic = photon_u32(data + in);
        if ((magic & 0xFFFFFFF0u) == 0x184D2A50u) { /* a frame to be skipped */
            const uint32_t length = photon_u32(data + in + 4);
            if (length > bytes - in - 8) return PHOTON_DAMAGED;
            in += 8 + (size_t)length;
            continue;
        }
        if (magic != 0xFD2FB528u) return PHOTON_DAMAGED;
        const int flags = data[in + 4], single = flags >> 5 & 1;
        if (flags & 11) return PHOTON_DAMAGED; /* a dictionary, or a reserved bit */
        in += 5 + (size_t)!single + (flags >> 6 ? (size_t)1 << (flags >> 6) : (size_t)single);
        s->has_literals = s->has_offsets = s->has_matches = s->huffman_bits = 0;
        s->recent[0] = 1;
        s->recent[1] = 4;
        s->recent[2] = 8;
        const size_t begin = at;
        for (int last = 0; !last;) {
            if (in + 3 > bytes) return PHOTON_DAMAGED;
            const uint32_t header = data[in] | (uint32_t)data[in + 1] << 8 | (uint32_t)data[in + 2] << 16;
            const size_t size = header >> 3;
            const int kind = header >> 1 & 3;
            last = header & 1;
            in += 3;
            if (kind == 3 || size > BLOCK || (kind == 1 ? 1 : size) > bytes - in) return PHOTON_DAMAGED;
            if (kind == 2) {
                if (read_block(s, data + in, size, out, out_bytes, begin, &at)) return PHOTON_DAMAGED;
                in += size;
                continue;
            }
            if (size > out_bytes - at) return PHOTON_DAMAGED;
            if (kind) memset(out + at, data[in], size);
            else memcpy(out + at, data + in, size);
            at += size;
            in += kind ? 1 : size;
        }
        if (flags & 4) in += 4; /* checksum of the content: Blosc writes none */
        if (in > bytes) return PHOTON_DAMAGED;
    }
    return at == out_bytes ? PHOTON_OK : PHOTON_DAMAGED;
}
