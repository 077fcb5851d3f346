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
        Accepted frames; acknowledged frames, which survive a kill; published frames, which readers see.
    queue_bytes, queue_limit_bytes : int
        Bytes of frames that wait for encoding, and the capacity of the queue.
    spool_bytes : int
        Bytes that wait on the spool's disk.
    megabytes_per_second : float
        Recent rate of accepted frames (1 MB is 1e6 bytes).
    ratio : float
        Raw bytes divided by stored bytes, of the stored chunks; NaN before the first chunk.
    worst_append_seconds : float
        Duration of the longest append.
    buffer_seconds : float
        How long queue and spool last at this rate if nothing more can be stored; infinite at rate 0.
    retries : int
        Failed attempts so far; each was repeated.
    trouble : str or None
        Last error of the store, while it is unreachable.
    notes : tuple of str
        Remarks for the owner, such as that no noise model could be estimated.
    warnings : tuple of str
        Problems to solve: one for each checked chunk that contradicts the stated noise model.
    seconds : float
        Time since the recording began.
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
        """Return a dictionary of JSON values."""
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
