"""``noise="auto"``: the noise model to encode with is estimated from the movie itself, and kept with it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from photon_gpu.encoding import Encoding
from photon_gpu.errors import InvalidInputError, PhotonWarning
from photon_gpu.noise import NoiseModel
from photon_gpu.sources.base import Source

if TYPE_CHECKING:
    from photon_gpu.estimate import NoiseEstimate

AUTO = "auto"
KEY = "noise_estimate"
"""Of ``.zattrs``: what :meth:`photon_gpu.NoiseEstimate.summary` says. FORMAT.md, ".zattrs"."""


def given(noise: NoiseModel | str | None) -> NoiseModel | None:
    """The model the caller gave; None where none was, or where it is to be estimated.

    >>> given("auto") is None
    True
    """
    if noise is None or isinstance(noise, NoiseModel):
        return noise
    if isinstance(noise, str) and noise == AUTO:
        return None
    raise InvalidInputError(
        f"noise is {noise!r}; a NoiseModel(gain=..., offset=..., variance=...), 'auto' (estimate it from the movie) "
        "or None (a photon counter) is needed"
    )


def settle(
    movie: Source, base: Encoding, attributes: dict[str, Any] | None
) -> tuple[Encoding, dict[str, Any]]:
    """Encoding and attributes with the estimated model in them.

    Parameters
    ----------
    movie : Source
        A sample of it is read.
    base : Encoding
        Whose noise model is not known yet.
    attributes : dict or None
        The caller's own.

    Raises
    ------
    InvalidInputError
        The noise cannot be modelled, and the layout would quantize by it: the reason, its number, and
        what can be done.
    """
    if attributes and KEY in attributes:
        raise InvalidInputError(
            f"attributes: noise='auto' keeps its estimate as {KEY!r}; give yours another name"
        )
    if movie.device is not None:
        raise InvalidInputError(
            "noise='auto' needs frames in host memory, and frames on a GPU are never sent down unasked: give "
            "noise=NoiseModel(...), or estimate_noise(frames.get()).model"
        )
    from photon_gpu.estimate import estimate_noise

    found = estimate_noise(movie)
    if found.layout == "lossless" and base.layout != "lossless":
        raise InvalidInputError(refusal(found))
    for finding in found.warnings:
        if finding.severity == "WARN" and base.layout != "lossless":  # there nothing depends on it
            warnings.warn(f"noise estimate: {finding.name}: {finding.message}", PhotonWarning, stacklevel=3)
    model = None if found.verdict == "REFUSE" else found.model
    return base.but(noise=model), {**(attributes or {}), KEY: found.summary()}


def refusal(found: NoiseEstimate) -> str:
    """Why a movie is not quantized by its estimate, and what to do."""
    why = "; ".join(f"{f.name}: {f.message}" for f in found.warnings if f.severity == "REFUSE")
    return (
        f"{found.source}: its noise cannot be modelled from the movie itself, so nothing was written: {why} "
        "Either give the model of the detector by hand, noise=NoiseModel(gain=..., offset=<value in the dark>, "
        "variance=<its variance>), or keep every bit, layout='lossless'"
    )


def note(attributes: dict[str, Any] | None) -> str | None:
    """One line on the estimate that a movie's attributes hold, if they do.

    Attributes are read from stores, so nothing in them is trusted.

    >>> note({"noise_estimate": {"verdict": "PASS", "model": {"gain": 8.0}, "interval": {"gain": [7.9, 8.1]}}})
    'estimated from the movie: PASS, gain 8 ADU/photon (95 %: 7.9 to 8.1)'
    >>> note({}) is None
    True
    """
    found = (attributes or {}).get(KEY)
    if not isinstance(found, dict) or found.get("verdict") not in ("PASS", "WARN", "REFUSE"):
        return None
    text = f"estimated from the movie: {found['verdict']}"
    try:
        low, high = found["interval"]["gain"]
        text += f", gain {found['model']['gain']:.4g} ADU/photon (95 %: {low:.4g} to {high:.4g})"
        by = found.get("diagnostics", {}).get("separated_by", "")
    except (KeyError, TypeError, ValueError):
        return text
    if by is None:
        return f"{text}; offset and read noise could not be told apart, and need not be"
    return f"{text}; offset and read noise apart by {by}" if by else text


def findings(attributes: dict[str, Any] | None) -> list[str]:
    """What the kept estimate warned of, a line each."""
    found = (attributes or {}).get(KEY)
    told = found.get("warnings") if isinstance(found, dict) else None
    if not isinstance(told, list):
        return []
    return [
        f"{f['severity']} {f['name']}: {f['message']}"
        for f in told
        if isinstance(f, dict) and all(isinstance(f.get(k), str) for k in ("severity", "name", "message"))
    ]
