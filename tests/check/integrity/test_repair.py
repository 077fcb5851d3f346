"""Repair restores what can be proven, writes nothing else, and names what it leaves."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

import photon_gpu as pg
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.store import manifest
from tests.support.stores.golden_names import GOLDEN
from tests.support.stores.stored_movies import LAYOUTS, NOISE, movie, without_manifest


@pytest.fixture(params=LAYOUTS)
def store(request, tmp_path):
    folder = tmp_path / "movie.zarr"
    pg.encode(movie(), folder, noise=NOISE, layout=request.param, chunk_frames=4)
    return folder


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_chunks_and_metadata_come_back_byte_for_byte(store):
    whole = contents(store)
    (store / "0.0.0").write_bytes(whole["0.0.0"][:-4])
    (store / "2.0.0").unlink()
    (store / ".zarray").unlink()
    (store / ".zattrs").write_bytes(b"{")
    seen = []
    fixed = pg.repair(store, movie(), progress=lambda done, total: seen.append((done, total)))
    assert fixed.ok and not fixed.left and fixed.kept is None
    assert [name for name, _ in fixed.restored] == ["0.0.0", "2.0.0", ".zattrs", ".zarray"]
    assert contents(store) == whole
    assert seen[-1][0] <= seen[-1][1]
    assert json.loads(json.dumps(fixed.to_dict()))["ok"]


def test_a_whole_store_is_not_touched(store):
    whole = contents(store)
    fixed = pg.repair(store, movie())
    assert fixed.ok and not fixed.restored and not fixed.left and contents(store) == whole
    assert str(fixed).startswith("nothing to restore")


def test_without_a_source_only_metadata_come_back(store):
    whole = contents(store)
    (store / ".zarray").unlink()
    (store / "1.0.0").write_bytes(b"damaged")
    fixed = pg.repair(store)
    assert not fixed.ok and fixed.restored == ((".zarray", "from its copy in the manifest"),)
    assert [name for name, _ in fixed.left] == ["1.0.0"] and "source" in fixed.left[0][1]
    assert contents(store) == {**whole, "1.0.0": b"damaged"}
    assert fixed.after.lost == ((4, 7),)


def test_a_lost_manifest_is_made_anew_where_chunks_prove_themselves(store):
    whole = contents(store)
    damaged = whole[".manifest.json"][:-9]
    (store / ".manifest.json").write_bytes(damaged)
    with pytest.raises(pg.PhotonError, match="photon-gpu repair"):
        pg.open(store).counts[0]
    fixed = pg.repair(store)
    assert "shows by itself that it is whole and in its place" in fixed.restored[0][1]
    assert fixed.ok and contents(store) == whole
    # What lay there before is kept, since nothing proves that it was worthless.
    assert pg.Storage.at(fixed.kept).read(".manifest.json") == damaged


def test_a_chunk_in_the_place_of_another_is_not_blessed(store):
    whole = contents(store)
    (store / ".manifest.json").unlink()
    (store / "0.0.0").write_bytes(whole["1.0.0"])
    fixed = pg.repair(store)
    assert not fixed.ok and not fixed.restored and ".manifest.json" in dict(fixed.left)
    assert pg.repair(store, movie()).ok and contents(store) == whole


def test_a_chunk_of_another_movie_is_not_blessed(tmp_path):
    for name, values in (("a", movie()), ("b", movie()[::-1].copy())):
        pg.encode(
            values,
            tmp_path / name,
            noise=NOISE,
            layout="compact",
            chunk_frames=4,
            predictor="mean",
            compressor="zstd-1-none",
        )
    (tmp_path / "a/.manifest.json").unlink()
    (tmp_path / "a/1.0.0").write_bytes((tmp_path / "b/1.0.0").read_bytes())
    fixed = pg.repair(tmp_path / "a")
    assert not fixed.ok and not fixed.restored and fixed.before.lost == ((4, 7),)
    assert "comes from elsewhere" in str(fixed)


def test_a_source_that_is_not_the_movie_blesses_nothing(tmp_path):
    """The chunks of older stores do not know their places, and this source cannot tell them."""
    golden, folder = GOLDEN / "lossless-3.0-int16", tmp_path / "movie.zarr"
    shutil.copytree(golden / "store", folder)
    (folder / ".manifest.json").unlink()
    fixed = pg.repair(folder, np.load(golden / "input.npy") + np.int16(1))
    assert (
        not fixed.ok
        and not fixed.restored
        and "differ from this source" in dict(fixed.left)[".manifest.json"]
    )


@pytest.mark.parametrize(
    "name",
    [
        "compact-2.0-mean",
        "compact-2.1-mean",
        "compact-2.2-coded-few",
        "plain-1.0-uint16",
        "lossless-3.0-int16",
    ],
)
def test_older_chunks_do_not_prove_their_places(tmp_path, name):
    golden, folder = Path(__file__).parents[2] / "golden" / name, tmp_path / "movie.zarr"
    shutil.copytree(golden / "store", folder)
    (folder / ".manifest.json").unlink()
    fixed = pg.repair(folder)
    assert not fixed.ok and not fixed.restored and "give the source" in dict(fixed.left)[".manifest.json"]
    assert pg.repair(folder, np.load(golden / "input.npy")).ok


def test_times_of_frames_are_read_without_a_manifest_and_listed_again(tmp_path):
    folder = tmp_path / "movie.zarr"
    with pg.LiveWriter(folder, frame_shape=(8, 9), dtype="uint16", noise=NOISE, chunk_frames=4) as live:
        live.append(np.ones((11, 8, 9), "uint16"), timestamp=range(11))
    whole = (folder / ".manifest.json").read_bytes()
    (folder / ".manifest.json").unlink()
    with pytest.warns(pg.PhotonWarning, match="checked by their own numbers"):
        assert pg.open(folder).timestamps.tolist() == list(range(11))
    fixed = pg.repair(folder)
    assert fixed.ok and not fixed.left and (folder / ".manifest.json").read_bytes() == whole
    (folder / ".manifest.json").unlink()
    (folder / ".frames/1.json").write_bytes((folder / ".frames/0.json").read_bytes())
    fixed = pg.repair(folder)
    assert not fixed.ok and fixed.left[0][0] == ".frames/1.json" and "not listed" in fixed.left[0][1]


@pytest.mark.parametrize("damage", ["altered", "gone"])
def test_the_words_of_a_source_come_back_from_it_and_from_nothing_else(damage, tmp_path):
    source, store = tmp_path / "movie.tif", tmp_path / "movie.zarr"
    tifffile.imwrite(source, movie(), photometric="minisblack", software="rig 3")
    pg.encode(source, store, noise=NOISE, chunk_frames=4)
    words = store / ".source_metadata.zip"
    whole = words.read_bytes()
    assert pg.verify(store).ok
    if damage == "gone":
        words.unlink()
    else:
        words.write_bytes(whole[:-5] + b"?" + whole[-4:])
    verification = pg.verify(store)
    assert [problem.name for problem in verification.problems] == [words.name] and not verification.lost
    assert not pg.repair(store).ok
    with pytest.raises(CorruptDataError, match=words.name):
        _ = pg.open(store).source_metadata
    assert pg.repair(store, source).ok and words.read_bytes() == whole


def test_without_a_manifest_the_words_are_read_and_listed_again(tmp_path):
    source, store = tmp_path / "movie.tif", tmp_path / "movie.zarr"
    tifffile.imwrite(source, movie(), photometric="minisblack", software="rig 3")
    pg.encode(source, store, noise=NOISE, layout="compact", chunk_frames=4)
    whole = (store / ".manifest.json").read_bytes()
    (store / ".manifest.json").unlink()
    with pytest.warns(pg.PhotonWarning, match="lost its"):
        assert pg.open(store).source_metadata["tiff/Software"].text == "rig 3"
    assert {problem.kind for problem in pg.verify(store).problems} == {"missing"}
    assert pg.repair(store).ok and (store / ".manifest.json").read_bytes() == whole


def test_without_a_manifest_the_source_finds_what_decoding_cannot(store):
    """A chunk that decodes to other values than the source's, with no checksum left to tell."""
    other = movie()
    other[5] += 8
    pg.encode(other, store.parent / "other.zarr", noise=NOISE, layout=pg.open(store).layout, chunk_frames=4)
    altered = (store.parent / "other.zarr" / "1.0.0").read_bytes()
    expected = pg.open(store).counts[...]
    (store / "1.0.0").write_bytes(altered)
    (store / ".manifest.json").unlink()
    fixed = pg.repair(store, movie())
    assert fixed.ok and [name for name, _ in fixed.restored] == ["1.0.0", ".manifest.json"]
    assert "equals the source" in fixed.restored[1][1]
    assert np.array_equal(pg.open(store).counts[...], expected)
    assert pg.Storage.at(fixed.kept).read("1.0.0") == altered


