"""Source that selects frames, channels or planes of another source, and names its axes."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError
from photon_gpu.recording import Recording, channel_label, read_times
from photon_gpu.sources.base import PageSelection, Source
from photon_gpu.sources.check import check_movie
from photon_gpu.sources.select.axes import check_letters, movie_order
from photon_gpu.sources.select.open_options import SelectionOptions

_WORDS = {"c": "channel", "z": "plane", "p": "position"}


def selected(source: Source, *, owned: bool = True, **selection: Unpack[SelectionOptions]) -> Source:
    """Name the axes of a source, and choose its frames, channels and planes.

    Parameters
    ----------
    source : Source
    owned : bool
        Whether the result closes the source.
    **selection
        See :class:`~photon_gpu.sources.select.open_options.SelectionOptions`.

    Returns
    -------
    Source
        The source itself if nothing is selected.

    Raises
    ------
    InvalidInputError
        The source has no such channel, plane or frame, or frames do not divide into channels and planes.

    Examples
    --------
    >>> from photon_gpu.sources.array import ArraySource
    >>> movie = ArraySource(np.arange(24, dtype="uint16").reshape(6, 2, 2))
    >>> apart = selected(movie, channels=2)
    >>> apart.shape, apart.recording.axes, selected(apart, channel=1).read(0, 2)[:, 0, 0].tolist()
    ((3, 2, 2, 2), 'tcyx', [4, 12])
    """
    chosen: dict[str, Any] = {name: value for name, value in selection.items() if value is not None}
    times = chosen.pop("timestamps", None)
    if (axes := chosen.pop("axes", source.stored_axes)) is not None:
        source = _named(source, axes, owned)
        owned = True
    if chosen:
        source, owned = Selected(source, owned=owned, **chosen), True
    return source if times is None else _timed(source, times, owned)


def _timed(source: Source, times: Any, owned: bool) -> Source:
    recording = source.recording.replace(timestamps=read_times(times))
    recording.check_shape(source.shape, source.name)
    if not owned:  # the metadata of the caller's source stay unchanged
        return Selected(source, owned=False, recording=recording)
    source.recording = recording
    return source


def _named(source: Source, axes: Any, owned: bool) -> Source:
    stored = check_letters(axes, len(source.shape), source.name)
    order = movie_order(stored)
    arranged = source if order == tuple(range(len(order))) else source.arranged(order)
    letters = "".join(stored[number] for number in order)
    whole = (slice(None),) * len(order)
    pages = PageSelection(shape=source.shape, order=order, index=whole, axes=letters)
    recording = source.describe_pages(source.recording, pages).replace(axes=letters)
    if not owned:  # the metadata of the caller's source stay unchanged
        return Selected(arranged, owned=False, recording=recording)
    arranged.recording = recording
    return arranged


def channel_axis(source: Source) -> int | None:
    """Index of the axis of channels; None for a single channel, or if the channels are the frames."""
    axes = source.recording.axes
    axis = axes.find("c") if axes is not None and len(axes) == len(source.shape) else 0
    return axis if axis > 0 and source.shape[axis] > 1 else None


def by_channel(source: Source) -> list[Source]:
    """Return a source for each channel of a movie, or the movie itself if its axes name no channels.

    The caller still closes the movie.

    Examples
    --------
    >>> from photon_gpu.sources.array import ArraySource
    >>> movie = ArraySource(np.zeros((6, 2, 2), "uint16"))
    >>> [part.shape for part in by_channel(selected(movie, channels=2))]
    [(3, 2, 2), (3, 2, 2)]
    """
    axis = channel_axis(source)
    return [source] if axis is None else by_axis(source, axis)


def by_axis(source: Source, axis: int) -> list[Source]:
    """Return a source for each index along the axis of channels, which need not be named."""
    letters = source.recording.axes
    if letters is None or letters[axis] != "c":
        unnamed = iter("zsp")
        letters = "".join(
            "c"
            if number == axis
            else "yx"[number - len(source.shape)]
            if number >= len(source.shape) - 2
            else "t"
            if number == 0
            else next(unnamed)
            for number in range(len(source.shape))
        )
    whole = Selected(source, owned=False, recording=source.recording.replace(axes=letters))
    names = source.recording.channel_names
    parts: list[Source] = []
    for number in range(source.shape[axis]):
        part = Selected(whole, owned=False, channel=number)
        part.name = f"{source.name}, {channel_label(number, names)}"
        parts.append(part)
    return parts


class Selected(Source):
    """Frames, channels and planes of another source.

    Parameters
    ----------
    source : Source
    owned : bool
        Whether :meth:`close` closes the source.
    channels, planes, channel, plane, position, frames
        See :class:`~photon_gpu.sources.select.open_options.SelectionOptions`.
    recording : Recording, optional
        Default: that of the source.
    """

    def __init__(
        self,
        source: Source,
        *,
        owned: bool = True,
        channels: Any = None,
        planes: Any = None,
        channel: Any = None,
        plane: Any = None,
        position: Any = None,
        frames: Any = None,
        recording: Recording | None = None,
    ) -> None:
        self._source, self._owned = source, owned
        self.name, self.device = source.name, source.device
        described = source.recording if recording is None else recording
        axes = described.axes or ("tyx" if len(source.shape) == 3 else None)
        split = self._split(axes, {"z": planes, "c": channels})
        self._per_frame = math.prod(split.values())
        self._whole = (source.shape[0] // self._per_frame, *split.values(), *source.shape[1:])
        if axes is not None:
            axes = axes[0] + "".join(split) + axes[1:]
        picks = {"c": channel, "z": plane, "p": position}
        index = {
            letter: self._index(letter, pick, axes, described)
            for letter, pick in picks.items()
            if pick is not None
        }
        self._chosen: tuple[Any, ...] = tuple(
            index.get(letter, slice(None)) for letter in (axes or "?" * len(self._whole))
        )
        first, stop = _range(frames, self._whole[0], self._per_frame, source)
        self._first = first
        whole_axes = [n for n, pick in zip(self._whole, self._chosen, strict=True) if isinstance(pick, slice)]
        self.shape = (stop - first, *whole_axes[1:])
        self.dtype = check_movie(self.shape, source.dtype, self.name)
        self.lost = self._lost(source.lost)
        if first + self.shape[0] == self._whole[0]:  # else the selection ends before the cut
            self.truncation = source.truncation
        self.recording = self._described(described, axes, index)

    def _split(self, axes: str | None, requested: dict[str, Any]) -> dict[str, int]:
        """Numbers of planes and channels to split the axis of frames into."""
        split: dict[str, int] = {}
        for letter, count in requested.items():
            if count is None:
                continue
            word = f"{_WORDS[letter]}s"
            if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
                raise InvalidInputError(f"{word} is {count!r}; a whole number of at least 1 is needed")
            there = self._source.shape[axes.index(letter)] if axes and letter in axes else None
            if there is not None and there != count:
                raise InvalidInputError(
                    f"{self.name[-60:]}: {word} is {count}; the file says that it has {there} (its axes are "
                    f"{axes}). Leave {word} out, or give axes= to name its dimensions otherwise"
                )
            if there is None and count > 1:
                split[letter] = int(count)
        if not split:
            return split
        if axes is None:
            raise InvalidInputError(
                f"{self.name[-60:]}: its {len(self._source.shape)} dimensions have no names; give axes=, "
                "such as 'tzyx', with channels= or planes="
            )
        return split

    def _index(self, letter: str, pick: Any, axes: str | None, recording: Recording) -> int:
        word = _WORDS[letter]
        if axes is None or letter not in axes:
            raise InvalidInputError(
                f"{self.name[-60:]}: {word} is {pick!r}; its axes are {axes or 'not named'}. {word}s=N "
                "says that frames alternate, axes= names the dimensions"
            )
        count = self._whole[axes.index(letter)]
        names = recording.channel_names if letter == "c" and len(recording.channel_names) == count else ()
        if axes[0] == letter:
            raise InvalidInputError(
                f"{self.name[-60:]}: {word} {pick!r} would be one image: {word}s are its only frames; take "
                f"frames={pick}:{pick}+1"
            )
        if isinstance(pick, str) and names.count(pick) == 1:
            return names.index(pick)
        if isinstance(pick, bool) or not isinstance(pick, int | np.integer) or not 0 <= pick < count:
            called = f", or a name of {', '.join(names[:10])}" if names else ""
            raise InvalidInputError(
                f"{self.name[-60:]}: {word} is {pick!r}; allowed are 0 to {count - 1}{called}"
            )
        return int(pick)

    def _lost(self, lost: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        """Lost frames, in the frame numbers of this source."""
        k, frames = self._per_frame, self.shape[0]
        spans = (
            (max(first // k - self._first, 0), min(-(-end // k) - self._first, frames)) for first, end in lost
        )
        return tuple((first, end) for first, end in spans if first < end)

    def _described(self, recording: Recording, axes: str | None, index: dict[str, int]) -> Recording:
        """Metadata of the selected part."""
        frames = slice(self._first, self._first + self.shape[0])
        names, times, rate = recording.channel_names, recording.timestamps, recording.frame_rate
        sizes = {axis: size for axis, size in recording.pixel_size.items() if axis not in index}
        if "c" in index and names:
            names = (names[index["c"]],)
        left = [
            f"{_WORDS[letter]}s other than {pick} of {self._whole[(axes or '').index(letter)]}"
            for letter, pick in index.items()
        ]
        if self.shape[0] != self._whole[0]:
            left.append(f"frames other than {frames.start} to {frames.stop - 1} of {self._whole[0]}")
        axes_left = None if axes is None else "".join(letter for letter in axes if letter not in index)
        if index or self._per_frame > 1 or self.shape[0] != self._whole[0]:
            pages = PageSelection(
                shape=self._whole,
                order=tuple(range(len(self._whole))),
                index=(frames, *self._chosen[1:]),
                axes=axes_left,
            )
            recording = self._source.describe_pages(recording, pages)
        return recording.replace(
            axes=axes_left,
            channel_names=names,
            pixel_size=sizes,
            timestamps=None if times is None else times[:: self._per_frame][frames],
            frame_rate=None if rate is None else rate / self._per_frame,
            not_kept=(*recording.not_kept, *left),
        )

    def describe_pages(self, recording: Recording, pages: PageSelection) -> Recording:
        """See the base class."""
        return self._source.describe_pages(recording, pages)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop`` of the selected channels and planes."""
        self._check_frames(start, stop)
        first, end = ((self._first + frame) * self._per_frame for frame in (start, stop))
        whole = self._source.read(first, end)
        chosen = whole.reshape(stop - start, *self._whole[1:])[self._chosen]
        # An array on a GPU needs its own method for this.
        return np.ascontiguousarray(chosen) if self.device is None else chosen.copy(order="C")

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that frames are read from."""
        return tuple(getattr(self._source, "files", ()))

    def origins(self, start: int, stop: int) -> list[tuple[str, int]] | None:
        """File of each of the frames ``start:stop``, and its number among the frames of that file."""
        k = self._per_frame
        origins = self._source.origins((self._first + start) * k, (self._first + stop) * k)
        return None if origins is None else [(name, frame // k) for name, frame in origins[::k]]

    def note(self, chunk_frames: int) -> str | None:
        """Remark of the source on how its chunks are read."""
        return self._source.note(chunk_frames * self._per_frame)

    def close(self) -> None:
        """Close the other source if this one owns it."""
        if self._owned:
            self._source.close()


def _range(frames: Any, total: int, per_frame: int, source: Source) -> tuple[int, int]:
    """First and last (exclusive) requested frame; without a request, frames must form whole groups."""
    if not total:
        raise InvalidInputError(
            f"{source.name[-60:]}: it has {source.shape[0]} frames, and one group (channels x planes) has "
            f"{per_frame}. Ask for fewer channels or planes; open files of one frame together, as a list "
            "or 'run_*.tif'"
        )
    if frames is None:
        if left := source.shape[0] % per_frame:
            raise InvalidInputError(
                f"{source.name[-60:]}: {source.shape[0]} frames are not whole groups of {per_frame} "
                f"(channels x "
                f"planes): {left} are left over. frames=0:{total} takes the whole ones"
            )
        return 0, total
    first, stop = _ends(frames)
    first, stop = 0 if first is None else first, total if stop is None else stop
    if not 0 <= first < stop <= total:
        raise InvalidInputError(
            f"{source.name[-60:]}: frames is {first}:{stop}; the movie has {total}, so 0:{total} are allowed"
        )
    return first, stop


def _ends(frames: Any) -> tuple[int | None, int | None]:
    try:
        if isinstance(frames, str):
            first, colon, stop = frames.partition(":")
            if not colon:
                raise ValueError(frames)
            return (int(first) if first.strip() else None), (int(stop) if stop.strip() else None)
        unit = isinstance(frames, slice) and frames.step in (None, 1)
        first, stop = (frames.start, frames.stop) if unit else frames
        if all(end is None or type(end) is int for end in (first, stop)):
            return first, stop
    except (TypeError, ValueError):
        pass
    raise InvalidInputError(f"frames is {str(frames)[:40]!r}; A:B is needed, as in 0:1000 (B is not taken)")
