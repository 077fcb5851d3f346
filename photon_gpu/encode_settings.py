"""Settings of an encode and of a recording, checked once, when they are made."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, cast

import numpy as np

from photon_gpu.engine.backend_choice import check_backend_name
from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.encoding import LAYOUTS, Encoding
from photon_gpu.engine.codec.predictors import NAMES as PREDICTORS
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.model.photon_peak_code_table import check_peaks
from photon_gpu.engine.runtime.pool import worker_count
from photon_gpu.errors import InvalidInputError
from photon_gpu.progress_bar import ProgressBar

AUTO = "auto"
"""Value of ``noise`` that requests an estimate from the movie."""

NoiseSetting = NoiseModel | tuple[NoiseModel, ...] | str | None
"""One noise model, one per channel, :data:`AUTO`, or None."""

PRESETS = ("fast", "balanced", "small")
CHECKS = (False, True, "full", "sample")
DURABILITIES = ("frame", "chunk")
ON_FULL = ("block", "raise")

_LONGEST_PATH, _LONGEST_NAME = 4096, 1000  # characters of a path, and of each name in it
_MOST_SHOWN = 60  # characters of a refused value in an error


@dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """Settings of an encode. :func:`photon_gpu.encode` explains each of them.

    Attributes
    ----------
    noise : NoiseModel, tuple of NoiseModel, "auto" or None
        A tuple holds one model per channel.
    step : float
    layout : {"plain", "compact", "lossless"}
    preset : {"fast", "balanced", "small"}
    predictor : str, Predictor or None
    compressor : Compressor or None
        A text such as ``"zstd-5-bitshuffle"`` is parsed.
    dither, chunk_frames : int or None
    peaks : int or "auto"
        Number of photon peaks with bins of their own; 0: none. "auto": what a dark movie needs.
    backend : str
    workers : int or None
        Threads; None: one per core of the machine that encodes.
    budget_bytes : int
    trust_noise, accept_processed : bool
    check : {False, True, "full", "sample"}
    attributes : dict
        None means no attributes.
    with_decoder : bool
        Store the decoder in one file with the movie.
    pyramid : int
        Number of levels below the full resolution, of an OME-Zarr movie.

    Raises
    ------
    InvalidInputError
        A setting is not allowed, or has no effect: ``predictor`` with a layout that predicts nothing.

    Examples
    --------
    >>> settings = EncodeSettings(layout="compact", compressor="zstd-5-bitshuffle")
    >>> settings.replace(step=1.0).step
    1.0
    >>> EncodeSettings.from_dict(settings.to_dict()) == settings
    True
    """

    noise: NoiseSetting = None
    step: float = 0.5
    layout: str = "plain"
    preset: str = "balanced"
    predictor: str | Predictor | None = None
    compressor: str | Compressor | None = None
    dither: int | None = None
    peaks: int | str = AUTO
    chunk_frames: int | None = None
    backend: str = "auto"
    workers: int | None = None
    budget_bytes: int = 512 << 20
    trust_noise: bool = False
    accept_processed: bool = False
    check: bool | str = True
    attributes: dict[str, Any] = field(default_factory=dict)
    with_decoder: bool = False
    pyramid: int = 0

    def __post_init__(self) -> None:
        self._set("noise", checked_noise(self.noise))
        one_of("layout", self.layout, LAYOUTS)
        one_of("preset", self.preset, PRESETS)
        one_of("check", self.check, CHECKS)
        # Check step and dither even for a layout that quantizes nothing.
        quantized = Encoding(layout="compact", step=self.step, dither=self.dither)
        self._set("step", quantized.step)
        self._set("dither", quantized.dither)
        self._check_peaks()
        self._check_predictor()
        self._check_compressor()
        if self.chunk_frames is not None:
            whole_number("chunk_frames", self.chunk_frames, 1)
        check_backend_name(self.backend)
        worker_count(self.workers)
        self._set("budget_bytes", int(bounded_number("budget_bytes", self.budget_bytes, 1, 1e18)))
        flag("trust_noise", self.trust_noise)
        flag("with_decoder", self.with_decoder)
        self._set("pyramid", whole_number("pyramid", self.pyramid, 0))
        flag("accept_processed", self.accept_processed)
        attributes = {} if self.attributes is None else self.attributes
        if not isinstance(attributes, dict):
            raise InvalidInputError(f"attributes are {shown(attributes)}; a dictionary is needed, or None")
        self._set("attributes", attributes)

    @property
    def stated_noise(self) -> NoiseModel | None:
        """The stated noise model; None if it will be estimated."""
        return self.noise if isinstance(self.noise, NoiseModel) else None

    @property
    def stated_models(self) -> tuple[NoiseModel, ...]:
        """The stated noise models, of the movie or of each channel; empty if they will be estimated."""
        return self.noise if isinstance(self.noise, tuple) else tuple(filter(None, [self.stated_noise]))

    @property
    def stated_peaks(self) -> int:
        """The stated number of photon peaks; 0 if it will be chosen."""
        return 0 if isinstance(self.peaks, str) else self.peaks

    @property
    def fixed_compressor(self) -> Compressor | None:
        """The stated Blosc settings; None if candidates will be tried."""
        return cast("Compressor | None", self.compressor)

    @property
    def threads(self) -> int:
        """Number of threads to use on this machine."""
        return worker_count(self.workers)

    def encoding(self, dtype: Any = "uint16") -> Encoding:
        """Return the encoding of a movie of this dtype before its noise is estimated and it is tuned."""
        return Encoding(
            layout=self.layout,
            dtype=dtype,
            noise=self.stated_noise,
            step=self.step,
            dither=self.dither,
            peaks=self.stated_peaks,
        )

    def replace(self, **changes: Any) -> Self:
        """Return a checked copy with some settings changed."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`. Missing settings get their defaults; unknown ones are an error."""
        allowed = [one.name for one in fields(cls)]
        if unknown := sorted(set(data) - set(allowed)):
            from difflib import get_close_matches

            nearest = get_close_matches(str(unknown[0]), allowed, n=6, cutoff=0)
            raise InvalidInputError(
                f"settings: {shown(unknown[0])} is not one of {len(allowed)}; the nearest are "
                f"{', '.join(nearest)}"
            )
        try:
            return cls(**{name: _read(name, value) for name, value in data.items()})
        except (KeyError, TypeError) as error:
            raise InvalidInputError(f"settings cannot be read: {type(error).__name__}: {error}") from error

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_peaks(self) -> None:
        if isinstance(self.peaks, str) and self.peaks == AUTO:
            return
        check_peaks(self.peaks)
        if self.peaks and (self.layout != "compact" or self.dither is not None):
            raise InvalidInputError(
                f"peaks is {self.peaks}; bins for photon peaks need layout 'compact', without dither"
            )
        for noise in self.stated_models:
            check_peaks(self.stated_peaks, noise)

    def _check_predictor(self) -> None:
        if self.predictor is None:
            return
        name = self.predictor.name if isinstance(self.predictor, Predictor) else self.predictor
        one_of("predictor", name, PREDICTORS)
        if self.layout != "compact" and name != "none":
            raise InvalidInputError(
                f"predictor is {name!r}, but layout {self.layout!r} does not predict; leave predictor "
                "out, or use layout='compact'"
            )

    def _check_compressor(self) -> None:
        if isinstance(self.compressor, str):
            self._set("compressor", Compressor.parse(self.compressor))
        elif not isinstance(self.compressor, Compressor | None):
            raise InvalidInputError(
                f"compressor is {shown(self.compressor)}; a text such as 'zstd-5-bitshuffle', a Compressor "
                "or None is needed"
            )


