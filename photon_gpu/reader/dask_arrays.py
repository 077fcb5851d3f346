"""Lazy dask and xarray views of a stored movie, for one machine or a cluster."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.requested_part import STABILIZED
from photon_gpu.errors import BackendUnavailableError, InvalidInputError
from photon_gpu.reader.movie_protocol import Readable
from photon_gpu.recording import axis_names

UNITS = {"counts": "ADU", "stabilized": "sigma"}


def to_dask(movie: Readable, what: str = "counts") -> Any:
    """Return the movie as a dask array with one block per chunk; a block is read when it is computed.

    Parameters
    ----------
    movie : Movie
    what : {"counts", "stabilized"}
        Values in the original dtype and units, or stabilized float64 ones.

    Returns
    -------
    dask.array.Array
        Blocks hold the URL of the movie, not its frames. Workers of a cluster read the store
        themselves, so all of them must be able to reach it.

    Raises
    ------
    BackendUnavailableError
        Dask is not installed.

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg
    >>> options = {"noise": pg.NoiseModel(), "chunk_frames": 10, "overwrite": True}
    >>> _ = pg.encode(np.ones((30, 8, 8), "uint16"), "memory://to_dask.zarr", **options)
    >>> array = pg.open("memory://to_dask.zarr").to_dask()
    >>> array.chunks[0], array.dtype, int(array[7:23].max().compute())
    ((10, 10, 10), dtype('uint16'), 1)
    """
    if not isinstance(what, str) or what not in UNITS:
        raise InvalidInputError(f"what is {what!r}; allowed are {', '.join(UNITS)}")
    if what == "stabilized" and not movie.encoding.models:
        raise InvalidInputError(f"{movie.url} was stored losslessly without a noise model: pass 'counts'")
    return _array_of(movie, STABILIZED if what == "stabilized" else np.dtype(movie.encoding.dtype))


def counts_to_dask(movie: Readable, dtype: np.dtype) -> Any:
    """Return the counts as a dask array of the original dtype, float32 or float64."""
    return _array_of(movie, dtype)


def _array_of(movie: Readable, read_as: str | np.dtype) -> Any:
    try:
        import dask.array as da
        from dask.base import tokenize
    except ImportError as error:
        raise BackendUnavailableError(f"{error}; install it with: pip install 'photon-gpu[dask]'") from error
    # One thread, because dask runs several blocks at once.
    remote = Remote(movie.with_workers(1), read_as)
    # The name includes the checksums of all chunks, so a movie that replaces this one gets another name.
    name = f"photon-{read_as}-{tokenize(movie.url, movie.fingerprint)}"
    empty = np.empty((0,) * movie.ndim, remote.dtype)
    return da.from_array(
        remote, chunks=movie.chunks, name=name, meta=empty, inline_array=False, asarray=False
    )


def to_xarray(movie: Readable, what: str = "counts") -> Any:
    """Return the movie as a lazy :class:`xarray.DataArray` with named axes and units.

    Axes and channels have the names that the recording gives them (``movie.axes``). Without names
    they are ``t, y, x``; four axes ``t, z, y, x``; five axes ``t, c, z, y, x``; further axes before those are
    ``axis1``, ``axis2``, ... ``t`` counts frames. Frame times are the coordinate ``time``, in seconds if a
    file stated them. The attributes state the noise model, the step, and, if they are known, the pixel size
    by axis with its units and the frame rate.

    Parameters
    ----------
    movie : Movie
    what : {"counts", "stabilized"}

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg
    >>> options = {"noise": pg.NoiseModel(), "overwrite": True}
    >>> _ = pg.encode(np.ones((30, 8, 8), "uint16"), "memory://to_xarray.zarr", **options)
    >>> lazy = pg.open("memory://to_xarray.zarr").to_xarray()
    >>> lazy.dims, lazy.attrs["units"], float(lazy.sel(t=3).mean())
    (('t', 'y', 'x'), 'ADU', 1.0)
    """
    array = to_dask(movie, what)
    try:
        import xarray
    except ImportError as error:
        raise BackendUnavailableError(f"{error}; install it with: pip install 'photon-gpu[dask]'") from error
    dims, coords, attrs = xarray_labels(movie, what)
    return xarray.DataArray(array, dims=dims, coords=coords, attrs=attrs, name=what)


def xarray_labels(
    movie: Readable, values: str
) -> tuple[tuple[str, ...], dict[str, tuple[Any, ...]], dict[str, Any]]:
    """Return the dimensions, coordinates and attributes of a movie in xarray."""
    recording = movie.recording
    dims = axis_names(recording.axes, movie.ndim)
    first, units = dims[0], "frame" if dims[0] == "t" else "index"
    coords: dict[str, tuple[Any, ...]] = {first: (first, np.arange(len(movie)), {"units": units})}
    names = recording.channel_names
    if "c" in dims and len(names) == movie.shape[dims.index("c")] and len(set(names)) == len(names):
        coords["c"] = ("c", list(names))
    times = movie.timestamps
    if times is not None:
        # Times of a live recording have any unit. xarray would turn "seconds", but not "s", into durations.
        own = recording.timestamps is None or not np.array_equal(times, recording.timestamps, equal_nan=True)
        attributes = {"description": "as recorded, in the recorder's own unit"} if own else {"units": "s"}
        coords["time"] = (first, times, attributes)
    attrs: dict[str, Any] = {"units": UNITS[values], "url": movie.url, "layout": movie.layout}
    if movie.noise is not None:
        attrs.update(gain=movie.noise.gain, offset=movie.noise.offset, variance=movie.noise.variance)
    if models := movie.encoding.channels:
        for key in ("gain", "offset", "variance"):
            attrs[key] = [getattr(channel.noise, key, None) for channel in models]
    if movie.step is not None:
        attrs["step"] = movie.step
    for axis, (size, unit) in recording.pixel_size.items():
        attrs[f"pixel_size_{axis}"], attrs[f"pixel_size_{axis}_units"] = size, unit
    if recording.frame_rate is not None:
        attrs["frame_rate"] = recording.frame_rate
    return dims, coords, attrs


class Remote:
    """Array-like that reads values of one type from a movie; it is sent to workers instead of frames."""

    def __init__(self, movie: Readable, read_as: str | np.dtype) -> None:
        self._movie = movie
        self._read_as = read_as
        self.dtype = np.dtype(np.float64) if read_as == STABILIZED else np.dtype(read_as)
        self.shape, self.ndim = movie.shape, movie.ndim

    def __getitem__(self, key: Any) -> NDArray:
        return self._movie.read(key, self._read_as)
