"""Every byte flipped, every file cut short at every length: frames are exact, or named as lost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import CorruptDataError, PhotonError
from photon_gpu.live.spool import acknowledged_count
from photon_gpu.live.spool.journal import scan, segments
from photon_gpu.live.spool.spool import Spool, pending
from tests.support.faults.faulty_object_store import FaultyFileSystem
from tests.support.faults.interrupted_recordings import CHUNK, SHAPE, frames, settings
from tests.support.hostile_input_counts import counted

APPENDED = 6  # one whole chunk, and half of one


@pytest.fixture(params=["compact", "plain", "lossless"])
def store(request, memory_disk):
    with pg.LiveWriter(memory_disk / "m.zarr", **settings(layout=request.param)) as live:
        live.append(
            frames(0, APPENDED), timestamp=list(range(APPENDED)), metadata=[{"z": n} for n in range(APPENDED)]
        )
    return memory_disk / "m.zarr"


def _files(folder):
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


def _positions(store, path, length):
    """All of them; of metadata, which differ little between layouts, every third where it is not compact."""
    metadata = path.name.startswith(".") or path.suffix == ".json"
    return range(0, length, 3 if metadata and pg.open(store).layout != "compact" else 1)


def _check(store, what):
    """Either all is well, or verify names it and nothing wrong is ever returned."""
    with counted("flips and cuts of a movie"):
        _check_named(store, what)


def _check_named(store, what):
    checked = pg.verify(store)
    assert not checked.ok, f"{what} was not found"
    lost = {t for first, last in checked.lost for t in range(first, last + 1)}
    try:
        movie = pg.open(store, workers=1)
    except PhotonError:
        assert lost == set(range(APPENDED)), what
        return
    for first in range(0, APPENDED, CHUNK):  # what is wrong with one frame is wrong with its chunk
        end = min(first + CHUNK, APPENDED)
        try:
            result = movie.counts[first:end]
        except (PhotonError, IndexError):
            result = ()
        for t in range(first, end):
            if t - first < len(result):
                assert np.array_equal(result[t - first], frames(t, t + 1)[0]), what
            else:
                assert t in lost, what


def test_every_byte_of_a_recording_flipped_is_found(store):
    assert pg.verify(store).ok and len(_files(store)) == 7
    for path in _files(store):
        content = path.read_bytes()
        for position in _positions(store, path, len(content)):
            altered = bytearray(content)
            altered[position] ^= 1 << (position % 8)
            path.write_bytes(altered)
            if path.name == ".manifest.json":
                assert not pg.verify(store).ok
            else:
                _check(store, f"{path.name} byte {position}")
        path.write_bytes(content)
    assert pg.verify(store).ok


def test_every_prefix_of_every_file_of_a_recording_is_found(store):
    for path in _files(store):
        content = path.read_bytes()
        for length in _positions(store, path, len(content)):
            path.write_bytes(content[:length])
            if path.name == ".manifest.json":
                assert not pg.verify(store).ok
            else:
                _check(store, f"{path.name} cut to {length} bytes")
        path.unlink()
        assert not pg.verify(store).ok
        path.write_bytes(content)


def test_altered_times_are_an_error(store):
    path = store / ".frames/0.json"
    path.write_bytes(path.read_bytes().replace(b"[0,1,2,3]", b"[0,1,2,4]"))
    with pytest.raises(CorruptDataError, match=r"0\.json was altered"):
        _ = pg.open(store).timestamps


def _journal(memory_disk):
    """A spool as a kill leaves it: 3 records in the chunk's journal, nothing in the store."""
    live = pg.LiveWriter(
        memory_disk / "m.zarr", spool=memory_disk / "spool", **settings(durability="frame", chunk_frames=8)
    )
    for first, last in ((0, 1), (1, 4), (4, 6)):
        live.append(
            frames(first, last),
            timestamp=list(range(first, last)),
            metadata=[{"t": t} for t in range(first, last)],
        )
    live._journaling.stop()
    live._pipeline.stop()
    live._spool.release()
    return Path(live.spool)


def _scanned(folder, token):
    whole, damaged = scan(folder, token, 0, int(np.prod(SHAPE)) * 2)
    out = {}
    for record in whole:
        values = np.empty((record.frames, *SHAPE), "uint16")
        record.read(values)
        out |= {record.first + n: (values[n], record.records[n]) for n in range(record.frames)}
    return out, {t for a, b in damaged for t in range(a, b)}


