"""Source and settings of a movie that will be inserted into a DataJoint table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Unpack

from photon_gpu.encode_settings import EncodeSettings, checked_noise, progress_call
from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError
from photon_gpu.progress_bar import Progress
from photon_gpu.sources.base import Source
from photon_gpu.sources.open import open_source
from photon_gpu.sources.select.open_options import UrlOptions

_OPEN = "compact"
"""Layout until the column sets it; this one allows the most settings."""


@dataclass(frozen=True, kw_only=True)
class MovieToInsert:
    """Result of :func:`movie`. It reads nothing before the row is inserted.

    Attributes
    ----------
    source : array, path, URL or Source
    source_options : dict
        Options of :func:`photon_gpu.open_source`.
    settings : EncodeSettings
        All settings except the layout, which the column sets; see :meth:`settings_for`.
    progress : callable or None
    """

    source: Any
    source_options: dict[str, Any] = field(default_factory=dict)
    settings: EncodeSettings = field(default_factory=partial(EncodeSettings, layout=_OPEN))
    progress: Progress | None = None

    @contextmanager
    def open(self) -> Iterator[Source]:
        """Open the source for a ``with`` block; a source that was passed open stays open."""
        frames = open_source(self.source, **self.source_options)
        try:
            yield frames
        finally:
            if frames is not self.source:
                frames.close()

    def settings_for(self, layout: str) -> EncodeSettings:
        """Return the settings with the layout of the column."""
        return self.settings.replace(layout=layout)

    @property
    def noise(self) -> NoiseModel | None:
        """Stated noise model; None if it is estimated when the row is inserted."""
        return self.settings.stated_noise

    @property
    def step(self) -> float:
        """Quantization step, sigma."""
        return self.settings.step


def movie(
    source: Any,
    *,
    noise: NoiseModel | Sequence[NoiseModel] | str | None = None,
    step: float = 0.5,
    preset: str = "balanced",
    predictor: str | Predictor | None = None,
    compressor: str | Compressor | None = None,
    dither: int | None = None,
    peaks: int | str = "auto",
    chunk_frames: int | None = None,
    backend: str = "auto",
    workers: int | None = None,
    budget_bytes: int = 512 << 20,
    progress: Progress | None = None,
    attributes: dict[str, Any] | None = None,
    check: bool | str = True,
    trust_noise: bool = False,
    with_decoder: bool = False,
    accept_processed: bool = False,
    **source_options: Unpack[UrlOptions],
) -> MovieToInsert:
    """Prepare a movie for a ``<photon@store>`` column; its frames are streamed, never loaded all at once.

    The column's type decides the layout: ``<photon@>`` plain, ``<photon_compact@>`` compact.

    Parameters
    ----------
    source : array, path, URL or Source
        As for :func:`photon_gpu.open_source`.
    noise : NoiseModel or "auto", optional
        Noise model of the detector; the insert compares it with the movie. ``"auto"``, the
        default: the insert estimates it. (An array inserted without this function is read as photon counts.)
    step : float
        Quantization step, sigma.
    preset, predictor, compressor, dither, peaks, chunk_frames, backend, workers, budget_bytes, progress,
    attributes
        As for :func:`photon_gpu.encode`.
    check : {True, False, "full", "sample"}
        As for :func:`photon_gpu.encode`. A check that fails is a :class:`photon_gpu.FidelityWarning`. If that
        is made an error, neither the movie nor the row is stored.
    trust_noise : bool
        Use a stated noise model without comparing it with the movie.
    accept_processed, with_decoder : bool
        As for :func:`photon_gpu.encode`.
    **source_options
        As for :func:`photon_gpu.open_source`, such as ``channels``, ``dataset`` or ``storage_options``.

    Returns
    -------
    MovieToInsert

    Raises
    ------
    InvalidInputError
        A setting is not allowed. The insert refuses a predictor if the layout of the column does not predict.

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg
    >>> counts = np.zeros((10, 4, 4), "int16")
    >>> value = pg.movie(counts, noise=pg.NoiseModel(gain=2.5, offset=100.0, variance=9.0))
    >>> with value.open() as frames:
    ...     frames.shape
    (10, 4, 4)
    """
    if isinstance(source, MovieToInsert):
        raise InvalidInputError("this is already the result of photon_gpu.movie; insert it unchanged")
    settings = EncodeSettings(
        noise=checked_noise(noise),
        step=step,
        layout=_OPEN,
        preset=preset,
        predictor=predictor,
        compressor=compressor,
        dither=dither,
        peaks=peaks,
        chunk_frames=chunk_frames,
        backend=backend,
        workers=workers,
        budget_bytes=budget_bytes,
        trust_noise=trust_noise,
        with_decoder=with_decoder,
        accept_processed=accept_processed,
        check=check,
        attributes={} if attributes is None else attributes,
    )
    return MovieToInsert(
        source=source, source_options={**source_options}, settings=settings, progress=progress_call(progress)
    )
