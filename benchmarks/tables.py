"""The README's tables and plots from a CSV: ``python -m benchmarks.tables [CSV] [--case 2p_cortex] [--readme FILE]``.

Replaces what stands between ``<!-- benchmarks -->`` and ``<!-- /benchmarks -->`` in the README, and draws
docs/compare.png. Without CSV: the newest of benchmarks/results/.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.record import RESULTS, load

ROOT = Path(__file__).parent.parent


def rate(row: dict[str, str], action: str) -> str:
    """MB/s at the median, with the range."""
    nbytes = float(row["raw_bytes"]) / 1e6
    median, low, high = (nbytes / float(row[f"{action}_{what}_s"]) for what in ("median", "max", "min"))
    return f"{median:,.0f} ({low:,.0f}-{high:,.0f})"


def latency(row: dict[str, str], action: str) -> str:
    """Milliseconds at the median."""
    return f"{1e3 * float(row[f'{action}_median_s']):,.1f}"


def table(rows: list[dict[str, str]]) -> str:
    """One case: ours first, then by ratio; what failed is told below."""
    able = [row for row in rows if not row["problem"]]
    able.sort(key=lambda row: (not row["contender"].startswith("photon_gpu"), -float(row["ratio"])))
    first = rows[0]
    lines = [
        f"| {first['case']}, {first['shape'].replace('x', ' x ')} {first['dtype']} | ratio | encode MB/s | decode MB/s "
        "| frame ms | region ms | noise added |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in able:
        name = f"**{row['contender']}**" if row["contender"].startswith("photon_gpu") else row["contender"]
        added = float(row["added_variance_percent"])
        lines.append(
            f"| {name} | {float(row['ratio']):.2f} | {rate(row, 'encode')} | {rate(row, 'decode')} "
            f"| {latency(row, 'frame')} | {latency(row, 'trace')} | {f'{added:.1f} %' if added else 'none'} |"
        )
    failed = [f"{row['contender']} ({row['problem']})" for row in rows if row["problem"]]
    if failed:
        lines += ["", f"Not timed: {'; '.join(failed)}."]
    return "\n".join(lines)


def section(rows: list[dict[str, str]], case: str, csv_name: str) -> str:
    """What goes into the README."""
    chosen = [row for row in rows if row["case"] == case]
    runs = min(int(row["runs"]) for row in chosen if row["runs"])
    return "\n".join(
        [
            table(chosen),
            "",
            f"Movie in memory to files and back; medians (and ranges) of at least {runs} interleaved runs on "
            f'{chosen[0]["machine"]}, {chosen[0]["date"]}; every pixel verified before. "frame" is a random frame, '
            '"region" the mean of 12 x 12 pixels in every frame. What photon_gpu writes is flushed to disk '
            "(it survives a power cut), and choosing settings is part of its time; the others do neither. All cases: "
            f"benchmarks/results/{csv_name}, by `python -m benchmarks.compare` and `python -m benchmarks.tables`.",
            "",
            "![Ratio against encoding speed, every contender](docs/compare.png)",
        ]
    )


def fill(path: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->`` in a file."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    head, begun, rest = path.read_text().partition(begin)
    _, ended, tail = rest.partition(end)
    if not begun or not ended:
        raise SystemExit(f"{path} has no {begin.strip()} ... {end.strip()} to fill")
    path.write_text(head + begin + text + end + tail)


def plot(rows: list[dict[str, str]], path: Path) -> None:
    """Ratio against encoding speed, a panel per case."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["case"] for row in rows))
    across = min(3, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(5.5 * across, 4 * down), layout="constrained")
    for axes, name in zip(figure.subplots(down, across, squeeze=False).flat, names, strict=False):
        able = [row for row in rows if row["case"] == name and not row["problem"]]
        for row in able:
            speed = float(row["raw_bytes"]) / 1e6 / float(row["encode_median_s"])
            ours = row["contender"].startswith("photon_gpu")
            color = "#0072B2" if ours else "#999999" if row["lossless"] == "True" else "#D55E00"
            axes.scatter(
                speed, float(row["ratio"]), color=color, s=36 if ours else 18, zorder=3 if ours else 2
            )
            axes.annotate(row["contender"].split(" (")[0], (speed, float(row["ratio"])), fontsize=5, rotation=15,
                          textcoords="offset points", xytext=(3, 3), color=color)  # fmt: skip
        axes.set_xscale("log")
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("encode MB/s")
        axes.set_ylabel("ratio")
    figure.suptitle("blue: photon_gpu; orange: equal error; grey: lossless", fontsize=9)
    figure.savefig(path, dpi=120)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("csv", type=Path, nargs="?")
    parser.add_argument("--case", help="the one in the README; default: 2p_cortex, or the first")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "compare.png")
    options = parser.parse_args(arguments)
    found = sorted(RESULTS.glob("compare_*.csv"), key=lambda path: (path.stem[-10:], path.stem))
    path = options.csv or (found[-1] if found else None)
    if path is None:
        raise SystemExit("no CSV yet: run python -m benchmarks.compare")
    rows = load(path)
    names = [row["case"] for row in rows]
    case = options.case or ("2p_cortex" if "2p_cortex" in names else names[0])
    if case not in names:
        raise SystemExit(f"{path} has no case {case!r}; it has {', '.join(dict.fromkeys(names))}")
    fill(options.readme, "benchmarks", section(rows, case, path.name))
    plot(rows, options.plot)


if __name__ == "__main__":
    main()
