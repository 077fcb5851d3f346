/* HDF5 filter: read datasets whose chunks are chunks of layout compact, in any program that uses HDF5.
 *
 * Put libh5photon.so into a folder that HDF5_PLUGIN_PATH names. The dataset has the movie's shape, chunk shape
 * and dtype, and one filter, PHOTON_HDF5_FILTER. The filter only reads; photon_gpu writes.
 */
#include "photon.h"

#include <stdlib.h>
#include <string.h>

#define PHOTON_HDF5_FILTER 480 /* of the range that HDF5 leaves to filters that are not registered */
#define REVERSE 0x0100u

/* As in H5Zpublic.h and H5PLextern.h, so that HDF5's headers are not needed to build. */
typedef struct {
    int version, id;
    unsigned encodes, decodes;
    const char *name;
    int (*can_apply)(int64_t, int64_t, int64_t);
    int (*set_local)(int64_t, int64_t, int64_t);
    size_t (*filter)(unsigned, size_t, const unsigned *, size_t, size_t *, void **);
} filter_class;

/* Decode all channels of a payload into a new buffer, in the order of the chunk. */
static int decode_channels(const uint8_t *payload, size_t bytes, uint8_t **out, size_t *out_bytes)
{
    uint32_t channels, rows, dtype = 0;
    uint8_t *plane = NULL; /* one channel, where there are several */
    size_t plane_bytes = 0, block = 1;
    int status = photon_channels(payload, bytes, &channels, &rows);
    *out = NULL;
    for (uint32_t channel = 0; !status && channel < channels; ++channel) {
        const uint8_t *part;
        size_t part_bytes, memory_bytes;
        photon_info info;
        if ((status = photon_channel(payload, bytes, channel, &part, &part_bytes)) ||
            (status = photon_read_info(part, part_bytes, &info)) ||
            (status = photon_memory(&info, PHOTON_COUNTS, &memory_bytes)))
            break;
        const size_t needed = (size_t)info.samples * info.itemsize;
        if (channel == 0) {
            const size_t row_bytes = (size_t)info.shape[info.axes - 1] * info.itemsize;
            if (!needed || !row_bytes || rows > needed / row_bytes) status = PHOTON_DAMAGED;
            plane_bytes = needed, dtype = info.dtype, block = rows ? rows * row_bytes : needed;
            *out = malloc(plane_bytes * channels + !needed);
            plane = rows ? malloc(plane_bytes + !needed) : NULL;
            if (!*out || (rows && !plane)) status = PHOTON_MEMORY;
        }
        if (status || needed != plane_bytes || info.dtype != dtype || needed % block) {
            status = status ? status : PHOTON_DAMAGED;
            break;
        }
        void *memory = malloc(memory_bytes ? memory_bytes : 1);
        uint8_t *target = rows ? plane : *out;
        status = memory ? photon_decode(part, part_bytes, PHOTON_COUNTS, target, needed, memory, memory_bytes)
                        : PHOTON_MEMORY;
        free(memory);
        for (size_t at = 0; rows && !status && at < needed; at += block)
            memcpy(*out + at * channels + channel * block, plane + at, block);
    }
    free(plane);
    if (status) free(*out);
    *out_bytes = plane_bytes * channels;
    return status;
}

/* Return the bytes in *buffer, or 0 for an error; HDF5 owns the buffer. */
static size_t decode_chunk(unsigned flags, size_t count, const unsigned *values, size_t bytes, size_t *capacity,
                           void **buffer)
{
    size_t size, memory_bytes, result = 0;
    uint8_t *payload = NULL, *out = NULL;
    void *memory = NULL;
    (void)count, (void)values;
    if (!(flags & REVERSE)) return 0;
    if (photon_frame_size(*buffer, bytes, &size) || photon_frame_memory(*buffer, bytes, &memory_bytes)) return 0;
    payload = malloc(size ? size : 1);
    memory = malloc(memory_bytes);
    if (payload && memory && !photon_open_frame(*buffer, bytes, payload, size, memory, memory_bytes) &&
        !decode_channels(payload, size, &out, &result)) {
        free(*buffer);
        *buffer = out;
        *capacity = result;
    } else {
        result = 0;
    }
    free(memory);
    free(payload);
    return result;
}

static const filter_class PHOTON_FILTER = {
    1, PHOTON_HDF5_FILTER, 0, 1, "photon: layout compact of photon_gpu", NULL, NULL, decode_chunk};

#pragma GCC visibility push(default)
int H5PLget_plugin_type(void);
const void *H5PLget_plugin_info(void);
#pragma GCC visibility pop
int H5PLget_plugin_type(void) { return 0; /* a filter */ }
const void *H5PLget_plugin_info(void) { return &PHOTON_FILTER; }
