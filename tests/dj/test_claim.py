"""One path, one owner, on every store."""

from __future__ import annotations

import threading

import pytest

from photon_gpu.dj.claim import create, placeholder


@pytest.mark.parametrize("kind", ["file", "seaweed", "moto", "gcs"])
def test_the_first_gets_it(dj, store, kind):
    backend = store(kind)
    path = backend._full_path("lab/t/filename=data%2Fraw.tif/movie.zarr/.zarray")
    first, second = placeholder("insert"), placeholder("insert")
    assert first != second
    assert create(backend.fs, path, first)
    assert not create(backend.fs, path, second)
    assert backend.fs.cat_file(path) == first
    backend.fs.rm_file(path)
    assert create(backend.fs, path, second)


@pytest.mark.parametrize("kind", ["file", "seaweed", "moto"])
def test_of_eight_at_once_one_gets_it(dj, store, kind):
    backend = store(kind)
    path = backend._full_path("lab/t/i=1/movie.zarr/.zarray")
    contents = [placeholder("insert") for _ in range(8)]
    won = []
    threads = [
        threading.Thread(
            target=lambda content=content: create(backend.fs, path, content) and won.append(content)
        )
        for content in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [backend.fs.cat_file(path)]


def test_an_answer_that_got_lost(dj, store, monkeypatch):
    backend = store("moto")
    path = backend._full_path("lab/t/i=1/movie.zarr/.zarray")
    pipe = backend.fs.pipe_file

    def twice(*args, **kwargs):
        pipe(*args, **kwargs)
        return pipe(*args, **kwargs)  # what a client does whose first answer never came

    monkeypatch.setattr(backend.fs, "pipe_file", twice)
    assert create(backend.fs, path, placeholder("insert"))


def test_other_errors_are_not_taken_for_a_loss(dj, tmp_path):
    import fsspec

    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError):
        create(fsspec.filesystem("file"), str(tmp_path / "file" / "x" / ".zarray"), b"")
