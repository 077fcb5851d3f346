"""Table of codes for the dark: bins that follow the photon peaks of a detector that resolves them.

Where a detector tells zero photons from one, most values lie near whole numbers of photons, and few lie in
the valleys between. The grid of :mod:`photon_gpu.engine.model.code_table` puts its boundaries anywhere, also
on a peak, which loses information about the light. This table gives each of the first peaks, and each side
of each valley, a bin of its own. FORMAT.md, "Photon peaks".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from photon_gpu.engine.model.anscombe import anscombe, stabilized_floor
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError

MOST_PEAKS = 8
LEAST_GAIN = 8.0
"""Least gain, ADU/photon: below it, half a valley holds no whole number."""

_PER_PHOTON = 3  # Bins: upper side of a valley, peak, lower side of the next valley.
_EDGES = (-10, -7, 7)  # Lower edges of these bins, from the peak, in 1/20 photon.
_POINTS = (-17, 0, 17)  # Values of these bins, from the peak, in 1/40 photon.


class PeakCodeTable(CodeTable):
    """Exact codes, thresholds and representatives of a movie with bins for its first photon peaks.

    Parameters
    ----------
    noise, step, dtype
        See :class:`~photon_gpu.engine.model.code_table.CodeTable`. The gain is at least 8 ADU/photon, and
        the dtype an integer.
    peaks : int
        Number of peaks with a bin of their own, from that of zero photons up, 1 to 8. Values below zero
        photons continue their lattice; values above the last valley have the codes of
        :class:`~photon_gpu.engine.model.code_table.CodeTable`.

    Examples
    --------
    >>> table = PeakCodeTable(NoiseModel(gain=100.0, offset=500.0, variance=625.0), step=0.5, dtype="int16",
    ...                       peaks=2)
    >>> codes = [table.code(value) for value in (500, 534, 535, 549, 550, 600, 664, 665)]
    >>> [code - codes[0] for code in codes]
    [0, 0, 1, 1, 2, 3, 5, 6]
    >>> table.decode_tables(codes[0], codes[0] + 3, "int16")[0].tolist()
    [500, 543, 558, 600]
    """

    def __init__(self, noise: NoiseModel, *, step: float, dtype: DTypeLike, peaks: int) -> None:
        super().__init__(noise, step=step, dtype=dtype)
        check_peaks(peaks, noise)
        if self.dtype.kind == "f":
            raise InvalidInputError(
                f"peaks is {peaks}; photon peaks need integers, and this movie is {self.dtype.name}: "
                "leave peaks out"
            )
        self.peaks = peaks
        self.lattice_end = self._edge(_PER_PHOTON * peaks)
        """Least value above the last valley, ADU."""
        self._end_code = super().code(self.lattice_end)

    def _edge(self, index: int) -> int:
        """Least value of a bin of the lattice; bin 0 is the peak of zero photons."""
        return int(self._edges_of(np.array([index]))[0])

    def _edges_of(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        photons, parts = np.divmod(indices + 1, _PER_PHOTON)
        photons_at = (20 * photons + np.array(_EDGES)[parts]) / 20
        return np.ceil(self.noise.offset + self.noise.gain * photons_at)

    def _index(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of each code's bin in the lattice; from ``3*peaks`` on, bins are those of the base class."""
        return codes - self._end_code + _PER_PHOTON * self.peaks

    def code(self, value: float, phase: int = 0) -> int:
        """See the base class."""
        code = super().code(value, phase)
        if value >= self.lattice_end:
            return code
        index = math.floor(_PER_PHOTON * (float(value) - self.noise.offset) / self.noise.gain)
        while self._edge(index) > value:
            index -= 1
        while self._edge(index + 1) <= value:
            index += 1
        return self._end_code - _PER_PHOTON * self.peaks + index

    def _lut(self, phase: int) -> NDArray[np.int32]:
        codes = super()._lut(phase)
        values = np.arange(codes.size, dtype=f"u{self.dtype.itemsize}").view(self.dtype).astype(np.int64)
        least = min(int(np.iinfo(self.dtype).min), self.lattice_end - 1)
        begin = self.code(least)
        edges = self._least(np.arange(begin, self._end_code + 1), phase)
        below = values < self.lattice_end
        codes[below] = begin + np.searchsorted(edges, values[below], side="right") - 1
        return codes

    def _least(self, codes: NDArray[np.int64], phase: int) -> NDArray[np.float64]:
        """See the base class."""
        indices = self._index(codes)
        in_lattice = indices <= _PER_PHOTON * self.peaks
        return np.where(in_lattice, self._edges_of(indices), super()._least(codes, phase))

    def _centres(
        self, codes: NDArray[np.int64], edges: tuple[NDArray, NDArray], phase: int
    ) -> NDArray[np.float64]:
        centres = super()._centres(codes, edges, phase)
        first, last = self._bins(edges)
        in_lattice = self._index(codes) < _PER_PHOTON * self.peaks
        points = np.clip(self._lattice_points(codes), first, np.maximum(first, last))
        return np.where(in_lattice, points, centres)

    def _lattice_points(self, codes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Value of each code's bin in the lattice, ADU."""
        photons, parts = np.divmod(self._index(codes) + 1, _PER_PHOTON)
        return self.noise.offset + self.noise.gain * ((40 * photons + np.array(_POINTS)[parts]) / 40)

    def most_moved(self, values: NDArray) -> NDArray[np.float64]:
        """See the base class. A peak's bin reaches 0.35 photons to each side."""
        photon = self.noise.gain / math.sqrt(stabilized_floor(self.noise))
        half = -_EDGES[1] / 20 * photon
        return np.where(values < self.lattice_end, max(half, 0.5 * self.step), 0.5 * self.step)

    def stabilized(self, codes: NDArray, phase: int) -> NDArray[np.float64]:
        """Stabilized value of a code: ``A`` of its bin's value in the lattice, else as in the base class."""
        codes = np.asarray(codes, np.int64)
        in_lattice = self._index(codes) < _PER_PHOTON * self.peaks
        of_lattice = anscombe(self._lattice_points(codes), self.noise)
        return np.where(in_lattice, of_lattice, super().stabilized(codes, phase))


def check_peaks(peaks: Any, noise: NoiseModel | None = None) -> int:
    """Return a number of peaks; raise InvalidInputError if it is not allowed, or not with this model."""
    if type(peaks) is not int or not 0 <= peaks <= MOST_PEAKS:
        raise InvalidInputError(
            f"peaks is {str(peaks)[:40]!r}; a number of photon peaks from 0 to {MOST_PEAKS}, or 'auto', is "
            "needed"
        )
    if peaks and noise is not None and noise.gain < LEAST_GAIN:
        raise InvalidInputError(
            f"peaks is {peaks}, and the gain {noise.gain:g} ADU/photon; bins between photon peaks need at "
            f"least {LEAST_GAIN:g}: leave peaks out"
        )
    return int(peaks)
