import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from photon_gpu.errors import InvalidInputError
from photon_gpu.estimate import estimate_noise
from photon_gpu.estimate.plot import plot_estimate
from tests.support.noise.detector_models import detect, still


def test_points_line_band_and_left_out_levels_are_drawn(movie, tmp_path):
    estimate = estimate_noise(np.minimum(movie, 230))
    figure = plot_estimate(estimate, tmp_path / "curve.png")
    upper, lower = figure.axes
    labels = upper.get_legend_handles_labels()[1]
    assert any("95 %" in label for label in labels)
    assert any("left out" in label for label in labels)
    line = next(a for a in upper.lines if "z" in str(a.get_label()) and len(a.get_xdata()) == 200)
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    np.testing.assert_allclose(
        np.polyfit(x, y, 1), [estimate.model.gain, estimate.diagnostics.intercept], rtol=1e-6
    )
    kept = np.array(estimate.diagnostics.curve.samples) > 0
    points = next(c for c in upper.containers if "kept" in c.get_label()).lines[0]
    np.testing.assert_allclose(points.get_xdata(), np.array(estimate.diagnostics.curve.level)[kept])
    assert "%" in lower.get_ylabel()
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_measured_is_an_error():
    estimate = estimate_noise(detect(still(frames=2, size=16)))
    with pytest.raises(InvalidInputError, match="2 frames"):
        estimate.plot()


def test_a_refused_estimate_is_drawn_too(movie):
    result = replace(estimate_noise(movie), verdict="REFUSE", model=None, interval=None)
    assert "REFUSE" in plot_estimate(result).axes[0].get_title(loc="left")


def test_importing_the_estimate_loads_no_matplotlib():
    code = "import sys, photon_gpu.estimate; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
