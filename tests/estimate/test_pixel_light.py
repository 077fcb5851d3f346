"""Light pooled from all frames that are not measured, where read noise hides it in half a window."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from photon_gpu.estimate import estimate_noise
from photon_gpu.estimate.line_fit import LineFit, fit
from photon_gpu.estimate.pixel_light import around, box, halves, pooled
from photon_gpu.estimate.sample import Window, draw
from photon_gpu.estimate.second_differences import gather
from photon_gpu.sources.open import open_source
from tests.support.noise.detector_models import detect, scene, still

DIM = {"gain": 8.0, "read": 24.0}  # 3 photons of read noise


def windows_of(frames, budget=1 << 26):
    return draw(open_source(frames), pairs="time", seed=0, budget_bytes=budget)


def dim(frames=96, size=96, seed=0, high=1.5, **options):
    return detect(still(frames=frames, size=size, low=0.0, high=high), seed=seed, **{**DIM, **options})


def line_of(frames, pool):
    windows = windows_of(frames)
    cells = gather(windows, top=np.inf, bottom=-np.inf, pooled=pooled(windows) if pool else None)
    return fit(LineFit(cells, cells.count > 0, "near"))


@pytest.mark.parametrize("length", [4, 5, 6, 7, 16, 31])
def test_measured_frames_and_instrument_never_share_a_frame(length):
    for chosen, rest in halves(length):
        measured = set(range(length)[chosen])
        assert len(measured) >= 3
        assert rest
        assert not measured & set(rest)


@pytest.mark.parametrize("width", [3, 5, 33])
def test_a_box_is_the_mean_of_its_pixels(width):
    image = 1e4 + np.random.default_rng(0).normal(size=(40, 23))
    expected = ndimage.uniform_filter(image, width, mode="nearest")
    np.testing.assert_allclose(box(image, width), expected, atol=1e-8)


def test_a_pixel_is_not_among_those_around_it_nor_are_its_row_and_column():
    point = np.zeros((41, 41))
    point[20, 20] = 1.0
    for width in (3, 9):
        ring = around(point, width)
        assert ring[20, 20] == pytest.approx(0, abs=1e-12)
        assert ring[20, 21] == pytest.approx(0, abs=1e-12)
        assert ring[21, 21] == pytest.approx(1 / (width - 1) ** 2)
        assert ring.sum() == pytest.approx(1)


@pytest.mark.parametrize("frames, size", [(24, 224), (96, 96)])
def test_measured_frames_do_not_tell_their_own_light(frames, size):
    """The weights, a handful for millions of pixels, and one level apart."""
    windows = windows_of(dim(frames=frames, size=size, dtype="float64"))
    light = pooled(windows)
    number = len(windows) // 2
    for chosen, rest in halves(len(windows[number].frames)):
        changed = windows[number].frames.copy()
        pattern = np.random.default_rng(1).normal(0, 50, changed.shape[1:])
        changed[chosen] += pattern - pattern.mean()
        others = list(windows)
        others[number] = replace(windows[number], frames=changed)
        totals = {0: light.totals[0] + (changed - windows[number].frames).sum(axis=0)}
        again = replace(light, windows=others, totals=totals)
        np.testing.assert_allclose(
            again.light(number, chosen, rest), light.light(number, chosen, rest), atol=1e-6
        )


def test_light_that_read_noise_hides_is_pooled_and_light_that_it_does_not_hide_is_not(movie):
    assert pooled(windows_of(dim())).better > 1.5
    assert pooled(windows_of(dim(frames=20, size=256))).better > 1.2
    assert not pooled(windows_of(movie)).needed


def test_nothing_is_pooled_where_nothing_is_known_of_the_light():
    noise = np.random.default_rng(0).normal(100, 5, (64, 48, 48))
    assert pooled(windows_of(noise)) is None
    assert pooled(windows_of(np.zeros((32, 16, 16), np.uint8))) is None
    spoilt = dim(dtype="float32")
    spoilt[5, 3, 3] = np.nan
    assert pooled(windows_of(spoilt)) is None


def test_pooled_light_follows_bleaching_and_comes_close_to_the_truth():
    fade = np.linspace(1, 0.3, 96)[:, None, None]
    truth = still(frames=96, size=96, low=0.0, high=1.5) * fade
    windows = windows_of(detect(truth, **DIM))
    light = pooled(windows)
    for number in (0, len(windows) - 1):
        for chosen, rest in halves(len(windows[number].frames)):
            start = windows[number].start
            real = 100 + 8 * truth[start : start + len(windows[number].frames)][chosen].mean(axis=0)
            error = light.light(number, chosen, rest) - real
            assert abs(error.mean()) < 0.2 * real.std()
            assert error.std() < 0.5 * real.std()


def test_the_line_has_half_the_error_and_its_interval_the_size_of_its_scatter():
    lines = [line_of(dim(frames=48, size=64, seed=seed), pool=True) for seed in range(24)]
    plain = [line_of(dim(frames=48, size=64, seed=seed), pool=False) for seed in range(6)]
    scatter = np.std([line.gain for line in lines])
    claimed = np.mean([line.covariance[0, 0] ** 0.5 for line in lines])
    assert claimed < 0.6 * np.mean([line.covariance[0, 0] ** 0.5 for line in plain])
    assert 0.65 < scatter / claimed < 1.45
    assert abs(np.mean([line.gain for line in lines]) - 8) < 4 * claimed / np.sqrt(24)


def test_variances_about_a_straight_line_are_unbiased_and_scatter_as_said():
    noise = np.random.default_rng(0).normal(0, 5, (640, 64, 64)) + scene(0, 64, 0.0, 3.0)
    drift = np.arange(640)[:, None, None] * 3.0
    windows = windows_of(noise + drift)
    cells = gather(windows, top=np.inf, bottom=-np.inf, pooled=pooled(windows_of(noise)))
    assert cells.trend
    assert np.average(cells.form("square"), weights=cells.count) == pytest.approx(25, rel=0.01)
    for form in ("y1", "y2", "x1", "x3"):
        assert abs(np.average(cells.form(form), weights=cells.count)) < 0.1
    p = LineFit(cells, cells.count > 0, "near")
    spread = np.average((p.square - 25) ** 2 * p.count, weights=p.count > 0)
    assert spread == pytest.approx(2 * 25**2 * p.share, rel=0.1)


@pytest.mark.parametrize("frames, size", [(96, 128), (20, 256)])
def test_the_fixed_pattern_of_a_camera_does_not_dilute_the_gain(frames, size):
    pattern = np.random.default_rng(3).normal(0, 6.0, (size, size))
    movie = dim(frames=frames, size=size, dtype="float32") + pattern.astype(np.float32)
    line, plain = line_of(movie, pool=True), line_of(movie, pool=False)
    error = line.covariance[0, 0] ** 0.5
    assert abs(line.gain - 8) < 3 * error < 0.15 * 8
    assert plain.gain < 8 - 4 * error


def test_bands_and_planes_of_a_movie_are_pooled_apart():
    light = np.stack([scene(1, 160, 0.0, 1.5), scene(2, 160, 0.0, 1.5)])
    movie = detect(np.broadcast_to(light, (400, 2, 160, 160)), **DIM)
    windows = windows_of(movie, budget=8 << 20)
    assert len({window.row for window in windows}) > 4
    result = pooled(windows)
    for number, window in enumerate(windows[:6]):
        real = light[window.plane, window.row : window.row + window.frames.shape[1]]
        for chosen, rest in halves(len(window.frames)):
            assert np.corrcoef(result.light(number, chosen, rest).ravel(), real.ravel())[0, 1] > 0.75


def test_line_artefacts_and_flashes_in_dim_movies_are_survived():
    light = still(frames=240, size=96, low=0.1, high=2.0).copy()
    rng = np.random.default_rng(2)
    for _ in range(60):
        light[rng.integers(240), rng.integers(96)] *= rng.uniform(0, 0.5)
    light[::60] += 3
    estimate = estimate_noise(detect(light, **DIM))
    low, high = estimate.interval.gain
    assert low < 8 < high
    assert high - low < 0.25 * 8


def test_a_window_alone_has_no_other_windows():
    (window,) = windows_of(dim(frames=20, size=256))
    assert isinstance(window, Window)
    assert (pooled([window]).weights[5:] == 0).all()


def test_frames_that_occur_twice_are_not_asked_about_themselves():
    """A movie of the same frames over and over: other windows hold the very noise that is measured."""
    once = dim(frames=24, size=64)
    windows = windows_of(np.tile(once, (8, 1, 1)))
    assert len(windows) > 4
    assert pooled(windows) is None
    assert pooled(windows_of(dim(frames=192, size=64))) is not None
    again = once.copy()
    again[20] = again[3]
    assert pooled(windows_of(again)) is None
    dark = dim(frames=192, size=64).copy()
    dark[[5, 150]] = 0  # shutter closed: nothing there to foretell
    assert pooled(windows_of(dark)) is not None
