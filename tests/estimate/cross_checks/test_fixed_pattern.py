"""A camera whose pixels, rows and columns differ: the gain is not diluted, and the interval holds it."""

from __future__ import annotations

import numpy as np
import pytest

from photon_gpu.estimate import estimate_noise
from photon_gpu.estimate.second_differences import corners
from tests.support.noise.simulated_recordings import patterned


@pytest.mark.parametrize("seed, pattern", [(14, "pixel"), (15, "row"), (16, "column"), (68, "scmos map")])
def test_a_fixed_pattern_does_not_dilute_the_gain(seed, pattern):
    camera = patterned(seed, pattern=pattern, frames=128, size=80)
    estimate = estimate_noise(camera.frames)
    low, high = estimate.interval.gain
    assert low < camera.gain < high
    assert estimate.model.gain == pytest.approx(camera.gain, rel=0.06)
    assert "fixed pattern" in {finding.name for finding in estimate.warnings}


def test_corners_share_neither_row_nor_column_with_a_pixel():
    image = np.zeros((7, 7))
    image[3, 3] = image[3, 2] = image[2, 3] = 1.0
    around = corners(image)
    assert around[3, 3] == 0
    assert around[2, 2] == pytest.approx(0.25)
