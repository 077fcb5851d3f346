"""Compare a stated noise model with the noise of a movie, level by level of light.

The noise model sets the width of the bins. If it assumes more noise than the movie has, bins are too wide
and information is lost. A few short runs of frames are enough to see this.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.dequantize import LARGEST_TABLE
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.engine.model.code_table import MAX_CODES
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError
from photon_gpu.estimate.sample import Window
from photon_gpu.estimate.value_histogram import survey
from photon_gpu.sources.base import Source
from photon_gpu.sources.missing_frames import without_lost

WARN, ERROR = 0.05, 0.10
"""Excess variance for a warning, and for an error; see docs/trust.md, "A model you state"."""
ADVICE = "Give noise='auto', which measures it, or trust_noise=True to keep it"
# The limits are for this step. At larger steps they grow with the variance that the step adds.
AT_STEP = 0.5

_RUNS, _RUN_FRAMES, _LEAST_FRAMES = 4, 6, 4
_PIXELS = 1 << 14  # pixels of a frame to use
_READ_BYTES = 64 << 20  # bytes to read at once
_BANDS, _LEAST_ROWS = 4, 8
_LEVELS = 10
_LEAST_SAMPLES = 25  # fewest samples of a group
_FLOORED = 1e-3  # A level with a larger share of values at the clipping floor is left out.
_SIGMAS = 3.0
_WHITE = 0.2  # Least share of the change between frames that neighbouring pixels do not share.


@dataclass(frozen=True, kw_only=True)
class LightLevel:
    """Noise measured at one level of light, a tenth of the pixels.

    Attributes
    ----------
    signal : float
        Mean value, ADU.
    noise : float
        Variance of the noise, ADU^2.
    noise_error : float
        Standard error of ``noise``, ADU^2.
    modelled : float
        Variance that the model assumes here, ADU^2.
    error : float
        Mean squared difference of decoded values, ADU^2.
    """

    signal: float
    noise: float
    noise_error: float
    modelled: float
    error: float


@dataclass(frozen=True, kw_only=True)
class NoiseCheck:
    """Comparison of a stated noise model with the noise of a movie.

    Attributes
    ----------
    noise : NoiseModel
        Stated model.
    step : float
        Step, sigma under that model.
    levels : tuple of LightLevel
        Levels in which the noise could be measured, from dim to bright; at least one.
    """

    noise: NoiseModel
    step: float
    levels: tuple[LightLevel, ...]

    @property
    def promised(self) -> float:
        """Share that the step adds to the variance of the noise if the model is right: step^2/12."""
        return self.step**2 / 12.0

    @property
    def worst(self) -> LightLevel:
        """Level whose noise grows most by quantization."""
        return max(self.levels, key=self._added)

    @property
    def added(self) -> float:
        """Least share that quantization adds to the variance of the noise at the worst level.

        Below one photon even the right model adds more than ``promised``, because bins do not narrow any
        further. This is not counted, as it is not a fault of the model. The share is also limited to the
        actual difference of the decoded values.
        """
        return self._added(self.worst)

    @property
    def severity(self) -> str:
        """``"ok"``, ``"warn"`` or ``"error"``."""
        scale = max(1.0, (self.step / AT_STEP) ** 2)
        return "error" if self.added > ERROR * scale else "warn" if self.added > WARN * scale else "ok"

    def message(self, name: str, advice: str) -> str:
        """Return one sentence: what was stated, what was measured, and ``advice``."""
        at, noise = self.worst, self.noise
        return (
            f"{name[-60:]}: gain {noise.gain:g}, offset {noise.offset:g}, variance {noise.variance:g} "
            f"contradict it: "
            f"at {at.signal:.4g} ADU the noise has a variance of {at.noise:.3g} ADU^2, not "
            f"{at.modelled:.3g}; step "
            f"{self.step:g} adds {self.added:.0%} to it, not {self.promised:.1%}. {advice}"
        )

    def _added(self, level: LightLevel) -> float:
        # Take the noise at the upper end of its interval, so that only a contradiction measured with
        # confidence counts.
        noise = level.noise + _SIGMAS * level.noise_error
        return min(self.promised * level.modelled, level.error) / noise


def check_noise(source: Source, noise: NoiseModel, step: float) -> NoiseCheck | None:
    """Compare quantization and noise on a few runs of frames, at ten levels of light.

    Parameters
    ----------
    source : Source
        At most 24 frames are read.
    noise : NoiseModel
        Stated model.
    step : float
        Step, sigma under that model.

    Returns
    -------
    NoiseCheck or None
        None if no noise can be measured (fewer than 4 frames, frames on a GPU, values that do not change or
        change too smoothly for noise, too few pixels), or if encoding will refuse the movie.

    Notes
    -----
    The noise is the variance of second differences of three frames, minus their covariance with pixels two
    away (motion, flicker). Other frames sort the pixels into levels, so noise does not select its own level.
    Dead pixels, saturated pixels, and levels that are cut off at the floor are left out. The value of a level
    is the median of up to 64 groups, each from one place and time. So motion in fewer than half of them has
    no effect.

    Examples
    --------
    >>> from photon_gpu.sources.open import open_source
    >>> movie = open_source(np.random.default_rng(0).poisson(50.0, (10, 64, 64)).astype("uint16"))
    >>> check_noise(movie, NoiseModel(), 0.5).severity
    'ok'
    >>> check_noise(movie, NoiseModel(gain=40.0), 0.5).severity
    'error'
    """
    source = without_lost(source)
    if source.device is not None or source.shape[0] < _LEAST_FRAMES:
        return None
    bands = list(_bands(source))
    levels = survey([Window(start=0, plane=0, row=0, frames=run) for band, _ in bands for run in band])
    # If the model has no noise at the lowest value, as at zero photons, nothing is cut off there.
    cut = noise.sigma(levels.bottom) ** 2 > 0.1 * noise.gain**2 if np.isfinite(levels.bottom) else False
    bottom = levels.bottom if cut else -np.inf
    try:
        parts = [
            part
            for band, position in bands
            for part in _measured(band, position, noise, step, levels.top, bottom)
        ]
    except InvalidInputError:
        return None
    if not parts:
        return None
    samples = _Samples(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    compared = tuple(_levels(samples, noise))
    return NoiseCheck(noise=noise, step=step, levels=compared) if compared else None


def judge_noise(source: Source, noise: NoiseModel, step: float, *, advice: str = ADVICE) -> tuple[str, str]:
    """Return severity and text of :func:`check_noise`: "ok", "note" (not measured), "warn" or "error".

    Examples
    --------
    >>> from photon_gpu.sources.open import open_source
    >>> judge_noise(open_source(np.ones((5, 8, 8), "uint16")), NoiseModel(), 0.5)[0]
    'note'
    """
    check = check_noise(source, noise, step)
    if check is None:
        return "note", "the noise of this movie could not be measured: the noise model was taken as stated"
    return check.severity, "" if check.severity == "ok" else check.message(source.name, advice)


@dataclass(frozen=True)
class _Samples:
    """Samples of one pixel in three frames each; all arrays have shape (N,)."""

    light: NDArray
    signal: NDArray
    square: NDArray
    white: NDArray
    error: NDArray
    group: NDArray
    floored: NDArray


def _bands(source: Source) -> Iterator[tuple[NDArray[Any], int]]:
    """Read short runs of a band of rows, shape (runs, frames, rows, columns), from the whole movie.

    Planes and large frames give a few bands each. The number of a band is its position in the image.
    """
    frames, (height, width) = source.shape[0], source.shape[-2:]
    length = min(_RUN_FRAMES, frames)
    runs = min(_RUNS, frames // length)
    planes = math.prod(source.shape[1:-2])
    chosen = range(0, planes, -(-planes // _BANDS))
    rows = max(_PIXELS // (width * len(chosen)), _LEAST_ROWS)
    bands = 1 if rows >= height else _BANDS
    rows = min(height, max(rows // bands, _LEAST_ROWS))
    firsts = [round(band * (height - rows) / max(bands - 1, 1)) for band in range(bands)]
    places = [(plane, band) for plane in chosen for band in range(bands)]
    movie = np.empty((len(places), runs, length, rows, width), source.dtype)
    step = max(1, min(length, _READ_BYTES // source.frame_nbytes))
    for run in range(runs):
        start = round(run * (frames - length) / max(runs - 1, 1))
        for first in range(0, length, step):
            last = min(first + step, length)
            block = source.read(start + first, start + last).reshape(last - first, -1, height, width)
            for n, (plane, band) in enumerate(places):
                movie[n, run, first:last] = block[:, plane, firsts[band] : firsts[band] + rows]
    for n, (_, band) in enumerate(places):
        yield movie[n], band


def _measured(
    band: NDArray[Any], position: int, noise: NoiseModel, step: float, top: float, bottom: float
) -> Iterator[tuple[NDArray, ...]]:
    runs, length = band.shape[:2]
    values = band.astype(np.float64)
    finite = np.isfinite(values).all(axis=(0, 1))
    sound = finite & (band < top).all(axis=(0, 1)) & (band != band[0, 0]).any(axis=(0, 1))
    if not sound.any():
        return
    values = np.where(finite, values, values[:, :, sound].mean())
    error = (_decoded(values.astype(band.dtype), noise, step) - values) ** 2
    total = values.sum(axis=(0, 1))
    # Covariance with pixels two ahead, which must exist.
    ahead = [axis for axis in (0, 1) if sound.shape[axis] > 4]
    inner = tuple(slice(0, size - 2 if size > 4 else size) for size in sound.shape)
    sound = sound[inner]
    rows, columns = (np.arange(size) * 4 // size for size in sound.shape)
    block = (rows[:, None] + position) % 4 * 4 + columns
    for run in range(runs):
        for start in range(0, length - 2, 3):
            triple = values[run, start : start + 3]
            change = triple[0] - 2.0 * triple[1] + triple[2]
            square = change[inner] ** 2 / 6.0
            shared = [change[inner] * np.roll(change, -2, axis)[inner] / 6.0 for axis in ahead]
            # Light from all other frames; the frames of the run weigh as much as all others together.
            floored: NDArray = np.any(band[run, start : start + 3] <= bottom, axis=0)
            near = values[run].sum(axis=0) - triple.sum(axis=0)
            light = near / (length - 3)
            if runs > 1:
                light = (light + (total - values[run].sum(axis=0)) / ((runs - 1) * length)) / 2.0
            yield (
                light[inner][sound],
                triple.mean(axis=0)[inner][sound],
                square[sound],
                (square - sum(shared) / max(len(shared), 1))[sound],
                error[run, start : start + 3].mean(axis=0)[inner][sound],
                (run * 16 + block)[sound],
                floored[inner][sound],
            )


def _levels(samples: _Samples, noise: NoiseModel) -> Iterator[LightLevel]:
    # A group is a place and a time if there are enough samples, otherwise a place.
    many = len(samples.light) >= _LEVELS * 64 * _LEAST_SAMPLES
    groups = 64 if many else 16
    count = int(min(_LEVELS, len(samples.light) // (groups * _LEAST_SAMPLES)))
    if not count:
        return
    edges = np.quantile(samples.light, np.linspace(0.0, 1.0, count + 1)[1:-1])
    key = np.searchsorted(edges, samples.light) * groups + samples.group % groups
    size = count * groups
    number = np.bincount(key, minlength=size)

    def means(form: NDArray) -> NDArray[np.float64]:
        return np.asarray(np.bincount(key, form, size) / np.maximum(number, 1))

    columns = [
        means(form)
        for form in (samples.white, samples.square, samples.signal, samples.error, samples.floored)
    ]
    for level in range(count):
        mine = np.arange(level * groups, (level + 1) * groups)
        mine = mine[number[mine] >= _LEAST_SAMPLES]
        weight = number[mine]
        white, square, signal, error, floored = (column[mine] for column in columns)
        if len(mine) < 4 or float(np.average(floored, weights=weight)) > _FLOORED:
            continue
        variance = float(np.median(white))
        doubt = 1.25 * 1.4826 * float(np.median(np.abs(white - variance))) / math.sqrt(len(mine))
        if variance <= max(_SIGMAS * doubt, _WHITE * float(np.median(square))):
            continue
        mean = float(np.median(signal))
        yield LightLevel(
            signal=mean,
            noise=variance,
            noise_error=doubt,
            # A mean below the offset contradicts the model as much as one above it.
            modelled=noise.gain * abs(mean - noise.offset) + noise.variance,
            error=float(np.median(error)),
        )


def _decoded(values: NDArray[Any], noise: NoiseModel, step: float) -> NDArray[np.float64]:
    table = Encoding(noise=noise, step=step, dtype=values.dtype.name).table()
    codes = np.rint(anscombe(values, noise) / table.step).astype(np.int64)
    low, high = int(codes.min()), int(codes.max())
    if high - low >= MAX_CODES:
        raise InvalidInputError(f"the values span {high - low + 1:,} codes")
    if high - low <= LARGEST_TABLE:
        return table.representatives(low, high)[codes - low]
    # A single pixel may be far from all others, and the codes between them need not be computed.
    occurring, index = np.unique(codes, return_inverse=True)
    return table.representatives_of(occurring)[index.reshape(codes.shape)]
