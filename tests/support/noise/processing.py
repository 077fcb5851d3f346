"""Processing that raw movies go through before they are stored; shares no code with ``photon_gpu``.

Each function takes frames (T, H, W) as floats and a generator, and returns frames. ``SCALES`` has the factor
by which a processing multiplies the gain that is right for its output: NaN where none is right, 1 if left
out. Limits of the estimator were set on these kinds. ``tests.support.noise.held_out_processing`` has others
that no limit was set on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import ndimage, signal

from tests.support.noise import held_out_processing

Processing = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _components(frames: np.ndarray, rng: np.random.Generator, share: float, rest: float = 0.0) -> np.ndarray:
    flat = frames.reshape(len(frames), -1)
    mean = flat.mean(axis=0)
    u, s, v = np.linalg.svd(flat - mean, full_matrices=False)
    s[max(1, round(share * len(frames))) :] *= rest
    return (u * s @ v + mean).reshape(frames.shape)


def _patches(frames: np.ndarray, rng: np.random.Generator, size: int, share: float) -> np.ndarray:
    out = frames.copy()
    for top in range(0, frames.shape[1], size):
        for left in range(0, frames.shape[2], size):
            patch = (slice(None), slice(top, top + size), slice(left, left + size))
            part = frames[patch]
            flat = part.reshape(len(frames), -1)
            u, s, v = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
            rank = max(1, round(share * len(s)))
            out[patch] = (u[:, :rank] * s[:rank] @ v[:rank] + flat.mean(axis=0)).reshape(part.shape)
    return out


def _blend(frames: np.ndarray, rng: np.random.Generator, factor: float) -> np.ndarray:
    mean = frames.mean(axis=0)
    return mean + factor * (frames - mean)


def _space_blend(frames: np.ndarray, rng: np.random.Generator, factor: float, sigma: float) -> np.ndarray:
    smooth = ndimage.gaussian_filter(frames, (0, sigma, sigma))
    return smooth + factor * (frames - smooth)


def _time_blend(frames: np.ndarray, rng: np.random.Generator, factor: float, sigma: float) -> np.ndarray:
    smooth = ndimage.gaussian_filter(frames, (sigma, 0, 0))
    return smooth + factor * (frames - smooth)


def _grouped(frames: np.ndarray, rng: np.random.Generator, count: int, how: str) -> np.ndarray:
    whole = frames[: len(frames) // count * count].reshape(-1, count, *frames.shape[1:])
    return getattr(np, how)(whole, axis=1)


def _rolling(frames: np.ndarray, rng: np.random.Generator, how: str, length: int) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(frames, length, axis=0)
    return getattr(np, how)(windows, axis=-1)


def _shifts(
    frames: np.ndarray, rng: np.random.Generator, order: int, reach: float, share: float = 1.0
) -> np.ndarray:
    out = []
    for frame in frames:
        dy, dx = rng.uniform(-reach, reach, 2) if rng.random() < share else (0.0, 0.0)
        out.append(ndimage.shift(frame, (dy, dx), order=order, mode="nearest") if dy or dx else frame)
    return np.stack(out)


def _fourier(frames: np.ndarray, rng: np.random.Generator, reach: float, whole: bool = False) -> np.ndarray:
    out = []
    for frame in frames:
        shift = rng.uniform(-reach, reach, 2)
        out.append(
            np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(frame), np.rint(shift) if whole else shift)).real
        )
    return np.stack(out)


def _zoom(frames: np.ndarray, rng: np.random.Generator, factor: float, order: int) -> np.ndarray:
    return np.stack([ndimage.zoom(frame, factor, order=order, mode="nearest") for frame in frames])


def _rotated(frames: np.ndarray, rng: np.random.Generator, degrees: float, order: int) -> np.ndarray:
    return ndimage.rotate(frames, degrees, axes=(1, 2), reshape=False, order=order, mode="nearest")


def _repeated(frames: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    out = frames.copy()
    for number in np.flatnonzero(rng.random(len(frames)) < share):
        if number:
            out[number] = out[number - 1]
    return out


def _filled(frames: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    out = frames.copy()
    for number in np.flatnonzero(rng.random(len(frames)) < share):
        if 0 < number < len(frames) - 1:
            out[number] = (out[number - 1] + out[number + 1]) / 2
    return out


def _clipped(frames: np.ndarray, rng: np.random.Generator, below: float, above: float) -> np.ndarray:
    mean, sigma = frames.mean(axis=0), frames.std(axis=0)
    return np.clip(frames, mean - below * sigma, mean + above * sigma)


def _outliers(
    frames: np.ndarray, rng: np.random.Generator, limit: float, axes: tuple[int, ...]
) -> np.ndarray:
    size = [3 if axis in axes else 1 for axis in range(3)]
    middle = ndimage.median_filter(frames, size=size)
    off = frames - middle
    return np.where(np.abs(off) > limit * off.std(axis=0), middle, frames)


def _bright_outliers(frames: np.ndarray, rng: np.random.Generator, limit: float) -> np.ndarray:
    middle = ndimage.median_filter(frames, size=(1, 3, 3))
    off = frames - middle
    return np.where(off > limit * np.sqrt(np.maximum(middle - middle.min(), 1)), middle, frames)


def _filter(frames: np.ndarray, rng: np.random.Generator, name: str, **options: object) -> np.ndarray:
    return getattr(ndimage, name)(frames, **options)


def _kernel(
    frames: np.ndarray, rng: np.random.Generator, weights: tuple[float, ...], axis: int
) -> np.ndarray:
    return ndimage.convolve1d(frames, np.array(weights) / sum(weights), axis=axis)


def _wiener(frames: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    return np.stack([signal.wiener(frame, size) for frame in frames])


def _wavelet(frames: np.ndarray, rng: np.random.Generator, limit: float, time: bool) -> np.ndarray:
    """Soft threshold of the finest Haar details."""
    axis = 0 if time else 2
    even = np.take(frames, range(0, frames.shape[axis] // 2 * 2, 2), axis)
    odd = np.take(frames, range(1, frames.shape[axis] // 2 * 2, 2), axis)
    mean, detail = (even + odd) / 2, (even - odd) / 2
    level = limit * detail.std()
    detail = np.sign(detail) * np.maximum(np.abs(detail) - level, 0)
    out = frames.copy()
    index = [slice(None)] * 3
    index[axis] = slice(0, frames.shape[axis] // 2 * 2, 2)
    out[tuple(index)] = mean + detail
    index[axis] = slice(1, frames.shape[axis] // 2 * 2, 2)
    out[tuple(index)] = mean - detail
    return out


def _wavelets(frames: np.ndarray, rng: np.random.Generator, limit: float, levels: int = 2) -> np.ndarray:
    """Soft threshold of Haar details in two directions, at several scales."""
    out = frames.copy()
    height, width = (n // 2 * 2 for n in frames.shape[1:])
    corners = [out[:, y:height:2, x:width:2] for y in (0, 1) for x in (0, 1)]
    signs = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    bands = np.tensordot(signs, np.stack(corners), 1)
    limit_here = limit * np.median(np.abs(bands[3])) / 0.6745
    bands[1:] = np.sign(bands[1:]) * np.maximum(np.abs(bands[1:]) - limit_here, 0)
    if levels > 1:
        bands[0] = _wavelets(bands[0], rng, limit, levels - 1)
    for corner, values in zip(corners, np.tensordot(signs.T, bands, 1), strict=True):
        corner[:] = values
    return out


def _palette(frames: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    """Round to levels that are equally frequent."""
    colours = np.unique(np.quantile(frames, (np.arange(count) + 0.5) / count))
    return colours[np.searchsorted((colours[1:] + colours[:-1]) / 2, frames)]


def _lowpass(frames: np.ndarray, rng: np.random.Generator, cut: float) -> np.ndarray:
    numerator, denominator = signal.butter(3, cut)
    return signal.filtfilt(numerator, denominator, frames, axis=0)


def _notch(frames: np.ndarray, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    spectrum = np.fft.rfft(frames, axis=0)
    frequency = np.fft.rfftfreq(len(frames)) * 2
    spectrum[(frequency > low) & (frequency < high)] = 0
    return np.fft.irfft(spectrum, n=len(frames), axis=0)


def _spectral(frames: np.ndarray, rng: np.random.Generator, radius: float) -> np.ndarray:
    spectrum = np.fft.fft2(frames)
    fy, fx = np.fft.fftfreq(frames.shape[1])[:, None], np.fft.fftfreq(frames.shape[2])[None, :]
    spectrum[:, np.hypot(fy, fx) > radius] = 0
    return np.fft.ifft2(spectrum).real


def _curve(frames: np.ndarray, rng: np.random.Generator, how: str) -> np.ndarray:
    low, high = float(frames.min()), float(frames.max())
    unit = (frames - low) / (high - low)
    return {
        "gamma": lambda: 60000 * unit**0.5,
        "gamma 0.8": lambda: 60000 * unit**0.8,
        "gamma 1.5": lambda: 60000 * unit**1.5,
        "sqrt": lambda: 100 * np.sqrt(np.maximum(frames, 0)),
        "log": lambda: 5000 * np.log1p(frames - low),
        "compand": lambda: 30000 * np.tanh(1.2 * unit),
        "scurve": lambda: 60000 * (3 * unit**2 - 2 * unit**3),
        "square": lambda: 60000 * unit**2,
    }[how]()


def _stretch(frames: np.ndarray, rng: np.random.Generator, per_frame: bool) -> np.ndarray:
    if per_frame:
        low, high = (np.quantile(frames, q, axis=(1, 2))[:, None, None] for q in (0.002, 0.998))
    else:
        low, high = np.quantile(frames, [0.002, 0.998])
    return np.clip(255 * (frames - low) / (high - low), 0, 255)


def _equalized(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values, inverse, counts = np.unique(np.rint(frames), return_inverse=True, return_counts=True)
    return (4095 * np.cumsum(counts) / counts.sum())[inverse].reshape(frames.shape)


def _zscore(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 1000 + 100 * (frames - frames.mean(axis=0)) / np.maximum(frames.std(axis=0), 1e-9)


def _dff(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    base = np.quantile(frames, 0.2, axis=0)
    return 1000 * (frames - base) / np.maximum(base - frames.min() + 1, 1)


def _rolling_ball(frames: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    floor = ndimage.uniform_filter(ndimage.grey_opening(frames, (1, size, size)), (1, size, size))
    return np.maximum(frames - floor, 0)


def _percentile_base(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return frames - ndimage.percentile_filter(frames, 10, size=(15, 1, 1)) + 1000


def _flicker(frames: np.ndarray, rng: np.random.Generator, spread: float) -> np.ndarray:
    return (
        frames.min()
        + (frames - frames.min()) * (1 + spread * rng.standard_normal(len(frames)))[:, None, None]
    )


def _normalized(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    flat = ndimage.gaussian_filter(frames.mean(axis=0), 12)
    return frames / (flat / flat.mean())


def _interleaved(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Show another channel, of less gain, in every second frame."""
    out = frames.copy()
    out[1::2] = 0.3 * out[1::2, ::-1] + 50
    return out


