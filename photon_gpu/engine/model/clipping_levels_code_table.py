"""Code table in which each clipping level has a code of its own.

The bin that holds such a level is cut into up to three: the values below the level, the level, and the
values above it. At the upper end the code of the level moves up by one, and codes beyond it by two; at the
lower end codes move down likewise. All other codes are those of the table without levels. FORMAT.md,
"Clipping levels".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.engine.model.clipping_levels import ClippingLevels
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.model.photon_peak_code_table import PeakCodeTable

MARKS = 4
"""Labels of clipping levels lie on a grid this many times finer than the step."""


class ClippedCodeTable(CodeTable):
    """Exact codes, thresholds and representatives of a movie with clipping levels.

    Parameters
    ----------
    noise, step, dtype, phases
        See :class:`~photon_gpu.engine.model.code_table.CodeTable`.
    clipping : ClippingLevels
    peaks : int
        Number of photon peaks with bins of their own;
        see :class:`~photon_gpu.engine.model.photon_peak_code_table.PeakCodeTable`.

    Examples
    --------
    >>> table = ClippedCodeTable(NoiseModel(gain=100.0), step=0.5, dtype="uint16", phases=1,
    ...                          clipping=ClippingLevels(high=16383))
    >>> [table.code(value) for value in (16382, 16383, 16384)]
    [51, 52, 53]
    >>> table.decode_tables(51, 53, "uint16")[0].tolist()
    [16218, 16383, 16462]
    """

    def __init__(
        self,
        noise: NoiseModel,
        *,
        step: float,
        dtype: DTypeLike,
        phases: int,
        clipping: ClippingLevels,
        peaks: int = 0,
    ) -> None:
        super().__init__(noise, step=step, dtype=dtype, phases=phases)
        self._uncut = (
            PeakCodeTable(noise, step=step, dtype=dtype, peaks=peaks)
            if peaks
            else CodeTable(noise, step=step, dtype=dtype, phases=phases)
        )
        self._low, self._high = clipping.low, clipping.high
        self._low_codes, self._high_codes = (
            [] if end is None else [self._uncut.code(end, phase) for phase in range(phases)]
            for end in (self._low, self._high)
        )

    @property
    def clipping_levels(self) -> tuple[int | None, int | None]:
        """See the base class."""
        return self._low, self._high

    @property
    def needed(self) -> bool:
        """Whether a level shares its bin with other values."""
        ends = [(self._low, self._low_codes), (self._high, self._high_codes)]
        for end, codes in ends:
            for phase, code in enumerate(codes):
                first, last = (int(edge[0]) for edge in self._uncut.bins(code, code, phase))
                if not first == end == last:
                    return True
        return False

    def code(self, value: float, phase: int = 0) -> int:
        """See the base class."""
        code = self._uncut.code(value, phase)
        if self._high is not None:
            code += int(value >= self._high) + int(value > self._high)
        if self._low is not None:
            code -= int(value <= self._low) + int(value < self._low)
        return code

    def _lut(self, phase: int) -> NDArray[np.int32]:
        codes = self._uncut._lut(phase)
        values = np.arange(codes.size, dtype=f"u{self.dtype.itemsize}").view(self.dtype).astype(np.int64)
        if self._high is not None:
            codes += (values >= self._high).astype(np.int32) + (values > self._high)
        if self._low is not None:
            codes -= (values <= self._low).astype(np.int32) + (values < self._low)
        return codes

    def _least(self, codes: NDArray[np.int64], phase: int) -> NDArray[np.float64]:
        """See the base class."""
        uncut = codes.copy()
        at_level: list[tuple[int, float]] = []
        if self._high is not None:
            cut = self._high_codes[phase]
            uncut[codes > cut] -= 2
            at_level += [(cut + 1, float(self._high)), (cut + 2, self._high + 1.0)]
        if self._low is not None:
            cut = self._low_codes[phase]
            uncut[codes <= cut] = codes[codes <= cut] + 2
            at_level += [(cut, self._low + 1.0), (cut - 1, float(self._low))]
        out = self._uncut._least(uncut, phase)
        for code, value in at_level:
            out[codes == code] = value
        return out

    def _whole(self, codes: NDArray[np.int64], phase: int) -> NDArray[np.int64]:
        """Return the code of the uncut bin of each code."""
        whole = codes
        if self._low is not None:
            cut = self._low_codes[phase]
            whole = np.where(codes < cut, np.minimum(codes + 2, cut), whole)
        if self._high is not None:
            cut = self._high_codes[phase]
            whole = np.where(codes > cut, np.maximum(codes - 2, cut), whole)
        return whole

    def _points(
        self, codes: NDArray[np.int64], edges: tuple[NDArray, NDArray], phase: int
    ) -> NDArray[np.float64]:
        whole, index = np.unique(self._whole(codes, phase), return_inverse=True)
        points = self._uncut._points(whole, self._uncut._edges(whole, phase), phase)[index]
        first, last = self._bins(edges)
        cut = [levels[phase] for levels in (self._low_codes, self._high_codes) if levels]
        # If the point of the whole bin is outside the part, take the middle of the part instead.
        outside = np.isin(whole[index], cut) & ((points < first) | (points > last)) & (first <= last)
        return np.where(outside, 0.5 * (first + last), points)

    def most_moved(self, values: NDArray) -> NDArray[np.float64]:
        """See the base class."""
        return self._uncut.most_moved(values)

    def labels(self, codes: NDArray) -> NDArray[np.float64]:
        """See the base class. There is no dither where labels are stored."""
        return self.stabilized(codes, 0)

    def stabilized(self, codes: NDArray, phase: int) -> NDArray[np.float64]:
        """A level's value is a quarter of a step from that of its bin, towards ``A``."""
        out = self._uncut.stabilized(self._whole(codes.astype(np.int64), phase), phase)
        for code, of, side in self._marks(phase):
            out[codes == code] = (MARKS * (of + self.shift(phase)) + side) * (self.step / MARKS)
        if isinstance(self._uncut, PeakCodeTable):
            # The lattice has labels of its own; a level in it is stabilized as it is.
            for end in (self._low, self._high):
                if end is not None and end < self._uncut.lattice_end:
                    out[codes == self.code(end)] = anscombe(np.float64(end), self.noise)
        return out

    def codes_of_marked(self, marked: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
        """Convert labels in units of ``step/MARKS``, without dither, to codes; count impossible labels."""
        least, most = (int(marked.min()), int(marked.max())) if marked.size else (0, 0)
        if most - least >= marked.size:
            codes, strange = self.codes_of_each_mark(marked)
            return codes, int(np.count_nonzero(strange))
        # Every label that can occur is converted once, which is faster than every sample.
        codes, strange = self.codes_of_each_mark(
            np.arange(most - least + 1, dtype=np.int32) + np.int32(least)
        )
        codes[strange] = np.iinfo(np.int32).min  # no code is that low
        codes = codes.take(marked - np.int32(least), mode="clip")  # which never clips, and spares a copy
        impossible = codes == np.iinfo(np.int32).min
        return codes, int(np.count_nonzero(impossible))

    def codes_of_each_mark(self, marked: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return the code of each label of :meth:`codes_of_marked`, and whether the label is impossible."""
        whole, rest = marked >> 2, marked & 3
        codes = whole.copy()
        # Values below and above a level in its bin share a label; it is read as one of the two parts.
        if self._high is not None:
            cut = self._high_codes[0]
            codes += 2 * (whole > cut - (self._uncut.bins(cut, cut)[0][0] == self._high))
        if self._low is not None:
            cut = self._low_codes[0]
            codes -= 2 * (whole < cut + (self._uncut.bins(cut, cut)[1][0] == self._low))
        strange = rest != 0
        for code, of, side in self._marks(0):
            here = marked == MARKS * of + side
            codes[here] = code
            strange &= ~here
        return codes, strange

    def _marks(self, phase: int) -> list[tuple[int, int, int]]:
        """Return for each level its code, the code of its whole bin, and its side of that bin's label."""
        marks = []
        for end, codes, away in ((self._low, self._low_codes, -1), (self._high, self._high_codes, 1)):
            if end is not None:
                of = codes[phase]
                side = (
                    1 if anscombe(np.float64(end), self.noise) / self.step - self.shift(phase) >= of else -1
                )
                marks.append((of + away, of, side))
        return marks
