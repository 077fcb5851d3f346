"""Processing that was held out when limits of the estimator were set (``UNTUNED``), and some that was not.

The functions are those of ``tests.support.noise.processing``: frames (T, H, W) as floats and a generator go
in, frames come out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import fft, ndimage, signal

Processing = Callable[[np.ndarray, np.random.Generator], np.ndarray]

# Quantization of the luminance of JPEG (ITU-T T.81, table K.1).
_JPEG = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


def _haar(image: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    even = np.take(image, range(0, image.shape[axis], 2), axis)
    odd = np.take(image, range(1, image.shape[axis], 2), axis)
    return (even + odd) / 2**0.5, (even - odd) / 2**0.5


def _unhaar(mean: np.ndarray, detail: np.ndarray, axis: int) -> np.ndarray:
    both = np.stack([(mean + detail) / 2**0.5, (mean - detail) / 2**0.5], axis=axis + 1)
    shape = list(mean.shape)
    shape[axis] *= 2
    return both.reshape(shape)


def _in_wavelets(
    frames: np.ndarray, change: Callable[[np.ndarray], np.ndarray], depth: int = 3
) -> np.ndarray:
    if depth == 0 or any(size % 2 for size in frames.shape[1:]):
        return frames
    low, high = _haar(frames, 1)
    (ll, lh), (hl, hh) = _haar(low, 2), _haar(high, 2)
    ll = _in_wavelets(ll, change, depth - 1)
    return _unhaar(_unhaar(ll, change(lh), 2), _unhaar(change(hl), change(hh), 2), 1)


def _wavelet(frames: np.ndarray, rng: np.random.Generator, limit: float) -> np.ndarray:
    level = limit * float(np.median(np.abs(frames[1:] - frames[:-1]))) / 0.95

    def soft(detail: np.ndarray) -> np.ndarray:
        return np.sign(detail) * np.maximum(np.abs(detail) - level, 0)

    return _in_wavelets(frames, soft)


def _wavelet_coded(frames: np.ndarray, rng: np.random.Generator, step: float) -> np.ndarray:
    """Quantized wavelets with a dead zone, as JPEG 2000."""
    return _in_wavelets(frames, lambda detail: step * np.trunc(detail / step))


def _cross_median(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return ndimage.median_filter(frames, footprint=np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]]))


def _non_local(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    noise = float((frames[1:] - frames[:-1]).var()) / 2
    total, weights = np.zeros_like(frames), np.zeros_like(frames)
    for dy in range(-3, 4):
        for dx in range(-3, 4):
            other = np.roll(frames, (dy, dx), (1, 2))
            distance = ndimage.uniform_filter((frames - other) ** 2, (1, 3, 3))
            weight = np.exp(-np.maximum(distance - 2 * noise, 0) / (strength * noise))
            total, weights = total + weight * other, weights + weight
    return total / weights


def _total_variation(frames: np.ndarray, rng: np.random.Generator, weight: float) -> np.ndarray:
    """Minimize total variation by the dual method of Chambolle."""
    weight *= float((frames[1:] - frames[:-1]).std())
    p = np.zeros((2, *frames.shape))
    out = frames
    for _ in range(20):
        gradient = np.stack([np.diff(out, axis=a, append=out.take([-1], a)) for a in (1, 2)])
        p = (p - 0.25 / weight * gradient) / (1 + 0.25 / weight * np.sqrt((gradient**2).sum(axis=0)))
        spread = sum(np.diff(p[a - 1], axis=a, prepend=0) for a in (1, 2))
        out = frames - weight * spread
    return out


def _kalman(frames: np.ndarray, rng: np.random.Generator, gain: float) -> np.ndarray:
    """Filter as the Kalman stack filter of ImageJ does."""
    predicted, variance = frames[0].copy(), 0.05
    out = [predicted]
    for frame in frames[1:]:
        share = variance / (variance + 0.05)
        corrected = gain * predicted + (1 - gain) * frame + share * (frame - predicted)
        variance, predicted = variance * (1 - share), corrected
        out.append(corrected)
    return np.stack(out)


def _paired(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.repeat((frames[:-1:2] + frames[1::2]) / 2, 2, axis=0)


def _binned(frames: np.ndarray, size: int, how: str) -> np.ndarray:
    height, width = (n // size for n in frames.shape[1:])
    whole = frames[:, : height * size, : width * size].reshape(-1, height, size, width, size)
    return getattr(np, how)(whole, axis=(2, 4))


def _bins(frames: np.ndarray, rng: np.random.Generator, size: int, how: str) -> np.ndarray:
    return _binned(frames, size, how)


def _bins_enlarged(frames: np.ndarray, rng: np.random.Generator, order: int) -> np.ndarray:
    return ndimage.zoom(_binned(frames, 2, "mean"), (1, 2, 2), order=order, mode="nearest")


def _vignette(frames: np.ndarray, rng: np.random.Generator, depth: float) -> np.ndarray:
    y, x = (np.linspace(-1, 1, n) for n in frames.shape[1:])
    flat = 1 - depth * (y[:, None] ** 2 + x[None, :] ** 2) / 2
    return (frames - 200) * (flat.mean() / flat) + 200


def _flat_field(frames: np.ndarray, rng: np.random.Generator, spread: float) -> np.ndarray:
    flat = 1 + spread * rng.standard_normal(frames.shape[1:])
    return np.rint((frames - 200) / flat)


def _log_and_back(frames: np.ndarray, rng: np.random.Generator, levels: float) -> np.ndarray:
    low = frames.min() - 1
    return np.rint(np.expm1(np.rint(levels * np.log1p(frames - low)) / levels)) + low


def _divided(frames: np.ndarray, rng: np.random.Generator, by: float, dither: bool = False) -> np.ndarray:
    return frames / by + (rng.random(frames.shape) - 0.5 if dither else 0)


def _coarse(frames: np.ndarray, rng: np.random.Generator, step: float) -> np.ndarray:
    return step * np.rint(frames / step)


def _blocks(frames: np.ndarray) -> np.ndarray:
    height, width = (n // 8 * 8 for n in frames.shape[1:])
    return frames[:, :height, :width].reshape(len(frames), height // 8, 8, width // 8, 8)


def _jpeg(frames: np.ndarray, rng: np.random.Generator, scale: float) -> np.ndarray:
    """Quantize as JPEG does; the range of the movie stands for 8 bits."""
    low, unit = frames.min(), (frames.max() - frames.min()) / 255
    blocks = _blocks((frames - low) / unit - 128)
    table = np.maximum(scale * _JPEG, 1)[None, None, :, None, :]
    coded = table * np.rint(fft.dctn(blocks, axes=(2, 4), norm="ortho") / table)
    out = np.clip(np.rint(fft.idctn(coded, axes=(2, 4), norm="ortho")) + 128, 0, 255) * unit + low
    return out.reshape(len(frames), blocks.shape[1] * 8, -1)


def _video(frames: np.ndarray, rng: np.random.Generator, step: float) -> np.ndarray:
    """Predict each frame from the one before, and quantize the transform of the difference."""
    blocks = _blocks(frames)
    out, before = [], np.zeros(blocks.shape[1:])
    for number, block in enumerate(blocks):
        size = step / 4 if number % 30 == 0 else step
        coded = fft.dctn(block - before, axes=(1, 3), norm="ortho") / size
        before = before + fft.idctn(
            size * np.sign(coded) * np.floor(np.abs(coded) + 0.33), axes=(1, 3), norm="ortho"
        )
        out.append(before)
    return np.stack(out).reshape(len(frames), blocks.shape[1] * 8, -1)


def _rows_levelled(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return frames - np.median(frames, axis=2, keepdims=True) + 1000


def _destriped(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    columns = frames.mean(axis=1, keepdims=True)
    return frames - (columns - ndimage.gaussian_filter1d(columns, 5, axis=2))


def _frames_levelled(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return frames - frames.mean(axis=(1, 2), keepdims=True) + 1000


def _percent_change(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    base = np.median(frames, axis=0) - 150
    return 1000 * (frames - 150 - base) / base


def _frames_matched(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give all frames the mean and the spread of the movie."""
    mean, spread = (getattr(frames, how)(axis=(1, 2), keepdims=True) for how in ("mean", "std"))
    return frames.mean() + spread.mean() * (frames - mean) / spread


