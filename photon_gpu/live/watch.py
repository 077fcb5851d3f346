"""Watch a folder for TIFF files, and record each once it is complete, in the order of names."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Unpack

from photon_gpu.errors import InvalidInputError, PhotonError
from photon_gpu.live.feeds import Batch, Feed, batches, open_whole, times_of
from photon_gpu.recording import Document
from photon_gpu.sources.base import Source
from photon_gpu.sources.select.options import OpenOptions
from photon_gpu.store import source_metadata

_LOOK_SECONDS = 0.1

_State = tuple[int, int]
"""Size of a file, and its modification time in nanoseconds."""


class WatchFeed(Feed):
    """Frames of the files of a folder; the metadata of each are its file name and index in the file.

    Parameters
    ----------
    folder : path-like
    pattern : str
        Names to take, as of a shell.
    settle_seconds : float
        A file is complete once its size and time did not change for so long, and it opens.
    idle_seconds : float or None
        Without a new file for so long, the feed ends. None: never.
    **source_options
        Of :func:`photon_gpu.open_source`, for every file.

    Notes
    -----
    Frames have the times that their file says, or else the time when it was written. Words of all files are
    kept.

    Each file is read as :func:`photon_gpu.open_source` reads it; a single image is one frame. The files of
    an OME movie of several are taken together, once all are there.

    Files are taken in the natural order of their names (``x2`` before ``x10``), so a file waits for
    those before it that are there but not complete. One whose name comes before a file that was
    taken already is not taken. ``unread`` names it at the end, and every other file that is not in the movie
    as it then is.
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
        self._folder = Path(folder)
        if not self._folder.is_dir():
            raise InvalidInputError(f"{folder} is no folder; make it before it is watched")
        self.name, self._pattern = str(folder), pattern
        self._settle, self._idle = settle_seconds, idle_seconds
        self.unread = []
        self._options = source_options
        self._taken: dict[Path, _State | None] = {}
        self._reading: Path | None = None
        self._last: list[Any] | None = None
        self._seen: dict[Path, tuple[_State, float]] = {}
        self._why: dict[Path, str] = {}
        self._quiet_since = time.monotonic()
        self._first = self._next()
        if self._first is None:
            raise InvalidInputError(f"{folder}: no file {pattern} that opens came within {idle_seconds:g} s")
        self._first_path = self._first[0]
        self.frame_shape, self.dtype = self._first[1].shape[1:], self._first[1].dtype
        self.recording = source_metadata.of_source(self._first[1])
        self.axes = self.recording.axes

    def __iter__(self) -> Iterator[Batch]:
        try:
            first, self._first = self._first, None
            while first is not None:
                path, source = first
                with source:
                    self._add_words(path, source)
                    if (source.shape[1:], source.dtype) != (self.frame_shape, self.dtype):
                        self.unread.append(
                            f"{path.name} holds frames {source.shape[1:]} {source.dtype}, "
                            f"not {self.frame_shape} {self.dtype}"
                        )
                    else:
                        yield from self._batches(path, source)
                first = self._next()
        finally:  # also where a recording is interrupted
            self._name_unread()

    def _add_words(self, path: Path, source: Source) -> None:
        """Add what a file says, but for the first, which began the recording."""
        if path == self._first_path:
            return
        own = source_metadata.of_source(source)
        documents = tuple(
            Document(name=f"{path.name}/{one.name}", media_type=one.media_type, data=one.data)
            for one in own.documents
        )
        self.recording = source_metadata.fitting(
            self.recording.replace(documents=(*self.recording.documents, *documents))
        )

    def _batches(self, path: Path, source: Source) -> Iterator[Batch]:
        written = path.stat().st_mtime
        self._reading = path
        recording = source_metadata.of_source(source)
        for start, stop in batches(source):
            metadata = [{"file": path.name, "page": page} for page in range(start, stop)]
            times = times_of(recording, start, stop) or [written] * (stop - start)
            yield Batch(source.read(start, stop), times, metadata)
        self._reading = None

    def _name_unread(self) -> None:
        """Return the files of the folder that are not, or not completely, in the movie."""
        if self._reading is not None:
            self.unread.append(f"{self._reading.name} was being read when the recording ended")
        for path in sorted(self._folder.glob(self._pattern), key=_natural):
            if path not in self._taken:
                why = self._why.get(path)
                self.unread.append(
                    f"{path.name} never became complete: {why}"
                    if why
                    else f"{path.name} waited for files before it"
                )
            elif (state := self._taken[path]) is not None and _state(path) != state:
                self.unread.append(
                    f"{path.name} changed after it was taken: what came later is not in the movie"
                )

    def _next(self) -> tuple[Path, Source] | None:
        """Return the next complete file; None if none came in time."""
        while True:
            for path in sorted(self._folder.glob(self._pattern), key=_natural):
                if path in self._taken:
                    continue
                if self._last is not None and _natural(path) < self._last:
                    self._taken[path] = None
                    self.unread.append(f"{path.name} came after files that follow it by name")
                    continue
                source = self._complete(path)
                if source is None:
                    break
                for part in (path, *self._parts(source)):
                    self._taken[part] = _state(part)
                self._last = _natural(path)
                self._quiet_since = time.monotonic()
                return path, source
            if self._idle is not None and time.monotonic() - self._quiet_since > self._idle:
                return None
            time.sleep(_LOOK_SECONDS)

    def _complete(self, path: Path) -> Source | None:
        if not self._settled(path):
            return None
        try:
            source = open_whole(path, **self._options)
            source.read(source.shape[0] - 1, source.shape[0])
        except (PhotonError, OSError) as error:
            self._why[path] = str(error)
            return None
        settled = [
            self._settled(part) for part in self._parts(source)
        ]  # all of them, so that each begins to wait
        if not all(settled):
            source.close()
            return None
        self._why.pop(path, None)
        return source

    def _settled(self, path: Path) -> bool:
        """Whether a file exists, is not empty, and has not changed for long enough."""
        now, state = time.monotonic(), _state(path)
        if state is None:
            return False
        if path not in self._seen or self._seen[path][0] != state:
            self._seen[path] = (state, now)
            self._quiet_since = now
        if now - self._seen[path][1] < self._settle or not state[0]:
            self._why.setdefault(path, "it is empty" if not state[0] else "it still changes")
            return False
        return True

    def _parts(self, source: Source) -> list[Path]:
        """Return the files of the folder that a source reads, so that each is recorded once."""
        parts = [Path(name) for name in getattr(source, "files", ())]
        here = self._folder.resolve()
        return [self._folder / part.name for part in parts if part.resolve().parent == here]


def _state(path: Path) -> _State | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


def _natural(path: Path) -> list[Any]:
    """Return a sort key that compares numbers in names as numbers."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part)
        for part in re.split(r"(\d+)", path.name)
        if part
    ]
