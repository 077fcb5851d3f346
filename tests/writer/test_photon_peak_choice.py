"""peaks="auto": bins for photon peaks where a dark movie shows them, and the grid's bytes elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.writer.photon_peak_choice import chosen_peaks
from tests.support.noise.detector_models import resolved_photons


def detector(read, gain=100.0, offset=500.0):
    return NoiseModel(gain=gain, offset=offset, variance=(gain * read) ** 2)


def chosen(values, noise, **options):
    return chosen_peaks([values], Encoding(layout="compact", dtype=values.dtype.name, noise=noise, **options))


@pytest.mark.parametrize(
    ("light", "read", "peaks"), [(0.1, 0.1, 4), (0.1, 0.2, 4), (0.3, 0.25, 5), (1, 0.2, 8)]
)
def test_a_dark_movie_of_resolved_photons_has_peaks(light, read, peaks):
    assert chosen(resolved_photons(light, read), detector(read)) == peaks


NOT_DARK = {
    "bright": (resolved_photons(5.0, 0.2), detector(0.2), {}),
    "no light at all": (resolved_photons(0.0, 0.2), detector(0.2), {}),
    "much read noise": (resolved_photons(0.3, 0.4), detector(0.4), {}),
    "offset 0.2 photons off": (resolved_photons(0.3, 0.2), detector(0.2, offset=520.0), {}),
    "pulses of unequal height": (resolved_photons(0.3, 0.2, spread=0.5), detector(0.2), {}),
    "small gain": (resolved_photons(0.3, 0.2, gain=4.0), detector(0.2, gain=4.0), {}),
    "dither": (resolved_photons(0.3, 0.2), detector(0.2), {"dither": 1}),
    "floats": (resolved_photons(0.3, 0.2).astype("float32"), detector(0.2), {}),
}


@pytest.mark.parametrize("why", NOT_DARK)
def test_movies_that_are_not_dark_get_no_photon_peaks(why):
    values, noise, options = NOT_DARK[why]
    assert chosen(values, noise, **options) == 0


@pytest.mark.parametrize("preset", ["fast", "balanced", "small"])
def test_a_dark_movie_is_smaller(tmp_path, preset):
    values = resolved_photons(0.3, 0.2)
    options = {"noise": detector(0.2), "layout": "compact", "preset": preset, "check": "full"}
    auto = pg.encode(values, tmp_path / "auto.zarr", peaks="auto", **options)
    grid = pg.encode(values, tmp_path / "grid.zarr", peaks=0, **options)
    assert auto.passed and auto.encoding.peaks == 5 and "peaks with bins of their own: 5" in str(auto)
    assert auto.stored_bytes < 0.8 * grid.stored_bytes
    assert grid.encoding.peaks == 0 and "peaks" not in str(grid) and auto.to_dict()["peaks"] == 5


def test_the_report_passes_and_says_that_there_are_peaks(tmp_path):
    values = resolved_photons(0.3, 0.1, frames=150)
    pg.encode(values, tmp_path / "m.zarr", noise=detector(0.1), layout="compact", peaks="auto")
    report = pg.fidelity(values, tmp_path / "m.zarr")
    assert report.verdict == "PASS", str(report)
    assert str(report).startswith("PASS (") and " SKIP): " in str(report).splitlines()[0]
    report.save(tmp_path / "report.html")
    assert "photon peaks with bins of their own: 5" in (tmp_path / "report.html").read_text()
    assert "than its bin reaches" in report["escaped"].title and "bins" in report["worst"].found


def test_a_bright_movie_has_the_bytes_of_the_grid(tmp_path):
    values = resolved_photons(9.0, 0.2)
    for name in ("auto", 0):
        pg.encode(values, tmp_path / f"{name}.zarr", noise=detector(0.2), layout="compact", peaks=name)
    files = [sorted((tmp_path / f"{name}.zarr").glob("*.0.0")) for name in ("auto", 0)]
    assert [one.read_bytes() for one in files[0]] == [one.read_bytes() for one in files[1]]


def test_each_channel_chooses_for_itself(tmp_path):
    values = np.stack([resolved_photons(0.3, 0.2), resolved_photons(9.0, 0.2)], axis=1)
    report = pg.encode(
        values, tmp_path / "m.zarr", axes="tcyx", noise=[detector(0.2)] * 2, layout="compact", peaks="auto"
    )
    assert [channel.peaks for channel in report.encoding.channels] == [5, 0]
    assert "5 in channel 0, 0 in channel 1" in str(report)


@pytest.mark.parametrize("layout", ["plain", "lossless"])
def test_auto_is_allowed_where_there_are_no_peaks(tmp_path, layout):
    values = resolved_photons(0.3, 0.2)
    report = pg.encode(values, tmp_path / "m.zarr", noise=detector(0.2), layout=layout, peaks="auto")
    assert report.encoding.peaks == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("light, peaks", [(0.0, 0), (0.02, 2)])
def test_a_detector_without_read_noise_may_have_pixels_without_noise(light, peaks):
    photons = np.random.default_rng(1).poisson(light, (50, 32, 32))
    values = (500 + 100 * photons).astype("uint16")
    detector = NoiseModel(gain=100.0, offset=500.0)
    assert chosen_peaks([values], Encoding(layout="compact", noise=detector)) == peaks
