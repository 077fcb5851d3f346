"""A seeded sample of a movie: whole-height bands of short runs of frames, held in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError, UnsupportedTypeError
from photon_gpu.sources.base import Source

WINDOW_FRAMES = 16


@dataclass(frozen=True, kw_only=True)
class Window:
    """A run of consecutive frames of one image plane.

    Attributes
    ----------
    start : int
        First frame (in ``pairs="space"``: first row).
    plane : int
        Index into the flattened extra axes.
    row : int
        First image row, where a band was cut out of a large frame.
    frames : ndarray of shape (L, H, W)
        In the source's dtype, ADU.
    """

    start: int
    plane: int
    row: int
    frames: NDArray


class ArraySource(Source):
    """An array in memory (or memory mapped) seen as a source."""

    def __init__(self, array: NDArray, name: str = "array") -> None:
        self.name = name
        self.shape = tuple(int(n) for n in array.shape)
        self.dtype = array.dtype.newbyteorder("=")
        self._array = array

    def read(self, start: int, stop: int) -> NDArray:
        """Frames ``start:stop``."""
        return np.ascontiguousarray(self._array[start:stop], dtype=self.dtype)


def as_source(source: Any) -> Source:
    """``source`` itself, or an array wrapped, or whatever ``open_source`` makes of it."""
    if not isinstance(source, Source):
        if isinstance(source, np.ndarray):
            source = ArraySource(source)
        else:
            from photon_gpu import sources

            opener = getattr(sources, "open_source", None)
            if opener is None:
                raise UnsupportedTypeError(
                    f"estimate_noise: a {type(source).__name__} arrived; an array or a Source is needed"
                )
            source = opener(source)
    if source.dtype.kind not in "iuf":
        raise UnsupportedTypeError(
            f"estimate_noise: {source.name} has dtype {source.dtype}; integers or real floats are needed"
        )
    if len(source.shape) < 3 or 0 in source.shape:
        raise InvalidInputError(
            f"estimate_noise: {source.name} has shape {source.shape}; (T, ..., H, W) is needed, nothing empty"
        )
    return source


def draw(source: Source, *, pairs: str, seed: int, budget_bytes: int) -> list[Window]:
    """Read a stratified random sample that fits into ``budget_bytes``.

    The movie is cut into as many equal strata of time as windows fit the budget, and one window is
    drawn in each; a movie that fits is taken whole. Frames too large for the budget are cut to a
    random band of rows, another one in each window.
    """
    rng = np.random.default_rng(seed)
    total, height, width = source.shape[0], source.shape[-2], source.shape[-1]
    planes = int(np.prod(source.shape[1:-2], dtype=np.int64)) if len(source.shape) > 3 else 1
    if pairs == "space":
        return _draw_space(source, rng, planes, budget_bytes)
    frame_bytes = planes * height * width * source.dtype.itemsize
    if total * frame_bytes <= budget_bytes:
        count = max(1, total // WINDOW_FRAMES)
        edges = np.linspace(0, total, count + 1).astype(int)
        spans = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    else:
        length = min(WINDOW_FRAMES, total)
        count = max(min(8, total // length), min(total // length, budget_bytes // (frame_bytes * length)), 1)
        edges = np.linspace(0, total - length, count + 1)
        starts = [int(rng.integers(int(a), max(int(b), int(a) + 1))) for a, b in zip(edges[:-1], edges[1:], strict=True)]
        spans = [(s, s + length) for s in starts]
    window_bytes = max(b - a for a, b in spans) * frame_bytes
    rows = max(min(height, 32), min(height, int(height * budget_bytes / (window_bytes * len(spans)))))
    windows = []
    for start, stop in spans:
        block = source.read(start, stop).reshape(stop - start, planes, height, width)
        row = int(rng.integers(0, height - rows + 1))
        for plane in range(planes):
            band = block[:, plane, row : row + rows]
            windows.append(Window(start=start, plane=plane, row=row, frames=np.array(band)))
    return windows


def _draw_space(source: Source, rng: np.random.Generator, planes: int, budget_bytes: int) -> list[Window]:
    total, height, width = source.shape[0], source.shape[-2], source.shape[-1]
    frame_bytes = planes * height * width * source.dtype.itemsize
    count = int(max(1, min(total, budget_bytes // max(frame_bytes, 1))))
    chosen = np.sort(rng.choice(total, count, replace=False))
    stack = np.stack([source.read(int(t), int(t) + 1)[0] for t in chosen]).reshape(-1, height, width)
    bands = max(1, height // WINDOW_FRAMES)
    edges = np.linspace(0, height, bands + 1).astype(int)
    return [
        Window(start=int(a), plane=0, row=int(a), frames=np.ascontiguousarray(stack[:, a:b].transpose(1, 0, 2)))
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]
