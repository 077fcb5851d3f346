"""The Anscombe transform and its two inverses, on arrays of float64.

Stored codes come from :mod:`photon_gpu.engine.model.code_table`, which uses exact arithmetic. The functions
here agree with it up to rounding.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError


def anscombe(values: ArrayLike, noise: NoiseModel | None = None) -> NDArray[np.float64]:
    """Stabilize: raw values to units in which the noise has sigma 1 everywhere.

    ``A(z) = (2/gain)*sqrt(gain*(z - offset) + 3/8*gain^2 + variance)``. Below ``z = offset`` the tangent at
    that point continues it, so that negative samples survive.

    Parameters
    ----------
    values : array_like
        Any shape, any real dtype, ADU.
    noise : NoiseModel, optional
        Default: gain 1, offset 0, variance 0, which gives the classic ``2*sqrt(x + 3/8)``.

    Returns
    -------
    ndarray of float64
        Same shape, sigma.

    Notes
    -----
    F. J. Anscombe, Biometrika 35 (1948) 246; generalized form: J.-L. Starck,
    F. Murtagh, A. Bijaoui, *Image Processing and Data Analysis* (1998), eq. 2.11.

    Examples
    --------
    >>> anscombe([0, 1, 100]).round(3).tolist()
    [1.225, 2.345, 20.037]
    """
    model = _model(noise)
    dark = stabilized_floor(model)
    above = _numbers(values) - model.offset
    root = (2.0 / model.gain) * np.sqrt(model.gain * np.maximum(above, 0.0) + dark)
    return np.asarray(root + np.minimum(above, 0.0) / math.sqrt(dark))


def stabilized_floor(noise: NoiseModel) -> float:
    """Value under the root at ``offset``: ``3/8*gain^2 + variance``, ADU^2."""
    return 0.375 * noise.gain**2 + noise.variance


def inverse_anscombe(stabilized: ArrayLike, noise: NoiseModel | None = None) -> NDArray[np.float64]:
    """Invert :func:`anscombe` algebraically, sample by sample: sigma to ADU.

    Examples
    --------
    >>> inverse_anscombe(anscombe([-3.0, 1.0, 7.0])).round(12).tolist()
    [-3.0, 1.0, 7.0]
    """
    model = _model(noise)
    sigma = _numbers(stabilized)
    dark = stabilized_floor(model)
    bend = 2.0 * math.sqrt(dark) / model.gain
    root = 0.25 * model.gain * sigma**2 - dark / model.gain
    return np.asarray(model.offset + np.where(sigma >= bend, root, (sigma - bend) * math.sqrt(dark)))


def inverse_anscombe_unbiased(denoised: ArrayLike, noise: NoiseModel | None = None) -> NDArray[np.float64]:
    """Expected value, in ADU, from the *mean* of stabilized samples. For denoised data only.

    ``E[A(z)]`` differs from ``A(E[z])``; this function corrects for the difference. On single noisy samples
    it would add a bias of 2 to 40 % of a sigma; use :func:`inverse_anscombe` or ``movie.counts`` for those.

    Parameters
    ----------
    denoised : array_like
        Averages or denoised estimates of stabilized values, sigma.
    noise : NoiseModel, optional

    Returns
    -------
    ndarray of float64
        Same shape, ADU, at least ``offset``. Values below ``A(offset)`` are treated as ``A(offset)``.

    Notes
    -----
    Closed form of M. Makitalo and A. Foi, IEEE Trans. Image Process. 20 (2011) 2697 and
    22 (2013) 91: ``D^2/4 + sqrt(3/2)/4/D - 11/8/D^2 + 5/8*sqrt(3/2)/D^3 - 1/8 - variance/gain^2``.
    Error against the exact inverse: below 0.02 photons without read noise, and from 10 photons on. At less
    light the result is too high by up to 0.05, 0.12, 0.17 photons at a read noise of 0.5, 1, 3 photons (0.27
    in the dark).

    Examples
    --------
    >>> import numpy as np
    >>> counts = np.random.default_rng(0).poisson(4.0, 200_000)
    >>> bool(abs(inverse_anscombe_unbiased(anscombe(counts).mean()) - 4.0) < 0.02)
    True
    """
    model = _model(noise)
    read = model.variance / model.gain**2
    floor = 2.0 * math.sqrt(0.375 + read)
    mean = np.maximum(_numbers(denoised), floor)
    half = math.sqrt(1.5)
    photons = 0.25 * mean**2 + 0.25 * half / mean - 1.375 / mean**2 + 0.625 * half / mean**3 - 0.125 - read
    return np.asarray(model.offset + model.gain * np.maximum(photons, 0.0))


def _model(noise: NoiseModel | None) -> NoiseModel:
    if noise is None or isinstance(noise, NoiseModel):
        return noise or NoiseModel()
    raise InvalidInputError(f"noise is a {type(noise).__name__}; a NoiseModel is needed, or None")


def _numbers(values: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"values are a {type(values).__name__} that makes no array of numbers: {error}"
        ) from error