@dataclass(frozen=True, kw_only=True)
class RecordSettings(EncodeSettings):
    """Settings of a recording. :class:`photon_gpu.LiveWriter` explains each of them.

    Attributes
    ----------
    durability : {"frame", "chunk"}
    on_full : {"block", "raise"}
    queue_bytes, estimate_frames : int
    publish_seconds, close_seconds : float
    axes : str or None
        Names of the movie's axes, time first.

    Examples
    --------
    >>> RecordSettings().layout, RecordSettings(queue_bytes=1e9).queue_bytes
    ('compact', 1000000000)
    """

    layout: str = "compact"
    preset: str = "fast"
    durability: str = "chunk"
    on_full: str = "block"
    queue_bytes: int = 512_000_000
    estimate_frames: int = 100
    publish_seconds: float = 1.0
    close_seconds: float = 60.0
    axes: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.check, bool):
            raise InvalidInputError(
                f"check is {shown(self.check)}; a recording allows True and False (photon_gpu.verify and "
                "photon_gpu.fidelity check a movie that is finished)"
            )
        one_of("durability", self.durability, DURABILITIES)
        one_of("on_full", self.on_full, ON_FULL)
        self._set("queue_bytes", int(bounded_number("queue_bytes", self.queue_bytes, 1, 1e15)))
        self._set("estimate_frames", int(bounded_number("estimate_frames", self.estimate_frames, 1, 1e9)))
        self._set("publish_seconds", float(bounded_number("publish_seconds", self.publish_seconds, 0, 3600)))
        self._set("close_seconds", float(bounded_number("close_seconds", self.close_seconds, 0, 1e9)))


