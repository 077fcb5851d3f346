"""Compare the speed of two checkouts: ``python -m benchmarks.compare_checkouts --before PATH``.

Both encode and decode the same movie in layouts compact, plain and lossless, in fresh processes that take
turns: before, now, before, now. Printed are the medians of all turns, and now divided by before. Wall time
depends on what else the machine does; processor time and sizes hardly do. Stores lie on a RAM disk (Linux).
PATH is another checkout, such as ``git worktree add PATH COMMIT`` makes; it needs no installation.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.arguments import parser_of
from benchmarks.cases import Case, main_case
from benchmarks.compare import RAM, cases
from benchmarks.contenders.ours import Ours

ROOT = Path(__file__).parent.parent
ROWS = (Ours("compact", "fast"), Ours("plain", "fast"), Ours("lossless", "balanced"))
COLUMNS = ("encode wall", "encode cpu", "decode wall", "decode cpu", "bytes")

Figures = dict[str, dict[str, float]]


def turn(checkout: Path, movie: Path, case: Case, repeats: int, folder: str) -> Figures:
    """Encode and decode with one checkout in a fresh process."""
    rows = json.dumps([(row.name, row.layout, row.preset) for row in ROWS])
    model = json.dumps({name: getattr(case.noise, name) for name in ("gain", "offset", "variance")})
    program = ROOT / "benchmarks" / "checkout_turn.py"
    command = [sys.executable, program, checkout, movie, model, rows, str(repeats), folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{checkout}: {done.stderr[-2000:]}")
    figures: Figures = json.loads(done.stdout)
    return figures


def medians(turns: list[Figures]) -> Figures:
    """Medians over turns."""
    return {
        row.name: {column: statistics.median(one[row.name][column] for one in turns) for column in COLUMNS}
        for row in ROWS
    }


def table(before: Figures, now: Figures) -> str:
    """Before, now and their ratio, as a table."""
    lines = [f"| before, now, ratio | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    for name, figures in now.items():
        cells = [
            f"{before[name][column]:{form}}, {value:{form}}, {value / before[name][column]:.3f}"
            for column, value in figures.items()
            for form in (",.0f" if column == "bytes" else ".3f",)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run the turns and print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--before", type=Path, required=True, help="checkout of the code before")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5, help="within a turn, after one that warms up")
    parser.add_argument("--case", help="one of benchmarks.compare --cases; default: the README's movie")
    options = parser.parse_args(arguments)
    case = cases()[options.case]() if options.case else main_case()
    checkouts = {"before": options.before.resolve(), "now": ROOT}
    turns: dict[str, list[Figures]] = {name: [] for name in checkouts}
    ram = RAM if Path(RAM).is_dir() else None
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir=ram) as stores:
        movie = Path(folder, "movie.npy")
        np.save(movie, case.values)
        for number in range(options.turns):
            for name, checkout in checkouts.items():
                turns[name].append(turn(checkout, movie, case, options.repeats, stores))
            print(f"turn {number + 1} of {options.turns}", file=sys.stderr, flush=True)
    print(f"{case.name}, seconds and bytes\n\n{table(medians(turns['before']), medians(turns['now']))}")


if __name__ == "__main__":
    main()
