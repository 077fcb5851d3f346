"""Arrays whose chunks run along time."""

from __future__ import annotations

import tempfile
from collections import namedtuple

import h5py
import numpy as np
import pytest
import zarr

from photon_gpu.sources import chunk_layer_cache
from photon_gpu.sources.chunk_layer_cache import ChunkLayerCache
from photon_gpu.sources.hdf5.reader import Hdf5Source
from photon_gpu.sources.open import open_source
from photon_gpu.sources.zarr import ZarrSource
from tests.support.sources.source_files import make_movie


class Counted:
    """An array that counts how often each value is read."""

    def __init__(self, array):
        self.array, self.reads = array, np.zeros(array.shape, int)

    def __call__(self, box):
        self.reads[box] += 1
        return self.array[box]


def layers_of(shape, chunks, **options):
    counted = Counted(make_movie(shape))
    return ChunkLayerCache(shape, counted.array.dtype, chunks, counted, **options), counted


@pytest.mark.parametrize("memory_bytes", [1 << 20, 0], ids=["memory", "file"])
@pytest.mark.parametrize(
    ("shape", "chunks"), [((50, 7, 9), (50, 3, 4)), ((50, 7, 9), (16, 7, 9)), ((20, 2, 5, 6), (9, 1, 2, 6))]
)
def test_every_value_is_read_once_and_is_right(monkeypatch, shape, chunks, memory_bytes):
    monkeypatch.setattr(chunk_layer_cache, "_PIECE_BYTES", 300)  # several pieces
    layers, counted = layers_of(shape, chunks, memory_bytes=memory_bytes)
    for start in range(0, shape[0], 4):
        stop = min(start + 4, shape[0])
        np.testing.assert_array_equal(layers.read(start, stop), counted.array[start:stop])
    assert counted.reads.min() == counted.reads.max() == 1
    layers.close()


def test_whole_layers_are_not_kept():
    layers, counted = layers_of((12, 4, 4), (4, 2, 2))
    assert not layers.cuts(0, 8) and not layers.cuts(8, 12)
    assert layers.cuts(0, 7) and layers.cuts(2, 8)
    for _ in range(2):
        layers.read(0, 8)
    assert counted.reads.max() == 2  # nothing was kept, nothing was copied


def test_a_single_frame_of_a_short_layer_is_read_alone():
    layers, counted = layers_of((100, 4, 4), (10, 4, 4))
    np.testing.assert_array_equal(layers.read(37, 38), counted.array[37:38])
    assert counted.reads.sum() == 4 * 4
    layers.read(38, 42)
    np.testing.assert_array_equal(layers.read(37, 38), counted.array[37:38])  # from the cached layer
    assert counted.reads[37].max() == 2


@pytest.mark.parametrize("memory_bytes", [3 * 512, 0], ids=["memory", "file"])
def test_what_is_kept_is_bounded(monkeypatch, memory_bytes):
    """A layer has 512 bytes; three are kept."""
    monkeypatch.setattr(chunk_layer_cache, "_DISK_BYTES", 3 * 512)
    layers, counted = layers_of((80, 8, 8), (4, 4, 4), memory_bytes=memory_bytes)
    for start in range(0, 80, 2):
        layers.read(start, start + 2)
        assert sum(layer.nbytes for layer in layers._layers.values()) <= 3 * 512
    assert counted.reads.max() == 1
    layers.read(70, 71)
    assert counted.reads.max() == 1
    layers.read(0, 1)
    assert counted.reads.max() == 2


@pytest.mark.parametrize("when", ["before", "while writing"])
def test_no_room_for_a_layer_costs_time_and_is_said(monkeypatch, when):
    if when == "before":
        usage = namedtuple("usage", "total used free")(100, 0, 100)
        monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    else:

        def full(self, piece, values):
            raise chunk_layer_cache._DiskError("No space left on device")

        monkeypatch.setattr(chunk_layer_cache._FileLayer, "add", full)
    layers, counted = layers_of((12, 4, 4), (12, 2, 2), memory_bytes=0)
    np.testing.assert_array_equal(layers.read(2, 7), counted.array[2:7])
    assert f"{tempfile.gettempdir()} has no room for the 384 bytes" in layers.no_room
    assert "100 bytes are free" in layers.no_room or "No space left" in layers.no_room


@pytest.mark.parametrize("file_format", ["HDF5", "Zarr", "Zarr shards"])
def test_a_file_is_decoded_once(tmp_path, monkeypatch, file_format):
    movie = make_movie((40, 12, 16))
    source_type = Hdf5Source if file_format == "HDF5" else ZarrSource
    if file_format == "HDF5":
        path = tmp_path / "movie.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("movie", data=movie, chunks=(30, 5, 5), compression="gzip")
    else:
        path = tmp_path / "movie.zarr"
        sharded = {"shards": (40, 10, 10), "chunks": (20, 5, 5)}
        options = sharded if "shards" in file_format else {"chunks": (30, 5, 5)}
        zarr.create_array(str(path), shape=movie.shape, dtype=movie.dtype, **options)[...] = movie
    read, read_stored = [], source_type._read_stored

    def counting(self, box):
        values = read_stored(self, box)
        read.append(values.size)
        return values

    monkeypatch.setattr(source_type, "_read_stored", counting)
    with open_source(path) as source:
        for start in range(0, 40, 4):
            np.testing.assert_array_equal(source.read(start, start + 4), movie[start : start + 4])
        assert sum(read) == movie.size
        assert source.note(4) is None
