"""The levels of an OME-Zarr image below its full resolution: sizes, names of files, transformations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from photon_gpu.errors import InvalidInputError
from photon_gpu.store.ome_zarr.shards import ShardGrid

MOST_LEVELS = 16
PYRAMID = "pyramid"
"""Key of a marker: number of levels that the writer makes."""

_LEVEL_FILE = re.compile(r"([1-9][0-9]?)/(zarr\.json|c/.{1,200})")


@dataclass(frozen=True)
class Pyramid:
    """Levels 1 to ``count``; each has half of the rows and columns of the one before, and all frames.

    A shard of a level holds the chunks of the same frames as the shard of that number of level 0.

    Attributes
    ----------
    base : ShardGrid
        Shards of level 0.
    count : int

    Examples
    --------
    >>> pyramid = Pyramid(ShardGrid((25, 9, 8), (10, 9, 8), 2), 2)
    >>> pyramid.level(1).shape, pyramid.level(2).chunks, pyramid.files_of(1)
    ((25, 5, 4), (10, 3, 2), ['1/c/1/0/0', '2/c/1/0/0'])
    """

    base: ShardGrid
    count: int

    def level(self, number: int) -> ShardGrid:
        """Return the shards of a level."""
        rows, columns = (-(-size >> number) for size in self.base.shape[-2:])
        return replace(
            self.base,
            shape=(*self.base.shape[:-2], rows, columns),
            chunks=(*self.base.chunks[:-2], rows, columns),
        )

    @property
    def numbers(self) -> range:
        """Numbers of the levels."""
        return range(1, self.count + 1)

    def files_of(self, shard: int) -> list[str]:
        """Return the paths of a shard of each level, below the group."""
        return [f"{level}/{self.base.shard_name(shard * self.base.per_shard)}" for level in self.numbers]

    def shard_of(self, name: str) -> int | None:
        """Return the number of the shard of this path; None for a ``zarr.json``, or if no level has it."""
        match = _LEVEL_FILE.fullmatch(name)
        return self.base.shard_of(match[2]) if match and int(match[1]) <= self.count else None

    def holds(self, name: str) -> bool:
        """Whether a path below the group is that of a file of these levels."""
        level, _, rest = name.partition("/")
        metadata = rest == "zarr.json" and level in map(str, self.numbers)
        return metadata or self.shard_of(name) is not None


def is_level_file(name: str) -> bool:
    """Whether a path below the group looks like that of a file of a level other than 0."""
    return _LEVEL_FILE.fullmatch(name) is not None


def level_entry(number: int, axes: str, scale: Sequence[float]) -> dict[str, Any]:
    """Return the entry of a level in ``datasets``.

    The centre of its first pixel is the centre of the pixels of level 0 that it averages.

    >>> level_entry(1, "yx", [0.5, 1.0])["coordinateTransformations"][1]
    {'type': 'translation', 'translation': [0.25, 0.5]}
    """
    factors = [float(1 << number) if axis in "yx" else 1.0 for axis in axes]
    sizes = [size * factor for size, factor in zip(scale, factors, strict=True)]
    transformations: list[dict[str, Any]] = [{"type": "scale", "scale": sizes}]
    if number:
        centres = [size * (factor - 1.0) / 2.0 for size, factor in zip(scale, factors, strict=True)]
        transformations.append({"type": "translation", "translation": centres})
    return {"path": str(number), "coordinateTransformations": transformations}


def levels_of_group(data: bytes, url: str) -> int:
    """Return the number of levels below the first that ``zarr.json`` of a group lists; 0 if it is damaged."""
    try:
        (image,) = json.loads(data)["attributes"]["ome"]["multiscales"]
        return _checked(len(image["datasets"]) - 1)
    except (KeyError, TypeError, ValueError, RecursionError):
        return 0


def levels_of_marker(data: bytes, url: str) -> int:
    """Return the number of levels that the marker of a writer states; 0 if it states none."""
    try:
        return _checked(json.loads(data)[PYRAMID])
    except (KeyError, TypeError, ValueError, RecursionError):
        return 0


def levels_in(names: Iterable[str]) -> int:
    """Return the greatest number of a level among paths below a group; 0 without any."""
    return max((int(match[1]) for match in map(_LEVEL_FILE.fullmatch, names) if match), default=0)


def check_pyramid(pyramid: int, axes: str, shape: tuple[int, ...]) -> None:
    """Raise InvalidInputError if a movie cannot have so many levels."""
    if pyramid and not axes.endswith("yx"):
        raise InvalidInputError(f"pyramid is {pyramid}; axes {axes} have no rows and columns to average")
    most = min(MOST_LEVELS, min(shape[-2:]).bit_length() - 1)
    if pyramid > most:
        raise InvalidInputError(
            f"pyramid is {pyramid}; frames of {shape[-2]} x {shape[-1]} pixels allow at most {most} levels"
        )


def shards_with(pyramid: Pyramid, names: Iterable[str]) -> Iterator[int]:
    """Yield the numbers of the shards that have files of these paths, in order."""
    yield from sorted({shard for name in names if (shard := pyramid.shard_of(name)) is not None})


def _checked(count: Any) -> int:
    return count if type(count) is int and 0 <= count <= MOST_LEVELS else 0
