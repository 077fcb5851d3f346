import json
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

import photon_gpu
from photon_gpu.errors import InvalidIndexError, InvalidInputError, PhotonWarning, UnsupportedTypeError
from photon_gpu.sources.simulated.movie import Simulation, simulate

DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"]
# A bound of five standard errors: seeded, so it passes always or never; wide enough for 100 such tests.
SIGMAS = 5.0


def standardized(movie):
    """(z - mean) / sigma of every pixel by the true rates and the true noise model."""
    z = np.asarray(movie).astype(float)
    rates = movie.rates(0, len(movie))
    s = movie.simulation
    mean = s.offset + s.gain * rates
    return (z - mean) / np.sqrt(movie.noise.gain * (mean - movie.noise.offset) + movie.noise.variance), rates


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"photons": 0.1, "gain": 1, "offset": 0, "read_noise_adu": 0, "dtype": "uint8"},
        {"photons": 0.5, "gain": 0.5, "offset": 20, "read_noise_adu": 1.0, "dtype": "uint16"},
        {"photons": 300, "gain": 300, "offset": 100, "read_noise_adu": 600, "dtype": "int32"},
        {"photons": 4, "gain": 2.3, "offset": 95.4, "read_noise_adu": 3, "dtype": "uint16"},
        {"photons": 8, "gain": 50, "excess_noise": 1.4, "dtype": "float32"},
        {"photons": 8, "gain": 50, "excess_noise": 1.4, "read_noise_adu": 0},
        {"photons": 0, "gain": 30, "read_noise_adu": 12.5},
        {"bleaching": 0.6, "motion": 2.0, "flashes": 0.2, "lines": 0.1, "activity": 2.0},
    ],
    ids=repr,
)
def test_mean_and_variance_follow_the_noise_model(changes):
    movie = simulate(**{"frames": 40, "height": 64, "width": 80, "seed": 7, **changes})
    u, _ = standardized(movie)
    n = u.size
    assert abs(u.mean()) < SIGMAS / math.sqrt(n)
    # The mean of n squares has standard error sqrt((kurtosis - 1) / n); skewed light has more than 2.
    assert abs((u**2).mean() - 1) < SIGMAS * math.sqrt(((u**4).mean() - 1) / n)


def test_the_variance_follows_the_line_at_every_light_level():
    movie = simulate(frames=60, height=96, width=96, seed=3, gain=20, read_noise_adu=15, contrast=0.8)
    u, rates = standardized(movie)
    order = np.argsort(rates, axis=None)
    for bin_ in np.array_split(u.ravel()[order], 12):
        assert abs(bin_.mean()) < SIGMAS / math.sqrt(bin_.size)
        assert abs((bin_**2).mean() - 1) < SIGMAS * math.sqrt(((bin_**4).mean() - 1) / bin_.size)


def test_photons_are_poisson_and_independent():
    movie = simulate(
        frames=30, height=64, width=64, photons=2, gain=1, offset=0, read_noise_adu=0, contrast=0, cells=0
    )
    counts = np.bincount(np.asarray(movie).ravel().astype(int), minlength=12)
    n = counts.sum()
    expected = n * np.array([math.exp(-2) * 2**k / math.factorial(k) for k in range(12)])
    keep = expected > 20
    chi2 = ((counts[: keep.size] - expected)[keep] ** 2 / expected[keep]).sum()
    assert chi2 < keep.sum() + SIGMAS * math.sqrt(2 * keep.sum())
    u = np.asarray(movie) - 2.0
    for shifted in (u[1:] * u[:-1], u[:, 1:] * u[:, :-1], u[..., 1:] * u[..., :-1]):
        assert abs(shifted.mean() / 2.0) < SIGMAS / math.sqrt(shifted.size)


def test_photons_is_the_mean_rate_at_rest():
    movie = simulate(frames=3, height=50, width=70, photons=11.5, motion=0, activity=0)
    assert movie.rates(0, 3).mean() == pytest.approx(11.5, rel=1e-12)


