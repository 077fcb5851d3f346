"""Report of encoding many movies, as one table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from photon_gpu.writer.report import EncodeReport


@dataclass(frozen=True, kw_only=True)
class ManyReport:
    """Reports of the stored movies, and messages of the failed ones.

    Attributes
    ----------
    reports : tuple of EncodeReport
        Reports in the order of the movies.
    failures : dict
        Error messages by URL.
    seconds : float
        Wall time of all movies together.
    workers, threads : int
        Workers and threads of the cluster (or this machine) at the beginning.
    lost_workers : int
        Workers that were lost during the encode; others wrote their unfinished chunks.
    """

    reports: tuple[EncodeReport, ...]
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    workers: int = 1
    threads: int = 1
    lost_workers: int = 0

    @property
    def failed(self) -> dict[str, tuple[str, ...]]:
        """Failed lines of the check by URL, for stored movies."""
        return {report.url: report.failed for report in self.reports if report.failed}

    @property
    def raw_bytes(self) -> int:
        """Raw bytes of all stored movies."""
        return sum(report.raw_bytes for report in self.reports)

    @property
    def stored_bytes(self) -> int:
        """Stored bytes of all stored movies."""
        return sum(report.stored_bytes for report in self.reports)

    @property
    def ratio(self) -> float:
        """Raw bytes divided by stored bytes; 1 if nothing was stored."""
        return self.raw_bytes / self.stored_bytes if self.reports else 1.0

    @property
    def megabytes_per_second(self) -> float:
        """Raw megabytes (1e6) per second of wall time."""
        return self.raw_bytes / 1e6 / max(self.seconds, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        return {
            "reports": [report.to_dict() for report in self.reports],
            "failures": dict(self.failures),
            "failed": {url: list(names) for url, names in self.failed.items()},
            "seconds": self.seconds,
            "workers": self.workers,
            "threads": self.threads,
            "lost_workers": self.lost_workers,
            "raw_bytes": self.raw_bytes,
            "stored_bytes": self.stored_bytes,
            "ratio": self.ratio,
            "megabytes_per_second": self.megabytes_per_second,
        }

    def rows(self) -> list[tuple[str, ...]]:
        """Return movie, raw MB, stored MB, ratio, seconds and notes of each movie, then of all."""
        rows = [_row(r.url, r.raw_bytes, r.stored_bytes, r.seconds, _notes(r)) for r in self.reports]
        rows += [(url, "", "", "", "", f"FAILED: {message}") for url, message in self.failures.items()]
        notes = f"{self.workers} workers, {self.threads} threads, {self.megabytes_per_second:,.0f} MB/s"
        if self.lost_workers:
            notes += (
                f"; {self.lost_workers} workers were lost during the encode, their unfinished chunks "
                f"written by others"
            )
        stored = f"{len(self.reports)} of {len(self.reports) + len(self.failures)} movies"
        return [*rows, _row(stored, self.raw_bytes, self.stored_bytes, self.seconds, notes)]

    def __str__(self) -> str:
        table = [("movie", "raw MB", "stored MB", "ratio", "s", ""), *self.rows()]
        widths = [max(len(row[column]) for row in table) for column in range(5)]
        lines = []
        for row in table:
            first, *numbers = (
                f"{text:{'<' if column == 0 else '>'}{widths[column]}}" for column, text in enumerate(row[:5])
            )
            lines.append("  ".join([first, *numbers, row[5]]).rstrip())
        return "\n".join(lines)


def _notes(report: EncodeReport) -> str:
    failed = [f"CHECK FAILED: {', '.join(report.failed)}"] if report.failed else []
    return "; ".join([*failed, *report.notes])


def _row(name: str, raw: int, stored: int, seconds: float, notes: str) -> tuple[str, ...]:
    ratio = f"{raw / stored:.2f}" if stored else ""
    return name, f"{raw / 1e6:,.1f}", f"{stored / 1e6:,.1f}", ratio, f"{seconds:,.1f}", notes
