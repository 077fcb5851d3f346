"""Whether the quantization stays below the noise a movie really has.

The noise model says how wide the bins may be. Where it assumes more noise than
there is, the bins are too wide and information is lost; a few pairs of frames show it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError
from photon_gpu.noise import NoiseModel
from photon_gpu.sources.base import Source
from photon_gpu.tables import MAX_CODES, CodeTable
from photon_gpu.transform import anscombe

_PAIRS = 4
_PIXELS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class NoiseCheck:
    """Measured noise and quantization error of a sample, in the movie's units.

    Attributes
    ----------
    noise_sigma : float
        Root mean square of the noise, from differences of consecutive frames (ADU).
    error_sigma : float
        Root mean square of what decoding differs by (ADU).
    """

    noise_sigma: float
    error_sigma: float

    @property
    def effective_step(self) -> float:
        """Width of the uniform bins that make the same error, in measured sigmas."""
        if self.error_sigma == 0.0:
            return 0.0
        return math.sqrt(12.0) * self.error_sigma / self.noise_sigma if self.noise_sigma else math.inf

    @property
    def exceeds(self) -> bool:
        """Whether the bins are wider than the noise; a fifth is left for the sample's own scatter."""
        return self.effective_step > 1.2

    def message(self, noise: NoiseModel, step: float) -> str:
        """What to tell the owner of the movie."""
        added = self.effective_step**2 / 12.0
        return (
            f"the quantization is coarser than the noise of this movie: step {step:g} under {noise} makes bins "
            f"{self.effective_step:.2g} times the measured noise (sigma {self.noise_sigma:.3g} ADU, error "
            f"{self.error_sigma:.3g} ADU), which adds {added:.0%} to its variance. Measure the noise model of "
            "the detector, or take a smaller step"
        )


def check_noise(source: Source, noise: NoiseModel, step: float) -> NoiseCheck | None:
    """Compare quantization and noise on a few pairs of frames.

    Parameters
    ----------
    source : Source
    noise : NoiseModel
        Assumed.
    step : float
        Sigma, under that model.

    Returns
    -------
    NoiseCheck or None
        None where nothing can be said: a movie of one frame, or one that will be refused anyway.

    Examples
    --------
    >>> from photon_gpu.sources import open_source
    >>> movie = open_source(np.random.default_rng(0).poisson(50.0, (10, 64, 64)).astype("uint16"))
    >>> check_noise(movie, NoiseModel(), 0.5).exceeds
    False
    >>> check_noise(movie, NoiseModel(gain=40.0), 0.5).exceeds
    True
    """
    if source.shape[0] < 2:
        return None
    power = error = 0.0
    samples = 0
    starts = np.unique(np.linspace(0, source.shape[0] - 2, min(_PAIRS, source.shape[0] - 1)).astype(int))
    for start in starts:
        pair = source.read(int(start), int(start) + 2).reshape(2, -1)
        pair = pair[:, :: -(-pair.shape[1] // _PIXELS)]
        values = pair.astype(np.float64)
        if not np.isfinite(values).all():
            return None
        try:
            decoded = _decoded(pair, noise, step)
        except InvalidInputError:
            return None
        power += float(((values[1] - values[0]) ** 2).sum() / 2.0)
        error += float(((decoded - values) ** 2).sum() / 2.0)
        samples += pair.shape[1]
    return NoiseCheck(noise_sigma=math.sqrt(power / samples), error_sigma=math.sqrt(error / samples))


def _decoded(values: NDArray, noise: NoiseModel, step: float) -> NDArray[np.float64]:
    table = CodeTable(noise, step=step, dtype=values.dtype)
    codes = np.rint(anscombe(values, noise) / table.step).astype(np.int64)
    low, high = int(codes.min()), int(codes.max())
    if high - low >= MAX_CODES:
        raise InvalidInputError(f"the values span {high - low + 1:,} codes")
    return table.representatives(low, high)[codes - low]
