"""Simulate raw movies of many detectors and scenes; shares no code with ``photon_gpu``.

A movie is chosen by its kind and a seed, so the same pair gives the same frames everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SCENES = ("blobs", "cells", "filaments", "texture")
TROUBLES = ("still", "motion", "activity", "bleaching")
DETECTORS = ("ccd", "scmos", "emccd", "pmt", "counter", "two-photon")
PATTERNS = ("pixel", "row", "column", "rows and columns", "glow", "scmos map", "narrow")
SHADED = "shading"
"""Patterns of offsets that change smoothly over the image. Light never does; they have tests of their own."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """Simulated frames and the noise model behind them.

    Attributes
    ----------
    frames : ndarray of shape (T, H, W)
        ADU.
    gain, offset, read : float
        ADU per (effective) photon, ADU, ADU.
    label : str
        Detector or pattern, structure of the scene, and what troubles it.
    """

    frames: np.ndarray
    gain: float
    offset: float
    read: float
    label: str


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur with periodic edges, of the last two axes."""
    height, width = image.shape[-2:]
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    response = np.exp(-2 * (np.pi * sigma) ** 2 * (fy**2 + fx**2))
    return np.fft.irfft2(np.fft.rfft2(image) * response, s=(height, width))


def moved(image: np.ndarray, dy: float, dx: float) -> np.ndarray:
    """Shift an image by fractions of a pixel; what leaves at one edge enters at the other."""
    height, width = image.shape
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    return np.fft.irfft2(np.fft.rfft2(image) * np.exp(-2j * np.pi * (fy * dy + fx * dx)), s=(height, width))


def scene(structure: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Simulate light between 0 and 1, blurred by optics of about 1.3 pixels."""
    if structure == "blobs":
        smooth = blurred(rng.standard_normal((size, size)), size / 14)
        image = smooth - smooth.min()
    elif structure == "cells":
        image = 0.15 + 0.1 * blurred(rng.random((size, size)), 6)
        y, x = np.mgrid[:size, :size]
        for _ in range(max(6, size * size // 350)):
            cy, cx, radius = *rng.uniform(0, size, 2), rng.uniform(2.5, 5)
            image[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] += rng.uniform(0.2, 1)
    elif structure == "filaments":
        image = np.full((size, size), 0.05)
        for _ in range(18):
            start, angle = rng.uniform(0, size, 2), rng.uniform(0, np.pi)
            steps = np.arange(2 * size)
            turn = angle + 0.004 * np.cumsum(rng.standard_normal(2 * size))
            y = (start[0] + np.cumsum(np.sin(turn))).astype(int) % size
            x = (start[1] + np.cumsum(np.cos(turn))).astype(int) % size
            image[y[steps], x[steps]] += rng.uniform(0.3, 1)
    else:
        fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
        power = 1 / np.maximum(np.hypot(fy, fx), 1 / size) ** 1.3
        image = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * power, s=(size, size))
        image = image - image.min()
    image = np.maximum(blurred(image, 1.3), 0)
    return image / np.quantile(image, 0.995)


def light(structure: str, trouble: str, frames: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Simulate light over time, shape (T, H, W), between about 0 and 1."""
    still = scene(structure, size, rng)
    movie = np.repeat(still[None], frames, axis=0)
    if trouble == "motion":
        path = np.cumsum(0.08 * rng.standard_normal((frames, 2)), axis=0)
        path += 0.15 * rng.standard_normal((frames, 2))
        movie = np.stack([moved(still, *shift) for shift in path])
    elif trouble == "activity":
        y, x = np.mgrid[:size, :size]
        for _ in range(12):
            cy, cx = rng.uniform(4, size - 4, 2)
            spot = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 18)
            trace = np.zeros(frames)
            for start in rng.integers(0, frames, 3):
                trace[start:] += np.exp(-np.arange(frames - start) / 8)
            movie = movie + 0.5 * trace[:, None, None] * spot * still
    elif trouble == "bleaching":
        movie = movie * (0.5 + 0.5 * np.exp(-2 * np.arange(frames) / frames))[:, None, None]
    return np.maximum(movie, 0)


def amplified(photons: np.ndarray, excess: float, rng: np.random.Generator) -> np.ndarray:
    """Amplify photons by random pulses of mean 1; ``excess`` is the excess noise factor."""
    if excess <= 1:
        return photons.astype(float)
    shape = 1 / (excess - 1)
    return np.where(photons > 0, rng.gamma(np.maximum(shape * photons, 1e-9)) / shape, 0.0)


def stored(value: np.ndarray, dtype: str) -> np.ndarray:
    """Convert charge to the values that the detector's electronics store."""
    if np.dtype(dtype).kind == "f":
        return value.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(value), limits.min, limits.max).astype(dtype)


