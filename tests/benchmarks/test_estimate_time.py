import numpy as np
import pytest
import tifffile

import photon_gpu as pg
from benchmarks import estimate_time


@pytest.mark.parametrize("form", estimate_time.FORMATS)
def test_the_file_is_the_block_again_and_again_and_is_measured(tmp_path, form):
    frames = np.random.default_rng(0).poisson(20, (12, 48, 48)).astype("int16")
    path = tmp_path / f"movie.{form}"
    estimate_time.FORMATS[form](path, frames, 3)
    with pg.open_source(path) as source:
        assert np.array_equal(source.read(0, 36), np.tile(frames, (3, 1, 1)))
    if form == "tif":
        with tifffile.TiffFile(path) as tif:
            assert tif.is_bigtiff and len(tif.pages) == 36
    result = estimate_time.measure(path)
    assert result["frames"] == 36 and result["peak_bytes"] > 1e7 and result["seconds"] > 0
