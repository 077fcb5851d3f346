"""A smoke run of every contender: what it stores is what it gives back, by every way of reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import photon_gpu as pg
from benchmarks.contenders import MODULES, every_contender
from benchmarks.contenders.bases.contender import differences

NOISE = pg.NoiseModel(gain=20.0, offset=90.0, variance=100.0)
COUNTS = pg.simulate(
    frames=130,
    height=40,
    width=48,
    dtype="uint16",
    gain=20.0,
    offset=90.0,
    read_noise_adu=10.0,
    cells=4,
    seed=5,
).read(0, 130)


@pytest.mark.parametrize("contender", every_contender(), ids=lambda contender: contender.name)
def test_what_it_gives_back_is_what_it_stored(contender, tmp_path):
    if (missing := contender.missing()) is not None:
        pytest.skip(missing)
    store = tmp_path / "movie"
    contender.write(COUNTS, NOISE, store)
    worst, added = contender.errors(COUNTS, NOISE, store)
    assert worst <= contender.worst and (worst == 0 or not contender.lossless)
    if not contender.lossless and contender.worst > 0.01:
        assert 0.2 < added < 12, "at step 0.5 or 1.0 noise grows by 2.1 or 8.3 % of its variance"
    everything = contender.read(store)
    for number in (0, 99, 100, 129):
        frame = contender.frame(store, number)
        assert frame.dtype == COUNTS.dtype
        np.testing.assert_array_equal(frame, everything[number])
    rows, columns = slice(10, 22), slice(5, 9)
    trace = contender.trace(store, rows, columns)
    np.testing.assert_allclose(trace, everything[:, rows, columns].mean((1, 2)))


def test_negative_values_survive_where_they_are_promised_to(tmp_path):
    signed = (COUNTS.astype("int16") - 130).astype("int16")
    noise = pg.NoiseModel(gain=20.0, offset=-40.0, variance=100.0)
    assert signed.min() < 0
    for number, contender in enumerate(every_contender()):
        if contender.missing() is None and contender.needs != ("anscombe_transform",):  # which clips them
            contender.write(signed, noise, tmp_path / str(number))
            assert contender.worst_error(signed, noise, tmp_path / str(number)) <= contender.worst, (
                contender.name
            )


def test_every_file_is_a_contender():
    folder = Path(__file__).parents[2] / "benchmarks" / "contenders"
    assert {path.stem for path in folder.glob("*.py")} == {"__init__", *MODULES}
    names = [contender.name for contender in every_contender()]
    assert len(names) == len(set(names))


def test_a_contender_that_errs_is_found_out(tmp_path):
    from benchmarks.contenders.zstd import Zstandard

    class Careless(Zstandard):
        def unpack(self, *arguments):
            out = super().unpack(*arguments).copy()
            out[-1, 3, 3] += 1
            return out

    contender = Careless()
    contender.write(COUNTS, NOISE, tmp_path / "m")
    with pytest.raises(AssertionError):
        contender.worst_error(COUNTS, NOISE, tmp_path / "m")


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int8", "int32", "float32"])
def test_differences_are_those_of_stabilized_values(dtype):
    rng = np.random.default_rng(0)
    raw = rng.integers(-5 if dtype[0] != "u" else 0, 100, (3, 4, 5)).astype(dtype)
    counts = (raw + rng.integers(0, 9, raw.shape)).astype(dtype)
    noise = pg.NoiseModel(gain=2.0, offset=-20.0, variance=4.0)
    error = pg.anscombe(counts, noise) - pg.anscombe(raw, noise)
    worst, squares = differences(counts, raw, noise)
    assert worst == pytest.approx(np.abs(error).max()) and squares == pytest.approx((error**2).sum())


def test_our_promise_is_of_stabilized_values(tmp_path):
    from benchmarks.contenders.ours import Ours

    contender = Ours("plain", "fast")
    contender.write(COUNTS, NOISE, tmp_path / "m")
    assert contender.errors(COUNTS, NOISE, tmp_path / "m")[0] < contender.worst == 0.5
    contender.step = 0.45  # as if more had been promised
    with pytest.raises(AssertionError, match="stabilized values err by 0.2"):
        contender.errors(COUNTS, NOISE, tmp_path / "m")
