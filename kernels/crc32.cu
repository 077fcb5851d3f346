// A CUDA kernel that computes CRC-32 as zlib does. This file continues zstd_huffman_decode.cu.

const u32 POLYNOMIAL = 0xEDB88320u, CRC_RUN = 256;  // the highest bit is the coefficient of 1; bytes per thread

struct Xor { static DEVICE u64 of(u64 a, u64 b) { return a ^ b; } };

DEVICE u32 times_x(u32 value) { return value >> 1 ^ (value & 1 ? POLYNOMIAL : 0); }

// Product of two polynomials, modulo that of CRC-32.
DEVICE u32 product_of(u32 a, u32 b)
{
    u32 product = 0;
    for (; a; a <<= 1) {
        if (a >> 31) product ^= b;
        b = times_x(b);
    }
    return product;
}

// Adds the parts of the CRC, each a run of bytes with zeros in place of all others. `powers[k]` is x to the
// 8 * 2**k. The host sets all bits of `crc` first, which complements the result.
KERNEL crc32(const u8* __restrict__ data, u64 size, const u32* __restrict__ powers, u32* crc)
{
    SHARED(u32, table, 256);
    SHARED(u64, partial, THREADS / 32);
    u32 entry = threadIdx.x;
    for (u32 bit = 0; bit < 8; ++bit) entry = times_x(entry);
    table[threadIdx.x] = entry;
    __syncthreads();
    u64 sum = 0;
    for (u64 begin = thread_index() * CRC_RUN; begin < size; begin += thread_count() * CRC_RUN) {
        const u64 end = size - begin < CRC_RUN ? size : begin + CRC_RUN;
        u32 value = begin ? 0 : 0xffffffffu;
        for (u64 i = begin; i < end; ++i) value = table[(value ^ data[i]) & 255] ^ value >> 8;
        u32 k = 0;
        for (u64 after = size - end; after; after >>= 1, ++k)
            if (after & 1) value = product_of(powers[k], value);
        sum ^= value;
    }
    sum = block_total<Xor>(sum, partial);
    if (threadIdx.x == 0) atomicXor(crc, (u32)sum);
}
