/* The table of a payload of several channels (FORMAT.md, "Payload of several channels"). */
#include "internal.h"

#define MOST_CHANNELS 1024u
#define LENGTHS 12u /* where the lengths of the payloads begin */

int photon_channels(const uint8_t *payload, size_t bytes, uint32_t *channels, uint32_t *rows)
{
    *channels = 1, *rows = 0;
    if (bytes < 4 || memcmp(payload, "PHTC", 4)) return PHOTON_OK;
    if (bytes < LENGTHS) return PHOTON_DAMAGED;
    if (payload[4] != 2) return PHOTON_VERSION;
    *channels = photon_u16(payload + 6), *rows = photon_u32(payload + 8);
    const size_t end = LENGTHS + 8 * (size_t)*channels;
    if (!*channels || *channels > MOST_CHANNELS || !*rows || bytes < end + 4) return PHOTON_DAMAGED;
    if (photon_crc32(0, payload, end) != photon_u32(payload + end)) return PHOTON_CHECKSUM;
    const uint8_t *last;
    size_t last_bytes;
    const int status = photon_channel(payload, bytes, *channels - 1, &last, &last_bytes);
    return status ? status : last + last_bytes == payload + bytes ? PHOTON_OK : PHOTON_DAMAGED;
}

int photon_channel(const uint8_t *payload, size_t bytes, uint32_t channel, const uint8_t **part, size_t *part_bytes)
{
    *part = payload, *part_bytes = bytes;
    if (bytes < LENGTHS || memcmp(payload, "PHTC", 4)) return channel ? PHOTON_LIMIT : PHOTON_OK;
    const uint32_t channels = photon_u16(payload + 6);
    size_t at = LENGTHS + 8 * (size_t)channels + 4;
    if (channel >= channels) return PHOTON_LIMIT;
    for (uint32_t i = 0; i <= channel; ++i) {
        at = (at + 7) / 8 * 8;
        if (at > bytes) return PHOTON_DAMAGED;
        const uint64_t length = photon_u64(payload + LENGTHS + 8 * (size_t)i);
        if (length > bytes - at) return PHOTON_DAMAGED;
        *part = payload + at, *part_bytes = (size_t)length;
        at += (size_t)length;
    }
    return PHOTON_OK;
}
