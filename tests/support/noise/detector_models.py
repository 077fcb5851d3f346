"""Simulated detectors for tests of the noise estimate; no code is shared with ``photon_gpu``."""

from __future__ import annotations

import numpy as np

from photon_gpu.estimate.sample import draw
from photon_gpu.estimate.second_differences import gather
from photon_gpu.sources.open import open_source

GAIN, OFFSET, READ = 8.0, 100.0, 6.0


def scene(seed: int, size: int, low: float, high: float) -> np.ndarray:
    """Make smooth light between two levels, in photons."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    smooth = np.fft.irfft2(
        np.fft.rfft2(rng.standard_normal((size, size))) * np.exp(-2 * (np.pi * 2.5) ** 2 * (fy**2 + fx**2)),
        s=(size, size),
    )
    rank = smooth.ravel().argsort().argsort().reshape(size, size) / (size * size - 1)
    return low + (high - low) * rank**2


def detect(
    light: np.ndarray,
    seed: int = 0,
    *,
    gain: float = GAIN,
    offset: float = OFFSET,
    read: float = READ,
    dtype: str = "int32",
) -> np.ndarray:
    """Detect ``light`` (T, H, W): count photons, amplify, add read noise, round, clip to the dtype."""
    rng = np.random.default_rng(seed)
    value = gain * rng.poisson(light) + offset + read * rng.standard_normal(light.shape)
    if np.dtype(dtype).kind == "f":
        return value.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(value), limits.min, limits.max).astype(dtype)


def still(
    frames: int = 120, size: int = 96, low: float = 1.0, high: float = 25.0, seed: int = 0
) -> np.ndarray:
    """Make light that does not change, (T, H, W)."""
    return np.broadcast_to(scene(seed, size, low, high), (frames, size, size))


def cells_of(frames, **options):
    windows = draw(open_source(frames), pairs="time", seed=0, budget_bytes=1 << 26)
    return gather(windows, top=options.pop("top", np.inf), bottom=options.pop("bottom", -np.inf), **options)


def resolved_photons(
    light: float,
    read: float,
    *,
    frames: int = 60,
    size: int = 48,
    gain: float = 100.0,
    spread: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """Simulate a movie of ``light`` photons per pixel on average; pixels differ, the offset is 500 ADU.

    ``read`` is the read noise in photons, ``spread`` that of a photon's height, relative to the gain.
    """
    rng = np.random.default_rng(seed)
    photons = rng.poisson(light * rng.gamma(4.0, 0.25, (size, size)), (frames, size, size))
    heights = photons + spread * np.sqrt(photons) * rng.standard_normal(photons.shape)
    return np.rint(500 + gain * (heights + read * rng.standard_normal(photons.shape))).astype("uint16")
