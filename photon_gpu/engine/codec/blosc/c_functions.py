"""Call the C functions of numcodecs' Blosc without Python's lock."""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.blosc.blosc_settings import Compressor
from photon_gpu.engine.codec.blosc.frame import HEADER, frame_sizes
from photon_gpu.engine.runtime.scratch import scratch
from photon_gpu.errors import CorruptDataError, InvalidInputError


def encode(data: NDArray, compressor: Compressor, into: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Compress an array, to ``into`` or to scratch memory of the thread, which its next frame overwrites."""
    data, library = np.ascontiguousarray(data), c_library()
    name = compressor.cname.encode()
    if library is None:
        from numcodecs import blosc

        made = blosc.compress(data, name, compressor.clevel, compressor.shuffle, compressor.blocksize)
        if into is None:
            return np.frombuffer(made, np.uint8)
        into[: len(made)] = np.frombuffer(made, np.uint8)
        return into[: len(made)]
    frame = scratch("frame", (data.nbytes + HEADER.size,), np.uint8) if into is None else into
    size = library.blosc_compress_ctx(
        compressor.clevel,
        compressor.shuffle,
        data.itemsize,
        data.nbytes,
        data.ctypes.data,
        frame.ctypes.data,
        frame.size,
        name,
        compressor.blocksize,
        1,
    )
    if size <= 0:
        raise InvalidInputError(f"Blosc cannot compress with {compressor.text}: it returned {size}")
    return frame[:size]


def decode(frame: bytes, out: NDArray[np.uint8]) -> None:
    """Decompress a frame to ``out``; CorruptDataError if Blosc refuses it."""
    library = c_library()
    if library is None:
        from numcodecs import blosc

        try:
            blosc.decompress(frame, out)
        except (RuntimeError, ValueError) as error:
            raise CorruptDataError(f"a Blosc frame cannot be decompressed: {error}") from error
        return
    nbytes, _ = frame_sizes(frame)
    if nbytes > out.size:
        raise CorruptDataError(f"a Blosc frame decompresses to {nbytes:,} bytes, not to {out.size:,}")
    source = np.frombuffer(frame, np.uint8).ctypes.data
    size = library.blosc_decompress_ctx(source, out.ctypes.data, out.size, 1) if nbytes else 0
    if size != nbytes:
        raise CorruptDataError(f"a Blosc frame cannot be decompressed: Blosc returned {size}")


@cache
def c_library() -> ctypes.CDLL | None:
    """Load the C functions of numcodecs' Blosc, called without Python's lock; None if not exported.

    numcodecs itself copies every frame with the lock held, and lets Blosc's own threads write the blocks of
    the main thread in any order.
    """
    from numcodecs import blosc

    number, size, pointer = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p
    try:
        library = ctypes.CDLL(blosc.__file__)
        compress, decompress = library.blosc_compress_ctx, library.blosc_decompress_ctx
    except (OSError, AttributeError):
        return None
    compress.argtypes = [
        number,
        number,
        size,
        size,
        pointer,
        pointer,
        size,
        ctypes.c_char_p,
        size,
        number,
    ]
    decompress.argtypes = [pointer, pointer, size, number]
    return library
