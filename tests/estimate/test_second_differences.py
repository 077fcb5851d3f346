from __future__ import annotations

import numpy as np
import pytest

from photon_gpu.estimate.line_fit import LineFit, fit
from photon_gpu.estimate.pixel_light import halves
from photon_gpu.estimate.sample import draw
from photon_gpu.estimate.second_differences import Reference
from photon_gpu.sources.open import open_source
from tests.support.noise.detector_models import cells_of, detect, scene, still


def mean(cells, form, weight=None):
    return np.average(cells.form(form), weights=cells.count if weight is None else weight)


@pytest.mark.parametrize("photons", [0.1, 3.0])
def test_within_every_level_variance_is_gain_times_signal_plus_read_noise(photons):
    """Sorting by the measured frames themselves would break this at once at low counts."""
    light = np.broadcast_to(scene(0, 96, 0, 2 * photons), (160, 96, 96))
    cells = cells_of(detect(light, read=8.0))
    off = cells.form("square") - 8 * (cells.form("signal") - 100) - 64 - 1 / 12
    typical = mean(cells, "square")
    for k in np.unique(cells.level):
        n = cells.count[cells.level == k]
        if n.sum() < 2000:
            continue
        error = typical * np.sqrt(2 / (n.sum() * cells.pairs_per_sample) * (1 + 8 / photons)) * 2
        assert abs(np.average(off[cells.level == k], weights=n)) < 4 * error


def test_noise_has_no_covariance_contrast_or_correlation():
    cells = cells_of(detect(still(high=4.0)))
    square = mean(cells, "square")
    for form in ("y1", "y2", "y3", "x1", "x2", "x3"):
        assert abs(mean(cells, form)) < 0.01 * square
    for form in ("t1", "t2"):
        assert mean(cells, form) == pytest.approx(square, rel=0.02)


def test_third_cumulant_is_that_of_poisson():
    cells = cells_of(detect(still(low=5, high=5), read=0.0, gain=3.0))
    assert mean(cells, "cube") == pytest.approx(27 * 5, rel=0.05)


def test_contrast_is_that_of_the_light_not_of_the_noise():
    board = 10 + 4 * (np.indices((64, 64)).sum(axis=0) % 2)
    cells = cells_of(detect(np.broadcast_to(board, (96, 64, 64)), gain=2.0, read=3.0))
    assert mean(cells, "contrast") == pytest.approx((2 * 4) ** 2, rel=0.03)


def test_drift_adds_nothing_to_a_second_difference():
    ramp = np.arange(64)[:, None, None] * 50 + np.zeros((64, 32, 32))
    quiet = np.random.default_rng(0).normal(0, 5, ramp.shape)
    assert mean(cells_of(ramp + quiet), "square") == pytest.approx(25, rel=0.05)


def test_shares_of_clipped_values_are_counted_apart():
    frames = np.random.default_rng(0).integers(0, 4, (32, 16, 16)).astype(np.uint8)
    cells = cells_of(frames, top=3, bottom=0)
    assert mean(cells, "full") == pytest.approx((frames == 3).mean(), abs=1e-6)
    assert mean(cells, "floor") == pytest.approx((frames == 0).mean(), abs=1e-6)


def test_constant_pixels_and_nan_are_left_out_and_counted():
    frames = np.random.default_rng(0).normal(100, 5, (32, 64, 64))
    frames[:, :16] = 0
    frames[3, 40:48, 8:16] = np.nan
    cells = cells_of(frames)
    assert cells.constant_share == pytest.approx(16 / 64, abs=0.01)
    assert cells.nonfinite_share == pytest.approx(0.5 * 64 / 64**2, rel=0.01)
    assert np.isfinite(cells.means).all()
    assert np.isfinite(cells.instrument).all()
    assert mean(cells, "square") == pytest.approx(25, rel=0.05)
    assert abs(mean(cells, "y1")) < 0.5


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]
)
def test_every_dtype_gives_the_same_sums(dtype):
    frames = np.random.default_rng(0).integers(20, 120, (20, 24, 24))
    ours, exact = cells_of(frames.astype(dtype)), cells_of(frames.astype("float64"))
    assert ours.count.sum() == exact.count.sum()
    for form in ("signal", "square", "y1", "x2", "t2", "cube", "contrast"):
        assert mean(ours, form) == pytest.approx(mean(exact, form), rel=1e-5, abs=0.05), form


def test_wide_integers_far_from_zero_keep_their_noise():
    frames = np.random.default_rng(0).integers(0, 10, (40, 32, 32)) + 2**30
    assert mean(cells_of(frames), "square") == pytest.approx(99 / 12, rel=0.05)


def fading(to=0.4, low=6.0, high=14.0):
    """Light that fades within the only window, photons."""
    fade = np.geomspace(1, to, 20)[:, None, None]
    return still(frames=20, size=160, low=low, high=high) * fade


def test_light_that_fades_within_a_window_is_at_the_level_of_the_measured_half():
    truth = fading(low=2.0, high=40.0)
    windows = draw(open_source(detect(truth)), pairs="time", seed=0, budget_bytes=1 << 26)
    block = windows[0].frames.astype(float)
    reference = Reference(windows=windows, smooth=True, pooled=None)
    for chosen, rest in halves(len(block)):
        light, _ = reference.light(0, chosen, rest, block)
        real = 100 + 8 * truth[chosen].mean(axis=0)
        assert light.mean() == pytest.approx(real.mean(), rel=0.01)
        assert np.polyfit(light.ravel(), real.ravel(), 1)[0] == pytest.approx(1, abs=0.1)


def test_fading_costs_the_line_nothing():
    """Sorted by another light, both halves' samples shared strata, and the error was 9 times as large."""
    errors = []
    for light in (fading(), np.broadcast_to(fading().mean(axis=0), fading().shape)):
        cells = cells_of(detect(light, read=24.0))
        line = fit(LineFit(cells, cells.count > 0, "near"))
        errors.append(line.covariance[0, 0] ** 0.5)
        assert abs(line.gain - 8) < 3 * errors[-1]
    assert errors[0] < 1.25 * errors[1] < 0.1 * 8


def test_a_flash_and_what_is_no_number_leave_light_in_order():
    light = fading(to=1.0, low=2.0, high=40.0).copy()
    light[3] += 60
    frames = detect(light).astype("float32")
    frames[4, 8:16, 8:16] = np.nan
    cells = cells_of(frames)
    assert np.isfinite(cells.instrument).all()
    assert cells.count.sum() > 1.9 * 160**2
    levels = np.unique(cells.level)
    sums = [
        np.bincount(cells.level, cells.count * v)[levels] for v in (cells.form("signal"), cells.instrument)
    ]
    signal, shown = (total / np.bincount(cells.level, cells.count)[levels] for total in sums)
    assert np.corrcoef(signal, shown)[0, 1] > 0.995
