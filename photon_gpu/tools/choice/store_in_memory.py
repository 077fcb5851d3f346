"""Store arrays as ``encode`` does, in memory, and read them back."""

from __future__ import annotations

import uuid
import warnings
from typing import Any

from numpy.typing import NDArray

from photon_gpu.encode_settings import EncodeSettings
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import PhotonWarning
from photon_gpu.reader.open import open as open_movie
from photon_gpu.sources.array import ArraySource
from photon_gpu.store.storage import Storage
from photon_gpu.writer.encode import encode_with


class InMemoryStore:
    """Encodes arrays with one step to layout compact.

    Parameters
    ----------
    step : float
        Quantization step, sigma.
    noise : NoiseModel
    preset : str
    backend : str
    workers : int, optional
    """

    def __init__(
        self, step: float, noise: NoiseModel, preset: str, backend: str, workers: int | None
    ) -> None:
        self._settings = EncodeSettings(
            noise=noise,
            step=step,
            layout="compact",
            preset=preset,
            backend=backend,
            workers=workers,
            check=False,
            trust_noise=True,
        )
        self.step, self.stored_bytes = step, 0
        self.encoding: Encoding | None = None

    def __call__(self, movie: NDArray[Any]) -> NDArray[Any]:
        """Return the counts of a movie after it was stored; the first call also chooses settings."""
        storage = Storage.at(f"memory://photon-choose-{uuid.uuid4().hex}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PhotonWarning)  # the result says it of each step
                report = encode_with(self._settings, ArraySource(movie), storage)
            if self.encoding is None:
                self.encoding, self.stored_bytes = report.encoding, report.stored_bytes
                self._settings = self._settings.replace(
                    predictor=report.encoding.predictor, compressor=report.encoding.compressor
                )
            return open_movie(storage).counts[:]
        finally:
            storage.delete_folder()
