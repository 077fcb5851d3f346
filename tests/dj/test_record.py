"""Recording into a table: every frame appended is in the row's movie, or where recovery finds it."""

from __future__ import annotations

import datetime
import decimal
import json
import os
import textwrap
import time
import uuid
import warnings
from pathlib import Path

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.dj import collect, record, recover
from photon_gpu.dj.pending_row import PENDING_ROW, PendingRow
from photon_gpu.errors import (
    CorruptDataError,
    InvalidInputError,
    StoreExistsError,
    StoreNotFoundError,
    UnsupportedTypeError,
)
from photon_gpu.store.in_progress_marker import MARKER
from photon_gpu.store.storage import Storage
from tests.support.dj.movies import RECORDING, check_rows, files, poisson
from tests.support.dj.programs import run, table_code
from tests.support.dj.tables import declare

A = poisson(1)
KEY = {"recording_id": 1}


def live(table, key=KEY, **options):
    options = {"frame_shape": (8, 12), "dtype": "uint16", "noise": pg.NoiseModel(), **options}
    return record(table, key, "movie", **options)


@pytest.mark.parametrize("service", ["file", "seaweed", "gcs"])
@pytest.mark.parametrize("batch", [1, 7, 250])
def test_what_was_appended_is_the_movie(schema, store, service, batch):
    backend = store(service)
    table = declare(schema, RECORDING)
    with live(table) as recording:
        for start in range(0, len(A), batch):
            recording.append(A[start] if batch == 1 else A[start : start + batch])
    assert (recording.frames, recording.frames_stored) == (250, 250)
    check_rows(table, {1: A})
    assert files(backend) == [
        f"{schema.database}/recording/recording_id=1/movie.zarr/{name}"
        for name in (".manifest.json", ".zarray", ".zattrs", "0.0.0", "1.0.0", "2.0.0")
    ]


@pytest.mark.parametrize("frames", [1, 99, 100, 101])
@pytest.mark.parametrize("codec", ["photon", "photon_compact"])
def test_any_length_and_layout(schema, store, frames, codec):
    store()
    table = declare(schema, RECORDING.replace("photon", codec))
    with live(table) as recording:
        for frame in A[:frames]:
            recording.append(frame)
    movie = table.fetch1("movie")
    assert movie.shape == (frames, 8, 12)
    np.testing.assert_allclose(movie[...], pg.anscombe(A[:frames]), atol=0.25 + 1e-9)


def test_chunks_reach_the_store_as_frames_come(schema, store):
    backend = store()
    table = declare(schema, RECORDING)
    with live(table, chunk_frames=50) as recording:
        recording.append(A[:49])
        assert recording.frames_stored == 0
        recording.append(A[49])
        assert recording.frames_stored == 50
        assert [name.rsplit("/", 1)[1] for name in files(backend) if name.endswith(".0.0")] == ["0.0.0"]
        assert len(table()) == 0


def test_memory_that_the_camera_writes_again(schema, store):
    store()
    table = declare(schema, RECORDING)
    buffer = np.empty((8, 12), "uint16")
    with live(table) as recording:
        for frame in A:
            buffer[:] = frame
            recording.append(buffer)
    check_rows(table, {1: A})


def test_other_attributes_and_noise(schema, store):
    store()
    table = declare(schema, "at : datetime(6)\n---\nwho : varchar(20)\nmovie : <photon@imaging>")
    key = {"at": datetime.datetime(2024, 1, 15, 10, 0, 0, 5), "who": "Ada"}
    noise = pg.NoiseModel(gain=2.0, offset=5.0)
    with live(table, key, noise=noise, step=1.0) as recording:
        recording.append(2 * A + 5)
    row = table.fetch1()
    assert row["who"] == "Ada"
    assert (row["movie"].noise, row["movie"].step) == (noise, 1.0)


