"""Movies, and files and objects of every type that the sources read, above all TIFF."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import tifffile
import zarr


def make_movie(shape=(20, 12, 16), dtype="int16", seed=0):
    """Make noise around a ramp, with negative values if the dtype has them."""
    dtype = np.dtype(dtype)
    values = np.random.default_rng(seed).normal(100, 150, shape) + np.arange(shape[0]).reshape(
        (-1,) + (1,) * (len(shape) - 1)
    )
    if dtype.kind == "f":
        return values.astype(dtype)
    info = np.iinfo(dtype)
    return np.clip(np.rint(values), info.min, info.max).astype(dtype)


def write_tiff(folder, movie, **options):
    path = folder / f"{uuid.uuid4().hex}.tif"
    tifffile.imwrite(path, movie, photometric="minisblack", **options)
    return path


def write_scanimage(
    path,
    movie,
    *,
    channels=1,
    big=True,
    metadata="header",
    header="",
    numbers=None,
    rois="{}",
    frame_text=None,
):
    """Write a file as ScanImage does: a header block, then directory and pixels of each page.

    ``movie`` is (pages, H, W). ``metadata`` says where the channels are named:
    in the BigTIFF ``header`` block, in the ``software`` tag only, or in the
    ``description`` of old releases. ``header`` adds lines to it; ``numbers`` are the frame numbers of the
    pages; ``rois`` is the JSON of the regions of interest; ``frame_text(page)`` is its
    description.
    """
    saved = "[" + ";".join(str(number + 1) for number in range(channels)) + "]" if channels > 1 else "1"
    text = f"SI.LINE_FORMAT_VERSION = 1\nSI.VERSION_MAJOR = '2021'\nSI.hChannels.channelSave = {saved}\n"
    text += header or "SI.hStackManager.framesPerSlice = 1000\n"  # asked for, not acquired
    software = text.encode() + b"\0" if metadata != "description" else b"Matlab\0"
    description = b"frameNumbers = 1\0"
    if metadata == "description":
        description = f"scanimage.SI5.channelsSave = {saved}\nscanimage.SI5.x = 1".encode() + b"\0"
    block = b""
    if metadata == "header":
        roi = f'{{"RoiGroups": {rois}}}'.encode() + b"\0"
        block = struct.pack("<IIII", 117637889, 4, len(software), len(roi)) + software + roi
    data = [np.ascontiguousarray(page, dtype=page.dtype.newbyteorder("<")).tobytes() for page in movie]
    height, width = movie.shape[1:]
    bits, sample_format = movie.dtype.itemsize * 8, {"u": 1, "i": 2, "f": 3}[movie.dtype.kind]
    entry, count, link = ("<HHQ", "<Q", "<Q") if big else ("<HHI", "<H", "<I")
    inline = struct.calcsize(link)
    out = bytearray(
        struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16 + len(block))
        if big
        else struct.pack("<2sHI", b"II", 42, 8)
    )
    if big:
        out += block
    for number, pixels in enumerate(data):
        start = len(out)
        if numbers is not None:
            description = f"frameNumbers = {numbers[number]}\n".encode() + b"\0"
        if frame_text is not None:
            description = frame_text(number).encode() + b"\0"
        tags = 11
        values_at = start + struct.calcsize(count) + tags * (struct.calcsize(entry) + inline) + inline
        software_at = values_at + len(description)
        data_at = software_at + len(software)
        following = data_at + len(pixels) if number + 1 < len(data) else 0
        rows: list[tuple[int, int, int, int]] = [
            (256, 4, 1, width),
            (257, 4, 1, height),
            (258, 3, 1, bits),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (270, 2, len(description), values_at),
            (273, 4, 1, data_at),
            (278, 4, 1, height),
            (279, 4, 1, len(pixels)),
            (305, 2, len(software), software_at),
            (339, 3, 1, sample_format),
        ]
        out += struct.pack(count, tags)
        for code, type_, length, value in rows:
            out += struct.pack(entry, code, type_, length) + value.to_bytes(inline, "little")
        out += struct.pack(link, following) + description + software + pixels
    path.write_bytes(out)
    return path


def _h5(folder, movie, **options):
    path = folder / "movie.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("/data/movie", data=movie, **options)
    return path


def _zarr(folder, movie, **options):
    path = folder / "movie.zarr"
    array = zarr.create_array(str(path), shape=movie.shape, dtype=movie.dtype, fill_value=0, **options)
    array[...] = movie
    return path


def _npy(folder, movie):
    path = folder / "movie.npy"
    np.save(path, movie)
    return path


def _npz(folder, movie):
    path = folder / "movie.npz"
    np.savez_compressed(path, movie=movie, rate=np.float64(30))
    return path


def _remote_npy(folder, movie):
    with fsspec.open(f"memory://{folder.name}/movie.npy", "wb") as file:
        np.save(file, movie)
    return f"memory://{folder.name}/movie.npy"


def _remote_zarr(folder, movie):
    url = f"memory://{folder.name}/movie.zarr"
    zarr.create_array(url, shape=movie.shape, dtype=movie.dtype, chunks=(5, *movie.shape[1:]))[...] = movie
    return url


def _memmap(folder, movie):
    path = folder / "movie.raw"
    movie.tofile(path)
    return np.memmap(path, dtype=movie.dtype, mode="r", shape=movie.shape)


Writer = Callable[[Path, Any], Any]


WRITERS: dict[str, Writer] = {
    "array": lambda folder, movie: movie,
    "big-endian array": lambda folder, movie: movie.astype(movie.dtype.newbyteorder(">")),
    "memory map": _memmap,
    "npy": _npy,
    "npz": _npz,
    "npy url": _remote_npy,
    "tiff": write_tiff,
    "tiff big-endian": lambda folder, movie: write_tiff(folder, movie, byteorder=">"),
    "tiff zlib": lambda folder, movie: write_tiff(
        folder, movie, compression="zlib", predictor=movie.dtype.itemsize < 8
    ),
    "tiff tiled": lambda folder, movie: write_tiff(folder, movie, tile=(32, 32)),
    "scanimage": lambda folder, movie: write_scanimage(folder / "si.tif", movie),
    "hdf5": lambda folder, movie: _h5(
        folder, movie, chunks=(min(5, len(movie)), *movie.shape[1:]), compression="gzip"
    ),
    "hdf5 contiguous": _h5,
    "zarr v2": lambda folder, movie: _zarr(folder, movie, chunks=(5, *movie.shape[1:]), zarr_format=2),
    "zarr v3": lambda folder, movie: _zarr(folder, movie, chunks=(5, *movie.shape[1:])),
    "zarr sharded": lambda folder, movie: _zarr(
        folder, movie, chunks=(5, *movie.shape[1:]), shards=(10, *movie.shape[1:])
    ),
    "zarr url": _remote_zarr,
}


OME = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}">'
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="int16" '
    'SizeX="10" SizeY="12" SizeC="1" SizeZ="1" SizeT="{frames}">'
    '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
)


PLANES = (
    '<TiffData FirstT="{first}" FirstC="0" FirstZ="0" IFD="0" PlaneCount="{count}">'
    '<UUID FileName="{name}">urn:uuid:{own}</UUID></TiffData>'
)


def write_two_files(tmp_path, movie, **options):
    parts = {"a.ome.tif": (0, 4), "b.ome.tif": (4, 7)}
    data = "".join(
        PLANES.format(first=start, count=stop - start, name=name, own=name)
        for name, (start, stop) in parts.items()
    )
    for name, (start, stop) in parts.items():
        text = OME.format(own=name, frames=7, data=data)
        swapped = {"byteorder": options.get("second", "<")} if name.startswith("b") else {}
        others = {key: value for key, value in options.items() if key != "second"} | swapped
        path = write_tiff(tmp_path, movie[start:stop], description=text, metadata=None, **others)
        path.rename(tmp_path / name)
    return parts
