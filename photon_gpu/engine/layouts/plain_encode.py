"""Encode values to Blosc frames of layout plain, one compiled call for each part of a chunk."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.blosc import Compressor, FrameOf
from photon_gpu.engine.codec.blosc.c_functions import c_library
from photon_gpu.engine.codec.blosc.frame import HEADER
from photon_gpu.engine.runtime.scratch import scratch


def frames_of_labels(flat: NDArray, luts: NDArray[np.float64], seed: int) -> FrameOf | None:
    """Return a function that encodes parts of a chunk; None without Blosc's own functions.

    Parameters
    ----------
    flat : (n,) array
        Values of the chunk. Samples beyond them get the label 0.
    luts : (phases, 2**bits) array
        Label of every value, by bit pattern.
    seed : int
        Seed of the phases.
    """
    kernels, library = _kernels(), c_library()
    if library is None:
        return None
    address = ctypes.cast(library.blosc_compress_ctx, ctypes.c_void_p).value
    patterns, tables = flat.view(f"u{flat.itemsize}"), kernels.LabelTables(luts, seed)
    patterns.flags.writeable = False  # so that kernels are compiled for one type

    def frame_of(edges: Sequence[int], compressor: Compressor) -> NDArray[np.uint8] | None:
        longest = max(stop - start for start, stop in pairwise(edges))
        work = (
            scratch("labels", (longest,), np.float64),
            scratch("frame", (8 * longest + HEADER.size,), np.uint8),
        )
        name = np.frombuffer(compressor.cname.encode() + b"\0", np.uint8)
        settings = kernels.FrameSettings(
            address, name, compressor.clevel, compressor.shuffle, compressor.blocksize
        )
        # Labels take less than their values. Memory that is not written to costs nothing.
        out = scratch("frames", ((edges[-1] - edges[0]) * flat.itemsize + work[1].size,), np.uint8)
        size = kernels.encode_label_blocks(patterns, tables, np.array(edges, np.int64), settings, work, out)
        return out[:size].copy() if size else None

    return frame_of


@cache
def _kernels() -> Any:
    """Import the compiled kernels when they are first used."""
    return import_module("photon_gpu.kernels.plain_layout.cpu_encode")
