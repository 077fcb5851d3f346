"""Measure how fast this machine encodes, stage by stage, compared with its ceilings.

The encodes are real calls of :func:`photon_gpu.encode` to a folder on the disk, flushed as always, and their
times come from ``report.stages``.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

import psutil

from photon_gpu.encode_settings import PRESETS, EncodeSettings, progress_call
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.runtime.pool import worker_count
from photon_gpu.errors import InvalidInputError
from photon_gpu.progress_bar import Progress
from photon_gpu.sources.base import Source
from photon_gpu.sources.select.open_options import SourceOptions, SourceRequest
from photon_gpu.store.storage import Storage
from photon_gpu.tools.profiling.ceilings import ceilings, has_gpu
from photon_gpu.tools.profiling.measured_combination import STAGES, Measured
from photon_gpu.tools.profiling.preset_for_camera import Camera, cores_text
from photon_gpu.tools.profiling.profiled_movie import NoiseModels, Part, Repeated, corner, movie_for
from photon_gpu.writer.encode import encode_with
from photon_gpu.writer.report import EncodeReport

LAYOUTS = ("compact", "plain", "lossless")
WRITE_UNIT = "write of stored bytes, all others of raw ones"
_WAITING = ("read", "write")
_FIRST_FRAMES = 8
_OVER = 3.0  # A combination may take this many times its share to encode one whole chunk.
_MOST_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Profile:
    """All measurements, with the machine."""

    machine: str
    movie: str
    shape: tuple[int, ...]
    dtype: str
    step: float
    ceilings: dict[str, float]
    measured: tuple[Measured, ...]
    seconds: float
    camera: Camera | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def cores(self) -> int:
        """Largest number of cores measured."""
        return max(m.cores for m in self.measured)

    @property
    def advice(self) -> tuple[str, ...]:
        """Conclusions, in sentences."""
        fastest = max(self.measured, key=lambda m: m.megabytes_per_second)
        smallest = max(self.measured, key=lambda m: m.ratio)
        sentences = []
        for title, m in (("fastest", fastest), ("smallest", smallest)):
            stage, share = m.limiting_stage
            sentences.append(
                f"{title}: {m.layout}, {m.preset} on {cores_text(m.cores)} ({m.backend}): "
                f"{m.megabytes_per_second:,.0f} MB/s at ratio {m.ratio:.2f}; "
                f"{stage} is the bottleneck ({100 * share:.0f} % of the thread time)"
            )
        if self.camera is not None:
            sentences.append(self.camera.advice(self.measured).text)
        short = sum(not m.whole_chunks for m in self.measured)
        if short:
            sentences.append(
                f"~ {short} of {len(self.measured)} were too slow to encode a whole chunk in the time "
                "given, so costs that occur once weigh too much; take more --seconds, or fewer presets "
                "and layouts"
            )
        return (*sentences, *self.notes)

    def table(self) -> Any:
        """Return a rich table with ceilings above and advice below it."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        stages = [s for s in STAGES if any(s in m.stages for m in self.measured)]
        grid = Table(title=f"MB/s; a stage alone on these cores, {WRITE_UNIT}", title_justify="left")
        for head in ("backend", "layout", "preset"):
            grid.add_column(head)
        for head in ("cores", "frames", "ratio", "MB/s", *stages):
            grid.add_column(head, justify="right")
        grid.add_column("held back by")
        for m in self.measured:
            rates = [f"{m.stage_rate(s):,.0f}" if s in m.stages else "" for s in stages]
            numbers = (
                str(m.cores),
                f"{'' if m.whole_chunks else '~'}{m.frames}",
                f"{m.ratio:.2f}",
                f"{m.megabytes_per_second:,.0f}",
                *rates,
            )
            stage, share = m.limiting_stage
            grid.add_row(m.backend, m.layout, m.preset, *numbers, f"{stage} {100 * share:.0f} %")
        shape = " x ".join(map(str, self.shape[1:]))
        limits = ", ".join(f"{name} {rate:,.0f}" for name, rate in self.ceilings.items())
        movie = f"{self.movie}, frames of {shape} {self.dtype}, step {self.step:g}"
        head = f"{self.machine}\n{movie}\nceilings, MB/s: {limits}"
        return Group(Text(head), grid, *(Text(line) for line in self.advice))

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values, which ``--json`` prints."""
        return {
            "machine": self.machine,
            "movie": self.movie,
            "frame_shape": list(self.shape[1:]),
            "dtype": self.dtype,
            "step": self.step,
            "ceilings_megabytes_per_second": dict(self.ceilings),
            "measured": [m.to_dict() for m in self.measured],
            "seconds": self.seconds,
            "camera": None if self.camera is None else self.camera.advice(self.measured).to_dict(),
            "advice": list(self.advice),
            "notes": list(self.notes),
        }


def profile(
    source: Any = None,
    *,
    noise: NoiseModels | None = None,
    step: float = 0.5,
    layouts: Sequence[str] = LAYOUTS,
    presets: Sequence[str] = PRESETS,
    backends: Sequence[str] | None = None,
    cores: Sequence[int] | None = None,
    camera: Camera | None = None,
    seconds: float = 30.0,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **source_options: Unpack[SourceOptions],
) -> Profile:
    """Measure every combination of backend, layout, preset and cores within about ``seconds``.

    Parameters
    ----------
    source : optional
        Source for :func:`photon_gpu.open_source`; its first frames are encoded. Default: a simulated
        two-photon movie, with the frames of the camera if one is stated.
    noise : NoiseModel, optional
        Noise model of ``source``. Default: an estimate, or the model of the simulator.
    backends : sequence of str, optional
        Default: numba, and cupy if there is a GPU.
    cores : sequence of int, optional
        Default: 1, its doubles, and all.
    camera : Camera, optional
        Camera to keep up with.
    seconds : float
        Time for all combinations. Each gets its share, but runs at least one small encode.
    folder : path, optional
        Folder on the disk to write to; a temporary folder is made in it. Default: that of the system.
    progress : callable, optional
        ``progress(combinations_done, combinations_in_all)``.
    **source_options
        Options of :func:`photon_gpu.open_source` for ``source``.

    Returns
    -------
    Profile

    Examples
    --------
    >>> import numpy as np
    >>> from photon_gpu import NoiseModel
    >>> counts = np.random.default_rng(0).poisson(20.0, (20, 64, 64)).astype("uint16")
    >>> result = profile(counts, noise=NoiseModel(), layouts=["compact"], presets=["fast"],
    ...                  cores=[1], seconds=0.1)
    >>> [(m.layout, m.preset, m.cores, m.ratio > 2) for m in result.measured]
    [('compact', 'fast', 1, True)]
    """
    for name, names, allowed in (("layouts", layouts, LAYOUTS), ("presets", presets, PRESETS)):
        wrong = [one for one in names if one not in allowed]
        if wrong or not names:
            raise InvalidInputError(f"{name} are {list(names)}; allowed are {', '.join(allowed)}")
    progress = progress_call(progress)
    if not (isinstance(seconds, int | float) and 0 < seconds <= 3600):
        raise InvalidInputError(f"seconds is {seconds!r}; a number above 0, at most 3600, is needed")
    chosen = tuple(backends) if backends else ("numba", *(("cupy",) if has_gpu() else ()))
    counts = tuple(worker_count(n) for n in cores) if cores else _doubles(worker_count(None))
    movie, noise, notes = movie_for(SourceRequest.of(source, source_options), noise, camera)
    start = time.perf_counter()  # Simulating the movie is not part of the measured time.
    # The slow preset comes last, so that its extra time is taken from no other combination.
    order = sorted(presets, key=PRESETS.index)
    combinations = [(b, lay, p, n) for p in order for b in chosen for lay in layouts for n in counts]
    measured: list[Measured] = []
    settings: dict[tuple[str, ...], Encoding] = {}
    with tempfile.TemporaryDirectory(prefix="photon-profile-", dir=folder) as target:
        limits = ceilings(target, cores=max(counts), seconds=min(0.5, seconds / 20))
        for done, (backend, layout, preset, n) in enumerate(combinations):
            if progress is not None:
                progress(done, len(combinations))
            left = seconds - (time.perf_counter() - start)
            share = max(left, 0.0) / (len(combinations) - done)
            with on_cores(n):
                measured.append(
                    _measure(
                        movie,
                        Path(target) / "movie.zarr",
                        noise,
                        step,
                        (backend, layout, preset, n),
                        share,
                        limits["disk write"],
                        settings,
                    )
                )
    return Profile(
        machine=machine(),
        movie=movie.name,
        shape=movie.shape,
        dtype=movie.dtype.name,
        step=step,
        ceilings=limits,
        measured=tuple(measured),
        camera=camera,
        notes=notes,
        seconds=time.perf_counter() - start,
    )


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Run all threads of this process on some of its cores, if the system allows it (Linux)."""
    if sys.platform != "linux":
        yield
        return
    allowed = os.sched_getaffinity(0)
    _pin(set(sorted(allowed)[:count]))
    try:
        yield
    finally:
        _pin(allowed)


