"""Base class of the layouts, which encode chunks to bytes and decode them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.backend import Backend, GpuCoder
from photon_gpu.engine.codec.blosc import MAX_BYTES, Blocks
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.quantize import Extent
from photon_gpu.engine.codec.requested_part import ChunkPart, Values
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.engine.runtime.pool import WHOLE, Split
from photon_gpu.errors import CorruptDataError, InvalidInputError


def copied_to(values: NDArray, out: NDArray) -> NDArray:
    """Copy ``values`` to ``out``, and return ``out``."""
    np.copyto(out, values, casting="no")
    return out


def stored_rows(data: bytes, part: ChunkPart, dtype: np.dtype) -> NDArray:
    """Return rows ``(frames, rows, columns)`` of a chunk that Blosc stores as an array."""
    blocks, rows, columns, length = Blocks(data), part.row_range, part.chunk[-1], part.chunk[0]
    frame, (first, last) = part.frame_size * dtype.itemsize, (row * columns * dtype.itemsize for row in rows)
    if blocks.data.size != frame * length:
        raise CorruptDataError(
            f"a chunk decompresses to {blocks.data.size:,} bytes; its metadata say {frame * length:,}"
        )
    starts = range(part.start * frame, part.end * frame, frame)
    blocks.open(slice(start + first, start + last) for start in starts)
    frames = blocks.data.view(dtype).reshape(length, -1, columns)
    return frames[part.start : part.end, rows[0] : rows[1]].copy()


class Layout(ABC):
    """Encodes and decodes single chunks, without access to a store.

    A chunk is ``(chunk_frames, ..., H, W)``. The last one of a movie may have fewer frames; if the format
    stores whole chunks, zeros complete it.
    """

    version: str
    itemsize: int
    """Bytes per sample before Blosc; a whole chunk must fit one Blosc frame."""

    def __init__(self, encoding: Encoding, backend: Backend) -> None:
        self.encoding = encoding
        self.backend = backend

    @property
    @abstractmethod
    def dtype(self) -> np.dtype:
        """Dtype that plain Zarr readers see."""

    @property
    def filters(self) -> list[dict[str, Any]] | None:
        """The ``filters`` entry of ``.zarray``."""
        return None

    @property
    def channels(self) -> tuple[Layout, ...]:
        """One layout per channel if each channel has its own noise model, else only this layout.

        The layout of a channel decodes chunks of the movie to the channel's values. Its ``chunk`` is the
        shape without the axis of the channels.
        """
        return (self,)

    def channel_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one channel of a movie, a chunk or frames of this shape."""
        return shape

    def on(self, backend: Backend) -> Layout:
        """Return the same layout on another backend."""
        return type(self)(self.encoding, backend)

    def split(self, values: NDArray) -> list[NDArray]:
        """Return the values of a chunk, one array for each of :attr:`channels`."""
        return [values]

    @abstractmethod
    def encode(
        self, values: NDArray, chunk: tuple[int, ...], resources: Resources, first_frame: int = 0
    ) -> bytes:
        """Encode a chunk of values ``(t, ..., H, W)``, ``1 <= t <= chunk[0]``, to the bytes of its file.

        With buffers in ``resources``, a layout may return a memoryview of a buffer; the caller gives it back.
        """

    def check(self, bounds: Extent) -> tuple[int, int]:
        """Return the least code of a chunk with these bounds and the width of its codes; 0, 0 without codes.

        Raises
        ------
        InvalidInputError
            :meth:`encode` would refuse the chunk; the message says why.
        """
        return 0, 0

    def encode_raw(self, values: NDArray, chunk: tuple[int, ...], first_frame: int = 0) -> bytes:
        """Return the bytes of the file of a chunk that :meth:`encode` refuses, with exact values."""
        raise InvalidInputError(
            f"layout {self.encoding.layout!r} cannot store values that it cannot quantize; use layout "
            "'compact' or 'lossless'"
        )

    @abstractmethod
    def decode(
        self, data: bytes, part: ChunkPart, what: Values, split: Split = WHOLE, *, out: NDArray | None = None
    ) -> NDArray:
        """Decode all rows of the frames of a part.

        Parameters
        ----------
        data : bytes
        part : ChunkPart
        what : str or dtype
            ``"stabilized"``, or the dtype of values in the movie's units.
        out : ndarray, optional
            Contiguous array of the right dtype that receives the frames.
        split : Split
            How the work on the chunk is split where other chunks do not keep all threads busy.
        """

    def decode_part(
        self, data: bytes, part: ChunkPart, what: Values, split: Split = WHOLE, *, out: NDArray | None = None
    ) -> NDArray:
        """Decode like :meth:`decode`, at the least cost; only the rows of the part are defined.

        Only the decompressed parts of a compact chunk are checked, so ``data`` must have passed the checksum
        of its file.
        """
        return self.decode(data, part, what, split, out=out)

    @abstractmethod
    def decode_rows(self, data: bytes, part: ChunkPart, whats: Sequence[Values]) -> list[NDArray]:
        """Decode the rows of a part on the CPU, opening the chunk once for several kinds of values.

        Returns one array ``(frames, rows, columns)`` for each of ``whats``. As for :meth:`decode_part`,
        ``data`` must have passed the checksum of its file.
        """

    def decode_on_gpu(self, data: bytes, part: ChunkPart, what: Values, split: Split = WHOLE) -> Any:
        """Decode like :meth:`decode`, to an array on the backend's first GPU."""
        gpu = self._gpu()
        decoded = self.decode(data, part, what, split)
        return gpu.upload(decoded, gpu.lanes[0].number)

    def _gpu(self) -> GpuCoder:
        """Return the devices of the backend; raise InvalidInputError if it has none."""
        if self.backend.gpu is None:
            raise InvalidInputError(f"backend {self.backend.name!r} has no GPU; use backend='cupy'")
        return self.backend.gpu

    def chunk_frames(self, requested: int | None, shape: tuple[int, ...]) -> int:
        """Return the frames per chunk: as requested, or else 100 or as many as fit one Blosc frame.

        A movie with fewer frames has one chunk.
        """
        frame = math.prod(shape[1:]) * self.itemsize
        most = (MAX_BYTES - 4096) // frame
        if most < 1:
            raise InvalidInputError(
                f"one frame of shape {shape[1:]} takes {frame:,} bytes; a chunk has at most {MAX_BYTES:,}"
            )
        if requested is None:
            return min(100, most, shape[0])
        if isinstance(requested, bool) or not isinstance(requested, (int, np.integer)) or requested < 1:
            raise InvalidInputError(f"chunk_frames is {requested!r}; a whole number of at least 1 is needed")
        if requested > most and min(int(requested), shape[0]) > most:
            raise InvalidInputError(
                f"chunk_frames is {requested}; frames of shape {shape[1:]} allow at most {most} (Blosc "
                f"holds 2 GiB)"
            )
        return min(int(requested), shape[0])