@pytest.mark.parametrize(
    ("frames", "error", "says"),
    [
        (np.zeros((8, 13), "uint16"), InvalidInputError, r"\(8, 13\); this recording takes \(8, 12\)"),
        (np.zeros((8, 12), "int32"), UnsupportedTypeError, "int32; this recording takes uint16"),
        (np.zeros(3, "uint16"), InvalidInputError, "this recording takes"),
    ],
)
def test_frames_that_do_not_fit(schema, store, frames, error, says):
    backend = store()
    table = declare(schema, RECORDING)
    with pytest.raises(error, match=says), live(table) as recording:
        recording.append(frames)
    assert len(table()) == 0
    assert files(backend) == []


def test_a_recording_that_cannot_become_a_row_is_refused_at_its_start(schema, store):
    store()
    table = declare(schema, RECORDING)
    table.insert1({**KEY, "movie": A})
    with pytest.raises(StoreExistsError, match="has a row"), live(table):
        pass
    with pytest.raises(InvalidInputError, match="primary key needs recording_id"):
        live(table, {})
    with pytest.raises(InvalidInputError, match=r"no movie column 'film'; it has \['movie'\]"):
        record(table, KEY, "film", frame_shape=(8, 12), dtype="uint16")
    with pytest.raises(InvalidInputError, match="no frame was appended"), live(table, {"recording_id": 2}):
        pass


def test_a_row_that_cannot_be_kept_begins_nothing(schema, store):
    backend = store()
    table = declare(schema, RECORDING)
    with pytest.raises(InvalidInputError, match="cannot be kept as JSON"):
        live(table, {**KEY, "note": {"camera": object()}})
    assert not files(backend)


def test_an_error_while_recording_keeps_the_frames(schema, store):
    backend = store()
    table = declare(schema, RECORDING)
    with pytest.raises(RuntimeError) as caught, live(table, chunk_frames=100) as recording:
        recording.append(A)
        raise RuntimeError("the camera is gone")
    assert "250 of 250 frames of this recording lie at" in caught.value.__notes__[0]
    assert len(table()) == 0
    assert collect(schema.database, dry_run=False, grace_hours=0).count("kept") == 1
    (begun,) = recover(table)
    assert (begun.frames, begun.row, begun.lost, begun.done) == (250, KEY, "", "listed")
    (begun,) = recover(table, action="finish")
    assert begun.done == "busy"
    (begun,) = recover(table, action="finish", quiet_minutes=0)
    assert begun.done == "finished"
    check_rows(table, {1: A})
    assert recover(table) == []
    assert not any("photon-" in name for name in files(backend))


def test_a_taken_path_goes_beside(schema, store):
    store()
    table = declare(schema, RECORDING)
    table.insert1({**KEY, "movie": A})
    table.delete()
    with live(table) as recording:
        recording.append(A)
    assert recording.path != f"{schema.database}/recording/recording_id=1/movie.zarr"
    check_rows(table, {1: A})


def test_a_row_inserted_by_another_meanwhile(dj, schema, store):
    store()
    table = declare(schema, RECORDING)
    with pytest.raises(dj.errors.DuplicateError), live(table) as recording:
        recording.append(A)
        table.insert1({**KEY, "movie": poisson(2)})
    check_rows(table, {1: poisson(2)})
    (begun,) = recover(table)
    assert begun.frames == 250
    with pytest.raises(InvalidInputError, match="has a row"):
        recover(table, action="finish", quiet_minutes=0)
    table.delete()
    recover(table, action="finish", quiet_minutes=0)
    check_rows(table, {1: A})


@pytest.mark.parametrize("service", ["file", "seaweed"])
def test_a_recorder_that_was_killed(dj, database, schema, store, service):
    store(service)
    table = declare(schema, RECORDING.replace("photon", "photon_compact"))
    code = textwrap.dedent(table_code(schema)).replace("<photon@", "<photon_compact@") + textwrap.dedent("""
        with pg.dj.record(Recording, {"recording_id": 1}, "movie", frame_shape=(8, 12), dtype="uint16",
                          chunk_frames=50, noise=pg.NoiseModel()) as live:
            for frame in A[:230]:
                live.append(frame)
                if live.frames == 230:
                    print(live.frames_stored, flush=True)
                    os.kill(os.getpid(), signal.SIGKILL)
    """)
    process = run(database, dj.config.stores["imaging"], code)
    text = process.communicate(timeout=100)[0]
    assert process.returncode == -9, text
    (begun,) = recover(table, action="finish", quiet_minutes=0)
    assert begun.frames == int(text) == 200
    np.testing.assert_allclose(table.fetch1("movie")[...], pg.anscombe(A[:200]), atol=0.25 + 1e-9)


