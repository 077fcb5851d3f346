"""Read the names of dimensions, and the coordinates, that HDF5 and Zarr files store for an array."""

from __future__ import annotations

from typing import Any

from photon_gpu.sources.select.axes import letters
from photon_gpu.sources.select.xarray_coordinates import Coordinate


def hdf5_axes(dataset: Any) -> str | None:
    """Axes of an HDF5 dataset, from the labels of its dimensions or from its dimension scales.

    None if there are no names, or one is unknown.
    """
    words = []
    for dimension in dataset.dims:
        scales = [] if dimension.label else list(dimension.keys())
        words.append(dimension.label or (scales[0].rpartition("/")[2] if scales else ""))
    return letters(words)


def zarr_dimensions(array: Any) -> tuple[str, ...]:
    """Dimension names of a Zarr array, as Zarr v3 or xarray stores them; none if they do not fit it."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    whole = isinstance(names, list | tuple) and len(names) == array.ndim
    return tuple(map(str, names)) if whole else ()


def zarr_axes(array: Any) -> str | None:
    """Axes of a Zarr array: its dimension names, xarray's attribute, or the axes of its OME-Zarr group."""
    names = zarr_dimensions(array) or _ome_axes(array)
    return letters(names) if names and len(names) == array.ndim else None


def zarr_coordinates(array: Any, dims: tuple[str, ...]) -> list[Coordinate]:
    """Coordinates that xarray stored beside an array: named as a dimension, or in its ``coordinates``."""
    listed = str(array.attrs.get("coordinates", "")).split()
    try:
        group, _ = parent(array)
        beside = {name: group[name] for name in dict.fromkeys((*dims, *listed)) if name in group}
        return [
            Coordinate(name, zarr_dimensions(one) or (name,) * one.ndim, one[...], dict(one.attrs))
            for name, one in beside.items()
        ]
    except Exception:
        return []  # no group; each store raises other errors


def _ome_axes(array: Any) -> list[str] | None:
    """Axis names in the multiscales metadata of the parent group; None without such metadata."""
    try:
        attributes: Any = dict(parent(array)[0].attrs)
        listed = attributes.get("ome", attributes)["multiscales"]
        return [axis["name"] if isinstance(axis, dict) else axis for axis in listed[0]["axes"]]
    except Exception:
        return None  # no group, or not OME-Zarr; each store raises other errors


def parent(array: Any) -> tuple[Any, str]:
    """Open the group above an array for reading; return it, and the name of the array in it."""
    import zarr

    store, path = array.store, array.store_path.path
    if not path and hasattr(store, "root"):  # the parent group is outside the opened folder
        root = store.root
        store, path = str(root.parent), root.name
    above, _, name = path.rpartition("/")
    return zarr.open_group(store, path=above, mode="r", zarr_format=array.metadata.zarr_format), name
