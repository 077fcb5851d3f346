"""Check properties that every pixel must have: not escaped, not clipped, decoded within its bin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_gpu.check.fidelity.property_verdicts import ReportLine, measured, skipped
from photon_gpu.check.fidelity.sample import difference
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.anscombe import anscombe

_ROUNDING = 1e-6
_SLAB = 1 << 21


@dataclass
class PixelComparison:
    """Compare raw and decoded values block by block, and count the differences.

    Attributes
    ----------
    pixels : int
    escaped : int
        Pixels stored farther from ``A(raw)`` than their bin reaches: half a step, or as a photon peak's.
    strayed : int
        Pixels whose decoded value lies outside the bin of their code.
    worst_bins, worst_sigma, worst_adu : float
        Greatest distance of a decoded value from its raw value: in widths of its bin, which is a step or that
        of a photon peak, in steps of the stabilized scale times the step, and in ADU.
    where : tuple of int
        Frame, row and column of that pixel.
    """

    encoding: Encoding
    pixels: int = 0
    escaped: int = 0
    strayed: int = 0
    high: int = 0
    low: int = 0
    worst_bins: float = 0.0
    worst_sigma: float = 0.0
    worst_adu: float = 0.0
    where: tuple[int, ...] = ()
    top: float = -np.inf
    bottom: float = np.inf
    raw_top: float = -np.inf
    raw_bottom: float = np.inf

    def add(self, raw: NDArray, counts: NDArray, residual: NDArray, frames: Sequence[int] | NDArray) -> None:
        """Add one block.

        Parameters
        ----------
        raw, counts, residual : ndarray of shape (T, rows, columns)
            Raw and decoded values, and the stored stabilized value minus ``A(raw)``.
        frames : sequence of int
            Frame numbers, for messages.
        """
        most = max(1, _SLAB // max(raw[0].size, 1))
        for start in range(0, len(raw), most):
            here = slice(start, start + most)
            self._add_slab(raw[here], counts[here], residual[here], frames[here])

    def _add_slab(
        self, raw: NDArray, counts: NDArray, residual: NDArray, frames: Sequence[int] | NDArray
    ) -> None:
        step = self.encoding.step or 0.0
        before, after = anscombe(raw, self.encoding.noise), anscombe(counts, self.encoding.noise)
        room = _ROUNDING * np.maximum(1.0, np.abs(before))
        half = self.encoding.table().most_moved(raw) if step else 0.0
        escaped = ~(np.abs(residual) <= half + room)
        strayed = ~(np.abs(after - before - residual) <= half + room)
        away = np.abs(after - before)
        self.pixels += raw.size
        self.escaped += int(escaped.sum())
        self.strayed += int(strayed.sum())
        far = away > 2.02 * half + room
        top, bottom = counts.max(), counts.min()
        # A cut-off range collects pixels at its end. A pixel there that is far from its raw value was
        # clipped.
        self.high += int((far & (counts == top) & (raw > counts)).sum())
        self.low += int((far & (counts == bottom) & (raw < counts)).sum())
        self.top, self.bottom = max(self.top, float(top)), min(self.bottom, float(bottom))
        self.raw_top = max(self.raw_top, float(raw.max()))
        self.raw_bottom = min(self.raw_bottom, float(raw.min()))
        # An integer bin next to bins without integers counts as one step wide.
        widths = away / (2 * half) if step else away
        worst = float(widths.max())
        self.worst_sigma = max(self.worst_sigma, float(away.max()))
        self.worst_adu = max(self.worst_adu, float(np.abs(difference(counts, raw)).max()))
        if worst > self.worst_bins:
            self.worst_bins = worst
            position = np.unravel_index(int(widths.argmax()), away.shape)
            self.where = (int(frames[int(position[0])]), *(int(i) for i in position[1:]))

    def lines(self, scope: str) -> list[ReportLine]:
        """Return the four lines; ``scope`` is the extent of the comparison, such as "in the sample"."""
        step = self.encoding.step or 0.0
        of = f"of {self.pixels:,} pixels {scope}"
        at = f"frame {self.where[0]}" if self.where else "no frame"
        clipped = self.high + self.low
        limits = (
            f"{self.high:,} cut to {self.top:g} ADU (raw reaches {self.raw_top:g}), "
            f"{self.low:,} raised to {self.bottom:g} ADU (raw reaches {self.raw_bottom:g})"
        )
        if not step:
            unit = "no step: "
            return [
                *(
                    measured(name, count, f"{count:,} {of}")
                    for name, count in (
                        ("escaped", self.escaped),
                        ("inverse", self.strayed),
                        ("clipped", clipped),
                    )
                ),
                skipped(
                    "worst", f"{unit}nothing was quantized; the worst pixel is {self.worst_adu:g} ADU off"
                ),
            ]
        unit = "bins" if self.encoding.peaks else "steps"
        half = "an inverse that is off by a code, or made for averages"
        cut = "a range of codes or values too small for this movie, as 8 bits are"
        return [
            measured(
                "escaped", self.escaped, f"{self.escaped:,} {of}", "clipping, or codes altered after encoding"
            ),
            measured("inverse", self.strayed, f"{self.strayed:,} {of}", half),
            measured("clipped", clipped, limits if clipped else f"0 {of}", cut),
            measured(
                "worst",
                self.worst_bins,
                f"{self.worst_bins:.2f} {unit}, {self.worst_sigma:.2f} sigma; {self.worst_adu:g} ADU ({at})",
            ),
        ]