def camera(frames=120):
    """A CCD of 0.67 ADU per photon with an offset of 1000: not what gain 1, offset 0 says."""
    rng = np.random.default_rng(1)
    light = 30 * np.exp(rng.normal(0, 1, (24, 24)))
    counts = 1000 + 0.667 * rng.poisson(light, (frames, 24, 24)) + rng.normal(0, 3.0, (frames, 24, 24))
    return np.rint(counts).astype("uint16")


def test_without_a_model_one_is_estimated_from_the_first_chunk_and_kept(schema, store):
    store()
    table, data = declare(schema, RECORDING), camera()
    with live(table, frame_shape=(24, 24), noise=None) as recording:
        recording.append(data)
    movie = table.fetch1("movie")
    assert movie.noise == pg.estimate_noise(data[:100]).model
    assert movie.attrs["noise_estimate"]["model"] == movie.noise.to_dict()
    assert recording.warnings == []


def test_where_none_can_be_estimated_every_bit_is_kept(schema, store):
    store()
    table = declare(schema, RECORDING)
    with pytest.warns(pg.PhotonWarning, match="every bit is kept"), live(table, noise=None) as recording:
        recording.append(A)
    np.testing.assert_array_equal(table.fetch1("movie").counts[...], A)


def test_a_model_that_the_frames_contradict_is_a_warning_once_the_row_is_there(schema, store):
    store()
    table, data = declare(schema, RECORDING), camera()
    with pytest.raises(pg.PhotonWarning, match="trust_noise"), warnings.catch_warnings():
        warnings.simplefilter("ignore", pg.FidelityWarning)  # the check of what was encoded finds it, too
        warnings.filterwarnings("error", ".*contradict it", pg.PhotonWarning)
        with live(table, frame_shape=(24, 24)) as recording:
            recording.append(data)
    assert len(recording.warnings) == 1
    assert table.fetch1("movie").shape == data.shape
    with (
        pytest.warns(pg.FidelityWarning),
        live(table, {"recording_id": 2}, frame_shape=(24, 24), trust_noise=True) as trusted,
    ):
        trusted.append(data)
    assert trusted.warnings == []


def test_a_recording_that_was_broken_off_keeps_its_estimate(schema, store):
    store()
    table, data = declare(schema, RECORDING), camera()
    with pytest.raises(RuntimeError), live(table, frame_shape=(24, 24), noise=None) as recording:
        recording.append(data)
        raise RuntimeError
    recover(table, action="finish", quiet_minutes=0)
    assert table.fetch1("movie").attrs["noise_estimate"]["verdict"] in ("PASS", "WARN")


def crash(recording):
    """Leave everything as a kill would, without waiting for what is under way."""
    recording._end(finished=False)


def broken_off(schema, store, frames=250, definition=RECORDING, published=0, **options):
    """A recording whose process was killed: its store, its table and the folder of its movie."""
    backend = store()
    table = declare(schema, definition)
    recording = live(table, chunk_frames=50, **options)
    recording.append(A[:frames])
    while recording.status().frames_stored < published:
        time.sleep(0.01)
    crash(recording)
    return backend, table, f"{schema.database}/recording/recording_id=1/movie.zarr"


