"""Read the names of dimensions that HDF5 and Zarr files store for an array."""

from __future__ import annotations

from typing import Any

from photon_gpu.sources.select.axes import letters


def hdf5_axes(dataset: Any) -> str | None:
    """Axes of an HDF5 dataset, from the labels of its dimensions or from its dimension scales.

    None if there are no names, or one is unknown.
    """
    words = []
    for dimension in dataset.dims:
        scales = [] if dimension.label else list(dimension.keys())
        words.append(dimension.label or (scales[0].rpartition("/")[2] if scales else ""))
    return letters(words)


def zarr_axes(array: Any) -> str | None:
    """Axes of a Zarr array: its dimension names, xarray's attribute, or the axes of its OME-Zarr group."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    if not names:
        names = _ome_axes(array)
    return letters(names) if isinstance(names, list | tuple) and len(names) == array.ndim else None


def _ome_axes(array: Any) -> list[str] | None:
    """Axis names in the multiscales metadata of the parent group; None without such metadata."""
    import zarr

    store, path = array.store, array.store_path.path
    if not path and hasattr(store, "root"):  # the parent group is outside the opened folder
        store, path = str(store.root.parent), "."
    above = path.rpartition("/")[0]
    try:
        group = zarr.open_group(store, path=above, mode="r", zarr_format=array.metadata.zarr_format)
        attributes: Any = dict(group.attrs)
        listed = attributes.get("ome", attributes)["multiscales"]
        return [axis["name"] if isinstance(axis, dict) else axis for axis in listed[0]["axes"]]
    except Exception:
        return None  # no group, or not OME-Zarr; each store raises other errors