def test_a_source_that_is_not_the_movie_restores_nothing(store):
    (store / "1.0.0").unlink()
    before = contents(store)
    fixed = pg.repair(store, movie(seed=5))
    assert not fixed.ok and not fixed.restored and contents(store) == before
    assert fixed.left == (
        ("1.0.0", "of 2 whole chunks 2 differ from this source; nothing was written for it"),
    )
    with pytest.raises(InvalidInputError, match="nothing was written"):
        pg.repair(store, movie(frames=10))
    with pytest.raises(InvalidInputError, match="nothing was written"):
        pg.repair(store, movie().astype("int32"))
    assert contents(store) == before


def test_with_no_whole_chunk_nothing_proves_a_source(store):
    without_manifest(store)
    for name in ("0.0.0", "1.0.0", "2.0.0"):
        (store / name).unlink()
    before = contents(store)
    fixed = pg.repair(store, movie())
    assert not fixed.restored and "no chunk is whole" in fixed.left[0][1] and contents(store) == before


def test_other_bytes_than_promised_need_witnesses_and_update_the_manifest(store):
    """As after an upgrade of Blosc: the same values in other bytes."""
    index = manifest.read((store / ".manifest.json").read_bytes(), "")
    chunks = {name: entry for name, entry in index.files.items() if name[0].isdigit()}
    texts = {name: text.encode() for name, text in index.copies.items()}
    chunks["1.0.0"] = manifest.entry(b"what an older release wrote")
    (store / ".manifest.json").write_bytes(manifest.pack(chunks, texts))
    (store / "1.0.0").write_bytes(b"damaged")
    fixed = pg.repair(store, movie())
    assert fixed.ok and "2 whole chunks agree" in dict(fixed.restored)["1.0.0"]
    assert pg.Storage.at(fixed.kept).read("1.0.0") == b"damaged"
    assert pg.verify(store, deep=True).ok


def test_strangers_are_left_alone(store):
    (store / "notes.txt").write_text("mine")
    (store / "1.0.0").unlink()
    fixed = pg.repair(store, movie())
    assert not fixed.ok and (store / "notes.txt").read_text() == "mine"
    assert [name for name, _ in fixed.left] == ["notes.txt"] and fixed.after.lost == ()


def test_a_manifest_does_not_vouch_for_damage(store):
    (store / ".manifest.json").unlink()
    (store / "1.0.0").write_bytes(b"damaged")
    fixed = pg.repair(store)
    assert not fixed.restored and not (store / ".manifest.json").exists()
    assert {name for name, _ in fixed.left} == {"1.0.0", ".manifest.json"}


def test_metadata_without_any_copy_are_named(store):
    (store / ".manifest.json").unlink()
    (store / ".zattrs").unlink()
    fixed = pg.repair(store, movie())
    assert not fixed.restored and {".zattrs"} <= {name for name, _ in fixed.left}
    assert "encode the source again" in str(fixed)