def cut_short(backend, path):
    whole = backend.get_buffer(path)
    backend.fs.pipe_file(backend._full_path(path), whole[: len(whole) // 2])


def test_a_chunk_cut_short_is_named_and_nothing_is_deleted(schema, store):
    backend, table, movie_path = broken_off(schema, store)
    cut_short(backend, f"{movie_path}/3.0.0")
    with pytest.raises(CorruptDataError, match=r"such as 3\.0\.0\) are not as they were written"):
        recover(table, action="finish", quiet_minutes=0)
    assert len(table()) == 0
    assert {f"{movie_path}/{number}.0.0" for number in range(5)} < set(files(backend))
    assert len(recover(table)) == 1


def test_removing_what_was_begun(schema, store):
    backend, table, _ = broken_off(schema, store)
    (begun,) = recover(table, action="remove", quiet_minutes=0)
    assert begun.done == "removed"
    assert files(backend) == []


def test_a_recording_without_a_whole_chunk_is_listed_and_stays(schema, store):
    _, table, _ = broken_off(schema, store, frames=10)
    for _ in range(2):
        (begun,) = recover(table, action="finish", quiet_minutes=0)
        assert (begun.frames, begun.done) == (0, "listed")
        assert "no chunk is whole" in begun.lost


@pytest.mark.parametrize("frames", [10, 230])
def test_a_spool_keeps_every_frame_of_a_recording_that_was_killed(schema, store, frames):
    backend, table, movie_path = broken_off(schema, store, frames=frames, durability="frame")
    assert [name for name in files(backend) if name.startswith(f"{movie_path}.spool/")]
    (begun,) = recover(table, action="finish", quiet_minutes=0)
    assert (begun.frames, begun.lost, begun.done) == (frames, "", "finished")
    check_rows(table, {1: A[:frames]}, chunk_frames=50)
    assert not [name for name in files(backend) if "photon-" in name or ".spool/" in name]


def test_removing_a_recording_removes_its_spool(schema, store, tmp_path):
    backend, table, _ = broken_off(schema, store, durability="frame", spool=tmp_path / "spool")
    assert list((tmp_path / "spool").iterdir())
    assert [begun.done for begun in recover(table, action="remove", quiet_minutes=0)] == ["removed"]
    assert files(backend) == [] and not (tmp_path / "spool").exists()


def test_a_spool_that_is_elsewhere_is_named(schema, store, tmp_path):
    _, table, _ = broken_off(schema, store, durability="frame", spool=tmp_path / "spool", published=50)
    (tmp_path / "spool").rename(tmp_path / "elsewhere")
    for action in ("finish", "remove"):
        with pytest.raises(StoreNotFoundError, match="discard_spool=True"):
            recover(table, action=action, quiet_minutes=0)
    (begun,) = recover(table, action="finish", quiet_minutes=0, discard_spool=True)
    assert begun.done == "finished" and table.fetch1("movie").shape == (begun.frames, 8, 12)


def test_a_recording_whose_process_still_runs_is_left_alone(schema, store):
    backend, table, movie_path = broken_off(schema, store)
    marker = json.loads(backend.get_buffer(f"{movie_path}/{MARKER}"))
    marker["pid"] = os.getppid()
    del marker["started"]
    backend.fs.pipe_file(backend._full_path(f"{movie_path}/{MARKER}"), json.dumps(marker).encode())
    for action in ("finish", "remove"):
        assert [begun.done for begun in recover(table, action=action, quiet_minutes=0)] == ["busy"]


def test_a_row_that_cannot_be_inserted_leaves_the_movie_and_says_how_to_go_on(schema, store, monkeypatch):
    store()
    table = declare(schema, RECORDING)
    with monkeypatch.context() as patch:
        patch.setattr(
            PendingRow, "insert", lambda row: (_ for _ in ()).throw(OSError("the server went away"))
        )
        with pytest.raises(OSError, match="went away") as caught, live(table) as recording:
            recording.append(A)
    (note,) = caught.value.__notes__
    assert "no row was inserted; 250 of 250 frames" in note and "photon_gpu.dj.recover" in note
    assert pg.open(recording.url).shape == A.shape
    assert [begun.done for begun in recover(table, action="finish", quiet_minutes=0)] == ["finished"]
    check_rows(table, {1: A})
    assert recover(table) == []


def test_a_row_that_was_inserted_before_the_crash_is_not_inserted_twice(schema, store):
    backend = store()
    table = declare(schema, RECORDING)
    with live(table) as recording:
        recording.append(A)
        pending = backend.get_buffer(f"{recording.path}/{PENDING_ROW}")
    backend.put_buffer(pending, f"{recording.path}/{PENDING_ROW}")
    assert [begun.done for begun in recover(table, action="finish", quiet_minutes=0)] == ["finished"]
    check_rows(table, {1: A})
    assert recover(table) == []


def test_every_value_of_a_row_is_recovered_as_it_was(schema, store):
    definition = """
        recording_id : int32
        ---
        started : datetime
        weight : decimal(5, 2)
        settings : json
        trace : <blob>
        planes : <blob>
        secret : bytes
        movie : <photon@imaging>
    """
    row = {
        **KEY,
        "started": datetime.datetime(2024, 1, 15, 10, 0, 5),
        "weight": decimal.Decimal("21.50"),
        "settings": {"laser": [1, 2.5, None]},
        "trace": np.arange(2000, dtype="float32").reshape(4, 500),
        "planes": {
            2: (1.0, float("nan")),
            "animal": uuid.UUID(int=7),
            "at": datetime.date(2024, 1, 15),
            "raw": b"\x00\xff",
        },
        "secret": b"\x00\x01\xff",
    }
    _, table, _ = broken_off(schema, store, definition=definition, key=row)
    (begun,) = recover(table)
    assert begun.row.keys() == row.keys()
    recover(table, action="finish", quiet_minutes=0)
    stored = table.fetch1()
    assert stored.pop("movie").shape == (250, 8, 12)
    trace = row.pop("trace")
    np.testing.assert_array_equal(stored.pop("trace"), trace, strict=True)
    assert repr(stored.pop("planes")) == repr(row.pop("planes"))
    assert {**stored, "secret": bytes(stored["secret"])} == row


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {"camera": object()},
        datetime.datetime(2024, 1, 15, tzinfo=datetime.UTC),  # a blob would drop the time zone
        bytearray(b"a"),
    ],
)
def test_a_value_that_would_come_back_changed_is_refused_before_anything_is_begun(schema, store, value):
    backend = store()
    table = declare(schema, RECORDING)
    with pytest.raises(InvalidInputError, match="cannot be kept as JSON until it is inserted: note is a"):
        live(table, {**KEY, "note": value})
    assert files(backend) == []