def raw(seed: int, *, frames: int = 96, size: int = 72, detector: str | None = None, **fixed: object) -> Shot:
    """Simulate a raw movie; seeds choose every detector, scene and trouble in turn.

    ``fixed`` overrides ``scene``, ``trouble``, ``photons`` (at the bright end) and ``gain``.
    """
    rng = np.random.default_rng([7, seed])
    detector = detector or DETECTORS[seed % len(DETECTORS)]
    structure = str(fixed.get("scene") or SCENES[seed // 6 % len(SCENES)])
    trouble = str(fixed.get("trouble") or TROUBLES[seed // 24 % len(TROUBLES)])
    photons = float(fixed.get("photons") or 10 ** rng.uniform(0.9, 2.2))  # type: ignore[arg-type]
    rate = photons * light(structure, trouble, frames, size, rng)
    gain, offset, read, excess, dtype = 1.0, 0.0, 0.0, 1.0, "uint16"
    if detector == "ccd":
        gain, offset, read = rng.uniform(1.5, 12), 200.0, rng.uniform(2, 12)
    elif detector == "scmos":
        gain, offset, read = 2.2, 100.0, 3.2
    elif detector == "emccd":
        gain, offset, read, excess = rng.uniform(10, 40), 300.0, 15.0, 2.0
    elif detector == "pmt":
        gain, offset, read, excess, dtype = rng.uniform(20, 120), 0.0, 12.0, rng.uniform(1.15, 1.5), "int16"
    elif detector == "two-photon":
        gain, offset, read, excess, dtype = 60.0, 20.0, 8.0, 1.3, "int16"
        rate = rate * min(1.0, 12 / photons)
    gain = float(fixed.get("gain") or gain)  # type: ignore[arg-type]
    value = gain * amplified(rng.poisson(rate), excess, rng) + offset
    if read:
        value += read * rng.standard_normal(rate.shape)
    if detector == "two-photon":  # the amplifier is slower than the pixel clock
        value = (value + 0.04 * np.roll(value, 1, axis=-1)) / 1.04
        excess *= (1 + 0.04**2) / 1.04**2
    return Shot(
        frames=stored(value, dtype),
        gain=gain * excess,
        offset=offset,
        read=read,
        label=f"{detector}, {structure}, {trouble}",
    )


def patterned(seed: int, *, pattern: str | None = None, frames: int = 200, size: int = 96) -> Shot:
    """Simulate a camera with a fixed pattern of offsets; seeds choose the patterns in PATTERNS in turn."""
    rng = np.random.default_rng([11, seed])
    pattern = pattern or PATTERNS[seed % len(PATTERNS)]
    structure = SCENES[seed // len(PATTERNS) % len(SCENES)]
    trouble = TROUBLES[seed // 28 % len(TROUBLES)]
    photons = 10 ** rng.uniform(0.9, 1.9)
    rate = photons * light(structure, trouble, frames, size, rng)
    gain, offset, read = 2.3, 100.0, 3.0
    if pattern == "narrow":
        rate = photons * 0.5 + 0.15 * rate
    spread = gain * float(rate.mean(axis=0).std()) * np.sqrt(rng.uniform(0.02, 0.15))
    shape, gains, reads = (size, size), np.full((size, size), gain), np.full((size, size), read)
    offsets = np.zeros(shape)
    if pattern in ("pixel", "narrow"):
        offsets = rng.standard_normal(shape)
    elif pattern in ("row", "column", "rows and columns"):
        down, across = rng.standard_normal((size, 1)), rng.standard_normal((1, size))
        offsets = {"row": down + 0 * across, "column": across + 0 * down}.get(
            pattern, (down + across) / 2**0.5
        )
    elif pattern in ("glow", SHADED):
        y, x = np.mgrid[:size, :size] / size
        glow = np.exp(-3 * np.hypot(y, x))
        offsets = (
            4 * glow + 0.3 * rng.standard_normal(shape) if pattern == SHADED else rng.standard_normal(shape)
        )
        rate = rate + (0.2 * photons * glow if pattern == "glow" else 0)
    elif pattern == "scmos map":
        offsets = rng.standard_normal(shape) + 0.5 * rng.standard_normal((1, size))
        gains = gain * (1 + 0.015 * rng.standard_normal(shape))
        reads = read * (0.6 + rng.gamma(1.0, 0.4, shape))
    offsets = offsets / max(float(offsets.std()), 1e-9) * spread
    value = gains * rng.poisson(rate) + offset + offsets + reads * rng.standard_normal(rate.shape)
    return Shot(
        frames=stored(value, "uint16"),
        gain=gain,
        offset=offset,
        read=read,
        label=f"{pattern}, {structure}, {trouble}",
    )
