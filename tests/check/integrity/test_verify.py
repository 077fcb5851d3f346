"""Every damaged byte, missing file and stranger in a store is found, and the lost frames are named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.check.integrity.result import merge
from photon_gpu.errors import InvalidInputError, StoreNotFoundError
from photon_gpu.store import manifest
from tests.support.stores.stored_movies import LAYOUTS, NOISE, movie, without_manifest


@pytest.fixture(params=LAYOUTS)
def store(request, tmp_path):
    """A small store of three chunks, the last one partial."""
    folder = tmp_path / "movie.zarr"
    pg.encode(movie(), folder, noise=NOISE, layout=request.param, chunk_frames=4)
    return folder


def kinds(verification):
    return [(problem.kind, problem.name) for problem in verification.problems]


def test_a_whole_store_is_ok(store):
    verification = pg.verify(store)
    assert (
        verification.ok and verification.lost == () and verification.chunks == 3 and verification.files == 6
    )
    assert verification.nbytes == sum(file.stat().st_size for file in store.iterdir())
    assert verification.by == "manifest"
    assert pg.verify(store, deep=True).by == "manifest and decoding"
    assert "whole" in str(verification) and json.loads(json.dumps(verification.to_dict()))["ok"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_single_byte_flipped_is_found(layout):
    """Exhaustive: each byte of each file; a single bit of it, or all eight."""
    pg.encode(
        movie(5, 4, 5), "memory://flip.zarr", noise=NOISE, layout=layout, chunk_frames=3, overwrite=True
    )
    store = pg.Storage.at("memory://flip.zarr")
    flipped = 0
    for name in store.names():
        whole = store.read(name)
        for at in range(len(whole)):
            data = bytearray(whole)
            data[at] ^= 0xFF if at % 9 == 8 else 1 << (at % 9)
            store.write(name, bytes(data))
            verification = pg.verify(store, workers=1)
            assert not verification.ok, f"byte {at} of {name} changed and not noticed"
            # Blame falls on the file that was damaged, and on that one alone.
            assert {problem.name for problem in verification.problems} == {name}, (
                name,
                at,
                kinds(verification),
            )
            if name[0].isdigit():
                assert verification.lost == (((0, 2),) if name[0] == "0" else ((3, 4),))
            elif name == ".manifest.json":
                assert verification.lost == ()
            flipped += 1
        store.write(name, whole)
    assert flipped == pg.open(store).stored_bytes and pg.verify(store).ok


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_a_manifest_a_flipped_byte_is_found_or_decodes_the_same(tmp_path, layout):
    folder = tmp_path / "movie.zarr"
    pg.encode(movie(5, 4, 5), folder, noise=NOISE, layout=layout, chunk_frames=3)
    without_manifest(folder)
    assert pg.verify(folder).ok
    decoded = pg.open(folder).counts[...]
    actual = same = 0
    for file in sorted(folder.glob("*.0.0")):
        whole = file.read_bytes()
        for at in range(len(whole)):
            data = bytearray(whole)
            data[at] ^= 1 << (at % 8)
            file.write_bytes(data)
            result = pg.verify(folder, workers=1)
            if result.ok:
                assert np.array_equal(pg.open(folder).counts[...], decoded), f"byte {at} of {file.name}"
                same += 1
            else:
                assert kinds(result) == [("altered", file.name)]
                actual += 1
        file.write_bytes(whole)
    # Of a compact chunk only bytes of Blosc's header that nobody reads; a seal covers these, too.
    assert actual > 20 * same if layout == "compact" else not same


@pytest.mark.parametrize(
    "name", ["compact-2.1-sorted-full", "compact-2.1-sorted-spatial", "compact-2.1-wide-packed"]
)
@pytest.mark.parametrize("manifest", [True, False])
def test_a_flipped_byte_of_packed_and_sorted_residuals_is_found(tmp_path, name, manifest):
    folder = tmp_path / "movie.zarr"
    shutil.copytree(Path(__file__).parents[2] / "golden" / name / "store", folder)
    if not manifest:
        without_manifest(folder)
    decoded = pg.open(folder).counts[...]
    unread = 0
    for file in sorted(folder.glob("*.0.0")):
        whole = file.read_bytes()
        for at in [*range(160), *range(160, len(whole), 7)]:
            data = bytearray(whole)
            data[at] ^= 1 << (at % 8)
            file.write_bytes(data)
            result = pg.verify(folder, workers=1)
            if result.ok and not manifest:  # bytes of Blosc's frame that nobody reads
                assert np.array_equal(pg.open(folder).counts[...], decoded), f"byte {at} of {file.name}"
                unread += 1
            else:
                assert kinds(result) == [("altered", file.name)], at
        file.write_bytes(whole)
    assert unread < 30


def test_without_a_manifest_what_chunks_say_of_themselves_is_checked(tmp_path):
    folder = tmp_path / "movie.zarr"
    pg.encode(movie(), folder, noise=NOISE, layout="compact", chunk_frames=4)
    without_manifest(folder)
    assert pg.verify(folder).ok and not [note for note in pg.verify(folder).notes if "not found" in note]
    (folder / "0.0.0").rename(folder / "x")
    (folder / "1.0.0").rename(folder / "0.0.0")
    (folder / "x").rename(folder / "1.0.0")
    verification = pg.verify(folder)
    assert kinds(verification) == [("mismatched", "0.0.0"), ("mismatched", "1.0.0")]
    assert verification.lost == ((0, 7),)
    assert "chunk 0 was written as number 1: its file is in the wrong place" in str(verification)
    assert "does not decode" not in str(verification)


def test_without_a_manifest_places_of_older_chunks_are_not_known():
    store = Path(__file__).parents[2] / "golden" / "compact-2.1-mean" / "store"
    copy = pg.Storage.at("memory://older.zarr")
    for file in store.iterdir():
        if file.name != ".manifest.json":
            copy.write(file.name, file.read_bytes())
    verification = pg.verify(copy)
    assert kinds(verification) == [("missing", ".manifest.json")]
    assert any("each other's places" in note for note in verification.notes)


@pytest.mark.parametrize("name", ["plain-1.0-uint16", "lossless-3.0-int16"])
def test_without_a_manifest_the_limits_of_decoding_older_movies_are_said(tmp_path, name):
    folder = tmp_path / "movie.zarr"
    shutil.copytree(Path(__file__).parents[2] / "golden" / name / "store", folder)
    without_manifest(folder)
    verification = pg.verify(folder)
    assert verification.ok and any("not detected before format" in note for note in verification.notes)
    assert "every chunk decodes" in str(verification)
    whole = (folder / "1.0.0").read_bytes()
    (folder / "1.0.0").write_bytes(whole[:-3])
    assert kinds(pg.verify(folder)) == [("altered", "1.0.0")]


@pytest.mark.parametrize("by", ["manifest", "decoding"])
def test_missing_truncated_extra_and_swapped(store, by):
    if by == "decoding":
        without_manifest(store)
    (store / "1.0.0").unlink()
    verification = pg.verify(store)
    assert kinds(verification) == [("missing", "1.0.0")] and verification.lost == ((4, 7),)
    (store / "0.0.0").write_bytes((store / "0.0.0").read_bytes()[:-5])
    verification = pg.verify(store)
    assert kinds(verification) == [
        ("missing", "1.0.0"),
        ("truncated" if by == "manifest" else "altered", "0.0.0"),
    ]
    assert verification.lost == ((0, 7),) and verification.frames_lost == 8
    (store / "notes.txt").write_text("mine")
    (store / "7.0.0").write_bytes(b"a chunk beyond the end")
    assert {("extra", "notes.txt"), ("extra", "7.0.0")} <= set(kinds(pg.verify(store)))
    assert pg.verify(store).lost == ((0, 7),)


def test_chunks_in_each_others_place(store):
    one, two = (store / "0.0.0").read_bytes(), (store / "1.0.0").read_bytes()
    (store / "0.0.0").write_bytes(two)
    (store / "1.0.0").write_bytes(one)
    verification = pg.verify(store)
    assert not verification.ok and verification.lost == ((0, 7),)
    assert any("it holds what 1.0.0 should hold" in p.detail for p in verification.problems)


@pytest.mark.parametrize("swap", [("2.0.0", "1.0.0"), ("1.0.0", "2.0.0")])
def test_a_chunk_of_another_length_is_found_by_decoding(tmp_path, swap):
    """The last chunk holds fewer frames; in a compact store its header says so."""
    folder = tmp_path / "movie.zarr"
    pg.encode(movie(), folder, noise=NOISE, layout="compact", chunk_frames=4)
    without_manifest(folder)
    shutil.copy(folder / swap[0], folder / swap[1])
    assert kinds(pg.verify(folder)) == [("mismatched", swap[1])]


def test_a_reader_does_not_complete_a_short_chunk_with_zeros(tmp_path):
    folder = tmp_path / "movie.zarr"
    pg.encode(movie(), folder, noise=NOISE, layout="compact", chunk_frames=4)
    without_manifest(folder)
    shutil.copy(folder / "2.0.0", folder / "0.0.0")
    with pytest.raises(pg.PhotonError, match=r"frames 0 to 3 cannot be read.*was written as number 2"):
        pg.open(folder).counts[3]


@pytest.mark.parametrize("name", [".zarray", ".zattrs"])
def test_damaged_metadata_are_named(store, name):
    whole = (store / name).read_bytes()
    (store / name).unlink()
    verification = pg.verify(store)
    assert kinds(verification) == [("missing", name)] and verification.lost == ((0, 10),)
    (store / name).write_bytes(whole[:-20])  # a rewrite that was cut short
    verification = pg.verify(store)
    assert kinds(verification) == [("truncated", name)] and verification.lost == ((0, 10),)
    (store / name).write_bytes(whole.replace(b"    ", b"  "))  # says the same in fewer bytes
    verification = pg.verify(store)
    assert [problem.name for problem in verification.problems] == [name] and verification.lost == ()
    assert "no frame is lost" in str(verification)


def test_damaged_metadata_without_a_manifest(store):
    without_manifest(store)
    (store / ".zarray").unlink()
    verification = pg.verify(store)
    assert (
        kinds(verification) == [("missing", ".zarray")]
        and verification.shape is None
        and "lost: every frame" in str(verification)
    )
    (store / ".zarray").write_text("{}")
    assert kinds(pg.verify(store)) == [("mismatched", ".zarray")]


def test_a_deleted_manifest_is_missed(store):
    (store / ".manifest.json").unlink()
    verification = pg.verify(store)
    assert (
        kinds(verification) == [("missing", ".manifest.json")]
        and verification.lost == ()
        and verification.by == "decoding"
    )


def test_a_manifest_of_other_chunks(store):
    """Whole by its own checksum, and yet not this movie's."""
    index = manifest.read((store / ".manifest.json").read_bytes(), "")
    del index.files["2.0.0"]
    chunks = {name: entry for name, entry in index.files.items() if not name.startswith(".z")}
    texts = {name: text.encode() for name, text in index.copies.items()}
    (store / ".manifest.json").write_bytes(manifest.pack(chunks, texts))
    verification = pg.verify(store)
    assert ("mismatched", ".manifest.json") in kinds(verification)