@pytest.mark.parametrize(
    "option", [{"attributes": {"codec_name": "x"}}, {"durability": "film"}, {"queue_bytes": 1}]
)
def test_an_option_of_the_live_writer_is_checked_before_anything_is_begun(schema, store, option):
    backend = store()
    table = declare(schema, RECORDING)
    with pytest.raises(InvalidInputError):
        live(table, **option)
    assert files(backend) == []


def test_predictor_and_compressor_as_objects(schema, store):
    store()
    table = declare(schema, RECORDING.replace("photon", "photon_compact"))
    predictor, compressor = pg.Predictor(name="past"), pg.Compressor(cname="lz4", clevel=5)
    with live(table, predictor=predictor, compressor=compressor) as recording:
        recording.append(A)
    encoding = table.fetch1("movie").encoding
    assert (encoding.predictor.name, encoding.compressor) == ("past", compressor)


def test_times_metadata_and_attributes_as_of_the_live_writer(schema, store):
    store()
    table = declare(schema, RECORDING)
    with live(table, attributes={"lens": "16x"}) as recording:
        for number, frame in enumerate(A[:120]):
            recording.append(frame, timestamp=number / 30, metadata={"plane": number % 3})
        assert recording.status().frames_in == 120
    movie = table.fetch1("movie")
    assert (movie.attrs["lens"], movie.timestamps[119], movie.frame_metadata(7)) == (
        "16x",
        119 / 30,
        {"plane": 1},
    )


def test_an_append_does_not_wait_for_a_store_that_is_away(schema, store, monkeypatch):
    store()
    table = declare(schema, RECORDING)
    recording = live(table, chunk_frames=50)
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "write", lambda *_, **__: (_ for _ in ()).throw(OSError("away")))
        for start in range(0, 200, 50):
            recording.append(A[start : start + 50])
        assert (recording.frames, recording.frames_stored) == (200, 0)
        assert "away" in recording.status().trouble
    recording.append(A[200:])
    recording.close()
    assert recording.frames_stored == 250
    check_rows(table, {1: A}, chunk_frames=50)


