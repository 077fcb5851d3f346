"""Choose the preset that keeps up with a camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from photon_gpu.engine.model.code_table import supported_dtype
from photon_gpu.errors import InvalidInputError
from photon_gpu.tools.profiling.measured_combination import Measured

HEADROOM = 1.5
"""How many times faster than the camera a recommended encoder must be."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Camera that takes ``rate`` frames ``height x width`` of a dtype per second.

    Examples
    --------
    >>> Camera.parse("512x512x30").megabytes_per_second
    15.72864
    """

    height: int
    width: int
    rate: float
    dtype: str = "uint16"

    def __post_init__(self) -> None:
        if not (self.height > 0 and self.width > 0 and 0 < self.rate < 1e7):
            raise InvalidInputError(
                f"camera is {self.height} x {self.width} at {self.rate} Hz; positive numbers are needed"
            )
        object.__setattr__(self, "dtype", supported_dtype(self.dtype).name)

    @classmethod
    def parse(cls, text: str, dtype: str = "uint16") -> Camera:
        """Parse ``HEIGHTxWIDTHxRATE``, rate in Hz."""
        parts = str(text).lower().replace("hz", "").split("x")
        try:
            height, width, rate = int(parts[0]), int(parts[1]), float(parts[2])
        except (ValueError, IndexError, OverflowError):
            parts = []
        if len(parts) != 3:
            raise InvalidInputError(f"camera is {text!r}; HEIGHTxWIDTHxRATE is needed, as in 512x512x30")
        return cls(height=height, width=width, rate=rate, dtype=dtype)

    @property
    def megabytes_per_second(self) -> float:
        """Data rate, MB/s (1e6 bytes)."""
        return self.height * self.width * np.dtype(self.dtype).itemsize * self.rate / 1e6

    def advice(self, measured: Sequence[Measured]) -> Advice:
        """Return the combination with the best ratio among those that keep up with :data:`HEADROOM`."""
        needed = self.megabytes_per_second
        lossy = [m for m in measured if m.layout != "lossless"] or list(measured)
        able = [m for m in lossy if m.megabytes_per_second >= HEADROOM * needed]
        fastest = max(measured, key=lambda m: m.megabytes_per_second)
        # For equal ratios prefer fewer cores, which leaves the others to other programs.
        best = max(able, key=lambda m: (round(m.ratio, 2), -m.cores, m.megabytes_per_second), default=None)
        return Advice(camera=self, best=best, fastest=fastest)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Combination that suits a camera; ``best`` is None if none that was measured keeps up."""

    camera: Camera
    best: Measured | None
    fastest: Measured

    @property
    def text(self) -> str:
        """The advice in two sentences."""
        camera, fastest = self.camera, self.fastest
        needs = (
            f"your camera: {camera.height} x {camera.width} x {camera.rate:g} Hz {camera.dtype} needs "
            f"{camera.megabytes_per_second:,.1f} MB/s; this machine does {fastest.megabytes_per_second:,.0f} "
            f"({fastest.layout}, {fastest.preset}, {cores_text(fastest.cores)})"
        )
        if self.best is None:
            return (
                f"{needs}. None of the measured settings is {HEADROOM:g} times as fast as the camera: record "
                "losslessly or raw and encode later, or take more cores"
            )
        best = self.best
        times = best.megabytes_per_second / camera.megabytes_per_second
        return (
            f"{needs}. Use layout {best.layout}, preset {best.preset}, on {cores_text(best.cores)}: "
            f"ratio {best.ratio:.2f} at {best.megabytes_per_second:,.0f} MB/s, {times:,.1f} times "
            f"what the camera needs"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        best = self.best
        return {
            **asdict(self.camera),
            "megabytes_per_second": self.camera.megabytes_per_second,
            "layout": best.layout if best else None,
            "preset": best.preset if best else None,
            "cores": best.cores if best else None,
            "backend": best.backend if best else None,
            "advice": self.text,
        }


def cores_text(count: int) -> str:
    """Number of cores in words."""
    return f"{count} core{'s' if count > 1 else ''}"
