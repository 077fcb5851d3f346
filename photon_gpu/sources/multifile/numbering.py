"""Order the files of a movie by the numbers in their names."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from photon_gpu.errors import InvalidInputError

ERROR, ZERO, SKIP = "error", "zero", "skip"

_NUMBERS = re.compile(r"(\d+)")
# Word before a number (or, for channels, a letter) that tells what the number counts.
_CHANNEL = re.compile(r"(?i)(?<![a-z])(ch|chan|channel)[_-]?(\d+|[a-d])(?![a-z0-9])")
_WORD = re.compile(r"(?i)(?:.*[^a-z])?([a-z]+)[_-]?$", re.DOTALL)
_PLANE_WORDS = ("z", "slice", "plane")
_POSITION_WORDS = ("pos", "position", "xy", "site", "tile", "roi", "well", "region")
_MOST_NAMES = 10

_Parsed = tuple[str, tuple[int, ...], str]
"""A parsed name: its pattern with * for each number, its numbers, and its channel."""


@dataclass(frozen=True)
class FileOrder:
    """Files of one movie in the order of their frames.

    Attributes
    ----------
    columns : tuple of tuple of (str or None)
        Paths over time, for each combination of channel and plane (planes outermost). None stands for a file
        that is missing.
    channels : tuple of str
        Names of the channels that have files of their own; empty if file names tell of none.
    planes : int
        Number of planes that have files of their own; 1 if file names tell of none.
    """

    columns: tuple[tuple[str | None, ...], ...]
    channels: tuple[str, ...] = ()
    planes: int = 1


def natural_key(name: str) -> list[Any]:
    """Sort key that compares the numbers in a name as numbers.

    Examples
    --------
    >>> sorted(["x10.tif", "x2.tif"], key=natural_key)
    ['x2.tif', 'x10.tif']
    """
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in _NUMBERS.split(name) if part]


def channel_of(name: str) -> str:
    """Word in a file name that tells the channel; empty if there is none.

    Examples
    --------
    >>> channel_of("run_Cycle00001_Ch2_000005.ome.tif"), channel_of("run_5.tif")
    ('Ch2', '')
    """
    match = _CHANNEL.search(PurePath(name).name)
    return match[0] if match else ""


def listed_names(paths: Iterable[str]) -> str:
    """Names of files for a message; after the first ten, only their number.

    Examples
    --------
    >>> listed_names(["a/x1.tif", "a/x2.tif"])
    'x1.tif, x2.tif'
    """
    names = [PurePath(path).name for path in paths]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def order_files(
    paths: Sequence[str], where: str, *, missing: str = ERROR, ordered: bool = False
) -> FileOrder:
    """Order files by the numbers in their names.

    Parameters
    ----------
    paths : sequence of str
    where : str
        Folder, glob or list in messages.
    missing : {"error", "zero", "skip"}
        What to do with a gap in the numbers: refuse it, return None in its place, or join the existing
        files.
    ordered : bool
        Whether the order of ``paths`` counts if the names do not tell the order.

    Raises
    ------
    InvalidInputError
        Numbers are missing or repeated, or the names belong to several movies.

    Examples
    --------
    >>> order_files(["m_2.tif", "m_10.tif", "m_1.tif"], "m", missing="skip").columns
    (('m_1.tif', 'm_2.tif', 'm_10.tif'),)
    >>> names = [f"run_Ch{channel}_{frame:03}.tif" for channel in (1, 2) for frame in (1, 2)]
    >>> order = order_files(names, "run")
    >>> order.channels, order.columns[1]
    (('Ch1', 'Ch2'), ('run_Ch2_001.tif', 'run_Ch2_002.tif'))
    """
    if len(paths) == 1:
        return FileOrder((tuple(paths),))
    try:
        return _ordered_by_number(paths, where, missing)
    except _NotNumbered as error:
        if ordered:
            return FileOrder((tuple(paths),))
        raise InvalidInputError(
            f"{where}: {error}. Give the files of one movie: a list in order of time, or a glob such as "
            f"'{_glob_of(PurePath(paths[0]).name)}'"
        ) from None


class _NotNumbered(Exception):
    """The names are not those of one numbered series."""


def _ordered_by_number(paths: Sequence[str], where: str, missing: str) -> FileOrder:
    parsed = _with_first_number([_parse(PurePath(path).name) for path in paths])
    patterns = Counter(pattern for pattern, _, _ in parsed)
    if len(patterns) > 1:
        some = ", ".join(f"{pattern} ({files})" for pattern, files in patterns.most_common(2))
        more = ", ..." if len(patterns) > 2 else ""
        raise _NotNumbered(
            f"{len(paths)} files have {len(patterns)} different patterns of names: {some}{more}"
        )
    numbers = [own for _, own, _ in parsed]
    varying = [n for n in range(len(numbers[0])) if len({own[n] for own in numbers}) > 1]
    words = _words(parsed[0][0])
    for n in varying:
        if words[n] in _POSITION_WORDS:
            places = len({own[n] for own in numbers})
            raise _NotNumbered(
                f"the files are of {places} positions ({words[n]}), and each position is a movie of its own"
            )
    planes = [n for n in varying if words[n] in _PLANE_WORDS]
    times = [n for n in varying if n not in planes]
    if not times and len(planes) == 1:
        planes, times = [], planes  # a stack along z only: its planes are the frames
    if len(planes) > 1:
        raise _NotNumbered("two numbers that count planes vary")
    columns: dict[tuple[int, str], dict[tuple[int, ...], str]] = defaultdict(dict)
    for path, (_, own, channel) in zip(paths, parsed, strict=True):
        column = columns[own[planes[0]] if planes else 0, channel]
        time = tuple(own[n] for n in times)
        if time in column:
            raise _NotNumbered(f"{listed_names([column[time], path])} have the same number")
        column[time] = path
    names = [PurePath(path).name for path in paths]
    numbered = [name for name in names if _parse(name)[0] == parsed[0][0]] or names
    shortest = min(numbered, key=len)

    def rename(plane: int, channel: str, time: tuple[int, ...]) -> str:
        numbers = dict(zip(times, time, strict=True)) | dict.fromkeys(planes, plane)
        return _renumbered(shortest, numbers, channel)

    return _grid(columns, where, missing, rename)


def _grid(
    columns: dict[tuple[int, str], dict[tuple[int, ...], str]],
    where: str,
    missing: str,
    rename: Callable[[int, str, tuple[int, ...]], str],
) -> FileOrder:
    planes = sorted({plane for plane, _ in columns})
    channels = sorted({channel for _, channel in columns}, key=natural_key)
    times = sorted({time for column in columns.values() for time in column})
    if missing == SKIP and len(columns) == 1:
        return FileOrder((tuple(columns[planes[0], channels[0]][time] for time in times),))
    times = _without_gaps(times)
    keys = [(plane, channel) for plane in planes for channel in channels]
    if gaps := [(*key, time) for key in keys for time in times if time not in columns.get(key, {})]:
        absent = [rename(*gap) for gap in gaps[:2]] + ["..."] * (len(gaps) > 2)
        if missing != ZERO:
            skip = "" if len(columns) > 1 else "; missing='skip' joins the files that are there"
            raise InvalidInputError(
                f"{where}: {len(gaps)} of {len(keys) * len(times)} files are missing: {', '.join(absent)}. "
                f"Complete them, or: missing='zero' reads zeros there and records these frames as lost{skip}"
            )
    return FileOrder(
        tuple(tuple(columns.get(key, {}).get(time) for time in times) for key in keys),
        channels=tuple(channels) if len(channels) > 1 else (),
        planes=len(planes),
    )


def _without_gaps(times: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the numbers of a series without gaps that includes ``times``.

    With two numbers, as in ``run_00002_00001.tif``, the second counts within the first: when the first
    number rises, the count of the second continues or starts again.
    """
    if len(times[0]) > 2:
        return times  # a date or a time of day, which does not count files
    if len(times[0]) < 2:
        return [(number,) for number in range(times[0][0], times[-1][0] + 1)] if times[0] else times
    inner: dict[int, list[int]] = defaultdict(list)
    for outer, number in times:
        inner[outer].append(number)
    lowest = min(number for _, number in times)
    whole: list[tuple[int, ...]] = []
    end = None
    for outer in range(times[0][0], times[-1][0] + 1):
        numbers = inner.get(outer, [lowest])
        start = numbers[0] if numbers[0] == end else lowest
        whole += [(outer, number) for number in range(start, numbers[-1] + 1)]
        end = numbers[-1] + 1
    if len(whole) > 2 * len(times) + _MOST_NAMES:
        raise _NotNumbered("two numbers in the names vary, and do not count files")
    return whole


