"""Files of every format: encoded, decoded to HDF5, and compared."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import zarr
from astropy.io import fits

import photon_gpu as pg
from photon_gpu.reader.export import export
from photon_gpu.sources.open import open_source
from tests.support.sources.microscope_files import (
    write_nwb,
    write_ome_zarr,
    write_scanbox,
    write_suite2p,
    write_thorimage,
)
from tests.support.sources.nd2_files import write_nd2

GAIN, OFFSET = 20.0, 100.0


def photons(shape, dtype="uint16"):
    light = np.linspace(1, 40, shape[-2] * shape[-1]).reshape(shape[-2:])
    counts = np.random.default_rng(0).poisson(light, shape)
    return (counts * GAIN + OFFSET).astype(dtype)


def hdf5_in_another_order(folder):
    movie = photons((40, 12, 16))
    with h5py.File(folder / "movie.h5", "w") as file:
        data = file.create_dataset("movie", data=np.moveaxis(movie, 0, -1), chunks=(12, 4, 15))
        for number, letter in enumerate("yxt"):
            data.dims[number].label = letter
        data.attrs["element_size_um"] = [1.0, 0.5, 0.25]
    return folder / "movie.h5", movie, {}


def ome_zarr(folder):
    movie = photons((40, 2, 12, 16))
    write_ome_zarr(zarr.open_group(str(folder / "movie.ome.zarr"), mode="w"), movie)
    return folder / "movie.ome.zarr", movie, {}


def nwb(folder):
    movie = photons((40, 12, 16), "int16")
    return write_nwb(folder / "movie.nwb", green=movie), movie, {}


def thorimage(folder):
    movie = photons((40, 2, 12, 16))
    return write_thorimage(folder, movie, channel=3, promised=40), movie, {}


def scanbox(folder):
    movie = photons((40, 1, 12, 16))
    return write_scanbox(folder, movie), movie[:, 0], {}


def suite2p(folder):
    movie = photons((40, 12, 16), "int16")
    return write_suite2p(folder, movie), movie, {}


def raw(folder):
    movie = photons((40, 12, 16))
    (folder / "movie.dat").write_bytes(b"head" + movie.tobytes())
    return folder / "movie.dat", movie, {"shape": (12, 16), "dtype": "uint16", "offset_bytes": 4}


def fits_image(folder):
    movie = photons((40, 12, 16))
    fits.PrimaryHDU(movie).writeto(folder / "movie.fits")
    return folder / "movie.fits", movie, {}


def nd2(folder):
    movie = photons((40, 2, 12, 16))
    return write_nd2(folder / "movie.nd2", movie), movie, {}


@pytest.mark.parametrize(
    "write", [hdf5_in_another_order, ome_zarr, nwb, thorimage, scanbox, suite2p, raw, fits_image, nd2]
)
def test_nothing_but_noise_below_the_step_is_lost(tmp_path, write):
    path, movie, options = write(tmp_path)
    noise = pg.NoiseModel(gain=GAIN, offset=OFFSET)
    with open_source(path, **options) as source:
        recording = source.recording
        pg.encode(source, tmp_path / "out.zarr", layout="compact", noise=noise, trust_noise=True)
    stored = pg.open(tmp_path / "out.zarr")
    export(stored, tmp_path / "out.h5")
    with open_source(tmp_path / "out.h5") as source:
        values, result = source.read(0, len(movie)), source.recording
    assert values.shape == movie.shape and values.dtype == movie.dtype
    error = pg.anscombe(values, noise) - pg.anscombe(movie, noise)
    assert abs(error).max() <= 0.5
    for name in ("axes", "channel_names", "pixel_size", "frame_rate"):
        assert getattr(result, name) == getattr(recording, name), name
    documents = [(document.name, document.data) for document in recording.documents]
    assert [(document.name, document.data) for document in result.documents] == documents
