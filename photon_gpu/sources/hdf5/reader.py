"""Source of a movie in an HDF5 dataset."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.sources.base import Source
from photon_gpu.sources.check import choose_movie, list_arrays
from photon_gpu.sources.chunk_layer_cache import Box
from photon_gpu.sources.chunked import ChunkedSource
from photon_gpu.sources.hdf5.gaps import find_gaps
from photon_gpu.sources.hdf5.nwb import Series, choose_series, external_files, is_nwb
from photon_gpu.sources.hdf5.open_file import check_external, check_filters, open_file
from photon_gpu.sources.hdf5.recording import read_recording
from photon_gpu.sources.hdf5.virtual_dataset_chunks import chunk_layers
from photon_gpu.sources.missing_frames import ERROR, FILL, ZERO, check_missing, settle
from photon_gpu.sources.select.stored_dimension_names import hdf5_axes


class Hdf5Source(ChunkedSource):
    """A movie in a dataset ``(T, ..., H, W)``, read one range of frames at a time.

    Parameters
    ----------
    dataset : h5py.Dataset
        An open dataset; keep it open while the source is in use. :func:`open_hdf5` opens one by name.
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
    frames (:class:`photon_gpu.sources.chunk_layer_cache.ChunkLayerCache`). h5py serializes all calls by its
    own lock.
    """

    def __init__(self, dataset: Any, *, owner: Any = None, missing: str = ERROR) -> None:
        if not dataset:
            raise InvalidInputError(
                "the HDF5 file of this dataset is closed; open it again, and close it after reading"
            )
        name = f"{dataset.file.filename}::{dataset.name}"
        chunks, edges = dataset.chunks, None
        if dataset.is_virtual and (layers := chunk_layers(dataset)) is not None:
            edges, chunks = layers
        super().__init__(dataset, name=name, chunks=chunks, edges=edges)
        self._owner = owner
        self.stored_axes = hdf5_axes(dataset)
        check_filters(dataset, self.name)
        check_external(dataset, self.name)
        if check_missing(missing, (ERROR, ZERO, FILL)) != FILL:
            lacking, problem = find_gaps(dataset)
            self.lost = settle(self.name, problem, lacking, missing, fill=True)
        try:
            self.recording = read_recording(dataset)
        except (OSError, RuntimeError, KeyError) as error:
            raise CorruptDataError(f"{self.name}: the metadata of the file are damaged: {error}") from error

    def _slice(self, start: int, stop: int) -> NDArray[Any]:
        try:
            return super()._slice(start, stop)
        except (OSError, ValueError, RuntimeError) as error:
            if not self._movie:
                raise InvalidInputError(f"{self.name}: the HDF5 file is closed; open it again") from error
            raise CorruptDataError(f"{self.name}: frames {start}:{stop} cannot be read: {error}") from error

    def _read_stored(self, box: Box) -> NDArray[Any]:
        values = np.empty([part.stop - part.start for part in box], self.dtype)
        self._movie.read_direct(values, box)  # HDF5 swaps bytes while reading: no second copy
        return values

    def close(self) -> None:
        """Close the file, if this source owns it."""
        super().close()
        if self._owner is not None:
            self._owner.close()


def open_hdf5(
    path: Any,
    *,
    dataset: str | None = None,
    missing: str = ERROR,
    open_other: Callable[..., Source] | None = None,
) -> Source:
    """Open a dataset of an HDF5 file by name, or the only movie in the file.

    Parameters
    ----------
    path : path-like
        A local HDF5 file (``.h5``, ``.hdf5``, ``.nwb``, ...).
    dataset : str, optional
        Path of the dataset, or of a group with a single movie. The name of an NWB series is enough.
    missing : {"error", "zero", "fill"}
        See :class:`Hdf5Source`.
    open_other : callable, optional
        Opens the files that hold the frames of an NWB series, if they are not in this one.

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
    file = open_file(name)
    try:
        node = _find(file, dataset, name)
        if not isinstance(node, Series):
            return Hdf5Source(node, owner=file, missing=missing)
        if not node.files:
            inside = Hdf5Source(node.data, owner=file, missing=missing)
            if inside.stored_axes is None:  # NWB has depth last
                inside.stored_axes = {3: "tyx", 4: "tyxz"}.get(len(inside.shape))
            return inside
        paths = external_files(node, Path(name).parent, f"{name}::{node.path}")
    except BaseException:
        file.close()
        raise
    rate = node.rate
    file.close()
    if open_other is None:
        raise InvalidInputError(
            f"{name}::{node.path}: its frames are in other files: {', '.join(paths)[:150]}"
        )
    external = open_other(paths[0] if len(paths) == 1 else paths)
    if external.recording.frame_rate is None:
        external.recording = external.recording.replace(frame_rate=rate)
    return external


def _find(file: Any, wanted: str | None, name: str) -> Any:
    try:
        if is_nwb(file) and (series := choose_series(file, wanted, name)) is not None:
            return series
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
