"""Open a stored movie by its path or URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from photon_gpu.encode_settings import flag
from photon_gpu.errors import StoreNotFoundError
from photon_gpu.reader.follow import FollowedMovie
from photon_gpu.reader.movie import Movie
from photon_gpu.store import metadata
from photon_gpu.store.ome_zarr.zarr2_view import movie_storage_and_texts
from photon_gpu.store.overwrite import left_behind_text
from photon_gpu.store.storage import Storage


def open(
    url: str | os.PathLike[str] | Storage,
    *,
    backend: str = "auto",
    device: str = "cpu",
    workers: int | None = None,
    follow: bool = False,
    storage_options: dict[str, Any] | None = None,
) -> Movie:
    """Open a movie in any layout.

    Parameters
    ----------
    url : str, path or Storage
        Folder of the movie: a path or any fsspec URL.
    backend : {"auto", "numba", "cupy", "numpy"}
    device : {"cpu", "gpu"}
        ``"gpu"`` decodes onto the backend's first GPU: ``movie[...]`` and ``movie.counts[...]`` are
        CuPy arrays.
    workers : int, optional
        Threads. Default: one per core.
    follow : bool
        Open a movie that is still being recorded, as a movie that grows:
        :class:`photon_gpu.reader.follow.FollowedMovie`.
    storage_options : dict, optional
        Options of the fsspec filesystem.

    Returns
    -------
    Movie

    Raises
    ------
    StoreNotFoundError
        There is no movie.
    UnsupportedVersionError
        The format is newer than this release.
    CorruptDataError
        The metadata do not describe a movie.
    """
    flag("follow", follow)
    storage, files = movie_storage_and_texts(url, storage_options)
    for name in (metadata.ARRAY, metadata.ATTRIBUTES):
        if name in files:
            continue
        try:
            files[name] = storage.read(name)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreNotFoundError(_absent(storage, name)) from error
    description = metadata.describe(files[metadata.ARRAY], files[metadata.ATTRIBUTES], storage.url)
    if follow:
        return FollowedMovie(storage, description, backend=backend, workers=workers)
    return Movie(storage, description, backend=backend, device=device, workers=workers)


def _absent(storage: Storage, name: str) -> str:
    names = storage.names()
    if not names and storage.local and Path(storage.root).is_file():
        return f"{storage.url} is a file; a movie is a folder, made by photon_gpu.encode"
    if beside := left_behind_text(storage):
        beside = f"; {beside}"
    if not names:
        return f"{storage.url}: nothing is there{beside}"
    if "zarr.json" in names:
        return (
            f"{storage.url} is of Zarr v3, which zarr.open opens; the name of an OME-Zarr movie that "
            "photon_gpu opens ends in .ome.zarr"
        )
    file = storage.stored_name(name)
    if name == metadata.ATTRIBUTES:
        return f"{storage.url}: {metadata.ATTRIBUTES} is missing; this is another array, or a damaged movie"
    if any(part.split(".")[0].isdigit() for part in names):
        return (
            f"{storage.url} holds chunks but no {file}: the movie was never finished, or is being "
            f"written{beside}"
        )
    return f"{storage.url} holds {len(names)} files but no {file}: it is not a movie"
