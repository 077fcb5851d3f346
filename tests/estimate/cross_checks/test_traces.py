"""Traces that processing leaves in the noise: each kind is named, and raw movies have none."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.estimate import estimate_noise
from photon_gpu.estimate.checks import COMB, cumulants, photon_peaks
from photon_gpu.estimate.cross_checks.dead_zone import dead_zone
from photon_gpu.estimate.cross_checks.frame_noise import frame_noise
from photon_gpu.estimate.cross_checks.low_rank_noise import noise_rank
from photon_gpu.estimate.cross_checks.per_pixel_scaling import comb
from photon_gpu.estimate.cross_checks.photon_peaks import peak_distance
from photon_gpu.estimate.cross_checks.value_scaling import spread_of_means, stretched
from photon_gpu.estimate.curve import UNKNOWN
from photon_gpu.estimate.sample import draw
from photon_gpu.estimate.value_histogram import survey
from photon_gpu.sources.open import open_source
from tests.support.noise.processing import processed
from tests.support.noise.simulated_recordings import DETECTORS, raw

TRACES = {
    "skewness",
    "outliers",
    "repeated frames",
    "quiet frames",
    "periodic variance",
    "rank",
    "equal means",
    "lattice",
    "spectrum",
    "photon peaks",
    "paired pixels",
    "uneven levels",
}


@functools.cache
def shot():
    return raw(2000, detector="ccd", gain=20.0, trouble="still", photons=15.0, size=64)


def windows_of(frames):
    return draw(open_source(frames), pairs="time", seed=0, budget_bytes=1 << 26)


def line():
    camera = shot()
    return camera.gain, camera.read**2 - camera.gain * camera.offset


@pytest.mark.parametrize("seed", range(len(DETECTORS)), ids=DETECTORS)
def test_no_raw_movie_has_a_trace(seed):
    estimate = estimate_noise(raw(seed, size=56).frames)
    assert estimate.verdict == "PASS", str(estimate)
    assert not TRACES & {finding.name for finding in estimate.warnings}


@pytest.mark.parametrize(
    ("processing", "name"),
    [
        ("blend 2", "skewness"),
        ("blend 0.8", "lattice"),
        ("time blend 0.6", "spectrum"),
        ("time unsharp 1.5", "spectrum"),
        ("space blend 0.5", "spectrum"),
        ("unsharp 3", "spectrum"),
        ("small bilinear shifts", "correlation y"),
        ("clip above 1.5 sigma", "outliers"),
        ("hot pixels in space", "outliers"),
        ("components 50 %", "rank"),
        ("20 % repeated", "repeated frames"),
        ("bilinear shifts of a third", "quiet frames"),
        ("deinterlaced", "periodic variance"),
        ("z-score", "equal means"),
        ("wavelets in two directions, weak", "paired pixels"),
        ("wavelet in x, weak", "paired pixels"),
        ("palette of 40", "uneven levels"),
        ("components 30 %, more rest", "rank"),
    ],
)
def test_processed_data_is_refused_by_name(processing, name):
    estimate = estimate_noise(processed(processing, shot().frames, 0))
    assert name in {finding.name for finding in estimate.warnings if finding.severity == "REFUSE"}, str(
        estimate
    )


@pytest.mark.parametrize(
    ("skewness", "moving", "severity"),
    [
        (0.6, 0.0, "REFUSE"),
        (0.85, 0.0, "WARN"),
        (1.0, 0.0, None),
        (2.0, 0.0, None),
        (2.5, 0.0, "REFUSE"),
        (2.5, 0.2, None),  # motion skews as well
    ],
)
def test_the_skewness_of_light_is_one_to_two(skewness, moving, severity):
    moments = replace(UNKNOWN, skewness=skewness, skewness_error=0.03, kurtosis_error=0.01)
    assert next((f.severity for f in cumulants(moments, moving)), None) == severity


def test_skewness_without_extrapolation_is_within_what_detectors_make():
    moments = replace(UNKNOWN, skewness=1.9, skewness_error=0.1, overall_error=0.02, kurtosis_error=0.01)
    assert [f.name for f in cumulants(replace(moments, overall=1.7), 0.0)] == []
    (result,) = cumulants(replace(moments, overall=1.9), 0.0)
    assert (result.name, result.severity) == ("skewness", "REFUSE")


def test_one_factor_for_all_pixels_is_no_lattice_of_single_pixels():
    gain, intercept = line()
    scaled = np.rint(1.3 * shot().frames.astype(float)).astype(np.uint16)
    apart = np.rint(1.3 * shot().frames + 13 * np.random.default_rng(0).random(shot().frames.shape[1:]))
    combs = [
        comb(windows_of(frames), 1.3 * gain, 1.69 * intercept, survey(windows_of(frames)))
        for frames in (scaled, apart.astype(np.uint16), shot().frames)
    ]
    assert combs[0] == combs[2] == 0 and combs[1] > COMB


def test_few_repeated_frames_are_a_warning():
    frames = shot().frames.copy()
    frames[40] = frames[39]
    estimate = estimate_noise(frames)
    assert [f.severity for f in estimate.warnings if f.name == "repeated frames"] == ["WARN"]


def test_frames_of_no_photon_or_few_pixels_repeat_by_chance():
    rng = np.random.default_rng(0)
    dark = rng.poisson(0.02, (64, 12, 12)).astype(np.uint8)
    few = rng.poisson(2.0, (2000, 3, 3)).astype(np.uint8)
    for frames in (dark, few, np.zeros((64, 16, 16), np.uint8)):
        assert frame_noise(windows_of(frames), 1.0, 0.0).repeated == 0


def test_patches_rebuilt_from_half_of_their_components_lack_the_other_half():
    frames = shot().frames[:, :32, :32]
    assert noise_rank(windows_of(processed("patches 8, 50 %", frames, 0)), *line()).missing > 0.2
    assert noise_rank(windows_of(frames), *line()).missing == 0


def test_pixels_of_even_light_have_means_that_differ_by_their_noise():
    rng = np.random.default_rng(0)
    even = rng.poisson(20.0, (64, 32, 32)).astype(np.uint16)
    assert 0.8 < spread_of_means(windows_of(even)) < 1.2
    assert spread_of_means(windows_of(processed("z-score", even, 0))) < 0.1


def test_frames_stretched_one_by_one_are_told_from_saturated_ones():
    frames = processed("stretch per frame", shot().frames, 0)
    assert stretched(windows_of(frames), 0, 255)
    moving = raw(2003, detector="ccd", gain=20.0, photons=40.0, trouble="motion", frames=160).frames
    assert stretched(windows_of(processed("stretch per frame", moving, 3)), 0, 255)
    coarse = raw(2002, detector="ccd", gain=20.0, photons=15.0, trouble="still", frames=160).frames
    assert stretched(windows_of(processed("stretch per frame", coarse, 2)), 0, 255)
    cut = np.clip(shot().frames, 300, 700)
    assert not stretched(windows_of(cut), 300, 700)
    stuck = shot().frames.copy()
    stuck[:, 0, 0], stuck[:, 0, 1] = 0, 65535
    assert not stretched(windows_of(stuck), 0, 65535)


@pytest.mark.parametrize("processing", ["median of 3", "maximum of 2", "minimum of 2"])
def test_a_gain_below_the_distance_of_photon_peaks_is_refused(processing):
    rng = np.random.default_rng(0)
    light = 1 + 9 * np.add.outer(np.arange(64), np.arange(64)) / 126
    charge = 20 * rng.poisson(light, (120, 64, 64)) + 4 * rng.standard_normal((120, 64, 64)) + 100
    frames = np.rint(charge).astype(np.uint16)
    for movie, expected in ((frames, None), (processed(processing, frames, 0), "REFUSE")):
        named = {f.name: f.severity for f in estimate_noise(movie).warnings}
        assert named.get("photon peaks") == expected, named


def test_photon_peaks_are_no_farther_apart_than_the_gain():
    rng = np.random.default_rng(0)
    pulses = 40.0 * rng.poisson(3.0, (64, 48, 48))
    pulses += 8.0 * np.sqrt(pulses / 40.0) * rng.standard_normal(pulses.shape)  # pulses that differ by 20 %
    frames = np.rint(pulses + 2 * rng.standard_normal(pulses.shape) + 100).astype(np.uint16)
    distance = peak_distance(windows_of(frames), 41.6, survey(windows_of(frames)))
    assert distance == pytest.approx(40, rel=0.03)
    assert not list(photon_peaks(distance, 41.6, 0.5))


def test_read_noise_and_converters_make_no_photon_peaks():
    rng = np.random.default_rng(0)
    light = 2.3 * rng.poisson(20.0, (64, 48, 48)) + 4 * rng.standard_normal((64, 48, 48)) + 100
    frames = np.rint(light).astype(np.uint16)
    levels = survey(windows_of(frames))
    assert peak_distance(windows_of(frames), 2.3, levels) == 0
    missed = np.where(frames % 16 == 3, frames + 1, frames)  # a converter that skips every 16th level
    assert peak_distance(windows_of(missed), 2.3, survey(windows_of(missed))) == 0


@pytest.mark.parametrize(("step", "expected"), [(0.5, "WARN"), (1.0, "WARN"), (2.0, "REFUSE")])
@pytest.mark.parametrize(("gain", "photons"), [(20.0, 10.0), (2.3, 60.0)])
def test_decoded_counts_are_neither_photon_peaks_nor_a_palette(gain, photons, step, expected):
    """Their distances are those of codes. At step 2, rounding adds a third to the variance of the noise."""
    rng = np.random.default_rng(3)
    light = photons * (0.2 + 1.8 * np.add.outer(np.arange(64), np.arange(64)) / 126)
    charge = gain * rng.poisson(light, (150, 64, 64)) + 1.5 * gain**0.3 * rng.standard_normal((150, 64, 64))
    noise = NoiseModel(gain=gain, offset=100, variance=2.25 * gain**0.6)
    url = "memory://decoded.zarr"
    pg.encode(
        np.rint(charge + 100).astype(np.uint16), url, noise=noise, step=step, overwrite=True, check=False
    )
    severities = {f.name: f.severity for f in estimate_noise(pg.open(url).counts[:]).warnings}
    assert "photon peaks" not in severities and severities["uneven levels"] == expected


def test_a_window_that_starts_at_an_odd_frame_pairs_frames_as_the_movie_does():
    frames = processed("wavelet in time", shot().frames, 0)
    windows = windows_of(frames)
    odd = [replace(w, start=w.start + 1, frames=w.frames[1:]) for w in windows]
    for some in (windows, odd, windows[:2] + odd[2:]):
        assert dead_zone(some, *line()) > 0.1


def test_a_palette_is_told_from_photons_without_read_noise_and_from_even_rounding():
    rng = np.random.default_rng(0)
    counts = (20 * rng.poisson(5.0, (40, 32, 32)) + rng.integers(0, 2, (40, 32, 32))).astype(np.uint16)
    even = (16 * (shot().frames // 16)).astype(np.uint16)
    for frames, model in ((counts, (20.0, 0.0)), (even, line()), (shot().frames, line())):
        assert survey(windows_of(frames)).coarse_share(*model) == 0
    assert survey(windows_of(processed("palette of 40", shot().frames, 0))).coarse_share(*line()) > 0.01


def active(seed, cells=30):
    """Simulate sharp cells that are active everywhere in the image, and all the time."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    rate = np.full((160, 64, 64), 6.0)
    for _ in range(cells):
        down, across, radius = *rng.uniform(4, 60, 2), rng.uniform(2, 4)
        trace = np.zeros(160)
        for start in rng.integers(0, 160, 6):
            trace[start:] += np.exp(-np.arange(160 - start) / 6)
        spot = 1 / (1 + np.exp(2 * (np.hypot(y - down, x - across) - radius)))
        rate += (9 + 45 * trace)[:, None, None] * spot
    value = 20 * rng.poisson(rate) + 100 + 8 * rng.standard_normal(rate.shape)
    return np.rint(value).clip(0).astype(np.uint16)


@pytest.mark.parametrize("seed", range(2))
def test_cells_that_are_active_everywhere_leave_no_trace_of_processing(seed):
    estimate = estimate_noise(active(seed))
    assert not TRACES & {finding.name for finding in estimate.warnings}, str(estimate)
