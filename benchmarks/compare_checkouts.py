"""Compare the speed of two checkouts: ``python -m benchmarks.compare_checkouts --before PATH``.

Both do what ``python -m benchmarks.compare`` times of photon_gpu with each movie (encode, decode, read one
frame, read a small region of all frames), in processes that take turns: before, now, before, now. Printed are
the medians of all turns, and now divided by before. Wall time depends on what else the machine does;
processor time and sizes hardly do. Stores lie on a RAM disk (Linux). PATH is another checkout, such as
``git worktree add PATH COMMIT`` makes; it needs no installation.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.compare import RAM, cases
from benchmarks.contenders.ours import Ours, contenders
from benchmarks.support.arguments import parser_of
from benchmarks.support.cases import Case, main_case

ROOT = Path(__file__).parent.parent
ACTIONS = ("encode", "decode", "frame", "region")

Figures = dict[str, dict[str, float]]  # by row; of each action the seconds, "encode wall", and "bytes"


def turn(checkout: Path, movie: Path, case: Case, rows: str, repeats: int, folder: str) -> Figures:
    """Encode and read a movie with one checkout in a fresh process."""
    model = json.dumps({name: getattr(case.noise, name) for name in ("gain", "offset", "variance")})
    program = ROOT / "benchmarks" / "support" / "time_one_checkout.py"
    command = [sys.executable, program, checkout, movie, model, rows, str(repeats), folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{checkout}: {done.stderr[-2000:]}")
    figures: Figures = json.loads(done.stdout)
    return figures


def rows_named(part: str) -> str:
    """JSON of the name and the options of each contender that has ``part`` in its name."""
    return json.dumps(
        [
            (
                row.name,
                {
                    "layout": row.layout,
                    "preset": row.preset,
                    "step": row.step,
                    "predictor": row.predictor,
                    "compressor": row.compressor,
                },
            )
            for row in contenders()
            if isinstance(row, Ours) and part in row.name
        ]
    )


def medians(turns: list[Figures]) -> Figures:
    """Medians over turns."""
    return {
        row: {column: statistics.median(one[row][column] for one in turns) for column in columns}
        for row, columns in turns[0].items()
    }


def table(before: Figures, now: Figures) -> str:
    """Before, now and their ratio, as a table."""
    lines = [
        "| photon_gpu | action | wall, ms: before | now | ratio | processor, ms: before | now | ratio |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row, figures in now.items():
        name = row.removeprefix("photon_gpu ")
        for action in ACTIONS:
            cells = [
                text
                for clock in ("wall", "cpu")
                for old, new in [(before[row][f"{action} {clock}"], figures[f"{action} {clock}"])]
                for text in (f"{1e3 * old:.2f}", f"{1e3 * new:.2f}", f"{new / old:.2f}")
            ]
            lines.append(f"| {name} | {action} | {' | '.join(cells)} |")
        old, new = before[row]["bytes"], figures["bytes"]
        lines.append(f"| {name} | bytes: {old:,.0f}, {new:,.0f} | | | | | | {new / old:.4f} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run the turns and print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--before", type=Path, required=True, help="checkout of the code before")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5, help="within a turn, after one that warms up")
    parser.add_argument(
        "--cases", help="names by comma, as for benchmarks.compare; default: the README's movie"
    )
    parser.add_argument("--rows", default="", help="only contenders whose name has this in it")
    options = parser.parse_args(arguments)
    made = [cases()[name]() for name in options.cases.split(",")] if options.cases else [main_case()]
    checkouts = {"before": options.before.resolve(), "now": ROOT}
    ram = RAM if Path(RAM).is_dir() else None
    for case in made:
        turns: dict[str, list[Figures]] = {name: [] for name in checkouts}
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir=ram) as stores:
            movie, rows = Path(folder, "movie.npy"), rows_named(options.rows)
            np.save(movie, case.values)
            for number in range(options.turns):
                for name, checkout in checkouts.items():
                    turns[name].append(turn(checkout, movie, case, rows, options.repeats, stores))
                print(f"{case.name}: turn {number + 1} of {options.turns}", file=sys.stderr, flush=True)
        print(f"{case.name}\n\n{table(medians(turns['before']), medians(turns['now']))}\n", flush=True)


if __name__ == "__main__":
    main()
