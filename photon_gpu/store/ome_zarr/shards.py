"""Shards of Zarr v3: chunks back to back, and at the end an index with its own checksum."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import google_crc32c
import numpy as np

from photon_gpu.errors import CorruptDataError
from photon_gpu.store.chunk_grid import ChunkGrid, chunk_number

SHARD_BYTES = 250_000_000
"""Least raw bytes of a shard, unless the movie is shorter or one chunk has more."""

MOST_PER_SHARD = 1 << 24
"""Most chunks of a shard."""

_ABSENT = (1 << 64) - 1
INDEX_ENTRY_BYTES, _CRC_BYTES = 16, 4


@dataclass(frozen=True)
class ShardGrid(ChunkGrid):
    """The division of a movie into shards of whole chunks, along time.

    Attributes
    ----------
    shape, chunks : tuple of int
        See :class:`~photon_gpu.store.chunk_grid.ChunkGrid`.
    per_shard : int
        Chunks of a shard; the last may hold fewer.

    Examples
    --------
    >>> grid = ShardGrid((25, 8, 8), (10, 8, 8), 2)
    >>> grid.shard_name(2), grid.shard_of(grid.shard_name(2)), grid.numbers(1)
    ('c/1/0/0', 1, range(2, 3))
    """

    per_shard: int

    @classmethod
    def of(cls, shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int) -> ShardGrid:
        """Choose the number of chunks of a shard for raw values of ``itemsize`` bytes."""
        recorded = cls.recorded(shape, chunks, itemsize)
        return replace(recorded, per_shard=min(recorded.chunk_count, recorded.per_shard))

    @classmethod
    def recorded(cls, shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int) -> ShardGrid:
        """Choose the number of chunks of a shard for a movie that grows."""
        whole = -(-SHARD_BYTES // (math.prod(chunks) * itemsize))
        return cls(shape, chunks, min(whole, MOST_PER_SHARD))

    def shard_name(self, chunk: int) -> str:
        """Return the name of the shard of a chunk, within the folder of the array."""
        return "/".join(["c", str(chunk // self.per_shard), *["0"] * (len(self.chunks) - 1)])

    def shard_of(self, name: str) -> int | None:
        """Return the number of the shard of this name; None if no shard of the movie has it."""
        parts = name.split("/")
        if len(parts) < 2 or not parts[1].isdecimal() or len(parts[1]) > 17:
            return None
        number = int(parts[1])
        right = (
            number * self.per_shard < self.chunk_count and self.shard_name(number * self.per_shard) == name
        )
        return number if right else None

    def numbers(self, shard: int) -> range:
        """Return the numbers of the chunks of a shard."""
        first = shard * self.per_shard
        return range(first, min(first + self.per_shard, self.chunk_count))

    @property
    def shard_count(self) -> int:
        """Number of shards."""
        return -(-self.chunk_count // self.per_shard)

    def sizes(self, shard: int, files: Mapping[str, Sequence[Any]]) -> list[int]:
        """Return the sizes of the chunks of a shard by their manifest entries; empty if one is not listed."""
        sizes = []
        for number in self.numbers(shard):
            if (entry := files.get(self.chunk_name(number))) is None:
                return []  # at the first, since metadata may state any number of chunks
            sizes.append(entry[0])
        return sizes

    def shards_with(self, names: Iterable[str]) -> list[int]:
        """Return the numbers of the shards that hold chunks of these names."""
        numbers = {number for name in names if (number := chunk_number(name)) is not None}
        return sorted({number // self.per_shard for number in numbers if number < self.chunk_count})

    @property
    def index_bytes(self) -> int:
        """Bytes of the index at the end of each shard."""
        return INDEX_ENTRY_BYTES * self.per_shard + _CRC_BYTES


def pack_index(sizes: Sequence[int], per_shard: int) -> bytes:
    """Return the index of a shard whose first chunks have these sizes and lie back to back.

    >>> from numpy import frombuffer
    >>> frombuffer(pack_index([5, 7], 2)[:-4], "<u8").tolist()
    [0, 5, 5, 7]
    """
    entries = np.full((per_shard, 2), _ABSENT, "<u8")
    entries[: len(sizes), 1] = sizes
    entries[: len(sizes), 0] = np.cumsum([0, *sizes[:-1]])
    data = entries.tobytes()
    return data + int(google_crc32c.value(data)).to_bytes(_CRC_BYTES, "little")


def places(sizes: Sequence[int]) -> list[tuple[int, int] | None]:
    """Return offset and size of chunks of these sizes that lie back to back.

    >>> places([5, 7])
    [(0, 5), (5, 7)]
    """
    return list(zip(accumulate(sizes, initial=0), sizes, strict=False))


def unpack_index(data: bytes, grid: ShardGrid, name: str) -> list[tuple[int, int] | None]:
    """Return offset and size of each chunk of a shard, None for one that it does not hold.

    Raises
    ------
    CorruptDataError
        The index is too short, or its checksum is wrong.
    """
    body = data[:-_CRC_BYTES]
    if len(data) != grid.index_bytes or data[-_CRC_BYTES:] != int(google_crc32c.value(body)).to_bytes(
        _CRC_BYTES, "little"
    ):
        raise CorruptDataError(f"{name}: the index of the shard is cut off or was altered")
    entries = np.frombuffer(body, "<u8").reshape(-1, 2).tolist()
    return [None if offset == _ABSENT and size == _ABSENT else (offset, size) for offset, size in entries]
