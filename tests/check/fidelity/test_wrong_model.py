"""What the report says of movies, made by NumPy, that were encoded with a wrong model or in the dark."""

from __future__ import annotations

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.check.fidelity.fidelity import Fidelity


def detected(gain: float, low: float, high: float, read: float = 0.25, offset: float = 100.0) -> np.ndarray:
    """A still scene of ``low`` to ``high`` photons, with read noise in photons."""
    random = np.random.default_rng(8)
    light = np.broadcast_to(np.linspace(low, high, 64), (64, 64, 64))
    values = gain * random.poisson(light) + random.normal(offset, read * gain, light.shape)
    return np.rint(values).astype("uint16")


def report(raw: np.ndarray, gain: float, read: float = 0.25, step: float = 0.5) -> Fidelity:
    noise = pg.NoiseModel(gain=gain, offset=100.0, variance=(read * gain) ** 2)
    options = {"layout": "compact", "preset": "fast", "check": False, "trust_noise": True, "overwrite": True}
    pg.encode(raw, "memory://wrong.zarr", noise=noise, step=step, **options)
    return pg.fidelity(raw, "memory://wrong.zarr")


@pytest.mark.parametrize("factor", [1 / 1.25, 1 / 1.2, 1.2, 1.25])
def test_a_model_a_fifth_off_is_a_warning(factor):
    raw = detected(20.0, 20, 200)
    assert report(raw, 20.0)["noise_model"].status == "PASS"
    line = report(raw, 20.0 * factor)["noise_model"]
    assert line.status == "WARN"
    assert float(line.cause.split("nearer to ")[1].split(";")[0]) == pytest.approx(20.0, rel=0.05)


def test_what_bins_of_a_wrong_model_add_is_not_excused_and_the_gain_is_told():
    raw = detected(0.5, 200, 2000)
    result = report(raw, 17.5)
    assert result["variance"].status == "FAIL" and "theory 1.02" in result["variance"].found
    assert result["noise_model"].status == "FAIL"
    advice = float(result["noise_model"].cause.split("nearer to ")[1].split(";")[0])
    assert advice == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("step", [0.25, 0.5, 1.0])
def test_the_limit_of_dff_scales_with_the_step(step):
    line = report(detected(20.0, 20, 200), 20.0, step=step)["dff"]
    assert line.status == "PASS" and line.value == pytest.approx(1.0, abs=0.3)


def test_a_slope_that_is_not_the_gain_is_explained():
    raw = detected(20.0, 20, 200)
    brighter = np.random.default_rng(0).random(64) < 0.5  # the whole scene flickers
    raw[brighter] += (raw[brighter] * 0.1).astype("uint16")
    assert "activity and motion are in this slope" in report(raw, 20.0)["slope"].found
    assert "activity" not in report(detected(20.0, 20, 200), 20.0)["slope"].found


def test_information_is_told_per_light_and_a_coarse_step_warns_in_the_dark():
    raw = detected(100.0, 0.05, 12)
    fine, coarse = (report(raw, 100.0, step=step)["information"] for step in (0.5, 1.0))
    assert fine.status == "PASS" and "0.92 at 0.3, 0.96 at 1" in fine.found
    assert coarse.status == "WARN" and "0.65 at 0.3, 0.85 at 1" in coarse.found
    assert report(detected(100.0, 4, 12), 100.0, step=1.0)["information"].status == "PASS"
    assert report(detected(100.0, 2, 12), 100.0, step=1.0)["information"].status == "WARN"


def interleaved(period: int, gains: tuple[float, ...]) -> np.ndarray:
    """Still scenes of 20 to 200 photons, each brightest elsewhere, whose frames alternate."""
    values = np.concatenate([detected(gain, 20, 200)[:18] for gain in gains])
    frames = values[np.arange(18 * period).reshape(period, 18).T.ravel()]
    for scene in range(period):
        frames[scene::period] = np.roll(frames[scene::period], 64 * scene // period, axis=2)
    return frames


@pytest.mark.parametrize("period", [2, 3])
def test_interleaved_channels_of_one_gain_pass_and_a_wrong_gain_fails(period):
    raw = interleaved(period, (20.0,) * period)
    right = report(raw, 20.0)
    assert right.verdict == "PASS" and f"{period} scenes that alternate" in right["noise_model"].found
    line = report(raw, 10.0)["noise_model"]
    assert line.status == "FAIL"
    assert float(line.cause.split("nearer to ")[1].split(";")[0]) == pytest.approx(20.0, rel=0.1)


@pytest.mark.parametrize("period", [2, 3])
def test_the_gain_of_one_interleaved_channel_does_not_excuse_that_of_another(period):
    line = report(interleaved(period, (20.0,) * (period - 1) + (80.0,)), 20.0)["noise_model"]
    assert line.status == "FAIL"
    assert float(line.cause.split("nearer to ")[1].split(";")[0]) == pytest.approx(80.0, rel=0.1)
