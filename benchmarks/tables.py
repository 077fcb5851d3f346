"""Write the measured tables and plots of README and docs: ``python -m benchmarks.tables [--case 2p_cortex]``.

Reads the newest results of each benchmark. Writes the pages and pictures under docs/measured/, and the table
between ``<!-- benchmarks -->`` and ``<!-- /benchmarks -->`` in README.md. A page whose benchmark has no
results stays as it is, and the command says so.
"""

from __future__ import annotations

import csv
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import (
    above_noise_floor,
    bias,
    buffer_copies,
    gil_time,
    petabyte,
    rate_distortion,
    scaling,
    source_formats,
    vector_instructions,
    workers,
)
from benchmarks.support import one_off_experiments
from benchmarks.support.arguments import parser_of
from benchmarks.support.cases import NOISE
from benchmarks.support.figures import draw_comparison, draw_scaling
from benchmarks.support.results_csv import RESULTS, gathered, load, newest
from photon_gpu.store.durable import replacing

ROOT = Path(__file__).parent.parent

MAIN, PEER = "photon_gpu compact, fast", "anscombe-transform"

BRIEF = {
    "photon_gpu compact, small": "compact, small",
    "photon_gpu compact, fast": "compact, fast",
    "photon_gpu plain, fast": "plain, fast",
    "photon_gpu lossless, balanced": "lossless",
    "SZ3 of stabilized values": "SZ3",
    "JPEG-XL lossless e2 of our codes": "JPEG-XL",
    "JPEG-XL lossless e3 of our codes": "JPEG-XL",
    "JPEG-LS of our codes": "JPEG-LS",
    "pcodec 8 of our codes": "pcodec",
    "pcodec of our codes": "pcodec",
    "zstd 1 of our codes": "zstd 1",
    "anscombe-transform 1.0.0 (Zarr v3, zstd 1)": "anscombe-transform",
    "anscombe-transform 1.0.0 (Zarr v3, Blosc zstd 5)": "anscombe-transform, Blosc",
    "Zarr, raw, Blosc zstd 5 bitshuffle": "Zarr, raw",
}
"""Contenders of the README, by the beginning of their name, with their names in the plot: ours, and eight.

A contender whose settings changed stands here by its names before and now."""

Rows = list[dict[str, str]]


def rate(row: dict[str, str], action: str) -> str:
    """MB/s at the median, with the range."""
    nbytes = float(row["raw_bytes"]) / 1e6
    median, low, high = (
        nbytes / float(row[f"{action}_{statistic}_s"]) for statistic in ("median", "max", "min")
    )
    return f"{median:,.0f} ({low:,.0f}-{high:,.0f})"


def latency(row: dict[str, str], action: str) -> str:
    """Milliseconds at the median."""
    return f"{1e3 * float(row[f'{action}_median_s']):,.1f}"


def brief(rows: Rows) -> Rows:
    """The contenders of the README that ran, in the order of :data:`BRIEF`."""
    able = [row for row in rows if not row["problem"]]
    return [row for name in BRIEF for row in able if is_contender(row, name)]


def is_contender(row: dict[str, str], name: str) -> bool:
    """Whether a row is of the contender that ``name`` begins; another setting is another contender."""
    return row["contender"] == name or row["contender"].startswith(f"{name} ")


