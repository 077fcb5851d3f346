"""Base class of codecs that know no movies: a file per chunk, all cores on its frames or the chunks."""

from __future__ import annotations

import itertools
import json
import os
import struct
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.contenders.bases.contender import CHUNK_FRAMES, Contender
from benchmarks.support.generated_movie import Made
from benchmarks.support.s3_folder import Bucket, some_bytes

CORES = len(os.sched_getaffinity(0))
_pool = ThreadPoolExecutor(CORES)


class Files(Contender):
    """Chunks in files of their own; ``facts.json`` says what is in them."""

    remote = streams = True

    def write(self, values: NDArray | Made, noise: pg.NoiseModel, folder: Path) -> None:
        folder.mkdir(parents=True)
        facts = {"shape": values.shape, "dtype": values.dtype.name, "noise": noise.to_dict()}
        (folder / "facts.json").write_text(json.dumps(facts))

        def one(number: int) -> None:
            block = values[number * CHUNK_FRAMES : (number + 1) * CHUNK_FRAMES]
            (folder / str(number)).write_bytes(self.pack(block, noise))

        list(_chunks(one, range(-(-len(values) // CHUNK_FRAMES)), self))

    def read(self, folder: Path | Bucket) -> NDArray:
        return self.part(folder, slice(None))

    def part(self, folder: Path | Bucket, frames: slice) -> NDArray:
        facts = json.loads((folder / "facts.json").read_text())
        begin, end, _ = frames.indices(facts["shape"][0])
        assert begin % CHUNK_FRAMES == 0
        out = np.empty((end - begin, *facts["shape"][1:]), facts["dtype"])

        def one(number: int) -> None:
            target = out[number * CHUNK_FRAMES - begin : (number + 1) * CHUNK_FRAMES - begin]
            target[...] = self.unpack((folder / str(number)).read_bytes(), target.shape, out.dtype, facts)

        list(_chunks(one, range(begin // CHUNK_FRAMES, -(-end // CHUNK_FRAMES)), self))
        return out

    def trace(self, folder: Path | Bucket, rows: slice, columns: slice) -> NDArray:
        facts = json.loads((folder / "facts.json").read_text())
        total, out = facts["shape"][0], np.empty(facts["shape"][0])

        def one(number: int) -> None:
            span = slice(number * CHUNK_FRAMES, min((number + 1) * CHUNK_FRAMES, total))
            shape = (span.stop - span.start, *facts["shape"][1:])
            data = (folder / str(number)).read_bytes()
            frames = self.unpack(data, shape, np.dtype(facts["dtype"]), facts)
            out[span] = frames[:, rows, columns].mean((1, 2))

        list(_chunks(one, range(-(-total // CHUNK_FRAMES)), self))
        return out

    def frame(self, folder: Path | Bucket, number: int) -> NDArray:
        facts = json.loads((folder / "facts.json").read_text())
        first = number // CHUNK_FRAMES * CHUNK_FRAMES
        shape = (min(CHUNK_FRAMES, facts["shape"][0] - first), *facts["shape"][1:])
        data = (folder / str(number // CHUNK_FRAMES)).read_bytes()
        return self.unpack(data, shape, np.dtype(facts["dtype"]), facts)[number - first]

    @abstractmethod
    def pack(self, block: NDArray, noise: pg.NoiseModel) -> bytes:
        """Compress one chunk ``(t, H, W)``."""

    @abstractmethod
    def unpack(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype, facts: dict[str, Any]) -> NDArray:
        """Decompress one chunk to counts."""


class Frames(Files):
    """Chunks of pictures. Each picture is compressed separately, so that it can be read alone."""

    step: float | None = None

    def pack(self, block: NDArray, noise: pg.NoiseModel) -> bytes:
        base, pictures = (0, unsigned(block)) if self.step is None else to_codes(block, noise, self.step)
        packed = list(_pool.map(self.picture, pictures))
        return struct.pack(f"<q{len(packed)}I", base, *map(len, packed)) + b"".join(packed)

    def unpack(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype, facts: dict[str, Any]) -> NDArray:
        base, places = self._places(data, shape[0])
        pictures = np.stack(list(_pool.map(lambda span: self.opened(data[slice(*span)]), places)))
        return self._counts(pictures, base, dtype, facts)

    def frame(self, folder: Path | Bucket, number: int) -> NDArray:
        facts = json.loads((folder / "facts.json").read_text())
        first = number // CHUNK_FRAMES * CHUNK_FRAMES
        frames, file = min(CHUNK_FRAMES, facts["shape"][0] - first), folder / str(number // CHUNK_FRAMES)
        base, places = self._places(some_bytes(file, 0, 8 + 4 * frames), frames)
        picture = self.opened(some_bytes(file, *places[number - first]))
        return self._counts(picture[np.newaxis], base, np.dtype(facts["dtype"]), facts)[0]

    def _places(self, data: bytes, frames: int) -> tuple[int, list[tuple[int, int]]]:
        base, *sizes = struct.unpack_from(f"<q{frames}I", data)
        ends = np.cumsum([8 + 4 * frames, *sizes]).tolist()
        return base, list(itertools.pairwise(ends))

    def _counts(self, pictures: NDArray, base: int, dtype: np.dtype, facts: dict[str, Any]) -> NDArray:
        if self.step is None:
            return signed(pictures, dtype)
        return from_codes(pictures, base, pg.NoiseModel.from_dict(facts["noise"]), self.step, dtype)

    @abstractmethod
    def picture(self, values: NDArray) -> bytes:
        """Compress one frame without loss."""

    @abstractmethod
    def opened(self, data: bytes) -> NDArray:
        """Decompress one frame."""


def _chunks(action: Any, numbers: range, contender: Files) -> Any:
    # Frames fill the cores themselves; a pool in a pool would wait for itself.
    return map(action, numbers) if isinstance(contender, Frames) else _pool.map(action, numbers)


def unsigned(block: NDArray) -> NDArray:
    """Map int16 to uint16 in the same order, because still-picture codecs need uint16."""
    return (block.view(np.uint16) ^ 0x8000) if block.dtype == np.int16 else block


def signed(pictures: NDArray, dtype: np.dtype) -> NDArray:
    """Inverse of :func:`unsigned`."""
    return (pictures ^ 0x8000).view(np.int16) if dtype == np.int16 else pictures.astype(dtype, copy=False)


def to_codes(block: NDArray, noise: pg.NoiseModel, step: float) -> tuple[int, NDArray]:
    """Quantize as photon_gpu does, so that the error is the same: bins of ``step`` sigma, from the lowest."""
    low, high = int(block.min()), int(block.max())
    table = np.rint(pg.anscombe(np.arange(low, high + 1), noise) / step).astype(np.int64)
    base = int(table[0])
    narrow = (table - base).astype(np.uint8 if table[-1] - base < 256 else np.uint16)
    out = np.empty(block.shape, narrow.dtype)
    _look_up(block.reshape(-1), low, narrow, out.reshape(-1))
    return base, out


def from_codes(codes: NDArray, base: int, noise: pg.NoiseModel, step: float, dtype: np.dtype) -> NDArray:
    """Return the count in the middle of each code's bin."""
    info = np.iinfo(dtype)
    middle = pg.inverse_anscombe((np.arange(int(codes.max()) + 1) + base) * step, noise)
    table = np.clip(np.rint(middle), info.min, info.max).astype(dtype)
    out = np.empty(codes.shape, dtype)
    _look_up(np.ascontiguousarray(codes).reshape(-1), 0, table, out.reshape(-1))
    return out


@njit(nogil=True, cache=False)
def _look_up(values, low, table, out):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        out[i] = table[values[i] - low]
