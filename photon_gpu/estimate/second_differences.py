"""Pair statistics: noise from second differences in time, level by level of light.

Three frames give ``D = x0 - 2*x1 + x2``. Its mean square is 6 variances of white noise, and a linear drift
does not change it. An *instrument*, the mean of the other half of the window, sorts pixels into levels. The
noise of the instrument is independent of the measured half. So within a level the means of ``D^2/6`` and of
the signal are both unbiased for any distribution of light, and no selection effect bends the line at low
counts. The instrument is fitted to the level of the measured half, because the light may fade within a
window. Products of ``D`` with those of neighbours distinguish moving structure, which is smooth in space,
from noise.

If read noise hides the light of half a window, the instrument is pooled from all other frames
(:mod:`photon_gpu.estimate.pixel_light`). Then all contrasts of the half that a linear drift does not change
replace ``D``. They scatter less (a variance from 8 frames scatters by 0.75 of that from ``D``), and the
slower structure that they let through is small compared with the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from photon_gpu.estimate.pixel_light import Pooled, halves
from photon_gpu.estimate.sample import Window

TILE = 16
UNITS = 4000  # Tiles grow until there are at most this many units of space and time.
LEVELS = 28
# Classes of pixels from flat to steep, by the difference of the instrument between neighbours. Motion adds
# variance in proportion to the local contrast, so flat pixels are the most informative.
STEEPNESS = (0.3, 0.6, 0.8, 0.95)
STEEPEST = 3.0  # At most so many times as bright as in the rest of the window.
# Signal, D^2/6, covariance of D with the pixel k rows (y) or columns (x) away, variance from differences over
# 1 and 2 frames minus the covariance of neighbouring rows, third cumulant, D^4/18 (fourth cumulant plus 6
# squared variances), squared contrast of neighbours, shares of values at the saturated and the lowest level.
FORMS = (
    "signal",
    "square",
    "y1",
    "y2",
    "y3",
    "x1",
    "x2",
    "x3",
    "t1",
    "t2",
    "cube",
    "fourth",
    "contrast",
    "full",
    "floor",
)


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Sums over the samples that share a window, a tile of pixels and a level.

    Attributes
    ----------
    window, tile, level, stratum : ndarray of int, shape (N,)
        Indices of each cell; ``level`` indexes ``edges``, ``stratum`` is the level and the class of
        steepness.
    count : ndarray of float, shape (N,)
        Samples (a sample is one pixel in one half window).
    instrument, steepness : ndarray, shape (N,)
        Mean light, ADU, and squared contrast, ADU^2, from the frames that were not measured.
    means : ndarray, shape (N, len(FORMS))
        Mean of each form: ADU, ADU^2, ADU^3 (cube), share (full, floor).
    edges : ndarray
        Instrument levels, ADU.
    tiles : ndarray of int
        Number of every tile in its :class:`Tiling`.
    pairs_per_sample : float
        Mean number of second differences per sample.
    trend : bool
        Whether squares and covariances are about a straight line in time, not of second differences.
    constant_share, nonfinite_share : float
        Shares of samples left out because their cell never changed, and because they are not finite.
    """

    window: NDArray
    tile: NDArray
    level: NDArray
    stratum: NDArray
    count: NDArray
    instrument: NDArray
    steepness: NDArray
    means: NDArray
    edges: NDArray
    tiles: NDArray
    pairs_per_sample: float
    trend: bool
    constant_share: float
    nonfinite_share: float

    def form(self, name: str) -> NDArray:
        """Mean of one form, per cell."""
        return self.means[:, FORMS.index(name)]


