"""Real recordings, where they are at hand (``PHOTON_GPU_CORPUS``)."""

import os
from pathlib import Path

import numpy as np
import pytest

from photon_gpu.estimate import estimate_noise

CORPUS = os.environ.get("PHOTON_GPU_CORPUS")
pytestmark = pytest.mark.skipif(not CORPUS, reason="PHOTON_GPU_CORPUS is not set: no real recordings")


def recording(name):
    return Path(CORPUS) / name


def test_two_photon_cortex():
    found = estimate_noise(recording("2p_cortex.tif"))
    assert found.verdict != "REFUSE"
    assert 78 < found.model.gain < 110
    assert 0 < found.model.offset < 95
    assert abs(found.diagnostics.correlation.x) < 0.1
    assert any(f.name == "excess noise" for f in found.warnings)


@pytest.mark.parametrize("name", ["photoncount_flim_ptu.npy", "photoncount_flim_sdt.npz"])
def test_photon_counts(name):
    found = estimate_noise(recording(name))
    assert found.verdict != "REFUSE"
    assert 0.93 < found.model.gain < 1.14
    assert found.model.offset == pytest.approx(0, abs=0.05)
    assert found.diagnostics.separated_by == "floor"


def test_calibration_slide():
    slides = np.load(recording("2p_pmt_calibration.npy"))
    found = estimate_noise(slides, pairs="space")
    assert found.model.gain == pytest.approx(9.1, rel=0.03)
    assert estimate_noise(slides).verdict == "REFUSE"


def test_a_light_sheet_stack_is_not_time():
    found = estimate_noise(recording("lattice_lightsheet_z.tif"))
    assert found.verdict == "WARN"
    assert "structure" in {f.name for f in found.warnings}
    assert 1.9 < found.model.gain < 2.5
    assert 88 < found.model.offset < 97


def test_moving_molecules_are_noticed():
    assert "structure" in {f.name for f in estimate_noise(recording("camera_single_molecule.npy")).warnings}
