"""Adapters to recorders, with one interface: photon_gpu's live writer, acquire-zarr, zarr-python by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg

NOISE = pg.NoiseModel(gain=100.0, offset=92.0)
SHAPE = (512, 512)
CHUNK = 100


class Recorder(Protocol):
    """Takes frames ``(n, 512, 512)`` of int16; after ``close`` they are where they belong."""

    def append(self, frames: NDArray[np.int16]) -> Any: ...

    def close(self) -> None: ...


Begin = Callable[[Path], Recorder]


def ours(durability: str, layout: str = "compact", *, wait: bool = True) -> Begin:
    """Ours, preset fast."""

    class Ours:
        def __init__(self, folder: Path) -> None:
            self.live = pg.LiveWriter(
                folder / "m.zarr",
                frame_shape=SHAPE,
                dtype="int16",
                noise=NOISE,
                layout=layout,
                durability=durability,
                spool=folder / "spool",
            )

        def append(self, frames: NDArray[np.int16]) -> int:
            return self.live.append(frames, wait=wait)

        def close(self) -> None:
            self.live.close()

    return Ours


def acquire(compressed: bool) -> Begin:
    """acquire-zarr, Zarr v3, a chunk of 100 frames a file."""

    class Acquire:
        def __init__(self, folder: Path) -> None:
            import acquire_zarr as az

            compression = None
            if compressed:
                compression = az.CompressionSettings(
                    compressor=az.Compressor.BLOSC1, codec=az.CompressionCodec.BLOSC_ZSTD, level=1, shuffle=2
                )
            kinds = (az.DimensionType.TIME, az.DimensionType.SPACE, az.DimensionType.SPACE)
            dimensions = [
                az.Dimension(
                    name=name, kind=dimension, array_size_px=size, chunk_size_px=chunk, shard_size_chunks=1
                )
                for name, dimension, size, chunk in zip(
                    "tyx", kinds, (0, *SHAPE), (CHUNK, *SHAPE), strict=True
                )
            ]
            array = az.ArraySettings(
                dimensions=dimensions, data_type=az.DataType.INT16, compression=compression
            )
            self.stream = az.ZarrStream(
                az.StreamSettings(
                    store_path=str(folder / "m.zarr"), version=az.ZarrVersion.V3, arrays=[array]
                )
            )

        def append(self, frames: NDArray[np.int16]) -> None:
            self.stream.append(frames)

        def close(self) -> None:
            self.stream.close()

    return Acquire


def by_hand(compressed: bool) -> Begin:
    """zarr-python, Zarr v2: frames are collected, and each whole chunk is appended; the best that is easy."""

    class ByHand:
        def __init__(self, folder: Path) -> None:
            import numcodecs
            import zarr

            compressor = numcodecs.Blosc(cname="zstd", clevel=1, shuffle=2) if compressed else None
            self.array = zarr.create_array(
                str(folder / "m.zarr"),
                shape=(0, *SHAPE),
                chunks=(CHUNK, *SHAPE),
                dtype="int16",
                zarr_format=2,
                compressors=compressor,
            )
            self.chunk, self.filled = np.empty((CHUNK, *SHAPE), np.int16), 0

        def append(self, frames: NDArray[np.int16]) -> None:
            while len(frames):
                count = min(len(frames), CHUNK - self.filled)
                self.chunk[self.filled : self.filled + count] = frames[:count]
                self.filled += count
                frames = frames[count:]
                if self.filled == CHUNK:
                    self.array.append(self.chunk)
                    self.filled = 0

        def close(self) -> None:
            if self.filled:
                self.array.append(self.chunk[: self.filled])

    return ByHand


RIVALS: dict[str, Begin] = {
    "acquire-zarr, raw": acquire(False),
    "acquire-zarr, Blosc zstd 1": acquire(True),
    "zarr-python, raw": by_hand(False),
    "zarr-python, Blosc zstd 1": by_hand(True),
}


def stored_frames(folder: Path) -> Any:
    """What was recorded, in the original units, however it was."""
    if (folder / "m.zarr/.manifest.json").exists():
        return pg.open(folder / "m.zarr").counts
    import zarr

    array = zarr.open(str(folder / "m.zarr"), mode="r")
    return array if hasattr(array, "shape") else next(iter(array.arrays()))[1]  # type: ignore[union-attr]


def worst_error(stored: Any, movie: NDArray[np.int16], numbers: list[int]) -> float:
    """In sigma, over some frames."""
    worst = 0.0
    for t in numbers:
        truth = pg.anscombe(movie[t % len(movie)], NOISE)
        worst = max(worst, float(np.abs(pg.anscombe(np.asarray(stored[t]), NOISE) - truth).max()))
    return worst
