"""Names of axes: read them from the words of files, and compute the order that a movie needs."""

from __future__ import annotations

from collections.abc import Iterable

from photon_gpu.errors import InvalidInputError
from photon_gpu.recording import AXES

_WORDS = {
    "t": ("t", "time", "times", "timepoint", "timepoints", "frame", "frames"),
    "c": ("c", "ch", "channel", "channels"),
    "z": ("z", "plane", "planes", "slice", "slices", "depth"),
    "y": ("y", "row", "rows", "height"),
    "x": ("x", "col", "cols", "column", "columns", "width"),
    "s": ("s", "strip", "strips", "roi", "rois"),
    "p": ("p", "pos", "position", "positions"),
}
_LETTERS = {word: letter for letter, words in _WORDS.items() for word in words}


def letters(words: Iterable[object]) -> str | None:
    """Axis letters of dimensions that a file names by words; None if a word is unknown or repeated.

    Examples
    --------
    >>> letters(["time", "Channel", "y", "x"]), letters(["y", "x", ""]), letters(["t", "t", "y", "x"])
    ('tcyx', None, None)
    """
    result = [_LETTERS.get(str(word).strip().lower()) for word in words]
    axes = "".join(letter or "?" for letter in result)
    whole = "?" not in axes and len(set(axes)) == len(axes) and {"y", "x"} <= set(axes)
    return axes if whole and len(axes) > 2 else None


def frame_axis(axes: str) -> int:
    """Index of the axis of frames: time, else planes, else the first that is not channels.

    Examples
    --------
    >>> frame_axis("zctyx"), frame_axis("cpzyx"), frame_axis("cyx"), frame_axis("yxt")
    (2, 2, 0, 2)
    """
    for letter in "tzpsc":
        if letter in axes:
            return axes.index(letter)
    raise InvalidInputError(
        f"axes {axes!r} have only rows and columns; a movie also has t, z or another axis"
    )


def movie_order(axes: str) -> tuple[int, ...]:
    """Order of dimensions for a movie: frames first, rows and columns last, the others unchanged.

    Examples
    --------
    >>> movie_order("tczyx"), movie_order("yxt"), movie_order("tyxc")
    ((0, 1, 2, 3, 4), (2, 0, 1), (0, 3, 1, 2))
    """
    first, last = frame_axis(axes), (axes.index("y"), axes.index("x"))
    others = [number for number in range(len(axes)) if number != first and number not in last]
    return (first, *others, *last)


def check_letters(axes: object, dimensions: int, name: str) -> str:
    """Return ``axes`` in lower case; refuse axes that do not name each dimension once, y and x included."""
    text = axes.lower() if isinstance(axes, str) else ""
    if (
        len(text) != dimensions
        or set(text) - set(AXES)
        or len(set(text)) < len(text)
        or not {"y", "x"} <= set(text)
    ):
        raise InvalidInputError(
            f"{name[-60:]}: axes is {str(axes)[:40]!r}; {dimensions} different letters of {', '.join(AXES)} "
            "are needed, one per dimension as it is stored, y and x among them"
        )
    return text
