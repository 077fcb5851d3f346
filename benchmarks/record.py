"""Results as CSV, by command, machine and date, under benchmarks/results/.

A run of some of the cases replaces their rows of the same day and keeps the others, so that long comparisons
can be made in pieces.
"""

from __future__ import annotations

import csv
import datetime
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.clock import machine
from photon_gpu.store.durable import replacing

RESULTS = Path(__file__).parent / "results"


def path_of(name: str, folder: Path = RESULTS) -> Path:
    """Where today's results of a command on this machine go."""
    slug = re.sub(r"[^a-z0-9]+", "-", machine().lower()).strip("-")
    return folder / f"{name}_{slug}_{datetime.date.today().isoformat()}.csv"


def save(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]], key: str) -> None:
    """Write rows; keep those of the file unless one of ``rows`` has the same value of ``key``."""
    new = {str(row[key]) for row in rows}
    unchanged = [row for row in load(path) if row[key] not in new] if path.exists() else []
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {"date": datetime.date.today().isoformat(), "machine": machine()}
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns, extrasaction="raise")
    table.writeheader()
    for row in (*unchanged, *({**known, **row} for row in rows)):
        table.writerow(
            {name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items() if name in columns}
        )
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def load(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def gathered(name: str, key: str, folder: Path = RESULTS, having: str = "") -> list[dict[str, str]]:
    """The latest rows for each value of ``key``, all of the machine that was measured last.

    ``having``: only rows in which that column is filled in.
    """
    last = newest(name, folder)
    if last is None:
        return []
    rows: list[dict[str, str]] = []
    for path in sorted(folder.glob(f"{last.stem[:-10]}*.csv"), reverse=True):
        known = {row[key] for row in rows}
        rows += [row for row in load(path) if row[key] not in known and (not having or row.get(having))]
    return rows


def newest(name: str, folder: Path = RESULTS) -> Path | None:
    """The latest results of a command, of any machine."""
    paths = sorted(folder.glob(f"{name}_*.csv"), key=lambda path: (path.stem[-10:], path.stem))
    return paths[-1] if paths else None
