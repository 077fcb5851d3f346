/* Read payloads: header, body, predictors, checksum (FORMAT.md, "compact"). */
#include "internal.h"

#include <math.h>

#define MOST_SAMPLES (1ull << 32)
#define MOST_CODES (1u << 21)
#define SEGMENT 65536u
#define FIXED 96u /* bytes of a header before the shape */
#define WEIGHT_BYTES 88u

enum { NONE, MEAN, PAST, FULL, SPATIAL, MOVING };

static const uint8_t ITEM_BYTES[10] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};

const char *photon_message(int status)
{
    static const char *const messages[] = {
        "ok", "the bytes are no whole frame or payload", "a checksum says that the bytes were altered",
        "a later version of the format", "a Blosc frame of another compressor than zstd",
        "the memory or the output is too small", "more codes, samples or digits than the format allows"};
    return status >= 0 && status <= PHOTON_LIMIT ? messages[status] : "unknown status";
}

uint32_t photon_version(void) { return (uint32_t)PHOTON_INTERFACE << 16 | PHOTON_FORMAT; }

uint32_t photon_crc32(uint32_t crc, const uint8_t *data, size_t bytes)
{
    /* Half a byte at a time: 16 entries instead of a table that would have to be made first. */
    static const uint32_t table[16] = {0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4,
        0x4DB26158, 0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278,
        0xBDBDF21C};
    crc = ~crc;
    for (size_t i = 0; i < bytes; ++i) {
        crc ^= data[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

/* On x86-64, GCC makes versions for AVX2 and AVX-512 as well and chooses when the library is loaded. Sanitizers do not
 * work with that: PHOTON_PLAIN leaves it out. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__) && !defined(PHOTON_PLAIN)
#define VECTORIZED __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define VECTORIZED
#endif

#ifdef __wasm_simd128__
#include <wasm_simd128.h>
#endif

/* A loop that shares registers with what surrounds it is a fifth slower. */
#ifdef __GNUC__
#define APART __attribute__((noinline))
#else
#define APART
#endif

/* ---- header ---- */

static int finite_model(const photon_info *info)
{
    return info->gain >= 1e-6 && info->gain <= 1e12 && fabs(info->offset) <= 1e12 && info->variance >= 0.0 &&
           info->variance <= 1e12 && info->step >= 0.01 && info->step <= 16.0;
}

int photon_read_info(const uint8_t *payload, size_t bytes, photon_info *info)
{
    static const uint8_t zeros[4] = {0};
    memset(info, 0, sizeof *info);
    if (bytes < FIXED || memcmp(payload, "PHTN", 4)) return PHOTON_DAMAGED;
    if (payload[4] != 2) return PHOTON_VERSION;
    info->axes = payload[11];
    const size_t weights_at = FIXED + 8 * (size_t)info->axes;
    const int special = payload[8] == 4 || payload[8] == 8 || payload[8] == 12;
    const int clipped = special && payload[8] & 4, peaked = special && payload[8] & 8;
    info->header_bytes = weights_at + WEIGHT_BYTES + (clipped ? 16 : 0) + (peaked ? 8 : 0);
    if (!info->axes || info->axes > PHOTON_MOST_AXES || bytes < info->header_bytes) return PHOTON_DAMAGED;
    uint32_t crc = photon_crc32(0, payload, 80);
    crc = photon_crc32(crc, zeros, 4);
    crc = photon_crc32(crc, payload + 84, info->header_bytes - 84);
    if (crc != photon_u32(payload + 80)) return PHOTON_CHECKSUM;
    info->minor = payload[5];
    info->predictor = payload[6];
    info->width = payload[7];
    info->exact = payload[8];
    info->phases = payload[9];
    info->dtype = payload[10];
    info->frames = photon_u32(payload + 12);
    info->base = (int64_t)photon_u64(payload + 16);
    info->checksum = photon_u64(payload + 24);
    info->band_rows = photon_u32(payload + 32);
    info->seed = photon_u32(payload + 36);
    info->rate = photon_u32(payload + 40);
    info->top = photon_u32(payload + 44);
    memcpy(&info->gain, payload + 48, 8);
    memcpy(&info->offset, payload + 56, 8);
    memcpy(&info->variance, payload + 64, 8);
    memcpy(&info->step, payload + 72, 8);
    info->body = payload[84];
    info->levels = payload[85];
    info->number = photon_u16(payload + 86);
    info->weights_crc = photon_u32(payload + 88);
    info->movie = photon_u32(payload + 92);
    memcpy(info->weights, payload + weights_at, WEIGHT_BYTES);
    info->low = clipped ? (int64_t)photon_u64(payload + weights_at + WEIGHT_BYTES) : INT64_MIN;
    info->high = clipped ? (int64_t)photon_u64(payload + weights_at + WEIGHT_BYTES + 8) : INT64_MIN;
    info->peaks = peaked ? (int64_t)photon_u64(payload + info->header_bytes - 8) : 0;
    info->samples = 1;
    for (uint32_t i = 0; i < info->axes; ++i) {
        info->shape[i] = photon_u64(payload + FIXED + 8 * (size_t)i);
        if (!info->shape[i]) return PHOTON_DAMAGED;
        if (info->shape[i] > MOST_SAMPLES / info->samples) return PHOTON_LIMIT;
        info->samples *= info->shape[i];
    }
    if (info->dtype > PHOTON_FLOAT64 || info->frames > info->shape[0] || !info->frames) return PHOTON_DAMAGED;
    info->itemsize = ITEM_BYTES[info->dtype];
    if (special) info->exact = 0;
    if (peaked && (info->peaks < 1 || info->peaks > 8 || info->phases != 1 || info->dtype >= PHOTON_FLOAT32 ||
                   !(info->gain >= 8.0)))
        return PHOTON_DAMAGED;
    if (clipped) {
        const int64_t most = INT64_C(1) << 53, low = info->low, high = info->high;
        if (info->dtype >= PHOTON_FLOAT32 || (low == INT64_MIN && high == INT64_MIN) ||
            (low != INT64_MIN && (low < -most || low > most)) ||
            (high != INT64_MIN && (high < -most || high > most)) ||
            (low != INT64_MIN && high != INT64_MIN && low >= high))
            return PHOTON_DAMAGED;
    }
    if (info->predictor > MOVING) return PHOTON_VERSION; /* a whole header: a later minor version wrote it */
    const int raw = info->exact == 2, wide = info->width == 4;
    if (info->exact > 2 || (info->phases != 1 && info->phases != 16) ||
        info->body > 2 || info->levels == 1 || !info->band_rows || info->rate > 128 || !finite_model(info))
        return PHOTON_DAMAGED;
    if (raw ? info->width != info->itemsize || info->predictor || info->body || info->levels
            : info->width != 1 && info->width != 2 && !wide)
        return PHOTON_DAMAGED;
    if (wide && !raw && (info->predictor || info->body || info->levels)) return PHOTON_DAMAGED;
    if (info->levels && info->predictor < FULL) return PHOTON_DAMAGED;
    if (info->body == 2 && !info->levels) return PHOTON_DAMAGED;
    const int64_t far = 1ll << 41; /* no code of a value lies that far from 0 */
    if (info->exact == 0 && (info->top >= MOST_CODES || info->base > far || info->base < -far)) return PHOTON_LIMIT;
    if (info->exact == 1 && info->dtype >= PHOTON_FLOAT32) return PHOTON_DAMAGED;
    return PHOTON_OK;
}

/* ---- memory ---- */

typedef struct { uint64_t frames, rows, columns, band_rows, bands, band; } grid_of; /* band: samples of the largest */

static grid_of grid_of_chunk(const photon_info *info)
{
    grid_of g = {info->frames, 1, info->shape[info->axes - 1], 0, 0, 0};
    for (uint32_t i = 1; i + 1 < info->axes; ++i) g.rows *= info->shape[i];
    if (info->axes == 1) g = (grid_of){1, 1, info->frames, 0, 0, 0};
    g.band_rows = info->band_rows < g.rows ? info->band_rows : g.rows;
    g.bands = (g.rows + g.band_rows - 1) / g.band_rows;
    g.band = g.frames * g.band_rows * g.columns;
    return g;
}

static uint64_t plane_bytes(const grid_of *g) { return 4 * (g->band_rows + 2) * (g->columns + 2); }
static uint64_t aligned(uint64_t bytes) { return (bytes + 15) / 16 * 16; }

#define SLOT_BYTES (4096 * 6)

/* Bytes of the table of pairs; 0 where counts are looked up one by one. */
static uint64_t pairs_bytes(const photon_info *info)
{
    return info->width == 1 && info->itemsize == 2 && info->exact == 0 && info->top < 256
               ? 4 * 256 * ((uint64_t)info->top + 1) : 0;
}

typedef struct { uint8_t *at; size_t left; } arena;

static void *give(arena *memory, uint64_t bytes)
{
    bytes = aligned(bytes);
    if (bytes > memory->left) return NULL;
    void *at = memory->at;
    memory->at += bytes;
    memory->left -= (size_t)bytes;
    return at;
}

/* ---- coded residuals ---- */

typedef struct { uint8_t symbol; uint8_t pad; uint16_t start, share; } slot;

_Static_assert(sizeof(slot) == 6, "a table of slots");

/* round(2^(16 - (rank - 1)/4)) for ranks 1 to 49. */
static const uint32_t RANK_WEIGHT[50] = {0, 65536, 55109, 46341, 38968, 32768, 27554, 23170, 19484, 16384, 13777, 11585, 9742, 8192,
    6889, 5793, 4871, 4096, 3444, 2896, 2435, 2048, 1722, 1448, 1218, 1024, 861, 724,
    609, 512, 431, 362, 304, 256, 215, 181, 152, 128, 108, 91, 76, 64,
    54, 45, 38, 32, 27, 23, 19, 16};

typedef struct { const uint8_t *words; uint64_t left; uint32_t state[4]; int failed; } range_coder;

static void advance(range_coder *c, int state, int bits, uint32_t start, uint32_t share)
{
    uint32_t x = c->state[state];
    x = share * (x >> bits) + (x & ((1u << bits) - 1)) - start;
    if (x < 65536) {
        if (!c->left) {
            c->failed = 1;
            return;
        }
        x = x << 16 | photon_u16(c->words);
        c->words += 2;
        --c->left;
    }
    c->state[state] = x;
}

static uint32_t take_bits(range_coder *c, int state, int bits)
{
    const uint32_t value = c->state[state] & ((1u << bits) - 1);
    advance(c, state, bits, value, 1);
    return value;
}

static uint32_t take_value(range_coder *c, int state, const slot *slots)
{
    const slot s = slots[c->state[state] & 4095];
    advance(c, state, 12, s.start, s.share);
    if (s.symbol < 32) return s.symbol;
    const int extra = (s.symbol - 32) / 2 + 4;
    if (extra > 16) {
        c->failed = 1;
        return 0;
    }
    return (2u + (s.symbol & 1u)) << extra | take_bits(c, state, extra);
}

/* Take values four by four, one of each state, as long as the words suffice for any four: a value takes two at most.
 * The states stay in registers. Returns how many values were taken. */
APART static uint64_t take_fours(range_coder *c, const slot *slots, uint16_t *out, uint64_t count)
{
    uint64_t done = 0, left = c->left;
    const uint8_t *words = c->words;
    uint32_t x[4] = {c->state[0], c->state[1], c->state[2], c->state[3]};
    for (; count - done >= 4 && left >= 8; done += 4) {
        for (int k = 0; k < 4; ++k) {
            const slot s = slots[x[k] & 4095];
            uint32_t value = s.symbol, now = s.share * (x[k] >> 12) + (x[k] & 4095) - s.start;
            if (now < 65536) {
                now = now << 16 | photon_u16(words);
                words += 2;
                --left;
            }
            if (value >= 32) {
                const int extra = (s.symbol - 32) / 2 + 4;
                if (extra > 16) {
                    c->failed = 1;
                    return done;
                }
                value = (2u + (s.symbol & 1u)) << extra | (now & ((1u << extra) - 1));
                now >>= extra;
                if (now < 65536) {
                    now = now << 16 | photon_u16(words);
                    words += 2;
                    --left;
                }
            }
            x[k] = now;
            out[done + (uint64_t)k] = (uint16_t)value;
        }
    }
    c->left = left;
    c->words = words;
    memcpy(c->state, x, sizeof x);
    return done;
}

static int make_slots(const uint8_t *ranks, uint32_t symbols, slot *slots)
{
    uint64_t sum = 0;
    int32_t shares[256], given = 0, best = -1;
    for (uint32_t i = 0; i < symbols; ++i) {
        if (ranks[i] > 49) return PHOTON_DAMAGED;
        sum += RANK_WEIGHT[ranks[i]];
    }
    if (!sum) return PHOTON_DAMAGED;
    for (uint32_t i = 0; i < symbols; ++i) {
        const int32_t share = (int32_t)(4096ull * RANK_WEIGHT[ranks[i]] / sum);
        shares[i] = ranks[i] ? (share ? share : 1) : 0;
        given += shares[i];
        if (best < 0 || shares[i] > shares[best]) best = (int)i;
    }
    shares[best] += 4096 - given;
    if (shares[best] < 1) return PHOTON_DAMAGED;
    uint32_t at = 0;
    for (uint32_t i = 0; i < symbols; ++i) {
        const slot s = {(uint8_t)i, 0, (uint16_t)at, (uint16_t)shares[i]};
        for (int32_t n = 0; n < shares[i]; ++n) slots[at++] = s;
    }
    return PHOTON_OK;
}

/* Decode one band's residuals, level after level; `ends` gets the index after each level's last. */
static int decode_stream(const uint8_t *words, uint64_t count, uint32_t levels, uint64_t samples, slot *slots,
                         slot *kind_slots, uint8_t *ranks, uint16_t *residuals, uint64_t *ends)
{
    range_coder c = {words + 16, count - 8, {0}, 0};
    uint8_t kinds[256];
    if (count < 8) return PHOTON_DAMAGED;
    for (int i = 0; i < 4; ++i) c.state[i] = photon_u32(words + 4 * i);
    const uint32_t symbols = take_bits(&c, 0, 8);
    uint64_t total = 0;
    for (uint32_t level = 0; level < levels; ++level) {
        uint64_t n = 0;
        uint32_t group = 128;
        for (int shift = 0; group & 128; shift += 7) {
            if (shift > 35 || c.failed) return PHOTON_DAMAGED;
            group = take_bits(&c, 0, 8);
            n |= (uint64_t)(group & 127) << shift;
        }
        total += n;
        if (total > samples) return PHOTON_DAMAGED;
        ends[level] = total;
    }
    if (total != samples) return PHOTON_DAMAGED;
    const uint32_t kind_count = take_bits(&c, 0, 8);
    for (uint32_t i = 0; i < kind_count; ++i) kinds[i] = (uint8_t)take_bits(&c, 0, 8);
    if (make_slots(kinds, kind_count, kind_slots)) return PHOTON_DAMAGED;
    int32_t now[256] = {0};
    for (uint32_t level = 0; level < levels; ++level) {
        if (ends[level] == (level ? ends[level - 1] : 0)) continue;
        for (uint32_t i = 0; i < symbols; ++i) {
            const uint32_t folded = take_value(&c, 0, kind_slots);
            now[i] += (int32_t)(folded >> 1) ^ -(int32_t)(folded & 1);
            if (now[i] < 0 || now[i] > 49 || c.failed) return PHOTON_DAMAGED;
            ranks[256 * level + i] = (uint8_t)now[i];
        }
    }
    for (uint32_t level = 0; level < levels; ++level) {
        const uint64_t begin = level ? ends[level - 1] : 0;
        if (ends[level] == begin) continue;
        if (make_slots(ranks + 256 * level, symbols, slots)) return PHOTON_DAMAGED;
        const uint64_t fours = take_fours(&c, slots, residuals + begin, ends[level] - begin);
        for (uint64_t i = begin + fours; i < ends[level] && !c.failed; ++i)
            residuals[i] = (uint16_t)take_value(&c, (int)((i - begin) & 3), slots);
        if (c.failed) return PHOTON_DAMAGED;
    }
    for (int i = 0; i < 4; ++i)
        if (c.state[i] != 65536) return PHOTON_DAMAGED;
    return c.failed || c.left ? PHOTON_DAMAGED : PHOTON_OK;
}

/* ---- from codes to the output ---- */

static inline uint32_t phase_of(uint32_t index, uint32_t seed)
{
    uint32_t h = index * 0x9E3779B1u + seed;
    h ^= h >> 16;
    h *= 0x7FEB352Du;
    h ^= h >> 15;
    h *= 0x846CA68Bu;
    h ^= h >> 16;
    return h >> 28;
}

typedef struct { const uint16_t *narrow; const uint32_t *wide; uint64_t count; } code_array; /* one of the two */

static inline uint32_t code_at(const code_array *codes, uint64_t i)
{
    return codes->narrow ? codes->narrow[i] : codes->wide[i];
}

/* Where codes go: into the checksum, then to the output. */
typedef struct {
    const photon_info *info;
    enum photon_output output;
    void *out;
    const uint8_t *table; /* of counts, and how many rows it has */
    uint32_t rows, *pairs;
    int permuted; /* by which instructions, if registers hold the table; 0: they do not */
    uint16_t *kept; /* codes that wait until all are there */
    uint64_t sum;
    uint32_t top;
} canvas;

#define BATCH 4096

/* Add up hashes modulo 2^32, and their upper halves, of which 32 bits hold a batch: together they give the whole sum,
 * and twice as many fit into a register as of 64 bits. */
#define ADD_HASHES(Type, Codes)                                                                              \
    do {                                                                                                     \
        const Type *these = (Codes) + first;                                                                 \
        Type greatest = 0;                                                                                   \
        for (uint32_t i = 0; i < count; ++i) greatest = these[i] > greatest ? these[i] : greatest;           \
        most = greatest > most ? greatest : most;                                                            \
        for (uint32_t i = 0; i < count; ++i, turned += 0x9E3779B1u) {                                        \
            uint32_t h = these[i] + turned;                                                                  \
            h = (h ^ h >> 16) * 0x7FEB352Du;                                                                 \
            h ^= h >> 15;                                                                                    \
            all += h;                                                                                        \
            high += h >> 16;                                                                                 \
        }                                                                                                    \
    } while (0)

/* Add the codes of samples `begin` and after to the checksum, and find the greatest. */
VECTORIZED
static void add_checksum(const code_array *codes, uint64_t begin, uint64_t *sum, uint32_t *top)
{
    uint32_t most = *top;
    for (uint64_t first = 0; first < codes->count; first += BATCH) {
        const uint32_t count = codes->count - first < BATCH ? (uint32_t)(codes->count - first) : BATCH;
        uint32_t all = 0, high = 0, turned = (uint32_t)(begin + first) * 0x9E3779B1u;
        if (codes->narrow) ADD_HASHES(uint16_t, codes->narrow);
        else ADD_HASHES(uint32_t, codes->wide);
        *sum += (uint32_t)(all - (high << 16)) + ((uint64_t)high << 16);
    }
    *top = most;
}

VECTORIZED
static void phases_of(uint32_t first, uint32_t seed, uint32_t row, uint32_t count, uint32_t *restrict out)
{
    for (uint32_t i = 0; i < count; ++i) out[i] = phase_of(first + i, seed) * row;
}

/* Rows of a table are 8 bytes an entry apart, whatever the type. */
#define LOOK_UP(Type)                                                                                        \
    do {                                                                                                     \
        const Type *entries = (const Type *)c->table;                                                        \
        Type *to = (Type *)c->out + begin + first;                                                           \
        const uint32_t row = (uint32_t)(8 / sizeof(Type)) * (info->top + 1);                                 \
        if (c->rows > 1) phases_of((uint32_t)(begin + first), info->seed, row, count, offsets);              \
        if (codes->narrow)                                                                                   \
            for (uint32_t i = 0; i < count; ++i) to[i] = entries[offsets[i] + codes->narrow[first + i]];     \
        else                                                                                                 \
            for (uint32_t i = 0; i < count; ++i) to[i] = entries[offsets[i] + codes->wide[first + i]];       \
    } while (0)

static void look_up(const canvas *c, const code_array *codes, uint64_t begin)
{
    const photon_info *info = c->info;
    uint32_t offsets[BATCH] = {0};
    for (uint64_t first = 0; first < codes->count; first += BATCH) {
        const uint32_t count = codes->count - first < BATCH ? (uint32_t)(codes->count - first) : BATCH;
        switch (info->itemsize) {
        case 1: LOOK_UP(uint8_t); break;
        case 2: LOOK_UP(uint16_t); break;
        case 4: LOOK_UP(uint32_t); break;
        default: LOOK_UP(uint64_t);
        }
    }
}

/* Entry c + 256*d is what codes c and d decode to: two counts of two bytes at once. */
static void make_pairs(canvas *c)
{
    const uint16_t *entries = (const uint16_t *)c->table;
    for (uint32_t second = 0; second <= c->info->top; ++second)
        for (uint32_t one = 0; one <= c->info->top; ++one)
            c->pairs[256 * second + one] = entries[one] | (uint32_t)entries[second] << 16;
}

static void look_up_pairs(const canvas *c, const code_array *codes, uint64_t begin)
{
    const uint16_t *entries = (const uint16_t *)c->table, *from = codes->narrow;
    const uint32_t *pairs = c->pairs;
    uint8_t *out = (uint8_t *)c->out + 2 * begin;
    uint64_t i = 0;
    for (; i + 4 <= codes->count; i += 4) {
        uint64_t four;
        memcpy(&four, from + i, 8);
        four |= four >> 8; /* bytes 0 and 1, 4 and 5 are the codes */
        const uint64_t two = pairs[four & 0xFFFF] | (uint64_t)pairs[four >> 32 & 0xFFFF] << 32;
        memcpy(out + 2 * i, &two, 8);
    }
    for (; i < codes->count; ++i) memcpy(out + 2 * i, entries + from[i], 2);
}

/* Look up counts of two bytes in tables that registers hold; return how many, from the first on. */
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define PERMUTED_CODES 128u
#define STREAMED (1u << 21) /* so many counts do not stay in a cache: they need not be read into it first */

typedef struct { __m512i part[4]; int both; } registers;

__attribute__((target("avx512f,avx512bw")))
static inline __m512i permuted(const registers *table, __m512i code)
{
    const __m512i count = _mm512_permutex2var_epi16(table->part[0], code, table->part[1]);
    if (!table->both) return count;
    return _mm512_mask_blend_epi16(_mm512_test_epi16_mask(code, _mm512_set1_epi16(64)), count,
                                   _mm512_permutex2var_epi16(table->part[2], code, table->part[3]));
}

__attribute__((target("avx512f,avx512bw")))
static uint64_t look_up_by_avx512(const canvas *c, const code_array *codes, uint64_t begin)
{
    uint16_t entries[PERMUTED_CODES] = {0}, *out = (uint16_t *)c->out + begin;
    const uint16_t *from = codes->narrow;
    registers table = {.both = c->info->top >= 64};
    memcpy(entries, c->table, 2 * ((size_t)c->info->top + 1));
    for (int k = 0; k < 4; ++k) table.part[k] = _mm512_loadu_si512(entries + 32 * k);
    uint64_t i = (0 - (uintptr_t)out) % 64 / 2; /* stores that cross lines of the cache take twice as long */
    if (i > codes->count) i = 0;
    const __mmask32 head = (__mmask32)((1ull << i) - 1);
    _mm512_mask_storeu_epi16(out, head, permuted(&table, _mm512_maskz_loadu_epi16(head, from)));
    if (c->info->samples >= STREAMED && (uintptr_t)(out + i) % 64 == 0)
        for (; i + 32 <= codes->count; i += 32)
            _mm512_stream_si512((void *)(out + i), permuted(&table, _mm512_loadu_si512(from + i)));
    else
        for (; i + 32 <= codes->count; i += 32)
            _mm512_storeu_si512(out + i, permuted(&table, _mm512_loadu_si512(from + i)));
    _mm_sfence();
    const __mmask32 tail = (__mmask32)((1ull << (codes->count - i)) - 1);
    _mm512_mask_storeu_epi16(out + i, tail, permuted(&table, _mm512_maskz_loadu_epi16(tail, from + i)));
    return codes->count;
}

/* Lower and upper bytes of the counts of 16 codes, for each lane. From the second part on, what a part differs by
 * from the part before. */
typedef struct { __m256i low[8], high[8]; } shuffled_table;

/* Counts of 32 codes. A shuffle gives 0 for codes below those of its part and repeats itself for those above: the
 * differences of all parts up to that of a code give its count. */
__attribute__((target("avx2"), always_inline))
static inline void shuffled(const shuffled_table *table, int parts, const uint16_t *from, __m256i *first, __m256i *second)
{
    __m256i code = _mm256_packus_epi16(_mm256_loadu_si256((const __m256i *)from),
                                       _mm256_loadu_si256((const __m256i *)(from + 16)));
    __m256i low = _mm256_shuffle_epi8(table->low[0], code), high = _mm256_shuffle_epi8(table->high[0], code);
    for (int k = 1; k < parts; ++k) {
        code = _mm256_sub_epi8(code, _mm256_set1_epi8(16));
        low = _mm256_xor_si256(low, _mm256_shuffle_epi8(table->low[k], code));
        high = _mm256_xor_si256(high, _mm256_shuffle_epi8(table->high[k], code));
    }
    *first = _mm256_unpacklo_epi8(low, high); /* in the order of the codes: they were packed the same way */
    *second = _mm256_unpackhi_epi8(low, high);
}

__attribute__((target("avx2"), always_inline))
static inline uint64_t look_up_parts(const shuffled_table *all, int parts, const uint16_t *from, uint64_t count,
                                     uint16_t *out, int streamed)
{
    const shuffled_table table = *all;
    __m256i first, second;
    uint64_t i = 0;
    if (count >= 64) { /* to a line of the cache: stores that cross one take longer */
        shuffled(&table, parts, from, &first, &second);
        _mm256_storeu_si256((__m256i *)out, first);
        _mm256_storeu_si256((__m256i *)(out + 16), second);
        i = (0 - (uintptr_t)out) % 64 / 2;
    }
    if (streamed && (uintptr_t)(out + i) % 64 == 0) {
        for (; i + 32 <= count; i += 32) {
            shuffled(&table, parts, from + i, &first, &second);
            _mm256_stream_si256((__m256i *)(out + i), first);
            _mm256_stream_si256((__m256i *)(out + i + 16), second);
        }
        _mm_sfence();
    }
    for (; i + 32 <= count; i += 32) {
        shuffled(&table, parts, from + i, &first, &second);
        _mm256_storeu_si256((__m256i *)(out + i), first);
        _mm256_storeu_si256((__m256i *)(out + i + 16), second);
    }
    return i;
}

__attribute__((target("avx2")))
static uint64_t look_up_by_avx2(const canvas *c, const code_array *codes, uint64_t begin)
{
    uint8_t low[PERMUTED_CODES] = {0}, high[PERMUTED_CODES] = {0};
    shuffled_table table;
    for (uint32_t i = 0; i <= c->info->top; ++i) low[i] = c->table[2 * i], high[i] = c->table[2 * i + 1];
    for (uint32_t i = PERMUTED_CODES - 1; i >= 16; --i) low[i] ^= low[i - 16], high[i] ^= high[i - 16];
    for (int k = 0; k < 8; ++k) {
        table.low[k] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(low + 16 * k)));
        table.high[k] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(high + 16 * k)));
    }
    uint16_t *out = (uint16_t *)c->out + begin;
    const int streamed = c->info->samples >= STREAMED;
    switch (c->info->top / 16) {
    case 0: case 1: return look_up_parts(&table, 2, codes->narrow, codes->count, out, streamed);
    case 2: case 3: return look_up_parts(&table, 4, codes->narrow, codes->count, out, streamed);
    case 4: case 5: return look_up_parts(&table, 6, codes->narrow, codes->count, out, streamed);
    default: return look_up_parts(&table, 8, codes->narrow, codes->count, out, streamed);
    }
}

