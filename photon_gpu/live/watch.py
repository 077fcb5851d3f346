"""Watch a folder for TIFF files, and record each once it is complete, in the order of names."""

from __future__ import annotations

import glob
import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from numpy.typing import NDArray

from photon_gpu.encode_settings import bounded_number, location
from photon_gpu.errors import InvalidInputError, PhotonError
from photon_gpu.live.feeds import Batch, Feed, batches, open_whole, times_of
from photon_gpu.recording import Document
from photon_gpu.sources.base import Source
from photon_gpu.sources.multifile.numbering import channel_of, listed_names, natural_key
from photon_gpu.sources.open import open_in_order
from photon_gpu.sources.select.open_options import SELECTION, OpenOptions
from photon_gpu.store import source_metadata

_LOOK_SECONDS = 0.1
_OLD_SECONDS = 10.0
"""A file that changed longer ago need not be watched, since the clocks of computers differ by less."""
_MOST_TOGETHER = 512
"""Most old files that are opened as one movie, which is faster than opening each."""

_State = tuple[int, int]
"""Size of a file, and its modification time in nanoseconds."""


@dataclass(frozen=True)
class _Complete:
    """Files that are complete, and the source of their frames."""

    paths: tuple[str, ...]
    source: Source


class WatchFeed(Feed):
    """Frames of the files of a folder; the metadata of each are its file name and index in the file.

    Parameters
    ----------
    folder : path-like
    pattern : str
        Shell pattern of the file names to record.
    settle_seconds : float
        A file is complete once it opens and its size and time did not change for this long. One that did not
        change for the last ten seconds, or for this long if that is more, is complete at once.
    idle_seconds : float or None
        The feed ends if no new file arrives for this long. None: never.
    **source_options
        Options of :func:`photon_gpu.open_source`, for every file.

    Raises
    ------
    InvalidInputError
        There is no such folder, no file came in time, or the names show several channels.

    Notes
    -----
    Frames have the times that their file states, or else the time when it was written. All metadata are
    kept.

    Each file is read as :func:`photon_gpu.open_source` reads it; a single image is one frame. The files of
    an OME movie in several files are recorded together, once all exist.

    Files are recorded in the natural order of their names (``x2`` before ``x10``), so a file waits for
    files before it that exist but are not complete. A file whose name comes before that of a recorded file
    is not recorded. At the end, ``unread`` names it, and every other file that is not in the movie
    in its current state.
    """

    def __init__(
        self,
        folder: Any,
        *,
        pattern: str = "*.tif*",
        settle_seconds: float = 1.0,
        idle_seconds: float | None = None,
        **source_options: Unpack[OpenOptions],
    ) -> None:
        self.name, self._pattern = location("folder", folder), location("pattern", pattern)
        if not Path(self.name).is_dir():
            raise InvalidInputError(f"{folder} is not a folder; create it before you watch it")
        self._settle = bounded_number("settle_seconds", settle_seconds, 0, 1e9)
        self._idle = None if idle_seconds is None else bounded_number("idle_seconds", idle_seconds, 0, 1e9)
        self.unread = []
        self._options = source_options
        self._taken: dict[str, _State | None] = {}
        self._reading: tuple[str, ...] = ()
        self._last_key: list[Any] | None = None
        self._channel: str | None = None
        self._seen: dict[str, tuple[_State, float]] = {}
        self._why: dict[str, str] = {}
        self._quiet_since = time.monotonic()
        self._waiting: deque[str] = deque()
        self._list_again = 0.0
        self._one_by_one = 0  # files that do not open together
        self._first = self._next()
        if self._first is None:
            why = "".join(f"; {text}" for text in list(self._why.values())[:1])
            raise InvalidInputError(
                f"{folder}: no readable file {pattern} arrived within {idle_seconds:g} s{why}"
            )
        source = self._first.source
        channels = sorted({channel_of(path) for path in self._listing()})
        if self._channel and len(channels) > 1:
            source.close()
            raise InvalidInputError(
                f"{folder}: {pattern} matches files of {len(channels)} channels "
                f"({', '.join(channels[:10])}), whose frames would be mixed; give a pattern for "
                f"each, such as '*{self._channel}*.tif*'"
            )
        self._first_path = self._first.paths[0]
        self.frame_shape, self.dtype = source.shape[1:], source.dtype
        self.recording = source_metadata.of_source(source)
        self.axes = self.recording.axes

    def __iter__(self) -> Iterator[Batch]:
        try:
            complete, self._first = self._first, None
            while complete is not None:
                with complete.source as source:
                    self._add_words(complete)
                    if (source.shape[1:], source.dtype) != (self.frame_shape, self.dtype):
                        self.unread.append(
                            f"{listed_names(complete.paths)} holds frames {source.shape[1:]} {source.dtype}, "
                            f"not {self.frame_shape} {self.dtype}"
                        )
                    else:
                        yield from self._batches(complete)
                complete = self._next()
        finally:  # also where a recording is interrupted
            self._name_unread()

    def _add_words(self, complete: _Complete) -> None:
        """Add the metadata of all files except the first, whose metadata began the recording."""
        path = complete.paths[0]
        if path == self._first_path:
            return
        own = source_metadata.of_source(complete.source)
        name = os.path.basename(path)  # noqa: PTH119 - thousands of files
        documents = tuple(
            Document(name=f"{name}/{one.name}", media_type=one.media_type, data=one.data)
            for one in own.documents
        )
        self.recording = source_metadata.fitting(
            self.recording.replace(documents=(*self.recording.documents, *documents))
        )

    def _batches(self, complete: _Complete) -> Iterator[Batch]:
        source = complete.source
        self._reading = complete.paths
        written: dict[str, float] = {}
        recording = source_metadata.of_source(source)
        for start, stop in batches(source):
            for first, frames in self._read(complete, start, stop):
                end = first + len(frames)
                origins = source.origins(first, end)
                if origins is None:
                    origins = [(complete.paths[0], page) for page in range(first, end)]
                for name, _ in origins:
                    if name not in written:
                        written[name] = os.stat(name).st_mtime  # noqa: PTH116 - thousands of files
                yield Batch(
                    frames,
                    times_of(recording, first, end) or [written[name] for name, _ in origins],
                    [{"file": os.path.basename(name), "page": page} for name, page in origins],  # noqa: PTH119
                )
        if source.truncation is not None:
            self.unread.append(f"{os.path.basename(source.truncation.path)}: {source.truncation}")  # noqa: PTH119
        self._reading = ()

    def _read(self, complete: _Complete, start: int, stop: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Read frames. In many files together, each frame that does not decode is reported and left out."""
        source = complete.source
        try:
            yield start, source.read(start, stop)
        except PhotonError:
            if len(complete.paths) == 1:
                raise
            for frame in range(start, stop):
                try:
                    frames = source.read(frame, frame + 1)
                except PhotonError as error:
                    self.unread.append(str(error))
                else:
                    yield frame, frames

    def _name_unread(self) -> None:
        """Report the files of the folder that are not, or not completely, in the movie."""
        if self._reading:
            names = listed_names(self._reading)
            verb = "was" if len(self._reading) == 1 else "were"
            self.unread.append(f"{names} {verb} being read when the recording ended")
        for path in self._listing():
            name = os.path.basename(path)  # noqa: PTH119 - thousands of files
            if path not in self._taken:
                why = self._why.get(path)
                self.unread.append(
                    f"{name} never became complete: {why}" if why else f"{name} waited for files before it"
                )
            elif (state := self._taken[path]) is not None and _state(path) != state:
                self.unread.append(
                    f"{name} changed after it was recorded: the later changes are not in the movie"
                )

    def _listing(self) -> list[str]:
        """Paths of the folder's files, in the natural order of their names."""
        return sorted(glob.glob(os.path.join(glob.escape(self.name), self._pattern)), key=natural_key)  # noqa: PTH118, PTH207

    def _next(self) -> _Complete | None:
        """Return the next complete file, or old files together; None if none came in time."""
        while True:
            began = time.monotonic()
            if began >= self._list_again:
                self._waiting = deque(path for path in self._listing() if path not in self._taken)
                # Listing tens of thousands of files takes longer than reading a few of them.
                self._list_again = time.monotonic() + 10 * (time.monotonic() - began)
            while self._waiting:
                path = self._waiting[0]
                if refused := self._refused(path):
                    self._taken[path] = None
                    self.unread.append(refused)
                    self._waiting.popleft()
                    continue
                complete = self._complete(path)
                if complete is None:
                    break
                for part in (*complete.paths, *self._parts(complete.source)):
                    self._taken[part] = _state(part)
                self._waiting = deque(path for path in self._waiting if path not in self._taken)
                self._last_key = natural_key(complete.paths[-1])
                described = len(self._parts(complete.source)) > len(complete.paths)  # by OME metadata
                self._channel = None if described else channel_of(path)
                self._quiet_since = time.monotonic()
                return complete
            if self._idle is not None and time.monotonic() - self._quiet_since > self._idle:
                return None
            self._list_again = 0.0
            time.sleep(_LOOK_SECONDS)

    def _refused(self, path: str) -> str:
        """Why a file can never be recorded; empty if it can."""
        name = os.path.basename(path)  # noqa: PTH119 - thousands of files
        if self._last_key is not None and natural_key(path) < self._last_key:
            return f"{name} came after files that follow it by name"
        if self._channel and channel_of(path) != self._channel:
            return f"{name} is of another channel than {self._channel}; watch each by a pattern of its own"
        return ""

    def _complete(self, path: str) -> _Complete | None:
        if not self._settled(path):
            return None
        together = self._old_files_from(path)
        if len(together) > 1:
            try:
                return _Complete(together, open_in_order(together, **self._options))
            except (PhotonError, OSError):
                self._one_by_one = len(together)
        self._one_by_one = max(self._one_by_one - 1, 0)
        try:
            source = open_whole(path, **self._options)
            source.read(source.shape[0] - 1, source.shape[0])
        except (PhotonError, OSError) as error:
            self._why[path] = str(error)
            return None
        if source.lost:
            source.close()
            self._why[path] = "frames of it are missing, and a recording cannot note that; encode it"
            return None
        settled = [
            self._settled(part) for part in self._parts(source)
        ]  # all of them, so that each begins to wait
        if not all(settled):
            source.close()
            return None
        self._why.pop(path, None)
        return _Complete((path,), source)

    def _old_files_from(self, path: str) -> tuple[str, ...]:
        """A file and the files after it, as far as they are old and can be opened together."""
        alone = self._one_by_one or any(
            name in self._options for name in (*SELECTION, "missing", "truncated")
        )
        together: list[str] = []
        for other in self._waiting:
            state = _state(other)
            if len(together) == _MOST_TOGETHER or state is None or not self._is_old(state):
                break
            if channel_of(other) != channel_of(path) or (alone and together):
                break
            together.append(other)
        return tuple(together)

    def _is_old(self, state: _State) -> bool:
        return bool(state[0]) and time.time() - state[1] / 1e9 > max(self._settle, _OLD_SECONDS)

    def _settled(self, path: str) -> bool:
        """Whether a file exists, is not empty, and has not changed for long enough."""
        now, state = time.monotonic(), _state(path)
        if state is None:
            return False
        if path not in self._seen or self._seen[path][0] != state:
            self._seen[path] = (state, now)
            self._quiet_since = now
        if self._is_old(state):
            return True
        if now - self._seen[path][1] < self._settle or not state[0]:
            self._why.setdefault(path, "it is empty" if not state[0] else "it still changes")
            return False
        return True

    def _parts(self, source: Source) -> list[str]:
        """Return the files of the folder that a source reads, so that each is recorded once."""
        here = os.path.realpath(self.name)
        names = [os.path.realpath(name) for name in getattr(source, "files", ())]
        return [
            os.path.join(self.name, os.path.basename(name))  # noqa: PTH118, PTH119 - thousands of files
            for name in names
            if os.path.dirname(name) == here  # noqa: PTH120
        ]


def _state(path: str) -> _State | None:
    try:
        now = os.stat(path)  # noqa: PTH116 - thousands of files
    except FileNotFoundError:
        return None
    return now.st_size, now.st_mtime_ns
