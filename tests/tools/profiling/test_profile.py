"""Profiles: real encodes, their own stage timers, every combination. No test asserts a speed."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.base import Source
from photon_gpu.tools.profiling.preset_for_camera import Camera
from photon_gpu.tools.profiling.profile import Profile, on_cores, profile
from tests.support.profile_measurements import measured

COUNTS = np.random.default_rng(0).poisson(20.0, (24, 32, 48)).astype("uint16")
QUICK = {"noise": pg.NoiseModel(), "presets": ["fast"], "seconds": 0.1, "cores": [1]}


def test_every_combination_is_a_real_encode_of_the_movie(tmp_path):
    np.save(tmp_path / "m.npy", COUNTS)
    ticks = []
    comparison = profile(
        tmp_path / "m.npy",
        noise=pg.NoiseModel(),
        presets=["fast", "balanced"],
        cores=[1, 2],
        seconds=0.5,
        folder=tmp_path,
        progress=lambda done, total: ticks.append((done, total)),
    )
    assert {(m.layout, m.preset, m.cores) for m in comparison.measured} == {
        (lay, p, n) for lay in ("compact", "plain", "lossless") for p in ("fast", "balanced") for n in (1, 2)
    }
    assert ticks == [(n, 12) for n in range(12)]
    for m in comparison.measured:
        assert m.raw_bytes == COUNTS[: m.frames].nbytes
        assert {"read", "compress", "write"} <= set(m.stages) and m.megabytes_per_second > 0
        assert ("predict" in m.stages) == (m.layout == "compact")
    assert os.listdir(tmp_path) == ["m.npy"], "something was left on the disk that was measured"
    fixed = {m.layout: m for m in comparison.measured if m.preset == "fast"}
    for layout, m in fixed.items():
        report = pg.encode(
            COUNTS[: m.frames],
            "memory://profile.zarr",
            layout=layout,
            preset="fast",
            overwrite=True,
            noise=pg.NoiseModel(),
        )
        assert m.ratio == pytest.approx(report.ratio, rel=0.05)


def test_the_simulator_stands_in_where_no_movie_is_given():
    camera = Camera(height=40, width=56, rate=1000, dtype="int16")
    result = profile(layouts=["compact"], camera=camera, **{**QUICK, "noise": None})
    assert result.shape[1:] == (40, 56) and result.dtype == "int16"
    (only,) = result.measured
    assert "read" not in only.stages and "reading costs nothing" in result.notes[0]


def test_a_source_is_read_anew_each_time_and_only_its_first_frames():
    class Watched(Source):
        name, shape, dtype = "watched", (10**6, 32, 48), np.dtype("uint16")
        last = 0

        def read(self, start, stop):
            self.last = max(self.last, stop)
            return COUNTS[np.arange(start, stop) % len(COUNTS)]

    watched = Watched()
    result = profile(watched, layouts=["plain"], **QUICK)
    assert watched.last == max(result.measured[0].frames, 16) < 10**5
    assert result.measured[0].stages["read"] > 0


def test_rates_are_of_raw_bytes_but_for_writing():
    m = measured()
    assert m.megabytes_per_second == pytest.approx(80) and m.ratio == 4
    assert m.stage_rate("transform") == pytest.approx(800)  # 8 MB in 0.02 s of two threads' time
    assert m.stage_rate("read") == pytest.approx(800)  # which one thread does
    assert m.stage_rate("write") == pytest.approx(400)  # 2 MB stored


@pytest.mark.parametrize(
    "stages, stage",
    [
        ({"read": 0.01, "compress": 0.1, "write": 0.09}, "compress"),
        ({"read": 0.01, "compress": 0.05, "write": 0.09}, "write"),
        ({"read": 0.09, "compress": 0.15, "write": 0.01}, "read"),  # one thread, nine tenths of the time
        (
            {"transform": 0.08, "compress": 0.1, "write": 0.19},
            "compress",
        ),  # the disk is waited for beside busy cores
    ],
)
def test_what_holds_it_back(stages, stage):
    assert measured(stages=stages).limiting_stage[0] == stage


def test_whole_chunks_are_encoded_where_there_is_time_and_it_is_told_where_not():
    frames = np.random.default_rng(0).poisson(20.0, (40, 32, 48)).astype("uint16")
    enough = profile(
        frames, noise=pg.NoiseModel(), layouts=["compact"], presets=["fast"], seconds=2.0, cores=[1]
    )
    assert enough.measured[0].frames == 40 and enough.measured[0].whole_chunks
    assert not any(line.startswith("~") for line in enough.advice)
    hurried = profile(
        frames, noise=pg.NoiseModel(), layouts=["lossless"], presets=["small"], seconds=1e-9, cores=[1]
    )
    assert hurried.measured[0].frames == 8 and not hurried.measured[0].whole_chunks
    assert any(line.startswith("~ 1 of 1 were too slow") for line in hurried.advice)


def test_json_and_table_say_the_same():
    result = profile(COUNTS, layouts=["compact", "lossless"], camera=Camera.parse("32x48x10"), **QUICK)
    data = json.loads(json.dumps(result.to_dict()))
    assert len(data["measured"]) == 2 and data["measured"][0]["held_back_by"] in data["measured"][0]["stages"]
    assert data["camera"]["preset"] == "fast" and data["camera"]["layout"] == "compact"
    from rich.console import Console

    console = Console(width=160, record=True, file=io.StringIO())
    console.print(result.table())
    text = console.export_text()
    for m in result.measured:
        assert m.layout in text and f"{m.ratio:.2f}" in text
    assert "your camera: 32 x 48 x 10 Hz uint16 needs 0.0 MB/s" in text and "disk write" in text
    assert isinstance(result, Profile) and result.cores == 1


def test_cores_are_really_those():
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system pins no threads")
    before = os.sched_getaffinity(0)
    with on_cores(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
    with pytest.raises(ValueError), on_cores(1):
        raise ValueError
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    "change, message",
    [
        ({"layouts": ["tight"]}, "tight"),
        ({"presets": []}, "presets are"),
        ({"seconds": 0}, "seconds is 0"),
        ({"cores": [0]}, "workers is 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, message):
    with pytest.raises(InvalidInputError, match=message):
        profile(COUNTS, **{**QUICK, **change})
