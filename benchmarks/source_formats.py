"""Time encodes from each format of source files: ``python -m benchmarks.source_formats [--frames 1000]``.

The same frames lie in TIFF, BigTIFF, HDF5 and Zarr, the latter two chunked by frames and along time, and
smaller frames in as many single-page TIFFs. Each encode runs in a process of its own, after one of a small
movie, which loads all kernels. The formats take turns. Reported are seconds and processor seconds, also as
ratios to those of the same data in the usual order, and the peak memory of the process. The CSV goes to
benchmarks/results/.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.memory import NOISE, Shifted
from benchmarks.support.arguments import parser_of
from benchmarks.support.interleaved_timing import machine
from benchmarks.support.results_csv import RESULTS, path_of, save

COLUMNS = (
    "date",
    "machine",
    "kind",
    "against",
    "files",
    "frames",
    "raw_bytes",
    "rounds",
    "seconds",
    "min_seconds",
    "max_seconds",
    "cpu_seconds",
    "cpu_ratio",
    "ratio",
    "peak_bytes",
)
_BLOCK = 100  # frames made and written at once
_TIME_CHUNK = (1000, 32, 32)  # frames, rows and columns
_FRAME_CHUNK = 10  # frames


class FileFormat(NamedTuple):
    """A format of file: name, the format that its times are compared with, and its writer."""

    name: str
    against: str
    suffix: str
    write: Callable[[Path, Shifted], None]


def blocks(movie: Shifted) -> Iterator[tuple[int, NDArray]]:
    """First frame and frames of each block of a movie."""
    for start in range(0, movie.shape[0], _BLOCK):
        yield start, movie.read(start, min(start + _BLOCK, movie.shape[0]))


def write_tiff(path: Path, movie: Shifted, *, big: bool = False) -> None:
    """Write a TIFF with a directory per frame."""
    import tifffile

    with tifffile.TiffWriter(path, bigtiff=big) as file:
        for _, block in blocks(movie):
            for frame in block:
                file.write(frame, contiguous=False, photometric="minisblack", metadata=None)


def write_pages(folder: Path, movie: Shifted) -> None:
    """Write a folder of numbered TIFFs with a frame each."""
    import tifffile

    folder.mkdir()
    for start, block in blocks(movie):
        for number, frame in enumerate(block, start):
            tifffile.imwrite(folder / f"run_{number:06d}.tif", frame)


def write_hdf5(path: Path, movie: Shifted, *, chunk: tuple[int, ...]) -> None:
    """Write an HDF5 dataset."""
    import h5py

    with h5py.File(path, "w") as file:
        # A cache of all chunks along time, or writing would take hours.
        data = file.create_dataset(
            "movie", movie.shape, movie.dtype, chunks=chunk, rdcc_nbytes=1 << 30, rdcc_nslots=100_003
        )
        for start, block in blocks(movie):
            data[start : start + len(block)] = block


def write_zarr(path: Path, movie: Shifted, *, chunk: tuple[int, ...]) -> None:
    """Write a Zarr v2 array with Zarr's own compressor."""
    import zarr

    data = zarr.open(str(path), mode="w", shape=movie.shape, dtype=movie.dtype, chunks=chunk, zarr_format=2)
    step = chunk[0]
    for start in range(0, movie.shape[0], step):
        stop = min(start + step, movie.shape[0])
        data[start:stop] = movie.read(start, stop)


def file_formats(frames: int, size: int) -> list[FileFormat]:
    """Return the formats that hold the same movie."""
    by_frames = (min(_FRAME_CHUNK, frames), size, size)
    by_time = (min(_TIME_CHUNK[0], frames), min(_TIME_CHUNK[1], size), min(_TIME_CHUNK[2], size))
    return [
        FileFormat("TIFF", "TIFF", "tif", write_tiff),
        FileFormat("BigTIFF", "TIFF", "btf", lambda path, movie: write_tiff(path, movie, big=True)),
        FileFormat("HDF5, by frames", "TIFF", "h5", lambda p, m: write_hdf5(p, m, chunk=by_frames)),
        FileFormat("HDF5, along time", "HDF5, by frames", "h5", lambda p, m: write_hdf5(p, m, chunk=by_time)),
        FileFormat("Zarr, by frames", "TIFF", "zarr", lambda p, m: write_zarr(p, m, chunk=by_frames)),
        FileFormat(
            "Zarr, along time", "Zarr, by frames", "zarr", lambda p, m: write_zarr(p, m, chunk=by_time)
        ),
    ]