def _pin(cores: set[int]) -> None:
    if sys.platform == "linux":
        for thread in psutil.Process().threads():
            with suppress(ProcessLookupError):  # The thread has just ended.
                os.sched_setaffinity(thread.id, cores)


def machine() -> str:
    """Describe the hardware."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    return f"{model}, {worker_count(None)} cores, Python {platform.python_version()}"


def _measure(
    movie: Source,
    target: Path,
    noise: NoiseModels | None,
    step: float,
    combination: tuple[str, str, str, int],
    share: float,
    disk: float,
    settings: dict[tuple[str, ...], Encoding],
) -> Measured:
    """Choose settings once on a few frames, then encode as many whole chunks as fit the share of time.

    ``disk`` is the ceiling of the disk, MB/s.
    """
    backend, layout, preset, cores = combination
    storage = Storage.at(target)
    trial = EncodeSettings(
        noise=noise,
        step=step,
        layout=layout,
        preset=preset,
        backend=backend,
        workers=cores,
        check=False,
        trust_noise=True,
    )
    unread = ("read",) if isinstance(movie, Repeated) else ()
    try:
        until = time.perf_counter() + share
        tuned = settings.get(combination[:3])
        if tuned is None:
            tuned = encode_with(trial, corner(movie), storage, overwrite=True).encoding
            settings[combination[:3]] = tuned
        predictor = tuned.predictor if layout == "compact" else None
        fixed = trial.replace(compressor=tuned.compressor, predictor=predictor)
        first = encode_with(fixed, Part(movie, _FIRST_FRAMES), storage, overwrite=True)
        chosen = layout_for(first.encoding, get_backend(backend, on_gpu=movie.device is not None))
        each = chosen.chunk_frames(None, movie.shape)
        # Claims and flushes happen once per movie, so count only the work of the cores and of the disk.
        working = sum(
            spent for stage, spent in first.stages.items() if stage in STAGES and stage not in _WAITING
        )
        seconds = working / cores + first.stored_bytes / 1e6 / disk
        frames = int(0.8 * max(until - time.perf_counter(), 0.0) * first.shape[0] / max(seconds, 1e-6))
        if frames >= each:
            frames -= frames % each  # Keep all cores busy to the end, without a small last chunk.
        elif seconds * each / first.shape[0] < _OVER * share:
            frames = each
        frames = min(frames, max(_MOST_BYTES // movie.frame_nbytes, each), movie.shape[0])
        if frames <= first.shape[0]:
            return _result(first, combination, unread, each)
        report = encode_with(fixed, Part(movie, frames), storage, overwrite=True)
        return _result(report, combination, unread, each)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _wall(report: EncodeReport) -> float:
    return report.seconds - report.stages.get("tune", 0.0)


def _result(
    report: EncodeReport, combination: tuple[str, str, str, int], unread: tuple[str, ...], chunk_frames: int
) -> Measured:
    backend, layout, preset, cores = combination
    c = report.encoding.compressor
    predicted = f"{report.encoding.predictor.name}, " if layout == "compact" else ""
    return Measured(
        backend=backend,
        layout=layout,
        preset=preset,
        cores=cores,
        frames=report.shape[0],
        raw_bytes=report.raw_bytes,
        stored_bytes=report.stored_bytes,
        seconds=max(_wall(report), 1e-6),
        stages={
            stage: spent for stage, spent in report.stages.items() if stage in STAGES and stage not in unread
        },
        whole_chunks=report.shape[0] >= chunk_frames,
        settings=f"{predicted}{c.cname} {c.clevel} {('no', 'byte', 'bit')[c.shuffle]} shuffle",
    )


def _doubles(most: int) -> tuple[int, ...]:
    counts: Iterator[int] = (1 << n for n in range(most.bit_length()))
    return tuple(sorted({*counts, most}))
