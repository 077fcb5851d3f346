"""The manifest vouches for files, and for itself."""

import json
import zlib

import pytest

from photon_gpu.errors import CorruptDataError, UnsupportedVersionError
from photon_gpu.store import manifest

FILES = {"0.0.0": manifest.entry(b"abc"), "1.0.0": manifest.entry(b"defg")}
TEXTS = {".zarray": b'{"shape": [2, 1, 1]}', ".zattrs": '{"name": "größer"}'.encode()}


def signed(body):
    text = json.dumps(body).encode()[:-1]
    return text + f',"crc":"{zlib.crc32(text):08x}"}}'.encode()


def test_entries_are_size_and_crc():
    assert manifest.entry(b"123456789") == [9, "cbf43926"]  # the check value of CRC-32


def test_a_packed_manifest_is_read_as_it_was():
    result = manifest.read(manifest.pack(FILES, TEXTS), "here")
    assert result.copies == {name: text.decode() for name, text in TEXTS.items()}
    assert result.files == {**FILES, **{name: manifest.entry(text) for name, text in TEXTS.items()}}
    assert manifest.unpack(manifest.pack(FILES), "here") == FILES
    assert json.loads(manifest.pack(FILES, TEXTS))["manifest_version"] == 1


def test_any_changed_or_missing_byte_is_noticed():
    data = manifest.pack(FILES, TEXTS)
    for at in range(len(data)):
        for mask in (*(1 << bit for bit in range(8)), 0xFF):
            damaged = bytearray(data)
            damaged[at] ^= mask
            with pytest.raises(CorruptDataError):
                manifest.read(bytes(damaged), "here")
        with pytest.raises(CorruptDataError):
            manifest.read(data[:at], "here")
        with pytest.raises(CorruptDataError):
            manifest.read(data[:at] + data[at + 1 :], "here")
    with pytest.raises(CorruptDataError, match="checksum"):
        manifest.read(data + b"\n", "here")


def test_an_early_manifest_without_a_checksum_is_read_and_said_to_be_one():
    early = b'{"manifest_version":1,"files":{"0.0.0":[3,"352441c2"]}}'
    result = manifest.read(early, "here")
    assert not result.signed and result.files == {"0.0.0": [3, "352441c2"]} and result.copies == {}


def test_a_newer_manifest_is_a_clear_error():
    with pytest.raises(UnsupportedVersionError, match="version 2"):
        manifest.read(signed({"manifest_version": 2, "files": {}, "copies": {}}), "here")


@pytest.mark.parametrize(
    "body",
    [
        {"files": {}, "copies": {}},
        {"manifest_version": 1, "copies": {}},
        {"manifest_version": 1, "files": {"a": 3}, "copies": {}},
        {"manifest_version": 1, "files": {"a": ["3", "00"]}, "copies": {}},
        {"manifest_version": 1, "files": {}, "copies": {"a": 1}},
    ],
)
def test_what_is_no_manifest_is_a_clear_error(body):
    with pytest.raises(CorruptDataError, match="not a manifest"):
        manifest.read(signed(body), "here")


def test_check_names_the_file():
    manifest.check("0.0.0", b"abc", FILES, "here")
    with pytest.raises(CorruptDataError, match=r"here: 0\.0\.0 was altered: 3 bytes"):
        manifest.check("0.0.0", b"abd", FILES, "here")
    with pytest.raises(CorruptDataError, match="not in the manifest"):
        manifest.check("9.0.0", b"", FILES, "here")
