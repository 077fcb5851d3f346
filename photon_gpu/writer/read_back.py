"""Checking an encode before it says done: every chunk read back, and a sample held against the source.

``check=True`` compares the bytes of every chunk in the store with those encoded, and runs the
cheap lines of the fidelity report on a sample. ``check="full"`` also decodes every chunk and holds
every pixel against the source, which alone allows the source to be deleted. ``check="sample"`` reads nothing
back: it runs the lines on the bytes that go to the store, where that is slow to read or cannot be read yet.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.dequantize import STABILIZED
from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.settings import EncodeSettings, flag
from photon_gpu.sources.base import Source
from photon_gpu.store import metadata
from photon_gpu.store.storage import Storage

if TYPE_CHECKING:
    from photon_gpu.check.fidelity.lines import ReportLine

SAMPLE_PIXELS = 1 << 18
_EXACT = ("escaped", "inverse", "clipped")
_PIECE_BYTES = 32 << 20


class Checker:
    """Checks one encode as it goes.

    Parameters
    ----------
    mode : {True, "full", "sample"}
    layout : Layout
    target : Storage
        Where the chunks lie.
    source : Source
    chunk : tuple of int
        Shape of a chunk.
    """

    def __init__(
        self, mode: bool | str, layout: Layout, target: Storage, source: Source, chunk: tuple[int, ...]
    ) -> None:
        from photon_gpu.check.fidelity.chunk_sample import ChunkSample
        from photon_gpu.check.fidelity.exact import PixelComparison

        self.full = mode == "full"
        self._sample = ChunkSample() if mode == "sample" else None
        self._layout, self._target, self._source, self._chunk = layout, target, source, chunk
        self._exact = PixelComparison(layout.encoding)
        self._lock = threading.Lock()

    def chunk(self, name: str, start: int, data: bytes, values: NDArray) -> None:
        """Read a chunk that was just written; a difference is an error that names its frames."""
        if self._sample is not None:
            self._sample.add(start // self._chunk[0], self._layout, data, self._chunk, start, values)
            return
        frames = f"frames {start} to {start + len(values) - 1}"
        try:
            found = self._target.read(name)
        except FileNotFoundError as error:
            raise CorruptDataError(
                f"{self._target.url}: {name} ({frames}) was written and is not there"
            ) from error
        if found != data:
            raise CorruptDataError(
                f"{self._target.url}: {name} ({frames}) reads back as {len(found):,} bytes that are not the "
                f"{len(data):,} written; the disk or the store altered them: nothing was kept"
            )
        if self.full:
            with self._lock:  # one at a time: float64 takes room
                self._every_pixel(found, start, values)

    def _every_pixel(self, data: bytes, start: int, values: NDArray) -> None:
        number = start // self._chunk[0]
        encoding, frame = self._layout.encoding, max(values[0].size, 1)
        most = max(1, _PIECE_BYTES // (8 * frame)) if encoding.layout != "compact" else len(values)
        for first in range(0, len(values), most):
            last = min(first + most, len(values))
            raw = values[first:last].reshape(last - first, -1, values.shape[-1])
            counts = self._layout.decode(data, self._chunk, first, last, values.dtype, number=number).reshape(
                raw.shape
            )
            if encoding.layout == "lossless" or encoding.exact:
                if np.ascontiguousarray(raw).tobytes() != np.ascontiguousarray(counts).tobytes():
                    raise CorruptDataError(
                        f"frames {start + first} to {start + last - 1} do not decode to the source"
                    )
                self._exact.pixels += raw.size
                continue
            labels = self._layout.decode(data, self._chunk, first, last, STABILIZED, number=number)
            labels = labels.reshape(raw.shape)
            self._exact.add(raw, counts, labels - anscombe(raw, encoding.noise), first_frame=start + first)

    def finish(self, files: dict[str, list[Any]]) -> tuple[ReportLine, ...]:
        """Lines of the sample; what must hold for every pixel is an error where it does not."""
        from photon_gpu.check.fidelity.fidelity import cheap_lines
        from photon_gpu.reader.movie import Movie

        shape = self._source.shape
        lines: list[ReportLine] = []
        # Zeros in place of lost frames would fail every line, and frames on a GPU are not sent down unasked.
        sampled = self._source.device is None and not self._source.lost
        if self._sample is not None:
            lines = list(self._sample.finish(shape[0]))
        elif self._layout.encoding.noise is not None and sampled:
            described = metadata.describe(
                metadata.array_json(shape, self._chunk, self._layout),
                metadata.attributes_json(self._layout, {}),
                self._target.url,
            )
            movie = Movie(self._target, described, backend=self._layout.backend.name, listed=files)
            exact = self._exact if self.full else None
            lines = cheap_lines(self._source, movie, pixels=SAMPLE_PIXELS, exact=exact)
        refuse_inexact(self._target.url, lines)
        return tuple(lines)

    def said(self, lines: tuple[ReportLine, ...]) -> str:
        """One sentence for the report."""
        if self._sample is not None:
            return sentence("what was encoded, not what was stored", lines)
        done = "every chunk read back" + (", every pixel held against the source" if self.full else "")
        return sentence(f"{done}: whole", lines)


def refuse_inexact(url: str, lines: Iterable[ReportLine]) -> None:
    """CorruptDataError where a line fails that must hold for every pixel, whatever the noise model."""
    for line in lines:
        if line.status == "FAIL" and line.name in _EXACT:
            raise CorruptDataError(f"{url}: {line.title}: {line.found}; nothing was kept")


def sentence(done: str, lines: tuple[ReportLine, ...]) -> str:
    """What was done, and what a sample came to."""
    if not lines:
        return done
    if failed := [line.name for line in lines if line.status == "FAIL"]:
        return f"{done}; a sample fails on: {', '.join(failed)}"
    return f"{done}; a sample passes {sum(line.status == 'PASS' for line in lines)} of {len(lines)} lines"


def check_mode(settings: EncodeSettings, *, resume: bool, delete_source: bool) -> bool | str:
    """The check of an encode; InvalidInputError if resume or delete_source does not go with it."""
    if flag("delete_source", delete_source) and settings.check != "full":
        raise InvalidInputError("delete_source needs check='full': every pixel held against the source first")
    if resume and settings.check == "full":
        raise InvalidInputError(
            "check='full' holds every pixel against the source, and resume does not see again what it keeps: "
            "resume with check=True, then compare the whole with photon_gpu.fidelity"
        )
    return settings.check
