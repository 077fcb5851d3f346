"""Backend engine for xarray: ``xarray.open_dataset("movie.zarr", engine="photon_gpu")``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray
from numpy.typing import NDArray
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from photon_gpu.engine.codec.requested_part import STABILIZED
from photon_gpu.reader.dask_arrays import UNITS, xarray_labels
from photon_gpu.reader.movie import Movie
from photon_gpu.reader.open import open as open_movie


class MovieArray(BackendArray):
    """A movie's counts or stabilized values; xarray reads the parts that it indexes."""

    def __init__(self, movie: Movie, values: str) -> None:
        self._movie = movie
        self._read_as = STABILIZED if values == "stabilized" else np.dtype(movie.encoding.dtype)
        self.shape = movie.shape
        self.dtype = np.dtype(np.float64) if values == "stabilized" else np.dtype(movie.encoding.dtype)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, indexing.BasicIndexer):
            return self._read(key.tuple)
        support = indexing.IndexingSupport.OUTER_1VECTOR
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        return self._movie.read(key, self._read_as)


class PhotonEngine(BackendEntrypoint):
    """Open a stored movie as a dataset of ``counts`` and, if it has noise models, ``stabilized``."""

    description = "Open movies that photon_gpu stored"

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        storage_options: dict[str, Any] | None = None,
        workers: int | None = None,
    ) -> xarray.Dataset:
        """Open a movie by its path or URL; only its metadata are read."""
        movie = open_movie(filename_or_obj, storage_options=storage_options, workers=workers)
        dropped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
        dims, coords, attrs = xarray_labels(movie, "counts")
        chunks = dict(zip(dims, movie.chunks, strict=True))
        variables: dict[str, Any] = {}
        for values, units in UNITS.items():
            if values in dropped or (values == "stabilized" and not movie.encoding.models):
                continue
            lazy = indexing.LazilyIndexedArray(MovieArray(movie, values))
            labelled = {**attrs, "units": units}
            variables[values] = xarray.Variable(dims, lazy, labelled, {"preferred_chunks": chunks})
        used = {name: coord for name, coord in coords.items() if variables and name not in dropped}
        # A variable named as its dimension becomes a coordinate, much faster than by coords=.
        variables |= {name: used.pop(name) for name in dims if name in used}
        dataset = xarray.Dataset(variables, coords=used, attrs={"url": movie.url, "layout": movie.layout})
        dataset.set_close(movie.close)
        return dataset

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Return False, because other engines open Zarr arrays too; pass ``engine="photon_gpu"``."""
        return False
