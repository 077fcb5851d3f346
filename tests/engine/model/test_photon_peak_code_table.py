"""Bins that follow photon peaks: codes, values back, information kept, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.engine.model.clipping_levels import ClippingLevels
from photon_gpu.engine.model.clipping_levels_code_table import ClippedCodeTable
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.model.entropy_and_information import information_kept
from photon_gpu.engine.model.photon_peak_code_table import PeakCodeTable
from photon_gpu.errors import InvalidInputError

DARK = pg.NoiseModel(gain=100.0, offset=500.0, variance=625.0)
VALUES = np.arange(-2000, 3000)


def tables():
    for peaks in (1, 2, 8):
        yield PeakCodeTable(DARK, step=0.5, dtype="int16", peaks=peaks)
    levels = ClippingLevels(low=480, high=2900)
    yield ClippedCodeTable(DARK, step=0.5, dtype="int16", phases=1, clipping=levels, peaks=2)


@pytest.mark.parametrize("table", list(tables()))
def test_a_value_comes_back_within_its_bin(table):
    codes = table.luts()[0][VALUES & 0xFFFF]
    assert codes.tolist() == [table.code(int(value)) for value in VALUES]
    low, high = int(codes.min()), int(codes.max())
    edges = table.thresholds(low, high)
    assert (np.diff(edges) > 0).all()
    np.testing.assert_array_equal(low + np.searchsorted(edges, VALUES, side="right") - 1, codes)
    for row in table.decode_tables(low, high, "int16"):
        back = row[codes - low].astype(int)
        np.testing.assert_array_equal(table.luts()[0][back & 0xFFFF], codes)
    label = table.stabilized(codes, 0)
    assert (np.abs(label - pg.anscombe(VALUES, DARK)) <= table.most_moved(VALUES) + 1e-9).all()


def test_values_above_the_last_valley_have_the_codes_of_the_grid():
    peaks, grid = (make(DARK, step=0.5, dtype="int16", **more) for make, more in KINDS)
    bright = np.arange(665, 20_000, 7)  # two peaks and their valleys end at 500 + 1.65*100
    assert [peaks.code(int(v)) for v in bright] == [grid.code(int(v)) for v in bright]
    assert peaks.code(664) != peaks.code(665)


KINDS = ((PeakCodeTable, {"peaks": 2}), (CodeTable, {}))


def test_more_information_is_kept_in_fewer_bits():
    peaks, grid = (make(DARK, step=0.5, dtype="int16", **more) for make, more in KINDS)
    kept, before = (information_kept(table, [0.1, 0.3, 1.0]) for table in (peaks, grid))
    assert (kept > [0.98, 0.985, 0.97]).all() and (kept > before).all()
    assert (before < [0.89, 0.925, 0.96]).all()


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_a_dark_movie_is_smaller_and_passes_its_check(dtype, tmp_path):
    random = np.random.default_rng(1)
    light = random.gamma(1.2, 0.5, (32, 48))
    values = 500 + 100 * random.poisson(light, (60, 32, 48)) + random.normal(0, 25, (60, 32, 48))
    values = np.rint(values).astype(dtype)
    sizes = []
    for peaks in (0, 2):
        report = pg.encode(
            values, tmp_path / f"{peaks}.zarr", noise=DARK, layout="compact", peaks=peaks, check="full"
        )
        assert not report.failed
        sizes.append(report.stored_bytes)
    assert sizes[1] < 0.92 * sizes[0]
    movie = pg.open(tmp_path / "2.zarr")
    assert movie.encoding.peaks == 2 and movie.attrs["codec_version"] == "2.7"
    assert abs((movie.counts[...].astype(float) - values).mean()) < 1.0  # a hundredth of a photon


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"peaks": 9}, "0 to 8"),
        ({"peaks": True}, "0 to 8"),
        ({"peaks": 2, "layout": "plain"}, "compact"),
        ({"peaks": 2, "dither": 1}, "without dither"),
        ({"peaks": 2, "noise": pg.NoiseModel(gain=2.0)}, "at least 8"),
    ],
)
def test_what_has_no_peaks_is_refused_by_name(options, words, tmp_path):
    options = {"layout": "compact", "noise": DARK, "check": False, **options}
    with pytest.raises(InvalidInputError, match=words):
        pg.encode(np.full((4, 8, 8), 600, "uint16"), tmp_path / "m.zarr", **options)
    assert not (tmp_path / "m.zarr").exists()
