"""All tables and plots of README and docs: ``python -m benchmarks.tables [--case 2p_cortex]``.

From the newest results of each case. Fills what stands between ``<!-- NAME -->`` and ``<!-- /NAME -->`` in
README.md (benchmarks) and docs/scale.md (latency, s3, sizes, every, workers, scaling, petabyte), and draws
docs/compare.png and docs/scaling.png. What was not measured is left as it is, and told.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks import petabyte, scaling, workers
from benchmarks.record import RESULTS, gathered, load, newest
from photon_gpu.plots import save_figure
from photon_gpu.store.durable import replacing

ROOT = Path(__file__).parent.parent
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#999999"

MAIN, PEER = "photon_gpu compact, fast", "anscombe-transform"

Rows = list[dict[str, str]]


def rate(row: dict[str, str], action: str) -> str:
    """MB/s at the median, with the range."""
    nbytes = float(row["raw_bytes"]) / 1e6
    median, low, high = (nbytes / float(row[f"{action}_{what}_s"]) for what in ("median", "max", "min"))
    return f"{median:,.0f} ({low:,.0f}-{high:,.0f})"


def latency(row: dict[str, str], action: str) -> str:
    """Milliseconds at the median."""
    return f"{1e3 * float(row[f'{action}_median_s']):,.1f}"


_BRIEF = ("photon_gpu", "anscombe-transform", "Zarr, raw, Blosc zstd 5 bitshuffle", "Zarr, float64 Anscombe")
_EQUAL = ("of our codes", "equal error")


def leads(contender: str) -> bool:
    """Whether the README's table shows a contender: ours, equal in error, or common in labs."""
    return contender.startswith(_BRIEF) or any(part in contender for part in _EQUAL)


