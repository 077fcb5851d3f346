"""Find the full-resolution array of an OME-Zarr image, and read the image's metadata."""

from __future__ import annotations

import json
from typing import Any

from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.recording import NOTHING, Document, Recording
from photon_gpu.sources.select.axes import letters
from photon_gpu.sources.select.stored_dimension_names import parent

ATTRIBUTES = "zarr/image/attributes.json"
"""Document of the attributes of an image's group."""

_MOST_NAMES = 10
_SECONDS = {"second": 1.0, "millisecond": 1e-3, "microsecond": 1e-6, "minute": 60.0, "hour": 3600.0}


def attributes_of(group: Any) -> dict[str, Any]:
    """OME attributes of a group, of version 0.5 or of 0.4 and earlier."""
    attributes = dict(group.attrs)
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def is_image(group: Any) -> bool:
    """Whether a Zarr group is an OME-Zarr image."""
    return isinstance(attributes_of(group).get("multiscales"), list)


def choose_image(groups: dict[str, Any], name: str) -> Any:
    """Choose the only image among the groups of a file, by path; None if there is none.

    Raises
    ------
    InvalidInputError
        There are several.
    """
    images = {path: group for path, group in groups.items() if is_image(group)}
    if len(images) > 1:
        more = f" and {len(images) - _MOST_NAMES} more" if len(images) > _MOST_NAMES else ""
        raise InvalidInputError(
            f"{name}: {len(images)} images could be the movie; choose one by path=NAME: "
            f"{', '.join(list(images)[:_MOST_NAMES])}{more}"
        )
    return next(iter(images.values()), None)


def full_resolution(group: Any, name: str) -> tuple[Any, Recording]:
    """Return the array of an image's first level, which has full resolution, and its metadata.

    Raises
    ------
    InvalidInputError
        The group holds several images.
    CorruptDataError
        The metadata name no array that exists.
    """
    images = attributes_of(group)["multiscales"]
    if len(images) != 1:
        raise InvalidInputError(
            f"{name}: its metadata describe {len(images)} images; give the array of one by path="
        )
    try:
        level = images[0]["datasets"][0]
        array = group[level["path"]]
    except (KeyError, IndexError, TypeError) as error:
        raise CorruptDataError(f"{name}: the multiscales metadata name no array: {error!r}") from error
    return array, _recording(group, images[0], level, array.ndim)


def recording_of_level(array: Any) -> Recording:
    """Return the metadata of the image that has an array as a level; empty if it is no level of an image."""
    try:
        group, name = parent(array)
        images = attributes_of(group)["multiscales"]
        image, level = next(
            (image, level) for image in images for level in image["datasets"] if level["path"] == name
        )
        return _recording(group, image, level, array.ndim)
    except Exception:
        return NOTHING  # no group, or not OME-Zarr; each store raises other errors


def _recording(group: Any, image: dict[str, Any], level: dict[str, Any], dimensions: int) -> Recording:
    document = Document(
        name=ATTRIBUTES, media_type="application/json", data=json.dumps(dict(group.attrs)).encode()
    )
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in image.get("axes", [])]
    names = letters([axis.get("name") for axis in axes])
    if names is None or len(names) != dimensions:
        return Recording(documents=(document,))
    scale = _scale(level, image, dimensions)
    units = {letter: axis.get("unit") for letter, axis in zip(names, axes, strict=True)}
    sizes = {
        letter: (size, str(units[letter]))
        for letter, size in zip(names, scale, strict=True)
        if letter in "zyx" and units[letter] and size > 0
    }
    seconds = _SECONDS.get(str(units.get("t")))
    period = scale[names.index("t")] * seconds if seconds and "t" in names else 0.0
    channels = attributes_of(group).get("omero", {}).get("channels", [])
    labels = tuple(str(channel.get("label", "")) for channel in channels)
    return Recording(
        pixel_size=sizes,
        frame_rate=1.0 / period if period > 0 else None,
        channel_names=labels if all(labels) else (),
        documents=(document,),
    )


def _scale(level: dict[str, Any], image: dict[str, Any], dimensions: int) -> list[float]:
    """Size of a pixel along each axis: the scale of the level times the scale of the whole image."""
    scale = [1.0] * dimensions
    for part in (level, image):
        for transformation in part.get("coordinateTransformations", []):
            factors = transformation.get("scale", [])
            if transformation.get("type") == "scale" and len(factors) == dimensions:
                scale = [a * float(b) for a, b in zip(scale, factors, strict=True)]
    return scale
