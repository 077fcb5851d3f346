"""Save and load results as CSV: a file per command, machine and date under benchmarks/results/.

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

from benchmarks.support.interleaved_timing import machine
from photon_gpu.store.durable import replacing

RESULTS = Path(__file__).parents[1] / "results"


def path_of(name: str, folder: Path = RESULTS) -> Path:
    """Return the path for today's results of a command on this machine."""
    slug = re.sub(r"[^a-z0-9]+", "-", machine().lower()).strip("-")
    return folder / f"{name}_{slug}_{datetime.date.today().isoformat()}.csv"


def save(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]], key: str) -> None:
    """Write rows; keep those of the file unless one of ``rows`` has the same value of ``key``."""
    new = {str(row[key]) for row in rows}
    unchanged = [row for row in load(path) if row[key] not in new] if path.exists() else []
    path.parent.mkdir(parents=True, exist_ok=True)
    run = {"date": datetime.date.today().isoformat(), "machine": machine()}
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns, extrasaction="raise")
    table.writeheader()
    for row in (*unchanged, *({**run, **row} for row in rows)):
        table.writerow(
            {name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items() if name in columns}
        )
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def load(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def gathered(name: str, key: str, folder: Path = RESULTS, having: str = "") -> list[dict[str, str]]:
    """Return the latest row for each value of ``key``, only from the machine that was measured last.

    With ``having``, rows in which that column is empty are left out.
    """
    last = newest(name, folder)
    if last is None:
        return []
    rows: list[dict[str, str]] = []
    for path in sorted(folder.glob(f"{last.stem[:-10]}*.csv"), reverse=True):
        earlier = {row[key] for row in rows}
        rows += [row for row in load(path) if row[key] not in earlier and (not having or row.get(having))]
    return rows


def newest(name: str, folder: Path = RESULTS) -> Path | None:
    """Return the path of a command's latest results, from any machine."""
    paths = sorted(folder.glob(f"{name}_*.csv"), key=lambda path: (path.stem[-10:], path.stem))
    return paths[-1] if paths else None
