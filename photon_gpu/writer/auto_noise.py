"""The noise model to encode with: estimated from the movie, or stated and checked against it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError, NoiseContradictionError, PhotonWarning
from photon_gpu.estimate.noise_check import judge_noise
from photon_gpu.sources.base import Source

if TYPE_CHECKING:
    from photon_gpu.estimate import NoiseEstimate

AUTO = "auto"
KEY = "noise_estimate"
"""Of ``.zattrs``: what :meth:`photon_gpu.NoiseEstimate.summary` says. FORMAT.md, ".zattrs"."""


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What a movie will be encoded by.

    Attributes
    ----------
    encoding : Encoding
    attributes : dict
        The caller's own, with the estimate where one was made.
    warnings, notes : tuple of str
    """

    encoding: Encoding
    attributes: dict[str, Any]
    warnings: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())

    def warn(self) -> None:
        """Tell the caller of encode what is doubtful."""
        for text in self.warnings:
            warnings.warn(text, PhotonWarning, stacklevel=3)


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
        f"noise is {noise!r}; a NoiseModel(gain=..., offset=..., variance=...), 'auto' (estimate it "
        f"from the movie) "
        "or None (estimate it, where anything depends on it) is needed"
    )


def settle(
    movie: Source,
    base: Encoding,
    noise: NoiseModel | str | None,
    attributes: dict[str, Any] | None,
    *,
    trust: bool = False,
) -> Settled:
    """Estimate the noise model where none was stated; hold it against the movie where one was.

    Parameters
    ----------
    movie : Source
        A sample of it is read.
    base : Encoding
        Before that.
    noise : NoiseModel, "auto" or None
        As the caller stated it. None is ``"auto"`` unless nothing is quantized.
    attributes : dict or None
        The caller's own.
    trust : bool
        Take a stated model as it is.

    Raises
    ------
    InvalidInputError
        The noise cannot be modelled, and the layout would quantize by it: the reason, its number, and
        what can be done. A stated model that the movie contradicts is a NoiseContradictionError.
    """
    quantized = base.layout != "lossless"
    if noise == AUTO or (noise is None and quantized):
        return _estimated(movie, base, attributes)
    told: dict[str, Any] = {}
    if base.step is not None and isinstance(noise, NoiseModel) and not trust:
        severity, text = judge_noise(movie, noise, base.step)
        if severity == "error":
            raise NoiseContradictionError(text)
        told = {"warn": {"warnings": (text,)}, "note": {"notes": (text,)}}.get(severity, {})
    return Settled(encoding=base, attributes=attributes or {}, **told)


def _estimated(movie: Source, base: Encoding, attributes: dict[str, Any] | None) -> Settled:
    if attributes and KEY in attributes:
        raise InvalidInputError(
            f"attributes: noise='auto' keeps its estimate as {KEY!r}; give yours another name"
        )
    if movie.device is not None:
        raise InvalidInputError(
            "no noise model was stated, and noise='auto' needs frames in host memory; frames on a GPU "
            "are never sent "
            "down unasked: give noise=NoiseModel(...), or estimate_noise(frames.get()).model"
        )
    from photon_gpu.estimate import estimate_noise

    found = estimate_noise(movie)
    if found.layout == "lossless" and base.layout != "lossless":
        raise InvalidInputError(refusal(found))
    doubts = [f"noise estimate: {f.name}: {f.message}" for f in found.warnings if f.severity == "WARN"]
    return Settled(
        encoding=base.but(noise=None if found.verdict == "REFUSE" else found.model),
        attributes={**(attributes or {}), KEY: found.summary()},
        warnings=tuple(doubts if base.layout != "lossless" else ()),  # there nothing depends on it
    )


def refusal(found: NoiseEstimate) -> str:
    """Why a movie is not quantized by its estimate, and what to do."""
    why = "; ".join(f"{f.name}: {f.message}" for f in found.warnings if f.severity == "REFUSE")
    return (
        f"{found.source}: its noise cannot be modelled from the movie itself, so nothing was written: {why} "
        "Either give the model of the detector by hand, noise=NoiseModel(gain=..., offset=<value in "
        "the dark>, "
        "variance=<its variance>), or keep every bit, layout='lossless'"
    )


def note(attributes: dict[str, Any] | None) -> str | None:
    """One line on the estimate that a movie's attributes hold, if they do.

    Attributes are read from stores, so nothing in them is trusted.

    >>> estimated = {"verdict": "PASS", "model": {"gain": 8.0}, "interval": {"gain": [7.9, 8.1]}}
    >>> note({"noise_estimate": estimated})
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
