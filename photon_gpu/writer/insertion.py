"""A movie on its way into a table: where its frames are, and how to store them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.model.code_table import check_step
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.base import Source
from photon_gpu.sources.open import open_source
from photon_gpu.writer.auto_noise import given
from photon_gpu.writer.read_back import check_mode


@dataclass(frozen=True, kw_only=True)
class MovieToInsert:
    """What :func:`movie` makes. Nothing is read before the row is inserted."""

    source: Any
    source_options: dict[str, Any] = field(default_factory=dict)
    encode_options: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def open(self) -> Iterator[Source]:
        """The frames; a source that was given open stays so."""
        frames = open_source(self.source, **self.source_options)
        try:
            yield frames
        finally:
            if frames is not self.source:
                frames.close()

    @property
    def noise(self) -> NoiseModel | None:
        """Noise model that was stated; None where it is estimated when the row is inserted."""
        return given(self.encode_options.get("noise"))

    @property
    def step(self) -> float:
        """Quantization step, sigma."""
        return float(self.encode_options.get("step", 0.5))


def movie(
    source: Any,
    *,
    noise: NoiseModel | str | None = None,
    step: float = 0.5,
    preset: str = "balanced",
    predictor: str | Predictor | None = None,
    compressor: str | Compressor | None = None,
    dither: int | None = None,
    chunk_frames: int | None = None,
    backend: str = "auto",
    workers: int | None = None,
    budget_bytes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    attributes: dict[str, Any] | None = None,
    check: bool | str = "sample",
    trust_noise: bool = False,
    **source_options: Any,
) -> MovieToInsert:
    """A movie to insert into a ``<photon@store>`` column: streamed from where it is, never loaded whole.

    The column's type decides the layout: ``<photon@>`` plain, ``<photon_compact@>`` compact.

    Parameters
    ----------
    source : array, path, URL or Source
        As for :func:`photon_gpu.open_source`.
    noise : NoiseModel or "auto", optional
        Of the detector, held against the movie when the row is inserted. ``"auto"``, the default: estimated
        then. (An array that is inserted as it is, without this function, is taken for photon counts.)
    step : float
        Quantization step, sigma.
    preset, predictor, compressor, dither, chunk_frames, backend, workers, budget_bytes, progress, attributes
        As for :func:`photon_gpu.encode`.
    check : {"sample", False, True, "full"}
        As for :func:`photon_gpu.encode`: what fails is a :class:`photon_gpu.FidelityWarning`, and where that
        is made an error, neither movie nor row is stored.
    trust_noise : bool
        Take a stated noise model as it is, unmeasured.
    **source_options
        As for :func:`photon_gpu.open_source`, such as ``dataset`` or ``storage_options``.

    Returns
    -------
    MovieToInsert

    Raises
    ------
    InvalidInputError
        For a step or noise model that cannot be.

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
        raise InvalidInputError("this is a movie to insert already; insert it as it is")
    given(noise)
    check_step(step)
    check_mode(check, delete_source=False)
    options = {
        "noise": noise,
        "step": step,
        "preset": preset,
        "predictor": predictor,
        "compressor": compressor,
        "dither": dither,
        "chunk_frames": chunk_frames,
        "backend": backend,
        "workers": workers,
        "budget_bytes": budget_bytes,
        "progress": progress,
        "attributes": attributes,
        "check": check,
        "trust_noise": trust_noise or None,
    }
    chosen = {name: value for name, value in options.items() if value is not None}
    return MovieToInsert(source=source, source_options=source_options, encode_options=chosen)