def encode(path: str) -> dict[str, float]:
    """Encode a file in this process; return seconds, processor seconds and peak memory."""
    options: dict[str, Any] = {"noise": NOISE, "layout": "compact", "preset": "fast", "trust_noise": True}
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
        pg.encode(Shifted(20, 64), Path(folder) / "first.zarr", **options)
        began, cpu = time.perf_counter(), time.process_time()
        pg.encode(path, Path(folder) / "movie.zarr", **options)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak_memory()}


def peak_memory() -> int:
    """Peak resident memory of this program (Linux; else of its process, with that of the parent)."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def in_a_process(path: Path) -> dict[str, float]:
    """Result of :func:`encode` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.source_formats", "--encode", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def measure(folder: Path, frames: int, size: int, files: int, page: int, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each format."""
    movie, pages = Shifted(frames, size), Shifted(files, page)
    every = file_formats(frames, size)
    paths = {
        file_format.name: folder / f"{number}.{file_format.suffix}"
        for number, file_format in enumerate(every)
    }
    single = FileFormat("single-page TIFFs", "", "", write_pages)
    for file_format in every:
        file_format.write(paths[file_format.name], movie)
    if files:
        every.append(single)
        paths[single.name] = folder / "pages"
        single.write(paths[single.name], pages)
    runs: dict[str, list[dict[str, float]]] = {file_format.name: [] for file_format in every}
    for _ in range(rounds):
        for file_format in every:
            runs[file_format.name].append(in_a_process(paths[file_format.name]))
    middle = {
        name: {key: statistics.median(run[key] for run in of_format) for key in of_format[0]}
        for name, of_format in runs.items()
    }
    rows = []
    for file_format in every:
        whole = pages if file_format is single else movie
        mine, other = middle[file_format.name], middle[file_format.against or file_format.name]
        rows.append(
            {
                "kind": file_format.name,
                "against": file_format.against,
                "files": files if file_format is single else 1,
                "frames": whole.shape[0],
                "raw_bytes": whole.nbytes,
                "rounds": rounds,
                **mine,
                "min_seconds": min(run["seconds"] for run in runs[file_format.name]),
                "max_seconds": max(run["seconds"] for run in runs[file_format.name]),
                "ratio": mine["seconds"] / other["seconds"],
                "cpu_ratio": mine["cpu_seconds"] / other["cpu_seconds"],
            }
        )
    return rows


def findings(rows: list[dict[str, Any]]) -> list[str]:
    """Return a line for each bar: chunks along time within 2 times, and 500 single-page files a second."""
    lines = []
    for row in rows:
        if row["kind"].endswith("along time"):
            lines.append(
                f"{row['kind']}: {float(row['ratio']):.2f} times the time of {row['against']} "
                f"({float(row['cpu_ratio']):.2f} times the processor time; bar: 2)"
            )
        if int(row["files"]) > 1:
            rate, of_cpu = (int(row["files"]) / float(row[key]) for key in ("seconds", "cpu_seconds"))
            lines.append(
                f"{row['kind']}: {rate:,.0f} files/s, {of_cpu:,.0f} per second of processor time (bar: 500)"
            )
    return lines


def main(arguments: list[str] | None = None) -> Path | None:
    parser = parser_of(__doc__)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--size", type=int, default=512, help="rows and columns of a frame")
    parser.add_argument("--files", type=int, default=20_000, help="single-page TIFFs; 0 leaves them out")
    parser.add_argument("--page", type=int, default=64, help="rows and columns of a single page")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="on the disk to measure")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--encode", metavar="PATH", help="encode this file, print the figures, and end")
    options = parser.parse_args(arguments)
    if options.encode:
        print(json.dumps(encode(options.encode)))
        return None
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows = measure(
            Path(folder), options.frames, options.size, options.files, options.page, options.rounds
        )
    target = path_of("source_formats", options.results)
    save(target, COLUMNS, rows, "kind")
    print("\n".join([machine(), *findings(rows), str(target)]))
    return target


if __name__ == "__main__":
    main()
