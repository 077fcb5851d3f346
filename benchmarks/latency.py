"""Time reading one frame, and one region of all frames: ``python -m benchmarks.latency [--reads 15]``.

A movie of 400 frames of 512 x 512 (two-photon simulator), in chunks of 100, for each layout and preset: the
first random frame of a movie that was just opened, a frame of another chunk of a movie that is open, one more
of a chunk that was just read (then the whole chunk is opened and kept), a third one, and the mean of 12 x 12
pixels in every frame.
Nothing is cached by photon_gpu before; files lie in the system's page cache, or, with --s3, at a real S3
server on this machine. Every value is held against the whole decoded movie. All take turns; CSV in
benchmarks/results/.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

import photon_gpu as pg
from benchmarks.compare import sized
from benchmarks.support.arguments import parser_of
from benchmarks.support.interleaved_timing import machine
from benchmarks.support.results_csv import RESULTS, path_of, save
from benchmarks.support.s3_folder import Bucket

SETTINGS = (
    ("compact", "fast"),
    ("compact", "balanced"),
    ("compact", "small"),
    ("plain", "fast"),
    ("lossless", "fast"),
)
ACTIONS = ("open", "frame", "other_chunk", "again", "third", "trace")
COLUMNS = (
    "date",
    "machine",
    "store",
    "layout",
    "preset",
    "shape",
    "chunk_frames",
    "ratio",
    "reads",
    *(f"{action}_{statistic}_ms" for action in ACTIONS for statistic in ("median", "min", "max")),
)


def measure(
    folder: Path, frames: int, size: int, chunk: int, reads: int, bucket: Bucket | None
) -> list[dict]:
    """A row per store, layout and preset."""
    case = sized(1e-6 * frames * 512 * 512 * 2)
    values = np.ascontiguousarray(case.values[:, :size, :size])
    rows, wholes, places = [], {}, {}
    for layout, preset in SETTINGS:
        target = folder / f"{layout}-{preset}.zarr"
        report = pg.encode(
            values,
            target,
            noise=case.noise,
            layout=layout,
            preset=preset,
            chunk_frames=chunk,
            check=False,
            trust_noise=True,
        )
        wholes[target.name] = pg.open(target).counts[...]
        stores: dict[str, tuple[Any, dict]] = {"disk": (target, {})}
        if bucket is not None:
            there = bucket / target.name
            there.take(target)
            stores["S3"] = there.url, {"storage_options": there.options}
        for store, (url, options) in stores.items():
            row = {
                "store": store,
                "layout": layout,
                "preset": preset,
                "shape": "x".join(map(str, values.shape)),
                "chunk_frames": chunk,
                "ratio": report.ratio,
                "reads": reads,
            }
            rows.append(row)
            places[len(rows) - 1] = url, options, wholes[target.name]
    took: list[dict[str, list[float]]] = [{action: [] for action in ACTIONS} for _ in rows]
    rng = np.random.default_rng(0)
    for turn in range(reads + 1):
        numbers = rng.integers(0, frames, 1)
        for n, (url, options, whole) in places.items():
            read = once(url, options, whole, int(numbers[0]), chunk, rng)
            for action, seconds in read.items():
                if turn:  # the first round compiles
                    took[n][action].append(1e3 * seconds)
    for row, of in zip(rows, took, strict=True):
        for action, ms in of.items():
            row[f"{action}_median_ms"] = statistics.median(ms)
            row[f"{action}_min_ms"], row[f"{action}_max_ms"] = min(ms), max(ms)
    return rows


def once(
    url: Any, options: dict, whole: np.ndarray, number: int, chunk: int, rng: np.random.Generator
) -> dict:
    """Seconds of each action, once, each checked."""
    frames, height, width = whole.shape
    region = slice(height // 3, height // 3 + 12), slice(width // 3, width // 3 + 12)
    took: dict[str, float] = {}

    def timed(action: str, read: Any, expected: Any) -> None:
        start = time.perf_counter()
        value = read()
        took[action] = time.perf_counter() - start
        np.testing.assert_array_equal(value, expected)

    start = time.perf_counter()
    movie = pg.open(url, **options)
    took["open"] = time.perf_counter() - start
    other = (number + chunk) % frames
    inside = other // chunk * chunk
    more = [int(n) for n in rng.integers(inside, min(inside + chunk, frames), 2)]
    timed("frame", lambda: movie.counts[number], whole[number])
    timed("other_chunk", lambda: movie.counts[other], whole[other])
    timed("again", lambda: movie.counts[more[0]], whole[more[0]])
    timed("third", lambda: movie.counts[more[1]], whole[more[1]])
    anew = pg.open(url, **options)
    timed(
        "trace",
        lambda: anew.counts[(slice(None), *region)].mean((1, 2)),
        whole[(slice(None), *region)].mean((1, 2)),
    )
    return took


def main(arguments: list[str] | None = None) -> Path:
    parser = parser_of(__doc__)
    parser.add_argument("--reads", type=int, default=15)
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--chunk-frames", type=int, default=100)
    parser.add_argument("--s3", action="store_true", help="from an S3 server, too")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bucket = None
        if options.s3:
            from tests.support import servers

            (folder / "s3").mkdir()
            bucket = Bucket(stack.enter_context(servers.seaweed(folder / "s3")), "imaging/latency")
        rows = measure(folder, options.frames, options.size, options.chunk_frames, options.reads, bucket)
    target = path_of("latency", options.results)
    save(target, COLUMNS, rows, "store")
    print(machine())
    for row in rows:
        text = ", ".join(
            f"{action} {row[f'{action}_median_ms']:.1f} "
            f"({row[f'{action}_min_ms']:.1f}-{row[f'{action}_max_ms']:.1f})"
            for action in ACTIONS
        )
        print(f"{row['store']}, {row['layout']}, {row['preset']}: ms {text}")
    print(target)
    return target


if __name__ == "__main__":
    main()