def test_filter_and_attributes_must_agree(tmp_path):
    folder = tmp_path / "movie.zarr"
    pg.encode(movie(), folder, noise=NOISE, layout="compact", chunk_frames=4)
    without_manifest(folder)
    array = json.loads((folder / ".zarray").read_text())
    array["filters"][0]["gain"] = 4.5
    (folder / ".zarray").write_text(json.dumps(array))
    assert kinds(pg.verify(folder)) == [("mismatched", ".zarray")]


def test_deep_finds_what_was_written_wrong(store):
    """A manifest vouches for bytes, not for sense: only decoding finds a chunk that was never right."""
    index = manifest.read((store / ".manifest.json").read_bytes(), "")
    (store / "1.0.0").write_bytes(b"never a chunk")
    chunks = {name: entry for name, entry in index.files.items() if not name.startswith(".z")}
    texts = {name: text.encode() for name, text in index.copies.items()}
    (store / ".manifest.json").write_bytes(
        manifest.pack({**chunks, "1.0.0": manifest.entry(b"never a chunk")}, texts)
    )
    assert pg.verify(store).ok
    verification = pg.verify(store, deep=True)
    assert kinds(verification) == [("altered", "1.0.0")] and verification.lost == ((4, 7),)


def test_labels_no_camera_gives_are_found(tmp_path):
    """On the grid, and yet impossible: uint8 values end at 255."""
    import zarr

    folder = tmp_path / "movie.zarr"
    pg.encode(movie().astype("uint8"), folder, noise=NOISE, chunk_frames=4)
    attributes = json.loads((folder / ".zattrs").read_text())
    del attributes["photon_movie_id"]  # as if an earlier release had written it, without seals
    (folder / ".zattrs").write_text(json.dumps(attributes))
    without_manifest(folder)
    array = zarr.open(str(folder), mode="r+")
    array[:] = array[:]
    array[5, 2, 2] = 500.0
    verification = pg.verify(folder)
    assert (
        kinds(verification) == [("altered", "1.0.0")]
        and "no value of uint8 has" in verification.problems[0].detail
    )


