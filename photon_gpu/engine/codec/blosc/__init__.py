"""Compress and decompress Blosc frames."""

from photon_gpu.engine.codec.blosc.blosc_settings import Compressor
from photon_gpu.engine.codec.blosc.compression import FrameOf, compress, compress_blocks, compress_bytes
from photon_gpu.engine.codec.blosc.decompression import decompress, decompress_span, frame_blocks
from photon_gpu.engine.codec.blosc.frame import MAX_BYTES, frame_sizes
from photon_gpu.engine.codec.blosc.opened_frame import Blocks, BlocksPart
from photon_gpu.engine.codec.blosc.seal import Seal, read_seal, seal_holds

__all__ = [
    "MAX_BYTES",
    "Blocks",
    "BlocksPart",
    "Compressor",
    "FrameOf",
    "Seal",
    "compress",
    "compress_blocks",
    "compress_bytes",
    "decompress",
    "decompress_span",
    "frame_blocks",
    "frame_sizes",
    "read_seal",
    "seal_holds",
]
