"""Band after band in memory, as in a payload: what the kernels are asked for, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.gpu.slots import Slot

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
    """View of a bank's shape on frames ``(T, n)``, from row ``first`` on."""
    count, _, pixels = bank.shape
    begin = first * columns
    part = flat[:, begin : begin + count * pixels]
    view = part.reshape(len(flat), count, pixels).transpose(1, 0, 2)
    if view.data.ptr != part.data.ptr:
        raise AssertionError("a copy where a view was meant: what is written there would be lost")
    return view


def extent(slot: Slot, values: Any) -> NDArray:
    """What the kernel ``extent`` finds in ``(T, n)``, brought here."""
    out = slot.lane.zeros((3,), values.dtype)
    slot.lane.backend.kernels.extent(values, out)
    return slot.fetch(extent=out)[0].copy()


def first_where(slot: Slot, values: Any, wanted: Any) -> tuple[int, int, Any]:
    """Frame, pixel and value of the first value that is the least one, ``wanted``, or not finite (None)."""

    def within(part: Any) -> bool:
        low, _, strange = extent(slot, part)
        return bool(strange) if wanted is None else bool(low == wanted)

    t = _least(values.shape[0], lambda count: within(values[:count]))
    i = _least(values.shape[1], lambda count: within(values[t : t + 1, :count]))
    (value,) = slot.fetch(value=values[t, i : i + 1])
    return t, i, value[0]


def _least(size: int, reached: Any) -> int:
    """The ``i`` for which ``reached(i + 1)`` holds first; it holds from there on."""
    low, high = 0, size - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle + 1) else (middle + 1, high)
    return low


def predict(
    slot: Slot, name: str, codes: Any, weights: NDArray[np.int32], steps: NDArray[np.int32], band_rows: int
) -> Any:
    """Residuals of banded codes ``(T, rows, columns)``, in the order of the CPU's chunks."""
    if name == "none":
        return codes
    return _through(slot, f"predict_{_KERNEL.get(name, name)}", codes, weights, steps, band_rows, "predicted")


def restore(
    slot: Slot,
    name: str,
    residuals: Any,
    weights: NDArray[np.int32],
    steps: NDArray[np.int32],
    band_rows: int,
) -> Any:
    """Inverse of :func:`predict`."""
    if name == "none":
        return residuals
    return _through(slot, f"restore_{_KERNEL.get(name, name)}", residuals, weights, steps, band_rows, "codes")


def _through(
    slot: Slot,
    name: str,
    given: Any,
    weights: NDArray[np.int32],
    steps: NDArray[np.int32],
    band_rows: int,
    result: str,
) -> Any:
    lane, kernels = slot.lane, slot.lane.backend.kernels
    frames, rows, columns = given.shape
    out = slot.device(result, given.shape, given.dtype)
    mix, moves = lane.put(weights), lane.put(steps)
    planes = slot.device("means", (2, rows, columns), np.int32)
    if name.endswith("mean"):
        start = int(weights[0, -1]) >> 8
        for (_, _, source), (_, _, target) in zip(
            banks(given, band_rows), banks(out, band_rows), strict=True
        ):
            getattr(kernels, name)(source, moves, start, planes, target)
    elif name.endswith("spatial"):
        # Every frame by itself: frames of a band lie one after the other, so each is a band of its own.
        whole = rows // band_rows * band_rows
        for first, stop, height in ((0, whole, band_rows), (whole, rows, rows - whole)):
            low, high = frames * columns * first, frames * columns * stop
            if low < high:
                shape = (1, frames * (stop - first), columns)
                source, target = (array.reshape(-1)[low:high].reshape(shape) for array in (given, out))
                full = getattr(kernels, name.replace("spatial", "full"))
                full(source, mix[:1], moves, planes, target, band_rows=height)
    else:
        getattr(kernels, name)(given, mix, moves, planes, out, band_rows=band_rows)
    return out