def test_metadata_that_ask_for_petabytes_are_answered_at_once(tmp_path):
    folder = tmp_path / "movie.zarr"
    pg.encode(movie(), folder, noise=NOISE, layout="lossless", chunk_frames=4)
    without_manifest(folder)
    array = json.loads((folder / ".zarray").read_text())
    array["shape"][0] = 1 << 47
    (folder / ".zarray").write_text(json.dumps(array))
    verification = pg.verify(folder)
    assert verification.lost == ((12, (1 << 47) - 1),)


def test_an_error_of_the_store_is_not_called_missing(tmp_path):
    folder = tmp_path / "movie.zarr"
    pg.encode(movie(), folder, noise=NOISE, chunk_frames=4)
    storage = pg.Storage.at(folder)
    read = storage.read

    def failing(name):
        if name == "1.0.0":
            raise PermissionError("403")
        return read(name)

    storage.read = failing
    verification = pg.verify(storage)
    assert kinds(verification) == [("unreadable", "1.0.0")] and verification.lost == ((4, 7),)


def test_a_writers_marker_is_named(store):
    (store / ".photon-writing").write_text("{}")
    assert kinds(pg.verify(store)) == [("unfinished", ".photon-writing")]


def test_other_axes_and_one_frame(tmp_path):
    shape = (5, 2, 6, 7)
    pg.encode(movie(10).reshape(shape), tmp_path / "volume.zarr", noise=NOISE, chunk_frames=2)
    assert pg.verify(tmp_path / "volume.zarr", deep=True).ok
    (tmp_path / "volume.zarr" / "1.0.0.0").unlink()
    assert pg.verify(tmp_path / "volume.zarr").lost == ((2, 3),)
    pg.encode(movie(1), tmp_path / "one.zarr", noise=NOISE, dither=3)
    assert pg.verify(tmp_path / "one.zarr", deep=True).ok


