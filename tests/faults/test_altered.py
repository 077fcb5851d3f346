"""Every byte flipped, every file cut short at every length: frames are exact, or named as lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import CorruptDataError, PhotonError
from photon_gpu.live.journal import scan, segments
from photon_gpu.live.spool import Spool, pending
from tests.faults.filesystem import FaultyFileSystem
from tests.faults.recordings import CHUNK, SHAPE, frames, settings

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
            found = movie.counts[first:end]
        except (PhotonError, IndexError):
            found = ()
        for t in range(first, end):
            if t - first < len(found):
                assert np.array_equal(found[t - first], frames(t, t + 1)[0]), what
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


def _found(folder, token):
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
    found, named = _found(folder, spool.token)
    assert sorted(found) == list(range(6)) and not named
    for position in range(len(used)):
        altered = bytearray(content)
        altered[position] ^= 1 << (position % 8)
        path.write_bytes(altered)
        found, named = _found(folder, spool.token)
        for t, (values, record) in found.items():
            assert np.array_equal(values, frames(t, t + 1)[0]) and record == (t, f'{{"t":{t}}}'), position
        assert set(found) | named == set(range(6)), (position, sorted(found), named)


def test_the_journal_cut_at_every_length_keeps_the_records_before(memory_disk):
    folder = _journal(memory_disk)
    spool = Spool.open(folder)
    (path,) = segments(folder, 0)
    content = path.read_bytes().rstrip(b"\0")
    counts = set()
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        found, named = _found(folder, spool.token)
        assert sorted(found) == list(range(len(found)))
        assert not named & set(found)
        counts.add(len(found))
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
    report = pg.recover(folder)
    assert report.frames == 4 and report.doubtful == [(4, 6)] and "being written" in str(report)


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
    expected = _said(folder)
    for path in (folder / name, folder / f"{name}.copy"):
        content = path.read_bytes()
        for position in range(0, len(content), 5):
            path.write_bytes(content[:position] + bytes([content[position] ^ 2]) + content[position + 1 :])
            assert _said(folder) == expected
            path.write_bytes(content[:position])
            assert _said(folder) == expected
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


def _said(folder):
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
