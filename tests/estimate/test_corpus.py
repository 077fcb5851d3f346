"""Real recordings, where they are at hand (``PHOTON_GPU_CORPUS``)."""

import os
from pathlib import Path

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.estimate import estimate_noise

CORPUS = os.environ.get("PHOTON_GPU_CORPUS")
pytestmark = pytest.mark.skipif(not CORPUS, reason="PHOTON_GPU_CORPUS is not set: no real recordings")


def recording(name):
    return Path(CORPUS) / name


def test_two_photon_cortex_is_accepted_with_its_gain():
    estimate = estimate_noise(recording("2p_cortex.tif"))
    assert estimate.verdict != "REFUSE"
    assert 82 < estimate.model.gain < 88
    assert 5 < estimate.model.offset < 30
    assert abs(estimate.diagnostics.correlation.x) < 0.1
    assert any(f.name == "excess noise" for f in estimate.warnings)


def test_two_photon_cortex_by_hand():
    """Pixelwise photon transfer of pixels that are neither bright nor steep; and the dark level."""
    with pg.open_source(recording("2p_cortex.tif")) as source:
        movie = source.read(0, source.shape[0]).astype(float)
    level = movie.mean(axis=0)
    variance = ((movie[:-2] - 2 * movie[1:-1] + movie[2:]) ** 2 / 6).mean(axis=0)
    steep = np.hypot(*np.gradient(level))
    calm = (level < np.quantile(level, 0.8)) & (steep < np.quantile(steep, 0.5))
    gain, intercept = np.polyfit(level[calm], variance[calm], 1, w=1 / level[calm])
    estimate = estimate_noise(recording("2p_cortex.tif"))
    assert estimate.model.gain == pytest.approx(gain, rel=0.04)
    assert estimate.model.offset == pytest.approx(-intercept / gain, abs=15)
    dark = movie[:, level <= np.quantile(level, 0.01)]
    counts, edges = np.histogram(dark, np.arange(-45, 65, 10))
    assert abs(edges[counts.argmax()] + 5) < 15  # samples without a photon lie at 0 ADU, not at 92


@pytest.mark.parametrize("name", ["photoncount_flim_ptu.npy", "photoncount_flim_sdt.npz"])
def test_photon_counts_have_a_gain_of_one(name):
    estimate = estimate_noise(recording(name))
    assert estimate.verdict != "REFUSE"
    assert 0.95 < estimate.model.gain < 1.14
    assert estimate.model.offset == pytest.approx(0, abs=0.05)
    assert estimate.diagnostics.separated_by == "floor"


def test_a_calibration_slide_gives_the_gain_of_the_detector():
    slides = np.load(recording("2p_pmt_calibration.npy"))
    estimate = estimate_noise(slides, pairs="space")
    assert estimate.model.gain == pytest.approx(9.1, rel=0.03)
    assert estimate_noise(slides).verdict == "REFUSE"


def test_a_light_sheet_stack_is_not_time():
    estimate = estimate_noise(recording("lattice_lightsheet_z.tif"))
    assert estimate.verdict == "WARN"
    assert "structure" in {f.name for f in estimate.warnings}
    assert 1.9 < estimate.model.gain < 2.5
    assert 88 < estimate.model.offset < 97


def test_moving_molecules_are_noticed():
    assert "structure" in {f.name for f in estimate_noise(recording("camera_single_molecule.npy")).warnings}
