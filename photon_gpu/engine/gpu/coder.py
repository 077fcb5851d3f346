"""Encode and decode chunks on a GPU, byte for byte as :mod:`photon_gpu.engine.codec.chunk` does.

Bands do not depend on each other, so a chunk is processed in pieces of whole bands, usually in one piece.
Threads that call this at the same time use different slots, so that copies and kernels of successive chunks
overlap while other threads run Blosc.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from photon_gpu.engine.codec.backend import cpu_backend
from photon_gpu.engine.codec.blosc import Blocks, compress_bytes
from photon_gpu.engine.codec.chunk import Opened, decode
from photon_gpu.engine.codec.chunk_plan import ChunkPlan, quantizer_for
from photon_gpu.engine.codec.dequantize import Render, beyond_tables, render
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.header import block_shape
from photon_gpu.engine.codec.predictors import band_rows
from photon_gpu.engine.codec.quantize import Extent, check_extent
from photon_gpu.engine.codec.requested_part import STABILIZED, ChunkPart, Values, dtype_of
from photon_gpu.engine.gpu.devices import chosen_devices
from photon_gpu.engine.gpu.huffman_frames import compressed, is_huffman_only
from photon_gpu.engine.gpu.predict_bands import bands, banks, extent, first_where, in_banks, predict, restore
from photon_gpu.engine.gpu.residual_transfer import (
    bring_down,
    bring_up,
    check_unpacked,
    open_on_device,
    payload_on_device,
    restored_here,
)
from photon_gpu.engine.gpu.streams_and_buffers import Lane, Slot, Slots
from photon_gpu.engine.runtime.buffers import bytes_of
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.engine.runtime.pool import copy_array
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import BackendUnavailableError, CorruptDataError, InvalidInputError
from photon_gpu.kernels import cpu


class Gpu:
    """CUDA devices of a backend.

    Parameters
    ----------
    name : str
        ``"cupy"`` for every visible device, ``"cupy:0,2"`` for some.
    why : str
        Reason why the backend was chosen.

    Raises
    ------
    BackendUnavailableError
        No device can be used, or its kernels give other results than the CPU.
    """

    def __init__(self, name: str, why: str) -> None:
        self.lanes = [Lane(number, why) for number in chosen_devices(name)]
        self._slots = Slots(self.lanes)
        for lane in self.lanes:
            _check_kernels(lane)

    @property
    def chunks_in_flight(self) -> int:
        """Number of chunks that the devices process at once."""
        return sum(len(lane.slots) for lane in self.lanes)

    def lane_of(self, values: Any) -> int | None:
        """Device of an array; None if it is in host memory."""
        if isinstance(values, np.ndarray):
            return None
        number = int(values.device.id)
        if number not in [lane.number for lane in self.lanes]:
            here = ", ".join(str(lane.number) for lane in self.lanes)
            raise InvalidInputError(
                f"the frames are on GPU {number}, but this backend uses GPU {here}; choose "
                f"backend='cupy:{number}'"
            )
        return number

    def encode(
        self, values: Any, chunk: tuple[int, ...], encoding: Encoding, *, first_frame: int = 0, stages: Stages
    ) -> NDArray[np.uint8]:
        """Encode a chunk like :func:`photon_gpu.engine.codec.chunk.encode`."""
        return self._encoded(values, chunk, encoding, first_frame, Resources(stages=stages), finish=False)[0]

    def encode_frame(
        self,
        values: Any,
        chunk: tuple[int, ...],
        encoding: Encoding,
        resources: Resources,
        *,
        first_frame: int = 0,
    ) -> bytes:
        """Encode a chunk to the Blosc frame of its payload.

        A device finishes the frame if its memory holds the whole chunk, and the CPU would write Huffman codes
        only. Otherwise the payload is copied down, and the CPU compresses it.
        """
        payload, frame = self._encoded(values, chunk, encoding, first_frame, resources, finish=True)
        split = resources.split.timed(resources.stages, "compress")
        return frame or compress_bytes(payload, encoding.compressor, split, resources.buffers)

    def _encoded(
        self,
        values: Any,
        chunk: tuple[int, ...],
        encoding: Encoding,
        first_frame: int,
        resources: Resources,
        *,
        finish: bool,
    ) -> tuple[NDArray[np.uint8], bytes]:
        """Return the payload of a chunk, or its frame if ``finish`` is set and the device can; else b""."""
        frames = values.shape[0] if len(chunk) > 1 else 1
        _, rows, columns = block_shape(chunk)
        band = band_rows(rows, columns)
        flat = values.reshape(frames, rows * columns)
        row_bytes = frames * columns * values.dtype.itemsize
        with self._slots.taken(self.lane_of(values)) as slot, slot.timed(resources.stages):

            def work(piece_bytes: int) -> tuple[NDArray[np.uint8], bytes]:
                pieces = _pieces(rows, band, row_bytes, piece_bytes)
                loaded = _Loaded(slot, flat, columns)
                bounds = _extent(loaded, pieces, encoding, values.shape, first_frame)
                plan = ChunkPlan(
                    values.shape,
                    chunk,
                    encoding,
                    bounds,
                    slot.lane.backend,
                    host=cpu,
                    first_frame=first_frame,
                )
                if plan.predictor.name == "moving":
                    # Fit weights to all codes of the chunk on the CPU, since the systems to solve are small.
                    plan.fit(np.concatenate([_codes_of(loaded, plan, *piece) for piece in pieces], axis=1))
                    slot.resume()
                if finish and len(pieces) == 1 and plan.body.places.packed:
                    return _encode_whole(loaded, plan, resources)
                return plan.finished(sum(_encode_piece(loaded, plan, *piece) for piece in pieces)), b""

            return slot.lane.shrinking(slot, rows * row_bytes, band * row_bytes, work)

    def codes(
        self, values: Any, encoding: Encoding, *, first_frame: int = 0, stages: Stages
    ) -> tuple[NDArray, int]:
        """Codes of a chunk, 1-D in C order, and the base they are counted from."""
        frames, pixels = values.shape[0], math.prod(values.shape[1:])
        # Use a frame as a band: frames do not depend on each other, and are contiguous in C order.
        row_bytes = pixels * values.dtype.itemsize
        with self._slots.taken(self.lane_of(values)) as slot, slot.timed(stages):

            def work(piece_bytes: int) -> tuple[NDArray, int]:
                pieces = _pieces(frames, 1, row_bytes, piece_bytes)
                loaded = _Loaded(slot, values.reshape(frames, pixels), None)
                bounds = _extent(loaded, pieces, encoding, values.shape, first_frame)
                quantizer = quantizer_for(encoding, bounds, slot.lane.backend)
                out = np.empty((frames, pixels), quantizer.dtype)
                for first, stop in pieces:
                    source = loaded.piece(first, stop)
                    codes = slot.device("codes", source.shape, quantizer.dtype)
                    quantizer(source, first * pixels, pixels, codes)
                    (out[first:stop],) = slot.fetch(codes=codes)
                return out.reshape(-1), quantizer.base

            return slot.lane.shrinking(slot, frames * row_bytes, row_bytes, work)

    def decode(
        self,
        payload: NDArray[np.uint8],
        part: ChunkPart,
        encoding: Encoding,
        *,
        what: Values = STABILIZED,
        device: int | None = None,
        out: NDArray | None = None,
    ) -> Any:
        """Decode like :func:`photon_gpu.engine.codec.chunk.decode`; to an array on ``device``, if set."""
        opened = Opened(payload, part, encoding, what)
        if opened.header.raw or beyond_tables(encoding, opened.header.top):
            values = decode(payload, part, encoding, cpu_backend(), what=what, out=out)
            return values if device is None else self.upload(values, device)
        return self._decoded(opened, encoding, what, device, out)

    def decode_frame(
        self,
        frame: bytes,
        part: ChunkPart,
        encoding: Encoding,
        *,
        what: Values = STABILIZED,
        device: int | None = None,
        out: NDArray | None = None,
    ) -> Any | None:
        """Decode the Blosc frame of a payload like :meth:`decode`; None if the CPU must open the frame.

        A device opens frames of Huffman codes only, if their residuals are packed and not sorted, and if its
        memory holds the whole chunk. The CPU opens the blocks that hold the header and the tables.
        """
        if not is_huffman_only(frame):
            return None
        blocks = Blocks(frame)
        opened = Opened(blocks.data, part, encoding, what, blocks.open)
        header = opened.header
        if not header.packed or header.levels or beyond_tables(encoding, header.top):
            return None
        return self._decoded(opened, encoding, what, device, out, frame)

    def _decoded(
        self,
        opened: Opened,
        encoding: Encoding,
        what: Values,
        device: int | None,
        out: NDArray | None,
        frame: bytes | None = None,
    ) -> Any | None:
        """Decode an opened payload; if ``frame`` is set, from it, or None if the device cannot open it."""
        header, dtype = opened.header, opened.dtype
        row_bytes = header.frames * opened.columns * max(header.width, dtype.itemsize)
        shape = (opened.stop - opened.start, opened.rows * opened.columns)
        if device is None:
            out = np.empty(opened.shape, dtype) if out is None else out
            out.reshape(shape)[opened.present :] = 0
        with self._slots.taken(device) as slot:

            def work(piece_bytes: int) -> Any:
                draw = render(encoding, header.base, header.top, what, slot.lane.backend)
                target = slot.lane.zeros(shape, dtype) if out is None else out.reshape(shape)
                pieces = _pieces(opened.rows, header.band_rows, row_bytes, piece_bytes)
                if frame is not None and len(pieces) > 1:
                    return None
                total = 0
                for piece in pieces:
                    decoded = _decode_piece(slot, opened, draw, target, *piece, frame)
                    if decoded is None:
                        return None
                    total += decoded
                opened.check(total)
                return target

            smallest = header.band_rows * row_bytes
            target = slot.lane.shrinking(slot, opened.rows * row_bytes, smallest, work)
        if target is None:
            return None
        return target.reshape(opened.shape) if out is None else out

    def counts_from_labels(
        self, labels: NDArray[np.float64], start: int, encoding: Encoding, what: Values, device: int
    ) -> Any:
        """Values of labels ``(t, n)``, of frames from ``start`` of a chunk, as an array on a device."""
        frames, pixels = labels.shape
        dtype = dtype_of(what)
        with self._slots.taken(device) as slot:
            lane, kernels = slot.lane, slot.lane.backend.kernels

            def work(piece_bytes: int) -> Any:
                out = lane.zeros((frames, pixels), dtype)
                for first, stop in _pieces(frames, 1, 8 * pixels, piece_bytes):
                    loaded = _Loaded(slot, labels, None).piece(first, stop)
                    codes = slot.device("codes", loaded.shape, np.int32)
                    if strange := kernels.codes_from_labels(loaded, encoding.step, codes):
                        raise CorruptDataError(
                            f"{strange} of {loaded.size} values of a chunk are not multiples of the step"
                        )
                    low, high, _ = extent(slot, codes).tolist()
                    unsigned = slot.device("unsigned", loaded.shape, np.uint32)
                    kernels.subtract(codes, low, unsigned)
                    draw = render(encoding, low, high - low, what, lane.backend)
                    draw(unsigned, (start + first) * pixels, pixels, out[first:stop])
                    lane.compute.synchronize()
                return out

            return lane.shrinking(slot, 8 * pixels * frames, 8 * pixels, work)

    def upload(self, values: NDArray, device: int) -> Any:
        """Copy a host array to a device."""
        with self._slots.taken(device) as slot:

            def work(_: int) -> Any:
                array = slot.lane.cupy.empty(values.shape, values.dtype)
                array.set(np.ascontiguousarray(values), stream=slot.lane.compute)
                slot.lane.compute.synchronize()
                return array

            return slot.lane.shrinking(slot, values.nbytes, values.nbytes, work)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """Make an array on the first device, to copy frames to."""
        lane = self.lanes[0]
        with self._slots.taken(lane.number) as slot:
            return lane.shrinking(slot, 0, 0, lambda _: lane.zeros(shape, dtype))

    def copy_frames(self, out: Any, where: NDArray[np.int64], source: Any, inside: NDArray[np.int64]) -> None:
        """Set ``out[where] = source[inside]`` on the first device, one run of frames at a time."""
        lane = self.lanes[0]
        with lane.entered():
            breaks = np.flatnonzero((np.diff(where) != 1) | (np.diff(inside) != 1)) + 1
            for to, at in zip(np.split(where, breaks), np.split(inside, breaks), strict=True):
                part, frames = out[to[0] : to[-1] + 1], source[at[0] : at[-1] + 1]
                part.data.copy_from_device_async(frames.data, frames.nbytes, lane.compute)
            lane.compute.synchronize()

    def sample(self, values: Any, encoding: Encoding, *, first_frame: int = 0) -> NDArray:
        """Return host values that have the same codes as a few frames on a device, to try encodings on.

        Integers are copied as differences from the least, floats as codes, so raw frames never leave the
        device.
        """
        frames, pixels = values.shape[0], math.prod(values.shape[1:])
        with self._slots.taken(self.lane_of(values)) as slot:
            loaded = _Loaded(slot, values.reshape(frames, pixels), None)
            exact = encoding.dtype.startswith(("int", "uint"))
            trial = encoding.but(layout="compact", step=encoding.step or 0.5, exact=exact)
            bounds = _extent(loaded, [(0, frames)], trial, values.shape, first_frame)
            quantizer = quantizer_for(trial, bounds, slot.lane.backend)
            codes = slot.device("codes", (frames, pixels), quantizer.dtype)
            quantizer(loaded.piece(0, frames), 0, pixels, codes)
            (fetched,) = slot.fetch(codes=codes)
            if exact:
                return (fetched.astype(np.int64) + quantizer.base).astype(values.dtype).reshape(values.shape)
            out = np.empty(fetched.shape, values.dtype)
            tables = trial.table().decode_tables(quantizer.base, quantizer.base + quantizer.top, values.dtype)
            if len(tables) > 1:
                cpu.dequantize_phased(fetched, tables, trial.seed, 0, pixels, out)
            else:
                cpu.dequantize(fetched, tables[0], out)
            return out.reshape(values.shape)


class _Loaded:
    """Frames ``(T, n)`` of a chunk, in host or device memory, loaded on the device piece by piece.

    A piece is rows ``first:stop`` of every frame or, if ``columns`` is None, whole frames ``first:stop``.
    """

    def __init__(self, slot: Slot, flat: Any, columns: int | None) -> None:
        self.slot, self.flat, self._columns = slot, flat, columns
        self._on_device: tuple[int, int] | None = None

    def piece(self, first: int, stop: int) -> Any:
        """Return the piece on the device; it is not copied if it is on the device already."""
        columns, flat = self._columns, self.flat
        part = flat[first:stop] if columns is None else flat[:, first * columns : stop * columns]
        if not isinstance(flat, np.ndarray):
            return part
        if self._on_device != (first, stop):
            pinned = self.slot.pinned("values", part.shape, part.dtype)
            copy_array(pinned, part)
            self.slot.upload("values", pinned)
            self._on_device = (first, stop)
        return self.slot.device("values", part.shape, part.dtype)


def _pieces(rows: int, band: int, row_bytes: int, piece_bytes: int) -> list[tuple[int, int]]:
    """Row ranges of whole bands, each within ``piece_bytes`` unless one band is larger."""
    if rows * row_bytes <= piece_bytes:
        return [(0, rows)]
    each = max(1, piece_bytes // max(band * row_bytes, 1)) * band
    return [(first, min(first + each, rows)) for first in range(0, rows, each)]


def _extent(
    loaded: _Loaded,
    pieces: list[tuple[int, int]],
    encoding: Encoding,
    shape: tuple[int, ...],
    first_frame: int,
) -> Extent:
    """Least and greatest value of a chunk; raise InvalidInputError, with the pixel, for invalid values."""
    parts = [extent(loaded.slot, loaded.piece(*piece)) for piece in pieces]
    out = parts[0].copy()
    for part in parts[1:]:
        out[0], out[1], out[2] = min(out[0], part[0]), max(out[1], part[1]), out[2] + part[2]

    def locate(strange: bool) -> tuple[tuple[Any, ...], Any]:
        flat = loaded.flat
        if isinstance(flat, np.ndarray):
            where = int(np.argmin(np.isfinite(flat) if strange else flat))
            return np.unravel_index(where, shape), flat.reshape(-1)[where]
        t, i, value = first_where(loaded.slot, flat, None if strange else out[0])
        return np.unravel_index(t * flat.shape[1] + i, shape), value

    return check_extent(out, locate, noise=encoding.noise, first_frame=first_frame)


def _encode_piece(loaded: _Loaded, plan: ChunkPlan, first: int, stop: int) -> int:
    """Encode rows ``first:stop`` to the plan's payload; return their part of the checksum."""
    return bring_down(loaded.slot, plan, first, *_predicted(loaded, plan, first, stop))


