"""Settings of an encoded movie that both the encoder and the decoder of a chunk need."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.model.clipping_levels import NO_CLIPPING, ClippingLevels
from photon_gpu.engine.model.clipping_levels_code_table import ClippedCodeTable
from photon_gpu.engine.model.code_table import PHASES, CodeTable, check_step, dtype_name
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.model.photon_peak_code_table import PeakCodeTable, check_peaks
from photon_gpu.errors import InvalidInputError

_NO_PREDICTOR = Predictor(name="none")
_DEFAULT = Compressor()

_MOST_AXES = 30

LAYOUTS = ("plain", "compact", "lossless")


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Layout, noise model, step and further settings, validated once.

    Parameters
    ----------
    layout : {"plain", "compact", "lossless"}
    dtype : str
        Dtype of the movie's values.
    noise : NoiseModel or None
        None only if nothing is quantized (``lossless``).
    step : float or None
        Quantization step, sigma. None: the values are not quantized.
    dither : int or None
        Seed of the subtractive dither, 0 to 2**32 - 1. None: no dither.
    predictor : Predictor
        ``compact`` only.
    exact : bool
        ``compact`` only: store the values themselves, which is smaller than codes for some movies.
    clipping : ClippingLevels
        Levels at which values pile up, which decode exactly. Dropped where nothing is quantized, for floats,
        and for ``plain`` with dither, whose labels have no room for them.
    peaks : int
        ``compact`` only: number of photon peaks that have bins of their own, from zero photons up. Dropped
        where the values are stored exactly, and for floats.
    compressor : Compressor
    movie_id : str, optional
        Identity of the movie, eight hexadecimal digits. Every chunk holds it beside its number. None: chunks
        hold neither.
    channels : tuple of Encoding
        Encoding of each channel, if each has its own noise model. Then noise, predictor and ``exact`` are
        set per channel, and all other settings are shared. Empty: one encoding for the whole movie.
    channel_axis : int
        Axis of the channels in the movie, if ``channels`` is set.
    """

    layout: str = "plain"
    dtype: str = "uint16"
    noise: NoiseModel | None = None
    step: float | None = 0.5
    dither: int | None = None
    predictor: Predictor = _NO_PREDICTOR
    exact: bool = False
    clipping: ClippingLevels = NO_CLIPPING
    peaks: int = 0
    compressor: Compressor = _DEFAULT
    movie_id: str | None = None
    channels: tuple[Encoding, ...] = ()
    channel_axis: int = 1

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise InvalidInputError(f"layout is {self.layout!r}; allowed are {', '.join(LAYOUTS)}")
        object.__setattr__(self, "dtype", dtype_name(self.dtype))
        if self.layout == "lossless":
            object.__setattr__(self, "step", None)
            object.__setattr__(self, "dither", None)
        elif self.noise is None and not self.channels:
            object.__setattr__(self, "noise", NoiseModel())
        if self.step is not None:
            object.__setattr__(self, "step", check_step(self.step))
        elif self.layout == "compact":
            raise InvalidInputError("layout 'compact' needs a step; 0.5 is the default")
        if self.dither is not None:
            seed = self.dither
            if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
                raise InvalidInputError(f"dither is {seed!r}; a seed from 0 to 2**32 - 1 is needed, or None")
            object.__setattr__(self, "dither", int(seed))
        if self.exact and (self.layout != "compact" or np.dtype(self.dtype).kind == "f"):
            raise InvalidInputError("exact values are stored by layout 'compact', of integer movies only")
        without = self.step is None or self.exact or np.dtype(self.dtype).kind == "f"
        if without or self.channels or (self.layout == "plain" and self.dither is not None):
            object.__setattr__(self, "clipping", NO_CLIPPING)
        self._check_peaks(without)
        if self.movie_id is not None and not _is_movie_id(self.movie_id):
            raise InvalidInputError(
                f"movie_id is {str(self.movie_id)[:40]!r}; eight hexadecimal digits, not all zero, are needed"
            )
        if self.channels:
            self._share_with_channels()

    def _check_peaks(self, without: bool) -> None:
        check_peaks(self.peaks)
        if without or self.channels:
            object.__setattr__(self, "peaks", 0)
        if not self.peaks:
            return
        if self.layout != "compact" or self.dither is not None:
            raise InvalidInputError(
                f"peaks is {self.peaks}; bins for photon peaks need layout 'compact', without dither"
            )

    def _share_with_channels(self) -> None:
        """Give the channels all settings that they have in common."""
        shared = {
            name: getattr(self, name)
            for name in ("layout", "dtype", "step", "dither", "compressor", "movie_id")
        }
        channels = tuple(replace(channel, **shared) for channel in self.channels)
        if self.noise is not None or self.exact or any(channel.channels for channel in channels):
            raise InvalidInputError("an encoding of channels has no noise model of its own")
        if not 1 <= self.channel_axis < _MOST_AXES:
            raise InvalidInputError(
                f"channel_axis is {self.channel_axis}; an axis between the first and the last two is needed"
            )
        object.__setattr__(self, "channels", channels)

    @property
    def phases(self) -> int:
        """Number of shifted code grids: 16 with dither, 1 without."""
        return PHASES if self.dither is not None and not self.exact else 1

    @property
    def models(self) -> tuple[NoiseModel, ...]:
        """Noise models: one for the movie, or one per channel; empty if there is none."""
        models = [part.noise for part in self.channels or (self,)]
        return tuple(noise for noise in models if noise is not None)

    @property
    def seed(self) -> int:
        """Seed of the samples' phases, which also determine how integer output is rounded."""
        return self.dither or 0

    @property
    def by(self) -> str:
        """Readable description of predictor and compressor.

        Examples
        --------
        >>> Encoding(layout="compact", predictor=Predictor(name="full", levels=64, coded=True)).by
        'full predictor, coded by level, Blosc zstd 1, byte shuffle'
        """
        if self.channels:
            return "; ".join(dict.fromkeys(channel.by for channel in self.channels))
        compressor, predictor = self.compressor, self.predictor
        shuffle = ("no", "byte", "bit")[compressor.shuffle]
        blosc = f"Blosc {compressor.cname} {compressor.clevel}, {shuffle} shuffle"
        if self.layout != "compact":
            return blosc
        exact = " of exact values" if self.exact else ""
        ordered = ", coded by level" if predictor.coded else ", sorted by level" if predictor.levels else ""
        return f"{predictor.name} predictor{exact}{ordered}, {blosc}"

    def table(self) -> CodeTable:
        """Exact tables of codes; raises InvalidInputError for a movie that is not quantized."""
        if self.noise is None or self.step is None:
            raise InvalidInputError("this movie is not quantized: it has no code table")
        return _table(self.noise, self.step, self.dtype, self.phases, self.clipping, self.peaks)

    @property
    def clipped(self) -> bool:
        """Whether the movie, or one of its channels, has clipping levels."""
        return any(part.clipping for part in self.channels or (self,))

    @property
    def peaked(self) -> bool:
        """Whether the movie, or one of its channels, has bins for photon peaks."""
        return any(part.peaks for part in self.channels or (self,))

    @property
    def peaks_by_channel(self) -> str:
        """Which photon peaks have bins of their own, in words; empty if there are none.

        Examples
        --------
        >>> Encoding(layout="compact", noise=NoiseModel(gain=100.0), peaks=2).peaks_by_channel
        'photon peaks with bins of their own: 2'
        """
        counts = [part.peaks for part in self.channels or (self,)]
        if not any(counts):
            return ""
        each = [f"{count} in channel {number}" for number, count in enumerate(counts)]
        return f"photon peaks with bins of their own: {', '.join(each) if self.channels else counts[0]}"

    def but(self, **changes: Any) -> Encoding:
        """Copy with some parameters changed."""
        return replace(self, **changes)


