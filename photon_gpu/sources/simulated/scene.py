"""Draw the scene of a simulated movie: neuropil, vessels and cells.

Brightness is relative: its mean over the field of view at rest is 1. The canvas has a margin around the field
of view, so that the field can move over it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FOOTPRINT_FLOOR = 0.02  # fainter rims of a cell are not drawn


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Canvas at rest, and the cells on it.

    Attributes
    ----------
    margin : int
        Pixels of canvas beyond the field of view, on every side.
    rest : numpy.ndarray
        ``(H + 2*margin, W + 2*margin)`` float64, brightness at rest; mean 1 over the field of view.
    cell_pixels : numpy.ndarray
        Flat canvas indices of the pixels that belong to a cell, each once.
    cell_of_pixel : numpy.ndarray
        Number of the cell of each of those pixels, from 0.
    cell_light : numpy.ndarray
        Brightness that each of those pixels gains if the dF/F of its cell is 1.
    labels : numpy.ndarray
        ``(H, W)`` int32, the field of view at rest: 0 is background, ``c + 1`` the body of cell ``c``.
    """

    margin: int
    rest: NDArray
    cell_pixels: NDArray
    cell_of_pixel: NDArray
    cell_light: NDArray
    labels: NDArray


def draw_scene(
    rng: np.random.Generator,
    *,
    height: int,
    width: int,
    margin: int,
    contrast: float,
    cells: int,
    cell_radius: float,
) -> Scene:
    """Draw neuropil, neurites, vessels and cells.

    Parameters
    ----------
    rng : numpy.random.Generator
        Generator of all random numbers.
    height, width : int
        Field of view, pixels.
    margin : int
        Pixels of canvas beyond it, on every side.
    contrast : float
        Standard deviation of the logarithm of the background's brightness; 0 is a flat field.
    cells : int
        Cells in the field of view.
    cell_radius : float
        Radius of a cell body, pixels.

    Examples
    --------
    >>> scene = draw_scene(np.random.default_rng(1), height=48, width=64, margin=4, contrast=0.4,
    ...                    cells=3, cell_radius=5.0)
    >>> scene.rest.shape, scene.labels.shape, int(scene.labels.max())
    ((56, 72), (48, 64), 3)
    """
    shape = (height + 2 * margin, width + 2 * margin)
    background = np.exp(contrast * _background(rng, shape)) if contrast > 0 else np.ones(shape)
    owner, footprint = _cells(rng, (height, width), margin, cells, cell_radius)
    pixels = np.flatnonzero(owner >= 0)
    of_pixel = owner.ravel()[pixels]
    print_of_pixel = footprint.ravel()[pixels]
    # A resting cell is a little brighter than its surroundings; labelling differs from cell to cell.
    labelling = rng.lognormal(0.0, 0.4, size=cells)
    light = 0.8 * labelling[of_pixel] * print_of_pixel
    rest = background
    rest.ravel()[pixels] *= 1 - 0.5 * print_of_pixel
    rest.ravel()[pixels] += light
    field = (slice(margin, margin + height), slice(margin, margin + width))
    mean = rest[field].mean()
    labels = np.where((owner >= 0) & (footprint >= 0.4), owner + 1, 0)[field]
    return Scene(
        margin=margin,
        rest=rest / mean,
        cell_pixels=pixels,
        cell_of_pixel=of_pixel,
        cell_light=light / mean,
        labels=np.ascontiguousarray(labels, dtype=np.int32),
    )


