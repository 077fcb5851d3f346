"""The choice of predictor and compressor: by size alone, repeatable, never worse than a trial."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.encode_settings import PRESETS, EncodeSettings
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec import blosc
from photon_gpu.engine.codec import chunk as coder
from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.base import Source
from photon_gpu.sources.open import open_source
from photon_gpu.writer.compression_tuning import choose, sample

NUMBA = get_backend("numba")
CAMERA = NoiseModel(gain=2.0, offset=100.0, variance=4.0)


def movies() -> dict[str, tuple[np.ndarray, NoiseModel]]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :64]
    scene = 20 + 15 * np.sin(x / 6) * np.cos(y / 9)
    steady = rng.poisson(np.broadcast_to(scene, (40, 48, 64)))
    return {
        "steady scene": ((100 + 2 * steady + rng.normal(0, 2, steady.shape)).astype("uint16"), CAMERA),
        "sparse counts": (rng.poisson(0.05, (40, 48, 64)).astype("uint8"), NoiseModel()),
        "z-stack": (
            (100 + 2 * rng.poisson([np.roll(scene, 9 * t, 1) for t in range(20)])).astype("int16"),
            CAMERA,
        ),
        "one frame": ((100 + 2 * rng.poisson(scene[np.newaxis])).astype("uint16"), CAMERA),
        "floats": ((100 + 2 * steady + rng.normal(0, 2, steady.shape)).astype("float32"), CAMERA),
    }


MOVIES = movies()


def size(values, encoding):
    if encoding.layout == "compact":
        payload = coder.encode(values, values.shape, encoding, NUMBA, stages=Stages())
        return len(blosc.compress_bytes(payload, encoding.compressor))
    return len(layout_for(encoding, NUMBA).encode(values, values.shape, Resources()))


def chosen(values, noise, layout, preset, run=map, **fixed):
    settings = EncodeSettings(noise=noise, layout=layout, preset=preset, **fixed)
    encoding = settings.encoding(values.dtype.name)
    return choose(open_source(values), encoding, NUMBA, settings, chunk_frames=len(values), run=run)


@pytest.mark.parametrize("name", MOVIES)
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_never_larger_than_the_best_of_what_was_tried(layout, preset, name):
    values, noise = MOVIES[name]
    choice = chosen(values, noise, layout, preset)
    result = size(values, choice.encoding)
    if len(choice.trials) > 1:
        assert result == min(trial.nbytes for trial in choice.trials)  # all of a small movie is tried
    again = chosen(values, noise, layout, preset)
    assert again.encoding == choice.encoding and again.trials == choice.trials


@pytest.mark.parametrize("name", MOVIES)
def test_no_predictor_fixed_by_hand_beats_the_choice(name):
    values, noise = MOVIES[name]
    best = size(values, chosen(values, noise, "compact", "small").encoding)
    for predictor in ("none", "mean", "past", "full", "spatial"):
        fixed = chosen(values, noise, "compact", "small", predictor=predictor)
        assert fixed.encoding.predictor.name == predictor
        # Only the two best predictors are tried with every compressor, so a little may be missed.
        assert best <= 1.01 * size(values, fixed.encoding)


def test_trying_harder_never_costs():
    for values, noise in MOVIES.values():
        sizes = [size(values, chosen(values, noise, "compact", preset).encoding) for preset in PRESETS]
        assert sizes[2] <= 1.002 * sizes[1] <= 1.01 * sizes[0]


def test_threads_change_no_choice():
    values, noise = MOVIES["steady scene"]
    with ThreadPoolExecutor(4) as pool:
        assert chosen(values, noise, "compact", "small", run=pool.map) == chosen(
            values, noise, "compact", "small"
        )


def test_what_was_fixed_is_kept():
    values, noise = MOVIES["steady scene"]
    compressor = Compressor.parse("lz4-3-bit")
    predictor = Predictor(name="past", rate=99)
    choice = chosen(values, noise, "compact", "small", predictor=predictor, compressor=compressor)
    assert choice.encoding.predictor == predictor and choice.encoding.compressor == compressor
    for layout in ("plain", "lossless"):
        assert chosen(values, noise, layout, "small", compressor=compressor).encoding.compressor == compressor


@pytest.mark.parametrize("name", [*MOVIES, "nearly static"])
def test_a_preset_is_not_larger_than_a_cheaper_one(name):
    if name == "nearly static":  # a camera of little noise, for which the slowest mean is best
        rng = np.random.default_rng(3)
        scene = np.repeat(rng.uniform(5, 200, (1, 48, 64)), 90, axis=0)
        values, noise = (100 + 2 * rng.poisson(scene)).astype("uint16"), CAMERA
    else:
        values, noise = MOVIES[name]
    sizes = [size(values, chosen(values, noise, "compact", preset).encoding) for preset in PRESETS]
    assert sizes == sorted(sizes, reverse=True), dict(zip(PRESETS, sizes, strict=True))


@pytest.mark.parametrize("photons", [0.5, 5.0])
def test_a_preset_is_not_larger_than_a_cheaper_one_if_only_a_sample_is_tried(tmp_path, photons):
    movie = pg.simulate(frames=150, height=200, width=200, photons=photons, seed=1)
    options = {"layout": "compact", "noise": movie.noise, "trust_noise": True, "check": False}
    encoded = [pg.encode(movie, tmp_path / f"{preset}.zarr", preset=preset, **options) for preset in PRESETS]
    sizes = [report.stored_bytes for report in encoded]
    assert sizes == sorted(sizes, reverse=True), dict(zip(PRESETS, sizes, strict=True))


def test_each_kind_of_movie_gets_its_kind_of_predictor():
    picked = {name: chosen(*MOVIES[name], "compact", "small").encoding for name in MOVIES}
    assert picked["steady scene"].predictor.name in ("full", "past", "mean")
    assert picked["one frame"].predictor.name in ("spatial", "full", "moving")  # all see the frame itself
    assert not picked["floats"].exact
    assert not chosen(*MOVIES["steady scene"], "compact", "balanced").encoding.exact


@pytest.mark.parametrize("preset", ["fast", "balanced", "small"])
def test_exact_values_are_tried_where_they_are_hardly_more_varied_than_codes(preset):
    counts, scene = (chosen(*MOVIES[name], "compact", preset) for name in ("sparse counts", "steady scene"))
    assert counts.encoding.exact and {trial.exact for trial in counts.trials} == {False, True}
    assert {trial.exact for trial in scene.trials} == {False}


@pytest.mark.parametrize("preset", ["fast", "balanced", "small"])
def test_codes_by_themselves_are_tried_unless_their_entropy_says_that_they_lose(preset):
    rng = np.random.default_rng(1)
    scene = rng.poisson(np.linspace(1, 200, 64 * 48).reshape(48, 64), (40, 48, 64)).astype("uint16")
    for values, named in ((scene, False), (MOVIES["sparse counts"][0], True)):
        choice = chosen(values, NoiseModel(), "compact", preset)
        assert ("none" in {trial.predictor for trial in choice.trials}) == named
    alone = chosen(scene, NoiseModel(), "compact", preset, predictor="none")
    assert alone.encoding.predictor.name == "none" and all(trial.nbytes > 0 for trial in alone.trials)


def test_dither_and_exact_values_exclude_each_other():
    choice = chosen(*MOVIES["sparse counts"], "compact", "small", dither=3)
    assert not choice.encoding.exact and choice.encoding.dither == 3


def test_values_a_predictor_cannot_be_fitted_to_leave_the_codes():
    """Values around 2**33: exact ones are beyond the fit, codes are not."""
    values = (2**33 + np.random.default_rng(0).poisson(3, (4, 32, 32))).astype("int64")
    choice = chosen(values, NoiseModel(offset=2.0**33), "compact", "balanced")
    assert not choice.encoding.exact


def test_the_mean_light_is_that_of_the_sample():
    values, noise = MOVIES["steady scene"]
    assert chosen(values, noise, "plain", "fast").mean == pytest.approx(values.mean())


def test_an_unknown_preset_is_refused():
    with pytest.raises(InvalidInputError, match="fast, balanced, small"):
        chosen(*MOVIES["one frame"], "plain", "best")
    with pytest.raises(InvalidInputError, match="spatial"):
        chosen(*MOVIES["one frame"], "plain", "fast", predictor="lucky")


class Counted(Source):
    """A long movie, made as it is read, that counts what is read."""

    name, dtype = "counted", np.dtype("uint16")

    def __init__(self, shape):
        self.shape, self.samples, self.largest = shape, 0, 0

    def read(self, start, stop):
        block = np.full((stop - start, *self.shape[1:]), 100, "uint16")
        self.samples += block.size
        self.largest = max(self.largest, block.size)
        return block


@pytest.mark.parametrize("shape", [(5000, 256, 256), (7, 4096, 4096), (100_000, 20, 20), (3, 2, 2000, 3000)])
@pytest.mark.parametrize("pixels", [1 << 17, 1 << 21])
def test_a_sample_is_small_whatever_the_movie(shape, pixels):
    source = Counted(shape)
    blocks = sample(source, Encoding(layout="compact"), NUMBA, 100, pixels)
    assert all(block.ndim == 3 and block.flags.c_contiguous for block in blocks)
    assert sum(block.size for block in blocks) <= 2 * pixels + 4 * 4096 * 64
    frame = int(np.prod(shape[1:]))
    assert source.largest <= max(frame, 64 * pixels)


def test_few_levels_are_tried_only_where_tables_count():
    """Tables are a good part of 40 frames of 48 x 64, and not of bands of 250,000 samples."""
    values, noise = MOVIES["steady scene"]
    large = np.concatenate([values, values, values])
    for movie, levels in ((values, {0, 64, 16}), (large, {0, 64})):
        trials = chosen(movie, noise, "compact", "small").trials
        assert {trial.levels for trial in trials} == levels
        assert all(trial.coded == bool(trial.levels) for trial in trials)
    for preset in ("fast", "balanced"):
        assert not any(trial.coded for trial in chosen(values, noise, "compact", preset).trials)


def test_where_levels_differ_coding_by_them_is_smallest():
    rng = np.random.default_rng(1)
    scene = np.repeat([0.1, 1.0, 6.0, 30.0], 16) * np.ones((48, 1))
    values = rng.poisson(np.broadcast_to(scene, (40, 48, 64))).astype("uint8")
    choice = chosen(values, NoiseModel(), "compact", "small")
    assert choice.encoding.predictor.coded
    others = [trial.nbytes for trial in choice.trials if not trial.coded]
    assert size(values, choice.encoding) < 0.95 * min(others)


def test_a_small_sample_is_one_block_of_parts_that_lie_side_by_side():
    """Rows of the first and middle chunk, in the same columns; a short middle chunk stays a block."""
    values = np.arange(80)[:, None, None] * 1000 + np.arange(600)[:, None] + np.zeros(64)
    encoding = Encoding(layout="compact")
    [block] = sample(open_source(values.astype("float32")), encoding, NUMBA, 40, 1 << 17)
    frames, rows, _ = block.shape
    assert frames == 32 and rows % 2 == 0
    first, middle = block[:, : rows // 2, 0], block[:, rows // 2 :, 0]
    assert (first // 1000 == np.arange(32)[:, None]).all() and (
        middle // 1000 == np.arange(40, 72)[:, None]
    ).all()
    assert (np.diff(first % 1000) == 1).all() and (np.diff(middle % 1000) == 1).all()
    blocks = sample(open_source(values[:50].astype("float32")), encoding, NUMBA, 40, 1 << 17)
    assert [len(block) for block in blocks] == [32, 10]


def dim(photons: float) -> np.ndarray:
    values = 100.0 * np.random.default_rng(6).poisson(photons, (12, 24, 24))
    return (values + np.random.default_rng(7).normal(200, 25, values.shape)).astype("uint16")


def test_a_coarse_step_in_the_dark_is_a_warning_in_every_entrance(tmp_path):
    noise = pg.NoiseModel(gain=100.0, offset=200.0, variance=625.0)
    own = {"noise": noise, "layout": "compact", "step": 1.0, "check": False, "trust_noise": True}
    told = r"a step of 1 keeps 8\d% .* at 1\.0 photons per pixel.*0\.5 keeps 96%"
    with pytest.warns(pg.PhotonWarning, match=told):
        pg.encode(dim(1.0), tmp_path / "encode.zarr", **own)
    with pytest.warns(pg.PhotonWarning, match=told):
        pg.encode_many([dim(1.0)], [str(tmp_path / "many.zarr")], **own)
    with (
        pytest.warns(pg.PhotonWarning, match=told),
        pg.LiveWriter(tmp_path / "live.zarr", frame_shape=(24, 24), dtype="uint16", **own) as live,
    ):
        live.append(dim(1.0))
    two = np.stack([dim(20.0), dim(1.0)], axis=1)
    with pytest.warns(pg.PhotonWarning, match="channel 1: a step of 1"):
        pg.encode(two, tmp_path / "two.zarr", axes="tcyx", **{**own, "noise": [noise, noise]})
    pg.encode(dim(4.0), tmp_path / "bright.zarr", **own)
    pg.encode(dim(1.0), tmp_path / "fine.zarr", **{**own, "step": 0.5})
