"""Memory used again: by one thread, under one name, never in two places at once."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.engine.runtime.pool import Pool, scratch_until_idle
from photon_gpu.engine.runtime.scratch import MOST_BYTES, scratch
from tests.support.concurrent_calls import at_once


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float64"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (2, 3, 4)])
def test_an_array_as_asked_for(shape, dtype):
    made = scratch("test", shape, dtype)
    assert (made.shape, made.dtype) == (shape, dtype)
    assert made.flags.c_contiguous and made.flags.aligned and made.flags.writeable


def test_the_same_memory_for_the_same_name_and_other_memory_for_another():
    one = scratch("one", (1000,), "uint16")
    assert np.shares_memory(one, scratch("one", (500, 2), "uint16"))
    assert np.shares_memory(one, scratch("one", (7,), "uint8"))
    assert not np.shares_memory(one, scratch("two", (1000,), "uint16"))


def test_it_grows_and_stays_grown():
    scratch("grows", (10,), "uint8")
    large = scratch("grows", (100_000,), "uint8")
    assert np.shares_memory(large, scratch("grows", (10,), "uint8"))
    assert np.shares_memory(large, scratch("grows", (100_000,), "uint8"))


def test_what_is_large_is_not_kept():
    large = scratch("large", (MOST_BYTES + 1,), "uint8")
    assert not np.shares_memory(large, scratch("large", (MOST_BYTES + 1,), "uint8"))
    assert not np.shares_memory(large, scratch("large", (10,), "uint8"))


def test_a_thread_of_a_pool_keeps_what_is_large_until_it_is_idle():
    def addresses(_):
        return [address(scratch("large", (MOST_BYTES + 1,), "uint8")) for _ in range(2)]

    with Pool("test-scratch", 1) as pool:
        call = pool.submit(addresses, 0)
        call.wait()
        one, two = call.result()
        assert one == two
        idle = pool.submit(scratch_until_idle)
        idle.wait()
        assert "large" not in idle.result()


def test_threads_share_none():
    made, together = [], threading.Barrier(3, timeout=30)

    def work():
        made.append(scratch("thread", (100,), "uint8"))
        together.wait()

    at_once([work] * 3)
    assert len({address(array) for array in made}) == 3


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
@pytest.mark.parametrize("preset", ["fast", "balanced", "small"])
def test_movies_read_and_written_in_turn_and_together_keep_to_themselves(tmp_path, layout, preset):
    """Every chunk equals its lone result: nobody reads leftovers or overwrites memory in use."""
    rng = np.random.default_rng(4)
    movies = {
        name: rng.poisson(light, (frames, height, 130)).astype("uint16")
        for name, light, frames, height in (("a", 3, 61, 90), ("b", 30, 20, 300), ("c", 900, 45, 40))
    }
    options = {
        "layout": layout,
        "preset": preset,
        "chunk_frames": 20,
        "overwrite": True,
        "noise": pg.NoiseModel(),
    }
    alone, kept = {}, {}
    for name, values in movies.items():
        pg.encode(values, tmp_path / name, workers=1, **options)
        alone[name] = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        kept[name] = pg.open(tmp_path / name, workers=1).counts[...]

    def work(name, failures):
        for round_ in range(3):
            url = tmp_path / f"{name}-{round_}"
            pg.encode(movies[name], url, workers=2, **options)
            if {path.name: path.read_bytes() for path in url.iterdir()} != alone[name]:
                failures.append(f"{url} differs")
            if not np.array_equal(pg.open(url).counts[...], kept[name]):
                failures.append(f"{url} reads otherwise")

    failures: list[str] = []
    at_once(partial(work, name, failures) for name in movies)
    assert not failures