def _parse(name: str) -> _Parsed:
    channel = ""
    if (match := _CHANNEL.search(name)) is not None:
        channel = match[0]
        name = f"{name[: match.start()]}\0{name[match.end() :]}"
    parts = _NUMBERS.split(name)
    return "*".join(parts[::2]), tuple(map(int, parts[1::2])), channel


def _with_first_number(parsed: list[_Parsed]) -> list[_Parsed]:
    """Add the missing number of the first file to a series that begins ``x.tif``, ``x_1.tif``."""
    patterns = sorted({pattern for pattern, _, _ in parsed}, key=len)
    if len(patterns) != 2 or len(short := [own for own in parsed if own[0] == patterns[0]]) != 1:
        return parsed
    stem, dot, suffix = patterns[0].partition(".")
    if not re.fullmatch(rf"{re.escape(stem)}[^*a-zA-Z]+\*{re.escape(dot + suffix)}", patterns[1]):
        return parsed
    first = min(numbers[-1] for pattern, numbers, _ in parsed if pattern == patterns[1]) - 1
    return [(patterns[1], (*own[1], first), own[2]) if own is short[0] else own for own in parsed]


def _words(pattern: str) -> list[str]:
    """The word before each number of a pattern."""
    before = pattern.split("*")[:-1]
    matches = [_WORD.match(text) for text in before]
    return [match[1].lower() if match else "" for match in matches]


def _renumbered(name: str, numbers: dict[int, int], channel: str) -> str:
    """Name of a missing file, made from the name of an existing one."""
    if channel and (match := _CHANNEL.search(name)) is not None:
        name = f"{name[: match.start()]}\0{name[match.end() :]}"
    parts = _NUMBERS.split(name)
    for n, number in numbers.items():
        parts[2 * n + 1] = str(number).zfill(len(parts[2 * n + 1]))
    return "".join(parts).replace("\0", channel)


def _glob_of(name: str) -> str:
    """Glob of the files that differ from one in its last number."""
    parts = _NUMBERS.split(name)
    if len(parts) > 1:
        parts[-2] = "*"
    return "".join(parts)
