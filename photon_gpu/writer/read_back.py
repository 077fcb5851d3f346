"""Check an encode before it reports success: read back every chunk, and compare a sample with the source.

``check=True`` compares the bytes of every chunk in the store with those encoded, and computes the cheap lines
of the fidelity report on a sample. ``check="full"`` also decodes every chunk and compares every pixel with
the source, which is required for deleting the source. ``check="sample"`` reads nothing back: it computes the
lines from the bytes that are written, for stores that are slow or cannot be read yet.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.check.warn_failed_checks import tally
from photon_gpu.encode_settings import EncodeSettings, flag
from photon_gpu.engine.codec.requested_part import STABILIZED, ChunkPart
from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.sources.base import Source
from photon_gpu.store import manifest
from photon_gpu.store.chunk_grid import chunk_name
from photon_gpu.store.storage import Storage

if TYPE_CHECKING:
    from photon_gpu.check.fidelity.property_verdicts import ReportLine
    from photon_gpu.check.fidelity.within_bin import PixelComparison

SAMPLE_PIXELS = 1 << 18
_EXACT = ("escaped", "inverse", "clipped")
_PIECE_BYTES = 32 << 20


class Checker:
    """Check one encode while it runs.

    Parameters
    ----------
    mode : {True, "full", "sample"}
    layout : Layout
    target : Storage
        Folder of the chunks.
    source : Source
    chunk : tuple of int
        Shape of a chunk.
    """

    def __init__(
        self, mode: bool | str, layout: Layout, target: Storage, source: Source, chunk: tuple[int, ...]
    ) -> None:
        from photon_gpu.check.fidelity.sample_during_encode import PlannedSample
        from photon_gpu.check.fidelity.within_bin import PixelComparison

        self.full, self._reads_back = mode == "full", mode != "sample"
        self._layout, self._target, self._source, self._chunk = layout, target, source, chunk
        self._exact = [PixelComparison(one.encoding) for one in layout.channels]
        self._lock = threading.Lock()
        self._sample: PlannedSample | None = None
        if source.device is None:  # Frames on a GPU are not copied to the host.
            self._sample = PlannedSample(layout, source.shape, chunk, pixels=SAMPLE_PIXELS, lost=source.lost)

    def chunk(self, name: str, start: int, data: bytes, values: NDArray) -> None:
        """Check a chunk that was just written.

        Parameters
        ----------
        name : str
            File name of the chunk.
        start : int
            Number of its first frame.
        data : bytes
            Bytes that were written.
        values : ndarray
            The frames it was encoded from.

        Raises
        ------
        CorruptDataError
            The chunk reads back differently or does not decode; the message names the frames.
        """
        frames = f"frames {start} to {start + len(values) - 1}"
        if self._reads_back:
            self._compare(name, frames, data)
        if self._sample is not None:
            self._add(start // self._chunk[0], frames, data, values)
        if self.full:
            with self._lock:  # One at a time, because float64 takes much memory.
                self._every_pixel(data, start, values)

    def _compare(self, name: str, frames: str, data: bytes) -> None:
        try:
            if self._target.holds(name, data):
                return
            size = len(self._target.read(name))
        except FileNotFoundError as error:
            raise CorruptDataError(
                f"{self._target.url}: {name} ({frames}) was written but does not exist"
            ) from error
        raise CorruptDataError(
            f"{self._target.url}: {name} ({frames}) reads back as {size:,} bytes that are not the "
            f"{len(data):,} written; the disk or the store altered them: nothing was kept"
        )

    def _add(self, number: int, frames: str, data: bytes, values: NDArray) -> None:
        assert self._sample is not None
        if number not in self._sample.missing:
            return
        try:
            self._sample.add(number, data, values)
        except CorruptDataError as error:
            raise CorruptDataError(
                f"{self._target.url}: {frames} do not decode: {error}; nothing was kept"
            ) from error

    def _every_pixel(self, data: bytes, start: int, values: NDArray) -> None:
        parts = self._layout.split(values)
        for layout, part, exact in zip(self._layout.channels, parts, self._exact, strict=True):
            self._every_pixel_of(layout, data, start, part, exact)

    def _every_pixel_of(
        self, layout: Layout, data: bytes, start: int, values: NDArray, exact: PixelComparison
    ) -> None:
        number, chunk = start // self._chunk[0], self._layout.channel_shape(self._chunk)
        encoding, frame = layout.encoding, max(values[0].size, 1)
        most = max(1, _PIECE_BYTES // (8 * frame)) if encoding.layout != "compact" else len(values)
        for first in range(0, len(values), most):
            last = min(first + most, len(values))
            raw = values[first:last].reshape(last - first, -1, values.shape[-1])
            part = ChunkPart(chunk, first, last, number=number)
            counts = layout.decode(data, part, values.dtype)
            counts = counts.reshape(raw.shape)
            if encoding.layout == "lossless" or encoding.exact:
                if np.ascontiguousarray(raw).tobytes() != np.ascontiguousarray(counts).tobytes():
                    raise CorruptDataError(
                        f"frames {start + first} to {start + last - 1} do not decode to the source"
                    )
                exact.pixels += raw.size
                continue
            labels = layout.decode(data, part, STABILIZED)
            labels = labels.reshape(raw.shape)
            residual = labels - anscombe(raw, encoding.noise)
            exact.add(raw, counts, residual, range(start + first, start + last))

    def finish(self, files: dict[str, list[Any]]) -> tuple[ReportLine, ...]:
        """Return the lines of the sample.

        Parameters
        ----------
        files : dict
            Size and checksum of each chunk by file name.

        Raises
        ------
        CorruptDataError
            A line that must hold for every pixel fails.
        """
        if self._sample is None:
            return ()
        if self._reads_back:
            for number in sorted(self._sample.missing):  # An earlier encode stored these chunks.
                name = chunk_name(number, len(self._chunk))
                data, start = self._target.read(name), number * self._chunk[0]
                manifest.check(name, data, files, self._target.url)
                stop = min(start + self._chunk[0], self._source.shape[0])
                self._add(number, f"frames {start} to {stop - 1}", data, self._source.read(start, stop))
        lines = self._sample.lines(self._exact if self.full else ())
        refuse_inexact(self._target.url, lines)
        return lines

    def summary(self, lines: tuple[ReportLine, ...]) -> str:
        """One sentence for the report."""
        if not self._reads_back:
            return sentence("what was encoded, not what was stored", lines)
        done = "every chunk read back" + (", every pixel compared with the source" if self.full else "")
        return sentence(f"{done}: whole", lines)


def refuse_inexact(url: str, lines: Iterable[ReportLine]) -> None:
    """Raise CorruptDataError if a line fails that must hold for every pixel and any noise model."""
    for line in lines:
        if line.status == "FAIL" and line.name in _EXACT:
            raise CorruptDataError(f"{url}: {line.title}: {line.found}; nothing was kept")


def sentence(done: str, lines: tuple[ReportLine, ...]) -> str:
    """Describe the check and its result on the sample."""
    if not lines:
        return done
    if failed := [line.name for line in lines if line.status == "FAIL"]:
        return f"{done}; a sample fails on: {', '.join(failed)}"
    return f"{done}; lines checked on a sample: {tally(lines)}"


def check_mode(settings: EncodeSettings, *, resume: bool, delete_source: bool) -> bool | str:
    """Return the mode of the check; raise InvalidInputError if resume or delete_source excludes it."""
    if flag("delete_source", delete_source) and settings.check != "full":
        raise InvalidInputError(
            "delete_source needs check='full', which compares every pixel with the source first"
        )
    if resume and settings.check == "full":
        raise InvalidInputError(
            "check='full' compares every pixel with the source, and resume does not read again what it "
            "keeps: resume with check=True, then compare the whole with photon_gpu.fidelity"
        )
    return settings.check
