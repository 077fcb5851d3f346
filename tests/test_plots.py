import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from photon_gpu.engine.model.anscombe import anscombe, inverse_anscombe
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError
from photon_gpu.plots import plot_bias, plot_demo
from photon_gpu.sources.simulated.movie import simulate

STEP = 0.5


def drawn(figure):
    """The figure as pixels, as a reader would see it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=60)
    buffer.seek(0)
    return imread(buffer)


def movies(**parameters):
    movie = simulate(**{"frames": 60, "height": 48, "width": 40, "motion": 0, "activity": 0, **parameters})
    raw = movie[:]
    stabilized = anscombe(raw, movie.noise)
    decoded = inverse_anscombe(np.rint(stabilized / STEP) * STEP, movie.noise)
    return {"raw": raw, "stabilized": stabilized, "decoded": decoded, "noise": movie.noise, "step": STEP}


def panel(figure, start):
    return next(ax for ax in figure.axes if ax.get_title(loc="left").startswith(start))


@pytest.fixture(scope="module")
def demo():
    arrays = movies()
    return arrays, plot_demo(**arrays, ratio=4.83, title="a title")


def test_the_demo_is_drawn(demo):
    pixels = drawn(demo[1])
    assert pixels.shape[:2] == (540, 840)
    assert np.isfinite(pixels).all() and pixels[..., :3].std() > 0.05


def test_the_frames_are_those_given_and_raw_and_decoded_share_their_limits(demo):
    arrays, figure = demo
    raw, decoded = panel(figure, "Raw: 6").images[0], panel(figure, "Decoded: from 4.8x").images[0]
    assert np.array_equal(raw.get_array(), arrays["raw"][30])
    assert np.array_equal(decoded.get_array(), arrays["decoded"][30])
    assert np.array_equal(
        panel(figure, "Stabilized: the unit").images[0].get_array(), arrays["stabilized"][30]
    )
    assert raw.get_clim() == decoded.get_clim()


def test_the_residual_is_in_sigma_and_its_title_says_the_worst_one(demo):
    arrays, figure = demo
    ax = panel(figure, "Lost")
    lost = ax.images[0].get_array()
    noise = arrays["noise"]
    z = arrays["raw"][30].astype(float)
    sigma = np.sqrt(noise.gain * np.maximum(z - noise.offset, 0) + 0.375 * noise.gain**2 + noise.variance)
    assert np.allclose(lost * sigma, arrays["decoded"][30] - z)
    assert ax.images[0].get_clim() == (-STEP / 2, STEP / 2)
    assert f"at most {np.abs(lost).max():.2f} sigma" in ax.get_title(loc="left")
    assert 0.2 < np.abs(lost).max() < 0.3


def test_the_model_line_and_the_pixels_agree(demo):
    arrays, figure = demo
    noise = arrays["noise"]
    ax = panel(figure, "Raw: the variance")
    points, model = ax.lines
    x, y = model.get_data()
    assert np.allclose(y, noise.gain * (x - noise.offset) + noise.variance)
    mean, variance = points.get_data()
    assert len(mean) == 25
    assert np.allclose(variance / (noise.gain * (mean - noise.offset) + noise.variance), 1, atol=0.1)
    points = panel(figure, "Stabilized: variance").lines[0].get_data()
    assert np.allclose(points[1], 1, atol=0.12)


def test_a_wrong_noise_model_is_seen_and_not_praised():
    arrays = movies()
    wrong = NoiseModel(gain=arrays["noise"].gain / 3, offset=arrays["noise"].offset)
    arrays |= {"noise": wrong, "stabilized": anscombe(arrays["raw"], wrong)}
    title = panel(plot_demo(**arrays), "Stabilized: variance").get_title(loc="left")
    assert float(title.split(" to ")[1].split()[0]) > 2.5


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 3, 200), (5, 60, 2)])
def test_odd_shapes_can_be_drawn(shape):
    arrays = movies(frames=shape[0], height=shape[1], width=shape[2])
    assert drawn(plot_demo(**arrays)).size


def test_a_movie_of_one_value_can_be_drawn():
    flat = np.full((3, 8, 8), 7)
    noise = NoiseModel()
    figure = plot_demo(raw=flat, stabilized=anscombe(flat), decoded=flat, noise=noise, step=STEP, frame=0)
    assert drawn(figure).size


def test_movies_that_do_not_match_are_refused():
    arrays = movies()
    with pytest.raises(InvalidInputError, match=r"decoded \(59, 48, 40\) arrived; one shape"):
        plot_demo(**{**arrays, "decoded": arrays["decoded"][1:]})
    one = {name: arrays[name][:1] for name in ("raw", "stabilized", "decoded")}
    with pytest.raises(InvalidInputError, match="T of 2 or more"):
        plot_demo(**{**arrays, **one})


def test_biases_are_drawn_with_their_limits_and_the_worst_is_named():
    light = np.geomspace(0.1, 100, 40)
    float_bias = {10.0: 0.5 * np.cos(light), 1.0: np.sin(light)}
    integer_bias = {1.0: np.linspace(0, -2.5, 40), 10.0: np.zeros(40)}
    figure = plot_bias(photons=light, float_bias=float_bias, integer_bias=integer_bias)
    assert drawn(figure).shape[:2] == (324, 720)
    left, right, _ = figure.axes
    shown = left.collections[0].get_array()
    np.testing.assert_array_equal(np.reshape(shown, (2, 40)), [float_bias[1.0], float_bias[10.0]])
    assert [text.get_text() for text in left.get_yticklabels()] == ["1", "10"]
    assert "limit 2 %, worst 0.99 %" in left.get_title(loc="left")
    assert "limit 3 %, worst 2.5 % (gain 1, 1e+02 photons)" in right.get_title(loc="left")
    dots = [len(ax.collections[1].get_offsets()) for ax in (left, right)]
    assert dots == [0, 0], "no cell is above its limit"


def test_a_bias_above_its_limit_is_within_the_colours_and_has_a_dot():
    figure = plot_bias(photons=[1, 10], float_bias={1.0: [0, -40]}, integer_bias={1.0: [0, 1]})
    mesh, dots = figure.axes[0].collections
    assert mesh.get_clim() == (-40, 40)
    assert dots.get_offsets().tolist() == [[10, 0]]


def test_biases_of_another_length_are_refused():
    with pytest.raises(InvalidInputError, match="gain 2"):
        plot_bias(photons=[1, 10], float_bias={2.0: [0, 1, 2]}, integer_bias={})


def test_plotting_opens_no_window_and_leaves_pyplot_and_its_settings_alone(tmp_path):
    code = """
import sys, photon_gpu.plots as plots
assert "matplotlib" not in sys.modules
import matplotlib
watched = [key for key in matplotlib.rcParams if key != "backend"]  # asking for it would load pyplot
before = {key: matplotlib.rcParams[key] for key in watched}
plots.plot_bias(photons=[1, 10], float_bias={1.0: [0, 1]}, integer_bias={1.0: [0, 1]}).savefig(sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
assert {key: matplotlib.rcParams[key] for key in watched} == before
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "bias.png")], check=True)
    assert imread(tmp_path / "bias.png").shape == (540, 1200, 4)
