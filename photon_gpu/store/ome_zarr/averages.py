"""Average stored frames over squares of pixels, and write the shards of pyramid levels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.blosc import Compressor, compress
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.requested_part import ChunkPart
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.anscombe import anscombe, stabilized_floor
from photon_gpu.store import manifest
from photon_gpu.store.metadata import Description
from photon_gpu.store.ome_zarr.metadata import level_json
from photon_gpu.store.ome_zarr.pyramid_levels import Pyramid
from photon_gpu.store.ome_zarr.shards import pack_index
from photon_gpu.store.storage import Storage

_COMPRESSOR = Compressor()
_FRAMES_AT_ONCE = 8  # few enough to stay in the cache of a core
_DITHER = (np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) + 0.5) / 16.0
"""What is added before rounding down, by row and column, so that dark regions keep their mean light."""

Run = Callable[[Callable[[int], list[bytes]], Iterable[int]], Iterable[list[bytes]]]
"""``map``, or what runs calls in several threads and returns the results in order."""


class Averages:
    """Makes the files of the levels from the stored chunks of level 0.

    Parameters
    ----------
    storage : Storage
    description : Description
    pyramid : Pyramid
    files : dict, optional
        Manifest entries of the chunks, each of which is compared with its own.
    """

    def __init__(
        self,
        storage: Storage,
        description: Description,
        pyramid: Pyramid,
        files: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        self.pyramid = pyramid
        self._storage, self._description, self._files = storage, description, files
        self._layout = layout_for(description.encoding, get_backend("auto"))
        counts = np.dtype(description.encoding.dtype)
        self._dtype = np.dtype(np.float64) if description.encoding.layout == "plain" else counts

    def metadata(self) -> dict[str, bytes]:
        """Return ``zarr.json`` of each level, by its path below the group."""
        names = self._description.attributes.get("_ARRAY_DIMENSIONS")
        return {
            f"{number}/zarr.json": level_json(
                self.pyramid.level(number), self._dtype, _COMPRESSOR.to_dict(), names
            )
            for number in self.pyramid.numbers
        }

    def shard(self, number: int, run: Run = map) -> dict[str, bytes]:
        """Return the shards of this number of all levels, by their paths below the group."""
        grid = self.pyramid.base
        chunks = list(run(self._chunk, grid.numbers(number)))
        shards = {}
        for name, pieces in zip(self.pyramid.files_of(number), zip(*chunks, strict=True), strict=True):
            index = pack_index([len(piece) for piece in pieces], grid.per_shard)
            shards[name] = b"".join([*pieces, index])
        return shards

    def _chunk(self, number: int) -> list[bytes]:
        """Return the chunk of this number of each level, compressed."""
        description = self._description
        name, span = description.chunk_name(number), len(description.frames_of(number))
        data = self._storage.read(name)
        if self._files is not None:
            manifest.check(name, data, {name: list(self._files[name])}, self._storage.url)
        part = ChunkPart(description.chunks, 0, span, number=number)
        counts = self._layout.decode(data, part, np.dtype(description.encoding.dtype))
        levels = [np.zeros(self.pyramid.level(level).chunks, self._dtype) for level in self.pyramid.numbers]
        for start in range(0, span, _FRAMES_AT_ONCE):
            piece = slice(start, min(start + _FRAMES_AT_ONCE, span))
            sums, pixels = counts[piece].astype(np.float64), np.ones(counts.shape[-2:])
            for level, target in zip(self.pyramid.numbers, levels, strict=True):
                sums, pixels = _pairs_added(sums), _pairs_added(pixels)
                means, encoding = sums / pixels, description.encoding
                for own, channel in _by_channel(encoding):
                    target[piece][channel] = _rounded(means[channel], own, level, self._dtype)
        return [bytes(compress(level.reshape(-1), _COMPRESSOR)) for level in levels]


def _by_channel(encoding: Encoding) -> list[tuple[Encoding, Any]]:
    """Return the encoding of each channel that has its own, and the index of its values."""
    before = (slice(None),) * encoding.channel_axis
    channels = [(one, (*before, number)) for number, one in enumerate(encoding.channels)]
    return channels or [(encoding, ...)]


def _pairs_added(values: NDArray) -> NDArray:
    """Add pairs of rows and pairs of columns; a last one without a partner stays as it is."""
    rows = values[..., 0::2, :].copy()
    rows[..., : values.shape[-2] // 2, :] += values[..., 1::2, :]
    sums = rows[..., 0::2].copy()
    sums[..., : values.shape[-1] // 2] += rows[..., 1::2]
    return sums


def _rounded(means: NDArray, encoding: Encoding, level: int, dtype: np.dtype) -> NDArray:
    """Return averages as a level stores them: as coarse, in units of their noise, as level 0.

    The noise of an average of ``4**level`` pixels is ``2**level`` times smaller, and so is the step.
    """
    noise, step = encoding.noise, (encoding.step or 0.0) / (1 << level)
    if encoding.layout == "plain":
        labels = anscombe(means, noise)
        return np.rint(labels / step) * step if step else labels
    if step and noise is not None:
        variance = noise.gain * np.maximum(means - noise.offset, 0.0) + stabilized_floor(noise)
        exponents = np.frexp(step * np.sqrt(variance))[1] - 1  # of the largest power of two in a bin
    else:
        exponents = np.zeros((), np.int32)
    if dtype.kind == "f":
        return np.rint(means / np.ldexp(1.0, exponents)) * np.ldexp(1.0, exponents) if step else means
    width = np.ldexp(1.0, np.maximum(exponents, 0))
    rows, columns = means.shape[-2:]
    pattern = np.tile(_DITHER, (-(-rows // 4), -(-columns // 4)))[:rows, :columns]
    limits = np.iinfo(dtype)
    return np.clip(np.floor(means / width + pattern) * width, limits.min, limits.max)
