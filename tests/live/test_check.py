"""A recording checks a sample of what it encodes; one that fails is kept, and says so."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.check.fidelity.sample_during_encode import MOST_CHUNKS, ChunkSample
from photon_gpu.engine.layouts.compact import Compact
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.errors import InvalidInputError
from photon_gpu.live import FrameStream
from photon_gpu.live.recovery.recover import recover
from photon_gpu.store import metadata

NOISE = pg.NoiseModel(gain=20.0, offset=100.0, variance=100.0)
WRONG = pg.NoiseModel(gain=400.0, offset=100.0)
OPTIONS = {"trust_noise": True, "frame_shape": (24, 32), "dtype": "int16", "chunk_frames": 20}


def frames(count=100):
    rng = np.random.default_rng(0)
    light = 4.0 + 12.0 * rng.random((24, 32))
    return rng.normal(100 + 20 * rng.poisson(light, (count, 24, 32)), 10).astype("int16")


def record(url, raw, **options):
    with pg.LiveWriter(url, **{**OPTIONS, **options}) as live:
        for start in range(0, len(raw), 10):
            live.append(raw[start : start + 10])
    return live


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_a_sound_recording_passes_and_its_bytes_are_as_without_a_check(tmp_path, layout):
    live = record(tmp_path / "a.zarr", frames(), noise=NOISE, layout=layout)
    assert {line.status for line in live.checks} <= {"PASS", "SKIP", "WARN"} and live.failed == ()
    assert {line.name for line in live.checks} >= {"noise_model", "escaped", "snr"}
    without = record(tmp_path / "b.zarr", frames(), noise=NOISE, layout=layout, check=False)
    assert without.checks == ()
    one, two = (json.loads((tmp_path / f"{n}.zarr" / ".zattrs").read_text()) for n in "ab")
    for own in ("recording_id", "photon_movie_id"):  # of each movie
        assert one.pop(own, 1) != two.pop(own, 2)
    assert one == two


@pytest.mark.parametrize("durability", ["frame", "chunk"])
def test_a_failing_recording_is_kept_and_says_so(tmp_path, durability):
    raw = frames()
    with pytest.warns(pg.FidelityWarning, match="a.zarr fails its own check: noise_model, snr"):
        live = record(tmp_path / "a.zarr", raw, noise=WRONG, durability=durability)
    assert live.failed[:2] == ("noise_model", "snr")
    movie = pg.open(tmp_path / "a.zarr")
    assert len(movie) == len(raw) and tuple(movie.failed_check) == live.failed
    verification = pg.verify(tmp_path / "a.zarr")
    assert [problem.kind for problem in verification.problems] == [
        "failing"
    ] and verification.by == "manifest"
    assert not list(tmp_path.glob("a.zarr.spool/*"))


def test_a_warning_made_an_error_comes_after_the_movie_is_finished(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", pg.FidelityWarning)
        with pytest.raises(pg.FidelityWarning, match="fails its own check"):
            record(tmp_path / "a.zarr", frames(), noise=WRONG)
        with (
            pytest.raises(ZeroDivisionError) as caught,
            pg.LiveWriter(tmp_path / "b.zarr", noise=WRONG, **OPTIONS) as live,
        ):
            live.append(frames())
            raise ZeroDivisionError
    assert any("fails its own check" in note for note in caught.value.__notes__)
    for name in "ab":
        assert len(pg.open(tmp_path / f"{name}.zarr")) == 100
        assert [p.kind for p in pg.verify(tmp_path / f"{name}.zarr").problems] == ["failing"]


def test_a_kill_while_the_verdict_is_written_leaves_a_movie_that_recovers(tmp_path, monkeypatch):
    """After each of the last writes the process dies: readers open the movie, and recovery finishes it."""
    from photon_gpu.store.storage import Storage

    class Killed(BaseException):
        pass

    finished = 0
    for last in range(1, 8):
        store, done = tmp_path / f"{last}.zarr", []
        write = Storage.write

        def dies(self, name, data, *rest, _write=write, _last=last, _done=done, **options):
            if b"fidelity_check" in data or _done:
                _done.append(name)
                if len(_done) > _last:
                    raise Killed
            return _write(self, name, data, *rest, **options)

        live = pg.LiveWriter(store, noise=WRONG, **OPTIONS)
        live.append(frames())
        monkeypatch.setattr(Storage, "write", dies)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", pg.FidelityWarning)
                live.close()
            finished += 1
        except Killed:
            pass
        monkeypatch.undo()
        movie = pg.open(store)
        assert movie.counts[...].shape == (100, 24, 32)
        assert {p.kind for p in pg.verify(store).problems} <= {"failing", "unfinished"}
        if (store / ".photon-writing").exists():
            marker = json.loads((store / ".photon-writing").read_text())
            (store / ".photon-writing").write_text(json.dumps({**marker, "pid": 2**22 + 1}))
            recover(store)
        assert [p.kind for p in pg.verify(store).problems] == ["failing"], last
    assert 0 < finished < 7


def test_recovery_checks_what_it_encodes_and_keeps_the_verdict(tmp_path):
    live = pg.LiveWriter(tmp_path / "a.zarr", noise=WRONG, durability="frame", **OPTIONS)
    live.append(frames(95))
    live._end(finished=False)  # the last 15 frames are in the journal alone
    with pytest.warns(pg.FidelityWarning, match="fails its own check: .*snr"):
        report = recover(tmp_path / "a.zarr.spool")
    assert report.frames == 95 and "snr" in report.failed and "CHECK FAILED" in str(report)
    assert tuple(pg.open(tmp_path / "a.zarr").failed_check) == report.failed


def test_a_chunk_that_does_not_decode_fails_the_check(tmp_path, monkeypatch):
    encode = Compact.encode

    def broken(self, values, chunk, resources, first_frame=0):
        data = encode(self, values, chunk, resources, first_frame)
        return data[:16] + b"\xff" * (len(data) - 16)

    monkeypatch.setattr(Compact, "encode", broken)
    with pytest.warns(pg.FidelityWarning, match=r"inverse.*frame \d+ does not decode"):
        record(tmp_path / "a.zarr", frames(), noise=NOISE)
    assert "inverse" in pg.open(tmp_path / "a.zarr").failed_check


def test_frames_that_were_skipped_are_not_judged(tmp_path):
    raw = frames(40)
    with FrameStream(tmp_path / "a.zarr", (24, 32), "int16", noise=NOISE, chunk_frames=20) as stream:
        for frame in raw[:20]:
            stream.append(frame)
        stream.skip(frames=20)
    assert stream.writer.failed == () and stream.writer.checks


def test_few_chunks_are_kept_however_long_a_recording_gets():
    from photon_gpu.engine.backend_choice import get_backend
    from photon_gpu.engine.codec.encoding import Encoding
    from photon_gpu.engine.layouts.registry import layout_for

    layout = layout_for(Encoding(layout="lossless", dtype="int16", noise=NOISE), get_backend("numpy"))
    values, sample = frames(20), ChunkSample()
    data = layout.encode(values, values.shape, Resources())
    for number in range(100):
        sample.add(number, layout, data, values.shape, 20 * number, values)
        while sample._waiting.qsize():
            pass
    lines = sample.finish(2000)
    assert len(sample._blocks) <= MOST_CHUNKS and max(sample._blocks) >= 80
    assert {line.name for line in lines} >= {"noise_model", "variance"}


def test_bad_values_of_check(tmp_path):
    for check in ("full", 1, None):
        with pytest.raises(InvalidInputError, match="check is"):
            pg.LiveWriter(tmp_path / "a.zarr", noise=NOISE, check=check, **OPTIONS)
    with pytest.raises(InvalidInputError, match="own key"):
        record(tmp_path / "b.zarr", frames(20), noise=NOISE, attributes={metadata.CHECK: {}})
