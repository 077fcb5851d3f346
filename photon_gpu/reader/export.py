"""Export a stored movie, or some of its frames, to TIFF, NumPy, HDF5, NWB, plain Zarr or OME-Zarr.

One chunk of frames is in memory at a time, and the file gets its name only once it is complete.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from operator import index
from pathlib import Path
from typing import IO, Any

import numpy as np

from photon_gpu.encode_settings import flag, location, one_of, progress_call, shown
from photon_gpu.engine.codec.requested_part import STABILIZED
from photon_gpu.errors import InvalidInputError, PhotonError, StoreExistsError
from photon_gpu.progress_bar import Progress
from photon_gpu.reader.exporters.frames_to_export import ExportJob
from photon_gpu.reader.exporters.hdf5 import check_stored_chunks, compression_name, write_hdf5
from photon_gpu.reader.exporters.nwb import write_nwb
from photon_gpu.reader.exporters.tiff import fields_not_read, write_tiff
from photon_gpu.reader.exporters.zarr import write_zarr
from photon_gpu.reader.movie import Movie
from photon_gpu.recording import lost_frames
from photon_gpu.sources.missing_frames import listed, within
from photon_gpu.store.destination import destination, refuse_source
from photon_gpu.store.durable import replacing
from photon_gpu.store.ome_zarr.zarr2_view import in_container

TIFF_SUFFIXES = (".tif", ".tiff", ".btf")
SUFFIXES = (*TIFF_SUFFIXES, ".npy", ".h5", ".hdf5", ".nwb", ".zarr")

_CLASSIC_TIFF_BYTES = 2**32 - 2**25
_PAGE_BYTES = 512  # more than the tags of a page need


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """Report of an export.

    Attributes
    ----------
    source, url : str
        The stored movie, and the file that was written.
    what, unit : str
        ``"counts"`` in ``"ADU"``, or ``"stabilized"`` in ``"sigma"``.
    frames : tuple of int
        First frame, and the frame after the last one.
    raw_bytes, stored_bytes : int
        Bytes of the values, and of the file.
    first_frame_seconds : float
        Time until the first frame was decoded, in which kernels load or compile. ``seconds`` leaves it out.
    notes : tuple of str
        What is known of the recording and is not in the file.
    """

    source: str
    url: str
    format: str
    what: str
    unit: str
    shape: tuple[int, ...]
    dtype: str
    frames: tuple[int, int]
    raw_bytes: int
    stored_bytes: int
    first_frame_seconds: float
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def megabytes_per_second(self) -> float:
        """Megabytes (1e6) of values written per second of wall time."""
        return self.raw_bytes / 1e6 / max(self.seconds, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        own = {**asdict(self), "shape": list(self.shape), "frames": list(self.frames), "notes": [*self.notes]}
        return {**own, "megabytes_per_second": self.megabytes_per_second}

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each line of the table."""
        return [
            ("movie", self.source),
            ("frames", f"{self.frames[0]} to {self.frames[1] - 1}"),
            ("written", f"{self.url} ({self.format})"),
            ("shape", f"{' x '.join(map(str, self.shape))} {self.dtype}, {self.what} in {self.unit}"),
            ("size", f"{self.stored_bytes:,} bytes"),
            ("first frame", f"after {self.first_frame_seconds:.2f} s"),
            ("time", f"{self.seconds:.2f} s ({self.megabytes_per_second:,.0f} MB/s)"),
            *(("note", note) for note in self.notes),
        ]

    def __str__(self) -> str:
        return "\n".join(f"{name:<11}  {value}" for name, value in self.rows())