def test_every_byte_of_the_journal_flipped_loses_nothing_unnamed(memory_disk):
    folder = _journal(memory_disk)
    spool = Spool.open(folder)
    (path,) = segments(folder, 0)
    content = path.read_bytes()
    used = content.rstrip(b"\0")
    result, named = _scanned(folder, spool.token)
    assert sorted(result) == list(range(6)) and not named
    for position in range(len(used)):
        altered = bytearray(content)
        altered[position] ^= 1 << (position % 8)
        path.write_bytes(altered)
        result, named = _scanned(folder, spool.token)
        for t, (values, record) in result.items():
            assert np.array_equal(values, frames(t, t + 1)[0]) and record == (t, f'{{"t":{t}}}'), position
        assert set(result) | named == set(range(6)), (position, sorted(result), named)


def test_the_journal_cut_at_every_length_keeps_the_records_before(memory_disk):
    folder = _journal(memory_disk)
    spool = Spool.open(folder)
    (path,) = segments(folder, 0)
    content = path.read_bytes().rstrip(b"\0")
    counts = set()
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        result, named = _scanned(folder, spool.token)
        assert sorted(result) == list(range(len(result)))
        assert not named & set(result)
        counts.add(len(result))
    assert counts == {0, 1, 4, 6}


def test_recovery_names_damaged_frames_and_salvages_the_others(memory_disk):
    folder = _journal(memory_disk)
    (path,) = segments(folder, 0)
    content = path.read_bytes()
    where = content.find(frames(2, 3).tobytes())
    path.write_bytes(content[:where] + b"\xff" + content[where + 1 :])
    before = {p: p.read_bytes() for p in _files(memory_disk)}
    with pytest.raises(CorruptDataError, match="frames 1 to 3 had been acknowledged"):
        pg.recover(folder)
    assert {p: p.read_bytes() for p in _files(memory_disk)} == before
    report = pg.recover(memory_disk / "spool", salvage=True)
    assert report.frames == 6 and report.lost == [(1, 4)] and "LOST: frames 1 to 3" in str(report)
    movie = pg.open(memory_disk / "m.zarr")
    assert movie.attrs["lost_frames"] == [[1, 4]]
    checked = pg.verify(memory_disk / "m.zarr")
    assert not checked.ok and checked.lost == ((1, 3),) and "lost: 3 of 6 frames: 1 to 3" in str(checked)
    fixed = pg.repair(memory_disk / "m.zarr")
    assert not fixed.ok and not fixed.restored and "encode the source again" in str(fixed)
    for t in (0, 4, 5):
        assert np.array_equal(movie.counts[t], frames(t, t + 1)[0])
    assert not movie.counts[1:4].any() and movie.frame_metadata(5) == {"t": 5}
    assert not pending(memory_disk / "spool")


def test_a_damaged_last_record_is_doubtful_not_silent(memory_disk):
    folder = _journal(memory_disk)
    (path,) = segments(folder, 0)
    content = path.read_bytes()
    where = content.find(frames(5, 6).tobytes())
    path.write_bytes(content[:where] + b"\xff" + content[where + 1 :])
    with pytest.raises(CorruptDataError, match="frames 4 to 5 had been acknowledged"):
        pg.recover(folder)
    (folder / acknowledged_count.NAME).unlink()
    report = pg.recover(folder)
    assert report.frames == 4 and report.doubtful == [(4, 6)] and "being written" in str(report)
    assert "the count of acknowledged frames cannot be read" in str(report)


def _gone(folder, chunks=1):
    for path in [p for n in range(chunks) for p in segments(folder, n)]:
        path.unlink()


def _last_record(folder):
    (path,) = segments(folder, 0)
    content = path.read_bytes()
    size = len(frames(4, 6).tobytes())
    start = content.find(frames(4, 6).tobytes())
    path.write_bytes(content[: start - 100] + bytes(size + 200) + content[start + size + 100 :])


@pytest.mark.parametrize("damage", [_gone, _last_record])
def test_a_lost_end_of_a_journal_is_named(memory_disk, damage):
    """Plant the bug: without the count of acknowledged frames the movie would just be shorter."""
    folder = _journal(memory_disk)
    damage(folder)
    first = 0 if damage is _gone else 4
    with pytest.raises(CorruptDataError, match=f"frames {first} to 5 had been acknowledged"):
        pg.recover(folder)
    report = pg.recover(folder, salvage=True)
    assert report.frames == 6 and report.lost == [(first, 6)]
    checked = pg.verify(memory_disk / "m.zarr")
    assert checked.lost == ((first, 5),) and not checked.ok
    assert not pg.open(memory_disk / "m.zarr").counts[first:].any()