def test_progress_and_threads_and_other_filesystems():
    pg.encode(movie(40), "memory://verify.zarr", noise=NOISE, chunk_frames=1, overwrite=True)
    seen = []
    verification = pg.verify(
        "memory://verify.zarr", workers=4, progress=lambda done, total: seen.append((done, total))
    )
    assert verification.ok and seen == [(n, 40) for n in range(1, 41)]
    assert pg.verify("memory://verify.zarr", budget_bytes=1).ok


def test_a_folder_without_a_movie_cannot_be_verified(tmp_path):
    with pytest.raises(StoreNotFoundError):
        pg.verify(tmp_path / "nothing.zarr")
    (tmp_path / "readme.txt").write_text("no movie")
    with pytest.raises(StoreNotFoundError):
        pg.verify(tmp_path)
    with pytest.raises(InvalidInputError):
        pg.verify(tmp_path, budget_bytes=0)


def test_lost_runs_of_frames_are_merged():
    assert merge([(0, 0), (1, 4), (2, 3), (9, 9)]) == ((0, 4), (9, 9))


def test_the_module_may_be_imported_first():
    code = "import photon_gpu.check.integrity.verify, photon_gpu as pg; assert callable(pg.verify)"
    subprocess.run([sys.executable, "-c", code], check=True)