def checked_noise(noise: Any) -> NoiseSetting:
    """``noise`` if it is a noise model, one per channel, "auto" or None; else InvalidInputError.

    Examples
    --------
    >>> checked_noise([NoiseModel(gain=80.0), NoiseModel(gain=20.0)])[1].gain, checked_noise("auto")
    (20.0, 'auto')
    """
    if noise is None or isinstance(noise, NoiseModel) or (isinstance(noise, str) and noise == AUTO):
        return noise
    if isinstance(noise, list | tuple) and noise and all(isinstance(one, NoiseModel) for one in noise):
        return tuple(noise) if len(noise) > 1 else cast("NoiseModel", noise[0])
    raise InvalidInputError(
        f"noise is {shown(noise)}; a NoiseModel(gain=..., offset=..., variance=...), a list with one per "
        "channel, 'auto' (estimate it from the movie) or None (estimate it, where anything depends on it) "
        "is needed"
    )


def one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Raise InvalidInputError unless ``value`` is allowed and has the same type: 1 is not True."""
    if not any(isinstance(value, type(one)) and value == one for one in allowed):
        raise InvalidInputError(f"{name} is {shown(value)}; allowed are {', '.join(map(str, allowed))}")


def flag(name: str, value: object) -> bool:
    """``value`` if it is True or False, else InvalidInputError."""
    if not isinstance(value, bool):
        raise InvalidInputError(f"{name} is {shown(value)}; allowed are True and False")
    return value


def bounded_number(name: str, value: Any, low: float, high: float) -> float:
    """``value`` if it is a number from ``low`` to ``high``, else InvalidInputError."""
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not real or math.isnan(value) or not low <= value <= high:
        raise InvalidInputError(f"{name} is {shown(value)}; a number from {low:g} to {high:g} is needed")
    return float(value) if isinstance(value, float | np.floating) else int(value)


def whole_number(name: str, value: Any, low: int) -> int:
    """``value`` if it is a whole number of at least ``low``, else InvalidInputError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise InvalidInputError(f"{name} is {shown(value)}; a whole number of at least {low} is needed")
    return int(value)


def location(name: str, value: Any) -> str:
    """``value`` as text if it is a path or a URL, else InvalidInputError."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text.strip():
        raise InvalidInputError(
            f"{name} is {shown(value)}; a path or a URL is needed, such as movie.zarr or s3://bucket/key"
        )
    names = re.split(r"[/\\]", text)
    if "\0" in text or len(text) > _LONGEST_PATH or max(map(len, names)) > _LONGEST_NAME:
        raise InvalidInputError(
            f"{name} is {shown(value)}; a path has no NUL byte, at most {_LONGEST_PATH} characters, and "
            f"names of at most {_LONGEST_NAME}"
        )
    return text


def options_of(name: str, value: Any) -> dict[str, Any]:
    """``value`` if it is a dictionary with names for keys, empty for None, else InvalidInputError."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InvalidInputError(f"{name} is of type {type(value).__name__}; a dictionary of names is needed")
    return value


def progress_call(progress: Any) -> Callable[..., None] | None:
    """``progress`` if it can be called, a bar for True, None for False; else InvalidInputError."""
    if progress is None or progress is False:
        return None
    if progress is True:
        return ProgressBar("working")
    if not callable(progress):
        raise InvalidInputError(
            f"progress is {shown(progress)}; True (a bar), False, or a function such as "
            "progress(done, in_all) is needed"
        )
    return cast("Callable[..., None]", progress)


def tell_stage(progress: object, task: str) -> None:
    """Show a task without a count, if ``progress`` is a bar."""
    if isinstance(progress, ProgressBar):
        progress.stage(task)


def shown(value: object) -> str:
    """Return the ``repr`` of a refused value, shortened for an error."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _plain(value: Any) -> Any:
    if isinstance(value, Compressor):
        return value.text
    if isinstance(value, NoiseModel | Predictor):
        return value.to_dict()
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _read(name: str, value: Any) -> Any:
    if isinstance(value, dict) and name == "noise":
        return NoiseModel.from_dict(value)
    if isinstance(value, list) and name == "noise":
        return tuple(NoiseModel.from_dict(one) for one in value)
    if isinstance(value, dict) and name == "predictor":
        return Predictor.from_dict(value)
    return value
