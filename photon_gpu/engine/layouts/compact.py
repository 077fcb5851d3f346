"""Layout compact: a Zarr array of the movie's dtype with a filter of predicted codes (2.4 to 2.7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec import blosc
from photon_gpu.engine.codec.backend import GpuCoder
from photon_gpu.engine.codec.chunk import decode, encode, encode_raw
from photon_gpu.engine.codec.chunk_plan import code_span
from photon_gpu.engine.codec.encoding import filter_config
from photon_gpu.engine.codec.header import Header, most_bytes, unpack
from photon_gpu.engine.codec.partial_decode import decode_part, decode_rows
from photon_gpu.engine.codec.quantize import Extent
from photon_gpu.engine.codec.requested_part import ChunkPart, Values
from photon_gpu.engine.codec.residual_bands import Memory, new_bytes
from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.engine.runtime.pool import WHOLE, Split
from photon_gpu.engine.runtime.scratch import scratch
from photon_gpu.errors import CorruptDataError


class Compact(Layout):
    """Layout compact, format 2.4 to 2.7; any Zarr reader in Python sees counts if photon_gpu is installed."""

    one_payload = True
    """Whether a frame holds nothing but the payload of this layout."""

    @property
    def version(self) -> str:  # type: ignore[override]
        """2.7 with photon peaks, 2.6 with clipping levels, 2.4 if chunks carry their number, else 2.1 or 2.2.

        A chunk of exact values (2.3) states its own version, since the metadata are written before it.
        """
        if self.encoding.peaked:
            return "2.7"
        if self.encoding.clipped:
            return "2.6"
        if self.encoding.movie_id is not None:
            return "2.4"
        return "2.2" if self.encoding.predictor.coded else "2.1"

    @property
    def itemsize(self) -> int:  # type: ignore[override]
        """Bytes per sample of the widest codes, or of the values that Zarr readers get, if wider."""
        return max(4, np.dtype(self.encoding.dtype).itemsize)

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the movie, little-endian."""
        return np.dtype(self.encoding.dtype).newbyteorder("<")

    @property
    def filters(self) -> list[dict[str, Any]]:
        """One filter, :class:`photon_gpu.plugins.numcodecs_photon.Photon`, with its parameters."""
        return [filter_config(self.encoding)]

    def encode(
        self, values: NDArray, chunk: tuple[int, ...], resources: Resources, first_frame: int = 0
    ) -> bytes:
        """See the base class."""
        if self.backend.gpu is not None and self.channels == (self,):
            return self.backend.gpu.encode_frame(
                values, chunk, self.encoding, resources, first_frame=first_frame
            )
        payload = self.payload(values, chunk, resources, first_frame, memory=_scratch)
        split = resources.split.timed(resources.stages, "compress")
        return blosc.compress_bytes(payload, self.encoding.compressor, split, resources.buffers)

    def payload(
        self,
        values: NDArray,
        chunk: tuple[int, ...],
        resources: Resources,
        first_frame: int = 0,
        *,
        memory: Memory = new_bytes,
    ) -> NDArray[np.uint8]:
        """Encode the payload of a chunk, before Blosc, in ``memory``."""
        if self.backend.gpu is not None:
            encoded: NDArray[np.uint8] = self.backend.gpu.encode(
                values, chunk, self.encoding, first_frame=first_frame, stages=resources.stages
            )
            return encoded
        return encode(
            values,
            chunk,
            self.encoding,
            self.backend,
            first_frame=first_frame,
            split=resources.split,
            stages=resources.stages,
            memory=memory,
        )

    def check(self, bounds: Extent) -> tuple[int, int]:
        """See the base class."""
        return code_span(self.encoding, bounds)

    def encode_raw(self, values: NDArray, chunk: tuple[int, ...], first_frame: int = 0) -> bytes:
        """See the base class."""
        return blosc.compress_bytes(self.raw_payload(values, chunk, first_frame), self.encoding.compressor)

    def raw_payload(self, values: NDArray, chunk: tuple[int, ...], first_frame: int) -> NDArray[np.uint8]:
        """Encode the payload of a chunk of exact values."""
        return encode_raw(values, chunk, self.encoding, self.backend, first_frame=first_frame)

    def decode(
        self, data: bytes, part: ChunkPart, what: Values, split: Split = WHOLE, *, out: NDArray | None = None
    ) -> NDArray:
        """See the base class."""
        if self.backend.gpu is not None:
            decoded: NDArray = self._by_gpu(self.backend.gpu, data, part, what, split, out=out)
            return decoded
        return self.decode_payload(self._payload(data, part.chunk, split), part, what, split, out=out)

    def decode_payload(
        self,
        payload: NDArray[np.uint8],
        part: ChunkPart,
        what: Values,
        split: Split = WHOLE,
        *,
        out: NDArray | None = None,
    ) -> NDArray:
        """Decode all rows of the frames of a part of a payload."""
        if self.backend.gpu is not None:
            decoded: NDArray = self.backend.gpu.decode(payload, part, self.encoding, what=what, out=out)
            return decoded
        return decode(payload, part, self.encoding, self.backend, what=what, split=split, out=out)

    def decode_part(
        self, data: bytes, part: ChunkPart, what: Values, split: Split = WHOLE, *, out: NDArray | None = None
    ) -> NDArray:
        """See the base class."""
        if self.backend.gpu is not None or len(part.chunk) < 2:
            return self.decode(data, part, what, split, out=out)
        return self.decode_blocks(self._blocks(data, part.chunk, split), part, what, split, out=out)

    def decode_blocks(
        self,
        blocks: blosc.Blocks | blosc.BlocksPart,
        part: ChunkPart,
        what: Values,
        split: Split = WHOLE,
        *,
        out: NDArray | None = None,
    ) -> NDArray:
        """Decode a part of a payload; only the blocks that it needs are decompressed."""
        return decode_part(blocks, part, self.encoding, self.backend, what=what, run=split.run, out=out)

    def decode_rows(self, data: bytes, part: ChunkPart, whats: Sequence[Values]) -> list[NDArray]:
        """See the base class."""
        return decode_rows(self._blocks(data, part.chunk), part, self.encoding, self.backend, whats)

    def decode_on_gpu(self, data: bytes, part: ChunkPart, what: Values, split: Split = WHOLE) -> Any:
        """See the base class."""
        gpu = self._gpu()
        return self._by_gpu(gpu, data, part, what, split, device=gpu.lanes[0].number)

    def _by_gpu(
        self, gpu: GpuCoder, data: bytes, part: ChunkPart, what: Values, split: Split, **to: Any
    ) -> Any:
        """Decode on a device, which opens the frame itself if it can; ``to`` says where values go."""
        self._size(data, part.chunk)
        decoded = gpu.decode_frame(data, part, self.encoding, what=what, **to) if self.one_payload else None
        if decoded is None:
            payload = self._payload(data, part.chunk, split)
            decoded = gpu.decode(payload, part, self.encoding, what=what, **to)
        return decoded

    def headers(self, data: bytes, chunk: tuple[int, ...]) -> list[Header]:
        """Read the headers of the payloads of a chunk."""
        return [unpack(self._payload(data, chunk))[0]]

    def frames(self, data: bytes, chunk: tuple[int, ...]) -> int:
        """Read the number of frames of a chunk; only a movie's last chunk has fewer than ``chunk[0]``."""
        return self.headers(data, chunk)[0].frames

    def _blocks(
        self, data: bytes, chunk: tuple[int, ...], split: Split = WHOLE
    ) -> blosc.Blocks | blosc.BlocksPart:
        """Return the payload of a chunk; only the parts that are read are decompressed."""
        self._size(data, chunk)
        return blosc.Blocks(data, split.run)

    def _payload(self, data: bytes, chunk: tuple[int, ...], split: Split = WHOLE) -> NDArray[np.uint8]:
        """Decompress the payload of a chunk to scratch memory of the thread; the next chunk overwrites it."""
        size = self._size(data, chunk)
        return blosc.decompress(data, size, split, scratch("payload", (size,), np.uint8))

    def _size(self, data: bytes, chunk: tuple[int, ...]) -> int:
        nbytes, _ = blosc.frame_sizes(data)
        most = most_bytes(chunk, self.dtype.itemsize)
        if nbytes > most:
            raise CorruptDataError(
                f"a chunk decompresses to {nbytes:,} bytes; a chunk of shape {chunk} has at most {most:,}"
            )
        return nbytes


def _scratch(nbytes: int) -> NDArray[np.uint8]:
    return scratch("encoded", (nbytes,), np.uint8)
