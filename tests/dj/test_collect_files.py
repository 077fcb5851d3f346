"""A collection deletes the files a manifest lists and what a killed writer left, and names the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from photon_gpu.dj import collect, record, recover
from photon_gpu.dj.marks_in_store import MARK
from photon_gpu.engine.codec import blosc
from tests.support.dj.movies import RECORDING, poisson
from tests.support.dj.tables import declare

STRAYS = ["notes.txt", "7.0.0", "1.2.840.113", "12", "suite2p/ops.npy", "0.0.0.bak", ".nfs0001"]


@pytest.fixture
def orphan(schema, store):
    """The folder of a movie that no row refers to, and how to collect it."""
    store()
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": poisson(1)})
    table.delete()
    backend = table.connection._config.stores["imaging"]["location"]
    folder = Path(backend) / schema.database / "recording/recording_id=1/movie.zarr"
    return folder, lambda **more: collect(schema.database, **{"dry_run": False, "grace_hours": 0, **more})


def write_files(folder, names, content=b"somebody's"):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(content)


def left(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def frame():
    return blosc.compress(np.arange(1000.0), blosc.Compressor.parse("zstd-1-shuffle"))


@pytest.mark.parametrize("stray", STRAYS)
def test_a_file_that_no_manifest_lists_stays_and_is_named(orphan, stray):
    folder, run = orphan
    write_files(folder, [stray])
    own = sum(path.stat().st_size for path in folder.iterdir() if path.is_file() and path.name != stray)
    for dry_run, status in ((True, "orphan"), (False, "deleted")):
        result = run(dry_run=dry_run)
        (movie,) = result.unreferenced
        assert (movie.status, movie.why) == (status, f"not the movie's own, stays: {stray}")
        assert movie.bytes == own
        assert movie.why in result.text()
    assert left(folder) == [stray]
    (rest,) = run().unreferenced
    assert (rest.status, rest.why) == ("kept", "not written by photon_gpu")
    assert left(folder) == [stray]


def test_many_strays_are_counted(orphan):
    folder, run = orphan
    write_files(folder, STRAYS)
    (movie,) = run().unreferenced
    assert movie.why.endswith(f"and {len(STRAYS) - 3} more")
    assert left(folder) == sorted(STRAYS)


def test_a_chunk_that_a_finished_movie_does_not_list_stays(orphan):
    """Even one that looks like photon_gpu's: it may be of another movie."""
    folder, run = orphan
    write_files(folder, ["9.0.0"], frame())
    assert run().count("deleted") == 1
    assert left(folder) == ["9.0.0"]


@pytest.mark.parametrize("damage", [None, b"", b"{}", b'{"manifest_version": 1'])
def test_a_movie_whose_manifest_is_gone_or_damaged_stays(orphan, damage):
    folder, run = orphan
    before = left(folder)
    (folder / ".manifest.json").unlink()
    if damage is not None:
        (folder / ".manifest.json").write_bytes(damage)
    (movie,) = run().unreferenced
    assert (movie.status, "manifest" in movie.why) == ("kept", True)
    assert left(folder) == [name for name in before if damage is not None or name != ".manifest.json"]


@pytest.mark.parametrize("content", [b"", b"DICM" * 40, frame()[:-1], frame() + b"x"])
def test_of_a_killed_insert_only_what_is_whole_and_a_chunk_goes(orphan, content):
    folder, run = orphan
    for path in folder.iterdir():
        path.unlink()
    write_files(folder, [".photon-writing"], b'{"token": "0"}')
    write_files(folder, ["0.0.0", "1.0.0", "1.2.840.113"], frame())
    write_files(folder, ["2.0.0"], content)
    (movie,) = run().unreferenced
    assert (movie.status, movie.why) == ("deleted", "not the movie's own, stays: 1.2.840.113, 2.0.0")
    assert left(folder) == ["1.2.840.113", "2.0.0"]


def test_records_of_frames_go_with_a_killed_insert(orphan):
    folder, run = orphan
    for path in folder.iterdir():
        path.unlink()
    write_files(folder, [".photon-writing", ".frames/0.json"], b'{"token": "0"}')
    write_files(folder, ["0.0.0"], frame())
    assert run().count("deleted") == 1
    assert not folder.exists()


def test_marks_of_databases_are_no_movies(orphan):
    folder, run = orphan
    run()
    assert run().unreferenced == ()
    assert [path for path in folder.parents[3].iterdir() if path.name.startswith(MARK)]


def begun(schema, store):
    """A recording that was killed, with a file of somebody else in its folder."""
    backend = store()
    table = declare(schema, RECORDING)
    frames = poisson(1)
    with pytest.raises(RuntimeError, match="killed"):  # noqa: SIM117
        with record(
            table, {"recording_id": 1}, "movie", frame_shape=frames.shape[1:], dtype=frames.dtype
        ) as live:
            live.append(frames)
            raise RuntimeError("killed")
    folder = Path(backend._full_path(live.path))
    write_files(folder, ["notes.txt", "1.2.840.113"])
    return table, folder


def test_a_recording_that_is_removed_leaves_other_files(schema, store):
    table, folder = begun(schema, store)
    (removed,) = recover(table, action="remove", quiet_minutes=0)
    assert (removed.done, removed.lost) == (
        "removed",
        "'1.2.840.113', 'notes.txt' is not part of it and was kept",
    )
    assert left(folder) == ["1.2.840.113", "notes.txt"]


def test_a_recording_that_is_finished_leaves_other_files(schema, store):
    table, folder = begun(schema, store)
    (finished,) = recover(table, action="finish", quiet_minutes=0)
    assert (finished.done, finished.frames) == ("finished", 250)
    assert {"1.2.840.113", "notes.txt"} < set(left(folder))
    assert (table & "recording_id = 1").fetch1("movie").counts[:].shape[0] == 250
