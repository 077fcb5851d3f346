"""Count every buffer between frames and disk: ``python -m benchmarks.buffer_copies [--frames 100]``.

One chunk is encoded, written and read back on one thread, while tracemalloc counts the bytes that each line
of photon_gpu allocates, per byte of the raw chunk. A buffer is written at most once, so this is the most that
is copied or computed. Blosc's buffer is as long as its input, and filled as far as its output. The time of
zarr-python for the same frames of the same stores is measured too. The CSV goes to benchmarks/results/, and
``python -m benchmarks.tables`` makes a page of it.
"""

from __future__ import annotations

import sys
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import zarr

import photon_gpu as pg
from benchmarks.compare import sized
from benchmarks.support.arguments import parser_of
from benchmarks.support.interleaved_timing import interleaved
from benchmarks.support.results_csv import RESULTS, path_of, save
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.store import manifest

_HOME = str(Path(pg.__file__).parent)
_LEAST = 1 << 12
COLUMNS = ("date", "machine", "layout", "action", "by", "bytes_per_raw_byte", "ms")


class Watch:
    """Bytes that each line of photon_gpu allocates in a call: the most above the level before it ran."""

    def __init__(self) -> None:
        self.lines: Counter[str] = Counter()
        self._line, self._before = "elsewhere", 0

    def run(self, action: Callable[[], Any]) -> Any:
        """The call's result."""
        tracemalloc.start(1)
        self._before = tracemalloc.get_traced_memory()[0]
        sys.settrace(self._event)
        try:
            return action()
        finally:
            sys.settrace(None)
            self._settle("elsewhere")
            tracemalloc.stop()

    def _event(self, frame: FrameType, event: str, argument: object) -> Callable | None:
        if not frame.f_code.co_filename.startswith(_HOME):
            return None  # what others allocate is counted to the line that called them
        at: FrameType | None = frame
        while event == "return" and at is not None:  # back in the line that called it
            at = at.f_back
            if at is not None and at.f_code.co_filename.startswith(_HOME):
                break
        self._settle(_location(at))
        return self._event

    def _settle(self, line: str) -> None:
        """What came since the last event is of the line before."""
        now, peak = tracemalloc.get_traced_memory()
        if peak - self._before >= _LEAST:
            self.lines[self._line] += peak - self._before
        tracemalloc.reset_peak()
        self._line, self._before = line, now


def fewest(action: Callable[[], Any]) -> Counter[str]:
    """Count three calls; return the lines of the one that allocated the fewest bytes.

    tracemalloc counts all threads, so what an unrelated thread allocates meanwhile adds to a call.
    """
    watches = [Watch() for _ in range(3)]
    for watch in watches:
        watch.run(action)
    return min((watch.lines for watch in watches), key=lambda lines: sum(lines.values()))


def _location(frame: FrameType | None) -> str:
    if frame is None:
        return "elsewhere"
    name = Path(frame.f_code.co_filename).relative_to(_HOME)
    return f"{name}:{frame.f_lineno} {frame.f_code.co_name}"


def count(layout: str, frames: int, size: int, preset: str = "fast") -> dict[str, Counter[str]]:
    """Bytes allocated by line, per raw byte, of writing a chunk and of reading it back."""
    case = sized(1e-6 * frames * 512 * 512 * 2)
    values = np.ascontiguousarray(case.values[:, :size, :size])
    with tempfile.TemporaryDirectory() as folder:
        report = pg.encode(
            values,
            Path(folder) / "m.zarr",
            noise=case.noise,
            layout=layout,
            preset=preset,
            chunk_frames=frames,
            check=False,
            trust_noise=True,
        )
        layout_used = layout_for(report.encoding, get_backend())
        target = pg.Storage.at(Path(folder) / "n.zarr")

        def write() -> None:
            data = layout_used.encode(values, values.shape, Resources())
            manifest.entry(data)
            target.write("0.0.0", data)

        def read() -> np.ndarray:
            return pg.open(Path(folder) / "m.zarr", workers=1).counts[...]

        counts = {}
        for name, action in (("write", write), ("read", read)):
            action()  # compiled, and tables made
            lines = fewest(action)
            counts[name] = Counter({line: nbytes / values.nbytes for line, nbytes in lines.items()})
    return counts


