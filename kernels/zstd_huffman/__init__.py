"""Standard zstd frames that hold Huffman-coded bytes only: written, and read, in equal versions.

``reference`` (plain Python) defines the bytes, ``cpu`` (Numba) equals it. Noise has no matches, for which
zstd's own encoder searches in vain. RFC 8878 describes the frames, and every zstd decoder opens them.
"""
