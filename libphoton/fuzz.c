/* Feed damaged chunks to the decoder: fuzz SECONDS SEED FILE...
 *
 * Every file is a chunk (a Blosc frame). Chunks and the payloads in them are mutated, and half of the payloads
 * get a right header checksum again, so that the code behind it is reached. Build with
 * -fsanitize=address,undefined; a crash ends the program. wasm/fuzz.mjs runs the same as WebAssembly.
 * LLVMFuzzerTestOneInput serves libFuzzer and AFL.
 */
#include "photon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_MEMORY (8u << 20)

static uint8_t *scratch; /* kept: a sanitizer takes long to allocate a megabyte */

static void *exactly(size_t bytes) { return malloc(bytes ? bytes : 1); }

static int decode_payload(const uint8_t *payload, size_t bytes)
{
    photon_info info;
    int status = photon_read_info(payload, bytes, &info);
    if (status) return status;
    static uint32_t number; /* tables of counts are exact arithmetic: they take most of the time, so make few */
    for (int output = ++number % 64 ? PHOTON_STABILIZED : PHOTON_COUNTS; output <= PHOTON_STABILIZED; ++output) {
        size_t memory;
        if ((status = photon_memory(&info, (enum photon_output)output, &memory))) return status;
        const uint64_t out = info.samples * (output == PHOTON_COUNTS ? info.itemsize : 8);
        if (memory > MOST_MEMORY || out > MOST_MEMORY) return PHOTON_MEMORY;
        void *values = exactly((size_t)out);
        status = photon_decode(payload, bytes, (enum photon_output)output, values, (size_t)out, scratch, memory);
        if (status == PHOTON_MEMORY) abort(); /* what photon_memory asked for must do */
        free(values);
    }
    return status;
}

static int decode_channels(const uint8_t *payload, size_t bytes)
{
    uint32_t channels, rows;
    int status = photon_channels(payload, bytes, &channels, &rows);
    for (uint32_t channel = 0; !status && channel < channels; ++channel) {
        const uint8_t *part;
        size_t part_bytes;
        status = photon_channel(payload, bytes, channel, &part, &part_bytes);
        if (!status) status = decode_payload(part, part_bytes);
    }
    return status;
}

static int decode_chunk(const uint8_t *chunk, size_t bytes)
{
    size_t size, memory;
    int status = photon_frame_size(chunk, bytes, &size);
    if (status || (status = photon_frame_memory(chunk, bytes, &memory))) return status;
    if (size > MOST_MEMORY || memory > MOST_MEMORY) return PHOTON_MEMORY;
    uint8_t *payload = exactly(size);
    status = photon_open_frame(chunk, bytes, payload, size, scratch, memory);
    if (!status) status = decode_channels(payload, size);
    free(payload);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!scratch) scratch = exactly(MOST_MEMORY);
    uint8_t *copy = exactly(size); /* exactly as long, so that a sanitizer sees a byte too far */
    memcpy(copy, data, size);
    if (size >= 4 && !memcmp(copy, "PHT", 3)) decode_channels(copy, size);
    else decode_chunk(copy, size);
    free(copy);
    return 0;
}

#ifndef PHOTON_LIBFUZZER

static uint64_t state;

static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

static size_t mutate(uint8_t *data, size_t bytes)
{
    static const uint8_t odd[] = {0, 1, 2, 7, 15, 16, 32, 64, 127, 128, 255};
    const uint32_t times = 1 + draw(4);
    for (uint32_t i = 0; i < times && bytes > 1; ++i) {
        const uint32_t reach = draw(2) ? (uint32_t)bytes : bytes < 280 ? (uint32_t)bytes : 280;
        const uint32_t at = draw(reach);
        switch (draw(6)) {
        case 0: data[at] ^= (uint8_t)(1u << draw(8)); break;
        case 1: data[at] = odd[draw(sizeof odd)]; break;
        case 2: data[at] = (uint8_t)draw(256); break;
        case 3: bytes = draw(8) ? bytes : 1 + draw((uint32_t)bytes); break;
        case 4:
            for (uint32_t k = at; k < at + 4 && k < bytes; ++k) data[k] = draw(2) ? 0xFF : 0;
            break;
        default: {
            const uint32_t from = draw((uint32_t)bytes), most = (uint32_t)bytes - (at > from ? at : from);
            memmove(data + at, data + from, most ? draw(most) : 0);
        }
        }
    }
    return bytes;
}

