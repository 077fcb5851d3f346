"""Simulate two-photon movies with known truth, frame by frame, on demand.

A scene (neuropil, vessels, cells that fire) moves a little under the field of view and bleaches. Its light
arrives as photons (Poisson). A detector adds gain, offset and read noise, rounds, and saturates. Frame ``t``
depends only on the parameters and on ``t``, so it is the same in every range that is read.

>>> movie = simulate(frames=100, height=64, width=64, photons=5, gain=20, seed=1)
>>> movie.shape, movie.dtype, movie[10:12].shape
((100, 64, 64), dtype('int16'), (2, 64, 64))
>>> movie.noise.gain
20.0
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterable
from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from photon_gpu.errors import InvalidInputError, PhotonWarning
from photon_gpu.indexing import Selection
from photon_gpu.sources.base import Source
from photon_gpu.sources.simulated.parameters import Simulation, limits, refuse_unknown
from photon_gpu.sources.simulated.scene import Scene, draw_scene

_RISE_S = 0.05  # rise time of a transient
_KERNEL_DECAYS = 20.0  # decay times after which a transient ends (2e-9 of its peak)
_EVENT_BLOCK = 1024  # frames, at least, whose transients are drawn together
_DRIFT_PERIODS_S = (7.1, 19.3, 53.9)
_SCENE, _EVENTS, _LIGHT, _SHOT = range(4)  # independent streams of random numbers


class Clipped(NamedTuple):
    """Number of pixels beyond the range of the dtype or digitizer, in the frames made so far.

    Attributes
    ----------
    low, high : int
        Pixels set to the lowest value, and to the highest.
    frames : int
        Frames with such pixels.
    """

    low: int
    high: int
    frames: int


class SimulatedMovie(Source):
    """A movie whose frames are made when they are read. Create it with :func:`simulate`.

    Several threads may read at once. Only the requested frames are in memory.

    Parameters
    ----------
    simulation : Simulation
        Parameters of the simulation.

    Attributes
    ----------
    simulation : Simulation
        Parameters of the simulation.
    noise : NoiseModel
        The true noise model.
    labels : numpy.ndarray
        ``(H, W)`` int32: 0 is background, ``c + 1`` the body of cell ``c`` at rest.
    """

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.name = "simulation"
        self.shape = (simulation.frames, simulation.height, simulation.width)
        self.dtype = np.dtype(simulation.dtype)
        self.noise = simulation.noise
        self._scene: Scene = draw_scene(
            self._chance(_SCENE, 0),
            height=simulation.height,
            width=simulation.width,
            margin=math.ceil(4 * simulation.motion) + 1 if simulation.motion > 0 else 0,
            contrast=simulation.contrast,
            cells=simulation.cells,
            cell_radius=simulation.cell_radius,
        )
        self.labels = self._scene.labels
        # A block is at least as long as a transient, so that two blocks hold all transients of a frame.
        self._block = max(
            _EVENT_BLOCK, math.ceil(_KERNEL_DECAYS * simulation.decay_s * simulation.frame_rate)
        )
        self._events = lru_cache(maxsize=8)(self._draw_events)
        self._phases = self._chance(_SCENE, 1).uniform(0, 2 * math.pi, (2, len(_DRIFT_PERIODS_S)))
        self._clipped: dict[int, tuple[int, int]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return SimulatedMovie, (self.simulation,)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        return f"<SimulatedMovie {shape} {self.dtype}, {self.simulation.photons:g} photons, {self.noise}>"

    def read(self, start: int, stop: int) -> NDArray:
        """Read frames ``start:stop``, ``(stop - start, H, W)``, in the dtype of the movie."""
        self._check(start, stop)
        return self._frames(range(start, stop))

    def rates(self, start: int, stop: int) -> NDArray:
        """Expected photons of each pixel of frames ``start:stop``, ``(stop - start, H, W)`` float64."""
        self._check(start, stop)
        out = np.empty((stop - start, *self.shape[1:]))
        for n, t in enumerate(range(start, stop)):
            out[n] = self._rate(t)
        return out

    def traces(self, start: int, stop: int) -> NDArray:
        """True dF/F of each cell, ``(stop - start, cells)`` float64."""
        self._check(start, stop)
        return np.array([self._dff(t) for t in range(start, stop)])

    def displacement(self, start: int, stop: int) -> NDArray:
        """True displacement of the scene, ``(stop - start, 2)`` float64: pixels down and right."""
        self._check(start, stop)
        return np.array([self._shift(t, self._chance(_LIGHT, t)) for t in range(start, stop)])

    @property
    def clipped(self) -> Clipped:
        """Number of pixels out of range in the frames made so far, each frame counted once."""
        counts = list(self._clipped.values())
        return Clipped(low=sum(c[0] for c in counts), high=sum(c[1] for c in counts), frames=len(counts))

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of axes: 3."""
        return 3

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        """Make the whole movie; ``copy=False`` is an error, since the array is always new."""
        if copy is False:
            raise ValueError("a simulated movie is made as it is read: np.asarray needs copy=None or True")
        return self.read(0, self.shape[0]).astype(self.dtype if dtype is None else dtype, copy=False)

    def __getitem__(self, index: Any) -> NDArray:
        """Index as NumPy does; only the requested frames are made."""
        selection = Selection(index, self.shape)
        if 0 in selection.shape:
            return np.empty(selection.shape, self.dtype)
        frames, places = selection.needed()
        values: NDArray = selection.taken(self._frames(frames.tolist()), places)
        return values[()] if selection.scalar else values

    def _frames(self, numbers: Iterable[int]) -> NDArray:
        numbers = list(numbers)
        out = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        for n, t in enumerate(numbers):
            self._detect(t, out[n])
        return out

    def _detect(self, t: int, out: NDArray) -> None:
        """Simulate the detector for frame ``t``: photons, charge, ADU, digits."""
        s = self.simulation
        rng = self._chance(_SHOT, t)
        photons = rng.poisson(self._rate(t))
        value: NDArray
        if s.excess_noise > 1:
            # The charge of n photons, each gamma distributed with mean 1 and variance F - 1, is gamma again.
            shape = 1 / (s.excess_noise - 1)
            value = rng.standard_gamma(photons * shape) * (s.gain / shape)
        else:
            value = photons * s.gain
        value += s.offset
        if s.read_noise_adu > 0:
            value += s.read_noise_adu * rng.standard_normal(value.shape)
        low, high = limits(self.dtype)
        if self.dtype.kind != "f":
            np.rint(value, out=value)
        if s.full_scale is not None:
            high = s.full_scale if self.dtype.kind == "f" else math.floor(s.full_scale)
        if value.min() < low or value.max() > high:
            self._report(t, int((value < low).sum()), int((value > high).sum()), low, high)
            np.clip(value, low, high, out=value)
        out[...] = value

    def _report(self, t: int, below: int, above: int, low: float, high: float) -> None:
        first = not self._clipped
        self._clipped[t] = (below, above)
        if first:
            warnings.warn(
                f"simulate: {below} pixels of frame {t} fell below {low:g} ADU, {above} rose above {high:g} "
                f"ADU ({self.dtype}): set to these limits, counted in movie.clipped. Raise the offset, lower "
                "photons or gain, or take a wider dtype",
                PhotonWarning,
                stacklevel=5,
            )

    def _rate(self, t: int) -> NDArray:
        """Expected photons of frame ``t``, ``(H, W)``."""
        s, scene, rng = self.simulation, self._scene, self._chance(_LIGHT, t)
        canvas = scene.rest
        if s.cells and s.activity > 0:
            canvas = canvas.copy()
            canvas.ravel()[scene.cell_pixels] += scene.cell_light * self._dff(t)[scene.cell_of_pixel]
        field = _window(canvas, scene.margin, self._shift(t, rng))
        field = field * (s.photons * (1 - s.bleaching) ** (t / max(s.frames - 1, 1)))
        # Always drawn, so that lines do not depend on flashes, nor flashes on lines.
        flash, flash_light = rng.random(), s.photons * rng.uniform(1, 5)
        cut, left = rng.random(s.height), rng.uniform(0, 0.8, s.height)
        if flash < s.flashes:
            field += flash_light
        if s.lines > 0:
            field[cut < s.lines] *= left[cut < s.lines, None]
        return field

    def _shift(self, t: int, rng: np.random.Generator) -> tuple[float, float]:
        """Displacement of frame ``t``: three slow sines, and a jitter from ``rng``."""
        s = self.simulation
        jitter = rng.standard_normal(2) * 0.6
        amplitude = 0.8 / math.sqrt(len(_DRIFT_PERIODS_S) / 2)
        seconds, shift = t / s.frame_rate, []
        for axis in range(2):
            drift = sum(
                math.sin(2 * math.pi * seconds / period + phase)
                for period, phase in zip(_DRIFT_PERIODS_S, self._phases[axis], strict=True)
            )
            shift.append(s.motion * max(-4.0, min(4.0, amplitude * drift + float(jitter[axis]))))
        return shift[0], shift[1]

    def _dff(self, t: int) -> NDArray:
        """dF/F of every cell in frame ``t``: the sum of all transients that began before it."""
        s = self.simulation
        dff = np.zeros(s.cells)
        for block in (
            t // self._block,
            t // self._block + 1,
        ):  # the block before that of frame t, and its own
            cell, when, peak = self._events(block)
            age = (t - when) / s.frame_rate
            alive = (age > 0) & (age < _KERNEL_DECAYS * s.decay_s)
            age = np.where(alive, age, 0.0)  # age 0 has shape 0
            shape = (1 - np.exp(-age / _RISE_S)) * np.exp(-age / s.decay_s)
            dff += np.bincount(cell, weights=peak * shape, minlength=s.cells)
        return dff

    def _draw_events(self, block: int) -> tuple[NDArray, NDArray, NDArray]:
        """Cell, time (frames) and size of the transients that begin in a block; frame 0 is in block 1."""
        s, rng = self.simulation, self._chance(_EVENTS, block)
        cell = np.repeat(np.arange(s.cells), rng.poisson(s.activity * self._block / s.frame_rate, s.cells))
        when = (block - 1 + rng.random(cell.size)) * self._block
        summit = (
            s.decay_s / (s.decay_s + _RISE_S) * (_RISE_S / (s.decay_s + _RISE_S)) ** (_RISE_S / s.decay_s)
        )
        return cell, when, s.response * rng.uniform(0.5, 1.5, cell.size) / summit

    def _chance(self, stream: int, number: int) -> np.random.Generator:
        """Random generator of one stream for one frame or block."""
        return np.random.Generator(
            np.random.SFC64(np.random.SeedSequence(self.simulation.seed, spawn_key=(stream, number)))
        )

    def _check(self, start: int, stop: int) -> None:
        if not 0 <= start < stop <= self.shape[0]:
            raise InvalidInputError(
                f"simulated movie: frames {start}:{stop} were requested; "
                f"0 <= start < stop <= {self.shape[0]} is needed"
            )