static int permutes(void) { return __builtin_cpu_supports("avx512bw") ? 2 : __builtin_cpu_supports("avx2") ? 1 : 0; }

static uint64_t look_up_permuted(const canvas *c, const code_array *codes, uint64_t begin)
{
    return c->permuted == 2 ? look_up_by_avx512(c, codes, begin) : look_up_by_avx2(c, codes, begin);
}
#elif defined(__wasm_simd128__)
#define PERMUTED_CODES 64u

__attribute__((always_inline))
static inline uint64_t look_up_parts(const v128_t *low, const v128_t *high, int parts, const uint16_t *from,
                                     uint64_t count, uint16_t *out)
{
    uint64_t i = 0;
    for (; i + 16 <= count; i += 16) {
        v128_t code = wasm_u8x16_narrow_i16x8(wasm_v128_load(from + i), wasm_v128_load(from + i + 8));
        v128_t l = wasm_i8x16_swizzle(low[0], code), h = wasm_i8x16_swizzle(high[0], code);
        for (int k = 1; k < parts; ++k) { /* a swizzle gives 0 for codes of other parts */
            code = wasm_i8x16_sub(code, wasm_i8x16_splat(16));
            l = wasm_v128_or(l, wasm_i8x16_swizzle(low[k], code));
            h = wasm_v128_or(h, wasm_i8x16_swizzle(high[k], code));
        }
        wasm_v128_store(out + i, wasm_i8x16_shuffle(l, h, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
        wasm_v128_store(out + i + 8, wasm_i8x16_shuffle(l, h, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31));
    }
    return i;
}

static uint64_t look_up_permuted(const canvas *c, const code_array *codes, uint64_t begin)
{
    uint8_t low[PERMUTED_CODES] = {0}, high[PERMUTED_CODES] = {0};
    v128_t l[4], h[4];
    for (uint32_t i = 0; i <= c->info->top; ++i) low[i] = c->table[2 * i], high[i] = c->table[2 * i + 1];
    for (int k = 0; k < 4; ++k) l[k] = wasm_v128_load(low + 16 * k), h[k] = wasm_v128_load(high + 16 * k);
    uint16_t *out = (uint16_t *)c->out + begin;
    if (c->info->top < 32) return look_up_parts(l, h, 2, codes->narrow, codes->count, out);
    return look_up_parts(l, h, 4, codes->narrow, codes->count, out);
}

static int permutes(void) { return 1; }
#else
#define PERMUTED_CODES 0u

static uint64_t look_up_permuted(const canvas *c, const code_array *codes, uint64_t begin)
{
    return (void)c, (void)codes, (void)begin, 0;
}

static int permutes(void) { return 0; }
#endif

static double value_at(const photon_info *info, const void *values, uint64_t i)
{
    switch (info->dtype) {
    case PHOTON_INT8: return ((const int8_t *)values)[i];
    case PHOTON_UINT8: return ((const uint8_t *)values)[i];
    case PHOTON_INT16: return ((const int16_t *)values)[i];
    case PHOTON_UINT16: return ((const uint16_t *)values)[i];
    case PHOTON_INT32: return ((const int32_t *)values)[i];
    case PHOTON_UINT32: return ((const uint32_t *)values)[i];
    case PHOTON_INT64: return (double)((const int64_t *)values)[i];
    case PHOTON_UINT64: return (double)((const uint64_t *)values)[i];
    case PHOTON_FLOAT32: return ((const float *)values)[i];
    default: return ((const double *)values)[i];
    }
}

/* Values whose bytes lie plane after plane. */
static void join_planes(const uint8_t *body, uint64_t count, uint32_t width, uint8_t *out)
{
    for (uint32_t plane = 0; plane < width; ++plane)
        for (uint64_t i = 0; i < count; ++i) out[i * width + plane] = body[plane * count + i];
}

static int exact_values(const canvas *c, const code_array *codes, uint64_t begin)
{
    const photon_info *info = c->info;
    const uint8_t bytes = (uint8_t)info->itemsize;
    int64_t known = INT64_MIN, code = 0;
    for (uint64_t i = 0; i < codes->count; ++i) {
        const int64_t value = (int64_t)((uint64_t)info->base + code_at(codes, i));
        if (c->output == PHOTON_COUNTS) {
            memcpy((uint8_t *)c->out + (begin + i) * bytes, &value, bytes);
            continue;
        }
        if (value != known && photon_code_of(info, (double)value, &code)) return PHOTON_LIMIT;
        known = value;
        ((double *)c->out)[begin + i] = (double)code * info->step;
    }
    return PHOTON_OK;
}

static int stabilized_values(const canvas *c, const code_array *codes)
{
    const photon_info *info = c->info;
    const int clipped = info->low != INT64_MIN || info->high != INT64_MIN;
    photon_ends ends[16];
    photon_lattice lattice;
    double *out = c->out;
    if ((clipped && photon_find_ends(info, ends)) || photon_find_lattice(info, &lattice)) return PHOTON_LIMIT;
    for (uint64_t i = 0; i < codes->count; ++i) {
        const uint32_t phase = info->phases > 1 ? phase_of((uint32_t)i, info->seed) : 0;
        const int64_t own = info->base + (int64_t)code_at(codes, i);
        const photon_ends *end = &ends[phase];
        double code = (double)(clipped ? photon_uncut(info, end, own) : own);
        if (info->phases > 1) code += (2.0 * phase + 1.0 - 16.0) / 32.0;
        out[i] = info->peaks && (int64_t)code < lattice.code
                     ? photon_stabilize(info, photon_lattice_point(info, &lattice, (int64_t)code))
                     : code * info->step;
        if (info->low != INT64_MIN && own == end->low - 1) out[i] = end->low_label;
        if (info->high != INT64_MIN && own == end->high + 1) out[i] = end->high_label;
    }
    return PHOTON_OK;
}

/* Tables are exact arithmetic, which takes long: where they are large, the checksum is compared before. */
static int draws_at_once(const photon_info *info, enum photon_output output, uint64_t count)
{
    return output == PHOTON_COUNTS && info->width < 4 && (info->exact || photon_table_bytes(info) / 8 <= count + 4096);
}

static int make_tables(canvas *c, arena *memory, uint64_t count)
{
    const photon_info *info = c->info;
    if (c->output != PHOTON_COUNTS || info->exact) return PHOTON_OK;
    void *tables = give(memory, photon_table_bytes(info));
    if (!tables) return PHOTON_MEMORY;
    const int status = photon_tables(info, tables, &c->table, &c->rows);
    if (status || c->rows != 1 || !pairs_bytes(info) || count < ((uint64_t)info->top + 1) * (info->top + 1)) return status;
    if (!(c->pairs = give(memory, pairs_bytes(info)))) return PHOTON_MEMORY;
    make_pairs(c); /* also for what is left of permuted ones */
    c->permuted = info->top < PERMUTED_CODES ? permutes() : 0;
    return PHOTON_OK;
}

static int draw(const canvas *c, const code_array *codes, uint64_t begin)
{
    if (c->info->exact) return exact_values(c, codes, begin);
    if (c->output == PHOTON_STABILIZED) return stabilized_values(c, codes);
    if (c->pairs && c->permuted) {
        const uint64_t done = look_up_permuted(c, codes, begin);
        const code_array rest = {codes->narrow + done, NULL, codes->count - done};
        look_up_pairs(c, &rest, begin + done);
    } else if (c->pairs) look_up_pairs(c, codes, begin);
    else look_up(c, codes, begin);
    return PHOTON_OK;
}

/* Take the codes of samples `begin` and after. */
static void take_codes(canvas *c, const uint16_t *codes, uint64_t begin, uint64_t count)
{
    const code_array these = {codes, NULL, count};
    add_checksum(&these, begin, &c->sum, &c->top);
    if (c->kept) memcpy(c->kept + begin, codes, 2 * (size_t)count);
    else if (c->top <= c->info->top) draw(c, &these, begin);
}

/* ---- packed residuals ---- */

VECTORIZED
static void unpack_halves(const uint8_t *restrict data, size_t count, uint16_t *restrict out)
{
    size_t i = 0;
#ifdef __wasm_simd128__
    for (; i + 8 <= count / 2; i += 8) {
        const v128_t two = wasm_u16x8_load8x8(data + i), low = wasm_v128_and(two, wasm_i16x8_splat(15)),
                     high = wasm_u16x8_shr(two, 4);
        wasm_v128_store(out + 2 * i, wasm_i16x8_shuffle(low, high, 0, 8, 1, 9, 2, 10, 3, 11));
        wasm_v128_store(out + 2 * i + 8, wasm_i16x8_shuffle(low, high, 4, 12, 5, 13, 6, 14, 7, 15));
    }
#endif
    for (; i < count / 2; ++i) {
        const uint32_t two = (data[i] | (uint32_t)data[i] << 12) & 0x000F000Fu;
        memcpy(out + 2 * i, &two, 4);
    }
    if (count % 2) out[count - 1] = data[count / 2] & 15;
}

/* Bit 0 of every half byte that is 15, of 16: the residual has an escape. */
static inline uint64_t marks_of(const uint8_t *halves)
{
    const uint64_t pairs = photon_u64(halves) & photon_u64(halves) >> 1;
    return pairs & pairs >> 2 & 0x1111111111111111ull;
}

#define PIECE 4096u /* residuals, or codes, that stay in the fastest cache */

_Static_assert(SEGMENT % PIECE == 0 && PIECE % 64 == 0, "segments of whole pieces");

/* Packed residuals of a band, of which `done` are unpacked, and the escapes that are left to their segment. */
typedef struct {
    const uint8_t *data, *escape_counts, *escapes;
    uint64_t samples, done;
    uint32_t width, left;
    uint16_t *residuals;
} halves;

/* Unpack pieces until residual `end` (exclusive) is there. */
static int unpack_until(halves *h, uint64_t end)
{
    while (h->done < end) {
        uint64_t i = h->done;
        const uint64_t stop = i + PIECE < h->samples ? i + PIECE : h->samples;
        if (i % SEGMENT == 0) {
            h->left = photon_u32(h->escape_counts);
            h->escape_counts += 4;
        }
        unpack_halves(h->data + i / 2, (size_t)(stop - i), h->residuals + i);
        for (; i < stop; i += 16) {
            const uint8_t *at = h->data + i / 2;
            if (stop - i >= 64 && !(marks_of(at) | marks_of(at + 8) | marks_of(at + 16) | marks_of(at + 24))) {
                i += 48;
                continue;
            }
            uint64_t marks = 0;
            if (stop - i >= 16) marks = marks_of(at);
            else
                for (uint64_t k = i; k < stop; ++k) marks |= (uint64_t)(h->residuals[k] == 15) << 4 * (k - i);
            for (; marks; marks &= marks - 1) {
                uint16_t *residual = &h->residuals[i + (uint64_t)__builtin_ctzll(marks) / 4];
                if (!h->left--) return PHOTON_DAMAGED;
                *residual = (uint16_t)(15 + (h->width == 1 ? *h->escapes : photon_u16(h->escapes)));
                h->escapes += h->width;
            }
        }
        h->done = stop;
        if (h->left && (stop == h->samples || stop % SEGMENT == 0)) return PHOTON_DAMAGED;
    }
    return PHOTON_OK;
}

/* ---- predictors ---- */

static int32_t unfold(uint32_t residual) { return (int32_t)(residual >> 1 ^ (0u - (residual & 1))); }

/* Move the running means of a row towards its codes. Both are below 2^23, so 32 bits hold the product. */
VECTORIZED
static void follow_row(const uint16_t *restrict codes, size_t columns, uint32_t rate, int32_t *restrict mean,
                       int32_t *restrict previous)
{
    for (size_t c = 0; c < columns; ++c) {
        const int32_t now = codes[c] << 7;
        mean[c] += ((now - mean[c]) * (int32_t)rate + 64) >> 7;
        previous[c] = now;
    }
}

/* Repeat the edges of a plane of rows + 2 by columns + 2. */
static void pad(int32_t *plane, size_t rows, size_t columns)
{
    const size_t width = columns + 2;
    for (size_t r = 1; r <= rows; ++r) {
        plane[r * width] = plane[r * width + 1];
        plane[r * width + columns + 1] = plane[r * width + columns];
    }
    memcpy(plane, plane + width, 4 * width);
    memcpy(plane + (rows + 1) * width, plane + rows * width, 4 * width);
}

typedef struct {
    const photon_info *info;
    size_t frames, rows, columns;
    const uint16_t *residuals;       /* [frame][row][column], or level after level */
    uint64_t *next, *ends;           /* of each level; NULL: not sorted */
    const int32_t *frame_weights;    /* moving: [frame][16] */
    int32_t *mean, *previous, *now;  /* planes with edges */
    uint32_t *sums;                  /* of a row: 8 bytes for each column */
    uint16_t *codes;                 /* [row][column] of a frame */
    halves *packed;                  /* where residuals come from, frame by frame; NULL: all are there */
    canvas *canvas;
    uint64_t first, stride;          /* sample of the band's first pixel, and those of a frame of the chunk */
} band;

/* Codes of a frame of one byte: a mean, 128 times a code, has 15 bits, and the rate is below 128 from frame 1 on, so
 * 16 bits do for all but a product, whose upper half is needed alone. */
VECTORIZED
static void restore_mean_of_bytes(const uint16_t *restrict from, size_t pixels, int16_t rate, int16_t *restrict mean,
                                  uint16_t *restrict to)
{
    size_t i = 0;
#ifdef __wasm_simd128__ /* Clang takes 32 bits for the product, and so twice as long */
    const v128_t rates = wasm_i16x8_splat(rate), half = wasm_i16x8_splat(64), one = wasm_i16x8_splat(1),
                 byte = wasm_i16x8_splat(0xFF);
    for (; i + 8 <= pixels; i += 8) {
        const v128_t folded = wasm_v128_load(from + i), now = wasm_v128_load(mean + i);
        const v128_t unfolded = wasm_v128_xor(wasm_u16x8_shr(folded, 1), wasm_i16x8_neg(wasm_v128_and(folded, one)));
        const v128_t rounded = wasm_u16x8_shr(wasm_i16x8_add(now, half), 7);
        const v128_t code = wasm_v128_and(wasm_i16x8_add(rounded, unfolded), byte);
        wasm_v128_store(to + i, code);
        const v128_t away = wasm_i16x8_sub(wasm_i16x8_shl(code, 7), now);
        wasm_v128_store(mean + i, wasm_i16x8_add(now, wasm_i16x8_q15mulr_sat(away, rates)));
    }
#endif
    for (; i < pixels; ++i) {
        const uint16_t folded = from[i], sign = (uint16_t)(0u - (folded & 1u));
        const uint16_t rounded = (uint16_t)((uint16_t)(mean[i] + 64) >> 7);
        const uint16_t code = (uint16_t)(rounded + (uint16_t)(folded >> 1 ^ sign)) & 0xFF;
        to[i] = code;
        const int16_t away = (int16_t)((code << 7) - mean[i]);
        mean[i] = (int16_t)(mean[i] + (int16_t)((((int32_t)away * rate >> 14) + 1) >> 1));
    }
}

VECTORIZED
static void first_mean_of_bytes(const uint16_t *restrict from, size_t pixels, uint16_t first, int16_t *restrict mean,
                                uint16_t *restrict to)
{
    for (size_t i = 0; i < pixels; ++i) {
        const uint16_t folded = from[i];
        const uint16_t code = (uint16_t)(first + (folded >> 1 ^ (0u - (folded & 1u)))) & 0xFF;
        to[i] = code;
        mean[i] = (int16_t)(code << 7);
    }
}

VECTORIZED
static void restore_mean(const uint16_t *restrict from, size_t pixels, uint32_t rate, uint32_t mask,
                         int32_t *restrict mean, uint16_t *restrict to)
{
    for (size_t i = 0; i < pixels; ++i) {
        const uint32_t folded = from[i], sum = (uint32_t)mean[i] + 64u;
        const uint32_t code = ((uint32_t)((int32_t)sum >> 7) + (folded >> 1 ^ (0u - (folded & 1)))) & mask;
        to[i] = (uint16_t)code;
        /* 32 bits suffice: a mean lies among the codes. */
        mean[i] += (int32_t)(((code << 7) - (uint32_t)mean[i]) * rate + 64u) >> 7;
    }
}

static void first_mean(const uint16_t *from, size_t pixels, uint32_t first, uint32_t mask, int32_t *mean, uint16_t *to)
{
    for (size_t i = 0; i < pixels; ++i) {
        const uint32_t folded = from[i], code = (first + (folded >> 1 ^ (0u - (folded & 1)))) & mask;
        to[i] = (uint16_t)code;
        mean[i] = (int32_t)(code << 7);
    }
}

/* Everything of a row's predictions but the west neighbour: `sum` gets one number for each pixel.
 *
 * Weights k: M and its neighbours N S W E NW NE SW SE; the frame before and its four sides; then W N NW NE of
 * this frame; then 1. Unsigned numbers wrap, so that hostile weights are no undefined behaviour; of whole
 * payloads the sums fit (FORMAT.md, "Weights"). */
#define DEFINE_ROW(Name, Number)                                                                             \
    VECTORIZED                                                                                               \
    static void Name(const int32_t *k, const int32_t *restrict m, const int32_t *restrict p,                 \
                     const int32_t *restrict north, size_t columns, size_t width, Number *restrict sum)      \
    {                                                                                                        \
        const int32_t *mu = m - width, *md = m + width, *pu = p - width, *pd = p + width;                    \
        const Number k0 = (Number)k[0], k1 = (Number)k[1], k2 = (Number)k[2], k3 = (Number)k[3],             \
                     k4 = (Number)k[4], k5 = (Number)k[5], k6 = (Number)k[6], k7 = (Number)k[7],             \
                     k8 = (Number)k[8], k9 = (Number)k[9], k10 = (Number)k[10], k12 = (Number)k[12],         \
                     k13 = (Number)k[13], k14 = (Number)k[14];                                               \
        const Number constant = (Number)k[15] * 128u + (1u << 14);                                           \
        for (size_t c = 0; c < columns; ++c) {                                                               \
            const ptrdiff_t i = (ptrdiff_t)c;                                                                \
            sum[c] = constant + k0 * (Number)m[i] + k1 * (Number)mu[i] + k2 * (Number)md[i] +                \
                     k3 * (Number)m[i - 1] + k4 * (Number)m[i + 1] + k5 * (Number)mu[i - 1] +                \
                     k6 * (Number)mu[i + 1] + k7 * (Number)md[i - 1] + k8 * (Number)md[i + 1] +              \
                     k9 * (Number)p[i] +                                                                     \
                     k10 * ((Number)pu[i] + (Number)pd[i] + (Number)p[i - 1] + (Number)p[i + 1]) +           \
                     k12 * (Number)north[i] + k13 * (Number)north[i - 1] + k14 * (Number)north[i + 1];       \
        }                                                                                                    \
    }
DEFINE_ROW(row_of_32, uint32_t)
DEFINE_ROW(row_of_64, uint64_t)

/* Codes of a row by predictor past, which needs no neighbour of this frame: opposite neighbours share a weight. */
#define DEFINE_PAST_ROW(Name, Number, Signed, Sides)                                                         \
    VECTORIZED                                                                                               \
    static void Name(const int32_t *k, const int32_t *restrict m, const int32_t *restrict p,                 \
                     const uint16_t *restrict residuals, size_t columns, size_t width, uint32_t mask,        \
                     uint16_t *restrict codes)                                                               \
    {                                                                                                        \
        const int32_t *mu = m - width, *md = m + width;                                                      \
        const Number k0 = (Number)k[0], k1 = (Number)k[1], k3 = (Number)k[3], k5 = (Number)k[5],             \
                     k9 = (Number)k[9];                                                                      \
        const Number constant = (Number)k[15] * 128u + (1u << 14);                                           \
        for (size_t c = 0; c < columns; ++c) {                                                               \
            const ptrdiff_t i = (ptrdiff_t)c;                                                                \
            const Number sum =                                                                               \
                constant + k0 * (Number)m[i] + k1 * ((Number)mu[i] + (Number)md[i]) +                        \
                k3 * ((Number)m[i - 1] + (Number)m[i + 1]) +                                                 \
                k5 * ((Number)mu[i - 1] + (Number)mu[i + 1] + (Number)md[i - 1] + (Number)md[i + 1]) +       \
                k9 * (Number)p[i] + Sides;                                                                   \
            codes[c] = (uint16_t)(((uint32_t)((Signed)sum >> 15) + (uint32_t)unfold(residuals[c])) & mask);  \
        }                                                                                                    \
    }
#define SIDES(Number)                                                                                        \
    (Number)k[10] * ((Number)p[i - (ptrdiff_t)width] + (Number)p[i + (ptrdiff_t)width] + (Number)p[i - 1] +  \
                     (Number)p[i + 1])
DEFINE_PAST_ROW(past_row_32, uint32_t, int32_t, SIDES(uint32_t))
DEFINE_PAST_ROW(past_row_64, uint64_t, int64_t, SIDES(uint64_t))
DEFINE_PAST_ROW(past_row_without_sides, uint32_t, int32_t, 0) /* their weight is often 0 */

/* Codes of a row from its sums, one after another, with residuals in the order of the samples or sorted by level. */
#define DEFINE_CODES(Bits, Number, Signed)                                                                   \
    static void plain_row_##Bits(int32_t weight, const Number *sums, const uint16_t *residuals,              \
                                 size_t columns, uint32_t mask, int32_t *now, uint16_t *codes)               \
    {                                                                                                        \
        Number west = (Number)now[-1];                                                                       \
        for (size_t c = 0; c < columns; ++c) {                                                               \
            const uint32_t predicted = (uint32_t)((Signed)(sums[c] + (Number)weight * west) >> 15);          \
            const uint32_t code = (predicted + (uint32_t)unfold(residuals[c])) & mask;                       \
            codes[c] = (uint16_t)code;                                                                       \
            now[c] = (int32_t)(code << 7);                                                                   \
            west = (Number)now[c];                                                                           \
        }                                                                                                    \
    }                                                                                                        \
    APART                                                                                                    \
    static int sorted_row_##Bits(const band *b, int32_t weight, const Number *sums, uint32_t mask,           \
                                 uint32_t last, int32_t *now, uint16_t *codes)                               \
    {                                                                                                        \
        Number west = (Number)now[-1];                                                                       \
        for (size_t c = 0; c < b->columns; ++c) {                                                            \
            const uint32_t predicted = (uint32_t)((Signed)(sums[c] + (Number)weight * west) >> 15);          \
            const uint32_t level = (predicted & mask) < last ? predicted & mask : last;                      \
            if (b->next[level] >= b->ends[level]) return PHOTON_DAMAGED;                                     \
            const uint32_t residual = b->residuals[b->next[level]++];                                        \
            const uint32_t code = (predicted + (uint32_t)unfold(residual)) & mask;                           \
            codes[c] = (uint16_t)code;                                                                       \
            now[c] = (int32_t)(code << 7);                                                                   \
            west = (Number)now[c];                                                                           \
        }                                                                                                    \
        return PHOTON_OK;                                                                                    \
    }
