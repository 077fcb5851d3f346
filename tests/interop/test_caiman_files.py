"""Files for CaImAn, which is not installed: the calls of its ``load`` and ``get_file_size`` read them."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import tifffile

import photon_gpu as pg
from photon_gpu.reader.export import export

SOME = [2, 5, 17]


def size_and_frames_of_tiff(path, frames):
    with tifffile.TiffFile(path) as file:
        shape = file.series[0].shape
        assert shape[0] > 1 and len(file.pages) == shape[0]  # else CaImAn takes it for one page
        return shape, np.squeeze(file.asarray(key=frames) if frames else file.asarray())


def size_and_frames_of_hdf5(path, frames):
    with h5py.File(path) as file:
        name = "movie" if path.suffix == ".h5" else f"acquisition/{next(iter(file['acquisition']))}/data"
        movie = file[name]
        return movie.shape, np.array(movie[frames] if frames else movie).squeeze()


@pytest.mark.parametrize("frames", [None, SOME])
@pytest.mark.parametrize("suffix", [".tif", ".btf", ".h5", ".nwb"])
def test_caiman_reads_what_decode_writes(tmp_path, suffix, frames):
    values = np.random.default_rng(4).poisson(20, (23, 9, 11)).astype("uint16")
    source = pg.open_source(values)
    source.recording = source.recording.replace(
        axes="tyx", frame_rate=30.0, pixel_size={"y": (0.5, "um"), "x": (0.5, "um")}
    )
    pg.encode(source, tmp_path / "m.zarr", layout="compact", noise=pg.NoiseModel(), check=False)
    path = tmp_path / f"m{suffix}"
    export(pg.open(tmp_path / "m.zarr"), path)
    read = size_and_frames_of_tiff if "t" in suffix else size_and_frames_of_hdf5
    shape, loaded = read(path, frames)
    counts = pg.open(tmp_path / "m.zarr").counts
    assert shape == (23, 9, 11)
    np.testing.assert_array_equal(loaded.astype("float32"), counts[frames] if frames else counts[...])
