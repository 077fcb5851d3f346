"""Write the values of an export as plain Zarr v2, or as an OME-Zarr 0.5 image, with standard codecs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.engine.runtime.pool import Split, parallel, worker_count
from photon_gpu.reader.exporters.frames_to_export import ExportJob
from photon_gpu.recording import Recording, content_crc32
from photon_gpu.sources.zarr import OME_MARK
from photon_gpu.store import manifest, metadata, source_metadata
from photon_gpu.store.claim import Claim
from photon_gpu.store.movie_folder import MovieFolder
from photon_gpu.store.ome_zarr.metadata import contrast_limits, group_json, ome_axes
from photon_gpu.store.ome_zarr.shards import ShardGrid
from photon_gpu.store.ome_zarr.zarr2_view import SUFFIX, OmeZarrStorage
from photon_gpu.store.storage import Storage

_COMPRESSOR = Compressor(cname="zstd", clevel=1, shuffle=2)


def write_zarr(job: ExportJob, storage: Storage, overwrite: bool) -> int:
    """Write an array, or an OME-Zarr image if that is the container; return the bytes written.

    Raises
    ------
    InvalidInputError
        OME-Zarr does not allow the movie's axes.
    StoreExistsError
    """
    recording, ome_zarr = job.movie.recording, isinstance(storage, OmeZarrStorage)
    group = _group(job, storage.root, recording) if ome_zarr else b""
    layout = layout_for(
        Encoding(layout="lossless", dtype=job.dtype.name, compressor=_COMPRESSOR), get_backend("auto")
    )
    frames = min(job.movie.chunks[0], layout.chunk_frames(None, job.shape))
    chunk, threads = (frames, *job.shape[1:]), worker_count(None)
    split = Split(threads, parallel(threads))
    files: dict[str, list[Any]] = {}
    with Claim(storage, overwrite=overwrite) as claim:
        if isinstance(claim.target, OmeZarrStorage):
            grid = ShardGrid.of(job.shape, chunk, job.dtype.itemsize)
            claim.note(**claim.target.begin(grid, group))
        folder = MovieFolder(job.shape, chunk, claim.target)
        for number, block in enumerate(job.blocks(frames, job.first)):
            data = layout.encode(block, chunk, Resources(split=split))
            files |= folder.write_chunk(number, data)
        array = metadata.array_json(job.shape, chunk, layout)
        attributes, words = _attributes(job, recording, group)
        if words is not None:
            claim.target.write(source_metadata.NAME, words)
            files[source_metadata.NAME] = manifest.entry(words)
        # Zarr readers ignore the manifest; it shows photon_gpu which folders it may replace.
        texts = {metadata.ATTRIBUTES: attributes, metadata.ARRAY: array}
        index = manifest.pack(files, texts)
        claim.publish([(manifest.NAME, index), *texts.items()])
    if ome_zarr:
        return sum(storage.sizes().values())
    return sum(size for size, _ in files.values()) + len(index) + sum(map(len, texts.values()))


def _group(job: ExportJob, root: str, recording: Recording) -> bytes:
    """Return ``zarr.json`` of the group, with the contrast of the middle frame."""
    axes = ome_axes(recording, len(job.shape))
    frame = job.frame((job.first + job.end) // 2)
    window = contrast_limits(np.moveaxis(frame, axes.index("c"), 0) if "c" in axes else frame[None])
    top = float(np.iinfo(job.dtype).max) if job.dtype.kind in "iu" else 0.0
    return group_json(root.split("/")[-1].removesuffix(SUFFIX), axes, recording, window, top)


def _attributes(job: ExportJob, recording: Recording, group: bytes) -> tuple[bytes, bytes | None]:
    """Attributes of the array, and the file of the source's metadata and times, if there are any."""
    if recording.timestamps is not None:
        recording = recording.replace(timestamps=recording.timestamps[job.first : job.end])
    attributes: dict[str, Any] = {"written_by": "photon_gpu", "unit": "ADU" if job.counts else "sigma"}
    if recording.axes is not None:
        attributes["_ARRAY_DIMENSIONS"] = list(recording.axes)
    if group:
        attributes[OME_MARK] = content_crc32(json.loads(group)["attributes"]["ome"])
    attributes = source_metadata.with_recording(attributes, recording)
    return json.dumps(attributes, indent=4 if group else 1).encode(), source_metadata.pack(recording)