def export(
    movie: Movie,
    path: str | os.PathLike[str],
    *,
    stabilized: bool = False,
    frames: tuple[int, int] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    storage_options: dict[str, Any] | None = None,
    hdf5_filter: str | None = None,
) -> ExportReport:
    """Write a stored movie as TIFF, ``.npy``, HDF5, NWB, plain Zarr v2 or OME-Zarr.

    Parameters
    ----------
    movie : Movie
        A movie that :func:`photon_gpu.open` opened.
    path : str or path
        ``.tif``, ``.tiff``, ``.btf`` (BigTIFF if the size needs it; ``.btf`` is always BigTIFF),
        ``.npy``, ``.h5`` (chunked by frames), ``.nwb`` (one series for each channel; needs pynwb), or
        ``.zarr``, which may be any fsspec URL. ``.ome.zarr`` is an OME-Zarr 0.5 image that every viewer
        opens: axes, scale, units and channels, shards, and no codec of photon_gpu.
    stabilized : bool
        Write float64 values whose noise is 1, in sigma, instead of counts in the original dtype.
    frames : (first, end), optional
        Write only the frames from ``first`` to ``end - 1``.
    overwrite : bool
        Replace an existing file, export or movie once the new one is complete. A symbolic link
        is kept.
    progress : callable, optional
        ``progress(frames_done, frames_in_all)``.
    storage_options : dict, optional
        Options of the fsspec file system, if ``path`` is a URL.
    hdf5_filter : {"photon"}, optional
        Copy the chunks of a movie of layout compact into ``.h5`` as they are stored, so that the file is as
        small as the movie. Programs that read it need the HDF5 filter of libphoton (docs/tools.md).

    Returns
    -------
    ExportReport

    Raises
    ------
    InvalidInputError
        The suffix is unknown, the movie lacks these frames, or the disk has no room.
    StoreExistsError
        The file or folder exists already.
    CorruptDataError
        A chunk cannot be read.
    PhotonError, OSError
        The file could not be written completely. After any error, nothing is left behind.

    Notes
    -----
    Memory: at most two chunks of values and one compressed chunk; for ``.ome.zarr`` also the compressed
    chunks of one shard (250 MB of values).

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg, tempfile, pathlib
    >>> counts = np.random.default_rng(1).poisson(30.0, (20, 8, 8)).astype("uint16")
    >>> report = pg.encode(counts, "memory://exported.zarr", noise=pg.NoiseModel(), overwrite=True)
    >>> out = pathlib.Path(tempfile.mkdtemp()) / "part.npy"
    >>> export(pg.open("memory://exported.zarr"), out, frames=(5, 8)).shape, np.load(out).dtype
    ((3, 8, 8), dtype('uint16'))
    """
    progress = progress_call(progress)
    if not isinstance(movie, Movie):
        raise InvalidInputError(f"movie is a {type(movie).__name__}; photon_gpu.open(url) gives one")
    flag("overwrite", overwrite)
    flag("stabilized", stabilized)
    one_of("hdf5_filter", hdf5_filter, (None, "photon"))
    first, end = _checked_range(frames, len(movie))
    text = location("path", path)
    suffix = Path(text.rstrip("/")).suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidInputError(
            f"{text}: {suffix or 'no suffix'!r} is not supported; supported are: {', '.join(SUFFIXES)}"
        )
    dtype = np.dtype(np.float64) if stabilized else movie.counts.dtype
    value_type = STABILIZED if stabilized else dtype
    begin = time.perf_counter()
    movie.read(slice(first, first + 1), value_type)
    start = time.perf_counter()
    job = ExportJob(movie, value_type, dtype, first, end, progress)
    if lost := within(lost_frames(movie.attrs), first, end):
        job.notes.append(f"{listed(lost)} were lost before the movie was stored: zeros stand there")
    if hdf5_filter is not None:
        check_stored_chunks(job, text)
    if suffix == ".zarr":
        storage = in_container(destination(text, storage_options), None)
        refuse_source(movie.url, storage)
        stored, url = write_zarr(job, storage, overwrite), storage.url
        file_type = "Zarr v2" if storage.container == "folder" else "OME-Zarr 0.5"
    else:
        if "://" in text:
            raise InvalidInputError(
                f"{text}: {suffix} is written to local disks only; .zarr may lie behind a URL"
            )
        write, file_type = _writer(job, suffix, text)
        needed = job.nbytes
        if hdf5_filter is not None:
            write, file_type = partial(write_hdf5, stored_chunks=True), "HDF5, filter photon"
            needed = sum(size for size, _ in movie.manifest.values())
        target = Path(text).resolve() if Path(text).is_symlink() else Path(text)  # the link stays
        stored, url = _write_file(job, target, write, overwrite, needed), str(target)
        if suffix in TIFF_SUFFIXES:
            job.not_written(fields_not_read(job, url), ".h5 and .zarr hold it")
    return ExportReport(
        source=movie.url,
        url=url,
        format=file_type,
        what="stabilized" if stabilized else "counts",
        unit="sigma" if stabilized else "ADU",
        shape=job.shape,
        dtype=dtype.name,
        frames=(first, end),
        raw_bytes=job.nbytes,
        stored_bytes=stored,
        first_frame_seconds=start - begin,
        seconds=time.perf_counter() - start,
        notes=tuple(job.notes),
    )