def table(rows: Rows) -> str:
    """One case: ours first, then by ratio; what failed is told below."""
    able = [row for row in rows if not row["problem"]]
    able.sort(key=lambda row: (not row["contender"].startswith("photon_gpu"), -float(row["ratio"])))
    first = rows[0]
    lines = [
        (
            f"| {first['case']}, {first['shape'].replace('x', ' x ')} {first['dtype']} | ratio | encode MB/s"
            " | decode MB/s | frame ms | region ms | noise added |"
        ),
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
    """Speed of ours and of its peer on a RAM disk; empty if not measured."""
    timed = [row for row in rows if row["case"] == case and not row["problem"]]
    speeds = [
        f"{row['contender']} encodes {rate(row, 'encode')} and decodes {rate(row, 'decode')} MB/s"
        for row in timed
        if row["contender"] == MAIN or row["contender"].startswith(PEER)
    ]
    return f"With all stores on a RAM disk (`--ram`), {', '.join(speeds)}." if speeds else ""


def section(rows: Rows, case: str) -> str:
    """The table of the README."""
    chosen = brief([row for row in rows if row["case"] == case])
    first = chosen[0]
    lines = [
        (
            f"| {case}, {first['shape'].replace('x', ' x ')} {first['dtype']} | ratio | encode MB/s | decode"
            " MB/s | noise variance added |"
        ),
        "|---|---|---|---|---|",
    ]
    for row in chosen:
        added = float(row["added_variance_percent"])
        lines.append(
            f"| {named(row)} | {float(row['ratio']):.2f} | {speed(row, 'encode'):,.0f} "
            f"| {speed(row, 'decode'):,.0f} | {f'{added:.1f} %' if added else 'none'} |"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"Medians of interleaved runs on {hardware(chosen)}",
            textwrap.fill(
                f"All contenders use the same noise model{model_of(case)}. photon_gpu also chooses its"
                " settings and syncs its files within the measured time. [All recordings, all contenders,"
                " and a plot](docs/measured/comparison.md).",
                100,
            ),
        ]
    )


def model_of(case: str) -> str:
    """The noise model of a recording; empty for simulated movies."""
    noise = next((noise for name, noise in NOISE.items() if Path(name).stem == case), None)
    return f" (gain {noise.gain:g}, offset {noise.offset:g})" if noise else ""


