"""Axes, shards and contrast limits of an encode to an OME-Zarr file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from photon_gpu.encode_settings import EncodeSettings
from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.recording import Recording
from photon_gpu.sources.base import Source
from photon_gpu.store.metadata import Description
from photon_gpu.store.ome_zarr.averages import Averages, Run
from photon_gpu.store.ome_zarr.metadata import contrast_limits, group_json, ome_axes
from photon_gpu.store.ome_zarr.pyramid_levels import Pyramid, check_pyramid
from photon_gpu.store.ome_zarr.shards import ShardGrid
from photon_gpu.store.ome_zarr.zarr2_view import SUFFIX, OmeZarrStorage
from photon_gpu.store.storage import Storage


def check_container(
    storage: Storage,
    recording: Recording,
    shape: tuple[int, ...],
    settings: EncodeSettings,
) -> None:
    """Refuse what the container of a destination cannot do.

    Raises
    ------
    InvalidInputError
        The container is ``ome-zarr``, and the movie's axes or an option do not fit it.
    """
    if isinstance(storage, OmeZarrStorage):
        check_pyramid(settings.pyramid, ome_axes(recording, len(shape)), shape)
    check_options(storage, settings)


def check_options(storage: Storage, settings: EncodeSettings) -> None:
    """Refuse options that the container of a destination does not have."""
    if settings.pyramid and not isinstance(storage, OmeZarrStorage):
        raise InvalidInputError(
            f"{storage.url}: pyramid is {settings.pyramid}, and a movie in a folder has no levels; give "
            f"a name that ends in {SUFFIX}"
        )


def group_of(
    storage: Storage, name: str, movie: Source, recording: Recording, layout: Layout, pyramid: int
) -> bytes:
    """Return ``zarr.json`` of the group of a movie called ``name``; empty if it goes to a folder."""
    if not isinstance(storage, OmeZarrStorage):
        return b""
    axes = ome_axes(recording, len(movie.shape))
    window = _contrast(movie, layout, axes)
    top = float(np.iinfo(movie.dtype).max) if movie.dtype.kind in "iu" else 0.0
    if layout.encoding.layout == "plain":
        top = 0.0
    image = name.rstrip("/").split("/")[-1].removesuffix(SUFFIX)
    return group_json(image, axes, recording, window, top, pyramid)


def begin(
    storage: Storage,
    group: bytes,
    shape: tuple[int, ...],
    chunk: tuple[int, ...],
    dtype: DTypeLike,
    files: dict[str, list[Any]],
    pyramid: int,
) -> dict[str, Any]:
    """Tell the destination its shards, its group and its levels, before the first chunk.

    Parameters
    ----------
    group : bytes
        Result of :func:`group_of`.
    dtype : dtype
        Of the frames.
    files : dict
        Manifest entries of chunks that an earlier encode stored.

    Returns
    -------
    dict
        What the marker must say beside the plan.
    """
    if not isinstance(storage, OmeZarrStorage):
        return {}
    return storage.begin(ShardGrid.of(shape, chunk, np.dtype(dtype).itemsize), group, files, pyramid)


def write_levels(
    storage: Storage,
    description: Description,
    files: Mapping[str, Sequence[Any]],
    settings: EncodeSettings,
    shards: Sequence[int] | None = None,
    run: Run = map,
) -> dict[str, list[Any]]:
    """Average the stored chunks, write the further levels of a movie, and return their manifest entries.

    Parameters
    ----------
    files : dict
        Manifest entries of the chunks.
    shards : sequence of int, optional
        Write these shards of the levels only; ``zarr.json`` of the levels are written if there are none.
    run : callable, optional
        Runs the work on several chunks.
    """
    if not isinstance(storage, OmeZarrStorage) or not settings.pyramid:
        return {}
    pyramid = Pyramid(storage.grid, settings.pyramid)
    averages = Averages(storage, description, pyramid, files)
    written = []
    for shard in range(storage.grid.shard_count) if shards is None else shards:
        written += _stored(storage, averages.shard(shard, run), settings)
    if not shards:
        written += _stored(storage, averages.metadata(), settings)
    return {name: storage.written[name] for name in written}


def _stored(storage: OmeZarrStorage, content: Mapping[str, bytes], settings: EncodeSettings) -> list[str]:
    """Write files, read them back if that is asked for, and return their names."""
    for name, data in content.items():
        storage.write_container(name, data)
        if settings.check in (True, "full") and storage.read_stored(name) != data:
            raise CorruptDataError(
                f"{storage.url}: {name} reads back other bytes than were written; the disk or the store "
                "altered them: nothing was kept"
            )
    return list(content)


def _contrast(movie: Source, layout: Layout, axes: str) -> list[tuple[float, float]]:
    """Contrast limits of each channel, of the values that the array holds, from the middle frame."""
    if movie.device is not None:
        return []
    middle = movie.shape[0] // 2
    frame = np.asarray(movie.read(middle, middle + 1))
    channels = np.moveaxis(frame, axes.index("c"), 0) if "c" in axes else frame[None]
    encodings = [one.encoding for one in layout.channels]
    stored = []
    for number, values in enumerate(channels):
        encoding = encodings[number if len(encodings) > 1 else 0]
        if encoding.layout == "plain" and encoding.noise is not None:
            values = anscombe(values, encoding.noise)
        stored.append(values)
    return contrast_limits(stored)