DEFINE_CODES(32, uint32_t, int32_t)
DEFINE_CODES(64, uint64_t, int64_t)

/* Weights of a frame, one for each neighbour of the mean. */
static void weights_of(const band *b, size_t t, int32_t *k)
{
    const int32_t *row = b->info->weights[t > 0 && b->info->predictor != SPATIAL];
    if (b->info->predictor == MOVING) {
        memcpy(k, b->frame_weights + 16 * t, 64);
        return;
    }
    const int32_t own[16] = {row[0], row[1], row[1], row[2], row[2], row[3], row[3], row[3],
                             row[3], row[4], row[5], row[6], row[7], row[8], row[9], row[10]};
    memcpy(k, own, 64);
}

/* Restore and draw frame `t` by predictor mean, or none, piece after piece. */
static int restore_pixels(band *b, size_t t, uint32_t rate, uint32_t mask)
{
    const size_t pixels = b->rows * b->columns;
    const uint32_t first = ((uint32_t)(b->info->weights[0][10] >> 8) << 7) + 64u;
    const uint32_t start = (uint32_t)((int32_t)first >> 7);
    for (size_t i = 0; i < pixels; i += PIECE) {
        const size_t count = pixels - i < PIECE ? pixels - i : PIECE;
        const uint16_t *from = b->residuals + t * pixels + i, *codes = b->codes;
        if (b->packed && unpack_until(b->packed, t * pixels + i + count)) return PHOTON_DAMAGED;
        if (b->info->predictor == NONE) codes = from;
        else if (mask == 0xFF && b->info->rate < 128) {
            int16_t *mean = (int16_t *)b->mean + i;
            if (t) restore_mean_of_bytes(from, count, (int16_t)(rate << 8), mean, b->codes);
            else first_mean_of_bytes(from, count, (uint16_t)(start & 0xFF), mean, b->codes);
        } else if (t) restore_mean(from, count, rate, mask, b->mean + i, b->codes);
        else first_mean(from, count, start, mask, b->mean + i, b->codes);
        take_codes(b->canvas, codes, b->first + t * b->stride + i, count);
    }
    return PHOTON_OK;
}

