/* What the files of libphoton share. */
#ifndef PHOTON_INTERNAL_H
#define PHOTON_INTERNAL_H

#include "photon.h"

#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "libphoton reads numbers as they are in memory, which needs a little-endian machine"
#endif

static inline uint16_t photon_u16(const uint8_t *at) { uint16_t n; memcpy(&n, at, 2); return n; }
static inline uint32_t photon_u32(const uint8_t *at) { uint32_t n; memcpy(&n, at, 4); return n; }
static inline uint64_t photon_u64(const uint8_t *at) { uint64_t n; memcpy(&n, at, 8); return n; }

int photon_zstd(const uint8_t *data, size_t bytes, uint8_t *out, size_t out_bytes, void *memory);

/* Tables of a chunk: counts of its codes, one row for each phase that is told apart. */
size_t photon_table_bytes(const photon_info *info);
int photon_tables(const photon_info *info, void *memory, const uint8_t **table, uint32_t *rows);
int photon_code_of(const photon_info *info, double value, int64_t *code);
/* Clipping levels of one phase: codes of their bins, as if there were no levels, and their own labels. */
typedef struct { int64_t low, high; double low_label, high_label; } photon_ends;
int photon_find_ends(const photon_info *info, photon_ends ends[16]);
int64_t photon_uncut(const photon_info *info, const photon_ends *ends, int64_t code);
/* Bins of photon peaks (FORMAT.md, "Photon peaks"): those of codes below `code`, of values below `end`. */
typedef struct { int64_t code; double end; } photon_lattice;
int photon_find_lattice(const photon_info *info, photon_lattice *lattice);
double photon_lattice_point(const photon_info *info, const photon_lattice *lattice, int64_t code);
double photon_stabilize(const photon_info *info, double value);

#endif
