"""What docs/datajoint_gc.md says of DataJoint's own collector is so: it deletes movies in use."""

from __future__ import annotations

import pytest

import photon_gpu as pg
from photon_gpu.dj import collect
from tests.support.dj.movies import RECORDING, files, poisson
from tests.support.dj.tables import declare

A = poisson(1)[:20]


@pytest.fixture
def lab(dj, schema, store):
    """A schema with one movie, the store's backend, and DataJoint's collector as it is documented."""
    backend = store()
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": A})

    def datajoints(connection=None):
        own = dj.Schema(schema.database, connection=connection) if connection else schema
        return dj.gc.GarbageCollector(own, store="imaging").collect(dry_run=False)

    return table, backend, datajoints


def ours(schema):
    return collect(schema.database, dry_run=False, grace_hours=0, wait_seconds=0.3).count("deleted")


def test_collect_is_no_function_of_datajoint(dj):
    assert not hasattr(dj.gc, "collect")


def test_a_movie_with_its_row_stays(lab):
    _, backend, datajoints = lab
    assert datajoints()["deleted"] == 0
    assert len(files(backend)) == 4


def test_a_row_copied_to_another_schema(dj, schema, lab):
    table, backend, datajoints = lab
    archive = dj.Schema("archive_of_" + schema.database)
    try:
        copy = declare(archive, "recording_id : int32\n---\nmovie : json")
        copy.connection.query(f"INSERT INTO {copy.full_table_name} SELECT * FROM {table.full_table_name}")
        table.delete()
        assert ours(schema) == 0
        assert datajoints()["deleted"] == 4
        assert files(backend) == []
    finally:
        archive.drop(prompt=False)


def test_an_insert_under_way(schema, lab):
    table, backend, datajoints = lab
    deleted = []

    def collect_meanwhile(done, total):
        if not deleted:
            deleted.append(collect(schema.database, dry_run=False).count("deleted"))
            deleted.append(datajoints()["deleted"])

    inserted = pg.movie(A, noise=pg.NoiseModel(), chunk_frames=10, progress=collect_meanwhile)
    # The insert notices that its folder was emptied, and writes the movie again beside it.
    table.insert1({"recording_id": 2, "movie": inserted})
    assert deleted[0] == 0
    assert deleted[1] > 0
    movie = (table & {"recording_id": 2}).fetch1("movie")
    assert "movie_" in movie.url and movie.counts[...].shape == A.shape


def test_a_row_not_committed_yet(schema, lab, another):
    table, backend, datajoints = lab
    row = table.connection.query(f"SELECT movie::text FROM {table.full_table_name}").fetchone()[0]
    table.delete()
    with another.connection.transaction:
        another.connection.query(f"INSERT INTO {table.full_table_name} VALUES (1, %s)", (row,))
        assert ours(schema) == 0
        assert datajoints()["deleted"] == 4
    assert len(table()) == 1
    assert files(backend) == []


def test_a_codec_that_is_not_installed(dj, schema, lab):
    table, backend, datajoints = lab
    dj.conn().query(f"COMMENT ON COLUMN {table.full_table_name}.movie IS ':<unheard_of@imaging>:'")
    assert ours(schema) == 0
    assert datajoints()["deleted"] == 4


def test_a_query_that_fails(dj, schema, lab, monkeypatch):
    table, backend, datajoints = lab

    def failing(*_, **__):
        raise dj.errors.LostConnectionError("the server went away")

    monkeypatch.setattr(dj.expression.QueryExpression, "cursor", failing)
    assert datajoints()["deleted"] == 4
    assert files(backend) == []


def test_a_row_without_a_store_name(dj, schema, lab):
    table, backend, datajoints = lab
    dj.conn().query(f"UPDATE {table.full_table_name} SET movie = jsonb_set(movie, '{{store}}', 'null')")
    assert ours(schema) == 0
    assert datajoints()["deleted"] == 4
