"""Handle missing frames of a source: raise an error, or read zeros and record the frames as lost."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonWarning
from photon_gpu.sources.base import Source

ERROR, ZERO, FILL = "error", "zero", "fill"

Spans = tuple[tuple[int, int], ...]
"""Ranges ``(first, end)`` of frames."""


def check_missing(missing: Any, allowed: tuple[str, ...] = (ERROR, ZERO)) -> str:
    """Return the mode; raise InvalidInputError if this type of source does not allow it."""
    if missing not in allowed:
        raise InvalidInputError(f"missing is {missing!r}; allowed here are {', '.join(map(repr, allowed))}")
    return str(missing)


def settle(name: str, problem: str, frames: NDArray[Any], missing: str, *, fill: bool = False) -> Spans:
    """Refuse a source with missing frames, or return the ranges to record as lost.

    Parameters
    ----------
    name : str
        Name of the source in messages.
    problem : str
        Description of the missing data, such as ``"3 of 8 pages were never written"``.
    frames : ndarray of bool
        Whether each frame lacks data.
    missing : {"error", "zero"}
        ``"zero"``: missing data reads as zeros, and its frames are lost.
    fill : bool
        Whether the message offers ``"fill"``, which suits writers that leave out empty chunks on purpose.

    Raises
    ------
    CorruptDataError
        Frames lack data, and ``missing`` is ``"error"``.

    Warns
    -----
    PhotonWarning
        Frames lack data, and ``missing`` is ``"zero"``.

    Examples
    --------
    >>> settle("x.tif", "2 pages are missing", np.array([False, False]), "error")
    ()
    """
    lost = spans(frames)
    if not lost:
        return ()
    if missing == ZERO:
        warnings.warn(f"{name}: {lost_note(lost)} ({problem})", PhotonWarning, stacklevel=5)
        return lost
    ways = "missing='zero' reads zeros there and records these frames as lost"
    if fill:
        ways += "; missing='fill' if the writer left out empty chunks on purpose"
    raise CorruptDataError(f"{name}: {problem} ({listed(lost)}). Complete the file, or allow it: {ways}")


def spans(frames: NDArray[Any]) -> Spans:
    """Ranges of marked frames.

    Examples
    --------
    >>> spans(np.array([True, True, False, True]))
    ((0, 2), (3, 4))
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([False], frames, [False])).astype(np.int8)))
    return tuple((int(first), int(end)) for first, end in edges.reshape(-1, 2))


def lost_note(lost: Spans) -> str | None:
    """Sentence on the lost frames for reports; None if none are lost.

    Examples
    --------
    >>> lost_note(((3, 5), (9, 10)))
    'the source lacks frames 3 to 4, 9, wholly or in part: zeros (or fill values) stand there; recorded as
    lost'
    """
    if not lost:
        return None
    return (
        f"the source lacks {listed(lost)}, wholly or in part: zeros (or fill values) stand there; "
        f"recorded as lost"
    )


def with_lost(attributes: dict[str, Any] | None, lost: Spans) -> dict[str, Any] | None:
    """Attributes of a movie with the lost frames added (FORMAT.md, ``lost_frames``)."""
    return {**(attributes or {}), "lost_frames": [list(span) for span in lost]} if lost else attributes


def present_frames(frames: int, lost: Spans) -> NDArray[np.int64]:
    """Return the numbers of the frames that are not lost.

    Examples
    --------
    >>> present_frames(6, ((1, 3), (5, 9))).tolist()
    [0, 3, 4]
    """
    present = np.ones(frames, bool)
    for first, end in lost:
        present[first:end] = False
    return np.flatnonzero(present)


def without_lost(source: Source) -> Source:
    """Source without its lost frames, whose zeros would mislead a noise estimate."""
    return Present(source) if source.lost and sum(b - a for a, b in source.lost) < source.shape[0] else source


class Present(Source):
    """A source without its lost frames.

    Parameters
    ----------
    source : Source
        The source, which the caller closes.
    """

    def __init__(self, source: Source) -> None:
        self._source, self._frames = source, present_frames(source.shape[0], source.lost)
        self.name, self.dtype, self.device = source.name, source.dtype, source.device
        self.shape = (len(self._frames), *source.shape[1:])
        self.recording = source.recording.replace(timestamps=None)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop``, counted without the lost ones."""
        self._check_frames(start, stop)
        numbers = self._frames[start:stop]
        runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
        parts = [self._source.read(int(run[0]), int(run[-1]) + 1) for run in runs]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def within(lost: Spans, first: int, end: int) -> Spans:
    """Return the parts of ranges that lie in ``first:end``.

    >>> within(((3, 5), (9, 30)), 4, 20)
    ((4, 5), (9, 20))
    """
    parts = ((max(begin, first), min(stop, end)) for begin, stop in lost)
    return tuple((begin, stop) for begin, stop in parts if begin < stop)


def listed(lost: Spans) -> str:
    """Ranges of frames as text; after five, only count the rest."""
    shown = [f"{first}" if end == first + 1 else f"{first} to {end - 1}" for first, end in lost[:5]]
    more = f" and {len(lost) - 5} more ranges" if len(lost) > 5 else ""
    return f"frames {', '.join(shown)}{more}"
