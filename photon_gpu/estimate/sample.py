"""Draw a seeded sample of a movie for the estimate: bands of short runs of frames, in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

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
        First image row, if a band was cut out of a large frame.
    frames : ndarray of shape (L, H, W)
        ADU, in the dtype of the source.
    """

    start: int
    plane: int
    row: int
    frames: NDArray


def draw(source: Source, *, pairs: str, seed: int, budget_bytes: int) -> list[Window]:
    """Read a stratified random sample that fits into ``budget_bytes``.

    The movie is divided into as many equal strata of time as windows fit the budget. One window is drawn in
    each, so no frame is drawn twice. A movie that fits is read whole. Larger frames than the budget are cut
    to a random band of rows, a different one in each window, and read one by one.
    """
    rng = np.random.default_rng(seed)
    total, height, width = source.shape[0], source.shape[-2], source.shape[-1]
    planes = math.prod(source.shape[1:-2]) if len(source.shape) > 3 else 1
    if pairs == "space":
        return _draw_space(source, rng, planes, budget_bytes)
    frame_bytes = planes * height * width * source.dtype.itemsize
    spans: list[tuple[int, int]] = []
    if total * frame_bytes <= budget_bytes:
        count = max(1, total // WINDOW_FRAMES)
        edges = np.linspace(0, total, count + 1).astype(int)
        spans = list(pairwise(edges.tolist()))
    else:
        length = min(WINDOW_FRAMES, total)
        count = max(min(8, total // length), min(total // length, budget_bytes // (frame_bytes * length)), 1)
        # Whole numbers, so that rounding makes no stratum shorter than a window.
        for low, high in pairwise(k * total // count for k in range(count + 1)):
            start = int(rng.integers(low, high - length + 1))
            spans.append((start, start + length))
    window_bytes = max(b - a for a, b in spans) * frame_bytes
    rows = max(min(height, 32), min(height, int(height * budget_bytes / (window_bytes * len(spans)))))
    windows = []
    at_once = max(1, budget_bytes // frame_bytes)
    for start, stop in spans:
        row = int(rng.integers(0, height - rows + 1))
        bands = np.empty((planes, stop - start, rows, width), source.dtype)
        for first in range(start, stop, at_once):
            last = min(first + at_once, stop)
            block = source.read(first, last).reshape(last - first, planes, height, width)
            bands[:, first - start : last - start] = block[:, :, row : row + rows].swapaxes(0, 1)
        windows += [
            Window(start=start, plane=plane, row=row, frames=band) for plane, band in enumerate(bands)
        ]
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
        Window(
            start=int(a), plane=0, row=int(a), frames=np.ascontiguousarray(stack[:, a:b].transpose(1, 0, 2))
        )
        for a, b in pairwise(edges.tolist())
    ]