def _dead(memory_disk, count, durability="frame", **changes):
    """A recording of which nothing was published, as a kill leaves it."""
    fs = FaultyFileSystem(memory_disk / "store")
    live = pg.LiveWriter(
        fs.storage(),
        spool=memory_disk / "spool",
        **settings(durability=durability, close_seconds=0.1, **changes),
    )
    fs.away = "503"
    for number in range(count):
        live.append(frames(number, number + 1), timestamp=number)
    with pytest.raises(PhotonError):
        live.close()
    fs.away = None
    return fs.storage(), Path(live.spool)


@pytest.mark.parametrize("kept", [False, True])
def test_one_zeroed_run_names_every_frame_in_it(memory_disk, kept):
    """From the middle of a chunk's second frame to its end; the next chunk is whole."""
    folder = memory_disk / "spool"
    live = pg.LiveWriter(memory_disk / "m.zarr", spool=folder, **settings(durability="frame"))
    live._pipeline.stop()  # nothing is encoded: only the journal has the frames
    for number in range(2 * CHUNK + 1):
        live.append(frames(number, number + 1), timestamp=number)
    live._journaling.stop()
    live._spool.release()
    folder = Path(live.spool)
    (path,) = segments(folder, 1)
    content = path.read_bytes()
    start = content.find(frames(CHUNK + 1, CHUNK + 2).tobytes()) + 10
    end = content.find(frames(2 * CHUNK - 1, 2 * CHUNK).tobytes()) + frames(0, 1).nbytes + 56
    path.write_bytes(content[:start] + bytes(end - start) + content[end:])
    if not kept:
        (folder / acknowledged_count.NAME).unlink()
    with pytest.raises(CorruptDataError, match="frames 5 to 7 had been acknowledged"):
        pg.recover(folder)
    report = pg.recover(folder, salvage=True)
    assert report.lost == [(5, 8)] and report.frames == 9
    result = pg.open(memory_disk / "m.zarr").counts[...]
    assert [t for t in range(9) if not result[t].any()] == [5, 6, 7]
    assert pg.verify(memory_disk / "m.zarr").lost == ((5, 7),)


def test_the_last_kept_chunk_gone_is_named(memory_disk):
    storage, folder = _dead(memory_disk, 3 * CHUNK, durability="chunk")
    kept = sorted(folder.glob("chunk-*"))
    assert len(kept) == 3
    kept[-1].unlink()
    with pytest.raises(CorruptDataError, match="frames 8 to 11 had been acknowledged"):
        pg.recover(folder, url=storage)
    report = pg.recover(folder, url=storage, salvage=True)
    assert report.frames == 12 and report.lost == [(8, 12)]
    assert pg.verify(storage).lost == ((8, 11),)


def test_verify_names_lost_frames_behind_the_end_of_the_movie(store):
    """As a recovery of an earlier release left it, that did not know how many frames there had been."""
    attributes = json.loads((store / ".zattrs").read_bytes())
    from photon_gpu.store import manifest

    text = json.dumps({**attributes, "lost_frames": [[APPENDED, APPENDED + CHUNK]]}).encode()
    (store / ".zattrs").write_bytes(text)
    listed = manifest.unpack((store / ".manifest.json").read_bytes(), "")
    copies = {name: (store / name).read_bytes() for name in (".zattrs", ".zarray")}
    (store / ".manifest.json").write_bytes(manifest.pack(listed, copies))
    checked = pg.verify(store)
    assert not checked.ok and checked.lost == ((APPENDED, APPENDED + CHUNK - 1),)
    assert "whole" not in str(checked) and "the movie ends after 6 frames" in str(checked)


@pytest.mark.parametrize(
    "name", ["recording.json", "encoding.json", "recording.json.copy", "encoding.json.copy"]
)
def test_one_file_of_facts_gone_changes_nothing(memory_disk, name):
    storage, folder = _dead(memory_disk, 3 * CHUNK, durability="chunk")
    (folder / name).unlink()
    assert pending(memory_disk / "spool") == [folder]
    assert pg.recover(memory_disk / "spool", url=storage).frames == 3 * CHUNK
    assert np.array_equal(pg.open(storage).counts[...], frames(0, 3 * CHUNK))
    assert not pending(memory_disk / "spool") and not folder.exists()


STRANGE = [
    "chunk-0000000001.bak",
    "chunk-0000000001~",
    "journal-0000000001-0.bak",
    "stored-backupcopy",
    "chunk-9999999999",
    "journal-9999999999-0",
    "stored-9999999999",
    "journal-x-0",
    "notes.txt",
    "spare-me",
    "chunk-0000000003",
]