RECORDED_BY_0_1_0 = Path(__file__).parent / "recorded_by_0.1.0"


def recorded_by_0_1_0(schema, store, name):
    """A recording that photon_gpu 0.1.0 left without a row."""
    backend = store()
    definition = "recording_id : int32\n---\nat : datetime(6)\nmovie : <photon@imaging>"
    table = declare(schema, definition.replace("photon", "photon_compact" if "compact" in name else "photon"))
    movie_path = f"{schema.database}/recording/recording_id=1/movie.zarr"
    for path in (RECORDED_BY_0_1_0 / name).iterdir():
        backend.put_buffer(
            path.read_bytes().replace(b"lab0/", f"{schema.database}/".encode()), f"{movie_path}/{path.name}"
        )
    return backend, table, movie_path


@pytest.mark.parametrize("name", ["begun_plain", "begun_compact", "whole_plain"])
def test_a_recording_of_release_0_1_0_is_finished(schema, store, name):
    backend, table, movie_path = recorded_by_0_1_0(schema, store, name)
    (begun,) = recover(table)
    assert (begun.frames, begun.lost, begun.done) == (250, "", "listed")
    (begun,) = recover(table, action="finish", quiet_minutes=0)
    assert begun.done == "finished"
    row = table.fetch1()
    assert row["at"] == datetime.datetime(2024, 1, 15, 10, 0, 0, 5)
    np.testing.assert_allclose(row["movie"][...], pg.anscombe(A), atol=0.25 + 1e-9)
    assert pg.verify(f"{schema.connection._config.stores['imaging']['location']}/{movie_path}").ok
    assert recover(table) == []
    assert not any("photon-" in name for name in files(backend))


def test_a_chunk_of_release_0_1_0_cut_short_is_named_and_what_is_before_it_saved(schema, store):
    backend, table, movie_path = recorded_by_0_1_0(schema, store, "begun_plain")
    cut_short(backend, f"{movie_path}/3.0.0")
    (begun,) = recover(table, action="finish", quiet_minutes=0)
    assert begun.frames == 150
    assert begun.lost.startswith("3.0.0 is not whole")
    np.testing.assert_allclose(table.fetch1("movie")[...], pg.anscombe(A[:150]), atol=0.25 + 1e-9)
    assert not [name for name in files(backend) if name.endswith(("3.0.0", "4.0.0"))]


def test_a_recording_of_release_0_1_0_is_removed(schema, store):
    backend, table, _ = recorded_by_0_1_0(schema, store, "begun_compact")
    assert [begun.done for begun in recover(table, action="remove", quiet_minutes=0)] == ["removed"]
    assert files(backend) == []


def test_recover_says_what_it_can_do(schema, store):
    store()
    table = declare(schema, RECORDING)
    with pytest.raises(InvalidInputError, match="allowed: 'list', 'finish', 'remove'"):
        recover(table, action="repair")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert recover(table) == []


def test_a_failing_recording_has_its_verdict_and_no_row_where_that_is_an_error(schema, store):
    store()
    table = declare(schema, RECORDING)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pg.FidelityWarning)
        with (
            pytest.raises(pg.FidelityWarning, match="fails its own check: snr"),
            live(table, step=4.0) as recording,
        ):
            recording.append(A)
    assert len(table()) == 0
    (begun,) = recover(table, action="finish", quiet_minutes=0)
    assert begun.done == "finished" and "snr" in table.fetch1("movie").failed_check
    with (
        pytest.warns(pg.FidelityWarning, match="snr"),
        live(table, {"recording_id": 2}, step=4.0) as recording,
    ):
        recording.append(A)
    assert len(table()) == 2
    with live(table, {"recording_id": 3}) as recording:
        recording.append(A)
    assert (table & {"recording_id": 3}).fetch1("movie").failed_check == {}
