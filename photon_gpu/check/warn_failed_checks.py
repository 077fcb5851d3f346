"""Warn about lines that failed in the check of an encode, and record them in the movie's metadata."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from photon_gpu.errors import FidelityWarning

if TYPE_CHECKING:
    from photon_gpu.check.fidelity.property_verdicts import ReportLine


def failing(lines: Iterable[ReportLine]) -> tuple[ReportLine, ...]:
    """Lines with status FAIL."""
    return tuple(line for line in lines if line.status == "FAIL")


def to_keep(lines: Iterable[ReportLine]) -> dict[str, Any] | None:
    """Entry of ``.zattrs`` for a failed check, None for a passed one (FORMAT.md, ".zattrs")."""
    failed = [line.to_dict() for line in failing(lines)]
    keys = ("name", "value", "unit", "fail_above", "found")
    return (
        {"verdict": "FAIL", "failed": [{key: line[key] for key in keys} for line in failed]}
        if failed
        else None
    )


def warn(url: str, lines: Iterable[ReportLine], *, stacklevel: int) -> None:
    """Issue a FidelityWarning that names every failed line, if any failed."""
    if not (failed := failing(lines)):
        return
    first = failed[0]
    cause = f" ({first.cause})" if first.cause else ""
    warnings.warn(
        f"{url} fails its own check: {', '.join(line.name for line in failed)}. {first.title}: "
        f"{first.found}{cause}",
        FidelityWarning,
        stacklevel=stacklevel + 1,
    )


def tally(lines: Iterable[ReportLine]) -> str:
    """Count lines by status, in words: ``"8 PASS, 1 WARN, 1 SKIP"``."""
    statuses = [line.status for line in lines]
    counts = [(status, statuses.count(status)) for status in ("PASS", "WARN", "FAIL", "SKIP")]
    return ", ".join(f"{count} {status}" for status, count in counts if count)
