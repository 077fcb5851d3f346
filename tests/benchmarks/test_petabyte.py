"""The estimate follows from what was measured, and requests are counted at a real S3 server."""

from __future__ import annotations

import pytest

from benchmarks import petabyte

MEASURED = petabyte.Measured(
    ratio=5.0,
    megabytes_per_second=200.0,
    per_chunk={"PUT": 1, "GET": 2},
    per_movie={"PUT": 5, "LIST": 3, "HEAD": 1},
    machine="a machine",
)


@pytest.fixture(scope="module")
def client():
    """Two workers in threads of this process; no later test's dask is to run on them."""
    distributed = pytest.importorskip("distributed", reason="pip install 'photon-gpu[dask]'")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as connected,
    ):
        yield connected


def test_hours_requests_and_prices_follow_from_what_was_measured():
    estimate = petabyte.estimate(MEASURED, raw_bytes=1e15, movie_bytes=1e10, chunk_bytes=5e7, workers=100)
    assert estimate.hours == pytest.approx(1e15 / (100 * 200e6) / 3600)
    assert (estimate.chunks, estimate.movies) == (2e7, 1e5)
    assert estimate.puts == 2e7 + 8e5 and estimate.gets == 4e7 + 1e5
    assert estimate.month_raw_usd == pytest.approx(0.023 * 1e15 / 2**30)
    assert estimate.month_stored_usd == pytest.approx(estimate.month_raw_usd / 5)
    twice = petabyte.estimate(MEASURED, raw_bytes=1e15, movie_bytes=1e10, chunk_bytes=5e7, workers=200)
    assert twice.hours == pytest.approx(estimate.hours / 2) and twice.compute_usd == pytest.approx(
        estimate.compute_usd
    )
    text = petabyte.told(MEASURED, estimate, 1000, 100)
    assert (
        "**200 MB/s per worker** at ratio 5.00" in text
        and "| hours | raw bytes / (workers x MB/s) | 13.9 |" in text
    )


def test_requests_are_those_a_server_saw(client, monkeypatch):
    monkeypatch.setattr(
        "photon_gpu.cluster.distributed_movie._LIST_SECONDS", 1e9
    )  # however slow this machine is just now
    pytest.importorskip("s3fs", reason="pip install 'photon-gpu[s3]'")
    chunk, movie = petabyte.requests(client, sizes=(2, 5))
    assert chunk == {"PUT": 1.0, "GET": 2.0}, "a chunk is one write, and two looks at the claim"
    assert movie["PUT"] >= 4 and set(movie) <= {"PUT", "GET", "HEAD", "LIST", "DELETE"}
