"""Run the demo: simulate a movie, store it in each layout, check every pixel, draw the result."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.encode_settings import EncodeSettings, progress_call
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.pool import Pool, worker_count
from photon_gpu.errors import CorruptDataError, InvalidInputError, StoreExistsError
from photon_gpu.progress_bar import Progress
from photon_gpu.reader.movie import Movie
from photon_gpu.reader.open import open as open_movie
from photon_gpu.sources.simulated.movie import SimulatedMovie, simulate
from photon_gpu.sources.simulated.parameters import Simulation
from photon_gpu.store.durable import replacing
from photon_gpu.store.storage import Storage
from photon_gpu.writer.encode import encode_with

if TYPE_CHECKING:
    from rich.table import Table

FOLDER = "photon-gpu-demo"
PICTURE, REPORT, MARKER = "demo.png", "demo.json", ".photon-gpu-demo"
STEP = 0.5

_VARIANTS = (("plain", "balanced"), ("compact", "fast"), ("compact", "small"), ("lossless", "balanced"))
_BLOCK_FRAMES = 50  # Frames checked at a time.
_WARM_FRAMES = 8
_PICTURE_FRAMES = 150  # Enough to measure the temporal variance of a pixel to within 12 %.


@dataclass(frozen=True, kw_only=True)
class DemoRow:
    """Results of one layout: written, read and checked.

    Attributes
    ----------
    path : str
        Folder of the stored movie.
    ratio : float
        Raw bytes per stored byte.
    above_floor_percent : float or None
        Size above the noise floor; None for lossless.
    choose_seconds : float
        Time to choose predictor and compressor on a sample, once per movie of any length.
    write_megabytes_per_second, read_megabytes_per_second : float
        Raw megabytes (1e6) per second: from memory to disk without tuning, and back to counts (from the
        operating system's cache).
    worst_error_sigma, rms_error_sigma : float
        Difference between a decoded pixel and its raw value, in units of its noise.
    """

    layout: str
    preset: str
    path: str
    stored_bytes: int
    ratio: float
    above_floor_percent: float | None
    choose_seconds: float
    write_megabytes_per_second: float
    read_megabytes_per_second: float
    worst_error_sigma: float
    rms_error_sigma: float


@dataclass(frozen=True, kw_only=True)
class DemoReport:
    """Report of the demo. Every row passed the check; otherwise there is no report.

    Attributes
    ----------
    picture : str or None
        Path of the picture; None for a movie of one frame.
    simulation : Simulation
        The movie.
    compile_seconds : float
        Time to load and compile the kernels, not part of any speed.
    seconds : float
        Time of the whole demo.
    """

    folder: str
    picture: str | None
    simulation: Simulation
    noise: NoiseModel
    step: float
    raw_bytes: int
    rows: tuple[DemoRow, ...]
    compile_seconds: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows]}

    def table(self) -> Table:
        """Table for a terminal."""
        from rich.table import Table

        s = self.simulation
        table = Table(
            title=f"{s.frames} x {s.height} x {s.width} {s.dtype}, {s.photons:g} photons per pixel, "
            f"{self.raw_bytes / 1e6:.1f} MB, step {self.step:g} sigma",
            caption="every pixel checked" + (f"; picture: {self.picture}" if self.picture else ""),
        )
        table.add_column("layout")
        table.add_column("preset")
        for head in (
            "ratio",
            "above the\nnoise floor",
            "choose\ns",
            "write\nMB/s",
            "read\nMB/s",
            "worst error\nsigma",
        ):
            table.add_column(head, justify="right")
        for row in self.rows:
            floor = "-" if row.above_floor_percent is None else f"{row.above_floor_percent:+.1f} %"
            table.add_row(
                row.layout,
                row.preset,
                f"{row.ratio:.2f}",
                floor,
                f"{row.choose_seconds:.2f}",
                f"{row.write_megabytes_per_second:,.0f}",
                f"{row.read_megabytes_per_second:,.0f}",
                f"{row.worst_error_sigma:.2f}",
            )
        return table

    def __rich__(self) -> Table:
        return self.table()


@dataclass(frozen=True)
class Expected:
    """Expected content of a store of ``raw``, from the exact definition of the codes alone.

    It uses no kernel and no lookup table of the engine: each distinct value is coded in rational
    arithmetic.
    """

    raw: NDArray
    step: float
    noise: NoiseModel
    low: int
    codes: NDArray[np.int64]
    first: NDArray[np.float64]
    last: NDArray[np.float64]

    @classmethod
    def of(cls, raw: NDArray, noise: NoiseModel, step: float) -> Expected:
        """Compute the codes of all values from the least to the greatest of an integer movie."""
        if raw.dtype.kind not in "iu":
            raise InvalidInputError(f"demo: a movie of {raw.dtype}; integers are needed")
        table = CodeTable(noise, step=step, dtype=raw.dtype)
        low, high = int(raw.min()), int(raw.max())
        codes = np.array([table.code(value) for value in range(low, high + 1)])
        first, last = table.bins(int(codes[0]), int(codes[-1]))
        return cls(raw, step, noise, low, codes, first[codes - codes[0]], last[codes - codes[0]])

    def check(
        self, movie: Movie, progress: Callable[[int], None] = lambda frames: None
    ) -> tuple[float, float]:
        """Check a movie; return the worst and the root mean square error of ``movie.counts``, in sigma.

        Raises
        ------
        CorruptDataError
            The movie differs from what was written; the message says where and how.
        """
        if movie.shape != self.raw.shape or movie.counts.dtype != self.raw.dtype:
            raise CorruptDataError(
                f"demo: {movie.url} opens as {movie.shape} {movie.counts.dtype}, "
                f"{self.raw.shape} {self.raw.dtype} was written"
            )
        worst = total = 0.0
        for start in range(0, len(self.raw), _BLOCK_FRAMES):
            block = self.raw[start : start + _BLOCK_FRAMES]
            frames = slice(start, start + len(block))
            counts, stabilized = movie.counts[frames], movie[frames]
            index = block.astype(np.int64) - self.low
            truth = anscombe(block, self.noise)
            if movie.step is None:
                self._refuse(movie, start, counts != block, "counts differ from the raw movie", counts)
                self._refuse(movie, start, stabilized != truth, "stabilized values differ", stabilized)
            else:
                labels = self.codes[index] * self.step
                self._refuse(
                    movie, start, stabilized != labels, "codes differ from the exact ones", stabilized
                )
                outside = (counts < self.first[index]) | (counts > self.last[index])
                self._refuse(movie, start, outside, "counts lie outside the bin of the raw value", counts)
            error = np.abs(anscombe(counts, self.noise) - truth)
            worst, total = max(worst, float(error.max())), total + float((error**2).sum())
            progress(len(block))
        return worst, (total / self.raw.size) ** 0.5

    def _refuse(self, movie: Movie, start: int, wrong: NDArray, problem: str, decoded: NDArray) -> None:
        if not wrong.any():
            return
        t, y, x = (int(i) for i in np.argwhere(wrong)[0])
        raise CorruptDataError(
            f"demo: {movie.url}: {int(wrong.sum())} {problem}; the first at frame {start + t}, pixel "
            f"({y}, {x}): raw {self.raw[start + t, y, x]}, decoded {decoded[t, y, x]}. This is a fault of "
            "photon_gpu or of the disk: please report it"
        )


def demo(
    *,
    folder: str | os.PathLike[str] = FOLDER,
    simulation: Simulation | None = None,
    progress: Progress | None = None,
) -> DemoReport:
    """Simulate a two-photon movie, store it in each layout, open it, check it, and draw it.

    Every pixel of every layout is compared with the exact transform of the written movie: the codes must be
    equal, and the counts must lie in the bin of the raw count.

    Parameters
    ----------
    folder : str or path
        Folder for the movies, the picture (``demo.png``) and the report (``demo.json``). It must be new,
        empty, or of an earlier demo, which is then replaced.
    simulation : Simulation, optional
        Movie to use instead of the default; of an integer dtype.
    progress : callable, optional
        ``progress(frames_done, frames_in_all)``, over all passes.

    Returns
    -------
    DemoReport

    Raises
    ------
    StoreExistsError
        The folder holds files that no demo wrote.
    CorruptDataError
        The values read differ from those written.

    Examples
    --------
    >>> import tempfile
    >>> small = Simulation(frames=20, height=32, width=32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = demo(folder=folder, simulation=small)
    >>> [row.layout for row in report.rows]
    ['plain', 'compact', 'compact', 'lossless']
    >>> all(row.worst_error_sigma < report.step for row in report.rows)
    True
    """
    begin = time.perf_counter()
    target = _own(Path(folder))
    source = simulate(simulation or Simulation())
    count = _Count(progress_call(progress), len(source) * (1 + 2 * len(_VARIANTS)))
    raw = _frames(source, count)
    noise = source.noise
    expected = Expected.of(raw, noise, STEP)
    rows: list[DemoRow] = []
    compile_seconds = 0.0
    for layout, preset in _VARIANTS:
        row, compiling = _store(expected, target, layout, preset, count)
        rows.append(row)
        compile_seconds += compiling
    smallest = min((row for row in rows if row.layout == "compact"), key=lambda row: row.stored_bytes)
    picture = target / PICTURE if len(raw) > 1 else None  # The noise of a single frame cannot be drawn.
    if picture is not None:
        _draw(picture, raw, open_movie(smallest.path), noise, smallest.ratio)
    result = DemoReport(
        folder=str(target),
        picture=None if picture is None else str(picture),
        simulation=source.simulation,
        noise=noise,
        step=STEP,
        raw_bytes=raw.nbytes,
        rows=tuple(rows),
        compile_seconds=compile_seconds,
        seconds=time.perf_counter() - begin,
    )
    with replacing(target / REPORT) as file:
        file.write((json.dumps(result.to_dict(), indent=2) + "\n").encode())
    return result


def _own(folder: Path) -> Path:
    """Make the folder, or check that a demo made it; mark it before anything else is written."""
    if folder.exists() and not (folder / MARKER).is_file():
        contents = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else ["(a file)"]
        if contents:
            raise StoreExistsError(
                f"demo: {folder} holds {contents[0]}{' and more' if len(contents) > 1 else ''}, "
                "which no demo wrote; name a new folder, or remove this one"
            )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()
    for name in (REPORT, PICTURE):  # A demo that fails leaves no report of an earlier one.
        (folder / name).unlink(missing_ok=True)
    return folder


def _frames(source: SimulatedMovie, count: _Count) -> NDArray:
    """Simulate the whole movie on all cores."""
    raw = np.empty(source.shape, source.dtype)

    def one(t: int) -> None:
        raw[t] = source.read(t, t + 1)[0]

    with Pool("photon-demo", worker_count(None)) as pool:
        for frame in [pool.submit(one, t) for t in range(len(source))]:
            frame.result()
            count(1)
    return raw


def _store(
    expected: Expected, target: Path, layout: str, preset: str, count: _Count
) -> tuple[DemoRow, float]:
    """Write, read and check one layout; also return the seconds of compilation before it."""
    raw = expected.raw
    path = target / (f"compact-{preset}.zarr" if layout == "compact" else f"{layout}.zarr")
    storage = Storage.at(path)
    settings = EncodeSettings(
        noise=expected.noise,
        step=expected.step,
        layout=layout,
        preset=preset,
        check=False,  # Every pixel is compared below.
    )
    # Encode a few frames first, so that loading and compiling are not part of the speeds.
    start = time.perf_counter()
    encode_with(settings, raw[:_WARM_FRAMES], storage, overwrite=True)
    open_movie(path).counts[...]
    compiling = time.perf_counter() - start
    report = encode_with(settings, raw, storage, overwrite=True, progress=count.within())
    choosing = report.stages["tune"]
    start = time.perf_counter()
    open_movie(path).counts[...]
    reading = time.perf_counter() - start
    worst, rms = expected.check(open_movie(path), count)
    row = DemoRow(
        layout=layout,
        preset=preset,
        path=str(path),
        stored_bytes=report.stored_bytes,
        ratio=report.ratio,
        above_floor_percent=report.above_floor_percent,
        choose_seconds=choosing,
        write_megabytes_per_second=raw.nbytes / 1e6 / max(report.seconds - choosing, 1e-9),
        read_megabytes_per_second=raw.nbytes / 1e6 / max(reading, 1e-9),
        worst_error_sigma=worst,
        rms_error_sigma=rms,
    )
    return row, compiling


def _draw(path: Path, raw: NDArray, movie: Movie, noise: NoiseModel, ratio: float) -> None:
    from photon_gpu.plots import plot_demo, save_figure

    frames = slice(0, _PICTURE_FRAMES)
    figure = plot_demo(
        raw=raw[frames],
        stabilized=movie[frames],
        decoded=movie.counts[frames],
        noise=noise,
        step=STEP,
        ratio=ratio,
        title=f"A simulated two-photon movie at step {STEP:g} sigma, layout {movie.layout}",
    )
    save_figure(figure, path, dpi=110)


class _Count:
    """Progress in frames over all passes."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self, frames: int) -> None:
        self._done += frames
        if self._progress is not None:
            self._progress(self._done, self._total)

    def within(self) -> Progress:
        """Return the progress callback of one pass, added to the passes before it."""
        seen = 0

        def step(done: int, _: int) -> None:
            nonlocal seen
            self(done - seen)
            seen = done

        return step
