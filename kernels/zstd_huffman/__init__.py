"""Encode and decode standard zstd frames of Huffman-coded bytes, without a search for matches.

``reference`` (plain Python) defines the bytes; ``cpu`` (Numba) and ``cuda`` write the same ones. Noise has no
matches, so the search of zstd's own encoder takes time and finds nothing. RFC 8878 describes the frames, and
every zstd decoder opens them.
"""
