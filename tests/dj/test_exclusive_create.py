"""One path, one owner, on every store: what the engine's claims rest on."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from photon_gpu.dj.stores import storage_at
from photon_gpu.errors import StoreExistsError
from photon_gpu.store.claim import Claim
from tests.support.concurrent_calls import at_once


@pytest.mark.parametrize("service", ["file", "seaweed", "moto", "gcs"])
def test_the_first_gets_it(dj, store, service):
    storage = storage_at(store(service), "lab/t/filename=data%2Fraw.tif/movie.zarr")
    storage.create("marker", b"first")
    with pytest.raises(FileExistsError):
        storage.create("marker", b"second")
    assert storage.read("marker") == b"first"
    storage.delete("marker")
    storage.create("marker", b"second")


@pytest.mark.parametrize("service", ["file", "seaweed", "moto", "gcs"])
def test_of_eight_at_once_one_gets_it(dj, store, service):
    storage = storage_at(store(service), "lab/t/i=1/movie.zarr")
    for attempt in range(2):
        won, barrier = [], threading.Barrier(8)

        def run(content, name=f"marker{attempt}", won=won, barrier=barrier):
            barrier.wait()
            try:
                storage.create(name, content)
            except FileExistsError:
                return
            won.append(content)

        at_once(partial(run, b"%d" % i) for i in range(8))
        assert won == [storage.read(f"marker{attempt}")]


@pytest.mark.parametrize("service", ["file", "moto"])
def test_of_eight_claims_at_most_one_holds(dj, store, service):
    storage = storage_at(store(service), "lab/t/i=1/movie.zarr")
    claims, barrier = [], threading.Barrier(8)

    def run():
        claim = Claim(storage, overwrite=False)
        barrier.wait()
        try:
            claim.__enter__()
        except StoreExistsError:
            return
        claims.append(claim)

    at_once([run] * 8)
    assert len(claims) <= 1
    if not claims:
        Claim(storage, overwrite=False).__enter__()


def test_it_does_not_rest_on_looking_first(dj, store, monkeypatch):
    """Between a look and a write another writer may come."""
    storage = storage_at(store("file"), "lab/t/i=1/movie.zarr")
    storage.create("marker", b"first")
    monkeypatch.setattr(type(storage.fs), "exists", lambda *_, **__: False)
    with pytest.raises(FileExistsError):
        storage.create("marker", b"second")
    assert storage.read("marker") == b"first"


def test_an_answer_that_got_lost(dj, store, monkeypatch):
    storage = storage_at(store("moto"), "lab/t/i=1/movie.zarr")
    pipe = storage.fs.pipe_file

    def twice(*args, **kwargs):
        pipe(*args, **kwargs)
        return pipe(*args, **kwargs)  # what a client does whose first answer never came

    monkeypatch.setattr(storage.fs, "pipe_file", twice)
    storage.create("marker", b"mine alone")
    assert storage.read("marker") == b"mine alone"


def test_other_errors_are_not_taken_for_a_loss(dj, store):
    storage = storage_at(store("file"), "lab")
    storage.create("file", b"")
    with pytest.raises(NotADirectoryError):
        type(storage)(storage.fs, storage.path("file/below")).create("marker", b"")
