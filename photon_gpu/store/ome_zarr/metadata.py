"""The two ``zarr.json`` of an OME-Zarr movie: made from ``.zarray`` and ``.zattrs``, and turned back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonError
from photon_gpu.recording import Recording, axis_names
from photon_gpu.store.metadata import dump_json, load_json
from photon_gpu.store.ome_zarr.pyramid_levels import level_entry
from photon_gpu.store.ome_zarr.shards import ShardGrid

OME_VERSION = "0.5"
CODEC = "photon_gpu.photon"
"""Registered name of the codec of Zarr v3: :mod:`photon_gpu.plugins.zarr3_photon`."""

_SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")
_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_ORDER = "tczyx"
_UNITS = {
    "µm": "micrometer",
    "μm": "micrometer",
    "um": "micrometer",
    "micron": "micrometer",
    "nm": "nanometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
}
_LENGTHS = frozenset([*_UNITS.values(), "angstrom", "inch", "picometer"])
_DARK, _BRIGHT = 0.1, 99.9  # percentiles of one frame that the contrast limits lie at
_COLOURS = ("00FF00", "FF0000", "0000FF", "FFFF00", "FF00FF", "00FFFF")


def ome_axes(recording: Recording, dimensions: int) -> str:
    """Return the axes of a movie as letters.

    Raises
    ------
    InvalidInputError
        OME-Zarr allows no such axes.
    """
    names = axis_names(recording.axes, dimensions)
    ordered = [name for name in _ORDER if name in names]
    if list(names) != ordered:
        raise InvalidInputError(
            f"axes are {', '.join(names)}; OME-Zarr allows t, c, z, y, x in this order: say what they are by "
            "axes=, or give a name such as movie.zarr, which is that of a folder"
        )
    return "".join(names)


def contrast_limits(channels: Iterable[NDArray]) -> list[tuple[float, float]]:
    """Return the contrast limits of each channel, from values of it.

    >>> contrast_limits([np.full(9, 7), np.full(9, np.nan)])
    [(7.0, 8.0), (0.0, 1.0)]
    """
    limits = []
    for values in channels:
        finite = values[np.isfinite(values)]
        low, high = np.percentile(finite, (_DARK, _BRIGHT)) if finite.size else (0.0, 1.0)
        limits.append((float(low), float(max(high, low + 1.0))))
    return limits


def group_json(
    name: str,
    axes: str,
    recording: Recording,
    window: Sequence[tuple[float, float]] = (),
    top: float = 0.0,
    pyramid: int = 0,
) -> bytes:
    """Return ``zarr.json`` of the group.

    Parameters
    ----------
    name : str
        Name of the image.
    axes : str
        Letters, :func:`ome_axes`.
    recording : Recording
        Pixel sizes, frame rate and names of channels.
    window : sequence of (float, float)
        Contrast limits of each channel. Without them no ``omero`` is written.
    top : float
        Greatest value that the array can hold.
    pyramid : int
        Number of levels below the full resolution.
    """
    described = []
    scale = []
    for letter in axes:
        size, unit = recording.pixel_size.get(letter, (1.0, ""))
        unit = _UNITS.get(unit, unit)
        if letter == "t" and recording.frame_rate:
            size, unit = 1.0 / recording.frame_rate, "second"
        axis = {"name": letter, "type": _TYPES[letter]}
        described.append({**axis, "unit": unit} if unit in _LENGTHS or unit == "second" else axis)
        scale.append(float(size))
    levels = [level_entry(number, axes, scale) for number in range(pyramid + 1)]
    ome: dict[str, Any] = {
        "version": OME_VERSION,
        "multiscales": [{"name": name, "axes": described, "datasets": levels}],
    }
    if window:
        names = recording.channel_names
        ome["omero"] = {
            "channels": [
                {
                    "label": names[number] if number < len(names) else f"channel {number}",
                    "color": "FFFFFF" if len(window) == 1 else _COLOURS[number % len(_COLOURS)],
                    "active": True,
                    "window": {"min": min(0.0, low), "max": max(top, high), "start": low, "end": high},
                }
                for number, (low, high) in enumerate(window)
            ]
        }
    return dump_json({"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}})


def array_json(array: bytes, attributes: bytes, grid: ShardGrid) -> bytes:
    """Return ``zarr.json`` of the array from ``.zarray`` and ``.zattrs`` of the same movie."""
    old, words = json.loads(array), json.loads(attributes)
    compressor, filters = old["compressor"], old["filters"]
    dtype = np.dtype(old["dtype"])
    photon = [
        {"name": CODEC, "configuration": {k: v for k, v in one.items() if k != "id"}} for one in filters or ()
    ]
    grid = replace(grid, shape=tuple(old["shape"]), chunks=tuple(old["chunks"]))
    data = _array(grid, dtype, compressor, photon, words.get("_ARRAY_DIMENSIONS"), words)
    if folder_files(data, "") != (array, attributes):
        raise PhotonError("the metadata of this movie cannot be stored as OME-Zarr; use container='folder'")
    return data


def level_json(
    grid: ShardGrid, dtype: np.dtype, compressor: dict[str, Any], names: Sequence[str] | None
) -> bytes:
    """Return ``zarr.json`` of a pyramid level, whose codecs every reader of Zarr v3 has."""
    return _array(grid, dtype, compressor, [], names, {})


def _array(
    grid: ShardGrid,
    dtype: np.dtype,
    compressor: dict[str, Any],
    photon: list[dict[str, Any]],
    names: Sequence[str] | None,
    attributes: dict[str, Any],
) -> bytes:
    """Return ``zarr.json`` of an array in shards; ``photon`` holds the codec of ``compact``, if any."""
    endian = {"configuration": {"endian": "little"}} if dtype.itemsize > 1 else {}
    blosc = {
        "typesize": 1 if photon else dtype.itemsize,
        "cname": compressor["cname"],
        "clevel": compressor["clevel"],
        "shuffle": _SHUFFLES[compressor["shuffle"]],
        "blocksize": compressor.get("blocksize", 0),
    }
    index_codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    sharding = {
        "chunk_shape": grid.chunks,
        "codecs": [*(photon or [{"name": "bytes", **endian}]), {"name": "blosc", "configuration": blosc}],
        "index_codecs": index_codecs,
        "index_location": "end",
    }
    outer = [grid.chunks[0] * grid.per_shard, *grid.chunks[1:]]
    content = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": grid.shape,
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": outer}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0 if dtype.kind == "f" else 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": names,
        "attributes": attributes,
    }
    return dump_json({key: value for key, value in content.items() if value is not None})


def folder_files(data: bytes, url: str) -> tuple[bytes, bytes]:
    """Return ``.zarray`` and ``.zattrs`` of the movie that ``zarr.json`` of the array describes.

    Raises
    ------
    CorruptDataError
        It is not an array that photon_gpu stores.
    """
    content = load(data, url)
    try:
        (sharding,) = content["codecs"]
        inside = sharding["configuration"]
        serializer, blosc = inside["codecs"]
        filters = None
        if serializer["name"] == CODEC:
            filters = [{"id": "photon", **serializer["configuration"]}]
        if (sharding["name"], blosc["name"]) != ("sharding_indexed", "blosc"):
            raise ValueError(f"codecs {sharding['name']!r}, {blosc['name']!r}")
        if filters is None and serializer["name"] != "bytes":
            raise ValueError(f"codec {str(serializer['name'])[:40]!r}")
        settings = blosc["configuration"]
        compressor = {
            "id": "blosc",
            "cname": settings["cname"],
            "clevel": settings["clevel"],
            "shuffle": _SHUFFLES.index(settings["shuffle"]),
        }
        if settings["blocksize"]:
            compressor["blocksize"] = settings["blocksize"]
        dtype = np.dtype(content["data_type"])
        array = {
            "chunks": inside["chunk_shape"],
            "compressor": compressor,
            "dtype": dtype.newbyteorder("<").str if dtype.itemsize > 1 else dtype.str,
            "fill_value": None,
            "filters": filters,
            "order": "C",
            "shape": content["shape"],
            "zarr_format": 2,
        }
        return dump_json(array), dump_json(content["attributes"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptDataError(f"{url}: 0/zarr.json describes no movie of photon_gpu: {error!r}") from error


def load(data: bytes, url: str) -> dict[str, Any]:
    """Return the content of a ``zarr.json``."""
    content = load_json(data, url, "zarr.json")
    if content.get("zarr_format") != 3:
        raise CorruptDataError(f"{url}: zarr.json is not of Zarr v3")
    return content
