"""Facts with a checksum, twice: any damage to one of the two files changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from photon_gpu.errors import CorruptDataError
from photon_gpu.live import sealed

FACTS = {"token": "00ff", "gain": 1.5, "noise": None, "shape": [6, 7], "name": "µ"}


def test_what_is_read_is_what_was_written(tmp_path):
    sealed.write(tmp_path / "f.json", FACTS)
    assert sealed.read(tmp_path / "f.json") == FACTS
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.json", "f.json.copy"]
    sealed.remove(tmp_path / "f.json")
    assert not list(tmp_path.iterdir())


def _damaged(content):
    for position in range(len(content)):
        yield content[:position] + bytes([content[position] ^ 1 << position % 8]) + content[position + 1 :]
        yield content[:position]


def test_every_byte_flipped_and_every_prefix_of_either_file(tmp_path):
    path = tmp_path / "f.json"
    sealed.write(path, FACTS)
    for damaged in (path, Path(f"{path}.copy")):
        content = damaged.read_bytes()
        for bad in _damaged(content):
            damaged.write_bytes(bad)
            assert sealed.read(path) == FACTS
        damaged.write_bytes(content)


def test_damage_to_both_is_an_error_never_other_facts(tmp_path):
    path = tmp_path / "f.json"
    sealed.write(path, FACTS)
    for bad in _damaged(path.read_bytes()):
        path.write_bytes(bad)
        Path(f"{path}.copy").write_bytes(bad)
        try:
            assert sealed.read(path) == FACTS  # a flipped blank is still the same JSON
        except CorruptDataError as error:
            assert "f.json was altered, and so was its copy" in str(error)


@pytest.mark.parametrize("content", [b"[1]", b"1", b"{}", b"[" * 100_000, b'{"a": 1, "a": 2}'])
def test_what_is_no_sealed_file(tmp_path, content):
    (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(CorruptDataError, match="was altered"):
        sealed.read(tmp_path / "f.json")


def test_a_copy_alone_is_nothing(tmp_path):
    """``recording.json`` is removed first: what is left of a finished recording is none."""
    sealed.write(tmp_path / "f.json", FACTS)
    (tmp_path / "f.json").unlink()
    with pytest.raises(FileNotFoundError):
        sealed.read(tmp_path / "f.json")