def _encode_whole(loaded: _Loaded, plan: ChunkPlan, resources: Resources) -> tuple[NDArray[np.uint8], bytes]:
    """Encode all rows to a Blosc frame, or to the payload if the CPU must compress it."""
    slot, predicted = loaded.slot, _predicted(loaded, plan, 0, plan.rows)
    payload = payload_on_device(slot, plan, *predicted)
    if payload is None:
        return plan.finished(bring_down(slot, plan, 0, *predicted)), b""
    split = resources.split.timed(resources.stages, "compress")
    finished = compressed(slot, payload, plan.encoding.compressor, split)
    if finished is not None:
        frame, crc = finished
        resources.crc[:] = [crc]
        return frame[:0], bytes_of([frame], resources.buffers)
    (fetched,) = slot.fetch(payload=payload)
    return fetched.copy(), b""


def _predicted(loaded: _Loaded, plan: ChunkPlan, first: int, stop: int) -> tuple[Any, Any, Any]:
    """Codes and residuals ``(T, rows, columns)`` of rows ``first:stop`` on the device, and their checksum."""
    slot, kernels = loaded.slot, loaded.slot.lane.backend.kernels
    codes, total = _coded(loaded, plan, first, stop), slot.lane.zeros((1,), np.uint64)
    for low, _, bank in banks(codes, plan.band):
        kernels.add_checksum(bank, (first + low) * plan.columns, plan.rows * plan.columns, total)
    residuals = predict(slot, plan.predictor.name, codes, plan.weights, plan.steps, plan.band)
    return codes, residuals, total


