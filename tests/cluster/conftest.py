"""A cluster of two worker processes, started once; a worker that is killed is replaced by its nanny."""

from __future__ import annotations

import numpy as np
import pytest

import photon_gpu as pg
from tests.support.cluster_settings import SETTINGS, stored


@pytest.fixture(scope="package")  # closed then: it is the default one of all that dask computes meanwhile
def client():
    distributed = pytest.importorskip("distributed", reason="pip install 'photon-gpu[dask]'")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        distributed.Client(cluster) as connected,
    ):
        yield connected


@pytest.fixture(scope="session")
def counts():
    """``(210, 40, 48)`` uint16: ten chunks of 20, and half a one."""
    return pg.simulate(
        frames=210,
        height=40,
        width=48,
        dtype="uint16",
        gain=20.0,
        offset=90.0,
        read_noise_adu=10.0,
        cells=4,
        seed=3,
    ).read(0, 210)


@pytest.fixture(scope="session")
def one_machine(counts, tmp_path_factory):
    """What one machine's ``pg.encode`` stores: content by file name."""
    folder = tmp_path_factory.mktemp("one") / "m.zarr"
    pg.encode(counts, folder, **SETTINGS)
    return stored(folder)


@pytest.fixture
def on_disk(counts, tmp_path):
    np.save(tmp_path / "counts.npy", counts)
    return tmp_path / "counts.npy"
