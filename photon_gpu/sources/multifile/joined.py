"""Source of a movie in several files of one type, which follow one another in time."""

from __future__ import annotations

import bisect
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError
from photon_gpu.progress_bar import Progress
from photon_gpu.recording import Recording
from photon_gpu.sources.base import Source

_MOST_OPEN = 16


def join_recordings(paths: Sequence[str], recordings: Sequence[Recording]) -> Recording:
    """Join the metadata of consecutive files: the fields in which all agree, all times, all documents.

    Documents of the first file keep their names. If a document of another file differs from them, the name
    of that file is added to its name.

    Examples
    --------
    >>> parts = [Recording(axes="tyx", timestamps=[0.0, 0.1]), Recording(axes="tyx", timestamps=[0.2])]
    >>> joined = join_recordings(["a_1.h5", "a_2.h5"], parts)
    >>> joined.axes, joined.timestamps.tolist()
    ('tyx', [0.0, 0.1, 0.2])
    """
    first = recordings[0]
    first_documents = {document.name: document.data for document in first.documents}
    documents = list(first.documents)
    names = set(first_documents)
    for number, (path, recording) in enumerate(zip(paths, recordings, strict=True)):
        for document in recording.documents if number else ():
            if first_documents.get(document.name) != document.data:
                name = f"{PurePath(path).name}/{document.name}"
                if name in names:  # files of two folders may have one name
                    name = f"{number}/{name}"
                names.add(name)
                documents.append(replace(document, name=name))
    fields = {
        name: getattr(first, name)
        for name in ("axes", "channel_names", "pixel_size", "frame_rate", "rois")
        if all(getattr(recording, name) == getattr(first, name) for recording in recordings)
    }
    times = [recording.timestamps for recording in recordings if recording.timestamps is not None]
    return Recording(
        **fields,
        timestamps=np.concatenate(times) if len(times) == len(recordings) else None,
        documents=tuple(documents),
        not_kept=tuple(dict.fromkeys(text for recording in recordings for text in recording.not_kept)),
    )


class JoinedSource(Source):
    """Frames of several sources, one after another.

    Parameters
    ----------
    paths : sequence of str
    open_one : callable
        ``open_one(path)`` returns the source of a file. At most 16 are open at a time.
    where : str
        Name in messages.
    progress : callable, optional
        ``progress(files_opened, files_in_all)``.

    Raises
    ------
    InvalidInputError
        The frames of a file have another shape or dtype.
    """

    def __init__(
        self,
        paths: Sequence[str],
        open_one: Callable[[str], Source],
        where: str,
        *,
        progress: Progress | None = None,
    ) -> None:
        self.name, self.files = where, tuple(paths)
        self._open_one = open_one
        self._opened: OrderedDict[int, Source] = OrderedDict()
        self._lock = threading.RLock()
        self._closed = False
        lengths: list[int] = []
        lost: list[tuple[int, int]] = []
        recordings: list[Recording] = []
        try:
            for number, path in enumerate(paths):
                part = self._part(number)
                recordings.append(part.recording.fitted(part.shape))
                if number == 0:
                    frame, self.dtype = part.shape[1:], part.dtype
                elif (part.shape[1:], part.dtype) != (frame, self.dtype):
                    raise InvalidInputError(
                        f"{path}: its frames are {part.dtype} {part.shape[1:]}, and {self.dtype} {frame} in "
                        f"{PurePath(paths[0]).name}; all frames of a movie must be alike"
                    )
                if part.truncation is not None and number < len(paths) - 1:
                    raise InvalidInputError(
                        f"{path}: the file is truncated, and files follow it; leave it out"
                    )
                start = sum(lengths)
                lost += [(start + first, start + end) for first, end in part.lost]
                lengths.append(part.shape[0])
                self.truncation = part.truncation
                if progress is not None:
                    progress(number + 1, len(paths))
        except BaseException:
            self.close()
            raise
        self._starts = [0, *itertools.accumulate(lengths)]
        self.shape, self.lost = (self._starts[-1], *frame), tuple(lost)
        self.recording = join_recordings(paths, recordings)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop`` from the files that hold them."""
        self._check_frames(start, stop)
        first = bisect.bisect_right(self._starts, start) - 1
        last = bisect.bisect_left(self._starts, stop)
        frames = [
            self._read_part(number, max(start - begin, 0), min(stop, end) - begin)
            for number, (begin, end) in enumerate(itertools.pairwise(self._starts))
            if first <= number < last
        ]
        return frames[0] if len(frames) == 1 else np.concatenate(frames)

    def origins(self, start: int, stop: int) -> list[tuple[str, int]]:
        """File of each frame of ``start:stop``, and the frame's number in that file."""
        numbers = [bisect.bisect_right(self._starts, frame) - 1 for frame in range(start, stop)]
        return [
            (self.files[number], frame - self._starts[number])
            for frame, number in zip(range(start, stop), numbers, strict=True)
        ]

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            self._closed = True
            while self._opened:
                self._opened.popitem()[1].close()

    def _read_part(self, number: int, start: int, stop: int) -> NDArray[Any]:
        # Never close a file that another thread is reading.
        with self._lock:
            if self._closed:
                raise InvalidInputError(f"{self.name}: the source is closed; open it again")
            return self._part(number).read(start, stop)

    def _part(self, number: int) -> Source:
        with self._lock:
            if number not in self._opened:
                self._opened[number] = self._open_one(self.files[number])
                if len(self._opened) > _MOST_OPEN:
                    self._opened.popitem(last=False)[1].close()
            self._opened.move_to_end(number)
            return self._opened[number]