def beside_zarr(frames: int, size: int, repeats: int) -> list[dict[str, Any]]:
    """Measure the milliseconds to read the same stores, by photon_gpu and by zarr-python."""
    case = sized(1e-6 * frames * 512 * 512 * 2)
    values = np.ascontiguousarray(case.values[:, :size, :size])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        actions: dict[str, Callable[[], Any]] = {}
        for layout in ("compact", "plain", "lossless"):
            target = Path(folder) / f"{layout}.zarr"
            pg.encode(
                values,
                target,
                noise=case.noise,
                layout=layout,
                preset="fast",
                chunk_frames=min(frames, 100),
                check=False,
                trust_noise=True,
            )

            def ours(key: Any, target: Path = target, layout: str = layout) -> Any:
                movie = pg.open(target)
                return movie[key] if layout == "plain" else movie.counts[key]

            def theirs(key: Any, target: Path = target) -> Any:
                return zarr.open_array(str(target), mode="r")[key]

            for extent, key in (("all frames", slice(None)), ("one frame", frames // 2)):
                np.testing.assert_array_equal(ours(key), theirs(key))
                actions[f"{layout}, {extent}, photon_gpu"] = lambda f=ours, k=key: f(k)
                actions[f"{layout}, {extent}, zarr-python"] = lambda f=theirs, k=key: f(k)
        for name, timing in interleaved(actions, repeats).items():
            layout, extent, by = name.split(", ")
            rows.append({"layout": layout, "action": extent, "by": by, "ms": 1e3 * timing.median})
    return rows


def page(rows: list[dict[str, str]]) -> str:
    """Return the text of docs/measured/buffer_copies.md."""
    layouts = list(dict.fromkeys(row["layout"] for row in rows))
    counted = {(r["layout"], r["action"]): r["bytes_per_raw_byte"] for r in rows if r["bytes_per_raw_byte"]}
    text = [
        f"{rows[0]['machine']}, {rows[0]['date']}.",
        "",
        "Bytes that photon_gpu allocates while it writes and reads one chunk, per byte of the raw chunk,"
        " with the memory that a thread keeps for its next chunk.",
        "",
        "| layout | write | read |",
        "|---|---|---|",
        *(f"| {x} | {float(counted[x, 'write']):.2f} | {float(counted[x, 'read']):.2f} |" for x in layouts),
    ]
    if timed := [row for row in rows if row["ms"]]:
        text += [
            "",
            "Milliseconds to read the same stores. The engine reads and writes chunks without zarr-python;"
            " this is what zarr-python would cost.",
            "",
            "| layout | read | by | ms |",
            "|---|---|---|---|",
            *(f"| {r['layout']} | {r['action']} | {r['by']} | {float(r['ms']):.1f} |" for r in timed),
        ]
    return "\n".join(text)


def main(arguments: list[str] | None = None) -> Path:
    parser = parser_of(__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--no-zarr", action="store_true", help="only count")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    for layout in ("compact", "plain", "lossless"):
        for action, lines in count(layout, options.frames, options.size).items():
            allocated = sum(lines.values())
            rows.append({"layout": layout, "action": action, "bytes_per_raw_byte": allocated})
            print(f"\n{layout}, {action}: {allocated:.2f} bytes allocated per raw byte")
            for line, share in lines.most_common():
                if share >= 0.005:
                    print(f"  {share:5.2f}  {line}")
    if not options.no_zarr:
        rows += beside_zarr(options.frames, options.size, options.repeats)
    target = path_of("buffer_copies", options.results)
    save(target, COLUMNS, rows, "layout")
    print(f"\n{target}")
    return target


if __name__ == "__main__":
    main()
