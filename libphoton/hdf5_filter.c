/* HDF5 filter: read datasets whose chunks are chunks of layout compact, in any program that uses HDF5.
 *
 * Put libh5photon.so into a folder that HDF5_PLUGIN_PATH names. The dataset has the movie's shape, chunk shape
 * and dtype, and one filter, PHOTON_HDF5_FILTER. The filter only reads; photon_gpu writes.
 */
#include "photon.h"

#include <stdlib.h>

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

/* Return the bytes in *buffer, or 0 for an error; HDF5 owns the buffer. */
static size_t decode_chunk(unsigned flags, size_t count, const unsigned *values, size_t bytes, size_t *capacity,
                           void **buffer)
{
    size_t size, memory_bytes, result = 0;
    photon_info info;
    uint8_t *payload = NULL, *out = NULL;
    void *memory = NULL;
    (void)count, (void)values;
    if (!(flags & REVERSE)) return 0;
    if (photon_frame_size(*buffer, bytes, &size) || photon_frame_memory(*buffer, bytes, &memory_bytes)) return 0;
    payload = malloc(size ? size : 1);
    memory = malloc(memory_bytes);
    if (!payload || !memory || photon_open_frame(*buffer, bytes, payload, size, memory, memory_bytes) ||
        photon_read_info(payload, size, &info) || photon_memory(&info, PHOTON_COUNTS, &memory_bytes))
        goto end;
    free(memory);
    memory = malloc(memory_bytes);
    const size_t out_bytes = (size_t)info.samples * info.itemsize;
    out = malloc(out_bytes);
    if (!memory || !out || photon_decode(payload, size, PHOTON_COUNTS, out, out_bytes, memory, memory_bytes)) goto end;
    free(*buffer);
    *buffer = out;
    *capacity = result = out_bytes;
    out = NULL;
end:
    free(out);
    free(memory);
    free(payload);
    return result;
}

static const filter_class PHOTON_FILTER = {
    1, PHOTON_HDF5_FILTER, 0, 1, "photon: layout compact of photon_gpu", NULL, NULL, decode_chunk};

int H5PLget_plugin_type(void);
const void *H5PLget_plugin_info(void);
int H5PLget_plugin_type(void) { return 0; /* a filter */ }
const void *H5PLget_plugin_info(void) { return &PHOTON_FILTER; }