def _frames_equalized(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    out = []
    for frame in frames:
        values, inverse, counts = np.unique(frame, return_inverse=True, return_counts=True)
        out.append((4095 * np.cumsum(counts) / counts.sum())[inverse].reshape(frame.shape))
    return np.stack(out)


def _power(frames: np.ndarray, rng: np.random.Generator, exponent: float) -> np.ndarray:
    low, high = np.quantile(frames, [0.0001, 1])
    return 60000 * np.clip((frames - low) / (high - low), 0, 1) ** exponent


def _richardson_lucy(frames: np.ndarray, rng: np.random.Generator, rounds: int) -> np.ndarray:
    def blur(image: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(image, (0, 1.0, 1.0))

    base = frames.min() - 1
    seen = frames - base
    out = np.full_like(seen, seen.mean())
    for _ in range(rounds):
        out = out * blur(seen / np.maximum(blur(out), 1e-9))
    return out + base


def _wiener_inverse(frames: np.ndarray, rng: np.random.Generator, noise: float) -> np.ndarray:
    fy, fx = (np.fft.fftfreq(n) for n in frames.shape[1:])
    response = np.exp(-2 * np.pi**2 * (fy[:, None] ** 2 + fx[None, :] ** 2))
    sharp = np.fft.fft2(frames) * response * (1 + noise) / (response**2 + noise)
    return np.fft.ifft2(sharp).real


def _tracked(frames: np.ndarray, rng: np.random.Generator, order: int, whole: bool = False) -> np.ndarray:
    """Shift along a slow path, as motion correction does."""
    path = np.cumsum(0.15 * rng.standard_normal((len(frames), 2)), axis=0)
    path = np.rint(path) if whole else np.rint(10 * path) / 10
    return np.stack(
        [ndimage.shift(f, p, order=order, mode="nearest") for f, p in zip(frames, path, strict=True)]
    )


def _savitzky(frames: np.ndarray, rng: np.random.Generator, length: int, order: int) -> np.ndarray:
    return signal.savgol_filter(frames, length, order, axis=0)


def _quantiles_clipped(frames: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    low, high = np.quantile(frames, [share, 1 - share], axis=0)
    return np.clip(frames, low, high)


def _rank(frames: np.ndarray, rng: np.random.Generator, rank: int, rest: float = 0.0) -> np.ndarray:
    flat = frames.reshape(len(frames), -1)
    mean = flat.mean(axis=0)
    u, s, v = np.linalg.svd(flat - mean, full_matrices=False)
    s = np.where(np.arange(len(s)) < rank, s, rest * s)
    return (u * s @ v + mean).reshape(frames.shape)


def _shrunk_patches(frames: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """Keep the components of every patch that noise alone would not make."""
    out = frames.copy()
    noise = float((frames[1:] - frames[:-1]).std()) / 2**0.5
    for top in range(0, frames.shape[1], size):
        for left in range(0, frames.shape[2], size):
            patch = (slice(None), slice(top, top + size), slice(left, left + size))
            flat = frames[patch].reshape(len(frames), -1)
            u, s, v = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
            s = np.where(s > 0.6 * noise * (len(frames) ** 0.5 + size), s, 0)
            out[patch] = (u * s @ v + flat.mean(axis=0)).reshape(frames[patch].shape)
    return out


def _from_neighbours(frames: np.ndarray, rng: np.random.Generator, own: float) -> np.ndarray:
    """Predict frames from those around, as a self-supervised network does, and keep a part of each."""
    weights = np.array([1.0, 2, 3, 4, 0, 4, 3, 2, 1])
    guess = ndimage.convolve1d(frames, weights / weights.sum(), axis=0)
    return own * frames + (1 - own) * ndimage.gaussian_filter(guess, (0, 0.5, 0.5))


def _even_odd(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Average with a denoised partner of the other parity."""
    partner = ndimage.gaussian_filter((np.roll(frames, 1, 0) + np.roll(frames, -1, 0)) / 2, (0, 1, 1))
    return (frames + partner) / 2


def _ball(frames: np.ndarray, rng: np.random.Generator, radius: int) -> np.ndarray:
    """Subtract a rolling ball, as ImageJ does, of this radius."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    inside = y * y + x * x <= radius * radius
    height = np.where(inside, np.sqrt(np.maximum(radius * radius - y * y - x * x, 0.0)), 0.0)
    smooth = ndimage.uniform_filter(frames, (1, 3, 3))
    floor = [ndimage.grey_opening(f, footprint=inside, structure=height) for f in smooth]
    return np.maximum(frames - np.stack(floor), 0)


def _brightened(frames: np.ndarray, rng: np.random.Generator, to: float) -> np.ndarray:
    """Scale later frames up, as a correction of bleaching does."""
    return (frames - 200) * np.linspace(1, to, len(frames))[:, None, None] + 200


def _dropped(frames: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    out = frames.copy()
    for number in np.flatnonzero(rng.random(len(frames)) < share):
        if 1 < number < len(frames) - 2:
            out[number] = (out[number - 1] + out[number + 1]) / 2
    return out


def _masked(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mean = ndimage.gaussian_filter(frames.mean(axis=0), 2)
    return frames * (mean > np.median(mean))


def _folded(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.mod(frames, np.rint(np.quantile(frames, 0.98)))


def _root_coded(frames: np.ndarray, rng: np.random.Generator, blur: float) -> np.ndarray:
    """Stabilize the variance, round or smooth there, and go back."""
    photons = np.maximum((frames - 200) / 20, 0)
    root = 2 * np.sqrt(photons + 0.375)
    root = ndimage.gaussian_filter(root, (0, blur, blur)) if blur else np.rint(2 * root) / 2
    return 20 * ((root / 2) ** 2 - 0.375) + 200


def _resampled(frames: np.ndarray, rng: np.random.Generator, factor: float) -> np.ndarray:
    times = np.arange(0, len(frames) - 1.001, 1 / factor)
    whole = times.astype(int)
    share = (times - whole)[:, None, None]
    return (1 - share) * frames[whole] + share * frames[whole + 1]


def _local_contrast(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mean = ndimage.uniform_filter(frames, (1, 15, 15))
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(frames**2, (1, 15, 15)) - mean**2, 1))
    return 2000 + 300 * (frames - mean) / spread


def _band_pass(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (
        2000 + ndimage.gaussian_filter(frames, (0, 0.8, 0.8)) - ndimage.gaussian_filter(frames, (0, 5.0, 5.0))
    )


def _median_removed(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return frames - np.median(frames, axis=0) + 1000


def _fourier_enlarged(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return signal.resample(signal.resample(frames, frames.shape[1] * 3 // 2, axis=1), 108, axis=2)


def _decayed(frames: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Undo an exponential decay, as a deconvolution of calcium signals does."""
    return np.concatenate([frames[:1], frames[1:] - share * frames[:-1]])[1:] + 500


def _gated(frames: np.ndarray, rng: np.random.Generator, limit: float) -> np.ndarray:
    mean, spread = frames.mean(axis=0), frames.std(axis=0)
    off = frames - mean
    return mean + np.sign(off) * np.maximum(np.abs(off) - limit * spread, 0)


def _palette(frames: np.ndarray, rng: np.random.Generator, levels: int) -> np.ndarray:
    edges = np.quantile(frames, np.linspace(0, 1, levels + 1))
    centres = (edges[:-1] + edges[1:]) / 2
    return centres[np.clip(np.searchsorted(edges, frames) - 1, 0, levels - 1)]


def _line_phase(frames: np.ndarray, rng: np.random.Generator, shift: float) -> np.ndarray:
    out = frames.copy()
    odd = out[:, 1::2]
    out[:, 1::2] = (1 - shift) * odd + shift * np.roll(odd, 1, axis=2)
    return out


def _weighted_pairs(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 0.7 * frames[:-1:2] + 0.3 * frames[1::2]


def _noise_added(frames: np.ndarray, rng: np.random.Generator, sigma: float) -> np.ndarray:
    return frames + sigma * rng.standard_normal(frames.shape)


TUNED: dict[str, Processing] = {
    "wavelets coded": partial(_wavelet_coded, step=60.0),
    "bins enlarged, bilinear": partial(_bins_enlarged, order=1),
    "largest of 2 x 2": partial(_bins, size=2, how="max"),
    "median of 3 x 3 bins": partial(_bins, size=3, how="median"),
    "sum of 2 x 2": partial(_bins, size=2, how="sum"),
    "vignette": partial(_vignette, depth=0.3),
    "8 bit": partial(_divided, by=16.0),
    "multiples of 16": partial(_coarse, step=16.0),
    "jpeg 90": partial(_jpeg, scale=0.2),
    "jpeg 60": partial(_jpeg, scale=0.8),
    "rows levelled": _rows_levelled,
    "percent change": _percent_change,
    "frames equalized": _frames_equalized,
    "gamma 0.7": partial(_power, exponent=0.7),
    "gamma 1.2": partial(_power, exponent=1.2),
    "quantiles clipped": partial(_quantiles_clipped, share=0.05),
    "rank 30, some rest": partial(_rank, rank=30, rest=0.3),
    "even and odd": _even_odd,
    "ball 8": partial(_ball, radius=8),
    "ball 12": partial(_ball, radius=12),
    "brightened": partial(_brightened, to=2.0),
    "time x 1.5": partial(_resampled, factor=1.5),
    "decay undone": partial(_decayed, share=0.5),
    "gated": partial(_gated, limit=0.4),
    "noise added": partial(_noise_added, sigma=15.0),
}
"""Processing that limits of the estimator were set on."""

UNTUNED: dict[str, Processing] = {
    "wavelets, soft": partial(_wavelet, limit=1.0),
    "wavelets, weak": partial(_wavelet, limit=0.4),
    "cross median": _cross_median,
    "non-local means": partial(_non_local, strength=0.6),
    "total variation": partial(_total_variation, weight=0.5),
    "kalman": partial(_kalman, gain=0.8),
    "pairs averaged, repeated": _paired,
    "bins enlarged, cubic": partial(_bins_enlarged, order=3),
    "flat field, rounded": partial(_flat_field, spread=0.05),
    "log and back": partial(_log_and_back, levels=500.0),
    "8 bit, dithered": partial(_divided, by=8.0, dither=True),
    "video": partial(_video, step=60.0),
    "destriped": _destriped,
    "frames levelled": _frames_levelled,
    "frames matched": _frames_matched,
    "richardson-lucy 3": partial(_richardson_lucy, rounds=3),
    "richardson-lucy 10": partial(_richardson_lucy, rounds=10),
    "wiener inverse": partial(_wiener_inverse, noise=0.1),
    "bilinear tracking": partial(_tracked, order=1),
    "cubic tracking": partial(_tracked, order=3),
    "whole-pixel tracking": partial(_tracked, order=0, whole=True),
    "savitzky-golay 5": partial(_savitzky, length=5, order=2),
    "savitzky-golay 11": partial(_savitzky, length=11, order=3),
    "rank 8": partial(_rank, rank=8),
    "patches shrunk": partial(_shrunk_patches, size=6),
    "from neighbours": partial(_from_neighbours, own=0.0),
    "from neighbours, 20 % own": partial(_from_neighbours, own=0.2),
    "3 % interpolated": partial(_dropped, share=0.03),
    "masked": _masked,
    "folded": _folded,
    "root coded": partial(_root_coded, blur=0.0),
    "root smoothed": partial(_root_coded, blur=0.7),
    "time x 0.8": partial(_resampled, factor=0.8),
    "local contrast": _local_contrast,
    "band pass": _band_pass,
    "median removed": _median_removed,
    "fourier enlarged": _fourier_enlarged,
    "palette of 48": partial(_palette, levels=48),
    "line phase": partial(_line_phase, shift=0.4),
    "weighted pairs": _weighted_pairs,
}
"""Processing that no limit was set on."""

_NO_MODEL = (
    "percent change",
    "frames equalized",
    "gamma 0.7",
    "gamma 1.2",
    "brightened",
    "local contrast",
    "band pass",
    "median removed",
    "decay undone",
)
SCALES: dict[str, float] = {
    **dict.fromkeys(_NO_MODEL, float("nan")),
    "8 bit": 1 / 16,
    "8 bit, dithered": 1 / 8,
    "weighted pairs": 0.58,
}
"""Factors of the gain, as in ``tests.support.noise.processing``."""
