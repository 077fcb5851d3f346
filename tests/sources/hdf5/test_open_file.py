"""HDF5 files with filters, open in other programs, or that may not be read."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys

import h5py
import hdf5plugin
import numpy as np
import pytest

from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonWarning
from photon_gpu.sources.open import open_source
from tests.support.sources.source_files import make_movie


@pytest.fixture
def path(tmp_path):
    return tmp_path / "movie.h5"


def sum_in_a_new_process(path):
    """Sum of frames 4 to 8, by a process that has not imported hdf5plugin."""
    code = "import sys; from photon_gpu.sources.open import open_source as opened"
    code += "; print(opened(sys.argv[1]).read(4, 9).sum())"
    command = [sys.executable, "-c", code, str(path)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("name", ["Blosc", "Blosc2", "Zstd", "LZ4", "Bitshuffle"])
def test_filters_of_hdf5plugin_are_read_without_importing_it(path, movie, name):
    with h5py.File(path, "w") as file:
        file.create_dataset("movie", data=movie, chunks=(3, 12, 16), **getattr(hdf5plugin, name)())
    # In a process of its own, which has not imported hdf5plugin.
    code = (
        f"from photon_gpu.sources.open import open_source; print(open_source({str(path)!r}).read(4, 9).sum())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(result.stdout) == movie[4:9].sum()


def test_a_filter_that_is_not_installed_is_named(path, movie, monkeypatch):
    with h5py.File(path, "w") as file:
        file.create_dataset("movie", data=movie, chunks=(3, 12, 16), **hdf5plugin.Zstd())
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda number: number < 32000)
    with pytest.raises(InvalidInputError, match=r"filter 32015 \(Zstd\).*hdf5plugin does not have it"):
        open_source(path)
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(InvalidInputError, match=r"filter 32015 \(Zstd\).*pip install hdf5plugin"):
        open_source(path)


def test_a_virtual_dataset_whose_part_has_a_filter(tmp_path, path, movie):
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file.create_dataset("movie", data=movie, chunks=(3, 12, 16), **hdf5plugin.Blosc())
    layout = h5py.VirtualLayout(movie.shape, movie.dtype)
    layout[...] = h5py.VirtualSource(str(tmp_path / "part.h5"), "movie", movie.shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("movie", layout)
    code = (
        f"from photon_gpu.sources.open import open_source; print(open_source({str(path)!r}).read(4, 9).sum())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(result.stdout) == movie[4:9].sum()


def swmr(path, movie, frames):
    """Write part of a movie as an acquisition does that others may read meanwhile."""
    file = h5py.File(path, "w", libver="latest")
    shape = movie.shape[1:]
    data = file.create_dataset("movie", (0, *shape), "i2", maxshape=(None, *shape), chunks=(5, *shape))
    file.swmr_mode = True
    data.resize((frames, *shape))
    data[:] = movie[:frames]
    data.flush()
    return file


def test_a_file_in_swmr_mode_is_read_with_a_warning(path, tmp_path, movie):
    with swmr(path, movie, 10):
        shutil.copy(path, tmp_path / "copy.h5")  # this process may read its own handle
    with pytest.warns(PhotonWarning, match="only frames that are there now"):
        source = open_source(tmp_path / "copy.h5")
    with source:
        np.testing.assert_array_equal(source.read(0, 10), movie[:10])


def test_a_file_that_was_not_closed(path, tmp_path, movie):
    with h5py.File(path, "w", libver="latest") as file:
        file["movie"] = movie
        file.flush()
        shutil.copy(path, tmp_path / "copy.h5")
    with pytest.raises(InvalidInputError, match="ended without closing it.*h5clear"):
        open_source(tmp_path / "copy.h5")


def test_no_permission_is_called_so(path, movie, monkeypatch):
    with h5py.File(path, "w") as file:
        file["movie"] = movie

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "unable to open file")

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(PermissionError, match="no permission to read the file.*movie.h5"):
        open_source(path)


def test_a_closed_dataset_is_refused(path, movie):
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("movie", data=movie)
    with pytest.raises(InvalidInputError, match="file of this dataset is closed; open it again"):
        open_source(dataset)


@pytest.mark.parametrize("stored", ["contiguous", "chunks"])
@pytest.mark.parametrize("order", [(2, 0, 1), (0, 2, 1), (2, 1, 0)])
def test_dimensions_in_another_order(path, stored, order):
    movie = make_movie((20, 6, 9))
    inverse = np.argsort(order)
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "movie", data=movie.transpose(inverse), chunks=(4, 3, 5) if stored == "chunks" else None
        )
    with open_source(path).arranged(order) as source:
        assert source.shape == movie.shape
        for start in range(0, 20, 6):
            stop = min(start + 6, 20)
            np.testing.assert_array_equal(source.read(start, stop), movie[start:stop])


def test_gaps_in_another_order_are_refused(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("movie", (6, 9, 20), "i2", chunks=(6, 9, 5))[:, :, :5] = 1
    with open_source(path, missing="fill") as source, source.arranged((2, 0, 1)) as movie:
        assert movie.read(0, 20).sum() == 6 * 9 * 5
    with pytest.warns(PhotonWarning):
        source = open_source(path, missing="zero")
    with source, pytest.raises(InvalidInputError, match="run along dimension 2"):
        source.arranged((2, 0, 1))


def test_a_file_that_shrank_is_truncated(path, movie):
    with h5py.File(path, "w") as file:
        file["movie"] = movie
    os.truncate(path, 100)
    with pytest.raises(CorruptDataError, match="truncated, damaged, or not HDF5"):
        open_source(path)
