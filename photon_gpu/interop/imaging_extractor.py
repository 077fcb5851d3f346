"""Extractor for roiextractors, which the calcium imaging tools of SpikeInterface and NeuroConv use."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from roiextractors import ImagingExtractor

from photon_gpu.encode_settings import bounded_number
from photon_gpu.errors import InvalidInputError
from photon_gpu.reader.depth_last_channel import ImageSeries
from photon_gpu.reader.open import open as open_movie


class PhotonImagingExtractor(ImagingExtractor):
    """One channel of a stored movie; frames are read on request.

    Parameters
    ----------
    file_path : str or path
        The movie: a folder, or any fsspec URL.
    channel : int, optional
        Required if the movie has several.
    sampling_frequency : float, optional
        Frames per second. Default: the movie's frame rate, or the rate of its timestamps.
    storage_options : dict, optional
        Options of the fsspec filesystem.

    Raises
    ------
    InvalidInputError
        No rate is known, or the axes of the movie are not ``tyx`` or ``tzyx``, with or without channels, or
        the movie has no such channel.

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg
    >>> counts = np.ones((9, 4, 5), "uint16")
    >>> _ = pg.encode(counts, "memory://extractor.zarr", noise=pg.NoiseModel(), overwrite=True)
    >>> extractor = PhotonImagingExtractor("memory://extractor.zarr", sampling_frequency=30.0)
    >>> extractor.get_series(2, 4).shape, extractor.get_image_shape()
    ((2, 4, 5), (4, 5))
    """

    extractor_name = "PhotonImaging"
    installed = True
    is_writable = False
    mode = "folder"

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        channel: int | None = None,
        sampling_frequency: float | None = None,
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        movie = open_movie(file_path, storage_options=storage_options)
        super().__init__(file_path=movie.url, channel=channel, sampling_frequency=sampling_frequency)
        self._images = ImageSeries(movie, channel)
        self.is_volumetric = self._images.volumetric
        self._sampling_frequency = self._rate(sampling_frequency)

    def _rate(self, stated: float | None) -> float:
        if stated is not None:
            return float(bounded_number("sampling_frequency", stated, 1e-9, 1e9))
        rate, times = self._images.recording.frame_rate, self.get_native_timestamps()
        if rate is None and times is not None and len(times) > 1 and times[-1] > times[0]:
            rate = (len(times) - 1) / (times[-1] - times[0])
        if rate is None:
            raise InvalidInputError(
                f"{self._images.url}: neither a frame rate nor timestamps are known; give "
                "sampling_frequency=, frames per second"
            )
        return float(rate)

    def get_series(self, start_sample: int | None = None, end_sample: int | None = None) -> NDArray[Any]:
        """Return frames ``(t, y, x)``, or volumes ``(t, y, x, z)``, in the dtype of the recording."""
        return self._images.read(slice(start_sample, end_sample))

    def get_samples(self, sample_indices: ArrayLike) -> NDArray[Any]:
        """Return the frames with these numbers; only the chunks that hold them are read."""
        return self._images.read(np.atleast_1d(np.asarray(sample_indices)))

    def get_image_shape(self) -> tuple[int, int]:
        """Return the rows and columns of a frame."""
        return self._images.shape[1], self._images.shape[2]

    def get_num_samples(self) -> int:
        """Return the number of frames or volumes."""
        return self._images.shape[0]

    def get_num_planes(self) -> int:
        """Return the number of planes of a volume."""
        return int(self._images.shape[3]) if self.is_volumetric else int(super().get_num_planes())

    def get_sampling_frequency(self) -> float:
        """Return the frames or volumes per second."""
        return self._sampling_frequency

    def get_dtype(self) -> np.dtype:
        """Return the dtype of the recording without reading frames."""
        return self._images.dtype

    def get_native_timestamps(
        self, start_sample: int | None = None, end_sample: int | None = None
    ) -> NDArray[Any] | None:
        """Return the times of the source's frames, in seconds; None if it has none or lacks some."""
        times = self._images.recording.timestamps
        if times is None or not np.isfinite(times).all():
            return None
        return times[start_sample:end_sample]