def _lines(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    out = frames.copy()
    out[:, 1:-1:2] = (out[:, 0:-2:2] + out[:, 2::2]) / 2
    return out


def _bidirectional(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    out = frames.copy()
    out[:, 1::2] = (out[:, 1::2] + np.roll(out[:, 1::2], 1, axis=2)) / 2
    return out


def _denoised(frames: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Imitate a network: a smooth guess with some of the noise left."""
    guess = ndimage.gaussian_filter(frames, (1.5, 0.8, 0.8))
    return guess + share * (frames - guess)


def _bilateral(frames: np.ndarray, rng: np.random.Generator, spread: float) -> np.ndarray:
    total, weight = frames.copy(), np.ones_like(frames)
    sigma = spread * float((frames[1:] - frames[:-1]).std())
    for axis in (1, 2):
        for step in (-1, 1):
            other = np.roll(frames, step, axis)
            closeness = np.exp(-0.5 * ((other - frames) / sigma) ** 2)
            total, weight = total + closeness * other, weight + closeness
    return total / weight


def _time_bilateral(frames: np.ndarray, rng: np.random.Generator, spread: float) -> np.ndarray:
    total, weight = frames.copy(), np.ones_like(frames)
    sigma = spread * float((frames[1:] - frames[:-1]).std())
    for step in (-2, -1, 1, 2):
        other = np.roll(frames, step, 0)
        closeness = np.exp(-0.5 * ((other - frames) / sigma) ** 2)
        total, weight = total + closeness * other, weight + closeness
    return total / weight


def _lossy(frames: np.ndarray, rng: np.random.Generator, step: float) -> np.ndarray:
    """Quantized cosine transform of 8 x 8 blocks, as JPEG."""
    from scipy import fft

    height, width = (n // 8 * 8 for n in frames.shape[1:])
    blocks = frames[:, :height, :width].reshape(len(frames), height // 8, 8, width // 8, 8)
    coded = step * np.rint(fft.dctn(blocks, axes=(2, 4), norm="ortho") / step)
    return fft.idctn(coded, axes=(2, 4), norm="ortho").reshape(len(frames), height, width)


def _recursive(frames: np.ndarray, rng: np.random.Generator, alpha: float) -> np.ndarray:
    return signal.lfilter([alpha], [1, alpha - 1], frames - frames[0], axis=0) + frames[0]


TUNED: dict[str, Processing] = {
    "components 25 %": partial(_components, share=0.25),
    "components 50 %": partial(_components, share=0.5),
    "components 75 %": partial(_components, share=0.75),
    "patches 8, 25 %": partial(_patches, size=8, share=0.25),
    "patches 8, 50 %": partial(_patches, size=8, share=0.5),
    "blend 0.5": partial(_blend, factor=0.5),
    "blend 0.8": partial(_blend, factor=0.8),
    "blend 1.3": partial(_blend, factor=1.3),
    "blend 2": partial(_blend, factor=2.0),
    "space blend 0.5": partial(_space_blend, factor=0.5, sigma=3.0),
    "unsharp 1.5": partial(_space_blend, factor=1.5, sigma=2.0),
    "unsharp 3": partial(_space_blend, factor=3.0, sigma=2.0),
    "time unsharp 1.5": partial(_time_blend, factor=1.5, sigma=3.0),
    "time blend 0.6": partial(_time_blend, factor=0.6, sigma=3.0),
    "maximum of 2": partial(_grouped, count=2, how="max"),
    "maximum of 4": partial(_grouped, count=4, how="max"),
    "minimum of 3": partial(_grouped, count=3, how="min"),
    "median of 3": partial(_grouped, count=3, how="median"),
    "rolling maximum 2": partial(_rolling, how="max", length=2),
    "rolling mean 2": partial(_rolling, how="mean", length=2),
    "rolling median 3": partial(_rolling, how="median", length=3),
    "bilinear shifts": partial(_shifts, order=1, reach=1.0),
    "cubic shifts": partial(_shifts, order=3, reach=1.0),
    "bilinear shifts of a third": partial(_shifts, order=1, reach=1.0, share=0.33),
    "small bilinear shifts": partial(_shifts, order=1, reach=0.15),
    "fourier registration": partial(_fourier, reach=2.0),
    "bilinear zoom 1.1": partial(_zoom, factor=1.1, order=1),
    "bilinear zoom 2": partial(_zoom, factor=2.0, order=1),
    "bilinear zoom 0.8": partial(_zoom, factor=0.8, order=1),
    "nearest zoom 1.25": partial(_zoom, factor=1.25, order=0),
    "bilinear rotation": partial(_rotated, degrees=3.0, order=1),
    "5 % repeated": partial(_repeated, share=0.05),
    "20 % repeated": partial(_repeated, share=0.2),
    "10 % filled by means": partial(_filled, share=0.1),
    "clip at 2 sigma": partial(_clipped, below=2.0, above=2.0),
    "clip above 1.5 sigma": partial(_clipped, below=99.0, above=1.5),
    "hot pixels in space": partial(_outliers, limit=2.0, axes=(1, 2)),
    "hot pixels in time": partial(_outliers, limit=2.0, axes=(0,)),
    "bright outliers": partial(_bright_outliers, limit=2.0),
    "gaussian 0.5": partial(_filter, name="gaussian_filter", sigma=(0, 0.5, 0.5)),
    "gaussian 1": partial(_filter, name="gaussian_filter", sigma=(0, 1, 1)),
    "gaussian in time": partial(_filter, name="gaussian_filter", sigma=(1, 0, 0)),
    "median 3 x 3": partial(_filter, name="median_filter", size=(1, 3, 3)),
    "median in time": partial(_filter, name="median_filter", size=(3, 1, 1)),
    "wiener": partial(_wiener, size=3),
    "wavelet in x": partial(_wavelet, limit=1.0, time=False),
    "wavelet in time": partial(_wavelet, limit=1.0, time=True),
    "low pass 0.5": partial(_lowpass, cut=0.5),
    "notch": partial(_notch, low=0.3, high=0.5),
    "spectral 0.35": partial(_spectral, radius=0.35),
    "gamma": partial(_curve, how="gamma"),
    "sqrt": partial(_curve, how="sqrt"),
    "log": partial(_curve, how="log"),
    "gamma 1.5": partial(_curve, how="gamma 1.5"),
    "stretch per frame": partial(_stretch, per_frame=True),
    "z-score": _zscore,
    "dF/F": _dff,
    "rolling ball": partial(_rolling_ball, size=9),
    "interleaved": _interleaved,
    "deinterlaced": _lines,
    "denoised, 30 % left": partial(_denoised, share=0.3),
    "denoised, 70 % left": partial(_denoised, share=0.7),
    "bilateral": partial(_bilateral, spread=1.0),
    "lossy 16": partial(_lossy, step=16.0),
    "recursive 0.7": partial(_recursive, alpha=0.7),
    "components 35 %": partial(_components, share=0.35),
    "components 60 %": partial(_components, share=0.6),
    "components 10 %": partial(_components, share=0.1),
    "patches 12, 30 %": partial(_patches, size=12, share=0.3),
    "patches 6, 60 %": partial(_patches, size=6, share=0.6),
    "blend 0.3": partial(_blend, factor=0.3),
    "blend 0.7": partial(_blend, factor=0.7),
    "blend 1.5": partial(_blend, factor=1.5),
    "unsharp 2": partial(_space_blend, factor=2.0, sigma=1.0),
    "space blend 0.7": partial(_space_blend, factor=0.7, sigma=5.0),
    "time blend 0.4": partial(_time_blend, factor=0.4, sigma=2.0),
    "time unsharp 2": partial(_time_blend, factor=2.0, sigma=5.0),
    "maximum of 3": partial(_grouped, count=3, how="max"),
    "minimum of 2": partial(_grouped, count=2, how="min"),
    "median of 5": partial(_grouped, count=5, how="median"),
    "rolling minimum 3": partial(_rolling, how="min", length=3),
    "rolling mean 3": partial(_rolling, how="mean", length=3),
    "quintic shifts": partial(_shifts, order=5, reach=1.0),
    "bilinear shifts of a tenth": partial(_shifts, order=1, reach=1.0, share=0.1),
    "fourier registration, half a pixel": partial(_fourier, reach=0.5),
    "cubic zoom 1.3": partial(_zoom, factor=1.3, order=3),
    "bilinear zoom 1.5": partial(_zoom, factor=1.5, order=1),
    "bilinear zoom 0.6": partial(_zoom, factor=0.6, order=1),
    "cubic rotation": partial(_rotated, degrees=1.0, order=3),
    "10 % repeated": partial(_repeated, share=0.1),
    "half filled by means": partial(_filled, share=0.5),
    "clip at 1.5 sigma": partial(_clipped, below=1.5, above=1.5),
    "clip below 1 sigma": partial(_clipped, below=1.0, above=99.0),
    "outliers in space and time": partial(_outliers, limit=1.5, axes=(0, 1, 2)),
    "1-2-1 in y": partial(_kernel, weights=(1, 2, 1), axis=1),
    "1-6-1 in time": partial(_kernel, weights=(1, 6, 1), axis=0),
    "low pass 0.8": partial(_lowpass, cut=0.8),
    "median 5 in time": partial(_filter, name="median_filter", size=(5, 1, 1)),
    "compand": partial(_curve, how="compand"),
    "s-curve": partial(_curve, how="scurve"),
    "equalized": _equalized,
    "percentile base": _percentile_base,
    "bidirectional": _bidirectional,
    "time bilateral": partial(_time_bilateral, spread=1.0),
    "recursive 0.5": partial(_recursive, alpha=0.5),
    "wavelets in two directions": partial(_wavelets, limit=0.3),
    "wavelets in two directions, weak": partial(_wavelets, limit=0.15),
    "wavelet in x, weak": partial(_wavelet, limit=0.2, time=False),
    "palette of 40": partial(_palette, count=40),
    "components 30 %, more rest": partial(_components, share=0.3, rest=0.6),
    **held_out_processing.TUNED,
}
"""Processing that limits of the estimator were set on; 40 of the kinds only since they became known."""

_NO_MODEL = ("gamma", "sqrt", "log", "gamma 1.5", "stretch per frame", "z-score", "dF/F", "interleaved")
SCALES: dict[str, float] = {
    **dict.fromkeys((*_NO_MODEL, "compand", "s-curve", "equalized"), float("nan")),
    **held_out_processing.SCALES,
}


def processed(name: str, frames: np.ndarray, seed: int) -> np.ndarray:
    """Process raw frames in one way, by its name; return them as 16 bit."""
    out = {**TUNED, **held_out_processing.UNTUNED}[name](
        frames.astype(np.float64), np.random.default_rng([3, seed])
    )
    low, high = (-32768, 32767) if out.min() < -0.5 else (0, 65535)
    return np.clip(np.rint(out), low, high).astype(np.int16 if low else np.uint16)
