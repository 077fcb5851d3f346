"""Handle a source file that was cut off: raise an error, or keep its whole frames and record the loss."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from photon_gpu.errors import CorruptDataError, InvalidInputError

ERROR, KEEP = "error", "keep"

KEY = "source_truncated"
"""Key in ``.zattrs`` of :meth:`Truncation.to_dict`. FORMAT.md, ".zattrs"."""

_LONGEST = 120  # characters of the longest path in a message
_QUIET_SECONDS = 10.0
"""A program may still be writing a file that changed less than this long ago."""


@dataclass(frozen=True)
class Truncation:
    """Description of a truncated source: its whole frames, and what it lacks.

    Attributes
    ----------
    path : str
        File that was cut off.
    frames : int
        Number of whole frames, which are the movie.
    promised : int or None
        Number of frames that the file promises; None if it does not say.
    detail : str
        What is missing.
    """

    path: str
    frames: int
    promised: int | None
    detail: str
    _size: int = field(default=-1, compare=False)

    def __str__(self) -> str:
        return str(truncation_note({KEY: self.to_dict()}))

    def to_dict(self) -> dict[str, Any]:
        """JSON for ``.zattrs``, with the name of the file without its folder."""
        return {
            "file": os.path.basename(self.path),  # noqa: PTH119 - the path of a file on any system
            "frames": self.frames,
            "promised": self.promised,
            "detail": self.detail,
        }

    def refuse_growth(self) -> None:
        """Raise CorruptDataError if the size of the file changed after it was opened."""
        if os.stat(self.path).st_size != self._size:  # noqa: PTH116 - as above
            raise CorruptDataError(
                f"{self.path}: the file was read as truncated, and has grown since: wait until it is complete"
            )


def with_truncation(attributes: dict[str, Any] | None, truncation: Truncation | None) -> dict[str, Any]:
    """Add the truncation of a movie's source to its attributes."""
    return {**(attributes or {}), **({KEY: truncation.to_dict()} if truncation is not None else {})}


def truncation_note(attributes: Mapping[str, Any]) -> str | None:
    """Sentence on the truncated source of a stored movie, for reports; None if the source was whole.

    The attributes come from a store, so their values may be anything.

    Examples
    --------
    >>> truncation_note({"source_truncated": {"frames": 59, "promised": 60, "detail": "page 118 is missing"}})
    'the source was truncated: 59 of 60 frames are whole and were kept (page 118 is missing)'
    >>> truncation_note({})
    """
    facts = attributes.get(KEY)
    if not isinstance(facts, Mapping):
        return None if facts is None else f"{KEY} is {str(facts)[:80]}"
    frames, promised = (facts.get(name) for name in ("frames", "promised"))
    of = f" of {promised}" if isinstance(promised, int) else ""
    detail = str(facts.get("detail"))[:300]
    return f"the source was truncated: {frames}{of} frames are whole and were kept ({detail})"


def check_truncated(truncated: Any) -> str:
    """Return the mode; raise InvalidInputError if there is no such mode."""
    if truncated not in (ERROR, KEEP):
        raise InvalidInputError(f"truncated is {truncated!r}; allowed are 'error', 'keep'")
    return str(truncated)


def keep_whole_frames(
    path: str, problem: str, frames: int, promised: int | None, truncated: str, *, other: str = ""
) -> Truncation:
    """Record that a file was cut off, or refuse it.

    Parameters
    ----------
    path : str
        File that is cut off.
    problem : str
        Description of the missing part, such as ``"page 7 lies beyond the end of the file"``.
    frames : int
        Number of whole frames before the cut.
    promised : int or None
        Number of frames that should be there, if known.
    truncated : {"error", "keep"}
    other : str
        Another remedy, for the message.

    Raises
    ------
    CorruptDataError
        ``truncated`` is ``"error"``, or no frame is whole, or another program may still write the file.
    """
    if truncated != KEEP or not frames:
        refuse(path, problem, frames, other)
    if writing := being_written(path):
        raise CorruptDataError(
            f"{path}: the file is not whole ({problem}), but {writing}: wait until it is complete. Only "
            "files that no program writes are kept as truncated"
        )
    return Truncation(path, frames, promised, problem, os.stat(path).st_size)  # noqa: PTH116


def refuse(path: str, problem: str, frames: int, other: str = "") -> NoReturn:
    """Raise the error for a truncated file, with the remedies."""
    ways = []
    if frames:
        ways.append(f"truncated='keep' stores these {frames}")
    ways += [other] if other else []
    writing = being_written(path)
    first = f"{writing[:1].upper()}{writing[1:]}: wait" if writing else "Copy it again"
    name = path if len(path) <= _LONGEST else f"...{path[-_LONGEST:]}"
    raise CorruptDataError(
        f"{name}: truncated after {frames} whole frame{'s' * (frames != 1)}: {problem}. "
        f"{first}{', or: ' if ways else ''}{'; '.join(ways)}"
    )


def being_written(path: str) -> str:
    """Why another process may still be writing a file; empty if nothing suggests it."""
    age = time.time() - os.stat(path).st_mtime  # noqa: PTH116 - the path of a file on any system
    if 0 <= age < _QUIET_SECONDS:
        return f"it changed {age:.0f} s ago"
    return "another program has it open for writing" if _open_for_writing(path) else ""


def _open_for_writing(path: str) -> bool:
    """Whether a process has a file open for writing; False where the system cannot tell.

    Linux grants a read lease only on a file that nobody has open for writing.
    """
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        # Breaking the lease sends a signal to this process, which would end it unless it ignores the signal.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:  # not the owner, or a file system without leases
        return False
    else:
        with contextlib.suppress(OSError):
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    finally:
        os.close(file)
