"""Get the noise model of an encode: estimate it from the movie, or check a stated one against the movie."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from photon_gpu.encode_settings import AUTO, EncodeSettings
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError, NoiseContradictionError, PhotonWarning
from photon_gpu.estimate.noise_check import ADVICE, judge_noise
from photon_gpu.sources.base import Source
from photon_gpu.sources.select.selected import by_channel, channel_axis

if TYPE_CHECKING:
    from photon_gpu.estimate import NoiseEstimate

KEY = "noise_estimate"
"""Key in ``.zattrs`` of :meth:`photon_gpu.NoiseEstimate.summary`. FORMAT.md, ".zattrs"."""

CHANNELS_KEY = "noise_estimates"
"""Key in ``.zattrs`` of the summaries of all channels, if each channel was estimated."""


ACCEPTED_KEY = "accepted_processed"
"""Names of the findings of processing in spite of which the movie was quantized."""

_LONGEST_ERROR = 300
"""Most characters of a refusal; photon_gpu.estimate gives the whole reason."""


@dataclass(frozen=True, kw_only=True)
class Settled:
    """Encoding with its noise model, and the warnings and notes about it.

    Attributes
    ----------
    encoding : Encoding
    attributes : dict
        Attributes of the caller, with the estimate if one was made.
    warnings, notes : tuple of str
    """

    encoding: Encoding
    attributes: dict[str, Any]
    warnings: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())

    def warn(self) -> None:
        """Issue the warnings, located at the caller of :func:`photon_gpu.encode`, three calls up."""
        for text in self.warnings:
            warnings.warn(text, PhotonWarning, stacklevel=4)


def settle(movie: Source, encoding: Encoding, settings: EncodeSettings) -> Settled:
    """Estimate the noise model if none is stated, or compare the stated one with the movie.

    Parameters
    ----------
    movie : Source
        Only a sample is read.
    encoding : Encoding
        Encoding without a noise model.
    settings : EncodeSettings
        A ``noise`` of None means ``"auto"`` unless the encoding is lossless.

    Raises
    ------
    InvalidInputError
        The layout needs a noise model, and the noise cannot be modelled; the message has the reason and the
        remedy. NoiseContradictionError: the movie contradicts the stated model.
    """
    noise, attributes = settings.noise, settings.attributes
    if noise == AUTO or (noise is None and encoding.layout != "lossless"):
        return _estimated(movie, encoding, attributes, accept=settings.accept_processed)
    encoding = _by_channel(movie, encoding, settings.noise) if isinstance(noise, tuple) else encoding
    doubts: dict[str, Any] = {}
    if encoding.step is not None and settings.stated_models and not settings.trust_noise:
        severity, text = judge_channels(movie, settings.stated_models, encoding.step)
        if severity == "error":
            raise NoiseContradictionError(text)
        doubts = {"warn": {"warnings": (text,)}, "note": {"notes": (text,)}}.get(severity, {})
    return Settled(encoding=encoding, attributes=attributes, **doubts)


def judge_channels(
    movie: Source, models: Sequence[NoiseModel], step: float, *, advice: str = ADVICE
) -> tuple[str, str]:
    """Return the most severe result of :func:`~photon_gpu.estimate.noise_check.judge_noise` of all channels.

    ``models`` holds one model for all channels, or one for each.
    """
    parts = by_channel(movie)
    each = models if len(models) == len(parts) else [models[0]] * len(parts)
    judged = [judge_noise(part, model, step, advice=advice) for part, model in zip(parts, each, strict=True)]
    return max(judged, key=lambda one: ("ok", "note", "warn", "error").index(one[0]))


def _by_channel(movie: Source, encoding: Encoding, models: Any) -> Encoding:
    """Return the encoding with a noise model per channel, which may be None in a lossless movie."""
    axis = channel_axis(movie)
    channels = 1 if axis is None else movie.shape[axis]
    if axis is None or channels != len(models):
        raise InvalidInputError(
            f"{movie.name[-60:]}: {len(models)} noise models arrived, and the movie has {channels} "
            f"channels "
            f"(its axes are {movie.recording.axes or 'not named: give axes= or channels='})"
        )
    return replace(
        encoding,
        noise=None,
        channels=tuple(encoding.but(noise=model) for model in models),
        channel_axis=axis,
    )


def _estimated(movie: Source, encoding: Encoding, attributes: dict[str, Any], *, accept: bool) -> Settled:
    if taken := [key for key in (KEY, CHANNELS_KEY, ACCEPTED_KEY) if key in attributes]:
        raise InvalidInputError(
            f"attributes: noise='auto' keeps its estimate as {taken[0]!r}; give yours another name"
        )
    if movie.device is not None:
        raise InvalidInputError(
            "no noise model was stated, and noise='auto' needs frames in host memory; frames on a GPU "
            "are not copied there automatically: give noise=NoiseModel(...), or "
            "estimate_noise(frames.get()).model"
        )
    from photon_gpu.estimate import estimate_noise
    from photon_gpu.estimate.checks import ALTERNATION

    estimate = estimate_noise(movie)
    quantized = encoding.layout != "lossless"
    if estimate.layout == "lossless" and quantized:
        raise InvalidInputError(refusal(estimate))
    if quantized and estimate.processed and not accept:
        raise InvalidInputError(f"{estimate.source[-60:]}: nothing was written: {processed(estimate)}")
    doubts = [f"noise estimate: {f.name}: {f.message}" for f in estimate.warnings if f.severity == "WARN"]
    notes = [f.message for f in estimate.warnings if (f.name, f.severity) == (ALTERNATION, "NOTE")]
    summary, encoding = estimated(movie, encoding, estimate)
    if quantized and estimate.processed:
        summary[ACCEPTED_KEY] = list(estimate.processed)
    return Settled(
        encoding=encoding,
        attributes={**attributes, **summary},
        warnings=tuple(doubts if quantized else ()),
        notes=tuple(notes),
    )


def estimated(movie: Source, encoding: Encoding, estimate: NoiseEstimate) -> tuple[dict[str, Any], Encoding]:
    """Return the attributes that ``.zattrs`` keeps of an estimate, and the encoding with its models."""

    def model(one: NoiseEstimate) -> NoiseModel | None:
        return None if one.verdict == "REFUSE" else one.model

    if not estimate.channels:
        return {KEY: estimate.summary()}, encoding.but(noise=model(estimate))
    models = [model(channel) for channel in estimate.channels]
    summary = {CHANNELS_KEY: [channel.summary() for channel in estimate.channels]}
    return summary, _by_channel(movie, encoding, models) if any(models) else encoding


def refusal(estimate: NoiseEstimate) -> str:
    """Return why a movie is not quantized with its estimate, and the remedy."""
    # The estimate's own advice says the same as the end of this sentence.
    first, *others = [
        f"{f.name}: {f.message.partition(' Give the model')[0]}"
        for f in estimate.warnings
        if f.severity == "REFUSE"
    ]
    more = f" ({len(others)} more: photon_gpu.estimate)" if others else ""
    start = f"{estimate.source[-40:]}: its noise cannot be modelled: "
    end = f"{more} Or give noise=NoiseModel(gain=..., offset=..., variance=...), or layout='lossless'"
    room = _LONGEST_ERROR - len(start) - len(end)
    return start + shorten(first, room, placeholder=" ...") + end


def processed(estimate: NoiseEstimate) -> str:
    """Reason why a movie that was processed is not quantized unasked, and what to do.

    >>> from types import SimpleNamespace
    >>> processed(SimpleNamespace(processed=("uneven levels",)))[:56]
    'the data look processed (uneven levels). Store the raw r'
    """
    return (
        f"the data look processed ({', '.join(estimate.processed)}). Store the raw recording, keep every bit "
        "with layout='lossless', or give accept_processed=True"
    )


def note(attributes: dict[str, Any] | None) -> str | None:
    """One line on the noise estimate in a movie's attributes; None if there is none.

    The attributes come from a store, so their values may be anything.

    >>> estimated = {"verdict": "PASS", "model": {"gain": 8.0}, "interval": {"gain": [7.9, 8.1]}}
    >>> note({"noise_estimate": estimated})
    'estimated from the movie: PASS, gain 8 ADU/photon (95 %: 7.9 to 8.1)'
    >>> note({}) is None
    True
    """
    several = (attributes or {}).get(CHANNELS_KEY)
    if isinstance(several, list):
        notes = [f"channel {number}: {text}" for number, one in enumerate(several) if (text := _note(one))]
        return "; ".join(notes) or None
    return _note((attributes or {}).get(KEY))


def _note(estimate: Any) -> str | None:
    if not isinstance(estimate, dict) or estimate.get("verdict") not in ("PASS", "WARN", "REFUSE"):
        return None
    text = f"estimated from the movie: {estimate['verdict']}"
    try:
        low, high = estimate["interval"]["gain"]
        text += f", gain {estimate['model']['gain']:.4g} ADU/photon (95 %: {low:.4g} to {high:.4g})"
        by = estimate.get("diagnostics", {}).get("separated_by", "")
    except (KeyError, TypeError, ValueError):
        return text
    if by is None:
        return f"{text}; offset and read noise could not be separated, which is not necessary"
    return f"{text}; offset and read noise separated by {by}" if by else text


def findings(attributes: dict[str, Any] | None) -> list[str]:
    """Warnings of a stored estimate, one line each."""
    several = (attributes or {}).get(CHANNELS_KEY)
    if isinstance(several, list):
        return [
            f"channel {number}: {text}"
            for number, estimate in enumerate(several)
            for text in findings({KEY: estimate})
        ]
    estimate = (attributes or {}).get(KEY)
    warned = estimate.get("warnings") if isinstance(estimate, dict) else None
    if not isinstance(warned, list):
        return []
    return [
        f"{f['severity']} {f['name']}: {f['message']}"
        for f in warned
        if isinstance(f, dict) and all(isinstance(f.get(k), str) for k in ("severity", "name", "message"))
    ]