def table(rows: Rows) -> str:
    """One case: ours first, then by ratio; what failed is told below."""
    able = [row for row in rows if not row["problem"]]
    able.sort(key=lambda row: (not row["contender"].startswith("photon_gpu"), -float(row["ratio"])))
    first = rows[0]
    lines = [
        f"| {first['case']}, {first['shape'].replace('x', ' x ')} {first['dtype']} | ratio | encode "
        f"MB/s | decode MB/s "
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


def without_disk(rows: Rows, case: str) -> str:
    """What ours and its peer do where no disk is measured; nothing if that was not measured."""
    timed = [row for row in rows if row["case"] == case and not row["problem"]]
    told = [
        f"{row['contender'].partition(' (')[0]} encodes {rate(row, 'encode')} and decodes "
        f"{rate(row, 'decode')} MB/s"
        for row in timed
        if row["contender"] == MAIN or row["contender"].startswith(PEER)
    ]
    return f"With all stores on a RAM disk (`--ram`), {', '.join(told)}. " if told else ""


def section(rows: Rows, case: str, csv_name: str, ram: Rows) -> str:
    """What goes into the README; ``csv_name`` is that of a results file as far as its date."""
    chosen = [row for row in rows if row["case"] == case]
    runs = min(int(row["runs"]) for row in chosen if row["runs"])
    return "\n".join(
        [
            table([row for row in chosen if leads(row["contender"])]),
            "",
            f"Movie in memory to files and back; medians (and ranges) of at least {runs} interleaved runs on "
            f'{chosen[0]["machine"]}, {chosen[0]["date"]}; every pixel verified before. "frame" is a '
            f"random frame, "
            '"region" the mean of 12 x 12 pixels in every frame. What photon_gpu writes is flushed to disk '
            "(it survives a power cut), and choosing settings is part of its time; the others do neither. "
            f"{without_disk(ram, case)}"
            "All cases and contenders: [docs/scale.md](docs/scale.md#every-contender), "
            f"benchmarks/results/{csv_name}{chosen[0]['date']}.csv, by `python -m benchmarks.compare` and "
            "`python -m benchmarks.tables`.",
            "",
            "![Ratio against encoding speed, every contender](docs/compare.png)",
        ]
    )


def every(rows: Rows) -> str:
    """Every case with every contender."""
    cases = dict.fromkeys(row["case"] for row in rows)
    parts = [table([row for row in rows if row["case"] == case]) for case in cases]
    return "\n\n".join([*parts, hardware(rows)])


def fill(path: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->`` in a file."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    head, begun, rest = path.read_text().partition(begin)
    _, ended, tail = rest.partition(end)
    if not begun or not ended:
        raise SystemExit(f"{path} has no {begin.strip()} ... {end.strip()} to fill")
    with replacing(path) as file:
        file.write((head + begin + text + end + tail).encode())


def plot(rows: Rows, path: Path) -> None:
    """Plot ratio against encoding speed, a panel per case; rivals are numbers, named below."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["case"] for row in rows))
    others = list(dict.fromkeys(r["contender"] for r in rows if not r["contender"].startswith("photon_gpu")))
    across = min(3, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(5 * across, 3.6 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        for row in (row for row in rows if row["case"] == name and not row["problem"]):
            x, y, contender = speed(row, "encode"), float(row["ratio"]), row["contender"]
            ours = contender.startswith("photon_gpu")
            color = BLUE if ours else GREY if row["lossless"] == "True" else ORANGE
            label = contender.removeprefix("photon_gpu ") if ours else str(1 + others.index(contender))
            axes.scatter(x, y, color=color, s=36 if ours else 18, zorder=3 if ours else 2)
            axes.annotate(label, (x, y), fontsize=6.5, textcoords="offset points", xytext=(4, 3), color=color)
        axes.set_xscale("log")
        axes.margins(x=0.25, y=0.1)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("encode MB/s")
        axes.set_ylabel("ratio")
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    listed = [f"{n + 1} {name}" for n, name in enumerate(others)]
    columns = max(2, across)
    each = -(-len(listed) // columns)
    parts = ["\n".join(listed[n * each : (n + 1) * each]) for n in range(columns)]
    figure.suptitle("blue: photon_gpu; orange: equal error; grey: lossless", fontsize=9)
    for n, part in enumerate(parts):
        figure.text(0.02 + 0.96 * n / columns, -0.01, part, fontsize=7, va="top", color=GREY)
    save_figure(figure, path, dpi=110, bbox_inches="tight")


def s3(rows: Rows) -> str | None:
    """Frames and regions over S3, of the cases that have them."""
    parts = []
    for case in dict.fromkeys(row["case"] for row in rows):
        chosen = [row for row in rows if row["case"] == case]
        chosen.sort(key=lambda row: float(row["s3_frame_median_s"]))
        first = chosen[0]
        parts += [
            f"| {case}, {first['shape'].replace('x', ' x ')} {first['dtype']} | ratio | frame from S3, ms "
            "| region from S3, ms | frame from disk, ms | region from disk, ms |",
            "|---|---|---|---|---|---|",
        ]
        for row in chosen:
            numbers = (latency(row, action) for action in ("s3_frame", "s3_trace", "frame", "trace"))
            parts.append(f"| {named(row)} | {float(row['ratio']):.2f} | {' | '.join(numbers)} |")
        parts.append("")
    return "\n".join([*parts, hardware(rows)]) if rows else None


def sizes(rows: Rows) -> str | None:
    """Ratio and speed against the movie's size."""
    known = [row for row in rows if row["case"].startswith("size-") and not row["problem"]]
    cases = sorted({row["case"] for row in known}, key=lambda case: float(case.removeprefix("size-")))
    if not cases:
        return None
    names = list(dict.fromkeys(row["contender"] for row in known))
    found = {(row["contender"], row["case"]): row for row in known}
    lines = [
        f"| encode / decode, MB/s | {' | '.join(size_of(case) for case in cases)} |",
        f"|---{'|---' * len(cases)}|",
    ]
    for name in names:
        cells = [
            f"{speed(row, 'encode'):,.0f} / {speed(row, 'decode'):,.0f}" if row else ""
            for row in (found.get((name, case)) for case in cases)
        ]
        if sum(map(bool, cells)) > 1 or len(cases) == 1:
            lines.append(f"| {named({'contender': name})} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", hardware(known)])


def size_of(case: str) -> str:
    """A case's size, in words."""
    megabytes = float(case.removeprefix("size-"))
    return f"{megabytes / 1000:g} GB" if megabytes >= 1000 else f"{megabytes:g} MB"


def speed(row: dict[str, str], action: str) -> float:
    """MB/s at the median."""
    return float(row["raw_bytes"]) / 1e6 / float(row[f"{action}_median_s"])


def named(row: dict[str, str]) -> str:
    """A contender's name, ours in bold."""
    return f"**{row['contender']}**" if row["contender"].startswith("photon_gpu") else row["contender"]


def hardware(rows: Rows) -> str:
    """On what, and when; if on several days, which case on which."""
    days: dict[str, dict[str, None]] = {}
    for row in rows:
        days.setdefault(row["date"], {})[row.get("case", "")] = None
    if len(days) == 1:
        return f"{rows[0]['machine']}, {rows[0]['date']}."
    told = "; ".join(f"{date}: {', '.join(cases)}" for date, cases in days.items())
    return f"{rows[0]['machine']}. {told}."


def frames(rows: Rows) -> str:
    """Milliseconds to a frame and to a region."""
    lines = [
        "| ms, medians (and ranges) | ratio | a frame of a movie just opened | of another chunk "
        "| once more, the same chunk | and again | 12 x 12 pixels of all frames |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        numbers = " | ".join(
            f"{float(row[f'{action}_median_ms']):.1f} ({float(row[f'{action}_min_ms']):.1f}-"
            f"{float(row[f'{action}_max_ms']):.1f})"
            for action in ("frame", "other_chunk", "again", "third", "trace")
        )
        lines.append(
            f"| {row['store']}, {row['layout']}, {row['preset']} | {float(row['ratio']):.2f} | {numbers} |"
        )
    first = rows[0]
    return "\n".join(
        [
            *lines,
            "",
            f"{first['shape'].replace('x', ' x ')} frames, {first['chunk_frames']} a chunk, "
            f"{first['reads']} reads each; {hardware(rows)}",
        ]
    )


def many_workers(rows: Rows) -> str:
    """One worker and more, with dask and without."""
    lines = ["| | workers | MB/s | times one | where the workers' time went, % |", "|---|---|---|---|---|"]
    for row in rows:
        low, high = (float(row["raw_bytes"]) / 1e6 / float(row[f"{end}_seconds"]) for end in ("max", "min"))
        lines.append(
            f"| {row['load']}, {row['by']} | {row['workers']} | {float(row['mb_s']):,.0f} "
            f"({low:,.0f}-{high:,.0f}) "
            f"| {float(row['speed_up']):.2f} | {row['stages']} |"
        )
    numbers = [{**row, "speed_up": float(row["speed_up"]), "mb_s": float(row["mb_s"])} for row in rows]
    return "\n".join([*lines, "", *(f"- {line}" for line in workers.findings(numbers)), "", hardware(rows)])


def growth(rows: Rows) -> str:
    """Every axis, what it says, and latency against chunk_frames."""
    axes = {
        axis: [r for r in rows if r["axis"] == axis] for axis in dict.fromkeys(row["axis"] for row in rows)
    }
    lines = ["| against | points | MB/s | peak memory, MB | what it says |", "|---|---|---|---|---|"]
    for axis, points in axes.items():
        cells = (
            ", ".join(f"{float(row['value']):g}" for row in points),
            ", ".join(f"{float(row['mb_s']):,.0f}" for row in points),
            ", ".join(f"{float(row['peak_bytes']) / 1e6:,.0f}" for row in points),
            scaling.findings(axis, as_numbers(points))[0].partition(": ")[2],
        )
        lines.append(f"| {axis} | {' | '.join(cells)} |")
    if points := axes.get("chunk_frames"):
        lines += ["", "| chunk_frames | encode MB/s | one random frame, ms |", "|---|---|---|"]
        lines += [f"| {r['value']} | {float(r['mb_s']):,.0f} | {float(r['frame_ms']):.1f} |" for r in points]
    said = (
        "compact, preset fast, frames of 512 x 512 int16 unless said otherwise, read from memory, "
        "written to disk"
    )
    busy = [row["others_percent"] for row in as_numbers(rows) if "others_percent" in row]
    if busy and max(busy) >= 5:
        said += (
            f". **Others used {min(busy):.0f} to {max(busy):.0f} % of the machine meanwhile**: MB/s "
            f"and seconds are "
            "not what it does alone; the processor's time and memory are"
        )
    return "\n".join(
        [*lines, "", f"{said}. {hardware(rows)}", "", "![Time and memory against size](scaling.png)"]
    )


_FIGURES = ("value", "raw_bytes", "seconds", "cpu_seconds", "others_percent", "peak_bytes", "mb_s")


def as_numbers(points: Rows) -> list[dict]:
    """A row's figures as numbers, those it has."""
    return [{key: float(row[key]) for key in _FIGURES if row.get(key)} for row in points]


def plot_growth(rows: Rows, path: Path) -> None:
    """Seconds, and memory, against what grows, a panel each; a dotted line is linear."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["axis"] for row in rows))
    across = min(3, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(4.2 * across, 3.2 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flat
    for axes, name in zip(panels, names, strict=False):
        points = as_numbers([row for row in rows if row["axis"] == name])
        x, y = [row["value"] for row in points], [row["seconds"] for row in points]
        axes.plot(x, y, "o-", color=BLUE, markersize=4, label="seconds")
        if name in ("length", "movies"):
            axes.plot(x, [y[-1] * v / x[-1] for v in x], ":", color=GREY, label="linear")
        if name == "frame size":
            axes.plot(x, [y[-1] * (v / x[-1]) ** 2 for v in x], ":", color=GREY, label="linear in pixels")
        if name in ("cores", "dask workers"):
            axes.plot(x, [y[0] * x[0] / v for v in x], ":", color=GREY, label="ideal")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(x, [f"{v:g}" for v in x])
        axes.minorticks_off()
        low, high = min(y) / 2, max(y) * 2  # what hardly changes is to look so
        axes.set_ylim(low, high)
        ticks = [m * 10.0**n for n in range(-3, 4) for m in (1, 2, 5) if low <= m * 10.0**n <= high]
        axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
        axes.set_xlabel(name)
        axes.set_ylabel("seconds", color=BLUE)
        memory = axes.twinx()
        memory.plot(
            x, [row["peak_bytes"] / 1e6 for row in points], "s--", color=ORANGE, markersize=3, linewidth=1
        )
        memory.set_ylim(0, 1.15 * max(row["peak_bytes"] for row in points) / 1e6)
        memory.set_ylabel("peak MB", color=ORANGE)
        axes.legend(fontsize=7, frameon=False)
    for axes in list(panels)[len(names) :]:
        axes.set_visible(False)
    save_figure(figure, path, dpi=110)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", help="the one in the README; default: 2p_cortex, or the first")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--root", type=Path, default=ROOT, help="where README.md and docs/ are")
    options = parser.parse_args(arguments)
    scale = options.root / "docs" / "scale.md"
    made = 0
    if found := newest("compare", options.results):
        rows = gathered("compare", "case", options.results)
        remote = gathered("compare", "case", options.results, having="s3_frame_median_s")
        names = list(dict.fromkeys(row["case"] for row in rows))
        case = options.case or ("2p_cortex" if "2p_cortex" in names else names[0])
        if case not in names:
            raise SystemExit(f"{found} has no case {case!r}; it has {', '.join(names)}")
        ram = gathered("ram", "case", options.results)
        fill(options.root / "README.md", "benchmarks", section(rows, case, found.stem[:-10], ram))
        plot(rows, options.root / "docs" / "compare.png")
        for name, text in (("s3", s3(remote)), ("sizes", sizes(rows)), ("every", every(rows))):
            if text:
                fill(scale, name, text)
        made += 1
    pages: dict[str, tuple[str, Callable[[Rows], str]]] = {
        "latency": ("latency", frames),
        "workers": ("workers", many_workers),
        "scaling": ("scaling", growth),
        "petabyte": ("petabyte", lambda rows: petabyte.page(petabyte.measured_in(rows[-1]))),
    }
    for kind, (name, page) in pages.items():
        if found := newest(kind, options.results):
            fill(scale, name, page(load(found)))
            made += 1
            if kind == "scaling":
                plot_growth(load(found), options.root / "docs" / "scaling.png")
        else:
            print(f"{kind}: not measured, left as it is: python -m benchmarks.{kind}")
    if not made:
        raise SystemExit(f"no results in {options.results}: run python -m benchmarks.compare")


if __name__ == "__main__":
    main()
