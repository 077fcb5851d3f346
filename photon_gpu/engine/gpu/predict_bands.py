"""Predict bands of rows on device arrays, and undo the prediction; views of groups of bands.

Device memory stores one band after another, as a payload does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.gpu.streams_and_buffers import Slot

_KERNEL = {"moving": "full"}


def bands(banded: Any, band_rows: int) -> Iterator[tuple[int, int, Any]]:
    """First row, end row, and frames ``(T, n)`` of each band of ``(T, rows, columns)`` in band order."""
    frames, rows, columns = banded.shape
    flat = banded.reshape(-1)
    for first in range(0, rows, band_rows):
        stop = min(first + band_rows, rows)
        low, high = frames * columns * first, frames * columns * stop
        yield first, stop, flat[low:high].reshape(frames, (stop - first) * columns)


def banks(banded: Any, band_rows: int) -> Iterator[tuple[int, int, Any]]:
    """First row, end row, and ``(bands, T, n)``: all whole bands, then the last one if it is partial."""
    frames, rows, columns = banded.shape
    flat, whole = banded.reshape(-1), rows // band_rows * band_rows
    for first, stop, height in ((0, whole, band_rows), (whole, rows, rows - whole)):
        if first < stop:
            part = flat[frames * columns * first : frames * columns * stop]
            yield first, stop, part.reshape((stop - first) // height, frames, height * columns)


def in_banks(flat: Any, columns: int, first: int, bank: Any) -> Any:
    """View of frames ``(T, n)``, from row ``first`` on, in the shape of a bank."""
    count, _, pixels = bank.shape
    begin = first * columns
    part = flat[:, begin : begin + count * pixels]
    view = part.reshape(len(flat), count, pixels).transpose(1, 0, 2)
    if view.data.ptr != part.data.ptr:
        raise AssertionError("reshape made a copy instead of a view; writes to it would be lost")
    return view


def extent(slot: Slot, values: Any) -> NDArray:
    """Output of the kernel ``extent`` for ``(T, n)``, in host memory."""
    out = slot.lane.zeros((3,), values.dtype)
    slot.lane.backend.kernels.extent(values, out)
    return slot.fetch(extent=out)[0].copy()


def first_where(slot: Slot, values: Any, wanted: Any) -> tuple[int, int, Any]:
    """Frame, pixel and value of the first value equal to ``wanted``, the least, or not finite (None)."""

    def within(part: Any) -> bool:
        low, _, strange = extent(slot, part)
        return bool(strange) if wanted is None else bool(low == wanted)

    t = _least(values.shape[0], lambda count: within(values[:count]))
    i = _least(values.shape[1], lambda count: within(values[t : t + 1, :count]))
    (value,) = slot.fetch(value=values[t, i : i + 1])
    return t, i, value[0]


def _least(size: int, reached: Any) -> int:
    """Least ``i`` for which ``reached(i + 1)`` holds; it holds for all greater ones."""
    low, high = 0, size - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle + 1) else (middle + 1, high)
    return low


def predict(
    slot: Slot, name: str, codes: Any, weights: NDArray[np.int32], steps: NDArray[np.int32], band_rows: int
) -> Any:
    """Residuals of codes ``(T, rows, columns)`` in band order, equal to those of the CPU."""
    if name == "none":
        return codes
    return _run_kernel(
        slot, f"predict_{_KERNEL.get(name, name)}", codes, weights, steps, band_rows, "predicted"
    )


def restore(
    slot: Slot,
    name: str,
    residuals: Any,
    weights: NDArray[np.int32],
    steps: NDArray[np.int32],
    band_rows: int,
) -> Any:
    """Restore codes from residuals: the inverse of :func:`predict`."""
    if name == "none":
        return residuals
    return _run_kernel(
        slot, f"restore_{_KERNEL.get(name, name)}", residuals, weights, steps, band_rows, "codes"
    )


def _run_kernel(
    slot: Slot,
    name: str,
    banded: Any,
    weights: NDArray[np.int32],
    steps: NDArray[np.int32],
    band_rows: int,
    result: str,
) -> Any:
    lane, kernels = slot.lane, slot.lane.backend.kernels
    frames, rows, columns = banded.shape
    out = slot.device(result, banded.shape, banded.dtype)
    mix, moves = lane.put(weights), lane.put(steps)
    planes = slot.device("means", (2, rows, columns), np.int32)
    if name.endswith("mean"):
        start = int(weights[0, -1]) >> 8
        for (_, _, source), (_, _, target) in zip(
            banks(banded, band_rows), banks(out, band_rows), strict=True
        ):
            getattr(kernels, name)(source, moves, start, planes, target)
    elif name.endswith("spatial"):
        # Treat every frame as a separate band: the frames of a band are stored one after another.
        whole = rows // band_rows * band_rows
        for first, stop, height in ((0, whole, band_rows), (whole, rows, rows - whole)):
            low, high = frames * columns * first, frames * columns * stop
            if low < high:
                shape = (1, frames * (stop - first), columns)
                source, target = (array.reshape(-1)[low:high].reshape(shape) for array in (banded, out))
                full = getattr(kernels, name.replace("spatial", "full"))
                full(source, mix[:1], moves, planes, target, band_rows=height)
    else:
        getattr(kernels, name)(banded, mix, moves, planes, out, band_rows=band_rows)
    return out
