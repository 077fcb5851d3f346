import numpy as np
import pytest
from scipy import ndimage

from photon_gpu.errors import InvalidInputError
from photon_gpu.estimate import estimate_noise
from photon_gpu.estimate.line_fit import LineFit, fit, nugget, overlap
from tests.support.noise.detector_models import cells_of, detect, scene, still


def problem(frames, scheme="near"):
    cells = cells_of(frames)
    return LineFit(cells, cells.count > 0, scheme)


def z(line, gain, intercept):
    error = np.sqrt(np.diag(line.covariance))
    return abs(line.gain - gain) / error[0], abs(line.intercept - intercept) / error[1]


def test_a_still_movie_gives_its_line(movie):
    line = fit(problem(movie))
    assert line.covariance[0, 0] ** 0.5 < 0.02 * 8
    assert max(z(line, 8.0, 36 + 1 / 12 - 800)) < 3.5
    assert line.used.mean() > 0.95


def test_read_noise_does_not_dilute_the_slope():
    """Light of 0 to 2 photons under 2 photons of read noise: an ordinary regression loses half the slope."""
    line = fit(problem(detect(still(high=2.0, low=0.0, frames=240), read=16.0)))
    assert line.covariance[0, 0] ** 0.5 < 0.15 * 8
    assert z(line, 8.0, 0)[0] < 3


def test_the_interval_of_a_still_movie_has_the_size_of_its_scatter():
    lines = [fit(problem(detect(still(frames=48, size=64), seed=seed))) for seed in range(24)]
    scatter = np.std([line.gain for line in lines])
    claimed = np.mean([line.covariance[0, 0] ** 0.5 for line in lines])
    assert 0.65 < scatter / claimed < 1.45
    assert abs(np.mean([line.gain for line in lines]) - 8) < 4 * claimed / np.sqrt(24)


def moved(jitter, frames=120, size=96):
    rng = np.random.default_rng(5)
    large = scene(3, size + 16, 1, 60)
    return np.stack(
        [ndimage.shift(large, rng.normal(0, jitter, 2), order=3)[8:-8, 8:-8] for _ in range(frames)]
    ).clip(0)


def test_jitter_of_every_frame_is_subtracted():
    p = problem(detect(moved(0.4)))
    line, plain = fit(p), fit(LineFit(p.cells, p.usable, "none"))
    assert plain.gain > 1.1 * 8
    assert line.gain == pytest.approx(8, rel=0.04)
    assert z(line, 8.0, 0)[0] < 3


def test_bursts_and_flashes_are_left_out():
    light = still(frames=160).copy()
    light[40:44] *= 3
    light[100] += 40
    light[64:80, 30:50, 30:50] *= 1 + np.random.default_rng(1).random((16, 1, 1)) * 4
    line = fit(problem(detect(light)))
    assert line.gain == pytest.approx(8, rel=0.04)
    assert z(line, 8.0, 0)[0] < 3


def test_line_artefacts_are_left_out():
    light = still(frames=160).copy()
    rng = np.random.default_rng(2)
    for _ in range(60):
        light[rng.integers(160), rng.integers(96)] *= rng.uniform(0, 0.5)
    assert fit(problem(detect(light))).gain == pytest.approx(8, rel=0.04)


def test_overlap_is_the_measured_variance_of_a_mean_of_squares():
    noise = np.random.default_rng(0).standard_normal((200_000, 10))
    squares = (noise[:, :-2] - 2 * noise[:, 1:-1] + noise[:, 2:]) ** 2 / 6
    assert squares.mean(axis=1).var() / 2 == pytest.approx(overlap(8), rel=0.03)


def test_the_nugget_of_a_parabola_of_covariance_is_nothing():
    cells = cells_of(detect(still(frames=32, size=32)))
    forms = {"square": 1.0, **{f"{a}{k}": 1 - 0.05 * k * k for a in "yx" for k in (1, 2, 3)}}
    for name, value in forms.items():
        cells.form(name)[:] = value
    for scheme in ("near", "y", "x", "far"):
        np.testing.assert_allclose(nugget(cells, scheme), 0, atol=1e-12)


def test_one_level_gives_no_line():
    rng = np.random.default_rng(0)
    cells = cells_of(rng.normal(100, 5, (64, 32, 32)))
    line = fit(LineFit(cells, cells.count > 0, "near"))
    assert line is None or line.covariance[0, 0] ** 0.5 > 0.3 * abs(line.gain)


def test_nothing_usable_is_an_error():
    cells = cells_of(detect(still(frames=20, size=32)))
    with pytest.raises(InvalidInputError, match="no sample"):
        LineFit(cells, cells.count < 0, "near")


def test_jitter_of_structure_as_fine_as_a_pixel_goes_with_the_contrast():
    """Where structure is as sharp as this, neighbours share too little to tell it from noise."""
    rng = np.random.default_rng(8)
    points = np.where(rng.random((112, 112)) < 0.1, rng.random((112, 112)), 0.0)
    sharp = scene(3, 112, 5, 120) + 120 * ndimage.gaussian_filter(points, 0.7)
    light = np.stack([ndimage.shift(sharp, rng.normal(0, 0.25, 2), order=3)[8:-8, 8:-8] for _ in range(160)])
    p = problem(detect(light.clip(0)))
    line = fit(p)
    weight = p.weight(line.gain, line.intercept, line.jitter)
    without, _ = p.solve(p.value, weight, line.used)
    assert line.jitter > 0.01
    assert abs(line.gain / 8 - 1) < 0.5 * abs(without[0] / 8 - 1)
    assert z(line, 8.0, 0)[0] < 3


def test_one_tile_of_a_short_movie_gives_a_wide_interval_or_none():
    rng = np.random.default_rng(6)
    light = np.linspace(3, 40, 96).reshape(8, 12)
    estimates = [estimate_noise(rng.poisson(light, (20, 8, 12)).astype(np.uint16)) for _ in range(20)]
    intervals = [one.interval.gain for one in estimates if one.interval is not None]
    assert sum(low <= 1 <= high for low, high in intervals) >= 0.9 * len(intervals) > 9
    assert all(one.verdict != "PASS" for one in estimates)