Write = Callable[[ExportJob, IO[bytes]], None]


def _checked_range(frames: tuple[int, int] | None, length: int) -> tuple[int, int]:
    if frames is None:
        return 0, length
    try:
        first, end = map(index, frames)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"frames is {shown(frames)}; (first, end) is needed, or None") from error
    if not 0 <= first < end <= length:
        raise InvalidInputError(
            f"frames {first}:{end} were requested; the movie has {length}, numbered from 0"
        )
    return int(first), int(end)


def _write_npy(job: ExportJob, file: IO[bytes]) -> None:
    names = [name for name, _ in job.movie.recording.rows() if name != "not kept"]
    job.not_written(names, ".h5, .nwb and .zarr hold it")
    # No memory map: if the disk fills up, writing to a map kills the process.
    header = {"descr": np.lib.format.dtype_to_descr(job.dtype), "fortran_order": False, "shape": job.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for block in job.aligned():
        file.write(block.reshape(-1).view(np.uint8).data)


def _writer(job: ExportJob, suffix: str, text: str) -> tuple[Write, str]:
    """Return the function that writes a type of file, and the name of the type."""
    if suffix == ".npy":
        return _write_npy, "NumPy"
    if suffix in (".h5", ".hdf5"):
        return write_hdf5, f"HDF5, {compression_name()}"
    if suffix == ".nwb":
        return write_nwb, f"NWB, {compression_name()}"
    if job.shape[-1] == 1:
        # tifffile would read such columns as samples of a pixel, and frames as rows.
        raise InvalidInputError(
            f"{text}: a TIFF cannot hold frames that are one pixel wide; use .npy, .h5 or .zarr"
        )
    big = _is_big(job, suffix)
    return partial(write_tiff, big=big), "BigTIFF" if big else "TIFF"


def _is_big(job: ExportJob, suffix: str) -> bool:
    pages = math.prod(job.shape[:-2])
    return suffix == ".btf" or job.nbytes + pages * _PAGE_BYTES > _CLASSIC_TIFF_BYTES


def _write_file(job: ExportJob, path: Path, write: Write, overwrite: bool, needed: int) -> int:
    """Write the file and return its size in bytes."""
    _check_free(path, overwrite)
    if not path.parent.is_dir():
        raise InvalidInputError(f"{path}: there is no folder {path.parent}; make it first")
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise InvalidInputError(f"{path}: the file takes {needed:,} bytes; the disk has {free:,} free.")
    try:
        with replacing(path) as file:
            write(job, file)
            _check_free(path, overwrite)
        return path.stat().st_size
    except OSError as error:
        if error.errno is None and not isinstance(error, PhotonError):
            # NumPy's error only says how many items it wrote.
            raise PhotonError(
                f"{path}: the file could not be written completely ({error}); is the disk full?"
            ) from error
        raise


def _check_free(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise InvalidInputError(f"{path} is a folder; give a file's name")
    if path.exists() and not overwrite:
        raise StoreExistsError(f"{path} exists; give another name, or overwrite=True to replace it")