def _background(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray:
    """Logarithm of the background's brightness, scaled to mean 0 and standard deviation 1."""
    neuropil = sum(
        weight * _standard(_blur(rng.standard_normal(shape), sigma))
        for weight, sigma in ((0.35, 1.2), (0.5, 4.0), (0.6, 25.0))
    )
    area = shape[0] * shape[1]
    neurites = _tubes(rng, shape, count=math.ceil(area / 1500), length=60.0, radius=0.9)
    small = _tubes(rng, shape, count=math.ceil(area / 20000), length=300.0, radius=2.5)
    large = _tubes(rng, shape, count=math.ceil(area / 100000), length=900.0, radius=8.0)
    return _standard(neuropil + 1.2 * neurites - 4.5 * np.maximum(small, large))


def _tubes(
    rng: np.random.Generator, shape: tuple[int, int], *, count: int, length: float, radius: float
) -> NDArray:
    """Wandering tubes of the given length and radius in pixels: 1 inside, 0 outside, soft edges."""
    spacing = 0.5
    points = max(int(length / spacing), 2)
    turn = rng.standard_normal((count, points)).cumsum(axis=1) * math.sqrt(spacing) * 0.15 / math.sqrt(radius)
    angle = rng.uniform(0, 2 * math.pi, (count, 1)) + turn
    y = rng.uniform(0, shape[0], (count, 1)) + spacing * np.sin(angle).cumsum(axis=1)
    x = rng.uniform(0, shape[1], (count, 1)) + spacing * np.cos(angle).cumsum(axis=1)
    # The canvas is a torus, as it is for the FFT blur: a tube that leaves enters on the other side.
    index = np.floor(y).astype(np.int64) % shape[0] * shape[1] + np.floor(x).astype(np.int64) % shape[1]
    drawn = np.bincount(index.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    sigma = 0.6 * radius
    ridge = 1 / (spacing * math.sqrt(2 * math.pi) * sigma)
    level = np.maximum(_blur(drawn.astype(np.float64), sigma), 0.0) / ridge
    return 1 - np.exp(-2 * level**2)


def _cells(
    rng: np.random.Generator, field: tuple[int, int], margin: int, cells: int, radius: float
) -> tuple[NDArray, NDArray]:
    """Owner (cell number or -1) and footprint (0 to 1) of each canvas pixel."""
    shape = (field[0] + 2 * margin, field[1] + 2 * margin)
    owner = np.full(shape, -1, np.int64)
    footprint = np.zeros(shape)
    centres = _spread(rng, field, cells) + margin
    for cell, (cy, cx) in enumerate(centres):
        stretch, tilt = rng.uniform(0.85, 1.15), rng.uniform(0, math.pi)
        reach = math.ceil(1.2 * radius + 4)
        top, left = max(int(cy) - reach, 0), max(int(cx) - reach, 0)
        window = (slice(top, int(cy) + reach + 1), slice(left, int(cx) + reach + 1))
        y, x = np.ogrid[: shape[0], : shape[1]]
        dy, dx = y[window[0]] + 0.5 - cy, x[:, window[1]] + 0.5 - cx
        along, across = dy * math.cos(tilt) + dx * math.sin(tilt), dx * math.cos(tilt) - dy * math.sin(tilt)
        distance = np.hypot(along * stretch, across / stretch)
        # A body with a soft edge and a dim nucleus, as with cytosolic indicators.
        body = 1 / (1 + np.exp(np.minimum((distance - radius) / 0.6, 50.0)))
        body *= 1 - 0.55 * np.exp(-((distance / (0.5 * radius)) ** 2))
        stronger = (body > footprint[window]) & (body > _FOOTPRINT_FLOOR)
        footprint[window][stronger] = body[stronger]
        owner[window][stronger] = cell
    return owner, footprint


def _spread(rng: np.random.Generator, field: tuple[int, int], count: int) -> NDArray:
    """``(count, 2)`` positions in the field, each the one of ten tries farthest from the others."""
    places = np.empty((count, 2))
    for n in range(count):
        tries = rng.uniform((0, 0), field, (10, 2))
        if n:
            distance = np.hypot(*(tries[:, None, :] - places[None, :n, :]).transpose(2, 0, 1)).min(axis=1)
            places[n] = tries[distance.argmax()]
        else:
            places[n] = tries[0]
    return places


def _blur(image: NDArray, sigma: float) -> NDArray:
    """Convolve with a Gaussian of ``sigma`` pixels on a torus."""
    fy = np.fft.fftfreq(image.shape[0])[:, None]
    fx = np.fft.rfftfreq(image.shape[1])[None, :]
    transfer = np.exp(-2 * (math.pi * sigma) ** 2 * (fy**2 + fx**2))
    return np.fft.irfft2(np.fft.rfft2(image) * transfer, s=image.shape)


def _standard(image: NDArray) -> NDArray:
    """Scale to mean 0 and standard deviation 1; a constant image becomes 0."""
    image = image - image.mean()
    spread = image.std()
    return image / spread if spread > 1e-12 else np.zeros_like(image)
