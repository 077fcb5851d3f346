"""FITS files as astropy writes them."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from astropy.io import fits

from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.sources.open import open_source
from tests.support.sources.source_files import make_movie


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint8", "float32"])
@pytest.mark.parametrize("compressed", [False, True])
def test_images_of_any_dtype(tmp_path, dtype, compressed):
    movie = make_movie((40, 24, 32), dtype)
    path = tmp_path / "movie.fits"
    if compressed:
        compression = "GZIP_2" if dtype == "float32" else "RICE_1"
        image = fits.CompImageHDU(movie, compression_type=compression, quantize_level=0)
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    else:
        fits.PrimaryHDU(movie).writeto(path)
    with open_source(path) as source:
        assert source.dtype == np.dtype(dtype) and source.dtype.isnative
        for start, stop in ((0, 40), (3, 8)):
            np.testing.assert_array_equal(source.read(start, stop), movie[start:stop])
        assert "BITPIX" in source.recording.document("header.txt").text


def test_one_of_several_images_is_chosen(tmp_path, movie):
    path = tmp_path / "movie.fits"
    images = [fits.ImageHDU(movie, name="green"), fits.ImageHDU(movie + 1, name="red")]
    fits.HDUList([fits.PrimaryHDU(movie[0]), *images]).writeto(path)
    with pytest.raises(InvalidInputError, match=r"2 arrays could be the movie; choose one by hdu=.*1 int16"):
        open_source(path)
    for options in ({"hdu": 2}, {"hdu": "red"}, {"dataset": "red"}):
        with open_source(path, **options) as source:
            np.testing.assert_array_equal(source.read(0, 20), movie + 1)
    with open_source(f"{path}::2") as source:
        assert source.read(0, 1)[0, 0, 0] == movie[0, 0, 0] + 1
    with pytest.raises(InvalidInputError, match="no image 7"):
        open_source(path, hdu=7)


@pytest.mark.filterwarnings("ignore:File may have been truncated")
def test_damage_and_a_missing_library(tmp_path, movie, monkeypatch):
    path = tmp_path / "movie.fit"
    fits.PrimaryHDU(movie).writeto(path)
    os.truncate(path, 4000)
    with pytest.raises(CorruptDataError, match="truncated"):
        open_source(path)
    path.write_bytes(b"no FITS")
    with pytest.raises(CorruptDataError, match="not FITS"):
        open_source(path)
    monkeypatch.setitem(sys.modules, "astropy.io.fits", None)
    with pytest.raises(InvalidInputError, match=r'astropy is needed.*pip install "photon-gpu\[fits\]"'):
        open_source(path)
