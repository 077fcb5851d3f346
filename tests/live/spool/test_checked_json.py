"""Facts with a checksum, twice: any damage to one of the two files changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from photon_gpu.errors import CorruptDataError
from photon_gpu.live.spool import checked_json

FACTS = {"token": "00ff", "gain": 1.5, "noise": None, "shape": [6, 7], "name": "µ"}


def test_what_is_read_is_what_was_written(tmp_path):
    checked_json.write(tmp_path / "f.json", FACTS)
    assert checked_json.read(tmp_path / "f.json") == FACTS
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.json", "f.json.copy"]
    checked_json.remove(tmp_path / "f.json")
    assert not list(tmp_path.iterdir())


def _damaged(content):
    for position in range(len(content)):
        yield content[:position] + bytes([content[position] ^ 1 << position % 8]) + content[position + 1 :]
        yield content[:position]


def test_every_byte_flipped_and_every_prefix_of_either_file(tmp_path):
    path = tmp_path / "f.json"
    checked_json.write(path, FACTS)
    for damaged in (path, Path(f"{path}.copy")):
        content = damaged.read_bytes()
        for bad in _damaged(content):
            damaged.write_bytes(bad)
            assert checked_json.read(path) == FACTS
        damaged.write_bytes(content)


def test_damage_to_both_is_an_error_never_other_facts(tmp_path):
    path = tmp_path / "f.json"
    checked_json.write(path, FACTS)
    for bad in _damaged(path.read_bytes()):
        path.write_bytes(bad)
        Path(f"{path}.copy").write_bytes(bad)
        try:
            assert checked_json.read(path) == FACTS  # a flipped blank is still the same JSON
        except CorruptDataError as error:
            assert "f.json was altered, and so was its copy" in str(error)


@pytest.mark.parametrize("content", [b"[1]", b"1", b"{}", b"[" * 100_000, b'{"a": 1, "a": 2}'])
def test_what_is_no_sealed_file(tmp_path, content):
    (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(CorruptDataError, match="was altered"):
        checked_json.read(tmp_path / "f.json")


@pytest.mark.parametrize("gone", ["f.json", "f.json.copy"])
def test_one_of_the_two_files_is_enough(tmp_path, gone):
    checked_json.write(tmp_path / "f.json", FACTS)
    (tmp_path / gone).unlink()
    assert checked_json.read(tmp_path / "f.json") == FACTS
    (tmp_path / ("f.json.copy" if gone == "f.json" else "f.json")).unlink()
    with pytest.raises(FileNotFoundError, match="neither"):
        checked_json.read(tmp_path / "f.json")


def test_keys_that_are_numbers_are_sealed_as_the_strings_they_become(tmp_path):
    checked_json.write(tmp_path / "f.json", {"planes": {2: 0.0, 10: 5.0, "x": 1}})
    assert checked_json.read(tmp_path / "f.json") == {"planes": {"2": 0.0, "10": 5.0, "x": 1}}


def test_keys_that_were_sorted_as_numbers_are_read(tmp_path):
    facts = {"planes": {2: 0.0, 10: {1.5: [{3: 1, 20: 2}]}}}
    data = json.dumps({**facts, "crc32": checked_json._crc(facts)}).encode()  # as earlier writers had it
    (tmp_path / "f.json").write_bytes(data)
    assert checked_json.read(tmp_path / "f.json") == json.loads(json.dumps(facts))
    (tmp_path / "f.json").write_bytes(data.replace(b"5", b"6"))
    with pytest.raises(CorruptDataError):
        checked_json.read(tmp_path / "f.json")
