"""Write a stored movie as an HDF5 file, chunked by frames, with the metadata of the recording."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import IO, Any

import numpy as np

from photon_gpu.errors import InvalidInputError, PhotonError
from photon_gpu.logger import logger
from photon_gpu.reader.exporters.frames_to_export import ExportJob
from photon_gpu.recording import Document, Recording
from photon_gpu.sources.hdf5.recording import MARK, content_mark
from photon_gpu.store.metadata import CHANNELS

DATASET = "movie"
PHOTON_FILTER = 480
"""Number of libphoton's HDF5 filter, which decodes chunks of layout compact."""

DOCUMENTS = "source_metadata"

_CHUNK_BYTES = 1 << 20


def write_hdf5(job: ExportJob, file: IO[bytes], *, stored_chunks: bool = False) -> None:
    """Write the dataset ``/movie``; its axes become labels, its units and rates become attributes.

    With ``stored_chunks``, chunks of layout compact are copied as they are stored, and
    :data:`PHOTON_FILTER` decodes them.
    """
    import h5py

    refuse_special(file)
    recording = job.movie.recording
    with disk_errors(file.name), Target(file.name) as target, h5py.File(target, "w") as hdf5:
        hdf5.attrs["written_by"] = "photon_gpu"
        if stored_chunks:
            dataset = _filtered_dataset(hdf5, job)
        else:
            options = {"chunks": frame_chunks(job.shape, job.dtype), **compression()}
            dataset = hdf5.create_dataset(DATASET, job.shape, job.dtype, **options)
        for number, letter in enumerate(recording.axes or ""):
            dataset.dims[number].label = letter
        dataset.attrs["unit"] = "ADU" if job.counts else "sigma"
        if recording.axes is not None:
            dataset.attrs["axes"] = recording.axes
        dataset.attrs.update(recording_attributes(recording))
        if recording.rois:
            hdf5["rois"] = json.dumps(list(recording.rois))
        if recording.timestamps is not None:
            hdf5["timestamps"] = recording.timestamps[job.first : job.end]
            hdf5["timestamps"].attrs["unit"] = "s"
        for number, document in enumerate(recording.documents):
            _write_document(hdf5, f"{DOCUMENTS}/{number:04}", document)
        dataset.attrs[MARK] = content_mark(dataset)
        if stored_chunks:
            for first, data in job.stored_chunks():
                dataset.id.write_direct_chunk((first, *(0 for _ in job.shape[1:])), data)
                target.check()
            return
        position = 0
        for block in job.aligned():
            dataset[position : position + len(block)] = block
            target.check()
            position += len(block)


def recording_attributes(recording: Recording) -> dict[str, Any]:
    """Attributes of a dataset that state the rate, the channels and the pixel size, where they are known."""
    attributes: dict[str, Any] = {}
    if recording.frame_rate is not None:
        attributes["frame_rate"] = recording.frame_rate
    if recording.channel_names:
        attributes["channel_names"] = list(recording.channel_names)
    for axis, (size, unit) in recording.pixel_size.items():
        attributes |= {f"pixel_size_{axis}": size, f"pixel_size_{axis}_unit": unit}
    return attributes


def check_stored_chunks(job: ExportJob, path: str) -> None:
    """Raise InvalidInputError unless HDF5's filter can decode the chunks of this movie."""
    movie = job.movie
    reasons = {
        "it is written to .h5 and .hdf5": path.lower().endswith((".h5", ".hdf5")),
        "it decodes counts, not stabilized values": job.counts,
        "chunks are copied, so all frames are needed": job.whole,
        f"it decodes layout compact, and this movie is {movie.layout}": movie.layout == "compact",
        "chunks are copied, so all channels are needed": bool(movie.encoding.channels)
        == (CHANNELS in movie.attrs),
        f"it opens zstd, and the compressor of this movie is {movie.encoding.compressor.cname}": (
            movie.encoding.compressor.cname == "zstd"
        ),
    }
    if refused := next((reason for reason, allowed in reasons.items() if not allowed), None):
        raise InvalidInputError(f"{path}: the filter 'photon' cannot be used: {refused}; leave it out")


