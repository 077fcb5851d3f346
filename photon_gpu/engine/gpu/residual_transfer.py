"""Copy residuals between a payload and a device.

The device packs and unpacks residuals, so that at most half the bytes cross the bus. It also opens frames of
Huffman codes, so that only these go up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.backend import cpu_backend
from photon_gpu.engine.codec.chunk import ALTERED, Opened
from photon_gpu.engine.codec.chunk_plan import ChunkPlan
from photon_gpu.engine.codec.residual_bands import SEGMENT
from photon_gpu.engine.gpu.predict_bands import bands
from photon_gpu.engine.gpu.streams_and_buffers import Slot
from photon_gpu.engine.runtime.pool import copy_array
from photon_gpu.errors import CorruptDataError
from photon_gpu.kernels import cpu


def bring_down(slot: Slot, plan: ChunkPlan, first: int, codes: Any, residuals: Any, total: Any) -> int:
    """Copy residuals ``(T, rows, columns)`` in band order, from row ``first``, to the plan's payload.

    Return ``total``, which is copied with them.
    """
    levels: Any = None
    if plan.predictor.levels:
        residuals, levels = _sorted(slot, plan, first, codes, residuals)
    if plan.width == 4 or plan.predictor.coded:
        fetched, summed = slot.fetch(residuals=residuals, total=total)
        for i, (low, _, band) in enumerate(bands(fetched, plan.band)):
            plan.body.put(first + low, band, None if levels is None else levels[i])
        return int(summed[0])
    kernels, parts = slot.lane.backend.kernels, list(bands(residuals, plan.band))
    begins, rows = _places([band.size for _, _, band in parts])
    nibbles = slot.device("nibbles", (begins[-1],), np.uint8)
    counts, escapes = _pack(slot, plan, residuals, nibbles)
    short, counted, summed = slot.fetch(nibbles=nibbles, counts=counts, total=total)
    starts = np.concatenate([[0], np.cumsum(counted)])
    long = np.empty(0, residuals.dtype)
    if starts[-1]:
        joined = slot.device("joined", (int(starts[-1]),), residuals.dtype)
        kernels.join_escapes(escapes, slot.lane.put(starts), joined)
        (long,) = slot.fetch(joined=joined)
    for i, (low, _, _) in enumerate(parts):
        plan.body.nibbles(first + low)[...] = short[begins[i] : begins[i + 1]]
        plan.body.put_escapes(
            first + low,
            [long[starts[row] : starts[row + 1]] for row in range(rows[i], rows[i + 1])],
            counted[rows[i] : rows[i + 1]],
        )
    return int(summed[0])


def payload_on_device(slot: Slot, plan: ChunkPlan, codes: Any, residuals: Any, total: Any) -> Any | None:
    """Return the payload of a chunk, on the device; None if packed residuals would not be shorter.

    ``residuals`` are all residuals of the chunk, of one or two bytes, and ``total`` is their checksum.
    """
    if plan.predictor.levels:
        residuals, _ = _sorted(slot, plan, 0, codes, residuals)
    body, lane = plan.body, slot.lane
    first, fixed = body.head + body.places.nibbles_at, body.head + body.places.fixed
    skew = -fixed % plan.width  # so that escapes lie at an aligned address
    most = max(fixed, body.head + body.places.unpacked().fixed)
    payload = slot.device("payload", (skew + most,), np.uint8)[skew:]
    counts, escapes = _pack(slot, plan, residuals, payload[first:fixed])
    counted, summed = slot.fetch(counts=counts, total=total)
    head = plan.before_residuals(counted, int(summed[0]))
    if head is None:
        return None
    slot.resume()
    payload[:first].set(head, stream=lane.compute)
    starts = np.concatenate([[0], np.cumsum(counted)])
    end = fixed + plan.width * int(starts[-1])
    lane.backend.kernels.join_escapes(escapes, lane.put(starts), payload[fixed:end].view(residuals.dtype))
    return payload[:end]


def _pack(slot: Slot, plan: ChunkPlan, residuals: Any, nibbles: Any) -> tuple[Any, Any]:
    """Pack residuals to ``nibbles``; return the number of escapes of each segment, and the escapes."""
    parts = list(bands(residuals, plan.band))
    begins, rows = _places([band.size for _, _, band in parts])
    counts = slot.device("counts", (rows[-1],), np.int64)
    escapes = slot.device("escapes", (rows[-1], SEGMENT), residuals.dtype)
    for i, j, together in _together(residuals, parts):
        to, row = slice(begins[i], begins[j]), slice(rows[i], rows[j])
        slot.lane.backend.kernels.pack(together, SEGMENT, nibbles[to], escapes[row], counts[row])
    return counts, escapes


def _sorted(
    slot: Slot, plan: ChunkPlan, first: int, codes: Any, residuals: Any
) -> tuple[Any, NDArray[np.int64]]:
    """Sort the residuals of each band by level, and add the length of each level to the payload."""
    kernels = slot.lane.backend.kernels
    parts = list(zip(bands(codes, plan.band), bands(residuals, plan.band), strict=True))
    levels = slot.device("levels", (len(parts), plan.predictor.levels), np.int64)
    for i, ((_, _, code), (_, _, band)) in enumerate(parts):
        kernels.count_levels(code, band, levels[i])
    (counted,) = slot.fetch(levels=levels)
    places = slot.lane.put(np.cumsum(counted, axis=1) - counted)
    ordered = slot.device("ordered", residuals.shape, residuals.dtype)
    for i, (((low, _, code), (_, _, band)), (_, _, to)) in enumerate(
        zip(parts, bands(ordered, plan.band), strict=True)
    ):
        plan.body.put_levels(first + low, counted[i])
        kernels.sort_levels(code, band, places[i], to.reshape(-1))
    return ordered, counted


def bring_up(slot: Slot, opened: Opened, first: int, stop: int, strange: Any) -> Any:
    """Copy residuals ``(T, rows, columns)`` of rows ``first:stop`` to the device, band after band.

    Contradictions in the payload are counted in ``strange``, on the device.
    """
    header, body = opened.header, opened.body
    shape, dtype = (header.frames, stop - first, opened.columns), np.dtype(f"u{header.width}")
    if not header.packed:
        pinned = slot.pinned("residuals", shape, dtype)
        for low, _, band in bands(pinned, header.band_rows):
            band.reshape(-1)[...] = opened.residuals(first + low, cpu)
        return slot.upload("residuals", pinned)
    residuals = slot.device("residuals", shape, dtype)
    parts = list(bands(residuals, header.band_rows))
    begins, rows = _places([band.size for _, _, band in parts])
    short = slot.pinned("nibbles", (begins[-1],), np.uint8)
    for i, (low, _, _) in enumerate(parts):
        short[begins[i] : begins[i + 1]] = body.band(first + low)
    segments = body.places.band_segments(first).start
    starts = body.starts[segments : segments + rows[-1] + 1]
    long = slot.pinned("escapes", (int(starts[-1] - starts[0]),), dtype)
    long[...] = opened.escapes[starts[0] : starts[-1]]
    nibbles, escapes = slot.upload("nibbles", short), slot.upload("escapes", long)
    _unpack(slot, residuals, parts, nibbles, escapes, starts - starts[0], strange)
    return residuals


def open_on_device(slot: Slot, opened: Opened, frame: bytes, strange: Any) -> tuple[Any, Any]:
    """Open the Blosc frame of a payload on the device.

    Return residuals ``(T, rows, columns)`` of all rows, as :func:`bring_up` does, and the number of blocks
    that the device refused, also on the device. If it refused any, residuals are undefined.
    """
    header, places, lane = opened.header, opened.body.places, slot.lane
    fixed, width = header.nbytes + places.fixed, header.width
    nbytes = fixed + width * int(opened.body.starts[-1])
    skew = -fixed % width  # so that escapes lie at an aligned address
    pinned = slot.pinned("frame", (len(frame),), np.uint8)
    copy_array(pinned, np.frombuffer(frame, np.uint8))
    there = slot.upload("frame", pinned)
    payload = slot.device("payload", (skew + nbytes,), np.uint8)[skew:]
    with slot.apart():
        refused = lane.zeros((1,), np.uint64)
        lane.huffman.add_decoded(there, payload, refused)
    residuals = slot.device("residuals", (header.frames, opened.rows, opened.columns), f"u{width}")
    nibbles, escapes = payload[header.nbytes + places.nibbles_at : fixed], payload[fixed:].view(f"u{width}")
    parts = list(bands(residuals, header.band_rows))
    _unpack(slot, residuals, parts, nibbles, escapes, opened.body.starts, strange)
    return residuals, refused


def _unpack(
    slot: Slot,
    residuals: Any,
    parts: list[tuple[int, int, Any]],
    nibbles: Any,
    escapes: Any,
    starts: NDArray[np.int64],
    strange: Any,
) -> None:
    """Unpack bands ``parts`` of residuals from their half bytes and escapes on the device."""
    begins, rows = _places([band.size for _, _, band in parts])
    begin = slot.lane.put(starts)
    for i, j, together in _together(residuals, parts):
        slot.lane.backend.kernels.add_unpacked(
            nibbles[begins[i] : begins[j]], escapes, begin[rows[i] : rows[j] + 1], SEGMENT, together, strange
        )


def restored_here(slot: Slot, opened: Opened, first: int, stop: int) -> Any:
    """Codes of rows ``first:stop`` on the device, restored from sorted residuals by the CPU.

    Each residual depends on the one before, so a device could not restore them in parallel.
    """
    header = opened.header
    pinned = slot.pinned("codes", (header.frames, stop - first, opened.columns), f"u{header.width}")
    for low, high, band in bands(pinned, header.band_rows):
        opened.restore(first + low, band.reshape(header.frames, high - low, opened.columns), cpu_backend())
    return slot.upload("codes", pinned)


def check_unpacked(strange: NDArray[np.uint64]) -> None:
    """Raise CorruptDataError if segments contradict the number of their escapes."""
    if strange[0]:
        raise CorruptDataError(ALTERED)


def _together(residuals: Any, parts: list[tuple[int, int, Any]]) -> Iterator[tuple[int, int, Any]]:
    """Bands ``i:j`` packed as one run: all if each ends where a segment does, else one by one."""
    flat, sizes = residuals.reshape(-1), [part.size for _, _, part in parts]
    i = begin = 0
    for j in range(1, len(parts) + 1):
        if j == len(parts) or sizes[j - 1] % SEGMENT:
            end = begin + sum(sizes[i:j])
            yield i, j, flat[begin:end]
            i, begin = j, end


def _places(sizes: list[int]) -> tuple[list[int], list[int]]:
    """First half byte and first segment of bands with these sizes, and the ends of the last band."""
    begins, rows = [0], [0]
    for size in sizes:
        begins.append(begins[-1] - (-size // 2))
        rows.append(rows[-1] - (-size // SEGMENT))
    return begins, rows