def _coded(loaded: _Loaded, plan: ChunkPlan, first: int, stop: int) -> Any:
    """Codes ``(T, rows, columns)`` of rows ``first:stop`` on the device, in band order."""
    columns, source = plan.columns, loaded.piece(first, stop)
    codes = loaded.slot.device("codes", (plan.frames, stop - first, columns), plan.dtype)
    for low, _, bank in banks(codes, plan.band):
        start, pixels = (first + low) * columns, plan.rows * columns
        plan.forward(in_banks(source, columns, low, bank), start, pixels, bank)
    return codes


def _codes_of(loaded: _Loaded, plan: ChunkPlan, first: int, stop: int) -> NDArray:
    """Codes ``(T, rows, columns)`` of rows ``first:stop`` in host memory."""
    (fetched,) = loaded.slot.fetch(codes=_coded(loaded, plan, first, stop))
    parts = bands(fetched, plan.band)
    return np.concatenate([band.reshape(plan.frames, -1, plan.columns) for _, _, band in parts], axis=1)


def _decode_piece(
    slot: Slot, opened: Opened, draw: Render, out: Any, first: int, stop: int, frame: bytes | None = None
) -> int | None:
    """Decode rows ``first:stop`` to ``out``, in host or device memory; return their part of the checksum.

    If ``frame`` is set, the device opens it; None if it cannot, and ``out`` is then undefined.
    """
    header, kernels, columns = opened.header, slot.lane.backend.kernels, opened.columns
    total, strange = slot.lane.zeros((1,), np.uint64), slot.lane.zeros((1,), np.uint64)
    down = {"total": total, "strange": strange}
    if header.levels:
        codes = restored_here(slot, opened, first, stop)
    else:
        if frame is None:
            residuals = bring_up(slot, opened, first, stop, strange)
        else:
            residuals, down["refused"] = open_on_device(slot, opened, frame, strange)
        codes = restore(slot, opened.predictor, residuals, opened.weights, opened.steps, header.band_rows)
    kept = slice(opened.start, opened.start + opened.present)
    region = out[: opened.present, first * columns : stop * columns]
    drawn = slot.device("drawn", region.shape, opened.dtype) if isinstance(out, np.ndarray) else region
    for low, _, bank in banks(codes, header.band_rows):
        start, pixels = (first + low) * columns, opened.rows * columns
        kernels.add_checksum(bank, start, pixels, total)
        if opened.present:
            shown = bank[:, kept]
            draw(shown, opened.start * pixels + start, pixels, in_banks(drawn, columns, low, shown))
    if isinstance(out, np.ndarray):
        down["drawn"] = drawn
    fetched = dict(zip(down, slot.fetch(**down), strict=True))
    if "refused" in fetched and fetched["refused"][0]:
        return None
    check_unpacked(fetched["strange"])
    if isinstance(out, np.ndarray):
        copy_array(region, fetched["drawn"])
    return int(fetched["total"][0])


def _check_kernels(lane: Lane) -> None:
    """Raise BackendUnavailableError unless the kernels give the same result as the CPU."""
    codes = np.arange(4099, dtype=np.uint32).astype(np.uint8).reshape(1, -1)
    expected = int(cpu.checksum(codes, 5, 4099))
    try:
        with lane.entered():
            actual = lane.backend.kernels.checksum(lane.put(codes), 5, 4099)
    except BackendUnavailableError:
        raise
    except Exception as error:  # NVRTC, the driver and missing libraries make CuPy raise anything
        raise BackendUnavailableError(
            f"the kernels cannot be compiled or run on GPU {lane.number} ({type(error).__name__}: "
            f"{error}); CuPy and "
            "NVRTC must fit the driver: pip install 'photon-gpu[cu12]' or 'photon-gpu[cu13]', and "
            "only one of them"
        ) from error
    if actual != expected:
        raise BackendUnavailableError(
            f"GPU {lane.number} computes a checksum of {actual:#x} where the CPU has {expected:#x}; it "
            f"cannot be trusted"
        )