def comparison(rows: Rows, case: str, ram: Rows) -> str:
    """How the comparison is made, and all its tables."""
    runs = min(int(row["runs"]) for row in rows if row["case"] == case and row["runs"])
    return "\n\n".join(
        [
            "![Compression ratio against speed](compare.png)",
            f"Each contender writes the movie from memory to files and reads it back. The {case} figures are"
            f" medians (and ranges) of at least {runs} interleaved runs; every contender is decoded and"
            ' checked before it is timed. "frame" is the time of one random frame, "region" that of the mean'
            " of 12 x 12 pixels in every frame. photon_gpu syncs its files to disk (they survive a power"
            " cut) and chooses its settings within the measured time; the others do neither."
            f" {without_disk(ram, case)}".strip(),
            every(rows),
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


def point(row: dict[str, str]) -> dict[str, Any]:
    """A row as the plot takes it."""
    return {
        "name": next(label for name, label in BRIEF.items() if is_contender(row, name)),
        "ratio": float(row["ratio"]),
        "encode": speed(row, "encode"),
        "decode": speed(row, "decode"),
        "ours": row["contender"].startswith("photon_gpu"),
        "lossless": row["lossless"] == "True",
    }


def s3(rows: Rows) -> str | None:
    """Frames and regions over S3, of the cases that have them."""
    parts = []
    for case in dict.fromkeys(row["case"] for row in rows):
        chosen = [row for row in rows if row["case"] == case]
        chosen.sort(key=lambda row: float(row["s3_frame_median_s"]))
        first = chosen[0]
        parts += [
            (
                f"| {case}, {first['shape'].replace('x', ' x ')} {first['dtype']} | ratio | frame from S3, ms"
                " | region from S3, ms | frame from disk, ms | region from disk, ms |"
            ),
            "|---|---|---|---|---|---|",
        ]
        for row in chosen:
            numbers = (latency(row, action) for action in ("s3_frame", "s3_trace", "frame", "trace"))
            parts.append(f"| {named(row)} | {float(row['ratio']):.2f} | {' | '.join(numbers)} |")
        parts.append("")
    text = (
        "The same movie on a real S3 server on this machine. There is no network in between, so what is left"
        " is requests, bytes and decoding."
    )
    return "\n".join([text, "", *parts, hardware(rows)]) if rows else None


def sizes(rows: Rows) -> str | None:
    """Ratio and speed against the movie's size."""
    sized = [row for row in rows if row["case"].startswith("size-") and not row["problem"]]
    cases = sorted({row["case"] for row in sized}, key=lambda case: float(case.removeprefix("size-")))
    if not cases:
        return None
    names = list(dict.fromkeys(row["contender"] for row in sized))
    by_case = {(row["contender"], row["case"]): row for row in sized}
    lines = [
        f"| encode / decode, MB/s | {' | '.join(size_of(case) for case in cases)} |",
        f"|---{'|---' * len(cases)}|",
    ]
    for name in names:
        cells = [
            f"{speed(row, 'encode'):,.0f} / {speed(row, 'decode'):,.0f}" if row else ""
            for row in (by_case.get((name, case)) for case in cases)
        ]
        if sum(map(bool, cells)) > 1 or len(cases) == 1:
            lines.append(f"| {named({'contender': name})} | {' | '.join(cells)} |")
    text = (
        "Movies larger than memory: `--cases size-20000 --contenders photon_gpu` makes the movie as it is"
        " read and leaves out contenders that hold a movie in memory."
    )
    return "\n".join([*lines, "", text, "", hardware(sized)])


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
    runs = "; ".join(f"{date}: {', '.join(cases)}" for date, cases in days.items())
    return f"{rows[0]['machine']}. {runs}."


def frames(rows: Rows) -> str:
    """Milliseconds to a frame and to a region."""
    lines = [
        (
            "| ms, medians (and ranges) | ratio | a frame of a movie just opened | of another chunk "
            "| once more, the same chunk | and again | 12 x 12 pixels of all frames |"
        ),
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
            (
                f"{first['shape'].replace('x', ' x ')} frames, {first['chunk_frames']} a chunk, "
                f"{first['reads']} reads each; {hardware(rows)}"
            ),
        ]
    )


def many_workers(rows: Rows) -> str:
    """One worker and more, with dask and without."""
    lines = ["| | workers | MB/s | times one | where the workers' time went, % |", "|---|---|---|---|---|"]
    for row in rows:
        low, high = (float(row["raw_bytes"]) / 1e6 / float(row[f"{end}_seconds"]) for end in ("max", "min"))
        lines.append(
            f"| {row['load']}, {row['by']} | {row['workers']} | {float(row['mb_s']):,.0f}"
            f" ({low:,.0f}-{high:,.0f}) | {float(row['speed_up']):.2f} | {row['stages']} |"
        )
    numbers = [{**row, "speed_up": float(row["speed_up"]), "mb_s": float(row["mb_s"])} for row in rows]
    findings = [f"- {line}" for line in workers.findings(numbers)]
    text = (
        "*bare*: as many processes that know nothing of each other, the most this machine can do. *compute"
        " alone*: without dask, disk or scheduler."
    )
    return "\n".join([*lines, "", *findings, "", text, "", hardware(rows)])


def kinds_of_files(rows: Rows) -> str:
    """Time and memory of each kind of file."""
    lines = [
        "| file | MB | s | times the kind | its processor time | peak memory, MB |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = (float(row[f"{end}_seconds"]) for end in ("min", "max"))
        number = f"{int(row['files']):,} " if int(row["files"]) > 1 else ""
        ratios = (
            f"{float(row['ratio']):.2f} of {row['against']} | {float(row['cpu_ratio']):.2f}"
            if row["against"] and row["against"] != row["kind"]
            else " | "
        )
        lines.append(
            f"| {number}{row['kind']} | {float(row['raw_bytes']) / 1e6:,.0f} | {float(row['seconds']):.2f}"
            f" ({low:.2f}-{high:.2f}) | {ratios} | {float(row['peak_bytes']) / 1e6:,.0f} |"
        )
    text = (
        "`encode` with layout compact, preset fast and its default check, each in a process of its own, after"
        " a small movie. Peak memory is that of the whole process, with Python and the compiled kernels."
        " Where other programs ran meanwhile, compare processor time."
    )
    return "\n".join(
        [*lines, "", *(f"- {line}" for line in source_formats.findings(rows)), "", text, "", hardware(rows)]
    )


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
    text = (
        "Layout compact, preset fast, frames of 512 x 512 int16 unless the table says otherwise; memory to"
        " disk."
    )
    busy = [row["others_percent"] for row in as_numbers(rows) if "others_percent" in row]
    if busy and max(busy) >= 5:
        text += (
            f" **Other programs used {min(busy):.0f} to {max(busy):.0f} % of the machine**: MB/s and seconds"
            " are lower than on an idle machine; processor time and memory are not affected."
        )
    return "\n".join(
        [*lines, "", f"{text} {hardware(rows)}", "", "![Time and memory against size](scaling.png)"]
    )


_FIGURES = ("value", "raw_bytes", "seconds", "cpu_seconds", "others_percent", "peak_bytes", "mb_s")


def as_numbers(points: Rows) -> list[dict]:
    """A row's figures as numbers, those it has."""
    return [{key: float(row[key]) for key in _FIGURES if row.get(key)} for row in points]


def rates(folder: Path) -> str | None:
    """Bits per pixel at the error of step 0.5, from rate_distortion.csv."""
    path = folder / "rate_distortion.csv"
    if not path.exists():
        return None
    points = rate_distortion.read(path)
    return "\n\n".join(
        [
            (
                "Bits per pixel (compression ratio) where each contender adds 2.1 % to the variance of the"
                " noise, as a step of 0.5 does. Gaussian noise alone carries 3.05 bits."
            ),
            rate_distortion.by_recording(points),
            (
                "The first 40 frames of each recording. Every rival is decoded and its error measured. The"
                " sizes are those of the chunks alone. Our stores hold 5 kB more of noise model, settings and"
                " checksums: 0.26 bits per pixel of a movie of 10 frames of 128 x 128 (4.00 in all), 0.03 of"
                " the first 40 frames of the cortex."
            ),
            (
                "The noise floor is that of Gaussian noise. Counts of a few photons or less have less entropy"
                " and lie below it. The bumps of `plain` are steps that are no power of two."
            ),
            "![Bits per pixel against the variance added, with the noise floor](rate_distortion.png)",
            "All points: [rate_distortion.csv](rate_distortion.csv).",
        ]
    )


def biases(folder: Path) -> str | None:
    """The worst bias of each gain, from bias.csv."""
    path = folder / "bias.csv"
    if not path.exists():
        return None
    lines = [
        (
            "| gain, ADU/photon | float output, % of a sigma | at photons | integer output, % of a sigma | at"
            " photons |"
        ),
        "|---|---|---|---|---|",
    ]
    with path.open(newline="") as file:
        lines += [
            f"| {float(row['gain']):g} | {float(row['float_percent']):.2f} |"
            f" {float(row['float_photons']):.3g} | {float(row['integer_percent']):.2f} |"
            f" {float(row['integer_photons']):.3g} |"
            for row in csv.DictReader(file)
        ]
    return "\n".join(
        [
            (
                "Bias of the mean of decoded pixels at step 0.5, 0.1 to 100 photons, for the worst detector"
                " of each gain (read noise 0.5 to 2 photons, all offsets). It is computed exactly, not"
                f" sampled. The limits are {bias.FLOAT_BAR:g} % for float and {bias.INTEGER_BAR:g} % for"
                " integer output."
            ),
            "",
            *lines,
            "",
            (
                "Near a gain of 1.65 no table of points within the bins could have a bias below 2.2 %."
                " Where single photons are resolved (a gain from 5 ADU/photon and a read noise below 0.25"
                " photons), bins of the step shift means by more: see"
                " [dark movies](../dark.md#means-where-photons-are-resolved)."
            ),
            "",
            "![Bias by gain and light](bias.png)",
        ]
    )


def gpu(path: Path) -> str:
    """Kernels and whole movies on a GPU, from the JSON of benchmarks.gpu."""
    figures = json.loads(path.read_text())
    overlap = figures["overlap"]
    lines = [
        f"{figures['device']}, CuPy {figures['cupy']}, {path.stem[-10:]}.",
        "",
        "Kernels over 100 frames of 512 x 512: bytes that a kernel must move, divided by its time.",
        "",
        "| kernel | GB/s | share of a copy within the device | ms |",
        "|---|---|---|---|",
    ]
    for row in figures["kernels"]:
        gb, share = row["GB/s"], 100 * row["share of copy"]
        lines.append(
            f"| {row['kernel']} | {f'{gb:,.0f}' if gb >= 1 else f'{gb:.3f}'} |"
            f" {f'{share:.0f} %' if share >= 0.5 else 'under 1 %'} |"
            f" {row['ms']:,.{1 if row['ms'] > 100 else 2}f} |"
        )
    lines += [
        "",
        (
            "Whole movies between arrays and memory, raw GB/s, the best of four. Every store equals the CPU's"
            " byte for byte. `numba` has all cores of the machine."
        ),
        "",
        "| layout, predictor | frames in | write | read |",
        "|---|---|---|---|",
    ]
    for row in figures["end to end"]:
        lines.append(
            f"| {' '.join(filter(None, (row['layout'], row['predictor'])))} | {row['frames in']} "
            f"| {row['encode GB/s']:.2f} | {row['decode GB/s']:.2f} |"
        )
    return "\n".join(
        [
            *lines,
            "",
            (
                f"Copies reach {overlap['up GB/s']:.0f} GB/s up and {overlap['down GB/s']:.0f} down;"
                f" {100 * overlap['hidden share']:.0f} % of the shorter of three overlapping operations is"
                " hidden."
            ),
        ]
    )


def live(path: Path) -> str:
    """Speed, latency, hours and faults of recordings, from the JSON of benchmarks.live."""
    figures = json.loads(path.read_text())
    speeds, latencies, hours, soak = (figures[name] for name in ("rivals", "paced", "hours", "soak"))
    lines = [
        f"{figures['machine']}, {path.stem[-10:]}. [Record live](../live.md) explains the words.",
        "",
        "## Throughput",
        "",
        (
            "512 x 512 int16 of the two-photon recording, to a local disk, until the last byte is there, in"
            " turns. Ours is synced before it counts as acknowledged; the others leave that to the system."
        ),
        "",
        "| writer | MB/s | lowest to highest | ratio | worst error, sigma |",
        "|---|---|---|---|---|",
        *(
            f"| {row['writer']} | {row['mb_s']:,.0f} | {row['lowest_mb_s']:,.0f} to"
            f" {row['highest_mb_s']:,.0f} | {row['ratio']:.2f} | {row['worst_error_sigma']:.2f} |"
            for row in speeds
        ),
        "",
        "## Latency of one append",
        "",
        (
            "Appends of one frame at 100 MB/s, in turns. An append is late if it began more than 100 ms"
            " after its frame was due."
        ),
        "",
        "| writer | p50 ms | p99 ms | worst ms | late |",
        "|---|---|---|---|---|",
        *(
            f"| {row['writer']} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f} | {row['worst_ms']:.1f} |"
            f" {row['late']:,} of {row['appends']:,} |"
            for row in latencies
        ),
        "",
        "## Hours and faults",
        "",
        (
            f"{hours['frames']:,} frames, {hours['hours_at_30_hz']:g} hours at 30 Hz, were recorded at"
            f" {hours['mb_s']:,.0f} MB/s. Memory was at most {hours['most_bytes_first_half'] / 1e6:,.0f} MB"
            f" in the first half, and {hours['most_bytes_second_half'] / 1e6:,.0f} MB in the second; 512 MB"
            " of it is the queue."
        ),
        "",
        (
            f"{soak['seconds'] / 60:g} minutes of recordings whose store and spool disk fail at random and"
            f" whose process is killed at random: {soak['recordings']:,} recordings, {soak['kills']:,} of"
            f" them killed, {soak['faults']:,} faults, {soak['acknowledged']:,} frames acknowledged,"
            f" **{soak['lost']:,} lost**."
        ),
    ]
    if resume := figures.get("resume"):
        lines += [
            "",
            (
                f"A transcode of {resume['gigabytes']:.0f} GB, killed {resume['kills']} times, did"
                f" {resume['chunks_done_again']} of its {resume['chunks']:,} chunks again"
                " (`python -m benchmarks.resume`)."
            ),
        ]
    return "\n".join(lines)


def write(path: Path, title: str, command: str, text: str) -> None:
    """Write one page of docs/measured/; ``command`` made its results, or is the name of their file."""
    source = f"`{command}`" if "/" in command else f"`python -m {command}`"
    page = f"# {title}\n\nWritten by `python -m benchmarks.tables` from {source}.\n\n{wrapped(text)}\n"
    with replacing(path) as file:
        file.write(page.encode())


def wrapped(text: str) -> str:
    """Text with its prose in lines of at most 100 characters; tables, lists and pictures stay as they are."""
    return "\n".join(
        line if line.startswith(("|", "!", "-")) else textwrap.fill(line, 100, break_on_hyphens=False)
        for line in text.split("\n")
    )


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--case", help="the one in the README; default: 2p_cortex, or the first")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--root", type=Path, default=ROOT, help="where README.md and docs/ are")
    options = parser.parse_args(arguments)
    folder = options.root / "docs" / "measured"
    folder.mkdir(parents=True, exist_ok=True)
    made = 0
    if results := newest("compare", options.results):
        write_comparison(results, options.root, options.results, options.case)
        made += 1
    pages: dict[str, tuple[str, Callable[[Rows], str]]] = {
        "latency": ("Time to one frame or region", frames),
        "source_formats": ("Kinds of files", kinds_of_files),
        "workers": ("Dask workers", many_workers),
        "scaling": ("How cost grows", growth),
        "above_noise_floor": ("Bits above the noise floor", above_noise_floor.page),
        "gil_time": ("Work that holds Python's lock", gil_time.page),
        "vector_instructions": ("Vector instructions of kernels", vector_instructions.page),
        "buffer_copies": ("Buffers between frames and disk", buffer_copies.page),
        "petabyte": ("A petabyte", lambda rows: petabyte.page(petabyte.measured_in(rows[-1]))),
    }
    for table, (title, page) in pages.items():
        command = "benchmarks.latency --s3" if table == "latency" else f"benchmarks.{table}"
        if results := newest(table, options.results):
            write(folder / f"{table}.md", title, command, page(load(results)))
            made += 1
        else:
            print(f"{table}: no results, page left as it is; measure with python -m benchmarks.{table}")
    if results := newest("scaling", options.results):
        axes: dict[str, list[dict]] = {}
        for row in load(results):
            axes.setdefault(row["axis"], []).extend(as_numbers([row]))
        draw_scaling(axes, "Encoding time and peak memory (compact, fast)", folder / "scaling.png")
    if devices := sorted(options.results.glob("gpu_*.json"), key=lambda path: path.stem[-10:]):
        write(folder / "gpu.md", "GPU speed", "benchmarks.gpu", gpu(devices[-1]))
        made += 1
    if recorded := sorted(options.results.glob("live_*.json"), key=lambda path: path.stem[-10:]):
        command = "benchmarks.live --json FILE"
        write(folder / "live.md", "Live recording, measured", command, live(recorded[-1]))
        made += 1
    if made_once := sorted(options.results.glob("experiments_*.json")):
        path = made_once[-1]
        source = f"benchmarks/results/{path.name}"
        write(folder / "experiments.md", "Compression experiments", source, one_off_experiments.page(path))
        made += 1
    for name, title, text in (
        ("rate_distortion", "Size against error", rates(folder)),
        ("bias", "Bias of decoded means", biases(folder)),
    ):
        if text:
            write(folder / f"{name}.md", title, f"benchmarks.{name}", text)
    if not made:
        raise SystemExit(f"no results in {options.results}: run python -m benchmarks.compare")


def write_comparison(path: Path, root: Path, results: Path, case: str | None) -> None:
    """Write the README's table and plot, and the pages of benchmarks.compare."""
    folder = root / "docs" / "measured"
    rows = gathered("compare", "case", results)
    names = list(dict.fromkeys(row["case"] for row in rows))
    case = case or ("2p_cortex" if "2p_cortex" in names else names[0])
    if case not in names:
        raise SystemExit(f"{path} has no case {case!r}; it has {', '.join(names)}")
    fill(root / "README.md", "benchmarks", section(rows, case))
    chosen = brief([row for row in rows if row["case"] == case])
    title = f"{case}: {chosen[0]['shape'].replace('x', ' x ')} {chosen[0]['dtype']}, step 0.5"
    draw_comparison([point(row) for row in chosen], title, folder / "compare.png")
    ram = gathered("ram", "case", results)
    remote = gathered("compare", "case", results, having="s3_frame_median_s")
    command = "benchmarks.compare"
    for name, heading, by, text in (
        ("comparison", "Every recording, every contender", command, comparison(rows, case, ram)),
        ("s3", "Frames and regions from S3", f"{command} --s3", s3(remote)),
        (
            "sizes",
            "Speed against the size of a movie",
            f"{command} --cases size-16,size-64,size-256",
            sizes(rows),
        ),
    ):
        if text:
            write(folder / f"{name}.md", heading, by, text)


if __name__ == "__main__":
    main()
