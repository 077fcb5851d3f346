"""Stored movies in NWB files that you write with pynwb."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError
from photon_gpu.reader.depth_last_channel import ImageSeries
from photon_gpu.reader.exporters.hdf5 import compression, frame_chunks
from photon_gpu.reader.exporters.nwb import imaging_plane, nwb_name, quiet, series_times
from photon_gpu.reader.movie import Movie


def series(
    movie: Movie,
    *,
    channel: int | None = None,
    plane: Any = None,
    name: str | None = None,
    compressed: bool = True,
    **facts: Any,
) -> Any:
    """Return one channel of a movie as a TwoPhotonSeries of pynwb, which reads the movie as it is written.

    Parameters
    ----------
    movie : Movie
    channel : int, optional
        Needed where the movie has several.
    plane : pynwb.ophys.ImagingPlane, optional
        Default: a new one with the rate and the grid spacing of the recording. Facts that a movie does not
        hold are NaN and ``"unknown"``. Add it, and its device, to the file.
    name : str, optional
        Default: ``"TwoPhotonSeries"`` and the channel's name.
    compressed : bool
        Write Blosc with zstd, or gzip where hdf5plugin is not installed. False for a backend that is not HDF5
        (hdmf-zarr), which compresses by itself.
    **facts
        Further arguments of TwoPhotonSeries, such as ``pmt_gain``. They stand in place of what the movie says
        of ``rate``, ``timestamps`` and others.

    Returns
    -------
    pynwb.ophys.TwoPhotonSeries
        Counts in ADU, ``(t, y, x)`` or ``(t, y, x, z)``, with the rate or the timestamps of the movie.

    Raises
    ------
    InvalidInputError
        pynwb is not installed, the movie has other axes than NWB, or no such channel.

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg
    >>> counts = np.ones((9, 4, 5), "uint16")
    >>> _ = pg.encode(counts, "memory://nwb.zarr", noise=pg.NoiseModel(), overwrite=True)
    >>> one = pg.nwb.series(pg.open("memory://nwb.zarr"), rate=30.0)
    >>> one.name, one.rate, one.data.data.maxshape
    ('TwoPhotonSeries', 30.0, (9, 4, 5))
    """
    try:
        pynwb, hdmf = import_module("pynwb"), import_module("hdmf.data_utils")
    except ImportError as error:
        raise InvalidInputError(f'{error}; install it with: pip install "photon-gpu[nwb]"') from error
    images = ImageSeries(movie, channel)
    recording = images.recording
    names = recording.channel_names if len(recording.channel_names) == images.channels else ()
    label = names[images.channel] if names else str(images.channel) if images.channels > 1 else ""
    if plane is None:
        device = pynwb.device.Device(name="Microscope")
        plane = imaging_plane(pynwb, recording, device, name=f"ImagingPlane{nwb_name(label)}", channel=label)
    data = _stream(hdmf, images)
    if compressed:
        with quiet():
            data = pynwb.H5DataIO(data, allow_plugin_filters=True, **compression())
    if not {"rate", "timestamps"} & facts.keys():
        facts = {**series_times(recording, 0, images.shape[0]), **facts}
    return pynwb.ophys.TwoPhotonSeries(
        name=name or f"TwoPhotonSeries{nwb_name(label)}",
        data=data,
        imaging_plane=plane,
        unit=facts.pop("unit", "ADU"),
        **facts,
    )


def _stream(hdmf: Any, images: ImageSeries) -> Any:
    """Iterator that hdmf writes from: a chunk of the movie at a time, chunks of the file within it."""
    wanted = frame_chunks(images.shape, images.dtype)[0]
    buffer = min(images.frames_per_chunk, images.shape[0])
    per_chunk = next(frames for frames in range(wanted, 0, -1) if buffer % frames == 0)

    class Stream(hdmf.GenericDataChunkIterator):
        def _get_data(self, selection: tuple[slice, ...]) -> NDArray[Any]:
            return images.read(*selection)

        def _get_maxshape(self) -> tuple[int, ...]:
            return images.shape

        def _get_dtype(self) -> np.dtype:
            return images.dtype

    rest = images.shape[1:]
    return Stream(buffer_shape=(buffer, *rest), chunk_shape=(per_chunk, *rest))