def simulate(simulation: Simulation | None = None, /, **parameters: Any) -> SimulatedMovie:
    """Make a two-photon movie with known truth, frame by frame, on demand.

    Parameters
    ----------
    simulation : Simulation, optional
        Parameters of the simulation; or pass its fields as keywords.
    **parameters
        Fields of :class:`Simulation`.

    Returns
    -------
    SimulatedMovie
        A source (``read``, ``shape``, ``dtype``) that can be indexed like an array and has the truth in
        ``noise``, ``rates``, ``traces``, ``displacement``, ``labels``, ``clipped``.

    Raises
    ------
    InvalidInputError, UnsupportedTypeError
        If a parameter is unknown or out of its range.

    Warns
    -----
    PhotonWarning
        Once per movie, when the first pixel is clipped at a limit of the dtype or digitizer.

    Notes
    -----
    A movie is the same on every run with the same version of NumPy. NumPy may change its samplers between
    releases (NEP 19), and processors may differ in the last bit of a rate.

    Examples
    --------
    >>> movie = simulate(frames=50, height=32, width=48, photons=3, gain=20, offset=500, dtype="uint16")
    >>> movie[49].shape, movie[10:20].dtype, movie.rates(0, 50).shape
    ((32, 48), dtype('uint16'), (50, 32, 48))
    >>> bool((movie[20] == movie.read(0, 50)[20]).all())
    True
    """
    if simulation is None:
        refuse_unknown(parameters)
        simulation = Simulation(**parameters)
    elif parameters:
        raise InvalidInputError("simulate: give a Simulation or its fields, not both")
    return SimulatedMovie(simulation)


def _window(canvas: NDArray, margin: int, shift: tuple[float, float]) -> NDArray:
    """The field of view on the canvas when the scene has moved by ``shift``, by bilinear interpolation."""
    if margin == 0:
        return canvas
    for axis, distance in enumerate(shift):
        position = margin - distance
        first = math.floor(position)
        weight = position - first
        size = canvas.shape[axis] - 2 * margin
        one, two = [(slice(None),) * axis + (slice(n, n + size),) for n in (first, first + 1)]
        canvas = (1 - weight) * canvas[one] + weight * canvas[two]
    return canvas


class _CallableModule(ModuleType):
    """Lets ``photon_gpu.simulate(...)`` work although the module has the name of its function."""

    def __call__(self, simulation: Simulation | None = None, /, **parameters: Any) -> SimulatedMovie:
        return simulate(simulation, **parameters)


sys.modules[__name__].__class__ = _CallableModule