/* Restore frame `t` by a predictor that knows neighbours. */
static int restore_frame(band *b, size_t t, uint32_t rate, uint32_t mask)
{
    const photon_info *info = b->info;
    const int narrow = mask == 0xFF;
    const uint32_t last = info->levels ? info->levels - 1 : 0;
    const size_t w = b->columns + 2, plane = (b->rows + 2) * w;
    int32_t k[16];
    weights_of(b, t, k);
    if (info->predictor != PAST) memcpy(b->now, b->mean, 4 * plane);
    for (size_t r = 0; r < b->rows; ++r) {
        const size_t at = (r + 1) * w + 1;
        int32_t *n = b->now + at;
        const uint16_t *from = b->residuals + (t * b->rows + r) * b->columns;
        uint16_t *codes = b->codes + r * b->columns;
        if (info->predictor == PAST) {
            if (narrow && !k[10]) past_row_without_sides(k, b->mean + at, b->previous + at, from, b->columns, w, mask, codes);
            else if (narrow) past_row_32(k, b->mean + at, b->previous + at, from, b->columns, w, mask, codes);
            else past_row_64(k, b->mean + at, b->previous + at, from, b->columns, w, mask, codes);
            continue;
        }
        if (narrow) row_of_32(k, b->mean + at, b->previous + at, n - w, b->columns, w, b->sums);
        else row_of_64(k, b->mean + at, b->previous + at, n - w, b->columns, w, (uint64_t *)b->sums);
        int status = PHOTON_OK;
        if (b->next)
            status = narrow ? sorted_row_32(b, k[11], b->sums, mask, last, n, codes)
                            : sorted_row_64(b, k[11], (uint64_t *)b->sums, mask, last, n, codes);
        else if (narrow) plain_row_32(k[11], b->sums, from, b->columns, mask, n, codes);
        else plain_row_64(k[11], (uint64_t *)b->sums, from, b->columns, mask, n, codes);
        if (status) return status;
    }
    if (info->predictor == SPATIAL) return PHOTON_OK;
    for (size_t r = 0; r < b->rows; ++r)
        follow_row(b->codes + r * b->columns, b->columns, rate, b->mean + (r + 1) * w + 1, b->previous + (r + 1) * w + 1);
    pad(b->mean, b->rows, b->columns);
    pad(b->previous, b->rows, b->columns);
    return PHOTON_OK;
}

