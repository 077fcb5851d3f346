"""Layouts of movies whose channels have a noise model each (formats 1.1, 2.5 and 3.1).

A chunk holds all channels of its frames. ``plain`` and ``lossless`` chunks store labels and values in the
order of the array, so other readers see nothing new. A ``compact`` chunk holds one payload per channel.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec import blosc
from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.header import Header, most_bytes, unpack
from photon_gpu.engine.codec.requested_part import STABILIZED, ChunkPart, Values
from photon_gpu.engine.codec.residual_bands import Memory, new_bytes
from photon_gpu.engine.layouts.base import Layout, stored_rows
from photon_gpu.engine.layouts.channel_payloads import ChannelTable, join, read_table, table_bytes
from photon_gpu.engine.layouts.compact import Compact
from photon_gpu.engine.layouts.lossless import Lossless
from photon_gpu.engine.layouts.plain import Plain
from photon_gpu.engine.layouts.sealed_blosc_layout import SealedFrames
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.engine.runtime.pool import WHOLE, Split
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import CorruptDataError, InvalidInputError

Fill = Callable[[int, NDArray[np.float64]], None]


@dataclass(frozen=True)
class ChannelAxis:
    """The position of the channels within a chunk.

    Attributes
    ----------
    axis : int
    count : int

    Examples
    --------
    >>> channels = ChannelAxis(1, 2)
    >>> channels.one((10, 2, 4, 8)), channels.all((10, 4, 8))
    ((10, 4, 8), (10, 2, 4, 8))
    >>> list(channels.runs((10, 2, 4, 8), 20, 60))  # samples 20:60 of the chunk
    [(0, 20, 12), (1, 0, 28)]
    >>> channels.rows((10, 2, 4, 8), 1, (1, 3))
    [(5, 7)]
    """

    axis: int
    count: int

    def one(self, chunk: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one channel of a chunk."""
        if self.axis > len(chunk) - 3 or chunk[self.axis] != self.count:
            raise CorruptDataError(
                f"a chunk of shape {chunk} does not have {self.count} channels along axis {self.axis}"
            )
        return chunk[: self.axis] + chunk[self.axis + 1 :]

    def all(self, chunk: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a chunk from the shape of one of its channels."""
        return (*chunk[: self.axis], self.count, *chunk[self.axis :])

    def of(self, values: Any, channel: int) -> Any:
        """Return the values of one channel without a copy."""
        return values[(*[slice(None)] * self.axis, channel)]

    def run_rows(self, chunk: tuple[int, ...]) -> int:
        """Return how many rows of a channel follow each other in a chunk."""
        return math.prod(chunk[self.axis + 1 : -1])

    def runs(self, chunk: tuple[int, ...], start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Cut samples ``start:stop`` of a chunk by channel; yield channel, first sample and number."""
        run = self.run_rows(chunk) * chunk[-1]
        while start < stop:
            block, inside = divmod(start, run)
            size = min(run - inside, stop - start)
            yield block % self.count, block // self.count * run + inside, size
            start += size

    def rows(self, chunk: tuple[int, ...], channel: int, rows: tuple[int, int]) -> list[tuple[int, int]]:
        """Return where ``rows`` of a channel's frame are in the chunk's frame, as ranges ``(first, end)``."""
        run = self.run_rows(chunk)
        ranges = []
        row = rows[0]
        while row < rows[1]:
            block, inside = divmod(row, run)
            size = min(run - inside, rows[1] - row)
            first = (block * self.count + channel) * run + inside
            ranges.append((first, first + size))
            row += size
        return ranges


class _Channels(Layout):
    """Base class of the layouts for several channels."""

    def __init__(self, encoding: Encoding, backend: Backend) -> None:
        super().__init__(encoding, backend)
        self.axis = ChannelAxis(encoding.channel_axis, len(encoding.channels))
        self._channels = tuple(self._channel(number) for number in range(self.axis.count))

    @abstractmethod
    def _channel(self, number: int) -> Layout:
        """Return the layout of one channel."""

    @property
    def channels(self) -> tuple[Layout, ...]:
        """See the base class."""
        return self._channels

    def channel_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See the base class."""
        return self.axis.one(shape)

    def split(self, values: NDArray) -> list[NDArray]:
        """See the base class; each is contiguous."""
        parts = [self.axis.of(values, number) for number in range(self.axis.count)]
        # Frames on a GPU are copied on the GPU, by their ``copy`` method.
        return [np.ascontiguousarray(one) if isinstance(one, np.ndarray) else one.copy() for one in parts]

    def decode_on_gpu(self, data: bytes, part: ChunkPart, what: Values, split: Split = WHOLE) -> Any:
        """See the base class. Chunks are decoded on the host, and copied to the GPU."""
        return Layout.decode_on_gpu(self, data, part, what, split)


class PlainChannels(_Channels, Plain):
    """Layout plain of channels with a noise model each, format 1.1, or 1.2 with clipping levels."""

    @property
    def version(self) -> str:  # type: ignore[override]
        """1.2 if a channel has clipping levels, else 1.1."""
        return "1.2" if self.encoding.clipped else "1.1"

    def _channel(self, number: int) -> Layout:
        return _PlainChannel(self.encoding.channels[number], self.backend, self.axis, number)

    def labelled(self, values: NDArray, first_frame: int, stages: Stages, split: Split = WHOLE) -> Fill:
        """See the base class; samples are numbered within their channel."""
        shape = tuple(values.shape)
        self.axis.one(shape)
        fills = []
        for layout, part in zip(self._channels, self.split(values), strict=True):
            assert isinstance(layout, Plain)
            fills.append(layout.labelled(part, first_frame, stages, split))

        def fill(start: int, out: NDArray[np.float64]) -> None:
            done = 0
            for channel, first, size in self.axis.runs(shape, start, start + out.size):
                fills[channel](first, out[done : done + size])
                done += size

        return fill

    def decode_part(
        self, data: bytes, part: ChunkPart, what: Values, split: Split = WHOLE, *, out: NDArray | None = None
    ) -> NDArray:
        """See the base class."""
        return _PlainOfShape(self, part.chunk).decode_part(data, part, what, split, out=out)

    def decode_rows(self, data: bytes, part: ChunkPart, whats: Sequence[Values]) -> list[NDArray]:
        """See the base class."""
        return _PlainOfShape(self, part.chunk).decode_rows(data, part, whats)


class _PlainOfShape(Plain):
    """Layout plain of several channels, for chunks of one shape; it finds the channel of each sample."""

    def __init__(self, layout: PlainChannels, chunk: tuple[int, ...]) -> None:
        super().__init__(layout.encoding, layout.backend)
        layout.axis.one(chunk)
        self._parts, self._axis, self._chunk = layout.channels, layout.axis, chunk

    def render(
        self, labels: NDArray[np.float64], first: int, out: NDArray, what: Values, *, stride: int = 0
    ) -> None:
        """See the base class."""
        frames = len(labels) if labels.ndim > 1 else 1
        stored, target = labels.reshape(frames, -1), out.reshape(frames, -1)
        for frame in range(frames):
            begin, done = first + frame * stride, 0
            for channel, sample, size in self._axis.runs(self._chunk, begin, begin + stored.shape[1]):
                part = self._parts[channel]
                assert isinstance(part, Plain)
                part.render(
                    stored[frame, done : done + size], sample, target[frame, done : done + size], what
                )
                done += size


class LosslessChannels(_Channels, Lossless):
    """Layout lossless of channels with a noise model each, format 3.1: only stabilized values use them."""

    version = "3.1"

    def _channel(self, number: int) -> Layout:
        return _LosslessChannel(self.encoding.channels[number], self.backend, self.axis, number)

    def decode_rows(self, data: bytes, part: ChunkPart, whats: Sequence[Values]) -> list[NDArray]:
        """See the base class."""
        if STABILIZED not in whats:
            return Lossless.decode_rows(self, data, part, whats)
        return [_rows_of(self.decode(data, part, what), part) for what in whats]

    def converted(self, values: NDArray, what: Values) -> NDArray:
        """See the base class."""
        if what != STABILIZED:
            return Lossless.converted(self, values, what)
        out = np.empty(values.shape, np.float64)
        for number, layout in enumerate(self._channels):
            assert isinstance(layout, Lossless)
            self.axis.of(out, number)[...] = layout.converted(self.axis.of(values, number), what)
        return out


class CompactChannels(_Channels, Compact):
    """Layout compact of channels with a noise model each, format 2.5 to 2.7: a payload per channel."""

    @property
    def version(self) -> str:  # type: ignore[override]
        """2.7 if a channel has photon peaks, 2.6 if one has clipping levels, else 2.5."""
        if self.encoding.peaked:
            return "2.7"
        return "2.6" if self.encoding.clipped else "2.5"

    def _channel(self, number: int) -> Layout:
        return _CompactChannel(self.encoding.channels[number], self.backend, self.axis, number)

    def payload(
        self,
        values: NDArray,
        chunk: tuple[int, ...],
        resources: Resources,
        first_frame: int = 0,
        *,
        memory: Memory = new_bytes,
    ) -> NDArray[np.uint8]:
        """See the base class; ``memory`` is not used, because there are several payloads."""
        one = self.axis.one(chunk)
        parts = zip(self._each(), self.split(values), strict=True)
        payloads = [layout.payload(part, one, resources, first_frame) for layout, part in parts]
        return join(payloads, self.axis.run_rows(chunk))

    def raw_payload(self, values: NDArray, chunk: tuple[int, ...], first_frame: int) -> NDArray[np.uint8]:
        """See the base class. Only the channels that cannot be quantized are stored exactly."""
        one, payloads = self.axis.one(chunk), []
        for layout, part in zip(self._each(), self.split(values), strict=True):
            try:
                payloads.append(layout.payload(part, one, Resources(), first_frame))
            except InvalidInputError:
                payloads.append(layout.raw_payload(part, one, first_frame))
        return join(payloads, self.axis.run_rows(chunk))

    def decode(
        self, data: bytes, part: ChunkPart, what: Values, split: Split = WHOLE, *, out: NDArray | None = None
    ) -> NDArray:
        """See the base class."""
        one = replace(part, chunk=self.axis.one(part.chunk))
        payload = self._payload(data, part.chunk, split)
        if out is None:
            out = part.empty(what)
        table = check_table(payload, self.axis, part.chunk)
        for channel, layout in enumerate(self._each()):
            values = layout.decode_payload(payload[table.spans[channel]], one, what, split)
            self.axis.of(out, channel)[...] = values
        return out

    def decode_part(
        self, data: bytes, part: ChunkPart, what: Values, split: Split = WHOLE, *, out: NDArray | None = None
    ) -> NDArray:
        """See the base class."""
        if self.backend.gpu is not None:
            return self.decode(data, part, what, split, out=out)
        if out is None:
            out = part.empty(what)
        blocks, one = self._blocks(data, part.chunk, split), self.axis.one(part.chunk)
        for channel, layout in enumerate(self._each()):
            rows = self._rows_of(channel, part.chunk, part.row_range)
            if rows is not None:
                payload = part_of(blocks, self.axis, part.chunk, channel)
                wanted = replace(part, chunk=one, rows=rows)
                self.axis.of(out, channel)[...] = layout.decode_blocks(payload, wanted, what, split)
        return out

    def decode_rows(self, data: bytes, part: ChunkPart, whats: Sequence[Values]) -> list[NDArray]:
        """See the base class."""
        return [_rows_of(self.decode_part(data, part, what), part) for what in whats]

    def headers(self, data: bytes, chunk: tuple[int, ...]) -> list[Header]:
        """See the base class."""
        payload = self._payload(data, chunk)
        return [unpack(payload[span])[0] for span in check_table(payload, self.axis, chunk).spans]

    def _each(self) -> tuple[_CompactChannel, ...]:
        return tuple(layout for layout in self._channels if isinstance(layout, _CompactChannel))

    def _rows_of(self, channel: int, chunk: tuple[int, ...], rows: tuple[int, int]) -> tuple[int, int] | None:
        """Return the first and end row of a channel's frame that are among these rows of a chunk's frame."""
        run, (first, end) = self.axis.run_rows(chunk), rows
        blocks = range(first // run, (end - 1) // run + 1)
        mine = [block for block in blocks if block % self.axis.count == channel]
        if not mine or first >= end:
            return None
        low = mine[0] // self.axis.count * run + max(first - mine[0] * run, 0)
        high = mine[-1] // self.axis.count * run + min(end - mine[-1] * run, run)
        return low, high

    def _size(self, data: bytes, chunk: tuple[int, ...]) -> int:
        return joined_size(data, chunk, self.axis, self.dtype.itemsize)


class _CompactChannel(Compact):
    """One channel of a compact movie with several channels."""

    one_payload = False

    def __init__(self, encoding: Encoding, backend: Backend, axis: ChannelAxis, channel: int) -> None:
        super().__init__(encoding, backend)
        self._axis, self._number = axis, channel

    def on(self, backend: Backend) -> Layout:
        """See the base class."""
        return type(self)(self.encoding, backend, self._axis, self._number)

    def _payload(self, data: bytes, chunk: tuple[int, ...], split: Split = WHOLE) -> NDArray[np.uint8]:
        payload = super()._payload(data, chunk, split)
        return payload[check_table(payload, self._axis, self._axis.all(chunk)).spans[self._number]]

    def _blocks(
        self, data: bytes, chunk: tuple[int, ...], split: Split = WHOLE
    ) -> blosc.Blocks | blosc.BlocksPart:
        return part_of(super()._blocks(data, chunk, split), self._axis, self._axis.all(chunk), self._number)

    def _size(self, data: bytes, chunk: tuple[int, ...]) -> int:
        return joined_size(data, self._axis.all(chunk), self._axis, self.dtype.itemsize)


class _StoredChannel(SealedFrames):
    """One channel of a movie whose chunks store an array of labels or values."""

    def __init__(self, encoding: Encoding, backend: Backend, axis: ChannelAxis, channel: int) -> None:
        super().__init__(encoding, backend)
        self._axis, self._number = axis, channel

    def on(self, backend: Backend) -> Layout:
        """See the base class."""
        return type(self)(self.encoding, backend, self._axis, self._number)

    @abstractmethod
    def shown(self, stored: NDArray, first: int, stride: int, what: Values) -> NDArray:
        """Decode stored values ``(frames, rows, columns)``, of which the first is sample ``first``."""

    def decode_rows(self, data: bytes, part: ChunkPart, whats: Sequence[Values]) -> list[NDArray]:
        """See the base class."""
        self.check_origin(data, part.number)
        whole = replace(part, chunk=self._axis.all(part.chunk))
        pieces = [
            stored_rows(data, replace(whole, rows=rows), self.dtype)
            for rows in self._axis.rows(whole.chunk, self._number, part.row_range)
        ]
        stored = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)
        return [self.shown(stored, part.first_sample, part.frame_size, what) for what in whats]

    def decode(
        self, data: bytes, part: ChunkPart, what: Values, split: Split = WHOLE, *, out: NDArray | None = None
    ) -> NDArray:
        """See the base class."""
        return self.decode_part(data, replace(part, rows=None), what, split, out=out)

    def decode_part(
        self, data: bytes, part: ChunkPart, what: Values, split: Split = WHOLE, *, out: NDArray | None = None
    ) -> NDArray:
        """See the base class."""
        (decoded,) = self.decode_rows(data, part, [what])
        if out is None:
            out = np.empty(part.shape, decoded.dtype)
        out.reshape(part.frames, -1, part.chunk[-1])[:, slice(*part.row_range)] = decoded
        return out


class _PlainChannel(_StoredChannel, Plain):
    """One channel of a plain movie with several channels."""

    def shown(self, stored: NDArray, first: int, stride: int, what: Values) -> NDArray:
        """See the base class."""
        flat = stored.reshape(len(stored), -1)
        out = flat.copy() if what == STABILIZED else np.empty(flat.shape, np.dtype(what))
        self.render(flat, first, out, what, stride=stride)
        return out.reshape(stored.shape)

    def decode_on_gpu(self, *arguments: Any, **more: Any) -> Any:
        """See the base class. Chunks are decoded on the host, and copied to the GPU."""
        return Layout.decode_on_gpu(self, *arguments, **more)


class _LosslessChannel(_StoredChannel, Lossless):
    """One channel of a lossless movie with several channels."""

    def shown(self, stored: NDArray, first: int, stride: int, what: Values) -> NDArray:
        """See the base class."""
        return self.converted(stored, what)


def _rows_of(decoded: NDArray, part: ChunkPart) -> NDArray:
    """Copy the rows of a part from its decoded frames."""
    return decoded.reshape(part.frames, -1, part.chunk[-1])[:, slice(*part.row_range)].copy()


def check_table(payload: NDArray[np.uint8], axis: ChannelAxis, chunk: tuple[int, ...]) -> ChannelTable:
    """Read the table of a payload; raise CorruptDataError if it does not match the chunk's shape."""
    table = read_table(payload)
    if len(table.spans) != axis.count or table.rows != axis.run_rows(chunk):
        raise CorruptDataError(
            f"a chunk holds {len(table.spans)} channels of {table.rows} rows; this movie has {axis.count} of "
            f"{axis.run_rows(chunk)}"
        )
    return table


def part_of(blocks: Any, axis: ChannelAxis, chunk: tuple[int, ...], channel: int) -> blosc.BlocksPart:
    """Return the payload of one channel; only the parts that are read are decompressed."""
    blocks.open([slice(0, min(table_bytes(axis.count), blocks.data.size))])
    span = check_table(blocks.data, axis, chunk).spans[channel]
    return blosc.BlocksPart(blocks, span.start, span.stop)


def joined_size(data: bytes, chunk: tuple[int, ...], axis: ChannelAxis, itemsize: int) -> int:
    """Return the decompressed size of a chunk; raise CorruptDataError if it is too large for the shape."""
    nbytes, _ = blosc.frame_sizes(data)
    most = table_bytes(axis.count) + axis.count * (most_bytes(axis.one(chunk), itemsize) + 8)
    if nbytes > most:
        raise CorruptDataError(
            f"a chunk decompresses to {nbytes:,} bytes; a chunk of shape {chunk} has at most {most:,}"
        )
    return nbytes