def _filtered_dataset(hdf5: Any, job: ExportJob) -> Any:
    """Make the dataset by the low-level interface, which does not ask whether the filter is installed."""
    import h5py

    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk(job.movie.chunks)
    properties.set_filter(PHOTON_FILTER, h5py.h5z.FLAG_OPTIONAL, ())
    space, dtype = h5py.h5s.create_simple(job.shape), h5py.h5t.py_create(job.dtype)
    return h5py.Dataset(h5py.h5d.create(hdf5.id, DATASET.encode(), dtype, space, properties))


def compression() -> dict[str, Any]:
    """Compression options of a dataset: Blosc with zstd if hdf5plugin is installed, else gzip."""
    try:
        plugin = import_module("hdf5plugin")
    except ImportError as error:
        logger.info("hdf5plugin cannot be loaded (%s): gzip compresses", error)
        return {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    return dict(plugin.Blosc(cname="zstd", clevel=1, shuffle=plugin.Blosc.BITSHUFFLE))


def compression_name() -> str:
    """Name of the compressor for the report."""
    return "gzip; hdf5plugin is not installed" if compression()["compression"] == "gzip" else "Blosc-zstd"


def frame_chunks(shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, ...]:
    """Shape of a chunk: whole frames of about 1 MiB.

    Examples
    --------
    >>> frame_chunks((1000, 64, 64), np.dtype("uint16")), frame_chunks((9, 2048, 2048), np.dtype("uint16"))
    ((128, 64, 64), (1, 2048, 2048))
    """
    frame = math.prod(shape[1:]) * dtype.itemsize
    return (max(1, min(shape[0], _CHUNK_BYTES // frame)), *shape[1:])


class Target(io.FileIO):
    """A file for HDF5 to write, which takes nothing more after its first error and raises that at its end.

    HDF5 cannot close a file that raises (on a full disk). It tries again as the process ends, and ends it by
    a signal.

    Parameters
    ----------
    name : str
        Path of a file that exists.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, "r+")
        self._error: OSError | None = None

    def __exit__(self, *_: object) -> None:
        self.close()
        self.check()

    def check(self) -> None:
        """Raise the error of an earlier call."""
        if self._error is not None:
            raise self._error

    def seek(self, position: int, whence: int = 0) -> int:
        """Move to ``position``, bytes. After an error, HDF5 must not see that the file is short."""
        if whence == 2 and self._error is not None:
            return 1 << 62
        return super().seek(position, whence)

    def write(self, data: Any) -> int:
        """Write ``data`` whole, unless an earlier call failed."""
        rest = memoryview(data).cast("B")
        with self._until_an_error():
            while len(rest) and self._error is None:
                rest = rest[super().write(rest) :]
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file, bytes, unless an earlier call failed."""
        with self._until_an_error():
            if self._error is None:
                super().truncate(size)
        return size or 0

    @contextmanager
    def _until_an_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._error = error


@contextmanager
def disk_errors(name: str) -> Iterator[None]:
    """Convert errors of HDF5 on writing to an error that says that writing failed."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, PhotonError):
            raise
        raise PhotonError(
            f"{name}: the file could not be written completely ({error}); is the disk full?"
        ) from error


def refuse_special(file: IO[bytes]) -> None:
    """Raise InvalidInputError for a pipe or a device, since HDF5 seeks backwards while it writes."""
    if not file.seekable():
        raise InvalidInputError(f"{file.name}: HDF5 is written to a file only; .npy may be piped")


def _write_document(hdf5: Any, path: str, document: Document) -> None:
    stored = hdf5.create_dataset(path, data=np.frombuffer(document.data, np.uint8))
    stored.attrs["name"], stored.attrs["media_type"] = document.name, document.media_type