/* Restore frame after frame, and draw each while its codes are in the cache. */
static int restore_band(band *b)
{
    const photon_info *info = b->info;
    const uint32_t mask = info->width == 1 ? 0xFF : 0xFFFF;
    const size_t plane = (b->rows + 2) * (b->columns + 2), pixels = b->rows * b->columns;
    memset(b->mean, 0, 4 * plane);
    memset(b->previous, 0, 4 * plane);
    for (size_t t = 0; t < b->frames; ++t) {
        const uint32_t early = (uint32_t)(128 / (t + 1)), rate = early > info->rate ? early : info->rate;
        if (info->predictor <= MEAN) {
            if (restore_pixels(b, t, rate, mask)) return PHOTON_DAMAGED;
            continue;
        }
        if ((b->packed && unpack_until(b->packed, (t + 1) * pixels)) || restore_frame(b, t, rate, mask))
            return PHOTON_DAMAGED;
        take_codes(b->canvas, b->codes, b->first + t * b->stride, pixels);
    }
    for (uint32_t level = 0; b->next && level < info->levels; ++level)
        if (b->next[level] != b->ends[level]) return PHOTON_DAMAGED;
    return PHOTON_OK;
}

/* ---- body ---- */

/* Codes of four bytes, which have no predictor: band after band, the lowest bytes of each first. */
static int wide_codes(const photon_info *info, const uint8_t *body, size_t bytes, uint32_t *codes)
{
    const grid_of g = grid_of_chunk(info);
    if (bytes != 4 * g.frames * g.rows * g.columns) return PHOTON_DAMAGED;
    for (uint64_t n = 0; n < g.bands; ++n) {
        const uint64_t rows = n + 1 < g.bands ? g.band_rows : g.rows - n * g.band_rows;
        const uint64_t frame = rows * g.columns, samples = g.frames * frame;
        for (uint64_t i = 0; i < samples; ++i)
            codes[i / frame * g.rows * g.columns + n * g.band_rows * g.columns + i % frame] =
                (uint32_t)body[i] | (uint32_t)body[samples + i] << 8 | (uint32_t)body[2 * samples + i] << 16 |
                (uint32_t)body[3 * samples + i] << 24;
        body += 4 * samples;
    }
    return PHOTON_OK;
}