def _box3(image: NDArray) -> NDArray:
    for axis in (0, 1):
        padded = np.pad(image, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        cut = [slice(None), slice(None)]
        total = np.zeros_like(image)
        for k in range(3):
            cut[axis] = slice(k, k + image.shape[axis])
            total += padded[tuple(cut)]
        image = total / 3
    return image


def corners(image: NDArray) -> NDArray:
    """Mean of the four diagonal neighbours: they share neither pixel, row nor column with the middle."""
    height, width = image.shape
    padded = np.pad(image, 1, mode="reflect")
    return np.asarray(sum(padded[y : y + height, x : x + width] for y in (0, 2) for x in (0, 2)) / 4)


def _lagged(contrast: NDArray, lag: int, axis: int, norm: float = 6.0) -> NDArray:
    """Mean over frames of D times the mean of D at the two pixels ``lag`` away, per pixel."""
    size = contrast.shape[axis]
    out = np.zeros(contrast.shape[1:])
    if size <= lag:
        return out
    ahead = [slice(None)] * 3
    behind = [slice(None)] * 3
    ahead[axis], behind[axis] = slice(lag, None), slice(None, -lag)
    product = np.einsum("jyx,jyx->yx", contrast[tuple(ahead)], contrast[tuple(behind)])
    product = product / (norm * len(contrast))
    weight = np.zeros(contrast.shape[1:])
    for part in (ahead, behind):
        out[tuple(part[1:])] += product
        weight[tuple(part[1:])] += 1
    return out / np.maximum(weight, 1)


def _contrast(one: NDArray, other: NDArray) -> NDArray:
    """Mean over the four neighbours of the product of the differences of both images to them."""
    out = np.zeros(one.shape)
    weight = np.zeros(one.shape)
    for axis in (0, 1):
        product = np.diff(one, axis=axis) * np.diff(other, axis=axis)
        for part in (slice(1, None), slice(None, -1)):
            at = (part, slice(None)) if axis == 0 else (slice(None), part)
            out[at] += product
            weight[at] += 1
    return out / np.maximum(weight, 1)


def slopes(image: NDArray) -> NDArray:
    """Squared slope between the neighbours of every pixel, without the pixel itself."""
    padded = np.pad(image, 1, mode="reflect")
    down = padded[2:, 1:-1] - padded[:-2, 1:-1]
    across = padded[1:-1, 2:] - padded[1:-1, :-2]
    return np.asarray((down**2 + across**2) / 8)


def _steady(contrast: NDArray) -> NDArray:
    """Mask of the rows of second differences without a line artefact, shape (J, H).

    A line that lost its light differs in its mean, which the noise within the line hardly changes.
    """
    mean = contrast.mean(axis=2)
    if mean.shape[1] < 8:
        return np.ones(mean.shape, bool)
    padded = np.pad(mean, ((0, 0), (2, 2)), mode="reflect")
    around = np.median([padded[:, k : k + mean.shape[1]] for k in range(5)], axis=0)
    off = np.abs(mean - around)
    return np.asarray(~(off > 8 * np.median(off) + 1e-9))


def _basis(length: int, trend: bool) -> NDArray:
    """Contrasts of ``length`` frames, one per row, that a linear drift does not change.

    With ``trend`` all of them (orthonormal, so their squares sum to the variance about a straight line),
    otherwise second differences.
    """
    if trend:
        time = np.arange(length) - (length - 1) / 2
        return np.linalg.qr(np.stack([np.ones(length), time], axis=1), mode="complete")[0][:, 2:].T
    one, two, three = (np.eye(length - 2, length, k) for k in range(3))
    return one - 2 * two + three


def _cube(frames: NDArray, steady: NDArray, squares: NDArray, contrast: NDArray) -> NDArray:
    """Third cumulant of every pixel, from the residuals of a straight line in time.

    They scatter 0.7 as much as the cubes of second differences, which serve where a line artefact spoils some
    frames of a row.
    """
    count = np.where(steady.any(axis=0), steady.sum(axis=0), np.nan)[:, None]
    pairwise = -np.einsum("jyx,jyx->yx", squares, contrast) / (6 * count)
    line = _basis(len(frames), trend=True)
    residue = line.T @ line
    left = np.tensordot(residue.astype(frames.dtype), frames - frames[0], 1)
    whole = np.einsum("jyx,jyx,jyx->yx", left, left, left) / float((residue**3).sum())
    return np.where(np.asarray(steady.all(axis=0))[:, None], whole, pairwise)


def measure(frames: NDArray, *, lines: bool, trend: bool) -> NDArray:
    """All forms of one half window except the two shares, shape (len(FORMS) - 2, H, W)."""
    contrast = frames[:-2] - 2 * frames[1:-1] + frames[2:]
    steady = _steady(contrast) if lines else np.ones(contrast.shape[:2], bool)
    if trend:  # A line artefact spoils all contrasts of its row.
        steady = np.broadcast_to(steady.all(axis=0), steady.shape)
    if not steady.all():
        contrast = contrast * steady[:, :, None]
    # A row without valid contrasts becomes NaN and is left out.
    count = np.where(steady.any(axis=0), steady.sum(axis=0), np.nan)[:, None]
    squares = contrast * contrast
    cube = _cube(frames, steady, squares, contrast)
    fourth = np.einsum("jyx,jyx->yx", squares, squares) / (18 * count)
    basis = _basis(len(frames), trend)
    norm = float((basis[0] ** 2).sum())
    if trend:
        contrast = np.tensordot(basis.astype(frames.dtype), frames, 1)
        squares = contrast * contrast
    weight = (basis**2).T @ steady
    signal = np.einsum("jy,jyx->yx", weight, frames) / (norm * count)
    forms = [signal, squares.sum(axis=0) / (norm * count)]
    forms += [_lagged(contrast, lag, axis, norm) for axis in (1, 2) for lag in (1, 2, 3)]
    for step in (1, 2):
        change = frames[step:] - frames[:-step]
        own = np.einsum("jyx,jyx->yx", change, change) / (2 * len(change))
        forms.append(own - 4 / 3 * _lagged(change, 1, 1, 2.0) + 1 / 3 * _lagged(change, 2, 1, 2.0))
    forms += [cube, fourth]
    # The noise of the two quarters is independent, so their product holds only structure.
    middle = len(frames) // 2
    forms.append(_contrast(frames[:middle].mean(axis=0), frames[len(frames) - middle :].mean(axis=0)))
    return np.stack(forms)


@dataclass(frozen=True, kw_only=True)
class Strata:
    """Bins that sort samples by level, and within a level by steepness.

    Attributes
    ----------
    edges : ndarray
        Edges of the levels, ADU of the instrument.
    noise : ndarray, shape (len(edges) + 1,)
        Rough variance at each level, the unit of the contrast.
    cuts : ndarray
        Limits between classes of steepness; empty if neighbours in the array are not neighbours in space.
    """

    edges: NDArray
    noise: NDArray
    cuts: NDArray

    def sort(self, light: NDArray, contrast: NDArray) -> NDArray:
        """Stratum of every pixel."""
        level = np.searchsorted(self.edges, light)
        if not len(self.cuts):
            return level
        steep = np.searchsorted(self.cuts, contrast / self.noise[level])
        return level * (len(self.cuts) + 1) + steep


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Light of every pixel of a half window, from the frames that are not measured.

    Attributes
    ----------
    windows : sequence of Window
        All windows of the sample.
    smooth : bool
        Average over 3 x 3 pixels (not if rows are different images).
    pooled : Pooled or None
        Light from all other frames, if half a window is not enough.
    around : {"square", "corners"}
        Pixels that show the light of a pixel: 3 x 3, or the diagonal neighbours alone, which share no offset
        of a pixel, row or column with it. With these, steepness does not use the pixel itself either.
    """

    windows: Sequence[Window]
    smooth: bool
    pooled: Pooled | None
    around: Literal["square", "corners"] = "square"

    def light(self, number: int, chosen: slice, rest: list[int], block: NDArray) -> tuple[NDArray, NDArray]:
        """Light, ADU, and squared contrast, ADU^2, of every pixel of a window whose frames are ``block``."""
        if self.pooled is not None:
            light = self.pooled.light(number, chosen, rest)
            return light, _contrast(light, light)
        image = block[rest].mean(axis=0)
        if not self.smooth:
            return image, _contrast(image, image)
        around = {"square": _box3, "corners": corners}[self.around]
        light, factor = _followed(around(image), around(block[chosen].mean(axis=0)))
        # The noise of a pixel itself makes it look steep, and read noise differs between the pixels
        # of a camera.
        steepness = _contrast(image, image) if self.around == "square" else slopes(image)
        return light, factor**2 * steepness


def _followed(light: NDArray, measured: NDArray) -> tuple[NDArray, float]:
    """Fit mean and spread of ``light`` to the measurement: two numbers for all pixels.

    Both are means of about the same number of frames, so noise widens them equally.
    """
    seen = np.isfinite(light) & np.isfinite(measured)
    if not seen.any():
        return light, 1.0
    before, now = light[seen], measured[seen]
    spread = float(before.std())
    factor = float(np.clip(now.std() / spread, 1 / STEEPEST, STEEPEST)) if spread > 0 else 1.0
    return now.mean() + factor * (light - before.mean()), factor


def strata(reference: Reference) -> Strata:
    """Level edges: half divide the samples evenly, half divide the range evenly."""
    noise, lights, contrasts = [], [], []
    windows = reference.windows
    for number in range(0, len(windows), max(1, len(windows) // 8)):
        block = windows[number].frames.astype(np.float64)
        for chosen, rest in halves(len(block)):
            image, steepness = reference.light(number, chosen, rest, block)
            frames = block[chosen][:3]
            lights.append(image.ravel()[::3])
            noise.append((frames[0] - 2 * frames[1] + frames[2]).ravel()[::3] ** 2 / 6)
            contrasts.append(steepness.ravel()[::3])
    light, square, contrast = (np.concatenate(part) for part in (lights, noise, contrasts))
    good = np.isfinite(light) & np.isfinite(square) & np.isfinite(contrast)
    light, square, contrast = light[good], square[good], contrast[good]
    if light.size == 0:
        return Strata(edges=np.zeros(1), noise=np.ones(2), cuts=np.zeros(0))
    low, high = np.quantile(light, [0.0005, 0.9998])
    edges = np.unique(
        np.concatenate(
            [np.quantile(light, np.linspace(0.01, 0.99, LEVELS // 2)), np.linspace(low, high, LEVELS // 2)]
        )
    )
    level = np.searchsorted(edges, light)
    size = len(edges) + 1
    rough = np.bincount(level, square, size) / np.maximum(np.bincount(level, minlength=size), 1)
    rough = np.maximum(rough, max(float(square.mean()), 1e-12) * 1e-3)
    cuts = np.quantile(contrast / rough[level], STEEPNESS) if reference.smooth else np.zeros(0)
    return Strata(edges=edges, noise=rough, cuts=cuts)


def gather(
    windows: Sequence[Window], *, top: float, bottom: float, smooth: bool = True, pooled: Pooled | None = None
) -> Cells:
    """Measure every window and sum into cells.

    Parameters
    ----------
    windows : sequence of Window
        At least 4 frames each.
    top, bottom : float
        ADU; samples at or beyond them count as saturated (``full``) and at the floor.
    smooth : bool
        Average the instrument over 3 x 3 pixels (not if rows are different images).
    pooled : Pooled or None
        Light, if 3 x 3 pixels of half a window are not enough. Variances are then about a straight line in
        time.
    """
    reference = Reference(windows=windows, smooth=smooth, pooled=pooled)
    return _gather(windows, [reference], top, bottom)[0]


def gather_ways(
    windows: Sequence[Window],
    ways: Sequence[Literal["square", "corners"]],
    *,
    top: float,
    bottom: float,
) -> list[Cells]:
    """Measure as :func:`gather` does, once for each of ``ways`` to sort by the light of other pixels."""
    references = [Reference(windows=windows, smooth=True, pooled=None, around=way) for way in ways]
    return _gather(windows, references, top, bottom)


def _gather(
    windows: Sequence[Window], references: Sequence[Reference], top: float, bottom: float
) -> list[Cells]:
    sums = [_Sums(reference, windows) for reference in references]
    first = references[0]
    for number, window in enumerate(windows):
        exact = np.float32 if window.frames.dtype.itemsize <= 2 else np.float64
        block: Any = window.frames.astype(exact)
        finite = np.isfinite(block).all(axis=0).ravel()
        still = (block == block[0]).all(axis=0).ravel() & finite
        for chosen, rest in halves(len(block)):
            forms = measure(block[chosen], lines=first.smooth, trend=first.pooled is not None)
            shares = [(block[chosen] >= top).mean(axis=0), (block[chosen] <= bottom).mean(axis=0)]
            every = np.concatenate([forms, shares]).reshape(len(FORMS), -1)
            for one in sums:
                light = one.reference.light(number, chosen, rest, block)
                one.add(number, window, light, every, finite, still, block[chosen].shape[0] - 2)
    return [one.cells() for one in sums]


class Tiling:
    """Numbers of the tiles of all windows: windows of the same rows of a plane share them."""

    def __init__(self, windows: Sequence[Window]) -> None:
        area, self.size = sum(w.frames[0].size for w in windows), TILE
        while area > UNITS * self.size * self.size:
            self.size += TILE // 2
        self.numbers: dict[tuple[int, int], NDArray] = {}

    def of(self, window: Window) -> NDArray:
        """Number of the tile of every pixel; windows must come in order."""
        key = window.plane, window.row
        if key not in self.numbers:
            height, width = window.frames.shape[1:]
            down, across = np.arange(height) // self.size, np.arange(width) // self.size
            local = down[:, None] * (width // self.size + 1) + across[None, :]
            self.numbers[key] = len(self.numbers) * 10_000_000 + local
        return self.numbers[key]


class _Sums:
    """Sums per cell, as they are gathered with one reference."""

    def __init__(self, reference: Reference, windows: Sequence[Window]) -> None:
        self.reference, self.sorting = reference, strata(reference)
        self.classes = len(self.sorting.cuts) + 1
        self.span = (len(self.sorting.edges) + 1) * self.classes
        self.parts: list[tuple[NDArray, ...]] = []
        self.tiling = Tiling(windows)
        self.samples = self.pairs = self.constant = self.nonfinite = 0.0

    def add(
        self,
        number: int,
        window: Window,
        light: tuple[NDArray, NDArray],
        forms: NDArray,
        finite: NDArray,
        still: NDArray,
        pairs: int,
    ) -> None:
        """Add the forms of one half window; ``finite`` and ``still`` are masks of its pixels."""
        tile = self.tiling.of(window)
        base = int(tile[0, 0])
        key = (tile - base).ravel() * self.span + self.sorting.sort(*light).ravel()
        size = int(key.max()) + 1
        good = finite.astype(np.float64)
        self.nonfinite += float((~finite).sum())
        if (
            not np.isfinite(forms[0]).all() or not finite.all()
        ):  # NaN also spoils the forms of its neighbours.
            sound = np.isfinite(forms).all(axis=0) & np.isfinite(light[0] + light[1]).ravel()
            forms, good = np.where(sound, forms, 0.0), sound.astype(np.float64)
        count = np.bincount(key, good, size)
        used = np.flatnonzero(count)
        motionless = np.bincount(key, still * good, size)[used] == count[used]
        self.constant += float(count[used][motionless].sum())
        used = used[~motionless]
        sums = [np.bincount(key, v, size)[used] for v in forms]
        self.parts.append(
            (
                np.full(len(used), number),
                base + used // self.span,
                used % self.span,
                count[used],
                *(
                    np.bincount(key, np.where(good > 0, v.ravel(), 0.0), size)[used] / count[used]
                    for v in light
                ),
                np.stack(sums, axis=1) / count[used, None],
            )
        )
        self.samples += float(count.sum())
        self.pairs += float(count.sum()) * pairs

    def cells(self) -> Cells:
        """Cells with the sums of everything that was added."""
        columns = [np.concatenate(column) for column in zip(*self.parts, strict=True)]
        tiles, columns[1] = np.unique(columns[1], return_inverse=True)
        total = max(self.samples, 1.0)
        return Cells(
            window=columns[0],
            tile=columns[1],
            level=columns[2] // self.classes,
            stratum=columns[2],
            count=columns[3],
            instrument=columns[4],
            steepness=columns[5],
            means=columns[6],
            edges=self.sorting.edges,
            tiles=tiles,
            pairs_per_sample=self.pairs / total,
            trend=self.reference.pooled is not None,
            constant_share=self.constant / total,
            nonfinite_share=self.nonfinite / max(self.samples + self.nonfinite, 1.0),
        )
