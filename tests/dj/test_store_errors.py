"""A store that does not answer is named, with what failed, in whatever is done with it."""

from __future__ import annotations

import shutil

import pytest

from photon_gpu.dj import collect, record, recover, stores
from photon_gpu.errors import StoreUnavailableError
from tests.support.dj.movies import RECORDING, poisson
from tests.support.dj.tables import declare
from tests.support.servers import free_port, s3_spec

A = poisson(1)[:20]


@pytest.fixture
def table(schema, store):
    store("moto")
    made = declare(schema, RECORDING)
    made.insert1({"recording_id": 1, "movie": A})
    return made


@pytest.fixture
def nobody(table):
    """From now on the store's address is one where nobody listens."""
    spec = s3_spec(f"127.0.0.1:{free_port()}", "nowhere")
    stores({"imaging": {**spec, "options": {"config_kwargs": {"retries": {"max_attempts": 1}}}}})


def insert(table):
    table.insert1({"recording_id": 2, "movie": A})


def fetch(table):
    (table & "recording_id = 1").fetch1("movie").counts[0]


def live(table):
    with record(table, {"recording_id": 3}, "movie", frame_shape=A.shape[1:], dtype=A.dtype):
        pass


def begun(table):
    recover(table)


def collected(table):
    collect(table.database)


@pytest.mark.parametrize("action", [insert, fetch, live, begun, collected])
def test_a_store_that_does_not_answer_is_named(table, nobody, action):
    with pytest.raises(
        StoreUnavailableError, match=r"store 'imaging': \w.* s3://imaging/nowhere.* failed \("
    ) as caught:
        action(table)
    assert "SK" not in str(caught.value).split("(")[-1]


@pytest.mark.parametrize("action", [insert, fetch, live, begun, collected])
def test_a_folder_that_is_not_mounted_is_named(dj, schema, store, action):
    store()
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": A})
    location = dj.config.stores["imaging"]["location"]
    shutil.rmtree(location)
    with pytest.raises(
        StoreUnavailableError, match=f"store 'imaging' cannot be reached: .*{location}.*mounted"
    ):
        action(table)


@pytest.mark.parametrize("action", [insert, live])
def test_a_folder_that_cannot_be_written_is_named(dj, schema, store, monkeypatch, action):
    store()
    table = declare(schema, RECORDING)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("photon_gpu.store.durable.create_file", full)
    with pytest.raises(
        StoreUnavailableError, match="store 'imaging': creating .* failed .*No space left"
    ) as caught:
        action(table)
    assert caught.value.errno == 28
