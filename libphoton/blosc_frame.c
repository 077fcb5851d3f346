/* Open Blosc 1 frames of zstd. */
#include "internal.h"

#include <string.h>

#define HEADER 16

typedef struct { uint32_t bytes, block, packed, blocks; int flags, itemsize; } frame_header;

static int read_header(const uint8_t *frame, size_t bytes, frame_header *h)
{
    if (bytes < HEADER || frame[0] != 2) return PHOTON_DAMAGED;
    h->flags = frame[2];
    h->itemsize = frame[3];
    h->bytes = photon_u32(frame + 4);
    h->block = photon_u32(frame + 8);
    h->packed = photon_u32(frame + 12);
    if (h->packed != bytes || !h->itemsize || (h->bytes && !h->block)) return PHOTON_DAMAGED;
    h->blocks = h->bytes ? (uint32_t)(((uint64_t)h->bytes + h->block - 1) / h->block) : 0;
    if (h->flags & 2) return HEADER + (uint64_t)h->bytes <= bytes ? PHOTON_OK : PHOTON_DAMAGED;
    if (h->flags >> 5 != 4) return PHOTON_COMPRESSOR;
    if ((uint64_t)h->bytes + PHOTON_FRAME_MEMORY > SIZE_MAX) return PHOTON_LIMIT; /* sizes are of 32 bits in WebAssembly */
    return HEADER + 4ull * h->blocks <= bytes ? PHOTON_OK : PHOTON_DAMAGED;
}

int photon_frame_size(const uint8_t *frame, size_t bytes, size_t *opened)
{
    frame_header h;
    const int status = read_header(frame, bytes, &h);
    if (!status) *opened = h.bytes;
    return status;
}

static uint32_t block_bytes(const frame_header *h) { return h->block < h->bytes ? h->block : h->bytes; }

int photon_frame_memory(const uint8_t *frame, size_t bytes, size_t *memory_bytes)
{
    frame_header h;
    const int status = read_header(frame, bytes, &h);
    if (!status) *memory_bytes = PHOTON_FRAME_MEMORY + (size_t)block_bytes(&h);
    return status;
}

/* Undo the shuffle of a block's whole items; the bytes after them are as they are. */
static void unshuffle(const uint8_t *from, uint8_t *to, uint32_t bytes, const frame_header *h)
{
    const uint32_t size = (uint32_t)h->itemsize, items = bytes / size;
    uint32_t done = 0;
    if (h->flags & 1 && size > 1) {
        for (uint32_t b = 0; b < size; ++b)
            for (uint32_t i = 0; i < items; ++i) to[i * size + b] = from[b * items + i];
        done = items * size;
    } else if (h->flags & 4 && items % 8 == 0) {
        done = items * size;
        memset(to, 0, done);
        for (uint32_t b = 0; b < 8 * size; ++b)
            for (uint32_t i = 0; i < items; ++i)
                to[i * size + b / 8] |= (uint8_t)((from[b * (items / 8) + i / 8] >> i % 8 & 1) << b % 8);
    }
    memcpy(to + done, from + done, bytes - done);
}

int photon_open_frame(const uint8_t *frame, size_t bytes, uint8_t *out, size_t out_bytes, void *memory,
                      size_t memory_bytes)
{
    frame_header h;
    const int status = read_header(frame, bytes, &h);
    if (status) return status;
    if (out_bytes < h.bytes) return PHOTON_MEMORY;
    if (h.flags & 2) {
        memcpy(out, frame + HEADER, h.bytes);
        return PHOTON_OK;
    }
    if (memory_bytes < PHOTON_FRAME_MEMORY + (size_t)block_bytes(&h)) return PHOTON_MEMORY;
    uint8_t *block = (uint8_t *)memory + PHOTON_FRAME_MEMORY;
    const int shuffled = (h.flags & 1 && h.itemsize > 1) || h.flags & 4;
    for (uint32_t number = 0; number < h.blocks; ++number) {
        uint8_t *place = out + (size_t)number * h.block;
        const uint32_t length = number + 1 < h.blocks ? h.block : h.bytes - (h.blocks - 1) * h.block;
        const uint32_t parts = !(h.flags & 16) && length == h.block ? (uint32_t)h.itemsize : 1;
        if (length % parts) return PHOTON_DAMAGED;
        uint8_t *to = shuffled ? block : place;
        uint64_t at = photon_u32(frame + HEADER + 4 * (size_t)number);
        for (uint32_t part = 0; part < parts; ++part, to += length / parts) {
            if (at + 4 > bytes) return PHOTON_DAMAGED;
            const uint32_t packed = photon_u32(frame + at);
            at += 4;
            if (!packed || packed > bytes - at) return PHOTON_DAMAGED;
            if (packed == length / parts)
                memcpy(to, frame + at, packed);
            else if (photon_zstd(frame + at, packed, to, length / parts, memory))
                return PHOTON_DAMAGED;
            at += packed;
        }
        if (shuffled) unshuffle(block, place, length, &h);
    }
    return PHOTON_OK;
}
