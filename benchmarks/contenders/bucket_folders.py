"""Folders in a bucket that contenders use like paths, and movies that are generated while they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.sources.base import Source

CHUNK_FRAMES = 100
"""Frames per chunk, for all contenders that have chunks."""

_AT_ONCE = 4 * CHUNK_FRAMES


@dataclass(frozen=True)
class Bucket:
    """A folder at an S3 server: ``bucket/key``."""

    endpoint: str
    root: str

    @property
    def options(self) -> dict[str, Any]:
        """Address for fsspec."""
        return {"key": "AK", "secret": "SK", "endpoint_url": f"http://{self.endpoint}"}

    @property
    def url(self) -> str:
        return f"s3://{self.root}"

    @cached_property
    def fs(self) -> Any:
        import s3fs

        return s3fs.S3FileSystem(**self.options)

    def __truediv__(self, name: str) -> Bucket:
        return Bucket(self.endpoint, f"{self.root}/{name}")

    def read_bytes(self) -> bytes:
        return bytes(self.fs.cat_file(self.root))

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def take(self, folder: Path) -> None:
        """Store all files of a folder here."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.fs.pipe_file(f"{self.root}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def empty(self) -> None:
        self.fs.rm(self.fs.find(self.root))


def some_bytes(file: Path | Bucket, start: int, stop: int) -> bytes:
    """Read the bytes ``start:stop`` of a file, and no others."""
    if isinstance(file, Bucket):
        return bytes(file.fs.cat_file(file.root, start=start, end=stop))
    with file.open("rb") as opened:
        opened.seek(start)
        return opened.read(stop - start)


def for_zarr(folder: Path | Bucket) -> dict[str, Any]:
    """Arguments for zarr-python's ``open``."""
    if isinstance(folder, Bucket):
        return {"store": folder.url, "storage_options": folder.options}
    return {"store": str(folder)}


class Made(Source):
    """A movie of any length. Later chunks are the first one, shifted; no chunk compresses better for that."""

    def __init__(self, first: NDArray, frames: int, name: str) -> None:
        self._first, self.name = first, name
        self.shape, self.dtype = (frames, *first.shape[1:]), first.dtype

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int, stop: int) -> NDArray:
        out, each = np.empty((stop - start, *self.shape[1:]), self.dtype), len(self._first)
        done = start
        while done < stop:
            number, inside = divmod(done, each)
            count = min(each - inside, stop - done)
            shift = tuple(np.random.default_rng(number).integers(0, self.shape[1], 2)) if number else (0, 0)
            out[done - start : done - start + count] = np.roll(
                self._first[inside : inside + count], shift, axis=(1, 2)
            )
            done += count
        return out

    def __getitem__(self, key: slice) -> NDArray:
        start, stop, step = key.indices(len(self))
        assert step == 1
        return self.read(start, stop)


def spans(values: NDArray | Made) -> Iterator[slice]:
    """Yield the ranges of frames to read: an array at once, a generated movie some chunks at a time."""
    if isinstance(values, np.ndarray):
        yield slice(0, len(values))
        return
    for start in range(0, len(values), _AT_ONCE):
        yield slice(start, min(start + _AT_ONCE, len(values)))
