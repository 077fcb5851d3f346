"""The file of a source's metadata: its round trip, its bytes, and what is refused."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from photon_gpu.errors import CorruptDataError, InvalidInputError, UnsupportedVersionError
from photon_gpu.recording import Document, Recording
from photon_gpu.store import source_metadata

WORDS = Document(name="tiff/Software", media_type="text/plain", data=b"SI\xff" * 1000)


def test_documents_and_times_come_back_and_any_zip_reader_reads_them():
    recording = Recording(documents=(WORDS,), timestamps=[0, np.nan, 0.1])
    data = source_metadata.pack(recording)
    assert data == source_metadata.pack(recording) and len(data) < 1000
    back = source_metadata.unpack(data, "movie")
    assert back.documents == (WORDS,)
    np.testing.assert_array_equal(back.timestamps, recording.timestamps)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("tiff/Software") == WORDS.data
        np.testing.assert_array_equal(
            np.load(io.BytesIO(archive.read("timestamps.npy"))), recording.timestamps
        )


def test_a_source_that_says_nothing_has_no_file():
    assert source_metadata.pack(Recording(axes="tyx")) is None


def test_damage_is_found_and_a_later_version_refused():
    data = source_metadata.pack(Recording(documents=(WORDS,)))
    for damaged in (data[:-9], b"", data[:45] + b"x" + data[46:]):
        with pytest.raises((CorruptDataError, UnsupportedVersionError)):
            source_metadata.unpack(damaged, "movie")
    with pytest.raises(UnsupportedVersionError, match="newer photon_gpu"):
        source_metadata.unpack(data.replace(b"metadata 1", b"metadata 2"), "movie")


@pytest.mark.parametrize("name", ["../up", "/root", "a//b", "C:x", "a\\b"])
def test_a_name_that_would_leave_the_folder_of_a_reader_is_refused(name):
    with pytest.raises(InvalidInputError, match="relative path"):
        Document(name=name, media_type="text/plain", data=b"")


def test_what_is_too_large_is_left_out_and_named(monkeypatch):
    monkeypatch.setattr(source_metadata, "LARGEST", 100)
    small = Document(name="small", media_type="text/plain", data=b"1")
    kept = source_metadata.fitting(Recording(documents=(WORDS, small)))
    assert kept.documents == (small,)
    assert kept.not_kept == ("tiff/Software (3,000 bytes)",)


def test_the_key_of_zattrs_is_photon_gpus_own():
    with pytest.raises(InvalidInputError, match="own key"):
        source_metadata.with_recording({"photon_recording": {}}, Recording(axes="tyx"))
    assert source_metadata.with_recording(None, Recording()) == {}
    assert source_metadata.described({"photon_recording": {"axes": 7}}).is_empty
