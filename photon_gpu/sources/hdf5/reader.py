"""Source of a movie in an HDF5 dataset."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.sources.check import choose_movie, list_arrays
from photon_gpu.sources.chunk_layers import Box, ChunkLayers
from photon_gpu.sources.hdf5.gaps import find_gaps
from photon_gpu.sources.missing import ERROR, FILL, ZERO, check_missing, settle
from photon_gpu.sources.select.labels import hdf5_axes
from photon_gpu.sources.sliceable import SliceableSource


class Hdf5Source(SliceableSource):
    """A movie in a dataset ``(T, ..., H, W)``, read one range of frames at a time.

    Parameters
    ----------
    dataset : h5py.Dataset
        Dataset that stays open while it is read; :func:`open_hdf5` opens one by name.
    owner : h5py.File, optional
        File that is closed with the source.
    missing : {"error", "zero", "fill"}
        What to do if chunks were never written, or parts of a virtual dataset are absent or not mapped. HDF5
        reads its fill value there. ``"error"``: refuse the dataset. ``"zero"``: accept it, and list the
        frames in ``lost``. ``"fill"``: take the fill value as data.

    Raises
    ------
    CorruptDataError
        If parts of the dataset are missing or, on reading, a chunk does not decode.
    InvalidInputError, UnsupportedTypeError
        See :func:`photon_gpu.sources.check.check_movie`.

    Notes
    -----
    Memory: the requested frames, one chunk of the dataset, and up to 256 MiB of chunks that hold further
    frames (:class:`photon_gpu.sources.chunk_layers.ChunkLayers`). h5py serializes all calls by its own lock.
    """

    def __init__(self, dataset: Any, *, owner: Any = None, missing: str = ERROR) -> None:
        super().__init__(dataset, name=f"{dataset.file.filename}::{dataset.name}")
        self._owner = owner
        self.stored_axes = hdf5_axes(dataset)
        _check_external(dataset, self.name)
        if check_missing(missing, (ERROR, ZERO, FILL)) != FILL:
            lacking, what = find_gaps(dataset)
            self.lost = settle(self.name, what, lacking, missing, fill=True)
        self._layers: ChunkLayers | None = None
        if dataset.chunks is not None:
            self._layers = ChunkLayers(self.shape, self.dtype, dataset.chunks, self._read_box)

    def _slice(self, start: int, stop: int) -> NDArray[Any]:
        try:
            if self._layers is not None and self._layers.cuts(start, stop):
                return self._layers.read(start, stop)
            return self._read_box((slice(start, stop), *(slice(0, length) for length in self.shape[1:])))
        except (OSError, ValueError, RuntimeError) as error:
            if not self._movie:
                raise InvalidInputError(f"{self.name}: the HDF5 file is closed") from error
            raise CorruptDataError(f"{self.name}: frames {start}:{stop} cannot be read: {error}") from error

    def _read_box(self, box: Box) -> NDArray[Any]:
        values = np.empty([part.stop - part.start for part in box], self.dtype)
        self._movie.read_direct(values, box)  # HDF5 swaps bytes while reading: no second copy
        return values

    def note(self, chunk_frames: int) -> str | None:
        """Remark on chunks that were decoded several times; None if none were."""
        return self._layers.no_room if self._layers is not None else None

    def close(self) -> None:
        """Close the file, if it was opened here."""
        super().close()
        if self._layers is not None:
            self._layers.close()
        if self._owner is not None:
            self._owner.close()


def open_hdf5(path: Any, *, dataset: str | None = None, missing: str = ERROR) -> Hdf5Source:
    """Open a dataset of an HDF5 file by name, or the only movie in the file.

    Parameters
    ----------
    path : path-like
        A local HDF5 file (``.h5``, ``.hdf5``, ``.nwb``, ...).
    dataset : str, optional
        Path of the dataset, or of a group with a single movie.
    missing : {"error", "zero", "fill"}
        See :class:`Hdf5Source`.

    Raises
    ------
    InvalidInputError
        If the dataset does not exist, or several are movies; the message lists the datasets of the file.
    CorruptDataError
        If the file is truncated or not HDF5.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "movie.h5"
    >>> with h5py.File(path, "w") as file:
    ...     file["/data/movie"] = np.zeros((5, 2, 2), "uint16")
    ...     file["/data/rate"] = 30.0
    >>> with open_hdf5(path) as movie:
    ...     movie.shape, movie.name.rpartition("::")[2]
    ((5, 2, 2), '/data/movie')
    """
    name = os.fspath(path)
    try:
        file = h5py.File(name, "r")
    except BlockingIOError as error:
        raise InvalidInputError(
            f"{name}: another program has the file open for writing; close it there, or copy the file"
        ) from error
    except OSError as error:
        raise CorruptDataError(
            f"{name}: the HDF5 file is truncated, damaged, or not HDF5: {error}"
        ) from error
    try:
        return Hdf5Source(_find(file, dataset, name), owner=file, missing=missing)
    except BaseException:
        file.close()
        raise


def _find(file: Any, wanted: str | None, name: str) -> Any:
    try:
        node = file if wanted is None else file.get(wanted)
        if isinstance(node, h5py.Dataset):
            return node
        datasets = _datasets(file if node is None else node)
    except (OSError, RuntimeError, KeyError) as error:
        raise CorruptDataError(f"{name}: the HDF5 file is damaged: {error}") from error
    if node is None:
        raise InvalidInputError(f"{name}: there is no dataset {wanted!r}. It holds: {list_arrays(datasets)}")
    return file[choose_movie(datasets, name=name, option="dataset")]


def _datasets(group: Any) -> dict[str, tuple[Any, Any]]:
    datasets: dict[str, tuple[Any, Any]] = {}

    def visit(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            datasets[item.name] = (item.shape, item.dtype)

    group.visititems(visit)
    return datasets


def _check_external(dataset: Any, name: str) -> None:
    """Refuse a dataset whose external file is too short, which HDF5 would read as zeros."""
    left = dataset.nbytes
    for file, offset, nbytes in dataset.external or ():
        end = offset + min(nbytes, left)
        left -= end - offset
        if Path(file).exists() and Path(file).stat().st_size < end:
            raise CorruptDataError(
                f"{name}: its external file {file!r} is truncated: {end} bytes are needed, it has "
                f"{Path(file).stat().st_size}"
            )