typedef struct { const uint8_t *at; size_t left; } reader;

static const uint8_t *take(reader *in, uint64_t bytes)
{
    if (bytes > in->left) return NULL;
    const uint8_t *at = in->at;
    in->at += bytes;
    in->left -= (size_t)bytes;
    return at;
}

/* Decode codes of one or two bytes, band after band. */
static int decode_codes(const photon_info *info, const uint8_t *body, size_t bytes, arena *memory, canvas *c)
{
    const grid_of g = grid_of_chunk(info);
    const uint32_t levels = info->levels, width = info->width;
    const int packed = info->body == 1, coded = info->body == 2;
    reader in = {body, bytes};
    uint16_t *residuals = give(memory, 2 * g.band), *codes = give(memory, 2 * g.band_rows * g.columns);
    int32_t *planes[3];
    for (int i = 0; i < 3; ++i) planes[i] = give(memory, plane_bytes(&g));
    uint64_t *ends = give(memory, 8 * 256 * 2), *next = ends ? ends + 256 : NULL;
    int32_t *frame_weights = give(memory, 64 * g.frames);
    slot *slots = give(memory, SLOT_BYTES), *kind_slots = give(memory, SLOT_BYTES);
    uint8_t *ranks = give(memory, 256 * 256);
    uint32_t *sums = give(memory, 8 * g.columns);
    if (!residuals || !codes || !planes[2] || !ends || !frame_weights || !slots || !kind_slots || !ranks || !sums)
        return PHOTON_MEMORY;
    if (info->predictor == MOVING) {
        const uint64_t count = 16 * g.frames;
        const uint8_t *data = take(&in, 4 * count);
        if (!data) return PHOTON_DAMAGED;
        for (uint64_t i = 0; i < count; ++i)
            frame_weights[i] = (int32_t)((uint32_t)data[i] | (uint32_t)data[count + i] << 8 |
                                         (uint32_t)data[2 * count + i] << 16 | (uint32_t)data[3 * count + i] << 24);
        if (photon_crc32(0, (const uint8_t *)frame_weights, 4 * (size_t)count) != info->weights_crc)
            return PHOTON_CHECKSUM;
    }
    const uint8_t *level_counts = NULL, *escape_counts = NULL, *lengths = NULL, *escapes = NULL;
    uint64_t segments = 0, escaped = 0;
    if (levels && !coded && !(level_counts = take(&in, 4 * g.bands * levels))) return PHOTON_DAMAGED;
    if (packed) {
        for (uint64_t n = 0; n < g.bands; ++n) {
            const uint64_t rows = n + 1 < g.bands ? g.band_rows : g.rows - n * g.band_rows;
            segments += (g.frames * rows * g.columns + SEGMENT - 1) / SEGMENT;
        }
        if (!(escape_counts = take(&in, 4 * segments))) return PHOTON_DAMAGED;
        for (uint64_t i = 0; i < segments; ++i) escaped += photon_u32(escape_counts + 4 * i);
    }
    if (coded && !(lengths = take(&in, 4 * g.bands))) return PHOTON_DAMAGED;
    reader main = in;
    if (packed) { /* the escapes come after the residuals of all bands */
        for (uint64_t n = 0; n < g.bands; ++n) {
            const uint64_t rows = n + 1 < g.bands ? g.band_rows : g.rows - n * g.band_rows;
            if (!take(&in, (g.frames * rows * g.columns + 1) / 2)) return PHOTON_DAMAGED;
        }
        if (escaped > in.left || !(escapes = take(&in, width * escaped))) return PHOTON_DAMAGED;
    }
    halves half = {NULL, escape_counts, escapes, 0, 0, width, 0, residuals};
    for (uint64_t n = 0; n < g.bands; ++n) {
        const uint64_t rows = n + 1 < g.bands ? g.band_rows : g.rows - n * g.band_rows;
        const uint64_t samples = g.frames * rows * g.columns;
        if (coded) {
            const uint64_t words = photon_u32(lengths + 4 * n);
            const uint8_t *data = take(&in, 2 * words);
            if (!data || decode_stream(data, words, levels, samples, slots, kind_slots, ranks, residuals, ends))
                return PHOTON_DAMAGED;
        } else if (packed) {
            const uint8_t *data = take(&main, (samples + 1) / 2);
            if (samples % 2 && data[samples / 2] >> 4) return PHOTON_DAMAGED;
            half.data = data, half.samples = samples, half.done = 0;
            if (levels && unpack_until(&half, samples)) return PHOTON_DAMAGED; /* sorted: in no order of frames */
        } else {
            const uint8_t *data = take(&in, width * samples);
            if (!data) return PHOTON_DAMAGED;
            for (uint64_t i = 0; i < samples; ++i)
                residuals[i] = (uint16_t)(data[i] | (width == 2 ? data[samples + i] << 8 : 0));
        }
        if (levels) {
            uint64_t total = 0;
            for (uint32_t level = 0; level < levels; ++level) {
                next[level] = level ? ends[level - 1] : 0;
                if (coded) continue;
                total += photon_u32(level_counts + 4 * (n * levels + level));
                if (total > samples) return PHOTON_DAMAGED;
                ends[level] = total;
            }
            if (!coded && total != samples) return PHOTON_DAMAGED;
        }
        band b = {info, (size_t)g.frames, (size_t)rows, (size_t)g.columns, residuals, levels ? next : NULL, ends,
                  frame_weights, planes[0], planes[1], planes[2], sums, codes, packed ? &half : NULL, c,
                  n * g.band_rows * g.columns, g.rows * g.columns};
        const int status = restore_band(&b);
        if (status) return status;
    }
    return in.left ? PHOTON_DAMAGED : PHOTON_OK;
}

