/* libphoton: decode chunks of layout compact (FORMAT.md), in C11, without dependencies.
 *
 * A chunk file is a Blosc 1 frame. Opened, it is a payload: a header, then codes. Decoded, it is the values of
 * (T, ..., H, W) in C order, in the dtype of the movie.
 *
 *     size_t size, memory;
 *     photon_frame_size(chunk, n, &size);
 *     uint8_t *payload = malloc(size);
 *     photon_open_frame(chunk, n, payload, size, scratch, PHOTON_FRAME_MEMORY);
 *     photon_info info;
 *     photon_read_info(payload, size, &info);
 *     photon_memory(&info, PHOTON_COUNTS, &memory);
 *     void *out = malloc(info.samples * info.itemsize);
 *     photon_decode(payload, size, PHOTON_COUNTS, out, info.samples * info.itemsize, malloc(memory), memory);
 *
 * No function allocates, keeps state or reads beyond the sizes it is given. Every function returns PHOTON_OK or
 * one of the errors below; what it wrote before an error is arbitrary. Numbers are little-endian, as in the
 * format; a big-endian machine is refused when this is compiled.
 */
#ifndef PHOTON_H
#define PHOTON_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default) /* all other functions of the library are hidden */
#endif

/* Greatest format of compact that is read (2.7), and number of this interface, which changes with photon_info. */
#define PHOTON_FORMAT 0x0207
#define PHOTON_INTERFACE 1

#define PHOTON_OK 0
#define PHOTON_DAMAGED 1     /* the bytes are no whole frame or payload */
#define PHOTON_CHECKSUM 2    /* they are, and a checksum says they were altered */
#define PHOTON_VERSION 3     /* a later version of the format */
#define PHOTON_COMPRESSOR 4  /* a Blosc frame of another compressor than zstd */
#define PHOTON_MEMORY 5      /* the memory or the output that was given is too small */
#define PHOTON_LIMIT 6       /* more codes, samples or digits than the format allows */

enum photon_output { PHOTON_COUNTS, PHOTON_STABILIZED };

enum photon_dtype {
    PHOTON_INT8, PHOTON_UINT8, PHOTON_INT16, PHOTON_UINT16, PHOTON_INT32,
    PHOTON_UINT32, PHOTON_INT64, PHOTON_UINT64, PHOTON_FLOAT32, PHOTON_FLOAT64
};

#define PHOTON_MOST_AXES 32
#define PHOTON_FRAME_MEMORY (1u << 20)

typedef struct photon_info {
    uint64_t shape[PHOTON_MOST_AXES]; /* of the chunk: frames first */
    uint32_t axes;
    uint32_t frames;                  /* present; the rest of the chunk is zeros */
    uint64_t samples;                 /* product of shape */
    uint32_t dtype, itemsize;         /* of the counts */
    double gain, offset, variance, step; /* ADU/photon, ADU, ADU^2, sigma */
    uint32_t number, movie;           /* chunk number modulo 65535, plus 1, and movie; 0: not known */
    /* the rest is for the decoder */
    uint32_t minor, predictor, width, exact, phases, body, levels, band_rows, seed, rate, top, weights_crc;
    int64_t base, low, high;          /* low, high: clipping levels; INT64_MIN for none */
    int64_t peaks;                    /* photon peaks with bins of their own */
    uint64_t checksum;
    int32_t weights[2][11];
    size_t header_bytes;
} photon_info;

const char *photon_message(int status);

/* PHOTON_INTERFACE << 16 | PHOTON_FORMAT of the library: a program that was not compiled with this header must
 * compare it before it calls anything else. */
uint32_t photon_version(void);

/* Bytes that a Blosc frame opens to. */
int photon_frame_size(const uint8_t *frame, size_t bytes, size_t *opened);

/* Open a Blosc frame of zstd; `memory` has PHOTON_FRAME_MEMORY bytes plus a block of the frame. */
int photon_frame_memory(const uint8_t *frame, size_t bytes, size_t *memory_bytes);
int photon_open_frame(const uint8_t *frame, size_t bytes, uint8_t *out, size_t out_bytes, void *memory,
                      size_t memory_bytes);

/* Check the table of a payload of several channels (format 2.5). `rows` is how many rows of a channel follow each
 * other in the chunk; 0: there is no table, and the payload is of one channel. */
int photon_channels(const uint8_t *payload, size_t bytes, uint32_t *channels, uint32_t *rows);

/* Payload of one channel, within that of all. Call photon_channels first, which checks the table. */
int photon_channel(const uint8_t *payload, size_t bytes, uint32_t channel, const uint8_t **part, size_t *part_bytes);

/* Read and check the header of a payload. */
int photon_read_info(const uint8_t *payload, size_t bytes, photon_info *info);

/* Bytes of memory that photon_decode needs. */
int photon_memory(const photon_info *info, enum photon_output output, size_t *memory_bytes);

/* Decode a payload: all samples of the chunk, counts in their dtype or stabilized values as double. */
int photon_decode(const uint8_t *payload, size_t bytes, enum photon_output output, void *out, size_t out_bytes,
                  void *memory, size_t memory_bytes);

/* CRC-32 of zlib, as in manifests. */
uint32_t photon_crc32(uint32_t crc, const uint8_t *data, size_t bytes);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