static void put_u32(uint8_t *at, uint32_t n) { memcpy(at, &n, 4); }

static void mend_header(uint8_t *payload, size_t bytes)
{
    const size_t table = 12 + 8 * (payload[6] + 256 * (size_t)payload[7]);
    if (payload[3] == 'C' && bytes >= table + 4) put_u32(payload + table, photon_crc32(0, payload, table));
    const int special = payload[8] == 4 || payload[8] == 8 || payload[8] == 12; /* clipping levels, peaks */
    const size_t more = (special && payload[8] & 4 ? 16 : 0) + (special && payload[8] & 8 ? 8 : 0);
    const size_t size = 96 + 8 * (size_t)payload[11] + 88 + more;
    if (payload[3] == 'C' || bytes < size) return;
    put_u32(payload + 80, 0);
    put_u32(payload + 80, photon_crc32(0, payload, size));
}

typedef struct { uint8_t *data; size_t bytes; } seed_file;

static seed_file seeds[512];
static int files;
static uint64_t statuses[PHOTON_LIMIT + 1];

int fuzz_add(const uint8_t *chunk, size_t bytes);
const uint64_t *fuzz_run(uint64_t seed, uint32_t runs);

/* Mutate this chunk and its payload from now on; 0 if there is no room for them. */
int fuzz_add(const uint8_t *chunk, size_t bytes)
{
    if (!scratch) scratch = exactly(MOST_MEMORY);
    if (files > 510) return 0;
    seeds[files] = (seed_file){exactly(bytes), bytes};
    memcpy(seeds[files++].data, chunk, bytes);
    size_t size, memory;
    if (photon_frame_size(chunk, bytes, &size) || photon_frame_memory(chunk, bytes, &memory)) return 1;
    seed_file payload = {exactly(size), size};
    if (!photon_open_frame(chunk, bytes, payload.data, size, scratch, memory)) seeds[files++] = payload;
    else free(payload.data);
    return 1;
}

/* Decode so many mutated chunks and payloads; return how often each status came, in all calls. A seed of 0 goes on
 * where the call before ended. */
const uint64_t *fuzz_run(uint64_t seed, uint32_t runs)
{
    if (seed) state = seed * 0x9E3779B97F4A7C15ull + 1;
    for (uint32_t i = 0; i < runs; ++i) {
        const seed_file *from = &seeds[draw((uint32_t)files)];
        uint8_t *data = exactly(from->bytes);
        memcpy(data, from->data, from->bytes);
        size_t bytes = mutate(data, from->bytes);
        const int payload = bytes >= 96 && !memcmp(data, "PHT", 3);
        if (payload && draw(2)) mend_header(data, bytes);
        uint8_t *exact = exactly(bytes);
        memcpy(exact, data, bytes);
        free(data);
        ++statuses[payload ? decode_channels(exact, bytes) : decode_chunk(exact, bytes)];
        free(exact);
    }
    return statuses;
}

#ifndef __wasm__ /* wasm/fuzz.mjs has a main of its own */

int main(int count, char **arguments)
{
    if (count < 4) return fprintf(stderr, "fuzz SECONDS SEED FILE...\n"), 2;
    const double seconds = atof(arguments[1]);
    const uint64_t seed = strtoull(arguments[2], NULL, 10);
    uint8_t *chunk = exactly(1 << 20);
    for (int i = 3; i < count; ++i) {
        FILE *file = fopen(arguments[i], "rb");
        if (!file) return perror(arguments[i]), 2;
        fuzz_add(chunk, fread(chunk, 1, 1 << 20, file));
        fclose(file);
    }
    free(chunk);
    uint64_t runs = 0;
    const time_t begin = time(NULL);
    for (; difftime(time(NULL), begin) < seconds; runs += 1000) fuzz_run(runs ? 0 : seed, 1000);
    printf("executions %llu seed %llu", (unsigned long long)runs, (unsigned long long)seed);
    for (int i = 0; i <= PHOTON_LIMIT; ++i) printf("; %s: %llu", photon_message(i), (unsigned long long)statuses[i]);
    printf("\n");
    for (int i = 0; i < files; ++i) free(seeds[i].data);
    free(scratch);
    return 0;
}

#endif
#endif