int photon_memory(const photon_info *info, enum photon_output output, size_t *memory_bytes)
{
    const grid_of g = grid_of_chunk(info);
    const uint64_t count = g.frames * g.rows * g.columns;
    const uint64_t each = info->exact == 2 ? info->itemsize : info->width == 4 ? 4 : 2; /* a value, or a code */
    uint64_t bytes = draws_at_once(info, output, count) ? 0 : aligned(each * count);
    bytes += aligned(2 * g.band) + aligned(2 * g.band_rows * g.columns) + 3 * aligned(plane_bytes(&g));
    bytes += aligned(8 * 256 * 2) + aligned(64 * g.frames) + 2 * aligned(SLOT_BYTES) + aligned(256 * 256) + aligned(8 * g.columns);
    if (output == PHOTON_COUNTS && info->exact == 0) bytes += aligned(photon_table_bytes(info)) + aligned(pairs_bytes(info));
    *memory_bytes = (size_t)(bytes + 64);
    return bytes + 64 > SIZE_MAX ? PHOTON_LIMIT : PHOTON_OK; /* sizes are of 32 bits in WebAssembly */
}

int photon_decode(const uint8_t *payload, size_t bytes, enum photon_output output, void *out, size_t out_bytes,
                  void *memory, size_t memory_bytes)
{
    photon_info header, *info = &header;
    int status = photon_read_info(payload, bytes, info);
    if (status) return status;
    const size_t item = output == PHOTON_COUNTS ? info->itemsize : 8;
    if (out_bytes < info->samples * item) return PHOTON_MEMORY;
    const grid_of g = grid_of_chunk(info);
    const uint64_t count = g.frames * g.rows * g.columns;
    const uint8_t *body = payload + info->header_bytes;
    const size_t body_bytes = bytes - info->header_bytes;
    memset((uint8_t *)out + count * item, 0, (size_t)(info->samples - count) * item);
    arena arena_of = {memory, memory_bytes};
    if (info->exact == 2) {
        if (body_bytes != count * info->itemsize) return PHOTON_DAMAGED;
        if (photon_crc32(0, body, body_bytes) != info->checksum) return PHOTON_CHECKSUM;
        uint8_t *values = output == PHOTON_COUNTS ? out : give(&arena_of, body_bytes);
        if (!values) return PHOTON_MEMORY;
        join_planes(body, count, info->itemsize, values);
        if (output == PHOTON_STABILIZED)
            for (uint64_t i = 0; i < count; ++i)
                ((double *)out)[i] = photon_stabilize(info, value_at(info, values, i));
        return PHOTON_OK;
    }
    canvas c = {info, output, out, NULL, 0, NULL, 0, NULL, 0, 0};
    code_array codes = {NULL, NULL, count};
    const int at_once = draws_at_once(info, output, count);
    if (info->width == 4) {
        uint32_t *wide = give(&arena_of, 4 * count);
        if (!wide) return PHOTON_MEMORY;
        if ((status = wide_codes(info, body, body_bytes, wide))) return status;
        codes.wide = wide;
        add_checksum(&codes, 0, &c.sum, &c.top);
    } else {
        if (!at_once && !(c.kept = give(&arena_of, 2 * count))) return PHOTON_MEMORY;
        if (at_once && (status = make_tables(&c, &arena_of, count))) return status;
        if ((status = decode_codes(info, body, body_bytes, &arena_of, &c))) return status;
        codes.narrow = c.kept;
    }
    if (c.sum != info->checksum) return PHOTON_CHECKSUM;
    if (c.top > info->top) return PHOTON_DAMAGED; /* chunks of dithered channels may state more */
    if (at_once) return PHOTON_OK;
    if ((status = make_tables(&c, &arena_of, count))) return status;
    return draw(&c, &codes, 0);
}
