"""The noise model of a detector: ``var(z) = gain * (z - offset) + variance``.

Source: the photon-transfer line (Janesick, *Photon Transfer*, SPIE 2007);
``gain`` in ADU per photon, ``offset`` in ADU, ``variance`` in ADU squared.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from photon_gpu.errors import InvalidInputError

_LIMIT = 1e12


@dataclass(frozen=True, kw_only=True)
class NoiseModel:
    """Noise model of a photon-limited detector: the line of variance against mean.

    Parameters
    ----------
    gain : float
        Detector gain, ADU per photon. Positive.
    offset : float
        Value of a pixel that saw no light, ADU.
    variance : float
        Variance of a pixel that saw no light (read noise squared), ADU^2.
        Not negative.

    Raises
    ------
    InvalidInputError
        If a parameter is not finite or out of its range.

    Examples
    --------
    >>> camera = NoiseModel(gain=2.0, offset=100.0, variance=9.0)
    >>> camera.sigma(300.0)
    20.223748416156685
    >>> NoiseModel.from_dict(camera.to_dict()) == camera
    True
    """

    gain: float = 1.0
    offset: float = 0.0
    variance: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            try:
                if isinstance(value, bool | str | bytes):
                    raise TypeError
                value = float(value)
            except (TypeError, ValueError):
                raise InvalidInputError(f"noise model: {name} is {value!r}; a number is needed") from None
            if not math.isfinite(value) or abs(value) > _LIMIT:
                raise InvalidInputError(
                    f"noise model: {name} is {value!r}; a finite number up to {_LIMIT:g} is needed"
                )
            object.__setattr__(self, name, value)
        if self.gain < 1e-6:
            raise InvalidInputError(
                f"noise model: gain is {self.gain!r} ADU/photon; it must be positive (at least 1e-6)"
            )
        if self.variance < 0:
            raise InvalidInputError(
                f"noise model: variance is {self.variance!r} ADU^2; it must be 0 or more "
                "(it is the read noise squared; a negative intercept belongs in offset)"
            )

    def sigma(self, value: float) -> float:
        """Standard deviation, in ADU, of a pixel whose mean is ``value`` ADU."""
        return math.sqrt(max(self.gain * (value - self.offset), 0.0) + self.variance)

    def photons(self, value: float) -> float:
        """Mean photon count of a pixel whose mean is ``value`` ADU."""
        return (value - self.offset) / self.gain

    def to_dict(self) -> dict[str, float]:
        """Dictionary that can be written as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NoiseModel:
        """Noise model from a dictionary of :meth:`to_dict`; unknown keys are an error."""
        unknown = set(data) - {"gain", "offset", "variance"}
        if unknown:
            raise InvalidInputError(
                f"noise model: unknown key {sorted(unknown)[0]!r}; allowed are gain, offset, variance"
            )
        return cls(**data)


def noise_floor_bits(step: float) -> float:
    """Bits per sample of noise of sigma 1, quantized with a step: ``log2(sqrt(2*pi*e)/step)``.

    The entropy of a Gaussian in bins of ``step`` (Cover and Thomas, *Elements of Information
    Theory*, theorem 8.3.1); no predictor gets below it.

    Examples
    --------
    >>> round(noise_floor_bits(0.5), 2)
    3.05
    """
    return math.log2(math.sqrt(2.0 * math.pi * math.e) / step)
