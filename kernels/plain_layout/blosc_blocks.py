"""Where the blocks of a Blosc frame lie, as a tuple that compiled kernels take."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class FrameBlocks(NamedTuple):
    """A Blosc frame and where its blocks lie.

    Attributes
    ----------
    data : (n,) uint8 array
    starts, ends : (blocks,) int64 array
    size, nbytes : int
        Bytes per block and of the content.
    decompress : int
        Address of Blosc's function ``blosc_decompress_ctx``.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    size: int
    nbytes: int
    decompress: int
