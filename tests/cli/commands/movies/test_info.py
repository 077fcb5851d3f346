"""``photon-gpu info``: the same figures as the encode's report, and damage that metadata show."""

import json

import pytest
import zarr

from tests.support.folder_contents import tree


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_what_encode_reported_is_what_info_tells(layout, cli, stored):
    words = ["encode", "ok.npy", "i.zarr", "--gain", 1, "--layout", layout, "--json"]
    written = cli(*words).json
    told = cli("info", "i.zarr", "--json")
    assert told.err == ""
    shared = set(written) & set(told.json) - {"notes"}
    assert shared >= {
        "url",
        "layout",
        "shape",
        "dtype",
        "noise",
        "step",
        "predictor",
        "compressor",
        "raw_bytes",
        "stored_bytes",
        "ratio",
        "bits_per_pixel",
        "above_floor_percent",
        "chunk_frames",
    }
    assert {key: told.json[key] for key in shared} == {key: written[key] for key in shared}
    shown = cli("info", "i.zarr").out
    assert f"{written['ratio']:.2f}" in shown
    assert "gain 1 ADU/photon" in shown


def test_missing_chunks_are_told(cli, stored):
    (stored / "1.0.0").unlink()
    ran = cli("info", "ok.zarr", "--json")
    assert ran.json["missing_chunks"] == 1
    assert ran.json["notes"] == ["1 chunks are missing: their frames cannot be read"]


def _edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("file", "changes", "code", "messages"),
    [
        (".zattrs", {"codec_version": "9.0"}, 2, ["'9.0'", "1.x (plain), 2.x (compact)", "newer"]),
        (".zarray", {"zarr_format": 3}, 2, ["zarr_format is 3", "v2"]),
        (
            ".zarray",
            {"shape": [30, 1 << 40, 1 << 40], "chunks": [10, 1 << 40, 1 << 40]},
            1,
            ["takes", "possible here"],
        ),
        (".zarray", {"shape": [30, -16, 12]}, 1, ["shape is [30, -16, 12]", "positive"]),
        (".zarray", {"filters": [{"id": "pickle"}]}, 1, ["pickle", "No filter was run"]),
        (".zattrs", {"anscombe_gain": 0}, 1, ["gain is 0.0", "positive"]),
    ],
)
@pytest.mark.parametrize("command", ["info", "decode"])
def test_hostile_metadata_are_one_line(command, file, changes, code, messages, cli, stored):
    _edit(stored / file, **changes)
    before = tree(stored.parent)
    ran = cli(command, "ok.zarr", *["out.npy"] * (command == "decode"))
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1)
    assert all(part in ran.err for part in messages), ran.err
    assert tree(stored.parent) == before


def test_a_movie_said_to_be_endless_is_told_at_once(cli, stored):
    _edit(stored / ".zarray", shape=[1 << 47, 16, 12])
    assert cli("info", "ok.zarr", "--json").json["missing_chunks"] == -(-(1 << 47) // 10) - 3
    assert ".zarray was altered" in cli("decode", "ok.zarr", "out.npy").err
    (stored / ".manifest.json").unlink()
    ran = cli("decode", "ok.zarr", "out.npy")
    assert (ran.code, "bytes; the disk has" in ran.err) == (2, True)


def test_what_is_no_photon_movie_is_said_to_be_none(cli, counts, tmp_path):
    zarr.create_array(tmp_path / "raw.zarr", shape=counts.shape, dtype="u2", zarr_format=2)[...] = counts
    zarr.create_array(tmp_path / "three.zarr", shape=counts.shape, dtype="u2", zarr_format=3)[...] = counts
    assert "not a photon movie" in cli("info", "raw.zarr").err
    assert "Zarr v3" in cli("info", "three.zarr").err