def _is_movie_id(movie_id: object) -> bool:
    digits = isinstance(movie_id, str) and len(movie_id) == 8 and set(movie_id) <= set("0123456789abcdef")
    return digits and movie_id != "00000000"


@lru_cache(maxsize=16)
def _table(
    noise: NoiseModel, step: float, dtype: str, phases: int, clipping: ClippingLevels, peaks: int
) -> CodeTable:
    """Table of codes, made once and shared by all threads and movies."""
    if clipping:
        return ClippedCodeTable(noise, step=step, dtype=dtype, phases=phases, clipping=clipping, peaks=peaks)
    if peaks:
        return PeakCodeTable(noise, step=step, dtype=dtype, peaks=peaks)
    return CodeTable(noise, step=step, dtype=dtype, phases=phases)


def noise_of_channels(encoding: Encoding) -> list[dict[str, float] | None]:
    """The noise model of each channel, as JSON; None for a channel without one."""
    return [channel.noise.to_dict() if channel.noise else None for channel in encoding.channels]


def filter_config(encoding: Encoding) -> dict[str, Any]:
    """Return the entry of the filter for ``.zarray``."""
    shared = {"step": encoding.step, "dtype": encoding.dtype, "dither": encoding.dither}
    if encoding.channels:
        models = [{**_model(channel), **_predicted(channel)} for channel in encoding.channels]
        return {"id": "photon", **shared, "channel_axis": encoding.channel_axis, "channels": models}
    return {"id": "photon", **_model(encoding), **shared, **_predicted(encoding)}


def _model(encoding: Encoding) -> dict[str, Any]:
    noise = encoding.noise
    assert noise is not None
    return {"gain": noise.gain, "offset": noise.offset, "variance": noise.variance}


def _predicted(encoding: Encoding) -> dict[str, Any]:
    levels = {"clipping_levels": encoding.clipping.to_dict()} if encoding.clipping else {}
    peaks = {"peaks": encoding.peaks} if encoding.peaks else {}
    return {"exact": encoding.exact, "predictor": encoding.predictor.to_dict(), **levels, **peaks}
