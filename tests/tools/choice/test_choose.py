"""``choose``: which steps are hidden by the noise, and which movies and functions it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.tools.choice.changes import LIMIT

STEPS = [0.5, 4.0]
NOISE = pg.NoiseModel(gain=2.0, offset=100.0, variance=4.0)


@pytest.fixture(scope="module")
def raw():
    return pg.simulate(frames=100, height=48, width=48, cells=5, photons=10, seed=3)


@pytest.fixture(scope="module")
def chosen(raw):
    """A choice with an analysis that sees quantization, and one that does not."""
    return pg.choose(raw, noise=raw.noise, steps=STEPS, redraws=4, analysis=[levels, mean_light])


def levels(movie):
    return len(np.unique(movie))


def mean_light(movie):
    return {"first": movie[0].mean(), "corner": movie[:, :8, :8].mean((1, 2))}


def flat(frames=40, size=16, seed=0):
    """Uniform light without anything to find."""
    rng = np.random.default_rng(seed)
    counts = 2 * rng.poisson(20.0, (frames, size, size)) + rng.normal(100, 2, (frames, size, size))
    return np.rint(counts).astype("uint16")


def molecules(frames=30, size=64):
    """Molecules that shine in one frame each."""
    rng = np.random.default_rng(1)
    light, (y, x) = np.full((frames, size, size), 5.0), np.mgrid[:size, :size]
    for frame in light:
        for row, column in rng.uniform(6, size - 6, (4, 2)):
            frame += 300 / (2 * np.pi * 1.69) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 1.69))
    return np.rint(100 + 2 * rng.poisson(light) + rng.normal(0, 2, light.shape)).astype("uint16")


def changes(result):
    return {change.name: change for change in result.changes}


def test_half_a_sigma_is_hidden_by_the_noise_and_a_large_step_is_not(chosen):
    small, large = (changes(result) for result in chosen.steps)
    built_in = {"ROI pixels", "traces", "dF/F", "events", "correlations"}
    assert built_in <= set(small)
    for name in built_in:
        assert not small[name].distinguishable, small[name]
        assert large[name].distinguishable, large[name]


@pytest.mark.parametrize("name", ["traces", "mean_light: corner"])
def test_a_linear_result_changes_as_theory_says(name, chosen):
    assert changes(chosen.steps[0])[name].ratio == pytest.approx(0.5 / 24**0.5, rel=0.3)


def test_a_function_that_sees_quantization_finds_it(chosen):
    assert changes(chosen.steps[0])["levels"].distinguishable
    assert not changes(chosen.steps[0])["mean_light: first"].distinguishable
    assert chosen.recommended is None
    ratio = f"{changes(chosen.steps[0])['levels'].ratio:.3f}"  # The advice and the table print the same.
    assert f"even 0.5 changes levels (ratio {ratio}, limit " in chosen.advice[0]
    assert f"{ratio}*" in str(chosen)


def test_sizes_are_those_of_a_real_encode(raw, chosen, tmp_path):
    options = {"noise": raw.noise, "step": 4.0, "layout": "compact", "check": False}
    report = pg.encode(np.asarray(raw), tmp_path / "m.zarr", **options)
    assert chosen.steps[1].stored_bytes == pytest.approx(report.stored_bytes, rel=0.02)
    assert chosen.steps[1].raw_bytes == report.raw_bytes


def test_a_seed_repeats_the_choice_and_another_redraws(raw):
    def numbers(seed):
        choice = pg.choose(raw, noise=raw.noise, steps=[0.5], redraws=4, seed=seed, pixels=1 << 16)
        return [(change.ratio, change.redraw) for change in choice.steps[0].changes]

    assert numbers(1) == numbers(1) != numbers(2)


def test_positions_of_single_molecules_are_compared_where_there_are_any():
    choice = pg.choose(molecules(), noise=NOISE, steps=[0.5, 4.0], redraws=4)
    small, large = (changes(result)["localisation"] for result in choice.steps)
    assert small.ratio == pytest.approx(0.5 / 24**0.5, rel=0.3)
    assert large.distinguishable
    assert 0.05 < small.redraw < 0.3  # pixels: sigma 1.3 over the root of 300 photons, two takes, background
    assert choice.recommended.step == 0.5


def test_what_cannot_be_run_is_skipped_and_named():
    choice = pg.choose(flat(), noise=NOISE, steps=[0.5], redraws=4, analysis=np.mean)
    assert choice.skipped["traces"] == "fewer than 50 frames"
    assert "0 isolated bright spots" in choice.skipped["localisation"]
    assert "traces: skipped, fewer than 50 frames" in str(choice)


def test_the_dark_says_what_information_is_kept():
    dark = pg.simulate(frames=60, height=32, width=32, photons=0.5, read_noise_adu=20, cells=2, seed=1)
    choice = pg.choose(dark, noise=dark.noise, steps=[0.5, 1.0], redraws=4, analysis=np.mean)
    assert choice.steps[0].information > 0.9 > choice.steps[1].information
    assert "Fisher information kept" in " ".join(choice.advice)


def test_the_result_is_json_a_table_and_a_picture(chosen, tmp_path):
    stated = json.loads(json.dumps(chosen.to_dict()))
    assert [step["step"] for step in stated["steps"]] == STEPS
    assert stated["limit"] == LIMIT
    assert all(len(row) == len(chosen.rows()[0]) for row in chosen.rows())
    assert len(chosen.rows()) == 1 + len(STEPS)
    chosen.plot(tmp_path / "choice.png")
    assert (tmp_path / "choice.png").read_bytes()[:4] == b"\x89PNG"


def test_a_long_movie_is_sampled_in_runs_of_a_window():
    movie = np.random.default_rng(0).poisson(20, (400, 32, 32)).astype("uint16")
    noise = pg.NoiseModel(gain=1.0)
    choice = pg.choose(movie, noise=noise, steps=[0.5], redraws=4, pixels=64_000, analysis=np.mean)
    assert choice.sample.startswith("400 of 400 frames, 13 x 13")
    choice = pg.choose(
        np.tile(movie, (3, 1, 1)), noise=noise, steps=[0.5], redraws=4, pixels=64_000, analysis=np.mean
    )
    assert choice.sample == "528 of 1,200 frames in 4 runs, 11 x 11 pixels"


@pytest.mark.parametrize(
    ("movie", "message"),
    [
        (np.zeros((0, 16, 16), "uint16"), "is empty"),
        (flat(frames=1), "at least 8 frames"),
        (flat(frames=7), "this movie has 7 of 16 x 16"),
        (flat(size=4), "8 x 8 pixels"),
        (flat(frames=20), "no result to compare"),
        (flat().reshape(20, 2, 16, 16), "one channel and one plane"),
        (np.full((20, 16, 16), np.nan, "float32"), "finite"),
    ],
)
def test_a_movie_that_cannot_be_judged_is_refused_by_name(movie, message):
    with pytest.raises(pg.PhotonError, match=message) as refused:
        pg.choose(movie, noise=NOISE, steps=[0.5], redraws=4, trust_noise=True)
    assert len(str(refused.value)) <= 300


def broken(movie):
    raise RuntimeError("no spikes")


def words(movie):
    return "many"


def of_varying_length(movie):
    return np.unique(movie)


@pytest.mark.parametrize(
    ("analysis", "message"),
    [
        (broken, "broken failed on the raw movie, uint16 of shape .* RuntimeError: no spikes"),
        (words, "words returned 'many'; a number"),
        (of_varying_length, "must have the same form"),
        ([levels, levels], "two functions have the name levels"),
        ("levels", "module:function is needed"),
        ("no_such_lab:levels", "cannot be imported"),
        ("statistics:levels", "has no function levels"),
        (3, "a function of a"),
    ],
)
def test_an_analysis_that_cannot_be_compared_is_refused_by_name(analysis, message):
    with pytest.raises(pg.PhotonError, match=message) as refused:
        pg.choose(flat(), noise=NOISE, steps=[0.5], redraws=4, analysis=analysis)
    assert len(str(refused.value)) <= 300


def test_a_function_may_change_its_array():
    def of(movie):
        return movie[0].mean()

    def greedy(movie):
        value = of(movie)
        movie[:] = 0
        return value

    one, two = (
        pg.choose(flat(), noise=NOISE, steps=[0.5], redraws=4, analysis=function) for function in (of, greedy)
    )
    assert one.photons == two.photons
    assert one.steps[0].changes[0].ratio == two.steps[0].changes[0].ratio
