"""Weights of each frame's own: they find where a frame went, and are the same on every machine."""

from __future__ import annotations

import numpy as np
import pytest

from photon_gpu.engine.codec.predictors import MIX, fit, mix, rates, within_limits
from photon_gpu.engine.codec.weights_per_frame import fit_frames
from photon_gpu.kernels import cpu


def scene(shape, seed=0):
    """A smooth scene of codes."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    waves = [np.sin(rows * a + columns * b + c) for a, b, c in rng.uniform(0.2, 0.9, (6, 3))]
    return 60 + 12 * np.sum(waves, 0)


def moved(frames, shape, seed=0, noise=1.0):
    """A scene that jumps by up to two pixels from frame to frame, with noise."""
    rng = np.random.default_rng(seed)
    large = scene((shape[0] + 4, shape[1] + 4), seed)
    out = np.empty((frames, *shape))
    for t, (y, x) in enumerate(rng.integers(0, 3, (frames, 2)) + 1):
        out[t] = large[y : y + shape[0], x : x + shape[1]]
    return np.clip(np.rint(out + rng.normal(0, noise, out.shape)), 0, 255).astype("uint8")


def residual_bits(codes, weights, rate=16):
    """Entropy of what the kernels leave of them."""
    frames, rows, columns = codes.shape
    residuals, state = np.empty_like(codes), np.empty((3, rows + 2, columns + 2), np.int32)
    cpu.predict_full(codes, weights, rates(frames, rate), state, residuals)
    share = np.bincount(residuals[1:].ravel()) / residuals[1:].size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def test_a_scene_that_moves_is_predicted_better_than_by_one_mix_for_all_frames():
    codes = moved(20, (60, 70))
    own = fit_frames(codes, 16, 255)
    same = mix(fit([codes.astype(np.int64)], "full", 16).relative(0, 255), 20)
    assert residual_bits(codes, own) < residual_bits(codes, same) - 0.25


def test_a_shift_by_one_pixel_is_found_exactly():
    """Noiseless and seen before: the neighbour it came from predicts it, except at the entry edge."""
    large = np.random.default_rng(1).integers(40, 200, (50, 50)).astype("uint8")
    still = np.repeat(large[None, :, :-1], 9, 0)
    codes = np.concatenate([still, large[None, :, 1:]])
    residuals, state = np.empty_like(codes), np.empty((3, 52, 51), np.int32)
    cpu.predict_full(codes, fit_frames(codes, 1, 255), rates(10, 1), state, residuals)
    assert residuals[-1, :, :-1].mean() < 3 and residuals[-1, :, -1].mean() > 20


def test_the_first_frame_looks_at_itself_alone():
    weights = fit_frames(moved(3, (60, 70)), 16, 255)
    assert not weights[0, :11].any() and weights[0, 11:15].any()


def test_every_row_keeps_to_the_limits_whatever_the_codes():
    rng = np.random.default_rng(2)
    flicker = rng.choice(np.array([0, 65535], "uint16"), (6, 40, 40))
    ramp = np.broadcast_to(np.arange(40, dtype="uint16") * 1000, (6, 40, 40)).copy()
    for codes in (
        flicker,
        ramp,
        np.full((6, 40, 40), 7, "uint16"),
        rng.integers(0, 65536, (6, 40, 40)).astype("uint16"),
    ):
        weights = fit_frames(codes, 8, int(codes.max()))
        assert weights.dtype == np.int32 and within_limits(weights.astype(np.int64), int(codes.max())).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 1, 1), (3, 1, 50), (3, 50, 1), (2, 5, 5)])
def test_frames_too_small_to_tell_have_the_running_mean(shape):
    codes = np.random.default_rng(3).poisson(20, shape).astype("uint8")
    weights = fit_frames(codes, 16, 255)
    assert weights.shape == (shape[0], MIX)
    assert (weights[1:, 0] == 256).all() and not weights[1:, 1:].any()
    assert weights[0, -1] == 256 * round(float(np.median(codes[0]))) and not weights[0, :-1].any()


def test_a_large_frame_is_sampled_and_fitted_as_well():
    codes = moved(6, (400, 300))
    assert residual_bits(codes, fit_frames(codes, 16, 255)) < residual_bits(codes, _of_all(codes)) + 0.01


def _of_all(codes):
    from photon_gpu.engine.codec import weights_per_frame

    kept, weights_per_frame._MOST = weights_per_frame._MOST, 1 << 16
    try:
        return fit_frames(codes, 16, 255)
    finally:
        weights_per_frame._MOST = kept
