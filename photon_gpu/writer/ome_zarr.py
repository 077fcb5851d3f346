"""What an encode to the container ``ome-zarr`` needs beside chunks: axes, shards, contrast limits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.errors import InvalidInputError
from photon_gpu.recording import Recording
from photon_gpu.sources.base import Source
from photon_gpu.store.ome_zarr.metadata import group_json, ome_axes
from photon_gpu.store.ome_zarr.shards import ShardGrid
from photon_gpu.store.ome_zarr.storage import SUFFIX, OmeZarrStorage
from photon_gpu.store.storage import Storage

_DARK, _BRIGHT = 0.1, 99.9  # percentiles of one frame that the contrast limits lie at


def check_container(
    storage: Storage, recording: Recording, dimensions: int, *, with_decoder: bool, overwrite: bool = False
) -> None:
    """Refuse what the container of a destination cannot do.

    Raises
    ------
    InvalidInputError
        The container is ``ome-zarr``, and the movie's axes or an option do not fit it.
    """
    if isinstance(storage, OmeZarrStorage):
        ome_axes(recording, dimensions)
    check_options(storage, with_decoder=with_decoder, overwrite=overwrite)


def check_options(storage: Storage, *, with_decoder: bool, overwrite: bool) -> None:
    """Refuse options that the container of a destination does not have."""
    refused = {
        "with_decoder": (with_decoder, "the decoder in one file reads folders"),
        "overwrite": (overwrite and not storage.local, "delete the movie at this URL first"),
    }
    for option, (requested, remedy) in refused.items():
        if requested and isinstance(storage, OmeZarrStorage):
            raise InvalidInputError(
                f"{storage.url}: {option} is not possible for an OME-Zarr movie: {remedy}, or "
                "store the movie as a folder (container='folder')"
            )


def group_of(storage: Storage, name: str, movie: Source, recording: Recording, layout: Layout) -> bytes:
    """Return ``zarr.json`` of the group of a movie called ``name``; empty if it goes to a folder."""
    if not isinstance(storage, OmeZarrStorage):
        return b""
    axes = ome_axes(recording, len(movie.shape))
    window = _contrast(movie, layout, axes)
    top = float(np.iinfo(movie.dtype).max) if movie.dtype.kind in "iu" else 0.0
    if layout.encoding.layout == "plain":
        top = 0.0
    image = name.rstrip("/").split("/")[-1].removesuffix(SUFFIX)
    return group_json(image, axes, recording, window, top)


def begin(
    storage: Storage,
    group: bytes,
    shape: tuple[int, ...],
    chunk: tuple[int, ...],
    dtype: DTypeLike,
    files: dict[str, list[Any]],
) -> dict[str, Any]:
    """Tell the destination its shards and its group, before the first chunk.

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
    return storage.begin(ShardGrid.of(shape, chunk, np.dtype(dtype).itemsize), group, files)


def _contrast(movie: Source, layout: Layout, axes: str) -> list[tuple[float, float]]:
    """Contrast limits of each channel, of the values that the array holds, from the middle frame."""
    if movie.device is not None:
        return []
    middle = movie.shape[0] // 2
    frame = np.asarray(movie.read(middle, middle + 1))
    channels = np.moveaxis(frame, axes.index("c"), 0) if "c" in axes else frame[None]
    encodings = [one.encoding for one in layout.channels]
    limits = []
    for number, values in enumerate(channels):
        encoding = encodings[number if len(encodings) > 1 else 0]
        if encoding.layout == "plain" and encoding.noise is not None:
            values = anscombe(values, encoding.noise)
        finite = values[np.isfinite(values)]
        low, high = np.percentile(finite, (_DARK, _BRIGHT)) if finite.size else (0.0, 1.0)
        limits.append((float(low), float(max(high, low + 1.0))))
    return limits
