"""The status of a recording, as numbers and as one line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LiveStatus:
    """The status of a recording at one moment.

    Attributes
    ----------
    frames_in, frames_acknowledged, frames_stored : int
        Taken; sure to survive; published, so that readers see them.
    queue_bytes, queue_limit_bytes : int
        Of frames that wait for encoding, and what the queue may hold.
    spool_bytes : int
        That wait on the spool's disk.
    megabytes_per_second : float
        Taken lately (1e6 bytes).
    ratio : float
        Raw over stored bytes, of what is stored; NaN before the first chunk.
    worst_append_seconds : float
        Longest that an append took.
    buffer_seconds : float
        How long queue and spool last at this rate if nothing more can be stored; infinite at rest.
    retries : int
        Failed tries so far, all of them repeated.
    trouble : str or None
        What the store answered last, while it is away.
    notes : tuple of str
        What the owner should know, such as that no noise model could be estimated.
    warnings : tuple of str
        What should be mended: one for each chunk that was checked and contradicts the noise model stated.
    seconds : float
        Since the recording began.
    """

    frames_in: int
    frames_acknowledged: int
    frames_stored: int
    queue_bytes: int
    queue_limit_bytes: int
    spool_bytes: int
    megabytes_per_second: float
    ratio: float
    worst_append_seconds: float
    buffer_seconds: float
    retries: int
    trouble: str | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary."""
        return asdict(self)

    def __str__(self) -> str:
        parts = [
            f"{self.frames_in:,} in",
            f"{self.frames_acknowledged:,} safe",
            f"{self.frames_stored:,} stored",
            f"{self.megabytes_per_second:,.0f} MB/s",
            f"ratio {self.ratio:.2f}" if self.ratio == self.ratio else "ratio -",
            f"queue {self.queue_bytes / self.queue_limit_bytes:.0%}",
        ]
        if self.spool_bytes:
            parts.append(f"spool {self.spool_bytes / 1e6:,.0f} MB")
        if self.buffer_seconds < 1e6:
            parts.append(f"{self.buffer_seconds:,.0f} s of buffer")
        parts.append(f"worst append {self.worst_append_seconds * 1e3:,.0f} ms")
        if self.trouble:
            parts.append(f"store away, {self.retries} tries: {self.trouble[:80]}")
        if self.warnings:
            parts.append(f"{len(self.warnings)} warnings: {self.warnings[-1][:120]}")
        return " | ".join([*parts, *(note[:120] for note in self.notes)])
