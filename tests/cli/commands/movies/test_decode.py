"""``photon-gpu decode``: back to common files, and nothing left where it failed."""

import json

import numpy as np
import pytest
import tifffile
import zarr

import photon_gpu as pg
from photon_gpu.cli.commands.movies.decode import frame_range
from photon_gpu.errors import InvalidInputError
from tests.support.folder_contents import tree

_READERS = {
    "out.tif": tifffile.imread,
    "out.btf": tifffile.imread,
    "out.npy": np.load,
    "out.zarr": lambda path: zarr.open(path, mode="r")[...],
}


@pytest.mark.parametrize("name", _READERS)
@pytest.mark.parametrize("stabilized", [False, True])
def test_what_is_written_is_what_the_movie_holds(name, stabilized, cli, stored):
    movie = pg.open(stored)
    expected = movie[5:25] if stabilized else movie.counts[5:25]
    ran = cli("decode", "ok.zarr", name, "--frames", "5:25", *["--stabilized"] * stabilized, "--json")
    assert ran.code == 0, ran.err
    result = _READERS[name](stored.parent / name)
    assert result.dtype == expected.dtype
    assert np.array_equal(result, expected)
    told = ran.json
    assert (told["frames"], told["unit"]) == ([5, 25], "sigma" if stabilized else "ADU")
    assert (
        told["stored_bytes"] == sum(len(data) for data in tree(stored.parent / name).values())
        or name != "out.zarr"
    )


def test_people_get_a_table(cli, stored):
    ran = cli("decode", "ok.zarr", "out.npy")
    assert ran.code == 0
    assert "30 x 16 x 12 uint16, counts in ADU" in ran.out


@pytest.mark.parametrize(
    ("text", "range_"),
    [
        (":", (0, 30)),
        ("4:9", (4, 9)),
        (":9", (0, 9)),
        ("9:", (9, 30)),
        ("7", (7, 8)),
        ("-3:", (27, 30)),
        ("-1", (29, 30)),
        (":-28", (0, 2)),
    ],
)
def test_frames_are_given_as_in_python(text, range_):
    assert frame_range(text, 30) == range_


@pytest.mark.parametrize("text", ["a", "1:2:3", "", "1.5:2", "1-2"])
def test_frames_that_are_no_range_are_refused(text):
    with pytest.raises(InvalidInputError, match="FIRST:END"):
        frame_range(text, 30)


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (_flip, ["altered"]),
        (_truncate, ["altered", "bytes"]),
        (lambda path: path.unlink(), ["1.0.0 is missing"]),
    ],
)
def test_a_damaged_chunk_is_named_and_nothing_is_written(name, words, cli, stored):
    name(stored / "1.0.0")
    before = tree(stored.parent)
    for out in _READERS:
        ran = cli("decode", "ok.zarr", out)
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert all(word in ran.err for word in ["frames 10 to 19 cannot be read", *words]), ran.err
        assert json.loads(cli("decode", "ok.zarr", out, "--json").err)["kind"] == "CorruptDataError"
    assert tree(stored.parent) == before
    assert cli("decode", "ok.zarr", "rest.npy", "--frames", "20:").code == 0


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["nothing.zarr", "out.npy"], ["nothing is there"]),
        (["ok.npy", "out.npy"], ["is a file", "photon-gpu encode"]),
        (["ok.zarr", "out.png"], ["'.png'", ".tif"]),
        (["ok.zarr", "out"], ["no suffix", ".npy"]),
        (["ok.zarr", "ok.npy"], ["exists", "--overwrite"]),
        (["ok.zarr", "folder.npy", "--overwrite"], ["is a folder"]),
        (["ok.zarr", "ok.zarr", "--overwrite"], ["the movie that is read"]),
        (["ok.zarr", "none/out.tif"], ["no folder none"]),
        (["ok.zarr", "s3://bucket/out.tif"], ["local disks only"]),
        (["ok.zarr", "out.npy", "--frames", "20:31"], ["20:31", "the movie has 30"]),
        (["ok.zarr", "out.npy", "--frames", "9:9"], ["9:9", "the movie has 30"]),
        (["ok.zarr", "out.npy", "--frames", "x"], ["'x'", "FIRST:END"]),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(words, messages, cli, stored):
    (stored.parent / "folder.npy").mkdir()
    before = tree(stored.parent)
    ran = cli("decode", *words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert all(part in ran.err for part in messages), ran.err
    assert tree(stored.parent) == before
