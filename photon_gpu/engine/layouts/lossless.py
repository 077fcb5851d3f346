"""Layout lossless: exact values, compressed by Blosc, if the noise cannot be modelled (3.0 and 3.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.blosc import compress, compress_blocks, decompress_span
from photon_gpu.engine.codec.blosc import decompress as open_frame
from photon_gpu.engine.codec.requested_part import STABILIZED, ChunkPart, Values
from photon_gpu.engine.layouts.base import copied_to, stored_rows
from photon_gpu.engine.layouts.sealed_blosc_layout import SealedFrames
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.engine.runtime.pool import WHOLE, Split
from photon_gpu.errors import InvalidInputError


class Lossless(SealedFrames):
    """Layout lossless, format 3.0; any Zarr reader sees the movie bit for bit, including NaN."""

    version = "3.0"
    seal_version = (3, 2)

    @property
    def itemsize(self) -> int:  # type: ignore[override]
        """Bytes per sample."""
        return self.dtype.itemsize

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the movie, little-endian."""
        return np.dtype(self.encoding.dtype).newbyteorder("<")

    def encode(
        self, values: NDArray, chunk: tuple[int, ...], resources: Resources, first_frame: int = 0
    ) -> bytes:
        """See the base class."""
        if not isinstance(values, np.ndarray):
            raise InvalidInputError(
                "layout 'lossless' stores raw frames, but these frames are on a GPU and are not copied "
                "from it automatically: pass frames.get(), or use layout 'plain' or 'compact'"
            )
        flat = np.ascontiguousarray(values).reshape(-1)
        total = math.prod(chunk)

        def block(start: int, stop: int) -> NDArray:
            if stop <= flat.size:
                return flat[start:stop]
            out = np.zeros(stop - start, flat.dtype)
            out[: max(flat.size - start, 0)] = flat[start:]
            return out

        split, seal = resources.split.timed(resources.stages, "compress"), self.seal(chunk, first_frame)
        if flat.size == total:
            return compress(flat, self.encoding.compressor, split, resources.buffers, seal)
        return compress_blocks(block, total, self.itemsize, self.encoding.compressor, split, seal)

    def decode(
        self, data: bytes, part: ChunkPart, what: Values, split: Split = WHOLE, *, out: NDArray | None = None
    ) -> NDArray:
        """See the base class."""
        self.check_origin(data, part.number)
        frame = part.frame_size * self.itemsize
        if part.frames == part.chunk[0]:
            as_they_are = out is not None and out.dtype == self.dtype and what != STABILIZED
            into = out.reshape(-1).view(np.uint8) if out is not None and as_they_are else None
            raw = open_frame(data, frame * part.chunk[0], split, into)
            if into is not None:
                return into.view(self.dtype).reshape(part.chunk)
        else:
            raw = decompress_span(data, part.start * frame, part.end * frame)
        values = raw.view(self.dtype).reshape(part.shape)
        converted = self.converted(values, what)
        return converted if out is None else copied_to(converted, out)

    def converted(self, values: NDArray, what: Values) -> NDArray:
        """Return stored values, stabilized or as another dtype."""
        if what != STABILIZED:
            return values.astype(np.dtype(what), copy=False)
        if self.encoding.noise is None:
            raise InvalidInputError(
                "this movie was stored losslessly without a noise model, so it has no stabilized values; "
                "read movie.counts[...], or pass a noise model to photon_gpu.anscombe"
            )
        return anscombe(values, self.encoding.noise)

    def decode_rows(self, data: bytes, part: ChunkPart, whats: Sequence[Values]) -> list[NDArray]:
        """See the base class."""
        self.check_origin(data, part.number)
        values = stored_rows(data, part, self.dtype)
        return [self.converted(values, what) for what in whats]