@pytest.mark.parametrize("content", ["empty", "copy", "folder", "pipe"])
@pytest.mark.parametrize("name", STRANGE)
def test_strange_files_in_a_spool_are_left_alone(memory_disk, name, content):
    storage, folder = _dead(memory_disk, 3 * CHUNK)
    strange = folder / name
    if content == "folder":
        strange.mkdir()
    elif content == "pipe":
        os.mkfifo(strange)
    else:
        whole = next(
            p for p in sorted(folder.glob("journal-*1-0")) + sorted(folder.glob("chunk-*1")) if p.is_file()
        )
        strange.write_bytes(whole.read_bytes() if content == "copy" else b"")
    report = pg.recover(folder, url=storage)
    assert report.frames == 3 * CHUNK and not report.lost
    assert np.array_equal(pg.open(storage).counts[...], frames(0, 3 * CHUNK))
    own = name[0] in "cjs" and name[-1].isdigit() and "x" not in name and content in ("empty", "copy")
    assert strange.exists() != own and pending(memory_disk / "spool") == []
    assert any(name in note for note in report.notes) != own


def test_a_damaged_kept_chunk_falls_back_on_the_journal_or_is_named(memory_disk):
    fs = FaultyFileSystem(memory_disk / "store")
    live = pg.LiveWriter(fs.storage(), spool=memory_disk / "spool", **settings(close_seconds=0.1))
    fs.away = "503"
    live.append(frames(0, 3 * CHUNK), timestamp=list(range(3 * CHUNK)))
    with pytest.raises(PhotonError):
        live.close()
    fs.away = None
    (kept,) = Path(live.spool).glob("chunk-*1")
    content = kept.read_bytes()
    for position in range(0, len(content), 7):
        kept.write_bytes(content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :])
        with pytest.raises(CorruptDataError, match="frames 4 to 7 had been acknowledged"):
            pg.recover(live.spool, url=fs.storage())
    kept.write_bytes(content)
    assert pg.recover(live.spool, url=fs.storage()).frames == 3 * CHUNK
    shutil.rmtree(memory_disk / "store")


@pytest.mark.parametrize("name", ["recording.json", "encoding.json"])
def test_what_a_spool_says_of_its_recording_outlives_any_damage_to_one_file(memory_disk, name):
    """One of the two files is altered in every way; what recovery reads stays the same."""
    folder = _kept_spool(memory_disk)
    expected = _facts(folder)
    for path in (folder / name, folder / f"{name}.copy"):
        content = path.read_bytes()
        for position in range(0, len(content), 5):
            path.write_bytes(content[:position] + bytes([content[position] ^ 2]) + content[position + 1 :])
            assert _facts(folder) == expected
            path.write_bytes(content[:position])
            assert _facts(folder) == expected
        path.write_bytes(content)


def test_a_spool_whose_facts_are_altered_twice_is_named_and_nothing_is_stored(memory_disk):
    folder = _kept_spool(memory_disk)
    for name in ("recording.json", "encoding.json"):
        keep = {path: path.read_bytes() for path in folder.glob(f"{name}*")}
        for path, content in keep.items():
            path.write_bytes(content.replace(b"1.0", b"3.0"))  # another gain: frames would decode to others
        assert len(keep) == 2 and keep != {path: path.read_bytes() for path in keep}
        with pytest.raises(CorruptDataError, match=f"{name} was altered, and so was its copy"):
            pg.recover(folder, url=FaultyFileSystem(memory_disk / "store").storage())
        assert not (memory_disk / "store/m.zarr/.zarray").exists()
        for path, content in keep.items():
            path.write_bytes(content)


def _kept_spool(memory_disk):
    """A spool with encoded chunks, of a store that took nothing."""
    fs = FaultyFileSystem(memory_disk / "store")
    live = pg.LiveWriter(fs.storage(), spool=memory_disk / "spool", **settings(close_seconds=0.1))
    fs.away = "503"
    live.append(frames(0, 3 * CHUNK))
    with pytest.raises(PhotonError):
        live.close()
    return Path(live.spool)


def _facts(folder):
    spool = Spool.open(folder)
    try:
        return spool.facts, str(spool.encoding())
    finally:
        spool.release()


def test_metadata_written_again_shorter_are_found(store):
    """Another program, or a writer that lags behind, says that the movie is shorter than it is."""
    array = json.loads((store / ".zarray").read_bytes())
    array["shape"][0] = CHUNK
    (store / ".zarray").write_text(json.dumps(array))
    assert len(pg.open(store)) == CHUNK  # as any Zarr reader has it
    checked = pg.verify(store)
    assert not checked.ok and any(problem.name == ".zarray" for problem in checked.problems)
    assert pg.repair(store).ok and len(pg.open(store)) == APPENDED
