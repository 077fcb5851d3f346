"""Record a whole feed into a movie, and report the result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

from photon_gpu.encode_settings import RecordSettings
from photon_gpu.errors import InvalidInputError
from photon_gpu.live.feeds import Feed
from photon_gpu.live.state.status import LiveStatus
from photon_gpu.live.writer import LiveWriter
from photon_gpu.writer.report import failed_rows, in_columns

_MOST_NAMES = 10
_TELL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class RecordReport:
    """The report of a recording.

    Attributes
    ----------
    source, url : str
    frames : int
    status : LiveStatus
        The last status.
    unread : tuple of str
        Data that arrived and could not be recorded, and why.
    stopped : bool
        Whether the recording was interrupted before the feed ended.
    checks : tuple of dict
        Lines of the check; empty if it was off, or if layout lossless has no noise model.
    """

    source: str
    url: str
    frames: int
    status: LiveStatus
    unread: tuple[str, ...]
    stopped: bool
    checks: tuple[dict[str, Any], ...] = ()

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the failed lines of the check."""
        return tuple(line["name"] for line in self.checks if line["status"] == "FAIL")

    @property
    def exit_code(self) -> int:
        """1 if some data could not be recorded, or the check failed; else 0."""
        return 1 if self.unread or self.failed else 0

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        return {
            "source": self.source,
            "url": self.url,
            "frames": self.frames,
            "stopped": self.stopped,
            "unread": list(self.unread),
            "checks": list(self.checks),
            "failed": list(self.failed),
            **self.status.to_dict(),
        }

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each line of the table."""
        status = self.status
        return [
            ("recorded", f"{self.frames:,} frames of {self.source} in {status.seconds:,.1f} s"),
            ("stored at", self.url),
            ("ratio", f"{status.ratio:.2f}"),
            ("worst append", f"{status.worst_append_seconds * 1e3:,.1f} ms"),
            *([("tried again", f"{status.retries} times")] if status.retries else []),
            *failed_rows(self.checks),
            *(("note", note) for note in status.notes),
            *(("warning", text) for text in status.warnings),
            *(("not taken", text) for text in self.unread[:_MOST_NAMES]),
            *([("not taken", f"and {more} more")] if (more := len(self.unread) - _MOST_NAMES) > 0 else []),
        ]

    def __str__(self) -> str:
        return in_columns(self.rows())


def record(
    feed: Feed,
    url: Any,
    settings: RecordSettings | None = None,
    *,
    tell: Callable[[LiveStatus], None] | None = None,
    **options: Any,
) -> RecordReport:
    """Record a feed to its end; an interrupt (Ctrl-C) finishes the movie with the frames so far.

    Parameters
    ----------
    feed : Feed
    url : str, path or Storage
    settings : RecordSettings, optional
        Default: the defaults of :class:`~photon_gpu.live.LiveWriter`, changed by ``options``.
    tell : callable, optional
        Function that receives the status twice a second.
    **options
        Options of :meth:`photon_gpu.live.LiveWriter.with_settings` or, without settings, of
        :class:`photon_gpu.live.LiveWriter`.
    """
    if not isinstance(feed, Feed):
        raise InvalidInputError(f"feed is a {type(feed).__name__}; a photon_gpu.live.Feed is needed")
    if settings is not None and not isinstance(settings, RecordSettings):
        raise InvalidInputError(
            f"settings are a {type(settings).__name__}; RecordSettings are needed, or None"
        )
    stopped = False
    last_told = monotonic()
    native = feed.dtype.newbyteorder("=")
    described = feed.recording
    recording = described if feed.axes is None else described.replace(axes=feed.axes)
    frames: dict[str, Any] = {"frame_shape": feed.frame_shape, "dtype": native, "recording": recording}
    if feed.attributes and settings is None:
        options["attributes"] = {**(options.get("attributes") or {}), **feed.attributes}
    elif feed.attributes and settings is not None:
        settings = settings.replace(attributes={**settings.attributes, **feed.attributes})
    begin = LiveWriter if settings is None else partial(LiveWriter.with_settings, settings)
    with begin(url, **frames, **options) as live:
        batches = iter(feed)
        try:
            for batch in batches:
                if feed.recording is not described:
                    described = feed.recording
                    live.describe(described)
                live.append(batch.frames, timestamp=batch.timestamps, metadata=batch.metadata)
                if tell is not None and monotonic() - last_told > _TELL_SECONDS:
                    last_told = monotonic()
                    tell(live.status())
        except KeyboardInterrupt:
            stopped = True
        finally:
            if isinstance(batches, Generator):
                batches.close()  # the feed then lists the data that it did not record
            if feed.recording is not described:
                live.describe(feed.recording)
    return RecordReport(
        source=feed.name,
        url=live.url,
        frames=live.acknowledged,
        status=live.status(),
        unread=tuple(feed.unread),
        stopped=stopped,
        checks=tuple(line.to_dict() for line in live.checks),
    )