def test_a_frame_is_the_same_in_whichever_range_it_is_read():
    parameters = {
        "frames": 1100,
        "height": 16,
        "width": 20,
        "seed": 5,
        "flashes": 0.1,
        "lines": 0.1,
        "activity": 1.0,
        "decay_s": 2.0,
    }
    movie = simulate(**parameters)
    around = np.arange(1000, 1060)  # across a block of transients
    together, rates = movie.read(1000, 1060), movie.rates(1000, 1060)
    for t in np.random.default_rng(0).permutation(around):
        fresh = simulate(**parameters) if t % 20 == 0 else movie
        assert (fresh.read(t, t + 1)[0] == together[t - 1000]).all()
        assert (fresh.rates(t, t + 1)[0] == rates[t - 1000]).all()
        assert (movie[int(t)] == together[t - 1000]).all()


def test_a_movie_is_the_same_in_another_process():
    code = (
        "from photon_gpu.sources.simulated.movie import simulate\n"
        "print(int(simulate(frames=9, seed=4)[8].astype(int).sum()))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(out) == simulate(frames=9, seed=4)[8].astype(int).sum()


def test_seeds_give_different_movies_and_frames_differ():
    one, two = simulate(frames=2, seed=1), simulate(frames=2, seed=2)
    assert not (one[0] == two[0]).all()
    assert not (one[0] == one[1]).all()
    residual = [(one[t] - one.rates(t, t + 1)[0] * 100 - 90).ravel() for t in (0, 1)]
    correlation = np.corrcoef(*residual)[0, 1]
    assert abs(correlation) < SIGMAS / math.sqrt(residual[0].size)


def test_a_movie_survives_pickle():
    movie = simulate(frames=4, height=8, width=8, seed=2)
    again = pickle.loads(pickle.dumps(movie))
    assert (again[:] == movie[:]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_simulated(dtype):
    options = dict(
        frames=5, height=16, width=16, photons=8, gain=1, offset=20, read_noise_adu=2, response=0.5
    )
    movie = simulate(dtype=dtype, **options)
    frames = movie.read(0, 5)
    assert frames.dtype == movie.dtype == np.dtype(dtype)
    assert frames.flags.c_contiguous and frames.shape == movie.shape == (5, 16, 16)
    assert movie.nbytes == frames.nbytes
    assert movie.clipped == (0, 0, 0)
    rounded = np.array_equal(frames, np.rint(frames))
    assert rounded == (np.dtype(dtype).kind != "f")
    # The same chance, rounded: every integer dtype holds the same numbers.
    like = simulate(dtype="float64", **options)[:]
    assert np.abs(frames.astype(float) - like).max() <= (0.5 if rounded else 1e-5)


def test_a_signed_dtype_keeps_negative_values():
    movie = simulate(frames=5, height=32, width=32, photons=0.2, offset=0, dtype="int16")
    frames = movie[:]
    assert (frames < 0).sum() > 1000
    assert movie.clipped == (0, 0, 0)


@pytest.mark.parametrize(
    "dtype, changes",
    [
        ("uint8", {"photons": 30, "gain": 9, "offset": 5, "read_noise_adu": 5}),
        ("int16", {"photons": 300, "gain": 100, "offset": 0}),
        ("uint16", {"photons": 0.1, "offset": 0}),
        ("uint16", {"photons": 30, "full_scale": 4095}),
        ("float32", {"photons": 30, "full_scale": 4095.5}),
        ("int64", {"photons": 1e9, "gain": 1e9, "offset": 1e9}),
        ("uint64", {"photons": 1e9, "gain": 1e9, "offset": -1e9}),
    ],
)
def test_values_beyond_the_range_saturate_and_are_counted_and_reported(dtype, changes):
    parameters = dict(frames=3, height=40, width=40, **changes)
    free = simulate(**{**parameters, "dtype": "float64", "full_scale": None})[:]
    movie = simulate(**parameters, dtype=dtype)
    info = np.iinfo(dtype) if np.dtype(dtype).kind != "f" else np.finfo(dtype)
    high = changes.get("full_scale", info.max)
    if dtype not in ("int64", "uint64"):
        free = free if np.dtype(dtype).kind == "f" else np.rint(free)
        low_truth, high_truth = (free < info.min).sum(axis=(1, 2)), (free > high).sum(axis=(1, 2))
        with pytest.warns(PhotonWarning, match="movie.clipped") as caught:
            frames = movie.read(0, 3)
            movie.read(1, 3)  # a second reading is not counted again
        assert len(caught) == 1
        assert movie.clipped == (low_truth.sum(), high_truth.sum(), np.sum(low_truth + high_truth > 0))
        assert sum(movie.clipped[:2]) > 0
        assert np.abs(frames - np.clip(free, info.min, high)).max() <= 1e-3 * (np.dtype(dtype).kind == "f")
    else:
        assert (movie[:] > 0).all()  # 1e18 and its noise fit; nothing wraps


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_the_widest_integers_saturate_without_wrapping(dtype):
    movie = simulate(
        frames=1, height=8, width=8, dtype=dtype, photons=1e9, gain=1e9, flashes=1.0, response=50
    )
    bright = simulate(
        frames=1, height=8, width=8, dtype=dtype, photons=1e9, gain=1e9, contrast=2.0, cells=0, flashes=1.0
    )
    for one in (movie, bright):
        with pytest.MonkeyPatch.context() as patch:
            # Light no parameters allow, to reach 2**64.
            rate = one._rate
            patch.setattr(one, "_rate", lambda t, rate=rate: rate(t) * 30)
            with pytest.warns(PhotonWarning, match="rose above"):
                assert (one[0] > np.iinfo(dtype).max * 0.99).all()


def test_activity_fires_at_its_mean_rate():
    still = {"frames": 600, "height": 48, "width": 48, "cells": 8, "motion": 0, "seed": 2}
    movie, quiet = simulate(**still, activity=0.5), simulate(**still, activity=0)
    traces = movie.traces(0, 600)
    assert traces.shape == (600, 8) and traces.min() >= 0
    assert (quiet.traces(0, 600) == 0).all()
    # Campbell: mean = rate * mean peak * area of a transient of height 1; 8 cells, 20 s: 80 transients.
    rise, decay = 0.05, 0.6
    age = np.linspace(0, 20 * decay, 100001)
    kernel = (1 - np.exp(-age / rise)) * np.exp(-age / decay)
    area = kernel.mean() * 20 * decay / kernel.max()
    assert abs(traces.mean() / (0.5 * 2.0 * area) - 1) < SIGMAS * math.sqrt((1 + 1 / 12) / 80)
    assert (traces.max(axis=0) > 1.0).mean() > 0.8
    rates, rest = movie.rates(0, 600), quiet.rates(0, 1)[0]
    for cell in range(8):
        body = movie.labels == cell + 1
        roi = (rates[:, body] - rest[body]).sum(axis=1)
        assert np.corrcoef(roi, traces[:, cell])[0, 1] > 0.999
        assert roi.max() > 0.2 * rest[body].sum()
    # Away from the cells nothing changes: light belongs to cells.
    changes = np.ptp(rates, axis=0)
    assert (changes[movie.labels == 0] == 0).mean() > 0.5


def test_transients_rise_fast_and_decay_with_the_time_constant_asked_for():
    movie = simulate(frames=3000, height=8, width=8, cells=1, activity=0.02, decay_s=1.5, frame_rate=20)
    trace = movie.traces(0, 3000)[:, 0]
    peak = int(trace.argmax())
    decay = trace[peak + 10 : peak + 40]
    assert np.diff(np.log(decay)).mean() == pytest.approx(-1 / (1.5 * 20), rel=0.01)
    assert trace[peak - 8] < 0.1 * trace[peak]


def test_transients_burn_on_from_one_block_of_frames_to_the_next():
    movie = simulate(frames=2100, height=40, width=40, cells=50, activity=1.0)
    traces = movie.traces(0, 2100)
    # Nothing fades faster than a lone transient does, wherever it began; and cells burn in frame 0 already.
    faded = traces[:-1] * math.exp(-1 / (0.6 * 30))
    assert (traces[1:] >= faded - 1e-6).all()
    assert abs(traces[0].mean() / traces.mean() - 1) < SIGMAS * traces[0].std() / traces.mean() / math.sqrt(
        50
    )
    assert traces[0].std() > 0


def test_motion_moves_the_scene_by_the_displacement_it_reports():
    still = {"frames": 400, "height": 64, "width": 64, "activity": 0, "seed": 6}
    movie = simulate(**still, motion=1.5)
    shift = movie.displacement(0, 400)
    assert np.sqrt((shift**2).mean()) == pytest.approx(1.5, rel=0.3)
    assert (simulate(**still, motion=0).displacement(0, 400) == 0).all()
    assert np.ptp(simulate(**still, motion=0).rates(0, 50), axis=0).max() == 0
    rates = movie.rates(0, 400)
    lag = np.array([_shift_of(rates[t], rates[0]) for t in range(0, 400, 20)])
    truth = (shift - shift[0])[::20]
    assert np.abs(lag - truth).max() < 0.25


def _shift_of(image, reference):
    """Displacement of image against reference, pixels: phase correlation with a parabola at the peak."""
    window = np.hanning(image.shape[0])[:, None] * np.hanning(image.shape[1])[None, :]
    one, two = (np.fft.fft2((i - i.mean()) * window) for i in (image, reference))
    surface = np.fft.ifft2(one * two.conj()).real
    peak = np.unravel_index(surface.argmax(), surface.shape)
    out = []
    for axis in range(2):
        line = np.roll(surface[:, peak[1]] if axis == 0 else surface[peak[0]], 1 - peak[axis])[:3]
        fine = (line[0] - line[2]) / (2 * (line[0] - 2 * line[1] + line[2]))
        whole = peak[axis] - surface.shape[axis] * (peak[axis] > surface.shape[axis] // 2)
        out.append(whole + fine)
    return out


def test_bleaching_takes_the_fraction_asked_for_exponentially():
    movie = simulate(frames=101, height=20, width=20, bleaching=0.75, motion=0, activity=0)
    mean = movie.rates(0, 101).mean(axis=(1, 2))
    assert mean[100] / mean[0] == pytest.approx(0.25)
    assert mean[50] / mean[0] == pytest.approx(0.5)


def test_flashes_and_lines_strike_the_fraction_asked_for():
    still = {"frames": 400, "height": 32, "width": 32, "motion": 0, "activity": 0, "seed": 9}
    calm = simulate(**still).rates(0, 1)[0]
    flash = simulate(**still, flashes=0.1).rates(0, 400) - calm
    struck = flash.mean(axis=(1, 2)) > 0
    assert abs(struck.sum() - 40) < SIGMAS * math.sqrt(36)
    assert (flash[struck].min(axis=(1, 2)) >= 0.999 * 6).all() and (flash[~struck] == 0).all()
    lines = simulate(**still, lines=0.05).rates(0, 400) / calm
    assert np.ptp(lines, axis=2).max() < 1e-12
    share = (lines[..., 0] < 0.81).mean()
    assert abs(share - 0.05) < SIGMAS * math.sqrt(0.05 * 0.95 / (400 * 32))


def test_indexing_is_that_of_the_array():
    movie = simulate(frames=7, height=5, width=6, seed=1)
    whole = np.asarray(movie)
    assert whole.shape == (7, 5, 6) and len(movie) == 7 and movie.ndim == 3
    firsts = [0, -1, np.int64(4), slice(None), slice(2, 5), slice(None, None, -2), slice(5, 2), [0, 3, 3]]
    firsts += [np.array([True] + [False] * 6), np.array([[1, 2], [3, 4]])]
    rests = [
        (),
        (..., 0),
        (2, ..., slice(1, 3)),
        (slice(1, 4), 2),
        (slice(1, 4), slice(None), slice(0, 6, 2)),
    ]
    mixed = [
        (3, 2, 1),
        (slice(0, 2), ..., 1),
        ([1, 2], 0, slice(2, 4)),
        (0, slice(None), [1, 2]),
        ([3, 3], [1, 2]),
    ]
    for index in [*firsts, *rests, ..., *mixed, (slice(0, 0), [1, 2]), None]:
        assert np.array_equal(movie[index], whole[index]), index
        assert movie[index].shape == whole[index].shape
    for index in [7, (0, 0, 0, 0), (0, [99]), "a"]:
        with pytest.raises(InvalidIndexError):
            movie[index]
    assert np.asarray(movie, dtype="float32").dtype == "float32"
    with pytest.raises(ValueError, match="made as it is read"):
        np.asarray(movie, copy=False)


def test_reading_outside_the_movie_is_an_error():
    movie = simulate(frames=3, height=4, width=4)
    for start, stop in [(0, 4), (-1, 2), (2, 2), (2, 1)]:
        with pytest.raises(InvalidInputError, match="3 is needed"):
            movie.read(start, stop)
        with pytest.raises(InvalidInputError):
            movie.rates(start, stop)


def test_a_movie_of_one_frame_and_one_pixel():
    movie = simulate(frames=1, height=1, width=1, bleaching=0.5)
    assert movie.read(0, 1).shape == (1, 1, 1)
    assert movie.rates(0, 1).shape == (1, 1, 1)


def test_a_movie_far_larger_than_memory_is_read_anywhere():
    movie = simulate(frames=10**8, height=512, width=512)
    assert movie.nbytes == 10**8 * 2**19
    assert movie.read(10**8 - 2, 10**8).shape == (2, 512, 512)


def test_parameters_survive_json():
    simulation = Simulation(
        frames=5, dtype=np.uint16, gain=np.float32(2.5), full_scale=4095, seed=2**63, offset=500
    )
    again = Simulation.from_dict(json.loads(json.dumps(simulation.to_dict())))
    assert again == simulation and again.dtype == "uint16" and hash(again) == hash(simulation)
    assert (simulate(again)[:] == simulate(simulation)[:]).all()
    assert simulate(simulation).noise == simulation.noise


def test_the_true_noise_model():
    assert Simulation(gain=2, offset=10, read_noise_adu=3).noise.to_dict() == {
        "gain": 2.0,
        "offset": 10.0,
        "variance": 9 + 1 / 12,
    }
    assert Simulation(gain=2, offset=10, read_noise_adu=0).noise.variance == 0
    assert Simulation(gain=2.5, offset=10, read_noise_adu=0).noise.variance == 1 / 12
    assert Simulation(gain=2, read_noise_adu=3, dtype="float32", excess_noise=1.5).noise.to_dict() == {
        "gain": 3.0,
        "offset": 90.0,
        "variance": 9.0,
    }


BAD = {
    "frames": [0, 2.5, True],
    "height": [-1],
    "width": [None],
    "seed": [-1],
    "cells": [-2],
    "photons": [-1, math.nan, "5"],
    "gain": [0, math.inf],
    "offset": [math.nan],
    "read_noise_adu": [-1],
    "excess_noise": [0.9],
    "full_scale": [1e6],
    "contrast": [-0.1],
    "cell_radius": [0],
    "activity": [-1],
    "response": [-1],
    "frame_rate": [0],
    "decay_s": [0],
    "motion": [-1],
    "bleaching": [1.0],
    "flashes": [1.1],
    "lines": [-0.1],
}


def test_every_parameter_is_tested():
    assert set(BAD) | {"dtype"} == set(Simulation().to_dict())


@pytest.mark.parametrize("name, value", [(name, value) for name, values in BAD.items() for value in values])
def test_a_bad_parameter_is_named_with_what_arrived_and_what_is_allowed(name, value):
    with pytest.raises(InvalidInputError) as caught:
        simulate(**{name: value})
    message = str(caught.value)
    assert f"{name} is {value!r}" in message and "is needed" in message


@pytest.mark.parametrize("dtype", ["complex64", "object", "bool", "float16", "nonsense", "M8[s]"])
def test_a_dtype_that_is_no_movie_is_refused(dtype):
    with pytest.raises(UnsupportedTypeError, match="allowed are int8"):
        simulate(dtype=dtype)


def test_an_unknown_parameter_is_refused():
    with pytest.raises(InvalidInputError, match="unknown parameter 'photon'; allowed are frames"):
        simulate(photon=3)
    with pytest.raises(InvalidInputError, match="unknown parameter 'gian'"):
        Simulation.from_dict({"gian": 3})
    with pytest.raises(InvalidInputError, match="not both"):
        simulate(Simulation(), frames=3)


def test_the_module_can_be_called_by_its_name():
    assert photon_gpu.simulate(frames=2, height=4, width=4).shape == (2, 4, 4)
