"""Parameters of a simulated movie: scene, light, detector and seed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError, UnsupportedTypeError


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Parameters of a simulated movie. Equal parameters give equal movies.

    Parameters
    ----------
    frames, height, width : int
        Shape of the movie.
    dtype : str or numpy.dtype
        int8 to int64, uint8 to uint64 (rounded and clipped) or float32, float64 (neither).
    seed : int
        Integer from 0.
    photons : float
        Mean photons per pixel and frame of the scene at rest, before bleaching, flashes and firing.
        0 is a dark recording.
    gain : float
        ADU per photon.
    offset : float
        ADU of a pixel that sees no light.
    read_noise_adu : float
        Standard deviation of a pixel that sees no light, ADU, before rounding.
    excess_noise : float
        Excess noise factor F of the detector, 1 or more: each photon's charge varies so that the variance
        of the light is F times that of Poisson. PMTs have 1.1 to 1.5, EMCCDs 2.
    full_scale : float, optional
        Largest value of the digitizer, ADU, if less than the dtype's limit (4095 for 12 bits).
    contrast : float
        Standard deviation of the logarithm of the background's brightness. 0 is a flat field.
    cells : int
        Cells in the field of view.
    cell_radius : float
        Radius of a cell body, pixels.
    activity : float
        Transients per second and cell.
    response : float
        Mean peak dF/F of one transient.
    frame_rate : float
        Frames per second.
    decay_s : float
        Decay time of a transient, seconds.
    motion : float
        Root mean square displacement of the scene along each axis, pixels: slow drift and frame jitter.
    bleaching : float
        Fraction of the light lost, exponentially, from the first frame to the last. Below 1.
    flashes : float
        Fraction of frames in which stray light of 1 to 5 times ``photons`` falls on every pixel.
    lines : float
        Fraction of rows in which the light is cut to between 0 and 80 % (line artefacts).

    Raises
    ------
    InvalidInputError, UnsupportedTypeError
        If a parameter is out of its range.

    Examples
    --------
    >>> simulation = Simulation(frames=10, dtype="uint16", gain=2.5, offset=100)
    >>> Simulation.from_dict(simulation.to_dict()) == simulation
    True
    """

    frames: int = 300
    height: int = 256
    width: int = 256
    dtype: str = "int16"
    seed: int = 0
    photons: float = 6.0
    gain: float = 100.0
    offset: float = 90.0
    read_noise_adu: float = 30.0
    excess_noise: float = 1.0
    full_scale: float | None = None
    contrast: float = 0.4
    cells: int = 60
    cell_radius: float = 6.0
    activity: float = 0.2
    response: float = 2.0
    frame_rate: float = 30.0
    decay_s: float = 0.6
    motion: float = 0.5
    bleaching: float = 0.0
    flashes: float = 0.0
    lines: float = 0.0

    def __post_init__(self) -> None:
        try:
            dtype = np.dtype(self.dtype)
        except TypeError:
            dtype = np.dtype(object)
        if dtype.kind not in "iuf" or (dtype.kind == "f" and dtype.itemsize not in (4, 8)):
            raise UnsupportedTypeError(
                f"simulate: dtype is {self.dtype!r}; "
                "allowed are int8 to int64, uint8 to uint64, float32, float64"
            )
        object.__setattr__(self, "dtype", dtype.name)
        for name, whole_range in _WHOLE.items():
            object.__setattr__(self, name, _whole(name, getattr(self, name), *whole_range))
        for name, range_ in _REAL.items():
            object.__setattr__(self, name, _real(name, getattr(self, name), *range_))
        if self.full_scale is not None:
            object.__setattr__(self, "full_scale", _real("full_scale", self.full_scale, *limits(dtype)))

    @property
    def noise(self) -> NoiseModel:
        """The true noise model: ``var(z) = gain * (z - offset) + variance``.

        The slope is ``gain * excess_noise``. The variance is ``read_noise_adu**2``, plus 1/12 ADU^2 for
        integers, which are rounded (Sheppard's correction; within 1 % if ``read_noise_adu`` is at least 0.6).
        Without read noise, and with whole gain and offset, values are whole and nothing is added.
        """
        exact = self.read_noise_adu == 0 and self.excess_noise == 1
        exact = exact and self.gain.is_integer() and self.offset.is_integer()
        rounding = 0.0 if exact or np.dtype(self.dtype).kind == "f" else 1 / 12
        return NoiseModel(
            gain=self.gain * self.excess_noise,
            offset=self.offset,
            variance=self.read_noise_adu**2 + rounding,
        )

    def to_dict(self) -> dict[str, Any]:
        """Dictionary that can be written as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Simulation:
        """Simulation from a dictionary of :meth:`to_dict`; unknown keys are an error."""
        refuse_unknown(data)
        return cls(**data)


def limits(dtype: np.dtype) -> tuple[float, float]:
    """Lowest and highest value of a dtype, as floats that convert back without overflow."""
    if dtype.kind == "f":
        return -math.inf, math.inf
    info = np.iinfo(dtype)
    high = float(info.max)
    return float(info.min), high if int(high) == info.max else math.nextafter(high, 0)


_WHOLE = {
    "frames": (1, 10**9),
    "height": (1, 10**5),
    "width": (1, 10**5),
    "seed": (0, 2**64 - 1),
    "cells": (0, 10**4),
}
_REAL = {
    "photons": (0.0, 1e9),
    "gain": (1e-6, 1e9),
    "offset": (-1e9, 1e9),
    "read_noise_adu": (0.0, 1e9),
    "excess_noise": (1.0, 10.0),
    "contrast": (0.0, 2.0),
    "cell_radius": (0.5, 500.0),
    "activity": (0.0, 20.0),
    "response": (0.0, 100.0),
    "frame_rate": (1e-3, 1e5),
    "decay_s": (1e-3, 60.0),
    "motion": (0.0, 100.0),
    "bleaching": (0.0, 0.999),
    "flashes": (0.0, 1.0),
    "lines": (0.0, 1.0),
}


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise InvalidInputError(
            f"simulate: {name} is {value!r}; a whole number from {low} to {high} is needed"
        )
    return int(value)


def _real(name: str, value: Any, low: float, high: float) -> float:
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not low <= value <= high:  # NaN fails the comparison
        raise InvalidInputError(f"simulate: {name} is {value!r}; a number from {low:g} to {high:g} is needed")
    return float(value)


def refuse_unknown(data: dict[str, Any]) -> None:
    """Raise InvalidInputError if a key is not a field of :class:`Simulation`."""
    allowed = [field.name for field in fields(Simulation)]
    unknown = sorted(set(data) - set(allowed))
    if unknown:
        raise InvalidInputError(
            f"simulate: unknown parameter {unknown[0]!r}; allowed are {', '.join(allowed)}"
        )
