"""One movie's folder: chunk files are written with their entries, and compared with them when read."""

from __future__ import annotations

import pytest

from photon_gpu.errors import CorruptDataError
from photon_gpu.store import manifest
from photon_gpu.store.movie_folder import MovieFolder
from photon_gpu.store.storage import Storage


@pytest.fixture
def folder(tmp_path):
    return MovieFolder((25, 4, 4), (10, 4, 4), Storage.at(tmp_path / "movie.zarr"))


def test_a_chunk_is_read_back_by_the_entry_it_was_written_with(folder):
    files = folder.write_chunk(2, b"data", b"{}")
    assert files == {".frames/2.json": manifest.entry(b"{}"), "2.0.0": manifest.entry(b"data")}
    assert folder.read_chunk(2, files) == b"data"
    assert folder.storage.names() == [".frames/2.json", "2.0.0"]


def test_frame_records_are_written_before_their_chunk(folder, monkeypatch):
    written = []
    monkeypatch.setattr(Storage, "write", lambda self, name, data: written.append(name))
    folder.write_chunk(0, b"data", b"{}")
    assert written == [".frames/0.json", "0.0.0"]


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "2.0.0 is missing"), (b"date", "2.0.0 was altered: 4 bytes")]
)
def test_an_unreadable_chunk_is_an_error_that_names_its_frames(folder, content, problem):
    files = folder.write_chunk(2, b"data")
    folder.storage.delete("2.0.0")
    if content is not None:
        folder.storage.write("2.0.0", content)
    with pytest.raises(CorruptDataError, match=f"frames 20 to 24 cannot be read: .*{problem}"):
        folder.read_chunk(2, files)


def test_without_a_manifest_nothing_is_compared(folder):
    folder.storage.write("0.0.0", b"anything")
    assert folder.read_chunk(0, {}) == b"anything"
